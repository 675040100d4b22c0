//! Token endpoints of OAuth 2.0: who asks, how it says so, and what comes back.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;
use mecha_plugin_api::{Error, ErrorKind, Result};
use serde_json::{Map, Value};

use crate::client::{Answer, Client};
use crate::text::{form, pairs};

/// How the client's credentials reach the endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AuthStyle {
    /// Both are tried; what works is kept.
    Auto,
    /// In the form.
    Params,
    /// In the header, as basic authentication.
    Header,
}

/// Who asks, and where.
pub(crate) struct Endpoint {
    pub(crate) url: String,
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
    style: AuthStyle,
    /// The style that worked, when [`AuthStyle::Auto`] is asked for; 0 before that.
    found: AtomicU8,
}

/// A token.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token {
    /// What stands in a header: the type and the token.
    pub(crate) header: String,
    /// How long it is valid, when the endpoint says so.
    pub(crate) lifetime: Option<Duration>,
}

impl Endpoint {
    pub(crate) fn new(url: &str, client_id: &str, client_secret: &str, style: AuthStyle) -> Self {
        Self {
            url: url.to_owned(),
            client_id: client_id.to_owned(),
            client_secret: client_secret.to_owned(),
            style,
            found: AtomicU8::new(0),
        }
    }

    /// Asks for a token.
    pub(crate) async fn token(&self, client: &Client, asked: &[(String, String)]) -> Result<Token> {
        match self.style() {
            AuthStyle::Auto => {
                // As in Go's client: the header first, since most endpoints take it.
                let by_header = self.ask(client, asked, AuthStyle::Header).await;
                let (result, worked) = match by_header {
                    Err(error) if error.kind() == ErrorKind::DENIED => {
                        (self.ask(client, asked, AuthStyle::Params).await, 1)
                    }
                    result => (result, 2),
                };
                if result.is_ok() {
                    self.found.store(worked, Ordering::Relaxed);
                }
                result
            }
            style => self.ask(client, asked, style).await,
        }
    }

    fn style(&self) -> AuthStyle {
        match (self.style, self.found.load(Ordering::Relaxed)) {
            (AuthStyle::Auto, 1) => AuthStyle::Params,
            (AuthStyle::Auto, 2) => AuthStyle::Header,
            (style, _) => style,
        }
    }

    async fn ask(&self, client: &Client, asked: &[(String, String)], style: AuthStyle) -> Result<Token> {
        let mut body: Vec<_> = asked.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let mut authorization = None;
        if style == AuthStyle::Header {
            authorization = Some(self.basic()?);
        } else {
            body.push(("client_id", &self.client_id));
            if !self.client_secret.is_empty() {
                body.push(("client_secret", &self.client_secret));
            }
        }
        read(&client.post_form(&self.url, authorization, form(body)).await?)
    }

    fn basic(&self) -> Result<HeaderValue> {
        let escaped = |text: &str| form([(text, "")]).trim_end_matches('=').to_owned();
        let pair = format!("{}:{}", escaped(&self.client_id), escaped(&self.client_secret));
        let mut value = HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(pair)))
            .map_err(|error| Error::internal(error.to_string()))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// What the endpoint answered. Its text may quote the credentials, so that only its code is passed on.
fn read(answer: &Answer) -> Result<Token> {
    let values = values(answer);
    let text = |key: &str| values.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    if !answer.status.is_success() || text("error").is_some() {
        let kind = match answer.status.is_server_error() {
            true => ErrorKind::UNAVAILABLE,
            false => ErrorKind::DENIED,
        };
        let code = text("error").unwrap_or("no reason given");
        return Err(Error::new(kind, format!("no token: status {}, {code}", answer.status.as_u16())));
    }
    let token = text("access_token").ok_or_else(|| Error::internal("the answer holds no access_token"))?;
    let lifetime = values.get("expires_in").and_then(seconds).filter(|seconds| *seconds > 0);
    Ok(Token {
        header: format!("{} {token}", spelling(text("token_type").unwrap_or_default())),
        lifetime: lifetime.map(Duration::from_secs),
    })
}

/// The answer's values: an object in JSON, or a form as some providers still send it.
fn values(answer: &Answer) -> Map<String, Value> {
    let is_form = ["application/x-www-form-urlencoded", "text/plain"]
        .iter()
        .any(|form| answer.content_type.starts_with(form));
    match serde_json::from_slice(&answer.body) {
        Ok(Value::Object(values)) => values,
        _ if is_form => {
            let form = String::from_utf8_lossy(&answer.body).into_owned();
            pairs(&form).map(|(key, value)| (key, Value::String(value))).collect()
        }
        _ => Map::new(),
    }
}

/// Some providers send the number as a text.
fn seconds(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// A token's type as it stands in a header.
fn spelling(token_type: &str) -> &str {
    match token_type.to_ascii_lowercase().as_str() {
        "" | "bearer" => "Bearer",
        "mac" => "MAC",
        "basic" => "Basic",
        _ => token_type,
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn answer(status: u16, content_type: &str, body: &str) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            content_type: content_type.to_owned(),
            body: body.to_owned().into(),
        }
    }

    fn token(content_type: &str, body: &str) -> (String, Option<u64>) {
        let token = read(&answer(200, content_type, body)).ok().unwrap();
        (token.header, token.lifetime.map(|lifetime| lifetime.as_secs()))
    }

    #[test]
    fn a_token_is_read_in_every_form() {
        let json = r#"{"access_token": "t", "token_type": "bearer", "expires_in": 60}"#;
        assert_eq!(token("application/json", json), ("Bearer t".to_owned(), Some(60)));
        let texts = r#"{"access_token": "t", "token_type": "DPoP", "expires_in": "60"}"#;
        assert_eq!(token("application/json", texts), ("DPoP t".to_owned(), Some(60)));
        let form = "access_token=a%2Bb&token_type=mac";
        assert_eq!(token("text/plain; charset=utf-8", form), ("MAC a+b".to_owned(), None));
        assert_eq!(token("", r#"{"access_token": "t", "expires_in": 0}"#), ("Bearer t".to_owned(), None));
    }

    #[test]
    fn a_refusal_says_its_code_and_nothing_else() {
        let refused = r#"{"error": "invalid_client", "error_description": "secret s3cret is wrong"}"#;
        let error = read(&answer(401, "application/json", refused)).err().unwrap();
        assert_eq!(
            (error.kind(), error.message()),
            (ErrorKind::DENIED, "no token: status 401, invalid_client")
        );
        assert_eq!(read(&answer(503, "", "")).err().unwrap().kind(), ErrorKind::UNAVAILABLE);
        assert!(read(&answer(200, "application/json", "{}")).is_err());
    }

    #[test]
    fn credentials_in_the_header_are_escaped() {
        let endpoint = Endpoint::new("http://h", "a b", "c:d", AuthStyle::Header);
        let decoded =
            BASE64_STANDARD.decode(endpoint.basic().unwrap().to_str().unwrap().replace("Basic ", ""));
        assert_eq!(decoded.unwrap(), b"a%20b:c%3Ad");
    }
}
