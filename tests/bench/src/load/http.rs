//! HTTP/1.1 over plain sockets: prebuilt request bytes out, status line and content-length in.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Caller, Target};

/// More than any answer here has.
const BUFFER: usize = 64 * 1024;

/// A server and the requests for it; connection `n` sends the request `n`, again and again.
#[derive(Debug)]
pub(crate) struct HttpTarget {
    addr: SocketAddr,
    requests: Vec<Bytes>,
    expected: Expected,
}

/// What every answer must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expected {
    /// The status code.
    pub(crate) status: u16,
    /// Length of the body.
    pub(crate) body: usize,
}

impl HttpTarget {
    /// The target of one kind of request.
    pub(crate) fn new(addr: SocketAddr, requests: Vec<Bytes>, expected: Expected) -> Arc<Self> {
        Arc::new(Self { addr, requests, expected })
    }
}

/// The bytes of a GET.
pub(crate) fn get(path: &str) -> Bytes {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").into()
}

/// The bytes of a POST of JSON.
pub(crate) fn post(path: &str, body: &str) -> Bytes {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into()
}

impl Target for HttpTarget {
    type Caller = HttpCaller;

    async fn connect(&self, index: usize) -> Result<HttpCaller> {
        let stream =
            TcpStream::connect(self.addr).await.with_context(|| format!("connecting to {}", self.addr))?;
        stream.set_nodelay(true)?;
        let request = self.requests[index % self.requests.len()].clone();
        Ok(HttpCaller { stream, request, expected: self.expected, buffer: vec![0; BUFFER] })
    }
}

/// A connection that is kept alive.
pub(crate) struct HttpCaller {
    stream: TcpStream,
    request: Bytes,
    expected: Expected,
    buffer: Vec<u8>,
}

impl Caller for HttpCaller {
    async fn call(&mut self) -> Result<()> {
        self.stream.write_all(&self.request).await?;
        let mut filled = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[filled..]).await?;
            ensure!(read > 0, "the server closed the connection");
            filled += read;
            let Some(head) = Head::parse(&self.buffer[..filled])? else { continue };
            ensure!(filled <= head.length + head.body, "more bytes than the answer has");
            if filled == head.length + head.body {
                return self.check(&head, filled);
            }
        }
    }
}

impl HttpCaller {
    fn check(&self, head: &Head, filled: usize) -> Result<()> {
        let Expected { status, body } = self.expected;
        if (head.status, head.body) == (status, body) {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&self.buffer[..filled.min(head.length + 200)]);
        bail!("expected status {status} with {body} bytes, got {} with {}: {text}", head.status, head.body)
    }
}

/// What matters of an answer's head.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    /// Up to and with the empty line.
    length: usize,
    /// Bytes that follow.
    body: usize,
}

impl Head {
    /// `None` while the head is incomplete.
    fn parse(bytes: &[u8]) -> Result<Option<Self>> {
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
        let status = bytes.strip_prefix(b"HTTP/1.1 ").and_then(|rest| number(rest.get(..3)?));
        let status = status.context("no HTTP/1.1 status line")? as u16;
        let body = match content_length(&bytes[..end]) {
            Some(length) => length,
            None if status == 204 => 0,
            None => bail!("an answer without a content-length: {}", String::from_utf8_lossy(&bytes[..end])),
        };
        Ok(Some(Self { status, length: end + 4, body }))
    }
}

fn content_length(head: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"content-length:";
    head.split(|&byte| byte == b'\n').find_map(|line| {
        let value = line.get(NAME.len()..)?;
        line[..NAME.len()].eq_ignore_ascii_case(NAME).then(|| number(value.trim_ascii()))?
    })
}

fn number(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_known_once_it_is_whole() {
        let answer = b"HTTP/1.1 200 OK\r\nx: y\r\nContent-Length: 12\r\n\r\nhello";
        assert_eq!(Head::parse(&answer[..40]).unwrap(), None);
        let length = answer.len() - 5;
        assert_eq!(Head::parse(answer).unwrap(), Some(Head { status: 200, length, body: 12 }));
    }

    #[test]
    fn only_an_answer_without_content_may_leave_its_length_out() {
        let head = Head::parse(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap().unwrap();
        assert_eq!((head.status, head.body), (204, 0));
        assert!(Head::parse(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
        assert!(Head::parse(b"nonsense\r\n\r\n").is_err());
    }

    #[tokio::test]
    async fn a_wrong_answer_is_an_error() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let expected = Expected { status: 200, body: 2 };
        let target = HttpTarget::new(listener.local_addr().unwrap(), vec![get("/")], expected);
        let server = async {
            let (mut socket, _) = listener.accept().await.unwrap();
            for answer in [
                "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
                "HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\nok",
            ] {
                let mut request = [0; 256];
                assert!(socket.read(&mut request).await.unwrap() > 0);
                socket.write_all(answer.as_bytes()).await.unwrap();
            }
        };
        let client = async {
            let mut caller = target.connect(0).await.unwrap();
            caller.call().await.unwrap();
            let error = caller.call().await.unwrap_err().to_string();
            assert!(error.contains("got 500"), "{error}");
            assert!(caller.call().await.is_err(), "the server has closed the connection");
        };
        tokio::join!(server, client);
    }
}
