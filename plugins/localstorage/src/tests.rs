//! The binding as a runtime uses it: through the author's trait.

use std::os::unix::fs::symlink;

use mecha_plugin_api::binding::{InvokeRequest, OutputBinding};
use mecha_plugin_api::{Buf, CallContext, ComponentSpec, ErrorKind, Metadata, Result};
use tempfile::TempDir;

use crate::binding::LocalStorage;

struct Storage {
    binding: LocalStorage,
    folder: TempDir,
}

impl Storage {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root").to_str().unwrap().to_owned();
        let metadata = Metadata::from_iter([("rootPath", root)]);
        let spec = ComponentSpec::new("files", "bindings.localstorage", metadata);
        Self { binding: LocalStorage::open(spec).await.unwrap(), folder }
    }

    async fn invoke(&self, operation: &str, name: &str, data: &str) -> Result<String> {
        let metadata = Metadata::from_iter([("fileName", name)]);
        let request =
            InvokeRequest { operation: operation.into(), data: Buf::from(data.to_owned()), metadata };
        let response = self.binding.invoke(&CallContext::background("app"), request).await?;
        Ok(String::from_utf8(response.data.to_vec()).unwrap())
    }
}

#[tokio::test]
async fn files_are_written_read_listed_and_deleted() {
    let storage = Storage::open().await;
    let root = storage.folder.path().join("root").canonicalize().unwrap();
    assert_eq!(storage.invoke("list", "", "").await.unwrap(), "null");
    let created = storage.invoke("create", "b/../a/one.txt", "first!").await.unwrap();
    assert_eq!(created, r#"{"fileName":"a/one.txt"}"#);
    storage.invoke("create", "two.txt", "second!").await.unwrap();
    storage.invoke("create", "a/one.txt", "1!").await.unwrap();
    assert_eq!(storage.invoke("get", "a/one.txt", "").await.unwrap(), "1!");
    let listed: Vec<String> = serde_json::from_str(&storage.invoke("list", "", "").await.unwrap()).unwrap();
    let path = |name: &str| root.join(name).to_str().unwrap().to_owned();
    assert_eq!(listed, [path("a/one.txt"), path("two.txt")]);
    assert_eq!(storage.invoke("delete", "a/one.txt", "").await.unwrap(), "");
    storage.invoke("delete", "a", "").await.unwrap();
    let error = storage.invoke("get", "a/one.txt", "").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NOT_FOUND);
    assert_eq!(error.message(), format!("file not found: {}", path("a/one.txt")));
}

#[tokio::test]
async fn a_file_without_a_name_gets_one() {
    let storage = Storage::open().await;
    let created: serde_json::Value =
        serde_json::from_str(&storage.invoke("create", "", "x!").await.unwrap()).unwrap();
    let name = created["fileName"].as_str().unwrap();
    assert_eq!(name.len(), 36);
    assert_eq!(storage.invoke("get", name, "").await.unwrap(), "x!");
}

#[tokio::test]
async fn no_name_and_no_link_leads_out() {
    let storage = Storage::open().await;
    let (outside, root) = (storage.folder.path().join("secret"), storage.folder.path().join("root"));
    std::fs::write(&outside, "secret").unwrap();
    symlink(&outside, root.join("absolute")).unwrap();
    symlink("../../secret", root.join("relative")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    for name in ["../secret", "/../../secret", "absolute", "relative", "a/../../secret"] {
        assert_eq!(storage.invoke("get", name, "").await.unwrap_err().kind(), ErrorKind::NOT_FOUND, "{name}");
    }
    storage.invoke("create", "../../secret", "mine!").await.unwrap();
    assert_eq!(std::fs::read_to_string(&outside).unwrap(), "secret");
    assert_eq!(std::fs::read_to_string(root.join("secret")).unwrap(), "mine!");
    assert_eq!(storage.invoke("get", "relative", "").await.unwrap(), "mine!");
    let error = storage.invoke("get", "loop", "").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::INVALID);
}

#[tokio::test]
async fn what_cannot_be_done_says_so() {
    let storage = Storage::open().await;
    storage.invoke("create", "file", "x!").await.unwrap();
    let not_a_folder = storage.invoke("list", "file", "").await.unwrap_err();
    assert!(not_a_folder.message().starts_with("unable to list files as the file specified is not a"));
    let unknown = storage.invoke("move", "file", "").await.unwrap_err();
    assert_eq!((unknown.kind(), unknown.message()), (ErrorKind::UNSUPPORTED, "unsupported operation move"));
    for operation in ["delete", "list"] {
        let missing = storage.invoke(operation, "missing", "").await.unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NOT_FOUND);
    }
}
