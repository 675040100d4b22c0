//! The pipeline around the HTTP API: who is let in passes it with everything it asks for, health included, before any route is
//! looked for. The handlers' order and their calls are the runtime's business.

use std::convert::Infallible;
use std::net::IpAddr;

use bytes::Bytes;
use http::request::Parts;
use http_body_util::Full;
use mecha_runtime::{Call, Carried, Pipeline, Runtime, Unread, Way};

use crate::http::body::{Body, RequestBody};
use crate::http::response::Reply;

impl Carried for RequestBody {
    fn whole(bytes: Bytes) -> Self {
        Self::Read(Full::new(bytes))
    }

    async fn read(self, most: usize) -> Result<Bytes, Unread> {
        Unread::collect(self, most).await
    }
}

impl Carried for Body {
    fn whole(bytes: Bytes) -> Self {
        Self::Whole(bytes)
    }

    async fn read(self, most: usize) -> Result<Bytes, Unread> {
        match self {
            Self::Whole(bytes) => Ok(bytes),
            Self::Stream(stream) => Unread::collect_stream(stream, most).await,
        }
    }
}

/// What a request brings along to the pipeline.
pub(crate) struct Entering<'a> {
    pub(crate) runtime: &'a Runtime,
    pub(crate) call: &'a Call,
    pub(crate) peer: Option<IpAddr>,
    pub(crate) max_body_size: usize,
}

/// Takes a request through the pipeline to `next`, and its answer back.
pub(crate) async fn through<F: Future<Output = Reply>>(
    pipeline: &Pipeline,
    entering: Entering<'_>,
    head: &Parts,
    body: RequestBody,
    next: impl FnOnce(Parts, RequestBody) -> F,
) -> Reply {
    let Entering { runtime, call, peer, max_body_size } = entering;
    let remote = peer.map(|peer| peer.to_string()).unwrap_or_default();
    // Held for the whole request: a component that is replaced meanwhile leads to its successor.
    let registry = runtime.registry_now();
    let way = Way { registry: &registry, call, remote: &remote, max_body_size };
    let request = http::Request::from_parts(head.clone(), body);
    let answer = pipeline.run(way, request, |request| async {
        let (head, body) = request.into_parts();
        let Reply { status, headers, body } = next(head, body).await;
        let mut answer = http::Response::new(body);
        *answer.status_mut() = status;
        *answer.headers_mut() = headers;
        Ok::<_, Infallible>(answer)
    });
    let Ok(answer) = answer.await;
    let (head, body) = answer.into_parts();
    Reply { status: head.status, headers: head.headers, body }
}
