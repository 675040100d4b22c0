//! One multiplexed connection that is always being kept up: while it is down, a task connects with a growing wait.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mecha_plugin_api::{Error, ErrorKind, Result};
use redis::aio::MultiplexedConnection;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::connect::Connector;
use crate::metadata::Retry;

/// Even "no back-off" must not spin.
const SHORTEST_WAIT: Duration = Duration::from_millis(8);

/// A connection and the task that keeps it up, which ends with this value.
pub(crate) struct Link {
    connector: Arc<Connector>,
    status: watch::Receiver<Status>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Status {
    connection: Option<MultiplexedConnection>,
    /// How many attempts to connect have failed, ever.
    failures: u64,
    /// Why the last one failed; `None` once one succeeded.
    failure: Option<Error>,
}

impl Link {
    /// Starts to connect; needs the plugin's runtime entered.
    pub(crate) fn start(connector: Arc<Connector>) -> Self {
        let (publish, status) = watch::channel(Status::default());
        let task = tokio::spawn(keep_up(connector.clone(), publish));
        Self { connector, status, task }
    }

    /// The connection; while there is none, waits for as many attempts as the settings allow, and never longer than
    /// the dial timeout.
    pub(crate) async fn connection(&self) -> Result<MultiplexedConnection> {
        if let Some(connection) = &self.status.borrow().connection {
            return Ok(connection.clone());
        }
        self.wait_for_connection().await
    }

    async fn wait_for_connection(&self) -> Result<MultiplexedConnection> {
        let settings = self.connector.settings();
        let mut status = self.status.clone();
        let last = status.borrow().failures + u64::from(settings.retry.max) + 1;
        let decided = status.wait_for(|status| {
            status.connection.is_some() || status.failures >= last || status.is_hopeless()
        });
        if let Ok(Ok(status)) = tokio::time::timeout(settings.dial_timeout, decided).await
            && let Some(connection) = &status.connection
        {
            return Ok(connection.clone());
        }
        let failure = self.status.borrow().failure.clone();
        Err(failure.unwrap_or_else(|| {
            Error::unavailable(format!("no connection to redis at {}", self.connector.address()))
        }))
    }
}

impl Status {
    /// Trying again soon cannot help: the server does not want this user.
    fn is_hopeless(&self) -> bool {
        self.failure.as_ref().is_some_and(|failure| failure.kind() == ErrorKind::DENIED)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn keep_up(connector: Arc<Connector>, publish: watch::Sender<Status>) {
    let mut waits = Waits::new(connector.settings().retry);
    loop {
        match connector.connect().await {
            Ok((connection, driver)) => {
                tracing::info!(server = connector.address(), "connected to redis");
                publish.send_modify(|status| {
                    status.connection = Some(connection);
                    status.failure = None;
                });
                let since = Instant::now();
                driver.await;
                publish.send_modify(|status| status.connection = None);
                tracing::warn!(server = connector.address(), "the connection to redis is lost");
                if waits.is_stable(since.elapsed()) {
                    waits.reset();
                    continue;
                }
            }
            Err(error) => {
                if publish.borrow().failure.is_none() {
                    tracing::warn!(server = connector.address(), error = %error, "cannot connect to redis");
                }
                publish.send_modify(|status| {
                    status.failures += 1;
                    status.failure = Some(error);
                });
            }
        }
        tokio::time::sleep(waits.next()).await;
    }
}

/// The waits between attempts: doubling from the shortest to the longest, each shortened by a random part so that many
/// runtimes do not come back in step.
struct Waits {
    retry: Retry,
    current: Duration,
}

impl Waits {
    fn new(retry: Retry) -> Self {
        let retry = Retry {
            min_wait: retry.min_wait.max(SHORTEST_WAIT),
            max_wait: retry.max_wait.max(SHORTEST_WAIT),
            ..retry
        };
        Self { current: retry.min_wait, retry }
    }

    /// Whether a connection lived long enough for the next one to be tried at once.
    fn is_stable(&self, lived: Duration) -> bool {
        lived >= self.retry.max_wait
    }

    fn reset(&mut self) {
        self.current = self.retry.min_wait;
    }

    fn next(&mut self) -> Duration {
        let wait = self.current;
        self.current = (wait * 2).min(self.retry.max_wait);
        let quarters = RandomState::new().hash_one(0) % 5;
        wait - wait / 8 * u32::try_from(quarters).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_longest_and_start_over() {
        let (min_wait, max_wait) = (Duration::from_millis(100), Duration::from_millis(350));
        let mut waits = Waits::new(Retry { max: 3, min_wait, max_wait });
        for whole in [100, 200, 350, 350] {
            let (wait, whole) = (waits.next(), Duration::from_millis(whole));
            assert!(wait <= whole && wait >= whole / 2, "{wait:?} of {whole:?}");
        }
        waits.reset();
        assert!(waits.next() <= min_wait);
    }

    #[test]
    fn no_back_off_still_waits() {
        let mut waits = Waits::new(Retry { max: 0, min_wait: Duration::ZERO, max_wait: Duration::ZERO });
        for _ in 0..20 {
            assert!(waits.next() >= SHORTEST_WAIT / 2);
        }
    }
}
