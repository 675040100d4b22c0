//! `mecha components`: what settings and resource files declare, without opening anything.

use anyhow::Result;
use mecha_resources::{Component, Loaded, Resource, Subscription, load_dir};
use mecha_settings::Resolved;

/// What is declared, each with where that was.
#[derive(Default)]
pub(crate) struct Declared {
    pub(crate) components: Vec<(Component, String)>,
    pub(crate) subscriptions: Vec<Subscription>,
    /// Files that cannot be used.
    pub(crate) problems: Vec<String>,
}

/// Everything that settings and resource files declare.
pub(crate) fn declared(resolved: &Resolved) -> Declared {
    let mut declared = Declared::default();
    for folder in &resolved.settings.resources.paths {
        let (resources, errors) = load_dir(folder);
        declared.problems.extend(errors.iter().map(ToString::to_string));
        for Loaded { value, file, .. } in resources {
            let file = file.display().to_string();
            match value {
                Resource::Component(component) => declared.components.push((component, file)),
                Resource::Subscription(subscription) => declared.subscriptions.push(subscription),
                // A Configuration is named by a flag; the other kinds have no building block yet.
                _ => {}
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
