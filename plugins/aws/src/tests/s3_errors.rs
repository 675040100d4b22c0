//! What the S3 binding says when something is wrong.

use mecha_plugin_api::ErrorKind;
use mecha_plugin_api::binding::OutputBinding;

use super::s3::{opened, spec_for};
use super::*;
use crate::s3::S3Binding;

async fn refused(more: &[(&str, &str)]) -> Option<mecha_plugin_api::Error> {
    let address = server(S3_VARIABLE)?;
    S3Binding::open(spec_for(&address, &unique("missing"), more), shared()).await.err()
}

#[tokio::test]
async fn a_missing_bucket_names_the_field() {
    let Some(error) = refused(&[]).await else { return };
    assert_eq!((error.kind(), error.field()), (ErrorKind::NOT_FOUND, Some("bucket")), "{error}");
}

#[tokio::test]
async fn wrong_credentials_name_their_field_and_are_not_shown() {
    let Some(error) = refused(&[("secretKey", "wrong-secret")]).await else { return };
    assert_eq!((error.kind(), error.field()), (ErrorKind::DENIED, Some("secretKey")), "{error}");
    assert!(!error.to_string().contains("wrong-secret"), "{error}");
    let error = refused(&[("accessKey", "nobody")]).await.unwrap();
    assert_eq!((error.kind(), error.field()), (ErrorKind::DENIED, Some("accessKey")), "{error}");
}

#[tokio::test]
async fn wrong_requests_are_told_apart() {
    let Some(s3) = opened(&[]).await else { return };
    for (operation, data, metadata, kind, message) in [
        ("get", &b""[..], &[("key", "none")][..], ErrorKind::NOT_FOUND, "object not found"),
        ("get", b"", &[], ErrorKind::INVALID, "s3 binding error: required metadata 'key' missing"),
        ("delete", b"", &[], ErrorKind::INVALID, "s3 binding error: required metadata 'key' missing"),
        (
            "presign",
            b"",
            &[("key", "k")],
            ErrorKind::INVALID,
            "s3 binding error: required metadata 'presignTTL' missing",
        ),
        (
            "presign",
            b"",
            &[("key", "k"), ("presignTTL", "soon")],
            ErrorKind::INVALID,
            "s3 binding error: cannot parse duration soon",
        ),
        (
            "create",
            b"no base64!",
            &[("decodeBase64", "true")],
            ErrorKind::INVALID,
            "s3 binding error: uploading failed: ",
        ),
        (
            "create",
            b"",
            &[("filePath", "/no/such/file")],
            ErrorKind::INVALID,
            "s3 binding error: file read error: ",
        ),
        (
            "create",
            b"x",
            &[("tags", "none")],
            ErrorKind::INVALID,
            "s3 binding error: invalid tag format: 'none'",
        ),
        ("list", b"[", &[], ErrorKind::INVALID, "s3 binding error: invalid list payload: "),
        ("bulkGet", b"{}", &[], ErrorKind::INVALID, "s3 binding error: bulkGet requires at least one item"),
        (
            "bulkDelete",
            b"{}",
            &[],
            ErrorKind::INVALID,
            "s3 binding error: bulkDelete requires at least one key",
        ),
        (
            "bulkGet",
            br#"{"items":[{"key":"a"}],"concurrency":0}"#,
            &[],
            ErrorKind::INVALID,
            "s3 binding error: concurrency must be greater than 0, got 0",
        ),
        ("move", b"", &[], ErrorKind::UNSUPPORTED, "s3 binding error: unsupported operation move"),
    ] {
        let error = s3.try_call(operation, data, metadata).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{operation}: {error}");
        assert!(error.message().starts_with(message), "{operation}: {error}");
    }
}

#[tokio::test]
async fn a_server_that_is_away_is_unavailable_but_opens() {
    let binding = S3Binding::open(spec_for("http://127.0.0.1:1", "b", &[]), shared()).await.unwrap();
    let error = binding.ping(&context()).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retriable()), (ErrorKind::UNAVAILABLE, true), "{error}");
}
