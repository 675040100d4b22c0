//! The thread that writes. What has queued up while it was busy goes into one transaction, because most of a write's time is
//! the wait for the disk; each write still gets its own result.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::thread;
use std::time::Duration;

use mecha_plugin_api::{Error, ErrorKind, Result};
use rusqlite::{Connection, Transaction};
use tokio::sync::oneshot;

use super::connection;
use super::open_files::{Hold, OpenFiles};
use super::reader::{self, Read};
use crate::error::failed;
use crate::metadata::Database;

/// How many writes share a transaction at most: enough to hide the disk, few enough for the first not to wait long.
const LARGEST_GROUP: usize = 256;

/// How often a file that is open elsewhere is looked at again.
const OPEN_ELSEWHERE_POLL: Duration = Duration::from_millis(2);

/// Statements that are applied together or not at all.
pub(crate) trait Change: Send {
    /// Whether nobody waits for it any more: then it is not applied.
    fn is_abandoned(&self) -> bool;
    /// Whether it is one statement, which undoes itself when it fails.
    fn is_single(&self) -> bool;
    /// Applies it, and notes what came of it. Called again when the transaction that it shared was lost.
    fn apply(&mut self, connection: &Connection) -> Result<()>;
    /// Told once: whether it is on disk.
    fn done(self: Box<Self>, result: Result<()>);
}

/// Makes ready what the component needs in a database that was just opened.
pub(crate) type Prepare = Box<dyn FnMut(&mut Connection) -> Result<()> + Send>;

/// What the writer is asked to do.
pub(crate) enum Work {
    Write(Box<dyn Change>),
    /// Anything that needs the writer's connection outside a transaction.
    Alone(Read),
}

/// How far the writer has come when the component counts as open.
pub(crate) enum Started {
    Open,
    /// An older version of the plugin still has the file; the queue fills until it is closed there.
    Waiting,
}

/// The writer's thread.
pub(crate) struct Writer {
    database: Arc<Database>,
    prepare: Prepare,
    files: Arc<OpenFiles>,
    queue: Receiver<Work>,
    /// Taken out of the queue while the file was not open yet, in order.
    early: std::collections::VecDeque<Work>,
}

impl Writer {
    pub(crate) fn spawn(
        database: Arc<Database>,
        prepare: Prepare,
        files: Arc<OpenFiles>,
        queue: Receiver<Work>,
        reads: Receiver<Read>,
        started: oneshot::Sender<Result<Started>>,
    ) -> Result<()> {
        let mut writer = Self { database, prepare, files, queue, early: std::collections::VecDeque::new() };
        thread::Builder::new()
            .name("sqlite-writer".to_owned())
            .spawn(move || writer.run(reads, started))
            .map(drop)
            .map_err(|error| Error::internal(format!("cannot start a thread: {error}")))
    }

    fn run(&mut self, reads: Receiver<Read>, started: oneshot::Sender<Result<Started>>) {
        let waits = self.is_open_elsewhere();
        let started = if waits {
            // Whoever waits for the answer has gone when the send fails; the queue will say so.
            let _ = started.send(Ok(Started::Waiting));
            None
        } else {
            Some(started)
        };
        if waits && !self.wait_until_closed_elsewhere() {
            return;
        }
        // Declared before the connection, so that the file counts as open until the connection is closed.
        let hold;
        let mut connection = match self.open() {
            Ok((connection, held)) => {
                hold = held;
                connection
            }
            Err(error) => return self.refuse(reads, started, &error),
        };
        let ready = match self.database.connection.is_in_memory() {
            true => Ok(()),
            false => reader::spawn(&self.database, reads, hold.as_ref()),
        };
        if let Some(started) = started {
            let _ = started.send(ready.map(|()| Started::Open));
        }
        self.work(&mut connection);
    }

    fn open(&mut self) -> Result<(Connection, Option<Arc<Hold>>)> {
        let mut connection = connection::open(&self.database)?;
        (self.prepare)(&mut connection)?;
        let hold = self.database.connection.file.as_deref().and_then(|file| self.files.hold(file));
        Ok((connection, hold))
    }

    fn is_open_elsewhere(&self) -> bool {
        self.database.connection.file.as_deref().is_some_and(|file| self.files.is_open_elsewhere(file))
    }

    /// Gives no when the component is closed before.
    fn wait_until_closed_elsewhere(&mut self) -> bool {
        while self.is_open_elsewhere() {
            thread::sleep(OPEN_ELSEWHERE_POLL);
            match self.queue.try_recv() {
                Ok(work) => self.early.push_back(work),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return false,
            }
        }
        true
    }

