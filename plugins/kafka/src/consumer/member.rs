//! The thread of a subscription: one member of the group after the other, until the subscription ends.

use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use mecha_plugin_api::{Error, ErrorKind, Result};
use rdkafka::TopicPartitionList;
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::Offset;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::util::Timeout;

use super::feed::Feed;
use super::ledger::Partition;
use super::partition::{list, offsets};
use super::watchdog::Stall;
use super::{lag, rebalance};
use crate::client::{Observer, REACH, creation_error};
use crate::error;

/// How often the thread looks for something to commit; also how soon it notices that it should end.
const TICK: Duration = Duration::from_millis(50);
/// A member that failed is replaced after this pause.
const PAUSE: Duration = Duration::from_secs(1);
/// How long the last commit may be tried.
const LAST_COMMIT: Duration = Duration::from_secs(3);
/// How often a member that is in trouble looks whether the brokers are back.
const LOOK: Duration = Duration::from_secs(2);
/// How long a topic that is being made may take.
const TOPIC_LIMIT: Duration = Duration::from_secs(5);
const TOPIC_PAUSE: Duration = Duration::from_millis(100);

pub(crate) type Consumer = BaseConsumer<Member>;

/// What one member's client reports to.
pub(crate) struct Member {
    pub(crate) feed: Arc<Feed>,
    pub(crate) generation: u64,
    observer: Observer,
    /// The client itself: queues of partitions can be made from nothing less.
    consumer: OnceLock<Weak<Consumer>>,
}

impl ClientContext for Member {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.observer.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.observer.error(error, reason);
        if self.feed.is_current(self.generation) && self.observer.health.trouble().is_some() {
            self.feed.opened.notify_one();
        }
    }

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.observer.generate_oauth_token(config)
    }
}

impl ConsumerContext for Member {
    fn rebalance(&self, consumer: &Consumer, event: RDKafkaRespErr, list: &mut TopicPartitionList) {
        match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                let shared = self.consumer.get().and_then(Weak::upgrade);
                rebalance::assign(self, consumer, shared.as_ref(), list);
            }
            _ => rebalance::revoke(self, consumer, list),
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, list: &TopicPartitionList) {
        if result.is_ok() || !self.feed.is_current(self.generation) {
            return;
        }
        let mut ledger = self.feed.ledger();
        for (partition, offset) in offsets(list) {
            ledger.not_committed(&partition, offset);
        }
    }

    fn main_queue_min_poll_interval(&self) -> Timeout {
        Timeout::After(TICK)
    }
}

/// Runs members until the subscription ends or another thread takes over.
pub(crate) fn run(feed: &Arc<Feed>, generation: u64) {
    while feed.goes_on(generation) {
        feed.live();
        if let Err(error) = live(feed, generation) {
            feed.fail(error);
        }
        let again = Instant::now() + PAUSE;
        while feed.goes_on(generation) && Instant::now() < again {
            feed.live();
            std::thread::sleep(TICK);
        }
    }
}

/// One member, from its making until it is asked to end or cannot go on.
fn live(feed: &Arc<Feed>, generation: u64) -> Result<()> {
    let member =
        Member { feed: feed.clone(), generation, observer: feed.observer(), consumer: OnceLock::new() };
    let config = feed.cluster.consumer_config();
    let consumer = Consumer::from_config_and_context(&config, member);
    let consumer = Arc::new(consumer.map_err(|error| creation_error(&error))?);
    let _ = consumer.context().consumer.set(Arc::downgrade(&consumer));
    let result = serve(feed, generation, &consumer);
    if feed.is_current(generation) {
        commit_last(feed, &consumer);
        // Before the client, which their queues belong to; and not under the lock.
        let queues = feed.ledger().clear();
        drop(queues);
    }
    // Leaves the group.
    drop(consumer);
    result
}

