//! What all clients of librdkafka have in common: their configuration, their health, and what they say from their threads.
//!
//! `config.rs` turns settings into librdkafka's, `health.rs` keeps what a client reported of its connections, `voice.rs`
//! carries its log lines into the plugin's runtime, `token.rs` gets tokens of an identity provider.

mod config;
mod health;
mod token;
mod voice;

use std::sync::Arc;
use std::time::Duration;

use mecha_plugin_api::Result;
use rdkafka::ClientConfig;
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;

pub(crate) use self::health::Health;
use self::token::Tokens;
use self::voice::Voice;
use crate::metadata::{Sasl, Settings};

/// What the clients of one component share.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) settings: Arc<Settings>,
    voice: Voice,
    tokens: Option<Arc<Tokens>>,
}

impl Cluster {
    /// Prepares clients; with an identity provider, gets the first token.
    pub(crate) async fn prepare(settings: Settings) -> Result<Self> {
        let settings = Arc::new(settings);
        let tokens = match &settings.security.sasl {
            Some(Sasl::Oidc(oidc)) => Some(Tokens::start(oidc, settings.security.tls.as_ref()).await?),
            Some(Sasl::Password { .. }) | None => None,
        };
        Ok(Self { settings, voice: Voice::start(), tokens })
    }

    /// librdkafka's configuration of a producer.
    pub(crate) fn producer_config(&self) -> ClientConfig {
        config::producer(&self.settings)
    }

    /// librdkafka's configuration of a group's member.
    pub(crate) fn consumer_config(&self) -> ClientConfig {
        config::consumer(&self.settings)
    }

    /// librdkafka's configuration of a consumer that only looks and never joins its group.
    pub(crate) fn lookout_config(&self) -> ClientConfig {
        config::lookout(&self.settings)
    }

    /// What a new client reports to.
    pub(crate) fn observer(&self) -> Observer {
        let health = Arc::new(Health::new(&self.settings));
        Observer { health, voice: self.voice.clone(), tokens: self.tokens.clone() }
    }
}

/// Listens to one client. It is called on threads that belong to no call, so nothing here may log or await.
#[derive(Clone)]
pub(crate) struct Observer {
    pub(crate) health: Arc<Health>,
    voice: Voice,
    tokens: Option<Arc<Tokens>>,
}

impl ClientContext for Observer {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.voice.say(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if let Some(code) = error.rdkafka_error_code() {
            self.health.report(code, reason);
        }
    }

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        match &self.tokens {
            Some(tokens) => tokens.current().ok_or_else(|| "there is no valid token now".into()),
            None => Err("no identity provider is set".into()),
        }
    }
}

/// The client's configuration could not be used: the text names librdkafka's property, the error Dapr's field.
pub(crate) fn creation_error(error: &KafkaError) -> mecha_plugin_api::Error {
    let text = error.to_string();
    let fields = [
        ("ssl.ca", "caCert"),
        ("CA ", "caCert"),
        ("ssl.certificate", "clientCert"),
        ("ssl.key", "clientKey"),
        ("rivate key", "clientKey"),
        ("ertificate", "clientCert"),
    ];
    let error = mecha_plugin_api::Error::invalid(format!("cannot make a kafka client: {text}"));
    match fields.iter().find(|(part, _)| text.contains(part)) {
        Some((_, field)) => error.with_field(*field),
        None => error,
    }
}

/// How long an attempt to reach the brokers may take in one go.
pub(crate) const REACH: Duration = Duration::from_secs(3);
