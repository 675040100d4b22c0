//! `nameresolution.consul`: the services that an agent of Consul knows and finds healthy.
//!
//! `settings.rs` reads Dapr's settings, `client.rs` speaks to the agent, `registration.rs` says what is registered and `watch.rs`
//! keeps what was found current where `useCache` asks for that.

mod client;
mod json;
mod query;
mod registration;
mod settings;
#[cfg(test)]
mod tests;
mod tls;
mod watch;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mecha_plugin_api::name_resolution::{NameResolution, Registration, Resolution, ResolveRequest, endpoint};
use mecha_plugin_api::{CallContext, ComponentSpec, Error, ErrorKind, Result};

use self::client::{Client, Instance};
use self::settings::Settings;
use self::watch::Watches;

/// The agent is near, and asking it again is cheap.
const VALID_FOR: Duration = Duration::from_secs(1);

/// An agent.
pub(crate) struct Consul {
    settings: Arc<Settings>,
    client: Arc<Client>,
    watches: Option<Watches>,
    /// The id of what is registered.
    registered: Mutex<Option<String>>,
}

impl Consul {
    pub(crate) async fn open(spec: ComponentSpec) -> Result<Self> {
        let settings = Arc::new(Settings::new(&spec)?);
        let client = Arc::new(Client::new(&settings.agent).await?);
        if !settings.registers() {
            let checked = client.check().await;
            checked.map_err(|error| renamed(error, "failed check on consul agent"))?;
        }
        let watches = settings.use_cache.then(|| Watches::new(client.clone(), settings.query.clone()));
        Ok(Self { settings, client, watches, registered: Mutex::default() })
    }

    fn set_registered(&self, id: Option<String>) -> Option<String> {
        let mut registered = self.registered.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut registered, id)
    }

    /// The healthy instances: those that are being watched, or what the agent says now.
    async fn healthy(&self, app_id: &str) -> Result<Vec<Instance>> {
        if let Some(known) = self.watches.as_ref().and_then(|watches| watches.known(app_id)) {
            return Ok(known);
        }
        let found = self.client.healthy(app_id, &self.settings.query, None).await;
        let (found, _) = found.map_err(|error| renamed(error, "failed to query healthy consul services"))?;
        if let Some(watches) = &self.watches
            && !found.is_empty()
        {
            watches.watch(app_id, found.clone());
        }
        Ok(found)
    }
}

impl NameResolution for Consul {
    async fn register(&self, _context: &CallContext, registration: Registration) -> Result<()> {
        let Some(service) = registration::service(&self.settings, &registration)? else { return Ok(()) };
        let registered = self.client.register(&service).await;
        registered.map_err(|error| renamed(error, "failed to register consul service"))?;
        let id = registration::id(&service);
        tracing::info!("service:{id} registered on consul agent");
        self.set_registered(Some(id));
        Ok(())
    }

    async fn resolve(&self, _context: &CallContext, request: ResolveRequest) -> Result<Resolution> {
        let app_id = request.app_id.as_str();
        let none =
            || Error::new(ErrorKind::NOT_FOUND, format!("no healthy services found with AppID '{app_id}'"));
        let found = self.healthy(app_id).await?;
        if found.is_empty() {
            return Err(none());
        }
        let key = self.settings.port_key.as_str();
        let with_port: Vec<_> = found.iter().filter_map(|one| Some((one, one.port(key)?))).collect();
        if with_port.is_empty() {
            let message = format!("target service AppID '{app_id}' found but {key} missing from meta");
            return Err(Error::new(ErrorKind::NOT_FOUND, message));
        }
        let addresses = with_port.into_iter().filter_map(|(one, port)| Some(endpoint(one.address()?, port)));
        let addresses: Vec<String> = addresses.collect();
        if addresses.is_empty() { Err(none()) } else { Ok(Resolution::new(addresses, VALID_FOR)) }
    }

    async fn unregister(&self, _context: &CallContext) -> Result<()> {
        let Some(id) = self.set_registered(None) else { return Ok(()) };
        // As in Dapr: unless asked to, it leaves the service to its health checks.
        if !self.settings.self_deregister {
            return Ok(());
        }
        let ended = self.client.deregister(&id).await;
        ended.map_err(|error| renamed(error, "failed to deregister consul service"))
    }

    async fn ping(&self, _context: &CallContext) -> Result<()> {
        self.client.check().await
    }
}

fn renamed(error: Error, what: &str) -> Error {
    Error::new(error.kind(), format!("{what}: {}", error.message()))
}
