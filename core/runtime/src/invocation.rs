//! Service invocation put together from what is declared: how others are found, and the services outside.

use std::collections::HashMap;
use std::sync::Arc;

use mecha_app_channel::AppChannel;
use mecha_identity::Mtls;
use mecha_invocation::access::{AccessError, AccessList, AccessRules, CallerRules, Identity, OperationRule};
use mecha_invocation::resolve::{Balanced, Resolve, Table};
use mecha_invocation::{Endpoint, EndpointError, Host, Invocation, InvocationConfig, Mdns};
use mecha_observability::Metrics;
use mecha_resources::component::{Component, MetadataItem};
use mecha_resources::configuration::{AccessControl, AppOperation, NameResolution};
use mecha_resources::http_endpoint::TlsDocument;
use mecha_resources::{HttpEndpoint, select_for};
use serde_json::Value;

use crate::App;
use crate::definition::{Definition, ResolveError};
use crate::name_resolution::{self, Finder, Source};
use crate::policies::Policies;
use crate::registry::Registry;

/// Why service invocation cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum InvocationError {
    /// Two endpoints of one name.
    #[error("failed to load HTTP endpoints: {0}")]
    Duplicates(#[from] mecha_resources::Duplicates),
    /// An endpoint refers to what is not there.
    #[error("HTTP endpoint {endpoint}: {source}")]
    Reference {
        /// The endpoint.
        endpoint: String,
        /// What is missing.
        source: Box<ResolveError>,
    },
    /// An endpoint says what cannot be.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// Nobody can tell who may call.
    #[error(transparent)]
    Access(#[from] AccessError),
}

/// What invocation is put together from.
pub(crate) struct Parts<'a> {
    pub(crate) app: &'a Arc<App>,
    pub(crate) channel: Option<Arc<AppChannel>>,
    pub(crate) registry: &'a Registry,
    pub(crate) env: &'a HashMap<String, String>,
    pub(crate) endpoints: Vec<HttpEndpoint>,
    pub(crate) name_resolution: Option<&'a NameResolution>,
    pub(crate) resolvers: Source,
    pub(crate) max_body_size: usize,
    pub(crate) policies: Arc<Policies>,
    pub(crate) access: Option<&'a AccessControl>,
    pub(crate) mtls: Option<Arc<Mtls>>,
    pub(crate) metrics: Arc<Metrics>,
}

pub(crate) async fn invocation(parts: Parts<'_>) -> Result<Invocation, InvocationError> {
    let Parts { app, channel, registry, env, endpoints, name_resolution, .. } = parts;
    let access = access_list(parts.access, channel.as_deref())?;
    let endpoints = ready(endpoints, app, registry, env).await?;
    let host = Host::new(env.get("DAPR_HOST_IP").map(String::as_str));
    Ok(Invocation::new(InvocationConfig {
        app_id: app.id.to_string(),
        namespace: app.namespace.to_string(),
        channel,
        resolver: resolver(name_resolution, parts.resolvers, app, &host),
        endpoints,
        host,
        max_body_size: parts.max_body_size,
        policies: parts.policies,
        access,
        mtls: parts.mtls,
        metrics: parts.metrics,
    })?)
}

/// Who may call, ready to be asked; `None` is everybody.
pub(crate) fn access_list(
    access: Option<&AccessControl>,
    channel: Option<&AppChannel>,
) -> Result<Option<AccessList>, AccessError> {
    let said = |access: &&AccessControl| {
        !access.default_action.is_empty() || !access.trust_domain.is_empty() || !access.policies.is_empty()
    };
    let Some(access) = access.filter(said) else { return Ok(None) };
    let is_http = channel.is_none_or(|channel| matches!(channel, AppChannel::Http(_)));
    let callers = access.policies.iter().map(|policy| CallerRules {
        identity: Identity {
            trust_domain: policy.trust_domain.clone(),
            namespace: policy.namespace.clone(),
            app_id: policy.app_id.clone(),
        },
        default_action: policy.default_action.clone(),
        operations: policy.operations.iter().map(operation).collect(),
    });
    let rules = AccessRules { default_action: access.default_action.clone(), callers: callers.collect() };
    AccessList::new(rules, is_http).map(Some)
}

