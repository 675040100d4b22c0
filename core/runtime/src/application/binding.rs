//! Events of an input binding on their way to the application, and what the application wants done then.

use std::sync::Arc;
use std::time::Instant;

use futures_util::future::join_all;
use mecha_app_channel::{AppChannel, BindingAnswer, StateAnswer};
use mecha_observability::metrics::Operation as Measure;
use mecha_observability::{ActiveSpan, names};
use mecha_plugin_api::binding::{InputBindingObject, InvokeRequest};
use mecha_plugin_api::source::{Delivery, Outcome, Settlement, SourceObject};
use mecha_plugin_api::state::{Concurrency, Consistency, SetRequest, ValueKind};
use mecha_plugin_api::{AbiFuture, Buf, CallContext, Metadata};

use super::Shared;
use super::insist::{FromApp, Undelivered, insist};
use super::received::{Carried, received};
use crate::inbound::{Feed, FlowWatch, Pending, settlement};
use crate::{Call, InputBinding, StateStore};

/// Events that may be with the application at once.
const MAX_IN_FLIGHT: usize = 32;
/// What output bindings are asked to do with an event's answer.
const CREATE: &str = "create";

/// One input binding that the application wants.
pub(crate) struct BindingFeed {
    pub(crate) shared: Arc<Shared>,
    pub(crate) channel: Arc<AppChannel>,
    pub(crate) binding: Arc<InputBinding>,
    /// Path of the application.
    pub(crate) route: String,
    pub(crate) flow: FlowWatch,
}

impl Feed<InputBindingObject> for BindingFeed {
    fn name(&self) -> &str {
        self.binding.name()
    }

    fn open(&self, object: &InputBindingObject, context: CallContext) -> AbiFuture<SourceObject> {
        object.read(context)
    }

    fn max_in_flight(&self) -> usize {
        MAX_IN_FLIGHT
    }

    fn handle(&self, deliveries: Vec<Delivery>) -> Pending<'_, Vec<Settlement>> {
        Box::pin(async move {
            let mut settlements = Vec::with_capacity(deliveries.len());
            for delivery in deliveries {
                settlements.push(settlement(delivery.id, self.deliver(delivery).await));
            }
            settlements
        })
    }
}

impl BindingFeed {
    async fn deliver(&self, delivery: Delivery) -> Outcome {
        let name = || format!("{}{}", names::span::BINDING_PREFIX, self.binding.name());
        let header = |name| delivery.metadata.get(name);
        let carried = Carried {
            parent: header(names::header::TRACEPARENT),
            state: header(names::header::TRACESTATE),
            baggage: header(names::header::BAGGAGE),
        };
        let (call, span) = received(&self.shared.app, &self.shared.telemetry, carried, name);
        let started = Instant::now();
        let answered = self.send(delivery, &call).await;
        let success = answered.is_ok();
        if let Some(measured) = self.binding.observer().component() {
            measured.record(Measure::Event, success, started.elapsed());
        }
        finish(span, answered.as_ref().err());
        match answered {
            Ok(answer) => {
                self.follow(answer, &call).await;
                Outcome::ACK
            }
            Err(error) => {
                tracing::error!(component = %self.binding.name(), "error invoking app: {error}");
                Outcome::RETRY
            }
        }
    }

    async fn send(&self, delivery: Delivery, call: &Call) -> Result<BindingAnswer, Undelivered<FromApp>> {
        let (metadata, data) = (delivery.metadata, delivery.data.into_bytes());
        let attempt = async || {
            let (data, trace) = (data.clone(), &call.trace);
            let answered = match &*self.channel {
                AppChannel::Http(app) => app.binding_event(&self.route, data, metadata.iter(), trace).await,
                AppChannel::Grpc(app) => {
                    app.binding_event(self.binding.name(), data, metadata.iter(), trace).await
                }
            };
            answered.map_err(FromApp)
        };
        insist(self.binding.policies().inbound.get().as_deref(), &self.flow, attempt).await
    }

    /// Keeps the answer's state and sends its data to the output bindings that it names. The application has taken the event:
    /// as in Dapr a failure here is only said.
    async fn follow(&self, mut answer: BindingAnswer, call: &Call) {
        let state = std::mem::take(&mut answer.state);
        if !state.is_empty()
            && let Err(error) = self.keep(&answer.store, state, call).await
        {
            tracing::error!(component = %self.binding.name(), "error saving state from app response: {error}");
        }
        if answer.to.is_empty() {
            return;
        }
        let data = answer.data.map_or_else(|| "null".to_owned(), |data| data.get().to_owned());
        let send = |name: String| {
            let data = Buf::from(bytes::Bytes::from(data.clone()));
            async move { self.create(&name, data, call).await }
        };
        let sent = if answer.parallel {
            for error in join_all(answer.to.into_iter().map(send)).await.into_iter().filter_map(Result::err) {
                tracing::error!("{error}");
            }
            Ok(())
        } else {
            let mut sent = Ok(());
            for name in answer.to {
                sent = send(name).await;
                if sent.is_err() {
                    break;
                }
            }
            sent
        };
        if let Err(error) = sent {
            tracing::error!(component = %self.binding.name(), "error executing app response: {error}");
        }
    }

    /// Writes state under the application's own keys, as if it had saved them itself.
    async fn keep(&self, store: &str, state: Vec<StateAnswer>, call: &Call) -> Result<(), String> {
        let registry = self.shared.registry.load_full();
        let found = registry.state_store(store);
        let store = found.map_err(|_| format!("couldn't find state store {store}"))?;
        let requests: Result<Vec<_>, _> =
            state.into_iter().map(|state| self.set_request(store, state)).collect();
        store.bulk_set(call, requests?).await.map_err(|error| error.to_string())
    }

    fn set_request(&self, store: &StateStore, state: StateAnswer) -> Result<SetRequest, String> {
        let StateAnswer { key, value, is_json, etag, metadata } = state;
        let key = store.key_prefix().apply(&self.shared.app, store.name(), &key);
        let key = key.map_err(|illegal| illegal.to_string())?.into();
        let (value, kind) = match store.encryption() {
            None if is_json => (Buf::from(value), ValueKind::JSON),
            None => (Buf::from(value), ValueKind::BYTES),
            Some(encryption) => {
                let sealed = encryption.encrypt(&value).map_err(|reason| reason.to_string())?;
                (sealed.into(), ValueKind::BYTES)
            }
        };
        Ok(SetRequest {
            key,
            value,
            kind,
            etag: etag.map(Into::into).into(),
            concurrency: Concurrency::UNSPECIFIED,
            consistency: Consistency::UNSPECIFIED,
            metadata: metadata.into_iter().collect(),
        })
    }

    async fn create(&self, name: &str, data: Buf, call: &Call) -> Result<(), String> {
        let registry = self.shared.registry.load_full();
        let binding =
            registry.output_binding(name).map_err(|_| format!("couldn't find output binding {name}"))?;
        let request = InvokeRequest { operation: CREATE.into(), data, metadata: Metadata::new() };
        binding.invoke(call, request).await.map(drop).map_err(|error| error.to_string())
    }
}

fn finish(span: Option<ActiveSpan>, error: Option<&Undelivered<FromApp>>) {
    let Some(mut span) = span else { return };
    if let Some(error) = error {
        span.fail(error.to_string());
    }
    span.end();
}
