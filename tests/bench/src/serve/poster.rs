//! A bare client: it posts one event again and again, over connections with one call in flight each, as fast as it is answered.
//!
//! It is told how many by a call of its own: `POST /<events>` with the event as the body is answered when all were taken.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use clap::ValueEnum;
use http::header::{CONTENT_TYPE, HOST, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::http::Answer;
use crate::benches::{CONNECTIONS, event_path};

const CLOUD_EVENT: HeaderValue = HeaderValue::from_static("application/cloudevents+json");

/// Which client it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Means {
    /// hyper's connections themselves, each in the hands of its own task.
    #[default]
    Connections,
    /// The client of hyper-util with its pool.
    Pool,
}

/// The client.
pub(super) struct Poster {
    pub(super) app: SocketAddr,
    pub(super) means: Means,
}

impl Poster {
    async fn post(&self, events: usize, event: Bytes) -> Result<()> {
        let left = Arc::new(AtomicUsize::new(events));
        let pool = Arc::new(Client::builder(TokioExecutor::new()).build(connector()));
        let mut tasks = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let sender = match self.means {
                Means::Connections => Sender::Connection(connect(self.app).await?),
                Means::Pool => Sender::Pool(pool.clone(), self.app),
            };
            tasks.spawn(drain(sender, event.clone(), left.clone()));
        }
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        Ok(())
    }
}

enum Sender {
    Connection(SendRequest<Full<Bytes>>),
    Pool(Arc<Client<HttpConnector, Full<Bytes>>>, SocketAddr),
}

impl Sender {
    async fn send(&mut self, event: Bytes) -> Result<Response<Incoming>> {
        let path = event_path(0);
        let uri = match self {
            Self::Connection(_) => Uri::try_from(path)?,
            Self::Pool(_, app) => Uri::try_from(format!("http://{app}{path}"))?,
        };
        let mut request = Request::new(Full::new(event));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri;
        request.headers_mut().insert(CONTENT_TYPE, CLOUD_EVENT);
        Ok(match self {
            Self::Connection(connection) => {
                request.headers_mut().insert(HOST, HeaderValue::from_static("localhost"));
                connection.ready().await?;
                connection.send_request(request).await?
            }
            Self::Pool(pool, _) => pool.request(request).await?,
        })
    }
}

fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector
}

async fn connect(app: SocketAddr) -> Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(app).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Its end shows in the next call.
    tokio::spawn(connection);
    Ok(sender)
}

/// One call after the other until nothing is left.
async fn drain(mut sender: Sender, event: Bytes, left: Arc<AtomicUsize>) -> Result<()> {
    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
        let answer = sender.send(event.clone()).await?;
        ensure!(answer.status() == StatusCode::OK, "the application answered {}", answer.status());
        answer.into_body().collect().await?;
    }
    Ok(())
}

impl Answer for Poster {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>> {
        let events = request.uri().path().trim_start_matches('/').parse().context("a number of events")?;
        let event = request.into_body().collect().await?.to_bytes();
        self.post(events, event).await?;
        Ok(Response::new(Full::default()))
    }
}
