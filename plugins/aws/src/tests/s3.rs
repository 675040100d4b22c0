//! The operations of the S3 binding.

use mecha_plugin_api::binding::{InvokeRequest, InvokeResponse, OutputBinding};
use mecha_plugin_api::{Buf, Result};
use serde_json::{Value, json};

use super::*;
use crate::s3::S3Binding;

/// A bucket of our own and a component on it.
pub(super) struct Opened {
    pub(super) binding: S3Binding,
    pub(super) bucket: String,
}

pub(super) fn spec_for(address: &str, bucket: &str, more: &[(&str, &str)]) -> ComponentSpec {
    let mut spec = spec("bindings.aws.s3", more);
    let key = std::env::var(S3_KEY_VARIABLE).unwrap_or_else(|_| "mecha".to_owned());
    let secret = std::env::var(S3_SECRET_VARIABLE).unwrap_or_else(|_| "mecha-secret".to_owned());
    let given = [("endpoint", address), ("bucket", bucket), ("accessKey", &key), ("secretKey", &secret)];
    for (name, value) in given.into_iter().chain([("region", "us-east-1"), ("forcePathStyle", "true")]) {
        if spec.text(name).is_none() {
            spec.metadata.insert(name, value);
        }
    }
    spec
}

pub(super) async fn opened(more: &[(&str, &str)]) -> Option<Opened> {
    let address = server(S3_VARIABLE)?;
    let bucket = unique("bucket");
    let spec = spec_for(&address, &bucket, more);
    S3Binding::make_bucket(&spec).await;
    Some(Opened { binding: S3Binding::open(spec, shared()).await.unwrap(), bucket })
}

impl Opened {
    pub(super) async fn try_call(
        &self,
        operation: &str,
        data: &[u8],
        metadata: &[(&str, &str)],
    ) -> Result<InvokeResponse> {
        let metadata = Metadata::from_iter(metadata.iter().copied());
        let request = InvokeRequest { operation: operation.into(), data: Buf::from(data.to_vec()), metadata };
        self.binding.invoke(&context(), request).await
    }

    pub(super) async fn call(
        &self,
        operation: &str,
        data: &[u8],
        metadata: &[(&str, &str)],
    ) -> InvokeResponse {
        self.try_call(operation, data, metadata).await.unwrap()
    }

    async fn read(&self, key: &str) -> Vec<u8> {
        self.call("get", b"", &[("key", key)]).await.data.to_vec()
    }
}

fn parsed(response: &InvokeResponse) -> Value {
    serde_json::from_slice(&response.data).unwrap()
}

/// Fetches an address without credentials.
async fn fetch(address: &str) -> (u16, Vec<u8>) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let uri: http::Uri = address.parse().unwrap();
    let authority = uri.authority().unwrap().as_str();
    let mut stream = tokio::net::TcpStream::connect(authority).await.unwrap();
    let request = format!("GET {} HTTP/1.0\r\nHost: {authority}\r\n\r\n", uri.path_and_query().unwrap());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let status = std::str::from_utf8(&answer[9..12]).unwrap().parse().unwrap();
    (status, answer[head + 4..].to_vec())
}

#[tokio::test]
async fn an_object_is_created_read_listed_and_deleted() {
    let Some(s3) = opened(&[]).await else { return };
    let created = s3.call("create", b"hello", &[("key", "a/b c.txt"), ("Content-Type", "text/plain")]).await;
    assert_eq!(created.metadata.get("key"), Some("a/b c.txt"));
    let location = parsed(&created)["location"].as_str().unwrap().to_owned();
    assert!(location.ends_with(&format!("/{}/a/b%20c.txt", s3.bucket)), "{location}");
    assert!(parsed(&created)["versionID"].is_null());
    assert_eq!(s3.read("a/b c.txt").await, b"hello");
    let listed = parsed(&s3.call("list", b"", &[]).await);
    assert_eq!(
        (&listed["Contents"][0]["Key"], &listed["Contents"][0]["Size"]),
        (&json!("a/b c.txt"), &json!(5))
    );
    assert_eq!(listed["Name"], json!(s3.bucket));
    s3.call("delete", b"", &[("key", "a/b c.txt")]).await;
    assert!(parsed(&s3.call("list", b"", &[]).await)["Contents"].is_null());
    s3.call("delete", b"", &[("key", "never there")]).await;
}

