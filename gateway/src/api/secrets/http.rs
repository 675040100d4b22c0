//! Secrets over HTTP.

use mecha_runtime::{Call, Runtime};

use super::service;
use crate::error::ApiError;
use crate::http::request::Query;
use crate::http::response::Reply;

pub(crate) async fn get(
    runtime: &Runtime,
    call: &Call,
    store: &str,
    key: &str,
    query: &Query,
) -> Result<Reply, ApiError> {
    Ok(Reply::of(&service::get(runtime, call, store, key, query.metadata()).await?))
}

pub(crate) async fn bulk_get(
    runtime: &Runtime,
    call: &Call,
    store: &str,
    query: &Query,
) -> Result<Reply, ApiError> {
    Ok(Reply::of(&service::bulk_get(runtime, call, store, query.metadata()).await?))
}
