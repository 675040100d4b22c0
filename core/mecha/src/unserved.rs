//! Flags of daprd that are accepted and have no effect yet: said once at the start, never silently.

use mecha_settings::{Resolved, Settings};
use serde_json::Value;

/// Settings whose building block or server is not there yet.
const UNSERVED: [&str; 5] = [
    "profile.enabled",
    "resources.reconcile-interval",
    "control-plane.address",
    "control-plane.placement-addresses",
    "control-plane.scheduler-addresses",
];

/// One line for each setting that was given and has no effect.
pub(crate) fn warnings(resolved: &Resolved) -> Vec<String> {
    let (given, default) = (as_json(&resolved.settings), as_json(&Settings::default()));
    let differs = |key: &&&str| {
        let pointer = format!("/{}", key.replace('.', "/"));
        given.pointer(&pointer) != default.pointer(&pointer)
    };
    let unserved = UNSERVED.iter().filter(differs);
    let line = |key: &&str| {
        format!("setting {key} ({}) is accepted and has no effect in this version", resolved.origins.of(key))
    };
    unserved.map(line).collect()
}

/// Settings hold nothing that JSON cannot say.
fn as_json(settings: &Settings) -> Value {
    serde_json::to_value(settings).unwrap_or_default()
}
