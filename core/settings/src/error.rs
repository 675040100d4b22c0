//! Why the process cannot start as asked.

use std::path::PathBuf;

/// A mistake in the arguments, the environment or a settings file. Each text names the place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A setting that does not exist.
    #[error("unknown setting `{key}` in {place}{}", suggestion(.nearest))]
    UnknownSetting {
        /// The dotted key as given.
        key: String,
        /// The file or variable that holds it.
        place: String,
        /// The known key that is nearest.
        nearest: Option<String>,
    },
    /// A setting with a value of the wrong kind.
    #[error("{0}")]
    Value(String),
    /// A settings file that cannot be read.
    #[error("settings file {}: {reason}", .file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// Why.
        reason: String,
    },
    /// A flag with a value that cannot be used.
    #[error("error parsing {flag} flag: {reason}")]
    Flag {
        /// The flag, without dashes.
        flag: &'static str,
        /// Why.
        reason: String,
    },
    /// A flag at the end of the line that needs a value.
    #[error("flag needs an argument: --{0}")]
    NoArgument(&'static str),
    /// A rule over settings that each are fine alone; daprd's words where it has the rule.
    #[error("{0}")]
    Rule(String),
    /// A subcommand or its arguments cannot be understood; the text has several lines and ends in the usage.
    #[error("{0}")]
    Usage(String),
}

fn suggestion(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|key| format!(", did you mean `{key}`?")).unwrap_or_default()
}
