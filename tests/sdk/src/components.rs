//! The components that every program finds, whatever stands behind them.

use std::fs;
use std::path::Path;

use anyhow::Result;
use mecha_backends::{ElasticMq, Kafka, Redis, Versitygw};
use mecha_testkit::MechaBuilder;

/// What stands behind the components.
#[derive(Debug)]
pub enum BackEnds {
    /// Nothing but the runtime and its files.
    Embedded,
    /// Redis for everything, or with Kafka for the messages.
    Servers(Box<Servers>),
    /// SQS for the messages and S3 for what a binding stores, with Redis for the rest.
    Aws(Box<Aws>),
}

/// Real servers.
#[derive(Debug)]
pub struct Servers {
    /// State, locks, configuration.
    pub redis: Redis,
    /// Messages.
    pub kafka: Option<Kafka>,
}

/// Servers that speak the protocols of AWS.
#[derive(Debug)]
pub struct Aws {
    /// State, locks, configuration.
    pub redis: Redis,
    /// Messages.
    pub sqs: ElasticMq,
    /// What a binding stores.
    pub s3: Versitygw,
}

/// A key for `crypto.dapr.localstorage`, which wraps with AES.
const KEY: [u8; 32] = *b"thirty-two bytes of a secret key";
const PLUGINS: &[&str] = &[
    "memory",
    "sqlite",
    "redis",
    "kafka",
    "aws",
    "local-secrets",
    "localstorage",
    "http-binding",
    "cron",
    "crypto",
    "conversation",
];

impl BackEnds {
    /// These servers, where this machine has them: nothing goes without Redis.
    pub fn servers(redis: Option<Redis>, kafka: Option<Kafka>) -> Option<Self> {
        redis.map(|redis| Self::Servers(Box::new(Servers { redis, kafka })))
    }

    /// These servers, where this machine has all of them.
    pub fn aws(redis: Option<Redis>, sqs: Option<ElasticMq>, s3: Option<Versitygw>) -> Option<Self> {
        let (Some(redis), Some(sqs), Some(s3)) = (redis, sqs, s3) else { return None };
        Some(Self::Aws(Box::new(Aws { redis, sqs, s3 })))
    }

    /// Adds the components to a runtime, with their files below `folder`. All runtimes of one folder share what they hold.
    pub(crate) fn add_to(&self, builder: MechaBuilder, folder: &Path) -> Result<MechaBuilder> {
        let builder = PLUGINS.iter().fold(builder, |builder, plugin| builder.plugin(plugin));
        let builder = on_files(builder, folder)?;
        Ok(match self {
            Self::Embedded => embedded(with_folder(builder, folder), folder),
            Self::Servers(servers) => {
                with_servers(with_folder(builder, folder), &servers.redis, servers.kafka.as_ref())
            }
            Self::Aws(servers) => with_aws(builder, servers),
        })
    }

    /// The binding that writes into the configuration store, where there is one.
    pub(crate) fn configuration_writer(&self) -> &'static str {
        match self {
            Self::Embedded => "",
            Self::Servers(_) | Self::Aws(_) => "configwriter",
        }
    }
}

/// What needs no server in any case.
fn on_files(builder: MechaBuilder, folder: &Path) -> Result<MechaBuilder> {
    let (keys, secrets) = (folder.join("keys"), folder.join("secrets.json"));
    fs::create_dir_all(&keys)?;
    fs::write(keys.join("mykey"), KEY)?;
    fs::write(&secrets, r#"{"password":"open sesame","db":{"user":"scott"}}"#)?;
    Ok(builder
        .component_with("secrets", "secretstores.local.file", &[("secretsFile", &text(&secrets))])
        .component_with("keys", "crypto.dapr.localstorage", &[("path", &text(&keys))])
        .component("echo", "conversation.echo"))
}

/// The binding `files`, over a folder.
fn with_folder(builder: MechaBuilder, folder: &Path) -> MechaBuilder {
    builder.component_with("files", "bindings.localstorage", &[("rootPath", &text(&folder.join("files")))])
}

fn embedded(builder: MechaBuilder, folder: &Path) -> MechaBuilder {
    let database = text(&folder.join("data.db"));
    let database = [("connectionString", database.as_str())];
    builder
        .component_with("statestore", "state.sqlite", &database)
        .component("memorystore", "state.in-memory")
        .component_with("pubsub", "pubsub.sqlite", &database)
        .component("lockstore", "lock.in-memory")
        .component_with("configstore", "configuration.in-memory", &[("greeting", "hello||1")])
}

fn with_servers(builder: MechaBuilder, redis: &Redis, kafka: Option<&Kafka>) -> MechaBuilder {
    let builder = with_redis(builder, redis);
    match kafka {
        Some(kafka) => {
            let brokers = kafka.addr().to_string();
            let metadata = [("brokers", brokers.as_str()), ("authType", "none"), ("initialOffset", "oldest")];
            builder.component_with("pubsub", "pubsub.kafka", &metadata)
        }
        None => {
            let host = redis.addr().to_string();
            let host = [("redisHost", host.as_str())];
            let again = [("redeliverInterval", "1s"), ("processingTimeout", "1s")];
            builder.component_with("pubsub", "pubsub.redis", &[&host[..], &again].concat())
        }
    }
}

/// State, locks and configuration.
fn with_redis(builder: MechaBuilder, redis: &Redis) -> MechaBuilder {
    let host = redis.addr().to_string();
    let host = [("redisHost", host.as_str())];
    builder
        .component_with("statestore", "state.redis", &host)
        .component_with("lockstore", "lock.redis", &host)
        .component_with("configstore", "configuration.redis", &host)
        .component_with("configwriter", "bindings.redis", &host)
}

fn with_aws(builder: MechaBuilder, servers: &Aws) -> MechaBuilder {
    let queues = [
        ("endpoint", servers.sqs.endpoint()),
        ("region", ElasticMq::REGION),
        ("accessKey", "x"),
        ("secretKey", "x"),
        ("messageWaitTimeSeconds", "1"),
    ];
    let bucket = [
        ("endpoint", servers.s3.endpoint()),
        ("region", "us-east-1"),
        ("accessKey", Versitygw::ACCESS_KEY),
        ("secretKey", Versitygw::SECRET_KEY),
        ("bucket", Versitygw::BUCKET),
        ("forcePathStyle", "true"),
    ];
    with_redis(builder, &servers.redis).component_with("pubsub", "pubsub.aws.sqs", &queues).component_with(
        "files",
        "bindings.aws.s3",
        &bucket,
    )
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
