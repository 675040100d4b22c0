//! Lock stores.

use std::time::{Duration, Instant};

use mecha_plugin_api::lock::{LockLease, LockRequest, LockStoreObject, UnlockOutcome};
use mecha_plugin_api::{ErrorKind, Metadata, ROption};

use crate::subject::{Subject, context, unique};
use crate::{Checked, Tell, because, is, run};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_secs(1);
/// Between two tries for a lock that is to expire.
const LOOK: Duration = Duration::from_millis(100);

pub(crate) async fn all(subject: &Subject<'_>, tell: Tell<'_>) {
    run!(
        subject,
        tell,
        [
            the_back_end_answers,
            only_one_holds_it,
            only_its_holder_gives_it_back,
            it_expires,
            its_holder_keeps_it
        ]
    );
}

struct Store(LockStoreObject);

impl Store {
    async fn lock(&self, resource: &str, owner: &str, expiry: Duration) -> Result<Option<LockLease>, String> {
        let lease = self.0.try_lock(context(), request(resource, owner, expiry)).await.into_result();
        lease.map(ROption::into_option).map_err(because)
    }

    async fn unlock(&self, resource: &str, owner: &str) -> Result<UnlockOutcome, String> {
        self.0.unlock(context(), resource.into(), owner.into()).await.into_result().map_err(because)
    }
}

fn request(resource: &str, owner: &str, expiry: Duration) -> LockRequest {
    LockRequest {
        resource: resource.into(),
        owner: owner.into(),
        expiry_ns: expiry.as_nanos() as u64,
        metadata: Metadata::new(),
    }
}

async fn opened(subject: &Subject<'_>) -> Result<(Store, String), String> {
    Ok((Store(subject.open().await?), unique("lock")))
}

async fn the_back_end_answers(subject: &Subject<'_>) -> Checked {
    let (store, _) = opened(subject).await?;
    store.0.ping(context()).await.into_result().map_err(because)
}

async fn only_one_holds_it(subject: &Subject<'_>) -> Checked {
    let (store, resource) = opened(subject).await?;
    let first = store.lock(&resource, "a", LONG).await?.ok_or("a free lock is not given")?;
    for owner in ["a", "b"] {
        is("held twice", store.lock(&resource, owner, LONG).await?.is_some(), false)?;
    }
    is("unlocked", store.unlock(&resource, "a").await?, UnlockOutcome::UNLOCKED)?;
    let second = store.lock(&resource, "b", LONG).await?.ok_or("a lock that was given back is not given")?;
    if let (ROption::RSome(first), ROption::RSome(second)) = (first.fencing_token, second.fencing_token) {
        is("the fencing token grows", second > first, true)?;
    }
    store.unlock(&resource, "b").await.map(drop)
}

async fn only_its_holder_gives_it_back(subject: &Subject<'_>) -> Checked {
    let (store, resource) = opened(subject).await?;
    is("nobody's", store.unlock(&resource, "a").await?, UnlockOutcome::NOT_LOCKED)?;
    store.lock(&resource, "a", LONG).await?.ok_or("a free lock is not given")?;
    is("another's", store.unlock(&resource, "b").await?, UnlockOutcome::BELONGS_TO_OTHERS)?;
    is("held", store.lock(&resource, "b", LONG).await?.is_some(), false)?;
    is("its own", store.unlock(&resource, "a").await?, UnlockOutcome::UNLOCKED)
}

/// Waits until another one gets it.
async fn taken_over(store: &Store, resource: &str, patience: Duration) -> Result<Duration, String> {
    let started = Instant::now();
    while store.lock(resource, "b", LONG).await?.is_none() {
        if started.elapsed() > patience {
            return Err(format!("it did not expire within {patience:?}"));
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(started.elapsed())
}

async fn it_expires(subject: &Subject<'_>) -> Checked {
    let (store, resource) = opened(subject).await?;
    store.lock(&resource, "a", SHORT).await?.ok_or("a free lock is not given")?;
    taken_over(&store, &resource, subject.row.patience).await?;
    is("late", store.unlock(&resource, "a").await?, UnlockOutcome::BELONGS_TO_OTHERS)?;
    store.unlock(&resource, "b").await.map(drop)
}

/// For stores that can renew.
async fn its_holder_keeps_it(subject: &Subject<'_>) -> Checked {
    let (store, resource) = opened(subject).await?;
    store.lock(&resource, "a", SHORT).await?.ok_or("a free lock is not given")?;
    let renewed = store.0.renew(context(), request(&resource, "a", 3 * SHORT)).await.into_result();
    match renewed {
        Ok(renewed) => is("renewed", renewed, true)?,
        Err(error) if error.kind() == ErrorKind::UNSUPPORTED => return Ok(()),
        Err(error) => return Err(because(error)),
    }
    let others =
        store.0.renew(context(), request(&resource, "b", LONG)).await.into_result().map_err(because)?;
    is("renewed by another", others, false)?;
    let held = taken_over(&store, &resource, subject.row.patience).await?;
    is("it was free before its new expiry", held < 2 * SHORT, false)?;
    store.unlock(&resource, "b").await.map(drop)
}
