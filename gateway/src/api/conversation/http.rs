//! Conversations over HTTP: routes, and the JSON of the older version.

use std::borrow::Cow;
use std::collections::BTreeMap;

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::json::{self, Wide};
use super::service::{self, Asked, Input, Said, first_text};
use crate::error::ApiError;
use crate::http::json::{Object, nullable, parse};
use crate::http::path::decoded;
use crate::http::request::Request;
use crate::http::response::Reply;

/// The routes of the block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route<'a> {
    Alpha1 { name: Cow<'a, str> },
    Alpha2 { name: Cow<'a, str> },
}

impl<'a> Route<'a> {
    pub(crate) fn of(version: &str, method: &Method, rest: &'a str) -> Option<Self> {
        let (name, operation) = rest.split_once('/')?;
        if method != Method::POST || operation != "converse" || name.is_empty() {
            return None;
        }
        let name = decoded(name);
        match version {
            "v1.0-alpha1" => Some(Self::Alpha1 { name }),
            "v1.0-alpha2" => Some(Self::Alpha2 { name }),
            _ => None,
        }
    }
}

pub(crate) async fn answer(route: Route<'_>, request: &Request<'_>) -> Result<Reply, ApiError> {
    match &route {
        Route::Alpha1 { name } => alpha1(name, request).await,
        Route::Alpha2 { name } => json::converse(name, request).await,
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Said1<'a> {
    #[serde(default, rename = "contextID", deserialize_with = "nullable")]
    context_id: String,
    #[serde(default, deserialize_with = "nullable")]
    inputs: Vec<Object<Input1>>,
    #[serde(default, borrow, deserialize_with = "nullable")]
    parameters: BTreeMap<String, &'a RawValue>,
    #[serde(default, rename = "scrubPII", deserialize_with = "nullable")]
    scrub_pii: bool,
    #[serde(default, deserialize_with = "nullable")]
    temperature: Wide,
}

#[derive(Deserialize)]
struct Input1 {
    #[serde(default, deserialize_with = "nullable")]
    content: String,
    #[serde(default, deserialize_with = "nullable")]
    role: String,
    #[serde(default, rename = "scrubPII", deserialize_with = "nullable")]
    scrub_pii: bool,
}

/// A parameter names its type; the rest of it goes back as it came.
#[derive(Deserialize)]
struct Typed {
    #[serde(rename = "@type")]
    _type: String,
}

#[derive(Serialize)]
struct Answer1<'a> {
    #[serde(rename = "contextID", skip_serializing_if = "str::is_empty")]
    context_id: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    outputs: Vec<Result1<'a>>,
}

#[derive(Serialize)]
struct Result1<'a> {
    #[serde(skip_serializing_if = "String::is_empty")]
    result: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    parameters: &'a BTreeMap<String, &'a RawValue>,
}

async fn alpha1(name: &str, request: &Request<'_>) -> Result<Reply, ApiError> {
    let said = match request.body.is_empty() {
        true => Said1::default(),
        false => parse::<Object<Said1<'_>>>(request.body)?.0,
    };
    for parameter in said.parameters.values() {
        serde_json::from_str::<Typed>(parameter.get()).map_err(ApiError::malformed_body)?;
    }
    let input = |Object(input): Object<Input1>| {
        let role = service::role(&input.role);
        let said = Said::Text { role, content: vec![input.content], calls: Vec::new() };
        Input { messages: vec![Some(said)], scrub: input.scrub_pii }
    };
    let asked = Asked {
        inputs: said.inputs.into_iter().map(input).collect(),
        scrub: said.scrub_pii,
        temperature: said.temperature.0,
        ..Asked::default()
    };
    let answer = service::converse(request.runtime, request.call, name, asked).await?;
    let parameters = &said.parameters;
    let outputs = answer.outputs.iter().map(|choices| Result1 { result: first_text(choices), parameters });
    Ok(Reply::of(&Answer1 { context_id: &said.context_id, outputs: outputs.collect() }))
}
