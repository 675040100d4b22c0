//! Object stores over gRPC: the service `mecha.objects.v1.Objects`, in a folder and, where there is a server, in a bucket.

#[path = "support/objects.rs"]
#[allow(dead_code)]
mod objects;

use anyhow::Result;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use mecha_proto::error_model::StatusExt;
use mecha_proto::objects::v1 as pb;
use mecha_proto::objects::v1::objects_client::ObjectsClient;
use mecha_testkit::Mecha;
use objects::{Checked, Growth, MIB, Store, blocks};
use tonic::transport::Channel;
use tonic::{Code, Status};

async fn client(mecha: &Mecha) -> ObjectsClient<Channel> {
    ObjectsClient::new(mecha.grpc_channel().await.unwrap())
}

fn head(key: &str) -> pb::PutHead {
    pb::PutHead { store_name: "store".into(), key: key.into(), ..Default::default() }
}

fn message(part: pb::put_request::Part) -> pb::PutRequest {
    pb::PutRequest { part: Some(part) }
}

/// The messages of a put.
fn messages(
    head: pb::PutHead,
    body: impl Stream<Item = Bytes> + Send + 'static,
) -> impl Stream<Item = pb::PutRequest> + Send + 'static {
    let head = stream::iter([message(pb::put_request::Part::Head(head))]);
    head.chain(body.map(|chunk| message(pb::put_request::Part::Chunk(chunk))))
}

/// `count` blocks in halves: a message is limited like every other, here to one MiB.
fn pieces(count: usize) -> impl Stream<Item = Bytes> + Send + 'static {
    blocks(count).flat_map(|mut block| {
        let half = block.split_to(MIB / 2);
        stream::iter([half, block])
    })
}

async fn put(mecha: &Mecha, head: pb::PutHead, body: &'static str) -> Result<pb::Object, Status> {
    let body = stream::iter([Bytes::from(body)]);
    Ok(client(mecha).await.put(messages(head, body)).await?.into_inner().object.unwrap())
}

/// The head of an answer and all its bytes.
async fn get(mecha: &Mecha, request: pb::GetRequest) -> Result<(pb::GetHead, Vec<u8>), Status> {
    let mut answers = client(mecha).await.get(request).await?.into_inner();
    let Some(pb::get_response::Part::Head(head)) = answers.message().await?.unwrap().part else {
        panic!("the first message has no head")
    };
    let mut all = Vec::new();
    while let Some(answer) = answers.message().await? {
        let Some(pb::get_response::Part::Chunk(chunk)) = answer.part else { panic!("no chunk") };
        all.extend_from_slice(&chunk);
    }
    Ok((head, all))
}

fn whole(key: &str) -> pb::GetRequest {
    pb::GetRequest { store_name: "store".into(), key: key.into(), ..Default::default() }
}

#[track_caller]
fn assert_status<T: std::fmt::Debug>(result: Result<T, Status>, code: Code, reason: &str) {
    let status = result.unwrap_err();
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
    assert_eq!((status.code(), info.reason.as_str()), (code, reason), "{status:?}");
}

#[tokio::test]
async fn an_object_goes_up_comes_down_and_goes() {
    Store::each(|store| async move {
        let mecha = &store.mecha;
        let described = pb::PutHead {
            content_type: "text/css".into(),
            metadata: [("Owner".to_owned(), "me".to_owned())].into(),
            size: Some(10),
            ..head("a/b")
        };
        let stored = put(mecha, described, "0123456789").await.unwrap();
        assert_eq!((stored.size, stored.key.as_str()), (10, "a/b"));
        let (found, bytes) = get(mecha, whole("a/b")).await.unwrap();
        assert_eq!((found.first, found.length, bytes.as_slice()), (0, 10, &b"0123456789"[..]));
        let object = found.object.unwrap();
        assert_eq!((object.content_type.as_str(), object.metadata["owner"].as_str()), ("text/css", "me"));
        assert_eq!(object.etag, stored.etag);

        let range = |first, last| pb::GetRequest { range: Some(pb::Range { first, last }), ..whole("a/b") };
        let (found, bytes) = get(mecha, range(Some(2), Some(4))).await.unwrap();
        assert_eq!((found.first, found.length, found.object.unwrap().size), (2, 3, 10));
        assert_eq!(bytes, b"234");
        assert_eq!(get(mecha, range(None, Some(2))).await.unwrap().1, b"89");
        assert_status(get(mecha, range(Some(10), None)).await, Code::OutOfRange, "ERR_OBJECT_RANGE");

        let mut client = client(mecha).await;
        let (store_name, key) = ("store".to_owned(), "a/b".to_owned());
        let asked = pb::HeadRequest { store_name: store_name.clone(), key: key.clone(), conditions: None };
        assert_eq!(client.head(asked.clone()).await.unwrap().into_inner().object.unwrap().size, 10);
        let copy = pb::CopyRequest {
            store_name: store_name.clone(),
            source: key.clone(),
            target: "copy".into(),
            ..Default::default()
        };
        client.copy(copy).await.unwrap();
        let list =
            pb::ListRequest { store_name: store_name.clone(), delimiter: "/".into(), ..Default::default() };
        let page = client.list(list).await.unwrap().into_inner();
        assert_eq!(
            (page.objects[0].key.as_str(), page.prefixes.as_slice()),
            ("copy", &["a/".to_owned()][..])
        );
        let delete = pb::DeleteRequest { store_name, key, conditions: None };
        client.delete(delete).await.unwrap();
        assert_status(client.head(asked).await, Code::NotFound, "ERR_OBJECT_NOT_FOUND");
        assert_eq!(get(mecha, whole("copy")).await.unwrap().1, b"0123456789");
    })
    .await;
}

