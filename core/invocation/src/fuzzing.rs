//! What reads the bytes of other runtimes, for the fuzzing of it: not part of the interface.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use mecha_proto::internals::v1::InternalInvokeRequestStream;

use crate::frames::Messages;
use crate::mdns::packet::Packet;

/// Pieces of a body that are all there.
struct Pieces(std::vec::IntoIter<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.next().map(|piece| Ok(Frame::data(piece))))
    }
}

/// Reads the messages of a call up to the first that is wrong; each as text, the last with what is wrong.
///
/// # Panics
/// A body whose pieces are all there made the reader wait.
#[must_use]
pub fn frames(pieces: Vec<Bytes>, limit: usize) -> Vec<String> {
    let mut messages = Messages::of_caller(Pieces(pieces.into_iter()), limit);
    let mut read = Vec::new();
    loop {
        let next = pin!(messages.next::<InternalInvokeRequestStream>());
        match next.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => panic!("all pieces are there, and the reader waits"),
            Poll::Ready(None) => return read,
            Poll::Ready(Some(Ok(message))) => read.push(format!("{message:?}")),
            Poll::Ready(Some(Err(status))) => {
                read.push(format!("{:?}", status.code()));
                return read;
            }
        }
    }
}

/// Reads a packet of multicast DNS and writes it again; `None` for what is no packet.
#[must_use]
pub fn packet(bytes: &[u8]) -> Option<Vec<u8>> {
    Packet::decode(bytes).map(|packet| packet.encode())
}
