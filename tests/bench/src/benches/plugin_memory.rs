//! What each plugin adds to the resident memory of an idle runtime: a runtime with the plugin and a component on it, and one
//! without, in turn.

use std::time::Duration;

use anyhow::{Context, Result};
use mecha_backends::{ElasticMq, Kafka, Redis, Versitygw};
use tempfile::TempDir;

use super::client::aws::{Access, InFull as _};
use super::setup::{Component, Plugin, Setup};
use crate::cpu;
use crate::plan::Plan;
use crate::report::Table;
use crate::spread::Spread;

/// After this long a process that is ready counts as idle.
const IDLE_AFTER: Duration = Duration::from_secs(1);
const BUCKET: &str = "bench";
const EACH: &str = "< 12 MB";
const TOGETHER: &str = "< 25 MB";

pub(super) async fn run(plan: &Plan) -> Result<Vec<Table>> {
    println!("    starting redis-server, Kafka, ElasticMQ and versitygw");
    let servers = Servers::start().await?;
    let nothing = Setup::new(&[])?;
    let mut table =
        Table::new("Resident memory of each plugin", &["plugin", "component", "median (min–max)", "wanted"]);
    for (plugin, wanted) in servers.plugins() {
        let with = Setup::new(std::slice::from_ref(&plugin))?;
        let types: Vec<_> = plugin.components.iter().map(|(component_type, _)| *component_type).collect();
        let component = if types.is_empty() { "nameResolution: sqlite".to_owned() } else { types.join(", ") };
        // The first start reads the plugin from the disk.
        with.start()?;
        let mut differences = Vec::new();
        for _ in 0..plan.rounds {
            differences.push(idle(plan, &with)? - idle(plan, &nothing)?);
        }
        let cost = Spread::of(differences).context("nothing was measured")?;
        println!("    {}, {component}: {:.1} MB", plugin.backend, cost.median);
        table.row([plugin.backend, &component, &format!("{} MB", cost.show(1)), wanted]);
    }
    table.note(format!(
        "VmRSS {IDLE_AFTER:?} after ready, less that of a runtime without plugins started next; 1 MB is 1,000,000 bytes"
    ));
    Ok(vec![table])
}

/// Megabytes.
fn idle(plan: &Plan, setup: &Setup) -> Result<f64> {
    let (child, _) = setup.start()?;
    plan.sleep(IDLE_AFTER)?;
    Ok(cpu::resident(child.pid())? as f64 / 1e6)
}

/// What components connect to, and a folder for those that have files.
struct Servers {
    redis: Redis,
    kafka: Kafka,
    sqs: ElasticMq,
    s3: Versitygw,
    folder: TempDir,
}

impl Servers {
    async fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("secrets.json"), "{}")?;
        let servers = Self {
            redis: Redis::start()?,
            kafka: Kafka::start()?,
            sqs: ElasticMq::start()?,
            s3: Versitygw::start()?,
            folder,
        };
        servers.s3_access().s3().create_bucket().bucket(BUCKET).send().await.in_full()?;
        Ok(servers)
    }

    fn s3_access(&self) -> Access<'_> {
        Access {
            endpoint: self.s3.endpoint(),
            region: "us-east-1",
            access_key: Versitygw::ACCESS_KEY,
            secret_key: Versitygw::SECRET_KEY,
        }
    }

    fn queues(&self) -> Component<'static> {
        let access = Access {
            endpoint: self.sqs.endpoint(),
            region: ElasticMq::REGION,
            access_key: "x",
            secret_key: "x",
        };
        ("pubsub.aws.sqs", owned(&access, &[]))
    }

    fn objects(&self) -> Component<'static> {
        ("objects.aws.s3", owned(&self.s3_access(), &[("bucket", BUCKET), ("forcePathStyle", "true")]))
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).to_string_lossy().into_owned()
    }

    /// Every plugin with a component that is typical for it, and what is wanted.
    fn plugins(&self) -> Vec<(Plugin<'_>, &'static str)> {
        let one = Plugin::with;
        let aws = |components| Plugin { backend: "aws", components, configuration: None };
        let brokers = vec![
            ("brokers", self.kafka.addr().to_string()),
            ("authType", "none".to_owned()),
            ("consumerGroup", "bench".to_owned()),
        ];
        let mut plugins = vec![
            one("redis", "state.redis", vec![("redisHost", self.redis.addr().to_string())]),
            one("kafka", "pubsub.kafka", brokers),
            aws(vec![self.queues()]),
            aws(vec![self.objects()]),
        ];
        plugins.extend(self.without_servers());
        let mut plugins: Vec<_> = plugins.into_iter().map(|plugin| (plugin, EACH)).collect();
        plugins.insert(4, (aws(vec![self.queues(), self.objects()]), TOGETHER));
        plugins
    }

    fn without_servers(&self) -> Vec<Plugin<'_>> {
        let one = Plugin::with;
        let names = format!(
            "{{nameResolution: {{component: sqlite, configuration: {{connectionString: \"{}\"}}}}}}",
            self.file("names.db")
        );
        vec![
            one("memory", "state.in-memory", Vec::new()),
            one("sqlite", "state.sqlite", vec![("connectionString", self.file("state.db"))]),
            one("local-secrets", "secretstores.local.file", vec![("secretsFile", self.file("secrets.json"))]),
            one("localstorage", "bindings.localstorage", vec![("rootPath", self.file("files"))]),
            one("http-binding", "bindings.http", vec![("url", "http://127.0.0.1:9".to_owned())]),
            one("cron", "bindings.cron", vec![("schedule", "@every 1h".to_owned())]),
            one("crypto", "crypto.dapr.localstorage", vec![("path", self.file("."))]),
            one("conversation", "conversation.echo", Vec::new()),
            one("middleware", "middleware.http.ratelimit", Vec::new()),
            Plugin { backend: "name-resolution", components: Vec::new(), configuration: Some(names) },
        ]
    }
}

fn owned(access: &Access<'_>, more: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    let pairs = access.metadata().into_iter().chain(more.iter().copied());
    pairs.map(|(name, value)| (name, value.to_owned())).collect()
}
