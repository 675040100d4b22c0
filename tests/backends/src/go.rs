//! Servers that come as Go modules, and programs of our own in Go, built by the Go toolchain.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{BackendError, Result};
use crate::fetch::{Fetched, cache};
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

/// A Go module of our own, which is one program. Its `go.sum` pins what it needs.
#[derive(Debug, Clone, Copy)]
pub struct GoModule {
    /// Names the folder that it is built into.
    pub name: &'static str,
    /// Where its sources lie.
    pub folder: &'static str,
}

impl GoModule {
    /// The program, built from the sources as they are now.
    pub fn build(&self) -> Result<PathBuf> {
        let folder = cache()?.join(self.name);
        fs::create_dir_all(&folder)?;
        // Of several processes one builds; the others find that nothing is left to do.
        let lock = File::create(folder.join("lock"))?;
        lock.lock()?;
        // What cannot be fetched is missing here; what does not compile is an error everywhere.
        self.fetched().run(self.go(&["mod", "download"])?, &folder.join("log"))?;
        let program = folder.join("program");
        let output = self.go(&["build", "-mod=readonly", "-o"])?.arg(&program).arg(".").output()?;
        if output.status.success() {
            return Ok(program);
        }
        let answer = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(BackendError::Refused { request: format!("go build of {}", self.folder), answer })
    }

    fn go(&self, args: &[&str]) -> Result<Command> {
        let go = find(GO).ok_or_else(|| self.fetched().missing("it needs Go on PATH".to_owned()))?;
        let mut command = Command::new(go);
        command.current_dir(self.folder).args(args);
        Ok(command)
    }

    fn fetched(&self) -> Fetched<'static> {
        Fetched { name: self.name, program: self.name, package: "golang", tool: GO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_that_does_not_compile_is_an_error_and_not_missing() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("go.mod"), "module x\n\ngo 1.24\n").unwrap();
        fs::write(folder.path().join("main.go"), "package main\n\nfunc main() { nothing() }\n").unwrap();
        let text = folder.path().to_string_lossy().into_owned();
        let module = GoModule { name: "trial-of-go", folder: text.leak() };
        match module.build() {
            Err(BackendError::Missing { .. }) => println!("skipped: no Go"),
            Err(BackendError::Refused { answer, .. }) => assert!(answer.contains("nothing"), "{answer}"),
            other => panic!("{other:?}"),
        }
        fs::write(folder.path().join("main.go"), "package main\n\nfunc main() {}\n").unwrap();
        if let Ok(program) = module.build() {
            assert!(Command::new(program).status().unwrap().success());
        }
    }

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
