//! A state store as a test calls it, the same over HTTP and gRPC.

use std::collections::HashMap;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use mecha_proto::common::v1::state_options::StateConcurrency;
use mecha_proto::common::v1::{Etag, StateItem, StateOptions};
use mecha_proto::error_model::StatusExt;
use mecha_proto::runtime::v1::dapr_client::DaprClient;
use mecha_proto::runtime::v1::{
    DeleteStateRequest, ExecuteStateTransactionRequest, GetBulkStateRequest, GetStateRequest,
    SaveStateRequest, TransactionalStateOperation,
};
use mecha_testkit::{HttpClient, Mecha, Reply};
use serde_json::{Value, json};
use tonic::transport::Channel;
use tonic::{Code, Status};

/// The back end behind a store; a few rules of Dapr differ between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    Memory,
    Sqlite,
    Redis,
}

/// A protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Http,
    Grpc,
}

/// One store over one protocol.
#[derive(Debug, Clone)]
pub struct Store {
    pub name: String,
    pub backend: Backend,
    pub protocol: Protocol,
    http: HttpClient,
    url: String,
    grpc: DaprClient<Channel>,
}

/// A stored value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub value: Bytes,
    pub etag: Option<String>,
    pub ttl_expire_time: Option<String>,
}

impl Item {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.value).unwrap()
    }
}

/// One key of a bulk answer; no item when there is no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkItem {
    pub key: String,
    pub item: Option<Item>,
    pub error: String,
}

/// A call that was refused.
#[derive(Debug)]
pub struct Failure {
    outcome: Outcome,
    code: String,
    message: String,
}

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Http(u16),
    Grpc(Code),
}

impl Failure {
    /// Holds it to Dapr's status in its protocol, Dapr's code and a part of Dapr's text.
    #[track_caller]
    pub fn assert(&self, http: u16, grpc: Code, code: &str, message: &str) {
        let expected = match self.outcome {
            Outcome::Http(_) => Outcome::Http(http),
            Outcome::Grpc(_) => Outcome::Grpc(grpc),
        };
        assert_eq!(self.outcome, expected, "{self:?}");
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.message.contains(message), "{message:?} is not in {self:?}");
    }

    fn from_reply(reply: &Reply) -> Self {
        let body = reply.json().unwrap_or_default();
        let text = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
        Self {
            outcome: Outcome::Http(reply.status.as_u16()),
            code: text("errorCode"),
            message: text("message"),
        }
    }

    fn from_status(status: &Status) -> Self {
        let code = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
        Self { outcome: Outcome::Grpc(status.code()), code, message: status.message().to_owned() }
    }
}

/// A write. The value is JSON text, or any bytes over gRPC.
#[derive(Debug, Clone, Default)]
pub struct Write {
    key: String,
    value: Bytes,
    etag: Option<String>,
    first_write: bool,
    metadata: HashMap<String, String>,
}

impl Write {
    pub fn new(key: &str, value: impl Into<Bytes>) -> Self {
        Self { key: key.to_owned(), value: value.into(), ..Self::default() }
    }

    pub fn etag(self, etag: &str) -> Self {
        Self { etag: Some(etag.to_owned()), ..self }
    }

    pub fn first_write(self) -> Self {
        Self { first_write: true, ..self }
    }

    pub fn metadata(mut self, name: &str, value: &str) -> Self {
        self.metadata.insert(name.to_owned(), value.to_owned());
        self
    }

    /// As HTTP has it. The value is put in as it is: numbers must reach the runtime in the test's own digits.
    fn json(&self) -> String {
        let mut fields = vec![format!("\"key\":{}", json!(self.key))];
        if !self.value.is_empty() {
            fields.push(format!("\"value\":{}", String::from_utf8_lossy(&self.value)));
        }
        if let Some(etag) = &self.etag {
            fields.push(format!("\"etag\":{}", json!(etag)));
        }
        if self.first_write {
            fields.push("\"options\":{\"concurrency\":\"first-write\"}".to_owned());
        }
        if !self.metadata.is_empty() {
            fields.push(format!("\"metadata\":{}", json!(self.metadata)));
        }
        format!("{{{}}}", fields.join(","))
    }

