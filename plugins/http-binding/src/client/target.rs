//! Addresses: joined, made fit for the wire, resolved when a server redirects.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::uri::Authority;
use http::{HeaderValue, Uri};
use mecha_plugin_api::{Error, Result};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// What may not stand in a request line as it is. Percent signs stay: what is encoded already is left alone.
const UNFIT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Where a request goes, and the credentials that stood in its address.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) uri: Uri,
    pub(crate) authorization: Option<HeaderValue>,
}

/// Appends a request's path to the component's address: one slash between the two, whatever they end and begin with.
pub(crate) fn join(url: &str, path: &str) -> String {
    if path.is_empty() {
        return url.to_owned();
    }
    format!("{}/{}", url.trim_end_matches('/'), path.trim_start_matches('/'))
}

/// Reads an absolute `http` or `https` address.
pub(crate) fn parse(text: &str) -> Result<Target> {
    let text = text.split_once('#').map_or(text, |(before, _fragment)| before);
    let wrong = |reason: &str| Error::invalid(format!("not an http or https address: {reason}"));
    let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong("it has no scheme"))?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(wrong("its scheme is another"));
    }
    let authority_end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(authority_end);
    let (credentials, host) = match authority.rsplit_once('@') {
        Some((credentials, host)) => (Some(credentials), host),
        None => (None, authority),
    };
    let slash = if path.starts_with('/') { "" } else { "/" };
    let address = format!("{scheme}://{host}{slash}{}", utf8_percent_encode(path, UNFIT));
    let uri: Uri = address.parse().map_err(|error: http::uri::InvalidUri| wrong(&error.to_string()))?;
    if uri.host().is_none_or(str::is_empty) {
        return Err(wrong("it has no host"));
    }
    // The parser takes any text for a port, and gives none for one that is no number.
    if uri.port_u16().is_none() && uri.authority().map(Authority::as_str) != uri.host() {
        return Err(wrong("its port is no number"));
    }
    Ok(Target { uri, authorization: credentials.map(basic_authorization).transpose()? })
}

fn basic_authorization(credentials: &str) -> Result<HeaderValue> {
    let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    let decoded = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let pair = format!("{}:{}", decoded(user), decoded(password));
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)))
        .map_err(|_| Error::invalid("the credentials in the address cannot be sent"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Where `location` points when `from` answered with it.
pub(crate) fn resolve(from: &Uri, location: &str) -> Result<Target> {
    let (scheme, authority) =
        (from.scheme_str().unwrap_or("http"), from.authority().map_or("", |authority| authority.as_str()));
    if has_scheme(location) {
        return parse(location);
    }
    if let Some(rest) = location.strip_prefix("//") {
        return parse(&format!("{scheme}://{rest}"));
    }
    let path = if location.starts_with('/') {
        without_dots(location)
    } else if location.starts_with('?') {
        format!("{}{location}", from.path())
    } else {
        let folder = from.path().rsplit_once('/').map_or("", |(folder, _file)| folder);
        without_dots(&format!("{folder}/{location}"))
    };
    parse(&format!("{scheme}://{authority}{path}"))
}

fn has_scheme(location: &str) -> bool {
    let before = location.split(['/', '?', '#']).next().unwrap_or_default();
    before.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    })
}

/// Removes `.` and `..` from a path; the query stays as it is (RFC 3986, 5.2.4).
fn without_dots(text: &str) -> String {
    let (path, query) = match text.find(['?', '#']) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            other => kept.push(other),
        }
        if last && matches!(segment, "." | "..") {
            kept.push("");
        }
    }
    format!("/{}{query}", kept.join("/"))
}

/// Whether headers that identify the caller may go from the one address to the other: same host, or one below it.
pub(crate) fn may_keep_secrets(from: &Uri, to: &Uri) -> bool {
    let (from, to) = (from.host().unwrap_or_default(), to.host().unwrap_or_default());
    let below = to.len() > from.len()
        && to[to.len() - from.len()..].eq_ignore_ascii_case(from)
        && to.as_bytes()[to.len() - from.len() - 1] == b'.'
        && from.contains(|c: char| c.is_ascii_alphabetic());
    from.eq_ignore_ascii_case(to) || below
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joining_leaves_one_slash() {
        for (url, path) in
            [("http://h/a", "b"), ("http://h/a/", "b"), ("http://h/a", "/b"), ("http://h/a//", "//b")]
        {
            assert_eq!(join(url, path), "http://h/a/b");
        }
        assert_eq!(join("http://h/a/", ""), "http://h/a/");
        assert_eq!(join("http://h", "b?c=d/"), "http://h/b?c=d/");
    }

    #[test]
    fn addresses_are_made_fit_for_the_wire() {
        for (text, uri) in [
            ("http://h", "http://h/"),
            ("HTTP://h:81/a b", "http://h:81/a%20b"),
            ("http://h/é?q=ü x", "http://h/%C3%A9?q=%C3%BC%20x"),
            ("http://h/%20?x=%41#part", "http://h/%20?x=%41"),
            ("http://h?x=1", "http://h/?x=1"),
            ("https://[::1]:8443/a", "https://[::1]:8443/a"),
        ] {
            assert_eq!(parse(text).unwrap().uri, uri, "{text}");
        }
        for text in ["h/a", "/a", "ftp://h", "http://", "http:///a", "http://h:port/"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn credentials_become_a_header_and_leave_the_address() {
        let target = parse("http://us%40er:pa:ss@h/a").unwrap();
        assert_eq!(target.uri, "http://h/a");
        let header = target.authorization.unwrap();
        assert_eq!(header, format!("Basic {}", STANDARD.encode("us@er:pa:ss")));
        assert!(header.is_sensitive());
        let error = parse("http://user:secret@h:port").unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn redirects_resolve() {
        let from: Uri = "http://h:81/a/b?c=1".parse().unwrap();
        for (location, uri) in [
            ("https://other/x", "https://other/x"),
            ("//other/x", "http://other/x"),
            ("/x/../y?z=/../", "http://h:81/y?z=/../"),
            ("x", "http://h:81/a/x"),
            ("../x", "http://h:81/x"),
            ("../../..", "http://h:81/"),
            ("./", "http://h:81/a/"),
            ("?d=2", "http://h:81/a/b?d=2"),
            ("x?to=http://y", "http://h:81/a/x?to=http://y"),
        ] {
            assert_eq!(resolve(&from, location).unwrap().uri, uri, "{location}");
        }
        assert!(resolve(&from, "mailto:someone").is_err());
    }

    #[test]
    fn secrets_stay_with_the_host_and_below_it() {
        let uri = |text: &str| text.parse::<Uri>().unwrap();
        assert!(may_keep_secrets(&uri("http://h.example/"), &uri("https://H.example:8443/")));
        assert!(may_keep_secrets(&uri("http://h.example/"), &uri("http://a.h.example/")));
        assert!(!may_keep_secrets(&uri("http://h.example/"), &uri("http://example/")));
        assert!(!may_keep_secrets(&uri("http://h.example/"), &uri("http://evilh.example/")));
        assert!(!may_keep_secrets(&uri("http://0.0.1/"), &uri("http://127.0.0.1/")));
    }
}
