//! The application that is served, and how it is reached.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::AppProtocol;
use crate::text;

/// The application that is served.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct App {
    /// Its id: its name for other applications, and the prefix of its state keys. Required to run. Default: none.
    pub id: Option<String>,
    /// The port it listens on; without one it is only a caller. Default: none.
    pub port: Option<u16>,
    /// How it is spoken to: http, https, h2c, grpc, grpcs. Default: http.
    pub protocol: AppProtocol,
    /// The host it listens on. Default: 127.0.0.1.
    pub channel_address: String,
    /// Calls to it at a time; -1 for no limit. Default: -1.
    pub max_concurrency: i32,
    /// Start-up questions it is not asked: `config`, `subscribe`. Default: none of them.
    pub disabled_init_endpoints: Vec<String>,
    /// How long it may take to say whether it wants an input binding's events. Default: 3s.
    #[serde(with = "text::duration")]
    pub binding_options_timeout: Duration,
    /// Checks of its health.
    pub health: AppHealth,
}

/// Checks of the application's health.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct AppHealth {
    /// Whether it is checked. Default: false.
    pub enabled: bool,
    /// The path that is asked, for HTTP protocols. Default: /healthz.
    pub path: String,
    /// Time between two checks. Default: 5s.
    #[serde(with = "text::duration")]
    pub interval: Duration,
    /// How long an answer may take. Default: 500ms.
    #[serde(with = "text::duration")]
    pub timeout: Duration,
    /// Failures in a row before it counts as unhealthy. Default: 3.
    pub threshold: u32,
}

impl Default for App {
    fn default() -> Self {
        Self {
            id: None,
            port: None,
            protocol: AppProtocol::Http,
            channel_address: "127.0.0.1".to_owned(),
            max_concurrency: -1,
            disabled_init_endpoints: Vec::new(),
            binding_options_timeout: Duration::from_secs(3),
            health: AppHealth::default(),
        }
    }
}

impl Default for AppHealth {
    fn default() -> Self {
        Self {
            enabled: false,
            path: "/healthz".to_owned(),
            interval: Duration::from_secs(5),
            timeout: Duration::from_millis(500),
            threshold: 3,
        }
    }
}

impl App {
    /// The limit on calls at a time; `None` for no limit. Zero means no limit as well, as in daprd.
    #[must_use]
    pub fn concurrency_limit(&self) -> Option<usize> {
        usize::try_from(self.max_concurrency).ok().filter(|limit| *limit > 0)
    }
}
