//! Calls between applications, and who may make them.

use std::time::Duration;

use prometheus::{HistogramVec, IntCounterVec, Opts, Registry};

use super::MetricsSettings;
use super::bounded::Bounded;
use super::family::{Families, milliseconds};
use crate::error::Error;
use crate::names::{label, metric};

/// Applications with a label of their own; callers choose these names.
const MAX_APPS: usize = 500;
const OTHER: &str = "other";
const UNARY: &str = "unary";
const STREAMING: &str = "streaming";

/// What access control decided, and on whose account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessDecision {
    /// Whether the call may be made.
    pub is_allowed: bool,
    /// Whether a rule for the caller said so, not the one for everybody.
    pub is_of_app: bool,
}

/// The families of service invocation.
#[derive(Debug)]
pub struct InvocationMetrics {
    sent: IntCounterVec,
    received: IntCounterVec,
    answers_sent: IntCounterVec,
    answers_received: IntCounterVec,
    latency: HistogramVec,
    /// Allowed and blocked by a caller's rules, then by everybody's.
    access: [IntCounterVec; 4],
    apps: Bounded<Box<str>>,
}

impl InvocationMetrics {
    pub(super) fn new(registry: &Registry, settings: &MetricsSettings) -> Result<Self, Error> {
        let of = Families::of_app(registry, settings);
        let access = |name: &str, help: &str| -> Result<IntCounterVec, Error> {
            // Here the label `app_id` is the caller's.
            let labels = [label::APP_ID, label::TRUST_DOMAIN, label::NAMESPACE];
            let family = IntCounterVec::new(Opts::new(name, help), &labels)?;
            registry.register(Box::new(family.clone()))?;
            Ok(family)
        };
        let answered_by = [label::SRC_APP_ID, label::STATUS, label::TYPE];
        Ok(Self {
            sent: of.counter(metric::INVOCATION_SENT, "Calls made.", &[label::DST_APP_ID, label::TYPE])?,
            received: of.counter(metric::INVOCATION_RECEIVED, "Calls taken.", &[label::SRC_APP_ID])?,
            answers_sent: of.counter(
                metric::INVOCATION_ANSWERS_SENT,
                "Calls answered.",
                &[label::DST_APP_ID, label::STATUS],
            )?,
            answers_received: of.counter(metric::INVOCATION_ANSWERS, "Answers received.", &answered_by)?,
            latency: of.latency(
                metric::INVOCATION_LATENCY,
                "Time to an answer, in ms.",
                &[label::SRC_APP_ID, label::STATUS],
            )?,
            access: [
                access(metric::ACL_APP_ALLOWED, "Calls allowed by rules for their caller.")?,
                access(metric::ACL_APP_BLOCKED, "Calls blocked by rules for their caller.")?,
                access(metric::ACL_GLOBAL_ALLOWED, "Calls allowed by the rule for everybody.")?,
                access(metric::ACL_GLOBAL_BLOCKED, "Calls blocked by the rule for everybody.")?,
            ],
            apps: Bounded::new(MAX_APPS, OTHER),
        })
    }

    /// A call goes out.
    pub fn request_sent(&self, app_id: &str) {
        self.of(app_id, |app| self.sent.with_label_values(&[app, UNARY]).inc());
    }

    /// A call goes out whose caller says that it streams.
    pub fn stream_sent(&self, app_id: &str) {
        self.of(app_id, |app| self.sent.with_label_values(&[app, STREAMING]).inc());
    }

    /// A call came in.
    pub fn request_received(&self, app_id: &str) {
        self.of(app_id, |app| self.received.with_label_values(&[app]).inc());
    }

    /// A call that came in was answered.
    pub fn response_sent(&self, app_id: &str, status: i32) {
        let status = status.to_string();
        self.of(app_id, |app| self.answers_sent.with_label_values(&[app, &status]).inc());
    }

    /// A call that went out was answered.
    pub fn response_received(&self, app_id: &str, status: i32, elapsed: Duration) {
        let status = status.to_string();
        self.of(app_id, |app| {
            self.answers_received.with_label_values(&[app, &status, UNARY]).inc();
            self.latency.with_label_values(&[app, &status]).observe(milliseconds(elapsed));
        });
    }

    /// A call that streams could not be made.
    pub fn stream_failed(&self, app_id: &str, status: i32) {
        let status = status.to_string();
        self.of(app_id, |app| self.answers_received.with_label_values(&[app, &status, STREAMING]).inc());
    }

    /// Access control decided. A caller without an identity has empty labels; those of others are certified.
    pub fn access(&self, decision: AccessDecision, app_id: &str, trust_domain: &str, namespace: &str) {
        let family = usize::from(!decision.is_of_app) * 2 + usize::from(!decision.is_allowed);
        self.access[family].with_label_values(&[app_id, trust_domain, namespace]).inc();
    }

    fn of(&self, app_id: &str, record: impl FnOnce(&str)) {
        self.apps.with(app_id, |app| app.into(), |app| record(app));
    }
}
