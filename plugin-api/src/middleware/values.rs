//! What a middleware sees of a request and of its answer, and what it decides.

use abi_stable::StableAbi;
use abi_stable::std_types::{ROption, RString};

use super::Headers;
use crate::Buf;

/// What a middleware needs to see.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Needs(pub u8);

impl Needs {
    /// The head of the request, as everyone does.
    pub const HEAD: Self = Self(0);
    /// The request's body, whole.
    pub const REQUEST_BODY: Self = Self(1);
    /// The head of the answer.
    pub const ANSWER: Self = Self(2);
    /// The head of the answer and its body, whole.
    pub const ANSWER_BODY: Self = Self(2 | 4);

    /// Both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether `other` is among these.
    pub const fn contain(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A request.
#[repr(C)]
#[derive(StableAbi, Clone, PartialEq, Debug)]
pub struct HttpRequest {
    /// The method, in upper case as a rule.
    pub method: RString,
    /// The path, escaped as it came, and the query.
    pub uri: RString,
    /// The headers.
    pub headers: Headers,
    /// The address of whoever sent it, without a port; empty where there is none, as before a call to the application.
    pub remote: RString,
    /// The body, for [`Needs::REQUEST_BODY`] only. A middleware without that need may still put one in the body's place.
    pub body: ROption<Buf>,
}

impl HttpRequest {
    /// The path, escaped as it came.
    pub fn path(&self) -> &str {
        self.uri.split_once('?').map_or(&self.uri, |(path, _)| path)
    }

    /// The query, escaped as it came.
    pub fn query(&self) -> Option<&str> {
        self.uri.split_once('?').map(|(_, query)| query)
    }
}

/// An answer.
#[repr(C)]
#[derive(StableAbi, Clone, PartialEq, Debug)]
pub struct HttpAnswer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: Headers,
    /// The body. An answer that passes by has one for [`Needs::ANSWER_BODY`] only; one that takes its place may always be given.
    pub body: ROption<Buf>,
}

impl HttpAnswer {
    /// An answer with a plain text.
    pub fn text(status: u16, text: impl Into<String>) -> Self {
        let headers = Headers::from_iter([("content-type", "text/plain; charset=utf-8")]);
        Self { status, headers, body: ROption::RSome(Buf::from(text.into())) }
    }
}

/// What becomes of a request.
#[repr(u8)]
#[derive(StableAbi, Clone, PartialEq, Debug)]
pub enum Decision {
    /// It goes on.
    Pass(Passed),
    /// It goes no further; this is the answer.
    Answer(HttpAnswer),
}

/// A request that goes on.
#[repr(C)]
#[derive(StableAbi, Clone, PartialEq, Debug, Default)]
pub struct Passed {
    /// The request in place of the one that came; absent when nothing changes. [`HttpRequest::remote`] cannot be changed.
    pub request: ROption<HttpRequest>,
    /// Headers that the answer is to have besides its own.
    pub answer_headers: Headers,
    /// What [`super::Middleware::answer`] is to be told.
    pub state: Buf,
}

impl Decision {
    /// It goes on as it came.
    pub fn pass() -> Self {
        Self::Pass(Passed::default())
    }

    /// It goes on changed.
    pub fn pass_with(request: HttpRequest) -> Self {
        Self::Pass(Passed { request: ROption::RSome(request), ..Passed::default() })
    }

    /// It goes no further.
    pub fn answer(status: u16, text: impl Into<String>) -> Self {
        Self::Answer(HttpAnswer::text(status, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_add_up() {
        let needs = Needs::REQUEST_BODY.and(Needs::ANSWER);
        assert!(
            needs.contain(Needs::REQUEST_BODY) && needs.contain(Needs::ANSWER) && needs.contain(Needs::HEAD)
        );
        assert!(!needs.contain(Needs::ANSWER_BODY));
        assert!(Needs::ANSWER_BODY.contain(Needs::ANSWER));
        assert!(!Needs::HEAD.contain(Needs::ANSWER));
    }
}
