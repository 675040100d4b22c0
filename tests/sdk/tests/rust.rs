//! The Rust SDK: its client, and applications over gRPC.

use std::path::PathBuf;

use anyhow::Result;
use mecha_backends::{CargoPackage, ElasticMq, Kafka, Redis, Versitygw, optional};
use mecha_sdk::{AppProtocol, BackEnds, Program, Stage};

const PACKAGE: CargoPackage = CargoPackage {
    name: "dapr-rust-programs",
    folder: concat!(env!("CARGO_MANIFEST_DIR"), "/rust"),
    program: "dapr-sdk-programs",
};

/// The built programs.
struct Built(PathBuf);

impl Built {
    fn find() -> Result<Self> {
        Ok(Self(PACKAGE.build()?))
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
    let rust = Built::find()?;
    let stage = Stage::over(back_ends)?;
    stage.play(&mut stage.runtime().await?, rust.program("client")).await
}

/// Two applications that call each other, and each itself.
async fn applications(back_ends: BackEnds) -> Result<()> {
    let rust = Built::find()?;
    let stage = Stage::over(back_ends)?;
    let mut left = stage.app("left", AppProtocol::Grpc, rust.program("app")).await?;
    let mut right = stage.app("right", AppProtocol::Grpc, rust.program("app")).await?;
    stage.play_with(&mut left, &right, rust.program("caller")).await?;
    stage.play_with(&mut right, &left, rust.program("caller")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rust_client_on_embedded_components() -> Result<()> {
    client(BackEnds::Embedded).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rust_client_on_servers() -> Result<()> {
    let Some(servers) = servers()? else { return Ok(()) };
    client(servers).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rust_client_on_sqs_and_s3() -> Result<()> {
    let Some(servers) = aws()? else { return Ok(()) };
    client(servers).await
}

#[tokio::test(flavor = "multi_thread")]
async fn rust_applications_on_embedded_components() -> Result<()> {
    applications(BackEnds::Embedded).await
}

#[tokio::test(flavor = "multi_thread")]
async fn rust_applications_on_servers() -> Result<()> {
    let Some(servers) = servers()? else { return Ok(()) };
    applications(servers).await
}

#[tokio::test(flavor = "multi_thread")]
async fn rust_applications_on_sqs_and_s3() -> Result<()> {
    let Some(servers) = aws()? else { return Ok(()) };
    applications(servers).await
}
