//! `middleware.http.uppercase`: bodies in capitals. For trying pipelines out, as in Dapr.

use mecha_plugin_api::middleware::{Decision, HttpAnswer, HttpRequest, Middleware, Needs};
use mecha_plugin_api::{Buf, CallContext, ComponentSpec, ROption, Result};

/// Capitals in one direction or in both.
pub(crate) struct Uppercase(Needs);

impl Uppercase {
    pub(crate) async fn open(spec: ComponentSpec) -> Result<Self> {
        let direction = spec.text("direction").unwrap_or_default().to_ascii_lowercase();
        // As in Dapr any other word means the request.
        Ok(Self(match direction.as_str() {
            "response" => Needs::ANSWER_BODY,
            "both" => Needs::REQUEST_BODY.and(Needs::ANSWER_BODY),
            _ => Needs::REQUEST_BODY,
        }))
    }
}

impl Middleware for Uppercase {
    fn needs(&self) -> Needs {
        self.0
    }

    async fn request(&self, _context: &CallContext, mut request: HttpRequest) -> Result<Decision> {
        match capitals(&request.body) {
            Some(body) => {
                request.body = ROption::RSome(body);
                Ok(Decision::pass_with(request))
            }
            None => Ok(Decision::pass()),
        }
    }

    async fn answer(
        &self,
        _context: &CallContext,
        _state: Buf,
        mut answer: HttpAnswer,
    ) -> Result<HttpAnswer> {
        answer.body = capitals(&answer.body).into();
        Ok(answer)
    }
}

/// A body in capitals; `None` without one.
fn capitals(body: &ROption<Buf>) -> Option<Buf> {
    let body = body.as_ref().into_option().filter(|body| !body.is_empty())?;
    let mut written = Vec::with_capacity(body.len());
    for chunk in body.utf8_chunks() {
        for letter in chunk.valid().chars() {
            written.extend_from_slice(capital(letter).encode_utf8(&mut [0; 4]).as_bytes());
        }
        written.extend_from_slice(chunk.invalid());
    }
    Some(written.into())
}

/// The capital of a letter that has one of its own; a letter stays one letter.
fn capital(letter: char) -> char {
    let mut capitals = letter.to_uppercase();
    match (capitals.next(), capitals.next()) {
        (Some(capital), None) => capital,
        _ => letter,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_become_capitals_and_bytes_stay() {
        let some = |bytes: &'static [u8]| capitals(&ROption::RSome(Buf::from_static(bytes))).unwrap();
        assert_eq!(&*some("grün ß 1".as_bytes()), "GRÜN ß 1".as_bytes());
        assert_eq!(&*some(b"a\xFFb"), b"A\xFFB");
        assert_eq!(capitals(&ROption::RNone), None);
    }
}
