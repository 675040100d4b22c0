//! The fields of a request in a text, in the form of Go's templates: `{{.ID}}`, `{{.Namespace}}`, `{{.Port}}`, `{{.Data.key}}`.

use mecha_plugin_api::name_resolution::ResolveRequest;
use mecha_plugin_api::{Error, Result};

/// A template, taken apart.
#[derive(Debug)]
pub(crate) struct Template(Vec<Piece>);

#[derive(Debug)]
enum Piece {
    Text(String),
    Id,
    Namespace,
    Port,
    Data(String),
}

impl Template {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut pieces = Vec::new();
        let mut rest = text;
        let mut trims = false;
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((action, next)) = after.split_once("}}") else {
                return Err(Error::invalid("the template has an action that does not end"));
            };
            let mut literal = if trims { before.trim_start() } else { before };
            let inside = action.strip_prefix("- ").map_or(action, |inside| {
                literal = literal.trim_end();
                inside
            });
            trims = inside.ends_with(" -");
            let inside = inside.strip_suffix(" -").unwrap_or(inside);
            pieces.push(Piece::Text(literal.to_owned()));
            pieces.push(field(inside.trim())?);
            rest = next;
        }
        let last = if trims { rest.trim_start() } else { rest };
        pieces.push(Piece::Text(last.to_owned()));
        Ok(Self(pieces))
    }

    pub(crate) fn fill(&self, request: &ResolveRequest) -> String {
        let mut filled = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Id => filled.push_str(&request.app_id),
                Piece::Namespace => filled.push_str(&request.namespace),
                Piece::Port => filled.push_str(&request.port.to_string()),
                Piece::Data(key) => filled.push_str(request.metadata.get(key).unwrap_or("<no value>")),
            }
        }
        filled
    }
}

fn field(name: &str) -> Result<Piece> {
    match name {
        ".ID" => Ok(Piece::Id),
        ".Namespace" => Ok(Piece::Namespace),
        ".Port" => Ok(Piece::Port),
        _ => match name.strip_prefix(".Data.") {
            Some(key) if key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') => {
                Ok(Piece::Data(key.to_owned()))
            }
            _ => Err(Error::invalid(format!(
                "the template has {{{{{name}}}}}; it may have {{{{.ID}}}}, {{{{.Namespace}}}}, {{{{.Port}}}} and {{{{.Data.key}}}}"
            ))),
        },
    }
}
