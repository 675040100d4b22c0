//! The body of a call that passes through, watched for how the call ends.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body, Frame, SizeHint};
use mecha_app_channel::{BodyStream, BoxError};
use mecha_observability::Metrics;
use tonic::{Code, Status};

/// A call under way; when it is dropped without an end, its caller went away.
pub(super) struct Watch {
    pub(super) metrics: Arc<Metrics>,
    pub(super) app_id: Box<str>,
    pub(super) started: Instant,
    pub(super) code: Code,
}

impl Drop for Watch {
    fn drop(&mut self) {
        let elapsed = self.started.elapsed();
        self.metrics.invocation.response_received(&self.app_id, self.code.into(), elapsed);
    }
}

/// The code that a call ended with.
pub(super) fn code_of(headers: &HeaderMap) -> Option<Code> {
    Status::from_header_map(headers).map(|status| status.code())
}

/// A watched body.
pub(super) struct Watched {
    body: BodyStream,
    watch: Watch,
}

impl Watched {
    pub(super) fn new(body: BodyStream, watch: Watch) -> Self {
        Self { body, watch }
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(code) = frame.trailers_ref().and_then(code_of) {
                    self.watch.code = code;
                }
            }
            Some(Err(_)) => self.watch.code = Code::Unavailable,
            None => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
