//! What the workspace holds: its crates by folder, and where builds land.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// How optimised a build is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// For development and tests.
    Debug,
    /// As it is shipped.
    Release,
}

impl Profile {
    pub(crate) fn from_release(release: bool) -> Self {
        if release { Self::Release } else { Self::Debug }
    }

    /// Folder below `target`.
    pub(crate) fn folder(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Release => "release",
        }
    }

    /// Cargo's argument, where it needs one.
    pub(crate) fn args(self) -> &'static [&'static str] {
        match self {
            Self::Debug => &[],
            Self::Release => &["--release"],
        }
    }
}

/// The workspace as cargo sees it.
#[derive(Debug, Deserialize)]
pub(crate) struct Workspace {
    #[serde(rename = "workspace_root")]
    pub(crate) root: PathBuf,
    #[serde(rename = "target_directory")]
    pub(crate) target: PathBuf,
    packages: Vec<Package>,
}

/// One crate.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
    src_path: PathBuf,
}

impl Workspace {
    /// Asks cargo.
    pub(crate) fn find() -> Result<Self> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command
            .args(["metadata", "--format-version", "1", "--no-deps"])
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        let output = command.output().context("running cargo metadata")?;
        ensure!(
            output.status.success(),
            "cargo metadata failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).context("reading cargo's metadata")
    }

    /// The plugins' crates.
    pub(crate) fn plugins(&self) -> Vec<&Package> {
        self.below("plugins")
    }

    /// The crates below a folder of the root.
    pub(crate) fn below(&self, folder: &str) -> Vec<&Package> {
        let folder = self.root.join(folder);
        self.packages.iter().filter(|package| package.manifest_path.starts_with(&folder)).collect()
    }

    /// A crate by its name, `mecha-` being optional.
    pub(crate) fn package(&self, name: &str) -> Option<&Package> {
        let long = format!("mecha-{name}");
        self.packages.iter().find(|package| package.name == name || package.name == long)
    }

    /// Whether some crate has an integration test of this name.
    pub(crate) fn has_test_file(&self, name: &str) -> bool {
        let mut targets = self.packages.iter().flat_map(|package| &package.targets);
        targets.any(|target| target.name == name && target.is_test_file())
    }

    /// The first source of each program of tests: of these packages, or of all when none is named; of these test files
    /// alone when some are.
    pub(crate) fn test_programs(&self, packages: &[String], files: &[String]) -> Vec<&Path> {
        let packages = self.packages.iter().filter(|it| packages.is_empty() || packages.contains(&it.name));
        let targets = packages.flat_map(|package| &package.targets);
        let is_chosen = |it: &&Target| files.is_empty() || (it.is_test_file() && files.contains(&it.name));
        targets.filter(is_chosen).map(|target| target.src_path.as_path()).collect()
    }

    /// Where a build of this profile lands.
    pub(crate) fn profile_dir(&self, profile: Profile) -> PathBuf {
        self.target.join(profile.folder())
    }
}

impl Target {
    fn is_test_file(&self) -> bool {
        self.kind.iter().any(|kind| kind == "test")
    }
}

impl Package {
    /// File name of the library that this crate builds as a plugin.
    pub(crate) fn library(&self) -> String {
        library_of(&self.name)
    }
}

/// File name of the shared library of a crate.
pub(crate) fn library_of(package: &str) -> String {
    format!("lib{}.so", package.replace('-', "_"))
}

/// A path as an argument.
pub(crate) fn argument(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_workspace_has_its_plugins_and_finds_crates_by_both_names() {
        let workspace = Workspace::find().unwrap();
        let libraries: Vec<_> = workspace.plugins().iter().map(|plugin| plugin.library()).collect();
        assert!(libraries.contains(&"libmecha_plugin_memory.so".to_owned()), "{libraries:?}");
        assert_eq!(workspace.package("gateway").unwrap().name, "mecha-gateway");
        assert_eq!(workspace.package("xtask").unwrap().name, "xtask");
        assert!(workspace.package("nothing").is_none());
        assert!(workspace.has_test_file("dependency_rule"));
    }
}
