//! Holds a runtime to refusing components for the right reason, telling no secret, and going on with the others.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mecha_testkit::{Mecha, MechaBuilder};
use serde_json::json;

const SOON: Duration = Duration::from_secs(20);

/// Stands for every secret in the metadata of these tests.
pub const SECRET: &str = "pl4nted-s3cret";

/// Names and values of metadata; a value that is given again replaces the first, an empty one is left out.
pub type Given<'a> = &'a [(&'a str, &'a str)];

/// What differs from metadata that is right, the field that is to be blamed, and a part of what is to be said about it.
pub type Row<'a> = (Given<'a>, &'a str, &'a str);

/// The component types of one plugin with metadata that would do, were it not for each row.
pub struct Group<'a> {
    pub plugin: &'a str,
    pub kinds: &'a [&'a str],
    pub base: Given<'a>,
    pub rows: &'a [&'a [Row<'a>]],
}

/// A component of metadata, which stops no start when it does not open.
pub fn component(name: &str, kind: &str, metadata: &[Given<'_>]) -> String {
    let mut merged: Vec<(&str, &str)> = Vec::new();
    for (key, value) in metadata.iter().flat_map(|given| given.iter()) {
        merged.retain(|(present, _)| present != key);
        merged.push((key, value));
    }
    let metadata: Vec<_> = merged
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| json!({"name": key, "value": value}))
        .collect();
    json!({
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Component",
        "metadata": {"name": name},
        "spec": {"type": kind, "version": "v1", "ignoreErrors": true, "metadata": metadata},
    })
    .to_string()
}

/// A runtime that has a store which works, whatever else is added to it.
pub fn runtime() -> MechaBuilder {
    Mecha::builder().app_id("app1").plugin("memory").component("well", "state.in-memory")
}

/// The runtime serves, has not panicked, and has told nobody the secret.
pub async fn unharmed(mecha: &Mecha) -> Result<()> {
    let url = mecha.http_url("/v1.0/state/well");
    let saved = mecha.http().post(&url, r#"[{"key":"k","value":1}]"#).await?;
    ensure!(saved.status == 204, "{}: {}", saved.status, saved.text());
    ensure!(mecha.http().get(&format!("{url}/k")).await?.text() == "1", "the store that works");
    for word in [SECRET, "panicked"] {
        let lines = mecha.logs().matching(word);
        ensure!(lines.is_empty(), "{word} is in the log: {lines:#?}");
    }
    let metadata = mecha.http().get(&mecha.http_url("/v1.0/metadata")).await?;
    ensure!(!metadata.text().contains(SECRET), "the metadata API tells the secret");
    Ok(())
}

fn failure(name: &str, kind: &str) -> String {
    format!("Failed to init component {name} ({kind}/v1): [INIT_COMPONENT_FAILURE]: ")
}

/// The line about a component that did not open.
pub async fn refusal(mecha: &Mecha, name: &str, kind: &str) -> Result<String> {
    mecha.logs().wait_for(&failure(name, kind), SOON).await.with_context(|| format!("{name} ({kind})"))
}

/// Whether the line blames the field and says this.
pub fn blames(line: &str, field: &str, says: &str) -> bool {
    line.contains(&format!("): {field}: ")) && line.contains(says)
}

/// Declares each row of a group as a component, all in one runtime, and asserts what is said of each.
pub async fn refused(group: &Group<'_>) -> Result<()> {
    let rows: Vec<_> = group.rows.iter().flat_map(|rows| rows.iter()).collect();
    let cases: Vec<_> =
        group.kinds.iter().flat_map(|kind| rows.iter().map(move |row| (*kind, *row))).collect();
    let mut builder = runtime();
    if group.plugin != "memory" {
        builder = builder.plugin(group.plugin);
    }
    for (index, (kind, (given, ..))) in cases.iter().enumerate() {
        builder = builder.resources(&component(&format!("bad-{index}"), kind, &[group.base, given]));
    }
    let mecha = builder.start().await?;
    // Said after the last component was opened or refused.
    mecha.logs().wait_for("dapr initialized", SOON).await?;
    let mut wrong = Vec::new();
    for (index, (kind, (given, field, says))) in cases.iter().enumerate() {
        let lines = mecha.logs().matching(&failure(&format!("bad-{index}"), kind));
        if lines.is_empty() || !lines.iter().all(|line| blames(line, field, says)) {
            wrong.push(format!("{kind} {given:?} is to blame {field} and say '{says}': {lines:#?}"));
        }
    }
    let others: Vec<_> =
        mecha.logs().lines().into_iter().filter(|line| !line.contains("INIT_COMPONENT_FAILURE")).collect();
    ensure!(wrong.is_empty(), "{}\n\n{}", wrong.join("\n"), others.join("\n"));
    unharmed(&mecha).await
}
