//! A body that must have come to its end by a point in time, because the policy of its call says so.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body, Frame, SizeHint};
use mecha_app_channel::{BodyStream, BoxError};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::error::PolicyEnd;

/// A body with a deadline; after it, the body breaks off.
pub(crate) struct Until {
    body: BodyStream,
    deadline: Pin<Box<Sleep>>,
    is_over: bool,
    /// It is a gRPC call's, which says how it ended.
    by_trailers: bool,
}

impl Until {
    pub(crate) fn new(body: BodyStream, deadline: Instant) -> Self {
        Self { body, deadline: Box::pin(sleep_until(deadline)), is_over: false, by_trailers: false }
    }

    /// The body of a gRPC call, which ends with a status.
    pub(crate) fn telling_by_trailers(self) -> Self {
        Self { by_trailers: true, ..self }
    }
}

impl Body for Until {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame);
        }
        if self.deadline.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        self.is_over = true;
        let mut trailers = HeaderMap::new();
        let is_told = self.by_trailers && PolicyEnd::TimedOut.status().add_header(&mut trailers).is_ok();
        Poll::Ready(Some(if is_told {
            Ok(Frame::trailers(trailers))
        } else {
            Err(PolicyEnd::TimedOut.into())
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;
    use crate::request::whole;

    #[tokio::test(start_paused = true)]
    async fn a_body_in_time_is_whole_and_a_late_one_breaks_off() {
        let deadline = || Instant::now() + Duration::from_secs(1);
        let in_time = Until::new(whole(Bytes::from_static(b"x")), deadline());
        assert_eq!(in_time.collect().await.unwrap().to_bytes(), "x");

        let pending = futures_util::stream::pending::<Result<Frame<Bytes>, BoxError>>();
        let mut late = Until::new(StreamBody::new(pending).boxed_unsync(), deadline());
        let error = late.frame().await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), "context deadline exceeded");
        assert!(late.frame().await.is_none());

        let pending = futures_util::stream::pending::<Result<Frame<Bytes>, BoxError>>();
        let late = Until::new(StreamBody::new(pending).boxed_unsync(), deadline()).telling_by_trailers();
        assert_eq!(late.collect().await.unwrap().trailers().unwrap()["grpc-status"], "4");
    }
}
