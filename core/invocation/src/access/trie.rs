//! Rules for operations by their paths, found as Dapr finds them: the first that was written of those that fit, from left to right;
//! a rule holds for what lies below it as well.

use std::sync::Arc;

/// Fits any one part of a path, if it is the last.
const ONE: &str = "*";
/// Fits the rest of a path.
const REST: &str = "**";

/// Values by paths with wildcards.
#[derive(Debug)]
pub(super) struct Trie<T> {
    part: String,
    value: Option<Arc<T>>,
    below: Vec<Trie<T>>,
}

impl<T> Default for Trie<T> {
    fn default() -> Self {
        Self { part: String::new(), value: None, below: Vec::new() }
    }
}

fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.strip_prefix('/').unwrap_or(path).split('/')
}

impl<T> Trie<T> {
    /// Adds a value; of two with one path the first stays.
    pub(super) fn insert(&mut self, path: &str, value: T) {
        let mut node = self;
        for part in parts(path) {
            let at = node.below.iter().position(|known| known.part == part).unwrap_or_else(|| {
                node.below.push(Self { part: part.to_owned(), ..Self::default() });
                node.below.len() - 1
            });
            node = &mut node.below[at];
        }
        node.value.get_or_insert_with(|| Arc::new(value));
    }

    /// The value for a path.
    pub(super) fn find(&self, path: &str) -> Option<&T> {
        let mut node = self;
        let mut parts = parts(path).peekable();
        while let Some(part) = parts.next() {
            let is_last = parts.peek().is_none();
            node = node.next(part, is_last)?;
            match &node.value {
                Some(value) if is_last || node.part != ONE => return Some(value),
                None if is_last => return node.next(ONE, true)?.value.as_deref(),
                _ => {}
            }
        }
        None
    }

    fn next(&self, part: &str, is_last: bool) -> Option<&Self> {
        self.below.iter().find(|node| match node.part.as_str() {
            known if known == part => true,
            ONE => is_last,
            REST => true,
            pattern => fits(part.as_bytes(), pattern.as_bytes()),
        })
    }
}

/// Whether a pattern fits, in which `*` stands for anything, or nothing.
fn fits(text: &[u8], pattern: &[u8]) -> bool {
    let (mut t, mut p) = (0, 0);
    // Where the last star was, and how far it reaches so far.
    let mut star = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(letter) if *letter == text[t] => {
                t += 1;
                p += 1;
            }
            _ => {
                let Some((at, reach)) = star else { return false };
                star = Some((at, reach + 1));
                (t, p) = (reach + 1, at + 1);
            }
        }
    }
    pattern[p..].iter().all(|letter| *letter == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(rules: &[&'static str], path: &str) -> Option<&'static str> {
        let mut trie = Trie::default();
        for rule in rules {
            trie.insert(rule, *rule);
        }
        trie.find(path).copied()
    }

    #[test]
    fn paths_with_wildcards() {
        for (rule, fitting, others) in [
            ("/a", &["/a", "/a/b", "/a/b/c"][..], &["/", "/b", "/ab"][..]),
            ("/a/*", &["/a", "/a/b"], &["/a/b/c", "/b"]),
            ("/a/*/c", &[], &["/a/b/c", "/a"]),
            ("/a/**", &["/a", "/a/b", "/a/b/c"], &["/b/a"]),
            ("/a/b*", &["/a/b", "/a/bc", "/a/bc/d"], &["/a/c"]),
            ("/a/*b/c", &["/a/b/c", "/a/xxb/c"], &["/a/bx/c"]),
            ("/*", &["/a"], &["/a/b"]),
            ("/**", &["/a", "/a/b"], &[]),
        ] {
            for path in fitting {
                assert_eq!(found(&[rule], path), Some(rule), "{rule} {path}");
            }
            for path in others {
                assert_eq!(found(&[rule], path), None, "{rule} {path}");
            }
        }
    }

    #[test]
    fn the_first_that_fits_is_taken() {
        assert_eq!(found(&["/a/*", "/a/b"], "/a/b"), Some("/a/*"));
        assert_eq!(found(&["/a/b", "/a/*"], "/a/b"), Some("/a/b"));
        assert_eq!(found(&["/a/b", "/a"], "/a/b"), Some("/a"), "the shorter one is met first");
    }

    #[test]
    fn stars_stand_for_anything() {
        for (text, pattern, expected) in [
            ("", "*", true),
            ("abc", "a*c", true),
            ("abcbc", "a*bc", true),
            ("ab", "a*c", false),
            ("a", "a**", true),
            ("ba", "a*", false),
        ] {
            assert_eq!(fits(text.as_bytes(), pattern.as_bytes()), expected, "{text} {pattern}");
        }
    }
}
