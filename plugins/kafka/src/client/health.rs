//! What a client reported of its connections, and what that means to a caller.

use std::sync::{Mutex, MutexGuard, PoisonError};

use mecha_plugin_api::{Error, ErrorKind};
use rdkafka::error::RDKafkaErrorCode as Code;
use tokio::sync::Notify;

use crate::error;
use crate::metadata::Settings;

const NOT_VERIFIED: &str = "certificate verify failed";
/// librdkafka does not tell which of them it is.
const WHY_NOT: &str =
    "the brokers' certificate has expired, is for another name, or is of an authority that caCert lacks";

/// The latest trouble of one client; none once something has worked again.
pub(crate) struct Health {
    trouble: Mutex<Reported>,
    /// There is news of trouble.
    pub(crate) news: Notify,
    credential_field: &'static str,
    brokers: String,
}

#[derive(Default)]
struct Reported {
    /// Why the last connection failed: the report that no broker is left does not say it.
    connection: String,
    trouble: Option<Error>,
    has_worked: bool,
}

impl Health {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            trouble: Mutex::default(),
            news: Notify::new(),
            credential_field: settings.security.credential_field(),
            brokers: settings.brokers.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Reported> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the client cannot work now.
    pub(crate) fn trouble(&self) -> Option<Error> {
        self.lock().trouble.clone()
    }

    /// Something worked.
    pub(crate) fn worked(&self) {
        *self.lock() = Reported { has_worked: true, ..Reported::default() };
    }

    /// Takes in what the client or the plugin found wrong.
    pub(crate) fn set(&self, trouble: Error) {
        self.lock().trouble = Some(trouble);
        self.news.notify_one();
    }

    /// Takes in what librdkafka reports.
    pub(crate) fn report(&self, code: Code, reason: &str) {
        let trouble = match code {
            // With TLS 1.3 a broker looks at the client's certificate when the client takes the handshake for done.
            Code::BrokerTransportFailure if is_alert(reason) => self.no_tls(reason),
            Code::BrokerTransportFailure | Code::Resolve => {
                self.lock().connection = reason.to_owned();
                return;
            }
            Code::AllBrokersDown => return self.report_down(),
            Code::Authentication | Code::SaslAuthenticationFailed => self.refused(reason),
            Code::SSL => self.no_tls(reason),
            // Passes by: each is tried again at once, or leads to one of the others.
            Code::OperationTimedOut | Code::RequestTimedOut | Code::PollExceeded | Code::NodeUpdate => {
                return;
            }
            other => error::from_code(reason, other),
        };
        self.set(trouble);
    }

    /// The reason for a refusal says more than that no broker is left, which follows it.
    fn report_down(&self) {
        let mut reported = self.lock();
        let is_refused = reported.trouble.as_ref().is_some_and(|error| error.kind() == ErrorKind::DENIED);
        if !is_refused {
            reported.trouble = Some(self.down(&reported));
        }
        drop(reported);
        self.news.notify_one();
    }

    /// Unavailable, not denied, whatever the guess is: a broker that is just going down looks the same.
    fn down(&self, Reported { connection, has_worked, .. }: &Reported) -> Error {
        let (reason, field) = match connection.as_str() {
            // librdkafka does not report connections that are closed without a word.
            "" if *has_worked => ("the connection was closed", "brokers"),
            "" => ("they close the connection: do they want a login?", self.credential_field),
            reason if reason.contains("PLAINTEXT broker listener") => (reason, "disableTls"),
            reason if reason.contains("SSL listener") => (reason, self.credential_field),
            reason if reason.contains(NOT_VERIFIED) => (reason, "caCert"),
            reason => (reason, "brokers"),
        };
        let hint = if reason.contains(NOT_VERIFIED) { format!(": {WHY_NOT}") } else { String::new() };
        Error::unavailable(format!("no broker of {} can be reached: {reason}{hint}", self.brokers))
            .with_field(field)
    }

    fn refused(&self, reason: &str) -> Error {
        // Only then does the text list the mechanisms that the brokers know.
        let is_unknown = reason.contains("supported mechanisms");
        let field = if is_unknown { "saslMechanism" } else { self.credential_field };
        Error::new(ErrorKind::DENIED, format!("the brokers refuse the credentials: {reason}"))
            .with_field(field)
    }

