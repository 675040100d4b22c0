//! One loaded version of a plugin: opens components until it is retired.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering as Memory};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use mecha_plugin_api::host::{HostServices_TO, LogLevel};
use mecha_plugin_api::module::{BuildInfo, PluginModuleRef, PluginObject, start_within};
use mecha_plugin_api::{Capability, ComponentSpec, Error, Plugin, PluginDescription};

use crate::library::Library;
use crate::services::Services;
use crate::{CapabilityObject, PluginIdentity, PluginSink, Refusal};

/// Where a generation stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum GenerationState {
    /// Started; opens components.
    Active,
    /// Replaced or removed; finishes what it has in flight.
    Draining,
    /// Its runtime has ended.
    Retired,
}

impl GenerationState {
    /// The name in logs, metrics and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Draining => "draining",
            Self::Retired => "retired",
        }
    }
}

/// One loaded version of a plugin.
pub struct Generation {
    identity: Arc<PluginIdentity>,
    path: PathBuf,
    /// Which directory of the list it came from; earlier ones win.
    directory: usize,
    /// What the library exports; none where the host's own code calls something that runs elsewhere.
    module: Option<PluginModuleRef>,
    build: BuildInfo,
    description: PluginDescription,
    instance: ArcSwapOption<PluginObject>,
    state: AtomicU8,
    loaded_at: SystemTime,
}

impl Generation {
    pub(crate) fn start(
        library: &Library,
        identity: PluginIdentity,
        path: PathBuf,
        directory: usize,
        sink: Arc<dyn PluginSink>,
    ) -> Result<Arc<Self>, Refusal> {
        let identity = Arc::new(identity);
        let services = Services { identity: identity.clone(), sink };
        let host = HostServices_TO::from_value(services, abi_stable::sabi_trait::TD_Opaque);
        let started = library.module.start()(host).into_result();
        let instance = started.map_err(|error| Refusal::Start(error.to_string()))?;
        Ok(Arc::new(Self {
            identity,
            path,
            directory,
            module: Some(library.module),
            build: library.build.clone(),
            description: library.description.clone(),
            instance: ArcSwapOption::from_pointee(instance),
            state: AtomicU8::new(GenerationState::Active as u8),
            loaded_at: SystemTime::now(),
        }))
    }

    /// A generation whose components run elsewhere, behind what lies at `path`; the host's own code calls them, as `plugin`
    /// says. The files of every plugin directory come before it.
    ///
    /// # Errors
    /// [`Refusal::Start`] when its thread cannot be started.
    pub fn elsewhere(
        plugin: Plugin,
        identity: PluginIdentity,
        path: PathBuf,
        sink: Arc<dyn PluginSink>,
    ) -> Result<Arc<Self>, Refusal> {
        let identity = Arc::new(identity);
        let description = plugin.describe();
        let services = Services { identity: identity.clone(), sink };
        let host = HostServices_TO::from_value(services, abi_stable::sabi_trait::TD_Opaque);
        let instance = start_within(plugin, host).map_err(|error| Refusal::Start(error.to_string()))?;
        Ok(Arc::new(Self {
            identity,
            path,
            directory: usize::MAX,
            module: None,
            build: BuildInfo { api_version: description.version.clone(), panic_aborts: false },
            description,
            instance: ArcSwapOption::from_pointee(instance),
            state: AtomicU8::new(GenerationState::Active as u8),
            loaded_at: SystemTime::now(),
        }))
    }

    /// Opens a component; the work runs on the plugin's own thread.
    ///
    /// # Errors
    /// The plugin's own error, or [`mecha_plugin_api::ErrorKind::UNAVAILABLE`] when the generation is retired.
    pub async fn open<C: CapabilityObject>(&self, spec: ComponentSpec) -> Result<C, Error> {
        let opening = match self.instance.load_full() {
            Some(instance) => C::open(&instance, spec),
            None => return Err(Error::unavailable("the plugin is retired")),
        };
        opening.await.into_result()
    }

    /// Ends the plugin's runtime, waiting at most `timeout` for its background tasks. Its components must be gone.
    pub async fn retire(&self, timeout: Duration) {
        if let Some(instance) = self.instance.swap(None) {
            let nanoseconds = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
            // Joining the plugin's thread blocks; a failure of the blocking task can only be the process ending.
            let _ = tokio::task::spawn_blocking(move || instance.shutdown(nanoseconds)).await;
        }
        self.set_state(GenerationState::Retired);
    }

    /// Says that the generation takes no new components.
    pub fn start_draining(&self) {
        self.set_state(GenerationState::Draining);
    }

    fn set_state(&self, state: GenerationState) {
        self.state.store(state as u8, Memory::Release);
    }

    /// Where it stands.
    pub fn state(&self) -> GenerationState {
        match self.state.load(Memory::Acquire) {
            0 => GenerationState::Active,
            1 => GenerationState::Draining,
            _ => GenerationState::Retired,
        }
    }

    /// Raises or lowers the level from which the plugin's log events are forwarded. An older plugin keeps its level.
    pub fn set_max_level(&self, level: LogLevel) {
        if let Some(set_max_level) = self.module.and_then(|module| module.set_max_level()) {
            set_max_level(level);
        }
    }

    /// Whether it offers the component type.
    pub fn offers(&self, capability: Capability, type_name: &str, version: &str) -> bool {
        self.description.components.iter().any(|offered| {
            offered.capability == capability && offered.type_name == type_name && offered.version == version
        })
    }

    /// Who it is.
    pub fn identity(&self) -> &Arc<PluginIdentity> {
        &self.identity
    }

    /// Its number.
    pub fn id(&self) -> u64 {
        self.identity.generation
    }

    /// The user's file that it was copied from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it offers.
    pub fn description(&self) -> &PluginDescription {
        &self.description
    }

    /// How it was built.
    pub fn build(&self) -> &BuildInfo {
        &self.build
    }

    /// When it was loaded.
    pub fn loaded_at(&self) -> SystemTime {
        self.loaded_at
    }

    /// Which of two plugins that offer the same type serves it: the earlier directory, then the earlier file name.
    pub fn precedence(&self, other: &Self) -> Ordering {
        (self.directory, &self.identity.file).cmp(&(other.directory, &other.identity.file))
    }
}
