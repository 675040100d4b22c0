//! The machine as it names itself to others.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

/// The machine's address and name.
#[derive(Debug, Clone)]
pub struct Host {
    /// Its address on the way to others.
    pub address: IpAddr,
    /// Its name.
    pub name: String,
}

impl Host {
    /// What the system says; `address` goes before that (`DAPR_HOST_IP`).
    pub fn new(address: Option<&str>) -> Self {
        let given = address.and_then(|address| address.parse().ok());
        let address = given.or_else(outward).unwrap_or(IpAddr::from([127, 0, 0, 1]));
        let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self { address, name }
    }

    /// Adds what a proxy says of itself.
    pub(crate) fn forward(&self, headers: &mut HeaderMap) {
        let address = match self.address {
            IpAddr::V6(address) => format!("\"[{address}]\""),
            IpAddr::V4(address) => address.to_string(),
        };
        let forwarded = format!("for={address};by={address};host={}", self.name);
        let mut add = |name: &'static str, text: &str| {
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.append(HeaderName::from_static(name), value);
            }
        };
        add("x-forwarded-for", &self.address.to_string());
        add("x-forwarded-host", &self.name);
        add("forwarded", &forwarded);
    }
}

/// The address that packets to the world would carry; none is sent.
fn outward() -> Option<IpAddr> {
    let towards = |from: SocketAddr, to: SocketAddr| {
        let socket = UdpSocket::bind(from).ok()?;
        socket.connect(to).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    let v4 = || towards(([0, 0, 0, 0], 0).into(), ([8, 8, 8, 8], 80).into());
    let v6 = || {
        let world = Ipv6Addr::new(0x2001, 0x4860, 0x4860, 0, 0, 0, 0, 0x8888);
        towards((Ipv6Addr::UNSPECIFIED, 0).into(), (world, 80).into())
    };
    v4().or_else(v6)
}
