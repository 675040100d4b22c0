//! The running watches over configuration, under the ids by which applications end them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;
use uuid::Uuid;

/// Every watch of one runtime.
#[derive(Default)]
pub struct ConfigurationWatches(Mutex<HashMap<String, oneshot::Sender<()>>>);

impl ConfigurationWatches {
    /// A new watch's id, and what tells it to end.
    pub fn add(&self) -> (String, oneshot::Receiver<()>) {
        let id = Uuid::new_v4().to_string();
        let (end, ended) = oneshot::channel();
        self.lock().insert(id.clone(), end);
        (id, ended)
    }

    /// Ends a watch; `false` when there is none of that id.
    pub fn end(&self, id: &str) -> bool {
        // The watch learns of it by the sender's end.
        self.lock().remove(id).is_some()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, oneshot::Sender<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
