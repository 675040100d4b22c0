//! Steps of a program: each is named, and the first that fails ends the program with its name.

use std::collections::HashMap;
use std::fmt::Debug;
use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// Runs a part of the program under its name.
pub async fn step(name: &str, part: impl Future<Output = Result<()>>) -> Result<()> {
    part.await.with_context(|| format!("FAILED: {name}"))?;
    println!("passed: {name}");
    Ok(())
}

pub fn equal<T: PartialEq<U> + Debug, U: Debug>(found: T, expected: U) -> Result<()> {
    ensure!(found == expected, "{found:?} is not {expected:?}");
    Ok(())
}

/// The call must fail, with this part in its error.
pub fn fails<T: Debug, E: Debug>(found: Result<T, E>, part: &str) -> Result<()> {
    match found {
        Err(error) => {
            let text = format!("{error:?}");
            ensure!(text.contains(part), "no {part:?} in {text}");
            Ok(())
        }
        Ok(found) => bail!("an error expected, not {found:?}"),
    }
}

/// Asks again and again until there is an answer.
pub async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let began = Instant::now();
    loop {
        if let Some(found) = probe().await? {
            return Ok(found);
        }
        ensure!(began.elapsed() < Duration::from_secs(30), "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A variable that the stage sets.
pub fn need(variable: &str) -> Result<String> {
    std::env::var(variable).with_context(|| variable.to_owned())
}

/// Metadata of one entry.
pub fn with(key: &str, value: &str) -> Option<HashMap<String, String>> {
    Some(HashMap::from([(key.to_owned(), value.to_owned())]))
}
