//! Why a file was refused: one line that names the cause.

use std::path::PathBuf;

/// Why a plugin file is not used. `Display` is one line.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refusal {
    /// The file could not be read or copied.
    #[error("cannot read the file: {0}")]
    Unreadable(String),
    /// Not an ELF shared library for this machine.
    #[error("not a shared library for this machine: {0}")]
    NotALibrary(String),
    /// The file ends before its own headers say; it may still be arriving.
    #[error("the file is incomplete: its headers describe {described} bytes, it has {actual}")]
    Incomplete {
        /// Bytes that the headers describe.
        described: u64,
        /// Bytes in the file.
        actual: u64,
    },
    /// A library, but not a plugin.
    #[error("not a Mecha plugin: it exports no plugin declaration (mecha_plugin_api::export!)")]
    NoExport,
    /// The dynamic linker refused it.
    #[error("the dynamic linker refused it: {0}")]
    Linker(String),
    /// Built against a boundary that does not fit.
    #[error("built against an incompatible plugin API: {0}; rebuild it with mecha-plugin-api {host}", host = mecha_plugin_api::API_VERSION)]
    Incompatible(String),
    /// A panic in it would end the process.
    #[error("built with panic=abort: a panic in it would end the runtime; rebuild it with panic=unwind")]
    PanicAborts,
    /// Its own start-up code failed.
    #[error("it failed to start: {0}")]
    Start(String),
    /// The private folder for copies cannot be used.
    #[error("cannot copy it to {0}: {1}")]
    Copy(PathBuf, String),
}

impl Refusal {
    /// The kind, as a label of a measurement.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "unreadable",
            Self::NotALibrary(_) => "not_a_library",
            Self::Incomplete { .. } => "incomplete",
            Self::NoExport => "no_export",
            Self::Linker(_) => "linker",
            Self::Incompatible(_) => "incompatible",
            Self::PanicAborts => "panic_aborts",
            Self::Start(_) => "start",
            Self::Copy(..) => "copy",
        }
    }
}
