//! Apache Kafka: one node that is broker and controller (KRaft), on loopback ports, with a listener for anyone, one for who
//! logs in, and where a test wants them, one for certificates and one for tokens.

mod properties;

use std::env;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;

use crate::error::{BackendError, Result};
use crate::maven::Jars;
use crate::process::ServerProcess;

pub use self::properties::KafkaIdentity;
use self::properties::Ports;

/// Variable that names a Kafka which runs already, as `host:port`; `cargo xtask test` sets it.
pub const KAFKA_VARIABLE: &str = "MECHA_TEST_KAFKA";
/// Variable that names its listener for users, as `host:port`.
pub const KAFKA_SASL_VARIABLE: &str = "MECHA_TEST_KAFKA_SASL";

const JARS: Jars = Jars {
    name: "kafka-4.4.0",
    program: "kafka",
    artifacts: &["org.apache.kafka:kafka_2.13:4.4.0", "org.slf4j:slf4j-simple:1.7.36"],
};
/// Little memory and a quick start; a test's broker does not live long enough for better compiled code.
const OPTIONS: &[&str] = &[
    "-Xmx384m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
];
/// Sixteen bytes in URL-safe base64.
const CLUSTER: &str = "bWVjaGEtdGVzdC1rYWZrYQ";
const READY_WITHIN: Duration = Duration::from_secs(60);
const ANSWER_WITHIN: Duration = Duration::from_millis(500);
/// How long the making of a topic may take.
const CREATED_WITHIN: Duration = Duration::from_secs(10);
/// Another process may take a port between the look and the bind.
const PORT_TRIES: usize = 3;

/// A Kafka server: one of our own, or a shared one. Topics are made when they are first asked for, with one partition.
#[derive(Debug)]
pub struct Kafka {
    addr: SocketAddr,
    sasl: Option<SocketAddr>,
    guarded: Option<Guarded>,
    owner: Owner,
}

/// Where a server listens for clients with a certificate, and for those with a token.
#[derive(Debug, Clone, Copy)]
struct Guarded {
    certificates: SocketAddr,
    tokens: SocketAddr,
}

#[derive(Debug)]
enum Owner {
    /// Ours: the process (none while stopped) and the folder of its data.
    Us { server: Option<ServerProcess>, dir: TempDir },
    /// Someone else's.
    Another,
}

impl Kafka {
    /// The user of the listener at [`Kafka::sasl_addr`].
    pub const USER: &'static str = "mecha";
    /// The user's password.
    pub const PASSWORD: &'static str = "mecha-password";

    /// Starts a server of our own and returns once it answers.
    pub fn start() -> Result<Self> {
        Self::start_with(None)
    }

    /// Starts a server of our own that also has a listener for TLS, where clients show certificates of the same authority, and
    /// one for tokens (`OAUTHBEARER`, without TLS; the broker takes JSON web tokens that nobody signed).
    pub fn start_guarded(identity: &KafkaIdentity) -> Result<Self> {
        Self::start_with(Some(identity))
    }

    fn start_with(identity: Option<&KafkaIdentity>) -> Result<Self> {
        let mut last = None;
        for _ in 0..PORT_TRIES {
            match Self::start_on(&Ports::free()?, identity) {
                Err(error @ BackendError::Ended { .. }) => last = Some(error),
                done => return done,
            }
        }
        Err(last.unwrap_or(BackendError::NoPort { tries: PORT_TRIES }))
    }

    /// The server that [`KAFKA_VARIABLE`] names, else one of our own. Tests of a shared one use topics of their own.
    pub fn shared() -> Result<Self> {
        match named(KAFKA_VARIABLE)? {
            Some(addr) => {
                Ok(Self { addr, sasl: named(KAFKA_SASL_VARIABLE)?, guarded: None, owner: Owner::Another })
            }
            None => Self::start(),
        }
    }

    /// Address as components take it in `brokers`.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Address of the listener that wants name and password: SASL without TLS, `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    /// A server of our own has one; a shared one has it where [`KAFKA_SASL_VARIABLE`] names it.
    pub fn sasl_addr(&self) -> Option<SocketAddr> {
        self.sasl
    }

    /// Address of the listener that speaks TLS and wants a certificate, of a server by [`Kafka::start_guarded`].
    pub fn certificates_addr(&self) -> Option<SocketAddr> {
        self.guarded.map(|guarded| guarded.certificates)
    }

    /// Address of the listener that wants a token, of a server by [`Kafka::start_guarded`].
    pub fn tokens_addr(&self) -> Option<SocketAddr> {
        self.guarded.map(|guarded| guarded.tokens)
    }

    /// Whether the server answers now and counts itself as alive.
    pub fn answers(&self) -> bool {
        answers(self.addr)
    }

    /// Process id of a running server of our own, for signals.
    pub fn pid(&self) -> Option<u32> {
        self.process().map(ServerProcess::pid)
    }

    /// A running server of our own.
    pub(crate) fn process(&self) -> Option<&ServerProcess> {
        match &self.owner {
            Owner::Us { server, .. } => server.as_ref(),
            Owner::Another => None,
        }
    }

    /// Kills the server, as a crash would: connections are reset, what it has written stays.
    pub fn stop(&mut self) -> Result<()> {
        match &mut self.owner {
            Owner::Us { server, .. } => *server = None,
            Owner::Another => return Err(BackendError::Shared { addr: self.addr.to_string() }),
        }
        Ok(())
    }

