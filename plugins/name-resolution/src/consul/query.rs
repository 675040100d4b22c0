//! How the agent is asked for services: Dapr's `queryOptions` as Consul's parameters.

use mecha_plugin_api::{ComponentSpec, Result};

use super::json::Object;

/// Parameters of every question.
#[derive(Clone, Default)]
pub(super) struct Query {
    pub(super) parameters: Vec<(&'static str, String)>,
    /// Whether the agent may answer from its cache, and how old that may be.
    pub(super) cached: Option<String>,
    pub(super) token: Option<String>,
    /// How long the agent may think when it is asked for changes.
    pub(super) wait: Option<std::time::Duration>,
}

impl Query {
    pub(super) fn read(spec: &ComponentSpec) -> Result<Self> {
        let Some(options) = Object::read(spec, "queryOptions")? else {
            return Ok(Self { cached: Some(String::new()), ..Self::default() });
        };
        let mut parameters = Vec::new();
        for (field, parameter) in [("datacenter", "dc"), ("near", "near"), ("filter", "filter")] {
            parameters.extend(options.text(field)?.map(|text| (parameter, text)));
        }
        for (field, parameter) in [
            ("allowStale", "stale"),
            ("requireConsistent", "consistent"),
            ("localOnly", "local-only"),
            ("connect", "connect"),
        ] {
            parameters.extend(options.flag(field)?.then(|| (parameter, "true".to_owned())));
        }
        let relay = options.number("relayFactor")?;
        parameters.extend((relay > 0).then(|| ("relay-factor", relay.to_string())));
        let meta = options.pairs("nodeMeta")?;
        parameters.extend(meta.into_iter().map(|(key, value)| ("node-meta", format!("{key}:{value}"))));
        let cached = options.flag("useCache")? && !options.flag("requireConsistent")?;
        Ok(Self {
            parameters,
            cached: if cached { Some(cache_control(&options)?) } else { None },
            token: options.text("token")?,
            wait: options.duration("waitTime")?,
        })
    }
}

/// The header that says how old an answer may be.
fn cache_control(options: &Object) -> Result<String> {
    let age = options.duration("maxAge")?.map(|age| format!("max-age={}", age.as_secs()));
    let stale = options.duration("staleIfError")?.map(|age| format!("stale-if-error={}", age.as_secs()));
    Ok(age.into_iter().chain(stale).collect::<Vec<_>>().join(", "))
}
