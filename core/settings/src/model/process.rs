//! The process: its threads, its mode, its end.

use std::{num::NonZeroUsize, time::Duration};

use serde::{Deserialize, Serialize};

use super::Mode;
use crate::text;

/// The end of the process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Shutdown {
    /// How long calls in flight may take to finish; seconds. Default: 5.
    pub graceful_seconds: u64,
    /// How long the end is held back after a signal, unless the application turns unhealthy first. Default: none.
    #[serde(with = "text::optional_duration")]
    pub block_duration: Option<Duration>,
}

/// The process itself.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Runtime {
    /// Threads that serve calls. Default: none, which means one per core.
    pub worker_threads: Option<NonZeroUsize>,
    /// Where the process runs: standalone, kubernetes. Default: standalone.
    pub mode: Mode,
}

impl Shutdown {
    /// [`Shutdown::graceful_seconds`] as a duration.
    #[must_use]
    pub fn graceful(&self) -> Duration {
        Duration::from_secs(self.graceful_seconds)
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { graceful_seconds: 5, block_duration: None }
    }
}
