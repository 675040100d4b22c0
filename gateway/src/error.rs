//! An API error: Dapr's code, the HTTP status, the gRPC code and the details, rendered to either protocol.

use std::collections::HashMap;

use bytes::Bytes;
use http::StatusCode;
use mecha_plugin_api::{ErrorKind, Metadata};
use mecha_proto::error_model::{ErrorDetails, StatusExt};
use mecha_runtime::CallError;
use serde_json::{Value, json};
use tonic::metadata::{MetadataKey, MetadataValue};
use tonic::{Code, Status};

const DOMAIN: &str = "dapr.io";

/// What a caller is told. Codes and texts are Dapr's.
#[derive(Debug, Clone)]
pub struct ApiError {
    pub(crate) code: &'static str,
    pub(crate) category: &'static str,
    pub(crate) http: StatusCode,
    pub(crate) grpc: Code,
    pub(crate) message: String,
    pub(crate) details: Details,
    /// What the component said besides; goes out as `metadata.<key>` in both protocols.
    pub(crate) metadata: Metadata,
}

/// Details in gRPC's richer error model.
#[derive(Debug, Clone)]
pub(crate) enum Details {
    /// None in either protocol.
    None,
    /// Over gRPC an ErrorInfo whose reason is the code; none over HTTP. What Dapr calls a basic error.
    Basic,
    /// The same list in both protocols.
    Full(Box<FullDetails>),
}

/// The parts of a full list of details.
#[derive(Debug, Clone, Default)]
pub(crate) struct FullDetails {
    /// The reason of the ErrorInfo.
    pub(crate) reason: &'static str,
    /// The metadata of the ErrorInfo.
    pub(crate) metadata: Vec<(String, String)>,
    /// Type, name and description of a ResourceInfo.
    pub(crate) resource: Option<(&'static str, String, String)>,
    /// Field and description of a BadRequest.
    pub(crate) violation: Option<(String, String)>,
    /// Description and address of a Help.
    pub(crate) help: Option<(&'static str, &'static str)>,
}

impl ApiError {
    /// An error without details.
    pub(crate) fn new(
        code: &'static str,
        category: &'static str,
        http: StatusCode,
        grpc: Code,
        message: impl Into<String>,
    ) -> Self {
        let (message, details, metadata) = (message.into(), Details::None, Metadata::new());
        Self { code, category, http, grpc, message, details, metadata }
    }

    /// An error that is Dapr's "basic" one.
    pub(crate) fn basic(
        code: &'static str,
        category: &'static str,
        http: StatusCode,
        grpc: Code,
        message: impl Into<String>,
    ) -> Self {
        Self { details: Details::Basic, ..Self::new(code, category, http, grpc, message) }
    }

    /// A request that cannot be understood.
    pub(crate) fn malformed(message: impl Into<String>) -> Self {
        let (http, grpc) = (StatusCode::BAD_REQUEST, Code::InvalidArgument);
        Self::new("ERR_MALFORMED_REQUEST", "common", http, grpc, message)
    }

    /// A body that cannot be understood.
    pub(crate) fn malformed_body(reason: impl std::fmt::Display) -> Self {
        Self::malformed(format!("failed deserializing HTTP body: {reason}"))
    }

    /// What is no route: Dapr takes it for an invocation of nobody.
    pub(crate) fn no_target() -> Self {
        let message = "failed getting app id either from the URL path or the header dapr-app-id";
        let (http, grpc) = (StatusCode::NOT_FOUND, Code::NotFound);
        Self::new("ERR_DIRECT_INVOKE", "service-invocation", http, grpc, message)
    }

    /// A component's failure as `code`, with the status that its kind stands for.
    pub(crate) fn of_call(
        code: &'static str,
        category: &'static str,
        error: &CallError,
        message: String,
    ) -> Self {
        let (http, grpc) = statuses(error);
        Self::basic(code, category, http, grpc, message)
    }

