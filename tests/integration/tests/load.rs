//! Much at once: a thousand subscriptions on one runtime, and a burst of messages that the application is slow to take. Times
//! are printed, not judged; memory is judged with room to spare, since a debug build takes more.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use mecha_testkit::{Answer, Mecha, MechaBuilder, TestApp, Transport, Wish, eventually};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

const LONG: Duration = Duration::from_secs(60);
const KIBIBYTE: u64 = 1024;

const SUBSCRIPTIONS: usize = 1000;
/// The goal for a release build is 40 KiB; the process's own noise is spread over all of them.
const EACH_AT_MOST: u64 = 100 * KIBIBYTE;

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_subscriptions_run_and_are_small() -> Result<()> {
    let (_, _, little) = subscribed(1).await?;
    let (app, mecha, much) = subscribed(SUBSCRIPTIONS).await?;
    let each = much.saturating_sub(little) / (SUBSCRIPTIONS as u64 - 1);
    println!(
        "resident: {} MiB with one subscription, {} MiB with {SUBSCRIPTIONS}; each takes {} KiB",
        mebibytes(little),
        mebibytes(much),
        each / KIBIBYTE
    );
    ensure!(each <= EACH_AT_MOST, "a subscription takes {each} bytes");
    // Nothing is kept for a topic that nobody reads: what arrives shows that each of them runs.
    for number in 0..SUBSCRIPTIONS {
        let url = mecha.http_url(&format!("/v1.0/publish/pubsub/{}", topic(number)));
        let published = mecha.http().post(&url, json!(number).to_string()).await?;
        ensure!(published.status == 204, "publishing answered {}: {}", published.status, published.text());
    }
    let seen = app.wait_for(LONG, |seen| seen.len() >= SUBSCRIPTIONS).await?;
    let topics: BTreeSet<_> = seen.iter().map(|seen| (seen.topic.as_str(), seen.path.as_str())).collect();
    ensure!(topics.len() == SUBSCRIPTIONS && seen.len() == SUBSCRIPTIONS, "{} topics", topics.len());
    Ok(())
}

/// An application with so many subscriptions, the runtime beside it, and its resident memory. The metadata API names all.
async fn subscribed(count: usize) -> Result<(TestApp, Mecha, u64)> {
    let wishes = (0..count).map(|number| Wish::new("pubsub", &topic(number))).collect();
    let app = TestApp::start(Transport::Http, wishes, |_| Answer::Success).await?;
    let began = Instant::now();
    let mecha = app.flags().iter().fold(broker(&[]), |mecha, (flag, value)| mecha.flag(flag, value));
    let mecha = mecha.start().await?;
    let running = eventually(LONG, || async {
        let metadata = mecha.http().get(&mecha.http_url("/v1.0/metadata")).await?.json()?;
        let running = metadata["subscriptions"].as_array().map_or(0, Vec::len);
        ensure!(running == count, "{running} of {count} subscriptions run");
        Ok(running)
    })
    .await?;
    println!("{running} subscriptions run {} ms after the start of the process", began.elapsed().as_millis());
    let resident = mecha.rss_bytes()?;
    Ok((app, mecha, resident))
}

fn topic(number: usize) -> String {
    format!("topic-{number}")
}

fn broker(metadata: &[(&str, &str)]) -> MechaBuilder {
    Mecha::builder().plugin("memory").component_with("pubsub", "pubsub.in-memory", metadata)
}

