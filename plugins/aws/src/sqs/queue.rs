//! One queue and the requests it is sent: send, receive, delete, change of visibility, attributes.

use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry as Change,
    DeleteMessageBatchRequestEntry as Deletion, Message, MessageSystemAttributeName, QueueAttributeName,
    SendMessageBatchRequestEntry as Entry,
};
use futures_util::stream::{self, StreamExt as _};
use mecha_plugin_api::ErrorKind;
use tokio::sync::OnceCell;

use super::outgoing::Outgoing;
use super::settings::{Receiving, is_fifo};
use super::{BATCH, CONCURRENCY};
use crate::client::ask;
use crate::error::Failure;

const LONGEST_HIDDEN: u64 = 43_200;
/// Past the wait that a receive asked for, its answer is given up: a wire that is silent must not end a subscription. What
/// the lost answer carried comes again.
const POLL_GRACE: Duration = Duration::from_secs(5);

/// A queue whose address is known.
pub(crate) struct Queue {
    requests: Client,
    polls: Client,
    pub(crate) name: String,
    url: String,
    content_based: OnceCell<bool>,
}

impl Queue {
    pub(crate) fn new(requests: Client, polls: Client, name: String, url: String) -> Self {
        Self { requests, polls, name, url, content_based: OnceCell::new() }
    }

    pub(crate) fn is_fifo(&self) -> bool {
        is_fifo(&self.name)
    }

    /// Whether the queue tells duplicates by their bodies. Without the right to ask, every message gets an id, which is
    /// always correct.
    pub(crate) async fn is_content_based(&self) -> bool {
        if !self.is_fifo() {
            return false;
        }
        let asked = self.content_based.get_or_try_init(|| async {
            let value = self.attribute(QueueAttributeName::ContentBasedDeduplication).await?;
            Ok::<_, Failure>(value.as_deref() == Some("true"))
        });
        asked.await.copied().unwrap_or(false)
    }

    /// Whether the queue answers; lacking the right to read its attributes is an answer.
    pub(crate) async fn ping(&self) -> Result<(), Failure> {
        match self.attribute(QueueAttributeName::QueueArn).await {
            Err(failure) if failure.kind() != ErrorKind::DENIED || failure.is_about_component() => {
                Err(failure)
            }
            _ => Ok(()),
        }
    }

    /// One attribute of the queue; `None` when it has no such attribute.
    pub(crate) async fn attribute(&self, name: QueueAttributeName) -> Result<Option<String>, Failure> {
        let asked = self.requests.get_queue_attributes().queue_url(&self.url).attribute_names(name.clone());
        Ok(ask(asked.send()).await?.attributes.and_then(|mut attributes| attributes.remove(&name)))
    }

    /// Sets one attribute of the queue.
    pub(crate) async fn set_attribute(&self, name: QueueAttributeName, value: &str) -> Result<(), Failure> {
        let request = self.requests.set_queue_attributes().queue_url(&self.url).attributes(name, value);
        ask(request.send()).await.map(drop)
    }

    #[cfg(test)]
    pub(crate) async fn drop_for_test(&self) {
        self.requests.delete_queue().queue_url(&self.url).send().await.unwrap();
    }

    /// Sends one message.
    pub(crate) async fn send_one(&self, message: Outgoing) -> Result<(), Failure> {
        let request = self.requests.send_message().queue_url(&self.url).message_body(message.body);
        let request = request
            .set_message_attributes(Some(message.attributes).filter(|attributes| !attributes.is_empty()))
            .set_message_group_id(message.group)
            .set_message_deduplication_id(message.deduplication)
            .set_delay_seconds(message.delay);
        ask(request.send()).await.map(drop)
    }

    /// Sends up to ten messages in one request; the results stand in the messages' places.
    pub(crate) async fn send_batch(&self, messages: Vec<Outgoing>) -> Vec<Result<(), Failure>> {
        let count = messages.len();
        let entries =
            messages.into_iter().enumerate().map(|(place, message)| entry(place, message)).collect();
        let sent = match entries {
            Err(failure) => Err(failure),
            Ok(entries) => {
                let request = self.requests.send_message_batch().queue_url(&self.url);
                ask(request.set_entries(Some(entries)).send()).await
            }
        };
        match sent {
            Err(failure) => vec![Err(failure); count],
            Ok(answer) => {
                let mut results = vec![Ok(()); count];
                for (place, failure) in refused(&answer.failed) {
                    if let Some(result) = results.get_mut(place) {
                        *result = Err(failure);
                    }
                }
                results
            }
        }
    }

    /// Waits for messages.
    pub(crate) async fn receive(&self, how: Receiving) -> Result<Vec<Message>, Failure> {
        let mut request = self
            .polls
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(i32::try_from(how.max).unwrap_or(BATCH as i32))
            .visibility_timeout(whole_seconds(how.visibility))
            .wait_time_seconds(whole_seconds(how.wait))
            .message_attribute_names("All")
            .message_system_attribute_names(MessageSystemAttributeName::All);
        if self.is_fifo() {
            request = request.receive_request_attempt_id(uuid::Uuid::new_v4().to_string());
        }
        let limit = how.wait + POLL_GRACE;
        match tokio::time::timeout(limit, ask(request.send())).await {
            Ok(received) => Ok(received?.messages.unwrap_or_default()),
            Err(_) => Err(Failure::new(ErrorKind::TIMEOUT, format!("no answer within {limit:?}"))),
        }
    }

