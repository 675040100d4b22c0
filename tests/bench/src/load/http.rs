//! HTTP/1.1 over plain sockets: prebuilt request bytes out, status line and a body of known length or in chunks in.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Caller, Target};

/// More than any answer here has.
const BUFFER: usize = 64 * 1024;
/// So much of an unexpected answer is shown.
const SHOWN: usize = 400;

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
            let Some(answer) = Answer::parse(&self.buffer[..filled])? else { continue };
            ensure!(filled == answer.length, "more bytes than the answer has");
            return self.check(&answer);
        }
    }
}

impl HttpCaller {
    fn check(&self, answer: &Answer) -> Result<()> {
        let Expected { status, body } = self.expected;
        if (answer.status, answer.body) == (status, body) {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&self.buffer[..answer.length.min(SHOWN)]);
        bail!(
            "expected status {status} with {body} bytes, got {} with {}: {text}",
            answer.status,
            answer.body
        )
    }
}

/// What matters of a whole answer.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    /// Bytes of the body itself.
    body: usize,
    /// All its bytes.
    length: usize,
}

impl Answer {
    /// `None` while the answer is incomplete.
    fn parse(bytes: &[u8]) -> Result<Option<Self>> {
        let Some(end) = find(bytes, b"\r\n\r\n") else { return Ok(None) };
        let status = bytes.strip_prefix(b"HTTP/1.1 ").and_then(|rest| number(rest.get(..3)?));
        let status = status.context("no HTTP/1.1 status line")? as u16;
        let (head, rest) = (&bytes[..end], &bytes[end + 4..]);
        let body = match value(head, b"content-length:").and_then(number) {
            Some(length) => (rest.len() >= length).then_some((length, length)),
            None if value(head, b"transfer-encoding:") == Some(b"chunked") => chunked(rest)?,
            None if status == 204 => Some((0, 0)),
            None => bail!("an answer without a length: {}", String::from_utf8_lossy(head)),
        };
        Ok(body.map(|(body, length)| Self { status, body, length: end + 4 + length }))
    }
}

/// Bytes of a body in chunks, without and with what frames them; `None` while the last chunk is missing.
fn chunked(mut rest: &[u8]) -> Result<Option<(usize, usize)>> {
    let (whole, mut body) = (rest.len(), 0);
    while let Some(end) = find(rest, b"\r\n") {
        let size =
            std::str::from_utf8(&rest[..end]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
        let size = size.context("a chunk without a size")?;
        let Some(after) = rest.get(end + 2 + size + 2..) else { return Ok(None) };
        body += size;
        rest = after;
        if size == 0 {
            return Ok(Some((body, whole - rest.len())));
        }
    }
    Ok(None)
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// The value of the header that begins so.
fn value<'h>(head: &'h [u8], name: &[u8]) -> Option<&'h [u8]> {
    head.split(|&byte| byte == b'\n').find_map(|line| {
        let value = line.get(name.len()..)?;
        line[..name.len()].eq_ignore_ascii_case(name).then(|| value.trim_ascii())
    })
}

fn number(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_known_once_it_is_whole() {
        for (answer, body) in [
            (&b"HTTP/1.1 200 OK\r\nx: y\r\nContent-Length: 12\r\n\r\nhello, world"[..], 12),
            (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nb\r\nhello, worl\r\n1\r\nd\r\n0\r\n\r\n", 12),
            (b"HTTP/1.1 204 No Content\r\n\r\n", 0),
        ] {
            for cut in 0..answer.len() {
                assert_eq!(Answer::parse(&answer[..cut]).unwrap(), None, "{cut} bytes of {answer:?}");
            }
            let whole = Answer::parse(answer).unwrap().unwrap();
            assert_eq!((whole.body, whole.length), (body, answer.len()));
        }
    }

    #[test]
    fn only_an_answer_without_content_may_leave_its_length_out() {
        assert!(Answer::parse(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(Answer::parse(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx\r\n").is_err());
        assert!(Answer::parse(b"nonsense\r\n\r\n").is_err());
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
