//! Packages of npm, in a folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Result;
use crate::fetch::Fetched;
use crate::install::find;

const NODE: &str = "node";
const NPM: &str = "npm";

/// A set of pinned packages for Node programs.
#[derive(Debug, Clone, Copy)]
pub struct NodePackages {
    /// Names the folder that they are kept in; with the version of the first of them, so that a change of the pins changes it.
    pub name: &'static str,
    /// `package.json`.
    pub manifest: &'static str,
    /// `package-lock.json`: the versions of all that they need.
    pub lock: &'static str,
}

/// Installed packages.
#[derive(Debug, Clone)]
pub struct Node {
    /// The program that runs scripts.
    pub program: PathBuf,
    /// The folder `node_modules`, which a script finds beside itself or above.
    pub modules: PathBuf,
}

impl NodePackages {
    /// Where they are; installs them when they are not there.
    pub fn find_or_install(&self) -> Result<Node> {
        let program = find(NODE).ok_or_else(|| self.needs(NODE))?;
        let folder = self.fetched().find_or(|work| self.install(work))?;
        Ok(Node { program, modules: folder.join("node_modules") })
    }

    fn fetched(&self) -> Fetched<'static> {
        Fetched { name: self.name, program: self.name, package: "nodejs", tool: NPM }
    }

    fn needs(&self, program: &str) -> crate::error::BackendError {
        self.fetched().missing(format!("it needs {program} on PATH: Node 20 or newer with npm"))
    }

    fn install(&self, work: &Path) -> Result<Command> {
        let npm = find(NPM).ok_or_else(|| self.needs(NPM))?;
        let out = work.join("out");
        fs::create_dir(&out)?;
        fs::write(out.join("package.json"), self.manifest)?;
        fs::write(out.join("package-lock.json"), self.lock)?;
        let mut command = Command::new(npm);
        command.current_dir(out).args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]);
        Ok(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pins_are_laid_down_before_npm_runs() {
        let work = tempfile::tempdir().unwrap();
        let packages = NodePackages { name: "x-1", manifest: "{}", lock: r#"{"lockfileVersion":3}"# };
        let Ok(command) = packages.install(work.path()) else { return println!("skipped: no npm") };
        assert_eq!(command.get_args().next(), Some("ci".as_ref()));
        assert_eq!(command.get_current_dir(), Some(work.path().join("out").as_path()));
        let lock = fs::read_to_string(work.path().join("out/package-lock.json")).unwrap();
        assert_eq!(lock, packages.lock);
    }
}