#[tokio::test]
async fn conditions_hold_or_nothing_happens() {
    Store::each(|store| async move {
        let mecha = &store.mecha;
        let only = |if_match: &[&str], if_none_match: &[&str]| {
            let list = |entries: &[&str]| entries.iter().map(|entry| (*entry).to_owned()).collect();
            Some(pb::Conditions { if_match: list(if_match), if_none_match: list(if_none_match) })
        };
        let new = pb::PutHead { conditions: only(&[], &["*"]), ..head("k") };
        let first = put(mecha, new.clone(), "1").await.unwrap();
        let refused = "ERR_OBJECT_PRECONDITION_FAILED";
        assert_status(put(mecha, new, "2").await, Code::Aborted, refused);
        let unchanged = pb::GetRequest { conditions: only(&[], &[&first.etag]), ..whole("k") };
        assert_status(get(mecha, unchanged).await, Code::Aborted, refused);
        let same = pb::PutHead { conditions: only(&[&first.etag], &[]), ..head("k") };
        put(mecha, same.clone(), "3").await.unwrap();
        assert_status(put(mecha, same, "4").await, Code::Aborted, refused);
        assert_eq!(get(mecha, whole("k")).await.unwrap().1, b"3");
    })
    .await;
}

#[tokio::test]
async fn an_upload_that_is_wrong_or_breaks_off_leaves_nothing() {
    Store::each(|store| async move {
        let mecha = &store.mecha;
        for size in [1, 3] {
            let said = pb::PutHead { size: Some(size), ..head("k") };
            assert_status(put(mecha, said, "12").await, Code::InvalidArgument, "ERR_OBJECT_INCOMPLETE");
        }
        let headless = stream::iter([message(pb::put_request::Part::Chunk("x".into()))]);
        let refused = client(mecha).await.put(headless).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");

        // More than once: a cancelled call must never, by whatever turn of events, count as one that has ended.
        for _ in 0..5 {
            let body = pieces(20).chain(stream::pending());
            let mut calling = client(mecha).await;
            let uploading = tokio::spawn(async move { calling.put(messages(head("k"), body)).await });
            store.begun().await;
            assert!(!uploading.is_finished(), "{:?}", uploading.await);
            uploading.abort();
            store.cleaned().await;
            let found = get(mecha, whole("k")).await.map(|(head, _)| head);
            assert_status(found, Code::NotFound, "ERR_OBJECT_NOT_FOUND");
        }
    })
    .await;
}

#[tokio::test]
async fn a_large_object_goes_through_in_bounded_memory() {
    Store::each(|store| async move {
        const SIZE: usize = 256;
        put(&store.mecha, head("warm"), "x").await.unwrap();
        let growth = Growth::of(&store.mecha);
        let watched = growth.clone();
        let body = pieces(SIZE).inspect(move |_| watched.look());
        let mut client = client(&store.mecha).await;
        let stored = client.put(messages(head("large"), body)).await.unwrap().into_inner().object.unwrap();
        assert_eq!(stored.size, (SIZE * MIB) as u64);
        let mut answers = client.get(whole("large")).await.unwrap().into_inner();
        let mut checked = Checked::default();
        while let Some(answer) = answers.message().await.unwrap() {
            if let Some(pb::get_response::Part::Chunk(chunk)) = answer.part {
                growth.look();
                checked.take(chunk).unwrap();
            }
        }
        assert_eq!(checked.seen(), SIZE * MIB);
        println!("256 MiB over gRPC: resident memory grew by {:.1} MiB", growth.mib());
        assert!(growth.mib() < 64.0, "resident memory grew by {:.1} MiB", growth.mib());
    })
    .await;
}
