//! The metadata of queue components: Dapr's names, parsed once.

use std::time::Duration;

use mecha_plugin_api::{ComponentSpec, Error, Metadata, Result};

use super::BATCH;
use crate::metadata::{AwsSettings, flag, number};

const DEFAULT_VISIBILITY: i32 = 30;
const LONGEST_VISIBILITY: i32 = 43_200;
/// Dapr's, and shorter than a closing subscription waits: what a cut off receive takes with it would stay hidden for long.
const DEFAULT_POLL: i32 = 2;
const LONGEST_POLL: i32 = 20;
const MOST_RECEIVES: i32 = 1000;
const LONGEST_NAME: usize = 80;
const FIFO_SUFFIX: &str = ".fifo";

/// Everything that a component's metadata settles.
#[derive(Clone, Debug)]
pub(crate) struct SqsSettings {
    pub(crate) aws: AwsSettings,
    /// Owner of the queues when it is another account.
    pub(crate) account_id: Option<String>,
    pub(crate) receiving: Receiving,
    /// Queues are FIFO queues, their names end in `.fifo`.
    pub(crate) fifo: bool,
    /// The message group of messages that name none.
    pub(crate) group: Option<String>,
    pub(crate) dead_letters: Option<DeadLetters>,
    /// Queues that are missing are created.
    pub(crate) creates_queues: bool,
}

/// How messages are received.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Receiving {
    /// How long a message stays hidden from others; renewed while it is worked on.
    pub(crate) visibility: Duration,
    /// How long one receive waits for a message.
    pub(crate) wait: Duration,
    /// Most messages in one receive.
    pub(crate) max: usize,
}

/// Where messages go that were received too often.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct DeadLetters {
    pub(crate) queue: String,
    pub(crate) max_receives: i32,
}

impl SqsSettings {
    /// Reads a component's metadata.
    pub(crate) fn read(spec: &ComponentSpec) -> Result<Self> {
        let fifo = flag(spec, "fifo")?;
        let group = spec.text("fifoMessageGroupID").map(str::to_owned);
        Ok(Self {
            aws: AwsSettings::read(spec)?,
            account_id: spec.text("accountId").map(str::to_owned),
            receiving: Receiving::read(spec)?,
            fifo,
            group,
            dead_letters: dead_letters(spec, fifo)?,
            creates_queues: !flag(spec, "disableEntityManagement")?,
        })
    }

    /// The name of a topic's queue.
    pub(crate) fn queue_of(&self, topic: &str) -> Result<String> {
        queue_name(topic, self.fifo).map_err(|error| error.with_field("topic"))
    }
}

impl Receiving {
    fn read(spec: &ComponentSpec) -> Result<Self> {
        let visibility =
            number(spec, "messageVisibilityTimeout", DEFAULT_VISIBILITY, 1..=LONGEST_VISIBILITY)?;
        let wait = number(spec, "messageWaitTimeSeconds", DEFAULT_POLL, 1..=LONGEST_POLL)?;
        let batch = BATCH as i32;
        let max = number(spec, "messageMaxNumber", batch, 1..=batch)?;
        Ok(Self { visibility: seconds(visibility), wait: seconds(wait), max: max.unsigned_abs() as usize })
    }

    /// The same with what a subscription's own metadata says.
    pub(crate) fn with(self, own: &Metadata) -> Result<Self> {
        let mut spec = ComponentSpec::new("", "", own.clone());
        for (name, value) in [
            ("messageVisibilityTimeout", self.visibility.as_secs()),
            ("messageWaitTimeSeconds", self.wait.as_secs()),
            ("messageMaxNumber", self.max as u64),
        ] {
            if spec.text(name).is_none() {
                spec.metadata.insert(name, value.to_string());
            }
        }
        Self::read(&spec)
    }
}

fn seconds(count: i32) -> Duration {
    Duration::from_secs(u64::from(count.unsigned_abs()))
}

