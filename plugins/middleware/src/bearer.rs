//! `middleware.http.bearer`: only requests with a token of one issuer, for one audience, go on.

mod keys;
mod token;

use mecha_plugin_api::middleware::{Decision, HttpRequest, Middleware};
use mecha_plugin_api::{CallContext, ComponentSpec, Error, Result};
use serde::Deserialize;

use self::keys::Keys;
use self::token::Expected;
use crate::client::Client;

const PREFIX: &str = "bearer ";
/// No token is shorter.
const SHORTEST: usize = 10;

/// What a token must say, and the issuer's keys.
pub(crate) struct Bearer {
    expected: Expected,
    keys: Keys,
}

/// What is read of the issuer's own description.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

impl Bearer {
    pub(crate) async fn open(spec: ComponentSpec) -> Result<Self> {
        let issuer = either(&spec, "issuer", "issuerURL")?;
        let audience = either(&spec, "audience", "clientID")?;
        let client = Client::new().await?;
        let url = match spec.text("jwksURL") {
            Some(url) => url.to_owned(),
            None => discover(&client, issuer).await.map_err(|error| error.with_field("issuer"))?,
        };
        let keys = Keys::start(client, url).await?;
        Ok(Self { expected: Expected { issuer: issuer.to_owned(), audience: audience.to_owned() }, keys })
    }
}

fn either<'a>(spec: &'a ComponentSpec, field: &str, alias: &str) -> Result<&'a str> {
    spec.text(field).map_or_else(|| spec.text(alias).map_or_else(|| spec.required(field), Ok), Ok)
}

/// Where the issuer says that its keys lie.
async fn discover(client: &Client, issuer: &str) -> Result<String> {
    let url = format!("{}/.well-known/openid-configuration", issuer.strip_suffix('/').unwrap_or(issuer));
    let answer = client.get(&url).await?;
    if !answer.status.is_success() {
        return Err(Error::unavailable(format!("{url} answered with status {}", answer.status.as_u16())));
    }
    let found: Discovery = serde_json::from_slice(&answer.body)
        .map_err(|error| Error::internal(format!("{url} is no OpenID Configuration: {error}")))?;
    if found.jwks_uri.is_empty() {
        return Err(Error::invalid(format!("{url} does not contain a 'jwks_uri'")));
    }
    if found.issuer != issuer {
        return Err(Error::invalid(format!(
            "the issuer found in the OpenID Configuration document ('{}') doesn't match the one provided in the \
             component's metadata ('{issuer}')",
            found.issuer
        )));
    }
    Ok(found.jwks_uri)
}

/// The token in a request's header.
fn given(request: &HttpRequest) -> Option<&str> {
    let header = request.headers.get("authorization")?;
    let (prefix, token) = header.split_at_checked(PREFIX.len())?;
    (prefix.eq_ignore_ascii_case(PREFIX) && token.len() >= SHORTEST).then_some(token)
}

impl Middleware for Bearer {
    async fn request(&self, _context: &CallContext, request: HttpRequest) -> Result<Decision> {
        let refused = || Ok(Decision::answer(401, "Unauthorized"));
        let Some(token) = given(&request) else { return refused() };
        let Some(head) = token::head(token) else { return refused() };
        let Some(id) = head.kid.as_deref() else { return refused() };
        match self.keys.find(id).await {
            Some(key) if self.expected.holds(token, &head, &key) => Ok(Decision::pass()),
            _ => refused(),
        }
    }
}

#[cfg(test)]
mod tests {
    use mecha_plugin_api::middleware::Headers;
    use mecha_plugin_api::{Metadata, ROption};

    use super::*;

    #[test]
    fn the_token_stands_behind_its_word() {
        let given = |header: &str| {
            let request = HttpRequest {
                method: "GET".into(),
                uri: "/".into(),
                headers: Headers::from_iter([("authorization", header)]),
                remote: "".into(),
                body: ROption::RNone,
            };
            super::given(&request).map(str::to_owned)
        };
        assert_eq!(given("BEARER 0123456789").as_deref(), Some("0123456789"));
        for none in ["", "bearer", "bearer 012345678", "basic 0123456789", "béarer 0123456789"] {
            assert_eq!(given(none), None, "{none}");
        }
    }

    #[tokio::test]
    async fn issuer_and_audience_must_be_there() {
        let open = async |metadata: &[(&str, &str)]| {
            let metadata = Metadata::from_iter(metadata.iter().copied());
            let opened = Bearer::open(ComponentSpec::new("b", "middleware.http.bearer", metadata)).await;
            opened.err().unwrap().field().map(str::to_owned)
        };
        assert_eq!(open(&[("audience", "a")]).await.as_deref(), Some("issuer"));
        assert_eq!(open(&[("issuerURL", "http://127.0.0.1:1")]).await.as_deref(), Some("audience"));
        // Both aliases are read: what fails now is the way to the issuer.
        let both = [("issuerURL", "http://127.0.0.1:1"), ("clientID", "a")];
        assert_eq!(open(&both).await.as_deref(), Some("issuer"));
    }
}
