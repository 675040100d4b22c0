//! Where connections come from: a TCP port or a Unix domain socket.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_util::either::Either;

use super::Error;

/// An open connection.
pub(super) type Connection = Either<TcpStream, UnixStream>;

/// An open listener.
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix {
        listener: UnixListener,
        /// Held for its end only.
        _file: SocketFile,
    },
}

/// The name of a socket in the file system, gone with its listener.
pub(super) struct SocketFile(PathBuf);

impl Listener {
    /// Listens on a port; `flag` is the way to another one.
    pub(super) async fn tcp(address: &str, port: u16, flag: &'static str) -> Result<Self, Error> {
        let address = match address.parse::<std::net::IpAddr>() {
            Ok(ip) => SocketAddr::new(ip, port).to_string(),
            Err(_) => format!("{address}:{port}"),
        };
        let listener = TcpListener::bind(&address).await;
        listener.map(Self::Tcp).map_err(|source| Error::Listen { address, flag, source })
    }

    /// Listens on a socket of the file system. One that a killed process left behind is taken over.
    pub(super) async fn unix(path: PathBuf) -> Result<Self, Error> {
        let refused = |source| Error::Listen {
            address: path.display().to_string(),
            flag: "--unix-domain-socket",
            source,
        };
        if is_abandoned(&path).await {
            std::fs::remove_file(&path).map_err(refused)?;
        }
        let listener = UnixListener::bind(&path).map_err(refused)?;
        Ok(Self::Unix { listener, _file: SocketFile(path) })
    }

    /// Where it listens; the port may be the system's choice.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix { .. } => None,
        }
    }

    /// The next connection.
    pub(super) async fn accept(&self) -> io::Result<Connection> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Without it small answers wait for the peer's acknowledgement; a socket that is gone fails at its
                // first read.
                let _ = stream.set_nodelay(true);
                Ok(Either::Left(stream))
            }
            Self::Unix { listener, .. } => Ok(Either::Right(listener.accept().await?.0)),
        }
    }
}

/// The address at the other end, as IPv4 where it is one.
pub(super) fn peer(connection: &Connection) -> Option<IpAddr> {
    match connection {
        Either::Left(stream) => stream.peer_addr().ok().map(|peer| peer.ip().to_canonical()),
        Either::Right(_) => None,
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // A name that somebody removed is what was asked for.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Whether the name is a socket's and nobody listens behind it.
async fn is_abandoned(path: &Path) -> bool {
    // Connecting to a file that is none is refused as well.
    if !std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        return false;
    }
    UnixStream::connect(path).await.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_goes_with_its_listener_and_one_left_behind_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dapr-app-http.socket");
        drop(Listener::unix(path.clone()).await.unwrap());
        assert!(!path.exists());

        // As after a kill: the name stays, the listener does not.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let listener = Listener::unix(path.clone()).await.unwrap();
        let (accepted, connected) = tokio::join!(listener.accept(), UnixStream::connect(&path));
        accepted.unwrap();
        connected.unwrap();
    }

    #[tokio::test]
    async fn a_socket_in_use_and_a_file_that_is_none_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("used.socket");
        let first = Listener::unix(path.clone()).await.unwrap();
        let error = Listener::unix(path.clone()).await.err().unwrap().to_string();
        assert!(error.contains("used.socket") && error.contains("--unix-domain-socket"), "{error}");
        drop(first);

        std::fs::write(&path, "precious").unwrap();
        assert!(Listener::unix(path.clone()).await.is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }
}
