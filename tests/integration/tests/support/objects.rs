//! The object stores that the tests of the API run on, and streams to and from them.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use mecha_testkit::{Mecha, Reply, eventually};
use serde_json::Value;
use tempfile::TempDir;

pub const MIB: usize = 1024 * 1024;
/// Long, because a server on a busy disk may take seconds to begin an upload.
const SOON: Duration = Duration::from_secs(60);

/// A runtime with one empty object store, named `store`.
pub struct Store {
    pub mecha: Mecha,
    pub place: Place,
}

/// Where the objects really are.
pub enum Place {
    Folder(TempDir),
    Bucket(Bucket),
}

/// A bucket of a server that was started for tests.
pub struct Bucket {
    address: String,
    user: String,
    name: String,
}

impl Store {
    pub async fn in_folder() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root").to_str().unwrap().to_owned();
        let mecha = Mecha::builder()
            .plugin("localstorage")
            .component_with("store", "objects.local", &[("rootPath", root.as_str())])
            .flag("--max-body-size", "1Mi")
            .start()
            .await
            .unwrap();
        Self { mecha, place: Place::Folder(folder) }
    }

    /// `None`, and a line that says so, where there is no server.
    pub async fn in_bucket() -> Option<Self> {
        let Some(bucket) = Bucket::make().await else {
            eprintln!("skipped for S3: MECHA_TEST_S3 names no server");
            return None;
        };
        let (key, secret) = bucket.user.split_once(':').unwrap();
        let fields = [
            ("endpoint", bucket.address.as_str()),
            ("bucket", bucket.name.as_str()),
            ("forcePathStyle", "true"),
            ("region", "us-east-1"),
            ("accessKey", key),
            ("secretKey", secret),
        ];
        let mecha = Mecha::builder()
            .plugin("aws")
            .component_with("store", "objects.aws.s3", &fields)
            .flag("--max-body-size", "1Mi")
            .start()
            .await
            .unwrap();
        Some(Self { mecha, place: Place::Bucket(bucket) })
    }

    /// The same case on every store there is.
    pub async fn each<F: Future<Output = ()>>(case: impl Fn(Self) -> F) {
        case(Self::in_folder().await).await;
        if let Some(store) = Self::in_bucket().await {
            case(store).await;
        }
    }

    pub fn is_folder(&self) -> bool {
        matches!(self.place, Place::Folder(_))
    }

    pub fn url(&self, key: &str) -> String {
        self.mecha.http_url(&format!("/v1.0-alpha1/objects/store/{key}"))
    }

    pub async fn send(
        &self,
        method: Method,
        key: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Reply {
        let mut request = Request::builder().method(method).uri(self.url(key));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.mecha.http().send(request.body(Full::new(body.into())).unwrap()).await.unwrap()
    }

    pub async fn put(&self, key: &str, body: impl Into<Bytes>) -> Reply {
        let reply = self.send(Method::PUT, key, &[], body).await;
        assert_eq!(reply.status, 200, "{key}: {}", reply.text());
        reply
    }

    pub async fn get(&self, key: &str, headers: &[(&str, &str)]) -> Reply {
        self.send(Method::GET, key, headers, "").await
    }

    pub async fn list(&self, query: &str) -> Value {
        let url = self.mecha.http_url(&format!("/v1.0-alpha1/objects/store?{query}"));
        let reply = self.mecha.http().get(&url).await.unwrap();
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json().unwrap()
    }

    pub async fn post(&self, operation: &str, body: &Value) -> Reply {
        self.mecha.http().post(&self.url(operation), body.to_string()).await.unwrap()
    }

    /// Waits until one object is begun and not finished.
    pub async fn begun(&self) {
        self.wait_for(1).await;
    }

    /// Waits until nothing is left of what was not finished.
    pub async fn cleaned(&self) {
        self.wait_for(0).await;
    }

    async fn wait_for(&self, count: usize) {
        let counted = || async {
            let unfinished = self.unfinished().await;
            ensure!(unfinished == count, "{unfinished} unfinished objects, not {count}");
            Ok(())
        };
        eventually(SOON, counted).await.unwrap();
    }

    /// How many objects are begun and not finished, in the store's own eyes.
    pub async fn unfinished(&self) -> usize {
        match &self.place {
            Place::Folder(folder) => {
                let uploads = folder.path().join("root/.mecha-uploads");
                let entries = std::fs::read_dir(uploads).into_iter().flatten().flatten();
                entries.filter(|entry| entry.file_name() != "lock").count()
            }
            Place::Bucket(bucket) => {
                let listed = bucket.curl(&["-sSf"], "?uploads=").await.unwrap();
                listed.matches("<UploadId>").count()
            }
        }
    }
}

