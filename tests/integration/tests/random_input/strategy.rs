//! Random requests: mostly of a shape that gets past the first check, since what lies behind it is what may break.

use bytes::Bytes;
use proptest::collection::{hash_map, vec};
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::select;
use serde_json::{Map, Value, json};

use crate::grpc_raw::frame;
use crate::{LIMIT, raw_http};

/// Every route, its parameters in braces, and paths that are none. The end of the process stays out.
const ROUTES: [&str; 29] = [
    "/v1.0/state/{store}",
    "/v1.0/state/{store}/{any}",
    "/v1.0/state/{store}/bulk",
    "/v1.0/state/{store}/transaction",
    "/v1.0-alpha1/state/{store}/query",
    "/v1.0/secrets/{secrets}/bulk",
    "/v1.0/secrets/{secrets}/{any}",
    "/v1.0/bindings/{binding}",
    "/v1.0/metadata",
    "/v1.0/metadata/{any}",
    "/v1.0/healthz",
    "/v1.0/healthz/outbound",
    // Building blocks that are not there yet, or not configured.
    "/v1.0/publish/{any}/{any}",
    "/v1.0/publish/bulk/{any}/{any}",
    "/v1.0/invoke/{any}/method/{any}",
    "/v1.0/configuration/{any}",
    "/v1.0/actors/{any}/{any}/method/{any}",
    "/v1.0/actors/{any}/{any}/state/{any}",
    "/v1.0-alpha1/lock/{any}",
    "/v1.0-beta1/workflows/{any}/{any}/start",
    "/v1.0/jobs/{any}",
    "/v1.0-alpha1/crypto/{any}/encrypt",
    "/v1.0-alpha1/conversation/{any}/converse",
    "/v1.0-alpha2/conversation/{any}/converse",
    "/v1.0/{any}",
    "/{any}/{any}/{any}",
    "/{any}",
    "/",
    "*",
];

const METHODS: [&str; 9] = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "BREW"];

/// Names that exist stand among those that do not.
const NAMES: [(&str, &[&str]); 3] = [
    ("{store}", &["store", "database", "store", "database", "none", ""]),
    ("{secrets}", &["env", "env", "none"]),
    ("{binding}", &["web", "web", "none"]),
];

