//! Personal data in texts, found by its form and replaced by what it is.
//!
//! The kinds and their placeholders are those that Dapr has. The forms are wide, as Dapr's are: rather a number too many is taken
//! for a phone number than one too few. Names have no form and stay.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use regex_lite::Regex;

/// Each kind with its form. Of two kinds that match the same part of a text the first one counts.
const KINDS: [(&str, &str); 13] = [
    ("<EMAIL_ADDRESS>", r"[\w.!#$%&'*+/=?^{|}~-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+"),
    (MAC, r"(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}"),
    (IP, r"(?:\d{1,3}\.){3}\d{1,3}"),
    (IP, r"[0-9A-Fa-f]*:[0-9A-Fa-f:]*:(?:(?:\d{1,3}\.){3}\d{1,3}|[0-9A-Fa-f]*)"),
    ("<US_SSN>", r"\d{3}-\d{2}-\d{4}"),
    ("<CREDIT_CARD>", r"(?:\d{4}[- ]?){3}\d{4}|\d{15}"),
    ("<IBAN>", r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b"),
    ("<PO_BOX>", r"(?i)\bp\.? ?o\.? box \d+"),
    (
        "<STREET_ADDRESS>",
        r"(?i)\b\d{1,4} [\w ]{1,20}\b(?:street|st|avenue|ave|road|rd|highway|hwy|square|sq|trail|trl|drive|dr|court|ct|park|parkway|pkwy|circle|cir|boulevard|blvd)\b",
    ),
    ("<ISBN>", r"\b97[89]-?(?:\d-?){9}\d\b"),
    ("<ISBN>", r"\b(?:\d-?){9}[xX]\b|\b\d{1,5}-\d{1,7}-\d{1,6}-[\dxX]\b"),
    ("<ZIP_CODE>", r"\b\d{5}(?:[- ]\d{4})?\b"),
    ("<PHONE_NUMBER>", r"\+?(?:\d{1,3}[-.\s*])?\(?\d{2,4}\)?(?:[-.\s*]?\d{2,6}){1,3}"),
];
const IP: &str = "<IP>";
const MAC: &str = "<MAC_ADDRESS>";
/// What is left alone with everything in it.
const LEFT_ALONE: &str = r"(?i)(?:https?|ssh|git)://[^\s<>]+|git@[\w.-]+:[\w./~-]+";

/// Replaces personal data.
pub(super) struct Scrubber {
    kinds: Vec<(&'static str, Regex)>,
    left_alone: Regex,
}

struct Found {
    range: Range<usize>,
    placeholder: &'static str,
}

impl Scrubber {
    pub(super) fn new() -> Self {
        let compiled = |form| Regex::new(form).expect("invariant: a test compiles every form");
        let kinds = KINDS.iter().map(|(placeholder, form)| (*placeholder, compiled(form))).collect();
        Self { kinds, left_alone: compiled(LEFT_ALONE) }
    }

    /// The text with placeholders.
    pub(super) fn scrub(&self, text: &str) -> String {
        let mut scrubbed = String::with_capacity(text.len());
        let mut copied = 0;
        for found in self.find(text) {
            scrubbed.push_str(&text[copied..found.range.start]);
            scrubbed.push_str(found.placeholder);
            copied = found.range.end;
        }
        scrubbed.push_str(&text[copied..]);
        scrubbed
    }

    /// What does not overlap: what begins first counts, and of those the longest.
    fn find(&self, text: &str) -> Vec<Found> {
        let mut found: Vec<Found> = Vec::new();
        for (placeholder, form) in &self.kinds {
            let ranges = form.find_iter(text).map(|found| found.range());
            let ranges = ranges.filter(|range| is_one(placeholder, text, range));
            found.extend(ranges.map(|range| Found { range, placeholder }));
        }
        // The sort is stable: the order of the kinds decides the rest.
        found.sort_by_key(|found| (found.range.start, std::cmp::Reverse(found.range.end)));
        let alone: Vec<_> = self.left_alone.find_iter(text).map(|found| found.range()).collect();
        let mut end = 0;
        found.retain(|found| {
            let overlaps =
                |range: &Range<usize>| found.range.start < range.end && range.start < found.range.end;
            let stays = found.range.start >= end && !alone.iter().any(overlaps);
            if stays {
                end = found.range.end;
            }
            stays
        });
        found
    }
}

/// Some forms are wider than what they stand for.
fn is_one(placeholder: &str, text: &str, range: &Range<usize>) -> bool {
    let part = &text[range.clone()];
    match placeholder {
        IP if part.contains(':') => stands_alone(text, range) && part.parse::<Ipv6Addr>().is_ok(),
        IP => part.parse::<Ipv4Addr>().is_ok(),
        MAC => stands_alone(text, range),
        _ => true,
    }
}

/// Whether it is no part of a longer word.
fn stands_alone(text: &str, range: &Range<usize>) -> bool {
    let goes_on = |character: Option<char>| character.is_some_and(|character| character.is_alphanumeric());
    !goes_on(text[..range.start].chars().next_back()) && !goes_on(text[range.end..].chars().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_what_dapr_replaces() {
        let scrubber = Scrubber::new();
        for (text, expected) in [
            ("well hello there", "well hello there"),
            ("well hello there from 10.8.9.1", "well hello there from <IP>"),
            ("my phone number is +2222222222", "my phone number is <PHONE_NUMBER>"),
            ("my phone number is +4422222222", "my phone number is <PHONE_NUMBER>"),
            ("my email is test@test.com", "my email is <EMAIL_ADDRESS>"),
            (
                "a.b+c@mail.example.org, 192.168.100.200 and (02) 1234 5678!",
                "<EMAIL_ADDRESS>, <IP> and <PHONE_NUMBER>!",
            ),
            ("fe80::1 or 2001:db8::8a2e:370:7334", "<IP> or <IP>"),
            ("at 00:1A:2b:3c:4d:5e", "at <MAC_ADDRESS>"),
            ("card 4111 1111 1111 1111 or 4111-1111-1111-1111", "card <CREDIT_CARD> or <CREDIT_CARD>"),
            ("ssn 123-45-6789", "ssn <US_SSN>"),
            ("to DE89370400440532013000 please", "to <IBAN> please"),
            ("P.O. Box 42", "<PO_BOX>"),
            ("in 12 Long Meadow Road, 94105-1234", "in <STREET_ADDRESS>, <ZIP_CODE>"),
            ("isbn 978-3-16-148410-0", "isbn <ISBN>"),
            ("", ""),
        ] {
            assert_eq!(scrubber.scrub(text), expected, "{text}");
        }
    }

    #[test]
    fn leaves_the_rest() {
        let scrubber = Scrubber::new();
        for text in [
            "std::vec, at::be and a: b",
            "at 12:30 on page 7",
            "version 1.2.3, 300.1.1.1 no",
            "see https://example.org/users/4111111111111111?a=test@test.com",
            "git@example.org:team/94105.git",
            "é 😀 ü",
        ] {
            assert_eq!(scrubber.scrub(text), text);
        }
    }

    #[test]
    fn takes_any_text() {
        let scrubber = Scrubber::new();
        let mut text = "1é+٣(".repeat(2000);
        text.push_str("😀@x.y 12345");
        let scrubbed = scrubber.scrub(&text);
        assert!(scrubbed.ends_with("<ZIP_CODE>"), "{}", &scrubbed[scrubbed.len() - 20..]);
    }
}
