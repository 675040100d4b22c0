//! A plugin loaded into this process by the product's own host.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mecha_plugin_api::host::{FinishedSpan, LogEvent};
use mecha_plugin_api::state::StateStoreObject;
use mecha_plugin_api::{ComponentSpec, Metadata};
use mecha_plugin_host::{
    CapabilityObject, Change, Generation, HostConfig, PluginHost, PluginIdentity, PluginSink,
};
use mecha_testkit::plugin_library;
use tempfile::TempDir;

const RETIRE_WITHIN: Duration = Duration::from_secs(5);

/// A plugins directory with one file, the host that looks at it, and what the file holds now.
pub(super) struct LoadedPlugin {
    _dir: TempDir,
    file: PathBuf,
    host: PluginHost,
    generation: Arc<Generation>,
}

impl LoadedPlugin {
    /// Loads the built plugin of a backend.
    pub(super) fn load(backend: &str) -> Result<Self> {
        let source = plugin_library(backend)?;
        let dir = tempfile::tempdir()?;
        let file = dir.path().join(source.file_name().context("a library has a file name")?);
        fs::copy(&source, &file)?;
        let config = HostConfig { directories: vec![dir.path().to_owned()], settle: Duration::ZERO };
        let mut host = PluginHost::new(config, Arc::new(Silent))?;
        let generation = scan(&mut host)?;
        Ok(Self { _dir: dir, file, host, generation })
    }

    /// Puts another version of the file in its place; it is not looked at yet.
    pub(super) fn put(&self, content: &[u8]) -> Result<()> {
        Ok(fs::rename(unfinished(&self.file, content)?, &self.file)?)
    }

    /// Looks at the changed file: copied, checked, mapped, started. Gives the generation before it.
    pub(super) fn scan(&mut self) -> Result<Arc<Generation>> {
        let new = scan(&mut self.host)?;
        Ok(std::mem::replace(&mut self.generation, new))
    }

    /// Opens a state store on the current generation.
    pub(super) async fn open(&self, component_type: &str) -> Result<StateStoreObject> {
        Ok(self.generation.open(ComponentSpec::new(super::STORE, component_type, Metadata::new())).await?)
    }

    /// Opens a component with metadata on the current generation.
    pub(super) async fn open_with<C: CapabilityObject>(
        &self,
        component_type: &str,
        metadata: &[(&str, &str)],
    ) -> Result<C> {
        let metadata: Metadata = metadata.iter().copied().collect();
        Ok(self.generation.open(ComponentSpec::new(super::STORE, component_type, metadata)).await?)
    }

    /// Ends the current generation.
    pub(super) async fn retire(&self) {
        retire(&self.generation).await;
    }
}

/// Ends a generation whose components are gone.
pub(super) async fn retire(generation: &Generation) {
    generation.retire(RETIRE_WITHIN).await;
}

/// Writes a file beside `file`, complete, to be renamed over it.
pub(super) fn unfinished(file: &Path, content: &[u8]) -> Result<PathBuf> {
    let unfinished = file.with_file_name(".unfinished");
    fs::write(&unfinished, content)?;
    Ok(unfinished)
}

/// The same library with other bytes behind its end: another version to the host, the same code to the linker.
pub(super) fn version(library: &[u8], number: usize) -> Vec<u8> {
    [library, &number.to_le_bytes()].concat()
}

fn scan(host: &mut PluginHost) -> Result<Arc<Generation>> {
    match host.scan().0.pop() {
        Some(Change::Loaded { generation, .. }) => Ok(generation),
        Some(Change::Refused { path, reason, .. }) => bail!("{} is refused: {reason}", path.display()),
        Some(Change::Removed { .. }) | None => bail!("the plugin file was not seen as changed"),
    }
}

/// Nobody listens to the plugin's spans and log lines.
struct Silent;

impl PluginSink for Silent {
    fn span(&self, _plugin: &PluginIdentity, _span: FinishedSpan) {}
    fn log(&self, _plugin: &PluginIdentity, _event: LogEvent) {}
}
