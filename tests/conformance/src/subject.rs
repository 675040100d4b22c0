//! The component under test: how it is opened, and names that no other check uses.

use std::sync::atomic::{AtomicU64, Ordering};

use mecha_plugin_api::{CallContext, ComponentSpec, ErrorKind};
use mecha_plugin_host::CapabilityObject;

use crate::because;
use crate::plugin::Plugin;
use crate::row::Row;

/// A plugin with a row.
pub(crate) struct Subject<'a> {
    pub(crate) plugin: &'a Plugin,
    pub(crate) row: &'a Row,
}

impl Subject<'_> {
    /// Opens the component.
    pub(crate) async fn open<C: CapabilityObject>(&self) -> Result<C, String> {
        self.open_with(&[]).await
    }

    /// Opens the component with more metadata.
    pub(crate) async fn open_with<C: CapabilityObject>(&self, more: &[(&str, &str)]) -> Result<C, String> {
        self.plugin.generation().open(self.spec(more)).await.map_err(because)
    }

    /// Whether the component says that it does not serve as this.
    pub(crate) async fn declines<C: CapabilityObject>(&self) -> bool {
        let opened = self.plugin.generation().open::<C>(self.spec(&[])).await;
        opened.is_err_and(|error| error.kind() == ErrorKind::UNSUPPORTED)
    }

    fn spec(&self, more: &[(&str, &str)]) -> ComponentSpec {
        let mut metadata = self.row.metadata.clone();
        more.iter().for_each(|(key, value)| metadata.insert(*key, *value));
        let mut spec = ComponentSpec::new("check", &self.row.type_name, metadata);
        spec.version = self.row.version.as_str().into();
        spec
    }
}

/// A name that nothing else has, in this run or another one.
pub(crate) fn unique(what: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_micros();
    format!("mecha-{what}-{since}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Who calls.
pub(crate) fn context() -> CallContext {
    CallContext::background("mecha-check")
}
