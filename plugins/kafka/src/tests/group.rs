//! Groups: what is committed and when, who gets which partition, what comes again after a crash.

use std::collections::BTreeSet;

use super::*;

fn settings(group: &str) -> [(&str, &str); 2] {
    [("consumerGroup", group), ("initialOffset", "oldest")]
}

/// Takes and acknowledges what several members get until `count` different messages were seen; gives what each got.
async fn share(sources: &[&GroupSource], count: usize) -> Vec<Vec<String>> {
    let (mut got, mut seen) = (vec![Vec::new(); sources.len()], BTreeSet::new());
    let deadline = Instant::now() + WAIT;
    while seen.len() < count {
        assert!(Instant::now() < deadline, "{} of {count} came", seen.len());
        for (got, source) in got.iter_mut().zip(sources) {
            let came = source.next(&context(), 10, Duration::from_millis(50)).await.unwrap();
            ack(source, &came).await;
            seen.extend(came.iter().map(|delivery| text(delivery).to_owned()));
            got.extend(came.iter().map(|delivery| text(delivery).to_owned()));
        }
    }
    got
}

#[tokio::test]
async fn a_partition_is_committed_up_to_the_first_message_without_an_answer() {
    let Some(address) = server() else { return };
    let (topic, group) = (topic(&address, "commit", 2).await, unique("g"));
    let pubsub = opened(&address, &settings(&group)).await;
    let source = subscribed(&pubsub, &topic).await;
    for number in 0..6 {
        publish(&pubsub, &topic, &number.to_string(), &[("partitionNumber", "0")]).await;
    }
    publish(&pubsub, &topic, "other", &[("partitionNumber", "1")]).await;
    let all = pull(&source, 7).await;
    let (other, of_first): (Vec<_>, Vec<_>) = all.into_iter().partition(|one| text(one) == "other");
    assert_eq!(texts(&of_first), ["0", "1", "2", "3", "4", "5"]);
    ack(&source, &of_first[2..4]).await;
    ack(&source, &of_first[..1]).await;
    ack(&source, &other).await;
    wait_for_commit(&address, &group, &topic, &[Some(1), Some(1)]).await;
    ack(&source, &of_first[1..2]).await;
    wait_for_commit(&address, &group, &topic, &[Some(4), Some(1)]).await;
    // What is rejected is done as well.
    settle(&source, &of_first[4..5], Outcome::REJECT, Duration::ZERO).await;
    wait_for_commit(&address, &group, &topic, &[Some(5), Some(1)]).await;
}

#[tokio::test]
async fn what_had_no_answer_comes_again_and_nothing_else() {
    let Some(address) = server() else { return };
    let (topic, group) = (topic(&address, "crash", 1).await, unique("g"));
    let pubsub = opened(&address, &settings(&group)).await;
    let source = subscribed(&pubsub, &topic).await;
    for number in 0..5 {
        publish(&pubsub, &topic, &number.to_string(), &[]).await;
    }
    let all = pull(&source, 5).await;
    ack(&source, &all[..2]).await;
    wait_for_commit(&address, &group, &topic, &[Some(2)]).await;
    ack(&source, &all[3..4]).await;
    // As a crash would: nothing is closed, nothing is given back.
    drop(source);
    let heir = subscribed(&pubsub, &topic).await;
    assert_eq!(texts(&pull(&heir, 3).await), ["2", "3", "4"], "3 was answered, but 2 before it was not");
    assert_quiet(&heir).await;
}

#[tokio::test]
async fn closing_commits_what_was_answered_at_the_last_moment() {
    let Some(address) = server() else { return };
    let (topic, group) = (topic(&address, "close", 1).await, unique("g"));
    let pubsub = opened(&address, &settings(&group)).await;
    let source = subscribed(&pubsub, &topic).await;
    publish(&pubsub, &topic, "1", &[]).await;
    publish(&pubsub, &topic, "2", &[]).await;
    let all = pull(&source, 2).await;
    ack(&source, &all[..1]).await;
    source.close(&context()).await.unwrap();
    assert_eq!(committed(&address, &group, &topic, 1), [Some(1)]);
    let heir = subscribed(&pubsub, &topic).await;
    assert_eq!(texts(&pull(&heir, 1).await), ["2"]);
}