/// A request as it goes on the wire.
#[derive(Debug, Clone)]
pub struct HttpRequest {
    pub method: &'static str,
    target: String,
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl HttpRequest {
    pub fn bytes(&self) -> Vec<u8> {
        let mut headers = vec![("connection", "close")];
        headers.extend(self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        raw_http::request(self.method, self.target.as_bytes(), &headers, &self.body)
    }
}

pub fn http_request() -> impl Strategy<Value = HttpRequest> {
    let parts = (select(&METHODS[..]), target(), headers(), body());
    parts.prop_map(|(method, target, headers, body)| HttpRequest { method, target, headers, body })
}

/// A route with its parameters filled in, and a query.
fn target() -> impl Strategy<Value = String> {
    let filled =
        (select(&ROUTES[..]), vec(segment(), 4), any::<usize>()).prop_map(|(route, segments, pick)| {
            let mut path = route.to_owned();
            for (name, values) in NAMES {
                path = path.replace(name, values[pick % values.len()]);
            }
            segments.iter().fold(path, |path, segment| path.replacen("{any}", segment, 1))
        });
    (filled, query()).prop_map(|(path, query)| match path.as_str() {
        // Has no query by its grammar.
        "*" => path,
        _ => path + &query,
    })
}

/// What stands between two slashes: any bytes escaped, characters that need no escape, or traps.
fn segment() -> impl Strategy<Value = String> {
    let escaped = vec(any::<u8>(), 0..12).prop_map(|bytes| escape(&bytes));
    let text = any::<String>().prop_map(|text| escape(text.as_bytes()));
    const TRAPS: [&str; 15] = [
        "",
        ".",
        "..",
        "%2e%2e",
        "a%7C%7Cb",
        "%2F",
        "%00",
        "bulk",
        "transaction",
        "%25",
        "+",
        "a//b",
        "k;v=1",
        "%zz",
        "%",
    ];
    prop_oneof![4 => "[a-z]{1,8}", 2 => escaped, 2 => text, 2 => select(&TRAPS[..]).prop_map(str::to_owned)]
}

fn escape(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("%{byte:02x}")).collect()
}

fn query() -> impl Strategy<Value = String> {
    const NAMES: [&str; 8] = [
        "metadata.ttlInSeconds",
        "metadata.a",
        "consistency",
        "concurrency",
        "appid",
        "",
        "%zz",
        "metadata.",
    ];
    let pairs = vec((select(&NAMES[..]), segment()), 0..4);
    pairs.prop_map(|pairs| {
        let text: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if text.is_empty() { String::new() } else { format!("?{}", text.join("&")) }
    })
}

fn headers() -> impl Strategy<Value = Vec<(String, String)>> {
    const NAMES: [&str; 9] = [
        "content-type",
        "if-match",
        "traceparent",
        "tracestate",
        "baggage",
        "dapr-api-token",
        "accept-encoding",
        "x-forwarded-for",
        "grpc-trace-bin",
    ];
    let values = prop_oneof![
            "[!-~]{0,40}",
            select(
                &[
                    "application/json",
                    "a=1",
                    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                    "gzip"
                ][..]
            )
            .prop_map(str::to_owned),
        ];
    vec((select(&NAMES[..]).prop_map(str::to_owned), values), 0..3)
}

fn body() -> impl Strategy<Value = Bytes> {
    let bytes = vec(any::<u8>(), 0..200).prop_map(Bytes::from);
    let broken = (json_value(), any::<usize>()).prop_map(|(value, at)| {
        let text = value.to_string().into_bytes();
        let length = at % (text.len() + 1);
        Bytes::from(text).slice(..length)
    });
    let deep = (1..3000_usize).prop_map(|depth| Bytes::from("[".repeat(depth)));
    let large = (0..2 * LIMIT)
        .prop_map(|length| Bytes::from(json!([{"key": "k", "value": "x".repeat(length)}]).to_string()));
    prop_oneof![
        2 => bytes,
        3 => json_value().prop_map(|value| Bytes::from(value.to_string())),
        8 => shaped().prop_map(|value| Bytes::from(value.to_string())),
        2 => broken,
        1 => deep,
        1 => large,
    ]
}

/// Any JSON.
fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            hash_map(any::<String>(), inner, 0..4)
                .prop_map(|map| Value::from(map.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Mostly what a field should hold, sometimes anything.
fn field(expected: impl Strategy<Value = Value> + 'static) -> impl Strategy<Value = Value> {
    prop_oneof![6 => expected, 1 => json_value()]
}

fn text() -> impl Strategy<Value = Value> {
    prop_oneof![3 => "[a-c]{1,2}".prop_map(Value::from), 1 => any::<String>().prop_map(Value::from)]
}

/// Strings by name, some of which mean something.
fn metadata() -> impl Strategy<Value = Value> {
    let names = prop_oneof![
        select(&["ttlInSeconds", "contentType", "path", "Host", "X-A"][..]).prop_map(str::to_owned),
        any::<String>()
    ];
    let values = prop_oneof![
        select(&["1", "-1", "99999999999999999999", "soon", "application/json"][..]).prop_map(Value::from),
        text()
    ];
    hash_map(names, values, 0..3).prop_map(|map| Value::from(map.into_iter().collect::<Map<_, _>>()))
}

/// An item of a save or of a transaction's step, with any of its fields left out.
fn item() -> impl Strategy<Value = Value> {
    let options = select(&["first-write", "last-write", "strong", "eventual", "bogus"][..])
        .prop_map(|word| json!({"concurrency": word, "consistency": word}));
    let fields = (field(text()), json_value(), field(text()), field(metadata()), field(options), any::<u8>());
    fields.prop_map(|(key, value, etag, metadata, options, present)| {
        let all =
            [("key", key), ("value", value), ("etag", etag), ("metadata", metadata), ("options", options)];
        // The key is there unless three bits say otherwise, so that most items get further.
        let has =
            |index: usize| if index == 0 { present & 0b1110_0000 != 0 } else { present & (1 << index) != 0 };
        let chosen = all.into_iter().enumerate().filter(|(index, _)| has(*index));
        Value::from(chosen.map(|(_, (name, value))| (name.to_owned(), value)).collect::<Map<_, _>>())
    })
}

/// A body of some route's shape.
fn shaped() -> impl Strategy<Value = Value> {
    let save = vec(item(), 0..4).prop_map(Value::from);
    let bulk = (field(vec(text(), 0..4).prop_map(Value::from)), field(any::<i8>().prop_map(Value::from)))
        .prop_map(|(keys, parallelism)| json!({"keys": keys, "parallelism": parallelism}));
    let operation = field(select(&["upsert", "delete", "paint"][..]).prop_map(Value::from));
    let step = (operation, field(item()))
        .prop_map(|(operation, request)| json!({"operation": operation, "request": request}));
    let transaction =
        field(vec(step, 0..4).prop_map(Value::from)).prop_map(|operations| json!({"operations": operations}));
    let operation =
        field(select(&["get", "create", "delete", "trace", "paint", ""][..]).prop_map(Value::from));
    let binding = (operation, json_value(), field(metadata())).prop_map(
        |(operation, data, metadata)| json!({"operation": operation, "data": data, "metadata": metadata}),
    );
    prop_oneof![3 => save, 1 => bulk, 2 => transaction, 1 => binding]
}

/// Every method but the end of the process, and some that are none.
const RPCS: [&str; 13] = [
    "Dapr/GetState",
    "Dapr/GetBulkState",
    "Dapr/SaveState",
    "Dapr/DeleteState",
    "Dapr/DeleteBulkState",
    "Dapr/ExecuteStateTransaction",
    "Dapr/InvokeBinding",
    "Dapr/GetSecret",
    "Dapr/GetBulkSecret",
    "Dapr/GetMetadata",
    "Dapr/SetMetadata",
    "Dapr/PublishEvent",
    "Nobody/Nothing",
];

/// A method's path and a body: random bytes as a frame or bare, or a message whose fields are strings and submessages.
pub fn grpc_request() -> impl Strategy<Value = (String, Bytes)> {
    let message =
        vec((1..7_u8, prop_oneof![2 => names(), 1 => vec(any::<u8>(), 0..20), 1 => submessage()]), 0..5)
            .prop_map(|fields| encoded(&fields));
    let body = prop_oneof![
        4 => message.prop_map(|message| frame(&message)),
        2 => vec(any::<u8>(), 0..60).prop_map(|bytes| frame(&bytes)),
        1 => vec(any::<u8>(), 0..60).prop_map(Bytes::from),
    ];
    (select(&RPCS[..]), body).prop_map(|(rpc, body)| (format!("/dapr.proto.runtime.v1.{rpc}"), body))
}

fn names() -> impl Strategy<Value = Vec<u8>> {
    select(&["store", "database", "env", "web", "key", "a||b", "upsert", "get"][..])
        .prop_map(|name| name.as_bytes().to_vec())
}

fn submessage() -> impl Strategy<Value = Vec<u8>> {
    vec((1..6_u8, names()), 0..4).prop_map(|fields| encoded(&fields))
}

/// Fields of the kind "length and bytes", each shorter than 128.
fn encoded(fields: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut message = Vec::new();
    for (number, value) in fields {
        let value = &value[..value.len().min(127)];
        message.push(number << 3 | 2);
        message.push(u8::try_from(value.len()).unwrap_or_default());
        message.extend_from_slice(value);
    }
    message
}
