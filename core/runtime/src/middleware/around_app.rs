//! The pipeline around calls to the application.

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::{HeaderMap, Request};
use mecha_app_channel::{Around, Exchange, Next, Outgoing};
use mecha_observability::{Propagated, names};

use super::{Pipelines, Way};
use crate::{App, Call, Registry};

/// What the application's channel asks before each call.
pub(crate) struct AroundApp {
    pub(crate) app: Arc<App>,
    pub(crate) registry: Arc<ArcSwap<Registry>>,
    pub(crate) pipelines: Arc<Pipelines>,
    pub(crate) max_body_size: usize,
}

impl Around for AroundApp {
    fn is_there(&self) -> bool {
        self.pipelines.app.load().is_some()
    }

    fn exchange<'a>(&'a self, request: Request<Outgoing>, next: Next<'a>) -> Exchange<'a> {
        let Some(pipeline) = self.pipelines.app.load_full() else { return next(request) };
        Box::pin(async move {
            let call = Call { app: self.app.clone(), trace: propagated(request.headers()), deadline: None };
            let registry = self.registry.load_full();
            let way = Way { registry: &registry, call: &call, remote: "", max_body_size: self.max_body_size };
            pipeline.run(way, request, next).await
        })
    }
}

/// The trace that the call belongs to: the channel has put it into the headers.
fn propagated(headers: &HeaderMap) -> Propagated {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let trace = Propagated::from_headers(
        text(names::header::TRACEPARENT),
        text(names::header::TRACESTATE),
        text(names::header::BAGGAGE),
    );
    trace.unwrap_or_default()
}
