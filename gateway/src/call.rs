//! From a request's trace headers to the call that goes down to the components.

use mecha_observability::{ActiveSpan, Propagated, SpanKind, names};
use mecha_runtime::{Call, Runtime};

/// Begins a request: decides sampling, opens the server span when the request is recorded.
pub(crate) fn begin(runtime: &Runtime, incoming: Propagated, name: &str) -> (Call, Option<ActiveSpan>) {
    let telemetry = runtime.telemetry();
    let caller = incoming.context;
    let context = telemetry.begin(caller);
    let mut span = telemetry.server_span(context, caller, SpanKind::Server, || name.to_owned());
    if let Some(span) = &mut span {
        span.set_tracestate(incoming.tracestate.clone());
        span.set_attribute(names::attribute::DAPR_API, name.to_owned());
    }
    let trace = Propagated { context, ..incoming };
    (Call { app: runtime.app().clone(), trace, deadline: None }, span)
}

/// Compares without telling by its time how much was right.
pub(crate) fn same_token(given: &[u8], expected: &[u8]) -> bool {
    let differs = given.iter().zip(expected).fold(0_u8, |differs, (a, b)| differs | (a ^ b));
    given.len() == expected.len() && differs == 0
}
