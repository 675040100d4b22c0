//! The components that can be called now: an immutable snapshot, replaced as a whole.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::managed::Managed;
use crate::middleware::Middleware;
use crate::name_resolution::NameResolver;
use crate::{
    ConfigurationStore, Conversation, CryptoStore, InputBinding, LockStore, ObjectStore, OutputBinding,
    PubSub, SecretStore, StateStore,
};

type ByName<T> = HashMap<Box<str>, Arc<T>, RandomState>;

/// Why a look-up by name found nothing; Dapr answers the two differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// No component of this building block at all.
    NotConfigured,
    /// Others, but not this one.
    NotFound,
}

/// A component as `/v1.0/metadata` lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentSummary {
    /// Its name.
    pub name: String,
    /// Its type.
    pub type_name: String,
    /// Its version.
    pub version: String,
    /// What it can do, in Dapr's words.
    pub capabilities: Vec<&'static str>,
}

/// The callable components, by building block and name.
#[derive(Default)]
pub struct Registry {
    pub(crate) state_stores: ByName<StateStore>,
    pub(crate) secret_stores: ByName<SecretStore>,
    pub(crate) output_bindings: ByName<OutputBinding>,
    pub(crate) pubsubs: ByName<PubSub>,
    pub(crate) configuration_stores: ByName<ConfigurationStore>,
    pub(crate) lock_stores: ByName<LockStore>,
    pub(crate) crypto_stores: ByName<CryptoStore>,
    pub(crate) conversations: ByName<Conversation>,
    pub(crate) object_stores: ByName<ObjectStore>,
    /// Declared middleware, open or not: what is not open must not be passed over.
    pub(crate) middlewares: ByName<Middleware>,
    /// Declared resolvers of names, open or not.
    pub(crate) name_resolvers: ByName<NameResolver>,
    /// Declared brokers, open or not: who subscribes to one waits for it.
    pub(crate) declared_pubsubs: ByName<PubSub>,
    /// Declared input bindings that a plugin has opened once.
    pub(crate) input_bindings: ByName<InputBinding>,
    pub(crate) summaries: Vec<ComponentSummary>,
    /// Whatever is open.
    pub(crate) open: Vec<Arc<dyn Managed>>,
}

fn find<'a, T>(components: &'a ByName<T>, name: &str) -> Result<&'a Arc<T>, Missing> {
    let missing = if components.is_empty() { Missing::NotConfigured } else { Missing::NotFound };
    components.get(name).ok_or(missing)
}

impl Registry {
    /// The state store `name`.
    ///
    /// # Errors
    /// [`Missing`].
    pub fn state_store(&self, name: &str) -> Result<&Arc<StateStore>, Missing> {
        find(&self.state_stores, name)
    }

    /// The secret store `name`.
    ///
    /// # Errors
    /// [`Missing`].
    pub fn secret_store(&self, name: &str) -> Result<&Arc<SecretStore>, Missing> {
        find(&self.secret_stores, name)
    }

    /// The output binding `name`.
    ///
    /// # Errors
    /// [`Missing`].
    pub fn output_binding(&self, name: &str) -> Result<&Arc<OutputBinding>, Missing> {
        find(&self.output_bindings, name)
    }

    /// The broker `name`.
    ///
    /// # Errors
    /// [`Missing`].
    pub fn pubsub(&self, name: &str) -> Result<&Arc<PubSub>, Missing> {
        find(&self.pubsubs, name)
    }

    /// The configuration store `name`.
    ///
    /// # Errors
    /// [`Missing`].
    pub fn configuration_store(&self, name: &str) -> Result<&Arc<ConfigurationStore>, Missing> {
        find(&self.configuration_stores, name)
    }

    /// The lock store `name`.
    ///
    /// # Errors
    /// [`Missing`].
    pub fn lock_store(&self, name: &str) -> Result<&Arc<LockStore>, Missing> {
        find(&self.lock_stores, name)
    }

    /// The holder of keys `name`.
    ///
    /// # Errors
    /// [`Missing`].
    pub fn crypto_store(&self, name: &str) -> Result<&Arc<CryptoStore>, Missing> {
        find(&self.crypto_stores, name)
    }

    /// The model `name`.
    ///
    /// # Errors
    /// [`Missing`].
    pub fn conversation(&self, name: &str) -> Result<&Arc<Conversation>, Missing> {
        find(&self.conversations, name)
    }

    /// The object store `name`.
    ///
    /// # Errors
    /// [`Missing`].
    pub fn object_store(&self, name: &str) -> Result<&Arc<ObjectStore>, Missing> {
        find(&self.object_stores, name)
    }

    /// Every component, in the order of their definitions.
    pub fn components(&self) -> &[ComponentSummary] {
        &self.summaries
    }

    /// Adds a component's summary; one that serves two capabilities is listed once with both.
    pub(crate) fn add_summary(&mut self, summary: ComponentSummary) {
        match self.summaries.iter_mut().find(|known| known.name == summary.name) {
            Some(known) => known.capabilities.extend(summary.capabilities),
            None => self.summaries.push(summary),
        }
    }
}
