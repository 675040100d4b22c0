//! The plugin that finds other runtimes, where the Configuration chooses one: a component like any other, but one that nobody
//! calls by name, and which has to know where this runtime is.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use mecha_invocation::Host;
use mecha_invocation::resolve::{AppName, Find, Found, ResolveError};
use mecha_observability::Propagated;
use mecha_plugin_api::name_resolution::{NameResolutionObject, Registration, ResolveRequest};
use mecha_plugin_api::{Capability, ErrorKind, Metadata};
use mecha_resources::Component as Resource;
use mecha_resources::component::MetadataItem;
use mecha_resources::configuration::NameResolution;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::App;
use crate::call::{Call, CallError};
use crate::component::Component;
use crate::definition::Definition;
use crate::lifecycle::{Failure, OpenError};
use crate::observe::Operation;
use crate::registry::Registry;

/// What finds other runtimes.
pub(crate) type NameResolver = Component<NameResolutionObject>;

/// The component's name. No resource can have it: names of resources have no capitals.
pub(crate) const NAME: &str = "nameResolution";
/// Found without a plugin.
const BUILT_IN: [&str; 3] = ["", "mdns", "static"];

const REGISTER: Operation<'static> = Operation::named("register");
const RESOLVE: Operation<'static> = Operation::named("resolve");
const UNREGISTER: Operation<'static> = Operation::named("unregister");
/// How long one look may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the end of the process waits for a registration to be taken back.
const WITHDRAWAL: Duration = Duration::from_secs(2);
/// From a registration that failed to the next attempt, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Whether the Configuration chooses a plugin, and which: `sqlite`.
pub(crate) fn plugin(chosen: Option<&NameResolution>) -> Option<&NameResolution> {
    chosen.filter(|chosen| !BUILT_IN.contains(&chosen.component.to_ascii_lowercase().as_str()))
}

