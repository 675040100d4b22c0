//! HTTP middleware: what the Configuration's `httpPipeline` puts around the HTTP API and `appHttpPipeline` around calls to the
//! application.
//!
//! `pipeline.rs` takes a request through the handlers and its answer back; it knows neither who listens nor who is called, so
//! that both ways share it. `around_app.rs` is the way to the application; the way to the API is the gateway's.

mod around_app;
mod carried;
mod message;
mod pipeline;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use mecha_plugin_api::middleware::MiddlewareObject;
use mecha_resources::Configuration;

use crate::component::Component;

pub(crate) use around_app::AroundApp;
pub use carried::{Carried, Unread};
pub use pipeline::{Pipeline, Way};

/// A middleware.
pub(crate) type Middleware = Component<MiddlewareObject>;

/// The two pipelines of a Configuration; none costs one look.
#[derive(Default)]
pub(crate) struct Pipelines {
    pub(crate) api: ArcSwapOption<Pipeline>,
    pub(crate) app: ArcSwapOption<Pipeline>,
}

impl Pipelines {
    /// Those of a Configuration.
    pub(crate) fn new(configuration: &Configuration) -> Self {
        let pipelines = Self::default();
        pipelines.configure(configuration);
        pipelines
    }

    /// Takes in what a Configuration says now; requests on their way end on the pipeline where they began.
    pub(crate) fn configure(&self, configuration: &Configuration) {
        set(&self.api, &configuration.http_pipeline);
        set(&self.app, &configuration.app_http_pipeline);
    }
}

fn set(slot: &ArcSwapOption<Pipeline>, declared: &mecha_resources::configuration::Pipeline) {
    if slot.load().as_ref().is_none_or(|now| !now.is(declared)) {
        slot.store(Pipeline::new(declared).map(Arc::new));
    }
}
