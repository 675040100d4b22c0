//! A runtime with one pipeline, and an application that answers with what it was asked.

use mecha_testkit::{Asked, Mecha, MechaBuilder, Reply, Scripted, ScriptedApp};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::configuration::{configuration, path};

/// A component: its name, what follows `middleware.http.` in its type, its metadata.
pub type Component<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

/// The runtime's pipeline.
#[derive(Clone, Copy, Debug)]
pub enum Around {
    /// The HTTP API.
    Api,
    /// Calls to the application.
    App,
}

impl Around {
    /// A Configuration's `spec` with these handlers.
    pub fn spec(self, handlers: &[(&str, &str)]) -> Value {
        let section = match self {
            Self::Api => "httpPipeline",
            Self::App => "appHttpPipeline",
        };
        let handler =
            |(name, kind): &(&str, &str)| json!({"name": name, "type": format!("middleware.http.{kind}")});
        json!({section: {"handlers": handlers.iter().map(handler).collect::<Vec<_>>()}})
    }
}

/// A running runtime and its application.
pub struct Run {
    pub mecha: Mecha,
    pub app: ScriptedApp,
    pub file: NamedTempFile,
}

/// A builder with these components, and the pipeline that names them in their order.
pub async fn prepared(
    around: Around,
    components: &[Component<'_>],
) -> (MechaBuilder, ScriptedApp, NamedTempFile) {
    let handlers: Vec<_> = components.iter().map(|(name, kind, _)| (*name, *kind)).collect();
    let (app, file) = (echo().await, configuration(&around.spec(&handlers)));
    let mut builder = Mecha::builder().plugin("middleware").plugin("memory");
    for (name, kind, metadata) in components {
        builder = builder.component_with(name, &format!("middleware.http.{kind}"), metadata);
    }
    builder = builder.component("store", "state.in-memory").component("ps", "pubsub.in-memory");
    builder = builder.flag("--app-port", app.port().to_string()).flag("--config", path(&file));
    (builder, app, file)
}

impl Run {
    pub async fn start(around: Around, components: &[Component<'_>]) -> Self {
        let (builder, app, file) = prepared(around, components).await;
        Self { mecha: builder.start().await.unwrap(), app, file }
    }

    /// A path of the application, through the API.
    pub fn invoke_url(&self, path: &str) -> String {
        self.mecha.http_url(&format!("/v1.0/invoke/app/method{path}"))
    }

    pub async fn get(&self, url: &str) -> Reply {
        self.mecha.http().get(url).await.unwrap()
    }

    pub async fn get_with(&self, url: &str, headers: &[(&str, &str)]) -> Reply {
        let mut request = http::Request::get(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.mecha.http().send(request.body(Default::default()).unwrap()).await.unwrap()
    }
}

/// What an application was asked last at a path.
pub fn last(app: &ScriptedApp, path: &str) -> Asked {
    app.asked_at(path).pop().unwrap_or_else(|| panic!("nothing was asked at {path}"))
}

async fn echo() -> ScriptedApp {
    let app = ScriptedApp::start(|asked: Asked| async move {
        match asked.path.as_str() {
            "/dapr/config" => Scripted::status(404),
            "/dapr/subscribe" => {
                Scripted::json(&json!([{"pubsubname": "ps", "topic": "t", "route": "/event"}]))
            }
            _ => {
                Scripted::ok(asked.body).header("x-query", &asked.query).header("content-type", "text/plain")
            }
        }
    });
    app.await.unwrap()
}
