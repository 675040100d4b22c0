//! Object stores over HTTP, in a folder and, where `MECHA_TEST_S3` names a server, in a bucket.

#[path = "support/http_error.rs"]
mod http_error;
#[path = "support/objects.rs"]
#[allow(dead_code)]
mod objects;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use futures_util::{StreamExt, future, stream};
use http::Method;
use mecha_testkit::Mecha;
use objects::{Checked, Growth, MIB, Place, Store, block, blocks, each_piece, stream_down, stream_up};
use serde_json::{Value, json};

#[tokio::test]
async fn an_object_goes_up_comes_down_and_goes() {
    Store::each(|store| async move {
        let headers = [("content-type", "text/css"), ("mecha-meta-owner", "me too"), ("Mecha-Meta-Nr", "7")];
        let put = store.send(Method::PUT, "a/b%20c+d", &headers, "one").await;
        assert_eq!(put.status, 200, "{}", put.text());
        let (answer, etag) = (put.json().unwrap(), put.header("etag").to_owned());
        assert_eq!((&answer["key"], &answer["size"]), (&json!("a/b c+d"), &json!(3)));
        assert_eq!(format!("\"{}\"", answer["etag"].as_str().unwrap()), etag);

        for method in [Method::GET, Method::HEAD] {
            let got = store.send(method.clone(), "a/b%20c+d", &[], "").await;
            assert_eq!(got.status, 200);
            assert_eq!(got.text(), if method == Method::GET { "one" } else { "" });
            let of = |name| got.header(name);
            assert_eq!((of("content-type"), of("content-length"), of("etag")), ("text/css", "3", &*etag));
            assert_eq!((of("mecha-meta-owner"), of("mecha-meta-nr")), ("me too", "7"));
            assert_eq!(of("accept-ranges"), "bytes");
            assert!(of("last-modified").ends_with(" GMT"), "{}", of("last-modified"));
        }

        store.put("a/b%20c+d", "another").await;
        let got = store.get("a/b%20c+d", &[]).await;
        assert_eq!((got.text().as_str(), got.header("mecha-meta-owner")), ("another", ""));
        assert_eq!(got.header("content-type"), "application/octet-stream");
        assert_ne!(got.header("etag"), etag);

        for _ in 0..2 {
            assert_eq!(store.send(Method::DELETE, "a/b%20c+d", &[], "").await.status, 204);
        }
        let gone = store.get("a/b%20c+d", &[]).await;
        assert_eq!(
            (gone.status.as_u16(), &gone.json().unwrap()["errorCode"]),
            (404, &json!("ERR_OBJECT_NOT_FOUND"))
        );
        assert_eq!(store.send(Method::HEAD, "a/b%20c+d", &[], "").await.status, 404);
        assert_eq!(store.list("").await, json!({"objects": [], "prefixes": []}));
    })
    .await;
}

#[tokio::test]
async fn an_empty_object_is_one() {
    Store::each(|store| async move {
        store.put("empty", "").await;
        let got = store.get("empty", &[]).await;
        assert_eq!((got.status.as_u16(), got.header("content-length"), got.text().as_str()), (200, "0", ""));
        let ranged = store.get("empty", &[("range", "bytes=0-")]).await;
        assert_eq!((ranged.status.as_u16(), ranged.header("content-range")), (416, "bytes */0"));
    })
    .await;
}

