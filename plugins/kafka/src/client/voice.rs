//! Log lines of librdkafka, said on its own threads and written on the plugin's: only there do they reach the host.

use rdkafka::config::RDKafkaLogLevel;
use tokio::sync::mpsc;

/// Lines that wait to be written; more of them are a flood, and are dropped.
const WAITING: usize = 64;

struct Line {
    is_error: bool,
    facility: String,
    message: String,
}

/// Where a client says something.
#[derive(Clone)]
pub(crate) struct Voice(mpsc::Sender<Line>);

impl Voice {
    /// Starts writing; ends with the last clone.
    pub(crate) fn start() -> Self {
        let (sender, mut lines) = mpsc::channel::<Line>(WAITING);
        tokio::spawn(async move {
            while let Some(Line { is_error, facility, message }) = lines.recv().await {
                // Connections come and go: the component's health says so, the line is only the detail.
                if is_error {
                    tracing::warn!(facility, "librdkafka: {message}");
                } else {
                    tracing::debug!(facility, "librdkafka: {message}");
                }
            }
        });
        Self(sender)
    }

    /// Takes a line; never waits.
    pub(crate) fn say(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let is_error = matches!(
            level,
            RDKafkaLogLevel::Emerg
                | RDKafkaLogLevel::Alert
                | RDKafkaLogLevel::Critical
                | RDKafkaLogLevel::Error
        );
        let line = Line { is_error, facility: facility.to_owned(), message: message.to_owned() };
        // A full queue means that the same is being said over and over.
        let _ = self.0.try_send(line);
    }
}
