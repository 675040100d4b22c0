//! What goes wrong says so soon, with the kind that fits and the field that is to blame.

use mecha_backends::Kafka;
use mecha_plugin_api::{Error, ErrorKind};

use super::*;

pub(super) async fn refused(spec: ComponentSpec) -> Error {
    let opening = tokio::time::timeout(Duration::from_secs(15), KafkaPubSub::open(spec));
    opening.await.expect("an answer in 15 s").err().expect("a refusal")
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_named() {
    let begun = Instant::now();
    let error = refused(spec("pubsub.kafka", "127.0.0.1:1", &[])).await;
    assert_eq!((error.kind(), error.field()), (ErrorKind::UNAVAILABLE, Some("brokers")), "{error}");
    assert!(error.message().contains("127.0.0.1:1") && error.is_retriable(), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let error = refused(spec("pubsub.kafka", "nowhere.invalid:9092", &[])).await;
    assert_eq!((error.kind(), error.field()), (ErrorKind::UNAVAILABLE, Some("brokers")), "{error}");
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_and_the_next_one_is_not() {
    let Some(address) = server() else { return };
    let topic = topic(&address, "large", 1).await;
    let pubsub = opened(&address, &[("maxMessageBytes", "2000")]).await;
    let error = pubsub.publish(&context(), message(&topic, &"x".repeat(4000), &[])).await.unwrap_err();
    assert_eq!((error.kind(), error.field()), (ErrorKind::INVALID, Some("maxMessageBytes")), "{error}");
    publish(&pubsub, &topic, "small", &[]).await;
    // The broker's own limit is a mebibyte.
    let pubsub = opened(&address, &[("maxMessageBytes", "4000000")]).await;
    let error = pubsub.publish(&context(), message(&topic, &"x".repeat(2_000_000), &[])).await.unwrap_err();
    assert_eq!((error.kind(), error.field()), (ErrorKind::INVALID, Some("maxMessageBytes")), "{error}");
    publish(&pubsub, &topic, &"y".repeat(900_000), &[]).await;
}

#[tokio::test]
async fn a_topic_that_cannot_be_is_refused_at_once() {
    let Some(address) = server() else { return };
    let pubsub = opened(&address, &[]).await;
    let begun = Instant::now();
    for topic in ["", "..", "with space", "ü", &"x".repeat(250)] {
        let error = pubsub.publish(&context(), message(topic, "x", &[])).await.unwrap_err();
        assert_eq!((error.kind(), error.field()), (ErrorKind::INVALID, Some("topic")), "{topic}: {error}");
        let error = pubsub.source(&request(topic, 1)).await.err().unwrap();
        assert_eq!((error.kind(), error.field()), (ErrorKind::INVALID, Some("topic")), "{topic}: {error}");
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_topic_that_is_not_there_is_made_where_the_brokers_make_topics() {
    let Some(address) = server() else { return };
    let (published, subscribed_to) = (unique("made"), unique("made"));
    let pubsub = opened(&address, &[]).await;
    publish(&pubsub, &published, "x", &[]).await;
    let source = subscribed(&pubsub, &subscribed_to).await;
    publish(&pubsub, &subscribed_to, "y", &[]).await;
    assert_eq!(texts(&pull(&source, 1).await), ["y"]);
}

#[tokio::test]
async fn messages_in_avro_are_refused() {
    let Some(address) = server() else { return };
    let pubsub = opened(&address, &[]).await;
    let metadata = Metadata::from_iter([("valueSchemaType", "Avro")]);
    let error = pubsub.source(&SubscribeRequest { metadata, ..request("t", 1) }).await.err().unwrap();
    assert_eq!(error.field(), Some("valueSchemaType"));
}

#[tokio::test]
async fn credentials_are_checked_when_the_component_opens() {
    if server().is_none() {
        return;
    }
    let shared = Kafka::shared().unwrap();
    let own = if shared.sasl_addr().is_none() { Some(Kafka::start().unwrap()) } else { None };
    let address = own.as_ref().unwrap_or(&shared).sasl_addr().unwrap().to_string();
    for mechanism in ["PLAINTEXT", "SHA-256", "SHA-512"] {
        let with = |password| {
            let fields = [
                ("authType", "password"),
                ("saslMechanism", mechanism),
                ("saslUsername", Kafka::USER),
                ("saslPassword", password),
                ("disableTls", "true"),
            ];
            spec("pubsub.kafka", &address, &fields)
        };
        let pubsub = KafkaPubSub::open(with(Kafka::PASSWORD)).await.unwrap();
        let topic = unique("secured");
        let source = subscribed(&pubsub, &topic).await;
        publish(&pubsub, &topic, mechanism, &[]).await;
        assert_eq!(texts(&pull(&source, 1).await), [mechanism]);

        let begun = Instant::now();
        let error = refused(with("not-the-password")).await;
        assert_eq!((error.kind(), error.field()), (ErrorKind::DENIED, Some("saslPassword")), "{error}");
        assert!(!error.is_retriable() && !error.message().contains("not-the-password"), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
    // TLS where the broker speaks none, and no login where it wants one.
    let tls = [("authType", "password"), ("saslUsername", "u"), ("saslPassword", "p")];
    let error = refused(spec("pubsub.kafka", &address, &tls)).await;
    assert_eq!((error.kind(), error.field()), (ErrorKind::UNAVAILABLE, Some("disableTls")), "{error}");
    let error = refused(spec("pubsub.kafka", &address, &[])).await;
    assert_eq!((error.kind(), error.field()), (ErrorKind::UNAVAILABLE, Some("authType")), "{error}");
}
