//! Where the build left the binary, the plugins and the fixtures.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// `target/<profile>` of the running test, benchmark or tool.
///
/// A test executable lies in `target/<profile>/deps`, a binary directly in `target/<profile>`.
pub fn profile_dir() -> Result<PathBuf> {
    let executable = env::current_exe().context("the path of the test executable")?;
    profile_dir_of(&executable)
}

fn profile_dir_of(executable: &Path) -> Result<PathBuf> {
    let folder = executable.parent().context("a test executable lies in a folder")?;
    let is_inner = folder.file_name().is_some_and(|name| name == "deps" || name == "examples");
    let profile = if is_inner { folder.parent().context("deps lies in a profile's folder")? } else { folder };
    Ok(profile.to_path_buf())
}

/// The built `mecha` binary.
pub fn mecha_binary() -> Result<PathBuf> {
    built(profile_dir()?.join("mecha"))
}

/// The built plugin of a backend, such as `memory`.
pub fn plugin_library(backend: &str) -> Result<PathBuf> {
    built(profile_dir()?.join("plugins").join(library_name(backend)))
}

/// A library that the build of the test fixtures laid into `target/fixtures`, by its fixture's name.
pub fn fixture(name: &str) -> Result<PathBuf> {
    let profile = profile_dir()?;
    let target = profile.parent().context("a profile's folder lies in the target folder")?;
    let file = target.join("fixtures").join(format!("{name}.so"));
    ensure!(file.is_file(), "{} is missing: `cargo xtask test` builds the fixtures", file.display());
    Ok(file)
}

/// File name of a backend's plugin.
pub(crate) fn library_name(backend: &str) -> String {
    format!("libmecha_plugin_{}.so", backend.replace('-', "_"))
}

fn built(file: PathBuf) -> Result<PathBuf> {
    ensure!(file.is_file(), "{} is missing: run `cargo xtask build` first", file.display());
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_and_binaries_find_the_same_profile() {
        for executable in ["/t/debug/deps/state-12ab", "/t/debug/mecha-bench", "/t/debug/examples/e"] {
            assert_eq!(profile_dir_of(Path::new(executable)).unwrap(), Path::new("/t/debug"));
        }
    }

    #[test]
    fn a_missing_file_says_which_command_makes_it() {
        let error = built(PathBuf::from("/nowhere/mecha")).unwrap_err().to_string();
        assert!(error.contains("/nowhere/mecha") && error.contains("cargo xtask build"), "{error}");
    }

    #[test]
    fn a_library_is_named_after_its_backend() {
        assert_eq!(library_name("local-secrets"), "libmecha_plugin_local_secrets.so");
    }
}
