//! The trace of what came in: from what a message carries to the call that goes on to the application.

use std::sync::Arc;

use mecha_observability::{ActiveSpan, Propagated, SpanKind, Telemetry};

use crate::{App, Call};

/// The trace headers that a message carries.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Carried<'a> {
    pub(crate) parent: Option<&'a str>,
    pub(crate) state: Option<&'a str>,
    pub(crate) baggage: Option<&'a str>,
}

/// Continues the trace that a message carries, or begins one: every delivery has its place in a trace.
pub(crate) fn received(
    app: &Arc<App>,
    telemetry: &Telemetry,
    carried: Carried<'_>,
    name: impl FnOnce() -> String,
) -> (Call, Option<ActiveSpan>) {
    let Carried { parent, state, baggage } = carried;
    let carried = Propagated::from_headers(parent, state, baggage)
        // Baggage that is none is the publisher's mistake, not a reason to lose the message.
        .or_else(|_| Propagated::from_headers(parent, state, None))
        .unwrap_or_default();
    let caller = carried.context;
    let context = telemetry.begin(caller);
    let mut span = telemetry.server_span(context, caller, SpanKind::Consumer, name);
    if let Some(span) = &mut span {
        span.set_tracestate(carried.tracestate.clone());
    }
    let trace = Propagated { context, ..carried };
    (Call { app: app.clone(), trace, deadline: None }, span)
}
