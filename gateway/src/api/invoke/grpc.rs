//! Service invocation over gRPC, as messages.

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use mecha_invocation::{
    Answer, InvokeError, InvokeRequest, Origin, RequestBody, Verb, collect, method, to_grpc,
};
use mecha_proto::common::v1::InvokeResponse;
use mecha_proto::error_model::pb::Status as RpcStatus;
use mecha_proto::runtime::v1::InvokeServiceRequest;
use mecha_proto::{Any, Message as _};
use mecha_runtime::{Call, Runtime};
use tonic::metadata::MetadataMap;
use tonic::{Code, Response, Status};

use super::service::{failed, grpc_code};
use crate::error::{ApiError, from_http_status};

/// The status of an application that speaks HTTP.
const HTTP_STATUS: HeaderName = HeaderName::from_static("dapr-http-status");
const TOKEN: &str = "dapr-api-token";
/// A value among error details is at most this long.
const MAX_DETAIL: usize = 63;

/// The answer, or what the caller is told instead; the error's code and category are counted by who asked.
pub(crate) enum Failure {
    /// There was no answer.
    NoAnswer(ApiError),
    /// The application's own error.
    Application(Box<Status>),
}

pub(crate) async fn invoke(
    runtime: &Runtime,
    call: &Call,
    metadata: &MetadataMap,
    request: InvokeServiceRequest,
) -> Result<Response<InvokeResponse>, Failure> {
    let message = request.message.unwrap_or_default();
    let mut headers = metadata.clone().into_headers();
    if runtime.app().api_token.is_some() {
        headers.remove(TOKEN);
    }
    let data = message.data.unwrap_or_default();
    let extension = message.http_extension;
    let verb = extension.as_ref().map(|extension| Verb::try_from(extension.verb).unwrap_or(Verb::None));
    let invocation = InvokeRequest {
        method: message.method,
        verb: verb.and_then(method),
        query: extension.map(|extension| extension.querystring).unwrap_or_default(),
        content_type: message.content_type,
        type_url: data.type_url,
        headers,
        origin: Origin::Grpc,
        body: RequestBody::Whole(data.value.into()),
    };
    let answer = runtime.invocation().invoke(&request.id, invocation, &call.trace).await;
    let answer = answer.map_err(|error| match error {
        // As in Dapr, in its own words alone.
        InvokeError::Policy(end) => Failure::Application(Box::new(end.status())),
        error => Failure::NoAnswer(failed(&request.id, &error)),
    })?;
    answered(answer, runtime.invocation().max_body_size(), &request.id).await
}

async fn answered(answer: Answer, limit: usize, id: &str) -> Result<Response<InvokeResponse>, Failure> {
    let mut headers = to_grpc(&answer.headers);
    let (status, is_http) = (answer.status.clone(), answer.is_http());
    let (content_type, type_url) = (answer.content_type, answer.type_url);
    let body = collect(answer.body, limit).await.map_err(|reason| {
        let message = format!("failed to invoke, id: {id}, err: {reason}");
        let http = http::StatusCode::INTERNAL_SERVER_ERROR;
        Failure::NoAnswer(ApiError::basic(
            "ERR_DIRECT_INVOKE",
            "service-invocation",
            http,
            Code::Internal,
            message,
        ))
    })?;
    let failed = if is_http {
        let code = u16::try_from(status.code).unwrap_or(500);
        headers.insert(HTTP_STATUS, HeaderValue::from(code));
        (grpc_code(code) != Code::Ok).then(|| http_failure(code, &body))
    } else {
        (status.code != 0).then(|| {
            let code = Code::from(status.code);
            let model =
                RpcStatus { code: status.code, message: status.message.clone(), details: status.details };
            Status::with_details(code, status.message, model.encode_to_vec().into())
        })
    };
    if let Some(mut failed) = failed {
        extend(failed.metadata_mut(), headers);
        return Err(Failure::Application(Box::new(failed)));
    }
    let data = Some(Any { type_url, value: body.into() });
    let mut response = Response::new(InvokeResponse { data, content_type });
    extend(response.metadata_mut(), headers);
    Ok(response)
}

fn http_failure(code: u16, body: &[u8]) -> Status {
    let http = http::StatusCode::from_u16(code).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    let detail = String::from_utf8_lossy(&body[..body.len().min(MAX_DETAIL)]);
    from_http_status(http, grpc_code(code), &detail)
}

fn extend(metadata: &mut MetadataMap, headers: HeaderMap) {
    let mut all = std::mem::take(metadata).into_headers();
    all.extend(headers);
    *metadata = MetadataMap::from_headers(all);
}
