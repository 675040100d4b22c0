//! Locks over HTTP.

use std::borrow::Cow;

use http::Method;
use mecha_plugin_api::lock::UnlockOutcome;
use serde::Deserialize;
use serde_json::json;

use super::service::{self, Claim};
use crate::error::ApiError;
use crate::http::json::{Object, nullable, parse};
use crate::http::path::decoded;
use crate::http::request::Request;
use crate::http::response::Reply;

/// The routes of the block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route<'a> {
    Lock { store: Cow<'a, str> },
    Unlock { store: Cow<'a, str> },
}

impl<'a> Route<'a> {
    pub(crate) fn of(block: &str, method: &Method, rest: &'a str) -> Option<Self> {
        if method != Method::POST || rest.is_empty() || rest.contains('/') {
            return None;
        }
        let store = decoded(rest);
        Some(if block == "lock" { Self::Lock { store } } else { Self::Unlock { store } })
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    #[serde(default, deserialize_with = "nullable")]
    resource_id: String,
    #[serde(default, deserialize_with = "nullable")]
    lock_owner: String,
    #[serde(default, deserialize_with = "nullable")]
    expiry_in_seconds: i32,
}

pub(crate) async fn answer(route: Route<'_>, request: &Request<'_>) -> Result<Reply, ApiError> {
    // As every block that Dapr maps to its gRPC messages: no body at all is an empty message.
    let asked = match request.body.is_empty() {
        true => Asked::default(),
        false => parse::<Object<Asked>>(request.body)?.0,
    };
    let (runtime, call) = (request.runtime, request.call);
    match &route {
        Route::Lock { store } => {
            let success =
                service::try_lock(runtime, call, asked.claim(store), asked.expiry_in_seconds).await?;
            Ok(Reply::of(&json!({"success": success})))
        }
        Route::Unlock { store } => {
            let UnlockOutcome(status) = service::unlock(runtime, call, asked.claim(store)).await?;
            Ok(Reply::of(&json!({"status": status})))
        }
    }
}

impl Asked {
    fn claim<'a>(&'a self, store: &'a str) -> Claim<'a> {
        Claim { store, resource: &self.resource_id, owner: &self.lock_owner }
    }
}
