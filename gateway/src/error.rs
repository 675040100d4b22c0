//! An API error: Dapr's code, the HTTP status, the gRPC code and the details, rendered to either protocol.

use std::collections::HashMap;

use bytes::Bytes;
use http::StatusCode;
use mecha_plugin_api::ErrorKind;
use mecha_proto::error_model::{ErrorDetails, StatusExt};
use mecha_runtime::CallError;
use serde_json::json;
use tonic::{Code, Status};

/// What a caller is told. Codes and texts are Dapr's.
#[derive(Debug, Clone)]
pub struct ApiError {
    pub(crate) code: &'static str,
    pub(crate) category: &'static str,
    pub(crate) http: StatusCode,
    pub(crate) grpc: Code,
    pub(crate) message: String,
    pub(crate) details: Option<Box<Details>>,
}

/// Details in gRPC's richer error model.
#[derive(Debug, Clone, Default)]
pub(crate) struct Details {
    /// The reason of an ErrorInfo.
    pub(crate) reason: &'static str,
    /// The metadata of the ErrorInfo.
    pub(crate) metadata: Vec<(&'static str, String)>,
    /// Type and name of a ResourceInfo.
    pub(crate) resource: Option<(&'static str, String)>,
    /// Field and description of a BadRequest.
    pub(crate) violation: Option<(String, String)>,
    /// Description and address of a Help.
    pub(crate) help: Option<(&'static str, &'static str)>,
}

const DOMAIN: &str = "dapr.io";

impl ApiError {
    pub(crate) fn new(
        code: &'static str,
        category: &'static str,
        http: StatusCode,
        grpc: Code,
        message: impl Into<String>,
    ) -> Self {
        Self { code, category, http, grpc, message: message.into(), details: None }
    }

    pub(crate) fn malformed(reason: impl std::fmt::Display) -> Self {
        let message = format!("failed deserializing HTTP body: {reason}");
        Self::new("ERR_MALFORMED_REQUEST", "common", StatusCode::BAD_REQUEST, Code::InvalidArgument, message)
    }

    pub(crate) fn with(mut self, details: Details) -> Self {
        self.details = Some(Box::new(details));
        self
    }

    /// A component's failure as `code`, with the status that its kind stands for.
    pub(crate) fn of_call(
        code: &'static str,
        category: &'static str,
        error: &CallError,
        message: String,
    ) -> Self {
        let (http, grpc) = statuses(error);
        Self::new(code, category, http, grpc, message)
    }

    /// The JSON body.
    pub(crate) fn json(&self) -> Bytes {
        let mut body = json!({"errorCode": self.code, "message": self.message});
        if let Some(details) = &self.details {
            body["details"] = details.json();
        }
        Bytes::from(body.to_string())
    }

    /// The gRPC status.
    pub(crate) fn status(&self) -> Status {
        match &self.details {
            None => Status::new(self.grpc, self.message.clone()),
            Some(details) => Status::with_error_details(self.grpc, self.message.clone(), details.model()),
        }
    }
}

/// HTTP status and gRPC code of a component's failure.
fn statuses(error: &CallError) -> (StatusCode, Code) {
    let kind = match error {
        CallError::Plugin { error, .. } => error.kind(),
        CallError::Gone { .. } | CallError::Timeout { .. } => ErrorKind::INTERNAL,
    };
    match kind {
        ErrorKind::ETAG_MISMATCH => (StatusCode::CONFLICT, Code::Aborted),
        ErrorKind::ETAG_INVALID => (StatusCode::BAD_REQUEST, Code::InvalidArgument),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, Code::Internal),
    }
}

impl Details {
    fn json(&self) -> serde_json::Value {
        let mut list = vec![json!({
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": self.reason,
            "domain": DOMAIN,
            "metadata": self.metadata.iter().map(|(key, value)| ((*key).to_owned(), json!(value)))
                .collect::<serde_json::Map<_, _>>(),
        })];
        if let Some((kind, name)) = &self.resource {
            list.push(json!({
                "@type": "type.googleapis.com/google.rpc.ResourceInfo",
                "resource_type": kind, "resource_name": name, "owner": "", "description": "",
            }));
        }
        if let Some((field, description)) = &self.violation {
            list.push(json!({
                "@type": "type.googleapis.com/google.rpc.BadRequest",
                "field_violations": [{"field": field, "description": description}],
            }));
        }
        if let Some((description, url)) = self.help {
            list.push(json!({
                "@type": "type.googleapis.com/google.rpc.Help",
                "links": [{"description": description, "url": url}],
            }));
        }
        list.into()
    }

    fn model(&self) -> ErrorDetails {
        let metadata: HashMap<String, String> =
            self.metadata.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        let mut details = ErrorDetails::with_error_info(self.reason, DOMAIN, metadata);
        if let Some((kind, name)) = &self.resource {
            details.set_resource_info(*kind, name.clone(), "", "");
        }
        if let Some((field, description)) = &self.violation {
            details.add_bad_request_violation(field.clone(), description.clone());
        }
        if let Some((description, url)) = self.help {
            details.add_help_link(description, url);
        }
        details
    }
}

impl From<ApiError> for Status {
    fn from(error: ApiError) -> Self {
        error.status()
    }
}
