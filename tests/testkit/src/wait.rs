//! Waiting for a condition instead of for a time.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Pause between two looks. Short against what is waited for, long enough to leave the processor to it.
pub(crate) const POLL: Duration = Duration::from_millis(10);

/// Repeats `probe` until it returns a value, and returns that. Ends with an error after `limit`.
///
/// The error carries the last reason that `probe` gave:
///
/// ```no_run
/// # use std::time::Duration;
/// # async fn example(replica: impl Fn() -> usize) -> anyhow::Result<()> {
/// mecha_testkit::eventually(Duration::from_secs(2), || async {
///     let seen = replica();
///     if seen == 3 { Ok(seen) } else { Err(anyhow::anyhow!("{seen} of 3")) }
/// })
/// .await?;
/// # Ok(())
/// # }
/// ```
pub async fn eventually<T, F, Fut>(limit: Duration, mut probe: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let began = Instant::now();
    loop {
        let last = match probe().await {
            Ok(value) => return Ok(value),
            Err(reason) => reason,
        };
        if began.elapsed() >= limit {
            bail!("not within {limit:?}: {last:#}");
        }
        tokio::time::sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use anyhow::anyhow;

    use super::*;

    #[tokio::test]
    async fn the_first_value_is_returned() {
        let tries = Cell::new(0);
        let found = eventually(Duration::from_secs(10), || async {
            tries.set(tries.get() + 1);
            if tries.get() < 3 { Err(anyhow!("early")) } else { Ok(tries.get()) }
        });
        assert_eq!(found.await.unwrap(), 3);
    }

    #[tokio::test]
    async fn the_last_reason_is_in_the_error() {
        let result: Result<()> = eventually(Duration::ZERO, || async { Err(anyhow!("2 of 3")) }).await;
        assert!(result.unwrap_err().to_string().contains("2 of 3"));
    }
}
