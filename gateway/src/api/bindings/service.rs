//! The semantics of output bindings, with Dapr's errors.

use http::StatusCode;
use mecha_observability::names;
use mecha_plugin_api::binding::{InvokeRequest, InvokeResponse};
use mecha_plugin_api::{Buf, Metadata};
use mecha_runtime::{Call, Runtime};
use tonic::Code;

use crate::error::ApiError;

pub(super) async fn invoke(
    runtime: &Runtime,
    call: &Call,
    name: &str,
    operation: &str,
    data: Buf,
    metadata: Metadata,
) -> Result<InvokeResponse, ApiError> {
    let failed = |reason: String| {
        ApiError::basic(
            "ERR_INVOKE_OUTPUT_BINDING",
            "binding",
            StatusCode::INTERNAL_SERVER_ERROR,
            Code::Internal,
            format!("error invoking output binding {name}: {reason}"),
        )
    };
    let binding = runtime.registry().output_binding(name).cloned();
    let binding = binding.map_err(|_| failed(format!("couldn't find output binding {name}")))?;
    if operation.is_empty() {
        return Err(failed("operation field is missing from request".to_owned()));
    }
    let operations = binding.operations();
    if !operations.iter().any(|known| known == operation) {
        return Err(failed(format!(
            "binding {name} does not support operation {operation}. supported operations:{}",
            operations.join(" ")
        )));
    }
    let request = InvokeRequest { operation: operation.into(), data, metadata: with_trace(metadata, call) };
    binding.invoke(call, request).await.map_err(|error| {
        // Dapr sends what the binding says besides along with its failure, e.g. the status that `bindings.http` got.
        let metadata = error.details().cloned().unwrap_or_default();
        ApiError { metadata, ..failed(error.to_string()) }
    })
}

/// The trace travels on with the request, unless the caller has set its own.
fn with_trace(mut metadata: Metadata, call: &Call) -> Metadata {
    let mut add = |key: &str, value: &str| {
        if metadata.get(key).is_none() {
            metadata.insert(key, value);
        }
    };
    if call.trace.context.is_valid() {
        add(names::header::TRACEPARENT, call.trace.context.traceparent().as_str());
    }
    if let Some(tracestate) = &call.trace.tracestate {
        add(names::header::TRACESTATE, tracestate);
    }
    if let Some(baggage) = &call.trace.baggage {
        add(names::header::BAGGAGE, baggage);
    }
    metadata
}