#[tokio::test]
async fn a_key_is_made_up_where_none_is_given() {
    let Some(s3) = opened(&[]).await else { return };
    let created = s3.call("create", br#""a string""#, &[]).await;
    let key = created.metadata.get("key").unwrap();
    assert_eq!((key.len(), s3.read(key).await), (36, b"a string".to_vec()));
}

#[tokio::test]
async fn base64_is_decoded_on_the_way_in_and_encoded_on_the_way_out() {
    let Some(s3) = opened(&[("decodeBase64", "true")]).await else { return };
    s3.call("create", br#""/wD+""#, &[("key", "bytes")]).await;
    assert_eq!(s3.read("bytes").await, b"\xff\x00\xfe");
    let encoded = s3.call("get", b"", &[("key", "bytes"), ("encodeBase64", "true")]).await;
    assert_eq!(&*encoded.data, b"/wD+");
    s3.call("create", b"plain", &[("key", "plain"), ("decodeBase64", "false")]).await;
    assert_eq!(s3.read("plain").await, b"plain");
}

#[tokio::test]
async fn files_are_uploaded() {
    let Some(s3) = opened(&[]).await else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    let data: Vec<u8> = (0..3_000_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    std::fs::write(&path, &data).unwrap();
    s3.call("create", b"", &[("key", "file"), ("filePath", path.to_str().unwrap())]).await;
    assert!(s3.read("file").await == data);
}

#[tokio::test]
async fn tags_and_storage_class_go_along() {
    let Some(s3) = opened(&[("storageClass", "STANDARD")]).await else { return };
    s3.call("create", b"x", &[("key", "tagged"), ("tags", "project=sashimi, year=2024")]).await;
    // A set: in no order.
    let mut tags = s3.binding.tags("tagged").await;
    tags.sort();
    assert_eq!(
        tags,
        [("project", "sashimi"), ("year", "2024")].map(|(key, value)| (key.to_owned(), value.to_owned()))
    );
}

#[tokio::test]
async fn listings_are_filtered_and_paged() {
    let Some(s3) = opened(&[]).await else { return };
    for key in ["logs/1", "logs/2", "logs/3", "other"] {
        s3.call("create", b"x", &[("key", key)]).await;
    }
    let page = parsed(&s3.call("list", br#"{"prefix":"logs/","maxResults":2}"#, &[]).await);
    let keys = |page: &Value| -> Vec<String> {
        page["Contents"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["Key"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        (keys(&page), &page["IsTruncated"]),
        (vec!["logs/1".to_owned(), "logs/2".to_owned()], &json!(true))
    );
    let page = parsed(&s3.call("list", br#"{"prefix":"logs/","marker":"logs/2"}"#, &[]).await);
    assert_eq!(keys(&page), ["logs/3"]);
    let page = parsed(&s3.call("list", br#"{"delimiter":"/"}"#, &[]).await);
    assert_eq!(
        (page["CommonPrefixes"][0]["Prefix"].as_str(), keys(&page)),
        (Some("logs/"), vec!["other".to_owned()])
    );
}

#[tokio::test]
async fn presigned_addresses_need_no_credentials() {
    let Some(s3) = opened(&[]).await else { return };
    let created = s3.call("create", b"open", &[("key", "k"), ("presignTTL", "15m")]).await;
    let address = parsed(&created)["presignURL"].as_str().unwrap().to_owned();
    assert!(address.contains("X-Amz-Expires=900"), "{address}");
    assert_eq!(fetch(&address).await, (200, b"open".to_vec()));
    let presigned = s3.call("presign", b"", &[("key", "k"), ("presignTTL", "1h")]).await;
    let address = parsed(&presigned)["presignURL"].as_str().unwrap().to_owned();
    assert_eq!(fetch(&address).await, (200, b"open".to_vec()));
    assert_eq!(fetch(&address.replace("X-Amz-Expires=3600", "X-Amz-Expires=7200")).await.0, 403);
}

#[tokio::test]
async fn several_objects_go_in_one_call_each_with_its_result() {
    let Some(s3) = opened(&[]).await else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b").to_str().unwrap().to_owned();
    let items = json!({"items": [{"key": "a", "data": "first"}, {"key": "b", "data": "second"}, {"key": ""}, {"key": "c"}]});
    let results = parsed(&s3.call("bulkCreate", items.to_string().as_bytes(), &[]).await);
    assert!(results[0]["location"].as_str().unwrap().ends_with("/a"));
    assert_eq!(
        (&results[2]["error"], &results[3]["error"]),
        (&json!("key is required"), &json!("either data or filePath is required"))
    );
    let items =
        json!({"items": [{"key": "a"}, {"key": "b", "filePath": path}, {"key": "none"}], "concurrency": 2});
    let results = parsed(&s3.call("bulkGet", items.to_string().as_bytes(), &[]).await);
    assert_eq!(
        results,
        json!([{"key": "a", "data": "first"}, {"key": "b"}, {"key": "none", "error": "object not found"}])
    );
    assert_eq!(std::fs::read(&path).unwrap(), b"second");
    let results =
        parsed(&s3.call("bulkGet", items.to_string().as_bytes(), &[("encodeBase64", "true")]).await);
    assert_eq!(
        (&results[0]["data"], std::fs::read(&path).unwrap()),
        (&json!("Zmlyc3Q="), b"c2Vjb25k".to_vec())
    );
    let results = parsed(&s3.call("bulkDelete", br#"{"keys":["a","b","a",""," "]}"#, &[]).await);
    assert_eq!(
        results,
        json!([{"key":"a"},{"key":"b"},{"key":"a"},{"key":"","error":"key is required"},{"key":" ","error":"key is required"}])
    );
    assert!(parsed(&s3.call("list", b"", &[]).await)["Contents"].is_null());
}

#[tokio::test]
async fn a_large_object_comes_back_whole() {
    let Some(s3) = opened(&[]).await else { return };
    let data: Vec<u8> = (0..5_000_000_u32).flat_map(u32::to_le_bytes).collect();
    s3.call("create", &data, &[("key", "large")]).await;
    assert!(s3.read("large").await == data);
}
