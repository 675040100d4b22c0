//! `cargo xtask test`: everything built, the real back ends running, the tests run.

use std::io::{self, BufReader};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result};
use mecha_backends::{REDIS_VARIABLE, Redis};

use crate::shell::Shell;
use crate::tests_output::Totals;
use crate::workspace::Workspace;
use crate::{build, fixtures};

/// Builds, starts what the tests need, runs those that the filters name, and stops what it started.
pub(crate) fn run(shell: &Shell, workspace: &Workspace, filters: &[String]) -> Result<()> {
    build::for_tests(shell, workspace)?;
    fixtures::build(shell, workspace)?;
    let redis = shell.task("start redis", || Ok(Redis::start()?))?;
    println!("    {REDIS_VARIABLE}={}", redis.addr());

    let mut command = shell.cargo(&[]);
    command.args(Selection::of(workspace, filters).args());
    command.env(REDIS_VARIABLE, redis.addr().to_string());
    run_tests(shell, &mut command)
    // The back ends are dropped, and thereby stopped, whatever the tests' result or a Ctrl-C made of them.
}

fn run_tests(shell: &Shell, command: &mut Command) -> Result<()> {
    println!("==> tests");
    let mut child = shell.spawn(command.stdout(Stdio::piped()))?;
    let output = child.stdout.take().context("stdout is piped")?;
    let reader = thread::spawn(move || Totals::follow(BufReader::new(output), io::stdout()));
    let result = shell.finish("tests", child);
    if let Ok(Ok(totals)) = reader.join() {
        println!("{}", totals.line());
    }
    result
}

/// What the filters stand for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Selection {
    packages: Vec<String>,
    files: Vec<String>,
    names: Vec<String>,
}

impl Selection {
    fn of(workspace: &Workspace, filters: &[String]) -> Self {
        let mut selection = Self::default();
        for filter in filters {
            if let Some(package) = workspace.package(filter) {
                selection.packages.push(package.name.clone());
            } else if workspace.has_test_file(filter) {
                selection.files.push(filter.clone());
            } else {
                selection.names.push(filter.clone());
            }
        }
        selection
    }

    fn args(&self) -> Vec<String> {
        let mut args = vec!["test".to_owned()];
        if self.packages.is_empty() {
            args.push("--workspace".to_owned());
        }
        args.extend(self.packages.iter().flat_map(|package| ["--package".to_owned(), package.clone()]));
        args.extend(self.files.iter().flat_map(|file| ["--test".to_owned(), file.clone()]));
        // Every test program runs, so that one failure does not hide another; what a passing test printed, such as a
        // measured figure, is shown as well.
        args.extend(["--no-fail-fast", "--", "--show-output"].map(str::to_owned));
        args.extend(self.names.iter().cloned());
        args
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(filters: &[&str]) -> String {
        let filters: Vec<_> = filters.iter().map(|filter| (*filter).to_owned()).collect();
        Selection::of(&Workspace::find().unwrap(), &filters).args().join(" ")
    }

    #[test]
    fn filters_are_packages_test_files_or_parts_of_names() {
        assert_eq!(args(&[]), "test --workspace --no-fail-fast -- --show-output");
        assert_eq!(args(&["gateway"]), "test --package mecha-gateway --no-fail-fast -- --show-output");
        assert_eq!(
            args(&["dependency_rule"]),
            "test --workspace --test dependency_rule --no-fail-fast -- --show-output"
        );
        assert_eq!(args(&["xtask", "etag"]), "test --package xtask --no-fail-fast -- --show-output etag");
    }
}
