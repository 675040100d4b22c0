//! Where objects lie: the file of the key's name below the folder. A new one is written elsewhere and renamed, so that it
//! appears whole.

use std::fs::{self, File};
use std::io::{self, ErrorKind as IoKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mecha_plugin_api::object::{Conditions, ObjectHead};
use mecha_plugin_api::{Buf, Error, ErrorKind, Result};

use super::attributes::{self, Attributes};
use crate::client::{Files, join_inside};

/// The folder below the root in which unfinished objects lie, and the lock under which they get their names.
pub(super) const UPLOADS: &str = ".mecha-uploads";
const LOCK: &str = "lock";
/// A file this young may belong to somebody who is about to lock it.
const YOUNG: Duration = Duration::from_secs(60);
const LONGEST_NAME: usize = 255;

/// The folder of one component. Blocks.
pub(super) struct Folder {
    root: PathBuf,
}

impl Folder {
    /// Makes the folder, if it is not there, and removes what processes that died have left unfinished.
    pub(super) fn open(root: PathBuf) -> Result<Self> {
        Files::open(root.clone())?;
        let folder = Self { root };
        if let Err(error) = folder.sweep() {
            tracing::warn!(%error, "unfinished objects of earlier processes cannot be removed");
        }
        Ok(folder)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn ping(&self) -> Result<()> {
        let found = fs::metadata(&self.root);
        found.map(drop).map_err(|error| Error::unavailable(format!("the folder is not there: {error}")))
    }

    /// Opens an object.
    pub(super) fn read(&self, key: &str, conditions: &Conditions) -> Result<(ObjectHead, File)> {
        let opened = self.existing(key)?;
        conditions.check(opened.as_ref().map(|(head, _)| head.etag.as_str()).filter(|_| opened.is_some()))?;
        opened.ok_or_else(|| Error::new(ErrorKind::NOT_FOUND, "object not found"))
    }

    /// Whether an object may be replaced, or made.
    pub(super) fn check(&self, key: &str, conditions: &Conditions) -> Result<()> {
        if conditions.is_empty() {
            return self.path(key).map(drop);
        }
        let existing = self.existing(key)?;
        conditions.check(existing.as_ref().map(|(head, _)| head.etag.as_str()))
    }

    /// A file for an object that is not finished. It is locked for as long as it is one.
    pub(super) fn begin(&self) -> Result<Temp> {
        let uploads = self.root.join(UPLOADS);
        let begun = || {
            fs::create_dir_all(&uploads)?;
            let path = uploads.join(uuid::Uuid::new_v4().simple().to_string());
            let file = File::options().read(true).write(true).create_new(true).open(&path)?;
            let temp = Temp { file: Arc::new(file), path: Some(path) };
            temp.file.lock()?;
            Ok(temp)
        };
        begun().map_err(|error| failed("error creating the object's file", &error))
    }

    /// Gives a finished file its name, in place of the object of that key.
    pub(super) fn commit(
        &self,
        mut temp: Temp,
        key: &str,
        conditions: &Conditions,
        attributes: &Attributes,
    ) -> Result<ObjectHead> {
        attributes.write(&temp.file)?;
        temp.file.sync_all().map_err(|error| failed("error writing the object", &error))?;
        let (target, _lock) = (self.path(key)?, self.lock()?);
        self.check(key, conditions)?;
        let renamed = || {
            let parent = target.parent().unwrap_or(&self.root);
            fs::create_dir_all(parent)?;
            if let Some(path) = &temp.path {
                fs::rename(path, &target)?;
            }
            File::open(parent)?.sync_all()
        };
        renamed().map_err(|error| failed("error creating the object", &error))?;
        temp.path = None;
        attributes::head(key, &temp.file).map_err(|error| failed("error reading the object", &error))
    }

    /// Deletes an object and the folders that are empty without it.
    pub(super) fn delete(&self, key: &str, conditions: &Conditions) -> Result<()> {
        let (path, _lock) = (self.path(key)?, self.lock()?);
        let existing = self.existing(key)?;
        conditions.check(existing.as_ref().map(|(head, _)| head.etag.as_str()))?;
        if existing.is_none() {
            return Ok(());
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != IoKind::NotFound => {
                return Err(failed("error deleting the object", &error));
            }
            _ => {}
        }
        let parents = path.ancestors().skip(1).take_while(|parent| *parent != self.root);
        for parent in parents {
            // Folders with something in them cannot be removed.
            if fs::remove_dir(parent).is_err() {
                break;
            }
        }
        Ok(())
    }

    fn existing(&self, key: &str) -> Result<Option<(ObjectHead, File)>> {
        let path = self.path(key)?;
        let open = || {
            // Opening what is no file, such as a pipe, could wait for ever.
            if !fs::metadata(&path)?.is_file() {
                return Err(io::Error::from(IoKind::NotFound));
            }
            let file = File::open(&path)?;
            Ok((attributes::head(key, &file)?, file))
        };
        match open() {
            Ok(found) => Ok(Some(found)),
            Err(error) if matches!(error.kind(), IoKind::NotFound | IoKind::NotADirectory) => Ok(None),
            Err(error) => Err(failed("error reading the object", &error)),
        }
    }

    fn path(&self, key: &str) -> Result<PathBuf> {
        let wrong = |text: &str| Err(Error::invalid(text.to_owned()).with_field("key"));
        if key.split('/').any(|name| matches!(name, "" | "." | "..") || name.contains('\0')) {
            return wrong("a key is names with a slash between them, and none of them is '.' or '..'");
        }
        if key.split('/').any(|name| name.len() > LONGEST_NAME) {
            return wrong("a name between the slashes of a key has at most 255 bytes");
        }
        if key.split('/').next() == Some(UPLOADS) {
            return wrong("this name is the store's own");
        }
        join_inside(&self.root, key).map_err(|error| failed("error finding the object", &error))
    }

    /// Held while an object gets its name or loses it: between the check of its conditions and that nobody may write.
    fn lock(&self) -> Result<File> {
        let locked = || {
            let uploads = self.root.join(UPLOADS);
            fs::create_dir_all(&uploads)?;
            let lock = File::options().create(true).append(true).open(uploads.join(LOCK))?;
            lock.lock()?;
            Ok(lock)
        };
        locked().map_err(|error| failed("error locking the folder", &error))
    }

    fn sweep(&self) -> io::Result<()> {
        let entries = match fs::read_dir(self.root.join(UPLOADS)) {
            Err(error) if error.kind() == IoKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            // What is locked is somebody's; what is gone was somebody's.
            let Ok(file) = File::open(entry.path()) else { continue };
            let age = file.metadata()?.modified()?.elapsed().unwrap_or_default();
            if entry.file_name() != LOCK && age > YOUNG && file.try_lock().is_ok() {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

/// An unfinished object's file, removed when this is dropped.
pub(super) struct Temp {
    file: Arc<File>,
    /// `None` once it has got its name, or was removed.
    path: Option<PathBuf>,
}

/// Writes to an unfinished object on another thread.
pub(super) struct Writer(Arc<File>);

impl Writer {
    pub(super) fn append(&self, pieces: &[Buf]) -> Result<()> {
        let mut file = &*self.0;
        let written = pieces.iter().try_for_each(|piece| file.write_all(piece));
        written.map_err(|error| failed("error writing the object", &error))
    }
}

impl Temp {
    pub(super) fn writer(&self) -> Writer {
        Writer(self.file.clone())
    }

    /// Where the file system can, the two share their blocks.
    pub(super) fn fill_from(&self, source: &mut File) -> Result<()> {
        io::copy(source, &mut &*self.file)
            .map(drop)
            .map_err(|error| failed("error copying the object", &error))
    }

    pub(super) fn remove(mut self) -> Result<()> {
        match self.path.take().map(fs::remove_file) {
            Some(Err(error)) if error.kind() != IoKind::NotFound => {
                Err(failed("error removing an unfinished object", &error))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        if let Some(path) = self.path.take() {
            // One that cannot be removed is swept at the next start.
            let _ = fs::remove_file(path);
        }
    }
}

fn failed(what: &str, error: &io::Error) -> Error {
    let text = format!("{what}: {error}");
    match error.kind() {
        IoKind::PermissionDenied | IoKind::ReadOnlyFilesystem => Error::new(ErrorKind::DENIED, text),
        // An object `a` and an object `a/b` cannot both be.
        IoKind::IsADirectory | IoKind::NotADirectory | IoKind::AlreadyExists | IoKind::InvalidFilename => {
            Error::invalid(text).with_field("key")
        }
        _ => Error::internal(text),
    }
}
