//! Events of input bindings over HTTP.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, StatusCode};
use mecha_observability::Propagated;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{HttpApp, JSON, success};
use crate::error::AppError;
use crate::{BindingAnswer, StateAnswer, metadata as headers_of};

/// An application's answer as JSON has it.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Answer {
    data: Option<Box<RawValue>>,
    to: Option<Vec<String>>,
    concurrency: Option<String>,
    store_name: Option<String>,
    state: Option<Vec<State>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct State {
    key: String,
    value: Option<Box<RawValue>>,
    etag: Option<String>,
    metadata: Option<BTreeMap<String, String>>,
}

impl From<State> for StateAnswer {
    fn from(state: State) -> Self {
        let value = state.value.map_or_else(|| "null".to_owned(), |value| value.get().to_owned());
        Self {
            key: state.key,
            value: value.into(),
            is_json: true,
            etag: state.etag,
            metadata: state.metadata.unwrap_or_default().into_iter().collect(),
        }
    }
}

impl HttpApp {
    /// Whether the application wants the events of a binding: `OPTIONS` on its route answers 2xx or 405.
    ///
    /// # Errors
    /// [`AppError`] when it cannot be asked.
    pub async fn wants_binding(&self, route: &str) -> Result<bool, AppError> {
        let headers: HeaderMap = self.0.headers(&Propagated::default());
        let answer = self.send(Method::OPTIONS, route, headers, Bytes::new()).await?;
        Ok(answer.status().is_success() || answer.status() == StatusCode::METHOD_NOT_ALLOWED)
    }

    /// Hands over one event of a binding.
    ///
    /// # Errors
    /// [`AppError`]; then the event is to be delivered again.
    pub async fn binding_event<'a>(
        &self,
        route: &str,
        data: Bytes,
        metadata: impl IntoIterator<Item = (&'a str, &'a str)>,
        trace: &Propagated,
    ) -> Result<BindingAnswer, AppError> {
        let mut headers = self.0.headers(trace);
        headers.insert(CONTENT_TYPE, JSON);
        headers_of::add(&mut headers, metadata);
        let body = success(self.send(Method::POST, route, headers, data).await?)?;
        // What is no such object asks for nothing.
        let answer: Answer = serde_json::from_slice(&body).unwrap_or_default();
        Ok(BindingAnswer {
            data: answer.data,
            to: answer.to.unwrap_or_default(),
            parallel: answer.concurrency.as_deref() == Some("parallel"),
            store: answer.store_name.unwrap_or_default(),
            state: answer.state.unwrap_or_default().into_iter().map(StateAnswer::from).collect(),
        })
    }
}