/// The choice as a component. Settings that are no text become JSON, for the plugin to read.
pub(crate) fn definition(chosen: Option<&NameResolution>) -> Option<Arc<Definition>> {
    let chosen = plugin(chosen)?;
    let component = format!("nameresolution.{}", chosen.component.to_ascii_lowercase());
    let mut resource = Resource::new(NAME, component);
    resource.version = chosen.version.to_ascii_lowercase();
    // As in Dapr: without name resolution everything else still works.
    resource.ignore_errors = true;
    if let Value::Object(settings) = &chosen.configuration {
        let present = settings.iter().filter(|(_, value)| !value.is_null());
        resource.metadata = present.map(|(name, value)| MetadataItem::literal(name, text(value))).collect();
    }
    Some(Arc::new(Definition { resource, origin: "the Configuration".to_owned() }))
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// `nr (sqlite/v1)`, as Dapr names it.
fn log_name(definition: &Definition) -> String {
    format!("nr ({})", kind(definition))
}

fn kind(definition: &Definition) -> String {
    let resource = &definition.resource;
    let component = resource.component_type.strip_prefix("nameresolution.");
    format!("{}/{}", component.unwrap_or(&resource.component_type), resource.version_or_default())
}

/// Says in Dapr's words how the start of the resolver went; gives the failures of everything else.
pub(crate) fn report(
    failures: Vec<Failure>,
    definition: Option<&Arc<Definition>>,
    registry: &Registry,
) -> Vec<Failure> {
    let Some(definition) = definition else { return failures };
    let is_ours = |failure: &Failure| failure.component.capability() == Capability::NAME_RESOLUTION;
    let (ours, others): (Vec<_>, Vec<_>) = failures.into_iter().partition(is_ours);
    let name = log_name(definition);
    match ours.first() {
        Some(failure) => tracing::error!(
            "[INIT_COMPONENT_FAILURE]: initialization error occurred for {name}: {}",
            message(&failure.error)
        ),
        None if is_open(registry) => {
            let component = definition.resource.component_type.strip_prefix("nameresolution.");
            tracing::info!("Initialized name resolution to {}", component.unwrap_or_default());
        }
        None => tracing::error!(
            "[CREATE_COMPONENT_FAILURE]: initialization error occurred for {name}: couldn't find name resolver {}",
            kind(definition)
        ),
    }
    others
}

/// What the plugin said, without the field that it names beside it.
fn message(error: &OpenError) -> String {
    match error {
        OpenError::Plugin(error) => error.message().to_owned(),
        other => other.to_string(),
    }
}

fn is_open(registry: &Registry) -> bool {
    registry.name_resolvers.get(NAME).is_some_and(|resolver| resolver.generation().is_some())
}

/// Finds other runtimes through the component.
pub(crate) struct Finder {
    shared: Arc<Shared>,
    changed: watch::Receiver<()>,
    /// Keeps this runtime registered until it ends.
    registering: Mutex<Option<AbortOnDropHandle<()>>>,
}

/// What the component is found by, now and after every change.
pub(crate) struct Source {
    pub(crate) registry: Arc<ArcSwap<Registry>>,
    /// Told of every change of the registry.
    pub(crate) changed: watch::Receiver<()>,
    /// The application's own port; 0 = none.
    pub(crate) app_port: u16,
}

struct Shared {
    app: Arc<App>,
    registry: Arc<ArcSwap<Registry>>,
    host: Host,
    app_port: u16,
    /// Where this runtime takes calls, once it does.
    listening: Mutex<Option<SocketAddr>>,
}

impl Finder {
    pub(crate) fn new(source: Source, app: Arc<App>, host: Host) -> Self {
        let Source { registry, changed, app_port } = source;
        let shared = Shared { app, registry, host, app_port, listening: Mutex::default() };
        Self { shared: Arc::new(shared), changed, registering: Mutex::default() }
    }
}

impl Find for Finder {
    fn find<'a>(&'a self, app: &'a AppName) -> BoxFuture<'a, Result<Found, ResolveError>> {
        Box::pin(self.shared.find(app))
    }

    fn announce(&self, listening: SocketAddr, http_port: u16) {
        *self.shared.listening.lock().unwrap_or_else(PoisonError::into_inner) = Some(listening);
        let registration = self.shared.registration(listening, http_port);
        let registering = keep_registered(self.shared.clone(), registration, self.changed.clone());
        let registering = AbortOnDropHandle::new(tokio::spawn(registering));
        *self.registering.lock().unwrap_or_else(PoisonError::into_inner) = Some(registering);
    }

    fn withdraw<'a>(&'a self) -> BoxFuture<'a, ()> {
        drop(self.registering.lock().unwrap_or_else(PoisonError::into_inner).take());
        Box::pin(self.shared.unregister())
    }
}

impl Shared {
    /// The component while it is declared, open or not.
    fn resolver(&self) -> Option<Arc<NameResolver>> {
        self.registry.load().name_resolvers.get(NAME).cloned()
    }

    fn call(&self, patience: Duration) -> Call {
        let deadline = Some(Instant::now() + patience);
        Call { app: self.app.clone(), trace: Propagated::default(), deadline }
    }

    async fn find(&self, app: &AppName) -> Result<Found, ResolveError> {
        let Some(resolver) = self.resolver() else { return Err(not_there()) };
        let listening = *self.listening.lock().unwrap_or_else(PoisonError::into_inner);
        let request = ResolveRequest {
            app_id: app.id.as_str().into(),
            namespace: app.namespace.as_str().into(),
            port: listening.map_or(0, |listening| listening.port()),
            metadata: Metadata::new(),
        };
        let call = self.call(PATIENCE);
        let looking = resolver
            .call(&call, RESOLVE, request, |resolver, context, request| resolver.resolve(context, request));
        let found = looking.await.map_err(|error| refused(app, error))?;
        let valid_for = found.valid_for();
        Ok(Found { addresses: found.addresses.into_iter().map(String::from).collect(), valid_for })
    }

    fn registration(&self, listening: SocketAddr, http_port: u16) -> Registration {
        let ip = if listening.ip().is_unspecified() { self.host.address } else { listening.ip() };
        Registration {
            app_id: (&*self.app.id).into(),
            namespace: (&*self.app.namespace).into(),
            address: ip.to_string().into(),
            port: listening.port(),
            http_port,
            app_port: self.app_port,
            metadata: Metadata::new(),
        }
    }

