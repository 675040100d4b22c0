//! Toxiproxy: faults on the wire, in front of any server that speaks over TCP.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::error::{BackendError, Result};
use crate::go::GoProgram;
use crate::http;
use crate::instance::Instance;
use crate::port::{free_port, random};
use crate::process::ServerProcess;

const PROGRAM: GoProgram = GoProgram {
    name: "toxiproxy-2.5.0",
    module: "github.com/Shopify/toxiproxy/v2/cmd/server@v2.5.0",
    file: "server",
};
const READY_WITHIN: Duration = Duration::from_secs(20);
/// Another process may take a port between the look and the bind.
const PORT_TRIES: usize = 3;

/// A running Toxiproxy; its proxies end with it.
#[derive(Debug)]
pub struct Toxiproxy {
    instance: Instance,
}

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Toxic {
    /// Everything comes later by this, more or less.
    Latency {
        /// By how much.
        delay: Duration,
        /// More or less by up to this.
        jitter: Duration,
    },
    /// So many kilobytes a second go through.
    Bandwidth {
        /// Kilobytes a second.
        kilobytes: u64,
    },
    /// Nothing goes through and nobody is told: a black hole.
    Silence,
    /// The connection is reset after this.
    Reset {
        /// After how long.
        after: Duration,
    },
    /// The connection ends after so many bytes.
    Limit {
        /// Bytes that still go through.
        bytes: u64,
    },
}

/// The way that a fault is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

/// A port that leads to a server, until something is done to the way there. It holds on to its Toxiproxy.
#[derive(Debug)]
pub struct Proxy<'a> {
    toxiproxy: &'a Toxiproxy,
    addr: SocketAddr,
    path: String,
}

impl Toxiproxy {
    /// Starts one and returns once it answers.
    pub fn start() -> Result<Self> {
        Ok(Self { instance: Instance::start(launch)? })
    }

    /// A port that leads to `upstream`.
    pub fn proxy(&self, upstream: SocketAddr) -> Result<Proxy<'_>> {
        let mut last = None;
        for _ in 0..PORT_TRIES {
            let addr = SocketAddr::from(([127, 0, 0, 1], free_port()?));
            let name = format!("proxy-{:016x}", random());
            let wanted = json!({"name": name, "listen": addr, "upstream": upstream, "enabled": true});
            match self.call("POST", "/proxies", &wanted) {
                Ok(_) => return Ok(Proxy { toxiproxy: self, addr, path: format!("/proxies/{name}") }),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or(BackendError::NoPort { tries: PORT_TRIES }))
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Result<String> {
        let addr = self.instance.addr().ok_or(BackendError::NoPort { tries: 0 })?;
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = http::send(addr, method, path, &body)?;
        if (200..300).contains(&answer.status) {
            return Ok(answer.body);
        }
        let request = format!("{method} {path} {body}");
        Err(BackendError::Refused { request, answer: format!("{} {}", answer.status, answer.body) })
    }
}

impl Proxy<'_> {
    /// The address that leads to the server.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// From now on there is this fault, on connections that stand already too.
    pub fn add(&self, toxic: Toxic, way: Way) -> Result<()> {
        let (kind, attributes) = toxic.parts();
        let stream = match way {
            Way::ToServer => "upstream",
            Way::ToClient => "downstream",
        };
        let wanted = json!({"type": kind, "stream": stream, "toxicity": 1.0, "attributes": attributes});
        self.toxiproxy.call("POST", &format!("{}/toxics", self.path), &wanted).map(drop)
    }

    /// Ends every connection and refuses new ones.
    pub fn cut(&self) -> Result<()> {
        self.enable(false)
    }

    /// No faults from now on; after a cut, connections are taken again.
    pub fn heal(&self) -> Result<()> {
        let toxics = format!("{}/toxics", self.path);
        let listed = self.toxiproxy.call("GET", &toxics, &Value::Null)?;
        let listed: Vec<Value> = serde_json::from_str(&listed).unwrap_or_default();
        for name in listed.iter().filter_map(|toxic| toxic["name"].as_str()) {
            self.toxiproxy.call("DELETE", &format!("{toxics}/{name}"), &Value::Null)?;
        }
        self.enable(true)
    }

