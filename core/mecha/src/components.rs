//! `mecha components`: what settings and resource files declare, without opening anything.

use anyhow::Result;
use mecha_resources::{
    Component, FileError, HttpEndpoint, Loaded, Resiliency, Resource, Subscription, load_dir,
};
use mecha_settings::Resolved;

/// What is declared, each with where that was.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Declared {
    pub(crate) components: Vec<(Component, String)>,
    pub(crate) subscriptions: Vec<(Subscription, String)>,
    pub(crate) resiliencies: Vec<(Resiliency, String)>,
    pub(crate) endpoints: Vec<(HttpEndpoint, String)>,
    /// Files that cannot be used.
    pub(crate) problems: Vec<FileError>,
}

impl Declared {
    /// With what `before` held of files that cannot be used now: a broken file changes nothing.
    pub(crate) fn with_last_good(mut self, before: &Self) -> Self {
        let broken: Vec<String> =
            self.problems.iter().map(|problem| problem.file.display().to_string()).collect();
        let is_kept = |origin: &String| broken.contains(origin);
        self.components.retain(|(_, origin)| !is_kept(origin));
        self.components.extend(before.components.iter().filter(|(_, origin)| is_kept(origin)).cloned());
        self.subscriptions.retain(|(_, origin)| !is_kept(origin));
        self.subscriptions.extend(before.subscriptions.iter().filter(|(_, origin)| is_kept(origin)).cloned());
        self.resiliencies.retain(|(_, origin)| !is_kept(origin));
        self.resiliencies.extend(before.resiliencies.iter().filter(|(_, origin)| is_kept(origin)).cloned());
        self.endpoints.retain(|(_, origin)| !is_kept(origin));
        self.endpoints.extend(before.endpoints.iter().filter(|(_, origin)| is_kept(origin)).cloned());
        self
    }

    /// Whether a service outside refers to secrets.
    pub(crate) fn has_endpoint_secrets(&self) -> bool {
        self.endpoints.iter().any(|(endpoint, _)| endpoint.secret_store.is_some())
    }

    /// The services outside.
    pub(crate) fn http_endpoints(&self) -> Vec<HttpEndpoint> {
        self.endpoints.iter().map(|(endpoint, _)| endpoint.clone()).collect()
    }

    /// The policies, in the order of their files.
    pub(crate) fn policies(&self) -> Vec<Resiliency> {
        self.resiliencies.iter().map(|(resiliency, _)| resiliency.clone()).collect()
    }
}

/// Everything that settings and resource files declare.
pub(crate) fn declared(resolved: &Resolved) -> Declared {
    let mut declared = Declared::default();
    for folder in &resolved.settings.resources.paths {
        let (resources, errors) = load_dir(folder);
        declared.problems.extend(errors);
        for Loaded { value, file, .. } in resources {
            let file = file.display().to_string();
            match value {
                Resource::Component(component) => declared.components.push((component, file)),
                Resource::Subscription(subscription) => declared.subscriptions.push((subscription, file)),
                Resource::Resiliency(resiliency) => declared.resiliencies.push((*resiliency, file)),
                Resource::HttpEndpoint(endpoint) => declared.endpoints.push((endpoint, file)),
                // It is named by a flag.
                Resource::Configuration(_) => {}
            }
        }
    }
    let defined = resolved.settings.components.define.iter();
    let origin = resolved.origins.of("components.define").to_string();
    declared.components.extend(defined.map(|definition| (definition.to_component(), origin.clone())));
    declared
}

/// The declared components as a table.
pub(crate) fn list(resolved: &Resolved) -> Result<String> {
    let Declared { components, problems, .. } = declared(resolved);
    let mut lines: Vec<String> = Vec::new();
    for (component, origin) in &components {
        let scopes = if component.scopes.is_empty() { "all".to_owned() } else { component.scopes.join(",") };
        let (name, type_name) = (&component.name, &component.component_type);
        lines.push(format!(
            "{name:<24} {type_name}/{:<8} scopes: {scopes:<12} {origin}",
            component.version_or_default()
        ));
    }
    if lines.is_empty() {
        lines.push("no components are declared; name a folder with --resources-path".to_owned());
    }
    lines.extend(problems.iter().map(|problem| format!("problem: {problem}")));
    Ok(lines.join("\n"))
}
