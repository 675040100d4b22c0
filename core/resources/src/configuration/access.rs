//! What is allowed: secrets, API sections, component types, callers, preview features.

use serde::Deserialize;

use crate::{error::FileErrorKind, lenient};

/// What the application may read from one secret store.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SecretScope {
    /// The store.
    #[serde(deserialize_with = "lenient::text")]
    pub store_name: String,
    /// `allow` or `deny`, in any case; empty means `allow`.
    #[serde(deserialize_with = "lenient::text")]
    pub default_access: String,
    /// When not empty, the only secrets that may be read.
    #[serde(deserialize_with = "lenient::texts")]
    pub allowed_secrets: Vec<String>,
    /// Secrets that may not be read.
    #[serde(deserialize_with = "lenient::texts")]
    pub denied_secrets: Vec<String>,
}

impl SecretScope {
    /// Whether a secret may be read.
    #[must_use]
    pub fn allows(&self, secret: &str) -> bool {
        let listed = |list: &[String]| list.iter().any(|name| name == secret);
        if !self.allowed_secrets.is_empty() {
            return listed(&self.allowed_secrets);
        }
        !listed(&self.denied_secrets) && !self.default_access.eq_ignore_ascii_case("deny")
    }
}

/// Each store once, and only access words that exist; the texts are Dapr's.
pub(super) fn check_secret_scopes(scopes: &[SecretScope]) -> Result<(), FileErrorKind> {
    for (index, scope) in scopes.iter().enumerate() {
        let store = &scope.store_name;
        if scopes[..index].iter().any(|earlier| earlier.store_name == *store) {
            return Err(FileErrorKind::Rule(format!(
                "{store} storeName is repeated in secrets configuration"
            )));
        }
        let access = &scope.default_access;
        if !["", "allow", "deny"].iter().any(|known| access.eq_ignore_ascii_case(known)) {
            return Err(FileErrorKind::Rule(format!("defaultAccess {access} can be either allow or deny")));
        }
    }
    Ok(())
}

/// Which parts of the API exist.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct ApiAccess {
    /// When not empty for a protocol, the only parts that exist there.
    #[serde(deserialize_with = "lenient::or_default")]
    pub allowed: Vec<ApiRule>,
    /// Parts that do not exist.
    #[serde(deserialize_with = "lenient::or_default")]
    pub denied: Vec<ApiRule>,
}

/// A part of the API.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct ApiRule {
    /// Its name, such as `state`.
    #[serde(deserialize_with = "lenient::text")]
    pub name: String,
    /// Its version, such as `v1.0` (HTTP) or `v1` (gRPC).
    #[serde(deserialize_with = "lenient::text")]
    pub version: String,
    /// `http` or `grpc`, in any case.
    #[serde(deserialize_with = "lenient::text")]
    pub protocol: String,
}

/// The protocol that a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiProtocol {
    /// The HTTP API.
    Http,
    /// The gRPC API.
    Grpc,
}

impl ApiAccess {
    /// The allowed parts of one protocol as `VERSION/NAME`.
    #[must_use]
    pub fn allowed_for(&self, protocol: ApiProtocol) -> Vec<String> {
        keys(&self.allowed, protocol)
    }

    /// The denied parts of one protocol as `VERSION/NAME`.
    #[must_use]
    pub fn denied_for(&self, protocol: ApiProtocol) -> Vec<String> {
        keys(&self.denied, protocol)
    }

    /// Whether a part of one protocol exists. `part` is `VERSION/NAME`; `route` is `VERSION/` and the route, because a
    /// rule may also be the beginning of a path, as it was before parts had names.
    #[must_use]
    pub fn is_allowed(&self, protocol: ApiProtocol, part: &str, route: &str) -> bool {
        let holds =
            |rules: &[String]| rules.iter().any(|rule| rule == part || route.starts_with(rule.as_str()));
        let allowed = self.allowed_for(protocol);
        !holds(&self.denied_for(protocol)) && (allowed.is_empty() || holds(&allowed))
    }
}

fn keys(rules: &[ApiRule], protocol: ApiProtocol) -> Vec<String> {
    let wanted = match protocol {
        ApiProtocol::Http => "http",
        ApiProtocol::Grpc => "grpc",
    };
    let of_protocol = rules.iter().filter(|rule| rule.protocol.eq_ignore_ascii_case(wanted));
    of_protocol.map(|rule| format!("{}/{}", rule.version, rule.name)).collect()
}

/// A feature switch.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Feature {
    /// The feature.
    #[serde(deserialize_with = "lenient::text")]
    pub name: String,
    /// Whether it is on.
    #[serde(deserialize_with = "lenient::or_default")]
    pub enabled: bool,
}

