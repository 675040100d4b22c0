//! Bodies that pass through: out as they come in, and back the same way.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

/// Why a body broke off.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// A body as it arrives. An error breaks it off, so that nobody takes it for whole.
pub type BodyStream = UnsyncBoxBody<Bytes, BoxError>;
/// A request's body.
pub enum Outgoing {
    /// All there.
    Whole(Full<Bytes>),
    /// As it arrives.
    Stream(BodyStream),
}

impl From<Bytes> for Outgoing {
    fn from(whole: Bytes) -> Self {
        Self::Whole(Full::new(whole))
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(context).map_err(|never| match never {}),
            Self::Stream(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Stream(body) => body.size_hint(),
        }
    }
}

/// An answer's body with the place that its call takes until the end is read.
pub(crate) struct Placed<B> {
    body: B,
    _place: OwnedSemaphorePermit,
}

/// The answer's body, with the place of its call where places are counted.
pub(crate) fn placed<B>(body: B, place: Option<OwnedSemaphorePermit>) -> BodyStream
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    match place {
        None => body.map_err(Into::into).boxed_unsync(),
        Some(place) => Placed { body, _place: place }.map_err(Into::into).boxed_unsync(),
    }
}

impl<B: Body + Unpin> Body for Placed<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
