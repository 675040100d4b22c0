//! The library's one exported symbol: what the host finds, checks and starts.

use std::sync::Arc;
use std::time::Duration;

use abi_stable::library::RootModule;
use abi_stable::package_version_strings;
use abi_stable::prefix_type::PrefixTypeTrait;
use abi_stable::sabi_trait;
use abi_stable::sabi_types::VersionStrings;
use abi_stable::std_types::{RBox, RResult, RString};
use abi_stable::{StableAbi, declare_root_module_statics};

use crate::binding::{InputBindingObject, OutputBindingObject};
use crate::component::{ComponentSpec, PluginDescription};
use crate::configuration::ConfigurationStoreObject;
use crate::conversation::{self, ConversationObject};
use crate::crypto::{self, CryptoObject};
use crate::host::{HostObject, LogLevel};
use crate::instance::{AbiFuture, AbiResult, ComponentScope, Instance, catch, quiet_panics};
use crate::lock::LockStoreObject;
use crate::middleware::{self, MiddlewareObject};
use crate::name_resolution::{self, NameResolutionObject};
use crate::object::{self, ObjectStoreObject};
use crate::plugin::{Openers, Plugin};
use crate::pubsub::PubSubObject;
use crate::secret::SecretStoreObject;
use crate::state::StateStoreObject;
use crate::telemetry;

/// The name of the exported symbol, without its closing NUL.
pub const ROOT_SYMBOL: &str = abi_stable::library::ROOT_MODULE_LOADER_NAME;

/// How the library was built; read before any of its other code runs.
#[repr(C)]
#[derive(StableAbi, Clone, Debug, PartialEq)]
pub struct BuildInfo {
    /// Version of `mecha-plugin-api` that the library was built with.
    pub api_version: RString,
    /// Whether a panic aborts the process; such a library runs only in a child process.
    pub panic_aborts: bool,
}

/// The root module.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = PluginModuleRef)))]
#[sabi(missing_field(option))]
pub struct PluginModule {
    /// How the library was built.
    pub build: extern "C" fn() -> BuildInfo,
    /// What the plugin offers.
    pub describe: extern "C" fn() -> AbiResult<PluginDescription>,
    /// Starts an instance: a runtime thread of its own, with the host's services.
    #[sabi(last_prefix_field)]
    pub start: extern "C" fn(host: HostObject) -> AbiResult<PluginObject>,
    /// Sets the level from which log events are forwarded; may be called at any time.
    #[cfg(not(feature = "trim-newest"))]
    pub set_max_level: extern "C" fn(level: LogLevel),
}

impl RootModule for PluginModuleRef {
    const BASE_NAME: &'static str = "mecha_plugin";
    const NAME: &'static str = "mecha_plugin";
    const VERSION_STRINGS: VersionStrings = package_version_strings!();
    declare_root_module_statics! {PluginModuleRef}
}

/// A running instance at the boundary: opens components until it is shut down.
#[sabi_trait]
pub trait PluginAbi: Send + Sync {
    /// Opens a state store.
    fn open_state_store(&self, spec: ComponentSpec) -> AbiFuture<StateStoreObject>;
    /// Opens a secret store.
    fn open_secret_store(&self, spec: ComponentSpec) -> AbiFuture<SecretStoreObject>;
    /// Opens an output binding.
    fn open_output_binding(&self, spec: ComponentSpec) -> AbiFuture<OutputBindingObject>;
    /// Opens an input binding.
    fn open_input_binding(&self, spec: ComponentSpec) -> AbiFuture<InputBindingObject>;
    /// Opens a broker.
    fn open_pubsub(&self, spec: ComponentSpec) -> AbiFuture<PubSubObject>;
    /// Opens a configuration store.
    fn open_configuration_store(&self, spec: ComponentSpec) -> AbiFuture<ConfigurationStoreObject>;
    /// Opens a lock store.
    fn open_lock_store(&self, spec: ComponentSpec) -> AbiFuture<LockStoreObject>;
    /// Ends the runtime thread; blocks for at most `timeout_ns`. Components must have been dropped before.
    #[sabi(last_prefix_field)]
    fn shutdown(&self, timeout_ns: u64);
    /// Opens a holder of keys.
    fn open_crypto(&self, spec: ComponentSpec) -> AbiFuture<CryptoObject> {
        crypto::unknown(&spec.type_name)
    }
    /// Opens an object store.
    fn open_object_store(&self, spec: ComponentSpec) -> AbiFuture<ObjectStoreObject> {
        object::unknown(&spec.type_name)
    }
    /// Opens a model.
    fn open_conversation(&self, spec: ComponentSpec) -> AbiFuture<ConversationObject> {
        conversation::unknown(&spec.type_name)
    }
    /// Opens a way of finding runtimes.
    fn open_name_resolution(&self, spec: ComponentSpec) -> AbiFuture<NameResolutionObject> {
        name_resolution::unknown(&spec.type_name)
    }
    /// Opens a middleware.
    fn open_middleware(&self, spec: ComponentSpec) -> AbiFuture<MiddlewareObject> {
        middleware::unknown(&spec.type_name)
    }
}

