//! From an application's id to the address of its runtime: the seam behind which every kind of name resolution stands.
//!
//! mDNS is built in (`mdns/`). Others are a [`Find`], which says where all runtimes of an application are; `balanced.rs` makes a
//! [`Resolve`] out of it.

mod balanced;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::BoxFuture;

pub use balanced::{Balanced, Find, Found};

/// An application as others name it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AppName {
    /// Its id.
    pub id: String,
    /// Its namespace.
    pub namespace: String,
}

/// Why an application was not found.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ResolveError {
    /// Nobody answers to the id.
    #[error("couldn't find service: {0}")]
    NotFound(String),
    /// The way of finding out does not work.
    #[error("failed to resolve {app_id}: {reason}")]
    Failed {
        /// The application.
        app_id: String,
        /// What is wrong.
        reason: String,
    },
    /// Nobody answers to the id, in the words of whoever looked.
    #[error("{0}")]
    Unknown(String),
}

/// Finds runtimes.
pub trait Resolve: Send + Sync {
    /// The address of a runtime of the application, `host:port`. Several runtimes of one application take turns.
    fn resolve<'a>(&'a self, app: &'a AppName) -> BoxFuture<'a, Result<String, ResolveError>>;

    /// Says that nobody answered at an address, so that it is not given again before it was seen again.
    fn forget(&self, app: &AppName, address: &str);

    /// Says where this runtime takes calls, and on which port its HTTP API is. Others find it until the resolver is dropped.
    fn announce(&self, listening: SocketAddr, http_port: u16);

    /// Takes the announcement back.
    fn withdraw<'a>(&'a self) -> BoxFuture<'a, ()>;
}

/// Addresses that somebody wrote down, in Dapr's `nameResolution` with `component: static`.
#[derive(Debug, Default)]
pub struct Table {
    apps: HashMap<String, Vec<String>>,
    turn: AtomicUsize,
}

impl Table {
    /// A table of ids, each with its addresses.
    pub fn new(apps: HashMap<String, Vec<String>>) -> Self {
        Self { apps, turn: AtomicUsize::new(0) }
    }
}

impl Resolve for Table {
    fn resolve<'a>(&'a self, app: &'a AppName) -> BoxFuture<'a, Result<String, ResolveError>> {
        let found = self.apps.get(&app.id).filter(|addresses| !addresses.is_empty());
        let found = found
            .map(|addresses| addresses[self.turn.fetch_add(1, Ordering::Relaxed) % addresses.len()].clone());
        let found = found.ok_or_else(|| ResolveError::NotFound(app.id.clone()));
        Box::pin(std::future::ready(found))
    }

    fn forget(&self, _app: &AppName, _address: &str) {}

    fn announce(&self, _listening: SocketAddr, _http_port: u16) {}

    fn withdraw<'a>(&'a self) -> BoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_addresses_of_a_table_take_turns() {
        let table = Table::new([("a".to_owned(), vec!["h:1".to_owned(), "h:2".to_owned()])].into());
        let name = |id: &str| AppName { id: id.to_owned(), namespace: String::new() };
        let (first, second) = (table.resolve(&name("a")).await, table.resolve(&name("a")).await);
        assert_eq!((first.unwrap(), second.unwrap()), ("h:1".to_owned(), "h:2".to_owned()));
        let error = table.resolve(&name("nope")).await.unwrap_err().to_string();
        assert_eq!(error, "couldn't find service: nope");
    }
}
