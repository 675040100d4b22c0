//! The ports that the process opens.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::text;

/// The HTTP API, and what it shares with the gRPC API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Http {
    /// The port; 0 for any free one. Default: 3500.
    pub port: u16,
    /// Addresses that the HTTP and gRPC APIs listen on; none means every interface. Default: none.
    pub listen_addresses: Vec<String>,
    /// A second port with metadata and health only, without a token. Default: none.
    pub public_port: Option<u16>,
    /// The address of that second port; empty means every interface. Default: empty.
    pub public_listen_address: String,
    /// Folder for Unix domain sockets, which then replace the ports of both APIs. Default: none.
    pub unix_domain_socket: Option<PathBuf>,
    /// Origins that browsers may call from, comma-separated; `*` for all, empty for none. Default: empty.
    pub allowed_origins: String,
    /// The largest request body, in both APIs, and the largest answer of the application; bytes. Default: 4Mi.
    #[serde(with = "text::size")]
    pub max_body_size: u64,
    /// The read buffer, and with it the largest request header; bytes. Default: 4Ki.
    #[serde(with = "text::size")]
    pub read_buffer_size: u64,
    /// Whether HTTP/2 without TLS is served beside HTTP/1.1. Default: true.
    pub h2c: bool,
}

/// The gRPC API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Grpc {
    /// The port; 0 for any free one. Default: 50001.
    pub port: u16,
    /// The port for calls from other runtimes; 0 for any free one. Default: 0.
    pub internal_port: u16,
    /// The address of that port; empty means every interface. Default: empty.
    pub internal_listen_address: String,
}

/// The Prometheus endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Metrics {
    /// Whether it is served. Default: true.
    pub enabled: bool,
    /// Its port; 0 for any free one. Default: 9090.
    pub port: u16,
    /// Its address. Default: 0.0.0.0.
    pub listen_address: String,
}

/// The profiling endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Profile {
    /// Whether it is served. Default: false.
    pub enabled: bool,
    /// Its port. Default: 7777.
    pub port: u16,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            port: 3500,
            listen_addresses: Vec::new(),
            public_port: None,
            public_listen_address: String::new(),
            unix_domain_socket: None,
            allowed_origins: String::new(),
            max_body_size: 4 << 20,
            read_buffer_size: 4 << 10,
            h2c: true,
        }
    }
}

impl Default for Grpc {
    fn default() -> Self {
        Self { port: 50001, internal_port: 0, internal_listen_address: String::new() }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self { enabled: true, port: 9090, listen_address: "0.0.0.0".to_owned() }
    }
}

impl Default for Profile {
    fn default() -> Self {
        Self { enabled: false, port: 7777 }
    }
}
