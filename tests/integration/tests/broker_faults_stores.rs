//! The server of a state store, or of objects, goes away under writers: killed and started again, cut off, behind a wire that
//! went silent. The component's health says so while it lasts, calls fail in time and with the right code, the plugin
//! recovers by itself, and what was acknowledged is there.

#[path = "support/faults.rs"]
mod faults;

use std::collections::HashMap;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mecha_backends::{Proxy, Redis, Toxic, Toxiproxy, Versitygw, Way, optional};
use mecha_testkit::{HttpClient, Mecha, Reply, eventually};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use faults::{fails, wait_healthy};

const WRITERS: u64 = 8;
/// So many writes are acknowledged before the next fault.
const FLOWING: u64 = 200;
const SOON: Duration = Duration::from_secs(30);
/// Longer than any call may take.
const HANGS: Duration = Duration::from_secs(60);

/// How a kind of store is written, read and asked.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    /// How long one call may take when nobody answers.
    limit: Duration,
    read_code: &'static str,
    write_code: &'static str,
    write: fn(&Client, &str, u64) -> Call,
    read: fn(&Client, &str) -> Call,
    /// What a read answers for a value.
    value: fn(&Reply) -> Result<u64>,
}

type Call = std::pin::Pin<Box<dyn Future<Output = Result<Reply>> + Send>>;

/// Calls of one runtime.
#[derive(Clone)]
struct Client {
    http: HttpClient,
    base: String,
}

impl Client {
    fn post(&self, path: &str, body: Value) -> Call {
        let (http, url) = (self.http.clone(), format!("{}{path}", self.base));
        Box::pin(async move { http.post(&url, body.to_string()).await })
    }

    fn send(&self, method: &'static str, path: &str, body: String) -> Call {
        let (http, url) = (self.http.clone(), format!("{}{path}", self.base));
        Box::pin(async move {
            let request = http::Request::builder().method(method).uri(url);
            http.send(request.body(http_body_util::Full::new(body.into()))?).await
        })
    }
}

const STATE: Kind = Kind {
    name: "state.redis",
    limit: Duration::from_secs(5),
    read_code: "ERR_STATE_GET",
    write_code: "ERR_STATE_SAVE",
    write: |client, key, value| client.post("/v1.0/state/store", json!([{"key": key, "value": value}])),
    read: |client, key| client.send("GET", &format!("/v1.0/state/store/{key}"), String::new()),
    value: |reply| reply.json()?.as_u64().context("a number"),
};

const BINDING: Kind = Kind {
    name: "bindings.aws.s3",
    limit: Duration::from_secs(25),
    read_code: "ERR_INVOKE_OUTPUT_BINDING",
    write_code: "ERR_INVOKE_OUTPUT_BINDING",
    write: |client, key, value| {
        let wanted = json!({"operation": "create", "data": value.to_string(), "metadata": {"key": key}});
        client.post("/v1.0/bindings/store", wanted)
    },
    read: |client, key| {
        client.post("/v1.0/bindings/store", json!({"operation": "get", "metadata": {"key": key}}))
    },
    value: |reply| Ok(reply.text().trim_matches('"').parse()?),
};

const OBJECTS: Kind = Kind {
    name: "objects.aws.s3",
    limit: Duration::from_secs(25),
    read_code: "ERR_OBJECT_STORE_",
    write_code: "ERR_OBJECT_STORE_",
    write: |client, key, value| {
        client.send("PUT", &format!("/v1.0-alpha1/objects/store/{key}"), value.to_string())
    },
    read: |client, key| client.send("GET", &format!("/v1.0-alpha1/objects/store/{key}"), String::new()),
    value: |reply| Ok(reply.text().parse()?),
};

/// Writers of one runtime, each with keys of its own, and what was acknowledged to them.
struct Writers {
    kind: Kind,
    mecha: Mecha,
    client: Client,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    running: JoinSet<Result<HashMap<String, u64>>>,
}

impl Writers {
    fn start(kind: Kind, mecha: Mecha) -> Self {
        let client = Client { http: HttpClient::new(), base: mecha.http_url("") };
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut running = JoinSet::new();
        for writer in 0..WRITERS {
            running.spawn(write(kind, client.clone(), writer, stop.clone(), acknowledged.clone()));
        }
        Self { kind, mecha, client, stop, acknowledged, running }
    }

    /// Waits until more writes were acknowledged.
    async fn flow(&self) -> Result<()> {
        let goal = self.acknowledged.load(Ordering::Relaxed) + FLOWING;
        eventually(SOON, || async {
            let now = self.acknowledged.load(Ordering::Relaxed);
            ensure!(now >= goal, "{}: {now} of {goal} writes", self.kind.name);
            Ok(())
        })
        .await
    }

    /// Lets writes flow, takes the server away, and looks at what that does to calls.
    async fn away(&self, how: &str, begin: impl FnOnce() -> Result<()>) -> Result<()> {
        self.flow().await?;
        begin()?;
        let what = format!("{}, {how}", self.kind.name);
        // The first calls meet connections that stand, later ones find none.
        self.fail(&what).await?;
        wait_healthy(&self.mecha, "store", false).await.with_context(|| format!("{what}: it is away"))?;
        self.fail(&what).await
    }

    async fn fail(&self, what: &str) -> Result<()> {
        let Kind { limit, read_code, write_code, read, write, .. } = self.kind;
        let (reads, writes) = (format!("{what}, read"), format!("{what}, write"));
        let (read, written) = tokio::join!(
            fails(&reads, read_code, limit, read(&self.client, "while-away")),
            fails(&writes, write_code, limit, write(&self.client, "while-away", 0)),
        );
        read.and(written)
    }

