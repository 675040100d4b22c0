//! Bodies of answers: whole as a rule, a stream where a building block passes one through.

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{Either, Full};

/// Why a stream broke off.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// A stream of bytes.
pub(crate) type StreamBody = UnsyncBoxBody<Bytes, BoxError>;
/// What hyper sends.
pub(crate) type ResponseBody = Either<Full<Bytes>, StreamBody>;

/// The body of an answer.
pub(crate) enum Body {
    Whole(Bytes),
    Stream(StreamBody),
}

impl Body {
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