    fn no_tls(&self, reason: &str) -> Error {
        let field = match reason {
            reason if reason.contains(NOT_VERIFIED) => {
                return Error::new(
                    ErrorKind::DENIED,
                    format!("no TLS with the brokers: {reason}: {WHY_NOT}"),
                )
                .with_field("caCert");
            }
            reason if reason.contains("PLAINTEXT") => "disableTls",
            reason if is_alert(reason) => {
                let message = format!("the brokers want another certificate, by authType mtls: {reason}");
                return Error::new(ErrorKind::DENIED, message).with_field("clientCert");
            }
            _ => "brokers",
        };
        Error::new(ErrorKind::DENIED, format!("no TLS with the brokers: {reason}")).with_field(field)
    }
}

/// Whether the broker ended the connection over TLS and said why: that is about the certificate which we showed, or did not.
fn is_alert(reason: &str) -> bool {
    reason.contains("alert") && ["ertificate", "unknown ca"].iter().any(|what| reason.contains(what))
}

#[cfg(test)]
mod tests {
    use mecha_plugin_api::{ComponentSpec, Metadata};

    use super::*;
    use crate::metadata::Defaults;

    fn health() -> Health {
        let pairs = [
            ("brokers", "a:1"),
            ("authType", "password"),
            ("saslUsername", "u"),
            ("saslPassword", "p"),
            ("disableTls", "true"),
        ];
        let spec = ComponentSpec::new("p", "pubsub.kafka", Metadata::from_iter(pairs));
        Health::new(&Settings::read(&spec, Defaults { retries: true }).unwrap())
    }

    #[test]
    fn brokers_that_are_gone_are_unavailable_and_say_why() {
        let health = health();
        health.report(Code::BrokerTransportFailure, "a:1: Connection refused");
        assert!(health.trouble().is_none());
        health.report(Code::AllBrokersDown, "1/1 brokers are down");
        let trouble = health.trouble().unwrap();
        assert_eq!((trouble.kind(), trouble.field()), (ErrorKind::UNAVAILABLE, Some("brokers")));
        assert!(trouble.message().contains("Connection refused"));
        health.worked();
        assert!(health.trouble().is_none());
    }

    #[test]
    fn a_refusal_outlives_the_report_that_no_broker_is_left() {
        let health = health();
        health.report(Code::Authentication, "SASL PLAIN failed");
        health.report(Code::AllBrokersDown, "");
        let trouble = health.trouble().unwrap();
        assert_eq!((trouble.kind(), trouble.field()), (ErrorKind::DENIED, Some("saslPassword")));
        assert!(!trouble.is_retriable());
    }

    #[test]
    fn connections_that_are_closed_without_a_word_are_explained() {
        let health = health();
        let field = || {
            health.report(Code::AllBrokersDown, "");
            health.trouble().unwrap().field().unwrap().to_owned()
        };
        assert_eq!(field(), "saslPassword");
        health.worked();
        assert_eq!(field(), "brokers");
        health.report(Code::BrokerTransportFailure, "connecting to a PLAINTEXT broker listener?");
        assert_eq!(field(), "disableTls");
        health.report(Code::BrokerTransportFailure, "SSL routines::certificate verify failed");
        assert_eq!(field(), "caCert");
    }

    #[test]
    fn a_wrong_mechanism_and_a_wrong_password_are_told_apart() {
        let health = health();
        for (reason, field) in [
            (
                "SASL SCRAM-SHA-256 mechanism handshake failed: broker's supported mechanisms: PLAIN",
                "saslMechanism",
            ),
            ("due to invalid credentials with SASL mechanism SCRAM-SHA-256", "saslPassword"),
        ] {
            health.report(Code::Authentication, reason);
            assert_eq!(health.trouble().unwrap().field(), Some(field));
        }
    }

    #[test]
    fn certificates_are_told_apart() {
        let health = health();
        for (reason, field) in [
            ("certificate verify failed: unable to get local issuer", "caCert"),
            ("connecting to a PLAINTEXT broker listener?", "disableTls"),
            ("ssl/tls alert bad certificate", "clientCert"),
        ] {
            health.report(Code::SSL, reason);
            assert_eq!(health.trouble().unwrap().field(), Some(field));
        }
        health.worked();
        health.report(Code::BrokerTransportFailure, "SSL routines::sslv3 alert certificate unknown");
        health.report(Code::AllBrokersDown, "1/1 brokers are down");
        let trouble = health.trouble().unwrap();
        assert_eq!((trouble.kind(), trouble.field()), (ErrorKind::DENIED, Some("clientCert")));
    }
}
