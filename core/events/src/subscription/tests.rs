//! Subscriptions of every origin, and which of them hold.

use mecha_resources::SubscriptionRule;

use super::*;
use crate::{Event, Message};

fn compiler() -> RuleCompiler {
    RuleCompiler::new()
}

fn read(answer: &str) -> Programmatic {
    read_programmatic(answer.as_bytes(), &compiler()).unwrap()
}

fn rules(spec: &SubscriptionSpec) -> Vec<(&str, &str)> {
    spec.rules.as_slice().iter().map(|rule| (rule.condition(), rule.path())).collect()
}

fn parts() -> Parts {
    Parts { pubsub: "ps".into(), topic: "t".into(), ..Parts::default() }
}

#[test]
fn reads_an_applications_list() {
    let read = read(
        r#"[
        {"pubsubname":"ps","topic":"a","route":"/a","metadata":{"rawPayload":"true","n":5},"deadLetterTopic":"dead"},
        {"PubsubName":"ps","topic":"b","routes":{"rules":[{"match":" event.type == 'x' ","path":"/x"},{"Path":"/y"}],
            "default":"/d"},"route":"/ignored","bulkSubscribe":{"enabled":true,"maxMessagesCount":10,"maxAwaitDurationMs":40}},
        {"pubsubname":"ps","topic":"c","routes":{"rules":[{"match":"","path":"/123"}]},"route":"/abc","metadata":null}
        ] trailing"#,
    );
    assert_eq!(read.refused, []);
    let [a, b, c] = read.subscriptions.as_slice() else { panic!("{:?}", read.subscriptions) };
    assert_eq!((a.pubsub.as_str(), a.topic.as_str(), rules(a)), ("ps", "a", vec![("", "/a")]));
    assert_eq!(
        (a.raw_payload(), a.metadata["n"].as_str(), a.dead_letter_topic.as_deref()),
        (Ok(true), "5", Some("dead"))
    );
    assert_eq!(a.bulk, Bulk { enabled: false, max_messages: 100, max_await: Duration::from_secs(1) });
    assert_eq!((a.origin, a.name.as_deref()), (Origin::Programmatic, None));
    assert_eq!(rules(b), [("event.type == 'x'", "/x"), ("", "/y"), ("", "/d")]);
    assert_eq!(b.bulk, Bulk { enabled: true, max_messages: 10, max_await: Duration::from_millis(40) });
    assert_eq!((rules(c), c.dead_letter_topic.as_deref()), (vec![("", "/123"), ("", "/abc")], None));
}

#[test]
fn drops_invalid_entries_one_by_one() {
    let read = read(
        r#"[
        {"pubsubname":"ps","topic":"empty"},
        {"pubsubname":"ps","topic":"bad","route":"/a","routes":{"rules":[{"match":"event.type ==","path":"/x"}]}},
        {"topic":"t","route":"/a"},
        {"pubsubname":"ps","route":"/a"},
        {"pubsubname":"ps","topic":5,"route":"/a"},
        {"pubsubname":"ps","topic":"t","route":"/a","metadata":{"a":{}}},
        {"pubsubname":"ps","topic":"t","route":"/a","bulkSubscribe":{"maxMessagesCount":1e99}},
        "text", null, [[]],
        {"pubsubname":"ps","topic":"good","route":"/good"}
        ]"#,
    );
    let topics: Vec<&str> = read.subscriptions.iter().map(|spec| spec.topic.as_str()).collect();
    assert_eq!(topics, ["good"]);
    let places: Vec<usize> = read.refused.iter().map(|refused| refused.index).collect();
    assert_eq!(places, (0..10).collect::<Vec<_>>());
    assert_eq!(
        read.refused[0].reason.to_string(),
        "topic empty has an empty routes. removing from subscriptions list"
    );
    assert!(
        matches!(&read.refused[1].reason, SubscriptionError::Rule(error) if error.condition == "event.type ==")
    );
    assert_eq!(
        (&read.refused[2].reason, &read.refused[3].reason),
        (&SubscriptionError::NoPubSub, &SubscriptionError::NoTopic)
    );
    for refused in &read.refused {
        assert!(!refused.to_string().contains('\n'), "{refused}");
    }
}

