//! The application over gRPC callbacks.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use mecha_proto::common::v1 as common;
use mecha_proto::runtime::v1 as pb;
use mecha_proto::runtime::v1::app_callback_health_check_server::{
    AppCallbackHealthCheck, AppCallbackHealthCheckServer,
};
use mecha_proto::runtime::v1::app_callback_server::{AppCallback, AppCallbackServer};
use mecha_proto::runtime::v1::topic_event_response::TopicEventResponseStatus as Word;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tonic::codegen::Service;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use super::{Answer, Seen, Shared, Wish};

pub(super) async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Shared) {
    // Connections end with the application.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, shared) = (tls.clone(), shared.clone());
        connections.spawn(async move {
            match tls {
                None => connection(stream, shared).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        connection(stream, shared).await;
                    }
                }
            }
        });
    }
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, shared: Shared) {
    let callbacks = AppCallbackServer::new(Callbacks(shared.clone()));
    let health = AppCallbackHealthCheckServer::new(Callbacks(shared));
    let services = service_fn(move |request: http::Request<Incoming>| {
        let (mut callbacks, mut health) = (callbacks.clone(), health.clone());
        async move {
            match request.uri().path().starts_with(HEALTH) {
                true => health.call(request).await,
                false => callbacks.call(request).await,
            }
        }
    });
    // A connection that breaks is the test's doing.
    let _ = auto::Builder::new(TokioExecutor::new())
        .http2_only()
        .serve_connection(TokioIo::new(stream), services)
        .await;
}

const HEALTH: &str = "/dapr.proto.runtime.v1.AppCallbackHealthCheck/";

#[tonic::async_trait]
impl AppCallbackHealthCheck for Callbacks {
    async fn health_check(&self, _: Request<()>) -> Result<Response<pb::HealthCheckResponse>, Status> {
        match self.0.healthy.load(Ordering::Relaxed) {
            true => Ok(Response::new(pb::HealthCheckResponse::default())),
            false => Err(Status::unavailable("not well")),
        }
    }
}

struct Callbacks(Shared);

#[tonic::async_trait]
impl AppCallback for Callbacks {
    async fn on_invoke(
        &self,
        _: Request<common::InvokeRequest>,
    ) -> Result<Response<common::InvokeResponse>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn list_topic_subscriptions(
        &self,
        _: Request<()>,
    ) -> Result<Response<pb::ListTopicSubscriptionsResponse>, Status> {
        let subscriptions = self.0.wishes.iter().map(wished).collect();
        Ok(Response::new(pb::ListTopicSubscriptionsResponse { subscriptions }))
    }

    async fn on_topic_event(
        &self,
        request: Request<pb::TopicEventRequest>,
    ) -> Result<Response<pb::TopicEventResponse>, Status> {
        let headers = headers(request.metadata());
        let status = word(self.0.take(seen(request.into_inner(), headers)))?;
        Ok(Response::new(pb::TopicEventResponse { status: status.into() }))
    }

    async fn list_input_bindings(
        &self,
        _: Request<()>,
    ) -> Result<Response<pb::ListInputBindingsResponse>, Status> {
        Ok(Response::new(pb::ListInputBindingsResponse { bindings: self.0.bindings.clone() }))
    }

    async fn on_binding_event(
        &self,
        request: Request<pb::BindingEventRequest>,
    ) -> Result<Response<pb::BindingEventResponse>, Status> {
        let headers = headers(request.metadata());
        let event = request.into_inner();
        self.0.respond_binding(event, headers).map(Response::new)
    }

    async fn on_bulk_topic_event(
        &self,
        request: Request<pb::TopicEventBulkRequest>,
    ) -> Result<Response<pb::TopicEventBulkResponse>, Status> {
        let headers = headers(request.metadata());
        let bulk = request.into_inner();
        let mut statuses = Vec::new();
        for entry in bulk.entries {
            let (entry_id, event) = (entry.entry_id, entry.event);
            let seen = bulk_seen(event, &bulk.path, &bulk.topic, &headers);
            let status = word(self.0.take(seen)).unwrap_or(Word::Retry).into();
            statuses.push(pb::TopicEventBulkResponseEntry { entry_id, status });
        }
        Ok(Response::new(pb::TopicEventBulkResponse { statuses }))
    }

    async fn on_job_event(
        &self,
        _: Request<pb::JobEventRequest>,
    ) -> Result<Response<pb::JobEventResponse>, Status> {
        Err(Status::unimplemented("not in this test"))
    }
}

fn wished(wish: &Wish) -> pb::TopicSubscription {
    let rules = wish.rules.iter();
    let rules =
        rules.map(|(condition, path)| pb::TopicRule { r#match: condition.clone(), path: path.clone() });
    pb::TopicSubscription {
        pubsub_name: wish.pubsub.clone(),
        topic: wish.topic.clone(),
        metadata: wish.metadata.iter().cloned().collect(),
        routes: Some(pb::TopicRoutes { rules: rules.collect(), default: wish.route.clone() }),
        dead_letter_topic: wish.dead_letter.clone().unwrap_or_default(),
        bulk_subscribe: Some(pb::BulkSubscribeConfig {
            enabled: wish.bulk,
            max_messages_count: 10,
            max_await_duration_ms: 50,
        }),
    }
}

pub(super) fn seen(event: pb::TopicEventRequest, headers: BTreeMap<String, String>) -> Seen {
    Seen {
        path: event.path,
        topic: event.topic,
        id: event.id,
        data: super::data(&event.data),
        content_type: event.data_content_type,
        traceparent: headers.get("traceparent").cloned().unwrap_or_default(),
        headers,
        bulk: false,
    }
}

fn bulk_seen(
    event: Option<pb::topic_event_bulk_request_entry::Event>,
    path: &str,
    topic: &str,
    headers: &BTreeMap<String, String>,
) -> Seen {
    use pb::topic_event_bulk_request_entry::Event;
    let (id, data, content_type) = match event {
        Some(Event::Bytes(bytes)) => (String::new(), bytes, String::new()),
        Some(Event::CloudEvent(event)) => (event.id, event.data, event.data_content_type),
        None => Default::default(),
    };
    Seen {
        path: path.to_owned(),
        topic: topic.to_owned(),
        id,
        data: super::data(&data),
        content_type,
        traceparent: headers.get("traceparent").cloned().unwrap_or_default(),
        headers: headers.clone(),
        bulk: true,
    }
}

pub(super) fn word(answer: Answer) -> Result<Word, Status> {
    match answer {
        Answer::Success => Ok(Word::Success),
        Answer::Retry => Ok(Word::Retry),
        Answer::Drop => Ok(Word::Drop),
        Answer::Fail => Err(Status::internal("no")),
    }
}

fn headers(metadata: &MetadataMap) -> BTreeMap<String, String> {
    super::texts(&metadata.clone().into_headers())
}
