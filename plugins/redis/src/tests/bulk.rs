//! Many keys at once: each with its own result.

use mecha_plugin_api::state::{DeleteRequest, GetRequest, StateStore};
use mecha_plugin_api::{ErrorKind, RResult};

use super::*;

#[tokio::test]
async fn each_key_has_its_own_result_in_the_order_asked() {
    let (redis, store) = started(&[]).await;
    let mut raw = raw(&redis);
    store.bulk_set(&context(), vec![set("a", "1"), set("b", "2")]).await.unwrap();
    let _: () = run(&mut raw, "SET plain p");
    let _: i64 = run(&mut raw, "LPUSH list 1");
    let before = commands_processed(&mut raw);
    let requests: Vec<GetRequest> = ["b", "absent", "list", "plain", "a"].map(get).into();
    let items = store.bulk_get(&context(), requests, 0).await.unwrap();
    assert_eq!(commands_processed(&mut raw) - before, 8, "5 HMGET, 2 GET, 1 INFO");

    let keys: Vec<_> = items.iter().map(|item| item.key.to_string()).collect();
    assert_eq!(keys, ["b", "absent", "list", "plain", "a"]);
    let mut results = items.into_iter().map(|item| match item.result {
        RResult::ROk(item) => Ok(parts(item.into_option())),
        RResult::RErr(error) => Err(error.kind()),
    });
    assert_eq!(results.next(), Some(Ok(value("2", "1"))));
    assert_eq!(results.next(), Some(Ok(None)));
    assert_eq!(results.next(), Some(Err(ErrorKind::INTERNAL)));
    assert_eq!(results.next(), Some(Ok(Some(("p".into(), None)))));
    assert_eq!(results.next(), Some(Ok(value("1", "1"))));
}

fn commands_processed(raw: &mut redis::Connection) -> u64 {
    let info: String = run(raw, "INFO stats");
    let line = info.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
    line.unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn what_can_be_saved_is_saved_and_every_failure_is_told() {
    let (_redis, store) = started(&[]).await;
    save(&store, set("a", "1")).await.unwrap();
    let requests = vec![
        set_with_etag("a", "2", "9"),
        set("b", "1"),
        set_with_etag("c", "1", "no version"),
        with_ttl(set("d", "1"), "soon"),
    ];
    let error = store.bulk_set(&context(), requests).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::ETAG_MISMATCH | ErrorKind::ETAG_INVALID), "{error:?}");
    for part in ["failed to set key a", "invalid etag value", "ttlInSeconds"] {
        assert!(error.message().contains(part), "{part} in {error}");
    }
    assert_eq!(read(&store, "a").await, value("1", "1"));
    assert_eq!(read(&store, "b").await, value("1", "1"));
    assert_eq!(read(&store, "c").await, None);
}

#[tokio::test]
async fn what_can_be_deleted_is_deleted() {
    let (_redis, store) = started(&[]).await;
    store.bulk_set(&context(), vec![set("a", "1"), set("b", "2")]).await.unwrap();
    let wrong = DeleteRequest { etag: etag("9"), ..delete("a") };
    let requests = vec![wrong, delete("b"), delete("absent")];
    let error = store.bulk_delete(&context(), requests).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ETAG_MISMATCH);
    assert_eq!(read(&store, "a").await, value("1", "1"));
    assert_eq!(read(&store, "b").await, None);
    store.bulk_delete(&context(), vec![delete("a")]).await.unwrap();
}

#[tokio::test]
async fn nothing_asked_is_nothing_done() {
    let (_redis, store) = started(&[]).await;
    assert!(store.bulk_get(&context(), Vec::new(), 0).await.unwrap().is_empty());
    store.bulk_set(&context(), Vec::new()).await.unwrap();
    store.bulk_delete(&context(), Vec::new()).await.unwrap();
}
