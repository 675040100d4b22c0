//! Parser events → one value. Holds the limits that keep a hostile file from growing without bound.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Tag};
use serde_json::{Map, Value};

use super::{SyntaxError, scalar};

/// Nodes a document may expand to through its aliases; real resource files have hundreds.
const MAX_NODES: usize = 200_000;
/// Levels of nesting; every later walk over the value is recursive.
const MAX_DEPTH: usize = 100;

/// A collection that is still open.
enum Open {
    Sequence { items: Vec<Value>, anchor: usize },
    Mapping { map: Map<String, Value>, merges: Vec<Value>, key: Option<Key>, anchor: usize },
}

enum Key {
    Name(String),
    /// `<<`: the value's entries go in below the mapping's own.
    Merge,
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, (Value, usize)>,
    nodes: usize,
    root: Option<Value>,
}

/// Reads the first document of `text`.
pub(super) fn document(text: &str) -> Result<Value, SyntaxError> {
    let mut parser = Parser::new_from_str(text);
    let mut builder = Builder::default();
    while let Some(next) = parser.next_event() {
        let (event, span) = next.map_err(|error| scan_error(&error))?;
        builder.event(event).map_err(|reason| at(span.start, reason))?;
        if let Some(root) = builder.root.take() {
            return Ok(root);
        }
    }
    Ok(Value::Null)
}

impl Builder {
    fn event(&mut self, event: Event<'_>) -> Result<(), String> {
        match event {
            Event::Scalar(text, style, anchor, tag) => self.scalar(&text, style, anchor, tag.as_deref()),
            Event::SequenceStart(anchor, _) => self.begin(Open::Sequence { items: Vec::new(), anchor }),
            Event::MappingStart(anchor, _) => {
                self.begin(Open::Mapping { map: Map::new(), merges: Vec::new(), key: None, anchor })
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => self.alias(anchor),
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
        }
    }

    fn begin(&mut self, collection: Open) -> Result<(), String> {
        if self.open.len() >= MAX_DEPTH {
            return Err(format!("nested deeper than {MAX_DEPTH} levels"));
        }
        if self.expects_key() {
            return Err("a list or a mapping cannot be a key".to_owned());
        }
        self.open.push(collection);
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        let (value, anchor) = match self.open.pop() {
            Some(Open::Sequence { items, anchor }) => (Value::Array(items), anchor),
            Some(Open::Mapping { map, merges, anchor, .. }) => (Value::Object(merged(map, merges)?), anchor),
            None => return Err("a collection ends that never began".to_owned()),
        };
        self.add(value, anchor)
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
    ) -> Result<(), String> {
        let plain = style == ScalarStyle::Plain;
        if plain && text == "<<" && self.expects_key() {
            return self.key(Key::Merge);
        }
        let tag = tag.filter(|tag| tag.is_yaml_core_schema()).map(|tag| tag.suffix.as_str());
        let value = match tag {
            Some("str" | "binary") => Value::String(text.to_owned()),
            Some("int" | "float" | "bool" | "null") => scalar::resolve(text)?,
            _ if plain => scalar::resolve(text)?,
            _ => Value::String(text.to_owned()),
        };
        if self.expects_key() {
            let name = scalar::key_text(&value);
            if anchor != 0 {
                self.anchors.insert(anchor, (value, 1));
            }
            return self.key(Key::Name(name));
        }
        self.add(value, anchor)
    }

    fn alias(&mut self, anchor: usize) -> Result<(), String> {
        let Some(size) = self.anchors.get(&anchor).map(|(_, size)| *size) else {
            return Err("an alias refers to an anchor that is still open".to_owned());
        };
        // Counted before the copy is made: the copy is what costs.
        self.count(size)?;
        let value = self.anchors[&anchor].0.clone();
        if self.expects_key() {
            return match value {
                Value::Array(_) | Value::Object(_) => Err("a list or a mapping cannot be a key".to_owned()),
                scalar => self.key(Key::Name(scalar::key_text(&scalar))),
            };
        }
        self.place(value)
    }

    fn expects_key(&self) -> bool {
        matches!(self.open.last(), Some(Open::Mapping { key: None, .. }))
    }

    fn key(&mut self, name: Key) -> Result<(), String> {
        self.count(1)?;
        if let Some(Open::Mapping { key, .. }) = self.open.last_mut() {
            *key = Some(name);
        }
        Ok(())
    }

    fn add(&mut self, value: Value, anchor: usize) -> Result<(), String> {
        self.count(1)?;
        if anchor != 0 {
            let size = size_of(&value);
            self.count(size)?;
            self.anchors.insert(anchor, (value.clone(), size));
        }
        self.place(value)
    }

    fn place(&mut self, value: Value) -> Result<(), String> {
        match self.open.last_mut() {
            None => self.root = Some(value),
            Some(Open::Sequence { items, .. }) => items.push(value),
            Some(Open::Mapping { map, merges, key, .. }) => match key.take() {
                Some(Key::Name(name)) => {
                    map.insert(name, value);
                }
                Some(Key::Merge) => merges.push(value),
                None => return Err("a value has no key".to_owned()),
            },
        }
        Ok(())
    }

    fn count(&mut self, nodes: usize) -> Result<(), String> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            return Err(format!("too large: more than {MAX_NODES} nodes"));
        }
        Ok(())
    }
}

fn merged(mut map: Map<String, Value>, merges: Vec<Value>) -> Result<Map<String, Value>, String> {
    for merge in merges {
        let sources = match merge {
            Value::Array(items) => items,
            other => vec![other],
        };
        for source in sources {
            let Value::Object(entries) = source else {
                return Err("`<<` needs a mapping or a list of mappings".to_owned());
            };
            for (name, value) in entries {
                map.entry(name).or_insert(value);
            }
        }
    }
    Ok(map)
}

fn size_of(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(size_of).sum::<usize>(),
        Value::Object(map) => 1 + map.values().map(|value| 1 + size_of(value)).sum::<usize>(),
        _ => 1,
    }
}

fn scan_error(error: &ScanError) -> SyntaxError {
    at(*error.marker(), error.info().to_owned())
}

fn at(marker: Marker, reason: String) -> SyntaxError {
    SyntaxError { line: marker.line(), column: marker.col() + 1, reason }
}
