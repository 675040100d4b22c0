//! Multicast sockets: one for each interface and family, so that an answer leaves where its question came in.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use tokio::net::UdpSocket;

const PORT: u16 = 5353;
const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
/// Where the kernel lists its interfaces.
const INTERFACES: &str = "/sys/class/net";
const UP: u32 = 0x1;
const LOOPBACK: u32 = 0x8;
const MULTICAST: u32 = 0x1000;

/// A socket on one interface.
pub(super) struct Multicast {
    socket: UdpSocket,
    group: SocketAddr,
}

impl Multicast {
    pub(super) async fn send(&self, packet: &[u8]) -> io::Result<()> {
        self.socket.send_to(packet, self.group).await.map(drop)
    }

    pub(super) async fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        // Packets on the loopback interface carry no source that says anything.
        self.socket.recv_from(buffer).await.map(|(length, _)| length)
    }
}

/// Opens what can be opened. An interface or a family that refuses is left out: the others do.
pub(super) fn open() -> Vec<Multicast> {
    let mut open = Vec::new();
    for (name, index) in interfaces() {
        for opened in [v4(&name, index), v6(&name, index)] {
            match opened {
                Ok(multicast) => open.push(multicast),
                Err(error) => tracing::debug!(interface = %name, %error, "mDNS leaves an interface out"),
            }
        }
    }
    open
}

/// Those that are up and multicast, and always the loopback one: a machine may have no other.
fn interfaces() -> Vec<(String, u32)> {
    let number = |name: &str, file: &str| {
        let text = fs::read_to_string(format!("{INTERFACES}/{name}/{file}")).ok()?;
        let text = text.trim();
        match text.strip_prefix("0x") {
            Some(hex) => u32::from_str_radix(hex, 16).ok(),
            None => text.parse().ok(),
        }
    };
    let Ok(listed) = fs::read_dir(INTERFACES) else { return Vec::new() };
    let names = listed.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let usable = names.filter_map(|name| {
        let flags = number(&name, "flags")?;
        let is_usable = flags & UP != 0 && flags & (MULTICAST | LOOPBACK) != 0;
        let index = number(&name, "ifindex").filter(|_| is_usable)?;
        Some((name, index))
    });
    usable.collect()
}

fn v4(interface: &str, index: u32) -> io::Result<Multicast> {
    let socket = socket(Domain::IPV4, interface)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)).into())?;
    socket.join_multicast_v4_n(&GROUP_V4, &InterfaceIndexOrAddress::Index(index))?;
    socket.set_multicast_loop_v4(true)?;
    multicast(socket, (GROUP_V4, PORT).into())
}

fn v6(interface: &str, index: u32) -> io::Result<Multicast> {
    let socket = socket(Domain::IPV6, interface)?;
    socket.set_only_v6(true)?;
    socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORT)).into())?;
    socket.join_multicast_v6(&GROUP_V6, index)?;
    socket.set_multicast_if_v6(index)?;
    socket.set_multicast_loop_v6(true)?;
    multicast(socket, (GROUP_V6, PORT).into())
}

fn socket(domain: Domain, interface: &str) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    // Every runtime on the machine listens on the same port.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    // Bound to it, the socket sends there and hears what comes in there, and nothing else.
    socket.bind_device(Some(interface.as_bytes()))?;
    Ok(socket)
}

fn multicast(socket: Socket, group: SocketAddr) -> io::Result<Multicast> {
    socket.set_nonblocking(true)?;
    Ok(Multicast { socket: UdpSocket::from_std(socket.into())?, group })
}
