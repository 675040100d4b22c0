//! Durations as Dapr's files write them: Go's text (`1m30s`), or a plain number of milliseconds.

use std::time::Duration;

const UNITS: [(&str, f64); 8] =
    [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];

/// Reads a duration; `None` when the text is not one. A negative one is zero, for that is how every policy treats it.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    if let Ok(millis) = text.parse::<i64>() {
        return Some(Duration::from_millis(u64::try_from(millis).unwrap_or(0)));
    }
    let (is_negative, unsigned) = match text.strip_prefix(['+', '-']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    let nanos = nanos(unsigned)?;
    Some(if is_negative { Duration::ZERO } else { Duration::from_nanos(nanos) })
}

fn nanos(mut rest: &str) -> Option<u64> {
    let mut nanos = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (number, tail) = rest.split_at(rest.find(|c: char| !is_of_number(c))?);
        let (unit, next) = tail.split_at(tail.find(is_of_number).unwrap_or(tail.len()));
        let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit)?;
        nanos += number.parse::<f64>().ok()? * scale;
        rest = next;
    }
    // Go holds a duration in 63 bits and refuses what does not fit.
    (nanos < i64::MAX as f64).then_some(nanos.round() as u64)
}

fn is_of_number(c: char) -> bool {
    c.is_ascii_digit() || c == '.'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_milliseconds_and_go_durations() {
        for (text, millis) in [
            ("0", 0),
            ("500", 500),
            ("5s", 5_000),
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
            ("+.25s", 250),
            ("-5s", 0),
            ("-5", 0),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(parse("1µs2ns"), Some(Duration::from_nanos(1_002)));
    }

    #[test]
    fn refuses_what_is_no_duration() {
        for text in ["", "-", "s", "5 s", "1x", "1s5", ".s", "1.5", "abc", "9999999h9999999h"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
