//! The folder with the keys: the component's one field `path`, and a file for each key.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use mecha_plugin_api::{ComponentSpec, Error, ErrorKind, Result};
use zeroize::Zeroizing;

use crate::key::Key;

const PATH: &str = "path";
/// No key is nearly as long; a file that is holds something else.
const LONGEST: u64 = 1 << 20;

/// Where the keys are.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn open(spec: &ComponentSpec) -> Result<Self> {
        let folder = Self(spec.required(PATH)?.into());
        folder.check().map_err(|error| Error::invalid(error.message()).with_field(PATH))?;
        Ok(folder)
    }

    /// Whether the folder is there.
    pub(crate) fn check(&self) -> Result<()> {
        let path = self.0.display();
        match self.0.metadata() {
            Ok(found) if found.is_dir() => Ok(()),
            Ok(_) => Err(Error::unavailable(format!("path '{path}' is not a directory"))),
            Err(error) => Err(Error::unavailable(format!("could not stat path '{path}': {error}"))),
        }
    }

    /// The key in the file `name`.
    pub(crate) fn key(&self, name: &str) -> Result<Key> {
        if name.contains("..") {
            return Err(Error::invalid("invalid key path: cannot contain '..'"));
        }
        // An absolute name would leave the folder.
        let path = self.0.join(name.trim_start_matches('/'));
        let bytes = read(&path).map_err(|error| {
            let kind = match error.kind() {
                std::io::ErrorKind::NotFound => ErrorKind::NOT_FOUND,
                std::io::ErrorKind::PermissionDenied => ErrorKind::DENIED,
                _ => ErrorKind::INTERNAL,
            };
            Error::new(kind, format!("failed to load key '{name}': {error}"))
        })?;
        Key::parse(&bytes, &path)
            .map_err(|error| Error::invalid(format!("failed to parse key from secret: {}", error.message())))
    }
}

fn read(path: &Path) -> std::io::Result<Zeroizing<Vec<u8>>> {
    // Asked before it is opened: opening a pipe would wait for its writer.
    if !path.metadata()?.is_file() {
        return Err(std::io::Error::other("it is no file"));
    }
    let mut bytes = Zeroizing::new(Vec::new());
    File::open(path)?.take(LONGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST {
        return Err(std::io::Error::other("it is too long for a key"));
    }
    Ok(bytes)
}
