//! Just enough of HTTP/1.1 to ask a server on loopback: one request a connection.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::error::Result;

const CONNECT_WITHIN: Duration = Duration::from_millis(500);
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Its status; 0 when what came is no HTTP.
    pub(crate) status: u16,
    /// What follows the head.
    pub(crate) body: String,
}

/// Whether something that speaks HTTP answers there, be it with a refusal.
pub(crate) fn answers(addr: SocketAddr) -> bool {
    send(addr, "GET", "/", "").is_ok_and(|answer| answer.status > 0)
}

/// Sends a request and waits for the whole answer.
pub(crate) fn send(addr: SocketAddr, method: &str, path: &str, body: &str) -> Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&addr, CONNECT_WITHIN)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    // HTTP/1.0: the answer is neither chunked nor followed by another.
    let head = format!("{method} {path} HTTP/1.0\r\nhost: {addr}\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all((head + body).as_bytes())?;
    let mut text = Vec::new();
    stream.read_to_end(&mut text)?;
    Ok(parse(&String::from_utf8_lossy(&text)))
}

fn parse(text: &str) -> Answer {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
    let mut words = head.split(' ');
    let is_http = words.next().is_some_and(|version| version.starts_with("HTTP/1."));
    let status = words.next().and_then(|status| status.parse().ok()).filter(|_| is_http);
    Answer { status: status.unwrap_or(0), body: body.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_a_status_and_a_body_and_anything_else_has_none() {
        let answer = parse("HTTP/1.0 201 Created\r\na: b\r\n\r\n{}");
        assert_eq!((answer.status, answer.body.as_str()), (201, "{}"));
        assert_eq!(parse("-ERR 500 what").status, 0);
        assert_eq!(parse("").status, 0);
    }
}
