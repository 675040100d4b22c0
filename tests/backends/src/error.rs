//! Why a back end could not be had.

use std::io;
use std::time::Duration;

/// Shorthand for this crate's results.
pub type Result<T> = std::result::Result<T, BackendError>;

/// Why a back end could not be had.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The program is neither installed nor could it be installed here.
    #[error("{program} is not installed: install the package {package} ({hint})")]
    Missing {
        /// Program that was looked for.
        program: &'static str,
        /// Package that holds it.
        package: &'static str,
        /// Why it was not installed, and how to do it.
        hint: String,
    },
    /// The program could not be run at all.
    #[error("cannot run {program}: {source}")]
    Spawn {
        /// Program that was run.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// The server ended before it was ready.
    #[error("{program} ended before it was ready ({status}); its last lines:\n{log}")]
    Ended {
        /// Program that was run.
        program: String,
        /// How it ended.
        status: String,
        /// The tail of its output.
        log: String,
    },
    /// The server runs but does not answer.
    #[error("{program} does not answer after {waited:?}; its last lines:\n{log}")]
    NotReady {
        /// Program that was run.
        program: String,
        /// How long it was given.
        waited: Duration,
        /// The tail of its output.
        log: String,
    },
    /// A server that someone else started cannot be stopped or restarted from here.
    #[error("the server at {addr} is shared and belongs to another process; use start() for a fault test")]
    Shared {
        /// Address of the shared server.
        addr: String,
    },
    /// An address that an environment variable names is not one.
    #[error("{variable} is not an address like 127.0.0.1:6379: {value:?}")]
    Address {
        /// Name of the variable.
        variable: &'static str,
        /// What it holds.
        value: String,
    },
    /// No port could be bound.
    #[error("no free port on 127.0.0.1 after {tries} tries")]
    NoPort {
        /// How many were tried.
        tries: usize,
    },
    /// A server refused what was asked of it.
    #[error("{request} was answered with {answer}")]
    Refused {
        /// What was asked.
        request: String,
        /// Status and text of the answer.
        answer: String,
    },
    /// Anything else that the system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}
