//! One multiplexed connection that is always being kept up: while it is down, a task connects with a growing wait.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mecha_plugin_api::{Error, ErrorKind, Result};
use redis::aio::MultiplexedConnection;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::connect::{Connector, Target};
use crate::metadata::{Address, Retry};

/// Even "no back-off" must not spin.
const SHORTEST_WAIT: Duration = Duration::from_millis(8);

/// A connection and the task that keeps it up, which ends with this value.
pub(crate) struct Link {
    keeper: Arc<Keeper>,
    task: JoinHandle<()>,
}

/// What a link and its task share.
struct Keeper {
    connector: Arc<Connector>,
    target: Target,
    status: watch::Sender<Status>,
    renew: Notify,
}

/// A connection that worked when it was last looked at.
#[derive(Clone)]
pub(crate) struct Live {
    pub(crate) connection: MultiplexedConnection,
    pub(crate) server: Arc<Address>,
    /// Tells this connection from the link's earlier and later ones.
    pub(crate) generation: u64,
}

#[derive(Default)]
struct Status {
    live: Option<Live>,
    /// How many attempts to connect have failed, ever.
    failures: u64,
    /// Why the last one failed; `None` once one succeeded.
    failure: Option<Error>,
}

impl Link {
    /// Starts to connect; needs the plugin's runtime entered.
    pub(crate) fn start(connector: Arc<Connector>, target: Target) -> Self {
        let status = watch::Sender::new(Status::default());
        let keeper = Arc::new(Keeper { connector, target, status, renew: Notify::new() });
        let task = tokio::spawn(keep_up(keeper.clone()));
        Self { keeper, task }
    }

    /// The connection; while there is none, waits for as many attempts as the settings allow, and never longer than
    /// the dial timeout.
    pub(crate) async fn connection(&self) -> Result<Live> {
        if let Some(live) = &self.keeper.status.borrow().live {
            return Ok(live.clone());
        }
        self.wait_for_connection().await
    }

    /// Gives up the connection of this generation, if it is still in use, for a new one.
    pub(crate) fn renew(&self, generation: u64) {
        let dropped = self.keeper.status.send_if_modified(|status| {
            let is_current = status.live.as_ref().is_some_and(|live| live.generation == generation);
            if is_current {
                status.live = None;
            }
            is_current
        });
        if dropped {
            self.keeper.renew.notify_one();
        }
    }

    async fn wait_for_connection(&self) -> Result<Live> {
        let Keeper { connector, target, status, .. } = &*self.keeper;
        let settings = connector.settings();
        let mut changes = status.subscribe();
        let last = status.borrow().failures + u64::from(settings.retry.max) + 1;
        let decided = changes
            .wait_for(|status| status.live.is_some() || status.failures >= last || status.is_hopeless());
        if let Ok(Ok(status)) = tokio::time::timeout(settings.dial_timeout, decided).await
            && let Some(live) = &status.live
        {
            return Ok(live.clone());
        }
        let failure = status.borrow().failure.clone();
        Err(failure.unwrap_or_else(|| {
            Error::unavailable(format!("no connection to redis at {}", connector.name(target)))
        }))
    }
}

impl Status {
    /// Trying again soon cannot help: the server does not want this user, or a setting is wrong.
    fn is_hopeless(&self) -> bool {
        let failure = self.failure.as_ref();
        failure.is_some_and(|failure| matches!(failure.kind(), ErrorKind::DENIED | ErrorKind::INVALID))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn keep_up(keeper: Arc<Keeper>) {
    let Keeper { connector, target, status, renew } = &*keeper;
    let name = connector.name(target);
    let mut waits = Waits::new(connector.settings().retry);
    let mut generation = 0;
    loop {
        match connector.connect(target).await {
            Ok(connected) => {
                tracing::info!(server = %connected.server, "connected to redis");
                generation += 1;
                let server = Arc::new(connected.server);
                let live = Live { connection: connected.connection, server: server.clone(), generation };
                status.send_modify(|status| {
                    status.live = Some(live);
                    status.failure = None;
                });
                let since = Instant::now();
                tokio::select! {
                    () = connected.driver => {}
                    () = renew.notified() => {}
                    () = connector.moved_from(target, &server) => {}
                }
                status.send_modify(|status| status.live = None);
                tracing::warn!(server = %server, "the connection to redis is lost");
                if waits.is_stable(since.elapsed()) {
                    waits.reset();
                    continue;
                }
            }
            Err(error) => {
                if status.borrow().failure.is_none() {
                    tracing::warn!(server = name, error = %error, "cannot connect to redis");
                }
                status.send_modify(|status| {
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
