//! Configuration over HTTP; changes are brought to the application's own port.

use std::borrow::Cow;
use std::collections::BTreeMap;

use http::{Method, StatusCode};
use mecha_plugin_api::configuration::ConfigurationItem;
use serde_json::{Value, json};

use super::service;
use crate::error::ApiError;
use crate::http::path::{decoded, segments};
use crate::http::request::Request;
use crate::http::response::{Reply, empty};

/// The routes of the block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route<'a> {
    Get { store: Cow<'a, str> },
    Subscribe { store: Cow<'a, str> },
    Unsubscribe { store: Cow<'a, str>, id: Cow<'a, str> },
}

impl<'a> Route<'a> {
    pub(crate) fn of(method: &Method, rest: &'a str) -> Option<Self> {
        if method != Method::GET {
            return None;
        }
        match *segments(rest, &mut [""; 3])? {
            [store] => Some(Self::Get { store: decoded(store) }),
            [store, "subscribe"] => Some(Self::Subscribe { store: decoded(store) }),
            [store, id, "unsubscribe"] => Some(Self::Unsubscribe { store: decoded(store), id: decoded(id) }),
            _ => None,
        }
    }
}

pub(crate) async fn answer(route: Route<'_>, request: &Request<'_>) -> Result<Reply, ApiError> {
    let (runtime, call, query) = (request.runtime, request.call, request.query());
    let keys = || query.all("key").map(str::to_owned).collect();
    match &route {
        Route::Get { store } => {
            let store = service::find(runtime, store)?;
            let items = service::get(&store, call, keys(), query.metadata()).await?;
            Ok(if items.is_empty() { empty() } else { Reply::of(&described(&items)) })
        }
        Route::Subscribe { store: name } => {
            let store = service::find(runtime, name)?;
            if !runtime.calls_http_app() {
                return Err(service::no_app_channel());
            }
            let watch = service::subscribe(&store, call, keys(), query.metadata()).await?;
            Ok(Reply::of(&json!({"id": runtime.bring_configuration(name, watch)})))
        }
        Route::Unsubscribe { store, id } => {
            service::find(runtime, store)?;
            if runtime.configuration_watches().end(id) {
                return Ok(Reply::of(&json!({"ok": true})));
            }
            let reason = format!("subscription with id {id} does not exist");
            let body = json!({"message": service::not_unsubscribed(id, &reason)});
            Ok(Reply::json(StatusCode::INTERNAL_SERVER_ERROR, body.to_string().into()))
        }
    }
}

fn described(items: &[ConfigurationItem]) -> Value {
    let item = |item: &ConfigurationItem| {
        let metadata: BTreeMap<_, _> = item.metadata.iter().collect();
        let mut fields =
            json!({"value": item.value.as_str(), "version": item.version.as_str(), "metadata": metadata});
        // As Go writes it: what is empty is absent.
        if let Some(fields) = fields.as_object_mut() {
            fields.retain(|_, value| *value != json!("") && *value != json!({}));
        }
        (item.key.to_string(), fields)
    };
    items.iter().map(item).collect::<serde_json::Map<_, _>>().into()
}