fn dead_letters(spec: &ComponentSpec, fifo: bool) -> Result<Option<DeadLetters>> {
    const QUEUE: &str = "sqsDeadLettersQueueName";
    const LIMIT: &str = "messageReceiveLimit";
    match (spec.text(QUEUE), number(spec, LIMIT, 0, 0..=MOST_RECEIVES)?) {
        (None, 0) => Ok(None),
        (Some(queue), max_receives) if max_receives > 0 => {
            let queue = queue_name(queue, fifo).map_err(|error| error.with_field(QUEUE))?;
            Ok(Some(DeadLetters { queue, max_receives }))
        }
        (Some(_), _) => Err(Error::invalid(format!("required with {QUEUE}")).with_field(LIMIT)),
        (None, _) => Err(Error::invalid(format!("required with {LIMIT}")).with_field(QUEUE)),
    }
}

/// A queue's name as SQS takes it. A name is never bent to fit: two topics could end in one queue.
fn queue_name(name: &str, fifo: bool) -> Result<String> {
    let stem = name.strip_suffix(FIFO_SUFFIX);
    let full = match (stem, fifo) {
        (None, true) => format!("{name}{FIFO_SUFFIX}"),
        _ => name.to_owned(),
    };
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let stem = stem.unwrap_or(name);
    if !stem.is_empty() && full.len() <= LONGEST_NAME && stem.bytes().all(is_allowed) {
        return Ok(full);
    }
    Err(Error::invalid(format!(
        "'{name}' cannot be a queue's name: at most {LONGEST_NAME} letters, digits, hyphens and underscores"
    )))
}

/// Whether a queue is a FIFO queue; its name says so.
pub(crate) fn is_fifo(queue: &str) -> bool {
    queue.ends_with(FIFO_SUFFIX)
}

#[cfg(test)]
mod tests {
    use mecha_plugin_api::ErrorKind;

    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<SqsSettings> {
        SqsSettings::read(&ComponentSpec::new(
            "q",
            "pubsub.aws.sqs",
            Metadata::from_iter(pairs.iter().copied()),
        ))
    }

    #[test]
    fn defaults_poll_in_batches() {
        let receiving = read(&[]).unwrap().receiving;
        assert_eq!(receiving, Receiving { visibility: seconds(30), wait: seconds(2), max: 10 });
    }

    #[test]
    fn a_subscription_overrides_the_component() {
        let receiving = read(&[("messageVisibilityTimeout", "60")]).unwrap().receiving;
        let own = receiving.with(&Metadata::from_iter([("messageMaxNumber", "1")])).unwrap();
        assert_eq!(own, Receiving { visibility: seconds(60), wait: seconds(2), max: 1 });
        assert!(receiving.with(&Metadata::from_iter([("messageMaxNumber", "11")])).is_err());
    }

    #[test]
    fn wrong_fields_are_named() {
        for (pairs, field) in [
            (&[("messageVisibilityTimeout", "0")][..], "messageVisibilityTimeout"),
            (&[("messageWaitTimeSeconds", "21")], "messageWaitTimeSeconds"),
            (&[("messageMaxNumber", "many")], "messageMaxNumber"),
            (&[("sqsDeadLettersQueueName", "dead")], "messageReceiveLimit"),
            (&[("messageReceiveLimit", "3")], "sqsDeadLettersQueueName"),
            (&[("fifo", "ture")], "fifo"),
            (&[("disableSSL", "ture")], "disableSSL"),
            (&[("messageReceiveLimit", "3"), ("sqsDeadLettersQueueName", "a b")], "sqsDeadLettersQueueName"),
        ] {
            let error = read(pairs).unwrap_err();
            assert_eq!((error.kind(), error.field()), (ErrorKind::INVALID, Some(field)));
        }
    }

    #[test]
    fn topics_become_queues_only_when_their_names_can() {
        let (plain, fifo) = (read(&[]).unwrap(), read(&[("fifo", "true")]).unwrap());
        assert_eq!(plain.queue_of("orders").unwrap(), "orders");
        assert_eq!(plain.queue_of("orders.fifo").unwrap(), "orders.fifo");
        assert_eq!(fifo.queue_of("orders").unwrap(), "orders.fifo");
        assert_eq!(fifo.queue_of("orders.fifo").unwrap(), "orders.fifo");
        for wrong in ["", "a/b", "a.b", ".fifo", &"x".repeat(81)] {
            assert_eq!(plain.queue_of(wrong).unwrap_err().field(), Some("topic"), "{wrong}");
        }
        assert!(fifo.queue_of(&"x".repeat(76)).is_err());
    }
}
