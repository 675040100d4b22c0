//! The binding's operations, on keys as any Redis client sees them.

use mecha_plugin_api::ErrorKind;
use mecha_plugin_api::binding::{InvokeRequest, InvokeResponse, OutputBinding};

use super::*;
use crate::binding::RedisBinding;

async fn started() -> (Redis, RedisBinding) {
    let redis = Redis::start().unwrap();
    let binding = RedisBinding::open(spec(&redis, &[])).await.unwrap();
    (redis, binding)
}

async fn invoke(
    binding: &RedisBinding,
    operation: &str,
    data: &str,
    metadata: &[(&str, &str)],
) -> Result<InvokeResponse> {
    let metadata = Metadata::from_iter(metadata.iter().copied());
    let request = InvokeRequest { operation: operation.into(), data: Buf::from(data.to_owned()), metadata };
    binding.invoke(&context(), request).await
}

#[tokio::test]
async fn a_key_is_created_read_and_deleted() {
    let (redis, binding) = started().await;
    assert_eq!(binding.operations(), ["create", "delete", "get", "increment"]);
    let key = ("key", "k");
    invoke(&binding, "create", "{\"a\":1}", &[key]).await.unwrap();
    assert_eq!(run::<String>(&mut raw(&redis), "GET k"), "{\"a\":1}");
    assert_eq!(run::<i64>(&mut raw(&redis), "TTL k"), -1);
    assert_eq!(&*invoke(&binding, "get", "", &[key]).await.unwrap().data, b"{\"a\":1}");
    assert_eq!(&*invoke(&binding, "get", "", &[key, ("delete", "true")]).await.unwrap().data, b"{\"a\":1}");
    assert!(invoke(&binding, "get", "", &[key]).await.unwrap().data.is_empty());
    invoke(&binding, "create", "x", &[key]).await.unwrap();
    invoke(&binding, "delete", "", &[key]).await.unwrap();
    assert_eq!(run::<i64>(&mut raw(&redis), "EXISTS k"), 0);
}

#[tokio::test]
async fn a_key_counts_and_expires() {
    let (redis, binding) = started().await;
    let mut raw = raw(&redis);
    let timed = [("key", "n"), ("ttlInSeconds", "100")];
    invoke(&binding, "increment", "", &timed[..1]).await.unwrap();
    invoke(&binding, "increment", "", &timed).await.unwrap();
    assert_eq!(run::<i64>(&mut raw, "GET n"), 2);
    assert!(run::<i64>(&mut raw, "TTL n") > 90);
    invoke(&binding, "create", "x", &timed).await.unwrap();
    assert!(run::<i64>(&mut raw, "TTL n") > 90);
    let error = invoke(&binding, "increment", "", &timed).await.unwrap_err();
    assert!(error.message().contains("not an integer"), "{error}");
}

#[tokio::test]
async fn wrong_requests_are_refused_and_change_nothing() {
    let (redis, binding) = started().await;
    let error = invoke(&binding, "create", "x", &[]).await.unwrap_err();
    assert_eq!(error.message(), "redis binding: missing key in request metadata");
    let error = invoke(&binding, "create", "x", &[("key", "k"), ("ttlInSeconds", "soon")]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::INVALID, "{error}");
    let error = invoke(&binding, "increment", "", &[("key", "k"), ("ttlInSeconds", "-1")]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::INVALID, "{error}");
    let error = invoke(&binding, "explode", "", &[("key", "k")]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UNSUPPORTED, "{error}");
    assert_eq!(run::<i64>(&mut raw(&redis), "DBSIZE"), 0);
    let _: i64 = run(&mut raw(&redis), "LPUSH k 1");
    let error = invoke(&binding, "get", "", &[("key", "k")]).await.unwrap_err();
    assert!(error.message().contains("WRONGTYPE"), "{error}");
}