/// A running instance as it crosses the boundary.
pub type PluginObject = PluginAbi_TO<'static, RBox<()>>;

struct Running {
    plugin: Plugin,
    instance: Arc<Instance>,
}

impl Running {
    fn open<T: Send + 'static>(&self, openers: &Openers<T>, spec: ComponentSpec) -> AbiFuture<T> {
        let component = spec.name.clone();
        let scope =
            Arc::new(ComponentScope { instance: self.instance.clone(), component: component.clone() });
        let opening = match catch(|| openers.open(spec, scope)).and_then(|opened| opened) {
            Ok(opening) => opening,
            Err(error) => Box::pin(std::future::ready(Err(error))),
        };
        self.instance.spawn(component, opening)
    }
}

impl PluginAbi for Running {
    fn open_state_store(&self, spec: ComponentSpec) -> AbiFuture<StateStoreObject> {
        self.open(&self.plugin.state_stores, spec)
    }

    fn open_secret_store(&self, spec: ComponentSpec) -> AbiFuture<SecretStoreObject> {
        self.open(&self.plugin.secret_stores, spec)
    }

    fn open_output_binding(&self, spec: ComponentSpec) -> AbiFuture<OutputBindingObject> {
        self.open(&self.plugin.output_bindings, spec)
    }

    fn open_input_binding(&self, spec: ComponentSpec) -> AbiFuture<InputBindingObject> {
        self.open(&self.plugin.input_bindings, spec)
    }

    fn open_pubsub(&self, spec: ComponentSpec) -> AbiFuture<PubSubObject> {
        self.open(&self.plugin.pubsubs, spec)
    }

    fn open_configuration_store(&self, spec: ComponentSpec) -> AbiFuture<ConfigurationStoreObject> {
        self.open(&self.plugin.configuration_stores, spec)
    }

    fn open_lock_store(&self, spec: ComponentSpec) -> AbiFuture<LockStoreObject> {
        self.open(&self.plugin.lock_stores, spec)
    }

    fn shutdown(&self, timeout_ns: u64) {
        self.instance.shutdown(Duration::from_nanos(timeout_ns));
    }

    fn open_crypto(&self, spec: ComponentSpec) -> AbiFuture<CryptoObject> {
        self.open(&self.plugin.cryptos, spec)
    }

    fn open_object_store(&self, spec: ComponentSpec) -> AbiFuture<ObjectStoreObject> {
        self.open(&self.plugin.object_stores, spec)
    }

    fn open_conversation(&self, spec: ComponentSpec) -> AbiFuture<ConversationObject> {
        self.open(&self.plugin.conversations, spec)
    }

    fn open_name_resolution(&self, spec: ComponentSpec) -> AbiFuture<NameResolutionObject> {
        self.open(&self.plugin.name_resolutions, spec)
    }

    fn open_middleware(&self, spec: ComponentSpec) -> AbiFuture<MiddlewareObject> {
        self.open(&self.plugin.middlewares, spec)
    }
}

extern "C" fn build() -> BuildInfo {
    BuildInfo { api_version: env!("CARGO_PKG_VERSION").into(), panic_aborts: cfg!(panic = "abort") }
}

