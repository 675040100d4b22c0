//! Reads cargo test's output while it passes by, to close with what failed and one line of totals.

use std::collections::VecDeque;
use std::io::{BufRead, Write};

use anyhow::Result;

/// Lines that are kept of what a failed test printed: its error is at the end.
const KEPT: usize = 100;
/// Lines that the closing has for all failed tests together, shared out evenly.
const CLOSING: usize = 200;
/// Lines that each failed test has of it at least.
const LEAST: usize = 5;
/// What a panic's backtrace begins and ends with.
const BACKTRACE: (&str, &str) = ("stack backtrace:", "note: ");

/// Totals over all test programs.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    passed: u64,
    failed: u64,
    ignored: u64,
    failures: Vec<Failure>,
    part: Part,
    in_backtrace: bool,
}

/// A failed test and the last that it printed.
#[derive(Debug)]
struct Failure {
    name: String,
    printed: VecDeque<String>,
}

/// Where in a test program's output a line stands.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Before its failures, or after them.
    #[default]
    Results,
    /// In what its failed tests printed.
    Failures,
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

    /// What the failed tests printed, once more, and the closing line.
    pub(crate) fn closing(&self) -> String {
        let mut text = String::new();
        let share = (CLOSING / self.failures.len().max(1)).clamp(LEAST, KEPT);
        for failure in &self.failures {
            text += &format!("==> failed: {}\n", failure.name);
            let skipped = failure.printed.len().saturating_sub(share);
            failure.printed.iter().skip(skipped).for_each(|line| text += &format!("{line}\n"));
        }
        text + &format!("{} passed, {} failed, {} skipped", self.passed, self.failed, self.ignored)
    }

    fn add(&mut self, line: &str) {
        self.add_to_failures(line.trim_end());
        self.add_result(line);
    }

    /// A program names its failures twice under the same headline: with what each printed, and in a list.
    fn add_to_failures(&mut self, line: &str) {
        let heading = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----"));
        match (self.part, heading) {
            (Part::Results, _) if line == "failures:" => self.part = Part::Failures,
            (Part::Results, _) => {}
            (Part::Failures, _) if line == "failures:" => self.part = Part::Results,
            (Part::Failures, Some(name)) => {
                self.failures.push(Failure { name: name.to_owned(), printed: VecDeque::new() });
            }
            (Part::Failures, None) if self.is_of_a_backtrace(line) => {}
            (Part::Failures, None) => {
                if let Some(failure) = self.failures.last_mut() {
                    failure.printed.push_back(line.to_owned());
                    if failure.printed.len() > KEPT {
                        failure.printed.pop_front();
                    }
                }
            }
        }
    }

    /// A backtrace is long and says less than the line above it.
    fn is_of_a_backtrace(&mut self, line: &str) -> bool {
        let was_in = self.in_backtrace;
        let (begin, end) = BACKTRACE;
        // One that is cut off ends with the empty line before the next test.
        self.in_backtrace = (was_in || line == begin) && !line.starts_with(end) && !line.is_empty();
        was_in || self.in_backtrace
    }

    fn add_result(&mut self, line: &str) {
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
        assert_eq!(totals.closing(), "42 passed, 1 failed, 1 skipped");
    }

    #[test]
    fn what_failed_is_told_again_at_the_end() {
        let many = "a line\n".repeat(KEPT + 7);
        let output = format!(
            "test a ... FAILED\n\nsuccesses:\n\n---- c stdout ----\nfine\n\nsuccesses:\n    c\n\n\
             failures:\n\n---- a stdout ----\nno such host\nstack backtrace:\n   0: main\n             at ./src/main.rs:1:1\nnote: more\n\n---- b stdout ----\n{many}the end\n\n\
             failures:\n    a\n    b\n\ntest result: FAILED. 1 passed; 2 failed; 0 ignored\n"
        );
        let totals = Totals::follow(output.as_bytes(), Vec::new()).unwrap();
        let kept = "a line\n".repeat(KEPT - 2);
        assert_eq!(
            totals.closing(),
            format!(
                "==> failed: a\nno such host\n\n==> failed: b\n{kept}the end\n\n1 passed, 2 failed, 0 skipped"
            )
        );
    }
}
