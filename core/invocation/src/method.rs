//! Names of methods: cleaned once at the edge, escaped again on the way into a URL.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// What a path cannot hold as it is. `%` is looked at apart.
const ESCAPED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The name without `.`, `..` and double slashes; nothing leads out of the root.
///
/// # Errors
/// What is wrong with it, in Dapr's words.
pub(crate) fn normalise(method: &str) -> Result<String, String> {
    if method.contains(['#', '?', '\0']) {
        return Err(format!("method contains forbidden character: {method:?}"));
    }
    if let Some(position) = method.bytes().position(|byte| byte < 0x20 || byte == 0x7f) {
        return Err(format!("method contains control character at position {position}: {method:?}"));
    }
    let mut kept: Vec<&str> = Vec::new();
    for segment in method.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            other => kept.push(other),
        }
    }
    let root = if method.starts_with('/') { "/" } else { "" };
    Ok(format!("{root}{}", kept.join("/")))
}

/// The path of a URL, with its query. As in Dapr an escape that is one already stays what it is.
pub(crate) fn path(method: &str, query: &str) -> String {
    let mut path = String::with_capacity(method.len() + query.len() + 2);
    if !method.starts_with('/') {
        path.push('/');
    }
    let mut rest = method;
    while let Some(at) = rest.find('%') {
        let (before, from) = rest.split_at(at);
        path.extend(utf8_percent_encode(before, ESCAPED));
        let is_escape =
            from.as_bytes().get(1..3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        path.push_str(if is_escape { "%" } else { "%25" });
        rest = &from[1..];
    }
    path.extend(utf8_percent_encode(rest, ESCAPED));
    if !query.is_empty() {
        path.push('?');
        path.extend(utf8_percent_encode(query, ESCAPED_QUERY));
    }
    path
}

/// What a query cannot hold as it is; it was never decoded.
const ESCAPED_QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>');

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cleaned_and_stay_below_the_root() {
        for (raw, clean) in [
            ("a/b c//d/", "a/b c/d"),
            ("../../etc", "etc"),
            ("/a/./b/../c", "/a/c"),
            ("", ""),
            (".", ""),
            ("..", ""),
        ] {
            assert_eq!(normalise(raw).unwrap(), clean, "{raw}");
        }
        for raw in ["a#b", "a?b", "a\0", "a\nb", "a\x7f"] {
            assert!(normalise(raw).is_err(), "{raw:?}");
        }
    }

    #[test]
    fn a_path_is_escaped_once() {
        assert_eq!(path("a/b c", ""), "/a/b%20c");
        assert_eq!(path("/a%20b", "x=1&y=%20z"), "/a%20b?x=1&y=%20z");
        assert_eq!(path("100%", ""), "/100%25");
        assert_eq!(path("grüße/{id}", ""), "/gr%C3%BC%C3%9Fe/%7Bid%7D");
        assert_eq!(path("a:b@c,d;e=f&g$h!i'j(k)*", ""), "/a:b@c,d;e=f&g$h!i'j(k)*");
    }
}