/// The checksum of a body of no bytes; older curls leave it out.
const EMPTY_BODY: &str =
    "x-amz-content-sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

impl Bucket {
    async fn make() -> Option<Self> {
        let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
        let address = variable("MECHA_TEST_S3")?;
        let address = if address.contains("://") { address } else { format!("http://{address}") };
        let key = variable("MECHA_TEST_S3_ACCESS_KEY").unwrap_or_else(|| "mecha".to_owned());
        let secret = variable("MECHA_TEST_S3_SECRET_KEY").unwrap_or_else(|| "mecha-secret".to_owned());
        let name = format!("objects-{:016x}", rand::random::<u64>());
        let bucket = Self { address, user: format!("{key}:{secret}"), name };
        bucket.curl(&["-sSf", "-X", "PUT"], "").await.unwrap();
        Some(bucket)
    }

    /// A signed request that none of our code has a part in.
    async fn curl(&self, flags: &[&str], query: &str) -> Result<String> {
        let output = tokio::process::Command::new("curl")
            .args(flags)
            .args(["-H", EMPTY_BODY])
            .args(["--aws-sigv4", "aws:amz:us-east-1:s3", "--user", &self.user])
            .arg(format!("{}/{}{query}", self.address, self.name))
            .output()
            .await?;
        ensure!(output.status.success(), "curl: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }
}

type StreamedBody = UnsyncBoxBody<Bytes, std::io::Error>;

/// Sends a body as a stream, and gives the answer before its body has come.
pub async fn stream_up(
    url: &str,
    headers: &[(&str, &str)],
    body: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static,
) -> Result<(StatusCode, HeaderMap, Incoming)> {
    let client = Client::builder(TokioExecutor::new()).build_http::<StreamedBody>();
    let body = StreamBody::new(body.map(|piece| piece.map(Frame::data))).boxed_unsync();
    let mut request = Request::builder().method(Method::PUT).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (head, body) = client.request(request.body(body)?).await?.into_parts();
    Ok((head.status, head.headers, body))
}

/// Asks for an object, and gives the answer before its body has come.
pub async fn stream_down(url: &str) -> Result<(StatusCode, HeaderMap, Incoming)> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let request = Request::get(url).body(Full::new(Bytes::new()))?;
    let (head, body) = client.request(request).await?.into_parts();
    Ok((head.status, head.headers, body))
}

/// Bytes that are different everywhere, so that a piece that is lost, doubled or in the wrong place is noticed.
pub fn block(number: usize) -> Bytes {
    let mut block = Vec::with_capacity(MIB);
    for line in 0..MIB / 16 {
        block.extend_from_slice(&(number as u64).to_be_bytes());
        block.extend_from_slice(&(line as u64).to_be_bytes());
    }
    block.into()
}

/// `count` blocks as a stream.
pub fn blocks(count: usize) -> impl Stream<Item = Bytes> + Send + 'static {
    stream::iter(0..count).map(block)
}

/// Checks that what comes are the blocks, in order.
#[derive(Default)]
pub struct Checked {
    seen: usize,
    expected: Bytes,
}

impl Checked {
    pub fn take(&mut self, mut piece: Bytes) -> Result<()> {
        while !piece.is_empty() {
            if self.expected.is_empty() {
                self.expected = block(self.seen / MIB);
            }
            let part = piece.split_to(piece.len().min(self.expected.len()));
            ensure!(part == self.expected.split_to(part.len()), "wrong bytes at {}", self.seen);
            self.seen += part.len();
        }
        Ok(())
    }

    pub fn seen(&self) -> usize {
        self.seen
    }
}

/// The resident memory of a process above what it was: the most that was seen. Clones look at the same process.
#[derive(Clone)]
pub struct Growth {
    pid: u32,
    before: u64,
    most: Arc<AtomicU64>,
}

impl Growth {
    pub fn of(mecha: &Mecha) -> Self {
        let before = mecha.rss_bytes().unwrap();
        Self { pid: mecha.pid(), before, most: Arc::new(AtomicU64::new(before)) }
    }

    pub fn look(&self) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        self.most.fetch_max(kib * 1024, Ordering::Relaxed);
    }

    pub fn mib(&self) -> f64 {
        (self.most.load(Ordering::Relaxed) - self.before) as f64 / MIB as f64
    }
}

/// Reads a body piece by piece.
pub async fn each_piece(mut body: Incoming, mut piece: impl FnMut(Bytes) -> Result<()>) -> Result<()> {
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.context("the object broke off")?.into_data() {
            piece(data)?;
        }
    }
    Ok(())
}
