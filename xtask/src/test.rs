//! `cargo xtask test`: everything built, the real back ends running, the tests run.

use std::io::{self, BufReader};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result};

use crate::machine::Machine;
use crate::selection::Selection;
use crate::shell::Shell;
use crate::tests_output::Totals;
use crate::workspace::Workspace;
use crate::{backends, build, fixtures};

/// Builds, starts what the tests need, runs those that the filters name, and stops what it started.
pub(crate) fn run(shell: &Shell, workspace: &Workspace, filters: &[String]) -> Result<()> {
    println!("    {}", Machine::now(&workspace.target));
    build::for_tests(shell, workspace)?;
    fixtures::build(shell, workspace)?;
    let selection = Selection::of(workspace, filters);
    let running = backends::start(shell, &selection.back_ends(workspace))?;

    println!("    {}", Machine::now(&workspace.target));
    let mut command = shell.cargo(&[]);
    command.args(selection.args());
    running.variables().for_each(|(name, value)| {
        command.env(name, value);
    });
    let result = run_tests(shell, &mut command);
    if result.is_err() {
        // Last, where a log that is cut still has it.
        print!("{}", running.report());
        println!("{}", Machine::now(&workspace.target));
    }
    result
    // The back ends are dropped, and thereby stopped, whatever the tests' result or a Ctrl-C made of them.
}

fn run_tests(shell: &Shell, command: &mut Command) -> Result<()> {
    println!("==> tests");
    let mut child = shell.spawn(command.stdout(Stdio::piped()))?;
    let output = child.stdout.take().context("stdout is piped")?;
    let reader = thread::spawn(move || Totals::follow(BufReader::new(output), io::stdout()));
    let result = shell.finish("tests", child);
    if let Ok(Ok(totals)) = reader.join() {
        println!("{}", totals.closing());
    }
    result
}
