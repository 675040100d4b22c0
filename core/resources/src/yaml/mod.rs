//! YAML (and so JSON) text as [`serde_json::Value`]s, one per document.
//!
//! Dapr turns YAML into JSON before it types it, with a library of the YAML 1.1 school: `yes` is a boolean and `010`
//! is eight. A component's metadata shows the outcome to its plugin, so this module resolves scalars the same way.
//! `split` cuts a file into documents, `build` turns parser events into values, `scalar` resolves plain scalars.

mod build;
#[cfg(test)]
mod hostile;
mod scalar;

use serde_json::Value;

pub use scalar::number_text;

/// The text cannot be read as YAML.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {reason}")]
pub struct SyntaxError {
    /// Line in the document, from 1.
    pub line: usize,
    /// Column in the line, from 1.
    pub column: usize,
    /// What is wrong there.
    pub reason: String,
}

/// Cuts a file into documents at lines that begin with `---`. The documents are cut before they are parsed, so that
/// a broken one does not take its neighbours along; Dapr cuts at the same places.
pub fn split(text: &str) -> Vec<&str> {
    let mut documents = Vec::new();
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    while let Some(at) = rest.find("\n---") {
        documents.push(&rest[..at]);
        let after = &rest[at + 1..];
        // Whatever stands on the separator's own line is dropped, as it is in Dapr.
        rest = after.find('\n').map_or("", |end| &after[end + 1..]);
    }
    documents.push(rest);
    documents
}

/// Reads one document. An empty one is `Null`; of several, the first counts.
pub fn parse(text: &str) -> Result<Value, SyntaxError> {
    build::document(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn splits_where_a_line_begins_with_three_dashes() {
        assert_eq!(split("---\na: 1\n--- # note\nb: 2\n---\n"), ["---\na: 1", "b: 2", ""]);
        assert_eq!(split("a: 1\r\n---\r\nb: 2"), ["a: 1\r", "b: 2"]);
        assert_eq!(split("a: x---y"), ["a: x---y"]);
    }

    #[test]
    fn reads_json_as_it_is() {
        let text = r#"{"kind":"Component","spec":{"metadata":[{"name":"a","value":"x: y"}]}}"#;
        assert_eq!(parse(text).unwrap(), serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn resolves_scalars_anchors_and_merges() {
        let text = "base: &b {x: 1, z: 2}\nuse:\n  <<: *b\n  z: 3\nlist: [*b, 'no', no, ~]\non: 0x10\n";
        let expected = json!({
            "base": {"x": 1, "z": 2},
            "use": {"x": 1, "z": 3},
            "list": [{"x": 1, "z": 2}, "no", false, null],
            "true": 16,
        });
        assert_eq!(parse(text).unwrap(), expected);
    }

    #[test]
    fn says_where_the_text_breaks() {
        let error = parse("a: 1\nb: [1, 2\n").unwrap_err();
        assert!(error.line >= 2, "{error}");
        assert!(parse("a: *nothing").is_err());
        assert!(parse("? [a]\n: b").unwrap_err().reason.contains("key"));
    }

    #[test]
    fn bounds_what_aliases_can_grow_to() {
        let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for level in 1..9 {
            let previous = format!("*a{}", level - 1);
            bomb += &format!("a{level}: &a{level} [{}]\n", vec![previous; 10].join(","));
        }
        assert!(parse(&bomb).unwrap_err().reason.contains("too large"));
    }

    #[test]
    fn bounds_nesting() {
        let deep = format!("{}1", "- ".repeat(5_000));
        assert!(parse(&deep).is_err());
        assert!(parse(&"[".repeat(100_000)).is_err());
    }
}