#[tokio::test]
async fn a_part_is_asked_for_with_range() {
    Store::each(|store| async move {
        let etag = store.put("k", "0123456789").await.header("etag").to_owned();
        for (range, part, place) in [
            ("bytes=0-3", "0123", "bytes 0-3/10"),
            ("bytes=4-", "456789", "bytes 4-9/10"),
            ("bytes=-3", "789", "bytes 7-9/10"),
            ("bytes=-30", "0123456789", "bytes 0-9/10"),
            ("bytes=8-100", "89", "bytes 8-9/10"),
        ] {
            let got = store.get("k", &[("range", range)]).await;
            assert_eq!((got.status.as_u16(), got.text().as_str()), (206, part), "{range}");
            assert_eq!((got.header("content-range"), got.header("etag")), (place, &*etag), "{range}");
        }
        // Nothing that can be read is no range.
        for range in ["bytes=3-1", "bytes=0-1,4-5", "lines=1-2"] {
            let got = store.get("k", &[("range", range)]).await;
            assert_eq!((got.status.as_u16(), got.text().as_str()), (200, "0123456789"), "{range}");
        }
        let beyond = store.get("k", &[("range", "bytes=10-")]).await;
        assert_eq!((beyond.status.as_u16(), beyond.header("content-range")), (416, "bytes */10"));
        assert_eq!(beyond.json().unwrap()["errorCode"], "ERR_OBJECT_RANGE");

        let part = [("range", "bytes=0-3"), ("if-range", etag.as_str())];
        assert_eq!(store.get("k", &part).await.text(), "0123");
        for other in ["\"other\"", "Mon, 02 Aug 2021 09:00:00 GMT"] {
            let whole = store.get("k", &[("range", "bytes=0-3"), ("if-range", other)]).await;
            assert_eq!((whole.status.as_u16(), whole.text().as_str()), (200, "0123456789"), "{other}");
        }
    })
    .await;
}

#[tokio::test]
async fn conditions_hold_or_nothing_happens() {
    Store::each(|store| async move {
        let only_new = [("if-none-match", "*")];
        let put = |headers: Vec<(&'static str, String)>, body: &'static str| {
            let store = &store;
            async move {
                let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
                store.send(Method::PUT, "k", &headers, body).await
            }
        };
        let missing = put(vec![("if-match", "\"x\"".into())], "0").await;
        assert_eq!(missing.status, 412, "{}", missing.text());
        assert_eq!(missing.json().unwrap()["errorCode"], "ERR_OBJECT_PRECONDITION_FAILED");
        let first = store.send(Method::PUT, "k", &only_new, "1").await;
        assert_eq!(first.status, 200, "{}", first.text());
        assert_eq!(store.send(Method::PUT, "k", &only_new, "2").await.status, 412);
        let etag = first.header("etag").to_owned();
        assert_eq!(put(vec![("if-match", "\"other\"".into())], "3").await.status, 412);
        assert_eq!(store.get("k", &[]).await.text(), "1");

        for method in [Method::GET, Method::HEAD] {
            let unchanged = store.send(method.clone(), "k", &[("if-none-match", &etag)], "").await;
            assert_eq!((unchanged.status.as_u16(), unchanged.header("etag")), (304, &*etag), "{method}");
            assert_eq!(unchanged.text(), "");
            let lists = format!("\"a\", {etag}, \"b\"");
            assert_eq!(store.send(method.clone(), "k", &[("if-none-match", &lists)], "").await.status, 304);
            assert_eq!(store.send(method.clone(), "k", &[("if-match", &lists)], "").await.status, 200);
            assert_eq!(store.send(method.clone(), "k", &[("if-match", "\"a\"")], "").await.status, 412);
            assert_eq!(store.send(method, "k", &[("if-none-match", "\"a\"")], "").await.status, 200);
        }

        let second = put(vec![("if-match", etag.clone())], "4").await;
        assert_eq!(second.status, 200, "{}", second.text());
        assert_eq!(store.send(Method::DELETE, "k", &[("if-match", &etag)], "").await.status, 412);
        let etag = second.header("etag");
        assert_eq!(store.send(Method::DELETE, "k", &[("if-match", etag)], "").await.status, 204);
        assert_eq!(store.send(Method::DELETE, "k", &[("if-match", etag)], "").await.status, 412);
        assert_eq!(store.unfinished().await, 0);
    })
    .await;
}

#[tokio::test]
async fn of_many_who_create_one_object_one_succeeds() {
    Store::each(|store| async move {
        let all = (0..8).map(|number| {
            let store = &store;
            async move {
                let body = number.to_string();
                (number, store.send(Method::PUT, "k", &[("if-none-match", "*")], body).await.status.as_u16())
            }
        });
        let answers = future::join_all(all).await;
        let winners: Vec<_> = answers.iter().filter(|(_, status)| *status == 200).collect();
        assert_eq!(winners.len(), 1, "{answers:?}");
        assert!(answers.iter().all(|(_, status)| matches!(status, 200 | 412)), "{answers:?}");
        assert_eq!(store.get("k", &[]).await.text(), winners[0].0.to_string());
    })
    .await;
}

#[tokio::test]
async fn a_listing_comes_in_pages_in_the_order_of_keys() {
    Store::each(|store| async move {
        let keys = ["a", "b-c", "b/a", "b/d/e", "b/d/f", "b0", "c/x"];
        for key in keys {
            store.put(key, key).await;
        }
        let page = store.list("").await;
        let listed: Vec<_> =
            page["objects"].as_array().unwrap().iter().map(|object| &object["key"]).collect();
        assert_eq!(listed, keys);
        assert_eq!(page["objects"][0]["size"], 1);
        assert!(page["objects"][0]["modified"].as_str().unwrap().ends_with('Z'));
        assert_eq!(page["cursor"], Value::Null);

        for limit in 1..=7 {
            assert_eq!(pages(&store, "", limit).await, keys, "{limit}");
            assert_eq!(pages(&store, "prefix=b", limit).await, &keys[1..6], "{limit}");
            assert_eq!(pages(&store, "prefix=b/d", limit).await, ["b/d/e", "b/d/f"], "{limit}");
            assert_eq!(pages(&store, "delimiter=/", limit).await, ["a", "b-c", "b/", "b0", "c/"], "{limit}");
            let below = pages(&store, "prefix=b/&delimiter=/", limit).await;
            assert_eq!(below, ["b/a", "b/d/"], "{limit}");
        }
        assert_eq!(store.list("prefix=none").await["objects"], json!([]));
    })
    .await;
}

/// Everything that a listing gives, page by page, objects and prefixes in one order.
async fn pages(store: &Store, query: &str, limit: usize) -> Vec<String> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = store.list(&format!("{query}&limit={limit}&cursor={cursor}")).await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let mut found: Vec<_> =
            page["objects"].as_array().unwrap().iter().map(|object| text(&object["key"])).collect();
        found.extend(page["prefixes"].as_array().unwrap().iter().map(text));
        assert!(found.len() <= limit, "{page}");
        found.sort();
        all.extend(found);
        match page["cursor"].as_str() {
            Some(next) => cursor = next.replace('+', "%2B").replace('=', "%3D").replace('/', "%2F"),
            None => return all,
        }
    }
}

