//! The bare servers as child processes of this binary.

use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mecha_backends::free_port;

/// Between two looks at a starting process.
const POLL: Duration = Duration::from_micros(200);
const READY_WITHIN: Duration = Duration::from_secs(20);

/// A process that ends with this value.
#[derive(Debug)]
pub(crate) struct OwnedChild(Child);

impl OwnedChild {
    /// Starts it. Its standard input is a pipe from us, so that it can notice our end.
    pub(crate) fn spawn(command: &mut Command) -> Result<Self> {
        let child = command.stdin(Stdio::piped()).spawn();
        Ok(Self(child.with_context(|| format!("running {}", command.get_program().to_string_lossy()))?))
    }

    /// Process id.
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Looks again and again, in short intervals, until `is_ready`.
    pub(crate) fn wait(&mut self, is_ready: impl Fn() -> bool) -> Result<()> {
        let began = Instant::now();
        while !is_ready() {
            if let Some(status) = self.0.try_wait()? {
                bail!("the process ended before it was ready ({status})");
            }
            if began.elapsed() > READY_WITHIN {
                bail!("the process is not ready after {READY_WITHIN:?}");
            }
            thread::sleep(POLL);
        }
        Ok(())
    }
}

impl Drop for OwnedChild {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A bare server.
#[derive(Debug)]
pub(crate) struct BareServer {
    child: OwnedChild,
    addr: SocketAddr,
}

impl BareServer {
    /// Starts `mecha-bench serve <kind>` and returns once it accepts connections.
    pub(crate) fn start(kind: &str, args: &[String]) -> Result<Self> {
        let (mut child, addr) = Self::spawn(kind, args)?;
        child.wait(|| TcpStream::connect(addr).is_ok()).with_context(|| kind.to_owned())?;
        Ok(Self { child, addr })
    }

    /// Starts it without waiting.
    pub(crate) fn spawn(kind: &str, args: &[String]) -> Result<(OwnedChild, SocketAddr)> {
        let port = free_port()?;
        let mut command = Command::new(std::env::current_exe().context("the path of this binary")?);
        command.args(["serve", kind, "--port", &port.to_string()]).args(args);
        Ok((OwnedChild::spawn(&mut command)?, SocketAddr::from(([127, 0, 0, 1], port))))
    }

    /// Process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }
}
