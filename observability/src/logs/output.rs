//! Where lines go.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use crate::error::Error;

/// The destination of a log.
#[derive(Default)]
pub enum LogOutput {
    /// Standard output.
    #[default]
    Stdout,
    /// A file, appended to.
    File(PathBuf),
    /// Anything else, e.g. a buffer in a test.
    Writer(Box<dyn Write + Send>),
}

impl fmt::Debug for LogOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("Stdout"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Writer(_) => f.write_str("Writer"),
        }
    }
}

/// An open destination. Each line is one write, so that lines of several threads do not mix.
pub(super) enum Output {
    Stdout,
    File(File),
    Writer(Mutex<Box<dyn Write + Send>>),
}

impl Output {
    pub(super) fn open(output: LogOutput) -> Result<Self, Error> {
        match output {
            LogOutput::Stdout => Ok(Self::Stdout),
            LogOutput::Writer(writer) => Ok(Self::Writer(Mutex::new(writer))),
            LogOutput::File(path) => {
                let file = OpenOptions::new().create(true).append(true).open(&path);
                file.map(Self::File).map_err(|source| Error::LogFile { path, source })
            }
        }
    }

    pub(super) fn write(&self, line: &str) {
        // A reader that went away must not end the runtime.
        let _lost = match self {
            Self::Stdout => std::io::stdout().lock().write_all(line.as_bytes()),
            Self::File(file) => { file }.write_all(line.as_bytes()),
            Self::Writer(writer) => {
                writer.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes())
            }
        };
    }
}
