//! Placeholders in metadata values: `{uuid}`, `{podName}`, `{namespace}`, `{appID}`.

use std::fmt;

/// What the placeholders stand for.
#[derive(Clone, Copy)]
pub struct TemplateContext<'a> {
    /// The application's id.
    pub app_id: &'a str,
    /// The namespace (`NAMESPACE` of the environment), empty when unset.
    pub namespace: &'a str,
    /// The pod's name (`POD_NAME` of the environment).
    pub pod_name: Option<&'a str>,
    /// Makes a fresh UUID; called once for each `{uuid}`.
    pub uuid: &'a dyn Fn() -> String,
}

impl fmt::Debug for TemplateContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TemplateContext")
            .field("app_id", &self.app_id)
            .field("namespace", &self.namespace)
            .field("pod_name", &self.pod_name)
            .finish_non_exhaustive()
    }
}

/// A value refers to `{podName}`, and there is no pod name. The text is Dapr's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to parse metadata: property {property} refers to {{podName}} but podName is not set")]
pub struct PodNameUnset {
    /// The metadata entry.
    pub property: String,
}

/// Fills in the placeholders of one value. `{namespace}` becomes `<namespace>.<app id>`, not the namespace alone:
/// Dapr uses it to name consumers, which must differ between applications of one namespace.
pub fn expand(property: &str, value: &str, context: &TemplateContext<'_>) -> Result<String, PodNameUnset> {
    if !value.contains('{') {
        return Ok(value.to_owned());
    }
    let mut text = value.to_owned();
    while let Some(at) = text.find("{uuid}") {
        text.replace_range(at..at + "{uuid}".len(), &(context.uuid)());
    }
    if text.contains("{podName}") {
        let pod = context.pod_name.filter(|name| !name.is_empty());
        let pod = pod.ok_or_else(|| PodNameUnset { property: property.to_owned() })?;
        text = text.replace("{podName}", pod);
    }
    let namespace = format!("{}.{}", context.namespace, context.app_id);
    Ok(text.replace("{namespace}", &namespace).replace("{appID}", context.app_id))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn filled(value: &str, pod_name: Option<&str>) -> Result<String, PodNameUnset> {
        let made = Cell::new(0);
        let uuid = || {
            made.set(made.get() + 1);
            format!("u{}", made.get())
        };
        expand("p", value, &TemplateContext { app_id: "app", namespace: "ns", pod_name, uuid: &uuid })
    }

    #[test]
    fn fills_every_placeholder() {
        assert_eq!(filled("{uuid}/{uuid}", None).unwrap(), "u1/u2");
        assert_eq!(filled("{namespace}-{appID}-{podName}", Some("pod")).unwrap(), "ns.app-app-pod");
        assert_eq!(filled("{appid} {other} plain", None).unwrap(), "{appid} {other} plain");
    }

    #[test]
    fn refuses_a_pod_name_that_is_not_there() {
        let expected = "failed to parse metadata: property p refers to {podName} but podName is not set";
        assert_eq!(filled("{podName}", None).unwrap_err().to_string(), expected);
        assert!(filled("{podName}", Some("")).is_err());
    }
}
