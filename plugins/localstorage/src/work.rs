//! How work on files is done: off the host's threads, under a span when the call is sampled.

use mecha_plugin_api::{CallContext, Error, Result};
use tracing::Span;

/// One operation of a call, with its span.
pub(crate) async fn perform<T: Send + 'static>(
    context: &CallContext,
    operation: &str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let span = span(context, operation);
    let working = span.clone();
    let answer = off_thread(move || working.in_scope(work)).await;
    if let Err(error) = &answer {
        span.record("otel.status_code", "ERROR");
        span.record("otel.status_description", error.message());
    }
    answer
}

/// Files block, and calls must not.
pub(crate) async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::internal(format!("the work on a file was given up: {error}"))),
    }
}

/// An unsampled call makes no span at all.
fn span(context: &CallContext, operation: &str) -> Span {
    if !context.is_sampled() {
        return Span::none();
    }
    tracing::info_span!(
        "localstorage",
        otel.name = format_args!("localstorage {operation}"),
        otel.status_code = tracing::field::Empty,
        otel.status_description = tracing::field::Empty,
    )
}
