//! The running watches over configuration, under the ids by which applications end them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;
use uuid::Uuid;

/// Every watch of one runtime.
#[derive(Default)]
pub struct ConfigurationWatches(Mutex<Open>);

#[derive(Default)]
struct Open {
    /// Nothing is watched any more.
    closed: bool,
    watches: HashMap<String, oneshot::Sender<()>>,
}

impl ConfigurationWatches {
    /// A new watch's id, and what tells it to end: at once, when the process is about to.
    pub fn add(&self) -> (String, oneshot::Receiver<()>) {
        let id = Uuid::new_v4().to_string();
        let (end, ended) = oneshot::channel();
        let mut open = self.lock();
        if !open.closed {
            open.watches.insert(id.clone(), end);
        }
        (id, ended)
    }

    /// Ends a watch; `false` when there is none of that id.
    pub fn end(&self, id: &str) -> bool {
        // The watch learns of it by the sender's end.
        self.lock().watches.remove(id).is_some()
    }

    /// Ends every watch, and those to come.
    pub(crate) fn close(&self) {
        let mut open = self.lock();
        open.closed = true;
        open.watches.clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
