//! `cargo xtask check`: the gate that every change passes, the same here and in CI.

use anyhow::Result;

use crate::deny;
use crate::shell::Shell;
use crate::workspace::Workspace;

/// Runs every check, the quick ones first.
pub(crate) fn run(shell: &Shell, workspace: &Workspace) -> Result<()> {
    shell.step("format", &mut shell.cargo(&["fmt", "--all", "--check"]))?;
    deny::run(shell, workspace)?;
    let lints = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    shell.step("lints", &mut shell.cargo(&lints))?;
    // For the whole workspace, which selects the same features as the tests that follow: what it compiles is theirs too.
    let direction = ["test", "--quiet", "--workspace", "--test", "dependency_rule"];
    shell.step("direction of dependencies", &mut shell.cargo(&direction))?;
    // Its documentation is the guide for plugin authors: a broken link there is a broken chapter.
    let guide = ["doc", "--no-deps", "--package", "mecha-plugin-api"];
    shell.step("plugin guide", shell.cargo(&guide).env("RUSTDOCFLAGS", "-Dwarnings"))
}
