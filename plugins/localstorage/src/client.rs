//! The files below one folder. Names are resolved inside it, as if it were the root of the file system: neither `..` nor a
//! symbolic link leads out.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind as IoKind;
use std::path::{Component, Path, PathBuf};

use mecha_plugin_api::{Error, ErrorKind, Result};

/// More links than this on one way are a loop.
const MOST_LINKS: usize = 255;

/// The files of one component. Blocks.
pub(crate) struct Files {
    root: PathBuf,
}

impl Files {
    /// Makes the folder, if it is not there.
    pub(crate) fn open(root: PathBuf) -> Result<Self> {
        fs::create_dir_all(&root).map_err(|error| {
            let path = root.display();
            let text = format!("unable to create directory specified by 'rootPath' {path}: {error}");
            Error::invalid(text).with_field("rootPath")
        })?;
        Ok(Self { root })
    }

    /// Writes a file in place of one of that name; gives its name as seen from the folder.
    pub(crate) fn create(&self, name: &str, data: &[u8]) -> Result<String> {
        let path = self.path(name)?;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|error| failed("error creating directory", folder, &error))?;
        }
        fs::write(&path, data).map_err(|error| failed("error creating file", &path, &error))?;
        let relative = path.strip_prefix(&self.root).unwrap_or(&path);
        Ok(relative.to_string_lossy().into_owned())
    }

    pub(crate) fn get(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.path(name)?;
        fs::read(&path).map_err(|error| match error.kind() {
            IoKind::NotFound => {
                Error::new(ErrorKind::NOT_FOUND, format!("file not found: {}", path.display()))
            }
            _ => failed("error reading file", &path, &error),
        })
    }

    /// Deletes a file, or a folder that is empty.
    pub(crate) fn delete(&self, name: &str) -> Result<()> {
        let path = self.path(name)?;
        let is_folder = fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir());
        let deleted = if is_folder { fs::remove_dir(&path) } else { fs::remove_file(&path) };
        deleted.map_err(|error| failed("error deleting file", &path, &error))
    }

    /// Every file in a folder and the folders below it, each with its whole path.
    pub(crate) fn list(&self, name: &str) -> Result<Vec<String>> {
        let path = self.path(name)?;
        let found =
            fs::metadata(&path).map_err(|error| failed("error getting stats for path", &path, &error))?;
        if !found.is_dir() {
            let text = "unable to list files as the file specified is not a directory";
            return Err(Error::invalid(format!("{text}: {}", path.display())));
        }
        let mut files = Vec::new();
        walk(&path, &mut files)
            .map_err(|error| failed("error listing files in the directory", &path, &error))?;
        Ok(files)
    }

    fn path(&self, name: &str) -> Result<PathBuf> {
        join_inside(&self.root, name)
            .map_err(|error| Error::invalid(format!("error getting absolute path for file {name}: {error}")))
    }
}

/// Files in the order of their names, each folder's where the folder stands. Links are not followed.
fn walk(folder: &Path, files: &mut Vec<String>) -> std::io::Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<std::io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), files)?;
        } else {
            files.push(entry.path().to_string_lossy().into_owned());
        }
    }
    Ok(())
}

/// Resolves a name below the root, links included.
pub(crate) fn join_inside(root: &Path, name: &str) -> std::io::Result<PathBuf> {
    let mut left: VecDeque<OsString> = parts(Path::new(name)).collect();
    let (mut below, mut links) = (PathBuf::new(), 0);
    while let Some(part) = left.pop_front() {
        if part == ".." {
            below.pop();
            continue;
        }
        let candidate = below.join(&part);
        match fs::read_link(root.join(&candidate)) {
            Ok(target) => {
                links += 1;
                if links > MOST_LINKS {
                    return Err(std::io::Error::other("too many levels of symbolic links"));
                }
                if target.is_absolute() {
                    below.clear();
                }
                for part in parts(&target).collect::<Vec<_>>().into_iter().rev() {
                    left.push_front(part);
                }
            }
            // Not a link, or not there.
            Err(_) => below = candidate,
        }
    }
    Ok(if below.as_os_str().is_empty() { root.to_owned() } else { root.join(below) })
}

fn parts(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(part) => Some(part.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
    })
}

fn failed(what: &str, path: &Path, error: &std::io::Error) -> Error {
    let kind = match error.kind() {
        IoKind::NotFound => ErrorKind::NOT_FOUND,
        IoKind::PermissionDenied => ErrorKind::DENIED,
        _ => ErrorKind::INTERNAL,
    };
    Error::new(kind, format!("{what} {}: {error}", path.display()))
}
