//! Dapr's errors of the publish API: code, reason, HTTP status and gRPC code side by side.

use http::StatusCode;
use mecha_plugin_api::Metadata;
use tonic::Code;

use crate::error::{ApiError, FullDetails};

/// What went wrong with a publish request.
pub(super) enum Fault {
    NameEmpty,
    NotFound,
    TopicEmpty,
    Metadata(String),
    Forbidden,
    Envelope(String),
    Entry(String),
    Entries(String),
    Unmarshal(String),
    Broker(String),
}

/// Where it went wrong.
pub(super) struct Place<'a> {
    pub(super) app_id: &'a str,
    pub(super) pubsub: &'a str,
    pub(super) topic: &'a str,
    pub(super) metadata: &'a Metadata,
}

impl Place<'_> {
    pub(super) fn error(&self, fault: &Fault) -> ApiError {
        let (code, reason, http, grpc) = codes(fault);
        let message = self.message(fault);
        let details = FullDetails {
            reason,
            metadata: self.details(fault),
            resource: (!matches!(fault, Fault::NotFound))
                .then(|| ("pubsub", self.pubsub.to_owned(), message.clone())),
            ..FullDetails::default()
        };
        ApiError::new(code, "pubsub", http, grpc, message).with(details)
    }

    fn message(&self, fault: &Fault) -> String {
        let Self { app_id, pubsub, topic, .. } = self;
        match fault {
            Fault::NameEmpty => "pubsub name is empty".to_owned(),
            Fault::NotFound => format!("pubsub {pubsub} is not found"),
            Fault::TopicEmpty => format!("topic is empty in pubsub {pubsub}"),
            Fault::Metadata(reason) => format!("failed deserializing metadata. Error: {reason}"),
            Fault::Forbidden => format!("topic {topic} is not allowed for app id {app_id}"),
            Fault::Envelope(_) => "cannot create cloudevent".to_owned(),
            Fault::Entry(reason) => {
                format!(
                    "error when marshalling cloud event envelope for topic {topic} pubsub {pubsub}: {reason}"
                )
            }
            Fault::Entries(reason) => {
                format!("error marshaling events to bytes for topic {topic} pubsub {pubsub}. error: {reason}")
            }
            Fault::Unmarshal(reason) => {
                format!("error when unmarshaling the request for topic {topic} pubsub {pubsub}: {reason}")
            }
            Fault::Broker(reason) => {
                format!("error when publishing to topic {topic} in pubsub {pubsub}: {reason}")
            }
        }
    }

    fn details(&self, fault: &Fault) -> Vec<(String, String)> {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        match fault {
            Fault::NameEmpty | Fault::NotFound | Fault::TopicEmpty | Fault::Metadata(_) => {
                self.metadata.iter().map(|(key, value)| pair(key, value)).collect()
            }
            Fault::Unmarshal(_) => vec![pair("appID", self.app_id)],
            Fault::Envelope(reason) | Fault::Entry(reason) | Fault::Entries(reason) => {
                vec![pair("appID", self.app_id), pair("error", reason)]
            }
            Fault::Forbidden => vec![pair("topic", self.topic), pair("error", &self.message(fault))],
            Fault::Broker(reason) => vec![pair("topic", self.topic), pair("error", reason)],
        }
    }
}

fn codes(fault: &Fault) -> (&'static str, &'static str, StatusCode, Code) {
    match fault {
        Fault::NameEmpty => {
            ("ERR_PUBSUB_EMPTY", "DAPR_PUBSUB_NAME_EMPTY", StatusCode::NOT_FOUND, Code::InvalidArgument)
        }
        Fault::NotFound => {
            ("ERR_PUBSUB_NOT_FOUND", "DAPR_PUBSUB_NOT_FOUND", StatusCode::NOT_FOUND, Code::InvalidArgument)
        }
        Fault::TopicEmpty => (
            "ERR_TOPIC_NAME_EMPTY",
            "DAPR_PUBSUB_TOPIC_NAME_EMPTY",
            StatusCode::NOT_FOUND,
            Code::InvalidArgument,
        ),
        Fault::Metadata(_) => (
            "ERR_PUBSUB_REQUEST_METADATA",
            "DAPR_PUBSUB_METADATA_DESERIALIZATION",
            StatusCode::BAD_REQUEST,
            Code::InvalidArgument,
        ),
        Fault::Forbidden => {
            ("ERR_PUBSUB_FORBIDDEN", "DAPR_PUBSUB_FORBIDDEN", StatusCode::FORBIDDEN, Code::PermissionDenied)
        }
        Fault::Envelope(_) => (
            "ERR_PUBSUB_CLOUD_EVENTS_SER",
            "DAPR_PUBSUB_CLOUD_EVENT_CREATION",
            StatusCode::INTERNAL_SERVER_ERROR,
            Code::InvalidArgument,
        ),
        Fault::Entry(_) => (
            "ERR_PUBSUB_EVENTS_SER",
            "DAPR_PUBSUB_MARSHAL_ENVELOPE",
            StatusCode::BAD_REQUEST,
            Code::InvalidArgument,
        ),
        Fault::Entries(_) => (
            "ERR_PUBSUB_EVENTS_SER",
            "DAPR_PUBSUB_MARSHAL_EVENTS",
            StatusCode::BAD_REQUEST,
            Code::InvalidArgument,
        ),
        Fault::Unmarshal(_) => (
            "ERR_PUBSUB_EVENTS_SER",
            "DAPR_PUBSUB_UNMARSHAL_EVENTS",
            StatusCode::BAD_REQUEST,
            Code::InvalidArgument,
        ),
        Fault::Broker(_) => (
            "ERR_PUBSUB_PUBLISH_MESSAGE",
            "DAPR_PUBSUB_PUBLISH_MESSAGE",
            StatusCode::INTERNAL_SERVER_ERROR,
            Code::Internal,
        ),
    }
}
