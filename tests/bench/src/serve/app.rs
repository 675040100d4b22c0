//! A trivial application: it names its subscriptions, counts the events that it is brought, and answers 200.
//!
//! A gate holds events back until it is opened, so that what is measured is the delivery of messages that wait already.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use anyhow::{Context, Result};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::sync::Notify;

use super::http::Answer;
use crate::benches::{KIBIBYTE, subscriptions};

const CLOUD_EVENT: &[u8] = b"application/cloudevents+json";

/// What it has seen.
pub(super) struct App {
    subscriptions: Bytes,
    is_open: AtomicBool,
    /// Told when the gate opens and when the count that somebody waits for is reached.
    moved: Notify,
    /// Events by the number of their path.
    events: Vec<AtomicU64>,
    total: AtomicUsize,
    awaited: AtomicUsize,
    /// What came and was no event of a kibibyte.
    unfit: AtomicUsize,
    sample: OnceLock<Bytes>,
}

impl App {
    /// With so many subscriptions, one a path.
    pub(super) fn new(topics: usize) -> Self {
        Self {
            subscriptions: subscriptions(topics).into(),
            is_open: AtomicBool::new(true),
            moved: Notify::new(),
            events: (0..topics).map(|_| AtomicU64::new(0)).collect(),
            total: AtomicUsize::new(0),
            awaited: AtomicUsize::new(usize::MAX),
            unfit: AtomicUsize::new(0),
            sample: OnceLock::new(),
        }
    }

    async fn event(&self, path: &str, request: Request<Incoming>) -> Result<()> {
        let place = path.parse::<usize>().ok().and_then(|number| self.events.get(number));
        let is_event = request.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes() == CLOUD_EVENT);
        let body = request.into_body().collect().await?.to_bytes();
        match place.filter(|_| is_event && body.len() > KIBIBYTE) {
            Some(place) => place.fetch_add(1, Ordering::Relaxed),
            None => self.unfit.fetch_add(1, Ordering::Relaxed) as u64,
        };
        self.sample.get_or_init(|| body);
        self.until(|| self.is_open.load(Ordering::Acquire)).await;
        if self.total.fetch_add(1, Ordering::AcqRel) + 1 == self.awaited.load(Ordering::Acquire) {
            self.moved.notify_waiters();
        }
        Ok(())
    }

    /// Waits for a condition; free where it holds already.
    async fn until(&self, condition: impl Fn() -> bool) {
        while !condition() {
            let mut moved = std::pin::pin!(self.moved.notified());
            moved.as_mut().enable();
            if condition() {
                return;
            }
            moved.await;
        }
    }

    async fn reached(&self, total: &str) -> Result<()> {
        let total = total.parse().context("a number of events")?;
        self.awaited.store(total, Ordering::Release);
        self.until(|| self.total.load(Ordering::Acquire) >= total).await;
        Ok(())
    }

    /// Total, topics that had any, and what was unfit, in one line.
    fn counts(&self) -> String {
        let topics = self.events.iter().filter(|count| count.load(Ordering::Relaxed) > 0).count();
        let (total, unfit) = (self.total.load(Ordering::Acquire), self.unfit.load(Ordering::Relaxed));
        format!("{total} {topics} {unfit}")
    }
}

impl Answer for App {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>> {
        let path = request.uri().path().to_owned();
        let body = match (request.method(), path.split_once('/').map_or("", |(_, path)| path)) {
            (&Method::GET, "dapr/subscribe") => self.subscriptions.clone(),
            (&Method::GET, "counts") => self.counts().into(),
            (&Method::GET, "sample") => self.sample.get().cloned().unwrap_or_default(),
            (&Method::PUT, gate @ ("open" | "shut")) => {
                self.is_open.store(gate == "open", Ordering::Release);
                self.moved.notify_waiters();
                Bytes::new()
            }
            (&Method::GET, path) if path.starts_with("reached/") => {
                self.reached(&path["reached/".len()..]).await?;
                Bytes::new()
            }
            (&Method::POST, path) if path.starts_with("events/") => {
                self.event(&path["events/".len()..], request).await?;
                Bytes::new()
            }
            _ => {
                let mut nothing = Response::new(Full::default());
                *nothing.status_mut() = StatusCode::NOT_FOUND;
                return Ok(nothing);
            }
        };
        Ok(Response::new(Full::new(body)))
    }
}
