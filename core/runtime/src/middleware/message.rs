//! Heads of requests and answers as plugins see them, and back.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, request, response};
use mecha_plugin_api::middleware::{Headers, HttpAnswer, HttpRequest};
use mecha_plugin_api::{Buf, ROption};

/// What a middleware gave that is no HTTP.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoHttp {
    #[error("{0:?} is no method")]
    Method(String),
    #[error("{0:?} is no path with a query")]
    Uri(String),
    #[error("a header {0:?} cannot be sent")]
    Header(String),
    #[error("{0} is no status")]
    Status(u16),
}

/// A request as a plugin sees it.
pub(super) fn request(head: &request::Parts, remote: &str, body: Option<Bytes>) -> HttpRequest {
    HttpRequest {
        method: head.method.as_str().into(),
        uri: head.uri.path_and_query().map_or("/", PathAndQuery::as_str).into(),
        headers: headers(&head.headers),
        remote: remote.into(),
        body: body.map(Buf::from).into(),
    }
}

/// Makes a head what a plugin wants it to be; gives the body that takes the other's place.
pub(super) fn change_request(
    head: &mut request::Parts,
    changed: HttpRequest,
) -> Result<Option<Bytes>, NoHttp> {
    if changed.method.as_str() != head.method.as_str() {
        head.method = Method::from_bytes(changed.method.as_bytes())
            .map_err(|_| NoHttp::Method(changed.method.to_string()))?;
    }
    if head.uri.path_and_query().map(PathAndQuery::as_str) != Some(changed.uri.as_str()) {
        head.uri = with_path(&head.uri, &changed.uri)?;
    }
    head.headers = header_map(&changed.headers)?;
    Ok(replaced(changed.body))
}

fn with_path(uri: &Uri, path: &str) -> Result<Uri, NoHttp> {
    let refused = || NoHttp::Uri(path.to_owned());
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path.parse().map_err(|_| refused())?);
    Uri::from_parts(parts).map_err(|_| refused())
}

/// An answer as a plugin sees it.
pub(super) fn answer(head: &response::Parts, body: Option<Bytes>) -> HttpAnswer {
    HttpAnswer {
        status: head.status.as_u16(),
        headers: headers(&head.headers),
        body: body.map(Buf::from).into(),
    }
}

/// Makes a head what a plugin wants it to be; gives the body that takes the other's place.
pub(super) fn change_answer(
    head: &mut response::Parts,
    changed: HttpAnswer,
) -> Result<Option<Bytes>, NoHttp> {
    head.status = StatusCode::from_u16(changed.status).map_err(|_| NoHttp::Status(changed.status))?;
    head.headers = header_map(&changed.headers)?;
    Ok(replaced(changed.body))
}

/// Adds headers beside those that are there.
pub(super) fn add(headers: &mut HeaderMap, more: &Headers) -> Result<(), NoHttp> {
    for (name, value) in more.iter() {
        let (name, value) = header(name, value)?;
        headers.append(name, value);
    }
    Ok(())
}

/// Says how long a body is that is all there. A message without one says nothing.
pub(super) fn set_length(headers: &mut HeaderMap, length: usize) {
    headers.remove(TRANSFER_ENCODING);
    if length > 0 || headers.contains_key(CONTENT_LENGTH) {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}

fn replaced(body: ROption<Buf>) -> Option<Bytes> {
    body.into_option().map(Buf::into_bytes)
}

fn headers(map: &HeaderMap) -> Headers {
    let mut headers = Headers::with_capacity(map.len());
    for (name, value) in map {
        headers.append(name.as_str(), value.as_bytes());
    }
    headers
}

fn header_map(headers: &Headers) -> Result<HeaderMap, NoHttp> {
    let mut map = HeaderMap::new();
    add(&mut map, headers)?;
    Ok(map)
}

fn header(name: &str, value: &[u8]) -> Result<(HeaderName, HeaderValue), NoHttp> {
    let refused = || NoHttp::Header(name.to_owned());
    let value = HeaderValue::from_bytes(value).map_err(|_| refused())?;
    Ok((HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused())?, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(uri: &str) -> request::Parts {
        let request = http::Request::builder().uri(uri).header("a", "1").header("a", "2");
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_request_comes_back_as_it_went() {
        let mut parts = head("http://app:80/a%20b?c=d");
        let seen = request(&parts, "10.0.0.1", None);
        assert_eq!((seen.uri.as_str(), seen.path(), seen.query()), ("/a%20b?c=d", "/a%20b", Some("c=d")));
        assert_eq!(change_request(&mut parts, seen).unwrap(), None);
        assert_eq!(parts.uri, "http://app:80/a%20b?c=d");
        assert_eq!(parts.headers.get_all("a").iter().count(), 2);
    }

    #[test]
    fn a_path_is_changed_beside_the_authority() {
        let mut parts = head("http://app:80/a");
        let mut seen = request(&parts, "", None);
        seen.uri = "/b?c".into();
        seen.body = ROption::RSome(Buf::from_static(b"x"));
        assert_eq!(change_request(&mut parts, seen).unwrap().unwrap(), "x");
        assert_eq!(parts.uri, "http://app:80/b?c");
    }

    #[test]
    fn what_is_no_http_is_refused() {
        let changed = |change: fn(&mut HttpRequest)| {
            let mut parts = head("/a");
            let mut seen = request(&parts, "", None);
            change(&mut seen);
            change_request(&mut parts, seen).unwrap_err().to_string()
        };
        assert_eq!(changed(|seen| seen.uri = "no path".into()), "\"no path\" is no path with a query");
        assert_eq!(changed(|seen| seen.method = "A B".into()), "\"A B\" is no method");
        assert_eq!(changed(|seen| seen.headers.insert("x", "a\nb")), "a header \"x\" cannot be sent");
    }
}
