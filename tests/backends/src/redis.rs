//! Redis: in memory only, without persistence, on a loopback port.

use std::env;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::error::{BackendError, Result};
use crate::install::Program;
use crate::port::{free_port, random};
use crate::process::ServerProcess;

/// Variable that names a Redis which runs already, as `host:port`; `cargo xtask test` sets it.
pub const REDIS_VARIABLE: &str = "MECHA_TEST_REDIS";

const PROGRAM: Program = Program { name: "redis-server", package: "redis-server" };
const READY_WITHIN: Duration = Duration::from_secs(20);
const ANSWER_WITHIN: Duration = Duration::from_millis(500);
/// Another process may take a port between the look and the bind.
const PORT_TRIES: usize = 5;

/// A Redis server: one of our own, or a shared one in which this value owns the keys under its prefix.
#[derive(Debug)]
pub struct Redis {
    addr: SocketAddr,
    key_prefix: String,
    owner: Owner,
}

#[derive(Debug)]
enum Owner {
    /// Ours: the process (none while stopped) and the folder of its log and working directory.
    Us { server: Option<ServerProcess>, dir: TempDir, memory: Memory },
    /// Someone else's.
    Another,
}

/// What a server keeps of its data when it is killed.
#[derive(Debug, Clone, Copy)]
enum Memory {
    /// Nothing.
    Forgets,
    /// Whatever it answered for.
    Keeps,
}

impl Redis {
    /// Starts a server of our own and returns once it answers.
    pub fn start() -> Result<Self> {
        Self::start_with(Memory::Forgets)
    }

    /// Starts a server of our own that has each write on disk before it answers: a killed one has lost nothing.
    pub fn start_durable() -> Result<Self> {
        Self::start_with(Memory::Keeps)
    }

    fn start_with(memory: Memory) -> Result<Self> {
        PROGRAM.find_or_install()?;
        let mut last = None;
        for _ in 0..PORT_TRIES {
            match Self::start_on(free_port()?, memory) {
                Err(error @ BackendError::Ended { .. }) => last = Some(error),
                done => return done,
            }
        }
        Err(last.unwrap_or(BackendError::NoPort { tries: PORT_TRIES }))
    }

    /// The server that [`REDIS_VARIABLE`] names, else one of our own. Keys of parallel tests are kept apart by
    /// [`Redis::key_prefix`].
    pub fn shared() -> Result<Self> {
        let Ok(value) = env::var(REDIS_VARIABLE) else {
            return Self::start();
        };
        let addr = value.parse().map_err(|_| BackendError::Address { variable: REDIS_VARIABLE, value })?;
        Ok(Self { addr, key_prefix: fresh_prefix(), owner: Owner::Another })
    }

    /// Address as components take it in `redisHost`.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// A prefix that no other test uses, such as an application id to run under.
    pub fn key_prefix(&self) -> &str {
        &self.key_prefix
    }

    /// Whether the server answers a PING now.
    pub fn answers(&self) -> bool {
        answers(self.addr)
    }

    /// Process id of a running server of our own, for signals.
    pub fn pid(&self) -> Option<u32> {
        self.process().map(ServerProcess::pid)
    }

    /// A running server of our own.
    pub(crate) fn process(&self) -> Option<&ServerProcess> {
        match &self.owner {
            Owner::Us { server, .. } => server.as_ref(),
            Owner::Another => None,
        }
    }

    /// Kills the server, as a crash would: its connections are reset, and its data is gone unless it is durable.
    pub fn stop(&mut self) -> Result<()> {
        match &mut self.owner {
            Owner::Us { server, .. } => *server = None,
            Owner::Another => return Err(BackendError::Shared { addr: self.addr.to_string() }),
        }
        Ok(())
    }

    /// Starts the stopped server again on the same port, empty unless it is durable; a running one is left as it is.
    pub fn start_again(&mut self) -> Result<()> {
        match &mut self.owner {
            Owner::Us { server: Some(_), .. } => {}
            Owner::Us { server, dir, memory } => *server = Some(launch(self.addr, dir.path(), *memory)?),
            Owner::Another => return Err(BackendError::Shared { addr: self.addr.to_string() }),
        }
        Ok(())
    }

    fn start_on(port: u16, memory: Memory) -> Result<Self> {
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        let dir = tempfile::tempdir()?;
        let server = Some(launch(addr, dir.path(), memory)?);
        Ok(Self { addr, key_prefix: fresh_prefix(), owner: Owner::Us { server, dir, memory } })
    }
}

fn fresh_prefix() -> String {
    format!("test-{:016x}", random())
}

fn launch(addr: SocketAddr, dir: &Path, memory: Memory) -> Result<ServerProcess> {
    let mut command = Command::new(PROGRAM.find_or_install()?);
    command.current_dir(dir);
    command.args(["--port", &addr.port().to_string(), "--bind", &addr.ip().to_string()]);
    command.args(["--save", ""]);
    match memory {
        Memory::Forgets => command.args(["--appendonly", "no"]),
        Memory::Keeps => command.args(["--appendonly", "yes", "--appendfsync", "always"]),
    };
    ServerProcess::start(command, &dir.join("log"), READY_WITHIN, || answers(addr))
}

fn answers(addr: SocketAddr) -> bool {
    ping(addr).is_ok_and(|answer| &answer == b"+PONG\r\n")
}

fn ping(addr: SocketAddr) -> Result<[u8; 7]> {
    let mut stream = TcpStream::connect_timeout(&addr, ANSWER_WITHIN)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    stream.write_all(b"PING\r\n")?;
    let mut answer = [0; 7];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_can_be_stopped_and_started_again_on_its_port() {
        let mut redis = Redis::start().unwrap();
        let addr = redis.addr();
        assert!(redis.answers());
        redis.stop().unwrap();
        assert!(!redis.answers());
        assert_eq!(redis.pid(), None);
        redis.start_again().unwrap();
        redis.start_again().unwrap();
        assert!(redis.answers());
        assert_eq!(redis.addr(), addr);
        drop(redis);
        assert!(!answers(addr));
    }

    #[test]
    fn a_shared_server_cannot_be_stopped_by_one_test() {
        let addr = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut redis = Redis { addr, key_prefix: fresh_prefix(), owner: Owner::Another };
        assert!(matches!(redis.stop(), Err(BackendError::Shared { .. })));
        assert!(matches!(redis.start_again(), Err(BackendError::Shared { .. })));
    }

    #[test]
    fn two_prefixes_differ() {
        assert_ne!(fresh_prefix(), fresh_prefix());
    }
}
