//! Looks into a Redis server behind the runtime's back.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Sends one command and gives its answer as text: a string or number as it is, nothing for nil.
pub fn command(addr: SocketAddr, words: &[&str]) -> Option<String> {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(ANSWER_WITHIN)).unwrap();
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        request += &format!("${}\r\n{word}\r\n", word.len());
    }
    stream.write_all(request.as_bytes()).unwrap();
    answer(&mut BufReader::new(stream), words)
}

fn answer(stream: &mut impl BufRead, words: &[&str]) -> Option<String> {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    let (kind, rest) = line.trim_end().split_at(1);
    match kind {
        "+" | ":" => Some(rest.to_owned()),
        "$" if rest == "-1" => None,
        "$" => {
            let mut text = vec![0; rest.parse::<usize>().unwrap() + 2];
            stream.read_exact(&mut text).unwrap();
            text.truncate(text.len() - 2);
            Some(String::from_utf8_lossy(&text).into_owned())
        }
        _ => panic!("{words:?} gave {line:?}"),
    }
}
