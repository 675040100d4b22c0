//! gRPC's framing, of the one call that runtimes make all the time: read and written by hand, so that bodies pass through
//! without a copy, and a body that breaks off resets its stream.

use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::HeaderMap;
use hyper::body::{Body, Frame};
use mecha_app_channel::BoxError;
use mecha_proto::Message;
use mecha_proto::common::v1::StreamPayload;
use mecha_proto::internals::v1 as internals;
use tonic::Status;

use crate::error::rpc_text;

/// A flag and a length before each message.
const PREFIX: usize = 5;
/// Largest piece of a body in one message.
const PIECE: usize = 64 * 1024;
/// Up to this a piece is copied behind its prefix; above, they go out as they are.
const COPIED: usize = 4 * 1024;

/// One message, framed.
pub(crate) fn frame(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut framed = BytesMut::with_capacity(PREFIX + length);
    prefix(&mut framed, length);
    // It has room for the whole message.
    let _ = message.encode(&mut framed);
    framed.freeze()
}

fn prefix(framed: &mut BytesMut, length: usize) {
    framed.put_u8(0);
    framed.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
}

fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

fn put_varint(buffer: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        buffer.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    buffer.put_u8(value as u8);
}

/// What stands before a piece of a body: what has to go out first, then the piece's frame and message up to the piece itself,
/// which is field 2 of the stream's message; the number goes before the bytes.
fn before_piece(first: &[u8], sequence: u64, length: usize) -> BytesMut {
    let sequence_len = if sequence == 0 { 0 } else { 1 + varint_len(sequence) };
    let payload = sequence_len + 1 + varint_len(length as u64) + length;
    let message = 1 + varint_len(payload as u64) + payload;
    let copied = if length > COPIED { 0 } else { length };
    let mut framed = BytesMut::with_capacity(first.len() + PREFIX + message - length + copied);
    framed.extend_from_slice(first);
    prefix(&mut framed, message);
    framed.put_u8(0x12);
    put_varint(&mut framed, payload as u64);
    if sequence != 0 {
        framed.put_u8(0x10);
        put_varint(&mut framed, sequence);
    }
    framed.put_u8(0x0a);
    put_varint(&mut framed, length as u64);
    framed
}

/// A head and a body as the frames of a stream. What the body has at once goes out with the head.
pub(crate) struct Framed<B> {
    head: Option<Bytes>,
    /// A piece whose prefix is out.
    piece: Option<Bytes>,
    rest: Bytes,
    body: Option<B>,
    /// How the body ended, while that is not out yet.
    ended: Option<Result<(), BoxError>>,
    sequence: u64,
    /// A server says how it ended; a client does not.
    is_server: bool,
}

impl<B> Framed<B> {
    /// What a caller sends.
    pub(crate) fn request(head: Bytes, body: B) -> Self {
        Self {
            head: Some(head),
            piece: None,
            rest: Bytes::new(),
            body: Some(body),
            ended: None,
            sequence: 0,
            is_server: false,
        }
    }

    /// What a callee sends.
    pub(crate) fn response(head: Bytes, body: B) -> Self {
        Self { is_server: true, ..Self::request(head, body) }
    }

    /// The next piece, behind the head if that is not out yet.
    fn cut(&mut self) -> Bytes {
        let piece = self.rest.split_to(self.rest.len().min(PIECE));
        let head = self.head.take().unwrap_or_default();
        let mut framed = before_piece(&head, self.sequence, piece.len());
        self.sequence += 1;
        if piece.len() > COPIED {
            self.piece = Some(piece);
        } else {
            framed.put(piece);
        }
        framed.freeze()
    }

    /// How it ended, in the words of a server; a client only stops, or breaks off.
    fn end(&mut self, ended: Result<(), BoxError>) -> Option<Result<Frame<Bytes>, BoxError>> {
        if !self.is_server {
            return ended.err().map(Err);
        }
        let status = ended.map_or_else(|error| Status::unknown(error.to_string()), |()| Status::ok(""));
        Some(Ok(Frame::trailers(Self::trailers(&status))))
    }

    fn trailers(status: &Status) -> HeaderMap {
        let mut trailers = HeaderMap::with_capacity(2);
        if status.add_header(&mut trailers).is_err() {
            trailers.insert("grpc-status", http::HeaderValue::from_static("2"));
        }
        trailers
    }
}

