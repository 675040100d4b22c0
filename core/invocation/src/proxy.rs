//! gRPC calls of any service, passed through to another application: neither messages nor trailers are looked at.

use http::header::HeaderValue;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use mecha_app_channel::{AppChannel, BodyStream};
use mecha_observability::Propagated;
use tonic::Status;

use crate::Invocation;
use crate::error::InvokeError;
use crate::headers::{CALLEE_ID, CALLER_ID};
use crate::peer::add_trace;
use crate::resolve::ResolveError;
use crate::target::app_name;

/// For whom a call is, as an application says it.
const APP_ID: &str = "dapr-app-id";

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
        add_trace(request.headers_mut(), trace);
        if target.id == self.app_id {
            return self.pass_on(request).await;
        }
        let address = self.resolver.resolve(&target).await.map_err(|error| unresolved(&error))?;
        let headers = request.headers_mut();
        headers.remove(APP_ID);
        for (name, text) in [(CALLER_ID, &self.app_id), (CALLEE_ID, &target.id)] {
            headers.remove(&name);
            if let Ok(value) = HeaderValue::try_from(text.as_str()) {
                headers.insert(name, value);
            }
        }
        let answer = self.peers.pass(&address, request).await;
        let answer = answer.inspect_err(|_| self.resolver.forget(&target, &address))?;
        Ok(answer.map(|body| body.map_err(Into::into).boxed_unsync()))
    }

    fn proxy_target<B>(&self, request: &Request<B>) -> Result<crate::resolve::AppName, Status> {
        let headers = request.headers();
        let id = headers.get(CALLEE_ID).or_else(|| headers.get(APP_ID));
        let id = id.and_then(|id| id.to_str().ok()).ok_or_else(|| {
            Status::unknown(
                "failed to proxy request: required metadata dapr-callee-app-id or dapr-app-id not found",
            )
        })?;
        app_name(id, &self.namespace).map_err(|error| Status::unknown(error.to_string()))
    }

    async fn pass_on(&self, request: Request<BodyStream>) -> Result<Response<BodyStream>, Status> {
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

fn unresolved(error: &ResolveError) -> Status {
    match error {
        ResolveError::NotFound(id) => Status::unknown(format!("timeout waiting for address for app id {id}")),
        ResolveError::Failed { .. } => Status::unknown(error.to_string()),
    }
}
