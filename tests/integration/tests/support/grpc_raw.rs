//! gRPC below its messages: any bytes as a request's body, and the status that came back wherever it stood.

use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::time::timeout;

/// How long a server may take to answer.
const WITHIN: Duration = Duration::from_secs(10);

/// A connection to a gRPC port that sends what it is told.
pub struct RawGrpc {
    client: Client<HttpConnector, Full<Bytes>>,
    url: String,
}

/// The status of a call.
#[derive(Debug)]
pub struct RawStatus {
    /// Status of the HTTP answer.
    pub http: u16,
    /// `grpc-status`; `None` when there was none.
    pub code: Option<i32>,
}

impl RawGrpc {
    /// A client of the API at `url`.
    pub fn new(url: String) -> Self {
        Self { client: Client::builder(TokioExecutor::new()).http2_only(true).build_http(), url }
    }

    /// Posts `body` to a method, such as `/dapr.proto.runtime.v1.Dapr/GetState`.
    pub async fn post(&self, method: &str, headers: &[(&str, &str)], body: Bytes) -> Result<RawStatus> {
        let mut request = Request::post(format!("{}{method}", self.url))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let exchange = async {
            let answer = self.client.request(request.body(Full::new(body))?).await?;
            let (head, body) = answer.into_parts();
            let trailers = body.collect().await?.trailers().cloned().unwrap_or_default();
            Ok(RawStatus::of(head.status.as_u16(), &head.headers, &trailers))
        };
        timeout(WITHIN, exchange).await.with_context(|| format!("no answer within {WITHIN:?}"))?
    }
}

impl RawStatus {
    /// A call without an answer has its status among the headers.
    fn of(http: u16, headers: &HeaderMap, trailers: &HeaderMap) -> Self {
        let text = |name: &str| {
            let value = trailers.get(name).or_else(|| headers.get(name));
            value.and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        Self { http, code: text("grpc-status").and_then(|code| code.parse().ok()) }
    }
}

/// One message as it goes on the wire, uncompressed.
pub fn frame(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], message].concat().into()
}
