//! Paths, queries and patterns: what several types read of a request and of their metadata.

use std::borrow::Cow;

use mecha_plugin_api::{ComponentSpec, Error, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use regex_lite::Regex;

/// What a query's keys and values may hold as it is.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// What a path may hold as it is.
const PATH: &AsciiSet = &QUERY
    .remove(b'/')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b',')
    .remove(b':')
    .remove(b';')
    .remove(b'=')
    .remove(b'@');

/// A path as it was before it was escaped. What cannot be text stays escaped.
pub(crate) fn unescape(path: &str) -> Cow<'_, str> {
    percent_decode_str(path).decode_utf8().unwrap_or(Cow::Borrowed(path))
}

/// A path as it stands in a request line.
pub(crate) fn escape_path(path: &str) -> String {
    utf8_percent_encode(path, PATH).to_string()
}

/// Pairs as a query, or as a form's body.
pub(crate) fn form<K: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (K, V)>) -> String {
    let mut form = String::new();
    for (key, value) in pairs {
        if !form.is_empty() {
            form.push('&');
        }
        form.extend(utf8_percent_encode(key.as_ref(), QUERY));
        form.push('=');
        form.extend(utf8_percent_encode(value.as_ref(), QUERY));
    }
    form
}

/// The pairs of a query or of a form's body, in their order. A pair that cannot be text is left out.
pub(crate) fn pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    query.split('&').filter(|pair| !pair.is_empty()).filter_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        Some((decoded(key)?, decoded(value)?))
    })
}

/// The first value of a key in a query.
pub(crate) fn query_value(query: Option<&str>, key: &str) -> Option<String> {
    pairs(query?).find(|(name, _)| name == key).map(|(_, value)| value)
}

fn decoded(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(Cow::into_owned)
}

/// A pattern in a component's metadata; `None` when the field is absent.
pub(crate) fn pattern(spec: &ComponentSpec, field: &str) -> Result<Option<Regex>> {
    let compile = |text: &str| {
        Regex::new(text)
            .map_err(|error| Error::invalid(format!("not a regular expression: {error}")).with_field(field))
    };
    spec.text(field).map(compile).transpose()
}

/// Which requests a component is for: those whose path fits `pathFilter`, or all.
pub(crate) struct PathFilter(Option<Regex>);

impl PathFilter {
    pub(crate) fn read(spec: &ComponentSpec) -> Result<Self> {
        pattern(spec, "pathFilter").map(Self)
    }

    pub(crate) fn fits(&self, path: &str) -> bool {
        self.0.as_ref().is_none_or(|pattern| pattern.is_match(&unescape(path)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_come_back_as_they_went() {
        let written = form([("a b", "c&d"), ("e", "ü")]);
        assert_eq!(written, "a%20b=c%26d&e=%C3%BC");
        let read: Vec<_> = pairs(&written).collect();
        assert_eq!(read, [("a b".to_owned(), "c&d".to_owned()), ("e".to_owned(), "ü".to_owned())]);
        assert_eq!(query_value(Some("x=1+2&y"), "x").as_deref(), Some("1 2"));
        assert_eq!(query_value(Some("x=1&y"), "y").as_deref(), Some(""));
        assert_eq!(query_value(Some("x=%FF"), "x"), None);
        assert_eq!(query_value(None, "x"), None);
    }

    #[test]
    fn a_filter_sees_the_path_unescaped() {
        let filter = PathFilter(Some(Regex::new("^/a b$").unwrap()));
        assert!(filter.fits("/a%20b") && !filter.fits("/ab"));
        assert!(PathFilter(None).fits("/anything"));
    }
}
