//! Times to live.

use mecha_plugin_api::ErrorKind;
use mecha_plugin_api::state::{StateOperation, StateStore};

use super::*;

#[tokio::test]
async fn a_save_sets_keeps_or_removes_the_expiry() {
    let (redis, store) = started(&[]).await;
    let mut raw = raw(&redis);
    save(&store, with_ttl(set("k", "1"), "100")).await.unwrap();
    assert!((90..=100).contains(&run::<i64>(&mut raw, "TTL k")));
    save(&store, set("k", "2")).await.unwrap();
    assert!((90..=100).contains(&run::<i64>(&mut raw, "TTL k")), "a save without a ttl keeps the old one");
    save(&store, with_ttl(set("k", "3"), "-1")).await.unwrap();
    assert_eq!(run::<i64>(&mut raw, "TTL k"), -1);
    save(&store, with_ttl(set("k", "4"), "50")).await.unwrap();
    save(&store, with_ttl(set("k", "5"), "0")).await.unwrap();
    assert_eq!(run::<i64>(&mut raw, "TTL k"), -1);
}

#[tokio::test]
async fn an_expired_value_is_gone() {
    let (redis, store) = started(&[]).await;
    save(&store, with_ttl(set("k", "1"), "1")).await.unwrap();
    assert!(read(&store, "k").await.is_some());
    let mut raw = raw(&redis);
    wait_until(|| run::<i64>(&mut raw, "EXISTS k") == 0).await;
    assert_eq!(read(&store, "k").await, None);
}

#[tokio::test]
async fn the_components_default_holds_unless_the_request_names_one() {
    let (redis, store) = started(&[("ttlInSeconds", "600")]).await;
    let mut raw = raw(&redis);
    save(&store, set("default", "1")).await.unwrap();
    save(&store, with_ttl(set("own", "1"), "30")).await.unwrap();
    save(&store, with_ttl(set("none", "1"), "-1")).await.unwrap();
    let steps = vec![StateOperation::Upsert(set("step", "1"))];
    store.transact(&context(), steps, Metadata::new()).await.unwrap();
    assert!((590..=600).contains(&run::<i64>(&mut raw, "TTL default")));
    assert!((590..=600).contains(&run::<i64>(&mut raw, "TTL step")));
    assert!((20..=30).contains(&run::<i64>(&mut raw, "TTL own")));
    assert_eq!(run::<i64>(&mut raw, "TTL none"), -1);
}

#[tokio::test]
async fn a_failed_save_leaves_the_expiry_alone() {
    let (redis, store) = started(&[]).await;
    save(&store, with_ttl(set("k", "1"), "100")).await.unwrap();
    let late = with_ttl(set_with_etag("k", "2", "9"), "5000");
    assert_eq!(save(&store, late).await.unwrap_err().kind(), ErrorKind::ETAG_MISMATCH);
    assert!((90..=100).contains(&run::<i64>(&mut raw(&redis), "TTL k")));
}
