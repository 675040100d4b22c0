//! Every plugin that is shipped is held to the rows of its own `conformance.yaml`, against the real back end.

#[path = "shipped/http.rs"]
mod http;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use mecha_conformance::{Outcome, RowError, check, offered, rows, rows_with};
use mecha_testkit::plugin_library;

use http::Server;

/// Component types without rows, and why. Every other type that a plugin offers has one.
const WITHOUT_ROWS: [(&str, &str); 1] =
    [("nameresolution.kubernetes", "it needs the DNS of a cluster; its own tests have its answers")];

/// What the rows refer to, besides what this test has itself (`shipped/http.rs`).
const BACK_ENDS: [&str; 4] = ["MECHA_TEST_REDIS", "MECHA_TEST_KAFKA", "MECHA_TEST_SQS", "MECHA_TEST_S3"];

fn plugins() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins")
}

/// Checks every row of a plugin; gives what failed.
async fn failures(plugin: &str, file: &Path, http: &Server) -> Result<Vec<String>> {
    let (library, folder) = (plugin_library(plugin)?, tempfile::tempdir()?);
    let variable = |name: &str| std::env::var(name).ok().or_else(|| http.variable(name));
    let rows = rows_with(file, folder.path(), &variable)?;
    let mut failed = Vec::new();
    for row in rows {
        let row = match row {
            Ok(row) => row,
            Err(error @ RowError::Needs { .. }) if std::env::var_os("CI").is_none() => {
                println!("{plugin}: skipped: {error}");
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let mut ran = 0;
        let mut tell = |Outcome { type_name, capability, check, result }: Outcome| {
            println!("{type_name} ({capability}) {check}: {result:?}");
            ran += 1;
            failed.extend(result.err().map(|reason| format!("{type_name} ({capability}) {check}: {reason}")));
        };
        check(&library, &row, &mut tell).await?;
        ensure!(ran > 0, "nothing was checked of {}", row.type_name);
    }
    Ok(failed)
}

/// The folders of the plugins that are shipped.
fn shipped() -> Result<Vec<String>> {
    let name = |folder: std::fs::DirEntry| Ok(folder.file_name().to_string_lossy().into_owned());
    std::fs::read_dir(plugins())?.map(|folder| name(folder?)).collect()
}

fn rows_of(plugin: &str) -> PathBuf {
    plugins().join(plugin).join("conformance.yaml")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_row_passes() {
    for variable in BACK_ENDS.iter().filter(|variable| std::env::var_os(variable).is_none()) {
        println!("{variable} is not set: its rows are skipped, and fail in CI");
    }
    let http = Arc::new(Server::start().await.unwrap());
    let mut running = tokio::task::JoinSet::new();
    for plugin in shipped().unwrap() {
        let http = http.clone();
        running.spawn(async move {
            failures(&plugin, &rows_of(&plugin), &http)
                .await
                .with_context(|| plugin.clone())
                .unwrap_or_else(|error| vec![format!("{error:#}")])
        });
    }
    let failed: Vec<_> = running.join_all().await.into_iter().flatten().collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// The types that the rows of a plugin name, those whose back end is not there included.
fn named(plugin: &str) -> Result<BTreeSet<String>> {
    let rows = rows(&rows_of(plugin), Path::new("/folder"))?;
    rows.into_iter()
        .map(|row| match row {
            Ok(row) => Ok(row.type_name),
            Err(RowError::Needs { type_name, .. }) => Ok(type_name),
            Err(error) => Err(error.into()),
        })
        .collect()
}

#[tokio::test]
async fn every_type_has_a_row_or_a_reason() {
    let mut excused: BTreeSet<_> =
        WITHOUT_ROWS.iter().map(|(type_name, _)| (*type_name).to_owned()).collect();
    for plugin in shipped().unwrap() {
        let named = named(&plugin).unwrap();
        for (type_name, version) in offered(&plugin_library(&plugin).unwrap()).await.unwrap() {
            let has_row = named.contains(&type_name);
            let has_reason = excused.remove(&type_name);
            assert!(
                has_row || has_reason,
                "{plugin}: {type_name}/{version} has no row in its conformance.yaml"
            );
            assert!(!(has_row && has_reason), "{type_name} has a row: it needs no reason");
        }
    }
    assert!(excused.is_empty(), "no plugin offers {excused:?}");
}
