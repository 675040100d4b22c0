//! String pairs: component metadata, request metadata, response metadata.

use abi_stable::StableAbi;
use abi_stable::std_types::{RString, RVec};

/// One key and its value.
#[repr(C)]
#[derive(StableAbi, Clone, PartialEq, Debug)]
pub struct Pair {
    /// The key, in the spelling of its writer.
    pub key: RString,
    /// The value.
    pub value: RString,
}

/// A short list of string pairs. Look-ups ignore ASCII case, as Dapr's components do; an empty list allocates nothing.
#[repr(transparent)]
#[derive(StableAbi, Clone, PartialEq, Default)]
pub struct Metadata(RVec<Pair>);

impl Metadata {
    /// No pairs.
    pub const fn new() -> Self {
        Self(RVec::new())
    }

    /// The value of `key`, ignoring ASCII case.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|pair| pair.key.eq_ignore_ascii_case(key)).map(|pair| pair.value.as_str())
    }

    /// Sets `key`, replacing an earlier value of the same key in any case.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<String>) {
        let (key, value) = (key.into(), value.into());
        match self.0.iter_mut().find(|pair| pair.key.eq_ignore_ascii_case(&key)) {
            Some(pair) => pair.value = value.into(),
            None => self.0.push(Pair { key: key.into(), value: value.into() }),
        }
    }

    /// The pairs in the order they were added.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|pair| (pair.key.as_str(), pair.value.as_str()))
    }

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Metadata {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut metadata = Self::new();
        for (key, value) in pairs {
            metadata.insert(key, value);
        }
        metadata
    }
}

/// Prints the keys only: values may be secrets.
impl std::fmt::Debug for Metadata {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.iter().map(|pair| &pair.key)).finish()
    }
}
