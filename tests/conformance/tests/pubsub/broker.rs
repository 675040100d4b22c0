//! A broker under test: its row, its loaded plugin, and consumers that wait for what is to come.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mecha_plugin_api::host::{FinishedSpan, LogEvent};
use mecha_plugin_api::pubsub::{BulkEntry, FailedEntry, PubSubObject, PublishRequest, SubscribeRequest};
use mecha_plugin_api::source::{Delivery, Outcome, Settlement, SourceObject};
use mecha_plugin_api::{Buf, CallContext, ComponentSpec, Error, Metadata};
use mecha_plugin_host::{Change, Generation, HostConfig, PluginHost, PluginIdentity, PluginSink};
use mecha_testkit::{PluginDir, plugin_library};

/// How long a pull that is to find something waits at most.
const PULL: Duration = Duration::from_millis(500);

/// One broker: what it is, and what it does not do.
pub struct Row {
    /// The plugin, as in the name of its library.
    pub plugin: &'static str,
    /// The component type.
    pub type_name: &'static str,
    /// The component's metadata, but for `consumerID`, which the checks set.
    pub metadata: Metadata,
    /// What the names of topics begin with.
    pub topic_prefix: String,
    /// Whether messages of a topic, published one after the other, come out in that order.
    pub is_ordered: bool,
    /// Metadata that each publish gets, such as a partition key that `is_ordered` needs.
    pub publish_metadata: Metadata,
    /// Whether a message keeps its media type.
    pub keeps_content_type: bool,
    /// Whether a message keeps all of its metadata, not the trace alone.
    pub keeps_metadata: bool,
    /// Whether a retried message comes after the delay that was asked for.
    pub keeps_delay: bool,
    /// How long a message may take at most, given back or redelivered ones too.
    pub patience: Duration,
    /// How long it is quiet before nothing more is expected.
    pub quiet: Duration,
}

impl Row {
    /// A broker that does everything, at once.
    pub fn new(plugin: &'static str, type_name: &'static str, metadata: &[(&str, &str)]) -> Self {
        Self {
            plugin,
            type_name,
            metadata: metadata.iter().copied().collect(),
            topic_prefix: "check".to_owned(),
            is_ordered: true,
            publish_metadata: Metadata::new(),
            keeps_content_type: true,
            keeps_metadata: true,
            keeps_delay: true,
            patience: Duration::from_secs(20),
            quiet: Duration::from_millis(300),
        }
    }
}

struct Quiet;

impl PluginSink for Quiet {
    fn span(&self, _plugin: &PluginIdentity, _span: FinishedSpan) {}
    fn log(&self, plugin: &PluginIdentity, event: LogEvent) {
        println!("{}: {}", plugin.name, event.message);
    }
}

/// A loaded plugin.
pub struct Broker {
    pub row: Row,
    directory: PluginDir,
    host: PluginHost,
    generation: Arc<Generation>,
    topics: AtomicUsize,
}

impl Broker {
    pub fn load(row: Row) -> anyhow::Result<Self> {
        let directory = PluginDir::new()?;
        directory.install(row.plugin)?;
        let directories = vec![directory.path().to_owned()];
        let config = HostConfig { directories, settle: Duration::ZERO };
        let mut host = PluginHost::new(config, Arc::new(Quiet))?;
        let generation = scan(&mut host);
        Ok(Self { row, directory, host, generation, topics: AtomicUsize::new(0) })
    }

    /// Puts another version of the plugin in place and gives the generation that it replaces.
    pub fn replace(&mut self) -> anyhow::Result<Arc<Generation>> {
        let mut library = fs::read(plugin_library(self.row.plugin)?)?;
        // Behind the last section: the same code, but not the same file.
        library.extend([0; 16]);
        let name = self.directory.file(self.row.plugin);
        let name = name.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.directory.put_bytes(&name, &library)?;
        let newer = scan(&mut self.host);
        Ok(std::mem::replace(&mut self.generation, newer))
    }

    /// A topic that nothing was published to.
    pub fn topic(&self) -> String {
        let number = self.topics.fetch_add(1, Ordering::Relaxed);
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_micros();
        format!("{}-{since}-{number}", self.row.topic_prefix)
    }

    /// The component, opened for a consumer group.
    pub async fn open(&self, consumer: &str) -> Component {
        let mut metadata = self.row.metadata.clone();
        metadata.insert("consumerID", consumer);
        let spec = ComponentSpec::new("check", self.row.type_name, metadata);
        let object = self.generation.open::<PubSubObject>(spec).await.unwrap();
        let (metadata, patience, quiet) =
            (self.row.publish_metadata.clone(), self.row.patience, self.row.quiet);
        Component { object, metadata, patience, quiet }
    }

    pub async fn retire(self) {
        self.generation.retire(Duration::from_secs(5)).await;
    }
}

fn scan(host: &mut PluginHost) -> Arc<Generation> {
    let started = Instant::now();
    loop {
        match host.scan().0.pop() {
            Some(Change::Loaded { generation, .. }) => return generation,
            Some(Change::Refused { reason, .. }) => panic!("refused: {reason}"),
            Some(Change::Removed { .. }) => panic!("the file is gone"),
            None => assert!(started.elapsed() < Duration::from_secs(20), "the plugin is not loaded"),
        }
    }
}

