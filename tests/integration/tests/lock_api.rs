//! Locks over both protocols, on Redis.

use std::time::Duration;

use anyhow::Result;
use mecha_backends::Redis;
use mecha_proto::error_model::StatusExt;
use mecha_proto::runtime::v1 as pb;
use mecha_proto::runtime::v1::unlock_response::Status as Word;
use mecha_testkit::{Mecha, eventually};
use serde_json::{Value, json};
use tonic::Code;

const SOON: Duration = Duration::from_secs(20);

async fn on(redis: &Redis) -> Mecha {
    let addr = redis.addr().to_string();
    let builder = Mecha::builder().app_id(redis.key_prefix()).plugin("redis");
    builder.component_with("locks", "lock.redis", &[("redisHost", addr.as_str())]).start().await.unwrap()
}

async fn post(mecha: &Mecha, path: &str, body: &Value) -> Result<(u16, Value)> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let reply = mecha.http().post(&mecha.http_url(&format!("/v1.0-alpha1/{path}")), body).await?;
    Ok((reply.status.as_u16(), reply.json().unwrap_or_default()))
}

#[tokio::test]
async fn a_lock_has_one_owner_until_it_is_given_back_or_expires() {
    let redis = Redis::shared().unwrap();
    let mecha = on(&redis).await;
    let lock = |owner: &str, seconds: i32| json!({"resourceId": "r", "lockOwner": owner, "expiryInSeconds": seconds});
    let unlock = |owner: &str| json!({"resourceId": "r", "lockOwner": owner});
    let call = |path: &'static str, body: Value| {
        let mecha = &mecha;
        async move { post(mecha, path, &body).await.unwrap() }
    };
    assert_eq!(call("unlock/locks", unlock("a")).await, (200, json!({"status": 1})));
    assert_eq!(call("lock/locks", lock("a", 60)).await, (200, json!({"success": true})));
    assert_eq!(call("lock/locks", lock("b", 60)).await, (200, json!({"success": false})));
    assert_eq!(call("unlock/locks", unlock("b")).await, (200, json!({"status": 2})));
    assert_eq!(call("unlock/locks", unlock("a")).await, (200, json!({"status": 0})));
    assert_eq!(call("lock/locks", lock("b", 1)).await, (200, json!({"success": true})));
    eventually(SOON, || async {
        let (_, answer) = post(&mecha, "lock/locks", &lock("c", 60)).await?;
        anyhow::ensure!(answer == json!({"success": true}), "b's lock is still there");
        Ok(())
    })
    .await
    .unwrap();

    let mut client = mecha.grpc().await.unwrap();
    let request = |owner: &str| pb::TryLockRequest {
        store_name: "locks".to_owned(),
        resource_id: "r".to_owned(),
        lock_owner: owner.to_owned(),
        expiry_in_seconds: 60,
    };
    assert!(!client.try_lock_alpha1(request("d")).await.unwrap().into_inner().success);
    let request = |owner: &str, resource: &str| pb::UnlockRequest {
        store_name: "locks".to_owned(),
        resource_id: resource.to_owned(),
        lock_owner: owner.to_owned(),
    };
    for (owner, resource, word) in
        [("d", "r", Word::LockBelongsToOthers), ("c", "r", Word::Success), ("c", "r", Word::LockDoesNotExist)]
    {
        let answer = client.unlock_alpha1(request(owner, resource)).await.unwrap().into_inner();
        assert_eq!(answer.status(), word);
    }
}

#[tokio::test]
async fn every_error_has_dapr_s_text_in_dapr_s_order() {
    let redis = Redis::shared().unwrap();
    let (some, none) = (on(&redis).await, Mecha::builder().app_id("app1").start().await.unwrap());
    let error = |code: &str, message: &str| json!({"errorCode": code, "message": message});
    let malformed = |message: &str| (400, error("ERR_MALFORMED_REQUEST", message));
    let not_found = (400, error("ERR_LOCK_STORE_NOT_FOUND", "lock store none not found"));
    let not_positive = "ExpiryInSeconds is not positive in lock store";
    for (path, body, expected) in [
        (
            "lock/locks",
            json!({"resourceId": "r", "lockOwner": "o"}),
            malformed(&format!("{not_positive} locks")),
        ),
        ("lock/locks", json!({"expiryInSeconds": -1}), malformed(&format!("{not_positive} locks"))),
        ("lock/locks", Value::Null, malformed(&format!("{not_positive} locks"))),
        (
            "lock/locks",
            json!({"lockOwner": "o", "expiryInSeconds": 1}),
            malformed("ResourceId is empty in lock store locks"),
        ),
        (
            "lock/locks",
            json!({"resourceId": "r", "expiryInSeconds": 1}),
            malformed("LockOwner is empty in lock store locks"),
        ),
        ("lock/none", json!({"resourceId": "r", "lockOwner": "o", "expiryInSeconds": 1}), not_found.clone()),
        ("unlock/locks", Value::Null, malformed("ResourceId is empty in lock store locks")),
        ("unlock/locks", json!({"resourceId": "r"}), malformed("LockOwner is empty in lock store locks")),
        ("unlock/none", json!({"resourceId": "r", "lockOwner": "o"}), not_found),
    ] {
        assert_eq!(post(&some, path, &body).await.unwrap(), expected, "{path} {body}");
    }
    let not_configured = (500, error("ERR_LOCK_STORE_NOT_CONFIGURED", "lock store is not configured"));
    let lock = json!({"resourceId": "r", "lockOwner": "o", "expiryInSeconds": 1});
    assert_eq!(post(&none, "lock/locks", &lock).await.unwrap(), not_configured);
    assert_eq!(post(&none, "unlock/locks", &Value::Null).await.unwrap(), not_configured);
    let (status, body) =
        post(&some, "lock/locks", &json!({"resourceId": "a||b", "lockOwner": "o", "expiryInSeconds": 1}))
            .await
            .unwrap();
    assert_eq!((status, &body["errorCode"]), (500, &json!("ERR_TRY_LOCK")), "{body}");
    assert!(body["message"].as_str().unwrap().starts_with("failed to try acquiring lock: "), "{body}");
    let (status, body) =
        post(&some, "unlock/locks", &json!({"resourceId": "a||b", "lockOwner": "o"})).await.unwrap();
    assert_eq!((status, &body["errorCode"]), (500, &json!("ERR_UNLOCK")), "{body}");
    let (status, body) = post(&some, "lock/locks", &json!("no object")).await.unwrap();
    assert_eq!((status, &body["errorCode"]), (400, &json!("ERR_MALFORMED_REQUEST")), "{body}");

    for (mecha, store, code, message) in [
        (&some, "none", Code::InvalidArgument, "lock store none not found"),
        (&none, "locks", Code::FailedPrecondition, "lock store is not configured"),
    ] {
        let mut client = mecha.grpc().await.unwrap();
        let request = pb::TryLockRequest {
            store_name: store.to_owned(),
            resource_id: "r".to_owned(),
            lock_owner: "o".to_owned(),
            expiry_in_seconds: 1,
        };
        let status = client.try_lock_alpha1(request).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (code, message));
        assert!(status.get_details_error_info().is_none(), "{status:?}");
    }
}
