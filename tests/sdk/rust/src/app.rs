//! An application over gRPC. What it got is asked of it by the method `received`.

use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use dapr::appcallback::{
    BindingEventRequest, BindingEventResponse, InvokeRequest, InvokeResponse, JobEventRequest,
    JobEventResponse, ListInputBindingsResponse, ListTopicSubscriptionsResponse, TopicEventBulkRequest,
    TopicEventBulkResponse, TopicEventRequest, TopicEventResponse, TopicSubscription,
};
use dapr::client::AppApiTokenLayer;
use dapr::dapr::proto::runtime::v1::app_callback_server::{AppCallback, AppCallbackServer};
use dapr::dapr::proto::runtime::v1::topic_event_response::TopicEventResponseStatus;
use dapr::dapr::proto::runtime::v1::{TopicRoutes, TopicRule};
use prost_types::Any;
use serde_json::{Value, json};
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use crate::steps::need;

struct App {
    /// The application's name and this run's: topics carry both.
    name: String,
    run: String,
    received: Mutex<Vec<Value>>,
}

pub async fn serve() -> Result<()> {
    let name = need("APP_ID")?.split('-').next().unwrap_or_default().to_owned();
    let app = App { name, run: need("RUN")?, received: Mutex::default() };
    let address = format!("127.0.0.1:{}", need("APP_PORT")?).parse()?;
    let server = Server::builder().layer(AppApiTokenLayer::from_env());
    Ok({ server }.add_service(AppCallbackServer::new(app)).serve(address).await?)
}

impl App {
    fn topic(&self, name: &str) -> String {
        format!("{}-{name}-{}", self.name, self.run)
    }

    fn subscription(&self, name: &str) -> TopicSubscription {
        TopicSubscription::new("pubsub".to_owned(), self.topic(name), None)
    }

    /// Notes an event; says how often it has come.
    fn note(&self, kind: &str, trace: &str, event: &TopicEventRequest) -> usize {
        let mut received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        received.push(json!({
            "kind": kind, "id": event.id, "source": event.source, "trace": trace,
            "data": String::from_utf8_lossy(&event.data),
        }));
        received.iter().filter(|entry| entry["id"] == event.id).count()
    }
}

fn header<T>(request: &Request<T>, name: &str) -> String {
    let value = request.metadata().get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

#[tonic::async_trait]
impl AppCallback for App {
    async fn on_invoke(&self, request: Request<InvokeRequest>) -> Result<Response<InvokeResponse>, Status> {
        let (caller, token) = (header(&request, "dapr-caller-app-id"), header(&request, "dapr-api-token"));
        let request = request.into_inner();
        let body = request.data.map(|data| data.value).unwrap_or_default();
        let answer = match request.method.as_str() {
            "echo" => json!({"body": String::from_utf8_lossy(&body), "caller": caller, "token": token}),
            "received" => json!(*self.received.lock().unwrap_or_else(PoisonError::into_inner)),
            other => return Err(Status::unimplemented(other)),
        };
        let data = Some(Any { type_url: String::new(), value: answer.to_string().into_bytes() });
        Ok(Response::new(InvokeResponse {
            data,
            content_type: "application/json".to_owned(),
            ..InvokeResponse::default()
        }))
    }

    async fn list_topic_subscriptions(
        &self,
        _request: Request<()>,
    ) -> Result<Response<ListTopicSubscriptionsResponse>, Status> {
        let orders =
            TopicSubscription { dead_letter_topic: self.topic("dead"), ..self.subscription("orders") };
        let rule =
            TopicRule { r#match: r#"event.type == "important""#.to_owned(), path: "important".to_owned() };
        let routes = TopicRoutes { rules: vec![rule], default: "unimportant".to_owned() };
        let routed = TopicSubscription { routes: Some(routes), ..self.subscription("routed") };
        let subscriptions = vec![orders, self.subscription("dead"), self.subscription("again"), routed];
        Ok(Response::new(ListTopicSubscriptionsResponse { subscriptions }))
    }

    async fn on_topic_event(
        &self,
        request: Request<TopicEventRequest>,
    ) -> Result<Response<TopicEventResponse>, Status> {
        let trace = header(&request, "traceparent");
        let event = request.into_inner();
        let kind = if event.path.is_empty() {
            event.topic.split('-').nth(1).unwrap_or_default()
        } else {
            &event.path
        };
        let times = self.note(kind, &trace, &event);
        let status = match kind {
            "orders" if event.data.starts_with(b"drop") => TopicEventResponseStatus::Drop,
            "again" if times == 1 => TopicEventResponseStatus::Retry,
            _ => TopicEventResponseStatus::Success,
        };
        Ok(Response::new(TopicEventResponse { status: status.into() }))
    }

    async fn list_input_bindings(
        &self,
        _request: Request<()>,
    ) -> Result<Response<ListInputBindingsResponse>, Status> {
        Ok(Response::new(ListInputBindingsResponse::binding("tick".to_owned())))
    }

    async fn on_binding_event(
        &self,
        request: Request<BindingEventRequest>,
    ) -> Result<Response<BindingEventResponse>, Status> {
        let event = TopicEventRequest::default();
        self.note(&request.into_inner().name, "", &event);
        Ok(Response::new(BindingEventResponse::default()))
    }

    async fn on_bulk_topic_event(
        &self,
        _request: Request<TopicEventBulkRequest>,
    ) -> Result<Response<TopicEventBulkResponse>, Status> {
        Err(Status::unimplemented("no bulk subscription"))
    }

    async fn on_job_event(
        &self,
        _request: Request<JobEventRequest>,
    ) -> Result<Response<JobEventResponse>, Status> {
        Err(Status::unimplemented("no job"))
    }
}
