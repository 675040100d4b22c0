//! `mecha components`: what settings and resource files declare, without opening anything.

use anyhow::Result;
use mecha_resources::{Component, Loaded, Resource, load_dir};
use mecha_settings::Resolved;

/// Every declared component with where it was declared, and every file that cannot be used.
pub(crate) fn declared(resolved: &Resolved) -> (Vec<(Component, String)>, Vec<String>) {
    let (mut components, mut problems) = (Vec::new(), Vec::new());
    for folder in &resolved.settings.resources.paths {
        let (resources, errors) = load_dir(folder);
        problems.extend(errors.iter().map(ToString::to_string));
        for Loaded { value, file, .. } in resources {
            if let Resource::Component(component) = value {
                components.push((component, file.display().to_string()));
            }
        }
    }
    let defined = resolved.settings.components.define.iter();
    let origin = resolved.origins.of("components.define").to_string();
    components.extend(defined.map(|definition| (definition.to_component(), origin.clone())));
    (components, problems)
}

/// The declared components as a table.
pub(crate) fn list(resolved: &Resolved) -> Result<String> {
    let (components, problems) = declared(resolved);
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
