//! The same mistakes over gRPC, and frames that hold no message.

use bytes::Bytes;
use mecha_proto::common::v1::{Etag, StateItem};
use mecha_proto::error_model::StatusExt;
use mecha_proto::runtime::v1::{
    DeleteBulkStateRequest, DeleteStateRequest, ExecuteStateTransactionRequest, GetBulkStateRequest,
    GetMetadataRequest, GetStateRequest, SaveStateRequest, TransactionalStateOperation,
};
use mecha_testkit::Mecha;
use tonic::{Code, Request, Status};

use crate::grpc_error::assert_grpc;
use crate::grpc_raw::{RawGrpc, frame};

const ILLEGAL_KEY: &str = "input key/keyPrefix 'a||b' can't contain '||'";

fn item(key: &str) -> StateItem {
    StateItem { key: key.to_owned(), value: Bytes::from_static(b"1"), ..Default::default() }
}

fn save(store: &str, states: Vec<StateItem>) -> SaveStateRequest {
    SaveStateRequest { store_name: store.to_owned(), states }
}

fn transaction(store: &str, operation: &str, request: Option<StateItem>) -> ExecuteStateTransactionRequest {
    let step = TransactionalStateOperation { operation_type: operation.to_owned(), request };
    ExecuteStateTransactionRequest {
        store_name: store.to_owned(),
        operations: vec![step],
        ..Default::default()
    }
}

/// Every call on the state store `name` with `key`, none of which may succeed.
async fn refusals(mecha: &Mecha, name: &str, key: &str) -> Vec<Status> {
    let mut client = mecha.grpc().await.unwrap();
    let (store_name, key) = (name.to_owned(), key.to_owned());
    let get = GetStateRequest { store_name: store_name.clone(), key: key.clone(), ..Default::default() };
    let delete =
        DeleteStateRequest { store_name: store_name.clone(), key: key.clone(), ..Default::default() };
    let bulk =
        GetBulkStateRequest { store_name: store_name.clone(), keys: vec![key.clone()], ..Default::default() };
    let delete_bulk = DeleteBulkStateRequest { store_name, states: vec![item(&key)] };
    vec![
        client.get_state(get).await.unwrap_err(),
        client.save_state(save(name, vec![item(&key)])).await.unwrap_err(),
        client.delete_state(delete).await.unwrap_err(),
        client.get_bulk_state(bulk).await.unwrap_err(),
        client.delete_bulk_state(delete_bulk).await.unwrap_err(),
        client.execute_state_transaction(transaction(name, "upsert", Some(item(&key)))).await.unwrap_err(),
    ]
}

pub async fn check(mecha: &Mecha) {
    for status in refusals(mecha, "none", "key").await {
        let text = "state store none is not found";
        assert_grpc(&status, Code::InvalidArgument, Some("DAPR_STATE_NOT_FOUND"), text);
    }
    for status in refusals(mecha, "store", "a||b").await {
        assert_grpc(&status, Code::InvalidArgument, Some("DAPR_STATE_ILLEGAL_KEY"), ILLEGAL_KEY);
        let resource = status.get_details_resource_info().unwrap();
        assert_eq!((resource.resource_type.as_str(), resource.resource_name.as_str()), ("state", "store"));
        let violations = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!((violations[0].field.as_str(), violations[0].description.as_str()), ("a||b", ILLEGAL_KEY));
    }
    let mut client = mecha.grpc().await.unwrap();
    let unnamed = client.save_state(save("store", vec![item("")])).await.unwrap_err();
    assert_grpc(&unnamed, Code::InvalidArgument, Some("ERR_STATE_SAVE"), "state key cannot be empty");
    let stale = StateItem { etag: Some(Etag { value: "bogus".to_owned() }), ..item("a") };
    let stale = client.save_state(save("store", vec![stale])).await.unwrap_err();
    let text = "failed saving state in state store store: possible etag mismatch";
    assert_grpc(&stale, Code::Aborted, Some("ERR_STATE_SAVE"), text);
    let painted = transaction("store", "paint", Some(item("a")));
    let painted = client.execute_state_transaction(painted).await.unwrap_err();
    let code = Some("ERR_NOT_SUPPORTED_STATE_OPERATION");
    assert_grpc(&painted, Code::Unimplemented, code, "operation type paint not supported");
    let lacking = transaction("probe", "upsert", Some(item("a")));
    let lacking = client.execute_state_transaction(lacking).await.unwrap_err();
    let code = Some("DAPR_STATE_TRANSACTIONS_NOT_SUPPORTED");
    assert_grpc(&lacking, Code::Unimplemented, code, "state store probe doesn't support transactions");
    // A step without its item, which no client library sends. It counts as one without a key.
    let _ = client.execute_state_transaction(transaction("store", "upsert", None)).await;

    let mut broken = Request::new(GetMetadataRequest {});
    broken.metadata_mut().insert("baggage", "=x".parse().unwrap());
    let status = client.get_metadata(broken).await.unwrap_err();
    assert_grpc(&status, Code::InvalidArgument, None, "invalid baggage header");
}

pub async fn check_not_configured(mecha: &Mecha) {
    for status in refusals(mecha, "none", "key").await {
        let text = "state store none is not configured";
        assert_grpc(&status, Code::FailedPrecondition, Some("DAPR_STATE_NOT_CONFIGURED"), text);
    }
}

pub async fn check_frames(mecha: &Mecha, max_body: usize) {
    let client = RawGrpc::new(mecha.grpc_endpoint());
    let method = "/dapr.proto.runtime.v1.Dapr/SaveState";
    let whole = frame(b"\x0a\x05store");
    let cases: [(&str, Bytes); 7] = [
        ("a length without a message", Bytes::from_static(&[0, 0, 0, 0, 100])),
        ("a message that breaks off", whole.slice(..whole.len() - 2)),
        ("half a length", Bytes::from_static(&[0, 0, 0])),
        ("no protobuf", frame(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")),
        ("a text that is not UTF-8", frame(b"\x0a\x02\xff\xfe")),
        ("a nested message that is longer than its outer one", frame(b"\x12\x7f\x0a\x01k")),
        ("compressed, without saying how", Bytes::from_static(&[1, 0, 0, 0, 2, 0x0a, 0])),
    ];
    for (what, body) in cases {
        let status = client.post(method, &[], body).await.unwrap_or_else(|error| panic!("{what}: {error:#}"));
        assert_eq!((status.http, status.code), (200, Some(Code::Internal as i32)), "{what}: {status:?}");
    }
    let large = frame(&vec![0; max_body + 1024]);
    let status = client.post(method, &[], large).await.unwrap();
    assert_eq!((status.http, status.code), (200, Some(Code::ResourceExhausted as i32)), "{status:?}");
    // A length of 4 GiB must not be believed.
    let claimed = Bytes::from_static(&[0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3]);
    let status = client.post(method, &[], claimed).await.unwrap();
    assert_eq!((status.http, status.code), (200, Some(Code::ResourceExhausted as i32)), "{status:?}");
    let unknown = "/dapr.proto.runtime.v1.Dapr/NoSuchMethod";
    let status = client.post(unknown, &[], whole.clone()).await.unwrap();
    // Dapr takes it for a call to proxy, and then it is unknown whereto.
    let refused = [Code::Unimplemented as i32, Code::Unknown as i32];
    assert!(status.code.is_some_and(|code| refused.contains(&code)), "{status:?}");
    let status = client.post(method, &[], whole).await.unwrap();
    assert_eq!((status.http, status.code), (200, Some(Code::Ok as i32)), "{status:?}");
}
