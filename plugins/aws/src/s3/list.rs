//! The listing of a bucket, as Dapr's JSON has it: the names of the Go SDK, empty lists as null.

use aws_sdk_s3::operation::list_objects::ListObjectsOutput;
use aws_sdk_s3::primitives::DateTimeFormat;
use aws_sdk_s3::types::Object;
use mecha_plugin_api::CallContext;
use serde::Serialize;
use tracing::Instrument as _;

use super::object::Bucket;
use super::payload::ListRequest;
use crate::client::ask;
use crate::error::Failure;
use crate::span;

const MAX_RESULTS: i32 = 1000;

/// A page of a listing.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Listing {
    common_prefixes: Option<Vec<Prefix>>,
    contents: Option<Vec<Entry>>,
    delimiter: Option<String>,
    encoding_type: String,
    is_truncated: Option<bool>,
    marker: Option<String>,
    max_keys: Option<i32>,
    name: Option<String>,
    next_marker: Option<String>,
    prefix: Option<String>,
    request_charged: String,
    result_metadata: Empty,
}

#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Prefix {
    prefix: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    checksum_algorithm: Option<Vec<String>>,
    checksum_type: String,
    #[serde(rename = "ETag")]
    etag: Option<String>,
    key: Option<String>,
    last_modified: Option<String>,
    owner: Option<Owner>,
    restore_status: Option<Restore>,
    size: Option<i64>,
    storage_class: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Owner {
    display_name: Option<String>,
    #[serde(rename = "ID")]
    id: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Restore {
    is_restore_in_progress: Option<bool>,
    restore_expiry_date: Option<String>,
}

/// Asks for one page.
pub(crate) async fn list(
    context: &CallContext,
    bucket: &Bucket,
    request: ListRequest,
) -> Result<Listing, Failure> {
    let span = span::object(context, "ListObjects", &bucket.name);
    let max = if request.max_results < 1 { MAX_RESULTS } else { request.max_results };
    let text = |text: String| Some(text).filter(|text| !text.is_empty());
    let asked = bucket
        .client
        .list_objects()
        .bucket(&bucket.name)
        .max_keys(max)
        .set_marker(text(request.marker))
        .set_prefix(text(request.prefix))
        .set_delimiter(text(request.delimiter));
    let listed = ask(asked.send()).instrument(span.clone()).await;
    span::record(&span, listed.as_ref().err());
    Ok(listing(listed?))
}

fn listing(answer: ListObjectsOutput) -> Listing {
    let prefixes = answer
        .common_prefixes
        .map(|prefixes| prefixes.into_iter().map(|one| Prefix { prefix: one.prefix }).collect());
    Listing {
        common_prefixes: prefixes,
        contents: answer.contents.map(|objects| objects.into_iter().map(entry).collect()),
        delimiter: answer.delimiter,
        encoding_type: answer.encoding_type.map(|kind| kind.as_str().to_owned()).unwrap_or_default(),
        is_truncated: answer.is_truncated,
        marker: answer.marker,
        max_keys: answer.max_keys,
        name: answer.name,
        next_marker: answer.next_marker,
        prefix: answer.prefix,
        request_charged: answer.request_charged.map(|who| who.as_str().to_owned()).unwrap_or_default(),
        result_metadata: Empty {},
    }
}

fn entry(object: Object) -> Entry {
    let time = |time: aws_sdk_s3::primitives::DateTime| time.fmt(DateTimeFormat::DateTime).ok();
    let algorithms = object.checksum_algorithm;
    Entry {
        checksum_algorithm: algorithms.map(|all| all.iter().map(|one| one.as_str().to_owned()).collect()),
        checksum_type: object.checksum_type.map(|kind| kind.as_str().to_owned()).unwrap_or_default(),
        etag: object.e_tag,
        key: object.key,
        last_modified: object.last_modified.and_then(time),
        owner: object.owner.map(|owner| Owner { display_name: owner.display_name, id: owner.id }),
        restore_status: object.restore_status.map(|status| Restore {
            is_restore_in_progress: status.is_restore_in_progress,
            restore_expiry_date: status.restore_expiry_date.and_then(time),
        }),
        size: object.size,
        storage_class: object.storage_class.map(|class| class.as_str().to_owned()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_the_names_of_daprs_answer() {
        let object = Object::builder().key("a/b").size(3).e_tag("\"e\"").build();
        let page =
            listing(ListObjectsOutput::builder().name("bucket").is_truncated(false).contents(object).build());
        let json = serde_json::to_value(page).unwrap();
        assert_eq!(json["Contents"][0]["Key"], "a/b");
        assert_eq!(json["Contents"][0]["ETag"], "\"e\"");
        assert_eq!((&json["Name"], &json["IsTruncated"]), (&"bucket".into(), &false.into()));
        assert!(json["CommonPrefixes"].is_null() && json["EncodingType"] == "");
        assert!(json["ResultMetadata"].is_object());
    }
}
