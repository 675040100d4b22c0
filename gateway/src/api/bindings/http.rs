//! Output bindings over HTTP.

use std::borrow::Cow;

use http::{Method, StatusCode};
use mecha_plugin_api::{Buf, Metadata};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::service;
use crate::error::ApiError;
use crate::http::json::{MetadataObject, Object, compact, nullable, parse};
use crate::http::path::decoded;
use crate::http::request::Request;
use crate::http::response::Reply;

/// The route of the block: `POST` or `PUT` on a binding's name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Route<'a> {
    name: Cow<'a, str>,
}

impl<'a> Route<'a> {
    pub(crate) fn of(method: &Method, rest: &'a str) -> Option<Self> {
        let writes = method == Method::POST || method == Method::PUT;
        (writes && !rest.is_empty() && !rest.contains('/')).then(|| Self { name: decoded(rest) })
    }
}

#[derive(Deserialize)]
struct Invocation<'a> {
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(default)]
    metadata: MetadataObject,
    #[serde(default, deserialize_with = "nullable")]
    operation: String,
}

pub(crate) async fn answer(route: Route<'_>, request: &Request<'_>) -> Result<Reply, ApiError> {
    let Object(asked) = parse::<Object<Invocation<'_>>>(request.body)?;
    // As in Dapr a missing payload is the JSON text `null`.
    let data = Buf::from(compact(asked.data.map_or("null", RawValue::get), request.body));
    let metadata = asked.metadata.merged(&Metadata::new());
    let answer =
        service::invoke(request.runtime, request.call, &route.name, &asked.operation, data, metadata).await?;
    let mut reply = Reply::json(StatusCode::OK, answer.data.into_bytes());
    reply.metadata(&answer.metadata);
    Ok(reply)
}
