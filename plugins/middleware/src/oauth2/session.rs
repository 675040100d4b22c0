//! A session as it lies in cookies: sealed with a key that is made of the component's secret, so that nobody else can read
//! or write it.

use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use mecha_plugin_api::middleware::Headers;
use mecha_plugin_api::{Error, Result};
use serde::{Deserialize, Serialize};

/// How long a session lasts, as in Dapr.
pub(super) const LIFETIME: Duration = Duration::from_secs(2 * 3600);
/// Dapr's name for it. What does not fit into one cookie goes on in the same name with `.1`, `.2` and so on.
const NAME: &str = "gosessionsid";
/// Browsers take 4096 bytes for a cookie, its name and attributes included.
const PIECE: usize = 3800;
/// A token that needs more is beyond what servers take as headers.
const MOST_PIECES: usize = 8;

/// What is known of a caller.
#[derive(Serialize, Deserialize, PartialEq, Eq, Debug)]
pub(super) struct Session {
    /// When it ends, in seconds of Unix time.
    pub(super) until: u64,
    /// What the provider must send back; empty once the caller has a token.
    pub(super) state: String,
    /// Where the caller wanted to go.
    pub(super) back: String,
    /// The value of the header that its requests get; empty before.
    pub(super) header: String,
}

/// The key.
pub(super) struct Seal {
    key: RandomizedNonceKey,
    component: String,
}

impl Seal {
    /// The key of a component. It is the same wherever the component is the same.
    pub(super) fn new(component: &str, client_id: &str, client_secret: &str) -> Result<Self> {
        let failed = |_| Error::internal("no key can be made");
        let mut key = [0; 32];
        Salt::new(HKDF_SHA256, b"mecha middleware.http.oauth2 session")
            .extract(client_secret.as_bytes())
            .expand(&[client_id.as_bytes()], HKDF_SHA256)
            .and_then(|made| made.fill(&mut key))
            .map_err(failed)?;
        let key = RandomizedNonceKey::new(&AES_256_GCM, &key).map_err(failed)?;
        Ok(Self { key, component: component.to_owned() })
    }

    /// The session in a request's cookies, if there is one that was sealed here.
    pub(super) fn open(&self, headers: &Headers) -> Option<Session> {
        let mut text = String::new();
        for piece in 0..MOST_PIECES {
            let Some(found) = cookie(headers, &name(piece)) else { break };
            text.push_str(found);
        }
        let mut sealed = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        let nonce = Nonce::try_assume_unique_for_key(sealed.get(..NONCE_LEN)?).ok()?;
        let aad = Aad::from(self.component.as_bytes());
        let opened = self.key.open_in_place(nonce, aad, sealed.get_mut(NONCE_LEN..)?).ok()?;
        serde_json::from_slice(opened).ok()
    }

    /// A session as values of `Set-Cookie`, in place of what the request's cookies hold.
    pub(super) fn cookies(
        &self,
        session: &Session,
        before: &Headers,
        only_https: bool,
    ) -> Result<Vec<String>> {
        let failed = |error: &dyn std::fmt::Display| Error::internal(format!("no session: {error}"));
        let mut sealed = serde_json::to_vec(session).map_err(|error| failed(&error))?;
        let aad = Aad::from(self.component.as_bytes());
        let nonce = self.key.seal_in_place_append_tag(aad, &mut sealed).map_err(|error| failed(&error))?;
        let text = BASE64_URL_SAFE_NO_PAD.encode([nonce.as_ref().as_slice(), &sealed].concat());
        let secure = if only_https { "; Secure" } else { "" };
        let attributes = |age: u64| format!("Path=/; Max-Age={age}; HttpOnly; SameSite=Lax{secure}");
        // The text is base64: every byte is a letter.
        let pieces: Vec<_> = text.as_bytes().chunks(PIECE).map(String::from_utf8_lossy).collect();
        if pieces.len() > MOST_PIECES {
            return Err(Error::internal("the token is too large for a session"));
        }
        let mut cookies = Vec::new();
        for (index, piece) in pieces.iter().enumerate() {
            cookies.push(format!("{}={piece}; {}", name(index), attributes(LIFETIME.as_secs())));
        }
        let left = (pieces.len()..MOST_PIECES).map(name).filter(|name| cookie(before, name).is_some());
        cookies.extend(left.map(|name| format!("{name}=; {}", attributes(0))));
        Ok(cookies)
    }
}

fn name(piece: usize) -> String {
    match piece {
        0 => NAME.to_owned(),
        more => format!("{NAME}.{more}"),
    }
}

fn cookie<'a>(headers: &'a Headers, name: &str) -> Option<&'a str> {
    let pairs = headers.all("cookie").flat_map(|cookies| cookies.split(';'));
    let mut values = pairs.filter_map(|pair| pair.trim().split_once('='));
    values.find(|(known, value)| *known == name && !value.is_empty()).map(|(_, value)| value)
}

/// Something that nobody can guess.
pub(super) fn random() -> Result<String> {
    let mut bytes = [0; 24];
    rand::fill(&mut bytes).map_err(|_| Error::internal("the system gives no random numbers"))?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(header: &str) -> Session {
        Session { until: 5, state: String::new(), back: "/a".to_owned(), header: header.to_owned() }
    }

    /// What a browser sends back of cookies that it was given.
    fn sent_back(cookies: &[String]) -> Headers {
        let kept = cookies.iter().filter(|cookie| !cookie.contains("Max-Age=0"));
        let pairs = kept.map(|cookie| cookie.split(';').next().unwrap_or_default());
        Headers::from_iter([("cookie", format!("other=1; {}", pairs.collect::<Vec<_>>().join("; ")))])
    }

    #[test]
    fn a_session_comes_back_and_is_nobody_elses() {
        let seal = Seal::new("auth", "id", "secret").unwrap();
        let cookies = seal.cookies(&session("Bearer t"), &Headers::new(), true).unwrap();
        assert!(cookies[0].contains("; Secure") && !cookies[0].contains("Bearer"), "{cookies:?}");
        let sent = sent_back(&cookies);
        assert_eq!(seal.open(&sent), Some(session("Bearer t")));
        assert_eq!(Seal::new("auth", "id", "secret").unwrap().open(&sent), Some(session("Bearer t")));
        for (component, id, secret) in
            [("other", "id", "secret"), ("auth", "id2", "secret"), ("auth", "id", "s")]
        {
            assert_eq!(Seal::new(component, id, secret).unwrap().open(&sent), None);
        }
    }

    #[test]
    fn a_large_one_takes_several_cookies_and_a_small_one_clears_them() {
        let seal = Seal::new("auth", "id", "secret").unwrap();
        let large = session(&"t".repeat(6000));
        let sent = sent_back(&seal.cookies(&large, &Headers::new(), false).unwrap());
        assert_eq!(seal.open(&sent), Some(large));
        let smaller = seal.cookies(&session("t"), &sent, false).unwrap();
        assert!(smaller.iter().any(|cookie| cookie.starts_with("gosessionsid.1=;")), "{smaller:?}");
        assert_eq!(seal.open(&sent_back(&smaller)), Some(session("t")));
        assert!(seal.cookies(&session(&"t".repeat(60_000)), &sent, false).is_err());
    }

    #[test]
    fn what_was_changed_is_no_session() {
        let seal = Seal::new("auth", "id", "secret").unwrap();
        for text in ["", "x", "AAAA", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
            let sent = Headers::from_iter([("cookie", format!("gosessionsid={text}"))]);
            assert_eq!(seal.open(&sent), None, "{text}");
        }
    }
}
