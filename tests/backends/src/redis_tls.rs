//! Redis over TLS only, with a certificate that the test made: a server for whatever is to meet a certificate that is wrong.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::error::{BackendError, Result};
use crate::install::Program;
use crate::port::free_port;
use crate::process::ServerProcess;

const PROGRAM: Program = Program { name: "redis-server", package: "redis-server" };
const READY_WITHIN: Duration = Duration::from_secs(20);
const ANSWER_WITHIN: Duration = Duration::from_millis(500);
/// Another process may take a port between the look and the bind.
const PORT_TRIES: usize = 5;

/// A Redis server of our own that speaks TLS and asks no client for a certificate.
#[derive(Debug)]
pub struct RedisTls {
    addr: SocketAddr,
    _server: ServerProcess,
    _dir: TempDir,
}

impl RedisTls {
    /// Starts one that shows this certificate, both in PEM, and returns once it takes connections.
    pub fn start(certificate: &str, key: &str) -> Result<Self> {
        PROGRAM.find_or_install()?;
        let mut last = None;
        for _ in 0..PORT_TRIES {
            match Self::start_on(free_port()?, certificate, key) {
                Err(error @ BackendError::Ended { .. }) => last = Some(error),
                done => return done,
            }
        }
        Err(last.unwrap_or(BackendError::NoPort { tries: PORT_TRIES }))
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    fn start_on(port: u16, certificate: &str, key: &str) -> Result<Self> {
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        let dir = tempfile::tempdir()?;
        let server = launch(addr, dir.path(), certificate, key)?;
        Ok(Self { addr, _server: server, _dir: dir })
    }
}

fn launch(addr: SocketAddr, dir: &Path, certificate: &str, key: &str) -> Result<ServerProcess> {
    fs::write(dir.join("certificate"), certificate)?;
    fs::write(dir.join("key"), key)?;
    let mut command = Command::new(PROGRAM.find_or_install()?);
    command.current_dir(dir).args(["--port", "0", "--tls-port", &addr.port().to_string()]).args([
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--tls-cert-file",
        "certificate",
        "--tls-key-file",
        "key",
        "--tls-auth-clients",
        "no",
    ]);
    ServerProcess::start(command, &dir.join("log"), READY_WITHIN, || {
        TcpStream::connect_timeout(&addr, ANSWER_WITHIN).is_ok()
    })
}
