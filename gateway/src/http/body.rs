//! Bodies: whole as a rule, a stream where a building block passes one through, in either direction.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt as _};
use http::Version;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Either, Full, StreamBody as FromStream};
use hyper::body::{Frame, Incoming, SizeHint};

/// Why a stream broke off.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// A stream of bytes.
pub(crate) type StreamBody = UnsyncBoxBody<Bytes, BoxError>;
/// What hyper sends.
pub(crate) type ResponseBody = Either<Full<Bytes>, StreamBody>;

/// A request's body: as it arrives, or what a middleware has read of it or put in its place.
#[derive(Debug)]
pub(crate) enum RequestBody {
    Arriving(Incoming),
    Read(Full<Bytes>),
}

impl hyper::body::Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Arriving(body) => Pin::new(body).poll_frame(cx),
            Self::Read(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Arriving(body) => body.is_end_stream(),
            Self::Read(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Arriving(body) => body.size_hint(),
            Self::Read(body) => body.size_hint(),
        }
    }
}

/// A request's body as it arrives, for the one who takes it. Nothing is read ahead: who does not read holds its sender back.
#[derive(Debug)]
pub(crate) struct RequestStream(Mutex<Option<RequestBody>>);

impl RequestStream {
    pub(crate) fn new(body: RequestBody) -> Self {
        Self(Mutex::new(Some(body)))
    }

    /// Of a request whose body was read whole.
    pub(crate) fn none() -> Self {
        Self(Mutex::new(None))
    }

    /// The body; `None` when it was read whole, or taken before.
    pub(crate) fn take(&self) -> Option<RequestBody> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A request's body that ends only where its sender ended it, for what must not keep the half of one.
///
/// hyper takes an HTTP/2 stream that was reset without an error for ended, and tonic one that was cancelled. Here both broke
/// off, with an error that tonic does not recognise.
#[derive(Debug)]
pub(crate) struct Unbroken {
    body: RequestBody,
    is_http2: bool,
}

impl Unbroken {
    pub(crate) fn new(body: RequestBody, version: Version) -> Self {
        Self { body, is_http2: version >= Version::HTTP_2 }
    }
}

impl hyper::body::Body for Unbroken {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        Poll::Ready(match frame {
            Some(frame) => Some(frame.map_err(|error| error.to_string().into())),
            // HTTP/1 has an error for every body that is not whole, and says nothing here.
            None if this.is_http2 && !this.body.is_end_stream() => Some(Err("the stream was reset".into())),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer.
pub(crate) enum Body {
    Whole(Bytes),
    Stream(StreamBody),
}

impl Body {
    /// A body that is made while it is sent. An error breaks the answer off, so that nobody takes it for whole.
    pub(crate) fn stream<E: Into<BoxError> + 'static>(
        pieces: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
    ) -> Self {
        let frames = pieces.map_ok(Frame::data).map_err(Into::into);
        Self::Stream(FromStream::new(frames).boxed_unsync())
    }

    /// Its length in bytes; of a stream none is known.
    pub(crate) fn len(&self) -> Option<u64> {
        match self {
            Self::Whole(bytes) => Some(bytes.len() as u64),
            Self::Stream(_) => None,
        }
    }

    pub(crate) fn into_response_body(self) -> ResponseBody {
        match self {
            Self::Whole(bytes) => Either::Left(Full::new(bytes)),
            Self::Stream(stream) => Either::Right(stream),
        }
    }
}