#[cfg(not(feature = "trim-newest"))]
extern "C" fn set_max_level(level: LogLevel) {
    telemetry::set_max_level(level);
}

/// Calls the author's declaration; used by [`crate::export!`].
#[doc(hidden)]
pub fn describe(declare: fn() -> Plugin) -> AbiResult<PluginDescription> {
    catch(|| declare().describe()).into()
}

/// Starts an instance; used by [`crate::export!`].
#[doc(hidden)]
pub fn start(declare: fn() -> Plugin, host: HostObject) -> AbiResult<PluginObject> {
    let started = catch(|| {
        telemetry::install();
        quiet_panics();
        start_within(declare(), host)
    });
    match started.and_then(|result| result) {
        Ok(plugin) => RResult::ROk(plugin),
        Err(error) => RResult::RErr(error),
    }
}

/// Starts an instance whose code is the host's own, as for components that run elsewhere and are only called from here. Its
/// spans and log lines go where the host's go, without crossing a boundary.
///
/// # Errors
/// [`crate::ErrorKind::INTERNAL`] when its thread cannot be started.
pub fn start_within(plugin: Plugin, host: HostObject) -> crate::Result<PluginObject> {
    let instance = Instance::start(&plugin.describe().name, host)?;
    Ok(PluginAbi_TO::from_value(Running { plugin, instance }, sabi_trait::TD_Opaque))
}

/// Makes the root module; used by [`crate::export!`].
#[doc(hidden)]
pub fn module(
    describe: extern "C" fn() -> AbiResult<PluginDescription>,
    start: extern "C" fn(HostObject) -> AbiResult<PluginObject>,
) -> PluginModuleRef {
    PluginModule {
        build,
        describe,
        start,
        #[cfg(not(feature = "trim-newest"))]
        set_max_level,
    }
    .leak_into_prefix()
}

/// Exports a plugin from its library. The argument is a function from nothing to [`crate::Plugin`].
///
/// ```ignore
/// mecha_plugin_api::export!(plugin);
///
/// fn plugin() -> Plugin {
///     Plugin::new("redis", env!("CARGO_PKG_VERSION")).state_store("state.redis", RedisState::open)
/// }
/// ```
#[macro_export]
macro_rules! export {
    ($declare:path) => {
        const _: () = {
            use $crate::__private as boundary;

            extern "C" fn describe() -> boundary::AbiResult<boundary::PluginDescription> {
                boundary::describe($declare)
            }

            extern "C" fn start(host: boundary::HostObject) -> boundary::AbiResult<boundary::PluginObject> {
                boundary::start($declare, host)
            }

            fn module() -> boundary::PluginModuleRef {
                boundary::module(describe, start)
            }

            extern "C" fn load() -> boundary::RootModuleResult {
                boundary::load(module)
            }

            // The name is abi_stable's; `ROOT_SYMBOL` holds it and a test compares the two.
            #[unsafe(export_name = "_1as_0lib_1header_0root_bmodule_bloader")]
            static HEADER: boundary::LibHeader = boundary::header(load);
        };
    };
}

/// The header static of a library; used by [`crate::export!`].
#[doc(hidden)]
pub const fn header(
    load: extern "C" fn() -> abi_stable::library::RootModuleResult,
) -> abi_stable::library::LibHeader {
    // SAFETY: `export!` passes a function that erases a `PluginModuleRef`, through `load` of this module.
    unsafe {
        abi_stable::library::LibHeader::from_constructor::<PluginModuleRef>(
            load,
            abi_stable::library::CheckTypeLayout::Yes,
        )
    }
}

/// Runs the module's constructor with panics caught; used by [`crate::export!`].
#[doc(hidden)]
pub fn load(module: fn() -> PluginModuleRef) -> abi_stable::library::RootModuleResult {
    abi_stable::library::__call_root_module_loader(module)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exported_name_is_the_one_that_hosts_look_up() {
        assert_eq!(ROOT_SYMBOL, "_1as_0lib_1header_0root_bmodule_bloader");
    }
}
