//! Reads the aliases: a mapping of texts in YAML, of which JSON is a part.

use mecha_plugin_api::{Error, Result};
use saphyr_parser::{Event, Parser};

use super::FIELD;

/// The pairs of the mapping, in their order.
pub(super) fn read(text: &str) -> Result<Vec<(String, String)>> {
    let wrong =
        |why: String| Error::invalid(format!("failed to decode as JSON or YAML: {why}")).with_field(FIELD);
    let (mut routes, mut from, mut depth) = (Vec::new(), None, 0_u8);
    for event in Parser::new_from_str(text) {
        let (event, _) = event.map_err(|error| wrong(error.to_string()))?;
        match event {
            Event::MappingStart(..) if depth == 0 => depth = 1,
            Event::MappingEnd => {}
            Event::Scalar(text, ..) if depth == 1 => match from.take() {
                None => from = Some(text.into_owned()),
                Some(from) => routes.push((from, text.into_owned())),
            },
            Event::Scalar(..)
            | Event::MappingStart(..)
            | Event::SequenceStart(..)
            | Event::SequenceEnd
            | Event::Alias(_) => return Err(wrong("it must be a mapping of paths to paths".to_owned())),
            Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::Nothing => {}
        }
    }
    Ok(routes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_and_yaml_say_the_same() {
        let expected = [("/a".to_owned(), "/b".to_owned()), ("/c".to_owned(), "/d".to_owned())];
        for text in [r#"{"/a": "/b", "/c": "/d"}"#, "/a: /b\n/c: /d\n", "{}"] {
            let read = read(text).unwrap();
            assert!(read == expected || text == "{}" && read.is_empty(), "{text}: {read:?}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["/a", "[/a, /b]", "{/a: [/b]}", "{/a: {/b: /c}}", "{/a: "] {
            assert_eq!(read(text).unwrap_err().field(), Some(FIELD), "{text}");
        }
    }
}
