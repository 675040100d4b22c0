//! Looks for inputs that break what reads foreign bytes: libFuzzer, on the nightly compiler.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::shell::Shell;
use crate::workspace::{Workspace, argument};

const VERSION: &str = "0.13.2";
const FOLDER: &str = "tests/fuzz/libfuzzer";
const CORPUS: &str = "tests/fuzz/corpus";

/// Runs each of these targets, or all, for so many seconds. What breaks one lies in `target/fuzz/<target>` afterwards.
pub(crate) fn run(shell: &Shell, workspace: &Workspace, targets: &[String], seconds: u32) -> Result<()> {
    let known = targets_in(&workspace.root.join(CORPUS))?;
    if let Some(unknown) = targets.iter().find(|target| !known.contains(target)) {
        bail!("no target is called {unknown}; there are {}", known.join(", "));
    }
    let program = match installed(workspace) {
        Some(program) => program,
        None => shell.task("install cargo-fuzz", || install(shell, workspace))?,
    };
    let targets = if targets.is_empty() { &known } else { targets };
    for target in targets {
        fuzz(shell, workspace, &program, target, seconds)?;
    }
    Ok(())
}

fn targets_in(corpus: &Path) -> Result<Vec<String>> {
    let entries = corpus.read_dir().with_context(|| format!("reading {}", corpus.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn fuzz(shell: &Shell, workspace: &Workspace, program: &Path, target: &str, seconds: u32) -> Result<()> {
    let folder = workspace.target.join("fuzz");
    let found = folder.join(target);
    std::fs::create_dir_all(&found).with_context(|| format!("making {}", found.display()))?;
    let mut command = Command::new("rustup");
    command.args(["run", "nightly"]).arg(program).args(["fuzz", "run", "--fuzz-dir", FOLDER]);
    command.arg("--target-dir").arg(folder.join("build")).arg(target);
    // What is found goes into the first folder; the second is only read.
    command.arg(&found).arg(workspace.root.join(CORPUS).join(target));
    let artifacts = format!("-artifact_prefix={}/broken-", argument(&found));
    command.args(["--", &format!("-max_total_time={seconds}"), "-print_final_stats=1", &artifacts]);
    // This process was started by another compiler's cargo.
    command.env_remove("CARGO").env_remove("RUSTUP_TOOLCHAIN");
    shell.step(&format!("fuzz {target} for {seconds} s"), &mut command)
}

fn installed(workspace: &Workspace) -> Option<PathBuf> {
    let program = ours(workspace);
    runs(&program).then_some(program)
}

fn ours(workspace: &Workspace) -> PathBuf {
    workspace.target.join("tools/cargo-fuzz/bin/cargo-fuzz")
}

fn runs(program: &Path) -> bool {
    let mut command = Command::new(program);
    command.args(["fuzz", "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn install(shell: &Shell, workspace: &Workspace) -> Result<PathBuf> {
    let root = argument(&workspace.target.join("tools/cargo-fuzz"));
    let mut command = shell.cargo(&["install", "cargo-fuzz", "--locked", "--quiet", "--version", VERSION]);
    let mut child = shell.spawn(command.args(["--root", &root]))?;
    ensure!(shell.wait(&mut child)?.success(), "cargo could not install cargo-fuzz {VERSION}");
    let program = ours(workspace);
    ensure!(runs(&program), "{} does not run here", program.display());
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_a_program() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let manifest = std::fs::read_to_string(root.join(FOLDER).join("Cargo.toml")).unwrap();
        let targets = targets_in(&root.join(CORPUS)).unwrap();
        assert!(!targets.is_empty());
        for target in targets {
            assert!(manifest.contains(&format!("name = \"{target}\"")), "{target}");
        }
    }
}