    /// Deletes messages by their receipts, ten a request.
    pub(crate) async fn delete(&self, receipts: Vec<String>) -> Result<(), Failure> {
        let batches = chunks(receipts).into_iter().map(|receipts| self.delete_batch(receipts));
        first_failure(stream::iter(batches).buffer_unordered(CONCURRENCY).collect().await)
    }

    async fn delete_batch(&self, receipts: Vec<String>) -> Result<(), Failure> {
        let build = |(place, receipt): (usize, &String)| {
            Deletion::builder().id(place.to_string()).receipt_handle(receipt).build()
        };
        let entries =
            receipts.iter().enumerate().map(build).collect::<Result<Vec<_>, _>>().map_err(unbuildable)?;
        let request = self.requests.delete_message_batch().queue_url(&self.url);
        let answer = ask(request.set_entries(Some(entries)).send()).await?;
        // What the service could not delete for reasons of its own is worth one more request.
        let again: Vec<_> = answer.failed.iter().filter(|entry| !entry.sender_fault).collect();
        let mut failures: Vec<_> =
            answer.failed.iter().filter(|entry| entry.sender_fault).map(failure).map(Err).collect();
        for entry in again {
            let Some(receipt) = entry.id.parse::<usize>().ok().and_then(|place| receipts.get(place)) else {
                continue;
            };
            let request = self.requests.delete_message().queue_url(&self.url).receipt_handle(receipt);
            failures.push(ask(request.send()).await.map(drop));
        }
        first_failure(failures)
    }

    /// Sets how long messages stay hidden from now on, ten a request; tells which receipts were refused.
    pub(crate) async fn hide(&self, hidden: Vec<(String, Duration)>) -> Vec<(String, Failure)> {
        let batches = chunks(hidden).into_iter().map(|batch| self.hide_batch(batch));
        let refused: Vec<_> = stream::iter(batches).buffer_unordered(CONCURRENCY).collect().await;
        refused.into_iter().flatten().collect()
    }

    async fn hide_batch(&self, hidden: Vec<(String, Duration)>) -> Vec<(String, Failure)> {
        let build = |(place, (receipt, time)): (usize, &(String, Duration))| {
            let entry = Change::builder().id(place.to_string()).receipt_handle(receipt);
            entry.visibility_timeout(whole_seconds(*time)).build()
        };
        let request = self.requests.change_message_visibility_batch().queue_url(&self.url);
        let sent = match hidden.iter().enumerate().map(build).collect::<Result<Vec<_>, _>>() {
            Err(error) => Err(unbuildable(error)),
            Ok(entries) => ask(request.set_entries(Some(entries)).send()).await,
        };
        match sent {
            Err(failure) => hidden.into_iter().map(|(receipt, _)| (receipt, failure.clone())).collect(),
            Ok(answer) => {
                let receipt = |place: usize| hidden.get(place).map(|(receipt, _)| receipt.clone());
                refused(&answer.failed)
                    .filter_map(|(place, failure)| Some((receipt(place)?, failure)))
                    .collect()
            }
        }
    }
}

fn entry(place: usize, message: Outgoing) -> Result<Entry, Failure> {
    Entry::builder()
        .id(place.to_string())
        .message_body(message.body)
        .set_message_attributes(Some(message.attributes).filter(|attributes| !attributes.is_empty()))
        .set_message_group_id(message.group)
        .set_message_deduplication_id(message.deduplication)
        .set_delay_seconds(message.delay)
        .build()
        .map_err(unbuildable)
}

fn refused(failed: &[BatchResultErrorEntry]) -> impl Iterator<Item = (usize, Failure)> {
    failed.iter().filter_map(|entry| Some((entry.id.parse().ok()?, failure(entry))))
}

fn failure(entry: &BatchResultErrorEntry) -> Failure {
    Failure::of_entry(&entry.code, entry.message(), entry.sender_fault)
}

fn unbuildable(error: impl std::fmt::Display) -> Failure {
    Failure::new(ErrorKind::INTERNAL, format!("cannot build the request: {error}"))
}

fn first_failure(results: Vec<Result<(), Failure>>) -> Result<(), Failure> {
    results.into_iter().find(Result::is_err).unwrap_or(Ok(()))
}

fn chunks<T>(items: Vec<T>) -> Vec<Vec<T>> {
    let mut items = items.into_iter();
    let mut chunks = Vec::with_capacity(items.len().div_ceil(BATCH));
    loop {
        let chunk: Vec<T> = items.by_ref().take(BATCH).collect();
        if chunk.is_empty() {
            return chunks;
        }
        chunks.push(chunk);
    }
}

/// SQS counts in seconds; a part of one is rounded up, so that nothing comes too early.
fn whole_seconds(time: Duration) -> i32 {
    let seconds = time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0));
    i32::try_from(seconds.min(LONGEST_HIDDEN)).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_second_are_rounded_up_and_the_limit_kept() {
        assert_eq!(whole_seconds(Duration::ZERO), 0);
        assert_eq!(whole_seconds(Duration::from_millis(1)), 1);
        assert_eq!(whole_seconds(Duration::from_millis(1500)), 2);
        assert_eq!(whole_seconds(Duration::MAX), 43_200);
    }

    #[test]
    fn items_go_in_tens() {
        let sizes: Vec<_> = chunks((0..21).collect()).iter().map(Vec::len).collect();
        assert_eq!(sizes, [10, 10, 1]);
        assert!(chunks(Vec::<u8>::new()).is_empty());
    }
}
