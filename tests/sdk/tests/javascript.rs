//! The JavaScript SDK: its client and its server, each over HTTP and over gRPC.

use anyhow::Result;
use mecha_backends::{ElasticMq, Kafka, Node, NodePackages, Redis, Versitygw, optional};
use mecha_sdk::{AppProtocol, BackEnds, Program, Stage};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/javascript/");
const PACKAGES: NodePackages = NodePackages {
    name: "dapr-javascript-3.18.0",
    manifest: include_str!("../javascript/package.json"),
    lock: include_str!("../javascript/package-lock.json"),
};

/// Node with the SDK.
struct JavaScript(Node);

impl JavaScript {
    fn find() -> Result<Option<Self>> {
        Ok(optional(PACKAGES.find_or_install())?.map(Self))
    }

    fn program(&self, file: &str, protocol: &str) -> Program {
        let program = Program::new(&self.0.program).arg(format!("{FOLDER}{file}"));
        program.env("NODE_PATH", self.0.modules.to_string_lossy()).env("DAPR_PROTOCOL", protocol)
    }
}

fn servers() -> Result<Option<BackEnds>> {
    Ok(BackEnds::servers(optional(Redis::shared())?, optional(Kafka::shared())?))
}

fn aws() -> Result<Option<BackEnds>> {
    let s3 = optional(Versitygw::start())?;
    Ok(BackEnds::aws(optional(Redis::shared())?, optional(ElasticMq::shared())?, s3))
}

async fn clients(back_ends: impl Fn() -> Result<Option<BackEnds>>) -> Result<()> {
    let Some(javascript) = JavaScript::find()? else { return Ok(()) };
    for protocol in ["http", "grpc"] {
        let Some(back_ends) = back_ends()? else { return Ok(()) };
        let stage = Stage::over(back_ends)?;
        stage.play(&mut stage.runtime().await?, javascript.program("client.js", protocol)).await?;
    }
    Ok(())
}

/// Two applications that call each other, and each itself.
async fn applications(back_ends: BackEnds) -> Result<()> {
    let Some(javascript) = JavaScript::find()? else { return Ok(()) };
    let stage = Stage::over(back_ends)?;
    let mut http = stage.app("http", AppProtocol::Http, javascript.program("app.js", "http")).await?;
    let mut grpc = stage.app("grpc", AppProtocol::Grpc, javascript.program("app.js", "grpc")).await?;
    for protocol in ["http", "grpc"] {
        let caller = javascript.program("caller.js", protocol);
        stage.play_with(&mut http, &grpc, caller.clone()).await?;
        stage.play_with(&mut grpc, &http, caller.clone()).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn javascript_clients_on_embedded_components() -> Result<()> {
    clients(|| Ok(Some(BackEnds::Embedded))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn javascript_clients_on_servers() -> Result<()> {
    clients(servers).await
}

#[tokio::test(flavor = "multi_thread")]
async fn javascript_clients_on_sqs_and_s3() -> Result<()> {
    clients(aws).await
}

#[tokio::test(flavor = "multi_thread")]
async fn javascript_applications_on_embedded_components() -> Result<()> {
    applications(BackEnds::Embedded).await
}

#[tokio::test(flavor = "multi_thread")]
async fn javascript_applications_on_servers() -> Result<()> {
    let Some(servers) = servers()? else { return Ok(()) };
    applications(servers).await
}

#[tokio::test(flavor = "multi_thread")]
async fn javascript_applications_on_sqs_and_s3() -> Result<()> {
    let Some(servers) = aws()? else { return Ok(()) };
    applications(servers).await
}
