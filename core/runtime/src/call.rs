//! One API request on its way to a component, and how it can fail there.

use std::sync::Arc;
use std::time::Instant;

use mecha_observability::Propagated;
use mecha_plugin_api::{CallContext, Error, Metadata};

use crate::App;
use crate::policies::PolicyFailure;

/// One API request. Made at the edge, passed by reference down to the components.
pub struct Call {
    /// On whose behalf.
    pub app: Arc<App>,
    /// Ids of the request's server span, and what else travels with a trace.
    pub trace: Propagated,
    /// When the caller stops waiting.
    pub deadline: Option<Instant>,
}

impl Call {
    /// The boundary's form of this call, under the span with `span_id`.
    pub(crate) fn context(&self, span_id: [u8; 8]) -> CallContext {
        let left = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        CallContext {
            trace_id: self.trace.context.trace_id,
            span_id,
            trace_flags: self.trace.context.flags,
            // A deadline that has passed must not read as "none".
            timeout_ns: left.map_or(0, |left| u64::try_from(left.as_nanos()).unwrap_or(u64::MAX).max(1)),
            app_id: self.app.boundary_id(),
        }
    }
}

/// Why a capability call gave no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// The component's plugin was removed, or never came.
    #[error("component {component} is not available: no plugin offers its type now")]
    Gone {
        /// The component.
        component: String,
    },
    /// The deadline passed.
    #[error("component {component} did not answer in time")]
    Timeout {
        /// The component.
        component: String,
    },
    /// A policy of a Resiliency resource ended it.
    #[error("{reason}")]
    Policy {
        /// The component.
        component: String,
        /// How.
        reason: PolicyFailure,
    },
    /// The component answered with an error.
    #[error("{}", error.message())]
    Plugin {
        /// The component.
        component: String,
        /// Its error.
        error: Error,
    },
}

impl CallError {
    /// What the component said besides its message.
    pub fn details(&self) -> Option<&Metadata> {
        match self {
            Self::Plugin { error, .. } => Some(error.details()),
            Self::Gone { .. } | Self::Timeout { .. } | Self::Policy { .. } => None,
        }
    }
}
