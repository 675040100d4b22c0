//! The threads that read, each with a connection that it opens when it first needs one.

use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, available_parallelism};

use mecha_plugin_api::{Error, Result};
use rusqlite::Connection;

use super::connection;
use super::open_files::Hold;
use crate::metadata::Database;

/// Something to do on a connection, or to answer when there is none.
pub(crate) type Read = Box<dyn FnOnce(Result<&mut Connection>) + Send>;

/// More would only wait for the same processors.
const MOST_READERS: usize = 4;

/// Starts the readers. They end when the queue's last sender is gone.
pub(crate) fn spawn(database: &Arc<Database>, queue: Receiver<Read>, hold: Option<&Arc<Hold>>) -> Result<()> {
    let queue = Arc::new(Mutex::new(queue));
    let readers = available_parallelism().map_or(1, |count| count.get().min(MOST_READERS));
    for _ in 0..readers {
        let (database, queue, hold) = (database.clone(), queue.clone(), hold.cloned());
        thread::Builder::new()
            .name("sqlite-reader".to_owned())
            .spawn(move || {
                read(&database, &queue);
                // The connection is closed by now.
                drop(hold);
            })
            .map_err(|error| Error::internal(format!("cannot start a thread: {error}")))?;
    }
    Ok(())
}

fn read(database: &Database, queue: &Mutex<Receiver<Read>>) {
    let mut open = None;
    loop {
        // Waiting with the lock held is what makes the others wait in turn; the guard is gone before the work begins.
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(read) = next else { return };
        match &mut open {
            Some(connection) => read(Ok(connection)),
            None => match connection::open(database) {
                Ok(connection) => read(Ok(open.insert(connection))),
                Err(error) => read(Err(error)),
            },
        }
    }
}
