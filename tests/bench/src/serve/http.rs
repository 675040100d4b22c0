//! A bare hyper server: the least that can answer.

use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::{Constants, accept, value};

/// What stands behind the server.
pub(super) trait Answer: Send + Sync + 'static {
    /// Answers one request.
    fn answer(
        &self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<Full<Bytes>>>> + Send;
}

/// One task a connection, HTTP/1.1 only.
pub(super) async fn serve(listener: TcpListener, answer: impl Answer) -> Result<()> {
    let answer = Arc::new(answer);
    loop {
        let stream = accept(&listener).await?;
        let answer = answer.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| answer.answer(request));
            // A client that goes away is no news.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// The same answer for every GET; a POST is read to its end and answered with 204.
pub(super) struct Constant {
    get: Constants,
    post: Constants,
    value: Bytes,
}

impl Constant {
    pub(super) fn new(get: Constants, post: Constants) -> Self {
        Self { get, post, value: value() }
    }
}

impl Answer for Constant {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>> {
        if request.method() == Method::GET {
            let mut response = Response::new(Full::new(self.value.clone()));
            *response.headers_mut() = self.get.clone();
            return Ok(response);
        }
        request.into_body().collect().await?;
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::NO_CONTENT;
        *response.headers_mut() = self.post.clone();
        Ok(response)
    }
}
