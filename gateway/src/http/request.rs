//! A request as a building block sees it: its head, its query, its body: whole, or as it arrives.

use std::sync::Arc;

use bytes::Bytes;
use mecha_plugin_api::Metadata;
use mecha_runtime::{Call, Runtime};

use super::body::RequestStream;
use super::path::unescape;

/// One request that was let in.
pub(crate) struct Request<'a> {
    pub(crate) runtime: &'a Arc<Runtime>,
    pub(crate) call: &'a Call,
    pub(crate) head: &'a http::request::Parts,
    /// The whole body; empty when the route takes it as a stream.
    pub(crate) body: &'a Bytes,
    /// The body as it arrives, for a route that says so ([`super::router::Route::wants_stream`]).
    pub(crate) stream: &'a RequestStream,
}

impl Request<'_> {
    /// The query, decoded.
    pub(crate) fn query(&self) -> Query {
        Query::read(self.head.uri.query())
    }

    /// A header's value, when it is there and is text.
    pub(crate) fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.head.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// A query string's pairs, decoded.
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn read(query: Option<&str>) -> Self {
        let Some(query) = query.filter(|query| !query.is_empty()) else { return Self(Vec::new()) };
        let pairs = query.split('&').filter_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            // As in Go a pair that cannot be decoded is left out.
            Some((unescape(key)?.into_owned(), unescape(value)?.into_owned()))
        });
        Self(pairs.collect())
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Every value of a key that may stand there more than once.
    pub(crate) fn all(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// `metadata.<key>=<value>`, the first of each.
    pub(crate) fn metadata(&self) -> Metadata {
        let mut metadata = Metadata::new();
        for (name, value) in &self.0 {
            if let Some(key) = name.strip_prefix("metadata.").filter(|key| metadata.get(key).is_none()) {
                metadata.insert(key, value.as_str());
            }
        }
        metadata
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_repeated_metadata_counts() {
        let query = Query::read(Some("metadata.a=1&metadata.a=2&b=%zz&consistency=strong"));
        assert_eq!(query.metadata().get("a"), Some("1"));
        assert_eq!((query.get("b"), query.get("consistency")), (None, Some("strong")));
    }
}
