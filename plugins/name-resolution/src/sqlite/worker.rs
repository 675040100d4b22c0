//! The thread that has the database open, because SQLite blocks.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread;
use std::time::Duration;

use mecha_plugin_api::{Error, ErrorKind, Result};
use rusqlite::{Connection, OpenFlags};
use tokio::sync::oneshot;

use super::claims::{Claim, Files};
use super::open_files::Hold;
use super::settings::Settings;
use super::table;

/// How often a file that is open elsewhere is looked at again.
const OPEN_ELSEWHERE_POLL: Duration = Duration::from_millis(2);

type Job = Box<dyn FnOnce(Result<&mut Connection>) + Send>;

/// The queue of the thread, which ends when this is dropped.
pub(super) struct Worker {
    jobs: Sender<Job>,
    timeout: Duration,
    /// Another copy of SQLite in this process has the file open.
    waiting: Arc<AtomicBool>,
}

impl Worker {
    /// Opens the database and makes its tables. While the file is open elsewhere in this process calls wait instead: mostly
    /// for the version of this plugin that this one replaces.
    pub(super) async fn start(settings: Arc<Settings>, files: Arc<Files>) -> Result<Self> {
        let (jobs, queue) = channel();
        let (started, has_started) = oneshot::channel();
        let waiting = Arc::new(AtomicBool::new(false));
        let worker = Self { jobs, timeout: settings.timeout, waiting: waiting.clone() };
        let thread = Thread { settings, files, queue, waiting };
        thread::Builder::new()
            .name("nr-sqlite".to_owned())
            .spawn(move || thread.run(started))
            .map_err(|error| Error::internal(format!("cannot start a thread: {error}")))?;
        has_started.await.map_err(|_| closed())??;
        Ok(worker)
    }

    /// Does something with the database.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            if !reply.is_closed() {
                // A send fails when the caller has gone, and then nobody misses the answer.
                let _ = reply.send(connection.and_then(work));
            }
        });
        self.jobs.send(job).map_err(|_| closed())?;
        match tokio::time::timeout(self.timeout, answer).await {
            Ok(answered) => answered.unwrap_or_else(|_| Err(closed())),
            Err(_) if self.waiting.load(Ordering::Relaxed) => Err(Error::unavailable(
                "the database file is open in another plugin of this process, such as that of a state store: name resolution needs a file of its own",
            )),
            Err(_) => {
                let message = format!("the database did not answer within {:?}", self.timeout);
                Err(Error::new(ErrorKind::TIMEOUT, message))
            }
        }
    }
}

struct Thread {
    settings: Arc<Settings>,
    files: Arc<Files>,
    queue: Receiver<Job>,
    waiting: Arc<AtomicBool>,
}

impl Thread {
    fn run(self, started: oneshot::Sender<Result<()>>) {
        let mut early = Vec::new();
        let mut started = Some(started);
        let mut tell = |result: Result<()>| {
            if let Some(started) = started.take() {
                // Whoever opens the component has gone when this fails; the queue will say so.
                let _ = started.send(result);
            }
        };
        let mut _claim = self.claim();
        if _claim.is_none() && self.file().is_some() {
            self.waiting.store(true, Ordering::Relaxed);
            tell(Ok(()));
            _claim = self.wait_for_claim(&mut early);
            if _claim.is_none() {
                return;
            }
            self.waiting.store(false, Ordering::Relaxed);
        }
        // Both are declared before the connection, so that the file is ours until the connection is closed.
        let mut _hold = None;
        let mut opened = open(&self.settings);
        if opened.is_ok() {
            _hold = self.hold();
        }
        tell(opened.as_ref().map(drop).map_err(Clone::clone));
        for job in early.into_iter().chain(self.queue.iter()) {
            job(opened.as_mut().map_err(|error| error.clone()));
        }
    }

    /// `None` for a database in memory.
    fn file(&self) -> Option<&Path> {
        self.settings.connection.file.as_deref()
    }

    fn claim(&self) -> Option<Claim> {
        self.file().and_then(|file| self.files.claim(file))
    }

    fn hold(&self) -> Option<Arc<Hold>> {
        self.file().and_then(|file| self.files.hold(file))
    }

    /// `None` when nobody needs the database any more.
    fn wait_for_claim(&self, early: &mut Vec<Job>) -> Option<Claim> {
        loop {
            thread::sleep(OPEN_ELSEWHERE_POLL);
            match self.queue.try_recv() {
                Ok(job) => early.push(job),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return None,
            }
            let claim = self.claim();
            if claim.is_some() {
                return claim;
            }
        }
    }
}

fn open(settings: &Settings) -> Result<Connection> {
    let mut connection = connect(settings).map_err(table::failed)?;
    table::migrate(&mut connection, settings).map_err(|error| {
        let migration =
            Error::new(error.kind(), format!("failed to perform migrations: {}", error.message()));
        migration.with_field(error.field().unwrap_or("connectionString"))
    })?;
    Ok(connection)
}

fn connect(settings: &Settings) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&settings.connection.uri, flags)?;
    connection.busy_timeout(settings.busy_timeout)?;
    let journal = match settings.connection.is_in_memory() {
        true => "journal_mode(MEMORY)",
        false if settings.disable_wal || settings.connection.read_only => "journal_mode(DELETE)",
        false => "journal_mode(WAL)",
    };
    for pragma in settings.connection.pragmas.iter().map(String::as_str).chain([journal]) {
        let mut statement = connection.prepare(&format!("PRAGMA {pragma}"))?;
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
    }
    Ok(connection)
}

fn closed() -> Error {
    Error::unavailable("the database connection is closed")
}
