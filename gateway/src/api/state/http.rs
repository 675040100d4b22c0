//! State over HTTP: paths, queries and JSON in, JSON and headers out.

use bytes::Bytes;
use http::StatusCode;
use mecha_plugin_api::state::{Concurrency, Consistency, StateItem, ValueKind};
use mecha_plugin_api::{Buf, Metadata};
use mecha_runtime::{Call, Runtime};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::service::{Condition, Removal, Step, Store, Write};
use crate::error::ApiError;
use crate::http::json::compact;
use crate::http::request::{Query, parse};
use crate::http::response::{Reply, empty};

#[derive(Deserialize)]
struct SaveItem<'a> {
    #[serde(default)]
    key: String,
    #[serde(borrow, default)]
    value: Option<&'a RawValue>,
    #[serde(default)]
    etag: Option<String>,
    #[serde(default)]
    metadata: Option<std::collections::BTreeMap<String, String>>,
    #[serde(default)]
    options: Option<Options>,
}

#[derive(Deserialize, Default)]
struct Options {
    #[serde(default)]
    concurrency: String,
    #[serde(default)]
    consistency: String,
}

#[derive(Deserialize)]
struct BulkGet {
    #[serde(default)]
    keys: Vec<String>,
    #[serde(default)]
    parallelism: i32,
    #[serde(default)]
    metadata: Option<std::collections::BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct Transaction<'a> {
    #[serde(borrow, default)]
    operations: Vec<Operation<'a>>,
    #[serde(default)]
    metadata: Option<std::collections::BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct Operation<'a> {
    #[serde(default)]
    operation: String,
    #[serde(borrow)]
    request: SaveItem<'a>,
}

pub(crate) async fn get(
    runtime: &Runtime,
    call: &Call,
    store: &str,
    key: &str,
    query: &Query,
) -> Result<Reply, ApiError> {
    let store = Store::find(runtime, call, store)?;
    let consistency = consistency(query.get("consistency").unwrap_or_default());
    match store.get(key, consistency, query.metadata()).await? {
        Some(item) => Ok(item_reply(item)),
        None => Ok(empty()),
    }
}

fn item_reply(item: StateItem) -> Reply {
    let mut reply = Reply::json(StatusCode::OK, item.value.into_bytes());
    if let Some(etag) = item.etag.as_ref().into_option() {
        reply = reply.header("etag", etag);
    }
    for (name, value) in item.metadata.iter() {
        reply = reply.header(&format!("metadata.{name}"), value);
    }
    reply
}

pub(crate) async fn save(
    runtime: &Runtime,
    call: &Call,
    store: &str,
    body: &Bytes,
) -> Result<Reply, ApiError> {
    let store = Store::find(runtime, call, store)?;
    let items: Vec<SaveItem<'_>> = parse(body)?;
    let writes: Result<Vec<_>, _> = items.into_iter().map(|item| item.into_write(body)).collect();
    store.save(writes?).await?;
    Ok(empty())
}

pub(crate) async fn delete(
    runtime: &Runtime,
    call: &Call,
    store: &str,
    key: &str,
    etag: Option<String>,
    query: &Query,
) -> Result<Reply, ApiError> {
    let store = Store::find(runtime, call, store)?;
    let condition = Condition {
        etag,
        concurrency: concurrency(query.get("concurrency").unwrap_or_default()),
        consistency: consistency(query.get("consistency").unwrap_or_default()),
    };
    store.delete(Removal { key: key.to_owned(), condition, metadata: query.metadata() }).await?;
    Ok(empty())
}