impl<B: Body<Data = Bytes, Error = BoxError> + Unpin> Body for Framed<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        loop {
            if let Some(piece) = this.piece.take() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            if !this.rest.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(this.cut()))));
            }
            let next = match &mut this.body {
                Some(body) => Pin::new(body).poll_frame(context),
                None => Poll::Ready(None),
            };
            match next {
                Poll::Ready(Some(Ok(frame))) => {
                    // A body's own trailers have no place between runtimes.
                    this.rest = frame.into_data().unwrap_or_default();
                    continue;
                }
                Poll::Ready(ended) if this.body.take().is_some() => {
                    this.ended = Some(ended.map_or(Ok(()), |error| error.map(drop)));
                }
                Poll::Pending if this.head.is_none() => return Poll::Pending,
                Poll::Ready(_) | Poll::Pending => {}
            }
            if let Some(head) = this.head.take() {
                return Poll::Ready(Some(Ok(Frame::data(head))));
            }
            return Poll::Ready(this.ended.take().and_then(|ended| this.end(ended)));
        }
    }

    fn is_end_stream(&self) -> bool {
        let is_out = self.head.is_none() && self.piece.is_none() && self.rest.is_empty();
        is_out
            && match (&self.body, &self.ended) {
                (Some(body), _) => !self.is_server && body.is_end_stream(),
                (None, Some(ended)) => !self.is_server && ended.is_ok(),
                (None, None) => true,
            }
    }
}

/// Messages out of a body of frames.
pub(crate) struct Messages<B> {
    body: B,
    /// Read and not yet looked at.
    chunk: Bytes,
    /// A message that lies across chunks.
    partial: BytesMut,
    limit: usize,
    /// Whether the body's end says how the call ended.
    is_client: bool,
}

impl<B: Body<Data = Bytes> + Unpin> Messages<B>
where
    B::Error: std::fmt::Display,
{
    pub(crate) fn of_caller(body: B, limit: usize) -> Self {
        Self { body, chunk: Bytes::new(), partial: BytesMut::new(), limit, is_client: false }
    }

    pub(crate) fn of_callee(body: B, limit: usize) -> Self {
        Self { is_client: true, ..Self::of_caller(body, limit) }
    }

    pub(crate) async fn next<M: Message + Default>(&mut self) -> Option<Result<M, Status>> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next<M: Message + Default>(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<M, Status>>> {
        loop {
            match self.split() {
                Err(status) => return Poll::Ready(Some(Err(status))),
                Ok(Some(message)) => {
                    let decoded = M::decode(message);
                    return Poll::Ready(Some(decoded.map_err(|error| Status::internal(error.to_string()))));
                }
                Ok(None) => {}
            }
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.chunk = data,
                    Err(frame) => return Poll::Ready(self.ended(frame.into_trailers().ok())),
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(Status::unavailable(error.to_string())))),
                None => return Poll::Ready(self.ended(None)),
            }
        }
    }

    fn ended<M>(&self, trailers: Option<HeaderMap>) -> Option<Result<M, Status>> {
        if !self.partial.is_empty() {
            return Some(Err(Status::internal("the stream ended within a message")));
        }
        if !self.is_client {
            return None;
        }
        let status = trailers.and_then(|trailers| Status::from_header_map(&trailers));
        match status {
            Some(status) if status.code() == tonic::Code::Ok => None,
            Some(status) => Some(Err(status)),
            None => Some(Err(Status::internal("server closed the stream without sending trailers"))),
        }
    }

    /// The next whole message of what was read. A message within one chunk is not copied.
    fn split(&mut self) -> Result<Option<Bytes>, Status> {
        if self.partial.is_empty() {
            let Some(length) = self.length(&self.chunk)? else {
                self.partial.extend_from_slice(&std::mem::take(&mut self.chunk));
                return Ok(None);
            };
            if self.chunk.len() >= PREFIX + length {
                self.chunk.advance(PREFIX);
                return Ok(Some(self.chunk.split_to(length)));
            }
            self.partial.reserve(PREFIX + length);
            self.partial.extend_from_slice(&std::mem::take(&mut self.chunk));
            return Ok(None);
        }
        if self.partial.len() < PREFIX {
            let missing = (PREFIX - self.partial.len()).min(self.chunk.len());
            self.partial.extend_from_slice(&self.chunk.split_to(missing));
        }
        let Some(length) = self.length(&self.partial)? else { return Ok(None) };
        let missing = (PREFIX + length - self.partial.len()).min(self.chunk.len());
        self.partial.extend_from_slice(&self.chunk.split_to(missing));
        if self.partial.len() < PREFIX + length {
            return Ok(None);
        }
        let mut message = std::mem::take(&mut self.partial).freeze();
        message.advance(PREFIX);
        Ok(Some(message))
    }

    fn length(&self, bytes: &[u8]) -> Result<Option<usize>, Status> {
        let Some(mut prefix) = bytes.get(..PREFIX) else { return Ok(None) };
        if prefix.get_u8() != 0 {
            return Err(Status::unimplemented("compressed messages are not taken here"));
        }
        let length = prefix.get_u32() as usize;
        if length > self.limit {
            return Err(Status::resource_exhausted(format!(
                "grpc: received message larger than max ({length} vs. {})",
                self.limit
            )));
        }
        Ok(Some(length))
    }
}

