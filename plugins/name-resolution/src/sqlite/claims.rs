//! Lets one version of this plugin at a time have a file open.
//!
//! [`OpenFiles`] sees what is open now. Two versions that wait for a third would see it close at the same moment and both open the
//! file, and the first to close it would take the other's locks and its write-ahead log away. So a version claims the file first:
//! by a name that the kernel gives to one of them, and takes back when its holder closes it.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::open_files::{Hold, OpenFiles};

/// The files of one version of the plugin.
#[derive(Default)]
pub(crate) struct Files {
    open: OpenFiles,
    claimed: Mutex<HashMap<PathBuf, Weak<UnixListener>>>,
}

/// Held for as long as a file is open, or about to be.
#[derive(Debug)]
pub(super) struct Claim {
    _name: Arc<UnixListener>,
}

impl Files {
    /// The file, unless another version has it or anybody in this process has it open.
    pub(super) fn claim(&self, file: &Path) -> Option<Claim> {
        let path = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        let mut claimed = self.claimed.lock().unwrap_or_else(PoisonError::into_inner);
        claimed.retain(|_, claim| claim.strong_count() > 0);
        let name = match claimed.get(&path).and_then(Weak::upgrade) {
            Some(name) => name,
            None => Arc::new(UnixListener::bind_addr(&name_of(&path)?).ok()?),
        };
        claimed.insert(path, Arc::downgrade(&name));
        (!self.open.is_open_elsewhere(file)).then_some(Claim { _name: name })
    }

    /// Notes that the file is open here.
    pub(super) fn hold(&self, file: &Path) -> Option<Arc<Hold>> {
        self.open.hold(file)
    }
}

fn name_of(path: &Path) -> Option<SocketAddr> {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    let name = format!("mecha-names-{}-{:016x}", std::process::id(), hasher.finish());
    SocketAddr::from_abstract_name(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_version_has_a_file_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("nr.db");
        let (old, new) = (Files::default(), Files::default());
        let (one, two) = (old.claim(&file), old.claim(&file));
        assert!(one.is_some() && two.is_some(), "one version may use it twice");
        assert!(new.claim(&file).is_none());
        drop(one);
        assert!(new.claim(&file).is_none());
        drop(two);
        assert!(new.claim(&file).is_some());
    }
}
