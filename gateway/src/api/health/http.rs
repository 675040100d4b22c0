//! Health over HTTP.

use http::request::Parts;
use http::{Method, StatusCode};
use mecha_runtime::Runtime;
use tonic::Code;

use crate::error::ApiError;
use crate::http::request::Query;
use crate::http::response::{Reply, empty};

/// The routes below `healthz`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// Everything, the application's side included.
    All,
    /// The API that the application calls.
    Outbound,
}

impl Route {
    pub(crate) fn of(method: &Method, rest: &str) -> Option<Self> {
        match rest {
            "" if method == Method::GET => Some(Self::All),
            "outbound" if method == Method::GET => Some(Self::Outbound),
            _ => None,
        }
    }
}

pub(crate) fn answer(route: Route, runtime: &Runtime, head: &Parts) -> Result<Reply, ApiError> {
    let health = runtime.health();
    let failed = |code, message| {
        let (http, grpc) = (StatusCode::INTERNAL_SERVER_ERROR, Code::Internal);
        Err(ApiError::new(code, "health", http, grpc, message))
    };
    match route {
        Route::Outbound if !health.outbound_ready => {
            return failed("ERR_OUTBOUND_HEALTH_NOT_READY", "dapr outbound is not ready");
        }
        Route::Outbound => return Ok(empty()),
        Route::All if !health.ready => {
            return failed("ERR_HEALTH_NOT_READY", "dapr is not ready: [app channel is not ready]");
        }
        Route::All => {}
    }
    match Query::read(head.uri.query()).get("appid") {
        Some(app_id) if app_id != &*runtime.app().id => {
            failed("ERR_HEALTH_APPID_NOT_MATCH", "dapr app-id does not match")
        }
        _ => Ok(empty()),
    }
}
