//! HTTP's words for objects: conditions, ranges, times and an object's head.

use chrono::{DateTime, SecondsFormat, Utc};
use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH,
    IF_RANGE, LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, StatusCode};
use mecha_plugin_api::object::{ByteRange, Conditions, ObjectHead};
use mecha_plugin_api::{Metadata, ROption, RString, RVec};

use super::error::invalid;
use crate::error::ApiError;
use crate::http::body::Body;
use crate::http::response::Reply;

/// What the header of an object's own metadata begins with.
const META: &str = "mecha-meta-";
const BINARY: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// `If-Match` and `If-None-Match`.
pub(super) fn conditions(headers: &HeaderMap) -> Result<Conditions, ApiError> {
    Ok(Conditions {
        // A weak etag is never a match here, and an empty list would be no condition at all.
        if_match: etags(headers, IF_MATCH, |tag| {
            tag.strip_prefix("W/").map_or(tag, |_| "W/ matches nothing")
        })?,
        if_none_match: etags(headers, IF_NONE_MATCH, |tag| tag.strip_prefix("W/").unwrap_or(tag))?,
    })
}

fn etags(
    headers: &HeaderMap,
    name: HeaderName,
    strength: impl Fn(&str) -> &str,
) -> Result<RVec<RString>, ApiError> {
    let mut found = RVec::new();
    for value in headers.get_all(&name) {
        let wrong = || invalid(format!("{name} is no list of etags in quotes"));
        let text = value.to_str().map_err(|_| wrong())?;
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let entry = strength(entry);
            let bare = entry.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            // Some clients leave the quotes out.
            found.push(bare.unwrap_or(entry).into());
        }
        if found.is_empty() {
            return Err(wrong());
        }
    }
    Ok(found)
}

/// The part that is asked for. Several ranges, and what cannot be read, are no range, as RFC 9110 allows.
pub(super) fn range(headers: &HeaderMap) -> ByteRange {
    let text = headers.get(RANGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let parsed = || {
        let (first, last) = text.trim().strip_prefix("bytes=")?.split_once('-')?;
        let number = |text: &str| match text.trim() {
            "" => Some(ROption::RNone),
            digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                // More than fits is more than any object has.
                Some(ROption::RSome(digits.parse().unwrap_or(u64::MAX)))
            }
            _ => None,
        };
        let range = ByteRange { first: number(first)?, last: number(last)? };
        let is_backwards = matches!((range.first, range.last), (ROption::RSome(first), ROption::RSome(last)) if last < first);
        (!is_backwards).then_some(range)
    };
    parsed().unwrap_or(ByteRange::WHOLE)
}

/// The etag that `If-Range` names; `Some(None)` for what can never be the object's: a time, a weak etag.
pub(super) fn if_range(headers: &HeaderMap) -> Option<Option<String>> {
    let text = headers.get(IF_RANGE)?.to_str().unwrap_or_default().trim();
    Some(text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).map(str::to_owned))
}

/// An object's own metadata.
pub(super) fn object_metadata(headers: &HeaderMap) -> Result<Metadata, ApiError> {
    let mut metadata = Metadata::new();
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix(META) else { continue };
        let value = value.to_str().map_err(|_| invalid(format!("{META}{name} is not ASCII")))?;
        metadata.insert(name, value);
    }
    Ok(metadata)
}

/// An answer about an object, with `length` bytes of body to come.
pub(super) fn reply(head: &ObjectHead, status: StatusCode, length: u64, body: Body) -> Reply {
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CONTENT_TYPE, HeaderValue::try_from(&*head.content_type).unwrap_or(BINARY));
    if head.content_type.is_empty() {
        headers.insert(CONTENT_TYPE, BINARY);
    }
    headers.insert(CONTENT_LENGTH, length.into());
    add_etag(&mut headers, &head.etag);
    if let Some(modified) = time(head.modified_ms)
        && let Ok(value) = HeaderValue::try_from(modified.format("%a, %d %b %Y %H:%M:%S GMT").to_string())
    {
        headers.insert(LAST_MODIFIED, value);
    }
    for (name, value) in head.metadata.iter() {
        let name = HeaderName::try_from(format!("{META}{name}"));
        // What HTTP cannot carry was put there by other means than this API.
        if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
    Reply { status, headers, body }
}

/// Sets the `ETag` of an object that has one.
pub(super) fn add_etag(headers: &mut HeaderMap, etag: &str) {
    if let (false, Ok(value)) = (etag.is_empty(), HeaderValue::try_from(format!("\"{etag}\""))) {
        headers.insert(ETAG, value);
    }
}

/// A point in time as JSON has it.
pub(super) fn rfc3339(milliseconds: u64) -> Option<String> {
    Some(time(milliseconds)?.to_rfc3339_opts(SecondsFormat::Millis, true))
}

fn time(milliseconds: u64) -> Option<DateTime<Utc>> {
    let known = i64::try_from(milliseconds).ok().filter(|milliseconds| *milliseconds != 0)?;
    DateTime::from_timestamp_millis(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn one_range_is_read_and_everything_else_is_none() {
        let of = |text| {
            let range = range(&headers(RANGE, text));
            (range.first.into_option(), range.last.into_option())
        };
        assert_eq!(of("bytes=0-9"), (Some(0), Some(9)));
        assert_eq!(of("bytes=5-"), (Some(5), None));
        assert_eq!(of("bytes=-5"), (None, Some(5)));
        assert_eq!(of("bytes=0-99999999999999999999"), (Some(0), Some(u64::MAX)));
        for text in ["bytes=-", "bytes=5-4", "bytes=0-1,3-4", "bytes=a-b", "bytes=+1-2", "lines=1-2", ""] {
            assert_eq!(of(text), (None, None), "{text}");
        }
    }

    #[test]
    fn etags_lose_their_quotes_and_weak_ones_match_only_where_they_may() {
        let list = |list: &RVec<RString>| list.iter().map(|tag| tag.to_string()).collect::<Vec<_>>();
        let found = conditions(&headers(IF_NONE_MATCH, r#""a", W/"b" ,c"#)).unwrap();
        assert_eq!(list(&found.if_none_match), ["a", "b", "c"]);
        let found = conditions(&headers(IF_MATCH, r#"W/"a""#)).unwrap();
        assert!(found.check(Some("a")).is_err());
        assert!(conditions(&headers(IF_MATCH, " , ")).is_err());
        assert!(conditions(&headers(IF_MATCH, "*")).unwrap().check(Some("a")).is_ok());
        assert!(conditions(&HeaderMap::new()).unwrap().is_empty());
    }

    #[test]
    fn times_are_written_as_http_and_json_want_them() {
        let head = ObjectHead { modified_ms: 1_627_894_800_999, etag: "e".into(), ..ObjectHead::default() };
        let reply = reply(&head, StatusCode::OK, 0, Body::Whole(Default::default()));
        assert_eq!(reply.headers[LAST_MODIFIED], "Mon, 02 Aug 2021 09:00:00 GMT");
        assert_eq!(
            (&reply.headers[ETAG], &reply.headers[CONTENT_TYPE]),
            (&"\"e\"".parse().unwrap(), &BINARY)
        );
        assert_eq!(rfc3339(1_627_894_800_999).as_deref(), Some("2021-08-02T09:00:00.999Z"));
        assert_eq!(rfc3339(0), None);
    }
}
