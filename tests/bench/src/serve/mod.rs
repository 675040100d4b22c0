//! The bare servers: what the product is measured against, as a child process of its own.

mod app;
mod grpc;
mod http;
mod poster;
mod redis;

pub(crate) use redis::connect as connect_to_redis;

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;

use ::http::{HeaderMap, HeaderName, HeaderValue};
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use tokio::net::{TcpListener, TcpStream};

/// Arguments of a bare server.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Which one.
    #[arg(value_enum)]
    kind: Kind,
    /// Its port on loopback.
    #[arg(long)]
    port: u16,
    /// A header of every answer to a GET, as `name:value`.
    #[arg(long, value_parser = header)]
    get_header: Vec<(HeaderName, HeaderValue)>,
    /// A header of every answer to a POST, as `name:value`.
    #[arg(long, value_parser = header)]
    post_header: Vec<(HeaderName, HeaderValue)>,
    /// Etag of every gRPC answer.
    #[arg(long, default_value = "")]
    etag: String,
    /// The Redis server behind it.
    #[arg(long, required_if_eq("kind", "bare-redis"))]
    redis: Option<SocketAddr>,
    /// What stands before a key in Redis.
    #[arg(long, default_value = "")]
    key_prefix: String,
    /// Subscriptions of the application.
    #[arg(long, default_value_t = 1)]
    topics: usize,
    /// The application that a client posts to.
    #[arg(long, required_if_eq("kind", "bare-client"))]
    app: Option<SocketAddr>,
    /// How a client posts.
    #[arg(long, value_enum, default_value_t)]
    means: poster::Means,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// hyper, HTTP/1.1: a constant.
    #[value(name = "bare-hyper")]
    Hyper,
    /// hyper, HTTP/1.1: a value in Redis.
    #[value(name = "bare-redis")]
    Redis,
    /// tonic with its own server: a constant.
    #[value(name = "bare-tonic")]
    Tonic,
    /// A tonic service on hyper's HTTP/2 server: a constant.
    #[value(name = "bare-tonic-on-hyper")]
    TonicOnHyper,
    /// A trivial application.
    App,
    /// A client that posts events to it.
    #[value(name = "bare-client")]
    Client,
}

/// Serves until the process that started us is gone.
pub(crate) async fn run(serve: Serve) -> Result<()> {
    thread::spawn(end_with_parent);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, serve.port)).await?;
    let (get, post) = (serve.get_header.into_iter().collect(), serve.post_header.into_iter().collect());
    match serve.kind {
        Kind::Hyper => http::serve(listener, http::Constant::new(get, post)).await,
        Kind::Redis => {
            let redis = redis::connect(serve.redis.context("--redis is required")?).await?;
            http::serve(listener, redis::Stored::new(redis, serve.key_prefix, get)).await
        }
        Kind::App => http::serve(listener, app::App::new(serve.topics)).await,
        Kind::Client => {
            let app = serve.app.context("--app is required")?;
            http::serve(listener, poster::Poster { app, means: serve.means }).await
        }
        Kind::Tonic => grpc::serve_with_tonic(listener, grpc::Dapr::new(&serve.etag)).await,
        Kind::TonicOnHyper => grpc::serve_with_hyper(listener, grpc::Dapr::new(&serve.etag)).await,
    }
}

/// The value that every get returns: 1 KiB.
pub(crate) fn value() -> bytes::Bytes {
    crate::benches::json_value().into()
}

async fn accept(listener: &TcpListener) -> Result<TcpStream> {
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The parent holds the other end of our standard input.
fn end_with_parent() {
    let mut nothing = [0];
    while std::io::stdin().read(&mut nothing).is_ok_and(|read| read > 0) {}
    std::process::exit(0);
}

/// Leaked on purpose, once a process: a server with constant headers has them as static values, which cost nothing to clone.
fn header(text: &str) -> Result<(HeaderName, HeaderValue)> {
    let (name, value) = text.split_once(':').context("not of the form name:value")?;
    let value: &'static str = Box::leak(value.to_owned().into_boxed_str());
    Ok((name.parse()?, HeaderValue::from_static(value)))
}

/// Headers that every answer of one kind has.
type Constants = HeaderMap;
