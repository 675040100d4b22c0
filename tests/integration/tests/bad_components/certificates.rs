//! Servers whose certificate has expired.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mecha_backends::RedisTls;
use mecha_testkit::{Mecha, MechaBuilder, Reply, eventually};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::json;
use tempfile::NamedTempFile;

use crate::refusals::{Given, SECRET, blames, component, refusal, runtime, unharmed};
use crate::servers::fails;

const SOON: Duration = Duration::from_secs(20);

/// An authority that the runtime trusts, and servers with certificates of it.
struct Trusted {
    authority: String,
    /// Where programs look for authorities.
    file: NamedTempFile,
    good: RedisTls,
    expired: RedisTls,
}

fn named(name: &str) -> Result<CertificateParams> {
    let mut params = CertificateParams::new([name.to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}

fn server(authority: &CertifiedIssuer<'_, KeyPair>, params: CertificateParams) -> Result<RedisTls> {
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, authority)?;
    Ok(RedisTls::start(&certificate.pem(), &key.serialize_pem())?)
}

impl Trusted {
    fn start() -> Result<Self> {
        let mut params = named("authority")?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let file = NamedTempFile::new()?;
        std::fs::write(file.path(), authority.pem())?;
        let mut old = named("localhost")?;
        old.not_before = rcgen::date_time_ymd(2020, 1, 1);
        old.not_after = rcgen::date_time_ymd(2021, 1, 1);
        let (good, expired) = (server(&authority, named("localhost")?)?, server(&authority, old)?);
        Ok(Self { authority: authority.pem(), file, good, expired })
    }

    fn builder(&self) -> MechaBuilder {
        runtime().env("SSL_CERT_FILE", self.file.path().to_str().unwrap_or_default())
    }
}

fn host(server: &RedisTls) -> String {
    format!("localhost:{}", server.addr().port())
}

/// Redis: the same client takes the certificate that is still good.
pub async fn on_redis() -> Result<()> {
    let trusted = Trusted::start()?;
    let (good, expired) = (host(&trusted.good), host(&trusted.expired));
    let kinds = ["state.redis", "pubsub.redis", "bindings.redis", "configuration.redis", "lock.redis"];
    let tls: Given<'_> = &[("enableTLS", "true"), ("redisPassword", SECRET)];
    let open: Given<'_> = &[("enableTLS", "true"), ("redisHost", &good)];
    let mut builder = trusted.builder().plugin("redis").resources(&component("good", kinds[0], &[open]));
    for (index, kind) in kinds.iter().enumerate() {
        let metadata: Given<'_> = &[("redisHost", &expired), ("stream", "s")];
        builder = builder.resources(&component(&format!("bad-{index}"), kind, &[tls, metadata]));
    }
    let mecha = builder.start().await?;
    mecha.logs().wait_for("Component loaded: good (state.redis/v1)", SOON).await?;
    for (index, kind) in kinds.iter().enumerate() {
        let line = refusal(&mecha, &format!("bad-{index}"), kind).await?;
        ensure!(blames(&line, "enableTLS", "expired"), "{line}");
    }
    unharmed(&mecha).await
}

/// Kafka never speaks before the certificate was seen: any server of TLS will do.
pub async fn on_kafka() -> Result<()> {
    let trusted = Trusted::start()?;
    let brokers = host(&trusted.expired);
    let metadata: Given<'_> = &[
        ("brokers", &brokers),
        ("authType", "password"),
        ("saslUsername", "someone"),
        ("saslPassword", SECRET),
        ("caCert", &trusted.authority),
        ("publishTopic", "t"),
        ("direction", "output"),
    ];
    let kinds = ["pubsub.kafka", "bindings.kafka"];
    let mut builder = trusted.builder().plugin("kafka");
    for (index, kind) in kinds.iter().enumerate() {
        builder = builder.resources(&component(&format!("bad-{index}"), kind, &[metadata]));
    }
    let mecha = builder.start().await?;
    for (index, kind) in kinds.iter().enumerate() {
        let line = refusal(&mecha, &format!("bad-{index}"), kind).await?;
        ensure!(blames(&line, "caCert", "certificate has expired, is for another name"), "{line}");
    }
    unharmed(&mecha).await
}

async fn invoke(mecha: &Mecha, name: &str, body: serde_json::Value) -> Result<Reply> {
    mecha.http().post(&mecha.http_url(&format!("/v1.0/bindings/{name}")), body.to_string()).await
}

/// What is only asked when it is called, or may come up later, opens, and tells each caller.
pub async fn on_http_and_aws() -> Result<()> {
    let trusted = Trusted::start()?;
    let url = format!("https://{}", host(&trusted.expired));
    let http: Given<'_> = &[
        ("url", &url),
        ("MTLSRootCA", &trusted.authority),
        ("securityToken", SECRET),
        ("securityTokenHeader", "X-Token"),
    ];
    let aws: Given<'_> = &[
        ("endpoint", &url),
        ("region", "us-east-1"),
        ("accessKey", "x"),
        ("secretKey", SECRET),
        ("bucket", "b"),
        ("queueName", "q"),
        ("direction", "output"),
    ];
    let mecha = trusted
        .builder()
        .plugin("http-binding")
        .plugin("aws")
        .resources(&component("web", "bindings.http", &[http]))
        .resources(&component("bucket", "bindings.aws.s3", &[aws]))
        .resources(&component("queue", "bindings.aws.sqs", &[aws]))
        .resources(&component("ps", "pubsub.aws.sqs", &[aws]))
        .start()
        .await?;
    let failed = "ERR_INVOKE_OUTPUT_BINDING";
    fails(&invoke(&mecha, "web", json!({"operation": "get"})).await?, failed, &["web", "expired"])?;
    fails(&invoke(&mecha, "bucket", json!({"operation": "list"})).await?, failed, &["bucket", "expired"])?;
    let create = json!({"operation": "create", "data": 1});
    fails(&invoke(&mecha, "queue", create).await?, failed, &["queue", "expired"])?;
    let reply = mecha.http().post(&mecha.http_url("/v1.0/publish/ps/t"), "1").await?;
    fails(&reply, "ERR_PUBSUB_PUBLISH_MESSAGE", &["ps", "expired"])?;
    eventually(SOON, || async {
        let all = mecha.http().get(&mecha.http_url("/v1.0/metadata")).await?.json()?;
        let health = all["componentHealth"].as_array().context("health")?.clone();
        let of_bucket = health.iter().find(|health| health["name"] == "bucket").context("its health")?;
        ensure!(of_bucket["error"].as_str().is_some_and(|error| error.contains("expired")), "{of_bucket}");
        Ok(())
    })
    .await?;
    unharmed(&mecha).await
}