    /// The server is there again.
    async fn back(&self) -> Result<()> {
        wait_healthy(&self.mecha, "store", true).await.with_context(|| format!("{} is back", self.kind.name))
    }

    /// Cuts the wire, mends it, makes it silent, mends it.
    async fn break_wire(&self, proxy: &Proxy<'_>) -> Result<()> {
        self.away("cut off", || Ok(proxy.cut()?)).await?;
        proxy.heal()?;
        self.back().await?;
        // Both ways: a server that gets a request may answer, and close the connection, which is not silent.
        let silence = || {
            proxy.add(Toxic::Silence, Way::ToServer)?;
            Ok(proxy.add(Toxic::Silence, Way::ToClient)?)
        };
        self.away("silent", silence).await?;
        proxy.heal()?;
        self.back().await
    }

    /// Ends the writers and reads what was acknowledged to them.
    async fn finish(mut self) -> Result<()> {
        self.flow().await?;
        self.stop.store(true, Ordering::Relaxed);
        let mut all = 0;
        while let Some(written) = self.running.join_next().await {
            for (key, value) in written?? {
                let reply = (self.kind.read)(&self.client, &key).await?;
                ensure!(reply.status == 200, "{key} is lost: {} {}", reply.status, reply.text());
                let found = (self.kind.value)(&reply)?;
                // A write that failed may have been done all the same, so a later value is right as well.
                ensure!(found >= value, "{key} is {found}, and {value} was acknowledged");
                all += 1;
            }
        }
        let writes = self.acknowledged.load(Ordering::Relaxed);
        println!("{}: {writes} writes of {all} keys, 0 lost", self.kind.name);
        Ok(())
    }
}

/// Writes growing values until stopped; gives the last that was acknowledged for each key.
async fn write(
    kind: Kind,
    client: Client,
    writer: u64,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
) -> Result<HashMap<String, u64>> {
    let (mut done, mut value) = (HashMap::new(), 0);
    while !stop.load(Ordering::Relaxed) {
        value += 1;
        let key = format!("w{writer}-{}", value % 100);
        let reply = tokio::time::timeout(HANGS, (kind.write)(&client, &key, value)).await;
        let reply = reply.with_context(|| format!("{}: a write hangs", kind.name))??;
        match reply.status.as_u16() {
            200..300 => {
                done.insert(key, value);
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            500.. => tokio::time::sleep(Duration::from_millis(20)).await,
            _ => anyhow::bail!("{}: {}", reply.status, reply.text()),
        }
    }
    Ok(done)
}

async fn state(mut redis: Redis, toxiproxy: &Toxiproxy) -> Result<()> {
    let proxy = toxiproxy.proxy(redis.addr())?;
    let addr = proxy.addr().to_string();
    let builder =
        Mecha::builder().plugin("redis").component_with("store", "state.redis", &[("redisHost", &addr)]);
    let writers = Writers::start(STATE, builder.start().await?);
    writers.break_wire(&proxy).await?;
    writers.away("killed", || Ok(redis.stop()?)).await?;
    redis.start_again()?;
    writers.back().await?;
    writers.finish().await
}

/// The checksum of a body of no bytes; older curls leave it out.
const EMPTY_BODY: &str =
    "x-amz-content-sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Makes a bucket with a client that is not ours.
fn make_bucket(endpoint: &str, name: &str) -> Result<()> {
    let user = format!("{}:{}", Versitygw::ACCESS_KEY, Versitygw::SECRET_KEY);
    let made = Command::new("curl")
        .args(["--silent", "--show-error", "--fail", "-X", "PUT", "-H", EMPTY_BODY])
        .args(["--aws-sigv4", "aws:amz:us-east-1:s3", "--user", &user])
        .arg(format!("{endpoint}/{name}"))
        .status()?;
    ensure!(made.success(), "the bucket cannot be made");
    Ok(())
}

async fn objects(kind: Kind, mut server: Versitygw, toxiproxy: &Toxiproxy) -> Result<()> {
    make_bucket(server.endpoint(), "faults")?;
    let proxy = toxiproxy.proxy(server.addr().context("a server of our own")?)?;
    let endpoint = format!("http://{}", proxy.addr());
    let metadata = [
        ("endpoint", endpoint.as_str()),
        ("bucket", "faults"),
        ("forcePathStyle", "true"),
        ("region", "us-east-1"),
        ("accessKey", Versitygw::ACCESS_KEY),
        ("secretKey", Versitygw::SECRET_KEY),
    ];
    let builder = Mecha::builder().plugin("aws").component_with("store", kind.name, &metadata);
    let writers = Writers::start(kind, builder.start().await?);
    writers.break_wire(&proxy).await?;
    writers.away("killed", || Ok(server.stop()?)).await?;
    server.start_again()?;
    writers.back().await?;
    writers.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_of_a_state_store_goes_away() {
    let Some(toxiproxy) = optional(Toxiproxy::start()).unwrap() else { return };
    state(Redis::start_durable().unwrap(), &toxiproxy).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_of_an_s3_binding_goes_away() {
    let Some(toxiproxy) = optional(Toxiproxy::start()).unwrap() else { return };
    let Some(server) = optional(Versitygw::start()).unwrap() else { return };
    objects(BINDING, server, &toxiproxy).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_of_an_object_store_goes_away() {
    let Some(toxiproxy) = optional(Toxiproxy::start()).unwrap() else { return };
    let Some(server) = optional(Versitygw::start()).unwrap() else { return };
    objects(OBJECTS, server, &toxiproxy).await.unwrap();
}
