//! What a result depends on: the machine, the compiler and the versions of the crates that do the work.

use std::fs;
use std::process::Command;
use std::thread::available_parallelism;

/// What this binary was locked to.
const LOCK: &str = include_str!("../../../Cargo.lock");
/// The crates whose versions explain a difference between two results.
const NAMED: [&str; 8] = ["hyper", "h2", "tonic", "tokio", "redis", "abi_stable", "async-ffi", "mimalloc"];

/// Lines of `name: value`.
pub(crate) fn description() -> Vec<(&'static str, String)> {
    vec![
        ("processor", format!("{}, {} cores", processor(), available_parallelism().map_or(1, usize::from))),
        ("memory", memory()),
        ("kernel", first_line("/proc/sys/kernel/osrelease")),
        ("compiler", compiler()),
        ("crates", crates()),
    ]
}

fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    model.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

fn memory() -> String {
    let info = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = info.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kibibytes = total.and_then(|total| total.trim().strip_suffix("kB")?.trim().parse::<f64>().ok());
    kibibytes.map_or_else(unknown, |kibibytes| format!("{:.1} GiB", kibibytes / 1024.0 / 1024.0))
}

fn first_line(file: &str) -> String {
    fs::read_to_string(file).map_or_else(|_| unknown(), |text| text.trim().to_owned())
}

fn compiler() -> String {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output();
    output.map_or_else(|_| unknown(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn crates() -> String {
    let versions =
        NAMED.iter().flat_map(|name| locked(LOCK, name).map(move |version| format!("{name} {version}")));
    versions.collect::<Vec<_>>().join(", ")
}

/// Every version of a crate in the lock file.
fn locked<'a>(lock: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    lock.split("[[package]]").filter_map(move |package| {
        let mut lines = package.trim_start().lines();
        let is_it = value(lines.next()?, "name")? == name;
        is_it.then(|| value(lines.next()?, "version")).flatten()
    })
}

fn value<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.strip_prefix(key)?.trim_start().strip_prefix('=')?.trim().strip_prefix('"')?.strip_suffix('"')
}

fn unknown() -> String {
    "unknown".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_come_from_the_lock_file() {
        let lock = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.2.3\"\n\n[[package]]\nname = \"ab\"\nversion = \"4.0.0\"\n";
        assert_eq!(locked(lock, "a").collect::<Vec<_>>(), ["1.2.3"]);
        assert_eq!(locked(lock, "c").count(), 0);
    }

    #[test]
    fn every_named_crate_is_in_the_lock_file() {
        for name in NAMED {
            assert!(locked(LOCK, name).next().is_some(), "{name}");
        }
    }
}
