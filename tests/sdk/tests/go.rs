//! The Go SDK: its client, and its services over HTTP and over gRPC.

use std::path::PathBuf;

use anyhow::Result;
use mecha_backends::{ElasticMq, GoModule, Kafka, Redis, Versitygw, optional};
use mecha_sdk::{AppProtocol, BackEnds, Program, Stage};

const MODULE: GoModule =
    GoModule { name: "dapr-go-programs", folder: concat!(env!("CARGO_MANIFEST_DIR"), "/go") };

/// The built programs.
struct Go(PathBuf);

impl Go {
    fn find() -> Result<Option<Self>> {
        Ok(optional(MODULE.build())?.map(Self))
    }

    fn program(&self, name: &str) -> Program {
        Program::new(&self.0).arg(name)
    }
}

fn servers() -> Result<Option<BackEnds>> {
    Ok(BackEnds::servers(optional(Redis::shared())?, optional(Kafka::shared())?))
}

fn aws() -> Result<Option<BackEnds>> {
    let s3 = optional(Versitygw::start())?;
    Ok(BackEnds::aws(optional(Redis::shared())?, optional(ElasticMq::shared())?, s3))
}

async fn client(back_ends: BackEnds) -> Result<()> {
    let Some(go) = Go::find()? else { return Ok(()) };
    let stage = Stage::over(back_ends)?;
    stage.play(&mut stage.runtime().await?, go.program("client")).await
}

/// Two applications that call each other, and each itself.
async fn applications(back_ends: BackEnds) -> Result<()> {
    let Some(go) = Go::find()? else { return Ok(()) };
    let stage = Stage::over(back_ends)?;
    let mut http = stage.app("http", AppProtocol::Http, go.program("http")).await?;
    let mut grpc = stage.app("grpc", AppProtocol::Grpc, go.program("grpc")).await?;
    stage.play_with(&mut http, &grpc, go.program("caller")).await?;
    stage.play_with(&mut grpc, &http, go.program("caller")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_go_client_on_embedded_components() -> Result<()> {
    client(BackEnds::Embedded).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_go_client_on_servers() -> Result<()> {
    let Some(servers) = servers()? else { return Ok(()) };
    client(servers).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_go_client_on_sqs_and_s3() -> Result<()> {
    let Some(servers) = aws()? else { return Ok(()) };
    client(servers).await
}

#[tokio::test(flavor = "multi_thread")]
async fn go_applications_on_embedded_components() -> Result<()> {
    applications(BackEnds::Embedded).await
}

#[tokio::test(flavor = "multi_thread")]
async fn go_applications_on_servers() -> Result<()> {
    let Some(servers) = servers()? else { return Ok(()) };
    applications(servers).await
}

#[tokio::test(flavor = "multi_thread")]
async fn go_applications_on_sqs_and_s3() -> Result<()> {
    let Some(servers) = aws()? else { return Ok(()) };
    applications(servers).await
}
