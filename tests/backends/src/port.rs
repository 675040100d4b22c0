//! Free ports on loopback.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

use crate::error::{BackendError, Result};

/// Below the range that Linux takes for outgoing connections, so that a port which was free a moment ago, or whose server
/// is stopped for a while, is not taken by some client's socket.
const PORTS: Range<u16> = 15_000..32_000;
const TRIES: usize = 100;

/// A port on 127.0.0.1 that nothing listens on.
pub fn free_port() -> Result<u16> {
    (0..TRIES).map(|_| random_port()).find(|port| is_free(*port)).ok_or(BackendError::NoPort { tries: TRIES })
}

/// Random rather than counted: test processes run side by side and do not know of each other.
fn random_port() -> u16 {
    PORTS.start + (random() % u64::from(PORTS.end - PORTS.start)) as u16
}

/// The standard library seeds each hasher at random, which is random enough for names and ports.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_port_can_be_bound_and_is_then_not_free() {
        let port = free_port().unwrap();
        assert!(PORTS.contains(&port));
        let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        assert!(!is_free(port));
    }
}
