//! Servers that no package of the system brings: fetched once by their ecosystem's own tool, kept below the target folder.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{BackendError, Result};
use crate::process::tail;

/// Cargo marks its target folder with this file.
const TARGET_MARK: &str = "CACHEDIR.TAG";

/// What is fetched.
pub(crate) struct Fetched<'a> {
    /// Names the folder that it is kept in; with its version, which is pinned.
    pub(crate) name: &'static str,
    /// Program that it is, for errors.
    pub(crate) program: &'static str,
    /// Where it comes from, for errors.
    pub(crate) package: &'static str,
    /// The tool that fetches it.
    pub(crate) tool: &'a str,
}

impl Fetched<'_> {
    /// The folder of what was fetched. When it is not there, `command` says, given an empty folder to work in, what fetches it
    /// into that folder's `out`.
    pub(crate) fn find_or(&self, command: impl FnOnce(&Path) -> Result<Command>) -> Result<PathBuf> {
        let cache = cache()?;
        let folder = cache.join(self.name);
        if folder.is_dir() {
            return Ok(folder);
        }
        // Of several processes one fetches and the others wait.
        let lock = File::create(cache.join(format!("{}.lock", self.name)))?;
        lock.lock()?;
        if !folder.is_dir() {
            let work = tempfile::tempdir_in(&cache)?;
            self.run(command(work.path())?, &work.path().join("log"))?;
            // Complete or not there at all.
            fs::rename(work.path().join("out"), &folder)?;
        }
        Ok(folder)
    }

    /// Runs one of the commands that it takes, to its end.
    pub(crate) fn run(&self, mut command: Command, log: &Path) -> Result<()> {
        eprintln!("fetching {} with {}", self.name, self.tool);
        let output = File::create(log)?;
        let status = command
            .stdin(Stdio::null())
            .stderr(output.try_clone()?)
            .stdout(output)
            .status()
            .map_err(|source| BackendError::Spawn { program: self.tool.to_owned(), source })?;
        if status.success() {
            Ok(())
        } else {
            Err(self.missing(format!("{} failed:\n{}", self.tool, tail(log))))
        }
    }

    /// Why it cannot be had.
    pub(crate) fn missing(&self, hint: String) -> BackendError {
        BackendError::Missing { program: self.program, package: self.package, hint }
    }
}

/// Where fetched servers are kept: below cargo's target folder, else where the system keeps temporary files.
pub(crate) fn cache() -> Result<PathBuf> {
    let executable = env::current_exe()?;
    let target = executable.ancestors().find(|folder| folder.join(TARGET_MARK).is_file());
    let cache = target.map_or_else(|| env::temp_dir().join("mecha"), Path::to_path_buf).join("backends");
    fs::create_dir_all(&cache)?;
    Ok(cache)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetched(name: &'static str) -> Fetched<'static> {
        Fetched { name, program: "server", package: "some.where", tool: "sh" }
    }

    fn shell(folder: &Path, script: &str) -> Command {
        let mut command = Command::new("sh");
        command.current_dir(folder).args(["-c", script]);
        command
    }

    #[test]
    fn the_cache_lies_in_the_target_folder() {
        let cache = cache().unwrap();
        assert!(cache.parent().unwrap().join(TARGET_MARK).is_file(), "{cache:?}");
    }

    #[test]
    fn it_is_fetched_once_and_complete_or_not_at_all() {
        let fetched = fetched("trial-of-a-fetch");
        let _ = fs::remove_dir_all(cache().unwrap().join(fetched.name));
        let error =
            fetched.find_or(|work| Ok(shell(work, "mkdir out; echo no such thing; exit 1"))).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("some.where") && text.contains("no such thing"), "{text}");
        assert!(!cache().unwrap().join(fetched.name).exists());

        let folder = fetched.find_or(|work| Ok(shell(work, "mkdir out; echo 1 > out/file"))).unwrap();
        assert_eq!(fs::read_to_string(folder.join("file")).unwrap(), "1\n");
        assert_eq!(fetched.find_or(|_| panic!("it is there")).unwrap(), folder);
        fs::remove_dir_all(folder).unwrap();
    }
}
