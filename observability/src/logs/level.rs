//! daprd's log levels.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU8, Ordering};

use tracing_core::{Level, LevelFilter};

use crate::error::Error;

/// Severity of a line, and the threshold of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
#[repr(u8)]
pub enum LogLevel {
    /// The process ends.
    Fatal = 0,
    /// Something failed.
    Error = 1,
    /// Something is odd.
    Warn = 2,
    /// What an operator wants to know.
    #[default]
    Info = 3,
    /// What a developer wants to know.
    Debug = 4,
    /// Everything; daprd has no such level, plugins have.
    Trace = 5,
}

impl LogLevel {
    /// As `logrus` writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fatal => "fatal",
            Self::Error => "error",
            Self::Warn => "warning",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    /// From the number that crosses the plugin boundary (1 error … 5 trace); a higher number is trace.
    pub fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Fatal,
            1 => Self::Error,
            2 => Self::Warn,
            3 => Self::Info,
            4 => Self::Debug,
            _ => Self::Trace,
        }
    }

    /// The threshold for plugins and for `tracing`, where fatal does not exist: its lines are errors.
    pub fn number(self) -> u8 {
        (self as u8).max(1)
    }

    pub(super) fn of(level: Level) -> Self {
        match level {
            Level::ERROR => Self::Error,
            Level::WARN => Self::Warn,
            Level::INFO => Self::Info,
            Level::DEBUG => Self::Debug,
            Level::TRACE => Self::Trace,
        }
    }

    pub(super) fn filter(self) -> LevelFilter {
        match self {
            Self::Fatal | Self::Error => LevelFilter::ERROR,
            Self::Warn => LevelFilter::WARN,
            Self::Info => LevelFilter::INFO,
            Self::Debug => LevelFilter::DEBUG,
            Self::Trace => LevelFilter::TRACE,
        }
    }
}

impl FromStr for LogLevel {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.to_ascii_lowercase().as_str() {
            "fatal" => Ok(Self::Fatal),
            "error" => Ok(Self::Error),
            "warn" | "warning" => Ok(Self::Warn),
            "info" => Ok(Self::Info),
            "debug" => Ok(Self::Debug),
            "trace" => Ok(Self::Trace),
            _ => Err(Error::LogLevel(text.to_owned())),
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A level that changes while running.
pub(super) struct LevelCell(AtomicU8);

impl LevelCell {
    pub(super) fn new(level: LogLevel) -> Self {
        Self(AtomicU8::new(level as u8))
    }

    pub(super) fn get(&self) -> LogLevel {
        LogLevel::from_number(self.0.load(Ordering::Relaxed))
    }

    pub(super) fn replace(&self, level: LogLevel) -> LogLevel {
        LogLevel::from_number(self.0.swap(level as u8, Ordering::Relaxed))
    }
}
