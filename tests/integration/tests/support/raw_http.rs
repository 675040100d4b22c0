//! HTTP/1.1 byte by byte: requests that no client library would send, and answers read without forgiveness.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a server may take to answer or to close.
const WITHIN: Duration = Duration::from_secs(10);

/// One answer, whole.
#[derive(Debug)]
pub struct RawReply {
    /// Status code.
    pub status: u16,
    /// Header names in lower case with their values.
    pub headers: Vec<(String, String)>,
    /// The body, a chunked one put together.
    pub body: Vec<u8>,
}

impl RawReply {
    /// A header's value; empty when it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// The body as text, invalid UTF-8 replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A request's head and body as bytes. `target` goes on the wire as it is.
pub fn request(method: &str, target: &[u8], headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{method} ").into_bytes();
    bytes.extend_from_slice(target);
    bytes.extend_from_slice(b" HTTP/1.1\r\nhost: localhost\r\n");
    for (name, value) in headers {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// Sends `request` on a connection of its own and reads one answer; `None` when the server closed without one.
pub async fn exchange(addr: &str, request: &[u8], method: &str) -> Result<Option<RawReply>> {
    let mut connection = Connection::open(addr).await?;
    // The server may answer and close before it has read everything; its answer is what counts.
    let _ = connection.send(request).await;
    connection.read_reply(method).await
}

/// A connection that requests can follow each other on.
pub struct Connection {
    stream: TcpStream,
    /// Read and not yet used.
    rest: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub async fn open(addr: &str) -> Result<Self> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, rest: Vec::new() })
    }

    /// Sends bytes.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(bytes).await?)
    }

    /// Says that nothing more will be sent.
    pub async fn finish(&mut self) -> Result<()> {
        Ok(self.stream.shutdown().await?)
    }

    /// Reads until the server closes.
    pub async fn read_to_end(mut self) -> Result<Vec<u8>> {
        while self.fill().await? {}
        Ok(self.rest)
    }

    /// Reads one answer to a request of `method`; `None` when the server closed before the first byte of it.
    pub async fn read_reply(&mut self, method: &str) -> Result<Option<RawReply>> {
        let Some(head) = self.read_head().await? else { return Ok(None) };
        let (status, headers) = parse_head(&head)?;
        let mut reply = RawReply { status, headers, body: Vec::new() };
        if method == "HEAD" || status < 200 || status == 204 || status == 304 {
            return Ok(Some(reply));
        }
        reply.body = match (reply.header("transfer-encoding"), reply.header("content-length")) {
            ("chunked", "") => self.read_chunks().await?,
            ("", length) if !length.is_empty() => {
                self.take(length.parse().context("content-length is no number")?).await?
            }
            ("", _) => {
                while self.fill().await? {}
                std::mem::take(&mut self.rest)
            }
            (encoding, length) => bail!("transfer-encoding {encoding:?} with content-length {length:?}"),
        };
        Ok(Some(reply))
    }

    async fn read_head(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            if let Some(at) = self.rest.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = self.rest.drain(..at + 4).collect();
                return Ok(Some(head));
            }
            if !self.fill().await? {
                ensure!(self.rest.is_empty(), "closed within a head: {}", self.rest.escape_ascii());
                return Ok(None);
            }
        }
    }

    async fn read_chunks(&mut self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            while !self.rest.windows(2).any(|window| window == b"\r\n") {
                ensure!(self.fill().await?, "closed within a chunk's length");
            }
            let end = self.rest.windows(2).position(|window| window == b"\r\n").unwrap_or_default();
            let line: Vec<u8> = self.rest.drain(..end + 2).collect();
            let length = usize::from_str_radix(std::str::from_utf8(&line[..end])?, 16)?;
            let chunk = self.take(length + 2).await?;
            ensure!(chunk.ends_with(b"\r\n"), "a chunk does not end where it should");
            if length == 0 {
                return Ok(body);
            }
            body.extend_from_slice(&chunk[..length]);
        }
    }

    async fn take(&mut self, length: usize) -> Result<Vec<u8>> {
        while self.rest.len() < length {
            ensure!(self.fill().await?, "closed after {} of {length} bytes", self.rest.len());
        }
        Ok(self.rest.drain(..length).collect())
    }

    /// Reads what has arrived; false at the end.
    async fn fill(&mut self) -> Result<bool> {
        let mut buffer = [0; 16 * 1024];
        let read = timeout(WITHIN, self.stream.read(&mut buffer)).await;
        match read.with_context(|| format!("nothing came within {WITHIN:?}"))? {
            Ok(read) => {
                self.rest.extend_from_slice(&buffer[..read]);
                Ok(read > 0)
            }
            // A server that closes with unread bytes of ours resets the connection.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

fn parse_head(head: &[u8]) -> Result<(u16, Vec<(String, String)>)> {
    let head = std::str::from_utf8(head).context("the head is not text")?;
    let mut lines = head.trim_end_matches("\r\n").split("\r\n");
    let first = lines.next().unwrap_or_default();
    let status = first.strip_prefix("HTTP/1.1 ").or_else(|| first.strip_prefix("HTTP/1.0 "));
    let status = status.with_context(|| format!("not a status line: {first:?}"))?;
    let (code, _reason) = status.split_at_checked(3).with_context(|| format!("no status in {first:?}"))?;
    let headers = lines.map(|line| {
        let (name, value) = line.split_once(':').with_context(|| format!("not a header: {line:?}"))?;
        Ok((name.to_ascii_lowercase(), value.trim().to_owned()))
    });
    Ok((code.parse()?, headers.collect::<Result<_>>()?))
}
