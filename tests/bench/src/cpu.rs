//! Processor time and resident memory of a process, as the kernel counts them.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// The kernel's unit for these files, the same on every Linux that programs see.
const TICK: Duration = Duration::from_millis(10);

/// User and system time so far.
pub(crate) fn time(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("the process has ended")?;
    ticks(&stat).map(|ticks| TICK * ticks).context("the kernel's process line")
}

fn ticks(stat: &str) -> Option<u32> {
    // The program's name stands in parentheses and may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// Resident memory in bytes.
pub(crate) fn resident(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("the process has ended")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    Ok(kibibytes.context("VmRSS in the kernel's status page")? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_times_are_added_whatever_the_name_is() {
        let stat = "12 (a) b (c) S 1 12 12 0 -1 4194304 100 0 0 0 70 30 0 0 20 0 1 0";
        assert_eq!(ticks(stat), Some(100));
    }

    #[test]
    fn this_process_has_memory() {
        assert!(resident(std::process::id()).unwrap() > 0);
    }
}
