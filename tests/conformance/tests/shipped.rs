//! Every plugin that is shipped is held to the rows of its own `conformance.yaml`, against the real back end.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use mecha_conformance::{Outcome, RowError, check, rows};
use mecha_testkit::plugin_library;

/// Plugins without rows, and why.
const WITHOUT_ROWS: [(&str, &str); 5] = [
    ("http-binding", "it calls whatever it is pointed at; its own tests have a server for it"),
    ("conversation", "what a model answers is its own; the echo's own tests say what it answers"),
    (
        "middleware",
        "what passes through is the pipeline's to say; the integration tests go through each type",
    ),
    ("name-resolution", "it finds runtimes, which the tests of name resolution start"),
    ("crypto", "what it does depends on the keys that it is given; its own tests have some of each kind"),
];

/// What the rows refer to.
const BACK_ENDS: [&str; 4] = ["MECHA_TEST_REDIS", "MECHA_TEST_KAFKA", "MECHA_TEST_SQS", "MECHA_TEST_S3"];

fn plugins() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins")
}

/// Checks every row of a plugin; gives what failed.
async fn failures(plugin: &str, file: &Path) -> Result<Vec<String>> {
    let (library, folder) = (plugin_library(plugin)?, tempfile::tempdir()?);
    let mut failed = Vec::new();
    for row in rows(file, folder.path())? {
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_row_passes() {
    for variable in BACK_ENDS.iter().filter(|variable| std::env::var_os(variable).is_none()) {
        println!("{variable} is not set: its rows are skipped, and fail in CI");
    }
    let mut running = tokio::task::JoinSet::new();
    for folder in std::fs::read_dir(plugins()).unwrap() {
        let plugin = folder.unwrap().file_name().into_string().unwrap();
        let file = plugins().join(&plugin).join("conformance.yaml");
        if WITHOUT_ROWS.iter().any(|(without, _)| *without == plugin) {
            assert!(!file.exists(), "{plugin} has rows");
            continue;
        }
        running.spawn(async move {
            failures(&plugin, &file)
                .await
                .with_context(|| plugin.clone())
                .unwrap_or_else(|error| vec![format!("{error:#}")])
        });
    }
    let failed: Vec<_> = running.join_all().await.into_iter().flatten().collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
