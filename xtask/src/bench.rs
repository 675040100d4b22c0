//! `cargo xtask bench`: the release build measured.

use anyhow::Result;

use crate::build;
use crate::shell::Shell;
use crate::workspace::{Profile, Workspace};

/// Builds the release and runs the benchmarks against it.
pub(crate) fn run(shell: &Shell, workspace: &Workspace, flags: &[String]) -> Result<()> {
    build::product(shell, workspace, Profile::Release)?;
    let mut command = shell.cargo(&["run", "--release", "--package", "mecha-bench", "--"]);
    shell.step("benchmarks", command.args(flags))
}
