//! gRPC calls of any service, passed through to another application.
//!
//! `watched.rs` sees how a call ends. Where a resource has a policy for the application, `guarded.rs` runs the call under it, and
//! `replay.rs` keeps what may have to be sent again.

mod guarded;
mod replay;
mod watched;

use std::time::Instant;

use http::header::HeaderValue;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use mecha_app_channel::{AppChannel, BodyStream};
use mecha_observability::Propagated;
use tonic::{Code, Status};

use crate::Invocation;
use crate::access::{Asked, Identity};
use crate::error::InvokeError;
use crate::headers::{CALLEE_ID, CALLER_ID, identify};
use crate::method::normalise;
use crate::peer::add_trace;
use crate::resolve::{AppName, ResolveError};
use crate::target::app_name;
use watched::{Watch, Watched, code_of};

/// For whom a call is, as an application says it.
const APP_ID: &str = "dapr-app-id";
/// Says that a method streams.
const STREAM: &str = "dapr-stream";

impl Invocation {
    /// Passes a call through, to the own application or to the runtime of another.
    ///
    /// # Errors
    /// What the caller is told in place of an answer.
    pub async fn proxy(
        &self,
        mut request: Request<BodyStream>,
        trace: &Propagated,
    ) -> Result<Response<BodyStream>, Status> {
        let target = self.proxy_target(&request)?;
        self.came_to_the_right_one(&target, &mut request)?;
        add_trace(request.headers_mut(), trace);
        let said = request.headers_mut().remove(APP_ID);
        let said = said.as_ref().and_then(|id| id.to_str().ok());
        if target.id == self.app_id {
            let answer = self.watched(said, false, self.pass_on(request));
            return answer.await;
        }
        let headers = request.headers_mut();
        for (name, text) in [(CALLER_ID, &self.app_id), (CALLEE_ID, &target.id)] {
            headers.remove(&name);
            if let Ok(value) = HeaderValue::try_from(text.as_str()) {
                headers.insert(name, value);
            }
        }
        let is_stream = request.headers().get(STREAM).is_some_and(is_truthy);
        let policy = said.and_then(|id| self.policies.of(id, &|| format!("{id}:{}", request.uri().path())));
        match policy {
            None => {
                let passed = async {
                    let answer = self.passed(&target, request).await?;
                    Ok(answer.map(|body| body.map_err(Into::into).boxed_unsync()))
                };
                self.watched(said, is_stream, passed).await
            }
            // In a box, so that calls without a policy need not make room for this.
            Some(policy) => {
                let passed = Box::pin(self.pass_guarded(policy, &target, request, is_stream));
                self.watched(said, is_stream, passed).await
            }
        }
    }

    /// Passes a call to the runtime of another application.
    async fn passed(
        &self,
        target: &AppName,
        request: Request<BodyStream>,
    ) -> Result<Response<hyper::body::Incoming>, Status> {
        let address = self.resolver.resolve(target).await.map_err(|error| unresolved(&error))?;
        let answer = self.peers.pass(target, &address, request).await;
        answer.inspect_err(|status| self.forget_if_gone(target, &address, status))
    }

    /// Counts a call and how it ends. As in Dapr only one whose caller names the application in `dapr-app-id`: the call between
    /// the runtimes is the same one.
    async fn watched(
        &self,
        app_id: Option<&str>,
        is_stream: bool,
        answer: impl Future<Output = Result<Response<BodyStream>, Status>>,
    ) -> Result<Response<BodyStream>, Status> {
        let Some(app_id) = app_id else { return answer.await };
        let metrics = &self.metrics.invocation;
        if is_stream {
            metrics.stream_sent(app_id);
            return answer.await.inspect_err(|status| metrics.stream_failed(app_id, status.code().into()));
        }
        metrics.request_sent(app_id);
        let mut watch = Watch {
            metrics: self.metrics.clone(),
            app_id: app_id.into(),
            started: Instant::now(),
            code: Code::Cancelled,
        };
        let answer = answer.await.inspect_err(|status| watch.code = status.code())?;
        if let Some(code) = code_of(answer.headers()) {
            watch.code = code;
        }
        Ok(answer.map(|body| Watched::new(body, watch).boxed_unsync()))
    }

    fn proxy_target<B>(&self, request: &Request<B>) -> Result<AppName, Status> {
        let headers = request.headers();
        let id = headers.get(CALLEE_ID).or_else(|| headers.get(APP_ID));
        let id = id.and_then(|id| id.to_str().ok()).ok_or_else(|| {
            Status::unknown(
                "failed to proxy request: required metadata dapr-callee-app-id or dapr-app-id not found",
            )
        })?;
        app_name(id, &self.namespace).map_err(|error| Status::unknown(error.to_string()))
    }

    /// What another runtime sends is for the own application: passed on, it would go on in this one's name. Who it is from, its
    /// certificate says.
    fn came_to_the_right_one(
        &self,
        target: &AppName,
        request: &mut Request<BodyStream>,
    ) -> Result<(), Status> {
        let Some(caller) = request.extensions().get::<Identity>().cloned() else { return Ok(()) };
        if target.id != self.app_id || target.namespace != self.namespace {
            let text =
                format!("this runtime is {}'s; calls for {} do not pass through it", self.app_id, target.id);
            return Err(Status::permission_denied(text));
        }
        identify(request.headers_mut(), &caller.app_id, &caller.namespace, &self.app_id);
        Ok(())
    }

    /// Passes a call to the own application.
    async fn pass_on(&self, request: Request<BodyStream>) -> Result<Response<BodyStream>, Status> {
        let operation = normalise(request.uri().path())
            .map_err(|reason| Status::invalid_argument(format!("invalid method: {reason}")))?;
        let caller = request.extensions().get::<Identity>();
        self.check_access(Asked { caller, operation: &operation, verb: "NONE" })?;
        match self.channel.as_deref() {
            Some(AppChannel::Grpc(app)) => {
                let request = request.map(tonic::body::Body::new);
                app.pass(request).await.map_err(|error| Status::unavailable(error.to_string()))
            }
            Some(AppChannel::Http(_)) => Err(Status::unavailable(
                "the application does not speak gRPC; --app-protocol says what it speaks",
            )),
            None => Err(Status::unknown(InvokeError::NoApplication.to_string())),
        }
    }
}

/// As Dapr reads words in metadata.
fn is_truthy(value: &HeaderValue) -> bool {
    let word = value.to_str().unwrap_or_default().trim().to_ascii_lowercase();
    matches!(word.as_str(), "y" | "yes" | "true" | "t" | "on" | "1")
}

fn unresolved(error: &ResolveError) -> Status {
    match error {
        ResolveError::NotFound(id) => Status::unknown(format!("timeout waiting for address for app id {id}")),
        ResolveError::Failed { .. } | ResolveError::Unknown(_) => Status::unknown(error.to_string()),
    }
}
