//! Calls under the policies of Resiliency resources: what is tried again, what counts as a failure, and how a policy ends a call.
//!
//! There are two, one inside the other, as in Dapr. A resource's policy is around a call whatever its id stands for; the built-in
//! retries are around a call of another runtime, and only where no resource names the application. `proxy/` has those of calls
//! that pass through.

use std::sync::Arc;

use http_body_util::BodyExt as _;
use mecha_observability::Propagated;
use mecha_resiliency::{Code as PolicyCode, Error, Failure, Policy, run, run_once};
use tokio::time::Instant;

use crate::Invocation;
use crate::deadline::Until;
use crate::error::{InvokeError, PolicyEnd};
use crate::request::{Answer, InvokeRequest, Origin, RequestBody, collect, whole};

/// The policies of one runtime, which may change between two calls.
pub trait Policies: Send + Sync {
    /// What applies to calls of an id; `endpoint` gives the name of what has a circuit breaker of its own. `None` for nothing.
    fn of(&self, id: &str, endpoint: &dyn Fn() -> String) -> Option<Policy>;

    /// The built-in retries of calls to another runtime; `None` where a resource names the application.
    fn between_runtimes(&self, app_id: &str) -> Option<Arc<Policy>>;
}

/// No policies at all, not even built-in ones.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPolicies;

impl Policies for NoPolicies {
    fn of(&self, _id: &str, _endpoint: &dyn Fn() -> String) -> Option<Policy> {
        None
    }

    fn between_runtimes(&self, _app_id: &str) -> Option<Arc<Policy>> {
        None
    }
}

/// A call that did not succeed.
enum Failed {
    /// There is an answer that says so. Its code decides over retries for callers by HTTP; in Dapr not for others.
    Answered(Box<Answer>, Option<PolicyCode>),
    /// There is none.
    Unanswered(InvokeError),
}

impl Failure for Failed {
    fn code(&self) -> Option<PolicyCode> {
        match self {
            Self::Answered(_, code) => *code,
            Self::Unanswered(_) => None,
        }
    }
}

impl Invocation {
    /// A call under a resource's policy. A body that streams is sent once.
    pub(crate) async fn guarded(
        &self,
        policy: &Policy,
        id: &str,
        request: InvokeRequest,
        trace: &Propagated,
    ) -> Result<Answer, InvokeError> {
        let result = match request.repeatable() {
            Ok(request) => run(policy, |_| self.attempt(policy, id, request.again(), trace)).await,
            Err(request) => run_once(policy, || self.attempt(policy, id, *request, trace)).await,
        };
        match result {
            Ok(answer) => Ok(answer),
            Err(Error::Failed(Failed::Answered(answer, _))) => Ok(*answer),
            Err(Error::Failed(Failed::Unanswered(error))) => Err(error),
            Err(Error::TimedOut(_)) => Err(PolicyEnd::TimedOut.into()),
            Err(Error::Rejected(rejection)) => Err(PolicyEnd::Rejected(rejection).into()),
        }
    }

    /// One attempt. What fails is read whole where there may be another, so that the last answer is there when all is over.
    async fn attempt(
        &self,
        policy: &Policy,
        id: &str,
        request: InvokeRequest,
        trace: &Propagated,
    ) -> Result<Answer, Failed> {
        let deadline = policy.timeout().and_then(|timeout| Instant::now().checked_add(timeout));
        let (origin, streams) = (request.origin, matches!(request.body, RequestBody::Stream(_)));
        let answer = self.once(id, request, trace).await;
        let mut answer = answer.map_err(Failed::Unanswered)?;
        let failure = failure(&answer, origin);
        let is_read = origin == Origin::Grpc || (failure.is_some() && policy.has_retries() && !streams);
        if is_read {
            let body = collect(answer.body, self.max_body_size).await;
            let broken = |reason| Failed::Unanswered(InvokeError::Body(reason));
            answer.body = whole(body.map_err(broken)?);
        } else if let Some(deadline) = deadline {
            answer.body = Until::new(answer.body, deadline).boxed_unsync();
        }
        match failure {
            None => Ok(answer),
            Some(code) => Err(Failed::Answered(Box::new(answer), code)),
        }
    }
}

/// Whether an answer is a failure to its caller, and by which code. To a caller by HTTP an application that speaks gRPC never
/// fails: what it says is the answer.
fn failure(answer: &Answer, origin: Origin) -> Option<Option<PolicyCode>> {
    let status = answer.status.code;
    match origin {
        Origin::Http if answer.is_http() => (!(200..400).contains(&status))
            .then(|| Some(PolicyCode::Http(u16::try_from(status).unwrap_or_default()))),
        Origin::Http => None,
        Origin::Grpc if answer.is_http() => (!(200..300).contains(&status)).then_some(None),
        Origin::Grpc => (status != 0).then_some(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;
    use mecha_proto::internals::v1::Status;

    fn answer(code: i32) -> Answer {
        Answer {
            status: Status { code, ..Default::default() },
            headers: HeaderMap::new(),
            trailers: HeaderMap::new(),
            content_type: String::new(),
            type_url: String::new(),
            body: whole(bytes::Bytes::new()),
        }
    }

    #[test]
    fn who_called_decides_what_a_failure_is() {
        for (status, http, grpc) in [
            (0, None, None),
            (14, None, Some(None)),
            (200, None, None),
            (304, None, Some(None)),
            (404, Some(Some(PolicyCode::Http(404))), Some(None)),
            (100, Some(Some(PolicyCode::Http(100))), Some(None)),
        ] {
            assert_eq!(failure(&answer(status), Origin::Http), http, "{status}");
            assert_eq!(failure(&answer(status), Origin::Grpc), grpc, "{status}");
        }
    }
}
