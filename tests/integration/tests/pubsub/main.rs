//! Messages reach the application: every broker, every transport, every kind of answer, by the same code.

#[path = "../support/broker.rs"]
mod broker;
mod cells;

use std::time::Duration;

use anyhow::{Result, ensure};
use mecha_testkit::{Answer, Mecha, Seen, TestApp, Transport, Wish};

use broker::{Backing, Broker};
use cells::Cell;

const SOON: Duration = Duration::from_secs(20);

const TRANSPORTS: [Transport; 3] = [Transport::Http, Transport::Grpc, Transport::Stream];

/// One runtime with one application on one broker.
struct Run {
    app: TestApp,
    mecha: Mecha,
    _backing: Backing,
}

impl Run {
    async fn start(
        broker: Broker,
        transport: Transport,
        wishes: Vec<Wish>,
        respond: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
    ) -> Result<Self> {
        let mut app = TestApp::start(transport, wishes, respond).await?;
        let (mut builder, backing) = broker.component(Mecha::builder().app_id("orders"), "pubsub")?;
        for (flag, value) in app.flags() {
            builder = builder.flag(flag, value);
        }
        let mecha = builder.start().await?;
        app.connect(&mecha).await?;
        Ok(Self { app, mecha, _backing: backing })
    }

    async fn publish(&self, topic: &str, query: &str, content_type: &str, body: &str) -> Result<()> {
        let url = self.mecha.http_url(&format!("/v1.0/publish/pubsub/{topic}{query}"));
        let request = http::Request::post(url).header("content-type", content_type);
        let reply =
            self.mecha.http().send(request.body(http_body_util::Full::new(body.to_owned().into()))?).await?;
        ensure!(reply.status == 204, "{}: {}", reply.status, reply.text());
        Ok(())
    }

    async fn publish_json(&self, topic: &str, body: &str) -> Result<()> {
        self.publish(topic, "", "application/json", body).await
    }
}

/// Runs a cell on every broker over every transport that can do it.
async fn everywhere(cell: Cell) {
    let mut failed = Vec::new();
    for broker in Broker::all() {
        for transport in TRANSPORTS {
            if transport == Transport::Stream && !cell.works_on_streams() {
                continue;
            }
            if let Err(error) = cell.run(broker, transport).await {
                failed.push(format!("{cell:?} on {broker:?} over {transport:?}: {error:#}"));
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

#[tokio::test]
async fn plain() {
    everywhere(Cell::Plain).await;
}

#[tokio::test]
async fn raw() {
    everywhere(Cell::Raw).await;
}

#[tokio::test]
async fn bulk() {
    everywhere(Cell::Bulk).await;
}

#[tokio::test]
async fn routed() {
    everywhere(Cell::Routed).await;
}

#[tokio::test]
async fn dead_letter() {
    everywhere(Cell::DeadLetter).await;
}

#[tokio::test]
async fn retried() {
    everywhere(Cell::Retry).await;
}

#[tokio::test]
async fn dropped() {
    everywhere(Cell::Drop).await;
}
