//! Conditions against what Dapr's engine makes of the same expressions.

use super::*;
use crate::Message;

const EVENT: &str = r#"{"id":"1","type":"order","source":"shop","time":"2021-08-02T09:00:00Z","nil":null,"list":[1,2,3],
    "data":{"a":42,"neg":-1,"f":1.5,"s":"text","deep":{"x":[{"y":"z"}]},"é":"ü"},"big":9007199254740993}"#;

fn event() -> Event<'static> {
    let message =
        Message { data: EVENT.as_bytes(), content_type: "", topic: "t", pubsub: "ps", raw_payload: false };
    Event::read(message, []).unwrap()
}

/// What becomes of the event under one rule: `true`, `false`, `error`, `not boolean`, or `refused`.
fn outcome(condition: &str) -> &'static str {
    let compiler = RuleCompiler::new();
    let Ok(rule) = compiler.rule(condition, "/path") else { return "refused" };
    match compiler.rules(vec![rule]).route(&event()) {
        Ok(Some("/path")) => "true",
        Ok(Some(_)) => "another path",
        Ok(None) => "false",
        Err(RoutingError::NotBoolean(_)) => "not boolean",
        Err(_) => "error",
    }
}

fn all(expected: &str, conditions: &[&str]) {
    for condition in conditions {
        assert_eq!(outcome(condition), expected, "{condition}");
    }
}

#[test]
fn is_true_where_daprs_engine_is() {
    all(
        "true",
        &[
            "event.type == 'order'",
            r#"event["type"] == "order""#,
            "'type' in event",
            "event.data.a == 42",
            "event.data.a == 42u",
            "event.data.a == 42.0",
            "event.data.a > 41 && event.data.neg < 0",
            "event.data.a in [1, 42]",
            "event.list == [1, 2, 3]",
            "int(event.data.a) % 2 == 0",
            "event.data.a + 1.0 == 43.0",
            "has(event.data.a) && !has(event.data.b)",
            "has(event.nil) && event.nil == null",
            "event.missing == 1 || true",
            "true || event.missing",
            "!(event.missing == 1 && false)",
            "nosuchvar || true",
            "event.data.s.matches('^t.x') && event.data.s.matches('ex')",
            "event.data.s.startsWith('te') && event.data.s.endsWith('xt') && event.data.s.contains('ex')",
            "size(event.data.s) == 4 && event.data.s.size() == 4 && size('ü') == 1",
            "event.list.exists(x, x > 2) && event.list.all(x, x > 0) && event.list.exists_one(x, x == 2)",
            "event.list.map(x, x * 2.0) == [2.0, 4.0, 6.0] && event.list.filter(x, x > 1) == [2.0, 3.0]",
            "event.data.deep.x[0].y == 'z'",
            "timestamp(event.time) < timestamp('2022-01-01T00:00:00Z')",
            "timestamp(event.time).getFullYear() == 2021",
            "duration('1h') > duration('59m')",
            "type(event.data.a) == double",
            "event.data.s == \"text\" // a comment",
            "event.data.s == 5 ? false : true",
            "1.0 / 0.0 > 1e300",
            "event.big == 9007199254740992.0",
            "  true  ",
            "",
            "   ",
        ],
    );
}

#[test]
fn is_false_where_daprs_engine_is() {
    all(
        "false",
        &[
            "event.type == 'x'",
            "event.data.s == 5",
            "event.data == 'x'",
            "'x' in event.data",
            "event.nil == 1",
        ],
    );
}

#[test]
fn fails_where_daprs_engine_fails() {
    all(
        "error",
        &[
            "event.missing",
            "event.missing == 1",
            "event.data.missing.deeper == 1",
            "nosuchvar == 1",
            "event.data.a + 1 == 43",
            "event.data.a % 2 == 0",
            "event.data.a / 0 == 1",
            "event.data.s > 5",
            "event.time < timestamp('2022-01-01T00:00:00Z')",
            "9223372036854775807 + 1 > 0",
            "1 / 0 == 1",
            "event.list[7] == 1",
        ],
    );
    all("not boolean", &["event.type", "1", "event.data", "null", "[true]"]);
}

#[test]
fn refuses_at_load_what_never_works() {
    all(
        "refused",
        &[
            "event.type ==",
            "event.type = 'x'",
            "event.type == 'a' and true",
            "event.?type == 'x'",
            "event.`a`",
            "event.in",
            "event.nofunc()",
            "event.type.lowerAscii() == 'x'",
            "math.greatest(1, 2) == 2",
            "optional.none() == 1",
            "1 == 1.0",
            "1u == 1",
            "1 < 1.5",
            "'a' + 1 == 'a1'",
            "google.protobuf.Timestamp{seconds: 1} == 1",
        ],
    );
    let error = RuleCompiler::new().rule("event.nofunc()", "/").unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid match expression `event.nofunc()`: undeclared reference to 'nofunc'"
    );
    let error = RuleCompiler::new().rule("event.type ==\n", "/").unwrap_err();
    assert!(!error.reason.is_empty() && !error.reason.contains('\n'), "{error}");
}