    fn item(&self) -> StateItem {
        let concurrency = StateConcurrency::ConcurrencyFirstWrite.into();
        StateItem {
            key: self.key.clone(),
            value: self.value.clone(),
            etag: self.etag.clone().map(|value| Etag { value }),
            metadata: self.metadata.clone(),
            options: self.first_write.then_some(StateOptions { concurrency, consistency: 0 }),
        }
    }
}

/// One step of a transaction.
#[derive(Debug, Clone)]
pub enum Step {
    Upsert(Write),
    Delete(Write),
}

impl Step {
    pub fn delete(key: &str) -> Self {
        Self::Delete(Write::new(key, ""))
    }

    fn parts(&self) -> (&'static str, &Write) {
        match self {
            Self::Upsert(write) => ("upsert", write),
            Self::Delete(write) => ("delete", write),
        }
    }
}

impl Store {
    pub async fn connect(mecha: &Mecha, name: &str, backend: Backend, protocol: Protocol) -> Self {
        Self {
            name: name.to_owned(),
            backend,
            protocol,
            http: mecha.http().clone(),
            url: mecha.http_url(&format!("/v1.0/state/{name}")),
            grpc: mecha.grpc().await.unwrap(),
        }
    }

    /// The same store over the other protocol.
    pub fn other_protocol(&self) -> Self {
        let protocol = match self.protocol {
            Protocol::Http => Protocol::Grpc,
            Protocol::Grpc => Protocol::Http,
        };
        Self { protocol, ..self.clone() }
    }

    /// A key that no other case and no other protocol uses.
    pub fn key(&self, case: &str) -> String {
        format!("{case}-{:?}", self.protocol)
    }

    pub async fn get(&self, key: &str) -> Result<Option<Item>, Failure> {
        match self.protocol {
            Protocol::Http => {
                let reply = self.http.get(&self.key_url(key)).await.unwrap();
                match reply.status.as_u16() {
                    200 => Ok(Some(item_of_reply(&reply))),
                    204 => {
                        assert!(reply.body.is_empty(), "204 with a body: {}", reply.text());
                        Ok(None)
                    }
                    _ => Err(Failure::from_reply(&reply)),
                }
            }
            Protocol::Grpc => {
                let request = GetStateRequest {
                    store_name: self.name.clone(),
                    key: key.to_owned(),
                    ..Default::default()
                };
                let answer = self.grpc.clone().get_state(request).await;
                let answer = answer.map_err(|status| Failure::from_status(&status))?.into_inner();
                Ok(item(answer.data, answer.etag, &answer.metadata))
            }
        }
    }

    pub async fn save(&self, writes: &[Write]) -> Result<(), Failure> {
        match self.protocol {
            Protocol::Http => {
                let list: Vec<_> = writes.iter().map(Write::json).collect();
                let body = format!("[{}]", list.join(","));
                self.no_content(Method::POST, &self.url, None, body).await
            }
            Protocol::Grpc => {
                let states = writes.iter().map(Write::item).collect();
                let request = SaveStateRequest { store_name: self.name.clone(), states };
                let answer = self.grpc.clone().save_state(request).await;
                answer.map(drop).map_err(|status| Failure::from_status(&status))
            }
        }
    }

    pub async fn save_one(&self, write: Write) -> Result<(), Failure> {
        self.save(&[write]).await
    }

    pub async fn delete(&self, key: &str, etag: Option<&str>) -> Result<(), Failure> {
        match self.protocol {
            Protocol::Http => self.no_content(Method::DELETE, &self.key_url(key), etag, String::new()).await,
            Protocol::Grpc => {
                let request = DeleteStateRequest {
                    store_name: self.name.clone(),
                    key: key.to_owned(),
                    etag: etag.map(|value| Etag { value: value.to_owned() }),
                    ..Default::default()
                };
                let answer = self.grpc.clone().delete_state(request).await;
                answer.map(drop).map_err(|status| Failure::from_status(&status))
            }
        }
    }

