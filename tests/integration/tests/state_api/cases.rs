//! What every store must do over every protocol. Each case has keys of its own.

use std::time::Duration;

use anyhow::ensure;
use mecha_testkit::eventually;
use tonic::Code;

use crate::store::{Backend, Protocol, Step, Store, Write};

const SOON: Duration = Duration::from_secs(15);
const MISMATCH: &str = "possible etag mismatch. error from state store";

async fn value(store: &Store, key: &str) -> Option<String> {
    store.get(key).await.unwrap().map(|item| item.text().to_owned())
}

async fn etag(store: &Store, key: &str) -> String {
    store.get(key).await.unwrap().unwrap().etag.unwrap()
}

pub async fn saves_gets_and_deletes(store: Store) {
    let key = store.key("plain");
    assert_eq!(store.get(&key).await.unwrap(), None);
    store.delete(&key, None).await.unwrap();
    let values = [r#""text""#, "null", "true", "[]", "{}", r#"{"a":[1,{"b":null}],"ü":"<é & \"x\">"}"#, "0"];
    for expected in values {
        store.save_one(Write::new(&key, expected)).await.unwrap();
        assert_eq!(value(&store, &key).await.as_deref(), Some(expected));
        assert!(!etag(&store, &key).await.is_empty());
    }
    store.delete(&key, None).await.unwrap();
    assert_eq!(store.get(&key).await.unwrap(), None);
}

pub async fn keys_may_hold_any_character(store: Store) {
    for odd in ["a/b", "a b+c", "100%", "käse", "a|b", "?q=1&r#s", "..", "a//b", "\"quoted\"", "{}", "-"] {
        let key = format!("{odd}{}", store.key("odd"));
        store.save_one(Write::new(&key, r#""v""#)).await.unwrap();
        assert_eq!(value(&store, &key).await.as_deref(), Some(r#""v""#), "{key}");
        assert_eq!(store.bulk_get(&[&key]).await.unwrap()[0].key, key);
        store.delete(&key, None).await.unwrap();
        assert_eq!(value(&store, &key).await, None, "{key}");
    }
}

pub async fn etags_guard_writes(store: Store) {
    let key = store.key("etag");
    store.save_one(Write::new(&key, "1")).await.unwrap();
    let first = etag(&store, &key).await;
    store.save_one(Write::new(&key, "2").etag(&first)).await.unwrap();
    let second = etag(&store, &key).await;
    assert_ne!(first, second);

    let stale = store.save_one(Write::new(&key, "3").etag(&first)).await.unwrap_err();
    let text = format!("failed saving state in state store {}: {MISMATCH}", store.name);
    stale.assert(409, Code::Aborted, "ERR_STATE_SAVE", &text);
    let stale = store.delete(&key, Some(&first)).await.unwrap_err();
    let text = format!("failed deleting state with key {key}: {MISMATCH}");
    stale.assert(409, Code::Aborted, "ERR_STATE_DELETE", &text);
    assert_eq!(value(&store, &key).await.as_deref(), Some("2"));

    store.delete(&key, Some(&second)).await.unwrap();
    assert_eq!(store.get(&key).await.unwrap(), None);
    // An empty etag is none.
    store.save_one(Write::new(&key, "4").etag("")).await.unwrap();
    store.save_one(Write::new(&key, "5").etag("")).await.unwrap();
    assert_eq!(value(&store, &key).await.as_deref(), Some("5"));
}

/// Redis counts versions, so that a text is no etag there; the others compare texts.
pub async fn an_etag_that_is_none_is_refused(store: Store) {
    let key = store.key("bogus");
    store.save_one(Write::new(&key, "1")).await.unwrap();
    let refused = store.save_one(Write::new(&key, "2").etag("bogus")).await.unwrap_err();
    match store.backend {
        Backend::Redis => {
            let text = "invalid etag value: strconv.Atoi: parsing \"bogus\": invalid syntax";
            refused.assert(400, Code::InvalidArgument, "ERR_STATE_SAVE", text);
        }
        Backend::Memory | Backend::Sqlite => {
            refused.assert(409, Code::Aborted, "ERR_STATE_SAVE", MISMATCH);
        }
    }
    assert_eq!(value(&store, &key).await.as_deref(), Some("1"));
}

pub async fn first_write_wins_when_asked_for(store: Store) {
    let key = store.key("first");
    store.save_one(Write::new(&key, "1").first_write()).await.unwrap();
    let second = store.save_one(Write::new(&key, "2").first_write()).await.unwrap_err();
    match store.backend {
        // Without an etag Dapr's Redis store does not count this as an etag's failure.
        Backend::Redis => second.assert(500, Code::Internal, "ERR_STATE_SAVE", "failed to set key"),
        Backend::Memory | Backend::Sqlite => second.assert(409, Code::Aborted, "ERR_STATE_SAVE", MISMATCH),
    }
    assert_eq!(value(&store, &key).await.as_deref(), Some("1"));
    let current = etag(&store, &key).await;
    store.save_one(Write::new(&key, "3").first_write().etag(&current)).await.unwrap();
    assert_eq!(value(&store, &key).await.as_deref(), Some("3"));
    let stale = store.save_one(Write::new(&key, "4").first_write().etag(&current)).await.unwrap_err();
    stale.assert(409, Code::Aborted, "ERR_STATE_SAVE", MISMATCH);
}

pub async fn values_expire(store: Store) {
    let [long, short, none] = ["long", "short", "none"].map(|part| store.key(&format!("ttl-{part}")));
    let ttl = |key: &str, seconds: &str| Write::new(key, "1").metadata("ttlInSeconds", seconds);
    store.save(&[ttl(&long, "1000"), ttl(&short, "1"), ttl(&none, "-1")]).await.unwrap();
    let item = store.get(&long).await.unwrap().unwrap();
    match store.backend {
        // Dapr's Redis store does not tell the time.
        Backend::Redis => assert_eq!(item.ttl_expire_time, None),
        Backend::Memory | Backend::Sqlite => assert_rfc3339(&item.ttl_expire_time.unwrap()),
    }
    assert_eq!(store.get(&none).await.unwrap().unwrap().ttl_expire_time, None);
    eventually(SOON, || async {
        let found = store.get(&short).await.unwrap();
        ensure!(found.is_none(), "{found:?}");
        Ok(())
    })
    .await
    .unwrap();
    let all = store.bulk_get(&[&short, &long]).await.unwrap();
    assert_eq!(all[0].item, None);
    assert_eq!(all[1].item.as_ref().unwrap().text(), "1");
    // What has expired is absent for the first writer too.
    store.save_one(Write::new(&short, "2").first_write()).await.unwrap();
    assert_eq!(value(&store, &short).await.as_deref(), Some("2"));

    let wrong = store.save_one(ttl(&long, "soon")).await.unwrap_err();
    wrong.assert(500, Code::Internal, "ERR_STATE_SAVE", "failed saving state in state store");
}

#[track_caller]
fn assert_rfc3339(time: &str) {
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00T00:00:00Z", "{time}");
}

pub async fn bulk_get_answers_each_key_in_order(store: Store) {
    let [a, b, missing] = ["a", "b", "missing"].map(|part| store.key(&format!("bulk-{part}")));
    store.save(&[Write::new(&a, r#"{"n":1}"#), Write::new(&b, r#""b""#)]).await.unwrap();
    let found = store.bulk_get(&[&b, &missing, &a]).await.unwrap();
    let keys: Vec<_> = found.iter().map(|item| item.key.as_str()).collect();
    assert_eq!(keys, [&b, &missing, &a]);
    assert!(found.iter().all(|item| item.error.is_empty()), "{found:?}");
    let values: Vec<_> = found.iter().map(|found| found.item.as_ref().map(|item| item.text())).collect();
    assert_eq!(values, [Some(r#""b""#), None, Some(r#"{"n":1}"#)]);
    for (index, key) in [(0, &b), (2, &a)] {
        assert_eq!(found[index].item.as_ref().unwrap().etag, Some(etag(&store, key).await));
    }
    assert_eq!(store.bulk_get(&[]).await.unwrap(), []);
}

pub async fn one_stale_item_fails_a_list_and_the_others_are_stored(store: Store) {
    let [good, stale] = ["good", "stale"].map(|part| store.key(&format!("list-{part}")));
    store.save_one(Write::new(&stale, "1")).await.unwrap();
    let old = etag(&store, &stale).await;
    store.save_one(Write::new(&stale, "2")).await.unwrap();
    let list = [Write::new(&stale, "3").etag(&old), Write::new(&good, "1")];
    let refused = store.save(&list).await.unwrap_err();
    refused.assert(409, Code::Aborted, "ERR_STATE_SAVE", MISMATCH);
    assert_eq!(value(&store, &stale).await.as_deref(), Some("2"));
    assert_eq!(value(&store, &good).await.as_deref(), Some("1"));
}

pub async fn a_transaction_is_all_or_nothing(store: Store) {
    let [kept, gone, new] = ["kept", "gone", "new"].map(|part| store.key(&format!("transaction-{part}")));
    store.save(&[Write::new(&kept, "1"), Write::new(&gone, "1")]).await.unwrap();
    let old = etag(&store, &kept).await;
    let steps = [
        Step::Upsert(Write::new(&kept, r#"{"n":2}"#).etag(&old)),
        Step::delete(&gone),
        Step::Upsert(Write::new(&new, r#""new""#)),
    ];
    store.transact(&steps).await.unwrap();
    let all = store.bulk_get(&[&kept, &gone, &new]).await.unwrap();
    let values: Vec<_> = all.iter().map(|found| found.item.as_ref().map(|item| item.text())).collect();
    assert_eq!(values, [Some(r#"{"n":2}"#), None, Some(r#""new""#)]);

    let conflict = [
        Step::Upsert(Write::new(&gone, "3")),
        Step::delete(&new),
        Step::Upsert(Write::new(&kept, "3").etag(&old)),
    ];
    let refused = store.transact(&conflict).await.unwrap_err();
    let text = format!("error while executing state transaction: {MISMATCH}");
    refused.assert(500, Code::Internal, "ERR_STATE_TRANSACTION", &text);
    let stale_delete = Step::Delete(Write::new(&kept, "").etag(&old));
    let refused = store.transact(&[Step::delete(&new), stale_delete]).await.unwrap_err();
    refused.assert(500, Code::Internal, "ERR_STATE_TRANSACTION", &text);
    let after = store.bulk_get(&[&kept, &gone, &new]).await.unwrap();
    assert_eq!(all, after);
    store.transact(&[]).await.unwrap();
}

/// Numbers that a double cannot hold, and the digits of those it can, come back as they were sent.
pub async fn numbers_survive(store: Store) {
    let key = store.key("numbers");
    let text = r#"{"big":12345678901234567890,"exact":1.50,"tiny":1e-7,"list":[0.1,-0]}"#;
    store.save_one(Write::new(&key, text)).await.unwrap();
    assert_eq!(value(&store, &key).await.as_deref(), Some(text));
    store.transact(&[Step::Upsert(Write::new(&key, text))]).await.unwrap();
    assert_eq!(value(&store, &key).await.as_deref(), Some(text));
    assert_eq!(value(&store.other_protocol(), &key).await.as_deref(), Some(text));
}

pub async fn an_empty_list_is_no_error(store: Store) {
    store.save(&[]).await.unwrap();
}

/// Over gRPC a value is any bytes, and both protocols give them back; over HTTP a string keeps its quotes.
pub async fn values_are_the_same_over_both_protocols(store: Store) {
    let (key, other) = (store.key("bytes"), store.other_protocol());
    let values: &[&[u8]] = match store.protocol {
        Protocol::Grpc => &[b"\x00\xff\xfe binary \x80", b"plain text", b"\"json\"", b"{\"broken\":"],
        Protocol::Http => &[b"\"json\"", b"{\"a\":1}"],
    };
    for bytes in values {
        store.save_one(Write::new(&key, bytes.to_vec())).await.unwrap();
        assert_eq!(store.get(&key).await.unwrap().unwrap().value, bytes.to_vec());
        let seen = other.get(&key).await.unwrap().unwrap();
        assert_eq!(seen.value, bytes.to_vec());
        // An etag of one protocol is good in the other.
        other.delete(&key, seen.etag.as_deref()).await.unwrap();
        assert_eq!(store.get(&key).await.unwrap(), None);
    }
}

/// A value that holds many times what one read of a socket brings.
pub async fn large_values_come_back_whole(store: Store) {
    let key = store.key("large");
    let text = format!("\"{}\"", "0123456789abcdef".repeat(64 * 1024));
    store.save_one(Write::new(&key, text.clone())).await.unwrap();
    assert_eq!(value(&store, &key).await, Some(text));
}
