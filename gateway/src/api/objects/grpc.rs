//! Object stores over gRPC.

use std::collections::HashMap;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::try_unfold;
use mecha_plugin_api::object::{
    ByteRange, Conditions, CopyRequest, DeleteRequest, GetRequest, ListRequest, ObjectHead, PresignRequest,
    PutRequest,
};
use mecha_plugin_api::{Metadata, RString, RVec};
use mecha_proto::objects::v1 as pb;
use mecha_runtime::{Call, Download, ObjectSource, Runtime};
use tonic::{Status, Streaming};

use super::error::{incomplete, of_call};
use super::service;
use crate::error::ApiError;

/// An object that goes down to the caller.
pub(crate) type Down = Pin<Box<dyn Stream<Item = Result<pb::GetResponse, Status>> + Send>>;

/// Most bytes in one message: clients refuse large ones.
const MOST_IN_MESSAGE: usize = 1024 * 1024;

pub(crate) async fn put(
    runtime: &Runtime,
    call: &Call,
    mut stream: Streaming<pb::PutRequest>,
) -> Result<pb::PutResponse, ApiError> {
    let first = stream.message().await.map_err(|status| incomplete(status.message()))?;
    let Some(pb::put_request::Part::Head(head)) = first.and_then(|message| message.part) else {
        return Err(ApiError::malformed("the first message of a put has no head"));
    };
    let request = PutRequest {
        key: head.key.into(),
        size: head.size.into(),
        content_type: head.content_type.into(),
        object_metadata: head.metadata.into_iter().collect(),
        conditions: conditions(head.conditions),
        metadata: Metadata::new(),
    };
    let head = service::put(runtime, call, &head.store_name, request, Arriving(stream)).await?;
    Ok(pb::PutResponse { object: Some(object(head)) })
}

pub(crate) async fn get(runtime: &Runtime, call: &Call, request: pb::GetRequest) -> Result<Down, ApiError> {
    let range = request
        .range
        .map_or(ByteRange::WHOLE, |range| ByteRange { first: range.first.into(), last: range.last.into() });
    let asked = GetRequest {
        key: request.key.into(),
        range,
        conditions: conditions(request.conditions),
        metadata: Metadata::new(),
    };
    let download = service::get(runtime, call, &request.store_name, asked).await?;
    let head = pb::GetHead {
        object: Some(object(download.head.clone())),
        first: download.first,
        length: download.length,
    };
    let going = Going { head: Some(head), piece: Bytes::new(), download };
    let messages = |mut going: Going| async move { Ok(going.next().await?.map(|message| (message, going))) };
    Ok(Box::pin(try_unfold(going, messages)))
}

/// An object on its way: the head, then pieces.
struct Going {
    head: Option<pb::GetHead>,
    /// What is left of a piece that was too large for one message.
    piece: Bytes,
    download: Download,
}

impl Going {
    async fn next(&mut self) -> Result<Option<pb::GetResponse>, Status> {
        let part = match self.head.take() {
            Some(head) => pb::get_response::Part::Head(head),
            None => match self.piece().await? {
                Some(piece) => pb::get_response::Part::Chunk(piece),
                None => return Ok(None),
            },
        };
        Ok(Some(pb::GetResponse { part: Some(part) }))
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, Status> {
        if self.piece.is_empty() {
            let broken = |error| of_call("the object broke off", &error).error.status();
            match self.download.next().await.map_err(broken)? {
                Some(piece) => self.piece = piece,
                None => return Ok(None),
            }
        }
        Ok(Some(self.piece.split_to(self.piece.len().min(MOST_IN_MESSAGE))))
    }
}

pub(crate) async fn head(
    runtime: &Runtime,
    call: &Call,
    request: pb::HeadRequest,
) -> Result<pb::HeadResponse, ApiError> {
    let asked = GetRequest {
        key: request.key.into(),
        conditions: conditions(request.conditions),
        ..GetRequest::default()
    };
    let head = service::head(runtime, call, &request.store_name, asked).await?;
    Ok(pb::HeadResponse { object: Some(object(head)) })
}

pub(crate) async fn delete(
    runtime: &Runtime,
    call: &Call,
    request: pb::DeleteRequest,
) -> Result<pb::DeleteResponse, ApiError> {
    let (key, conditions) = (request.key.into(), conditions(request.conditions));
    let asked = DeleteRequest { key, conditions, metadata: Metadata::new() };
    service::delete(runtime, call, &request.store_name, asked).await?;
    Ok(pb::DeleteResponse {})
}

pub(crate) async fn list(
    runtime: &Runtime,
    call: &Call,
    request: pb::ListRequest,
) -> Result<pb::ListResponse, ApiError> {
    let asked = ListRequest {
        prefix: request.prefix.into(),
        delimiter: request.delimiter.into(),
        cursor: request.cursor.into(),
        limit: request.limit,
        metadata: Metadata::new(),
    };
    let page = service::list(runtime, call, &request.store_name, asked).await?;
    Ok(pb::ListResponse {
        objects: page.objects.into_iter().map(object).collect(),
        prefixes: page.prefixes.into_iter().map(String::from).collect(),
        cursor: page.cursor.into(),
    })
}

pub(crate) async fn copy(
    runtime: &Runtime,
    call: &Call,
    request: pb::CopyRequest,
) -> Result<pb::CopyResponse, ApiError> {
    let asked = CopyRequest {
        source: request.source.into(),
        target: request.target.into(),
        source_conditions: conditions(request.source_conditions),
        conditions: conditions(request.conditions),
        metadata: Metadata::new(),
    };
    let head = service::copy(runtime, call, &request.store_name, asked).await?;
    Ok(pb::CopyResponse { object: Some(object(head)) })
}

pub(crate) async fn presign(
    runtime: &Runtime,
    call: &Call,
    request: pb::PresignRequest,
) -> Result<pb::PresignResponse, ApiError> {
    let asked = PresignRequest {
        key: request.key.into(),
        method: request.method.into(),
        ttl_ns: 0,
        content_type: request.content_type.into(),
        metadata: Metadata::new(),
    };
    let made =
        service::presign(runtime, call, &request.store_name, asked, request.expires_in_seconds).await?;
    let headers = pairs(&made.headers);
    Ok(pb::PresignResponse { url: made.url.into(), method: made.method.into(), headers })
}

fn conditions(given: Option<pb::Conditions>) -> Conditions {
    let list = |entries: Vec<String>| entries.into_iter().map(RString::from).collect::<RVec<_>>();
    given.map_or_else(Conditions::default, |given| Conditions {
        if_match: list(given.if_match),
        if_none_match: list(given.if_none_match),
    })
}

fn object(head: ObjectHead) -> pb::Object {
    pb::Object {
        key: head.key.into(),
        size: head.size,
        etag: head.etag.into(),
        content_type: head.content_type.into(),
        modified_unix_ms: head.modified_ms,
        metadata: pairs(&head.metadata),
    }
}

fn pairs(metadata: &Metadata) -> HashMap<String, String> {
    metadata.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The rest of a put's messages.
struct Arriving(Streaming<pb::PutRequest>);

impl ObjectSource for Arriving {
    async fn next(&mut self) -> Option<Result<Bytes, String>> {
        match self.0.message().await.transpose()? {
            Ok(pb::PutRequest { part: Some(pb::put_request::Part::Chunk(chunk)) }) => Some(Ok(chunk)),
            Ok(_) => Some(Err("a message after the first one has no chunk".to_owned())),
            Err(status) => Some(Err(status.message().to_owned())),
        }
    }
}
