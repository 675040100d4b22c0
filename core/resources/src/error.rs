//! What can be wrong with a resource file. Each error says where: the file, the document in it, the field.

use std::{fmt, path::PathBuf};

/// A file, or one document of it, that could not be used. `daprd` logs these and goes on; so does a caller of
/// [`crate::load_dir`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileError {
    /// The file, or the folder when the folder itself could not be listed.
    pub file: PathBuf,
    /// Which document of the file, from 0; `None` when the whole file is concerned.
    pub document: Option<usize>,
    /// What is wrong.
    pub kind: FileErrorKind,
}

/// What is wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileErrorKind {
    /// The file or folder cannot be read.
    #[error("cannot be read: {0}")]
    Io(String),
    /// The text is neither YAML nor JSON.
    #[error("{0}")]
    Syntax(#[from] crate::yaml::SyntaxError),
    /// A field has the wrong type or a value that is refused.
    #[error("{field}: {reason}")]
    Field {
        /// The dotted path of the field, such as `spec.metadata[2].value`.
        field: String,
        /// Why it is refused.
        reason: String,
    },
    /// A Configuration breaks a rule that spans several fields; the text is Dapr's.
    #[error("{0}")]
    Rule(String),
}

impl FileErrorKind {
    pub(crate) fn field(field: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self::Field { field: field.into(), reason: reason.to_string() }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(document) = self.document {
            write!(f, ", document {document}")?;
        }
        write!(f, ": {}", self.kind)
    }
}

impl std::error::Error for FileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.kind)
    }
}
