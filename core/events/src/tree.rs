//! JSON → the value trees of others, without a tree in between. Every number becomes a double, as in Go.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::json::mend_surrogates;

/// A value tree that JSON can become.
pub(crate) trait Tree: Sized {
    fn null() -> Self;
    fn boolean(value: bool) -> Self;
    fn number(value: f64) -> Self;
    fn text(value: String) -> Self;
    fn list(items: Vec<Self>) -> Self;
    /// Of entries with the same key the last one counts.
    fn map(entries: Vec<(String, Self)>) -> Self;
}

/// Reads a JSON text. Fails on a number beyond a double's range and on one nested deeper than 128 levels.
pub(crate) fn read<T: Tree>(json: &str) -> Result<T, serde_json::Error> {
    let tree = serde_json::from_str::<Node<T>>(json);
    let tree = tree.or_else(|error| serde_json::from_str(&mend_surrogates(json)).map_err(|_| error));
    tree.map(|node| node.0)
}

struct Node<T>(T);

impl<'de, T: Tree> Deserialize<'de> for Node<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Reader(PhantomData)).map(Self)
    }
}

struct Reader<T>(PhantomData<T>);

impl<'de, T: Tree> Visitor<'de> for Reader<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(T::null())
    }

    fn visit_bool<E>(self, value: bool) -> Result<T, E> {
        Ok(T::boolean(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<T, E> {
        Ok(T::number(value as f64))
    }

    fn visit_i64<E>(self, value: i64) -> Result<T, E> {
        Ok(T::number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<T, E> {
        Ok(T::number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<T, E> {
        Ok(T::text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<T, E> {
        Ok(T::text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<T, A::Error> {
        let mut items = Vec::new();
        while let Some(Node(item)) = from.next_element()? {
            items.push(item);
        }
        Ok(T::list(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<T, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, Node(value))) = from.next_entry()? {
            entries.push((key, value));
        }
        Ok(T::map(entries))
    }
}
