//! What was found, kept current: a question for each service that the agent answers when something has changed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::client::{Change, Client, Instance};
use super::query::Query;

/// How long the agent may wait for a change.
const WAIT: Duration = Duration::from_secs(60);
/// From a question that failed to the next, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(180));
/// After an answer that tells nothing new; an agent that does not wait must not be asked all the time.
const PAUSE: Duration = Duration::from_secs(1);
/// A service that nobody asked for this long is not watched any more.
const IDLE: Duration = Duration::from_secs(600);

/// The services that are watched.
pub(super) struct Watches {
    shared: Arc<Shared>,
    /// End with this.
    tasks: Mutex<JoinSet<()>>,
}

struct Shared {
    client: Arc<Client>,
    query: Query,
    services: Mutex<HashMap<String, Watched>>,
}

struct Watched {
    /// `None` while the agent does not answer.
    instances: Option<Vec<Instance>>,
    asked: Instant,
}

impl Watches {
    pub(super) fn new(client: Arc<Client>, query: Query) -> Self {
        // The agent's cache answers at once, and never waits for a change.
        let query = Query { cached: None, ..query };
        Self {
            shared: Arc::new(Shared { client, query, services: Mutex::default() }),
            tasks: Mutex::default(),
        }
    }

    /// What is known of a service that is watched and has healthy instances.
    pub(super) fn known(&self, service: &str) -> Option<Vec<Instance>> {
        let mut services = lock(&self.shared.services);
        let watched = services.get_mut(service)?;
        watched.asked = Instant::now();
        watched.instances.clone().filter(|instances| !instances.is_empty())
    }

    /// Watches a service from now on.
    pub(super) fn watch(&self, service: &str, found: Vec<Instance>) {
        let watched = Watched { instances: Some(found), asked: Instant::now() };
        let before = lock(&self.shared.services).insert(service.to_owned(), watched);
        if before.is_none() {
            let mut tasks = lock(&self.tasks);
            while tasks.try_join_next().is_some() {}
            tasks.spawn(keep_current(self.shared.clone(), service.to_owned()));
        }
    }
}

impl Shared {
    fn set(&self, service: &str, instances: Option<Vec<Instance>>) {
        if let Some(watched) = lock(&self.services).get_mut(service) {
            watched.instances = instances;
        }
    }

    /// Forgets a service that nobody asks for.
    fn ends_idle(&self, service: &str) -> bool {
        let mut services = lock(&self.services);
        let idle = services.get(service).is_none_or(|watched| watched.asked.elapsed() > IDLE);
        if idle {
            services.remove(service);
        }
        idle
    }
}

async fn keep_current(shared: Arc<Shared>, service: String) {
    let mut after = 0;
    let mut retry = RETRY.0;
    while !shared.ends_idle(&service) {
        let change = Change { after, wait: WAIT };
        match shared.client.healthy(&service, &shared.query, Some(change)).await {
            Ok((instances, index)) => {
                shared.set(&service, Some(instances));
                retry = RETRY.0;
                if index <= after {
                    tokio::time::sleep(PAUSE).await;
                }
                // An index that goes back belongs to an agent that began anew.
                after = if index < after { 0 } else { index };
            }
            Err(error) => {
                tracing::error!(
                    "consul service-watcher error: {}, retry in {}s",
                    error.message(),
                    retry.as_secs()
                );
                // Calls ask the agent themselves meanwhile.
                shared.set(&service, None);
                after = 0;
                tokio::time::sleep(retry).await;
                retry = (retry * 2).min(RETRY.1);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
