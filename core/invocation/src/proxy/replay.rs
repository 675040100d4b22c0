//! The body of a call that may be made again: its first message is kept, and every attempt reads it from the beginning.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use mecha_app_channel::{BodyStream, BoxError};

/// A flag and a length before each message.
const PREFIX: usize = 5;

/// The body of all attempts of one call.
pub(super) struct Replay(Arc<Mutex<Shared>>);

struct Shared {
    source: BodyStream,
    /// What was read of the source, as long as it can be sent again.
    kept: Vec<Bytes>,
    size: usize,
    /// The first bytes, which say how long the first message is.
    prefix: Vec<u8>,
    limit: usize,
    /// Something was read that is not kept.
    is_lost: bool,
    has_ended: bool,
    /// The attempt that may read; those before it get nothing any more.
    attempt: u64,
}

/// The body of one attempt.
pub(super) struct Attempt {
    shared: Arc<Mutex<Shared>>,
    number: u64,
    at: usize,
}

impl Replay {
    /// Keeps one message of at most `limit` bytes; with none, nothing is kept.
    pub(super) fn new(source: BodyStream, limit: usize) -> Self {
        Self(Arc::new(Mutex::new(Shared {
            source,
            kept: Vec::new(),
            size: 0,
            prefix: Vec::with_capacity(PREFIX),
            limit,
            is_lost: false,
            has_ended: false,
            attempt: 0,
        })))
    }

    /// The body from its beginning. The one before it ends.
    pub(super) fn attempt(&self) -> Attempt {
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shared.attempt += 1;
        Attempt { shared: self.0.clone(), number: shared.attempt, at: 0 }
    }

    /// Whether another attempt would send the same.
    pub(super) fn is_there(&self) -> bool {
        !self.0.lock().unwrap_or_else(PoisonError::into_inner).is_lost
    }
}

impl Shared {
    fn keep(&mut self, data: &Bytes) {
        if self.is_lost || data.is_empty() {
            return;
        }
        self.size += data.len();
        let missing = PREFIX.saturating_sub(self.prefix.len()).min(data.len());
        self.prefix.extend_from_slice(&data[..missing]);
        let most = match self.prefix[..] {
            [_, a, b, c, d] => PREFIX.saturating_add(u32::from_be_bytes([a, b, c, d]) as usize),
            _ => PREFIX,
        };
        // A second message makes it a stream, which no policy repeats.
        if self.size > most || self.size > self.limit {
            self.is_lost = true;
            self.kept = Vec::new();
        } else {
            self.kept.push(data.clone());
        }
    }
}

impl Body for Attempt {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let mut shared = this.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if shared.attempt != this.number {
            return Poll::Ready(Some(Err("another attempt was made".into())));
        }
        if let Some(data) = shared.kept.get(this.at) {
            this.at += 1;
            return Poll::Ready(Some(Ok(Frame::data(data.clone()))));
        }
        if shared.has_ended {
            return Poll::Ready(None);
        }
        let frame = std::task::ready!(Pin::new(&mut shared.source).poll_frame(context));
        match &frame {
            None => shared.has_ended = true,
            Some(Err(_)) => (shared.is_lost, shared.has_ended) = (true, true),
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    shared.keep(data);
                    this.at = shared.kept.len();
                }
            }
        }
        Poll::Ready(frame)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt as _, stream};
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    fn replay(pieces: &[&'static [u8]], limit: usize) -> Replay {
        let frames: Vec<_> =
            pieces.iter().map(|piece| Ok::<_, BoxError>(Frame::data(Bytes::from_static(piece)))).collect();
        Replay::new(StreamBody::new(stream::iter(frames).boxed()).boxed_unsync(), limit)
    }

    async fn read(replay: &Replay) -> Result<Bytes, String> {
        let body = replay.attempt().collect().await;
        body.map(http_body_util::Collected::to_bytes).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn one_message_is_sent_as_often_as_it_is_asked_for() {
        for pieces in [&[&b"\0\0\0\0\x03abc"[..]][..], &[b"\0\0", b"\0\0\x03", b"a", b"bc"], &[]] {
            let replay = replay(pieces, 100);
            for _ in 0..3 {
                assert_eq!(read(&replay).await.unwrap(), pieces.concat());
                assert!(replay.is_there());
            }
        }
    }

    #[tokio::test]
    async fn an_attempt_that_broke_off_midway_is_gone_on_with_from_the_beginning() {
        let replay = replay(&[b"\0\0", b"\0\0\x03", b"abc"], 100);
        let mut first = replay.attempt();
        first.frame().await.unwrap().unwrap();
        first.frame().await.unwrap().unwrap();
        assert_eq!(read(&replay).await.unwrap(), "\0\0\0\0\x03abc");
        first.frame().await.unwrap().unwrap_err();
    }

    #[tokio::test]
    async fn a_second_message_and_one_that_is_too_large_are_sent_once() {
        for (pieces, limit) in [
            (&[&b"\0\0\0\0\x01a\0"[..]][..], 100),
            (&[&b"\0\0\0\0\x01a"[..], b"\0\0\0\0\x01b"][..], 100),
            (&[&b"\0\0\0\0\x03abc"[..]][..], 7),
            (&[&b"\0\0\0\0\x03abc"[..]][..], 0),
        ] {
            let replay = replay(pieces, limit);
            assert!(replay.is_there());
            assert_eq!(read(&replay).await.unwrap(), pieces.concat());
            assert!(!replay.is_there(), "{pieces:?}");
        }
    }
}