/// A message of a stream that may carry a piece of a body.
pub(crate) trait Piece: Message + Default {
    /// The piece; an error for one that begins a call anew.
    fn payload(self) -> Result<Option<StreamPayload>, &'static str>;
}

impl Piece for internals::InternalInvokeRequestStream {
    fn payload(self) -> Result<Option<StreamPayload>, &'static str> {
        let begins = self.request.is_some_and(|head| head.message.is_some() || !head.metadata.is_empty());
        if begins { Err("request metadata found in non-leading chunk") } else { Ok(self.payload) }
    }
}

impl Piece for internals::InternalInvokeResponseStream {
    fn payload(self) -> Result<Option<StreamPayload>, &'static str> {
        let begins = self.response.is_some_and(|head| head.status.is_some() || head.message.is_some());
        if begins { Err("response metadata found in non-leading chunk") } else { Ok(self.payload) }
    }
}

/// The body that travels in a stream's pieces.
pub(crate) struct Payloads<B, M> {
    messages: Messages<B>,
    /// Came with the head.
    first: Option<StreamPayload>,
    expected: u64,
    done: bool,
    kind: PhantomData<fn() -> M>,
}

impl<B, M> Payloads<B, M> {
    pub(crate) fn new(messages: Messages<B>, first: Option<StreamPayload>) -> Self {
        Self { messages, first, expected: 0, done: false, kind: PhantomData }
    }

    fn take(&mut self, payload: StreamPayload) -> Result<Option<Frame<Bytes>>, BoxError> {
        if payload.seq != self.expected {
            self.done = true;
            return Err(format!(
                "invalid sequence number received: {} (expected: {})",
                payload.seq, self.expected
            )
            .into());
        }
        self.expected += 1;
        Ok((!payload.data.is_empty()).then(|| Frame::data(payload.data)))
    }
}

