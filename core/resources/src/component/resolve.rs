//! Declared metadata → the properties that a plugin gets.

use std::fmt;

use super::{
    Component, EnvRefRefused, MetadataItem, PodNameUnset, Redacted, SecretKeyRef, TemplateContext, expand,
    names_a_secret, resolve_env_ref, value::unquoted,
};

/// Where a property's value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueSource {
    /// The file itself.
    Literal,
    /// A secret store.
    Secret,
    /// The environment.
    Environment,
}

/// A property, ready for the plugin. `Debug` and [`Property::redacted`] hide the value when it is a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Property {
    /// The name, as the file spells it.
    pub name: String,
    /// The value.
    pub value: String,
    /// Where the value came from.
    pub source: ValueSource,
}

impl Property {
    /// The value for a log or a page.
    #[must_use]
    pub fn redacted(&self) -> Redacted<'_> {
        Redacted::new(&self.value, self.source != ValueSource::Literal || names_a_secret(&self.name))
    }
}

impl fmt::Debug for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Property")
            .field("name", &self.name)
            .field("value", &self.redacted())
            .field("source", &self.source)
            .finish()
    }
}

/// What a component's metadata may refer to.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// The placeholders.
    pub template: TemplateContext<'a>,
    /// The environment.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// The secrets, fetched beforehand ([`Component::secret_refs`] lists them); `None` when one is missing.
    pub secret: &'a dyn Fn(&SecretKeyRef) -> Option<String>,
}

impl fmt::Debug for Sources<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").field("template", &self.template).finish_non_exhaustive()
    }
}

/// A component's properties, and what could not be followed on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// In file order, each name once (the last of a repeated one, as in Dapr).
    pub properties: Vec<Property>,
    /// `envRef`s that were refused; their properties are empty. Dapr warns and goes on.
    pub refused: Vec<EnvRefRefused>,
    /// Secrets that were not found; the value beside the reference is used, or empty.
    pub missing: Vec<SecretKeyRef>,
}

impl Component {
    /// Follows every reference and fills in every placeholder.
    pub fn resolve(&self, sources: &Sources<'_>) -> Result<Resolved, PodNameUnset> {
        let mut resolved = Resolved { properties: Vec::new(), refused: Vec::new(), missing: Vec::new() };
        for item in &self.metadata {
            let (raw, source) = raw_value(item, sources, &mut resolved);
            let value = expand(&item.name, &raw, &sources.template)?;
            resolved.properties.retain(|property| property.name != item.name);
            resolved.properties.push(Property { name: item.name.clone(), value, source });
        }
        Ok(resolved)
    }
}

fn raw_value(item: &MetadataItem, sources: &Sources<'_>, resolved: &mut Resolved) -> (String, ValueSource) {
    if let Some(variable) = item.environment() {
        let value = resolve_env_ref(variable, sources.env).unwrap_or_else(|refused| {
            resolved.refused.push(refused);
            String::new()
        });
        return (unquoted(value), ValueSource::Environment);
    }
    if let Some(reference) = item.secret() {
        if let Some(value) = (sources.secret)(reference).filter(|value| !value.is_empty()) {
            return (unquoted(value), ValueSource::Secret);
        }
        resolved.missing.push(reference.clone());
        return (item.value.clone().unwrap_or_default(), ValueSource::Secret);
    }
    (item.value.clone().unwrap_or_default(), ValueSource::Literal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component() -> Component {
        let secret = SecretKeyRef { name: "redis".into(), key: "password".into() };
        let missing = SecretKeyRef { name: "absent".into(), key: String::new() };
        Component {
            metadata: vec![
                MetadataItem::literal("host", "{appID}:6379"),
                MetadataItem { name: "pass".into(), secret_key_ref: Some(secret), ..MetadataItem::default() },
                MetadataItem {
                    name: "fallback".into(),
                    value: Some("given".into()),
                    secret_key_ref: Some(missing),
                    env_ref: None,
                },
                MetadataItem {
                    name: "user".into(),
                    env_ref: Some("USER_NAME".into()),
                    ..MetadataItem::default()
                },
                MetadataItem {
                    name: "bad".into(),
                    env_ref: Some("DAPR_X".into()),
                    ..MetadataItem::default()
                },
                MetadataItem::literal("host", "last:{appID}"),
            ],
            ..Component::new("store", "state.redis")
        }
    }

    fn resolved() -> Resolved {
        let uuid = String::new;
        let template = TemplateContext { app_id: "app", namespace: "", pod_name: None, uuid: &uuid };
        let env = |name: &str| (name == "USER_NAME").then(|| "env-value".to_owned());
        let secret =
            |reference: &SecretKeyRef| (reference.field() == "password").then(|| "hunter2".to_owned());
        component().resolve(&Sources { template, env: &env, secret: &secret }).unwrap()
    }

    #[test]
    fn follows_references_in_daprs_order() {
        let resolved = resolved();
        let pairs: Vec<(&str, &str)> =
            resolved.properties.iter().map(|p| (p.name.as_str(), p.value.as_str())).collect();
        let expected = [
            ("pass", "hunter2"),
            ("fallback", "given"),
            ("user", "env-value"),
            ("bad", ""),
            ("host", "last:app"),
        ];
        assert_eq!(pairs, expected);
        assert_eq!(resolved.refused, [EnvRefRefused("DAPR_X".into())]);
        assert_eq!(resolved.missing.len(), 1);
    }

    #[test]
    fn hides_secrets_in_debug_output() {
        let text = format!("{:?} {:?}", resolved(), component());
        for secret in ["hunter2", "env-value", "given"] {
            assert!(!text.contains(secret), "{text}");
        }
        assert!(text.contains("last:app"));
    }

    #[test]
    fn lists_each_secret_once() {
        let names: Vec<String> = component().secret_refs().iter().map(|r| r.field().to_owned()).collect();
        assert_eq!(names, ["password", "absent"]);
    }
}