fn serve(feed: &Arc<Feed>, generation: u64, consumer: &Arc<Consumer>) -> Result<()> {
    for topic in &feed.topics {
        find_topic(feed, generation, consumer, topic)?;
    }
    let topics: Vec<&str> = feed.topics.iter().map(String::as_str).collect();
    consumer.subscribe(&topics).map_err(|error| error::error("cannot subscribe", &error))?;
    let (mut looked, mut stall) = (Instant::now(), Stall::default());
    while feed.goes_on(generation) {
        feed.live();
        if let Some(Err(KafkaError::MessageConsumptionFatal(code))) = consumer.poll(TICK) {
            return Err(error::from_code("the subscription failed", code).with_retriable(true));
        }
        commit(feed, consumer);
        if feed.trouble().is_some() && looked.elapsed() >= LOOK {
            looked = Instant::now();
            look(feed, consumer);
        }
        if stall.is_due(feed) && feed.trouble().is_none() {
            feed.live();
            // In a statement of its own: the ledger would stay locked until the check, which locks it.
            let partitions = feed.ledger().partitions();
            let ends = lag::ends(consumer, &partitions).unwrap_or_default();
            stall.check(feed, ends)?;
        }
    }
    Ok(())
}

/// The topic must be there before the group is joined: librdkafka would not notice for minutes that it was made later.
fn find_topic(feed: &Feed, generation: u64, consumer: &Consumer, topic: &str) -> Result<()> {
    let give_up = Instant::now() + TOPIC_LIMIT;
    loop {
        feed.live();
        let found = consumer.fetch_metadata(Some(topic), REACH);
        // Serves what came up meanwhile: errors, log lines, tokens.
        drop(consumer.poll(Duration::ZERO));
        let refusal = match found {
            Ok(metadata) => match metadata.topics().iter().find(|found| found.name() == topic) {
                Some(found) if found.error().is_none() && !found.partitions().is_empty() => return Ok(()),
                Some(found) => found.error().map_or(Code::UnknownTopicOrPartition, Code::from),
                None => Code::UnknownTopicOrPartition,
            },
            Err(error) => error.rdkafka_error_code().unwrap_or(Code::Fail),
        };
        let trouble = feed.trouble().filter(|trouble| trouble.kind() == ErrorKind::DENIED);
        let is_late = Instant::now() >= give_up || !feed.goes_on(generation);
        let is_final = matches!(refusal, Code::TopicAuthorizationFailed | Code::InvalidTopic);
        if trouble.is_some() || is_late || is_final {
            return Err(trouble.or(feed.trouble()).unwrap_or_else(|| no_topic(topic, refusal)));
        }
        std::thread::sleep(TOPIC_PAUSE);
    }
}

fn no_topic(topic: &str, refusal: Code) -> Error {
    error::from_code(&format!("cannot subscribe to {topic}"), refusal)
}

/// Whether the brokers are back.
fn look(feed: &Feed, consumer: &Consumer) {
    let topic = feed.topics.first().map(String::as_str);
    if consumer.fetch_metadata(topic, REACH).is_ok() && feed.is_joined() {
        feed.health().worked();
    }
}

/// Commits what is done.
fn commit(feed: &Feed, consumer: &Consumer) {
    let commits = feed.ledger().commits();
    commit_these(feed, consumer, &commits, CommitMode::Async);
}

/// Commits before the end. While the group is being rearranged commits are refused, and taking part in that is what ends it.
fn commit_last(feed: &Feed, consumer: &Consumer) {
    let give_up = Instant::now() + LAST_COMMIT;
    loop {
        feed.live();
        let commits = {
            let ledger = feed.ledger();
            ledger.done(&ledger.partitions())
        };
        if commit_these(feed, consumer, &commits, CommitMode::Sync) || Instant::now() >= give_up {
            return;
        }
        drop(consumer.poll(TICK));
    }
}

/// Whether it was committed, or at least sent.
pub(super) fn commit_these(
    feed: &Feed,
    consumer: &Consumer,
    commits: &[(Partition, i64)],
    mode: CommitMode,
) -> bool {
    if commits.is_empty() {
        return true;
    }
    let offsets = list(commits.iter().map(|(partition, offset)| (partition, Offset::Offset(*offset))));
    let is_sent = consumer.commit(&offsets, mode).is_ok();
    if !is_sent {
        let mut ledger = feed.ledger();
        for (partition, offset) in commits {
            ledger.not_committed(partition, *offset);
        }
    }
    is_sent
}
