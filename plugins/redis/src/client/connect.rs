//! Makes one connection: name, socket, TLS, login, database; for a master behind sentinels, their word first.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mecha_plugin_api::{Error, Result};
use redis::aio::{ConnectionLike, MultiplexedConnection, PubSub};
use redis::{AsyncConnectionConfig, Cmd, RedisConnectionInfo, RedisError, Value, cmd};
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::watch;
use tokio_rustls::TlsConnector;

use super::{sentinel, tls};
use crate::error::connect_error;
use crate::metadata::{Address, Credentials, Settings, Topology};

/// Calls that may wait to be written before a further one has to wait for a place.
const QUEUE: usize = 4096;
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Moves a connection's bytes; ends when the connection does.
pub(crate) type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Bytes to and from a server, encrypted or not.
trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// Where a connection leads.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Target {
    /// A server at this address.
    Server(Address),
    /// Whichever server the sentinels call the master.
    Master,
    /// Whichever sentinel answers.
    Sentinel,
}

/// A new connection. It answers only while its driver is polled.
pub(crate) struct Connected {
    pub(crate) connection: MultiplexedConnection,
    pub(crate) driver: Driver,
    pub(crate) server: Address,
}

impl Connected {
    /// Asks one thing of a connection that nothing drives yet.
    pub(crate) async fn ask(&mut self, command: &Cmd) -> Result<Value, RedisError> {
        let mut connection = self.connection.clone();
        tokio::select! {
            () = &mut self.driver => Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset).into()),
            answer = connection.req_packed_command(command) => answer,
        }
    }
}

/// All that is needed to connect, again and again.
pub(crate) struct Connector {
    settings: Settings,
    login: RedisConnectionInfo,
    sentinel_login: RedisConnectionInfo,
    tls: Option<TlsConnector>,
    /// How many replicas the server had when it was last connected to.
    replicas: AtomicU32,
    /// The master that the sentinels announced last.
    master: watch::Sender<Option<Address>>,
}

