//! Calls of components: a count and a latency for each component, operation and outcome.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, Registry};

use super::MetricsSettings;
use super::bounded::Bounded;
use super::family::{Families, milliseconds, success_label};
use crate::error::Error;
use crate::names::{label, metric};

/// Operations that one output binding may put into a label: callers choose the text.
const MAX_NAMED_OPERATIONS: usize = 32;

/// The building block of a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ComponentKind {
    /// State store.
    State,
    /// Configuration store.
    Configuration,
    /// Secret store.
    Secret,
    /// Holder of keys.
    Crypto,
    /// Model.
    Conversation,
    /// Output binding.
    OutputBinding,
    /// Input binding: the application's answers.
    InputBinding,
}

/// What was done, as Dapr's label `operation` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Operation {
    /// One value.
    Get,
    /// Save.
    Set,
    /// Delete one.
    Delete,
    /// Several values.
    BulkGet,
    /// Delete several.
    BulkDelete,
    /// State query.
    Query,
    /// State transaction.
    Transaction,
    /// Watch configuration.
    Subscribe,
    /// Stop watching.
    Unsubscribe,
    /// Wrap or unwrap a key.
    Crypto,
    /// A request to a model; it has no label `operation`.
    Converse,
    /// An event of an input binding; it has no label `operation`.
    Event,
}

impl Operation {
    const COUNT: usize = Self::Event as usize + 1;

    /// The label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Set => "set",
            Self::Delete => "delete",
            Self::BulkGet => "bulk_get",
            Self::BulkDelete => "bulk_delete",
            Self::Query => "query",
            Self::Transaction => "transaction",
            Self::Subscribe => "subscribe",
            Self::Unsubscribe => "unsubscribe",
            Self::Crypto => "crypto_op",
            Self::Converse | Self::Event => "",
        }
    }
}

/// The families of all building blocks.
#[derive(Debug)]
pub struct ComponentMetrics {
    state: Arc<Family>,
    configuration: Arc<Family>,
    secret: Arc<Family>,
    crypto: Arc<Family>,
    conversation: Arc<Family>,
    output_binding: Arc<Family>,
    input_binding: Arc<Family>,
}

#[derive(Debug)]
struct Family {
    count: IntCounterVec,
    latency: HistogramVec,
    has_operation: bool,
}

impl Family {
    fn new(
        families: &Families<'_>,
        count: &str,
        latency: &str,
        has_operation: bool,
    ) -> Result<Arc<Self>, Error> {
        let all = [label::COMPONENT, label::SUCCESS, label::OPERATION];
        let labels = if has_operation { &all[..] } else { &all[..2] };
        let count = families.counter(count, "Calls of the component.", labels)?;
        let latency = families.latency(latency, "Time until the component answered, in ms.", labels)?;
        Ok(Arc::new(Self { count, latency, has_operation }))
    }

    fn series(&self, component: &str, operation: &str, success: bool) -> Series {
        let all = [component, success_label(success), operation];
        let values = if self.has_operation { &all[..] } else { &all[..2] };
        Series {
            count: self.count.with_label_values(values),
            latency: self.latency.with_label_values(values),
        }
    }
}

impl ComponentMetrics {
    pub(super) fn new(registry: &Registry, settings: &MetricsSettings) -> Result<Self, Error> {
        let of = Families::of_namespace(registry, settings);
        Ok(Self {
            state: Family::new(&of, metric::STATE_COUNT, metric::STATE_LATENCIES, true)?,
            configuration: Family::new(
                &of,
                metric::CONFIGURATION_COUNT,
                metric::CONFIGURATION_LATENCIES,
                true,
            )?,
            secret: Family::new(&of, metric::SECRET_COUNT, metric::SECRET_LATENCIES, true)?,
            crypto: Family::new(&of, metric::CRYPTO_COUNT, metric::CRYPTO_LATENCIES, true)?,
            conversation: Family::new(
                &of,
                metric::CONVERSATION_COUNT,
                metric::CONVERSATION_LATENCIES,
                false,
            )?,
            output_binding: Family::new(
                &of,
                metric::OUTPUT_BINDING_COUNT,
                metric::OUTPUT_BINDING_LATENCIES,
                true,
            )?,
            input_binding: Family::new(
                &of,
                metric::INPUT_BINDING_COUNT,
                metric::INPUT_BINDING_LATENCIES,
                false,
            )?,
        })
    }

    /// The handle of one component, to be kept beside it.
    pub fn resolve(&self, component: &str, kind: ComponentKind) -> ComponentHandle {
        let family = match kind {
            ComponentKind::State => &self.state,
            ComponentKind::Configuration => &self.configuration,
            ComponentKind::Secret => &self.secret,
            ComponentKind::Crypto => &self.crypto,
            ComponentKind::Conversation => &self.conversation,
            ComponentKind::OutputBinding => &self.output_binding,
            ComponentKind::InputBinding => &self.input_binding,
        };
        ComponentHandle {
            family: family.clone(),
            component: component.into(),
            operations: Default::default(),
            named: Bounded::new(MAX_NAMED_OPERATIONS, "other"),
        }
    }
}

/// Records the calls of one component.
#[derive(Debug)]
pub struct ComponentHandle {
    family: Arc<Family>,
    component: Arc<str>,
    operations: [Outcomes; Operation::COUNT],
    named: Bounded<OperationHandle>,
}

impl ComponentHandle {
    /// Records one call.
    pub fn record(&self, operation: Operation, success: bool, elapsed: Duration) {
        let outcomes = &self.operations[operation as usize];
        outcomes.record(&self.family, &self.component, operation.as_str(), success, elapsed);
    }

    /// Records one call of an output binding, whose operations have names of their own.
    pub fn record_named(&self, operation: &str, success: bool, elapsed: Duration) {
        let make = |operation: &str| self.named_operation(operation);
        self.named.with(operation, make, |handle| handle.record(success, elapsed));
    }

    /// The handle of a named operation, for a caller that always uses the same.
    pub fn operation(&self, operation: &str) -> Arc<OperationHandle> {
        self.named.get(operation, |operation| self.named_operation(operation))
    }

    fn named_operation(&self, operation: &str) -> OperationHandle {
        OperationHandle {
            family: self.family.clone(),
            component: self.component.clone(),
            operation: operation.into(),
            outcomes: Outcomes::default(),
        }
    }
}

/// Records the calls of one named operation.
#[derive(Debug)]
pub struct OperationHandle {
    family: Arc<Family>,
    component: Arc<str>,
    operation: Box<str>,
    outcomes: Outcomes,
}

impl OperationHandle {
    /// Records one call.
    pub fn record(&self, success: bool, elapsed: Duration) {
        self.outcomes.record(&self.family, &self.component, &self.operation, success, elapsed);
    }
}

#[derive(Debug)]
struct Series {
    count: IntCounter,
    latency: Histogram,
}

/// The series of failure and success, made when first needed.
#[derive(Debug, Default)]
struct Outcomes([OnceLock<Series>; 2]);

impl Outcomes {
    fn record(&self, family: &Family, component: &str, operation: &str, success: bool, elapsed: Duration) {
        let series =
            self.0[usize::from(success)].get_or_init(|| family.series(component, operation, success));
        series.count.inc();
        series.latency.observe(milliseconds(elapsed));
    }
}
