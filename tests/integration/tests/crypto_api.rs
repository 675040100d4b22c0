//! Cryptography over both protocols, with keys in a folder.

#[path = "support/grpc_error.rs"]
mod grpc_error;
#[path = "support/http_error.rs"]
mod http_error;
#[path = "support/objects.rs"]
#[allow(dead_code)]
mod objects;
#[path = "support/raw_http.rs"]
#[allow(dead_code)]
mod raw_http;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use grpc_error::assert_grpc;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use http_error::assert_http;
use mecha_proto::common::v1::StreamPayload;
use mecha_proto::runtime::v1 as pb;
use mecha_testkit::{Mecha, Reply};
use objects::{Checked, Growth, MIB, block, blocks, each_piece, stream_up};
use tempfile::TempDir;
use tonic::{Code, Status};

const OCTETS: &str = "application/octet-stream";
/// What a segment of a document is long.
const SEGMENT: usize = 65_536 + 16;

/// The test vector of RFC 3394 for keys of 256 bits: the key that wraps it is `mykey`.
const MYKEY: [u8; 32] = [
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28,
    29, 30, 31,
];

/// A document that another implementation made with `mykey`.
fn foreign() -> Vec<u8> {
    let wrapped = "KMn0BMS4EPTLzLNc+4f4Jj9XhuLYDtMmy8fw5xqZ9Dv7mIubegLdIQ==";
    let line = format!(r#"{{"k":"mykey","kw":1,"wfk":"{wrapped}","cph":1,"np":"Y3J5cHRvIQ=="}}"#);
    let mac = "1BTq8SZIJBjYUlwBdtbfyN4wcIRXi39ZzXWWQuyz66I=";
    let mut document = format!("dapr.io/enc/v1\n{line}\n{mac}\n").into_bytes();
    document.extend([
        0xcb, 0x31, 0x31, 0xa1, 0xfb, 0x59, 0xe0, 0x6b, 0x56, 0x79, 0x0d, 0xd3, 0x8f, 0xd0, 0x55, 0x83, 0x01,
        0x9f, 0x79, 0x17, 0x6e, 0x4b, 0xa2, 0x20, 0xac, 0x99, 0x37,
    ]);
    document
}

/// A runtime with the component `keys`, which has two keys.
struct Keys {
    mecha: Mecha,
    _folder: TempDir,
}

impl Keys {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("mykey"), MYKEY).unwrap();
        std::fs::write(folder.path().join("other"), [0xff; 32]).unwrap();
        let path = folder.path().to_str().unwrap().to_owned();
        let component = Mecha::builder().plugin("crypto").component_with(
            "keys",
            "crypto.dapr.localstorage",
            &[("path", path.as_str())],
        );
        Self { mecha: component.start().await.unwrap(), _folder: folder }
    }

    fn url(&self, operation: &str) -> String {
        self.mecha.http_url(&format!("/v1.0-alpha1/crypto/{operation}"))
    }

    async fn put(&self, operation: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Reply {
        let mut request = Request::builder().method(Method::PUT).uri(self.url(operation));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.mecha.http().send(request.body(Full::new(body.into())).unwrap()).await.unwrap()
    }

    /// What is expected to succeed over HTTP.
    async fn made(&self, operation: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Bytes {
        let reply = self.put(operation, headers, body).await;
        assert_eq!((reply.status.as_u16(), reply.header("content-type")), (200, OCTETS), "{}", reply.text());
        reply.body
    }

    async fn encrypt(&self, messages: Vec<pb::EncryptRequest>) -> Result<Vec<Bytes>, Status> {
        let mut client = self.mecha.grpc().await.unwrap().max_decoding_message_size(4 * MIB);
        let answer = client.encrypt_alpha1(stream::iter(messages)).await?;
        parts(answer.into_inner(), |message| message.payload).await
    }

    async fn decrypt(&self, messages: Vec<pb::DecryptRequest>) -> Result<Vec<Bytes>, Status> {
        let mut client = self.mecha.grpc().await.unwrap().max_decoding_message_size(4 * MIB);
        let answer = client.decrypt_alpha1(stream::iter(messages)).await?;
        parts(answer.into_inner(), |message| message.payload).await
    }
}

/// What came down, in the order of its numbers.
async fn parts<M>(
    mut stream: tonic::Streaming<M>,
    payload: impl Fn(M) -> Option<StreamPayload>,
) -> Result<Vec<Bytes>, Status> {
    let mut parts = Vec::new();
    while let Some(message) = stream.message().await? {
        let payload = payload(message).unwrap();
        assert_eq!(payload.seq, parts.len() as u64);
        parts.push(payload.data);
    }
    Ok(parts)
}

fn payload(data: &[u8], seq: u64) -> Option<StreamPayload> {
    Some(StreamPayload { data: Bytes::copy_from_slice(data), seq })
}

fn options(key_name: &str, algorithm: &str) -> pb::EncryptRequestOptions {
    pb::EncryptRequestOptions {
        component_name: "keys".to_owned(),
        key_name: key_name.to_owned(),
        key_wrap_algorithm: algorithm.to_owned(),
        ..Default::default()
    }
}

fn to_encrypt(options: pb::EncryptRequestOptions, text: &[u8], piece: usize) -> Vec<pb::EncryptRequest> {
    let options = pb::EncryptRequest { options: Some(options), payload: None };
    let pieces = text.chunks(piece).enumerate();
    let pieces =
        pieces.map(|(seq, piece)| pb::EncryptRequest { options: None, payload: payload(piece, seq as u64) });
    std::iter::once(options).chain(pieces).collect()
}

fn to_decrypt(component: &str, document: &[u8], piece: usize) -> Vec<pb::DecryptRequest> {
    let options = pb::DecryptRequestOptions { component_name: component.to_owned(), key_name: String::new() };
    let pieces = document.chunks(piece).enumerate();
    let pieces =
        pieces.map(|(seq, piece)| pb::DecryptRequest { options: None, payload: payload(piece, seq as u64) });
    let mut messages: Vec<_> = pieces.collect();
    // The options may come with the first piece.
    match messages.first_mut() {
        Some(first) => first.options = Some(options),
        None => messages.push(pb::DecryptRequest { options: Some(options), payload: None }),
    }
    messages
}

/// Whose first bytes are the second line's, up to the header's end.
fn header(document: &[u8]) -> &str {
    let ends = document.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    let end = ends.map(|(index, _)| index + 1).nth(2).unwrap();
    std::str::from_utf8(&document[..end]).unwrap()
}

const WITH_MYKEY: [(&str, &str); 2] = [("dapr-key-name", "mykey"), ("dapr-key-wrap-algorithm", "aes")];

#[tokio::test]
async fn what_one_protocol_encrypts_the_other_decrypts() {
    let keys = Keys::start().await;
    let text: Vec<u8> = (0..10).flat_map(block).collect();
    for (cipher, number) in [("aes-gcm", 1), ("chacha20-poly1305", 2)] {
        let with = [WITH_MYKEY[0], WITH_MYKEY[1], ("dapr-data-encryption-cipher", cipher)];
        let document = keys.made("keys/encrypt", &with, text.clone()).await;
        assert!(header(&document).starts_with("dapr.io/enc/v1\n{\"k\":\"mykey\",\"kw\":1,"));
        assert!(header(&document).contains(&format!(r#""cph":{number},"#)));
        assert_eq!(document.len(), header(&document).len() + text.len() + 160 * 16);
        let parts = keys.decrypt(to_decrypt("keys", &document, 1_000_000)).await.unwrap();
        assert!(parts.iter().all(|part| part.len() == 65_536), "parts are not segments");
        assert_eq!(parts.concat(), text);

        let mut options = options("mykey", "A256KW");
        options.data_encryption_cipher = cipher.to_owned();
        let document = keys.encrypt(to_encrypt(options, &text, 3_000_000)).await.unwrap().concat();
        assert_eq!(keys.made("keys/decrypt", &[], document).await, text);
    }
}

#[tokio::test]
async fn texts_of_any_length_come_back_and_another_implementation_is_understood() {
    let keys = Keys::start().await;
    assert_eq!(keys.made("keys/decrypt", &[], foreign()).await, "hello world");
    assert_eq!(keys.decrypt(to_decrypt("keys", &foreign(), 5)).await.unwrap().concat(), b"hello world");
    for length in [0, 1, 65_535, 65_536, 65_537, 2 * 65_536, 16 * 65_536, 17 * 65_536] {
        let text = block(0).iter().copied().cycle().take(length).collect::<Vec<u8>>();
        let document = keys.made("keys/encrypt", &WITH_MYKEY, text.clone()).await;
        assert_eq!(keys.made("keys/decrypt", &[], document.clone()).await, text, "{length}");
        assert_eq!(keys.decrypt(to_decrypt("keys", &document, 70_000)).await.unwrap().concat(), text);
    }
}

#[tokio::test]
async fn a_document_names_its_key_unless_it_is_told_not_to() {
    let keys = Keys::start().await;
    let with = |name, value| [WITH_MYKEY[0], WITH_MYKEY[1], (name, value)];
    let renamed = with("dapr-decryption-key-name", "mykey/2");
    let document = keys.made("keys/encrypt", &renamed, "text").await;
    assert!(header(&document).contains(r#"{"k":"mykey/2","#));
    assert_eq!(keys.made("keys/decrypt", &[("dapr-key-name", "mykey")], document).await, "text");

    let document = keys.made("keys/encrypt", &with("dapr-omit-decryption-key-name", "true"), "text").await;
    assert!(header(&document).contains("\n{\"kw\":1,"));
    assert_eq!(keys.made("keys/decrypt", &[("dapr-key-name", "mykey")], document.clone()).await, "text");
    let message = "failed to perform operation: document's manifest does not contain a key name, and no key name was provided";
    assert_http(&keys.put("keys/decrypt", &[], document.clone()).await, 500, "ERR_CRYPTO", message);
    let status = keys.decrypt(to_decrypt("keys", &document, 99)).await.unwrap_err();
    assert_grpc(&status, Code::Internal, None, message);
}

#[tokio::test]
async fn a_wrong_key_and_a_changed_document_are_noticed() {
    let keys = Keys::start().await;
    let text: Vec<u8> = (0..3).flat_map(block).collect();
    let document = keys.made("keys/encrypt", &WITH_MYKEY, text).await.to_vec();
    let begin = header(&document).len();

    let signature = "failed to perform operation: failed to validate the document's signature";
    for name in ["other", "none"] {
        let short = document[..begin + 100].to_vec();
        let reply = keys.put("keys/decrypt", &[("dapr-key-name", name)], short).await;
        assert_http(&reply, 500, "ERR_CRYPTO", signature);
        let mut messages = to_decrypt("keys", &document, MIB);
        messages[0].options.as_mut().unwrap().key_name = name.to_owned();
        assert_grpc(&keys.decrypt(messages).await.unwrap_err(), Code::Internal, None, signature);
    }
    let renamed = String::from_utf8_lossy(&document[..begin]).replace("mykey", "other");
    assert_http(&keys.put("keys/decrypt", &[], renamed).await, 500, "ERR_CRYPTO", signature);

    for segment in [0, 9] {
        let mut changed = document[..begin + 11 * SEGMENT].to_vec();
        changed[begin + segment * SEGMENT + 7] ^= 1;
        let message = format!("error processing segment {segment}: failed to decrypt segment");
        assert_http(&keys.put("keys/decrypt", &[], changed.clone()).await, 500, "ERROR", &message);
        let status = keys.decrypt(to_decrypt("keys", &changed, MIB)).await.unwrap_err();
        assert_grpc(&status, Code::Internal, None, &format!("failed to perform operation: {message}"));
    }
    let cut = document[..begin + 3 * SEGMENT].to_vec();
    let message = "error processing segment 2: failed to decrypt segment";
    assert_http(&keys.put("keys/decrypt", &[], cut).await, 500, "ERROR", message);

    // Far into a document the answer is on its way already: it breaks off, and nothing wrong is in it.
    let mut changed = document.clone();
    *changed.last_mut().unwrap() ^= 1;
    let body = stream::iter(vec![Ok(Bytes::from(changed))]);
    let (status, _, answer) = stream_up(&keys.url("keys/decrypt"), &[], body).await.unwrap();
    let mut checked = Checked::default();
    let read = each_piece(answer, |piece| checked.take(piece)).await;
    assert_eq!(status, 200);
    assert!(read.is_err(), "{} bytes were taken for the whole text", checked.seen());
    assert!(checked.seen() <= 3 * MIB - 65_536, "the changed segment came through");
}

#[tokio::test]
async fn every_error_has_dapr_s_code_and_text() {
    let keys = Keys::start().await;
    let none = Mecha::builder().start().await.unwrap();
    let url = none.http_url("/v1.0-alpha1/crypto/keys/encrypt");
    let reply = none.http().put(&url, "text").await.unwrap();
    assert_http(&reply, 500, "ERR_CRYPTO_PROVIDERS_NOT_CONFIGURED", "crypto providers not configured");

    for operation in ["encrypt", "decrypt"] {
        let reply = keys.put(&format!("none/{operation}"), &[], "text").await;
        assert_http(&reply, 400, "ERR_CRYPTO_PROVIDER_NOT_FOUND", "crypto provider none not found");
    }
    let reply = keys.put("keys/encrypt", &WITH_MYKEY[1..], "text").await;
    assert_http(&reply, 400, "ERR_BAD_REQUEST", "invalid request: missing header 'dapr-key-name'");
    let reply = keys.put("keys/encrypt", &WITH_MYKEY[..1], "text").await;
    assert_http(&reply, 400, "ERR_BAD_REQUEST", "invalid request: missing header 'dapr-key-wrap-algorithm'");

    for (key, algorithm, cipher, message) in [
        ("mykey", "none", "", "option Algorithm is not valid: algorithm NONE is not supported"),
        ("mykey", "aes", "none", "option Cipher is not valid: cipher NONE is not supported"),
        ("mykey", "rsa", "", "failed to wrap the file key: failed to encrypt data: key type mismatch"),
        (
            "none",
            "aes",
            "",
            "failed to wrap the file key: failed to retrieve the key encryption key: failed to load key 'none'",
        ),
        (
            "../mykey",
            "aes",
            "",
            "failed to wrap the file key: failed to retrieve the key encryption key: invalid key path",
        ),
    ] {
        let headers = [
            ("dapr-key-name", key),
            ("dapr-key-wrap-algorithm", algorithm),
            ("dapr-data-encryption-cipher", cipher),
        ];
        let message = format!("failed to perform operation: {message}");
        assert_http(&keys.put("keys/encrypt", &headers, "text").await, 500, "ERR_CRYPTO", &message);
        let mut options = options(key, algorithm);
        options.data_encryption_cipher = cipher.to_owned();
        let status = keys.encrypt(to_encrypt(options, b"text", 4)).await.unwrap_err();
        assert_grpc(&status, Code::Internal, None, &message);
    }
    for (document, reason) in [
        ("", "scheme name not found"),
        ("no document\n", "unsupported scheme"),
        ("dapr.io/enc/v1\n{}\nmac\n", "invalid manifest"),
    ] {
        let message = format!("failed to perform operation: invalid header: {reason}");
        assert_http(&keys.put("keys/decrypt", &[], document).await, 500, "ERR_CRYPTO", &message);
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_stream_is_told_in_dapr_s_words() {
    let keys = Keys::start().await;
    let invalid = |message: &str| format!("invalid request: {message}");
    let piece = |seq| pb::EncryptRequest { options: None, payload: payload(b"text", seq) };
    let whole = |mut options: pb::EncryptRequestOptions, component: &str| {
        options.component_name = component.to_owned();
        to_encrypt(options, b"text", 4)
    };
    let failed = "failed to perform operation: ";
    for (messages, code, message) in [
        (vec![], Code::Internal, format!("{failed}error receiving the first message: EOF")),
        (
            vec![piece(0)],
            Code::InvalidArgument,
            invalid("first message does not contain the required options"),
        ),
        (
            whole(options("", "aes"), "none"),
            Code::InvalidArgument,
            invalid("missing property 'keyName' in the options message"),
        ),
        (
            whole(options("mykey", ""), "none"),
            Code::InvalidArgument,
            invalid("missing property 'keyWrapAlgorithm' in the options message"),
        ),
        (whole(options("mykey", "aes"), ""), Code::InvalidArgument, invalid("missing component name")),
        (
            whole(options("mykey", "aes"), "none"),
            Code::InvalidArgument,
            "crypto provider none not found".to_owned(),
        ),
        (
            [to_encrypt(options("mykey", "aes"), b"text", 4), vec![piece(2)]].concat(),
            Code::Internal,
            format!("{failed}invalid sequence number received: 2 (expected: 1)"),
        ),
        (
            [0, 1].map(|_| to_encrypt(options("mykey", "aes"), b"", 4)).concat(),
            Code::Internal,
            format!("{failed}options found in non-leading message"),
        ),
    ] {
        let status = keys.encrypt(messages).await.unwrap_err();
        assert_grpc(&status, code, None, &message);
    }
    let none = Mecha::builder().start().await.unwrap();
    let messages = stream::iter(to_decrypt("keys", b"text", 4));
    let status = none.grpc().await.unwrap().decrypt_alpha1(messages).await.unwrap_err();
    assert_grpc(&status, Code::Internal, None, "crypto providers not configured");
}

#[tokio::test]
async fn a_document_passes_through_while_it_arrives_and_never_lies_here_whole() {
    const SIZE: usize = 96;
    let keys = Keys::start().await;
    keys.made("keys/encrypt", &WITH_MYKEY, block(0)).await;
    let growth = Growth::of(&keys.mecha);
    let watched = growth.clone();
    let text = blocks(SIZE).map(move |block| {
        watched.look();
        Ok(block)
    });
    let (status, _, document) = stream_up(&keys.url("keys/encrypt"), &WITH_MYKEY, text).await.unwrap();
    assert_eq!(status, 200);
    let document = document.into_data_stream().map(|piece| piece.map_err(std::io::Error::other));
    let (status, _, text) = stream_up(&keys.url("keys/decrypt"), &[], document).await.unwrap();
    assert_eq!(status, 200);
    let mut checked = Checked::default();
    each_piece(text, |piece| checked.take(piece)).await.unwrap();
    assert_eq!(checked.seen(), SIZE * MIB);
    assert!(growth.mib() < 40.0, "{SIZE} MiB passed through, and memory grew by {} MiB", growth.mib());
}

#[tokio::test]
async fn a_caller_that_sends_everything_before_it_reads_is_served() {
    let keys = Keys::start().await;
    let text: Vec<u8> = (0..4).flat_map(block).collect();
    let request = raw_http::request("PUT", b"/v1.0-alpha1/crypto/keys/encrypt", &WITH_MYKEY, &text);
    let reply = raw_http::exchange(&keys.mecha.http_addr(), &request, "PUT").await.unwrap().unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.body.len(), header(&reply.body).len() + text.len() + 64 * 16);
    assert_eq!(keys.made("keys/decrypt", &[], reply.body).await, text);
}
