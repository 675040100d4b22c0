//! A request's path as the router sees it: cleaned, known to decode, cut at its slashes.

use std::borrow::Cow;

/// A cleaned path.
#[derive(Debug)]
pub(crate) struct Path<'a>(Cow<'a, str>);

impl<'a> Path<'a> {
    /// Cleans as Go's `path.Clean` does and drops a slash at the end; `None` for an escape that is none, and for escaped
    /// bytes that are not UTF-8, which no key or name can hold here.
    pub(crate) fn parse(raw: &'a str) -> Option<Self> {
        if raw.contains('%') {
            is_decodable(raw).then_some(())?;
        }
        Some(Self(clean(raw)))
    }

    /// The whole of it, still escaped.
    #[cfg(feature = "fuzzing")]
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The first two segments and the rest: API version, building block, and what the block itself routes on.
    pub(crate) fn parts(&self) -> (&str, &str, &str) {
        let mut parts = self.0.trim_start_matches('/').splitn(3, '/');
        let mut next = || parts.next().unwrap_or_default();
        (next(), next(), next())
    }
}

/// Cuts `rest` into its segments; `None` when there are more than `N`.
pub(crate) fn segments<'p, 'b, const N: usize>(
    rest: &'p str,
    buffer: &'b mut [&'p str; N],
) -> Option<&'b [&'p str]> {
    if rest.is_empty() {
        return Some(&[]);
    }
    let mut count = 0;
    for segment in rest.split('/') {
        *buffer.get_mut(count)? = segment;
        count += 1;
    }
    Some(&buffer[..count])
}

/// Decodes as Go's `url.QueryUnescape`: `+` is a space; `None` for a bad escape or text that is not UTF-8.
pub(crate) fn unescape(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains(['%', '+']) {
        return Some(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            other => other,
        });
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

/// Decodes a segment of a [`Path`], which is known to decode.
pub(crate) fn decoded(segment: &str) -> Cow<'_, str> {
    unescape(segment).unwrap_or(Cow::Borrowed(segment))
}

/// Decodes a path, which is known to decode: unlike in a query, `+` is itself.
pub(crate) fn decoded_path(raw: &str) -> Cow<'_, str> {
    if !raw.contains('%') {
        return Cow::Borrowed(raw);
    }
    unescape(&raw.replace('+', "%2B")).map_or(Cow::Borrowed(raw), |path| Cow::Owned(path.into_owned()))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

fn is_decodable(raw: &str) -> bool {
    unescape(raw).is_some()
}

fn clean(raw: &str) -> Cow<'_, str> {
    let ends_with_slash = raw.len() > 1 && raw.ends_with('/');
    if !(ends_with_slash || raw.contains("//") || raw.contains("/.")) {
        return Cow::Borrowed(raw);
    }
    let mut kept: Vec<&str> = Vec::new();
    for segment in raw.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            other => kept.push(other),
        }
    }
    Cow::Owned(format!("/{}", kept.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleans_as_go_does() {
        for (raw, expected) in [
            ("/v1.0/state/s/k", ("v1.0", "state", "s/k")),
            ("//v1.0//state/s/k/", ("v1.0", "state", "s/k")),
            ("/v1.0/state/s/../../healthz", ("v1.0", "healthz", "")),
            ("/../../etc", ("etc", "", "")),
            ("/", ("", "", "")),
            ("/v1.0/state/s/.hidden", ("v1.0", "state", "s/.hidden")),
            ("/v1.0/state/s/%2e%2e", ("v1.0", "state", "s/%2e%2e")),
        ] {
            assert_eq!(Path::parse(raw).unwrap().parts(), expected, "{raw}");
        }
    }

    #[test]
    fn what_does_not_decode_is_no_path() {
        for raw in ["/%", "/%2", "/%zz", "/%ff", "/%+1"] {
            assert!(Path::parse(raw).is_none(), "{raw}");
        }
        assert_eq!(decoded("a+b%2Fc"), "a b/c");
        assert_eq!(decoded_path("/a+b%2Fc%2B"), "/a+b/c+");
    }

    #[test]
    fn segments_are_counted() {
        let mut buffer = [""; 2];
        assert_eq!(segments("a/b", &mut buffer), Some(&["a", "b"][..]));
        assert_eq!(segments("a/b/c", &mut [""; 2]), None);
        assert_eq!(segments("", &mut [""; 2]), Some(&[][..]));
    }
}
