//! Metrics of timeouts, retries and circuit breakers.

use prometheus::{IntCounterVec, IntGaugeVec, Registry};

use super::MetricsSettings;
use super::family::Families;
use crate::error::Error;
use crate::names::{label, metric};

/// States that a circuit breaker has a series for, as the label `status` has them.
const STATES: [&str; 4] = ["closed", "half-open", "open", "unknown"];
const CIRCUIT_BREAKER: &str = "circuitbreaker";

/// Where a policy is at work. The targets are those of resources, so that callers cannot add any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicySite<'a> {
    /// Name of the resource.
    pub name: &'a str,
    /// Namespace of the resource.
    pub namespace: &'a str,
    /// `inbound` or `outbound`.
    pub direction: &'a str,
    /// What it applies to, such as `Statestore_redis`.
    pub target: &'a str,
}

/// The families of policies.
#[derive(Debug)]
pub struct ResiliencyMetrics {
    loaded: IntCounterVec,
    applied: IntCounterVec,
    activated: IntCounterVec,
    state: IntGaugeVec,
}

impl ResiliencyMetrics {
    pub(super) fn new(registry: &Registry, settings: &MetricsSettings) -> Result<Self, Error> {
        let of = Families::of_app(registry, settings);
        let labels = [
            label::NAME,
            label::POLICY,
            label::NAMESPACE,
            label::FLOW_DIRECTION,
            label::TARGET,
            label::STATUS,
        ];
        let state = of.opts(
            metric::RESILIENCY_CB_STATE,
            "Where a circuit breaker stands: 1 for its state, 0 for the others.",
        );
        let state = IntGaugeVec::new(state, &labels)?;
        registry.register(Box::new(state.clone()))?;
        Ok(Self {
            loaded: of.counter(
                metric::RESILIENCY_LOADED,
                "Resiliency resources loaded.",
                &[label::NAME, label::NAMESPACE],
            )?,
            applied: of.counter(metric::RESILIENCY_COUNT, "Operations that a policy applied to.", &labels)?,
            activated: of.counter(
                metric::RESILIENCY_ACTIVATIONS_TOTAL,
                "Policies that did something, after a failure or a change of state.",
                &labels,
            )?,
            state,
        })
    }

    /// A resource was taken in.
    pub fn loaded(&self, name: &str, namespace: &str) {
        self.loaded.with_label_values(&[name, namespace]).inc();
    }

    /// A policy applies to an operation; `state` is that of a circuit breaker, empty for other policies.
    pub fn applied(&self, site: PolicySite<'_>, policy: &str, state: &str) {
        self.applied.with_label_values(&values(site, policy, state)).inc();
        self.stands(site, policy, state);
    }

    /// A policy did something; `state` is that of a circuit breaker, empty for other policies.
    pub fn activated(&self, site: PolicySite<'_>, policy: &str, state: &str) {
        self.activated.with_label_values(&values(site, policy, state)).inc();
        self.stands(site, policy, state);
    }

    fn stands(&self, site: PolicySite<'_>, policy: &str, state: &str) {
        if policy == CIRCUIT_BREAKER {
            for known in STATES {
                self.state.with_label_values(&values(site, policy, known)).set((known == state).into());
            }
        }
    }
}

fn values<'a>(site: PolicySite<'a>, policy: &'a str, state: &'a str) -> [&'a str; 6] {
    [site.name, policy, site.namespace, site.direction, site.target, state]
}
