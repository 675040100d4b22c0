//! What the host says about a call: identity of the trace, time left, and who calls.

use std::time::Duration;

use abi_stable::StableAbi;
use abi_stable::std_types::{RArc, RString};

/// Passed by value with every call.
///
/// The span ids are those of the host's span for this call: spans that the plugin opens with `tracing` become its
/// children by themselves. A client that can carry a `traceparent` to its back end takes it from [`CallContext::traceparent`].
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct CallContext {
    /// W3C trace id; zero when the host has none.
    pub trace_id: [u8; 16],
    /// Id of the host's span for this call.
    pub span_id: [u8; 8],
    /// W3C trace flags; bit 0 = sampled.
    pub trace_flags: u8,
    /// Time left for the call in nanoseconds when it crossed the boundary; 0 = no deadline.
    pub timeout_ns: u64,
    /// The application on whose behalf the call is made.
    pub app_id: RArc<RString>,
}

impl CallContext {
    /// A call outside any trace and without a deadline, for start-up work and tests.
    pub fn background(app_id: impl Into<String>) -> Self {
        Self {
            trace_id: [0; 16],
            span_id: [0; 8],
            trace_flags: 0,
            timeout_ns: 0,
            app_id: RArc::new(RString::from(app_id.into())),
        }
    }

    /// Whether the trace is recorded.
    pub fn is_sampled(&self) -> bool {
        self.trace_flags & 1 == 1
    }

    /// Time left when the call began, if it has a deadline.
    pub fn timeout(&self) -> Option<Duration> {
        (self.timeout_ns != 0).then(|| Duration::from_nanos(self.timeout_ns))
    }

    /// The W3C `traceparent` header value, if there is a trace.
    pub fn traceparent(&self) -> Option<String> {
        (self.trace_id != [0; 16]).then(|| {
            format!(
                "00-{:032x}-{:016x}-{:02x}",
                u128::from_be_bytes(self.trace_id),
                u64::from_be_bytes(self.span_id),
                self.trace_flags
            )
        })
    }
}
