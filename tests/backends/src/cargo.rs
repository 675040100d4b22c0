//! Programs of our own in Rust that are no part of the workspace, so that what they need stays out of its lock file.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{BackendError, Result};
use crate::fetch::cache;

/// A package with one program. Its `Cargo.lock` pins what it needs.
#[derive(Debug, Clone, Copy)]
pub struct CargoPackage {
    /// Names the folder that it is built into.
    pub name: &'static str,
    /// Where its sources lie.
    pub folder: &'static str,
    /// File name of the program.
    pub program: &'static str,
}

impl CargoPackage {
    /// The program, built from the sources as they are now. Cargo itself lets one of several processes build.
    pub fn build(&self) -> Result<PathBuf> {
        let target = cache()?.join(self.name);
        let output = self.command(&target).output()?;
        if output.status.success() {
            return Ok(target.join("debug").join(self.program));
        }
        let answer = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(BackendError::Refused { request: format!("cargo build in {}", self.folder), answer })
    }

    fn command(&self, target: &Path) -> Command {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.current_dir(self.folder).args(["build", "--locked", "--quiet", "--target-dir"]).arg(target);
        // The settings of the build that this test is part of are not meant for this one.
        for (name, _) in env::vars_os() {
            let is_set_by_cargo = name.to_string_lossy().starts_with("CARGO_PKG_");
            if is_set_by_cargo || name == "RUSTFLAGS" {
                command.env_remove(name);
            }
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_package_is_built_as_its_lock_file_says() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = "[package]\nname = \"trial\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n";
        fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
        fs::create_dir(folder.path().join("src")).unwrap();
        fs::write(folder.path().join("src/main.rs"), "fn main() {}\n").unwrap();
        let text = folder.path().to_string_lossy().into_owned();
        let package = CargoPackage { name: "trial-of-cargo", folder: text.leak(), program: "trial" };
        let error = package.build().unwrap_err().to_string();
        assert!(error.contains("lock"), "{error}");

        let lock = "version = 4\n\n[[package]]\nname = \"trial\"\nversion = \"0.1.0\"\n";
        fs::write(folder.path().join("Cargo.lock"), lock).unwrap();
        let program = package.build().unwrap();
        assert!(Command::new(program).status().unwrap().success());
    }
}
