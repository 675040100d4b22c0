//! `bindings.localstorage`: its operations and their answers.

use std::sync::Arc;

use mecha_plugin_api::binding::{InvokeRequest, InvokeResponse, OutputBinding};
use mecha_plugin_api::{Buf, CallContext, ComponentSpec, Error, Metadata, Result};
use tracing::Span;

use crate::client::Files;
use crate::metadata::root_path;
use crate::payload;

const CREATE: &str = "create";
const GET: &str = "get";
const LIST: &str = "list";
const DELETE: &str = "delete";

/// The files of one component.
pub(crate) struct LocalStorage {
    files: Arc<Files>,
}

impl LocalStorage {
    pub(crate) async fn open(spec: ComponentSpec) -> Result<Self> {
        let files = off_thread(move || Files::open(root_path(&spec)?)).await?;
        Ok(Self { files: Arc::new(files) })
    }
}

impl OutputBinding for LocalStorage {
    fn operations(&self) -> Vec<&'static str> {
        vec![CREATE, GET, LIST, DELETE]
    }

    async fn invoke(&self, context: &CallContext, request: InvokeRequest) -> Result<InvokeResponse> {
        let (files, span) = (self.files.clone(), span(context, &request.operation));
        let name = request.metadata.get("fileName").unwrap_or_default().to_owned();
        let working = span.clone();
        let answer = off_thread(move || working.in_scope(|| perform(&files, &name, request))).await;
        if let Err(error) = &answer {
            span.record("otel.status_code", "ERROR");
            span.record("otel.status_description", error.message());
        }
        Ok(InvokeResponse { data: answer?, content_type: "".into(), metadata: Metadata::new() })
    }
}

fn perform(files: &Files, name: &str, request: InvokeRequest) -> Result<Buf> {
    match request.operation.as_str() {
        CREATE => {
            let name = if name.is_empty() { uuid::Uuid::new_v4().to_string() } else { name.to_owned() };
            let created = files.create(&name, &payload::decode(&request.data))?;
            json(&serde_json::json!({ "fileName": created }))
        }
        GET => files.get(name).map(Buf::from),
        LIST => match files.list(name)? {
            // An empty list is none, as Go writes it.
            none if none.is_empty() => json(&serde_json::Value::Null),
            found => json(&found.into()),
        },
        DELETE => files.delete(name).map(|()| Buf::new()),
        other => Err(Error::unsupported(format!("unsupported operation {other}"))),
    }
}

fn json(value: &serde_json::Value) -> Result<Buf> {
    let text = serde_json::to_vec(value);
    text.map(Buf::from).map_err(|error| Error::internal(format!("error encoding response as JSON: {error}")))
}

/// Files block, and calls must not.
async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::internal(format!("the work on a file was given up: {error}"))),
    }
}

/// An unsampled call makes no span at all.
fn span(context: &CallContext, operation: &str) -> Span {
    if !context.is_sampled() {
        return Span::none();
    }
    tracing::info_span!(
        "localstorage",
        otel.name = format_args!("localstorage {operation}"),
        otel.status_code = tracing::field::Empty,
        otel.status_description = tracing::field::Empty,
    )
}
