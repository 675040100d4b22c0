//! Status codes of failures, and which of them are tried again.

use std::ops::RangeInclusive;

use crate::{error::CodesError, spec::RetryMatching};

const HTTP: RangeInclusive<i32> = 100..=599;
const GRPC: RangeInclusive<i32> = 0..=16;

/// The status code of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// An HTTP status.
    Http(u16),
    /// A gRPC status.
    Grpc(i32),
}

/// The codes that are tried again. `None` stands for all codes of its protocol.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Codes {
    http: Option<Vec<RangeInclusive<i32>>>,
    grpc: Option<Vec<RangeInclusive<i32>>>,
}

impl Codes {
    /// Reads lists of codes and ranges such as `429,501-503`.
    ///
    /// # Errors
    /// A list that is not one, or has a code outside of its protocol's range.
    pub fn parse(matching: &RetryMatching) -> Result<Self, CodesError> {
        Ok(Self {
            http: list(&matching.http_status_codes, &HTTP)?,
            grpc: list(&matching.grpc_status_codes, &GRPC)?,
        })
    }

    /// Whether a failure with this code is tried again. A code that its protocol does not have never is.
    #[must_use]
    pub fn matches(&self, code: Code) -> bool {
        let (code, valid, listed) = match code {
            Code::Http(code) => (i32::from(code), HTTP, &self.http),
            Code::Grpc(code) => (code, GRPC, &self.grpc),
        };
        valid.contains(&code)
            && listed.as_ref().is_none_or(|ranges| ranges.iter().any(|range| range.contains(&code)))
    }
}

fn list(text: &str, valid: &RangeInclusive<i32>) -> Result<Option<Vec<RangeInclusive<i32>>>, CodesError> {
    if text.is_empty() {
        return Ok(None);
    }
    // As in Dapr, nothing but commas is a list without a code, which matches none.
    let ranges = text.split(',').filter(|pattern| !pattern.is_empty()).map(|pattern| range(pattern, valid));
    ranges.collect::<Result<_, _>>().map(Some)
}

fn range(pattern: &str, valid: &RangeInclusive<i32>) -> Result<RangeInclusive<i32>, CodesError> {
    let code = |text: &str| {
        let code: i32 = text
            .parse()
            .map_err(|_| CodesError::NotANumber { code: text.to_owned(), pattern: pattern.to_owned() })?;
        if !valid.contains(&code) {
            return Err(CodesError::OutOfRange { code, pattern: pattern.to_owned() });
        }
        Ok(code)
    };
    let (start, end) = match pattern.split_once('-') {
        None => (code(pattern)?, code(pattern)?),
        Some((_, end)) if end.contains('-') => return Err(CodesError::ManyDashes(pattern.to_owned())),
        Some((start, end)) => (code(start)?, code(end)?),
    };
    if end < start {
        return Err(CodesError::Backwards(pattern.to_owned()));
    }
    Ok(start..=end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(http: &str, grpc: &str) -> Result<Codes, CodesError> {
        Codes::parse(&RetryMatching {
            http_status_codes: http.to_owned(),
            grpc_status_codes: grpc.to_owned(),
        })
    }

    #[test]
    fn matches_lists_and_ranges() {
        let codes = codes("429,501-503,", "1,3-5").unwrap();
        let http: Vec<u16> = (100..600).filter(|code| codes.matches(Code::Http(*code))).collect();
        assert_eq!(http, [429, 501, 502, 503]);
        let grpc: Vec<i32> = (0..17).filter(|code| codes.matches(Code::Grpc(*code))).collect();
        assert_eq!(grpc, [1, 3, 4, 5]);
    }

    #[test]
    fn nothing_listed_matches_every_code_of_the_protocol_alone() {
        let only_http = codes("500", "").unwrap();
        assert!((0..=16).all(|code| only_http.matches(Code::Grpc(code))));
        assert!(!only_http.matches(Code::Http(404)));
        let all = Codes::default();
        assert!(all.matches(Code::Http(100)) && all.matches(Code::Http(599)));
        for code in [Code::Http(99), Code::Http(600), Code::Grpc(-1), Code::Grpc(17)] {
            assert!(!all.matches(code), "{code:?}");
        }
        assert!(!codes(",", "").unwrap().matches(Code::Http(500)), "a list without a code matches none");
    }

    #[test]
    fn refuses_what_is_no_list_of_codes() {
        let cases = [
            ("500-400", "invalid pattern 500-400, the start is after the end"),
            ("1-2-3", "invalid pattern 1-2-3, more than one '-' exists"),
            ("99", "invalid pattern 99, code 99 is not valid"),
            ("500-600", "invalid pattern 500-600, code 600 is not valid"),
            ("500, 501", "failed to parse code  501 from pattern  501"),
            ("5xx", "failed to parse code 5xx from pattern 5xx"),
        ];
        for (text, error) in cases {
            assert_eq!(codes(text, "").unwrap_err().to_string(), error, "{text}");
        }
        assert!(codes("", "17").is_err());
    }
}
