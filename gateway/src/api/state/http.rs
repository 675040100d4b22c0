//! State over HTTP: paths, JSON bodies and headers in, JSON and headers out.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::IF_MATCH;
use http::{Method, StatusCode};
use mecha_plugin_api::state::{StateItem, ValueKind};
use mecha_plugin_api::{Buf, Metadata};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::service::{BulkAnswer, Condition, Removal, Step, Store, Unrecognized, Write, consistency};
use crate::error::ApiError;
use crate::http::json::{MetadataObject, Object, compact, nullable, parse};
use crate::http::path::{decoded, segments};
use crate::http::request::Request;
use crate::http::response::{Reply, empty};

/// The routes of the block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route<'a> {
    Get { store: Cow<'a, str>, key: Cow<'a, str> },
    Save { store: Cow<'a, str> },
    Delete { store: Cow<'a, str>, key: Cow<'a, str> },
    BulkGet { store: Cow<'a, str> },
    Transaction { store: Cow<'a, str> },
    Query { store: Cow<'a, str> },
}

impl<'a> Route<'a> {
    pub(crate) fn of(version: &str, method: &Method, rest: &'a str) -> Option<Self> {
        let writes = method == Method::POST || method == Method::PUT;
        let mut buffer = [""; 2];
        let parts = segments(rest, &mut buffer)?;
        match (version, parts) {
            ("v1.0", [store]) if writes => Some(Self::Save { store: decoded(store) }),
            ("v1.0", [store, "bulk"]) if writes => Some(Self::BulkGet { store: decoded(store) }),
            ("v1.0", [store, "transaction"]) if writes => Some(Self::Transaction { store: decoded(store) }),
            ("v1.0-alpha1", [store, "query"]) if writes => Some(Self::Query { store: decoded(store) }),
            ("v1.0", [store, key]) if method == Method::GET => {
                Some(Self::Get { store: decoded(store), key: decoded(key) })
            }
            ("v1.0", [store, key]) if method == Method::DELETE => {
                Some(Self::Delete { store: decoded(store), key: decoded(key) })
            }
            _ => None,
        }
    }
}

pub(crate) async fn answer(route: Route<'_>, request: &Request<'_>) -> Result<Reply, ApiError> {
    let find = |name| Store::find(request.runtime, request.call, name);
    match &route {
        Route::Get { store, key } => get(find(store)?, key, request).await,
        Route::Save { store } => save(find(store)?, request).await,
        Route::Delete { store, key } => delete(find(store)?, key, request).await,
        Route::BulkGet { store } => bulk_get(find(store)?, request).await,
        Route::Transaction { store } => transact(find(store)?, request).await,
        Route::Query { store } => Err(find(store)?.no_query()),
    }
}

async fn get(store: Store<'_>, key: &str, request: &Request<'_>) -> Result<Reply, ApiError> {
    let query = request.query();
    // Unlike a write, a read takes any word.
    let wanted = consistency(query.get("consistency").unwrap_or_default()).unwrap_or_default();
    let found = store.get(key, wanted, query.metadata()).await?;
    Ok(found.map_or_else(empty, item_reply))
}

fn item_reply(item: StateItem) -> Reply {
    let mut reply = Reply::json(StatusCode::OK, item.value.into_bytes());
    if let Some(etag) = item.etag.as_ref().into_option() {
        reply.header("etag", etag);
    }
    reply.metadata(&item.metadata);
    reply
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(default, deserialize_with = "nullable")]
    key: String,
    #[serde(borrow, default)]
    value: Option<&'a RawValue>,
    #[serde(default)]
    etag: Option<String>,
    #[serde(default, rename = "contentType")]
    content_type: Option<String>,
    #[serde(default)]
    metadata: MetadataObject,
    #[serde(default)]
    options: Option<Object<Options>>,
}

#[derive(Deserialize, Default)]
struct Options {
    #[serde(default, deserialize_with = "nullable")]
    concurrency: String,
    #[serde(default, deserialize_with = "nullable")]
    consistency: String,
}

async fn save(store: Store<'_>, request: &Request<'_>) -> Result<Reply, ApiError> {
    let items: Vec<Object<Item<'_>>> =
        serde_json::from_slice(request.body).map_err(|error| ApiError::malformed(error.to_string()))?;
    let query = request.query().metadata();
    let mut writes = Vec::with_capacity(items.len());
    for Object(item) in items {
        if item.key.is_empty() {
            return Err(ApiError::malformed("\"key\" is a required field"));
        }
        writes.push(item.into_write(request.body, &query).map_err(|wrong| store.save_refused(&wrong))?);
    }
    store.save(writes).await?;
    Ok(empty())
}

async fn delete(store: Store<'_>, key: &str, request: &Request<'_>) -> Result<Reply, ApiError> {
    let query = request.query();
    let option = |name| query.get(name).unwrap_or_default();
    let etag = request.header(IF_MATCH).map(str::to_owned);
    let condition = Condition::new(etag, option("concurrency"), option("consistency"));
    let condition = condition.map_err(|wrong| Store::delete_refused(key, &wrong))?;
    store.delete(Removal { key: key.to_owned(), condition, metadata: query.metadata() }).await?;
    Ok(empty())
}

#[derive(Deserialize)]
struct BulkGet {
    #[serde(default, deserialize_with = "nullable")]
    keys: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    parallelism: i64,
    #[serde(default)]
    metadata: MetadataObject,
}

async fn bulk_get(store: Store<'_>, request: &Request<'_>) -> Result<Reply, ApiError> {
    let Object(asked) = parse::<Object<BulkGet>>(request.body)?;
    let metadata = asked.metadata.merged(&request.query().metadata());
    let parallelism = u32::try_from(asked.parallelism).unwrap_or_default();
    let answers = store.bulk_get(asked.keys, parallelism, &metadata).await?;
    let entries: Vec<_> = answers.into_iter().map(bulk_entry).collect();
    Ok(Reply::json(StatusCode::OK, format!("[{}]", entries.join(",")).into()))
}

/// A stored value is JSON as a rule and stands in the answer as it is. One that is not, which only gRPC can have stored, would
/// break the whole answer: it stands there as a JSON string.
fn bulk_entry(answer: BulkAnswer) -> String {
    let mut entry = format!("{{\"key\":{}", json!(answer.key));
    match answer.item {
        Err(reason) => entry.push_str(&format!(",\"error\":{}", json!(reason))),
        Ok(None) => {}
        Ok(Some(item)) => {
            match serde_json::from_slice::<&RawValue>(&item.value) {
                Ok(raw) => entry.push_str(&format!(",\"data\":{raw}")),
                Err(_) => {
                    entry.push_str(&format!(",\"data\":{}", json!(String::from_utf8_lossy(&item.value))));
                }
            }
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

#[derive(Deserialize)]
struct Transaction<'a> {
    #[serde(borrow, default = "Vec::new", deserialize_with = "nullable")]
    operations: Vec<Object<Operation<'a>>>,
    #[serde(default)]
    metadata: MetadataObject,
}

#[derive(Deserialize)]
struct Operation<'a> {
    #[serde(default, deserialize_with = "nullable")]
    operation: String,
    #[serde(borrow, default)]
    request: Option<&'a RawValue>,
}

async fn transact(store: Store<'_>, request: &Request<'_>) -> Result<Reply, ApiError> {
    store.check_transactional()?;
    let Object(asked) = parse::<Object<Transaction<'_>>>(request.body)?;
    let query = request.query().metadata();
    let mut steps = Vec::with_capacity(asked.operations.len());
    for Object(step) in &asked.operations {
        let upserts = match step.operation.as_str() {
            "upsert" => true,
            "delete" => false,
            other => return Err(Store::unknown_operation(other)),
        };
        let text = step.request.map_or("{}", RawValue::get);
        let Object(item) =
            serde_json::from_str::<Object<Item<'_>>>(text).map_err(ApiError::malformed_body)?;
        let step = if upserts {
            item.into_write(request.body, &query).map(Step::Upsert)
        } else {
            item.into_removal(&query).map(Step::Delete)
        };
        steps.push(step.map_err(|wrong| Store::transaction_refused(&wrong))?);
    }
    store.transact(steps, asked.metadata.merged(&query)).await?;
    Ok(empty())
}

impl Item<'_> {
    fn into_write(self, body: &Bytes, query: &Metadata) -> Result<Write, Unrecognized> {
        let value = Buf::from(compact(self.value.map_or("null", RawValue::get), body));
        let condition = condition(self.etag, self.options)?;
        let metadata = self.metadata.merged(query);
        let (key, content_type) = (self.key, self.content_type);
        Ok(Write { key, value, kind: ValueKind::JSON, content_type, condition, metadata })
    }

    fn into_removal(self, query: &Metadata) -> Result<Removal, Unrecognized> {
        let condition = condition(self.etag, self.options)?;
        Ok(Removal { key: self.key, condition, metadata: self.metadata.merged(query) })
    }
}

fn condition(etag: Option<String>, options: Option<Object<Options>>) -> Result<Condition, Unrecognized> {
    let Object(options) = options.unwrap_or_default();
    Condition::new(etag, &options.concurrency, &options.consistency)
}
