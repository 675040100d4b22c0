//! The kinds of resource that are understood, and how a document is recognised as one.

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{
    Component, Configuration, HttpEndpoint, Resiliency, Subscription, error::FileErrorKind, lenient,
};

/// A resource of a known kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Resource {
    /// A configured back end.
    Component(Component),
    /// Settings of the runtime itself.
    Configuration(Box<Configuration>),
    /// A topic whose messages go to the application.
    Subscription(Subscription),
    /// A service outside that applications invoke.
    HttpEndpoint(HttpEndpoint),
    /// Timeouts, retries and circuit breakers.
    Resiliency(Box<Resiliency>),
}

/// How documents of one kind are recognised and typed.
struct Kind {
    api_version: &'static str,
    kind: &'static str,
    read: fn(Value) -> Result<Resource, FileErrorKind>,
}

const KINDS: [Kind; 6] = [
    Kind {
        api_version: "dapr.io/v1alpha1",
        kind: "Component",
        read: |document| Component::from_document(document).map(Resource::Component),
    },
    Kind {
        api_version: "dapr.io/v1alpha1",
        kind: "Configuration",
        read: |document| Configuration::from_document(document).map(|c| Resource::Configuration(Box::new(c))),
    },
    Kind {
        api_version: "dapr.io/v1alpha1",
        kind: "Subscription",
        read: |document| Subscription::from_v1_document(document).map(Resource::Subscription),
    },
    Kind {
        api_version: "dapr.io/v2alpha1",
        kind: "Subscription",
        read: |document| Subscription::from_v2_document(document).map(Resource::Subscription),
    },
    Kind {
        api_version: "dapr.io/v1alpha1",
        kind: "HTTPEndpoint",
        read: |document| HttpEndpoint::from_document(document).map(Resource::HttpEndpoint),
    },
    Kind {
        api_version: "dapr.io/v1alpha1",
        kind: "Resiliency",
        read: |document| Resiliency::from_document(document).map(|r| Resource::Resiliency(Box::new(r))),
    },
];

impl Resource {
    /// Types a document. `None` for an empty one and for a kind or API version that is not known: a folder may hold
    /// resources for others.
    pub fn from_document(document: Value) -> Option<Result<Self, FileErrorKind>> {
        if document.is_null() {
            return None;
        }
        let Some(root) = document.as_object() else {
            return Some(Err(FileErrorKind::field("", "a resource is a mapping")));
        };
        let text = |name: &str| root.get(name).and_then(Value::as_str).unwrap_or_default();
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        let known = KINDS.iter().find(|known| known.kind == kind && known.api_version == api_version)?;
        Some((known.read)(document))
    }
}

/// The part of Kubernetes' object metadata that Dapr reads.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct ObjectMeta {
    #[serde(deserialize_with = "lenient::text")]
    pub(crate) name: String,
    #[serde(deserialize_with = "lenient::text")]
    pub(crate) namespace: String,
}

impl ObjectMeta {
    /// A resource's name stands in URL paths, so it must be one path segment.
    pub(crate) fn check(&self, kind: &str) -> Result<(), FileErrorKind> {
        let reason = match self.name.as_str() {
            "" => "is missing",
            "." => "may not be '.'",
            ".." => "may not be '..'",
            name if name.contains('/') => "may not contain '/'",
            name if name.contains('%') => "may not contain '%'",
            _ => return Ok(()),
        };
        Err(FileErrorKind::field(
            "metadata.name",
            format!("invalid name {:?} for {kind:?}: {reason}", self.name),
        ))
    }
}

/// Deserialises a document; an error names the field.
pub(crate) fn typed<T: DeserializeOwned>(document: Value) -> Result<T, FileErrorKind> {
    serde_path_to_error::deserialize(document)
        .map_err(|error| FileErrorKind::field(error.path().to_string(), error.inner()))
}

/// A section of a document, with the case of its keys corrected.
pub(crate) fn fix<'a>(
    parent: &'a mut Map<String, Value>,
    field: &str,
    known: &[&str],
) -> Option<&'a mut Map<String, Value>> {
    let child = parent.get_mut(field)?.as_object_mut()?;
    lenient::fix_case(child, known);
    Some(child)
}
