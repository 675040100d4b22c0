//! Reads the body of an object ahead of whoever takes it.
//!
//! A connection lives on the plugin's own thread, a call on one of the host's. Read from there, every piece would wake both
//! threads: one to fetch it, one to take it. A task beside the connection gathers what has come and hands it over many pieces at
//! a time, none of them copied.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::primitives::{ByteStream, ByteStreamError};
use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Most bytes that wait to be handed over, or are.
const MOST: usize = 1024 * 1024;
/// So many bytes are handed over without waiting for more,
const ENOUGH: usize = 256 * 1024;
/// and any after this: on a slow network a piece is not held back for others.
const SOON: Duration = Duration::from_millis(1);
/// A body that is no longer has come with its head, or almost: a task would cost more than it saves.
const SHORT: u64 = 64 * 1024;

type Piece = Result<Bytes, ByteStreamError>;

/// A body on its way; dropped, it is read no further.
pub(crate) enum Incoming {
    /// Read by whoever takes it.
    Short(ByteStream),
    /// Read ahead.
    Ahead(Ahead),
}

/// What was read ahead and is to be taken.
pub(crate) struct Ahead {
    taken: VecDeque<Piece>,
    batches: mpsc::UnboundedReceiver<Vec<Piece>>,
    room: Arc<Semaphore>,
    _reading: JoinSet<()>,
}

impl Incoming {
    /// The rest of an object, of which so many bytes are expected.
    pub(crate) fn new(body: ByteStream, length: u64) -> Self {
        if length <= SHORT {
            return Self::Short(body);
        }
        let room = Arc::new(Semaphore::new(MOST));
        let (give, batches) = mpsc::unbounded_channel();
        let mut reading = JoinSet::new();
        reading.spawn(Gathering { give, room: room.clone(), batch: Vec::new(), bytes: 0 }.read(body));
        Self::Ahead(Ahead { taken: VecDeque::new(), batches, room, _reading: reading })
    }

    /// The next piece; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Piece> {
        match self {
            Self::Short(body) => body.next().await,
            Self::Ahead(ahead) => ahead.next().await,
        }
    }
}

impl Ahead {
    async fn next(&mut self) -> Option<Piece> {
        if self.taken.is_empty() {
            let batch = self.batches.recv().await?;
            self.room.add_permits(batch.iter().map(space).sum());
            self.taken = batch.into();
        }
        self.taken.pop_front()
    }
}

/// The task that reads.
struct Gathering {
    give: mpsc::UnboundedSender<Vec<Piece>>,
    room: Arc<Semaphore>,
    batch: Vec<Piece>,
    bytes: usize,
}

impl Gathering {
    async fn read(mut self, mut body: ByteStream) {
        let mut due = Instant::now();
        loop {
            let piece = tokio::select! {
                biased;
                piece = body.next() => piece,
                () = tokio::time::sleep_until(due), if !self.batch.is_empty() => {
                    self.hand_over();
                    continue;
                }
            };
            let Some(piece) = piece else { break };
            if self.batch.is_empty() {
                due = Instant::now() + SOON;
            }
            self.make_room(space(&piece)).await;
            self.bytes += space(&piece);
            self.batch.push(piece);
            if self.bytes >= ENOUGH {
                self.hand_over();
            }
        }
        self.hand_over();
    }

    /// Waits, if it has to, until something was taken: all that there is must be there to take.
    async fn make_room(&mut self, space: usize) {
        // A piece is never larger than all the room, and the room is never closed: an error means neither.
        let space = u32::try_from(space).unwrap_or(u32::MAX);
        if let Ok(room) = self.room.try_acquire_many(space) {
            return room.forget();
        }
        self.hand_over();
        if let Ok(room) = self.room.acquire_many(space).await {
            room.forget();
        }
    }

    fn hand_over(&mut self) {
        self.bytes = 0;
        if !self.batch.is_empty() {
            // Who takes the pieces ends this task when it goes.
            let _ = self.give.send(std::mem::take(&mut self.batch));
        }
    }
}

/// What a piece takes of the room; one that is larger takes all of it.
fn space(piece: &Piece) -> usize {
    piece.as_ref().map_or(0, Bytes::len).min(MOST)
}

#[cfg(test)]
mod tests {
    use aws_smithy_types::body::SdkBody;
    use futures_util::{StreamExt as _, stream};
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;

    const PIECE: usize = 100_000;

    /// A body of so many pieces, and a count of those that were asked for.
    fn body(pieces: usize) -> (Incoming, Arc<Semaphore>) {
        let asked = Arc::new(Semaphore::new(0));
        let counted = asked.clone();
        let frames = stream::iter(0..pieces).map(move |number| {
            counted.add_permits(1);
            Ok::<_, std::io::Error>(Frame::data(Bytes::from(vec![number as u8; PIECE])))
        });
        let body = ByteStream::new(SdkBody::from_body_1_x(StreamBody::new(frames)));
        (Incoming::new(body, (pieces * PIECE) as u64), asked)
    }

    async fn let_it_read() {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn every_piece_comes_in_its_turn() {
        let (mut incoming, _) = body(40);
        for number in 0..40 {
            assert_eq!(incoming.next().await.unwrap().unwrap(), vec![number; PIECE]);
        }
        assert!(incoming.next().await.is_none());
    }

    #[tokio::test]
    async fn only_so_much_is_read_ahead_and_nothing_for_nobody() {
        let (mut incoming, asked) = body(40);
        let_it_read().await;
        // One more than there is room for waits in the task's hand.
        let ahead = MOST / PIECE + 1;
        assert_eq!(asked.available_permits(), ahead);
        incoming.next().await.unwrap().unwrap();
        let_it_read().await;
        assert_eq!(asked.available_permits(), ahead + ENOUGH.div_ceil(PIECE));
        drop(incoming);
        let_it_read().await;
        assert_eq!(Arc::strong_count(&asked), 1);
    }

    #[tokio::test]
    async fn a_piece_is_not_held_back_for_others() {
        let first = stream::iter([Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"first")))]);
        let frames = StreamBody::new(first.chain(stream::pending()));
        let mut incoming = Incoming::new(ByteStream::new(SdkBody::from_body_1_x(frames)), SHORT + 1);
        assert_eq!(incoming.next().await.unwrap().unwrap(), "first");
    }

    #[tokio::test]
    async fn a_short_body_is_read_by_who_takes_it() {
        let (mut incoming, asked) = body(0);
        assert!(matches!(incoming, Incoming::Short(_)));
        assert!(incoming.next().await.is_none());
        assert_eq!(asked.available_permits(), 0);
    }
}
