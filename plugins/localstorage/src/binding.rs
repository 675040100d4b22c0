//! `bindings.localstorage`: its operations and their answers.

use std::sync::Arc;

use mecha_plugin_api::binding::{InvokeRequest, InvokeResponse, OutputBinding};
use mecha_plugin_api::{Buf, CallContext, ComponentSpec, Error, Metadata, Result};

use crate::client::Files;
use crate::metadata::root_path;
use crate::payload;
use crate::work::{self, off_thread};

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
        let (files, operation) = (self.files.clone(), request.operation.clone());
        let name = request.metadata.get("fileName").unwrap_or_default().to_owned();
        let data = work::perform(context, &operation, move || perform(&files, &name, request)).await?;
        Ok(InvokeResponse { data, content_type: "".into(), metadata: Metadata::new() })
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
