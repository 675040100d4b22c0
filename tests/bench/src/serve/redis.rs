//! A bare hyper server with a Redis client: the same crate, configuration and command as the product's Redis plugin, over
//! one multiplexed connection.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::header::ETAG;
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Cmd, RedisConnectionInfo, Value};
use tokio::net::TcpStream;

use super::Constants;
use super::http::Answer;

/// As the plugin has them by default.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(3);
const QUEUE: usize = 4096;

/// Opens the connection and keeps it driven.
pub(crate) async fn connect(addr: SocketAddr) -> Result<MultiplexedConnection> {
    let stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    let config = AsyncConnectionConfig::new()
        .set_response_timeout(Some(RESPONSE_TIMEOUT))
        .set_pipeline_buffer_size(QUEUE);
    let (connection, driver) =
        MultiplexedConnection::new_with_config(&RedisConnectionInfo::default(), stream, config).await?;
    tokio::spawn(driver);
    Ok(connection)
}

/// Answers a GET with the value in Redis under the path's last part.
pub(super) struct Stored {
    connection: MultiplexedConnection,
    key_prefix: String,
    headers: Constants,
}

impl Stored {
    pub(super) fn new(connection: MultiplexedConnection, key_prefix: String, mut headers: Constants) -> Self {
        // The one header that is not constant comes from Redis.
        headers.remove(ETAG);
        Self { connection, key_prefix, headers }
    }

    async fn read(&self, key: &str) -> Result<(Vec<u8>, Vec<u8>)> {
        let mut command = Cmd::with_capacity(4, self.key_prefix.len() + key.len() + 16);
        command.arg("HMGET").arg([&self.key_prefix, key].concat()).arg("data").arg("version");
        let Value::Array(fields) = self.connection.clone().req_packed_command(&command).await? else {
            bail!("no array from HMGET");
        };
        let mut fields = fields.into_iter();
        match (fields.next(), fields.next()) {
            (Some(Value::BulkString(data)), Some(Value::BulkString(version))) => Ok((data, version)),
            _ => bail!("the key is not there"),
        }
    }
}

impl Answer for Stored {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>> {
        let key = request.uri().path().rsplit('/').next().context("a path has a last part")?;
        let (data, version) = self.read(key).await?;
        let mut response = Response::new(Full::new(Bytes::from(data)));
        *response.headers_mut() = self.headers.clone();
        response.headers_mut().insert(ETAG, HeaderValue::from_maybe_shared(Bytes::from(version))?);
        Ok(response)
    }
}