#[tokio::test]
async fn members_of_a_group_share_the_partitions() {
    let Some(address) = server() else { return };
    for strategy in ["range", "sticky", "roundrobin"] {
        let (topic, group) = (topic(&address, "share", 4).await, unique("g"));
        let [group, offset] = settings(&group);
        let pubsub = opened(&address, &[group, offset, ("consumerGroupRebalanceStrategy", strategy)]).await;
        let (first, second) = (subscribed(&pubsub, &topic).await, subscribed(&pubsub, &topic).await);
        let mut round = 0;
        // The first member may get everything until it has given up half of its partitions.
        loop {
            round += 1;
            assert!(round < 20, "{strategy}: one member gets everything");
            for number in 0..8 {
                let partition = (number % 4).to_string();
                let data = format!("{round}-{number}");
                publish(&pubsub, &topic, &data, &[("partitionNumber", &partition)]).await;
            }
            let got = share(&[&first, &second], 8).await;
            if got.iter().all(|of_one| of_one.len() == 4) {
                break;
            }
        }
        // Who stays gets everything.
        first.close(&context()).await.unwrap();
        for number in 0..4 {
            publish(&pubsub, &topic, &format!("last-{number}"), &[("partitionNumber", &number.to_string())])
                .await;
        }
        assert_eq!(share(&[&second], 4).await[0].len(), 4, "{strategy}");
    }
}

#[tokio::test]
async fn two_groups_get_everything_each() {
    let Some(address) = server() else { return };
    let topic = topic(&address, "groups", 1).await;
    let (a, b) = (unique("a"), unique("b"));
    let (first, second) = (opened(&address, &settings(&a)).await, opened(&address, &settings(&b)).await);
    let (from_first, from_second) = (subscribed(&first, &topic).await, subscribed(&second, &topic).await);
    publish(&first, &topic, "1", &[]).await;
    assert_eq!(texts(&pull(&from_first, 1).await), ["1"]);
    assert_eq!(texts(&pull(&from_second, 1).await), ["1"]);
}

#[tokio::test]
async fn a_handover_waits_for_the_answer_and_delivers_nothing_twice() {
    let Some(address) = server() else { return };
    let (topic, group) = (topic(&address, "handover", 2).await, unique("g"));
    let pubsub = opened(&address, &settings(&group)).await;
    let first = subscribed(&pubsub, &topic).await;
    for number in 0..4 {
        let partition = (number % 2).to_string();
        publish(&pubsub, &topic, &number.to_string(), &[("partitionNumber", &partition)]).await;
    }
    let out = pull(&first, 4).await;
    // The application answers while the second member joins.
    let (second, ()) = tokio::join!(subscribed(&pubsub, &topic), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        ack(&first, &out).await;
    });
    wait_for_commit(&address, &group, &topic, &[Some(2), Some(2)]).await;
    assert_quiet(&first).await;
    assert_quiet(&second).await;
}

#[tokio::test]
async fn no_more_than_allowed_is_out() {
    let Some(address) = server() else { return };
    let (topic, group) = (topic(&address, "limit", 1).await, unique("g"));
    let pubsub = opened(&address, &settings(&group)).await;
    let source = pubsub.source(&request(&topic, 2)).await.unwrap();
    for number in 0..3 {
        publish(&pubsub, &topic, &number.to_string(), &[]).await;
    }
    let out = pull(&source, 2).await;
    assert_quiet(&source).await;
    ack(&source, &out[..1]).await;
    assert_eq!(texts(&pull(&source, 1).await), ["2"]);
}

#[tokio::test]
async fn a_pull_that_is_given_up_loses_nothing() {
    let Some(address) = server() else { return };
    let (topic, group) = (topic(&address, "cancel", 1).await, unique("g"));
    let pubsub = opened(&address, &settings(&group)).await;
    let source = subscribed(&pubsub, &topic).await;
    let mut got = Vec::new();
    for round in 0..50_u64 {
        publish(&pubsub, &topic, &round.to_string(), &[]).await;
        let context = context();
        let next = source.next(&context, 100, WAIT);
        if let Ok(came) = tokio::time::timeout(Duration::from_micros(round * 100), next).await {
            got.extend(came.unwrap());
        }
    }
    got.extend(pull(&source, 50 - got.len()).await);
    assert_eq!(texts(&got), (0..50).map(|round| round.to_string()).collect::<Vec<_>>());
}
