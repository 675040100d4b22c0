//! Reads cargo test's output while it passes by, to close with one line of totals.

use std::io::{BufRead, Write};

use anyhow::Result;

/// Totals over all test programs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Totals {
    /// Copies `output` line by line and adds the results up.
    pub(crate) fn follow(mut output: impl BufRead, mut copy: impl Write) -> Result<Self> {
        let mut totals = Self::default();
        let mut line = Vec::new();
        while output.read_until(b'\n', &mut line)? > 0 {
            copy.write_all(&line)?;
            copy.flush()?;
            totals.add(&String::from_utf8_lossy(&line));
            line.clear();
        }
        Ok(totals)
    }

    /// The closing line.
    pub(crate) fn line(&self) -> String {
        format!("{} passed, {} failed, {} skipped", self.passed, self.failed, self.ignored)
    }

    fn add(&mut self, line: &str) {
        // A test may print without a line's end, so that its result does not start a line.
        let Some((_, result)) = line.split_once("test result: ") else {
            return;
        };
        for part in result.split([';', '.']) {
            match part.trim().split_once(' ') {
                Some((count, "passed")) => self.passed += count.parse().unwrap_or(0),
                Some((count, "failed")) => self.failed += count.parse().unwrap_or(0),
                Some((count, "ignored")) => self.ignored += count.parse().unwrap_or(0),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_added_up_and_everything_is_copied() {
        let output = b"running 2 tests\n\xff\n\
            test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
            no line's endtest result: FAILED. 40 passed; 1 failed; 0 ignored; 0 measured; 3 filtered out";
        let mut copy = Vec::new();
        let totals = Totals::follow(&output[..], &mut copy).unwrap();
        assert_eq!(copy, output);
        assert_eq!(totals.line(), "42 passed, 1 failed, 1 skipped");
    }
}
