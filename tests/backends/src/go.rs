//! Servers that come as Go modules, built by the Go toolchain.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Result;
use crate::fetch::Fetched;
use crate::install::find;

const GO: &str = "go";

/// A program of a Go module.
pub(crate) struct GoProgram {
    /// Names the folder that it is kept in; with its version, which is pinned.
    pub(crate) name: &'static str,
    /// Its package and version, as `go install` takes them.
    pub(crate) module: &'static str,
    /// File name of the executable.
    pub(crate) file: &'static str,
}

impl GoProgram {
    /// The program's path; builds it when it is not there, which takes a minute.
    pub(crate) fn find_or_install(&self) -> Result<PathBuf> {
        Ok(self.fetched().find_or(|work| self.install(work))?.join(self.file))
    }

    fn fetched(&self) -> Fetched<'static> {
        Fetched { name: self.name, program: self.name, package: self.module, tool: GO }
    }

    fn install(&self, work: &Path) -> Result<Command> {
        // The system's own package is often too old for these modules, so that it is not installed from here.
        let go = find(GO).ok_or_else(|| {
            self.fetched().missing("it needs Go on PATH, see https://go.dev/doc/install".to_owned())
        })?;
        let mut command = Command::new(go);
        command.current_dir(work).args(["install", self.module]);
        command.env("GOBIN", work.join("out"));
        Ok(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_installed_into_the_folder_that_is_kept() {
        let program = GoProgram { name: "x-1", module: "example.org/x@v1", file: "x" };
        let Ok(command) = program.install(Path::new("/work")) else { return println!("skipped: no Go") };
        let args: Vec<_> = command.get_args().collect();
        assert_eq!(args, ["install", "example.org/x@v1"]);
        let folder = command.get_envs().find(|(name, _)| *name == "GOBIN").unwrap().1;
        assert_eq!(folder, Some("/work/out".as_ref()));
    }
}
