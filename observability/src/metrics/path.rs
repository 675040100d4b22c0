//! The label `path`: a request's path without the parts that differ from call to call, by Dapr's rules.

use std::borrow::Cow;

use super::http::HttpCardinality;
use super::pattern::Patterns;

/// Paths of the application that are never shortened or matched.
const STATIC_PATHS: [&str; 4] = ["/dapr/config", "/dapr/metrics", "/dapr/subscribe", "/healthz"];

/// The rules of one runtime.
#[derive(Debug)]
pub(super) struct PathLabels {
    increased: bool,
    patterns: Option<Patterns>,
}

impl PathLabels {
    pub(super) fn new(cardinality: &HttpCardinality) -> Self {
        let patterns =
            (!cardinality.path_matching.is_empty()).then(|| Patterns::new(&cardinality.path_matching));
        Self { increased: cardinality.increased, patterns }
    }

    /// The label of a path; empty when paths are not told apart.
    pub(super) fn label<'a>(&'a self, path: &'a str) -> Cow<'a, str> {
        match &self.patterns {
            Some(patterns) => self.matched(patterns, path),
            None if self.increased => shortened(path),
            None => Cow::Borrowed(""),
        }
    }

    fn matched<'a>(&'a self, patterns: &'a Patterns, path: &'a str) -> Cow<'a, str> {
        let path = normalized(path);
        if STATIC_PATHS.contains(&path.as_ref()) {
            return path;
        }
        if let Some(pattern) = patterns.find(&path) {
            return Cow::Borrowed(pattern);
        }
        let short = shortened(&path).into_owned();
        match patterns.find(&short).filter(|pattern| *pattern != "/") {
            Some(pattern) => Cow::Borrowed(pattern),
            None if self.increased => Cow::Owned(short),
            None => Cow::Borrowed(""),
        }
    }
}

/// One slash in front, none doubled.
pub(super) fn normalized(path: &str) -> Cow<'_, str> {
    if path.starts_with('/') && !path.contains("//") {
        return Cow::Borrowed(path);
    }
    let parts = path.split('/').filter(|part| !part.is_empty());
    let mut whole = parts.fold(String::with_capacity(path.len() + 1), |whole, part| whole + "/" + part);
    if path.ends_with('/') {
        whole.push('/');
    }
    Cow::Owned(whole)
}

/// Cuts keys, ids and names out of the paths of Dapr's API; other paths stay.
fn shortened(path: &str) -> Cow<'_, str> {
    if path.is_empty() {
        return Cow::Borrowed("");
    }
    match normalized(path) {
        Cow::Borrowed(path) => shortened_normal(path),
        Cow::Owned(path) => Cow::Owned(shortened_normal(&path).into_owned()),
    }
}

fn shortened_normal(path: &str) -> Cow<'_, str> {
    // As Dapr splits: what follows the sixth part stays with it.
    let mut parts = [""; 6];
    let mut count = 0;
    for (slot, part) in parts.iter_mut().zip(path[1..].splitn(6, '/')) {
        *slot = part;
        count += 1;
    }
    let parts = &mut parts[..count];
    match parts {
        [_, _] | [_] | [] => Cow::Borrowed(path),
        ["actors", _, id, ..] => {
            *id = "{id}";
            // Dapr leaves the first slash out here.
            Cow::Owned(parts.join("/"))
        }
        [version, block @ ("state" | "secrets"), component, ..] => {
            let length = version.len() + block.len() + component.len() + 3;
            Cow::Borrowed(&path[..length])
        }
        [_, "actors", _, id, _, ..] => {
            *id = "{id}";
            joined(&parts[..5])
        }
        [_, "workflows", _, _, ..] => workflow(parts),
        _ => Cow::Borrowed(path),
    }
}

fn workflow<'a>(parts: &mut [&'a str]) -> Cow<'a, str> {
    match parts {
        [_, _, _, id] => *id = "{instanceId}",
        [_, _, _, _, start] if start.starts_with("start") => *start = "start",
        [_, _, _, id, "raiseEvent", event] if !event.is_empty() => {
            *id = "{instanceId}";
            *event = "{eventName}";
        }
        [_, _, _, id, ..] => {
            *id = "{instanceId}";
            return joined(&parts[..5]);
        }
        _ => {}
    }
    joined(parts)
}

fn joined<'a>(parts: &[&str]) -> Cow<'a, str> {
    Cow::Owned(format!("/{}", parts.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variable_parts_are_cut_as_dapr_cuts_them() {
        let cases = [
            ("", ""),
            ("/", "/"),
            ("/v1.0/healthz", "/v1.0/healthz"),
            ("/v1.0/state/store", "/v1.0/state/store"),
            ("/v1.0/state/store/key/with/slashes", "/v1.0/state/store"),
            ("v1.0/state/store/key", "/v1.0/state/store"),
            ("//v1.0//state/store/key", "/v1.0/state/store"),
            ("/v1.0/secrets/vault/name", "/v1.0/secrets/vault"),
            ("/v1.0/publish/ps/topic", "/v1.0/publish/ps/topic"),
            ("/v1.0/invoke/app/method/orders/7", "/v1.0/invoke/app/method/orders/7"),
            ("/v1.0/actors/Demo/7/timer/name", "/v1.0/actors/Demo/{id}/timer"),
            ("/v1.0/actors/Demo/7", "/v1.0/actors/Demo/7"),
            ("/actors/Demo/7/method/run", "actors/Demo/{id}/method/run"),
            ("/v1.0/workflows/dapr/42", "/v1.0/workflows/dapr/{instanceId}"),
            ("/v1.0/workflows/dapr/flow/start", "/v1.0/workflows/dapr/flow/start"),
            ("/v1.0/workflows/dapr/42/pause", "/v1.0/workflows/dapr/{instanceId}/pause"),
            (
                "/v1.0/workflows/dapr/42/raiseEvent/go",
                "/v1.0/workflows/dapr/{instanceId}/raiseEvent/{eventName}",
            ),
        ];
        for (path, label) in cases {
            assert_eq!(shortened(path), label, "{path}");
        }
    }

    fn labels(increased: bool, patterns: &[&str]) -> PathLabels {
        let path_matching = patterns.iter().map(ToString::to_string).collect();
        PathLabels::new(&HttpCardinality { increased, exclude_verbs: false, path_matching })
    }

    #[test]
    fn low_cardinality_has_no_path() {
        assert_eq!(labels(false, &[]).label("/v1.0/state/store/key"), "");
    }

    #[test]
    fn patterns_come_first() {
        let low = labels(false, &["/orders/{id}", "/v1.0/state/store"]);
        assert_eq!(low.label("/orders/7"), "/orders/{id}");
        assert_eq!(low.label("/v1.0/invoke/app/method/orders/7"), "/v1.0/invoke/{app_id}/method/orders/{id}");
        assert_eq!(low.label("/v1.0/state/store/key"), "/v1.0/state/store");
        assert_eq!(low.label("/healthz"), "/healthz");
        assert_eq!(low.label("/orders/7/items"), "");
        let increased = labels(true, &["/orders/{id}"]);
        assert_eq!(increased.label("/orders/7"), "/orders/{id}");
        assert_eq!(increased.label("/v1.0/secrets/vault/name"), "/v1.0/secrets/vault");
    }
}
