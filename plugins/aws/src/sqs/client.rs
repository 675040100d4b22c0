//! A component's SQS clients and the queues it has met: names become addresses once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::Builder;
use aws_sdk_sqs::types::QueueAttributeName;
use mecha_plugin_api::{ComponentSpec, ErrorKind, Result};

use super::queue::Queue;
use super::settings::{SqsSettings, is_fifo};
use crate::client::{Shared, ask, configure};
use crate::error::Failure;

/// How long one attempt of a request waits for its answer: a wire that is silent must not hold a caller.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How long a request may take with all its attempts.
const REQUEST_LIMIT: Duration = Duration::from_secs(15);

/// An open component's way to SQS.
pub(crate) struct SqsClient {
    pub(crate) settings: SqsSettings,
    requests: Client,
    /// For receives: they wait in the service, and whoever polls has a back-off of its own.
    polls: Client,
    queues: Mutex<HashMap<String, Arc<Queue>>>,
}

impl SqsClient {
    /// Loads the configuration; SQS is not asked anything yet.
    pub(crate) async fn open(spec: &ComponentSpec, shared: &Shared) -> Result<Self> {
        let settings = SqsSettings::read(spec)?;
        let config = configure(&settings.aws, shared).await?;
        let limits = TimeoutConfig::builder().read_timeout(ANSWER_LIMIT).operation_timeout(REQUEST_LIMIT);
        let requests = Builder::from(&config).timeout_config(limits.build()).build();
        // Each receive has a limit of its own, by the wait that it asks for.
        let polling = Builder::from(&config)
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::builder().disable_read_timeout().build())
            .build();
        let (requests, polls) = (Client::from_conf(requests), Client::from_conf(polling));
        Ok(Self { settings, requests, polls, queues: Mutex::default() })
    }

    /// The queue of that name, which must exist; its address is asked for the first time only.
    pub(crate) async fn queue(&self, name: &str) -> Result<Arc<Queue>, Failure> {
        if let Some(queue) = self.known(name) {
            return Ok(queue);
        }
        let asked = self.requests.get_queue_url().queue_name(name);
        let asked = asked.set_queue_owner_aws_account_id(self.settings.account_id.clone());
        let answer = ask(asked.send()).await?;
        self.remember(name, answer.queue_url)
    }

    /// The queue of that name; a missing one is created where the component may.
    pub(crate) async fn queue_or_new(&self, name: &str) -> Result<Arc<Queue>, Failure> {
        match self.queue(name).await {
            Err(failure) if failure.kind() == ErrorKind::NOT_FOUND && self.settings.creates_queues => {
                tracing::info!(queue = name, "creating a queue");
                let mut creation = self.requests.create_queue().queue_name(name);
                if is_fifo(name) {
                    creation = creation.attributes(QueueAttributeName::FifoQueue, "true");
                }
                self.remember(name, ask(creation.send()).await?.queue_url)
            }
            found => found,
        }
    }

    /// Forgets a queue, so that it is looked up anew: it may be gone.
    pub(crate) fn forget(&self, name: &str) {
        self.queues().remove(name);
    }

    /// Whether SQS answers these credentials; lacking the right to list queues is an answer.
    pub(crate) async fn ping(&self) -> Result<(), Failure> {
        let answer = ask(self.requests.list_queues().max_results(1).send()).await;
        match answer {
            Err(failure) if failure.kind() != ErrorKind::DENIED || failure.is_about_component() => {
                Err(failure)
            }
            _ => Ok(()),
        }
    }

    fn known(&self, name: &str) -> Option<Arc<Queue>> {
        self.queues().get(name).cloned()
    }

    fn remember(&self, name: &str, url: Option<String>) -> Result<Arc<Queue>, Failure> {
        let url =
            url.ok_or_else(|| Failure::new(ErrorKind::INTERNAL, "sqs answered no address for the queue"))?;
        let fresh = || Arc::new(Queue::new(self.requests.clone(), self.polls.clone(), name.to_owned(), url));
        Ok(self.queues().entry(name.to_owned()).or_insert_with(fresh).clone())
    }

    fn queues(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Queue>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
