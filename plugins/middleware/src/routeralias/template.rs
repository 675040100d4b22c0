//! Paths with names in them, as Dapr's router has them: `/a/{id}`, `/a/{id:[0-9]+}`.

use mecha_plugin_api::{Error, Result};
use regex_lite::{Regex, escape};

use super::FIELD;

/// One segment, or the part of one.
const ANYTHING: &str = "[^/]+";

/// A path with names in it.
#[derive(Debug)]
pub(super) struct Template {
    pattern: Regex,
    names: Vec<String>,
}

impl Template {
    pub(super) fn read(text: &str) -> Result<Self> {
        let wrong = |why: &str| Error::invalid(format!("route {text:?}: {why}")).with_field(FIELD);
        let (mut pattern, mut names, mut rest) = ("^".to_owned(), Vec::new(), text);
        if !text.starts_with('/') {
            return Err(wrong("it must begin with a slash"));
        }
        while let Some(start) = rest.find(['{', '}']) {
            let end = closing(rest, start).ok_or_else(|| wrong("its braces do not match"))?;
            let (name, part) =
                rest[start + 1..end].split_once(':').unwrap_or((&rest[start + 1..end], ANYTHING));
            if name.is_empty() || part.is_empty() {
                return Err(wrong("a name or its pattern is missing"));
            }
            if names.iter().any(|known| known == name) {
                return Err(wrong("a name stands there twice"));
            }
            pattern.push_str(&escape(&rest[..start]));
            pattern.push_str(&format!("({part})"));
            names.push(name.to_owned());
            rest = &rest[end + 1..];
        }
        pattern.push_str(&escape(rest));
        pattern.push('$');
        let pattern = Regex::new(&pattern).map_err(|error| wrong(&error.to_string()))?;
        // The whole is one group.
        if pattern.captures_len() != names.len() + 1 {
            return Err(wrong("a name's pattern has groups; (?:…) is none"));
        }
        Ok(Self { pattern, names })
    }

    /// What stands in a path for each name; `None` when the path does not fit.
    pub(super) fn values(&self, path: &str) -> Option<Vec<(&str, String)>> {
        let found = self.pattern.captures(path)?;
        let value = |group: usize| found.get(group).map(|part| part.as_str().to_owned()).unwrap_or_default();
        Some(self.names.iter().enumerate().map(|(index, name)| (name.as_str(), value(index + 1))).collect())
    }
}

/// Where the brace at `start` closes; a pattern may hold braces of its own.
fn closing(text: &str, start: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (place, letter) in text.bytes().enumerate().skip(start) {
        match letter {
            b'{' => depth += 1,
            b'}' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(place);
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_for_segments_or_for_their_pattern() {
        let template = Template::read("/a.b/{id:[0-9]{2}}-{name}").unwrap();
        let values = template.values("/a.b/12-x y").unwrap();
        assert_eq!(values, [("id", "12".to_owned()), ("name", "x y".to_owned())]);
        for other in ["/aXb/12-x", "/a.b/123-x", "/a.b/12-x/y", "/a.b/12-"] {
            assert_eq!(template.values(other), None, "{other}");
        }
    }

    #[test]
    fn a_wrong_template_is_refused() {
        for wrong in ["a", "/{", "/}", "/{}", "/{a:}", "/{a}/{a}", "/{a:(x)}", "/{a:[}", "/}{"] {
            let error = Template::read(wrong).unwrap_err();
            assert_eq!(error.field(), Some(FIELD), "{wrong}");
        }
    }
}
