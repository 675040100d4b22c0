//! What goes into an object store and what it says of its objects.

use std::ops::Range;
use std::time::Duration;

use abi_stable::StableAbi;
use abi_stable::std_types::{ROption, RString, RVec};

use super::stream::ReadObject;
use crate::{Error, ErrorKind, Metadata, Result};

/// What an object store can do beyond reading and writing. A set of bits.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ObjectFeatures(pub u32);

impl ObjectFeatures {
    /// [`super::ObjectStore::presign`].
    pub const PRESIGN: Self = Self(1);

    /// Both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether every bit of `other` is set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// What a store knows of an object. A listing may leave everything but key and size empty.
#[repr(C)]
#[derive(StableAbi, Clone, PartialEq, Debug, Default)]
pub struct ObjectHead {
    /// Its key.
    pub key: RString,
    /// Its size in bytes, whatever part of it is read.
    pub size: u64,
    /// Changes whenever the object does; without quotes.
    pub etag: RString,
    /// Media type; empty when unknown.
    pub content_type: RString,
    /// When it was written, in milliseconds since 1970; 0 when unknown.
    pub modified_ms: u64,
    /// The metadata that its writer gave it.
    pub metadata: Metadata,
    /// What else the store says, in its own names.
    pub details: Metadata,
}

/// A part of an object, as HTTP's `Range` says it.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ByteRange {
    /// The first byte; absent together with `last` for the whole object.
    pub first: ROption<u64>,
    /// The last byte, included. Without `first`: how many bytes at the end.
    pub last: ROption<u64>,
}

impl ByteRange {
    /// The whole object.
    pub const WHOLE: Self = Self { first: ROption::RNone, last: ROption::RNone };

    /// Whether it is the whole object.
    pub fn is_whole(&self) -> bool {
        *self == Self::WHOLE
    }

    /// The bytes of an object of `size` that it stands for.
    ///
    /// # Errors
    /// [`ErrorKind::INVALID`] with the field `range` and the detail `size` when there are none of them.
    pub fn within(&self, size: u64) -> Result<Range<u64>> {
        let range = match (self.first.into_option(), self.last.into_option()) {
            (None, None) => return Ok(0..size),
            (None, Some(count)) => size.saturating_sub(count)..size,
            (Some(first), None) => first..size,
            (Some(first), Some(last)) => first..size.min(last.saturating_add(1)),
        };
        if range.is_empty() {
            let details = Metadata::from_iter([("size", size.to_string())]);
            let error = Error::invalid(format!("the object has {size} bytes")).with_field("range");
            return Err(error.with_details(details));
        }
        Ok(range)
    }
}

/// On what a request depends. Entries are etags without quotes, or `*` for any object.
#[repr(C)]
#[derive(StableAbi, Clone, PartialEq, Debug, Default)]
pub struct Conditions {
    /// The object must have one of these; empty = no condition.
    pub if_match: RVec<RString>,
    /// The object must have none of these; empty = no condition.
    pub if_none_match: RVec<RString>,
}

impl Conditions {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.if_match.is_empty() && self.if_none_match.is_empty()
    }

    /// Checks them against the object's etag; `None` = there is no such object.
    ///
    /// # Errors
    /// [`ErrorKind::ETAG_MISMATCH`] with the field `ifMatch` or `ifNoneMatch`, and the detail `etag`.
    pub fn check(&self, etag: Option<&str>) -> Result<()> {
        let names = |list: &RVec<RString>| {
            etag.is_some_and(|etag| list.iter().any(|entry| entry == "*" || entry == etag))
        };
        let (field, text) = match () {
            () if !self.if_match.is_empty() && !names(&self.if_match) => {
                ("ifMatch", "the object is not the expected one")
            }
            () if names(&self.if_none_match) => ("ifNoneMatch", "there is such an object already"),
            () => return Ok(()),
        };
        let details = etag.map(|etag| ("etag", etag)).into_iter().collect();
        Err(Error::new(ErrorKind::ETAG_MISMATCH, text).with_field(field).with_details(details))
    }
}

/// An object to open or to look at.
#[repr(C)]
#[derive(StableAbi, Clone, Debug, Default)]
pub struct GetRequest {
    /// Its key.
    pub key: RString,
    /// The part that is wanted; looking at it takes no notice of this.
    pub range: ByteRange,
    /// On what it depends.
    pub conditions: Conditions,
    /// Request metadata.
    pub metadata: Metadata,
}

/// An opened object: what the store knows of it and the bytes that were asked for.
#[repr(C)]
#[derive(StableAbi)]
pub struct Opened {
    /// What the store knows of it.
    pub head: ObjectHead,
    /// The first byte of the body, counted from the object's start.
    pub first: u64,
    /// How many bytes the body has.
    pub length: u64,
    /// The bytes.
    pub body: ReadObject,
}

/// An object to begin.
#[repr(C)]
#[derive(StableAbi, Clone, Debug, Default)]
pub struct PutRequest {
    /// Its key.
    pub key: RString,
    /// Its size, where the writer knows; the host holds the writer to it.
    pub size: ROption<u64>,
    /// Media type; empty when unknown.
    pub content_type: RString,
    /// The writer's own metadata, kept with the object. Names are in lower case.
    pub object_metadata: Metadata,
    /// On what it depends, checked against the object that it would replace.
    pub conditions: Conditions,
    /// Request metadata.
    pub metadata: Metadata,
}

