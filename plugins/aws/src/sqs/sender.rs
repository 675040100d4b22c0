//! Sends what concurrent callers give it, several messages a request. A lone message goes at once: batches form only from what
//! gathers while earlier requests are under way.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::stream::{self, StreamExt as _};
use mecha_plugin_api::ErrorKind;
use tokio::sync::oneshot;

use super::outgoing::Outgoing;
use super::queue::Queue;
use super::{BATCH, CONCURRENCY};
use crate::error::Failure;

/// Most bytes in one batch. Older SQS-compatible servers refuse more; a larger message goes alone.
const BATCH_BYTES: usize = 256 * 1024;

type Reply = oneshot::Sender<Result<(), Failure>>;

/// The messages that wait to be sent to one queue.
pub(crate) struct Sender {
    queue: Arc<Queue>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(Outgoing, Reply)>,
    running: usize,
}

impl Sender {
    pub(crate) fn new(queue: Arc<Queue>) -> Self {
        Self { queue, state: Mutex::default() }
    }

    pub(crate) fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Sends one message; returns when SQS has it. The request goes on when its caller does not wait any more, because it may
    /// carry messages of others.
    pub(crate) async fn send(self: &Arc<Self>, message: Outgoing) -> Result<(), Failure> {
        let (reply, answered) = oneshot::channel();
        let starts = {
            let mut state = self.state();
            state.waiting.push_back((message, reply));
            let starts = state.running < CONCURRENCY;
            state.running += usize::from(starts);
            starts
        };
        if starts {
            tokio::spawn(self.clone().run());
        }
        answered
            .await
            .unwrap_or_else(|_| Err(Failure::new(ErrorKind::UNAVAILABLE, "the plugin is shutting down")))
    }

    /// Sends several messages and tells what became of each; one batch after the other where their order counts.
    pub(crate) async fn send_all(&self, messages: Vec<Outgoing>) -> Vec<Result<(), Failure>> {
        let mut messages: VecDeque<_> = messages.into();
        let batches = std::iter::from_fn(|| {
            let batch = next_batch(&mut messages, |message| message.size);
            (!batch.is_empty()).then(|| self.request(batch))
        });
        let concurrency = if self.queue.is_fifo() { 1 } else { CONCURRENCY };
        stream::iter(batches).buffered(concurrency).collect::<Vec<_>>().await.concat()
    }

    async fn run(self: Arc<Self>) {
        while let Some(batch) = self.next() {
            let (messages, replies): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
            for (reply, result) in replies.into_iter().zip(self.request(messages).await) {
                // Nobody waits any more where the caller was cancelled.
                let _ = reply.send(result);
            }
        }
    }

    /// What the next request carries; nothing ends the runner, under the same lock that a new message starts one with.
    fn next(&self) -> Option<Vec<(Outgoing, Reply)>> {
        let mut state = self.state();
        let batch = next_batch(&mut state.waiting, |(message, _)| message.size);
        if batch.is_empty() {
            state.running -= 1;
            return None;
        }
        Some(batch)
    }

    async fn request(&self, mut messages: Vec<Outgoing>) -> Vec<Result<(), Failure>> {
        match messages.len() {
            1 => vec![self.queue.send_one(messages.remove(0)).await],
            _ => self.queue.send_batch(messages).await,
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first messages that fit into one request.
fn next_batch<T>(waiting: &mut VecDeque<T>, size: impl Fn(&T) -> usize) -> Vec<T> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while batch.len() < BATCH
        && let Some(next) = waiting.front().map(&size)
        && (batch.is_empty() || bytes + next <= BATCH_BYTES)
    {
        bytes += next;
        batch.extend(waiting.pop_front());
    }
    batch
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_keep_the_order_and_both_limits() {
        let sizes = [vec![10; 12], vec![BATCH_BYTES, 1, BATCH_BYTES - 1, 1]].concat();
        let mut waiting: VecDeque<usize> = sizes.into();
        let mut batches = Vec::new();
        while !waiting.is_empty() {
            batches.push(next_batch(&mut waiting, |size| *size));
        }
        let lengths: Vec<_> = batches.iter().map(Vec::len).collect();
        assert_eq!(lengths, [10, 2, 1, 2, 1]);
        assert_eq!(batches[2], [BATCH_BYTES]);
        assert!(next_batch(&mut waiting, |size| *size).is_empty());
    }
}
