//! Dapr's settings for Consul.

use std::time::Duration;

use mecha_plugin_api::{ComponentSpec, Error, Result};
use serde_json::{Map, Value};

use super::json::{self, Object};
use super::query::Query;

const ADDRESS: &str = "127.0.0.1:8500";
const PORT_KEY: &str = "DAPR_PORT";

/// How services are registered and found.
pub(super) struct Settings {
    pub(super) agent: Agent,
    pub(super) query: Query,
    /// Under which name the port for calls stands in a service's metadata.
    pub(super) port_key: String,
    pub(super) self_register: bool,
    pub(super) self_deregister: bool,
    pub(super) use_cache: bool,
    pub(super) checks: Vec<Value>,
    pub(super) tags: Vec<Value>,
    pub(super) meta: Map<String, Value>,
    /// Registered as it is, in place of what would be made out of the rest.
    pub(super) advanced: Option<Map<String, Value>>,
}

/// The way to the agent.
#[derive(Clone, Default)]
pub(super) struct Agent {
    /// `http://host:port`, without a path.
    pub(super) base: String,
    pub(super) datacenter: Option<String>,
    pub(super) basic_auth: Option<(String, String)>,
    pub(super) token: Option<String>,
    pub(super) token_file: Option<String>,
    pub(super) wait: Option<Duration>,
    pub(super) tls: Tls,
}

/// Files and names of an encrypted connection.
#[derive(Clone, Default)]
pub(super) struct Tls {
    /// The name that the server's certificate must have, where it is not that of the address.
    pub(super) server_name: Option<String>,
    pub(super) ca_file: Option<String>,
    pub(super) ca_path: Option<String>,
    pub(super) cert_file: Option<String>,
    pub(super) key_file: Option<String>,
    pub(super) insecure_skip_verify: bool,
}

impl Settings {
    pub(super) fn new(spec: &ComponentSpec) -> Result<Self> {
        Ok(Self {
            agent: agent(&Object::read(spec, "client")?.unwrap_or_default())?,
            query: Query::read(spec)?,
            port_key: spec.text("daprPortMetaKey").unwrap_or(PORT_KEY).to_owned(),
            self_register: spec.flag("selfRegister"),
            self_deregister: spec.flag("selfDeregister"),
            use_cache: spec.flag("useCache"),
            checks: list(spec, "checks")?,
            tags: list(spec, "tags")?,
            meta: Object::read(spec, "meta")?.unwrap_or_default().into_fields(),
            advanced: Object::read(spec, "advancedRegistration")?.map(Object::into_fields),
        })
    }

    /// Whether anything is registered.
    pub(super) fn registers(&self) -> bool {
        self.self_register || self.advanced.is_some()
    }
}

fn list(spec: &ComponentSpec, field: &str) -> Result<Vec<Value>> {
    match json::setting(spec, field)? {
        None => Ok(Vec::new()),
        Some(Value::Array(list)) => Ok(list),
        Some(_) => Err(json::wrong(field, "a list")),
    }
}

fn agent(client: &Object) -> Result<Agent> {
    let tls = client.object("tlsConfig")?;
    let auth = client.object("httpAuth")?;
    let user = auth.text("username")?;
    let password = auth.text("password")?.unwrap_or_default();
    let tls = Tls {
        server_name: tls.text("address")?,
        ca_file: tls.text("caFile")?,
        ca_path: tls.text("caPath")?,
        cert_file: tls.text("certFile")?,
        key_file: tls.text("keyFile")?,
        insecure_skip_verify: tls.flag("insecureSkipVerify")?,
    };
    let address = client.text("address")?.or_else(|| environment("CONSUL_HTTP_ADDR"));
    Ok(Agent {
        base: base(&address.unwrap_or_else(|| ADDRESS.to_owned()), client.text("scheme")?.as_deref())?,
        datacenter: client.text("datacenter")?,
        basic_auth: user.map(|user| (user, password)),
        token: client.text("token")?.or_else(|| environment("CONSUL_HTTP_TOKEN")),
        token_file: client.text("tokenFile")?.or_else(|| environment("CONSUL_HTTP_TOKEN_FILE")),
        wait: client.duration("waitTime")?,
        tls,
    })
}

/// Consul's own variables, which its clients read where nothing is set.
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn base(address: &str, scheme: Option<&str>) -> Result<String> {
    let (scheme, authority) = match address.split_once("://") {
        Some((scheme, authority)) => (scheme, authority),
        None => (scheme.unwrap_or("http"), address),
    };
    if scheme != "http" && scheme != "https" {
        return Err(Error::invalid(format!("{scheme} is no scheme; http and https are")).with_field("client"));
    }
    let base = format!("{scheme}://{}", authority.trim_end_matches('/'));
    match base.parse::<http::Uri>() {
        Ok(uri) if uri.host().is_some_and(|host| !host.is_empty()) => Ok(base),
        _ => Err(Error::invalid(format!("{address} is no address of an agent")).with_field("client")),
    }
}
