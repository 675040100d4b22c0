//! Components that cannot work as they are declared: each is refused, or its calls fail, with an error that names the component,
//! the field and the way out. No secret is told, and whatever else is declared works.

#[path = "../support/broker.rs"]
mod broker;
mod certificates;
mod messages;
#[path = "../support/redis.rs"]
mod redis;
mod refusals;
mod servers;
mod tables;

use broker::Broker;
use mecha_backends::{ElasticMq, Kafka, Versitygw, optional};
use refusals::{Group, Row, SECRET, refused};

async fn all_refused(groups: &[&Group<'_>]) {
    let mut wrong = Vec::new();
    for group in groups {
        if let Err(error) = refused(group).await {
            wrong.push(format!("{error:#}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn redis_metadata() {
    all_refused(&[&tables::ON_REDIS, &tables::REDIS_STATE, &tables::REDIS_PUBSUB]).await;
}

#[tokio::test]
async fn kafka_metadata() {
    all_refused(&[&tables::ON_KAFKA, &tables::KAFKA_BINDING]).await;
}

#[tokio::test]
async fn aws_metadata() {
    all_refused(&[&tables::ON_SQS, &tables::SQS_BINDING, &tables::S3_BINDING, &tables::S3_OBJECTS]).await;
}

#[tokio::test]
async fn metadata_of_what_runs_on_this_machine() {
    all_refused(&[
        &tables::SQLITE_STATE,
        &tables::SQLITE_PUBSUB,
        &tables::MEMORY_PUBSUB,
        &tables::LOCAL_STORAGE,
        &tables::CRON,
        &tables::HTTP,
        &tables::CRYPTO,
    ])
    .await;
}

#[tokio::test]
async fn files_of_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let broken = write("broken", format!(r#"{{"password": {SECRET}}}"#));
    let list = write("list", format!(r#"["{SECRET}"]"#));
    let none = [("secretsFile", "/no/such/file")];
    let (broken, list) = ([("secretsFile", broken.as_str())], [("secretsFile", list.as_str())]);
    let flagged = [list[0], ("multiValued", "perhaps")];
    let rows: [Row<'_>; 5] = [
        (&[], "secretsFile", "missing local secrets file"),
        (&none, "secretsFile", "/no/such/file cannot be read"),
        (&broken, "secretsFile", "is not JSON"),
        (&list, "secretsFile", "holds no JSON object"),
        (&flagged, "multiValued", tables::NO_FLAG),
    ];
    let group =
        Group { plugin: "local-secrets", kinds: &["secretstores.local.file"], base: &[], rows: &[&rows] };
    all_refused(&[&group]).await;
}

#[tokio::test]
async fn redis_logins_and_rights() {
    servers::redis_passwords().await.unwrap();
    servers::redis_rights().await.unwrap();
}

#[tokio::test]
async fn keys_of_aws() {
    servers::sqs_keys().await.unwrap();
    let Some(s3) = optional(Versitygw::start()).unwrap() else { return };
    servers::s3_keys(&s3).await.unwrap();
}

#[tokio::test]
async fn what_kafka_refuses() {
    let Some(kafka) = optional(Kafka::shared()).unwrap() else { return };
    servers::kafka_logins(&kafka).await.unwrap();
    servers::wrong_topics(&kafka).await.unwrap();
    messages::too_large_for_kafka(&kafka).await.unwrap();
}

#[tokio::test]
async fn what_sqs_refuses() {
    let Some(sqs) = optional(ElasticMq::shared()).unwrap() else { return };
    servers::missing_queues(&sqs).await.unwrap();
    messages::too_large_for_sqs(&sqs).await.unwrap();
}

#[tokio::test]
async fn what_is_too_large_for_redis() {
    messages::too_large_for_redis().await.unwrap();
}

#[tokio::test]
async fn certificates_that_have_expired() {
    certificates::on_redis().await.unwrap();
    certificates::on_kafka().await.unwrap();
    certificates::on_http_and_aws().await.unwrap();
}

#[tokio::test]
async fn messages_that_always_fail() {
    let mut wrong = Vec::new();
    for broker in Broker::all() {
        let ends = [
            ("with dead letters", messages::poison(broker).await),
            ("without", messages::poison_without_dead_letters(broker).await),
        ];
        for (how, end) in ends {
            wrong.extend(end.err().map(|error| format!("{broker:?} {how}: {error:#}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
