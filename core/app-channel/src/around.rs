//! What may stand around each call over HTTP: the runtime's pipeline of middleware, which this crate knows nothing of.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Frame, SizeHint};

use crate::body::{BodyStream, BoxError, Outgoing};
use crate::error::AppError;

/// A call on its way.
pub type Exchange<'a> = Pin<Box<dyn Future<Output = Result<Response<Returning>, AppError>> + Send + 'a>>;
/// Sends a call to the application.
pub type Next<'a> = Box<dyn FnOnce(Request<Outgoing>) -> Exchange<'a> + Send + 'a>;

/// The body of an answer on its way back.
pub struct Returning(BodyStream);

impl Returning {
    /// A body as it arrives.
    pub fn stream<B>(body: B) -> Self
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        Self(body.map_err(Into::into).boxed_unsync())
    }
}

impl From<Bytes> for Returning {
    fn from(whole: Bytes) -> Self {
        Self::stream(Full::new(whole))
    }
}

impl Body for Returning {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.0).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// Something around each call to the application, save the probes of its health.
pub trait Around: Send + Sync {
    /// Whether anything is there now; without it calls go straight on.
    fn is_there(&self) -> bool;
    /// Takes a call to `next`, or answers it.
    fn exchange<'a>(&'a self, request: Request<Outgoing>, next: Next<'a>) -> Exchange<'a>;
}
