//! The runtime's process seen from the outside: its open files, and that it never panicked.

use std::time::Duration;

use anyhow::{Result, ensure};
use mecha_testkit::{Mecha, eventually};

const SOON: Duration = Duration::from_secs(20);

/// How many file descriptors it has open.
pub fn open_files(mecha: &Mecha) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", mecha.pid())).map_or(0, Iterator::count)
}

/// Waits until it has no more file descriptors open than `before`.
pub async fn has_closed_down_to(mecha: &Mecha, before: usize) -> Result<()> {
    eventually(SOON, || async {
        let now = open_files(mecha);
        ensure!(now <= before, "{now} files are open, {before} were");
        Ok(())
    })
    .await
}

/// Holds the log to having no panic in it.
#[track_caller]
pub fn assert_no_panic(mecha: &Mecha) {
    let panics = mecha.logs().matching("panicked");
    assert!(panics.is_empty(), "{panics:#?}");
}