fn operation(operation: &AppOperation) -> OperationRule {
    OperationRule {
        name: operation.name.clone(),
        http_verbs: operation.http_verbs.clone(),
        action: operation.action.clone(),
    }
}

/// The endpoints that are for an application, with their secrets in place.
pub(crate) async fn ready(
    endpoints: Vec<HttpEndpoint>,
    app: &Arc<App>,
    registry: &Registry,
    env: &HashMap<String, String>,
) -> Result<Vec<Endpoint>, InvocationError> {
    let namespace = (!app.namespace.is_empty()).then_some(&*app.namespace);
    let mut ready = Vec::new();
    for endpoint in select_for(endpoints, &app.id, namespace)? {
        let name = endpoint.name.clone();
        let resolved = resolved(endpoint, app, registry, env).await;
        let refused = |error| InvocationError::Reference { endpoint: name, source: Box::new(error) };
        ready.push(resolved.map_err(refused)?);
    }
    Ok(ready)
}

/// The way to others that the Configuration chooses.
fn resolver(
    name_resolution: Option<&NameResolution>,
    resolvers: Source,
    app: &Arc<App>,
    host: &Host,
) -> Arc<dyn Resolve> {
    if name_resolution::plugin(name_resolution).is_some() {
        return Arc::new(Balanced::new(Finder::new(resolvers, app.clone(), host.clone())));
    }
    let is_static = name_resolution.is_some_and(|chosen| chosen.component.eq_ignore_ascii_case("static"));
    match is_static {
        true => Arc::new(Table::new(addresses(name_resolution))),
        false => Arc::new(Mdns::start(&app.id, host.clone())),
    }
}

/// `APP: ADDRESS` or `APP: [ADDRESS, …]`.
fn addresses(name_resolution: Option<&NameResolution>) -> HashMap<String, Vec<String>> {
    let Some(Value::Object(apps)) = name_resolution.map(|chosen| &chosen.configuration) else {
        return HashMap::new();
    };
    let list = |value: &Value| match value {
        Value::String(address) => vec![address.clone()],
        Value::Array(list) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    apps.iter().map(|(app, value)| (app.clone(), list(value))).collect()
}

/// Under these names the documents of an endpoint's TLS are looked up among its headers' values.
const TLS: [&str; 3] = ["clientTLS.rootCA", "clientTLS.certificate", "clientTLS.privateKey"];

/// An endpoint with its secrets in place. They are found as a component's are.
async fn resolved(
    endpoint: HttpEndpoint,
    app: &Arc<App>,
    registry: &Registry,
    env: &HashMap<String, String>,
) -> Result<Endpoint, ResolveError> {
    let tls = endpoint.client_tls.unwrap_or_default();
    let documents = [tls.root_ca, tls.certificate, tls.private_key];
    let documents = TLS.into_iter().zip(documents).filter_map(|(name, document)| item(name, document?));
    let mut resource = Component::new(&endpoint.name, "httpendpoint");
    resource.metadata = endpoint.headers.into_iter().chain(documents).collect();
    resource.secret_store = endpoint.secret_store;
    let definition = Definition { resource, origin: String::new() };
    let resolved = definition.resolve(app, registry, env).await?;
    let (mut headers, mut documents) = (Vec::new(), HashMap::new());
    for property in resolved.properties {
        if TLS.contains(&property.name.as_str()) {
            documents.insert(property.name, property.value);
        } else {
            headers.push((property.name, property.value));
        }
    }
    let mut document = |at: usize| documents.remove(TLS[at]);
    Ok(Endpoint {
        name: endpoint.name,
        base_url: endpoint.base_url,
        headers,
        root_ca: document(0),
        identity: document(1).zip(document(2)),
    })
}

fn item(name: &str, document: TlsDocument) -> Option<MetadataItem> {
    let is_there = document.value.is_some() || document.secret_key_ref.is_some();
    is_there.then(|| MetadataItem {
        name: name.to_owned(),
        value: document.value,
        secret_key_ref: document.secret_key_ref,
        env_ref: None,
    })
}
