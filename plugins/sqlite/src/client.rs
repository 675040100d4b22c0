//! The database: one thread that writes, a few that read, and a queue in front of each, so that no caller ever blocks.

mod change;
mod connection;
mod open_files;
mod reader;
pub(crate) mod schema;
mod writer;

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use mecha_plugin_api::{Error, ErrorKind, Result};
use rusqlite::Connection;
use tokio::sync::oneshot;

use self::change::Queued;
pub(crate) use self::open_files::OpenFiles;
use self::reader::Read;
pub(crate) use self::writer::Prepare;
use self::writer::{Started, Work, Writer};
use crate::error::closed;
use crate::metadata::Database;

/// The queues of one open database. The threads end, and close the database, when it is dropped.
pub(crate) struct Client {
    writes: Sender<Work>,
    /// `None` for a database in memory: it has one connection, the writer's.
    reads: Option<Sender<Read>>,
    timeout: Duration,
}

impl Client {
    /// Opens the database and lets `prepare` bring its tables up to date.
    pub(crate) async fn open(
        database: Arc<Database>,
        prepare: Prepare,
        files: Arc<OpenFiles>,
    ) -> Result<Self> {
        let (writes, queued_writes) = channel();
        let (reads, queued_reads) = channel();
        let (started, has_started) = oneshot::channel();
        let in_memory = database.connection.is_in_memory();
        let timeout = database.timeout;
        Writer::spawn(database, prepare, files, queued_writes, queued_reads, started)?;
        match has_started.await {
            Ok(Ok(Started::Open)) => {}
            Ok(Ok(Started::Waiting)) => tracing::info!(
                "the database is still open elsewhere in this process: calls wait until it is closed there"
            ),
            Ok(Err(error)) => return Err(error),
            Err(_) => return Err(closed()),
        }
        Ok(Self { writes, reads: (!in_memory).then_some(reads), timeout })
    }

    /// Runs `read` on a connection that nobody writes on.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let Some(reads) = &self.reads else { return self.run(read).await };
        let (task, answer) = task(read);
        if reads.send(task).is_ok() { self.answer(answer).await } else { Err(closed()) }
    }

    /// Runs `work` on the connection that writes, between two groups of writes.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (task, answer) = task(work);
        if self.writes.send(Work::Alone(task)).is_ok() { self.answer(answer).await } else { Err(closed()) }
    }

    /// Applies a change, all of it or nothing; `is_single` says that it is one statement. Queued at once; the result comes when
    /// it is on disk. Not applied when nobody waits for it any more.
    pub(crate) fn write<T, F>(&self, is_single: bool, apply: F) -> impl Future<Output = Result<T>> + use<T, F>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let change = Queued::for_caller(is_single, apply, reply);
        let queued = self.writes.send(Work::Write(Box::new(change))).is_ok();
        let answer = self.answer(answer);
        async move { if queued { answer.await } else { Err(closed()) } }
    }

    /// Applies a change whether or not anybody waits, and gives the result to `then` on the thread that writes.
    pub(crate) fn write_then<T: Send + 'static>(
        &self,
        apply: impl FnMut(&Connection) -> Result<T> + Send + 'static,
        then: impl FnOnce(Result<T>) + Send + 'static,
    ) {
        let change = Queued::certain(apply, then);
        if let Err(refused) = self.writes.send(Work::Write(Box::new(change)))
            && let Work::Write(change) = refused.0
        {
            change.done(Err(closed()));
        }
    }

    /// Waits from now on, not from the first poll: of several writes queued together, none waits longer for being last.
    pub(crate) fn answer<T>(
        &self,
        answer: oneshot::Receiver<Result<T>>,
    ) -> impl Future<Output = Result<T>> + use<T> {
        let timeout = self.timeout;
        let answer = tokio::time::timeout(timeout, answer);
        async move {
            match answer.await {
                Ok(Ok(result)) => result,
                Ok(Err(_)) => Err(closed()),
                Err(_) => {
                    let message = format!("the database did not answer within {timeout:?}");
                    Err(Error::new(ErrorKind::TIMEOUT, message))
                }
            }
        }
    }
}

/// Work for a thread, and where its result will come.
fn task<T: Send + 'static>(
    work: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
) -> (Read, oneshot::Receiver<Result<T>>) {
    let (reply, answer) = oneshot::channel();
    let task: Read = Box::new(move |connection| {
        if !reply.is_closed() {
            // A send fails when the caller has gone, and then nobody misses the answer.
            let _ = reply.send(connection.and_then(work));
        }
    });
    (task, answer)
}
