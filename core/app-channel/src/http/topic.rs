//! Events of topics over HTTP.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, StatusCode};
use mecha_observability::Propagated;
use serde::Deserialize;

use super::{HttpApp, JSON, success};
use crate::error::AppError;
use crate::metadata as headers_of;
use crate::metadata::PUBSUB_NAME;
use crate::{Destination, EventStatus};

const CLOUD_EVENT: HeaderValue = HeaderValue::from_static("application/cloudevents+json");

/// The word in an application's answer.
#[derive(Debug, Default, Deserialize)]
pub struct StatusWord {
    /// `SUCCESS`, `RETRY` or `DROP`; empty means success.
    #[serde(default)]
    pub status: String,
}

impl StatusWord {
    /// What it means: an unknown word is a wish for another delivery.
    pub fn meaning(&self) -> EventStatus {
        match self.status.as_str() {
            "" | "SUCCESS" => EventStatus::Success,
            "DROP" => EventStatus::Drop,
            "RETRY" => EventStatus::Retry,
            unknown => {
                tracing::warn!(
                    status = unknown,
                    "unknown status returned by the application; the event is delivered again"
                );
                EventStatus::Retry
            }
        }
    }
}

impl HttpApp {
    /// Delivers one event, a CloudEvent in JSON.
    ///
    /// # Errors
    /// [`AppError`]; then the event is to be delivered again.
    pub async fn deliver<'a>(
        &self,
        destination: Destination<'_>,
        event: Bytes,
        metadata: impl IntoIterator<Item = (&'a str, &'a str)>,
        trace: &Propagated,
    ) -> Result<EventStatus, AppError> {
        let mut headers = self.0.headers(trace);
        headers.insert(CONTENT_TYPE, CLOUD_EVENT);
        headers_of::add(&mut headers, [(PUBSUB_NAME, destination.pubsub)]);
        headers_of::add(&mut headers, metadata);
        let answer = self.send(Method::POST, destination.path, headers, event).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            tracing::error!(
                path = destination.path,
                "non-retriable error returned from app while processing pub/sub event: status code 404"
            );
            return Ok(EventStatus::Drop);
        }
        let body = success(answer)?;
        // What is no such object, or nothing at all, counts as success.
        Ok(serde_json::from_slice::<StatusWord>(&body).unwrap_or_default().meaning())
    }

    /// Delivers several events in one envelope and gives the answer's body; `None` when the application has no such path.
    ///
    /// # Errors
    /// [`AppError`]; then all events are to be delivered again.
    pub async fn deliver_bulk(
        &self,
        destination: Destination<'_>,
        envelope: Bytes,
        trace: &Propagated,
    ) -> Result<Option<Bytes>, AppError> {
        let mut headers = self.0.headers(trace);
        headers.insert(CONTENT_TYPE, JSON);
        headers_of::add(&mut headers, [(PUBSUB_NAME, destination.pubsub)]);
        let answer = self.send(Method::POST, destination.path, headers, envelope).await?;
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(None),
            _ => success(answer).map(Some),
        }
    }
}
