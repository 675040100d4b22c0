//! Queues of SQS, behind `bindings.aws.sqs` and `pubsub.aws.sqs`.
//!
//! A message goes out through `outgoing.rs` (body and attributes) and `sender.rs` (batches) to `queue.rs` (the requests). It
//! comes in through `feed.rs` (long polls, heartbeat), waits in `inbox.rs` and leaves through `source.rs`, which settles it too;
//! `incoming.rs` reads what SQS delivers.

mod binding;
mod client;
mod feed;
mod inbox;
mod incoming;
mod outgoing;
mod pubsub;
mod queue;
mod sender;
mod settings;
mod source;

pub(crate) use self::binding::SqsBinding;
pub(crate) use self::pubsub::SqsPubSub;
#[cfg(test)]
pub(crate) use self::source::SqsSource;

/// Most messages in one request.
const BATCH: usize = 10;
/// Most requests of one kind at the same time, for one queue.
const CONCURRENCY: usize = 8;
