//! What is kept of an object beside its bytes: an extended attribute of its file, which comes and goes with it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;

use mecha_plugin_api::object::ObjectHead;
use mecha_plugin_api::{Error, Metadata, Result};
use rustix::fs::{XattrFlags, fgetxattr, fsetxattr};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

const NAME: &str = "user.mecha.object";
/// More than any file system of Linux holds in one attribute.
const LONGEST: usize = 64 * 1024;

/// An object's attributes; a file that came there by other means has none.
#[derive(Serialize, Deserialize, Default, Debug)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Attributes {
    /// Another one with every write, so that two writes in one tick of the clock have different etags.
    version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    content_type: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
}

impl Attributes {
    pub(super) fn new(content_type: &str, metadata: &Metadata) -> Self {
        let metadata = metadata.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self {
            version: uuid::Uuid::new_v4().simple().to_string(),
            content_type: content_type.to_owned(),
            metadata: metadata.collect(),
        }
    }

    /// Keeps them with a file. Where the file system cannot, only an object with metadata of its own is refused.
    pub(super) fn write(&self, file: &File) -> Result<()> {
        let failed = |error: &dyn std::fmt::Display| {
            Error::internal(format!("error writing the object's attributes: {error}"))
        };
        let text = serde_json::to_vec(self).map_err(|error| failed(&error))?;
        match fsetxattr(file, NAME, &text, XattrFlags::empty()) {
            Ok(()) => Ok(()),
            Err(Errno::NOTSUP) if self.metadata.is_empty() => Ok(()),
            Err(Errno::NOTSUP) => Err(Error::unsupported(
                "the folder's file system has no extended attributes to keep metadata in",
            )),
            Err(Errno::NOSPC | Errno::TOOBIG | Errno::RANGE) => {
                Err(Error::invalid("the object's media type and metadata are too large for the file system"))
            }
            Err(error) => Err(failed(&error)),
        }
    }

    fn read(file: &File) -> io::Result<Self> {
        let mut text = vec![0; LONGEST];
        match fgetxattr(file, NAME, &mut text[..]) {
            // Attributes that are not ours are none.
            Ok(length) => Ok(serde_json::from_slice(&text[..length]).unwrap_or_default()),
            Err(Errno::NODATA | Errno::NOTSUP) => Ok(Self::default()),
            Err(error) => Err(error.into()),
        }
    }
}

/// What is known of an object.
pub(super) fn head(key: &str, file: &File) -> io::Result<ObjectHead> {
    let (found, attributes) = (file.metadata()?, Attributes::read(file)?);
    let nanoseconds = i128::from(found.mtime()) * 1_000_000_000 + i128::from(found.mtime_nsec());
    Ok(ObjectHead {
        key: key.into(),
        size: found.len(),
        etag: format!("{nanoseconds:x}-{:x}-{:x}-{}", found.len(), found.ino(), attributes.version).into(),
        content_type: attributes.content_type.into(),
        modified_ms: u64::try_from(nanoseconds / 1_000_000).unwrap_or_default(),
        metadata: attributes.metadata.into_iter().collect(),
        details: Metadata::new(),
    })
}
