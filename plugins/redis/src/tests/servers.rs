//! Servers that tests start with arguments of their own: sentinels and the nodes of a cluster.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use super::*;

/// A process that ends with this value.
pub(crate) struct Server {
    child: Child,
    command: Command,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Server {
    /// Starts a server and returns once it answers.
    pub(crate) async fn start(sentinel: Option<&str>, arguments: &[&str]) -> Self {
        let (dir, port) = (tempfile::tempdir().unwrap(), mecha_backends::free_port().unwrap());
        let mut command = Command::new("redis-server");
        if let Some(configuration) = sentinel {
            // A sentinel writes what it learns into its file.
            std::fs::write(dir.path().join("sentinel.conf"), configuration).unwrap();
            command.arg("sentinel.conf").arg("--sentinel");
        } else {
            command.args(["--save", ""]);
        }
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1"]).args(arguments);
        let child = command.current_dir(dir.path()).stdout(Stdio::null()).spawn().unwrap();
        let server = Self { child, command, port, _dir: dir };
        server.answers().await;
        server
    }

    /// Starts it again after [`Server::kill`], with what it had written to its folder.
    pub(crate) async fn start_again(&mut self) {
        self.child = self.command.spawn().unwrap();
        self.answers().await;
    }

    async fn answers(&self) {
        wait_until(|| self.connection().is_ok_and(|mut raw| redis::cmd("PING").exec(&mut raw).is_ok())).await;
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub(crate) fn raw(&self) -> redis::Connection {
        self.connection().unwrap()
    }

    fn connection(&self) -> redis::RedisResult<redis::Connection> {
        redis::Client::open(format!("redis://{}", self.addr()))?.get_connection()
    }
}
