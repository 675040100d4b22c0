//! Servers that refuse who calls, and servers that lack what a component names.

use anyhow::{Context, Result, ensure};
use mecha_backends::{ElasticMq, Kafka, Redis, Versitygw};
use mecha_testkit::{Asked, Mecha, Reply, Scripted, ScriptedApp};
use serde_json::json;

use crate::redis;
use crate::refusals::{Given, Group, SECRET, blames, component, refusal, refused, runtime, unharmed};

const PASSWORD: &str = "right-password";

/// A password that is wrong, none, and a user that is not known.
pub async fn redis_passwords() -> Result<()> {
    let server = Redis::start()?;
    let addr = server.addr().to_string();
    redis::command(server.addr(), &["CONFIG", "SET", "requirepass", PASSWORD]);
    refused(&Group {
        plugin: "redis",
        kinds: &["state.redis", "pubsub.redis", "bindings.redis", "configuration.redis", "lock.redis"],
        base: &[("redisHost", &addr), ("stream", "s")],
        rows: &[&[
            (&[("redisPassword", SECRET)], "redisPassword", "authentication failed"),
            (&[], "redisPassword", "NOAUTH"),
            (
                &[("redisUsername", "nobody"), ("redisPassword", SECRET)],
                "redisPassword",
                "authentication failed",
            ),
        ]],
    })
    .await
}