pub fn context() -> CallContext {
    CallContext::background("app")
}

/// An open component.
pub struct Component {
    pub object: PubSubObject,
    metadata: Metadata,
    patience: Duration,
    quiet: Duration,
}

impl Component {
    pub async fn publish(&self, topic: &str, data: &str) {
        let request = self.request(topic, data.as_bytes(), &[]);
        self.object.publish(context(), request).await.into_result().unwrap();
    }

    pub async fn publish_all(&self, topic: &str, range: std::ops::Range<usize>) {
        for number in range {
            self.publish(topic, &format!("m{number:04}")).await;
        }
    }

    pub fn request(&self, topic: &str, data: &[u8], metadata: &[(&str, &str)]) -> PublishRequest {
        let mut all = self.metadata.clone();
        metadata.iter().for_each(|(key, value)| all.insert(*key, *value));
        PublishRequest {
            topic: topic.into(),
            data: Buf::from(data.to_vec()),
            content_type: "application/json".into(),
            metadata: all,
        }
    }

    pub async fn bulk_publish(&self, topic: &str, range: std::ops::Range<usize>) -> Vec<FailedEntry> {
        let entries: Vec<BulkEntry> = range
            .map(|number| BulkEntry {
                entry_id: number.to_string().into(),
                data: Buf::from(format!("m{number:04}")),
                content_type: "text/plain".into(),
                metadata: self.metadata.clone(),
            })
            .collect();
        let published =
            self.object.bulk_publish(context(), topic.into(), entries.into(), Metadata::new()).await;
        published.into_result().unwrap().into()
    }

    pub async fn subscribe(&self, topic: &str) -> Consumer {
        let request = SubscribeRequest { topic: topic.into(), metadata: Metadata::new(), max_in_flight: 0 };
        let source = self.object.subscribe(context(), request).await.into_result().unwrap();
        Consumer { source, patience: self.patience, quiet: self.quiet }
    }
}

/// An open source.
pub struct Consumer {
    pub source: SourceObject,
    patience: Duration,
    quiet: Duration,
}

impl Consumer {
    pub async fn pull(&self, max: u32, wait: Duration) -> Result<Vec<Delivery>, Error> {
        let wait = wait.as_nanos() as u64;
        self.source.next(context(), max, wait).await.into_result().map(Vec::from)
    }

    /// This many deliveries, however many pulls they take.
    pub async fn take(&self, count: usize) -> Result<Vec<Delivery>, String> {
        let (started, mut taken) = (Instant::now(), Vec::new());
        while taken.len() < count {
            if started.elapsed() > self.patience {
                return Err(format!("{} of {count} came: {:?}", taken.len(), texts(&taken)));
            }
            let max = (count - taken.len()) as u32;
            let pulled = self.pull(max, PULL).await.map_err(|error| error.to_string())?;
            if pulled.len() > max as usize {
                return Err(format!("asked for {max}, got {}", pulled.len()));
            }
            taken.extend(pulled);
        }
        Ok(taken)
    }

    /// Takes and acknowledges until each of the messages was seen.
    pub async fn drain(&self, mut missing: BTreeSet<String>) -> Result<(), String> {
        let started = Instant::now();
        while !missing.is_empty() {
            if started.elapsed() > self.patience {
                return Err(format!("missing: {missing:?}"));
            }
            let pulled = self.pull(100, PULL).await.map_err(|error| error.to_string())?;
            for text in texts(&pulled) {
                missing.remove(&text);
            }
            self.settle(&pulled, Outcome::ACK).await?;
        }
        Ok(())
    }

    /// Nothing comes while it is quiet.
    pub async fn nothing_comes(&self) -> Result<(), String> {
        let pulled = self.pull(10, self.quiet).await.map_err(|error| error.to_string())?;
        if pulled.is_empty() { Ok(()) } else { Err(format!("not expected: {:?}", texts(&pulled))) }
    }

    pub async fn settle(&self, deliveries: &[Delivery], outcome: Outcome) -> Result<(), String> {
        self.settle_after(deliveries, outcome, Duration::ZERO).await
    }

    pub async fn settle_after(
        &self,
        deliveries: &[Delivery],
        outcome: Outcome,
        delay: Duration,
    ) -> Result<(), String> {
        let delay_ns = delay.as_nanos() as u64;
        let settlements: Vec<Settlement> =
            deliveries.iter().map(|delivery| Settlement { id: delivery.id, outcome, delay_ns }).collect();
        let settled = self.source.settle(context(), settlements.into()).await.into_result();
        settled.map_err(|error| error.to_string())
    }

    pub async fn close(self) -> Result<(), String> {
        self.source.close(context()).await.into_result().map_err(|error| error.to_string())
    }
}

pub fn texts(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(|delivery| String::from_utf8_lossy(&delivery.data).into_owned()).collect()
}

/// The messages of [`Component::publish_all`].
pub fn messages(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("m{number:04}")).collect()
}
