//! A change in the writer's queue: what to do, and who is told.

use mecha_plugin_api::{Error, Result};
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::writer::Change;

/// A closure as a [`Change`].
pub(super) struct Queued<T, F> {
    apply: F,
    is_single: bool,
    outcome: Option<T>,
    told: Told<T>,
}

enum Told<T> {
    Caller(oneshot::Sender<Result<T>>),
    Always(Box<dyn FnOnce(Result<T>) + Send>),
}

impl<T: Send, F: FnMut(&Connection) -> Result<T> + Send> Queued<T, F> {
    /// For a caller who may go away, and then does not want it any more.
    pub(super) fn for_caller(is_single: bool, apply: F, caller: oneshot::Sender<Result<T>>) -> Self {
        Self { apply, is_single, outcome: None, told: Told::Caller(caller) }
    }

    /// To be applied in any case.
    pub(super) fn certain(apply: F, then: impl FnOnce(Result<T>) + Send + 'static) -> Self {
        Self { apply, is_single: false, outcome: None, told: Told::Always(Box::new(then)) }
    }
}

impl<T: Send, F: FnMut(&Connection) -> Result<T> + Send> Change for Queued<T, F> {
    fn is_abandoned(&self) -> bool {
        matches!(&self.told, Told::Caller(caller) if caller.is_closed())
    }

    fn is_single(&self) -> bool {
        self.is_single
    }

    fn apply(&mut self, connection: &Connection) -> Result<()> {
        self.outcome = Some((self.apply)(connection)?);
        Ok(())
    }

    fn done(self: Box<Self>, result: Result<()>) {
        let Self { outcome, told, .. } = *self;
        let unapplied = || Error::internal("a change counts as done but was not applied");
        let result = result.and_then(|()| outcome.ok_or_else(unapplied));
        match told {
            Told::Caller(caller) => {
                // A send fails when the caller has gone; the change stands all the same.
                let _ = caller.send(result);
            }
            Told::Always(then) => then(result),
        }
    }
}
