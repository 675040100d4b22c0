//! What a plugin may call back: its spans and log lines, labelled with who it is, on their way to the host's telemetry.

use std::sync::Arc;

use mecha_plugin_api::host::{FinishedSpan, HostServices, LogEvent};

/// Which plugin, and which generation of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginIdentity {
    /// The plugin's name.
    pub name: String,
    /// The plugin's version.
    pub version: String,
    /// The file's name in the plugins directory.
    pub file: String,
    /// SHA-256 of the file, in hex.
    pub sha256: String,
    /// Number of the generation, unique in the process's host.
    pub generation: u64,
}

/// Takes what plugins report. Must not block.
pub trait PluginSink: Send + Sync + 'static {
    /// A span has ended.
    fn span(&self, plugin: &PluginIdentity, span: FinishedSpan);
    /// A log line.
    fn log(&self, plugin: &PluginIdentity, event: LogEvent);
}

pub(crate) struct Services {
    pub(crate) identity: Arc<PluginIdentity>,
    pub(crate) sink: Arc<dyn PluginSink>,
}

impl HostServices for Services {
    fn span(&self, span: FinishedSpan) {
        self.sink.span(&self.identity, span);
    }

    fn log(&self, event: LogEvent) {
        self.sink.log(&self.identity, event);
    }
}
