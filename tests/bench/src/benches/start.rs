//! From exec to the first answer, memory when idle, and sizes of files.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use mecha_backends::Redis;
use mecha_testkit::{mecha_binary, profile_dir};

use super::PRODUCT;
use super::setup::{Plugin, Setup, answers};
use crate::child::{BareServer, OwnedChild};
use crate::cpu;
use crate::plan::Plan;
use crate::report::Table;
use crate::rounds::{Comparison, Contender, Unit, table};
use crate::spread::Spread;

/// After this long a process that is ready counts as idle.
const IDLE_AFTER: Duration = Duration::from_secs(1);
const IDLE_SAMPLES: usize = 3;

pub(super) async fn run(plan: &Plan) -> Result<Vec<Table>> {
    println!("    starting redis-server");
    let redis = Redis::start()?;
    let host = redis.addr().to_string();
    let memory_plugin = Plugin::with("memory", "state.in-memory", Vec::new());
    let redis_plugin = Plugin::with("redis", "state.redis", vec![("redisHost", host)]);
    let only_memory = Setup::new(std::slice::from_ref(&memory_plugin))?;
    let both = Setup::new(&[memory_plugin, redis_plugin])?;
    let nothing = Setup::new(&[])?;
    let starts = plan.with_rounds(plan.starts);
    // The first start of each reads its files from the disk.
    both.start()?;
    start_bare()?;
    let mut rows = Vec::new();
    for (what, setup, wanted) in [
        ("exec to ready, no plugin", &nothing, ""),
        ("exec to ready, memory plugin", &only_memory, ""),
        ("exec to ready, memory and redis plugins", &both, "≤ 60 ms"),
    ] {
        let contenders = vec![
            Contender::new(PRODUCT, async || Ok(milliseconds(setup.start()?.1))),
            Contender::new("bare hyper", async || Ok(milliseconds(start_bare()?.1))),
        ];
        rows.extend(Comparison { what, unit: Unit::Milliseconds, wanted }.run(&starts, contenders).await?);
    }
    let mut times = table("Start, warm page cache", &rows);
    times.note("ready: GET /v1.0/healthz answers 204; bare hyper: the first answer of a server that does nothing else");
    Ok(vec![times, memory(plan, [&nothing, &only_memory, &both])?, sizes()?])
}

fn milliseconds(time: Duration) -> crate::rounds::Turn {
    (time.as_secs_f64() * 1e3).into()
}

fn memory(plan: &Plan, [nothing, only_memory, both]: [&Setup; 3]) -> Result<Table> {
    let mut memory = Table::new(
        "Resident memory when idle",
        &["what", "median (min–max)", "against bare hyper", "wanted"],
    );
    let bare = idle(plan, "bare hyper", || Ok(start_bare()?.0))?;
    for (what, setup, wanted) in [
        ("no plugin", nothing, ""),
        ("memory plugin", only_memory, ""),
        ("memory and redis plugins", both, "≤ 30 MB"),
    ] {
        let resident = idle(plan, what, || Ok(setup.start()?.0))?;
        let ratio = format!("{:.1} ×", resident.median / bare.median);
        memory.row([what.to_owned(), format!("{} MB", resident.show(1)), ratio, wanted.to_owned()]);
    }
    memory.row(["bare hyper".to_owned(), format!("{} MB", bare.show(1)), String::new(), String::new()]);
    memory.note(format!(
        "VmRSS {IDLE_AFTER:?} after ready, one open component a plugin; 1 MB is 1,000,000 bytes"
    ));
    Ok(memory)
}

fn idle(plan: &Plan, what: &str, start: impl Fn() -> Result<OwnedChild>) -> Result<Spread> {
    let mut samples = Vec::new();
    for _ in 0..IDLE_SAMPLES {
        let child = start()?;
        plan.sleep(IDLE_AFTER)?;
        samples.push(cpu::resident(child.pid())? as f64 / 1e6);
    }
    println!("    memory when idle, {what}: {:.1} MB", samples[0]);
    Spread::of(samples).context("nothing was measured")
}

/// Sizes of the binary and of every plugin beside it.
fn sizes() -> Result<Table> {
    let mut sizes = Table::new("Sizes of files", &["file", "size"]);
    let mut files = vec![mecha_binary()?];
    for entry in fs::read_dir(profile_dir()?.join("plugins"))? {
        let file = entry?.path();
        files.extend((file.extension().is_some_and(|extension| extension == "so")).then_some(file));
    }
    files[1..].sort();
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        sizes.row([name, format!("{:.1} MB", fs::metadata(&file)?.len() as f64 / 1e6)]);
    }
    Ok(sizes)
}

fn start_bare() -> Result<(OwnedChild, Duration)> {
    let began = Instant::now();
    let (mut child, addr) = BareServer::spawn("bare-hyper", &[])?;
    child.wait(|| answers(addr, "/", b"HTTP/1.1 200"))?;
    Ok((child, began.elapsed()))
}