#[tokio::test]
async fn a_copy_has_the_bytes_and_the_metadata() {
    Store::each(|store| async move {
        let headers = [("content-type", "text/css"), ("mecha-meta-owner", "me")];
        let first = store
            .send(Method::PUT, "from ä".replace(' ', "%20").replace('ä', "%C3%A4").as_str(), &headers, "body")
            .await;
        let etag = first.json().unwrap()["etag"].clone();
        let body = json!({"source": "from ä", "target": "deep/to", "sourceIfMatch": etag});
        let copied = store.post("copy", &body).await;
        assert_eq!(copied.status, 200, "{}", copied.text());
        assert_eq!(copied.json().unwrap()["key"], "deep/to");
        let got = store.get("deep/to", &[]).await;
        assert_eq!((got.text().as_str(), got.header("content-type")), ("body", "text/css"));
        assert_eq!((got.header("mecha-meta-owner"), got.header("etag")), ("me", copied.header("etag")));

        let wrong = json!({"source": "from ä", "target": "x", "sourceIfMatch": "other"});
        assert_eq!(store.post("copy", &wrong).await.status, 412);
        let missing = store.post("copy", &json!({"source": "none", "target": "x"})).await;
        assert_eq!(
            (missing.status.as_u16(), &missing.json().unwrap()["errorCode"]),
            (404, &json!("ERR_OBJECT_NOT_FOUND"))
        );
        assert_eq!(store.post("copy", &json!({"source": "deep/to"})).await.status, 400);
        assert_eq!(store.get("x", &[]).await.status, 404);
        assert_eq!(store.unfinished().await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_presigned_address_is_for_anybody_and_a_folder_has_none() {
    Store::each(|store| async move {
        store.put("k", "body").await;
        let answer = store.post("presign", &json!({"key": "k", "expiresInSeconds": 60})).await;
        if store.is_folder() {
            assert_eq!(answer.status, 501, "{}", answer.text());
            assert_eq!(answer.json().unwrap()["errorCode"], "ERR_OBJECT_UNSUPPORTED");
            return;
        }
        let answer = answer.json().unwrap();
        assert_eq!(answer["method"], "GET");
        let got = store.mecha.http().get(answer["url"].as_str().unwrap()).await.unwrap();
        assert_eq!((got.status.as_u16(), got.text().as_str()), (200, "body"));

        let asked = json!({"key": "new", "method": "PUT", "contentType": "application/json"});
        let answer = store.post("presign", &asked).await.json().unwrap();
        assert_eq!(answer["headers"]["content-type"], "application/json", "{answer}");
        let put = store.mecha.http().put(answer["url"].as_str().unwrap(), "{}").await.unwrap();
        assert_eq!(put.status, 200, "{}", put.text());
        assert_eq!(store.get("new", &[]).await.header("content-type"), "application/json");
        for wrong in
            [json!({"key": "k", "method": "DELETE"}), json!({"key": "k", "expiresInSeconds": 604801})]
        {
            assert_eq!(store.post("presign", &wrong).await.status, 400, "{wrong}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing() {
    Store::each(|store| async move {
        // Without a length nothing but the broken connection tells that it is not all; with one, the length does.
        for headers in [vec![], vec![("content-length", "67108864")]] {
            let (hold, held) = tokio::sync::oneshot::channel::<()>();
            let body = blocks(20).map(Ok).chain(stream::once(async {
                // The sender's end is the end of this upload.
                let _ = held.await;
                Err(io::Error::other("the test breaks off"))
            }));
            let (url, headers) = (store.url("k"), headers.clone());
            let uploading =
                tokio::spawn(async move { stream_up(&url, &headers, body).await.map(|answer| answer.0) });
            store.begun().await;
            assert_eq!(store.get("k", &[]).await.status, 404);
            assert!(!uploading.is_finished(), "{:?}", uploading.await);
            drop(hold);
            let uploaded = uploading.await.unwrap();
            assert!(uploaded.is_err());
            store.cleaned().await;
            assert_eq!(store.get("k", &[]).await.status, 404);
        }
        assert_eq!(store.list("").await["objects"], json!([]));
        if let Place::Folder(folder) = &store.place {
            let names: Vec<_> = std::fs::read_dir(folder.path().join("root")).unwrap().collect();
            assert_eq!(names.len(), 1, "{names:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_gibibyte_goes_through_in_bounded_memory() {
    Store::each(|store| async move {
        const SIZE: usize = 1024;
        // Everything that is made once is made before the measuring begins.
        store.put("warm", block(0)).await;
        store.get("warm", &[]).await;
        let growth = Growth::of(&store.mecha);
        let (watched, sent) = (growth.clone(), Arc::new(AtomicUsize::new(0)));
        let counted = sent.clone();
        let body = blocks(SIZE).map(move |block| {
            counted.fetch_add(1, Ordering::Relaxed);
            watched.look();
            Ok(block)
        });
        let (url, started) = (store.url("large"), Instant::now());
        let (status, _, answer) = stream_up(&url, &[("mecha-meta-a", "b")], body).await.unwrap();
        each_piece(answer, |_| Ok(())).await.unwrap();
        assert_eq!((status.as_u16(), sent.load(Ordering::Relaxed)), (200, SIZE));
        let (up_grown, up_took) = (growth.mib(), started.elapsed());

        let started = Instant::now();
        let (status, headers, body) = stream_down(&url).await.unwrap();
        assert_eq!((status.as_u16(), &headers["mecha-meta-a"]), (200, &"b".parse().unwrap()));
        assert_eq!(headers["content-length"], (SIZE * MIB).to_string());
        let (mut checked, mut looked) = (Checked::default(), 0);
        each_piece(body, |piece: Bytes| {
            checked.take(piece)?;
            if checked.seen() / (16 * MIB) > looked {
                looked += 1;
                growth.look();
            }
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!(checked.seen(), SIZE * MIB);
        let kind = if store.is_folder() { "folder" } else { "S3" };
        println!(
            "1 GiB, {kind}: up {:.1} s, resident memory grew by {up_grown:.1} MiB; down {:.1} s, by {:.1} MiB in all",
            up_took.as_secs_f64(),
            started.elapsed().as_secs_f64(),
            growth.mib()
        );
        assert!(growth.mib() < 64.0, "resident memory grew by {:.1} MiB", growth.mib());
        assert_eq!(store.unfinished().await, 0);
    })
    .await;
}

#[tokio::test]
async fn the_largest_body_is_a_matter_of_whole_bodies_only() {
    let store = Store::in_folder().await;
    store.put("k", block(0).repeat(3)).await;
    let refused = store.post("copy", &json!({"source": "x".repeat(2 * MIB)})).await;
    assert_eq!(refused.status, 413);
}

#[tokio::test]
async fn what_cannot_be_is_refused_in_dapr_s_form() {
    let store = Store::in_folder().await;
    let none = Mecha::builder().start().await.unwrap();
    let code = |mecha: &Mecha, path: &str| {
        let (url, http) = (mecha.http_url(&format!("/v1.0-alpha1/objects/{path}")), mecha.http().clone());
        async move {
            let reply = http.get(&url).await.unwrap();
            let code = reply.json().unwrap()["errorCode"].as_str().unwrap().to_owned();
            (reply.status.as_u16(), code)
        }
    };
    let expect = |status: u16, code: &str| (status, code.to_owned());
    assert_eq!(code(&none, "store/k").await, expect(500, "ERR_OBJECT_STORE_NOT_CONFIGURED"));
    assert_eq!(code(&store.mecha, "other/k").await, expect(400, "ERR_OBJECT_STORE_NOT_FOUND"));
    for key in [
        "%2e%2e/secret",
        "a/%2e%2e/%2e%2e/secret",
        "%2Fetc%2Fpasswd",
        "a%2F%2Fb",
        "a%2F",
        "a%00b",
        ".mecha-uploads/lock",
    ] {
        assert_eq!(
            code(&store.mecha, &format!("store/{key}")).await,
            expect(400, "ERR_OBJECT_INVALID"),
            "{key}"
        );
        let put = store.send(Method::PUT, key, &[], "x").await;
        assert_eq!(put.status, 400, "{key}: {}", put.text());
    }
    for query in ["limit=1001", "limit=x", "limit=-1", "cursor=%00"] {
        assert_eq!(
            code(&store.mecha, &format!("store?{query}")).await,
            expect(400, "ERR_OBJECT_INVALID"),
            "{query}"
        );
    }
    store.put("a", "file").await;
    assert_eq!(store.send(Method::PUT, "a/b", &[], "x").await.status, 400);
    assert_eq!(store.get("a/b", &[]).await.status, 404);
    let large = "x".repeat(2048);
    let refused = store.send(Method::PUT, "k", &[("mecha-meta-a", &large)], "x").await;
    http_error::assert_http(
        &refused,
        400,
        "ERR_OBJECT_INVALID",
        "the object's metadata has 2049 bytes, more than 2048",
    );
    assert_eq!(store.unfinished().await, 0);
    assert_eq!(store.get("a", &[]).await.text(), "file");
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_that_somebody_else_put_there_is_an_object() {
    let store = Store::in_folder().await;
    let Place::Folder(folder) = &store.place else { panic!("no folder") };
    std::fs::write(folder.path().join("secret"), "outside").unwrap();
    let root = folder.path().join("root");
    std::fs::create_dir_all(root.join("empty")).unwrap();
    std::fs::write(root.join("theirs"), "by hand").unwrap();
    std::os::unix::fs::symlink(folder.path().join("secret"), root.join("link")).unwrap();
    let got = store.get("theirs", &[]).await;
    assert_eq!((got.text().as_str(), got.header("content-type")), ("by hand", "application/octet-stream"));
    assert_eq!(store.get("link", &[]).await.status, 404);
    let etag = got.header("etag").to_owned();
    std::fs::write(root.join("theirs"), "by the other hand").unwrap();
    assert_ne!(store.get("theirs", &[]).await.header("etag"), etag);
    let page = store.list("delimiter=/").await;
    assert_eq!((page["objects"].as_array().unwrap().len(), &page["prefixes"]), (1, &json!([])), "{page}");
}
