//! Cryptography over HTTP: the body goes through while it arrives.
//!
//! The answer begins when its first [`HELD`] parts are made, or all of them. What goes wrong before that has a status, as in
//! Dapr; after it the answer breaks off, so that nobody takes it for whole. A caller that sends its whole body before it reads
//! is served as well, as long as what it does not read yet fits into [`AHEAD`] parts.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{StreamExt as _, iter, try_unfold};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use http_body_util::BodyExt as _;
use tokio::sync::mpsc;
use tonic::Code;

use super::service::{self, Encryption, Source, Work, failed, invalid};
use crate::error::ApiError;
use crate::http::body::{Body, BoxError, RequestBody};
use crate::http::path::decoded;
use crate::http::request::Request;
use crate::http::response::Reply;

const KEY_NAME: &str = "dapr-key-name";
const KEY_WRAP_ALGORITHM: &str = "dapr-key-wrap-algorithm";
const OMIT_DECRYPTION_KEY_NAME: &str = "dapr-omit-decryption-key-name";
const DECRYPTION_KEY_NAME: &str = "dapr-decryption-key-name";
const DATA_ENCRYPTION_CIPHER: &str = "dapr-data-encryption-cipher";
const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// Parts that are made before the answer begins: 1 MiB.
const HELD: usize = 16;
/// Parts that may wait for the caller to read: 4 MiB, which is as much as other requests may have in their bodies.
const AHEAD: usize = 64;
/// How long the caller may leave all of them waiting before its request is given up. Only HTTP/1 needs it: there a caller that
/// reads only after it has sent everything would wait for us as we do for it.
const STALLED: Duration = Duration::from_secs(60);

/// The routes of the block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route<'a> {
    Encrypt { component: Cow<'a, str> },
    Decrypt { component: Cow<'a, str> },
}

impl<'a> Route<'a> {
    pub(crate) fn of(method: &Method, rest: &'a str) -> Option<Self> {
        let (component, operation) = rest.split_once('/')?;
        if method != Method::PUT || component.is_empty() {
            return None;
        }
        match operation {
            "encrypt" => Some(Self::Encrypt { component: decoded(component) }),
            "decrypt" => Some(Self::Decrypt { component: decoded(component) }),
            _ => None,
        }
    }
}

pub(crate) async fn answer(route: Route<'_>, request: &Request<'_>) -> Result<Reply, ApiError> {
    let header = |name| request.header(name).unwrap_or_default();
    let body = || request.stream.take().map(Arriving).ok_or_else(|| failed("the body was read before"));
    let is_duplex = request.head.version >= Version::HTTP_2;
    let work = match &route {
        Route::Encrypt { component } => {
            let component = service::component(request.runtime, component)?;
            for name in [KEY_NAME, KEY_WRAP_ALGORITHM] {
                if header(name).is_empty() {
                    return Err(invalid(format_args!("missing header '{name}'")));
                }
            }
            let asked = Encryption {
                key_name: header(KEY_NAME),
                algorithm: header(KEY_WRAP_ALGORITHM),
                cipher: header(DATA_ENCRYPTION_CIPHER),
                omits_key_name: is_truthy(header(OMIT_DECRYPTION_KEY_NAME)),
                decryption_key_name: header(DECRYPTION_KEY_NAME),
            };
            service::encrypt(request.call, &component, asked, body()?).await?
        }
        Route::Decrypt { component } => {
            let component = service::component(request.runtime, component)?;
            service::decrypt(request.call, &component, header(KEY_NAME), body()?).await?
        }
    };
    Ok(sent(begun(work, is_duplex).await?))
}

fn is_truthy(text: &str) -> bool {
    matches!(text.trim().to_ascii_lowercase().as_str(), "y" | "yes" | "true" | "t" | "on" | "1")
}

fn sent(body: Body) -> Reply {
    Reply { status: StatusCode::OK, headers: HeaderMap::from_iter([(CONTENT_TYPE, OCTETS)]), body }
}

/// The answer's body, whole when it is short.
async fn begun<S: Source + 'static>(mut work: Work<S>, is_duplex: bool) -> Result<Body, ApiError> {
    let mut held: Vec<Bytes> = Vec::new();
    while held.len() < HELD {
        match work.next().await.map_err(broken)? {
            Some(part) => held.push(part),
            None => return Ok(Body::Whole(held.concat().into())),
        }
    }
    let (sender, receiver) = mpsc::channel(AHEAD);
    // A task of its own: the body is read on even while nobody reads the answer.
    tokio::spawn(pump(work, sender, is_duplex));
    let rest = try_unfold(receiver, |mut receiver| async move {
        match receiver.recv().await {
            Some(Part::Bytes(part)) => Ok(Some((part, receiver))),
            Some(Part::End) => Ok(None),
            Some(Part::Broken(reason)) => Err(BoxError::from(reason)),
            None => Err("the answer was not read while its request went on".into()),
        }
    });
    Ok(Body::stream(iter(held.into_iter().map(Ok)).chain(rest)))
}

/// What fails in the middle of a body has no code in Dapr.
fn broken(reason: String) -> ApiError {
    ApiError::new("ERROR", "common", StatusCode::INTERNAL_SERVER_ERROR, Code::Internal, reason)
}

/// A part of the answer, or how it ends.
enum Part {
    Bytes(Bytes),
    End,
    Broken(String),
}

/// Makes the rest of the answer, until nobody wants it any more.
async fn pump<S: Source>(mut work: Work<S>, sender: mpsc::Sender<Part>, is_duplex: bool) {
    loop {
        let part = match work.next().await {
            Ok(Some(part)) => Part::Bytes(part),
            Ok(None) => Part::End,
            Err(reason) => {
                tracing::debug!("a document broke off: {reason}");
                Part::Broken(reason)
            }
        };
        let is_last = !matches!(part, Part::Bytes(_));
        let is_sent = if is_duplex || is_last {
            sender.send(part).await.is_ok()
        } else {
            sender.send_timeout(part, STALLED).await.is_ok()
        };
        if is_last || !is_sent {
            return;
        }
    }
}

/// A request's body.
struct Arriving(RequestBody);

impl Source for Arriving {
    async fn next(&mut self) -> Option<Result<Bytes, String>> {
        loop {
            match self.0.frame().await? {
                // What is not data are trailers.
                Ok(frame) => match frame.into_data() {
                    Ok(data) => return Some(Ok(data)),
                    Err(_) => continue,
                },
                Err(error) => return Some(Err(error.to_string())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_a_put_of_a_component_s_operation() {
        let encrypt = Route::Encrypt { component: "my keys".into() };
        assert_eq!(Route::of(&Method::PUT, "my%20keys/encrypt"), Some(encrypt));
        assert_eq!(Route::of(&Method::POST, "keys/encrypt"), None);
        for rest in ["keys", "keys/", "/encrypt", "keys/sign", "keys/encrypt/more"] {
            assert_eq!(Route::of(&Method::PUT, rest), None, "{rest}");
        }
    }

    #[test]
    fn yes_has_the_words_that_dapr_knows() {
        assert!(["true", " Yes ", "ON", "1", "t", "y"].into_iter().all(is_truthy));
        assert!(!["", "false", "0", "2", "ja"].into_iter().any(is_truthy));
    }
}