pub(crate) async fn bulk_get(
    runtime: &Runtime,
    call: &Call,
    store: &str,
    query: &Query,
    body: &Bytes,
) -> Result<Reply, ApiError> {
    let store = Store::find(runtime, call, store)?;
    let request: BulkGet = parse(body)?;
    let mut metadata = query.metadata();
    for (key, value) in request.metadata.unwrap_or_default() {
        metadata.insert(key, value);
    }
    let parallelism = u32::try_from(request.parallelism).unwrap_or_default();
    let mut text = String::from("[");
    for (index, answer) in store.bulk_get(request.keys, parallelism, &metadata).await?.into_iter().enumerate()
    {
        if index > 0 {
            text.push(',');
        }
        text.push_str(&bulk_entry(answer));
    }
    text.push(']');
    Ok(Reply::json(StatusCode::OK, text.into()))
}

/// A stored value is JSON as a rule and then stands in the answer as it is; one that is not JSON stands there as base64 text
/// would in Go's encoding, which cannot be told from text: it is sent as a JSON string.
fn bulk_entry(answer: super::service::BulkAnswer) -> String {
    let mut entry = format!("{{\"key\":{}", json!(answer.key));
    match answer.item {
        Err(reason) => entry.push_str(&format!(",\"error\":{}", json!(reason))),
        Ok(None) => {}
        Ok(Some(item)) => {
            let data = match serde_json::from_slice::<&RawValue>(&item.value) {
                Ok(raw) => raw.get().to_owned(),
                Err(_) => json!(String::from_utf8_lossy(&item.value)).to_string(),
            };
            entry.push_str(&format!(",\"data\":{data}"));
            if let Some(etag) = item.etag.as_ref().into_option() {
                entry.push_str(&format!(",\"etag\":{}", json!(etag.as_str())));
            }
            if !item.metadata.is_empty() {
                let metadata: serde_json::Map<_, _> =
                    item.metadata.iter().map(|(key, value)| (key.to_owned(), json!(value))).collect();
                entry.push_str(&format!(",\"metadata\":{}", serde_json::Value::from(metadata)));
            }
        }
    }
    entry.push('}');
    entry
}

pub(crate) async fn transact(
    runtime: &Runtime,
    call: &Call,
    store: &str,
    body: &Bytes,
) -> Result<Reply, ApiError> {
    let store = Store::find(runtime, call, store)?;
    let request: Transaction<'_> = parse(body)?;
    let mut steps = Vec::with_capacity(request.operations.len());
    for Operation { operation, request } in request.operations {
        steps.push(match operation.as_str() {
            "upsert" => Step::Upsert(request.into_write(body)?),
            "delete" => Step::Delete(request.into_removal()?),
            _ => return Err(Store::unknown_operation(&operation)),
        });
    }
    store.transact(steps, request.metadata.unwrap_or_default().into_iter().collect()).await?;
    Ok(empty())
}

impl SaveItem<'_> {
    fn into_write(self, body: &Bytes) -> Result<Write, ApiError> {
        let value = compact(self.value.map_or("null", RawValue::get), body);
        let (key, condition, metadata) = self.into_parts()?;
        Ok(Write { key, value: Buf::from(value), kind: ValueKind::JSON, condition, metadata })
    }

    fn into_removal(self) -> Result<Removal, ApiError> {
        let (key, condition, metadata) = self.into_parts()?;
        Ok(Removal { key, condition, metadata })
    }

    fn into_parts(self) -> Result<(String, Condition, Metadata), ApiError> {
        if self.key.is_empty() {
            return Err(ApiError::malformed("\"key\" is a required field"));
        }
        let options = self.options.unwrap_or_default();
        let condition = Condition {
            etag: self.etag,
            concurrency: concurrency(&options.concurrency),
            consistency: consistency(&options.consistency),
        };
        Ok((self.key, condition, self.metadata.unwrap_or_default().into_iter().collect()))
    }
}

fn concurrency(word: &str) -> Concurrency {
    match word {
        "first-write" => Concurrency::FIRST_WRITE,
        "last-write" => Concurrency::LAST_WRITE,
        _ => Concurrency::UNSPECIFIED,
    }
}

fn consistency(word: &str) -> Consistency {
    match word {
        "eventual" => Consistency::EVENTUAL,
        "strong" => Consistency::STRONG,
        _ => Consistency::UNSPECIFIED,
    }
}
