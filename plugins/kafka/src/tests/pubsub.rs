//! What is published, and what of it comes out.

use mecha_plugin_api::pubsub::BulkEntry;

use super::*;

const OLDEST: (&str, &str) = ("initialOffset", "oldest");

#[tokio::test]
async fn key_headers_and_position_come_out_as_metadata() {
    let Some(address) = server() else { return };
    let topic = topic(&address, "headers", 3).await;
    let pubsub = opened(&address, &[]).await;
    let source = subscribed(&pubsub, &topic).await;
    let metadata =
        [("partitionKey", "customer 7"), ("x-custom", "größer"), ("tracestate", "a=1"), ("baggage", "u=1")];
    pubsub.publish(&sampled(), message(&topic, r#"{"order":7}"#, &metadata)).await.unwrap();
    let delivery = pull(&source, 1).await.remove(0);
    assert_eq!((text(&delivery), delivery.topic.as_str()), (r#"{"order":7}"#, topic.as_str()));
    assert_eq!(delivery.redelivered, 0);
    let found = |name: &str| delivery.metadata.get(name);
    assert_eq!(found("__key"), Some("customer 7"));
    assert_eq!((found("__topic"), found("__offset")), (Some(topic.as_str()), Some("0")));
    assert_eq!(delivery.ordering_key.as_str(), format!("{topic}/{}", found("__partition").unwrap()));
    assert!(found("__timestamp").unwrap().parse::<u64>().unwrap() > 1_600_000_000_000);
    for (name, value) in &metadata {
        assert_eq!(found(name), Some(*value));
    }
    assert_eq!(&found("traceparent").unwrap()[3..35], "07".repeat(16));
    ack(&source, &[delivery]).await;
}

#[tokio::test]
async fn headers_are_escaped_and_left_out_where_the_component_says_so() {
    let Some(address) = server() else { return };
    let topic = topic(&address, "rules", 1).await;
    let rules = [("escapeHeaders", "true"), ("excludeHeaderMetaRegex", "^secret")];
    let pubsub = opened(&address, &rules).await;
    let source = subscribed(&pubsub, &topic).await;
    publish(&pubsub, &topic, "x", &[("a", "b c/ü"), ("secret-one", "s"), ("__key", "k/1")]).await;
    let delivery = pull(&source, 1).await.remove(0);
    assert_eq!(delivery.metadata.get("a"), Some("b+c%2F%C3%BC"));
    assert_eq!(delivery.metadata.get("__key"), Some("k%2F1"));
    assert_eq!(delivery.metadata.get("secret-one"), None);
}

#[tokio::test]
async fn a_key_goes_to_one_partition_and_keeps_its_order() {
    let Some(address) = server() else { return };
    let topic = topic(&address, "keys", 4).await;
    let pubsub = opened(&address, &[]).await;
    let source = subscribed(&pubsub, &topic).await;
    for number in 0..40 {
        let key = ["a", "b", "c", "d", "e"][number % 5];
        publish(&pubsub, &topic, &number.to_string(), &[("partitionKey", key)]).await;
    }
    let all = pull(&source, 40).await;
    let mut partitions = std::collections::BTreeSet::new();
    for key in ["a", "b", "c", "d", "e"] {
        let of_key: Vec<_> = all.iter().filter(|one| one.metadata.get("__key") == Some(key)).collect();
        assert!(of_key.iter().all(|one| one.ordering_key == of_key[0].ordering_key), "{key}");
        let numbers: Vec<usize> = of_key.iter().map(|one| text(one).parse().unwrap()).collect();
        assert!(numbers.is_sorted() && numbers.len() == 8, "{key}: {numbers:?}");
        partitions.insert(of_key[0].ordering_key.to_string());
    }
    assert!(partitions.len() > 1, "all keys went to {partitions:?}");
}

#[tokio::test]
async fn a_partition_can_be_named() {
    let Some(address) = server() else { return };
    let topic = topic(&address, "number", 3).await;
    let pubsub = opened(&address, &[]).await;
    let source = subscribed(&pubsub, &topic).await;
    for number in ["2", "0", "1"] {
        publish(&pubsub, &topic, number, &[("partitionNumber", number)]).await;
    }
    for delivery in pull(&source, 3).await {
        assert_eq!(delivery.metadata.get("__partition"), Some(text(&delivery)));
    }
    let begun = Instant::now();
    let refused = pubsub.publish(&context(), message(&topic, "x", &[("partitionNumber", "9")])).await;
    assert_eq!(refused.unwrap_err().field(), Some("partitionNumber"));
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_bulk_travels_together_and_each_entry_has_its_own_result() {
    let Some(address) = server() else { return };
    let topic = topic(&address, "bulk", 2).await;
    let pubsub = opened(&address, &[]).await;
    let source = subscribed(&pubsub, &topic).await;
    let entry = |number: usize| {
        let partition = if number == 13 { "x" } else { "1" };
        BulkEntry {
            entry_id: number.to_string().into(),
            data: Buf::from(number.to_string()),
            content_type: "text/plain".into(),
            metadata: Metadata::from_iter([("partitionNumber", partition), ("own", "entry")]),
        }
    };
    let request = Metadata::from_iter([("own", "request"), ("other", "request")]);
    let entries = (0..200).map(entry).collect();
    let failed = pubsub.bulk_publish(&context(), &topic, entries, request).await.unwrap();
    let failed: Vec<_> = failed.iter().map(|one| (one.entry_id.as_str(), one.error.field())).collect();
    assert_eq!(failed, [("13", Some("partitionNumber"))]);
    let mut seen = Vec::new();
    while seen.len() < 199 {
        let batch = pull(&source, 1).await;
        ack(&source, &batch).await;
        seen.extend(batch);
    }
    let expected: Vec<String> =
        (0..200).filter(|number| *number != 13).map(|number| number.to_string()).collect();
    assert_eq!(texts(&seen), expected);
    assert_eq!(seen[0].metadata.get("own"), Some("entry"));
    assert_eq!(seen[0].metadata.get("other"), Some("request"));
}

#[tokio::test]
async fn every_compression_is_read_again() {
    let Some(address) = server() else { return };
    let topic = topic(&address, "compressed", 1).await;
    let long = "compressible ".repeat(10_000);
    for word in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let pubsub = opened(&address, &[("compression", word)]).await;
        publish(&pubsub, &topic, &long, &[("how", word)]).await;
    }
    let pubsub = opened(&address, &[OLDEST, ("consumerGroup", &unique("g"))]).await;
    let source = subscribed(&pubsub, &topic).await;
    let all = pull(&source, 5).await;
    assert!(all.iter().all(|delivery| text(delivery) == long));
    assert_eq!(all.last().unwrap().metadata.get("how"), Some("zstd"));
}

#[tokio::test]
async fn the_initial_offset_is_where_a_new_group_begins_and_only_there() {
    let Some(address) = server() else { return };
    let topic = topic(&address, "initial", 1).await;
    let (old, new) = (unique("old"), unique("new"));
    let oldest = opened(&address, &[OLDEST, ("consumerGroup", &old)]).await;
    let newest = opened(&address, &[("initialOffset", "newest"), ("consumerGroup", &new)]).await;
    publish(&oldest, &topic, "before", &[]).await;
    let (from_old, from_new) = (subscribed(&oldest, &topic).await, subscribed(&newest, &topic).await);
    publish(&oldest, &topic, "after", &[]).await;
    assert_eq!(texts(&pull(&from_old, 2).await), ["before", "after"]);
    assert_eq!(texts(&pull(&from_new, 1).await), ["after"]);
    // Nothing was settled: whoever comes next begins where the group began, not at the new end.
    from_new.close(&context()).await.unwrap();
    publish(&oldest, &topic, "later", &[]).await;
    let heir = subscribed(&newest, &topic).await;
    assert_eq!(texts(&pull(&heir, 2).await), ["after", "later"]);
}

#[tokio::test]
async fn the_backlog_is_what_the_group_has_not_finished() {
    let Some(address) = server() else { return };
    let topic = topic(&address, "backlog", 2).await;
    let group = unique("g");
    let pubsub = opened(&address, &[OLDEST, ("consumerGroup", &group)]).await;
    for number in ["0", "1", "1"] {
        publish(&pubsub, &topic, number, &[("partitionNumber", number)]).await;
    }
    assert_eq!(pubsub.backlog(&context(), &topic).await.unwrap(), Some(3));
    let source = subscribed(&pubsub, &topic).await;
    let all = pull(&source, 3).await;
    assert_eq!(pubsub.backlog(&context(), &topic).await.unwrap(), Some(3), "taken is not finished");
    let of_first: Vec<_> = all.into_iter().filter(|delivery| text(delivery) == "0").collect();
    ack(&source, &of_first).await;
    wait_for_commit(&address, &group, &topic, &[Some(1), Some(0)]).await;
    assert_eq!(pubsub.backlog(&context(), &topic).await.unwrap(), Some(2));
}

#[tokio::test]
async fn a_message_without_a_value_is_jsons_null() {
    let Some(address) = server() else { return };
    let topic = topic(&address, "tombstone", 1).await;
    let pubsub = opened(&address, &[]).await;
    let source = subscribed(&pubsub, &topic).await;
    let producer: rdkafka::producer::BaseProducer =
        ClientConfig::new().set("bootstrap.servers", &address).create().unwrap();
    let record = rdkafka::producer::BaseRecord::<str, [u8]>::to(&topic).key("gone");
    producer.send(record).map_err(|(error, _)| error).unwrap();
    rdkafka::producer::Producer::flush(&producer, WAIT).unwrap();
    let delivery = pull(&source, 1).await.remove(0);
    assert_eq!((text(&delivery), delivery.metadata.get("__key")), ("null", Some("gone")));
}