impl Connector {
    /// Prepares to connect; fails only when the settings cannot work.
    pub(crate) fn new(settings: Settings) -> Result<Self> {
        let tls = match &settings.tls {
            None => None,
            Some(wanted) => Some(TlsConnector::from(Arc::new(tls::client_config(wanted)?))),
        };
        let sentinel_login = match &settings.topology {
            Topology::Sentinel(sentinel) => login(&sentinel.credentials, 0),
            Topology::Single | Topology::Cluster => RedisConnectionInfo::default(),
        };
        Ok(Self {
            login: login(&settings.credentials, settings.database),
            sentinel_login,
            tls,
            replicas: AtomicU32::new(0),
            master: watch::Sender::new(None),
            settings,
        })
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn replicas(&self) -> u32 {
        self.replicas.load(Ordering::Relaxed)
    }

    /// Where the component's commands go, unless the cluster decides it command by command.
    pub(crate) fn target(&self) -> Target {
        match (&self.settings.topology, self.settings.hosts.as_slice()) {
            (Topology::Single | Topology::Cluster, [first, ..]) => Target::Server(first.clone()),
            _ => Target::Master,
        }
    }

    /// A target as error messages and log lines name it.
    pub(crate) fn name(&self, target: &Target) -> String {
        let hosts = || self.settings.hosts.iter().map(Address::to_string).collect::<Vec<_>>().join(",");
        match target {
            Target::Server(address) => address.to_string(),
            Target::Master => format!("the master behind the sentinels {}", hosts()),
            Target::Sentinel => format!("the sentinels {}", hosts()),
        }
    }

    /// Announces another master: connections to the earlier one are given up.
    pub(crate) fn announce_master(&self, master: Address) {
        self.master.send_replace(Some(master));
    }

    /// Resolves once the sentinels have announced another master than `server`.
    pub(crate) async fn moved_from(&self, target: &Target, server: &Address) {
        let mut master = self.master.subscribe();
        let moved = master.wait_for(|master| master.as_ref().is_some_and(|master| master != server));
        if *target != Target::Master || moved.await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Connects within the dial timeout.
    pub(crate) async fn connect(&self, target: &Target) -> Result<Connected> {
        self.within_dial_timeout(target, self.reach(target)).await
    }

    /// A connection for subscriptions to channels, within the dial timeout.
    pub(crate) async fn subscriber(&self, target: &Target) -> Result<(PubSub, Address)> {
        self.within_dial_timeout(target, async {
            let server = match target {
                Target::Server(address) => address.clone(),
                Target::Master | Target::Sentinel => sentinel::master(self).await?,
            };
            let stream = self.stream(&server).await?;
            let connection = PubSub::new(&self.login, stream).await;
            Ok((connection.map_err(|error| connect_error(&server, &error, "redisPassword"))?, server))
        })
        .await
    }

    async fn within_dial_timeout<T>(
        &self,
        target: &Target,
        connecting: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let limit = self.settings.dial_timeout;
        tokio::time::timeout(limit, connecting).await.unwrap_or_else(|_| {
            let name = self.name(target);
            Err(Error::unavailable(format!("cannot connect to redis at {name}: no answer within {limit:?}")))
        })
    }

    async fn reach(&self, target: &Target) -> Result<Connected> {
        match target {
            Target::Server(address) => self.dial(address).await,
            Target::Sentinel => sentinel::any(self).await,
            Target::Master => {
                let address = sentinel::master(self).await?;
                let mut connected = self.dial(&address).await?;
                sentinel::check_role(&mut connected).await?;
                self.announce_master(address);
                Ok(connected)
            }
        }
    }

    async fn dial(&self, address: &Address) -> Result<Connected> {
        let mut connected = self.log_in(address, &self.login, "redisPassword").await?;
        let answer = connected.ask(cmd("INFO").arg("replication")).await;
        let replicas = answer.and_then(count_replicas);
        let replicas = replicas.map_err(|error| connect_error(address, &error, "redisPassword"))?;
        self.replicas.store(replicas, Ordering::Relaxed);
        Ok(connected)
    }

    /// A connection to one sentinel.
    pub(crate) async fn dial_sentinel(&self, address: &Address) -> Result<Connected> {
        self.log_in(address, &self.sentinel_login, "sentinelPassword").await
    }

    async fn log_in(
        &self,
        address: &Address,
        login: &RedisConnectionInfo,
        password_field: &'static str,
    ) -> Result<Connected> {
        let stream = self.stream(address).await?;
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(self.settings.read_timeout)
            .set_pipeline_buffer_size(QUEUE);
        let made = MultiplexedConnection::new_with_config(login, stream, config).await;
        let (connection, driver) = made.map_err(|error| connect_error(address, &error, password_field))?;
        Ok(Connected { connection, driver: Box::pin(driver), server: address.clone() })
    }

    async fn stream(&self, address: &Address) -> Result<Box<dyn Wire>> {
        let failed = |error: std::io::Error| {
            Error::unavailable(format!("cannot connect to redis at {address}: {error}"))
        };
        let found = lookup_host((address.host.as_str(), address.port)).await;
        let found: Vec<_> = found.map_err(|error| failed(error).with_field("redisHost"))?.collect();
        let socket = TcpStream::connect(found.as_slice()).await.map_err(failed)?;
        self.tune(&socket).map_err(failed)?;
        let Some(connector) = &self.tls else { return Ok(Box::new(socket)) };
        let name = ServerName::try_from(address.host.clone())
            .map_err(|error| Error::invalid(error.to_string()).with_field("redisHost"))?;
        let stream = connector.connect(name, socket).await;
        Ok(Box::new(stream.map_err(|error| failed(error).with_field("enableTLS"))?))
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
fn login(credentials: &Credentials, database: i64) -> RedisConnectionInfo {
    let mut login =
        RedisConnectionInfo::default().set_db(database).set_lib_name("mecha", env!("CARGO_PKG_VERSION"));
    if let Some(username) = &credentials.username {
        login = login.set_username(username);
    }
    if let Some(password) = &credentials.password {
        login = login.set_password(password);
    }
    login
}

/// How many replicas follow the server. A user who may not ask, or a server that does not say, counts as none.
fn count_replicas(answer: Value) -> Result<u32, RedisError> {
    match answer {
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
