//! Redirects, by the rules of the client that Dapr uses.

use http::{HeaderName, Method, StatusCode, header};
use mecha_plugin_api::Result;

use super::{Answer, Outgoing, target};

/// A request that is sent on more often than this is going round in circles.
pub(crate) const MOST: usize = 10;

/// Headers that tell who the caller is: they do not go to another host.
const SECRET: [HeaderName; 3] = [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION];
/// Headers that are about a body, and go with it.
const ABOUT_BODY: [HeaderName; 4] =
    [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::CONTENT_LANGUAGE, header::CONTENT_LOCATION];

/// The request that follows `answer`; `None` when the answer is the last. A redirect without an address is an answer.
pub(crate) fn next(
    sent: &Outgoing,
    answer: &Answer,
    secret_header: Option<&HeaderName>,
) -> Result<Option<Outgoing>> {
    let Some(keeps_method) = redirects(answer.status) else { return Ok(None) };
    let location = answer.headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
    let Some(location) = location.filter(|location| !location.is_empty()) else { return Ok(None) };
    let mut next = Outgoing { target: target::resolve(&sent.target.uri, location)?, ..sent.clone() };
    if !keeps_method {
        if next.method != Method::HEAD {
            next.method = Method::GET;
        }
        next.body.clear();
        for name in ABOUT_BODY {
            next.headers.remove(name);
        }
    }
    if target::may_keep_secrets(&sent.target.uri, &next.target.uri) {
        next.target.authorization = next.target.authorization.or_else(|| sent.target.authorization.clone());
    } else {
        for name in SECRET.iter().chain(secret_header) {
            next.headers.remove(name);
        }
    }
    Ok(Some(next))
}

/// Whether a status redirects, and then whether with the same method and body.
fn redirects(status: StatusCode) -> Option<bool> {
    match status {
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::SEE_OTHER => Some(false),
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => Some(true),
        _ => None,
    }
}
