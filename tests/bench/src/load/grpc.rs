//! gRPC over plain sockets: prebuilt HTTP/2 frames out, frame headers in.
//!
//! A generated client costs more processor time than the server that it calls, and would hide half of the difference between
//! two servers. It makes the first call here ([`verify`]) and checks the answer in full; under load an answer is right when
//! its message has the length of that one: a failed call carries no message at all.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use mecha_proto::common::v1::StateItem;
use mecha_proto::runtime::v1::dapr_client::DaprClient;
use mecha_proto::runtime::v1::{GetStateRequest, GetStateResponse, SaveStateRequest};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

use super::{Caller, Target};
use crate::benches::key;

/// More than any answer here has.
const BUFFER: usize = 64 * 1024;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Flag of a frame that is the sender's last on its stream.
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
/// Flag of a SETTINGS or PING frame that answers one.
const ACK: u8 = 1;
/// What precedes a message: whether it is compressed, and its length.
const MESSAGE_HEAD: usize = 5;
const FRAME_HEAD: usize = 9;
const APP_ID_KEY: &str = "dapr-app-id";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

/// What is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// GetState.
    Get,
    /// SaveState with one item.
    Save,
    /// GetState of another service, which the runtime passes on to this application.
    Proxied {
        /// The application's id; empty when it is called itself.
        app_id: &'static str,
    },
}

impl Operation {
    fn path(self) -> &'static str {
        match self {
            Self::Get => "/dapr.proto.runtime.v1.Dapr/GetState",
            Self::Save => "/dapr.proto.runtime.v1.Dapr/SaveState",
            Self::Proxied { .. } => "/bench.Application/GetState",
        }
    }
}

/// A server and the call for it; connection `n` uses the key `n`.
#[derive(Debug)]
pub(crate) struct GrpcTarget {
    addr: SocketAddr,
    operation: Operation,
    store: String,
    value: Bytes,
    /// Bytes of DATA in a right answer.
    expected: usize,
}

impl GrpcTarget {
    /// `value` is what a save sends and what a get must return, which is checked with one call here.
    pub(crate) async fn new(
        addr: SocketAddr,
        operation: Operation,
        store: &str,
        value: Bytes,
    ) -> Result<Arc<Self>> {
        let message = verify(addr, operation, store, &value).await.context("the generated client's call")?;
        let store = store.to_owned();
        Ok(Arc::new(Self { addr, operation, store, value, expected: MESSAGE_HEAD + message }))
    }

    /// The call's HEADERS and DATA, for the stream 0.
    fn request(&self, index: usize) -> Vec<u8> {
        let message = match self.operation {
            Operation::Get | Operation::Proxied { .. } => get_request(&self.store, index).encode_to_vec(),
            Operation::Save => save_request(&self.store, index, &self.value).encode_to_vec(),
        };
        let headers = frame(HEADERS, END_HEADERS, &header_block(self.operation));
        let body = [&[0][..], &(message.len() as u32).to_be_bytes(), &message].concat();
        [headers, frame(DATA, END_STREAM, &body)].concat()
    }
}

/// One call through the generated client; gives the length of the answer's message.
async fn verify(addr: SocketAddr, operation: Operation, store: &str, value: &Bytes) -> Result<usize> {
    let mut client = DaprClient::new(client_channel(addr).await?);
    match operation {
        Operation::Get => {
            let answer = client.get_state(get_request(store, 0)).await?.into_inner();
            ensure!(answer.data == value, "the value is another one, of {} bytes", answer.data.len());
            Ok(answer.encoded_len())
        }
        Operation::Save => {
            client.save_state(save_request(store, 0, value)).await?;
            Ok(0)
        }
        Operation::Proxied { app_id } => {
            let mut client = tonic::client::Grpc::new(client_channel(addr).await?);
            client.ready().await?;
            let mut request = tonic::Request::new(get_request(store, 0));
            request.metadata_mut().insert(APP_ID_KEY, app_id.parse()?);
            let codec = ProstCodec::<GetStateRequest, GetStateResponse>::default();
            let answer = client.unary(request, operation.path().parse()?, codec).await?.into_inner();
            ensure!(answer.data == value, "the value is another one, of {} bytes", answer.data.len());
            Ok(answer.encoded_len())
        }
    }
}

async fn client_channel(addr: SocketAddr) -> Result<Channel> {
    Ok(Endpoint::from_shared(format!("http://{addr}"))?.connect().await?)
}

fn get_request(store: &str, index: usize) -> GetStateRequest {
    GetStateRequest { store_name: store.to_owned(), key: key(index), ..Default::default() }
}

fn save_request(store: &str, index: usize, value: &Bytes) -> SaveStateRequest {
    let item = StateItem { key: key(index), value: value.clone(), ..Default::default() };
    SaveStateRequest { store_name: store.to_owned(), states: vec![item] }
}

/// A frame for the stream 0.
fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, 0], payload].concat()
}

/// A call's headers, without Huffman codes and without entries for the dynamic table: the same bytes every time.
fn header_block(operation: Operation) -> Vec<u8> {
    let mut block = vec![0x83, 0x86]; // :method: POST, :scheme: http
    let mut literal = |name: &[u8], value: &str| {
        block.extend_from_slice(name);
        // One byte is enough for lengths below 127.
        block.push(value.len() as u8);
        block.extend_from_slice(value.as_bytes());
    };
    literal(&[0x04], operation.path()); // :path
    literal(&[0x01], "localhost"); // :authority
    literal(&[0x0f, 31 - 15], "application/grpc"); // content-type
    literal(b"\x00\x02te", "trailers");
    if let Operation::Proxied { app_id } = operation {
        literal(b"\x00\x0bdapr-app-id", app_id);
    }
    block
}

