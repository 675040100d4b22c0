//! The spans of requests to AWS, under the span of the call that makes them.

use mecha_plugin_api::CallContext;
use tracing::Span;
use tracing::field::Empty;

use crate::error::Failure;

const SYSTEM: &str = "aws_sqs";

/// A send of `count` messages to a queue.
pub(crate) fn send(context: &CallContext, queue: &str, count: usize) -> Span {
    // An unsampled call must not even pay for collecting the fields.
    if !context.is_sampled() {
        return Span::none();
    }
    tracing::info_span!(
        "sqs send",
        otel.name = format!("send {queue}"),
        otel.kind = "producer",
        otel.status_code = Empty,
        messaging.system = SYSTEM,
        messaging.operation.name = "send",
        messaging.operation.type = "send",
        messaging.destination.name = queue,
        messaging.batch.message_count = (count > 1).then_some(count),
        error.type = Empty,
    )
}

/// The deletion of `count` messages that were worked on.
pub(crate) fn settle(context: &CallContext, queue: &str, count: usize) -> Span {
    if !context.is_sampled() || count == 0 {
        return Span::none();
    }
    tracing::info_span!(
        "sqs delete",
        otel.name = format!("delete {queue}"),
        otel.kind = "client",
        otel.status_code = Empty,
        messaging.system = SYSTEM,
        messaging.operation.name = "delete",
        messaging.operation.type = "settle",
        messaging.destination.name = queue,
        messaging.batch.message_count = (count > 1).then_some(count),
        error.type = Empty,
    )
}

/// A request to S3. Keys stay out of spans: they may name people.
pub(crate) fn object(context: &CallContext, operation: &'static str, bucket: &str) -> Span {
    if !context.is_sampled() {
        return Span::none();
    }
    tracing::info_span!(
        "s3 request",
        otel.name = format!("S3/{operation}"),
        otel.kind = "client",
        otel.status_code = Empty,
        rpc.system = "aws-api",
        rpc.service = "S3",
        rpc.method = operation,
        aws.s3.bucket = bucket,
        error.type = Empty,
    )
}

/// Notes how a request ended.
pub(crate) fn record(span: &Span, failure: Option<&Failure>) {
    if let Some(failure) = failure {
        span.record("otel.status_code", "error");
        span.record("error.type", failure.type_name());
    }
}
