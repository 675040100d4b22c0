//! The application over gRPC callbacks.

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use mecha_proto::common::v1 as common;
use mecha_proto::runtime::v1 as pb;
use mecha_proto::runtime::v1::app_callback_server::{AppCallback, AppCallbackServer};
use mecha_proto::runtime::v1::topic_event_response::TopicEventResponseStatus as Word;
use tokio::net::TcpListener;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use super::{Answer, Seen, Shared, Wish};

pub(super) async fn serve(listener: TcpListener, shared: Shared) {
    while let Ok((stream, _)) = listener.accept().await {
        let service = TowerToHyperService::new(AppCallbackServer::new(Callbacks(shared.clone())));
        tokio::spawn(async move {
            // A connection that breaks is the test's doing.
            let _ = auto::Builder::new(TokioExecutor::new())
                .http2_only()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
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
        let trace = traceparent(request.metadata());
        let status = word(self.0.take(seen(request.into_inner(), trace)))?;
        Ok(Response::new(pb::TopicEventResponse { status: status.into() }))
    }

    async fn list_input_bindings(
        &self,
        _: Request<()>,
    ) -> Result<Response<pb::ListInputBindingsResponse>, Status> {
        Ok(Response::new(pb::ListInputBindingsResponse::default()))
    }

    async fn on_binding_event(
        &self,
        _: Request<pb::BindingEventRequest>,
    ) -> Result<Response<pb::BindingEventResponse>, Status> {
        Ok(Response::new(pb::BindingEventResponse::default()))
    }

    async fn on_bulk_topic_event(
        &self,
        request: Request<pb::TopicEventBulkRequest>,
    ) -> Result<Response<pb::TopicEventBulkResponse>, Status> {
        let trace = traceparent(request.metadata());
        let bulk = request.into_inner();
        let mut statuses = Vec::new();
        for entry in bulk.entries {
            let (entry_id, event) = (entry.entry_id, entry.event);
            let seen = bulk_seen(event, &bulk.path, &bulk.topic, &trace);
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

pub(super) fn seen(event: pb::TopicEventRequest, traceparent: String) -> Seen {
    Seen {
        path: event.path,
        topic: event.topic,
        id: event.id,
        data: super::data(&event.data),
        content_type: event.data_content_type,
        traceparent,
        bulk: false,
    }
}

fn bulk_seen(
    event: Option<pb::topic_event_bulk_request_entry::Event>,
    path: &str,
    topic: &str,
    trace: &str,
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
        traceparent: trace.to_owned(),
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

fn traceparent(metadata: &MetadataMap) -> String {
    metadata.get("traceparent").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}