    pub(crate) fn with(mut self, details: FullDetails) -> Self {
        self.details = Details::Full(Box::new(details));
        self
    }

    /// The JSON body.
    pub(crate) fn json(&self) -> Bytes {
        let mut body = json!({"errorCode": self.code, "message": self.message});
        if let Details::Full(details) = &self.details {
            body["details"] = details.json();
        }
        Bytes::from(body.to_string())
    }

    /// The gRPC status.
    pub(crate) fn status(&self) -> Status {
        let details = match &self.details {
            Details::None => None,
            Details::Basic => Some(ErrorDetails::with_error_info(self.code, DOMAIN, HashMap::new())),
            Details::Full(details) => Some(details.model()),
        };
        let mut status = match details {
            None => Status::new(self.grpc, self.message.clone()),
            Some(details) => Status::with_error_details(self.grpc, self.message.clone(), details),
        };
        for (key, value) in self.metadata.iter() {
            let key = MetadataKey::from_bytes(format!("metadata.{key}").to_ascii_lowercase().as_bytes());
            if let (Ok(key), Ok(value)) = (key, MetadataValue::try_from(value)) {
                status.metadata_mut().insert(key, value);
            }
        }
        status
    }
}

/// A status that Dapr makes from an HTTP one: its text, and the reason among the details.
pub(crate) fn from_http_status(http: StatusCode, grpc: Code, reason: &str) -> Status {
    let text = http.canonical_reason().unwrap_or_default();
    let metadata = [("http.code", http.as_str()), ("http.error_message", reason)];
    let metadata = HashMap::from(metadata.map(|(key, value)| (key.to_owned(), value.to_owned())));
    Status::with_error_details(grpc, text, ErrorDetails::with_error_info(text, DOMAIN, metadata))
}

/// HTTP status and gRPC code of a component's failure.
fn statuses(error: &CallError) -> (StatusCode, Code) {
    let kind = match error {
        CallError::Plugin { error, .. } => error.kind(),
        CallError::Gone { .. } | CallError::Timeout { .. } | CallError::Policy { .. } => ErrorKind::INTERNAL,
    };
    match kind {
        ErrorKind::ETAG_MISMATCH => (StatusCode::CONFLICT, Code::Aborted),
        ErrorKind::ETAG_INVALID => (StatusCode::BAD_REQUEST, Code::InvalidArgument),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, Code::Internal),
    }
}

impl FullDetails {
    fn json(&self) -> Value {
        let metadata: serde_json::Map<_, _> =
            self.metadata.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
        let mut list = vec![json!({
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": self.reason,
            "domain": DOMAIN,
            "metadata": metadata,
        })];
        if let Some((kind, name, description)) = &self.resource {
            list.push(json!({
                "@type": "type.googleapis.com/google.rpc.ResourceInfo",
                "resource_type": kind, "resource_name": name, "owner": "", "description": description,
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
        let metadata: HashMap<String, String> = self.metadata.iter().cloned().collect();
        let mut details = ErrorDetails::with_error_info(self.reason, DOMAIN, metadata);
        if let Some((kind, name, description)) = &self.resource {
            details.set_resource_info(*kind, name.clone(), "", description.clone());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_basic_error_has_its_code_as_reason_over_grpc_only() {
        let error = ApiError::basic("ERR_X", "x", StatusCode::CONFLICT, Code::Aborted, "no");
        assert_eq!(error.json(), r#"{"errorCode":"ERR_X","message":"no"}"#);
        let info = error.status().get_details_error_info().unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("ERR_X", "dapr.io"));
    }

    #[test]
    fn metadata_of_a_failure_goes_out_with_it() {
        let mut error = ApiError::malformed("no");
        error.metadata.insert("statusCode", "404");
        let status = error.status();
        assert_eq!(status.metadata().get("metadata.statuscode").unwrap(), "404");
    }
}