#[test]
fn drops_an_entry_that_nests_too_deep_and_keeps_the_others() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let read = read(&format!(r#"[{deep}, {{"pubsubname":"ps","topic":"t","route":"/"}}]"#));
    assert_eq!((read.subscriptions.len(), read.refused.len()), (1, 1));
}

#[test]
fn takes_silence_for_an_empty_list_and_refuses_what_is_none() {
    for answer in ["", "  \n", "null", "[]"] {
        assert_eq!(read(answer), Programmatic::default(), "{answer}");
    }
    for answer in ["{}", "garbage", "[{]", "5", "[{\"topic\":\"t\"}"] {
        let error = read_programmatic(answer.as_bytes(), &compiler()).unwrap_err();
        assert!(error.to_string().starts_with("error getting topics from app: "), "{error}");
    }
}

#[test]
fn takes_parts_of_the_grpc_protocol() {
    let spec = SubscriptionSpec::from_grpc(parts(), &compiler()).unwrap();
    assert_eq!(rules(&spec), [("", "")]);
    let rule = ("event.type == 'x'".to_owned(), "/x".to_owned());
    let routed = Parts { rules: vec![rule], default_route: "/d".into(), ..parts() };
    let spec = SubscriptionSpec::from_grpc(routed.clone(), &compiler()).unwrap();
    assert_eq!(rules(&spec), [("event.type == 'x'", "/x"), ("", "/d")]);
    let spec = SubscriptionSpec::streaming(routed, &compiler()).unwrap();
    assert_eq!((rules(&spec), spec.origin), (vec![("", "/")], Origin::Streaming));
    let nameless = Parts { pubsub: String::new(), ..parts() };
    assert_eq!(SubscriptionSpec::streaming(nameless, &compiler()), Err(SubscriptionError::NoPubSub));
}

#[test]
fn takes_a_resource() {
    let rule = SubscriptionRule { condition: "event.type == 'x'".into(), path: "/x".into() };
    let resource = Subscription {
        name: "sub".into(),
        pubsub_name: "ps".into(),
        topic: "t".into(),
        rules: vec![rule],
        default_route: "/d".into(),
        ..Subscription::default()
    };
    let spec = SubscriptionSpec::declarative(&resource, &compiler()).unwrap();
    assert_eq!((spec.name.as_deref(), spec.origin), (Some("sub"), Origin::Declarative));
    let message =
        Message { data: br#"{"type":"x"}"#, content_type: "", topic: "t", pubsub: "ps", raw_payload: false };
    assert_eq!(spec.rules.route(&Event::read(message, []).unwrap()), Ok(Some("/x")));
    assert_eq!(spec, SubscriptionSpec::declarative(&resource, &compiler()).unwrap());

    let without_routes = Subscription { rules: Vec::new(), default_route: String::new(), ..resource };
    assert!(SubscriptionSpec::declarative(&without_routes, &compiler()).unwrap().rules.is_empty());
}

#[test]
fn keeps_the_last_resource_of_a_name_that_is_in_scope() {
    let resource = |name: &str, topic: &str, scopes: &[&str]| Subscription {
        name: name.into(),
        topic: topic.into(),
        scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        ..Subscription::default()
    };
    let all = [
        resource("a", "1", &[]),
        resource("b", "2", &["app"]),
        resource("a", "3", &[]),
        resource("b", "4", &["else"]),
    ];
    let topics: Vec<String> = in_scope(all, "app").into_iter().map(|resource| resource.topic).collect();
    assert_eq!(topics, ["2", "3"]);
}

#[test]
fn lets_the_application_have_the_last_word() {
    let spec = |topic: &str, path: &str, origin| {
        let parts = Parts { topic: topic.into(), default_route: path.into(), ..parts() };
        SubscriptionSpec { origin, ..SubscriptionSpec::from_http(parts, &compiler()).unwrap() }
    };
    let declared = [("a", "/1"), ("a", "/2"), ("b", "/3")].map(|(t, p)| spec(t, p, Origin::Declarative));
    let named = [("b", "/4"), ("b", "/5"), ("c", "/6")].map(|(t, p)| spec(t, p, Origin::Programmatic));
    let effective = effective(declared, named);
    let paths: Vec<&str> = effective.iter().map(|spec| rules(spec)[0].1).collect();
    assert_eq!(paths, ["/1", "/5", "/6"]);
}
