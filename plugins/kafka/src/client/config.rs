//! Settings in librdkafka's words.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use crate::metadata::{InitialOffset, Mechanism, RequiredAcks, Sasl, Settings, Strategy, Tls};

/// How long a message may wait for its delivery unless the component says: long enough for a leader to move, short enough
/// for a caller to learn that the brokers are gone.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(10);
/// What the producer holds at most; beyond it callers wait.
const PRODUCER_QUEUE_KIB: &str = "32768";
const PRODUCER_QUEUE_MESSAGES: &str = "50000";
/// Prefetched bytes of one partition; one fetch may still exceed it.
const PARTITION_QUEUE_KIB: u32 = 1024;
/// One fetch response over all partitions of a broker; librdkafka would take 50 MiB.
const FETCH_BYTES: u32 = 8 * 1024 * 1024;
/// How soon a connection is tried again.
const RECONNECT: (&str, &str) = ("50", "1000");

fn millis(duration: Duration, least: u64, most: u64) -> String {
    u64::try_from(duration.as_millis()).unwrap_or(most).clamp(least, most).to_string()
}

fn common(settings: &Settings) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set_log_level(RDKafkaLogLevel::Warning);
    config.set("bootstrap.servers", &settings.brokers);
    config.set("client.id", settings.client_id.as_deref().unwrap_or("mecha"));
    config.set("topic.metadata.refresh.interval.ms", millis(settings.refresh, 1, 3_600_000));
    config.set("metadata.max.age.ms", millis(settings.refresh * 3, 1, 86_400_000));
    config.set("connections.max.idle.ms", millis(settings.max_idle, 0, 2_147_483_647));
    config.set("socket.connection.setup.timeout.ms", millis(settings.dial_timeout, 1000, 2_147_483_647));
    config.set("socket.timeout.ms", millis(settings.request_timeout, 1000, 300_000));
    config.set("socket.keepalive.enable", "true");
    config.set("socket.nagle.disable", "true");
    config.set("reconnect.backoff.ms", RECONNECT.0);
    config.set("reconnect.backoff.max.ms", RECONNECT.1);
    secure(&mut config, settings);
    config
}

fn secure(config: &mut ClientConfig, settings: &Settings) {
    let security = &settings.security;
    let protocol = match (&security.tls, &security.sasl) {
        (None, None) => "plaintext",
        (Some(_), None) => "ssl",
        (None, Some(_)) => "sasl_plaintext",
        (Some(_), Some(_)) => "sasl_ssl",
    };
    config.set("security.protocol", protocol);
    if let Some(tls) = &security.tls {
        encrypt(config, tls);
    }
    match &security.sasl {
        None => {}
        Some(Sasl::Oidc(_)) => {
            config.set("sasl.mechanism", "OAUTHBEARER");
        }
        Some(Sasl::Password { mechanism, username, password }) => {
            let mechanism = match mechanism {
                Mechanism::Plain => "PLAIN",
                Mechanism::ScramSha256 => "SCRAM-SHA-256",
                Mechanism::ScramSha512 => "SCRAM-SHA-512",
            };
            config.set("sasl.mechanism", mechanism);
            config.set("sasl.username", username).set("sasl.password", password);
        }
    }
}

fn encrypt(config: &mut ClientConfig, tls: &Tls) {
    match &tls.ca {
        Some(ca) => config.set("ssl.ca.pem", ca),
        None => config.set("ssl.ca.location", "probe"),
    };
    if tls.skip_verify {
        config.set("enable.ssl.certificate.verification", "false");
        config.set("ssl.endpoint.identification.algorithm", "none");
    }
    if let Some((certificate, key)) = &tls.identity {
        config.set("ssl.certificate.pem", certificate).set("ssl.key.pem", key);
    }
}

pub(super) fn producer(settings: &Settings) -> ClientConfig {
    let mut config = common(settings);
    let acks = match settings.acks {
        RequiredAcks::All => "all",
        RequiredAcks::Local => "1",
        RequiredAcks::None => "0",
    };
    // Only full acknowledgement lets a broker recognise what is sent twice.
    let is_idempotent = settings.acks == RequiredAcks::All && settings.producer_retries > 0;
    let delivery = settings.delivery_timeout.unwrap_or(DELIVERY_TIMEOUT);
    config
        .set("acks", acks)
        .set("enable.idempotence", is_idempotent.to_string())
        .set("retries", settings.producer_retries.to_string())
        .set("message.max.bytes", settings.max_message_bytes.to_string())
        .set("compression.type", settings.compression)
        .set("message.timeout.ms", millis(delivery, 1, 2_147_483_647))
        // What is published while a request is out forms the next batch; a lone message never waits.
        .set("linger.ms", "0")
        .set("queue.buffering.max.kbytes", PRODUCER_QUEUE_KIB)
        .set("queue.buffering.max.messages", PRODUCER_QUEUE_MESSAGES)
        // The same key goes to the same partition as from daprd.
        .set("partitioner", "fnv1a_random");
    config
}

pub(super) fn consumer(settings: &Settings) -> ClientConfig {
    let mut config = lookout(settings);
    let strategy = match settings.strategy {
        Strategy::Range => "range",
        Strategy::Sticky => "cooperative-sticky",
        Strategy::RoundRobin => "roundrobin",
    };
    let session = settings.session_timeout;
    let fetch = settings.fetch.max(settings.max_message_bytes);
    config
        .set("partition.assignment.strategy", strategy)
        .set("session.timeout.ms", millis(session, 1, 3_600_000))
        .set("heartbeat.interval.ms", millis(settings.heartbeat, 1, 3_600_000))
        .set("max.poll.interval.ms", millis(session.max(Duration::from_secs(300)), 1, 86_400_000))
        // As daprd does: the brokers decide whether a topic that is not there is made.
        .set("allow.auto.create.topics", "true")
        .set("fetch.min.bytes", settings.fetch_min.to_string())
        .set("fetch.message.max.bytes", settings.fetch.to_string())
        .set("fetch.max.bytes", fetch.max(FETCH_BYTES).to_string())
        .set("message.max.bytes", settings.max_message_bytes.to_string())
        .set("queued.min.messages", settings.queue_depth.to_string())
        .set("queued.max.messages.kbytes", (settings.fetch / 1024).max(PARTITION_QUEUE_KIB).to_string())
        // The pause after a fetch that found a partition's queue full.
        .set("fetch.queue.backoff.ms", "20")
        .set("fetch.wait.max.ms", "500");
    config
}

pub(super) fn lookout(settings: &Settings) -> ClientConfig {
    let mut config = common(settings);
    let reset = match settings.initial_offset {
        InitialOffset::Oldest => "earliest",
        InitialOffset::Newest => "latest",
    };
    config
        .set("group.id", &settings.group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", reset);
    config
}
