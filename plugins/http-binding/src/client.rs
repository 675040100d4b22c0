//! Sends a request, follows redirects, reads the answer up to the limit.

mod connect;
mod redirect;
pub(crate) mod target;
mod tls;

use std::error::Error as StdError;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::ext::ReasonPhrase;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use mecha_plugin_api::{CallContext, Error, ErrorKind, Result};
use tracing::Instrument;
use tracing::field::Empty;

use self::connect::Connector;
use self::target::Target;
use crate::metadata::TlsFiles;

const IDLE_TIMEOUT: Duration = Duration::from_secs(90);

/// A request that can be sent again when the server redirects.
#[derive(Clone)]
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    pub(crate) target: Target,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// An answer, whole.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// The status line's text, e.g. `200 OK`.
    pub(crate) status_text: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A component's connections.
pub(crate) struct Client {
    pool: Pool<Connector, Full<Bytes>>,
    max_body: Option<u64>,
}

impl Client {
    /// Prepares to connect; nothing is connected yet.
    pub(crate) async fn new(files: &TlsFiles, max_body: Option<u64>) -> Result<Self> {
        let connector = Connector::new(tls::client_config(files).await?);
        let pool = Pool::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            // Servers exist that look for `Content-Type` and not for `content-type`.
            .http1_title_case_headers(true)
            .build(connector);
        Ok(Self { pool, max_body })
    }

    /// Sends a request and follows up to ten redirects.
    pub(crate) async fn send(
        &self,
        context: &CallContext,
        mut outgoing: Outgoing,
        secret_header: Option<&http::HeaderName>,
    ) -> Result<Answer> {
        for hop in 0..=redirect::MOST {
            let span = span(context, &outgoing, hop);
            let result = self.exchange(&outgoing).instrument(span.clone()).await;
            record(&span, &result);
            let answer = result?;
            match redirect::next(&outgoing, &answer, secret_header)? {
                Some(next) => outgoing = next,
                None => return Ok(answer),
            }
        }
        Err(Error::internal(format!("stopped after {} redirects", redirect::MOST)))
    }

    async fn exchange(&self, outgoing: &Outgoing) -> Result<Answer> {
        let failed = |error: &dyn StdError, connecting| failure(outgoing, error, connecting);
        let request = build(outgoing)?;
        let response =
            self.pool.request(request).await.map_err(|error| failed(&error, error.is_connect()))?;
        let status_text = status_text(&response);
        let (head, body) = response.into_parts();
        let body = read(body, self.max_body).await.map_err(|error| failed(&error, false))?;
        Ok(Answer { status: head.status, status_text, headers: head.headers, body })
    }
}

fn build(outgoing: &Outgoing) -> Result<Request<Full<Bytes>>> {
    let built = Request::builder()
        .method(outgoing.method.clone())
        .uri(outgoing.target.uri.clone())
        .body(Full::new(outgoing.body.clone()));
    let mut request = built.map_err(|error| Error::invalid(format!("cannot be sent: {error}")))?;
    *request.headers_mut() = outgoing.headers.clone();
    if let Some(authorization) = &outgoing.target.authorization {
        request.headers_mut().entry(header::AUTHORIZATION).or_insert_with(|| authorization.clone());
    }
    let agent = HeaderValue::from_static(concat!("mecha/", env!("CARGO_PKG_VERSION")));
    request.headers_mut().entry(header::USER_AGENT).or_insert(agent);
    Ok(request)
}

/// Reads a body; what lies beyond the limit is left unread, and the connection is not used again.
async fn read(mut body: Incoming, limit: Option<u64>) -> Result<Bytes, hyper::Error> {
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    // Most answers are one piece, which needs no copy.
    let (mut first, mut whole) = (Bytes::new(), BytesMut::new());
    while let Some(frame) = body.frame().await {
        let Ok(mut data) = frame?.into_data() else { continue };
        let room = limit - first.len() - whole.len();
        let cut = data.len() > room;
        data.truncate(room);
        if first.is_empty() && whole.is_empty() {
            first = data;
        } else {
            whole.extend_from_slice(&std::mem::take(&mut first));
            whole.extend_from_slice(&data);
        }
        if cut {
            tracing::warn!(limit, "the response is longer than maxResponseBodySize and was cut");
            break;
        }
    }
    Ok(if whole.is_empty() { first } else { whole.freeze() })
}

fn status_text<B>(response: &Response<B>) -> String {
    let status = response.status();
    let reason = match response.extensions().get::<ReasonPhrase>() {
        Some(reason) => String::from_utf8_lossy(reason.as_bytes()).into_owned(),
        None => status.canonical_reason().unwrap_or_default().to_owned(),
    };
    format!("{} {reason}", status.as_u16())
}

/// A failed exchange. The query stays out of the message: it may hold secrets.
fn failure(outgoing: &Outgoing, error: &dyn StdError, connecting: bool) -> Error {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    let address = without_query(&outgoing.target.uri);
    let message = format!("{} {address}: {text}", outgoing.method);
    // After the connection stood the server may have acted on what was sent.
    let again = connecting || outgoing.method.is_idempotent();
    Error::new(ErrorKind::UNAVAILABLE, message).with_retriable(again)
}

fn without_query(uri: &Uri) -> String {
    let (scheme, authority) = (uri.scheme_str().unwrap_or_default(), uri.authority());
    format!("{scheme}://{}{}", authority.map_or("", |authority| authority.as_str()), uri.path())
}

fn span(context: &CallContext, outgoing: &Outgoing, hop: usize) -> tracing::Span {
    // An unsampled call must not even pay for collecting the fields.
    if !context.is_sampled() {
        return tracing::Span::none();
    }
    let uri = &outgoing.target.uri;
    let default_port = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    tracing::info_span!(
        "http request",
        otel.name = outgoing.method.as_str(),
        otel.kind = "client",
        otel.status_code = Empty,
        http.request.method = outgoing.method.as_str(),
        http.request.resend_count = (hop > 0).then_some(hop),
        http.response.status_code = Empty,
        error.type = Empty,
        server.address = uri.host().unwrap_or_default(),
        server.port = uri.port_u16().unwrap_or(default_port),
        url.full = without_query(uri),
    )
}

fn record(span: &tracing::Span, result: &Result<Answer>) {
    match result {
        Err(error) => {
            span.record("otel.status_code", "error");
            span.record("error.type", error.kind().name());
        }
        Ok(answer) => {
            span.record("http.response.status_code", answer.status.as_u16());
            if answer.status.is_client_error() || answer.status.is_server_error() {
                span.record("otel.status_code", "error");
                span.record("error.type", answer.status.as_str());
            }
        }
    }
}