#[test]
fn knows_every_standard_function() {
    all(
        "true",
        &[
            "bool('true') && bytes('a') == b'a' && double('1.5') == 1.5 && dyn(1) == 1 && int('5') == 5",
            "string(5) == '5' && uint('5') == 5u && type(1) == int",
            "timestamp('2021-08-02T09:01:02Z').getDate() == 2 && timestamp('2021-08-02T09:01:02Z').getDayOfMonth() == 1",
            "timestamp('2021-08-02T09:01:02Z').getDayOfWeek() == 1 && timestamp('2021-08-02T09:01:02Z').getDayOfYear() == 213",
            "timestamp('2021-08-02T09:01:02Z').getHours() == 9 && timestamp('2021-08-02T09:01:02Z').getMinutes() == 1",
            "timestamp('2021-08-02T09:01:02Z').getSeconds() == 2 && timestamp('2021-08-02T09:01:02Z').getMonth() == 7",
            "timestamp('2021-08-02T09:01:02.003Z').getMilliseconds() == 3",
        ],
    );
}

fn routed(rules: &[(&str, &str)]) -> Result<Option<String>, RoutingError> {
    let compiler = RuleCompiler::new();
    let rules = rules.iter().map(|(condition, path)| compiler.rule(condition, *path).unwrap()).collect();
    compiler.rules(rules).route(&event()).map(|path| path.map(str::to_owned))
}

#[test]
fn tries_rules_in_order() {
    let first = routed(&[("event.type == 'x'", "/x"), ("event.type == 'order'", "/order"), ("", "/default")]);
    assert_eq!(first.unwrap().as_deref(), Some("/order"));
    assert_eq!(routed(&[("", "/any"), ("true", "/true")]).unwrap().as_deref(), Some("/any"));
    assert_eq!(routed(&[("false", "/a")]).unwrap(), None);
    assert_eq!(routed(&[]).unwrap(), None);
    assert!(matches!(routed(&[("event.missing", "/a"), ("", "/default")]), Err(RoutingError::Failed { .. })));
    let error = routed(&[("event.type", "/a"), ("", "/default")]).unwrap_err();
    assert_eq!(error.to_string(), "the result of match expression event.type was not a boolean");
}

#[test]
fn reads_only_what_rules_name() {
    let deep = format!(r#"{{"type":"a","data":{}{}}}"#, "[".repeat(500), "]".repeat(500));
    let message =
        Message { data: deep.as_bytes(), content_type: "", topic: "t", pubsub: "ps", raw_payload: false };
    let event = Event::read(message, []).unwrap();
    let compiler = RuleCompiler::new();
    let rules = |condition| compiler.rules(vec![compiler.rule(condition, "/a").unwrap()]);
    assert_eq!(rules("event.type == 'a' || has(event.x)").route(&event), Ok(Some("/a")));
    for whole in
        ["event.data == 1", "event == event", "'type' in event", "[1].exists(x, event['type'] == 'a')"]
    {
        assert!(matches!(rules(whole).route(&event), Err(RoutingError::Field { .. })), "{whole}");
    }
}

#[test]
fn sees_raw_and_binary_events_as_dapr_shows_them() {
    let compiler = RuleCompiler::new();
    let rules = |condition| compiler.rules(vec![compiler.rule(condition, "/a").unwrap()]);
    let message = Message { data: b"raw", content_type: "", topic: "t", pubsub: "ps", raw_payload: true };
    let raw = Event::read(message, []).unwrap();
    assert_eq!(rules("event.data_base64 == 'cmF3' && event.topic == 't'").route(&raw), Ok(Some("/a")));
    let message = Message { content_type: "application/octet-stream", raw_payload: false, ..message };
    let binary = Event::read(message, [("ce_type", "x")]).unwrap();
    assert_eq!(rules("event.data == b'raw' && event.type == 'x'").route(&binary), Ok(Some("/a")));
    assert_eq!(rules("event == 'raw'").route_raw(b"raw"), Ok(Some("/a")));
}

#[test]
fn survives_hostile_expressions() {
    let parentheses = |n| format!("{}true{}", "(".repeat(n), ")".repeat(n));
    let sum = |n| format!("1{} > 0", "+1".repeat(n));
    assert_eq!(outcome(&parentheses(60)), "true");
    assert_eq!(outcome(&sum(200)), "true");
    let conditions = [
        parentheses(200),
        sum(300),
        sum(8000),
        format!("event{}", "[0]".repeat(5000)),
        format!("event{}", ".a".repeat(8000)),
        format!("event{}", ".size()".repeat(2000)),
        format!("{}{}", "[".repeat(8000), "]".repeat(8000)),
        format!("{}true", "true ? true : ".repeat(1000)),
        "x".repeat(MAX_LENGTH + 1),
    ];
    for condition in &conditions {
        assert_eq!(outcome(condition), "refused", "{}", &condition[..40]);
    }
    let many = format!("event.type == 'a'{}", " || event.type == 'order'".repeat(500));
    assert_eq!(outcome(&many), "true");
}

#[test]
fn compares_rules_by_what_they_say() {
    let compiler = RuleCompiler::new();
    let rules = |path| compiler.rules(vec![compiler.rule(" true ", path).unwrap()]);
    assert_eq!(rules("/a"), rules("/a"));
    assert_ne!(rules("/a"), rules("/b"));
    assert_eq!((rules("/a").as_slice()[0].condition(), rules("/a").as_slice()[0].path()), ("true", "/a"));
}
