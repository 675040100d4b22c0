//! Keeps two copies of SQLite in one process apart.
//!
//! SQLite locks its files with POSIX locks, which belong to the process: a second copy of the library in it would take a lock
//! that the first one holds, and closing a file in one copy would drop the locks of the other
//! (<https://www.sqlite.org/howtocorrupt.html>, section 2.2.1). While one version of this plugin replaces another, both are in
//! the process. So a version opens a file only when no other one has it open; its calls wait in the queue meanwhile.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// A file, whatever it is called: device and inode.
type FileId = (u64, u64);

/// Held for as long as a file is open here.
#[derive(Debug)]
pub(crate) struct Hold;

/// The database files that this version of the plugin has open.
#[derive(Default, Debug)]
pub(crate) struct OpenFiles(Mutex<HashMap<FileId, Weak<Hold>>>);

impl OpenFiles {
    /// Whether another copy of SQLite in this process has the file open.
    pub(crate) fn is_open_elsewhere(&self, file: &Path) -> bool {
        let Some(id) = id_of(file) else { return false };
        self.held(id).is_none() && process_has_open(id)
    }

    /// Notes that the file is open here, until the last holder of it lets go.
    pub(crate) fn hold(&self, file: &Path) -> Option<Arc<Hold>> {
        let id = id_of(file)?;
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        files.retain(|_, hold| hold.strong_count() > 0);
        if let Some(hold) = files.get(&id).and_then(Weak::upgrade) {
            return Some(hold);
        }
        let hold = Arc::new(Hold);
        files.insert(id, Arc::downgrade(&hold));
        Some(hold)
    }

    fn held(&self, id: FileId) -> Option<Arc<Hold>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&id).and_then(Weak::upgrade)
    }
}

/// `None` when there is no such file, or one that may not be looked at; opening it will tell.
fn id_of(file: &Path) -> Option<FileId> {
    let metadata = std::fs::metadata(file).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// Looks at, and never opens, what the process has open: closing such a file would drop the locks on it.
fn process_has_open(id: FileId) -> bool {
    let Ok(descriptors) = std::fs::read_dir("/proc/self/fd") else { return false };
    descriptors.flatten().any(|descriptor| id_of(&descriptor.path()) == Some(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_open_elsewhere_in_the_process_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.db");
        let files = OpenFiles::default();
        assert!(!files.is_open_elsewhere(&path));
        let elsewhere = std::fs::File::create(&path).unwrap();
        assert!(files.is_open_elsewhere(&path));
        let hold = files.hold(&path);
        assert!(!files.is_open_elsewhere(&path), "open here as well: one copy of SQLite shares its locks");
        drop(hold);
        assert!(files.is_open_elsewhere(&path));
        drop(elsewhere);
        assert!(!files.is_open_elsewhere(&path));
    }
}
