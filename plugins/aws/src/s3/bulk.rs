//! Operations on several objects: each item has its own result, and one that fails stops no other.

use std::collections::HashMap;
use std::future::Future;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use futures_util::stream::{self, StreamExt as _};
use mecha_plugin_api::{CallContext, Error, ErrorKind, Result};
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;
use tracing::Instrument as _;

use super::ERROR;
use super::object::{Bucket, NewObject, broken};
use super::payload::{BulkRequest, CreateItem, DeleteRequest, GetItem, ItemResult, decoded, encoded};
use super::settings::Options;
use crate::client::ask;
use crate::error::Failure;
use crate::span;

const CONCURRENCY: usize = 10;
/// Most keys in one DeleteObjects request.
const DELETE_BATCH: usize = 1000;
const NO_KEY: &str = "key is required";

/// Gets objects, each into its file or into the answer.
pub(crate) async fn get(
    context: &CallContext,
    bucket: &Bucket,
    options: &Options,
    request: BulkRequest<GetItem>,
) -> Result<Vec<ItemResult>> {
    let concurrency = concurrency(&request, "bulkGet")?;
    let work = |item: GetItem| async move {
        if item.key.is_empty() {
            return ItemResult::failed("", NO_KEY);
        }
        let got = match &item.file_path {
            Some(path) => {
                to_file(bucket, &item.key, path, options.encode_base64).await.map(|()| String::new())
            }
            None => to_text(context, bucket, &item.key, options.encode_base64).await,
        };
        match got {
            Ok(data) => ItemResult { key: item.key, data, ..ItemResult::default() },
            Err(error) => ItemResult::failed(item.key, error),
        }
    };
    Ok(all(request.items, concurrency, work).await)
}

/// Creates objects, each from its file or from the request.
pub(crate) async fn create(
    context: &CallContext,
    bucket: &Bucket,
    options: &Options,
    request: BulkRequest<CreateItem>,
) -> Result<Vec<ItemResult>> {
    let concurrency = concurrency(&request, "bulkCreate")?;
    let work = |item: CreateItem| async move {
        if item.key.is_empty() {
            return ItemResult::failed("", NO_KEY);
        }
        let key = item.key.clone();
        match store(context, bucket, options, item).await {
            Ok(location) => ItemResult { key, location, ..ItemResult::default() },
            Err(error) => ItemResult::failed(key, error),
        }
    };
    Ok(all(request.items, concurrency, work).await)
}

/// Deletes objects, a thousand a request.
pub(crate) async fn delete(
    context: &CallContext,
    bucket: &Bucket,
    request: DeleteRequest,
) -> Result<Vec<ItemResult>> {
    if request.keys.is_empty() {
        return Err(needs_one("bulkDelete", "key"));
    }
    let mut results = Vec::with_capacity(request.keys.len());
    let mut places: HashMap<String, Vec<usize>> = HashMap::new();
    let mut distinct = Vec::new();
    for (place, key) in request.keys.into_iter().enumerate() {
        if key.trim().is_empty() {
            results.push(ItemResult::failed(key, NO_KEY));
            continue;
        }
        let known = places.entry(key.clone()).or_default();
        if known.is_empty() {
            distinct.push(key.clone());
        }
        known.push(place);
        results.push(ItemResult { key, ..ItemResult::default() });
    }
    for keys in distinct.chunks(DELETE_BATCH) {
        for (key, error) in delete_batch(context, bucket, keys).await {
            for place in places.get(&key).into_iter().flatten() {
                results[*place].error.clone_from(&error);
            }
        }
    }
    Ok(results)
}

/// The keys that could not be deleted, each with the reason.
async fn delete_batch(context: &CallContext, bucket: &Bucket, keys: &[String]) -> Vec<(String, String)> {
    let span = span::object(context, "DeleteObjects", &bucket.name);
    let failed = |failure: &Failure| keys.iter().map(|key| (key.clone(), failure.to_string())).collect();
    let identifier = |key: &String| ObjectIdentifier::builder().key(key).build();
    let objects: Result<Vec<_>, _> = keys.iter().map(identifier).collect();
    let delete = objects.and_then(|objects| Delete::builder().set_objects(Some(objects)).quiet(true).build());
    let delete = match delete {
        Ok(delete) => delete,
        Err(error) => return failed(&Failure::new(ErrorKind::INTERNAL, error.to_string())),
    };
    let deleting = ask(bucket.client.delete_objects().bucket(&bucket.name).delete(delete).send());
    let answer = deleting.instrument(span.clone()).await;
    span::record(&span, answer.as_ref().err());
    match answer {
        Err(failure) => failed(&failure),
        Ok(answer) => {
            let refused = answer.errors.unwrap_or_default().into_iter();
            let reason = |message: Option<String>| message.unwrap_or_else(|| "unknown error".to_owned());
            refused.filter_map(|error| Some((error.key?, reason(error.message)))).collect()
        }
    }
}

