//! Calls that pass through under a resource's policy.
//!
//! Nothing here knows whether a method streams. As in Dapr it does when its caller says so with `dapr-stream`; then the policy is
//! around the call's beginning alone. Any other call is under it from its first byte to its last, and is repeated as long as one
//! message went out and none came back.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::{Frame, Incoming};
use mecha_app_channel::{BodyStream, BoxError};
use mecha_resiliency::{Code as PolicyCode, Error, Failure, Policy, run};
use tokio::time::Instant;
use tonic::{Code, Status};

use super::replay::Replay;
use crate::Invocation;
use crate::deadline::Until;
use crate::error::PolicyEnd;
use crate::peer::is_dialing;
use crate::resolve::AppName;

type Answer = Response<BodyStream>;

/// A call that failed.
struct Failed {
    /// What the caller is told when it stays the last one.
    answer: Result<Box<Answer>, Status>,
    code: Option<PolicyCode>,
    is_permanent: bool,
}

impl Failure for Failed {
    fn is_permanent(&self) -> bool {
        self.is_permanent
    }

    fn code(&self) -> Option<PolicyCode> {
        self.code
    }
}

impl Invocation {
    pub(super) async fn pass_guarded(
        &self,
        policy: Policy,
        target: &AppName,
        request: Request<BodyStream>,
        is_stream: bool,
    ) -> Result<Answer, Status> {
        let policy = if is_stream { policy.with_timeout(Duration::ZERO) } else { policy };
        let (head, body) = request.into_parts();
        let limit = if is_stream || !policy.has_retries() { 0 } else { self.max_body_size };
        let replay = Replay::new(body, limit);
        let attempt = |_| {
            let request = Request::from_parts(head.clone(), replay.attempt().boxed_unsync());
            let deadline = policy.timeout().and_then(|timeout| Instant::now().checked_add(timeout));
            let passed = self.passed(target, request);
            let replay = &replay;
            async move {
                let answered = match passed.await {
                    Ok(answer) if is_stream => return Ok(answer.map(boxed)),
                    Ok(answer) => begun(answer, deadline).await,
                    Err(status) => {
                        let is_code = !is_dialing(&status) && status.code() == Code::Unavailable;
                        let code = is_code.then_some(PolicyCode::Grpc(Code::Unavailable.into()));
                        Err((Err(status), code))
                    }
                };
                answered.map_err(|(answer, code)| Failed { answer, code, is_permanent: !replay.is_there() })
            }
        };
        run(&policy, attempt).await.or_else(|error| match error {
            Error::Failed(failed) => failed.answer.map(|answer| *answer),
            Error::TimedOut(_) => Err(PolicyEnd::TimedOut.status()),
            Error::Rejected(rejection) => Err(PolicyEnd::Rejected(rejection).status()),
        })
    }
}

type Refused = (Result<Box<Answer>, Status>, Option<PolicyCode>);

/// An answer whose first message is there; one that failed before it is refused.
async fn begun(answer: Response<Incoming>, deadline: Option<Instant>) -> Result<Answer, Refused> {
    let (head, mut body) = answer.into_parts();
    let refused = failure(&head.headers);
    if let Some(code) = refused {
        return Err((Ok(Box::new(Response::from_parts(head, boxed(body)))), Some(code)));
    }
    loop {
        match body.frame().await {
            None => return Ok(Response::from_parts(head, boxed(body))),
            Some(Err(error)) => {
                let code = PolicyCode::Grpc(Code::Unavailable.into());
                return Err((Err(Status::unavailable(error.to_string())), Some(code)));
            }
            Some(Ok(frame)) if frame.data_ref().is_some_and(Bytes::is_empty) => {}
            Some(Ok(frame)) => {
                let refused = frame.trailers_ref().and_then(failure);
                let body = boxed(First { frame: Some(frame), body });
                return match (refused, deadline) {
                    (Some(code), _) => Err((Ok(Box::new(Response::from_parts(head, body))), Some(code))),
                    (None, None) => Ok(Response::from_parts(head, body)),
                    (None, Some(deadline)) => {
                        let body = Until::new(body, deadline).telling_by_trailers();
                        Ok(Response::from_parts(head, body.boxed_unsync()))
                    }
                };
            }
        }
    }
}

/// The code of a call that ended badly.
fn failure(headers: &HeaderMap) -> Option<PolicyCode> {
    let status = Status::from_header_map(headers)?;
    (status.code() != Code::Ok).then(|| PolicyCode::Grpc(status.code().into()))
}

fn boxed<B>(body: B) -> BodyStream
where
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    body.map_err(Into::into).boxed_unsync()
}

/// A body with its first frame, which was looked at.
struct First {
    frame: Option<Frame<Bytes>>,
    body: Incoming,
}

impl hyper::body::Body for First {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.frame.take() {
            Some(frame) => std::task::Poll::Ready(Some(Ok(frame))),
            None => std::pin::Pin::new(&mut self.body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.frame.is_none() && self.body.is_end_stream()
    }
}
