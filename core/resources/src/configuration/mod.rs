//! The Configuration resource: settings of the runtime that Dapr keeps in files of their own (`--config`).
//!
//! One submodule per section; `merge` loads several files over each other.

mod access;
mod headers;
mod merge;
mod metrics;
mod pipeline;
mod tracing;

use serde::Deserialize;
use serde_json::Value;

use crate::{
    error::FileErrorKind,
    lenient,
    resource::{ObjectMeta, typed},
};

pub use access::{
    AccessControl, ApiAccess, ApiProtocol, ApiRule, AppOperation, AppPolicy, Feature, SecretScope,
};
pub use headers::{HeaderError, parse_headers};
pub use merge::load_configuration;
pub use metrics::{DEFAULT_LATENCY_BUCKETS, HttpMetrics, MetricLabel, MetricRule, Metrics};
pub use pipeline::{Handler, NameResolution, Pipeline, Selector, SelectorField};
pub use tracing::{DEFAULT_SAMPLING_RATE, Headers, Otel, Tracing, Zipkin};

/// Features that are on unless a Configuration turns them off.
const DEFAULT_FEATURES: [&str; 2] = ["HotReload", "WorkflowsRemoteActivityReminder"];

/// A Configuration, or several merged into one. [`Configuration::default`] is what holds without any file.
#[derive(Debug, Clone, PartialEq)]
pub struct Configuration {
    /// Its name; empty when the file has none.
    pub name: String,
    /// Middleware around the API.
    pub http_pipeline: Pipeline,
    /// Middleware around calls to the application.
    pub app_http_pipeline: Pipeline,
    /// Traces.
    pub tracing: Tracing,
    /// Metrics: `metric` with `metrics` over it.
    pub metrics: Metrics,
    /// What the application may read from each secret store.
    pub secret_scopes: Vec<SecretScope>,
    /// Which applications may call this one; `None` when the file sets it to `null`.
    pub access_control: Option<AccessControl>,
    /// How other applications are found; `None` means the mode's default.
    pub name_resolution: Option<NameResolution>,
    /// Feature switches as written, with the default ones added.
    pub features: Vec<Feature>,
    /// Which parts of the API exist.
    pub api: ApiAccess,
    /// Component types that may not be instantiated (`TYPE` or `TYPE/VERSION`).
    pub denied_components: Vec<String>,
    /// Logging of API calls.
    pub api_logging: ApiLogging,
}

/// Logging of API calls.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ApiLogging {
    /// Whether calls are logged; `--enable-api-logging` overrides it.
    #[serde(deserialize_with = "lenient::or_default")]
    pub enabled: bool,
    /// Log the endpoint's name in place of the path.
    #[serde(rename = "obfuscateURLs", deserialize_with = "lenient::or_default")]
    pub obfuscate_urls: bool,
    /// Leave health checks out.
    #[serde(deserialize_with = "lenient::or_default")]
    pub omit_health_checks: bool,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Document {
    #[serde(deserialize_with = "lenient::or_default")]
    metadata: ObjectMeta,
    #[serde(deserialize_with = "lenient::or_default")]
    spec: Spec,
}

