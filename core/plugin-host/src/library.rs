//! A mapped library. Never unmapped: strings, buffers, futures and wakers it made point into it.

use std::path::Path;

use abi_stable::StableAbi;
use abi_stable::library::{AbiHeaderRef, LibHeader, ROOT_MODULE_LOADER_NAME_WITH_NUL};
use libloading::os::unix::{Library as Mapping, RTLD_LOCAL, RTLD_NOW};
use mecha_plugin_api::PluginDescription;
use mecha_plugin_api::module::{BuildInfo, PluginModuleRef};

use crate::{Refusal, layout};

/// A library that passed the layout check, with what it says of itself.
#[derive(Clone)]
pub(crate) struct Library {
    pub(crate) module: PluginModuleRef,
    pub(crate) build: BuildInfo,
    pub(crate) description: PluginDescription,
}

impl Library {
    /// Maps the private copy at `path` and checks it. Blocks for some milliseconds.
    pub(crate) fn load(path: &Path) -> Result<Self, Refusal> {
        let header = map(path)?;
        // Refused here because abi_stable's own check lets a library without a layout pass.
        let layout = header.layout().ok_or_else(|| Refusal::Incompatible("it carries no layout".into()))?;
        layout::check(<PluginModuleRef as StableAbi>::LAYOUT, layout).map_err(Refusal::Incompatible)?;
        // SAFETY: both sides' layouts of the module were compared just above.
        let module = unsafe { header.init_root_module_with_unchecked_layout::<PluginModuleRef>() }
            .map_err(|error| Refusal::Incompatible(first_line(&error.to_string())))?;
        let build = module.build()();
        if build.panic_aborts {
            return Err(Refusal::PanicAborts);
        }
        let described = module.describe()().into_result();
        let description = described.map_err(|error| Refusal::Start(error.to_string()))?;
        Ok(Self { module, build, description })
    }
}

fn map(path: &Path) -> Result<&'static LibHeader, Refusal> {
    let linker = |error: libloading::Error| Refusal::Linker(first_line(&error.to_string()));
    // SAFETY: the constructors of a library run here. The file is whole, is for this machine and exports a plugin
    // declaration; beyond that a plugin is trusted code (an untrusted one runs in a child process).
    let mapping = unsafe { Mapping::open(Some(path), RTLD_NOW | RTLD_LOCAL) }.map_err(linker)?;
    // SAFETY: the symbol's name belongs to abi_stable and always names a `LibHeader`, whose first part is the header that
    // `upgrade` checks before anything else is read.
    let header: AbiHeaderRef = unsafe {
        *mapping
            .get::<AbiHeaderRef>(ROOT_MODULE_LOADER_NAME_WITH_NUL.as_bytes())
            .map_err(|_| Refusal::NoExport)?
    };
    // Keeps the mapping for ever: dlclose is not safe for a Rust library.
    let _ = mapping.into_raw();
    header.upgrade().map_err(|error| Refusal::Incompatible(first_line(&error.to_string())))
}

fn first_line(text: &str) -> String {
    text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned()
}