    pub async fn bulk_get(&self, keys: &[&str]) -> Result<Vec<BulkItem>, Failure> {
        match self.protocol {
            Protocol::Http => {
                let body = json!({"keys": keys, "parallelism": 3}).to_string();
                let reply = self.http.post(&format!("{}/bulk", self.url), body).await.unwrap();
                if reply.status != 200 {
                    return Err(Failure::from_reply(&reply));
                }
                let list = reply.json().unwrap();
                let list = list.as_array().unwrap_or_else(|| panic!("not a list: {}", reply.text()));
                Ok(list.iter().map(bulk_item_of_json).collect())
            }
            Protocol::Grpc => {
                let request = GetBulkStateRequest {
                    store_name: self.name.clone(),
                    keys: keys.iter().map(|key| (*key).to_owned()).collect(),
                    parallelism: 3,
                    ..Default::default()
                };
                let answer = self.grpc.clone().get_bulk_state(request).await;
                let answer = answer.map_err(|status| Failure::from_status(&status))?.into_inner();
                let items = answer.items.into_iter().map(|found| BulkItem {
                    item: item(found.data, found.etag, &found.metadata),
                    key: found.key,
                    error: found.error,
                });
                Ok(items.collect())
            }
        }
    }

    pub async fn transact(&self, steps: &[Step]) -> Result<(), Failure> {
        let parts = steps.iter().map(Step::parts);
        match self.protocol {
            Protocol::Http => {
                let operations: Vec<_> = parts
                    .map(|(operation, write)| {
                        format!("{{\"operation\":\"{operation}\",\"request\":{}}}", write.json())
                    })
                    .collect();
                let body = format!("{{\"operations\":[{}]}}", operations.join(","));
                self.no_content(Method::POST, &format!("{}/transaction", self.url), None, body).await
            }
            Protocol::Grpc => {
                let operations = parts.map(|(operation, write)| TransactionalStateOperation {
                    operation_type: operation.to_owned(),
                    request: Some(write.item()),
                });
                let request = ExecuteStateTransactionRequest {
                    store_name: self.name.clone(),
                    operations: operations.collect(),
                    ..Default::default()
                };
                let answer = self.grpc.clone().execute_state_transaction(request).await;
                answer.map(drop).map_err(|status| Failure::from_status(&status))
            }
        }
    }

    /// A call whose success is 204 without a body.
    async fn no_content(
        &self,
        method: Method,
        url: &str,
        etag: Option<&str>,
        body: String,
    ) -> Result<(), Failure> {
        let mut request = Request::builder().method(method).uri(url);
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        if let Some(etag) = etag {
            request = request.header("if-match", etag);
        }
        let reply = self.http.send(request.body(Full::new(body.into())).unwrap()).await.unwrap();
        if reply.status != 204 {
            assert!(!reply.status.is_success(), "{}: {}", reply.status, reply.text());
            return Err(Failure::from_reply(&reply));
        }
        assert!(reply.body.is_empty(), "204 with a body: {}", reply.text());
        Ok(())
    }

    /// Everything that is not plain is escaped: a key may hold slashes, spaces and percent signs.
    fn key_url(&self, key: &str) -> String {
        let escaped = key.bytes().map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        });
        format!("{}/{}", self.url, escaped.collect::<String>())
    }
}

fn item_of_reply(reply: &Reply) -> Item {
    assert_eq!(reply.header("content-type"), "application/json");
    let header = |name: &str| Some(reply.header(name).to_owned()).filter(|value| !value.is_empty());
    Item {
        value: reply.body.clone(),
        etag: header("etag"),
        ttl_expire_time: header("metadata.ttlexpiretime"),
    }
}

fn bulk_item_of_json(found: &Value) -> BulkItem {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let item = found.get("data").map(|data| Item {
        value: data.to_string().into(),
        etag: text(&found["etag"]),
        ttl_expire_time: text(&found["metadata"]["ttlExpireTime"]),
    });
    BulkItem {
        key: text(&found["key"]).unwrap_or_default(),
        item,
        error: text(&found["error"]).unwrap_or_default(),
    }
}

/// gRPC has no word for "no value": it is empty and has no etag.
fn item(value: Bytes, etag: String, metadata: &HashMap<String, String>) -> Option<Item> {
    if value.is_empty() && etag.is_empty() {
        return None;
    }
    let ttl_expire_time = metadata.get("ttlExpireTime").cloned();
    Some(Item { value, etag: Some(etag).filter(|etag| !etag.is_empty()), ttl_expire_time })
}
