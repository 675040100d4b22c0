//! `nameresolution.sqlite`: a table of runtimes in a database file that they share, in the form that Dapr gives it, so that
//! runtimes of both kinds find each other in one file.
//!
//! Each runtime has a row and renews it; a row that was not renewed for `updateInterval` counts for nothing.

mod claims;
// What a connection string means, and how two copies of SQLite in one process keep apart, is the same for the state store.
#[path = "../../sqlite/src/metadata/connection_string.rs"]
mod connection_string;
#[path = "../../sqlite/src/client/open_files.rs"]
mod open_files;
mod settings;
mod table;
#[cfg(test)]
mod tests;
mod worker;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mecha_plugin_api::name_resolution::{NameResolution, Registration, Resolution, ResolveRequest};
use mecha_plugin_api::{CallContext, ComponentSpec, Error, ErrorKind, Result};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

pub(crate) use self::claims::Files;
use self::settings::Settings;
use self::table::{Renewal, Row};
use self::worker::Worker;

/// An instance that goes is noticed within this, one that comes too; asking again is cheap.
const VALID_FOR: Duration = Duration::from_secs(1);

/// The table.
pub(crate) struct Sqlite {
    settings: Arc<Settings>,
    worker: Arc<Worker>,
    registered: Mutex<Option<Registered>>,
    /// Deletes old rows until this is dropped.
    _cleanup: JoinSet<()>,
}

/// This runtime's row.
struct Registered {
    row: Row,
    /// Renews it until this is dropped.
    _renewal: JoinSet<()>,
}

impl Sqlite {
    pub(crate) async fn open(spec: ComponentSpec, files: Arc<Files>) -> Result<Self> {
        let settings = Arc::new(Settings::new(&spec)?);
        if settings.connection.is_in_memory() {
            tracing::warn!(
                "name resolution has a SQLite database in memory: applications elsewhere are not found"
            );
        }
        let worker = Arc::new(Worker::start(settings.clone(), files).await?);
        let mut cleanup = JoinSet::new();
        if let Some(every) = settings.cleanup_interval {
            cleanup.spawn(clean(worker.clone(), settings.clone(), every));
        }
        Ok(Self { settings, worker, registered: Mutex::default(), _cleanup: cleanup })
    }

    fn set_registered(&self, registered: Option<Registered>) -> Option<Registered> {
        let mut current = self.registered.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut current, registered)
    }
}

impl NameResolution for Sqlite {
    async fn register(&self, _context: &CallContext, registration: Registration) -> Result<()> {
        let row = Row {
            id: uuid::Uuid::new_v4().to_string(),
            address: registration.endpoint(),
            app_id: registration.app_id.to_string(),
        };
        // The one before must not renew what is about to be replaced.
        drop(self.set_registered(None));
        let (settings, new) = (self.settings.clone(), row.clone());
        let registering = self.worker.run(move |connection| table::register(connection, &settings, &new));
        let failed = |error: Error| {
            let message = format!("failed to register host: {}", error.message());
            Error::new(error.kind(), message)
        };
        registering.await.map_err(failed)?;
        let mut renewal = JoinSet::new();
        renewal.spawn(renew(self.worker.clone(), self.settings.clone(), row.clone()));
        self.set_registered(Some(Registered { row, _renewal: renewal }));
        Ok(())
    }

    async fn resolve(&self, _context: &CallContext, request: ResolveRequest) -> Result<Resolution> {
        let settings = self.settings.clone();
        let app_id = request.app_id.to_string();
        let looking = self.worker.run(move |connection| table::find(connection, &settings, &app_id));
        let addresses = looking.await?;
        if addresses.is_empty() {
            return Err(Error::new(ErrorKind::NOT_FOUND, "no host found with the given ID"));
        }
        Ok(Resolution::new(addresses, VALID_FOR))
    }

    async fn unregister(&self, _context: &CallContext) -> Result<()> {
        let Some(registered) = self.set_registered(None) else { return Ok(()) };
        let (settings, row) = (self.settings.clone(), registered.row.clone());
        self.worker.run(move |connection| table::remove(connection, &settings, &row)).await
    }

    async fn ping(&self, _context: &CallContext) -> Result<()> {
        self.worker.run(table::ping).await
    }
}

/// Says again and again that this runtime is there.
async fn renew(worker: Arc<Worker>, settings: Arc<Settings>, row: Row) {
    // Times are whole seconds in the file, and a renewal may have to wait: with half of what is left, one may come late.
    let every = (settings.update_interval - settings.timeout) / 2;
    let mut beat = interval_at(Instant::now() + every, every);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        let (table, ours) = (settings.clone(), row.clone());
        match worker.run(move |connection| table::renew(connection, &table, &ours)).await {
            Ok(Renewal::Renewed) => {}
            Ok(Renewal::MadeAnew) => {
                tracing::warn!(
                    "the registration was away and was made again; others did not find this runtime"
                )
            }
            Ok(Renewal::TakenOver) => {
                tracing::error!("Host registration lost: {} belongs to another runtime now", row.address);
                return;
            }
            Err(error) => tracing::error!("Failed to update host registration: {}", error.message()),
        }
    }
}

/// Deletes rows that nobody renews, as one of all runtimes that share the file.
async fn clean(worker: Arc<Worker>, settings: Arc<Settings>, every: Duration) {
    let mut beat = interval_at(Instant::now() + every, every);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        let table = settings.clone();
        match worker.run(move |connection| table::clean(connection, &table, every)).await {
            Ok(0) => {}
            Ok(deleted) => tracing::debug!(deleted, "old registrations were deleted"),
            Err(error) => tracing::warn!("old registrations cannot be deleted: {}", error.message()),
        }
    }
}
