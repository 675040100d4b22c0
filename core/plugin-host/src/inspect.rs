//! Looks at one plugin file for its author or operator: every check, then every component type opened once.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mecha_plugin_api::binding::{InputBindingObject, OutputBindingObject};
use mecha_plugin_api::configuration::ConfigurationStoreObject;
use mecha_plugin_api::conversation::ConversationObject;
use mecha_plugin_api::crypto::CryptoObject;
use mecha_plugin_api::host::{FinishedSpan, LogEvent};
use mecha_plugin_api::lock::LockStoreObject;
use mecha_plugin_api::middleware::MiddlewareObject;
use mecha_plugin_api::name_resolution::NameResolutionObject;
use mecha_plugin_api::object::ObjectStoreObject;
use mecha_plugin_api::pubsub::PubSubObject;
use mecha_plugin_api::secret::SecretStoreObject;
use mecha_plugin_api::state::StateStoreObject;
use mecha_plugin_api::{CallContext, Capability, ComponentSpec, ComponentType, Error, ErrorKind, Metadata};

use crate::image::Image;
use crate::library::Library;
use crate::{CapabilityObject, Generation, PluginIdentity, PluginSink, Refusal};

/// What a plugin file is.
pub struct PluginReport {
    /// Who it is.
    pub identity: PluginIdentity,
    /// Version of the plugin API that it was built with.
    pub api_version: String,
    /// Each component type, and how opening it went.
    pub components: Vec<OpenReport>,
}

/// How opening one component type went.
pub struct OpenReport {
    /// The type.
    pub component: ComponentType,
    /// Opening it with the metadata given, and then asking its back end.
    pub outcome: Result<(), Error>,
}

/// Checks a file exactly as the running process would, starts it and opens each of its component types with `metadata`.
///
/// # Errors
/// The [`Refusal`] that the running process would log.
pub async fn inspect(path: &Path, metadata: &Metadata) -> Result<PluginReport, Refusal> {
    let (library, identity, _copies) = load_for_inspection(path)?;
    let generation = Generation::start(&library, identity.clone(), path.to_owned(), 0, Arc::new(Silent))?;
    let mut components = Vec::new();
    for component in &library.description.components {
        let outcome = probe(&generation, component, metadata).await;
        components.push(OpenReport { component: component.clone(), outcome });
    }
    generation.retire(Duration::from_secs(1)).await;
    Ok(PluginReport { identity, api_version: library.build.api_version.to_string(), components })
}

/// Loads a file as the running process would; the copy lives as long as the folder that is returned.
pub(crate) fn load_for_inspection(
    path: &Path,
) -> Result<(Library, PluginIdentity, tempfile::TempDir), Refusal> {
    let copies = tempfile::Builder::new().prefix("mecha-inspect-").tempdir();
    let copies = copies.map_err(|error| Refusal::Copy(std::env::temp_dir(), error.to_string()))?;
    let image = Image::read(path)?;
    let library = Library::load(&image.copy_into(copies.path())?)?;
    let identity = identity_of(&library, &image, path, 1);
    Ok((library, identity, copies))
}

/// Who a loaded file is.
pub(crate) fn identity_of(library: &Library, image: &Image, path: &Path, generation: u64) -> PluginIdentity {
    PluginIdentity {
        name: library.description.name.to_string(),
        version: library.description.version.to_string(),
        file: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        sha256: image.sha256().to_owned(),
        generation,
    }
}

async fn probe(generation: &Generation, component: &ComponentType, metadata: &Metadata) -> Result<(), Error> {
    let mut spec = ComponentSpec::new("inspect", &component.type_name, metadata.clone());
    spec.version = component.version.clone();
    match component.capability {
        Capability::STATE_STORE => open_and_ping::<StateStoreObject>(generation, spec).await,
        Capability::SECRET_STORE => open_and_ping::<SecretStoreObject>(generation, spec).await,
        Capability::OUTPUT_BINDING => open_and_ping::<OutputBindingObject>(generation, spec).await,
        Capability::INPUT_BINDING => match open_and_ping::<InputBindingObject>(generation, spec).await {
            // It names nothing to read, and is an output only.
            Err(error) if error.kind() == ErrorKind::UNSUPPORTED => Ok(()),
            other => other,
        },
        Capability::PUBSUB => open_and_ping::<PubSubObject>(generation, spec).await,
        Capability::CONFIGURATION_STORE => open_and_ping::<ConfigurationStoreObject>(generation, spec).await,
        Capability::LOCK_STORE => open_and_ping::<LockStoreObject>(generation, spec).await,
        Capability::CRYPTO => open_and_ping::<CryptoObject>(generation, spec).await,
        Capability::CONVERSATION => open_and_ping::<ConversationObject>(generation, spec).await,
        Capability::OBJECT_STORE => open_and_ping::<ObjectStoreObject>(generation, spec).await,
        Capability::NAME_RESOLUTION => open_and_ping::<NameResolutionObject>(generation, spec).await,
        Capability::MIDDLEWARE => open_and_ping::<MiddlewareObject>(generation, spec).await,
        other => Err(Error::unsupported(format!("this host knows no capability {}", other.0))),
    }
}

async fn open_and_ping<C: CapabilityObject>(
    generation: &Generation,
    spec: ComponentSpec,
) -> Result<(), Error> {
    let component: C = generation.open(spec).await?;
    component.ping(CallContext::background("inspect")).await.into_result()
}

pub(crate) struct Silent;

impl PluginSink for Silent {
    fn span(&self, _plugin: &PluginIdentity, _span: FinishedSpan) {}
    fn log(&self, _plugin: &PluginIdentity, _event: LogEvent) {}
}
