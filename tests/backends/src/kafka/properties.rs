//! The settings of a Kafka server for tests, in its own words.

use std::fmt::Write as _;
use std::path::Path;

use super::Kafka;
use crate::error::Result;
use crate::port::free_port;

/// What a server shows to clients that speak TLS, and whom it believes. All in PEM.
#[derive(Debug, Clone)]
pub struct KafkaIdentity {
    /// Authority of the certificates that clients show.
    pub authority: String,
    /// The server's own certificate.
    pub certificate: String,
    /// Its private key, in PKCS #8.
    pub key: String,
}

/// A port for each listener.
#[derive(Debug)]
pub(super) struct Ports {
    pub(super) anyone: u16,
    pub(super) users: u16,
    pub(super) certificates: u16,
    pub(super) tokens: u16,
    pub(super) controller: u16,
}

impl Ports {
    pub(super) fn free() -> Result<Self> {
        Ok(Self {
            anyone: free_port()?,
            users: free_port()?,
            certificates: free_port()?,
            tokens: free_port()?,
            controller: free_port()?,
        })
    }
}

/// The whole file.
pub(super) fn text(dir: &Path, ports: &Ports, identity: Option<&KafkaIdentity>) -> String {
    let mut text = listeners(ports, identity.is_some());
    text.push_str(&users());
    text.push_str(&small(dir));
    if let Some(identity) = identity {
        text.push_str(&certificates(identity));
        text.push_str(&tokens());
    }
    text
}

fn listeners(ports: &Ports, is_guarded: bool) -> String {
    let mut open =
        format!("PLAINTEXT://127.0.0.1:{},SASL_PLAINTEXT://127.0.0.1:{}", ports.anyone, ports.users);
    let mut protocols = "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT".to_owned();
    if is_guarded {
        // A String takes any text: writing to it cannot fail.
        let _ = write!(open, ",MTLS://127.0.0.1:{},OAUTH://127.0.0.1:{}", ports.certificates, ports.tokens);
        protocols.push_str(",MTLS:SSL,OAUTH:SASL_PLAINTEXT");
    }
    format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         controller.quorum.voters=1@127.0.0.1:{controller}\n\
         listeners={open},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners={open}\n\
         controller.listener.names=CONTROLLER\n\
         listener.security.protocol.map={protocols}\n\
         inter.broker.listener.name=PLAINTEXT\n",
        controller = ports.controller
    )
}

fn users() -> String {
    let (user, password) = (Kafka::USER, Kafka::PASSWORD);
    let plain = "org.apache.kafka.common.security.plain.PlainLoginModule";
    let scram = "org.apache.kafka.common.security.scram.ScramLoginModule";
    format!(
        "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512\n\
         listener.name.sasl_plaintext.plain.sasl.jaas.config={plain} required user_{user}=\"{password}\";\n\
         listener.name.sasl_plaintext.scram-sha-256.sasl.jaas.config={scram} required;\n\
         listener.name.sasl_plaintext.scram-sha-512.sasl.jaas.config={scram} required;\n"
    )
}

fn certificates(identity: &KafkaIdentity) -> String {
    // A line of the file holds a whole certificate: its line ends are written as escapes.
    let line = |pem: &str| pem.trim().replace('\r', "").replace('\n', "\\n");
    format!(
        "listener.name.mtls.ssl.client.auth=required\n\
         listener.name.mtls.ssl.keystore.type=PEM\n\
         listener.name.mtls.ssl.keystore.certificate.chain={certificate}\n\
         listener.name.mtls.ssl.keystore.key={key}\n\
         listener.name.mtls.ssl.truststore.type=PEM\n\
         listener.name.mtls.ssl.truststore.certificates={authority}\n",
        certificate = line(&identity.certificate),
        key = line(&identity.key),
        authority = line(&identity.authority),
    )
}

/// The broker has a login of its own even though it never uses it.
fn tokens() -> String {
    let bearer = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule";
    format!(
        "listener.name.oauth.sasl.enabled.mechanisms=OAUTHBEARER\n\
         listener.name.oauth.oauthbearer.sasl.jaas.config={bearer} required \
         unsecuredLoginStringClaim_sub=\"broker\";\n"
    )
}

/// One node with little to do.
fn small(dir: &Path) -> String {
    format!(
        "log.dirs={data}\n\
         num.partitions=1\n\
         auto.create.topics.enable=true\n\
         offsets.topic.num.partitions=4\n\
         offsets.topic.replication.factor=1\n\
         transaction.state.log.num.partitions=1\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         share.coordinator.state.topic.num.partitions=1\n\
         share.coordinator.state.topic.replication.factor=1\n\
         share.coordinator.state.topic.min.isr=1\n\
         group.initial.rebalance.delay.ms=0\n\
         log.cleaner.dedupe.buffer.size=1048577\n\
         num.network.threads=2\n\
         num.io.threads=4\n",
        data = dir.join("data").display()
    )
}