/// Which applications may call this one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct AccessControl {
    /// `allow` or `deny` for callers without a policy.
    #[serde(deserialize_with = "lenient::text")]
    pub default_action: String,
    /// The trust domain of this application.
    #[serde(deserialize_with = "lenient::text")]
    pub trust_domain: String,
    /// Rules by caller.
    #[serde(deserialize_with = "lenient::or_default")]
    pub policies: Vec<AppPolicy>,
}

impl Default for AccessControl {
    fn default() -> Self {
        Self { default_action: "allow".to_owned(), trust_domain: "public".to_owned(), policies: Vec::new() }
    }
}

/// Rules for one caller.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct AppPolicy {
    /// The caller.
    #[serde(deserialize_with = "lenient::text")]
    pub app_id: String,
    /// `allow` or `deny` for operations without a rule.
    #[serde(deserialize_with = "lenient::text")]
    pub default_action: String,
    /// The caller's trust domain.
    #[serde(deserialize_with = "lenient::text")]
    pub trust_domain: String,
    /// The caller's namespace.
    #[serde(deserialize_with = "lenient::text")]
    pub namespace: String,
    /// Rules by operation.
    #[serde(deserialize_with = "lenient::or_default")]
    pub operations: Vec<AppOperation>,
}

/// A rule for one operation.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct AppOperation {
    /// The method's path, possibly with wildcards.
    #[serde(deserialize_with = "lenient::text")]
    pub name: String,
    /// The HTTP verbs it holds for, or `*`.
    #[serde(rename = "httpVerb", deserialize_with = "lenient::texts")]
    pub http_verbs: Vec<String>,
    /// `allow` or `deny`.
    #[serde(deserialize_with = "lenient::text")]
    pub action: String,
}

/// Whether a deny list holds a component: by `TYPE`, or by `TYPE/VERSION`. An entry of another shape is ignored.
pub(super) fn denies_component(denied: &[String], component_type: &str, version: &str) -> bool {
    let version = if version.is_empty() { "v1" } else { version };
    denied.iter().any(|entry| match entry.split_once('/') {
        None => entry == component_type,
        Some((denied_type, denied_version)) => denied_type == component_type && denied_version == version,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(default_access: &str, allowed: &[&str], denied: &[&str]) -> SecretScope {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        SecretScope {
            store_name: "s".into(),
            default_access: default_access.into(),
            allowed_secrets: owned(allowed),
            denied_secrets: owned(denied),
        }
    }

    #[test]
    fn scopes_secrets() {
        assert!(scope("", &[], &[]).allows("a"));
        assert!(!scope("Deny", &[], &[]).allows("a"));
        assert!(!scope("allow", &[], &["a"]).allows("a"));
        assert!(scope("deny", &["a"], &["a"]).allows("a"));
        assert!(!scope("allow", &["b"], &[]).allows("a"));
    }

    #[test]
    fn denies_components_by_type_or_version() {
        let denied = ["bindings.http".to_owned(), "state.redis/v2".to_owned(), "a/b/c".to_owned()];
        assert!(denies_component(&denied, "bindings.http", "v9"));
        assert!(denies_component(&denied, "state.redis", "v2"));
        assert!(!denies_component(&denied, "state.redis", ""));
        assert!(!denies_component(&denied, "Bindings.HTTP", "v1"));
    }

    #[test]
    fn limits_the_api() {
        let rule = |name: &str, protocol: &str| ApiRule {
            name: name.into(),
            version: "v1.0".into(),
            protocol: protocol.into(),
        };
        let access = ApiAccess {
            allowed: vec![rule("state", "http"), rule("secrets", "HTTP")],
            denied: vec![rule("secrets/{store}/bulk", "http")],
        };
        let http = |part: &str, route: &str| access.is_allowed(ApiProtocol::Http, part, route);
        assert!(http("v1.0/state", "v1.0/state/{store}"));
        assert!(http("v1.0/secrets", "v1.0/secrets/{store}/{key}"));
        assert!(!http("v1.0/secrets", "v1.0/secrets/{store}/bulk"));
        assert!(!http("v1.0/bindings", "v1.0/bindings/{name}"));
        assert!(access.is_allowed(ApiProtocol::Grpc, "v1/bindings", ""));
    }

    #[test]
    fn checks_scopes_in_daprs_words() {
        let text = |scopes: &[SecretScope]| check_secret_scopes(scopes).unwrap_err().to_string();
        let twice = [scope("", &[], &[]), scope("", &[], &[])];
        assert_eq!(text(&twice), "s storeName is repeated in secrets configuration");
        assert_eq!(text(&[scope("maybe", &[], &[])]), "defaultAccess maybe can be either allow or deny");
    }
}