/// An object to delete.
#[repr(C)]
#[derive(StableAbi, Clone, Debug, Default)]
pub struct DeleteRequest {
    /// Its key.
    pub key: RString,
    /// On what it depends.
    pub conditions: Conditions,
    /// Request metadata.
    pub metadata: Metadata,
}

/// A page to list.
#[repr(C)]
#[derive(StableAbi, Clone, Debug, Default)]
pub struct ListRequest {
    /// What the keys begin with; empty for all.
    pub prefix: RString,
    /// Keys that go on after the prefix with this in them are listed once, as the prefix that ends with it; empty = none are.
    pub delimiter: RString,
    /// [`ListPage::cursor`] of the page before; empty for the first.
    pub cursor: RString,
    /// Most objects and prefixes of the page; at least 1.
    pub limit: u32,
    /// Request metadata.
    pub metadata: Metadata,
}

/// A page of a listing.
#[repr(C)]
#[derive(StableAbi, Clone, PartialEq, Debug, Default)]
pub struct ListPage {
    /// The objects.
    pub objects: RVec<ObjectHead>,
    /// What the delimiter cut out, itself included.
    pub prefixes: RVec<RString>,
    /// Where the next page begins; empty when this is the last.
    pub cursor: RString,
}

/// An object to copy.
#[repr(C)]
#[derive(StableAbi, Clone, Debug, Default)]
pub struct CopyRequest {
    /// Key of the object.
    pub source: RString,
    /// Key of the copy.
    pub target: RString,
    /// On what it depends, checked against the source.
    pub source_conditions: Conditions,
    /// On what it depends, checked against the object that the copy would replace.
    pub conditions: Conditions,
    /// Request metadata.
    pub metadata: Metadata,
}

/// An address to make.
#[repr(C)]
#[derive(StableAbi, Clone, Debug, Default)]
pub struct PresignRequest {
    /// The object's key.
    pub key: RString,
    /// `GET` or `PUT`.
    pub method: RString,
    /// How long the address is good, in nanoseconds.
    pub ttl_ns: u64,
    /// With `PUT`: the media type that must be sent; empty = any.
    pub content_type: RString,
    /// Request metadata.
    pub metadata: Metadata,
}

impl PresignRequest {
    /// How long the address is good.
    pub fn ttl(&self) -> Duration {
        Duration::from_nanos(self.ttl_ns)
    }
}

/// An address for one object.
#[repr(C)]
#[derive(StableAbi, Clone, PartialEq, Default)]
pub struct Presigned {
    /// The address. Whoever has it has the right.
    pub url: RString,
    /// The method to use.
    pub method: RString,
    /// Headers that must be sent.
    pub headers: Metadata,
}

/// Prints the method only: the address is a secret.
impl std::fmt::Debug for Presigned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Presigned").field("method", &self.method).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use abi_stable::std_types::ROption::{RNone, RSome};

    use super::*;

    #[test]
    fn a_range_is_cut_to_the_object() {
        let of = |first, last| ByteRange { first, last }.within(10);
        assert_eq!(of(RNone, RNone).unwrap(), 0..10);
        assert_eq!(of(RSome(2), RNone).unwrap(), 2..10);
        assert_eq!(of(RSome(2), RSome(4)).unwrap(), 2..5);
        assert_eq!(of(RSome(2), RSome(u64::MAX)).unwrap(), 2..10);
        assert_eq!(of(RNone, RSome(3)).unwrap(), 7..10);
        assert_eq!(of(RNone, RSome(30)).unwrap(), 0..10);
        for (first, last) in [(RSome(10), RNone), (RSome(5), RSome(4)), (RNone, RSome(0))] {
            let error = of(first, last).unwrap_err();
            assert_eq!((error.field(), error.details().get("size")), (Some("range"), Some("10")));
        }
        assert_eq!(ByteRange::WHOLE.within(0).unwrap(), 0..0);
    }

    #[test]
    fn conditions_are_those_of_http() {
        let list = |entries: &[&str]| entries.iter().map(|entry| RString::from(*entry)).collect::<RVec<_>>();
        let check = |if_match: &[&str], if_none_match: &[&str], etag| {
            let conditions = Conditions { if_match: list(if_match), if_none_match: list(if_none_match) };
            conditions.check(etag).map_err(|error| error.field().unwrap_or_default().to_owned())
        };
        assert_eq!(check(&[], &[], None), Ok(()));
        assert_eq!(check(&["a", "b"], &[], Some("b")), Ok(()));
        assert_eq!(check(&["*"], &[], Some("b")), Ok(()));
        assert_eq!(check(&["*"], &[], None).unwrap_err(), "ifMatch");
        assert_eq!(check(&["a"], &["b"], Some("b")).unwrap_err(), "ifMatch");
        assert_eq!(check(&["b"], &["b"], Some("b")).unwrap_err(), "ifNoneMatch");
        assert_eq!(check(&[], &["*"], None), Ok(()));
        assert_eq!(check(&[], &["a"], Some("b")), Ok(()));
    }
}
