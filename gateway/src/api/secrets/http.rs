//! Secrets over HTTP.

use std::borrow::Cow;

use http::Method;

use super::service;
use crate::error::ApiError;
use crate::http::path::{decoded, segments};
use crate::http::request::Request;
use crate::http::response::Reply;

/// The routes of the block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route<'a> {
    Get { store: Cow<'a, str>, key: Cow<'a, str> },
    BulkGet { store: Cow<'a, str> },
}

impl<'a> Route<'a> {
    pub(crate) fn of(method: &Method, rest: &'a str) -> Option<Self> {
        if method != Method::GET {
            return None;
        }
        match *segments(rest, &mut [""; 2])? {
            [store, "bulk"] => Some(Self::BulkGet { store: decoded(store) }),
            [store, key] => Some(Self::Get { store: decoded(store), key: decoded(key) }),
            _ => None,
        }
    }
}

pub(crate) async fn answer(route: Route<'_>, request: &Request<'_>) -> Result<Reply, ApiError> {
    let (runtime, call, metadata) = (request.runtime, request.call, request.query().metadata());
    match route {
        Route::Get { store, key } => {
            Ok(Reply::of(&service::get(runtime, call, &store, &key, metadata).await?))
        }
        Route::BulkGet { store } => Ok(Reply::of(&service::bulk_get(runtime, call, &store, metadata).await?)),
    }
}
