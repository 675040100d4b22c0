//! `cargo xtask bench`: the release build measured.

use anyhow::Result;

use crate::build;
use crate::shell::Shell;
use crate::workspace::{Profile, Workspace};

/// Benchmarks that call the plugins' client libraries directly.
const WITH_CLIENTS: [&str; 4] = ["kafka-client", "sqs-client", "s3-client", "plugin-memory"];

/// Builds the release and runs the benchmarks against it.
pub(crate) fn run(shell: &Shell, workspace: &Workspace, flags: &[String]) -> Result<()> {
    build::product(shell, workspace, Profile::Release)?;
    let mut command = shell.cargo(&["run", "--release", "--package", "mecha-bench"]);
    if needs_clients(flags) {
        command.args(["--features", "clients"]);
    }
    shell.step("benchmarks", command.arg("--").args(flags))
}

/// The client libraries take minutes to build: only what calls them gets them. No name means every benchmark.
fn needs_clients(flags: &[String]) -> bool {
    let mut names = flags.iter().filter(|flag| !flag.starts_with('-')).peekable();
    names.peek().is_none() || names.any(|name| WITH_CLIENTS.contains(&name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(flags: &[&str]) -> bool {
        needs_clients(&flags.iter().map(|&flag| flag.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn only_what_calls_client_libraries_is_built_with_them() {
        assert!(needs(&[]) && needs(&["--quick"]));
        assert!(needs(&["start", "s3-client", "--quick"]));
        assert!(!needs(&["start", "redis-client", "--quick"]));
    }
}
