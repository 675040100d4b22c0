//! The Java SDK: its client, and applications over HTTP without a framework.

use anyhow::Result;
use mecha_backends::{ElasticMq, Java, JavaPrograms, Kafka, Redis, Versitygw, optional};
use mecha_sdk::{AppProtocol, BackEnds, Program, Stage};

const PROGRAMS: JavaPrograms = JavaPrograms {
    name: "dapr-java-1.17.1",
    artifacts: &["io.dapr:dapr-sdk:1.17.1", "org.slf4j:slf4j-nop:2.0.9"],
    folder: concat!(env!("CARGO_MANIFEST_DIR"), "/java"),
};

/// The compiled programs.
struct Compiled(Java);

impl Compiled {
    fn find() -> Result<Option<Self>> {
        Ok(optional(PROGRAMS.build())?.map(Self))
    }

    fn program(&self, class: &str) -> Program {
        Program::new(&self.0.program).arg("-cp").arg(&self.0.class_path).arg(class)
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
    let Some(java) = Compiled::find()? else { return Ok(()) };
    let stage = Stage::over(back_ends)?;
    stage.play(&mut stage.runtime().await?, java.program("Client")).await
}

/// Two applications that call each other, and each itself.
async fn applications(back_ends: BackEnds) -> Result<()> {
    let Some(java) = Compiled::find()? else { return Ok(()) };
    let stage = Stage::over(back_ends)?;
    let mut left = stage.app("left", AppProtocol::Http, java.program("App")).await?;
    let mut right = stage.app("right", AppProtocol::Http, java.program("App")).await?;
    stage.play_with(&mut left, &right, java.program("Caller")).await?;
    stage.play_with(&mut right, &left, java.program("Caller")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_java_client_on_embedded_components() -> Result<()> {
    client(BackEnds::Embedded).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_java_client_on_servers() -> Result<()> {
    let Some(servers) = servers()? else { return Ok(()) };
    client(servers).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_java_client_on_sqs_and_s3() -> Result<()> {
    let Some(servers) = aws()? else { return Ok(()) };
    client(servers).await
}

#[tokio::test(flavor = "multi_thread")]
async fn java_applications_on_embedded_components() -> Result<()> {
    applications(BackEnds::Embedded).await
}

#[tokio::test(flavor = "multi_thread")]
async fn java_applications_on_servers() -> Result<()> {
    let Some(servers) = servers()? else { return Ok(()) };
    applications(servers).await
}

#[tokio::test(flavor = "multi_thread")]
async fn java_applications_on_sqs_and_s3() -> Result<()> {
    let Some(servers) = aws()? else { return Ok(()) };
    applications(servers).await
}
