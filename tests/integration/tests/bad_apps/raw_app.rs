//! An application without an HTTP library: it answers the bytes that the test gives, whatever they are.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use mecha_testkit::eventually;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A request as far as these tests look at it.
#[derive(Debug, Clone)]
pub struct Asked {
    pub path: String,
    pub body: Vec<u8>,
}

impl Asked {
    /// The event that came, null when none did.
    pub fn event(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// What comes back.
#[derive(Debug, Clone)]
pub enum Answer {
    /// These bytes, and then the end of the connection.
    Bytes(Vec<u8>),
    /// Nothing, for as long as anybody waits.
    Silence,
}

impl Answer {
    /// A status and a body, as HTTP has them.
    pub fn proper(status: u16, body: &str) -> Self {
        let length = body.len();
        Self::Bytes(
            format!("HTTP/1.1 {status} S\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}")
                .into_bytes(),
        )
    }
}

type Respond = Arc<dyn Fn(&Asked) -> Answer + Send + Sync>;

/// The running application; it ends with its last connection when it is dropped.
pub struct RawApp {
    port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
    _tasks: JoinSet<()>,
}

impl RawApp {
    pub async fn start(respond: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (port, asked) = (listener.local_addr()?.port(), Arc::<Mutex<Vec<Asked>>>::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, Arc::new(respond), asked.clone()));
        Ok(Self { port, asked, _tasks: tasks })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The requests to one path so far.
    pub fn at(&self, path: &str) -> Vec<Asked> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.iter().filter(|asked| asked.path == path).cloned().collect()
    }

    /// Waits for so many requests to one path.
    pub async fn wait_for(&self, path: &str, count: usize, within: Duration) -> Result<Vec<Asked>> {
        eventually(within, || async {
            let found = self.at(path);
            ensure!(found.len() >= count, "{} of {count} requests to {path}", found.len());
            Ok(found)
        })
        .await
    }
}

async fn serve(listener: TcpListener, respond: Respond, asked: Arc<Mutex<Vec<Asked>>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (respond, asked) = (respond.clone(), asked.clone());
        connections.spawn(async move {
            // A connection that breaks is the test's doing.
            let _ = answer(stream, respond, asked).await;
        });
    }
}

async fn answer(mut stream: TcpStream, respond: Respond, all: Arc<Mutex<Vec<Asked>>>) -> Result<()> {
    let Some(asked) = read(&mut stream).await? else { return Ok(()) };
    let answer = respond(&asked);
    all.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
    match answer {
        Answer::Bytes(bytes) => {
            stream.write_all(&bytes).await?;
            stream.shutdown().await?;
        }
        Answer::Silence => {
            // Until the other side has had enough.
            while stream.read(&mut [0; 1024]).await? > 0 {}
        }
    }
    Ok(())
}

/// One request with a body of a known length.
async fn read(stream: &mut TcpStream) -> Result<Option<Asked>> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.and_then(|length| length.trim().parse().ok()).unwrap_or_default();
    while bytes.len() < head + length {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
    let line = String::from_utf8_lossy(&bytes[..head]).lines().next().unwrap_or_default().to_owned();
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    Ok(Some(Asked { path, body: bytes[head..].to_vec() }))
}
