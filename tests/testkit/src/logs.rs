//! The lines that a process printed, searchable while it runs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

use crate::wait::eventually;

/// Lines that an error shows when the wanted one did not come.
const SHOWN: usize = 40;

/// The lines that a process printed so far.
#[derive(Debug, Clone, Default)]
pub struct Logs {
    lines: Arc<Mutex<Vec<String>>>,
}

impl Logs {
    /// Every line so far.
    pub fn lines(&self) -> Vec<String> {
        self.lock().clone()
    }

    /// The lines that contain `part`.
    pub fn matching(&self, part: &str) -> Vec<String> {
        self.lock().iter().filter(|line| line.contains(part)).cloned().collect()
    }

    /// How many lines there are: a mark to search from later.
    pub fn mark(&self) -> usize {
        self.lock().len()
    }

    /// Waits for a line that contains `part` and returns it; lines from the start count.
    pub async fn wait_for(&self, part: &str, limit: Duration) -> Result<String> {
        self.wait_after(0, part, limit).await
    }

    /// Waits for a line that contains `part` and came after `mark`.
    pub async fn wait_after(&self, mark: usize, part: &str, limit: Duration) -> Result<String> {
        let find = || async {
            let found = self.lock().iter().skip(mark).find(|line| line.contains(part)).cloned();
            found.ok_or_else(|| anyhow!("no line contains {part:?}; the last lines:\n{}", self.tail()))
        };
        eventually(limit, find).await
    }

    /// The last lines as one text, for messages.
    pub fn tail(&self) -> String {
        let lines = self.lock();
        lines[lines.len().saturating_sub(SHOWN)..].join("\n")
    }

    /// Collects what `output` prints until it ends. With `echo`, prints it as well.
    pub(crate) fn collect(&self, output: impl AsyncRead + Send + Unpin + 'static, echo: bool) {
        let logs = self.clone();
        tokio::spawn(async move {
            let mut output = BufReader::new(output);
            let mut line = Vec::new();
            // Bytes rather than `lines()`: a line that is not UTF-8 must not end the collection and block the writer.
            while output.read_until(b'\n', &mut line).await.is_ok_and(|read| read > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                if echo {
                    println!("{text}");
                }
                logs.lock().push(text);
                line.clear();
            }
        });
    }

    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn lines_are_found_also_after_one_that_is_not_text() {
        let logs = Logs::default();
        logs.collect(&b"ready\n\xff\xfe\nready again\nlast"[..], false);
        logs.wait_for("last", SOON).await.unwrap();
        assert_eq!(logs.wait_for("ready", SOON).await.unwrap(), "ready");
        assert_eq!(logs.wait_after(1, "ready", SOON).await.unwrap(), "ready again");
        assert_eq!(logs.matching("ready").len(), 2);
        assert_eq!(logs.mark(), 4);
    }

    #[tokio::test]
    async fn a_line_that_does_not_come_is_an_error_that_shows_what_came() {
        let logs = Logs::default();
        logs.collect(&b"something else\n"[..], false);
        logs.wait_for("something", SOON).await.unwrap();
        let error = logs.wait_for("wanted", Duration::ZERO).await.unwrap_err().to_string();
        assert!(error.contains("\"wanted\"") && error.contains("something else"), "{error}");
    }
}
