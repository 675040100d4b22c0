//! A server that is reached by an address with `http://`: one of our own, or one that a variable names.

use std::env;
use std::net::SocketAddr;
use std::path::Path;

use tempfile::TempDir;

use crate::error::{BackendError, Result};
use crate::http;
use crate::port::free_port;
use crate::process::ServerProcess;

/// Another process may take a port between the look and the bind.
const PORT_TRIES: usize = 3;

/// Starts a server on an address; its files go into the folder.
pub(crate) type Launch = fn(SocketAddr, &Path) -> Result<ServerProcess>;

/// The server.
#[derive(Debug)]
pub(crate) struct Instance {
    endpoint: String,
    owner: Owner,
}

#[derive(Debug)]
enum Owner {
    /// Ours: the process (none while stopped) and the folder of its files.
    Us { addr: SocketAddr, server: Option<ServerProcess>, dir: TempDir, launch: Launch },
    /// Someone else's.
    Another,
}

impl Instance {
    /// Starts one of our own and returns once it answers.
    pub(crate) fn start(launch: Launch) -> Result<Self> {
        let mut last = None;
        for _ in 0..PORT_TRIES {
            match Self::start_on(free_port()?, launch) {
                Err(error @ BackendError::Ended { .. }) => last = Some(error),
                done => return done,
            }
        }
        Err(last.unwrap_or(BackendError::NoPort { tries: PORT_TRIES }))
    }

    /// The one that the variable names, else one of our own.
    pub(crate) fn shared(variable: &str, launch: Launch) -> Result<Self> {
        match env::var(variable) {
            Ok(endpoint) if !endpoint.is_empty() => Ok(Self { endpoint, owner: Owner::Another }),
            _ => Self::start(launch),
        }
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The address of one of our own.
    pub(crate) fn addr(&self) -> Option<SocketAddr> {
        match &self.owner {
            Owner::Us { addr, .. } => Some(*addr),
            Owner::Another => None,
        }
    }

    /// Whether one of our own answers now.
    pub(crate) fn answers(&self) -> bool {
        self.addr().is_some_and(http::answers)
    }

    /// A running one of our own.
    pub(crate) fn process(&self) -> Option<&ServerProcess> {
        match &self.owner {
            Owner::Us { server, .. } => server.as_ref(),
            Owner::Another => None,
        }
    }

    /// Kills it, as a crash would.
    pub(crate) fn stop(&mut self) -> Result<()> {
        match &mut self.owner {
            Owner::Us { server, .. } => *server = None,
            Owner::Another => return Err(BackendError::Shared { addr: self.endpoint.clone() }),
        }
        Ok(())
    }

    /// Starts it again on its port and with its folder; a running one is left as it is.
    pub(crate) fn start_again(&mut self) -> Result<()> {
        match &mut self.owner {
            Owner::Us { server: Some(_), .. } => {}
            Owner::Us { addr, server, dir, launch } => *server = Some(launch(*addr, dir.path())?),
            Owner::Another => return Err(BackendError::Shared { addr: self.endpoint.clone() }),
        }
        Ok(())
    }

    fn start_on(port: u16, launch: Launch) -> Result<Self> {
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        let dir = tempfile::tempdir()?;
        let server = Some(launch(addr, dir.path())?);
        Ok(Self { endpoint: format!("http://{addr}"), owner: Owner::Us { addr, server, dir, launch } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_server_cannot_be_stopped_by_one_test() {
        let mut instance = Instance { endpoint: "http://127.0.0.1:1".to_owned(), owner: Owner::Another };
        assert!(matches!(instance.stop(), Err(BackendError::Shared { .. })));
        assert!(matches!(instance.start_again(), Err(BackendError::Shared { .. })));
        assert_eq!((instance.endpoint(), instance.addr()), ("http://127.0.0.1:1", None));
    }
}
