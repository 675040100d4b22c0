//! A request's way through the handlers of one pipeline, outermost first, and its answer's way back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::{Request, Response, StatusCode, request, response};
use mecha_plugin_api::Buf;
use mecha_plugin_api::middleware::{Decision, Headers, HttpAnswer, MiddlewareObject, Needs, Passed};
use mecha_resources::configuration::{Handler, Pipeline as Declared};

use super::message::{NoHttp, add, answer, change_answer, change_request, request, set_length};
use super::{Carried, Middleware, Unread};
use crate::call::{Call, CallError};
use crate::drain::Open;
use crate::observe::Operation;
use crate::registry::Registry;

const REQUEST: Operation<'static> = Operation::named("request");
const ANSWER: Operation<'static> = Operation::named("answer");
/// A component that names no version has this one.
const FIRST_VERSION: &str = "v1";

/// The middleware that a Configuration puts around something.
pub struct Pipeline {
    declared: Declared,
    /// For each handler, whether it was said that it is not there.
    said: Vec<AtomicBool>,
}

/// Whose request takes the way.
#[derive(Clone, Copy)]
pub struct Way<'a> {
    /// Where the middleware is found.
    pub registry: &'a Registry,
    /// The request's call.
    pub call: &'a Call,
    /// The address of whoever sent it, without a port; empty where there is none.
    pub remote: &'a str,
    /// Largest body that is held for a middleware, in bytes.
    pub max_body_size: usize,
}

/// Why a message goes no further.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("middleware {0} is not available: it is declared, and not open now")]
    Closed(String),
    #[error("middleware {0}: {1}")]
    Call(String, Box<CallError>),
    #[error("middleware {0} gave what is no HTTP: {1}")]
    NoHttp(String, NoHttp),
    #[error("{0}")]
    Request(Unread),
    #[error("{0}")]
    Answer(Unread),
}

/// A middleware that let the request pass, and what it wants of the answer.
struct Passage {
    middleware: Arc<Middleware>,
    headers: Headers,
    /// Held until the answer is there, so that the same version sees both.
    back: Option<Back>,
}

struct Back {
    open: Arc<Open<MiddlewareObject>>,
    needs: Needs,
    state: Buf,
}

/// A body that is still arriving, or one that was read.
enum Body<B> {
    Arriving(B),
    Read(Bytes),
}

impl<B: Carried> Body<B> {
    async fn read(self, most: usize) -> Result<Bytes, Unread> {
        match self {
            Self::Arriving(body) => body.read(most).await,
            Self::Read(bytes) => Ok(bytes),
        }
    }

    fn into_carried(self) -> B {
        match self {
            Self::Arriving(body) => body,
            Self::Read(bytes) => B::whole(bytes),
        }
    }
}

/// What came of the handlers.
enum Through<Q, A> {
    On(Request<Q>),
    Answered(Response<A>),
}

impl Pipeline {
    /// The pipeline that is declared; `None` without handlers.
    pub(crate) fn new(declared: &Declared) -> Option<Self> {
        let said = declared.handlers.iter().map(|_| AtomicBool::new(false)).collect::<Vec<_>>();
        (!said.is_empty()).then(|| Self { declared: declared.clone(), said })
    }

    pub(crate) fn is(&self, declared: &Declared) -> bool {
        self.declared == *declared
    }

    /// Takes a request through the handlers to `next`, and the answer back. As in daprd a handler whose component is not
    /// declared is passed over.
    ///
    /// # Errors
    /// What `next` fails with; then there is no answer for anybody to change.
    pub async fn run<Q: Carried, A: Carried, E, F>(
        &self,
        way: Way<'_>,
        request: Request<Q>,
        next: impl FnOnce(Request<Q>) -> F,
    ) -> Result<Response<A>, E>
    where
        F: Future<Output = Result<Response<A>, E>>,
    {
        let mut passages = Vec::new();
        let (head, body) = request.into_parts();
        let through = self.through(way, head, Body::Arriving(body), &mut passages).await;
        let answer = match through {
            Ok(Through::On(request)) => next(request).await?,
            Ok(Through::Answered(answer)) => answer,
            Err(broken) => failed(&broken),
        };
        Ok(back(way, answer, passages).await)
    }

    async fn through<Q: Carried, A: Carried>(
        &self,
        way: Way<'_>,
        mut head: request::Parts,
        mut body: Body<Q>,
        passages: &mut Vec<Passage>,
    ) -> Result<Through<Q, A>, Broken> {
        for (index, handler) in self.declared.handlers.iter().enumerate() {
            let Some((middleware, open)) = self.find(way.registry, index, handler)? else { continue };
            let needs = open.object.needs();
            let mut shown = None;
            if needs.contain(Needs::REQUEST_BODY) {
                let read = body.read(way.max_body_size).await.map_err(Broken::Request)?;
                set_length(&mut head.headers, read.len());
                body = Body::Read(read.clone());
                shown = Some(read);
            }
            let seen = request(&head, way.remote, shown);
            let decided =
                middleware.call_on(&open, way.call, REQUEST, |object, context| object.request(context, seen));
            match decided.await.map_err(|error| Broken::Call(handler.name.clone(), error.into()))? {
                Decision::Answer(answer) => return Ok(Through::Answered(made(&handler.name, answer)?)),
                Decision::Pass(Passed { request, answer_headers, state }) => {
                    if let Some(changed) = request.into_option() {
                        let changed = change_request(&mut head, changed);
                        let changed = changed.map_err(|error| Broken::NoHttp(handler.name.clone(), error))?;
                        if let Some(changed) = changed {
                            set_length(&mut head.headers, changed.len());
                            body = Body::Read(changed);
                        }
                    }
                    let back = needs.contain(Needs::ANSWER).then_some(Back { open, needs, state });
                    if back.is_some() || !answer_headers.is_empty() {
                        passages.push(Passage { middleware, headers: answer_headers, back });
                    }
                }
            }
        }
        Ok(Through::On(Request::from_parts(head, body.into_carried())))
    }

