//! Metrics of pub/sub: what goes out to brokers and what comes in from them.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, Registry};

use super::MetricsSettings;
use super::bounded::Bounded;
use super::family::{Families, milliseconds, success_label};
use crate::error::Error;
use crate::names::{label, metric};

/// Topics with a label of their own, for each broker.
const MAX_TOPICS: usize = 500;

/// What became of an event that came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IngressStatus {
    /// The application took it.
    Success,
    /// It will come again.
    Retry,
    /// It was given up.
    Drop,
}

impl IngressStatus {
    const COUNT: usize = 3;

    fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Retry => "retry",
            Self::Drop => "drop",
        }
    }
}

/// The families of pub/sub.
#[derive(Debug)]
pub struct PubSubMetrics(Arc<PubSubFamilies>);

#[derive(Debug)]
struct PubSubFamilies {
    egress: Pair,
    bulk_egress: Pair,
    bulk_egress_events: IntCounterVec,
    ingress: Pair,
    bulk_ingress: Pair,
    bulk_ingress_events: IntCounterVec,
}

#[derive(Debug)]
struct Pair {
    count: IntCounterVec,
    latency: HistogramVec,
}

impl Pair {
    fn new(
        of: &Families<'_>,
        count: &str,
        latency: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<Self, Error> {
        let count = of.counter(count, help, labels)?;
        Ok(Self { count, latency: of.latency(latency, "Time it took, in ms.", labels)? })
    }

    fn series(&self, values: &[&str]) -> Series {
        Series {
            count: self.count.with_label_values(values),
            latency: self.latency.with_label_values(values),
        }
    }
}

#[derive(Debug)]
struct Series {
    count: IntCounter,
    latency: Histogram,
}

impl Series {
    fn record(&self, elapsed: Duration) {
        self.count.inc();
        self.latency.observe(milliseconds(elapsed));
    }
}

impl PubSubMetrics {
    pub(super) fn new(registry: &Registry, settings: &MetricsSettings) -> Result<Self, Error> {
        let of = Families::of_namespace(registry, settings);
        let egress = [label::COMPONENT, label::SUCCESS, label::TOPIC];
        let bulk_ingress = [label::COMPONENT, label::PROCESS_STATUS, label::TOPIC];
        let ingress = [label::COMPONENT, label::PROCESS_STATUS, label::TOPIC, label::STATUS];
        Ok(Self(Arc::new(PubSubFamilies {
            egress: Pair::new(
                &of,
                metric::PUBSUB_EGRESS_COUNT,
                metric::PUBSUB_EGRESS_LATENCIES,
                "Events published.",
                &egress,
            )?,
            bulk_egress: Pair::new(
                &of,
                metric::PUBSUB_EGRESS_BULK_COUNT,
                metric::PUBSUB_EGRESS_BULK_LATENCIES,
                "Bulks published.",
                &egress,
            )?,
            bulk_egress_events: of.counter(
                metric::PUBSUB_EGRESS_BULK_EVENT_COUNT,
                "Events published in bulks.",
                &egress,
            )?,
            ingress: Pair::new(
                &of,
                metric::PUBSUB_INGRESS_COUNT,
                metric::PUBSUB_INGRESS_LATENCIES,
                "Events delivered.",
                &ingress,
            )?,
            bulk_ingress: Pair::new(
                &of,
                metric::PUBSUB_INGRESS_BULK_COUNT,
                metric::PUBSUB_INGRESS_BULK_LATENCIES,
                "Bulks delivered.",
                &bulk_ingress,
            )?,
            bulk_ingress_events: of.counter(
                metric::PUBSUB_INGRESS_BULK_EVENT_COUNT,
                "Events delivered in bulks.",
                &bulk_ingress,
            )?,
        })))
    }

    /// The handle of one broker, to be kept beside it.
    pub fn resolve(&self, component: &str) -> PubSubHandle {
        PubSubHandle {
            families: self.0.clone(),
            component: component.into(),
            topics: Bounded::new(MAX_TOPICS, "other"),
        }
    }
}

/// Records what goes through one broker.
#[derive(Debug)]
pub struct PubSubHandle {
    families: Arc<PubSubFamilies>,
    component: Box<str>,
    topics: Bounded<TopicSeries>,
}

#[derive(Debug)]
struct TopicSeries {
    topic: Box<str>,
    egress: [OnceLock<Series>; 2],
    ingress: [OnceLock<Series>; IngressStatus::COUNT],
}

impl PubSubHandle {
    /// Records one event on its way out.
    pub fn published(&self, topic: &str, success: bool, elapsed: Duration) {
        self.with(topic, |series| {
            let made =
                || self.families.egress.series(&[&self.component, success_label(success), &series.topic]);
            series.egress[usize::from(success)].get_or_init(made).record(elapsed);
        });
    }

    /// Records one bulk of `events` on its way out.
    pub fn published_bulk(&self, topic: &str, events: u64, success: bool, elapsed: Duration) {
        self.with(topic, |series| {
            let values = [&*self.component, success_label(success), &*series.topic];
            self.families.bulk_egress.series(&values).record(elapsed);
            self.families.bulk_egress_events.with_label_values(&values).inc_by(events);
        });
    }

    /// Records one event that came in. `answer` is the application's own word in lower case, empty when it gave none.
    pub fn delivered(&self, topic: &str, status: IngressStatus, answer: &str, elapsed: Duration) {
        self.with(topic, |series| {
            let made = |answer: &str| {
                self.families.ingress.series(&[&self.component, status.as_str(), &series.topic, answer])
            };
            match answer {
                "" => series.ingress[status as usize].get_or_init(|| made("")).record(elapsed),
                answer => made(answer).record(elapsed),
            }
        });
    }

    /// Records one bulk that came in, `events` of which ended with `status`.
    pub fn delivered_bulk(&self, topic: &str, status: IngressStatus, events: u64, elapsed: Duration) {
        self.with(topic, |series| {
            let values = [&*self.component, status.as_str(), &*series.topic];
            self.families.bulk_ingress.series(&values).record(elapsed);
            self.families.bulk_ingress_events.with_label_values(&values).inc_by(events);
        });
    }

    fn with(&self, topic: &str, run: impl FnOnce(&TopicSeries)) {
        let make = |topic: &str| TopicSeries {
            topic: topic.into(),
            egress: Default::default(),
            ingress: Default::default(),
        };
        self.topics.with(topic, make, run);
    }
}
