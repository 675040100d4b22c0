//! Brokers that make no topics, played by librdkafka's own.

use mecha_plugin_api::ErrorKind;
use rdkafka::mocking::MockCluster;
use rdkafka::types::RDKafkaRespErr;

use super::*;

#[tokio::test]
async fn a_topic_that_is_missing_is_named_rather_than_a_time_limit() {
    let brokers = MockCluster::new(1).unwrap();
    brokers.topic_error("missing", RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART).unwrap();
    let pubsub = opened(&brokers.bootstrap_servers(), &[("writeTimeout", "1s")]).await;
    let refused = pubsub.publish(&context(), message("missing", "x", &[])).await.unwrap_err();
    assert_eq!((refused.kind(), refused.field()), (ErrorKind::NOT_FOUND, Some("topic")), "{refused}");
    assert!(refused.message().contains("there is no topic missing"), "{refused}");
    pubsub.publish(&context(), message("present", "x", &[])).await.unwrap();
}
