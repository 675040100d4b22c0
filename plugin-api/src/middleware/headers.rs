//! The headers of a message, in their order, with bytes that need not be text.

use abi_stable::StableAbi;
use abi_stable::std_types::{RString, RVec};

/// One header.
#[repr(C)]
#[derive(StableAbi, Clone, PartialEq, Eq)]
pub struct Header {
    /// The name; the host gives it in lower case.
    pub name: RString,
    /// The value.
    pub value: RVec<u8>,
}

/// Headers; a name may stand there more than once. Look-ups ignore ASCII case.
#[repr(transparent)]
#[derive(StableAbi, Clone, PartialEq, Eq, Default)]
pub struct Headers(RVec<Header>);

impl Headers {
    /// None.
    pub const fn new() -> Self {
        Self(RVec::new())
    }

    /// Room for as many headers.
    pub fn with_capacity(headers: usize) -> Self {
        Self(RVec::with_capacity(headers))
    }

    /// The first value of `name`, when it is text.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Every value of `name` that is text.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let found = self.0.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
        found.filter_map(|header| std::str::from_utf8(&header.value).ok())
    }

    /// Adds a value beside those that `name` has.
    pub fn append(&mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) {
        self.0.push(Header { name: name.into().into(), value: value.into().into() });
    }

    /// Makes `value` the only value of `name`.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) {
        let name = name.into();
        self.remove(&name);
        self.append(name, value);
    }

    /// Takes every value of `name` out.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|header| !header.name.eq_ignore_ascii_case(name));
    }

    /// The headers in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|header| (header.name.as_str(), header.value.as_slice()))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<N: Into<String>, V: Into<Vec<u8>>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut headers = Self::new();
        for (name, value) in pairs {
            headers.append(name, value);
        }
        headers
    }
}

/// Prints the names only: values may be secrets.
impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|header| &header.name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_values_in_any_case() {
        let mut headers = Headers::from_iter([("cookie", "a=1"), ("Cookie", "b=2"), ("x", "1")]);
        assert_eq!(headers.get("COOKIE"), Some("a=1"));
        assert_eq!(headers.all("cookie").collect::<Vec<_>>(), ["a=1", "b=2"]);
        headers.insert("Cookie", "c=3");
        assert_eq!(headers.all("cookie").collect::<Vec<_>>(), ["c=3"]);
        headers.remove("X");
        assert_eq!(headers.get("x"), None);
    }

    #[test]
    fn a_value_that_is_no_text_is_kept_and_not_shown() {
        let mut headers = Headers::new();
        headers.append("x", vec![0xFF_u8]);
        assert_eq!(headers.get("x"), None);
        assert_eq!(headers.iter().next(), Some(("x", &[0xFF_u8][..])));
        assert_eq!(format!("{headers:?}"), "[\"x\"]");
    }
}
