//! Packages of PyPI, in a virtual environment.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Result;
use crate::fetch::Fetched;
use crate::install::find;

const PYTHON: &str = "python3";
const PIP: &str = "pip";

/// A set of pinned packages for Python programs.
#[derive(Debug, Clone, Copy)]
pub struct PythonPackages {
    /// Names the folder that they are kept in; with the version of the first of them, so that a change of the pins changes it.
    pub name: &'static str,
    /// Every package with its version, as a requirements file has them.
    pub requirements: &'static str,
}

impl PythonPackages {
    /// The interpreter that sees the packages; installs them when they are not there.
    pub fn find_or_install(&self) -> Result<PathBuf> {
        Ok(interpreter(&self.fetched().find_or(|work| self.install(work))?))
    }

    fn fetched(&self) -> Fetched<'static> {
        Fetched { name: self.name, program: self.name, package: "python3-venv", tool: PIP }
    }

    fn install(&self, work: &Path) -> Result<Command> {
        let python = find(PYTHON).ok_or_else(|| {
            self.fetched().missing("it needs Python 3.10 or newer with venv on PATH".to_owned())
        })?;
        let out = work.join("out");
        let mut environment = Command::new(python);
        environment.args(["-m", "venv"]).arg(&out);
        self.fetched().run(environment, &work.join("log"))?;
        fs::write(work.join("requirements.txt"), self.requirements)?;
        let mut command = Command::new(interpreter(&out));
        command.current_dir(work).args(["-m", "pip", "install", "--disable-pip-version-check", "--quiet"]);
        command.args(["--requirement", "requirements.txt"]);
        Ok(command)
    }
}

/// An environment may be moved as long as its interpreter is called by its path, and none of its scripts is.
fn interpreter(environment: &Path) -> PathBuf {
    environment.join("bin").join("python")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optional;

    #[test]
    fn an_environment_that_was_moved_finds_its_packages() {
        let packages = PythonPackages { name: "trial-of-python", requirements: "" };
        let Some(python) = optional(packages.find_or_install()).unwrap() else { return };
        let output = Command::new(&python).args(["-c", "import sys; print(sys.prefix)"]).output().unwrap();
        let prefix = String::from_utf8(output.stdout).unwrap();
        assert!(prefix.trim().ends_with("trial-of-python"), "{prefix}");
    }
}