/// The results stand in the items' places.
async fn all<T, F: Future<Output = ItemResult>>(
    items: Vec<T>,
    concurrency: usize,
    work: impl Fn(T) -> F,
) -> Vec<ItemResult> {
    stream::iter(items.into_iter().map(work)).buffered(concurrency).collect().await
}

fn concurrency<T>(request: &BulkRequest<T>, operation: &str) -> Result<usize> {
    if request.items.is_empty() {
        return Err(needs_one(operation, "item"));
    }
    match request.concurrency {
        None => Ok(CONCURRENCY),
        Some(count) => usize::try_from(count).ok().filter(|count| *count > 0).ok_or_else(|| {
            let message = format!("{ERROR}: concurrency must be greater than 0, got {count}");
            Error::invalid(message).with_field("concurrency")
        }),
    }
}

fn needs_one(operation: &str, what: &str) -> Error {
    Error::invalid(format!("{ERROR}: {operation} requires at least one {what}")).with_field("data")
}

async fn to_text(context: &CallContext, bucket: &Bucket, key: &str, encode: bool) -> Result<String, String> {
    let data = bucket.get(context, key).await.map_err(reason)?;
    Ok(if encode { encoded(&data) } else { String::from_utf8_lossy(&data).into_owned() })
}

async fn to_file(bucket: &Bucket, key: &str, path: &str, encode: bool) -> Result<(), String> {
    let mut body = bucket.stream(key).await.map_err(reason)?;
    let text = |error: std::io::Error| format!("{path}: {error}");
    let mut file = File::create(path).await.map_err(text)?;
    let mut rest: Vec<u8> = Vec::new();
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| broken(error).to_string())?;
        if encode {
            // Three bytes make four letters; what is left over waits for the next piece.
            rest.extend_from_slice(&piece);
            let whole = rest.len() - rest.len() % 3;
            let left = rest.split_off(whole);
            file.write_all(encoded(&rest).as_bytes()).await.map_err(text)?;
            rest = left;
        } else {
            file.write_all(&piece).await.map_err(text)?;
        }
    }
    file.write_all(encoded(&rest).as_bytes()).await.map_err(text)?;
    file.flush().await.map_err(text)
}

async fn store(
    context: &CallContext,
    bucket: &Bucket,
    options: &Options,
    item: CreateItem,
) -> Result<String, String> {
    let body = match (item.file_path, item.data) {
        (Some(path), _) => {
            from_file(&path, options.decode_base64).await.map_err(|error| error.message().to_owned())?
        }
        (None, Some(data)) if options.decode_base64 => {
            decoded(data.as_bytes()).map_err(|error| error.message().to_owned())?.into()
        }
        (None, Some(data)) => data.into_bytes().into(),
        (None, None) => return Err("either data or filePath is required".to_owned()),
    };
    let content_type = item.content_type;
    let object = NewObject { key: item.key, body, content_type, storage_class: None, tagging: None };
    bucket.put(context, object).await.map(|stored| stored.location).map_err(reason)
}

/// A file's content, read while it is sent; base64 has to be read whole.
pub(crate) async fn from_file(path: &str, decode: bool) -> Result<ByteStream> {
    let wrong = |error: String| {
        Error::invalid(format!("{ERROR}: file read error: {path}: {error}")).with_field("filePath")
    };
    if decode {
        let text = tokio::fs::read(path).await.map_err(|error| wrong(error.to_string()))?;
        return Ok(decoded(&text)?.into());
    }
    ByteStream::from_path(path).await.map_err(|error| wrong(error.to_string()))
}

fn reason(failure: Failure) -> String {
    match failure.code() {
        Some("NoSuchKey") => "object not found".to_owned(),
        _ => failure.to_string(),
    }
}
