//! `cargo xtask bench`: the built product measured against bare servers in the same run, everything as a ratio.
//!
//! A benchmark ([`benches`]) starts the product and its baselines, which are child processes of this same binary
//! ([`serve`]), and lets them take turns under the load generator ([`load`]): A B A B …. The result is the median of the
//! rounds' ratios ([`rounds`]), because absolute times move with the machine's load and a ratio of neighbours does not.
//! Nothing passes or fails on time; a call that fails fails the run.

mod args;
mod benches;
mod child;
mod cpu;
mod load;
mod machine;
mod plan;
mod report;
mod rounds;
mod serve;
mod spread;

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Parser;

use crate::args::{Arguments, Command};
use crate::plan::{Interrupt, Plan};
use crate::report::Report;

/// The product's allocator, so that the bare servers and the direct calls do not lose by theirs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mecha-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match arguments.command {
        Some(Command::Serve(serve)) => runtime.block_on(serve::run(serve)),
        None => runtime.block_on(measure(&arguments)),
    }
}

async fn measure(arguments: &Arguments) -> Result<()> {
    ensure!(
        !(cfg!(debug_assertions) && arguments.save),
        "figures of a debug build mean nothing: nothing is saved from one"
    );
    let interrupt = Interrupt::on_signals().context("handling Ctrl-C")?;
    let plan = if arguments.quick { Plan::quick(interrupt) } else { Plan::full(interrupt) };
    let mut report = Report::new(&plan);
    println!("{}", report.preface());
    let chosen = arguments.benchmarks();
    for (index, benchmark) in chosen.iter().enumerate() {
        println!("==> {} ({} of {})", benchmark.name(), index + 1, chosen.len());
        let tables = benches::run(*benchmark, &plan).await.with_context(|| benchmark.name())?;
        for table in tables {
            println!("\n{table}");
            report.add(table);
        }
    }
    if arguments.save {
        println!("saved in {}", report.save()?.display());
    }
    Ok(())
}