/// A user that may log in and do nothing else: each call says what it may not do.
pub async fn redis_rights() -> Result<()> {
    let server = Redis::start()?;
    let addr = server.addr().to_string();
    redis::command(
        server.addr(),
        &[
            "ACL",
            "SETUSER",
            "guest",
            "on",
            &format!(">{SECRET}"),
            "~*",
            "&*",
            "+@connection",
            "+info",
            "+client",
        ],
    );
    let metadata: Given<'_> =
        &[("redisHost", &addr), ("redisUsername", "guest"), ("redisPassword", SECRET), ("stream", "s")];
    let mut builder = runtime().plugin("redis");
    let all = [
        ("store", "state.redis"),
        ("ps", "pubsub.redis"),
        ("locks", "lock.redis"),
        ("config", "configuration.redis"),
        ("out", "bindings.redis"),
    ];
    for (name, kind) in all {
        builder = builder.resources(&component(name, kind, &[metadata]));
    }
    let mecha = builder.start().await?;
    for (call, name, code) in [
        (mecha.http().get(&mecha.http_url("/v1.0/state/store/k")).await?, "store", "ERR_STATE_GET"),
        (post(&mecha, "/v1.0/state/store", r#"[{"key":"k","value":1}]"#).await?, "store", "ERR_STATE_SAVE"),
        (post(&mecha, "/v1.0/publish/ps/t", "1").await?, "ps", "ERR_PUBSUB_PUBLISH_MESSAGE"),
        (
            post(
                &mecha,
                "/v1.0-alpha1/lock/locks",
                r#"{"resourceId":"r","lockOwner":"o","expiryInSeconds":9}"#,
            )
            .await?,
            "",
            "ERR_TRY_LOCK",
        ),
        (
            mecha.http().get(&mecha.http_url("/v1.0/configuration/config?key=k")).await?,
            "config",
            "ERR_CONFIGURATION_GET",
        ),
        (
            post(&mecha, "/v1.0/bindings/out", r#"{"operation":"create","data":"v","metadata":{"key":"k"}}"#)
                .await?,
            "out",
            "ERR_INVOKE_OUTPUT_BINDING",
        ),
    ] {
        fails(&call, code, &[name, "NOPERM"])?;
    }
    unharmed(&mecha).await
}

async fn post(mecha: &Mecha, path: &str, body: impl Into<String>) -> Result<Reply> {
    mecha.http().post(&mecha.http_url(path), body.into()).await
}

/// Asserts that a call failed with this code and these words, and told no secret.
pub fn fails(reply: &Reply, code: &str, words: &[&str]) -> Result<()> {
    let text = reply.text();
    ensure!(!reply.status.is_success(), "{}: {text}", reply.status);
    ensure!(!text.contains(SECRET), "the secret is told: {text}");
    let answer = reply.json()?;
    ensure!(answer["errorCode"] == code, "{code}: {text}");
    let message = answer["message"].as_str().context("a message")?;
    for word in words {
        ensure!(message.contains(word), "'{word}' is not in {message}");
    }
    Ok(())
}

/// A password that is wrong, a user that is not known, a login where none is wanted and none where one is.
pub async fn kafka_logins(kafka: &Kafka) -> Result<()> {
    let Some(guarded) = kafka.sasl_addr() else { return Ok(()) };
    let (open, guarded) = (kafka.addr().to_string(), guarded.to_string());
    let plain = ("disableTls", "true");
    refused(&Group {
        plugin: "kafka",
        kinds: &["pubsub.kafka", "bindings.kafka"],
        base: &[
            ("brokers", &guarded),
            ("authType", "password"),
            ("saslUsername", Kafka::USER),
            ("saslPassword", SECRET),
            ("topics", "t"),
            ("publishTopic", "t"),
            ("direction", "output"),
        ],
        rows: &[&[
            (&[plain], "saslPassword", "refuse the credentials"),
            (&[plain, ("saslMechanism", "SHA-256")], "saslPassword", "refuse the credentials"),
            (&[plain, ("saslMechanism", "SHA-512")], "saslPassword", "refuse the credentials"),
            (&[plain, ("saslUsername", "nobody")], "saslPassword", "refuse the credentials"),
            (&[("authType", "none")], "authType", "do they want a login?"),
            (&[("brokers", &open)], "disableTls", "PLAINTEXT"),
        ]],
    })
    .await
}

/// Keys that are not known, keys that do not fit each other, and a bucket that is not there.
pub async fn s3_keys(server: &Versitygw) -> Result<()> {
    refused(&Group {
        plugin: "aws",
        kinds: &["bindings.aws.s3", "objects.aws.s3"],
        base: &[
            ("endpoint", server.endpoint()),
            ("region", "us-east-1"),
            ("forcePathStyle", "true"),
            ("accessKey", Versitygw::ACCESS_KEY),
            ("secretKey", SECRET),
            ("bucket", "there-is-none"),
        ],
        rows: &[&[
            (&[("accessKey", "nobody")], "accessKey", "there-is-none"),
            (&[], "secretKey", "there-is-none"),
            (&[("secretKey", Versitygw::SECRET_KEY)], "bucket", "there-is-none"),
        ]],
    })
    .await
}

/// What SQS answers to keys that it does not take; the server of the other tests takes any.
async fn refusing_sqs() -> Result<ScriptedApp> {
    ScriptedApp::start(|asked: Asked| async move {
        let is_known = asked.header("authorization").contains("Credential=known/");
        let (code, message) = match is_known {
            true => ("SignatureDoesNotMatch", "The request signature we calculated does not match yours."),
            false => ("InvalidClientTokenId", "The security token included in the request is invalid."),
        };
        let body = json!({"__type": format!("com.amazonaws.sqs#{code}"), "message": message});
        Scripted::status(403).header("content-type", "application/x-amz-json-1.0").with_body(body.to_string())
    })
    .await
}

/// Keys that SQS does not take.
pub async fn sqs_keys() -> Result<()> {
    let server = refusing_sqs().await?;
    let endpoint = format!("http://127.0.0.1:{}", server.port());
    refused(&Group {
        plugin: "aws",
        kinds: &["pubsub.aws.sqs", "bindings.aws.sqs"],
        base: &[
            ("endpoint", &endpoint),
            ("region", "us-east-1"),
            ("accessKey", "known"),
            ("secretKey", SECRET),
            ("queueName", "orders"),
        ],
        rows: &[&[
            (&[("accessKey", "nobody")], "accessKey", "security token"),
            (&[], "secretKey", "signature"),
        ]],
    })
    .await
}

/// Queues that are not there: that of a binding, and that of a topic where none may be made.
pub async fn missing_queues(sqs: &ElasticMq) -> Result<()> {
    let base: Given<'_> = &[
        ("endpoint", sqs.endpoint()),
        ("region", ElasticMq::REGION),
        ("accessKey", "x"),
        ("secretKey", SECRET),
    ];
    let (binding, pubsub) = ("bindings.aws.sqs", "pubsub.aws.sqs");
    let mecha = runtime()
        .plugin("aws")
        .resources(&component("queue", binding, &[base, &[("queueName", "there-is-none")]]))
        .resources(&component("ps", pubsub, &[base, &[("disableEntityManagement", "true")]]))
        .start()
        .await?;
    let line = refusal(&mecha, "queue", binding).await?;
    ensure!(blames(&line, "queueName", "there-is-none"), "{line}");
    let reply = post(&mecha, "/v1.0/publish/ps/there-is-none", "1").await?;
    fails(&reply, "ERR_PUBSUB_PUBLISH_MESSAGE", &["ps", "there-is-none"])?;
    unharmed(&mecha).await
}

/// Topics that there cannot be.
pub async fn wrong_topics(kafka: &Kafka) -> Result<()> {
    let addr = kafka.addr().to_string();
    let metadata: Given<'_> = &[("brokers", &addr), ("authType", "none")];
    let builder = runtime().plugin("kafka").resources(&component("ps", "pubsub.kafka", &[metadata]));
    let mecha = builder.start().await?;
    let reply = post(&mecha, "/v1.0/publish/ps/no:topic", "1").await?;
    fails(&reply, "ERR_PUBSUB_PUBLISH_MESSAGE", &["ps", "no:topic"])?;
    let reply = post(&mecha, "/v1.0/publish/ps/a-topic", "1").await?;
    ensure!(reply.status == 204, "{}: {}", reply.status, reply.text());
    unharmed(&mecha).await
}
