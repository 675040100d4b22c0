//! Makes one connection: name, socket, TLS, login, database.
//!
//! Everything that depends on where the server is stands here. Sentinel would ask for the master's address before
//! [`Connector::dial`]; nothing above this file would notice.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mecha_plugin_api::{Error, Result};
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{AsyncConnectionConfig, RedisConnectionInfo, RedisError, Value, cmd};
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::tls;
use crate::error::connect_error;
use crate::metadata::Settings;

/// Calls that may wait to be written before a further one has to wait for a place.
const QUEUE: usize = 4096;
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Moves a connection's bytes; ends when the connection does.
pub(crate) type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// All that is needed to connect, again and again.
pub(crate) struct Connector {
    settings: Settings,
    address: String,
    login: RedisConnectionInfo,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    /// How many replicas the server had when it was last connected to.
    replicas: AtomicU32,
}

impl Connector {
    /// Prepares to connect; fails only when the settings cannot work.
    pub(crate) fn new(settings: Settings) -> Result<Self> {
        let tls = match &settings.tls {
            None => None,
            Some(wanted) => {
                let name = ServerName::try_from(settings.host.clone())
                    .map_err(|error| Error::invalid(error.to_string()).with_field("redisHost"))?;
                Some((TlsConnector::from(Arc::new(tls::client_config(wanted)?)), name))
            }
        };
        let host = &settings.host;
        let address = if host.contains(':') {
            format!("[{host}]:{}", settings.port)
        } else {
            format!("{host}:{}", settings.port)
        };
        Ok(Self { login: login(&settings), address, tls, replicas: AtomicU32::new(0), settings })
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The server as error messages and log lines name it.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn replicas(&self) -> u32 {
        self.replicas.load(Ordering::Relaxed)
    }

    /// Connects within the dial timeout. The connection answers only while its driver is polled.
    pub(crate) async fn connect(&self) -> Result<(MultiplexedConnection, Driver)> {
        match tokio::time::timeout(self.settings.dial_timeout, self.dial()).await {
            Ok(done) => done.map_err(|error| connect_error(&self.address, &error)),
            Err(_) => Err(Error::unavailable(format!(
                "cannot connect to redis at {}: no answer within {:?}",
                self.address, self.settings.dial_timeout
            ))),
        }
    }

    async fn dial(&self) -> Result<(MultiplexedConnection, Driver), RedisError> {
        let socket = TcpStream::connect((self.settings.host.as_str(), self.settings.port)).await?;
        self.tune(&socket)?;
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(self.settings.read_timeout)
            .set_pipeline_buffer_size(QUEUE);
        let (connection, mut driver): (_, Driver) = match &self.tls {
            None => {
                let (connection, driver) =
                    MultiplexedConnection::new_with_config(&self.login, socket, config).await?;
                (connection, Box::pin(driver))
            }
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), socket).await?;
                let (connection, driver) =
                    MultiplexedConnection::new_with_config(&self.login, stream, config).await?;
                (connection, Box::pin(driver))
            }
        };
        tokio::select! {
            () = &mut driver => return Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset).into()),
            replicas = count_replicas(connection.clone()) => self.replicas.store(replicas?, Ordering::Relaxed),
        }
        Ok((connection, driver))
    }

    /// A peer that vanished without a word is noticed after the write timeout, or by keep-alive probes when idle.
    fn tune(&self, socket: &TcpStream) -> std::io::Result<()> {
        socket.set_nodelay(true)?;
        let socket = SockRef::from(socket);
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE))?;
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(self.settings.write_timeout)?;
        Ok(())
    }
}

/// RESP2: every server speaks it, and nothing that this plugin reads looks different in RESP3.
fn login(settings: &Settings) -> RedisConnectionInfo {
    let mut login = RedisConnectionInfo::default()
        .set_db(settings.database)
        .set_lib_name("mecha", env!("CARGO_PKG_VERSION"));
    if let Some(username) = &settings.username {
        login = login.set_username(username);
    }
    if let Some(password) = &settings.password {
        login = login.set_password(password);
    }
    login
}

/// Asks how many replicas follow the server. A user who may not ask, or a server that does not say, counts as none.
async fn count_replicas(mut connection: MultiplexedConnection) -> Result<u32, RedisError> {
    match connection.req_packed_command(cmd("INFO").arg("replication")).await? {
        Value::BulkString(text) => Ok(connected_replicas(&String::from_utf8_lossy(&text))),
        Value::ServerError(error) if matches!(error.code(), "LOADING" | "NOAUTH") => Err(error.into()),
        _ => Ok(0),
    }
}

fn connected_replicas(info: &str) -> u32 {
    let count = info.lines().find_map(|line| line.strip_prefix("connected_slaves:"));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_read_from_info() {
        let info = "# Replication\r\nrole:master\r\nconnected_slaves:2\r\nslave0:ip=127.0.0.1\r\n";
        assert_eq!(connected_replicas(info), 2);
        assert_eq!(connected_replicas("# Replication\r\nrole:slave\r\n"), 0);
        assert_eq!(connected_replicas("connected_slaves:x"), 0);
    }
}