impl<B, M> Body for Payloads<B, M>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
    M: Piece,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        loop {
            if this.done {
                return Poll::Ready(None);
            }
            let payload = match this.first.take() {
                Some(first) => Some(first),
                None => match ready!(this.messages.poll_next::<M>(context)) {
                    None => {
                        this.done = true;
                        return Poll::Ready(None);
                    }
                    Some(Ok(message)) => match message.payload() {
                        Ok(payload) => payload,
                        Err(error) => {
                            this.done = true;
                            return Poll::Ready(Some(Err(error.into())));
                        }
                    },
                    Some(Err(status)) => {
                        this.done = true;
                        let error = format!("error receiving message: {}", rpc_text(&status));
                        return Poll::Ready(Some(Err(error.into())));
                    }
                },
            };
            if let Some(payload) = payload
                && let Some(taken) = this.take(payload).transpose()
            {
                return Poll::Ready(Some(taken));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.done
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Full, StreamBody};

    use super::*;

    fn chunks(bytes: &Bytes, size: usize) -> impl Body<Data = Bytes, Error = BoxError> + Unpin + use<> {
        let chunks: Vec<_> = bytes.chunks(size).map(Bytes::copy_from_slice).collect();
        let frames = chunks.into_iter().map(|chunk| Ok::<_, BoxError>(Frame::data(chunk)));
        StreamBody::new(futures_util::stream::iter(frames))
    }

    fn full(bytes: &Bytes) -> impl Body<Data = Bytes, Error = BoxError> + Unpin + use<> {
        Full::new(bytes.clone()).map_err(|never| match never {})
    }

    #[tokio::test]
    async fn what_is_framed_is_read_again_however_it_is_cut() {
        let body = Bytes::from((0..200_000_u32).map(|n| n as u8).collect::<Vec<_>>());
        let message = mecha_proto::common::v1::InvokeRequest { method: "m".into(), ..Default::default() };
        let head = internals::InternalInvokeRequestStream {
            request: Some(internals::InternalInvokeRequest { message: Some(message), ..Default::default() }),
            payload: None,
        };
        let framed = Framed::request(frame(&head), full(&body)).collect().await.unwrap().to_bytes();
        for size in [1, 3, 7, 4096, 70_000, framed.len()] {
            let mut messages = Messages::of_caller(chunks(&framed, size), 1 << 20);
            let read: internals::InternalInvokeRequestStream = messages.next().await.unwrap().unwrap();
            assert_eq!(read, head);
            let payloads = Payloads::<_, internals::InternalInvokeRequestStream>::new(messages, None);
            assert_eq!(payloads.collect().await.unwrap().to_bytes(), body, "{size}");
        }
    }

    #[tokio::test]
    async fn what_is_there_goes_out_at_once_and_the_end_with_it() {
        let head = Bytes::from_static(b"head");
        let mut request = Framed::request(head.clone(), full(&Bytes::new()));
        assert!(!request.is_end_stream());
        assert_eq!(request.frame().await.unwrap().unwrap().into_data().unwrap(), head);
        assert!(request.is_end_stream(), "nobody waits for another frame");

        let mut request = Framed::request(head.clone(), full(&Bytes::from_static(b"body")));
        let first = request.frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(first.starts_with(b"head") && first.ends_with(b"body"), "{first:?}");
        assert!(request.is_end_stream());

        let mut response = Framed::response(head.clone(), full(&Bytes::from_static(b"body")));
        let first = response.frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(first.starts_with(b"head") && first.ends_with(b"body"), "{first:?}");
        assert!(!response.is_end_stream(), "a server says how it ended");
        assert!(response.frame().await.unwrap().unwrap().is_trailers());
        assert!(response.is_end_stream() && response.frame().await.is_none());

        // A body that comes later does not hold the head up.
        let never = StreamBody::new(futures_util::stream::pending::<Result<Frame<Bytes>, BoxError>>());
        let mut waiting = Framed::request(head.clone(), never);
        assert_eq!(waiting.frame().await.unwrap().unwrap().into_data().unwrap(), head);
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_breaks_a_request_off_and_ends_an_answer() {
        let broken = || {
            let frames = [Ok(Frame::data(Bytes::from_static(b"x"))), Err(BoxError::from("gone"))];
            StreamBody::new(futures_util::stream::iter(frames))
        };
        let mut request = Framed::request(Bytes::from_static(b"head"), broken());
        assert!(request.frame().await.unwrap().is_ok() && request.frame().await.unwrap().is_err());
        let answer = Framed::response(Bytes::from_static(b"head"), broken()).collect().await.unwrap();
        assert_eq!(answer.trailers().unwrap()["grpc-message"], "gone");
    }

    #[test]
    fn the_hand_made_piece_is_the_message_s() {
        for (sequence, length) in [(0, 1), (1, 10), (200, 300), (70_000, COPIED)] {
            let data = Bytes::from(vec![7; length]);
            let mut framed = before_piece(b"", sequence, length);
            framed.put(data.clone());
            let mut framed = framed.freeze();
            framed.advance(PREFIX);
            let read = internals::InternalInvokeRequestStream::decode(framed).unwrap();
            assert_eq!(read.payload, Some(StreamPayload { data, seq: sequence }));
        }
    }

    #[tokio::test]
    async fn pieces_out_of_order_and_ends_without_a_status_break_the_body_off() {
        let piece = |seq| internals::InternalInvokeResponseStream {
            payload: Some(StreamPayload { data: Bytes::from_static(b"x"), seq }),
            response: None,
        };
        let framed = Bytes::from([frame(&piece(0)), frame(&piece(2))].concat());
        let payloads = |bytes: &Bytes| {
            let messages = Messages::of_callee(full(bytes), 1 << 20);
            Payloads::<_, internals::InternalInvokeResponseStream>::new(messages, None).collect()
        };
        let error = payloads(&framed).await.unwrap_err().to_string();
        assert_eq!(error, "invalid sequence number received: 2 (expected: 1)");
        let error = payloads(&frame(&piece(0))).await.unwrap_err().to_string();
        assert!(error.contains("without sending trailers"), "{error}");
    }

    #[tokio::test]
    async fn a_message_beyond_the_limit_is_refused_before_it_is_read() {
        let piece = internals::InternalInvokeRequestStream {
            payload: Some(StreamPayload { data: vec![1; 100].into(), seq: 0 }),
            request: None,
        };
        let mut messages = Messages::of_caller(full(&frame(&piece)), 50);
        let read: Option<Result<internals::InternalInvokeRequestStream, _>> = messages.next().await;
        assert_eq!(read.unwrap().unwrap_err().code(), tonic::Code::ResourceExhausted);
    }
}
