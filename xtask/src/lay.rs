//! Lays built libraries where a process looks for them, without ever writing to a file that one may have mapped.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Puts `source` into `folder` as `name`: copied beside it under a name that is no plugin's, then renamed over it. A file
/// that is there already with the same bytes stays, so that a watching process has nothing to do.
///
/// Says whether anything changed.
pub(crate) fn lay(source: &Path, folder: &Path, name: &str) -> Result<bool> {
    let bytes = fs::read(source).with_context(|| format!("reading {}", source.display()))?;
    let finished = folder.join(name);
    if fs::read(&finished).is_ok_and(|present| present == bytes) {
        return Ok(false);
    }
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let unfinished = folder.join(format!(".{name}.unfinished"));
    fs::write(&unfinished, bytes).with_context(|| format!("writing {}", unfinished.display()))?;
    fs::rename(&unfinished, &finished).with_context(|| format!("renaming to {}", finished.display()))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_changed_file_is_replaced_as_a_whole_and_an_equal_one_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let (source, folder) = (dir.path().join("built"), dir.path().join("plugins"));
        fs::write(&source, "one").unwrap();
        assert!(lay(&source, &folder, "lib.so").unwrap());
        assert!(!lay(&source, &folder, "lib.so").unwrap());

        let mapped = fs::File::open(folder.join("lib.so")).unwrap();
        fs::write(&source, "two").unwrap();
        assert!(lay(&source, &folder, "lib.so").unwrap());
        assert_eq!(fs::read_to_string(folder.join("lib.so")).unwrap(), "two");
        assert_ne!(mapped.metadata().unwrap().ino(), fs::metadata(folder.join("lib.so")).unwrap().ino());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }
}
