//! `process_*`: what the kernel says about this process, read when the metrics are.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge, Opts};
use rustix::process::{Resource, getrlimit};

use crate::error::Error;
use crate::names::metric;

/// Place of a value in `/proc/self/stat`, counted behind the command's closing parenthesis (proc(5) counts from 1 with
/// pid and command in front).
const UTIME: usize = 14 - 3;
const STIME: usize = 15 - 3;
const THREADS: usize = 20 - 3;
const START_TIME: usize = 22 - 3;
const VIRTUAL_SIZE: usize = 23 - 3;
const RESIDENT_PAGES: usize = 24 - 3;

/// The descriptions are kept; the values are made anew at every look.
pub(super) struct ProcessCollector {
    descriptions: Vec<Desc>,
    start_time: f64,
}

impl ProcessCollector {
    pub(super) fn new() -> Result<Self, Error> {
        let start_time = start_time().unwrap_or_default();
        let collector = Self { descriptions: Vec::new(), start_time };
        let metrics = collector.metrics(&Reading::default())?;
        let descriptions = metrics.iter().flat_map(|metric| metric.desc()).cloned().collect();
        Ok(Self { descriptions, start_time })
    }

    fn metrics(&self, reading: &Reading) -> Result<Vec<Box<dyn Collector>>, prometheus::Error> {
        let cpu =
            Counter::with_opts(Opts::new(metric::PROCESS_CPU_SECONDS_TOTAL, "Processor time in seconds."))?;
        cpu.inc_by(reading.cpu_seconds);
        let gauges = [
            (metric::PROCESS_OPEN_FDS, "Open file descriptors.", reading.open_fds),
            (metric::PROCESS_MAX_FDS, "Limit of open file descriptors.", reading.max_fds),
            (metric::PROCESS_VIRTUAL_MEMORY_BYTES, "Virtual memory.", reading.virtual_bytes),
            (metric::PROCESS_RESIDENT_MEMORY_BYTES, "Resident memory.", reading.resident_bytes),
            (metric::PROCESS_START_TIME_SECONDS, "Start, in seconds since the Unix epoch.", self.start_time),
            (metric::PROCESS_THREADS, "Threads.", reading.threads),
        ];
        let mut metrics: Vec<Box<dyn Collector>> = vec![Box::new(cpu)];
        for (name, help, value) in gauges {
            let gauge = Gauge::with_opts(Opts::new(name, help))?;
            gauge.set(value);
            metrics.push(Box::new(gauge));
        }
        Ok(metrics)
    }
}

impl Collector for ProcessCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    /// Nothing where the kernel gives no `/proc`.
    fn collect(&self) -> Vec<MetricFamily> {
        let metrics = Reading::now().and_then(|reading| self.metrics(&reading).ok());
        metrics.unwrap_or_default().iter().flat_map(|metric| metric.collect()).collect()
    }
}

#[derive(Default)]
struct Reading {
    cpu_seconds: f64,
    open_fds: f64,
    max_fds: f64,
    virtual_bytes: f64,
    resident_bytes: f64,
    threads: f64,
}

impl Reading {
    fn now() -> Option<Self> {
        let stat = Stat::read()?;
        let open_fds = fs::read_dir("/proc/self/fd").ok()?.count();
        let max_fds = getrlimit(Resource::Nofile).current;
        Some(Self {
            cpu_seconds: (stat.value(UTIME) + stat.value(STIME)) / ticks_per_second(),
            // The folder itself is open while it is counted.
            open_fds: open_fds.saturating_sub(1) as f64,
            max_fds: max_fds.map_or(f64::INFINITY, |limit| limit as f64),
            virtual_bytes: stat.value(VIRTUAL_SIZE),
            resident_bytes: stat.value(RESIDENT_PAGES) * rustix::param::page_size() as f64,
            threads: stat.value(THREADS),
        })
    }
}

struct Stat(String);

impl Stat {
    fn read() -> Option<Self> {
        let text = fs::read_to_string("/proc/self/stat").ok()?;
        // The command may hold spaces and parentheses itself.
        text.rsplit_once(") ").map(|(_, rest)| Self(rest.to_owned()))
    }

    fn value(&self, place: usize) -> f64 {
        self.0.split(' ').nth(place).and_then(|value| value.parse().ok()).unwrap_or_default()
    }
}

fn ticks_per_second() -> f64 {
    rustix::param::clock_ticks_per_second() as f64
}

/// Seconds since the epoch: now, less the time since boot, plus the start after boot.
fn start_time() -> Option<f64> {
    let stat = Stat::read()?;
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    let uptime: f64 = uptime.split(' ').next()?.parse().ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs_f64();
    Some(now - uptime + stat.value(START_TIME) / ticks_per_second())
}
