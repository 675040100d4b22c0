//! What Kafka's error codes mean to a caller: the kind, and the field that is to blame where one is.

use mecha_plugin_api::{Error, ErrorKind};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

/// The error for the caller, its message led by `context`.
pub(crate) fn error(context: &str, error: &KafkaError) -> Error {
    match error.rdkafka_error_code() {
        Some(code) => from_code(context, code),
        None => Error::internal(format!("{context}: {error}")),
    }
}

/// The error for the caller of a code that has no more to say.
pub(crate) fn from_code(context: &str, code: Code) -> Error {
    let (kind, field) = classify(code);
    let text = match code {
        // librdkafka says it of its own limit and of the brokers' in the same words.
        Code::MessageSizeTooLarge => {
            "larger than the component's maxMessageBytes or the topic's max.message.bytes".to_owned()
        }
        _ => code.to_string(),
    };
    let error = Error::new(kind, format!("{context}: {text}"));
    match field {
        Some(field) => error.with_field(field),
        None => error,
    }
}

/// What `error.type` of a span says.
pub(crate) fn type_name(code: Code) -> String {
    format!("{code:?}")
}

fn classify(code: Code) -> (ErrorKind, Option<&'static str>) {
    match code {
        Code::UnknownTopicOrPartition | Code::UnknownTopic => (ErrorKind::NOT_FOUND, Some("topic")),
        Code::InvalidTopic => (ErrorKind::INVALID, Some("topic")),
        Code::UnknownPartition => (ErrorKind::INVALID, Some("partitionNumber")),
        Code::MessageSizeTooLarge | Code::InvalidMessageSize => (ErrorKind::INVALID, Some("maxMessageBytes")),
        Code::TopicAuthorizationFailed => (ErrorKind::DENIED, Some("topic")),
        Code::GroupAuthorizationFailed => (ErrorKind::DENIED, Some("consumerGroup")),
        Code::InvalidGroupId => (ErrorKind::INVALID, Some("consumerGroup")),
        Code::InconsistentGroupProtocol => (ErrorKind::INVALID, Some("consumerGroupRebalanceStrategy")),
        Code::InvalidSessionTimeout => (ErrorKind::INVALID, Some("sessionTimeout")),
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed => (ErrorKind::DENIED, None),
        Code::UnsupportedSASLMechanism => (ErrorKind::INVALID, Some("saslMechanism")),
        Code::QueueFull | Code::ThrottlingQuotaExceeded => (ErrorKind::THROTTLED, None),
        Code::MessageTimedOut | Code::OperationTimedOut | Code::RequestTimedOut | Code::TimedOutQueue => {
            (ErrorKind::TIMEOUT, None)
        }
        Code::AllBrokersDown
        | Code::BrokerTransportFailure
        | Code::Resolve
        | Code::NetworkException
        | Code::BrokerNotAvailable
        | Code::ReplicaNotAvailable
        | Code::LeaderNotAvailable
        | Code::NotLeaderForPartition
        | Code::NotEnoughReplicas
        | Code::NotEnoughReplicasAfterAppend
        | Code::CoordinatorLoadInProgress
        | Code::CoordinatorNotAvailable
        | Code::NotCoordinator
        | Code::RebalanceInProgress
        | Code::WaitingForCoordinator
        | Code::ISRInsufficient
        | Code::KafkaStorageError
        | Code::PurgeQueue
        | Code::PurgeInflight
        | Code::BrokerDestroy => (ErrorKind::UNAVAILABLE, None),
        _ => (ErrorKind::INTERNAL, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_fields_follow_the_code() {
        let missing = from_code("t", Code::UnknownTopicOrPartition);
        assert_eq!((missing.kind(), missing.field()), (ErrorKind::NOT_FOUND, Some("topic")));
        let large = error("t", &KafkaError::MessageProduction(Code::MessageSizeTooLarge));
        assert_eq!((large.kind(), large.field()), (ErrorKind::INVALID, Some("maxMessageBytes")));
        assert!(large.message().contains("maxMessageBytes"), "{large}");
        assert!(from_code("t", Code::BrokerTransportFailure).is_retriable());
        assert!(!from_code("t", Code::SaslAuthenticationFailed).is_retriable());
        assert_eq!(error("t", &KafkaError::Canceled).kind(), ErrorKind::INTERNAL);
    }
}
