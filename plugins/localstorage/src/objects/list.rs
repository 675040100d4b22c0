//! Listings: a walk through the folder in the order of the keys' bytes, which is not that of the folders' names.

use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mecha_plugin_api::object::{ListPage, ListRequest};
use mecha_plugin_api::{Error, Result};

use super::attributes;
use super::folder::{Folder, UPLOADS};

/// One page.
pub(super) fn page(folder: &Folder, request: &ListRequest) -> Result<ListPage> {
    let mut walk = Walk {
        prefix: &request.prefix,
        delimiter: &request.delimiter,
        after: cursor(&request.cursor)?,
        room: request.limit.max(1),
        last: String::new(),
        page: ListPage::default(),
    };
    match walk.folder(folder.root(), "") {
        // Full, and there is more.
        Ok(ControlFlow::Break(())) => {
            walk.page.cursor = URL_SAFE_NO_PAD.encode(&walk.last).into();
            Ok(walk.page)
        }
        Ok(ControlFlow::Continue(())) => Ok(walk.page),
        Err(error) => Err(Error::internal(format!("error listing objects: {error}"))),
    }
}

/// A cursor is the last entry of the page before.
fn cursor(text: &str) -> Result<String> {
    let decoded = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    decoded.ok_or_else(|| Error::invalid("the cursor is not one of this store's").with_field("cursor"))
}

struct Walk<'r> {
    prefix: &'r str,
    delimiter: &'r str,
    /// Where the page before ended; empty = at the start.
    after: String,
    /// How many entries the page still takes.
    room: u32,
    /// The entry that was listed last.
    last: String,
    page: ListPage,
}

impl Walk<'_> {
    /// Walks a folder whose keys begin with `key`, which is empty or ends with a slash.
    fn folder(&mut self, path: &Path, key: &str) -> io::Result<ControlFlow<()>> {
        for (name, is_folder) in entries(path)? {
            let key = format!("{key}{name}");
            if self.is_passed(&key, is_folder) {
                continue;
            }
            let path = path.join(name.trim_end_matches('/'));
            let walked = match is_folder {
                true if key.trim_end_matches('/') == UPLOADS => continue,
                true => self.folder(&path, &key),
                false => self.file(&path, key),
            };
            match walked {
                // Gone meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Ok(ControlFlow::Continue(())) => {}
                ended => return ended,
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Whether nothing in there belongs to what is still to be listed.
    fn is_passed(&self, key: &str, is_folder: bool) -> bool {
        let is_outside = match is_folder {
            true => !key.starts_with(self.prefix) && !self.prefix.starts_with(key),
            false => !key.starts_with(self.prefix),
        };
        is_outside
            || self.is_before(key, is_folder, &self.after)
            || self.is_before(key, is_folder, &self.last)
    }

    /// Whether it was listed with `mark`, or earlier.
    fn is_before(&self, key: &str, is_folder: bool, mark: &str) -> bool {
        let is_group = !self.delimiter.is_empty()
            && mark.len() > self.prefix.len()
            && mark.ends_with(self.delimiter)
            && key.starts_with(mark);
        match is_folder {
            // A folder comes before a key in it, and that one may be the mark.
            true => is_group || key < mark && !mark.starts_with(key),
            false => is_group || !mark.is_empty() && key <= mark,
        }
    }

    fn file(&mut self, path: &Path, key: String) -> io::Result<ControlFlow<()>> {
        if self.room == 0 {
            return Ok(ControlFlow::Break(()));
        }
        let rest = &key[self.prefix.len()..];
        let cut = if self.delimiter.is_empty() { None } else { rest.find(self.delimiter) };
        self.last = match cut {
            Some(at) => {
                let group = key[..self.prefix.len() + at + self.delimiter.len()].to_owned();
                self.page.prefixes.push(group.as_str().into());
                group
            }
            None => {
                self.page.objects.push(attributes::head(&key, &File::open(path)?)?);
                key
            }
        };
        self.room -= 1;
        Ok(ControlFlow::Continue(()))
    }
}

/// The files and folders in a folder, these with a slash at the end, in the order of the keys that they lead to. Links and names
/// that are not UTF-8 are left out.
fn entries(path: &Path) -> io::Result<Vec<(String, bool)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let (Ok(name), kind) = (entry.file_name().into_string(), entry.file_type()?) else { continue };
        match kind {
            kind if kind.is_dir() => found.push((name + "/", true)),
            kind if kind.is_file() => found.push((name, false)),
            _ => {}
        }
    }
    found.sort_unstable();
    Ok(found)
}