    async fn register(&self, resolver: &NameResolver, registration: Registration) -> Result<(), CallError> {
        let call = self.call(PATIENCE);
        let registering = resolver.call(&call, REGISTER, registration, |resolver, context, registration| {
            resolver.register(context, registration)
        });
        registering.await
    }

    async fn unregister(&self) {
        let Some(resolver) = self.resolver().filter(|resolver| resolver.generation().is_some()) else {
            return;
        };
        let call = self.call(WITHDRAWAL);
        let ended =
            resolver.call(&call, UNREGISTER, (), |resolver, context, ()| resolver.unregister(context));
        if let Err(error) = ended.await {
            tracing::warn!("others may still look for this runtime where it was: {error}");
        }
    }
}

/// Registers this runtime with every resolver that comes: the first one, a new version of its plugin, one that was away.
async fn keep_registered(shared: Arc<Shared>, registration: Registration, mut changed: watch::Receiver<()>) {
    let mut registered_on = None;
    let mut pause = RETRY.0;
    loop {
        changed.mark_unchanged();
        let resolver = shared.resolver();
        let serving = resolver.as_ref().and_then(|resolver| resolver.generation());
        let serving = serving.map(|generation| generation.id());
        let due = resolver.filter(|_| serving.is_some() && serving != registered_on);
        let registered = match due {
            Some(resolver) => shared.register(&resolver, registration.clone()).await.map_err(|error| {
                let name = log_name(resolver.definition());
                tracing::error!(
                    "[INIT_COMPONENT_FAILURE]: initialization error occurred for {name}: {error}"
                );
            }),
            None => Ok(()),
        };
        match registered {
            Ok(()) => {
                (registered_on, pause) = (serving, RETRY.0);
                if changed.changed().await.is_err() {
                    return;
                }
            }
            Err(()) => {
                // Whichever comes first: the end of the pause, or another version of the plugin.
                let _ = tokio::time::timeout(pause, changed.changed()).await;
                pause = (pause * 2).min(RETRY.1);
            }
        }
    }
}

fn not_there() -> ResolveError {
    ResolveError::Unknown("name resolver not initialized".to_owned())
}

fn refused(app: &AppName, error: CallError) -> ResolveError {
    match error {
        CallError::Gone { .. } => not_there(),
        CallError::Plugin { error, .. } if error.kind() == ErrorKind::NOT_FOUND => {
            ResolveError::Unknown(error.message().to_owned())
        }
        other => ResolveError::Failed { app_id: app.id.clone(), reason: other.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(component: &str, configuration: Value) -> NameResolution {
        NameResolution { component: component.to_owned(), version: String::new(), configuration }
    }

    #[test]
    fn a_choice_becomes_a_component_with_its_settings_as_text() {
        let settings = serde_json::json!({"selfRegister": true, "daprPortMetaKey": "P", "none": null,
            "client": {"address": "h:1"}});
        let definition = definition(Some(&chosen("Consul", settings))).unwrap();
        let resource = &definition.resource;
        assert_eq!(
            (resource.component_type.as_str(), resource.ignore_errors),
            ("nameresolution.consul", true)
        );
        let value = |name: &str| {
            let item = resource.metadata.iter().find(|item| item.name == name);
            item.and_then(|item| item.value.as_deref())
        };
        assert_eq!(value("selfRegister"), Some("true"));
        assert_eq!(value("daprPortMetaKey"), Some("P"));
        assert_eq!(value("client"), Some(r#"{"address":"h:1"}"#));
        assert_eq!(value("none"), None);
        assert_eq!(log_name(&definition), "nr (consul/v1)");
    }

    #[test]
    fn what_is_built_in_takes_no_plugin() {
        for component in ["", "mdns", "mDNS", "static"] {
            assert!(definition(Some(&chosen(component, Value::Null))).is_none(), "{component}");
        }
        assert!(definition(None).is_none());
    }
}