impl Target for GrpcTarget {
    type Caller = GrpcCaller;

    async fn connect(&self, index: usize) -> Result<GrpcCaller> {
        let mut stream =
            TcpStream::connect(self.addr).await.with_context(|| format!("connecting to {}", self.addr))?;
        stream.set_nodelay(true)?;
        // As much as a turn can bring; what this side sends is less than any server's window.
        let window = frame(WINDOW_UPDATE, 0, &(i32::MAX as u32 - 65_535).to_be_bytes());
        stream.write_all(&[PREFACE, &frame(SETTINGS, 0, &[]), &window].concat()).await?;
        let request = self.request(index);
        let headers = FRAME_HEAD + length(&request);
        let ids = [FRAME_HEAD - 4, headers + FRAME_HEAD - 4];
        let buffer = vec![0; BUFFER];
        Ok(GrpcCaller { stream, request, ids, id: 1, expected: self.expected, buffer, filled: 0 })
    }
}

/// An HTTP/2 connection with one call in flight.
pub(crate) struct GrpcCaller {
    stream: TcpStream,
    request: Vec<u8>,
    /// Where the stream's number stands in the request's two frames.
    ids: [usize; 2],
    /// The next stream.
    id: u32,
    expected: usize,
    buffer: Vec<u8>,
    /// Bytes in the buffer that belong to no whole frame yet.
    filled: usize,
}

impl Caller for GrpcCaller {
    async fn call(&mut self) -> Result<()> {
        let id = self.id;
        self.id += 2;
        for at in self.ids {
            self.request[at..at + 4].copy_from_slice(&id.to_be_bytes());
        }
        self.stream.write_all(&self.request).await?;
        let mut answer = Answer { id, data: 0, ended: false };
        while !answer.ended {
            let read = self.stream.read(&mut self.buffer[self.filled..]).await?;
            ensure!(read > 0, "the server closed the connection");
            self.filled += read;
            let replies = self.take_frames(&mut answer)?;
            if !replies.is_empty() {
                self.stream.write_all(&replies).await?;
            }
        }
        let (got, expected) = (answer.data, self.expected);
        ensure!(got == expected, "expected {expected} bytes of message, got {got}: the call failed");
        Ok(())
    }
}

impl GrpcCaller {
    /// Reads every whole frame; gives what has to be answered at once.
    fn take_frames(&mut self, answer: &mut Answer) -> Result<Vec<u8>> {
        let (mut replies, mut at) = (Vec::new(), 0);
        while let Some(head) = self.buffer[at..self.filled].get(..FRAME_HEAD) {
            let end = at + FRAME_HEAD + length(head);
            if end > self.filled {
                ensure!(end - at <= self.buffer.len(), "a frame longer than the buffer");
                break;
            }
            answer.take(
                &self.buffer[at..at + FRAME_HEAD],
                &self.buffer[at + FRAME_HEAD..end],
                &mut replies,
            )?;
            at = end;
        }
        self.buffer.copy_within(at..self.filled, 0);
        self.filled -= at;
        Ok(replies)
    }
}

/// The answer on one stream, so far.
struct Answer {
    id: u32,
    data: usize,
    ended: bool,
}

impl Answer {
    fn take(&mut self, head: &[u8], payload: &[u8], replies: &mut Vec<u8>) -> Result<()> {
        let (kind, flags) = (head[3], head[4]);
        let is_ours = head[5..] == self.id.to_be_bytes();
        match kind {
            DATA if is_ours => {
                ensure!(flags & PADDED == 0, "a padded frame");
                self.data += payload.len();
                self.ended |= flags & END_STREAM != 0;
            }
            HEADERS if is_ours => self.ended |= flags & END_STREAM != 0,
            RST_STREAM if is_ours => bail!("the server reset the stream: {payload:?}"),
            GOAWAY => bail!("the server ends the connection: {}", String::from_utf8_lossy(payload)),
            SETTINGS if flags & ACK == 0 => replies.extend(frame(SETTINGS, ACK, &[])),
            PING if flags & ACK == 0 => replies.extend(frame(PING, ACK, payload)),
            _ => {}
        }
        Ok(())
    }
}

/// Length of the payload behind a frame's head.
fn length(head: &[u8]) -> usize {
    usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_with_its_trailers_and_other_streams_do_not_matter() {
        let mut answer = Answer { id: 3, data: 0, ended: false };
        let mut replies = Vec::new();
        let mut take = |kind, flags, id: u8, payload: &[u8]| {
            let mut bytes = frame(kind, flags, payload);
            bytes[8] = id;
            answer
                .take(&bytes[..FRAME_HEAD], &bytes[FRAME_HEAD..], &mut replies)
                .map(|()| (answer.data, answer.ended))
        };
        assert_eq!(take(HEADERS, END_HEADERS, 3, b"h").unwrap(), (0, false));
        assert_eq!(take(DATA, 0, 1, b"other").unwrap(), (0, false));
        assert_eq!(take(DATA, 0, 3, b"12345").unwrap(), (5, false));
        assert_eq!(take(PING, 0, 0, b"12345678").unwrap(), (5, false));
        assert_eq!(take(HEADERS, END_HEADERS | END_STREAM, 3, b"t").unwrap(), (5, true));
        assert!(take(RST_STREAM, 0, 3, &[0, 0, 0, 8]).is_err());
        assert_eq!(replies, frame(PING, ACK, b"12345678"));
    }

    #[test]
    fn a_frame_s_head_holds_the_length() {
        assert_eq!(length(&frame(DATA, 0, &[0; 70_000])), 70_000);
    }
}