    /// The database did not open: says so to whoever opens the component, or, when that was answered before, to every call.
    fn refuse(
        &mut self,
        reads: Receiver<Read>,
        started: Option<oneshot::Sender<Result<Started>>>,
        error: &Error,
    ) {
        if let Some(started) = started {
            let _ = started.send(Err(error.clone()));
            return;
        }
        let refusal = error.clone();
        let answers = thread::Builder::new()
            .name("sqlite-reader".to_owned())
            .spawn(move || reads.iter().for_each(|read| read(Err(refusal.clone()))));
        if answers.is_err() {
            return;
        }
        while let Some(work) = self.next() {
            match work {
                Work::Alone(run) => run(Err(error.clone())),
                Work::Write(write) => write.done(Err(error.clone())),
            }
        }
    }

    fn next(&mut self) -> Option<Work> {
        self.early.pop_front().or_else(|| self.queue.recv().ok())
    }

    fn next_at_hand(&mut self) -> Option<Work> {
        self.early.pop_front().or_else(|| self.queue.try_recv().ok())
    }

    fn work(&mut self, connection: &mut Connection) {
        while let Some(work) = self.next() {
            let first = match work {
                Work::Alone(run) => {
                    run(Ok(connection));
                    continue;
                }
                Work::Write(write) => write,
            };
            let mut group = vec![first];
            let mut after = None;
            while group.len() < LARGEST_GROUP && after.is_none() {
                match self.next_at_hand() {
                    Some(Work::Write(write)) => group.push(write),
                    Some(Work::Alone(run)) => after = Some(run),
                    None => break,
                }
            }
            self.apply(connection, group);
            if let Some(run) = after {
                run(Ok(connection));
            }
        }
    }

    fn apply(&self, connection: &mut Connection, mut group: Vec<Box<dyn Change>>) {
        // Nobody waits for these any more: the caller has gone or its time was up.
        group.retain(|write| !write.is_abandoned());
        let results = match group.as_mut_slice() {
            [] => return,
            [only] => vec![self.apply_alone(connection, only.as_mut())],
            several => match self.apply_together(connection, several) {
                Ok(results) => results,
                // Waiting for the same lock again, once for each, would help nobody.
                Err(error) if error.kind() == ErrorKind::UNAVAILABLE && error.is_retriable() => {
                    vec![Err(error); several.len()]
                }
                // The transaction was lost as a whole: by itself, each can still succeed.
                Err(_) => {
                    several.iter_mut().map(|write| self.apply_alone(connection, write.as_mut())).collect()
                }
            },
        };
        for (write, result) in group.into_iter().zip(results) {
            write.done(result);
        }
    }

    fn apply_alone(&self, connection: &mut Connection, write: &mut dyn Change) -> Result<()> {
        if write.is_single() {
            return write.apply(connection);
        }
        let transaction = self.begin(connection)?;
        write.apply(&transaction)?;
        transaction.commit().map_err(|error| failed(&error))
    }

    /// Fails only when the transaction as a whole does; then nothing was applied.
    fn apply_together(
        &self,
        connection: &mut Connection,
        group: &mut [Box<dyn Change>],
    ) -> Result<Vec<Result<()>>> {
        let mut transaction = self.begin(connection)?;
        let mut results = Vec::with_capacity(group.len());
        for write in group {
            let result = apply_within(&mut transaction, write.as_mut());
            if transaction.is_autocommit() {
                // SQLite rolls everything back by itself after some failures, a full disk among them.
                return Err(result.err().unwrap_or_else(|| Error::internal("the transaction has ended")));
            }
            results.push(result);
        }
        transaction.commit().map_err(|error| failed(&error))?;
        Ok(results)
    }

    fn begin<'c>(&self, connection: &'c mut Connection) -> Result<Transaction<'c>> {
        let behavior = self.database.connection.transaction;
        connection.transaction_with_behavior(behavior).map_err(|error| failed(&error))
    }
}

/// One write of a group. Several statements need a savepoint to be undone alone.
fn apply_within(transaction: &mut Transaction<'_>, write: &mut dyn Change) -> Result<()> {
    if write.is_single() {
        return write.apply(transaction);
    }
    let savepoint = transaction.savepoint().map_err(|error| failed(&error))?;
    write.apply(&savepoint)?;
    savepoint.commit().map_err(|error| failed(&error))
}
