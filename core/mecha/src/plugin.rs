//! `mecha plugin inspect` and `mecha plugin check`: one plugin file, looked at as the running process would.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use mecha_plugin_api::Metadata;
use mecha_plugin_host::{PluginReport, conformance, inspect as look_at};

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

/// Loads the file and runs the conformance checks on every component type that opens without metadata.
pub(crate) async fn check(file: &Path) -> Result<ExitCode> {
    let outcomes = match conformance::check(file, &Metadata::new()).await {
        Ok(outcomes) => outcomes,
        Err(refusal) => return refused(file, &refusal),
    };
    let mut failed = false;
    for outcome in outcomes {
        failed |= outcome.result.is_err();
        let verdict = match outcome.result {
            Ok(()) => "passed".to_owned(),
            Err(reason) => format!("FAILED: {reason}"),
        };
        super::print(&format!("{}/{} {}: {verdict}", outcome.type_name, outcome.version, outcome.check))?;
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn refused(file: &Path, refusal: &mecha_plugin_host::Refusal) -> Result<ExitCode> {
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
