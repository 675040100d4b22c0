//! `pathMatching` of Dapr's Configuration: path patterns in the syntax of Go's `ServeMux`.

use super::path::normalized;

/// Where an application's own paths appear in the invocation API.
const INVOKE_PREFIX: &str = "/v1.0/invoke/";
const INVOKE_PATTERN: &str = "/v1.0/invoke/{app_id}/method";

/// Patterns with the most specific first.
#[derive(Debug)]
pub(super) struct Patterns(Vec<Pattern>);

#[derive(Debug)]
struct Pattern {
    text: String,
    parts: Vec<Part>,
    /// Ends in `/` or `{name...}`: everything below matches.
    is_subtree: bool,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Literal(String),
    /// `{name}`: any one part.
    Any,
}

impl Patterns {
    /// Each pattern also stands for the invocation of the same path.
    pub(super) fn new(patterns: &[String]) -> Self {
        let own = patterns.iter().map(|pattern| normalized(pattern).into_owned());
        let mut texts: Vec<String> = own
            .flat_map(|pattern| {
                let invoked =
                    (!pattern.starts_with(INVOKE_PREFIX)).then(|| format!("{INVOKE_PATTERN}{pattern}"));
                [Some(pattern), invoked].into_iter().flatten()
            })
            .collect();
        texts.sort();
        texts.dedup();
        let mut patterns: Vec<Pattern> = texts.into_iter().map(Pattern::parse).collect();
        // Longer before shorter, a literal before a wildcard, an exact end before a subtree.
        patterns.sort_by(|a, b| {
            b.parts.len().cmp(&a.parts.len()).then_with(|| a.is_subtree.cmp(&b.is_subtree)).then_with(|| {
                let wildcards = |pattern: &Pattern| {
                    pattern.parts.iter().map(|part| *part == Part::Any).collect::<Vec<_>>()
                };
                wildcards(a).cmp(&wildcards(b))
            })
        });
        Self(patterns)
    }

    pub(super) fn find(&self, path: &str) -> Option<&str> {
        self.0.iter().find(|pattern| pattern.matches(path)).map(|pattern| pattern.text.as_str())
    }
}

impl Pattern {
    fn parse(text: String) -> Self {
        let mut rest = text[1..].to_owned();
        let mut is_subtree = false;
        if let Some(exact) = rest.strip_suffix("{$}") {
            rest = exact.to_owned();
        } else if rest.is_empty() || rest.ends_with('/') {
            is_subtree = true;
        } else if rest.ends_with("...}") {
            is_subtree = true;
            rest.truncate(rest.rfind('/').map_or(0, |slash| slash + 1));
        }
        let is_wildcard = |part: &str| part.starts_with('{') && part.ends_with('}');
        let part = |part: &str| if is_wildcard(part) { Part::Any } else { Part::Literal(part.to_owned()) };
        let parts = match is_subtree {
            true => rest.trim_end_matches('/'),
            false => &rest,
        };
        let parts =
            if parts.is_empty() && is_subtree { Vec::new() } else { parts.split('/').map(part).collect() };
        Self { text, parts, is_subtree }
    }

    fn matches(&self, path: &str) -> bool {
        let mut found = path.trim_start_matches('/').split('/');
        for part in &self.parts {
            let Some(text) = found.next() else { return false };
            let fits = match part {
                Part::Any => !text.is_empty(),
                Part::Literal(literal) => literal == text,
            };
            if !fits {
                return false;
            }
        }
        // A subtree needs the slash behind its last part; the root is one in itself.
        if self.is_subtree { self.parts.is_empty() || found.next().is_some() } else { found.next().is_none() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(texts: &[&str]) -> Patterns {
        Patterns::new(&texts.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn the_most_specific_pattern_wins() {
        let patterns =
            patterns(&["/", "/orders/", "/orders/{id}", "/orders/latest", "/orders/{id}/items/{item}"]);
        let cases = [
            ("/orders/latest", "/orders/latest"),
            ("/orders/7", "/orders/{id}"),
            ("/orders/7/items/1", "/orders/{id}/items/{item}"),
            ("/orders/7/notes", "/orders/"),
            ("/orders", "/"),
            ("/elsewhere", "/"),
        ];
        for (path, pattern) in cases {
            assert_eq!(patterns.find(path), Some(pattern), "{path}");
        }
    }

    #[test]
    fn rest_wildcards_and_exact_ends() {
        let patterns = patterns(&["/files/{path...}", "/exact/{$}"]);
        assert_eq!(patterns.find("/files/a/b"), Some("/files/{path...}"));
        assert_eq!(patterns.find("/exact/"), Some("/exact/{$}"));
        assert_eq!(patterns.find("/exact/more"), None);
        assert_eq!(patterns.find("/other"), None);
    }
}
