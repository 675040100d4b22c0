//! Settings whose value is one of a few words.

use serde::{Deserialize, Serialize};

/// How the application is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum AppProtocol {
    /// HTTP/1.1.
    #[default]
    Http,
    /// HTTP/1.1 over TLS.
    Https,
    /// HTTP/2 without TLS.
    H2c,
    /// gRPC.
    Grpc,
    /// gRPC over TLS.
    Grpcs,
}

/// What happens to a component whose type no plugin offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum MissingType {
    /// It waits, and starts when a plugin arrives.
    #[default]
    Wait,
    /// The process ends, as daprd does.
    Fail,
}

/// Where the process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum Mode {
    /// By itself; resources come from files.
    #[default]
    Standalone,
    /// In Kubernetes.
    Kubernetes,
}

/// The least severe entries that are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum LogLevel {
    /// Everything.
    Debug,
    /// What an operator wants to read.
    #[default]
    Info,
    /// What may need attention.
    Warn,
    /// What failed.
    Error,
    /// What ends the process.
    Fatal,
}

/// The transport of OTLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum OtlpProtocol {
    /// OTLP over gRPC.
    Grpc,
    /// OTLP over HTTP, as protobuf.
    Http,
}

impl AppProtocol {
    /// The word in settings and flags.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::H2c => "h2c",
            Self::Grpc => "grpc",
            Self::Grpcs => "grpcs",
        }
    }

    /// The same protocol over TLS, for daprd's `--app-ssl`.
    #[must_use]
    pub fn over_tls(self) -> Self {
        match self {
            Self::Http => Self::Https,
            Self::Grpc => Self::Grpcs,
            Self::Https | Self::H2c | Self::Grpcs => self,
        }
    }
}

impl MissingType {
    /// The word in settings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Fail => "fail",
        }
    }
}

impl Mode {
    /// The word in settings and flags.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Standalone => "standalone",
            Self::Kubernetes => "kubernetes",
        }
    }
}

impl LogLevel {
    /// The word in settings and flags.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Fatal => "fatal",
        }
    }
}

impl OtlpProtocol {
    /// The word in settings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Http => "http",
        }
    }
}

impl TryFrom<String> for AppProtocol {
    type Error = String;

    fn try_from(word: String) -> Result<Self, String> {
        match word.to_ascii_lowercase().as_str() {
            "http" => Ok(Self::Http),
            "https" => Ok(Self::Https),
            "h2c" => Ok(Self::H2c),
            "grpc" => Ok(Self::Grpc),
            "grpcs" => Ok(Self::Grpcs),
            _ => Err(format!("invalid value for 'app-protocol': {word}")),
        }
    }
}

impl TryFrom<String> for MissingType {
    type Error = String;

    fn try_from(word: String) -> Result<Self, String> {
        match word.as_str() {
            "wait" => Ok(Self::Wait),
            "fail" => Ok(Self::Fail),
            _ => Err(format!("`{word}` is neither `wait` nor `fail`")),
        }
    }
}

impl TryFrom<String> for Mode {
    type Error = String;

    fn try_from(word: String) -> Result<Self, String> {
        match word.as_str() {
            "standalone" => Ok(Self::Standalone),
            "kubernetes" => Ok(Self::Kubernetes),
            _ => Err(format!("`{word}` is neither `standalone` nor `kubernetes`")),
        }
    }
}

impl TryFrom<String> for LogLevel {
    type Error = String;

    fn try_from(word: String) -> Result<Self, String> {
        match word.to_ascii_lowercase().as_str() {
            "debug" => Ok(Self::Debug),
            "info" => Ok(Self::Info),
            "warn" => Ok(Self::Warn),
            "error" => Ok(Self::Error),
            "fatal" => Ok(Self::Fatal),
            _ => Err(format!("invalid value for --log-level: {word}")),
        }
    }
}

impl TryFrom<String> for OtlpProtocol {
    type Error = String;

    fn try_from(word: String) -> Result<Self, String> {
        match word.as_str() {
            "grpc" => Ok(Self::Grpc),
            // OpenTelemetry's own names for it as well.
            "http" | "http/protobuf" => Ok(Self::Http),
            _ => Err(format!("`{word}` is neither `grpc` nor `http`")),
        }
    }
}

impl From<AppProtocol> for &'static str {
    fn from(value: AppProtocol) -> Self {
        value.as_str()
    }
}

impl From<MissingType> for &'static str {
    fn from(value: MissingType) -> Self {
        value.as_str()
    }
}

impl From<Mode> for &'static str {
    fn from(value: Mode) -> Self {
        value.as_str()
    }
}

impl From<LogLevel> for &'static str {
    fn from(value: LogLevel) -> Self {
        value.as_str()
    }
}

impl From<OtlpProtocol> for &'static str {
    fn from(value: OtlpProtocol) -> Self {
        value.as_str()
    }
}
