//! How the application is reached.

/// What the application speaks (`--app-protocol`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppProtocol {
    /// HTTP/1.1.
    Http,
    /// HTTP/1.1 over TLS; as in daprd the certificate is not verified.
    Https,
    /// HTTP/2 without TLS.
    H2c,
    /// gRPC.
    Grpc,
    /// gRPC over TLS; as in daprd the certificate is not verified.
    Grpcs,
}

/// The two families of protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    Http,
    Grpc,
}

impl AppProtocol {
    /// Reads daprd's word for it.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "http" => Some(Self::Http),
            "https" => Some(Self::Https),
            "h2c" => Some(Self::H2c),
            "grpc" => Some(Self::Grpc),
            "grpcs" => Some(Self::Grpcs),
            _ => None,
        }
    }

    pub(crate) fn family(self) -> Family {
        match self {
            Self::Http | Self::Https | Self::H2c => Family::Http,
            Self::Grpc | Self::Grpcs => Family::Grpc,
        }
    }

    pub(crate) fn scheme(self) -> &'static str {
        match self {
            Self::Http | Self::H2c | Self::Grpc => "http",
            Self::Https | Self::Grpcs => "https",
        }
    }

    /// Whether every connection is HTTP/2 from its first byte.
    pub(crate) fn is_http2(self) -> bool {
        match self {
            Self::H2c | Self::Grpc | Self::Grpcs => true,
            Self::Http | Self::Https => false,
        }
    }
}

/// Where the application is and how much it takes.
#[derive(Debug, Clone)]
pub struct AppChannelConfig {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// What it speaks.
    pub protocol: AppProtocol,
    /// Calls at once; `None` = no limit.
    pub max_concurrency: Option<usize>,
    /// Sent with every call as `dapr-api-token` (`APP_API_TOKEN`).
    pub token: Option<String>,
    /// Largest answer, in bytes.
    pub max_body_size: usize,
}