const BURST: usize = 100_000;
/// Messages in one call.
const BULK: usize = 250;
const PUBLISHERS: usize = 4;
/// What the broker may hold.
const QUEUE: &str = "10000";
/// While it has taken nothing more than this, the application answers nothing.
const BEFORE_ANSWERS: usize = 8_000;
/// What 10,000 messages take, with their envelopes and three times over. All of the burst would be 150 MiB at the least.
const GROWTH_AT_MOST: u64 = 72 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_before_a_slow_application_takes_bounded_memory() -> Result<()> {
    let app = SlowApp::start().await?;
    let mecha = broker(&[("maxQueueMessages", QUEUE), ("publishTimeout", "300s")]);
    let mecha = Arc::new(mecha.flag("--app-port", app.port.to_string()).start().await?);
    let idle = mecha.rss_bytes()?;
    let (published, highest) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicU64::new(idle)));
    let mut publishers = JoinSet::new();
    for _ in 0..PUBLISHERS {
        let (mecha, published, highest) = (mecha.clone(), published.clone(), highest.clone());
        publishers.spawn(async move {
            for _ in 0..BURST / PUBLISHERS / BULK {
                publish(&mecha).await?;
                published.fetch_add(BULK, Ordering::Relaxed);
                highest.fetch_max(mecha.rss_bytes()?, Ordering::Relaxed);
            }
            anyhow::Ok(())
        });
    }
    eventually(LONG, || async {
        let published = published.load(Ordering::Relaxed);
        ensure!(published >= BEFORE_ANSWERS, "{published} were published");
        Ok(())
    })
    .await?;
    ensure!(app.state.taken.load(Ordering::Relaxed) == 0, "the application was to hold everything back");
    app.state.held.close();
    while let Some(ended) = publishers.join_next().await {
        ended??;
    }
    eventually(LONG, || async {
        let taken = app.state.taken.load(Ordering::Relaxed);
        ensure!(taken == BURST, "{taken} of {BURST} messages arrived");
        Ok(())
    })
    .await?;
    let (highest, after) = (highest.load(Ordering::Relaxed), mecha.rss_bytes()?);
    println!(
        "resident: {} MiB before, {} MiB at most during and {} MiB after {BURST} messages of 1 KiB with room for {QUEUE}",
        mebibytes(idle),
        mebibytes(highest),
        mebibytes(after)
    );
    ensure!(highest - idle <= GROWTH_AT_MOST, "memory grew by {} MiB", mebibytes(highest - idle));
    Ok(())
}

async fn publish(mecha: &Mecha) -> Result<()> {
    let entry = |id: usize| json!({"entryId": id.to_string(), "contentType": "text/plain", "event": "x".repeat(1024)});
    let entries: Vec<_> = (0..BULK).map(entry).collect();
    let url = mecha.http_url("/v1.0-alpha1/publish/bulk/pubsub/burst");
    let published = mecha.http().post(&url, json!(entries).to_string()).await?;
    ensure!(published.status == 204, "publishing answered {}: {}", published.status, published.text());
    Ok(())
}

fn mebibytes(bytes: u64) -> u64 {
    bytes >> 20
}

/// An application that answers no event before it is told to, and counts what it answered.
struct SlowApp {
    port: u16,
    state: Arc<SlowState>,
}

struct SlowState {
    /// Has no permits: who waits for one goes on when it is closed.
    held: Semaphore,
    taken: AtomicUsize,
}

impl SlowApp {
    async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr().context("a bound port")?.port();
        let state = Arc::new(SlowState { held: Semaphore::new(0), taken: AtomicUsize::new(0) });
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = shared.clone();
                let service = service_fn(move |request| answer(request, state.clone()));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Ok(Self { port, state })
    }
}

async fn answer(request: Request<Incoming>, state: Arc<SlowState>) -> Result<Response<Full<bytes::Bytes>>> {
    if request.uri().path() == "/dapr/subscribe" {
        let wanted = json!([{"pubsubname": "pubsub", "topic": "burst", "route": "/burst"}]);
        return Ok(Response::new(Full::new(wanted.to_string().into())));
    }
    let is_event = request.uri().path() == "/burst";
    request.into_body().collect().await?;
    if is_event && state.held.acquire().await.is_err() {
        state.taken.fetch_add(1, Ordering::Relaxed);
    }
    Ok(Response::new(Full::default()))
}
