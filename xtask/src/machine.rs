//! What the machine has left: tests that fail for want of it say nothing of the cause.

use std::fmt;
use std::fs;
use std::path::Path;
use std::thread;

/// Bytes in a GiB.
const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

/// What is left now. `None` is what this system does not tell.
#[derive(Debug)]
pub(crate) struct Machine {
    processors: Option<usize>,
    /// Bytes of memory that programs can still have.
    memory: Option<u64>,
    /// Bytes that can be written under the build's folder.
    disk: Option<u64>,
    /// The same of the folder for temporary files.
    temporary: Option<u64>,
}

impl Machine {
    /// Looks at it; `target` is the build's folder.
    pub(crate) fn now(target: &Path) -> Self {
        Self {
            processors: thread::available_parallelism().ok().map(Into::into),
            memory: fs::read_to_string("/proc/meminfo").ok().as_deref().and_then(available_memory),
            disk: available_disk(target),
            temporary: available_disk(&std::env::temp_dir()),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gib =
            |bytes: Option<u64>| bytes.map_or("?".to_owned(), |bytes| format!("{:.1}", bytes as f64 / GIB));
        let processors = self.processors.map_or("?".to_owned(), |count| count.to_string());
        let (memory, disk, temporary) = (gib(self.memory), gib(self.disk), gib(self.temporary));
        write!(
            formatter,
            "{processors} processors; free: {memory} GiB of memory, {disk} GiB of disk for the build, {temporary} GiB for \
             temporary files"
        )
    }
}

/// `MemAvailable` of Linux's `/proc/meminfo`, in bytes.
fn available_memory(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

fn available_disk(dir: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(dir).ok()?;
    Some(found.f_bavail * found.f_frsize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_as_linux_writes_it() {
        let text = "MemTotal:       24684084 kB\nMemFree:        1 kB\nMemAvailable:   24127708 kB\n";
        assert_eq!(available_memory(text), Some(24_127_708 * 1024));
        assert_eq!(available_memory("MemTotal: 1 kB\n"), None);
    }

    #[test]
    fn a_machine_tells_what_it_has() {
        let text = Machine::now(Path::new("/")).to_string();
        assert!(!text.contains('?') && text.contains("GiB of memory"), "{text}");
        let unknown = Machine { processors: None, memory: Some(3 << 29), disk: None, temporary: None };
        assert!(unknown.to_string().starts_with("? processors; free: 1.5 GiB of memory, ? GiB"), "{unknown}");
    }
}