    /// Starts the stopped server again on the same ports and with its data; a running one is left as it is.
    pub fn start_again(&mut self) -> Result<()> {
        match &mut self.owner {
            Owner::Us { server: Some(_), .. } => {}
            Owner::Us { server, dir } => *server = Some(launch(self.addr, dir.path())?),
            Owner::Another => return Err(BackendError::Shared { addr: self.addr.to_string() }),
        }
        Ok(())
    }

    /// Makes a topic; those that are made when they are first asked for have one partition.
    pub fn create_topic(&self, name: &str, partitions: u16) -> Result<()> {
        create_topic(self.addr, name, partitions)
    }

    fn start_on(ports: &Ports, identity: Option<&KafkaIdentity>) -> Result<Self> {
        let local = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let dir = tempfile::tempdir()?;
        fs::write(dir.path().join("properties"), properties::text(dir.path(), ports, identity))?;
        format(dir.path())?;
        let server = Some(launch(local(ports.anyone), dir.path())?);
        let guarded = identity
            .map(|_| Guarded { certificates: local(ports.certificates), tokens: local(ports.tokens) });
        let owner = Owner::Us { server, dir };
        Ok(Self { addr: local(ports.anyone), sasl: Some(local(ports.users)), guarded, owner })
    }
}

fn named(variable: &'static str) -> Result<Option<SocketAddr>> {
    let Ok(value) = env::var(variable) else { return Ok(None) };
    value.parse().map(Some).map_err(|_| BackendError::Address { variable, value })
}

/// Writes the folder's identity and the user's proofs into the empty storage.
fn format(dir: &Path) -> Result<()> {
    let mut command = JARS.java(OPTIONS)?;
    command.args(["kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER, "--config", "properties"]);
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let proof = format!("{mechanism}=[name={},password={}]", Kafka::USER, Kafka::PASSWORD);
        command.args(["--add-scram", &proof]);
    }
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.current_dir(dir).stdin(Stdio::null()).output();
    let output = output.map_err(|source| BackendError::Spawn { program, source })?;
    if output.status.success() {
        return Ok(());
    }
    let log = [output.stdout, output.stderr].concat();
    Err(BackendError::Ended {
        program: "kafka format".to_owned(),
        status: output.status.to_string(),
        log: String::from_utf8_lossy(&log).into_owned(),
    })
}

fn launch(addr: SocketAddr, dir: &Path) -> Result<ServerProcess> {
    let mut command = JARS.java(OPTIONS)?;
    command.current_dir(dir).args(["kafka.Kafka", "properties"]);
    ServerProcess::start(command, &dir.join("log"), READY_WITHIN, || answers(addr))
}

fn answers(addr: SocketAddr) -> bool {
    live_brokers(addr).is_ok_and(|count| count > 0)
}

/// Asks for the brokers that are alive: a server that is still starting knows of none.
fn live_brokers(addr: SocketAddr) -> Result<i32> {
    let mut stream = TcpStream::connect_timeout(&addr, ANSWER_WITHIN)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    // Its length; Metadata, version 1, number 7, no client id; no topics.
    stream.write_all(&[0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 7, 0xff, 0xff, 0, 0, 0, 0])?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    let [.., a, b, c, d] = answer;
    Ok(i32::from_be_bytes([a, b, c, d]))
}

/// Asks for a topic, and learns that it is there.
fn create_topic(addr: SocketAddr, name: &str, partitions: u16) -> Result<()> {
    let invalid = |reason: String| BackendError::Io(std::io::Error::other(reason));
    let length = i16::try_from(name.len()).map_err(|_| invalid(format!("{name} is too long")))?;
    let mut request = Vec::new();
    // CreateTopics, version 2, number 7, no client id; one topic, its partitions, one replica, no assignments, no settings.
    request.extend([0, 19, 0, 2, 0, 0, 0, 7, 0xff, 0xff, 0, 0, 0, 1]);
    request.extend(length.to_be_bytes());
    request.extend(name.as_bytes());
    request.extend(i32::from(partitions).to_be_bytes());
    request.extend([0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    // Within ten seconds, and not only to see whether it could.
    request.extend(10_000_i32.to_be_bytes());
    request.push(0);
    let mut stream = TcpStream::connect_timeout(&addr, ANSWER_WITHIN)?;
    stream.set_read_timeout(Some(CREATED_WITHIN))?;
    let size = u32::try_from(request.len()).unwrap_or(u32::MAX);
    stream.write_all(&[&size.to_be_bytes()[..], &request].concat())?;
    // The answer's length, its number, the throttle time, how many topics, and the name; then the error.
    let mut answer = vec![0; 18 + name.len() + 2];
    stream.read_exact(&mut answer)?;
    match answer[18 + name.len()..] {
        [0, 0] => Ok(()),
        [a, b] => Err(invalid(format!("topic {name}: Kafka's error {}", i16::from_be_bytes([a, b])))),
        _ => Err(invalid(format!("topic {name}: no answer"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optional::optional;

    #[test]
    fn a_server_can_be_stopped_and_started_again_on_its_port() {
        // Without Java there is no Kafka.
        let Some(mut kafka) = optional(Kafka::start()).unwrap() else { return };
        let addr = kafka.addr();
        assert!(kafka.answers());
        kafka.create_topic("ours", 3).unwrap();
        let again = kafka.create_topic("ours", 3).unwrap_err().to_string();
        assert!(again.contains("error 36"), "it exists already: {again}");
        kafka.stop().unwrap();
        assert!(!kafka.answers());
        assert_eq!(kafka.pid(), None);
        kafka.start_again().unwrap();
        assert!(kafka.answers());
        assert_eq!(kafka.addr(), addr);
        drop(kafka);
        assert!(!answers(addr));
    }
}