#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    #[serde(deserialize_with = "lenient::or_default")]
    http_pipeline: Pipeline,
    #[serde(deserialize_with = "lenient::or_default")]
    app_http_pipeline: Pipeline,
    #[serde(deserialize_with = "lenient::or_default")]
    tracing: Tracing,
    #[serde(deserialize_with = "lenient::or_default")]
    metric: Metrics,
    #[serde(deserialize_with = "lenient::or_default")]
    metrics: Metrics,
    #[serde(deserialize_with = "lenient::or_default")]
    secrets: Secrets,
    access_control: Option<AccessControl>,
    name_resolution: Option<NameResolution>,
    #[serde(deserialize_with = "lenient::or_default")]
    features: Vec<Feature>,
    #[serde(deserialize_with = "lenient::or_default")]
    api: ApiAccess,
    #[serde(deserialize_with = "lenient::or_default")]
    components: Components,
    #[serde(deserialize_with = "lenient::or_default")]
    logging: Logging,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            http_pipeline: Pipeline::default(),
            app_http_pipeline: Pipeline::default(),
            tracing: Tracing::default(),
            metric: Metrics::default(),
            metrics: Metrics::default(),
            secrets: Secrets::default(),
            // Absent is not null: without the section every application may call.
            access_control: Some(AccessControl::default()),
            name_resolution: None,
            features: Vec::new(),
            api: ApiAccess::default(),
            components: Components::default(),
            logging: Logging::default(),
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Secrets {
    #[serde(deserialize_with = "lenient::or_default")]
    scopes: Vec<SecretScope>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Components {
    #[serde(deserialize_with = "lenient::texts")]
    deny: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Logging {
    #[serde(deserialize_with = "lenient::or_default")]
    api_logging: ApiLogging,
}

impl Default for Configuration {
    fn default() -> Self {
        Self::from(Document::default())
    }
}

impl Configuration {
    /// Types one document. Its `kind` is not looked at: Dapr takes whatever `--config` names.
    pub fn from_document(document: Value) -> Result<Self, FileErrorKind> {
        if document.is_null() {
            return Ok(Self::default());
        }
        let document: Document = typed(document)?;
        access::check_secret_scopes(&document.spec.secrets.scopes)?;
        Ok(Self::from(document))
    }

    /// Whether a feature is on.
    #[must_use]
    pub fn is_feature_enabled(&self, name: &str) -> bool {
        self.enabled_features().contains(&name)
    }

    /// The features that are on, each once.
    #[must_use]
    pub fn enabled_features(&self) -> Vec<&str> {
        let mut enabled: Vec<&str> = Vec::new();
        for feature in self.features.iter().filter(|feature| !feature.name.is_empty()) {
            enabled.retain(|name| *name != feature.name);
            if feature.enabled {
                enabled.push(&feature.name);
            }
        }
        enabled
    }

    /// The rules for a secret store; `None` means that everything may be read.
    #[must_use]
    pub fn secret_scope(&self, store: &str) -> Option<&SecretScope> {
        self.secret_scopes.iter().find(|scope| scope.store_name == store)
    }

    /// Whether a component type may not be instantiated.
    #[must_use]
    pub fn denies_component(&self, component_type: &str, version: &str) -> bool {
        access::denies_component(&self.denied_components, component_type, version)
    }
}

impl From<Document> for Configuration {
    fn from(document: Document) -> Self {
        let Document { metadata, spec } = document;
        let mut features = spec.features;
        for name in DEFAULT_FEATURES {
            if !features.iter().any(|feature| feature.name == name) {
                features.push(Feature { name: name.to_owned(), enabled: true });
            }
        }
        Self {
            name: metadata.name,
            http_pipeline: spec.http_pipeline,
            app_http_pipeline: spec.app_http_pipeline,
            tracing: spec.tracing,
            metrics: spec.metric.overlaid(spec.metrics),
            secret_scopes: spec.secrets.scopes,
            access_control: spec.access_control,
            name_resolution: spec.name_resolution,
            features,
            api: spec.api,
            denied_components: spec.components.deny,
            api_logging: spec.logging.api_logging,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    pub(super) fn read(text: &str) -> Configuration {
        Configuration::from_document(yaml::parse(text).unwrap()).unwrap()
    }

    #[test]
    fn holds_daprs_defaults_without_a_file() {
        let configuration = Configuration::default();
        assert!(configuration.metrics.is_enabled());
        assert_eq!(configuration.tracing.rate(), DEFAULT_SAMPLING_RATE);
        assert_eq!(configuration.access_control, Some(AccessControl::default()));
        assert!(configuration.is_feature_enabled("HotReload"));
        assert_eq!(configuration, read("spec:"));
        assert_eq!(read("spec: {accessControl: null}").access_control, None);
    }

    #[test]
    fn reads_every_section() {
        let configuration = read("
kind: Configuration
metadata: {name: all}
spec:
  future: {x: 1}
  httpPipeline: {handlers: [{name: up, type: middleware.http.uppercase, selector: {fields: [{field: a, value: b}]}}]}
  mtls: {enabled: true}
  secrets: {scopes: [{storeName: vault, defaultAccess: Deny, allowedSecrets: [b, a]}]}
  features: [{name: HotReload, enabled: false}, {name: ActorStateTTL, enabled: true}]
  api:
    allowed: [{name: state, version: v1.0, protocol: http}]
    denied: [{name: secrets, version: v1, protocol: GRPC}]
  components: {deny: [bindings.http]}
  logging: {apiLogging: {enabled: true, obfuscateURLs: true}}
  nameResolution: {component: sqlite, configuration: {connectionString: x}}
  accessControl: {defaultAction: deny, policies: [{appId: a, operations: [{name: /x, httpVerb: [GET], action: allow}]}]}
");
        assert_eq!(configuration.name, "all");
        let handler = &configuration.http_pipeline.handlers[0];
        assert_eq!((handler.name.as_str(), handler.selector.fields.len()), ("up", 1));
        assert_eq!(configuration.enabled_features(), ["ActorStateTTL", "WorkflowsRemoteActivityReminder"]);
        assert_eq!(configuration.api.allowed_for(ApiProtocol::Http), ["v1.0/state"]);
        assert_eq!(configuration.api.denied_for(ApiProtocol::Grpc), ["v1/secrets"]);
        assert!(configuration.denies_component("bindings.http", "v1"));
        assert!(configuration.api_logging.enabled && configuration.api_logging.obfuscate_urls);
        assert_eq!(configuration.name_resolution.as_ref().unwrap().component, "sqlite");
        let access = configuration.access_control.as_ref().unwrap();
        assert_eq!((access.default_action.as_str(), access.trust_domain.as_str()), ("deny", "public"));
        assert_eq!(access.policies[0].operations[0].http_verbs, ["GET"]);
        assert!(configuration.secret_scope("vault").unwrap().allows("a"));
    }
}
