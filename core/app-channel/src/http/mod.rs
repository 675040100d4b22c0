//! The application over HTTP: requests out, whole answers back.

mod binding;
mod configuration;
mod invoke;
mod topic;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use mecha_observability::Propagated;

use crate::around::{Around, Exchange, Returning};
use crate::body::{BoxError, Outgoing};
use crate::config::AppChannelConfig;
use crate::error::{AppError, chain};
use crate::transport::Transport;

pub use topic::StatusWord;

const APP_ID: HeaderName = HeaderName::from_static("dapr-app-id");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// How much of a refusing body goes into an error's text.
const SHOWN_BODY: usize = 200;

/// An application that speaks HTTP.
pub struct HttpApp(Transport<Outgoing>, Option<Arc<dyn Around>>);

impl HttpApp {
    pub(crate) fn new(config: &AppChannelConfig) -> Result<Self, AppError> {
        Transport::new(config).map(|transport| Self(transport, None))
    }

    pub(crate) fn put_around(&mut self, around: Arc<dyn Around>) {
        self.1 = Some(around);
    }

    pub(crate) async fn probe(&self, path: &str) -> Result<(), AppError> {
        // As in daprd a probe takes no place: an application that is busy up to its limit is well. Nor does it pass middleware.
        let request = self.request(Method::GET, path, HeaderMap::new(), Outgoing::from(Bytes::new()))?;
        success(self.whole(self.dispatch(request).await?).await?).map(drop)
    }

    /// What `GET` on `path` answers to the runtime of `app_id`; `None` when the application has no such path.
    ///
    /// # Errors
    /// [`AppError`].
    pub async fn ask(&self, path: &str, app_id: &str) -> Result<Option<Bytes>, AppError> {
        let mut headers = self.0.headers(&Propagated::default());
        headers.insert(CONTENT_TYPE, JSON);
        if let Ok(app_id) = HeaderValue::try_from(app_id) {
            headers.insert(APP_ID, app_id);
        }
        let answer = self.send(Method::GET, path, headers, Bytes::new()).await?;
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(None),
            _ => success(answer).map(Some),
        }
    }

    /// One exchange; the whole answer is read before the next call may take this one's place.
    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Bytes>, AppError> {
        let _place = self.0.place().await;
        let request = self.request(method, path, headers, Outgoing::from(body))?;
        match self.around() {
            None => self.whole(self.dispatch(request).await?).await,
            Some(around) => self.whole(self.through(around, request).await?).await,
        }
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Outgoing,
    ) -> Result<Request<Outgoing>, AppError> {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = self.uri(path)?;
        *request.headers_mut() = headers;
        Ok(request)
    }

    /// What stands around calls now.
    fn around(&self) -> Option<&dyn Around> {
        self.1.as_deref().filter(|around| around.is_there())
    }

    fn through<'a>(&'a self, around: &'a dyn Around, request: Request<Outgoing>) -> Exchange<'a> {
        around.exchange(
            request,
            Box::new(move |request| {
                Box::pin(async move { Ok(self.dispatch(request).await?.map(Returning::stream)) })
            }),
        )
    }

    async fn dispatch(&self, request: Request<Outgoing>) -> Result<Response<Incoming>, AppError> {
        let answer = self.0.client.request(request).await;
        answer.map_err(|error| AppError::Unreachable(chain(&error)))
    }

    async fn whole<B>(&self, answer: Response<B>) -> Result<Response<Bytes>, AppError>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        let (head, body) = answer.into_parts();
        let limit = self.0.max_body_size;
        match Limited::new(body, limit).collect().await {
            Ok(body) => Ok(Response::from_parts(head, body.to_bytes())),
            Err(error) if error.is::<LengthLimitError>() => Err(AppError::TooLarge(limit)),
            Err(error) => Err(AppError::Unreachable(chain(error.as_ref()))),
        }
    }

    fn uri(&self, path: &str) -> Result<Uri, AppError> {
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let path = PathAndQuery::try_from(path.as_str()).map_err(|_| AppError::Address(path))?;
        let mut parts = self.0.origin.clone().into_parts();
        parts.path_and_query = Some(path);
        Uri::from_parts(parts).map_err(|error| AppError::Address(error.to_string()))
    }
}

fn success(answer: Response<Bytes>) -> Result<Bytes, AppError> {
    let status = answer.status();
    let body = answer.into_body();
    if status.is_success() {
        return Ok(body);
    }
    let shown = String::from_utf8_lossy(&body[..body.len().min(SHOWN_BODY)]).into_owned();
    Err(AppError::Status { status, body: shown })
}
