//! What an answer of Dapr's HTTP API may look like.

use anyhow::{Context, Result, ensure};

use crate::raw_http::RawReply;

/// Statuses that the served routes can have; the last two are the server's own, for heads and bodies beyond its limits.
const STATUSES: [u16; 13] = [200, 204, 400, 401, 403, 404, 409, 500, 501, 503, 504, 413, 431];

/// Holds an answer to its form: the status, and a body that fits it.
pub fn check(method: &str, reply: &RawReply) -> Result<()> {
    ensure!(STATUSES.contains(&reply.status), "a status that Dapr does not give here");
    match reply.status {
        204 => ensure!(reply.body.is_empty(), "204 with a body"),
        200 => {}
        _ if method == "HEAD" => ensure!(reply.body.is_empty(), "an answer to HEAD with a body"),
        _ => check_error(reply)?,
    }
    Ok(())
}

/// An error is JSON with a code and a message; what is refused before a route is known is plain text or nothing.
fn check_error(reply: &RawReply) -> Result<()> {
    if !reply.header("content-type").starts_with("application/json") {
        let plain = reply.header("content-type").starts_with("text/plain");
        ensure!(plain || reply.body.is_empty(), "neither JSON nor plain text");
        ensure!([400, 413, 431].contains(&reply.status), "an error without a code");
        return Ok(());
    }
    let body: serde_json::Value = serde_json::from_slice(&reply.body).context("the error is not JSON")?;
    let code = body["errorCode"].as_str().context("no errorCode")?;
    let shape = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    ensure!(!code.is_empty() && code.chars().all(shape), "errorCode {code:?}");
    ensure!(body["message"].is_string(), "no message");
    if let Some(details) = body.get("details") {
        let details = details.as_array().context("details are no list")?;
        ensure!(details.iter().all(|detail| detail["@type"].is_string()), "a detail without a type");
    }
    Ok(())
}
