//! A plugins directory whose files come and go as a whole.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::artifacts::{library_name, plugin_library};

/// A plugins directory of one test.
#[derive(Debug)]
pub struct PluginDir {
    dir: TempDir,
}

impl PluginDir {
    /// An empty directory.
    pub fn new() -> Result<Self> {
        Ok(Self { dir: tempfile::tempdir()? })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Path that a backend's plugin has here.
    pub fn file(&self, backend: &str) -> PathBuf {
        self.path().join(library_name(backend))
    }

    /// Puts the built plugin of a backend here.
    pub fn install(&self, backend: &str) -> Result<PathBuf> {
        self.put(&plugin_library(backend)?, &library_name(backend))
    }

    /// Puts any file here under `name`, in place of one of that name.
    ///
    /// It appears complete: it is copied under a name that is no plugin's and then renamed, so that no file which a process
    /// has mapped is ever written to.
    pub fn put(&self, source: &Path, name: &str) -> Result<PathBuf> {
        let (unfinished, finished) =
            (self.path().join(format!(".{name}.unfinished")), self.path().join(name));
        fs::copy(source, &unfinished).with_context(|| format!("copying {}", source.display()))?;
        fs::rename(&unfinished, &finished)?;
        Ok(finished)
    }

    /// Puts `bytes` here under `name`, as [`PluginDir::put`] does.
    pub fn put_bytes(&self, name: &str, bytes: &[u8]) -> Result<PathBuf> {
        let unfinished = tempfile::NamedTempFile::new()?;
        fs::write(unfinished.path(), bytes)?;
        self.put(unfinished.path(), name)
    }

    /// Removes a backend's plugin.
    pub fn remove(&self, backend: &str) -> Result<()> {
        let file = self.file(backend);
        fs::remove_file(&file).with_context(|| format!("removing {}", file.display()))
    }

    /// Replaces a backend's plugin by another library.
    pub fn replace(&self, backend: &str, source: &Path) -> Result<PathBuf> {
        self.put(source, &library_name(backend))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_replaced_file_is_another_file_and_nothing_else_remains() {
        let plugins = PluginDir::new().unwrap();
        let first = plugins.put_bytes("libmecha_plugin_memory.so", b"one").unwrap();
        let open = fs::File::open(&first).unwrap();
        let other = plugins.put_bytes("other", b"two").unwrap();
        let second = plugins.replace("memory", &other).unwrap();

        assert_eq!(first, second);
        assert_eq!(fs::read(&second).unwrap(), b"two");
        assert_ne!(open.metadata().unwrap().ino(), second.metadata().unwrap().ino());

        plugins.remove("memory").unwrap();
        fs::remove_file(other).unwrap();
        assert_eq!(fs::read_dir(plugins.path()).unwrap().count(), 0);
        assert!(plugins.remove("memory").is_err());
    }
}
