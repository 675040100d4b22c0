//! State over gRPC: messages in, messages out.

use std::collections::HashMap;

use mecha_plugin_api::Metadata;
use mecha_plugin_api::state::{Concurrency, Consistency, ValueKind};
use mecha_proto::common::v1::{Etag, StateItem, StateOptions};
use mecha_proto::runtime::v1 as pb;
use mecha_runtime::{Call, Runtime};

use super::service::{Condition, Removal, Step, Store, Write};
use crate::error::ApiError;

pub(crate) async fn get(
    runtime: &Runtime,
    call: &Call,
    request: pb::GetStateRequest,
) -> Result<pb::GetStateResponse, ApiError> {
    let store = Store::find(runtime, call, &request.store_name)?;
    let found = store.get(&request.key, consistency(request.consistency), metadata(request.metadata)).await?;
    Ok(found.map_or_else(pb::GetStateResponse::default, |item| pb::GetStateResponse {
        etag: item.etag.as_ref().map(ToString::to_string).unwrap_or_default(),
        metadata: pairs(&item.metadata),
        data: item.value.into_bytes(),
    }))
}

pub(crate) async fn bulk_get(
    runtime: &Runtime,
    call: &Call,
    request: pb::GetBulkStateRequest,
) -> Result<pb::GetBulkStateResponse, ApiError> {
    let store = Store::find(runtime, call, &request.store_name)?;
    let parallelism = u32::try_from(request.parallelism).unwrap_or_default();
    let answers = store.bulk_get(request.keys, parallelism, &metadata(request.metadata)).await?;
    let items = answers.into_iter().map(|answer| match answer.item {
        Err(error) => pb::BulkStateItem { key: answer.key, error, ..Default::default() },
        Ok(None) => pb::BulkStateItem { key: answer.key, ..Default::default() },
        Ok(Some(item)) => pb::BulkStateItem {
            key: answer.key,
            etag: item.etag.as_ref().map(ToString::to_string).unwrap_or_default(),
            metadata: pairs(&item.metadata),
            data: item.value.into_bytes(),
            error: String::new(),
        },
    });
    Ok(pb::GetBulkStateResponse { items: items.collect() })
}

pub(crate) async fn save(
    runtime: &Runtime,
    call: &Call,
    request: pb::SaveStateRequest,
) -> Result<(), ApiError> {
    let store = Store::find(runtime, call, &request.store_name)?;
    if request.states.iter().any(|item| item.key.is_empty()) {
        return Err(Store::no_key());
    }
    store.save(request.states.into_iter().map(write).collect()).await
}

pub(crate) async fn delete(
    runtime: &Runtime,
    call: &Call,
    request: pb::DeleteStateRequest,
) -> Result<(), ApiError> {
    let store = Store::find(runtime, call, &request.store_name)?;
    let condition = condition(request.etag, request.options);
    store.delete(Removal { key: request.key, condition, metadata: metadata(request.metadata) }).await
}

pub(crate) async fn bulk_delete(
    runtime: &Runtime,
    call: &Call,
    request: pb::DeleteBulkStateRequest,
) -> Result<(), ApiError> {
    let store = Store::find(runtime, call, &request.store_name)?;
    store.bulk_delete(request.states.into_iter().map(removal).collect()).await
}

pub(crate) async fn transact(
    runtime: &Runtime,
    call: &Call,
    request: pb::ExecuteStateTransactionRequest,
) -> Result<(), ApiError> {
    let store = Store::find(runtime, call, &request.store_name)?;
    store.check_transactional()?;
    let mut steps = Vec::with_capacity(request.operations.len());
    for operation in request.operations {
        let item = operation.request.unwrap_or_default();
        steps.push(match operation.operation_type.as_str() {
            "upsert" => Step::Upsert(write(item)),
            "delete" => Step::Delete(removal(item)),
            other => return Err(Store::unknown_operation(other)),
        });
    }
    store.transact(steps, metadata(request.metadata)).await
}

pub(crate) async fn query(
    runtime: &Runtime,
    call: &Call,
    request: pb::QueryStateRequest,
) -> Result<pb::QueryStateResponse, ApiError> {
    Err(Store::find(runtime, call, &request.store_name)?.no_query())
}

fn write(item: StateItem) -> Write {
    Write {
        key: item.key,
        value: item.value.into(),
        kind: ValueKind::BYTES,
        content_type: None,
        condition: condition(item.etag, item.options),
        metadata: metadata(item.metadata),
    }
}

fn removal(item: StateItem) -> Removal {
    Removal {
        key: item.key,
        condition: condition(item.etag, item.options),
        metadata: metadata(item.metadata),
    }
}

fn condition(etag: Option<Etag>, options: Option<StateOptions>) -> Condition {
    let options = options.unwrap_or_default();
    Condition {
        etag: etag.map(|etag| etag.value),
        concurrency: Concurrency(u8::try_from(options.concurrency).unwrap_or_default()),
        consistency: consistency(options.consistency),
    }
}

fn consistency(number: i32) -> Consistency {
    Consistency(u8::try_from(number).unwrap_or_default())
}

fn metadata(map: HashMap<String, String>) -> Metadata {
    map.into_iter().collect()
}

fn pairs(metadata: &Metadata) -> HashMap<String, String> {
    metadata.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}
