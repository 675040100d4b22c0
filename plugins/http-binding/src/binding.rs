//! The output binding `bindings.http`: an operation is a method, request metadata is the path and the headers.

mod headers;

use http::Method;
use mecha_plugin_api::binding::{InvokeRequest, InvokeResponse, OutputBinding};
use mecha_plugin_api::{Buf, CallContext, ComponentSpec, Error, ErrorKind, Metadata, RString, Result};

use crate::client::{Answer, Client, Outgoing, target};
use crate::metadata::Settings;

/// An open `bindings.http` component.
pub(crate) struct HttpBinding {
    client: Client,
    settings: Settings,
}

impl HttpBinding {
    /// Opens the component. The endpoint is not called: it may come up later.
    pub(crate) async fn open(spec: ComponentSpec) -> Result<Self> {
        let settings = Settings::read(&spec).await?;
        let client = Client::new(&settings.tls, settings.max_response_body_size).await?;
        Ok(Self { client, settings })
    }

    fn outgoing(&self, context: &CallContext, request: InvokeRequest) -> Result<Outgoing> {
        let method = method(&request.operation)?;
        let path = exact(&request.metadata, "path").unwrap_or_default();
        let target = target::parse(&target::join(&self.settings.url, path))?;
        let has_body = matches!(method, Method::PUT | Method::POST | Method::PATCH);
        let headers = headers::outgoing(context, &request.metadata, &self.settings, has_body)?;
        let body = if has_body { request.data.into_bytes() } else { bytes::Bytes::new() };
        Ok(Outgoing { method, target, headers, body })
    }

    async fn send(&self, context: &CallContext, outgoing: Outgoing) -> Result<Answer> {
        let secret_header = self.settings.security_token.as_ref().map(|(name, _)| name);
        let sending = self.client.send(context, outgoing, secret_header);
        let Some(limit) = self.settings.response_timeout else { return sending.await };
        match tokio::time::timeout(limit, sending).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::new(ErrorKind::TIMEOUT, format!("no response within {limit:?}"))),
        }
    }
}

impl OutputBinding for HttpBinding {
    fn operations(&self) -> Vec<&'static str> {
        vec!["create", "get", "head", "post", "put", "patch", "delete", "options", "trace"]
    }

    async fn invoke(&self, context: &CallContext, request: InvokeRequest) -> Result<InvokeResponse> {
        let refuses_others = match exact(&request.metadata, "errorIfNot2XX").filter(|text| !text.is_empty()) {
            Some(text) => is_truthy(text),
            None => self.settings.error_if_not_2xx,
        };
        let outgoing = self.outgoing(context, request)?;
        let answer = self.send(context, outgoing).await?;
        if refuses_others && !answer.status.is_success() {
            return Err(refused(&answer));
        }
        let metadata = headers::response_metadata(&answer);
        // Dapr gives no content type for this binding; the header is among the metadata.
        Ok(InvokeResponse { data: Buf::from(answer.body), content_type: RString::new(), metadata })
    }
}

/// Dapr's words. Whether a repetition helps is for the status to say.
fn refused(answer: &Answer) -> Error {
    let again = answer.status.is_server_error() || matches!(answer.status.as_u16(), 408 | 429);
    Error::internal(format!("received status code {}", answer.status.as_u16()))
        .with_retriable(again)
        .with_details(headers::response_metadata(answer))
}

fn method(operation: &str) -> Result<Method> {
    match operation.to_ascii_uppercase().as_str() {
        "CREATE" | "POST" => Ok(Method::POST),
        "GET" => Ok(Method::GET),
        "HEAD" => Ok(Method::HEAD),
        "PUT" => Ok(Method::PUT),
        "PATCH" => Ok(Method::PATCH),
        "DELETE" => Ok(Method::DELETE),
        "OPTIONS" => Ok(Method::OPTIONS),
        "TRACE" => Ok(Method::TRACE),
        _ => Err(Error::unsupported(format!("invalid operation: {operation}"))),
    }
}

/// The value of a key in just this spelling: `Path` is a header, `path` is not.
fn exact<'a>(metadata: &'a Metadata, key: &str) -> Option<&'a str> {
    metadata.iter().find(|(name, _)| *name == key).map(|(_, value)| value)
}

fn is_truthy(text: &str) -> bool {
    matches!(text.trim().to_ascii_lowercase().as_str(), "true" | "yes" | "y" | "on" | "1" | "t")
}
