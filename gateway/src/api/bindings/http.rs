//! Output bindings over HTTP.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::StatusCode;
use mecha_plugin_api::Buf;
use mecha_runtime::{Call, Runtime};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::service;
use crate::error::ApiError;
use crate::http::json::compact;
use crate::http::request::parse;
use crate::http::response::{Reply, empty};

#[derive(Deserialize)]
struct Invocation<'a> {
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(default)]
    metadata: Option<BTreeMap<String, String>>,
    #[serde(default)]
    operation: String,
}

pub(crate) async fn invoke(
    runtime: &Runtime,
    call: &Call,
    name: &str,
    body: &Bytes,
) -> Result<Reply, ApiError> {
    let request: Invocation<'_> = parse(body)?;
    // As in Dapr a missing payload is the JSON text `null`.
    let data = Buf::from(compact(request.data.map_or("null", RawValue::get), body));
    let metadata = request.metadata.unwrap_or_default().into_iter().collect();
    let answer = service::invoke(runtime, call, name, &request.operation, data, metadata).await?;
    let data = answer.data.into_bytes();
    let mut reply = if data.is_empty() { empty() } else { Reply::json(StatusCode::OK, data) };
    for (key, value) in answer.metadata.iter() {
        reply = reply.header(&format!("metadata.{key}"), value);
    }
    Ok(reply)
}
