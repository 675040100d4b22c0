//! Finds a server's program, or installs its package where that is allowed.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{BackendError, Result};

/// A program and the package that brings it.
pub(crate) struct Program {
    /// File name of the executable.
    pub(crate) name: &'static str,
    /// Package that holds it.
    pub(crate) package: &'static str,
}

/// A system's package manager: the command, arguments that refresh its lists, arguments that install.
struct PackageManager {
    command: &'static str,
    refresh: &'static [&'static str],
    install: &'static [&'static str],
}

const PACKAGE_MANAGERS: &[PackageManager] = &[
    PackageManager {
        command: "apt-get",
        refresh: &["update", "-qq"],
        install: &["install", "-y", "-qq", "--no-install-recommends"],
    },
    PackageManager { command: "dnf", refresh: &["makecache", "-q"], install: &["install", "-y", "-q"] },
    PackageManager { command: "apk", refresh: &["update", "-q"], install: &["add", "-q"] },
];

impl Program {
    /// The program's path; installs its package when it is missing and this process may.
    pub(crate) fn find_or_install(&self) -> Result<PathBuf> {
        if let Some(path) = find(self.name) {
            return Ok(path);
        }
        self.install()?;
        find(self.name).ok_or_else(|| self.missing("the package is installed but does not hold it"))
    }

    fn install(&self) -> Result<()> {
        let Some(manager) = PACKAGE_MANAGERS.iter().find(|manager| find(manager.command).is_some()) else {
            return Err(self.missing("no known package manager is on PATH"));
        };
        let by_hand = [&[manager.command], manager.install, &[self.package]].concat().join(" ");
        if !rustix::process::geteuid().is_root() {
            return Err(self.missing(&format!("as root: {by_hand}")));
        }
        eprintln!("installing {} with {}", self.package, manager.command);
        // Stale lists are no reason to give up: the package may be known already.
        let _ = run(manager.command, manager.refresh, &[]);
        if run(manager.command, manager.install, &[self.package])? {
            return Ok(());
        }
        Err(self.missing(&format!("this failed: {by_hand}")))
    }

    fn missing(&self, hint: &str) -> BackendError {
        BackendError::Missing { program: self.name, package: self.package, hint: hint.to_owned() }
    }
}

fn run(program: &str, args: &[&str], more: &[&str]) -> Result<bool> {
    let status = Command::new(program)
        .args(args)
        .args(more)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .map_err(|source| BackendError::Spawn { program: program.to_owned(), source })?;
    Ok(status.success())
}

/// The program's path, where it is on `PATH`.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    find_in(&env::var_os("PATH")?, name)
}

fn find_in(path: &OsStr, name: &str) -> Option<PathBuf> {
    env::split_paths(path).map(|folder| folder.join(name)).find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_executable_on_the_path_is_found_and_a_plain_file_is_not() {
        let first = tempfile::tempdir().unwrap();
        let second = tempfile::tempdir().unwrap();
        std::fs::write(first.path().join("server"), "").unwrap();
        let real = second.path().join("server");
        std::fs::write(&real, "").unwrap();
        let path = env::join_paths([first.path(), second.path()]).unwrap();
        assert_eq!(find_in(&path, "server"), None);

        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find_in(&path, "server"), Some(real));
    }
}
