//! The Python SDK: its client, and applications made with its gRPC and FastAPI extensions.

use anyhow::Result;
use mecha_backends::{ElasticMq, Kafka, PythonPackages, Redis, Versitygw, optional};
use mecha_sdk::{AppProtocol, BackEnds, Program, Stage};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python/");
const PACKAGES: PythonPackages =
    PythonPackages { name: "dapr-python-1.19.0", requirements: include_str!("../python/requirements.txt") };

/// The interpreter that has the SDK.
struct Python(std::path::PathBuf);

impl Python {
    fn find() -> Result<Option<Self>> {
        Ok(optional(PACKAGES.find_or_install())?.map(Self))
    }

    fn program(&self, file: &str) -> Program {
        let program = Program::new(&self.0).arg(format!("{FOLDER}{file}"));
        program.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONUNBUFFERED", "1")
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
    let Some(python) = Python::find()? else { return Ok(()) };
    let stage = Stage::over(back_ends)?;
    stage.play(&mut stage.runtime().await?, python.program("client.py")).await
}

/// Two applications that call each other, and each itself.
async fn applications(back_ends: BackEnds) -> Result<()> {
    let Some(python) = Python::find()? else { return Ok(()) };
    let stage = Stage::over(back_ends)?;
    let mut http = stage.app("http", AppProtocol::Http, python.program("fastapi_app.py")).await?;
    let mut grpc = stage.app("grpc", AppProtocol::Grpc, python.program("grpc_app.py")).await?;
    for invocation in ["http", "grpc"] {
        let caller = python.program("caller.py").env("DAPR_API_METHOD_INVOCATION_PROTOCOL", invocation);
        stage.play_with(&mut http, &grpc, caller.clone()).await?;
        stage.play_with(&mut grpc, &http, caller.clone()).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_client_on_embedded_components() -> Result<()> {
    client(BackEnds::Embedded).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_client_on_servers() -> Result<()> {
    let Some(servers) = servers()? else { return Ok(()) };
    client(servers).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_client_on_sqs_and_s3() -> Result<()> {
    let Some(servers) = aws()? else { return Ok(()) };
    client(servers).await
}

#[tokio::test(flavor = "multi_thread")]
async fn python_applications_on_embedded_components() -> Result<()> {
    applications(BackEnds::Embedded).await
}

#[tokio::test(flavor = "multi_thread")]
async fn python_applications_on_servers() -> Result<()> {
    let Some(servers) = servers()? else { return Ok(()) };
    applications(servers).await
}

#[tokio::test(flavor = "multi_thread")]
async fn python_applications_on_sqs_and_s3() -> Result<()> {
    let Some(servers) = aws()? else { return Ok(()) };
    applications(servers).await
}
