//! `mecha plugin inspect` and `mecha plugin check`: one plugin file, looked at as the running process would.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use mecha_conformance::{Outcome, Row, rows};
use mecha_plugin_api::Metadata;
use mecha_plugin_host::{PluginReport, Refusal, inspect as look_at};

/// Prints what the file holds. A file that cannot be used is one line, and the exit code 1.
pub(crate) async fn inspect(file: &Path) -> Result<ExitCode> {
    match look_at(file, &Metadata::new()).await {
        Ok(report) => {
            super::print(&describe(&report))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(refusal) => refused(file, &refusal),
    }
}

/// Loads the file and holds it to the conformance checks: the components of a file, or else every component type that opens
/// without metadata.
pub(crate) async fn check(file: &Path, components: Option<&Path>) -> Result<ExitCode> {
    let folder = tempfile::Builder::new()
        .prefix("mecha-check-")
        .tempdir()
        .context("cannot make a temporary folder")?;
    let rows = match components {
        Some(components) => rows(components, folder.path())?.into_iter().collect::<Result<Vec<_>, _>>()?,
        None => match rows_without_metadata(file).await? {
            Ok(rows) => rows,
            Err(refusal) => return refused(file, &refusal),
        },
    };
    let (mut passed, mut failed, mut unsaid) = (0_u32, 0_u32, Ok(()));
    for row in &rows {
        let mut tell = |outcome: Outcome| {
            let verdict = match outcome.result {
                Ok(()) => "passed".to_owned(),
                Err(reason) => format!("FAILED: {reason}"),
            };
            if verdict == "passed" {
                passed += 1
            } else {
                failed += 1
            }
            let line = format!(
                "{}/{} ({}) {}: {verdict}",
                row.type_name, row.version, outcome.capability, outcome.check
            );
            if unsaid.is_ok() {
                unsaid = super::print(&line).map(drop);
            }
        };
        match mecha_conformance::check(file, row, &mut tell).await {
            Ok(()) => {}
            Err(mecha_conformance::Error::Refused(refusal)) => return refused(file, &refusal),
            Err(error) => return Err(error.into()),
        }
    }
    unsaid?;
    super::print(&format!("{passed} passed, {failed} failed"))?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One row for each component type that opens without metadata; says which do not.
async fn rows_without_metadata(file: &Path) -> Result<Result<Vec<Row>, Refusal>> {
    let report = match look_at(file, &Metadata::new()).await {
        Ok(report) => report,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let mut rows: Vec<Row> = Vec::new();
    for opened in report.components {
        let (type_name, version) = (opened.component.type_name.as_str(), opened.component.version.as_str());
        if rows.iter().any(|row| row.type_name == type_name && row.version == version) {
            continue;
        }
        match opened.outcome {
            Ok(()) => rows.push(Row::new(type_name, version)),
            Err(error) => {
                let line = format!(
                    "{type_name}/{version} is not checked, it does not open without metadata ({error}); describe one with --component"
                );
                super::print(&line)?;
            }
        }
    }
    Ok(Ok(rows))
}

fn refused(file: &Path, refusal: &Refusal) -> Result<ExitCode> {
    super::print(&format!("plugin {} refused: {refusal}", file.display()))?;
    Ok(ExitCode::FAILURE)
}

fn describe(report: &PluginReport) -> String {
    let plugin = &report.identity;
    let mut lines = vec![
        format!("plugin      {} {}", plugin.name, plugin.version),
        format!("file        {}", plugin.file),
        format!("sha256      {}", plugin.sha256),
        format!("plugin API  {} (this runtime: {})", report.api_version, mecha_plugin_api::API_VERSION),
        "components, each opened once without metadata:".to_owned(),
    ];
    for opened in &report.components {
        let component = &opened.component;
        let outcome = match &opened.outcome {
            Ok(()) => "opens and answers".to_owned(),
            Err(error) => error.to_string(),
        };
        let capability = component.capability.name();
        lines.push(format!("  {}/{} ({capability}): {outcome}", component.type_name, component.version));
    }
    lines.join("\n")
}