    /// The component of a handler, open; `None` where the request passes it over.
    #[expect(clippy::type_complexity, reason = "a component with what it runs on, for one caller")]
    fn find(
        &self,
        registry: &Registry,
        index: usize,
        handler: &Handler,
    ) -> Result<Option<(Arc<Middleware>, Arc<Open<MiddlewareObject>>)>, Broken> {
        let version = if handler.version.is_empty() { FIRST_VERSION } else { &handler.version };
        let declared = registry.middlewares.get(handler.name.as_str()).filter(|middleware| {
            middleware.type_name() == handler.component_type && middleware.version() == version
        });
        let Some(middleware) = declared else {
            self.say_once(index, "no such component is declared");
            return Ok(None);
        };
        match middleware.hold() {
            Some(open) => Ok(Some((middleware.clone(), open))),
            None if middleware.definition().resource.ignore_errors => {
                self.say_once(index, "it failed to open, and its errors are ignored");
                Ok(None)
            }
            // Who checks tokens must not be passed over because its plugin is being looked for.
            None => Err(Broken::Closed(handler.name.clone())),
        }
    }

    fn say_once(&self, index: usize, why: &str) {
        let (handler, said) = (self.declared.handlers.get(index), self.said.get(index));
        if let (Some(handler), Some(said)) = (handler, said)
            && !said.swap(true, Ordering::Relaxed)
        {
            let Handler { name, component_type, .. } = handler;
            tracing::warn!("requests pass the middleware {name} ({component_type}) over: {why}");
        }
    }
}

/// Takes an answer back through those that let its request pass, innermost first.
async fn back<A: Carried>(way: Way<'_>, answer: Response<A>, passages: Vec<Passage>) -> Response<A> {
    let mut answer = answer;
    for passage in passages.into_iter().rev() {
        answer = passage.back(way, answer).await.unwrap_or_else(|broken| failed(&broken));
    }
    answer
}

impl Passage {
    async fn back<A: Carried>(self, way: Way<'_>, passing: Response<A>) -> Result<Response<A>, Broken> {
        let name = self.middleware.name();
        let (mut head, body) = passing.into_parts();
        add(&mut head.headers, &self.headers).map_err(|error| Broken::NoHttp(name.to_owned(), error))?;
        let Some(Back { open, needs, state }) = self.back else {
            return Ok(Response::from_parts(head, body));
        };
        let (mut body, mut shown) = (Body::Arriving(body), None);
        if needs.contain(Needs::ANSWER_BODY) {
            let read = body.read(way.max_body_size).await.map_err(Broken::Answer)?;
            body = Body::Read(read.clone());
            shown = Some(read);
        }
        let seen = answer(&head, shown);
        let changed = self
            .middleware
            .call_on(&open, way.call, ANSWER, |object, context| object.answer(context, state, seen));
        let changed = changed.await.map_err(|error| Broken::Call(name.to_owned(), error.into()))?;
        let no_http = |error| Broken::NoHttp(name.to_owned(), error);
        if let Some(changed) = change_answer(&mut head, changed).map_err(no_http)? {
            // An answer to HEAD has the length of a body that is not sent.
            if !changed.is_empty() {
                set_length(&mut head.headers, changed.len());
            }
            body = Body::Read(changed);
        }
        Ok(Response::from_parts(head, body.into_carried()))
    }
}

/// A middleware's own answer.
fn made<A: Carried>(name: &str, answer: HttpAnswer) -> Result<Response<A>, Broken> {
    let (mut head, ()) = Response::new(()).into_parts();
    let no_http = |error| Broken::NoHttp(name.to_owned(), error);
    let body = change_answer(&mut head, answer).map_err(no_http)?.unwrap_or_default();
    set_length(&mut head.headers, body.len());
    Ok(Response::from_parts(head, A::whole(body)))
}

fn failed<A: Carried>(broken: &Broken) -> Response<A> {
    let (status, text) = match broken {
        Broken::Request(Unread::TooLarge(_)) => {
            (StatusCode::PAYLOAD_TOO_LARGE, "http: request body too large\n".to_owned())
        }
        Broken::Request(Unread::Broken(_)) => (StatusCode::BAD_REQUEST, format!("{broken}\n")),
        // What went wrong inside is for the log: the caller may be anybody.
        Broken::Closed(_) | Broken::Call(..) | Broken::NoHttp(..) | Broken::Answer(_) => {
            tracing::error!("{broken}");
            (StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error".to_owned())
        }
    };
    let (mut head, ()): (response::Parts, ()) = Response::new(()).into_parts();
    head.status = status;
    let content_type = http::HeaderValue::from_static("text/plain; charset=utf-8");
    head.headers.insert(http::header::CONTENT_TYPE, content_type);
    Response::from_parts(head, A::whole(text.into()))
}
