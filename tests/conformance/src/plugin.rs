//! A plugin file, loaded and replaced as the running process does it.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mecha_plugin_api::Capability;
use mecha_plugin_api::host::{FinishedSpan, LogEvent};
use mecha_plugin_host::{Change, Generation, HostConfig, PluginHost, PluginIdentity, PluginSink};
use tempfile::TempDir;

use crate::Error;

/// How long a generation that was replaced may take to end.
const RETIRE: Duration = Duration::from_secs(5);
/// Name of the file in the folder that the host looks at.
const FILE: &str = "libmecha_plugin_checked.so";

/// A loaded plugin.
pub(crate) struct Plugin {
    folder: TempDir,
    host: PluginHost,
    generation: Arc<Generation>,
}

impl Plugin {
    /// Copies the file into a folder of its own and has the host take it up from there.
    pub(crate) fn load(library: &Path) -> Result<Self, Error> {
        let folder = tempfile::Builder::new().prefix("mecha-conformance-").tempdir()?;
        fs::copy(library, folder.path().join(FILE))?;
        let config = HostConfig { directories: vec![folder.path().to_owned()], settle: Duration::ZERO };
        let mut host = PluginHost::new(config, Arc::new(Printing))?;
        let generation = loaded(&mut host)?;
        Ok(Self { folder, host, generation })
    }

    /// The capabilities for which a component type is offered.
    pub(crate) fn capabilities(&self, type_name: &str, version: &str) -> Result<Vec<Capability>, Error> {
        let offered = &self.generation.description().components;
        let found: Vec<_> = offered
            .iter()
            .filter(|component| component.type_name == type_name && component.version == version)
            .map(|component| component.capability)
            .collect();
        if found.is_empty() {
            let names =
                offered.iter().map(|component| format!("{}/{}", component.type_name, component.version));
            let offered = names.collect::<Vec<_>>().join(", ");
            return Err(Error::Type { wanted: format!("{type_name}/{version}"), offered });
        }
        Ok(found)
    }

    /// The newest generation.
    pub(crate) fn generation(&self) -> &Arc<Generation> {
        &self.generation
    }

    /// Puts another version of the file in place and gives the generation that it replaces.
    pub(crate) fn replace(&mut self) -> Result<Arc<Generation>, Error> {
        let (file, unfinished) = (self.folder.path().join(FILE), self.folder.path().join("unfinished"));
        let mut library = fs::read(&file)?;
        // Behind the last section: the same code, but not the same file.
        library.extend([0; 16]);
        fs::write(&unfinished, library)?;
        fs::rename(unfinished, file)?;
        let newer = loaded(&mut self.host)?;
        Ok(std::mem::replace(&mut self.generation, newer))
    }

    /// Ends the newest generation.
    pub(crate) async fn retire(self) {
        retire(&self.generation).await;
    }
}

/// Ends a generation after its last call.
pub(crate) async fn retire(generation: &Generation) {
    generation.retire(RETIRE).await;
}

/// The file counts as written at once, so one look finds it.
fn loaded(host: &mut PluginHost) -> Result<Arc<Generation>, Error> {
    match host.scan().0.pop() {
        Some(Change::Loaded { generation, .. }) => Ok(generation),
        Some(Change::Refused { reason, .. }) => Err(Error::Refused(reason)),
        Some(Change::Removed { .. }) | None => Err(Error::NotLoaded),
    }
}

/// What the plugin says stands with the checks that it is about.
struct Printing;

impl PluginSink for Printing {
    fn span(&self, _plugin: &PluginIdentity, _span: FinishedSpan) {}

    fn log(&self, plugin: &PluginIdentity, event: LogEvent) {
        eprintln!("{}: {}", plugin.name, event.message);
    }
}
