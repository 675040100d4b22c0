//! Etags, first-write and last-write, as Dapr's script decides them.

use std::sync::Arc;

use mecha_plugin_api::ErrorKind;
use mecha_plugin_api::state::{Concurrency, DeleteRequest, SetRequest, StateStore};

use super::*;

#[tokio::test]
async fn the_right_etag_wins_and_the_wrong_one_is_a_mismatch() {
    let (_redis, store) = started(&[]).await;
    save(&store, set("k", "1")).await.unwrap();
    save(&store, set_with_etag("k", "2", "1")).await.unwrap();
    let error = save(&store, set_with_etag("k", "3", "1")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ETAG_MISMATCH);
    let start = "possible etag mismatch. error from state store: ERR user_script:";
    assert!(error.message().starts_with(start), "{error}");
    assert!(error.message().contains("failed to set key k"), "{error}");
    assert_eq!(read(&store, "k").await, value("2", "2"));
}

#[tokio::test]
async fn an_etag_that_is_no_number_is_invalid() {
    let (_redis, store) = started(&[]).await;
    let error = save(&store, set_with_etag("k", "1", "abc")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ETAG_INVALID);
    assert_eq!(error.message(), "invalid etag value: strconv.Atoi: parsing \"abc\": invalid syntax");
}

#[tokio::test]
async fn any_etag_creates_a_missing_key() {
    let (_redis, store) = started(&[]).await;
    save(&store, set_with_etag("k", "1", "77")).await.unwrap();
    assert_eq!(read(&store, "k").await, value("1", "1"));
}

#[tokio::test]
async fn last_write_ignores_the_etag() {
    let (_redis, store) = started(&[]).await;
    save(&store, set("k", "1")).await.unwrap();
    let last =
        SetRequest { concurrency: Concurrency::LAST_WRITE, ..set_with_etag("k", "2", "not a version") };
    save(&store, last).await.unwrap();
    assert_eq!(read(&store, "k").await, value("2", "2"));
}

#[tokio::test]
async fn first_write_closes_the_key_to_saves_without_an_etag() {
    let (_redis, store) = started(&[]).await;
    save(&store, set("k", "1")).await.unwrap();
    // No first-write save was made before, so this one goes through although the key exists.
    save(&store, first_write(set("k", "2"))).await.unwrap();
    for request in [first_write(set("k", "3")), set("k", "3")] {
        let error = save(&store, request).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::INTERNAL);
        assert!(error.message().starts_with("failed to set key k: ERR user_script:"), "{error}");
    }
    let last = SetRequest { concurrency: Concurrency::LAST_WRITE, ..set_with_etag("k", "3", "2") };
    assert_eq!(save(&store, last).await.unwrap_err().kind(), ErrorKind::ETAG_MISMATCH);
    save(&store, first_write(set_with_etag("k", "4", "2"))).await.unwrap();
    assert_eq!(read(&store, "k").await, value("4", "3"));
}

#[tokio::test]
async fn a_deletion_checks_its_etag() {
    let (_redis, store) = started(&[]).await;
    save(&store, first_write(set("k", "1"))).await.unwrap();
    for wrong in ["2", "abc"] {
        let request = DeleteRequest { etag: etag(wrong), ..delete("k") };
        let error = store.delete(&context(), request).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ETAG_MISMATCH);
        assert!(error.message().contains("failed to delete k"), "{error}");
    }
    let empty = DeleteRequest { etag: etag(""), ..delete("k") };
    store.delete(&context(), empty).await.unwrap();
    assert_eq!(read(&store, "k").await, None);
}

#[tokio::test]
async fn sixty_four_writers_each_count_once() {
    const WRITERS: u32 = 64;
    let (_redis, store) = started(&[]).await;
    let store = Arc::new(store);
    save(&store, set("counter", "0")).await.unwrap();
    let writers: Vec<_> = (0..WRITERS).map(|_| tokio::spawn(increment(store.clone()))).collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(read(&store, "counter").await, value("64", "65"));
}

async fn increment(store: Arc<RedisState>) {
    loop {
        let (text, version) = read(&store, "counter").await.unwrap();
        let next = text.parse::<u32>().unwrap() + 1;
        match save(&store, set_with_etag("counter", &next.to_string(), &version.unwrap())).await {
            Ok(()) => return,
            Err(error) => assert_eq!(error.kind(), ErrorKind::ETAG_MISMATCH, "{error}"),
        }
    }
}