    fn enable(&self, enabled: bool) -> Result<()> {
        self.toxiproxy.call("POST", &self.path, &json!({ "enabled": enabled })).map(drop)
    }
}

impl Toxic {
    /// Its kind and attributes, as Toxiproxy calls them.
    fn parts(self) -> (&'static str, Value) {
        let millis = |duration: Duration| duration.as_millis() as u64;
        match self {
            Self::Latency { delay, jitter } => {
                ("latency", json!({"latency": millis(delay), "jitter": millis(jitter)}))
            }
            Self::Bandwidth { kilobytes } => ("bandwidth", json!({ "rate": kilobytes })),
            // A timeout of zero never ends.
            Self::Silence => ("timeout", json!({"timeout": 0})),
            Self::Reset { after } => ("reset_peer", json!({ "timeout": millis(after) })),
            Self::Limit { bytes } => ("limit_data", json!({ "bytes": bytes })),
        }
    }
}

fn launch(addr: SocketAddr, dir: &Path) -> Result<ServerProcess> {
    let mut command = Command::new(PROGRAM.find_or_install()?);
    command.current_dir(dir);
    command.args(["-host", &addr.ip().to_string(), "-port", &addr.port().to_string()]);
    ServerProcess::start(command, &dir.join("log"), READY_WITHIN, || http::answers(addr))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::Instant;
    use std::{io, thread};

    use super::*;
    use crate::optional;

    /// Answers each line with the same line.
    fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                thread::spawn(move || io::copy(&mut stream.try_clone()?, &mut stream));
            }
        });
        addr
    }

    fn client(addr: SocketAddr) -> io::Result<BufReader<TcpStream>> {
        let stream = TcpStream::connect(addr)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        Ok(BufReader::new(stream))
    }

    fn ask(client: &mut BufReader<TcpStream>) -> io::Result<String> {
        client.get_mut().write_all(b"hello\n")?;
        let mut line = String::new();
        client.read_line(&mut line)?;
        Ok(line)
    }

    #[test]
    fn a_way_is_slowed_cut_and_healed() {
        let Some(toxiproxy) = optional(Toxiproxy::start()).unwrap() else { return };
        let proxy = toxiproxy.proxy(echo()).unwrap();
        let mut first = client(proxy.addr()).unwrap();
        assert_eq!(ask(&mut first).unwrap(), "hello\n");

        let delay = Duration::from_millis(150);
        proxy.add(Toxic::Latency { delay, jitter: Duration::ZERO }, Way::ToClient).unwrap();
        let asked = Instant::now();
        assert_eq!(ask(&mut first).unwrap(), "hello\n");
        assert!(asked.elapsed() >= delay, "{:?}", asked.elapsed());

        proxy.cut().unwrap();
        assert!(!ask(&mut first).is_ok_and(|line| line == "hello\n"));
        assert!(client(proxy.addr()).is_err());

        proxy.heal().unwrap();
        let asked = Instant::now();
        assert_eq!(ask(&mut client(proxy.addr()).unwrap()).unwrap(), "hello\n");
        assert!(asked.elapsed() < delay, "{:?}", asked.elapsed());
    }

    #[test]
    fn each_fault_is_one_that_the_server_knows() {
        let Some(toxiproxy) = optional(Toxiproxy::start()).unwrap() else { return };
        let proxy = toxiproxy.proxy(echo()).unwrap();
        let second = Duration::from_secs(1);
        let toxics = [
            Toxic::Latency { delay: second, jitter: second },
            Toxic::Bandwidth { kilobytes: 1 },
            Toxic::Silence,
            Toxic::Reset { after: second },
            Toxic::Limit { bytes: 3 },
        ];
        for toxic in toxics {
            proxy.add(toxic, Way::ToServer).unwrap();
        }
        let twice = proxy.add(Toxic::Silence, Way::ToServer);
        assert!(matches!(twice, Err(BackendError::Refused { .. })), "{twice:?}");
        proxy.heal().unwrap();
        assert_eq!(ask(&mut client(proxy.addr()).unwrap()).unwrap(), "hello\n");
    }
}
