//! Whatever a peer, a file or a message can hold, read by the code that reads it in production: never a panic, never an
//! endless loop, and what was understood stays the same when it is written and read again.
//!
//! A target is a function of bytes. libFuzzer looks for new inputs (`cargo xtask fuzz`); the ones that are kept in `corpus`
//! are replayed by every run of the tests.

mod encrypted;
mod events;
mod network;
mod resources;
mod routes;
mod settings;

/// Something that reads what others wrote.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Names its folder in the corpus and its program.
    pub name: &'static str,
    /// Reads the bytes. Panics where a promise is broken.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: [Target; 8] = [
    Target { name: "http_routes", run: routes::http_routes },
    Target { name: "grpc_frames", run: network::grpc_frames },
    Target { name: "mdns_packets", run: network::mdns_packets },
    Target { name: "resources", run: resources::resources },
    Target { name: "cloud_events", run: events::cloud_events },
    Target { name: "cel", run: events::cel },
    Target { name: "settings", run: settings::settings },
    Target { name: "encrypted", run: encrypted::encrypted },
];

/// The target of this name.
///
/// # Panics
/// There is none: the program and the table disagree.
pub fn target(name: &str) -> Target {
    let found = TARGETS.into_iter().find(|target| target.name == name);
    found.unwrap_or_else(|| panic!("no target is called {name}"))
}

/// The input cut at line ends into so many texts; what is missing is empty, what is no UTF-8 is replaced.
fn texts<const N: usize>(data: &[u8]) -> [String; N] {
    let mut parts = data.splitn(N, |byte| *byte == b'\n');
    std::array::from_fn(|_| String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned())
}
