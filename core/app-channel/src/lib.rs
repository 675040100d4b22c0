//! Calls from the runtime into the application, over HTTP or gRPC: events, input bindings, invocations, health, what it
//! subscribes to.
//!
//! [`AppChannel`] is the way of every call: `transport.rs` holds the connections and the limit of simultaneous calls, `http/`
//! and `grpc/` translate. What an answer means for a message stands once, in [`EventStatus`] and [`AppError`].

mod around;
mod body;
mod config;
mod error;
mod grpc;
mod http;
mod metadata;
mod transport;

pub use around::{Around, Exchange, Next, Returning};
pub use body::{BodyStream, BoxError, Outgoing};
pub use config::{AppChannelConfig, AppProtocol};
pub use error::AppError;
pub use grpc::{BulkMessage, Destination, GrpcApp};
pub use http::{HttpApp, StatusWord};

use std::sync::Arc;

use config::Family;
use serde_json::value::RawValue;

/// What became of an event in the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventStatus {
    /// Done.
    Success,
    /// To be delivered again.
    Retry,
    /// Not wanted, now or later.
    Drop,
}

/// What an application answers to an event of an input binding.
#[derive(Debug, Default)]
pub struct BindingAnswer {
    /// What output bindings are to be sent.
    pub data: Option<Box<RawValue>>,
    /// The output bindings.
    pub to: Vec<String>,
    /// Whether all at once.
    pub parallel: bool,
    /// The state store that is to keep `state`.
    pub store: String,
    /// What is to be kept.
    pub state: Vec<StateAnswer>,
}

/// A value that an application wants kept, from its answer to an event of an input binding.
#[derive(Debug)]
pub struct StateAnswer {
    /// The application's own key.
    pub key: String,
    /// The value.
    pub value: bytes::Bytes,
    /// Whether the value is JSON, as it is over HTTP.
    pub is_json: bool,
    /// Kept only if the stored etag is this one.
    pub etag: Option<String>,
    /// Hints for the store.
    pub metadata: Vec<(String, String)>,
}

/// The application, in the protocol that it speaks.
pub enum AppChannel {
    /// Over HTTP/1.1 or h2c, with or without TLS.
    Http(HttpApp),
    /// Over gRPC, with or without TLS.
    Grpc(GrpcApp),
}

impl AppChannel {
    /// Prepares the channel; no connection is made before the first call.
    ///
    /// # Errors
    /// [`AppError::Address`] when host and port are no address.
    pub fn new(config: &AppChannelConfig) -> Result<Self, AppError> {
        Ok(match config.protocol.family() {
            Family::Http => Self::Http(HttpApp::new(config)?),
            Family::Grpc => Self::Grpc(GrpcApp::new(config)?),
        })
    }

    /// Puts something around each call over HTTP; calls over gRPC pass nothing, as in daprd.
    #[must_use]
    pub fn surrounded_by(mut self, around: Arc<dyn Around>) -> Self {
        if let Self::Http(app) = &mut self {
            app.put_around(around);
        }
        self
    }

    /// The application, when it speaks HTTP.
    pub fn http(&self) -> Option<&HttpApp> {
        match self {
            Self::Http(app) => Some(app),
            Self::Grpc(_) => None,
        }
    }

    /// Asks whether the application is well.
    ///
    /// # Errors
    /// [`AppError`] saying why it is not.
    pub async fn probe(&self, path: &str) -> Result<(), AppError> {
        match self {
            Self::Http(app) => app.probe(path).await,
            Self::Grpc(app) => app.probe().await,
        }
    }
}
