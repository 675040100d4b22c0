//! The binary: arguments → settings → runtime → gateway → drain. Composition only.

mod certificates;
mod certs;
mod components;
mod plugin;
mod reconfigure;
mod reload;
mod serve;
mod telemetry;
mod unserved;
mod wait;
mod watch;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use mecha_settings::{Environment, Invocation, Resolved, render};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let environment = Environment::from_vars(std::env::vars());
    let invocation = match Invocation::parse(std::env::args().skip(1), environment, &default_plugins_dir()) {
        Ok(invocation) => invocation,
        Err(error) => return fail(&error.to_string()),
    };
    match run(invocation) {
        Ok(code) => code,
        Err(error) => fail(&format!("{error:#}")),
    }
}

/// For what fails before there is a log. A standard error that is closed leaves only the exit code.
fn fail(message: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "mecha: {message}");
    ExitCode::FAILURE
}

/// The folder `plugins` beside the binary.
fn default_plugins_dir() -> PathBuf {
    let binary = std::env::current_exe().unwrap_or_default();
    binary.with_file_name("plugins")
}

fn run(invocation: Invocation) -> Result<ExitCode> {
    match invocation {
        Invocation::Run(resolved) => on_runtime(&resolved.clone(), serve::serve(*resolved)),
        Invocation::PluginInspect { file } => on_one_thread(plugin::inspect(&file)),
        Invocation::PluginCheck { file, component } => {
            on_one_thread(plugin::check(&file, component.as_deref()))
        }
        Invocation::CertsNew(asked) => certs::new(&asked),
        Invocation::ConfigShow(resolved) => print(&render(&resolved.settings, &resolved.origins)),
        Invocation::Components(resolved) => print(&components::list(&resolved)?),
        Invocation::Wait { http_port } => on_one_thread(wait::for_outbound(http_port)),
        Invocation::Version => print(env!("CARGO_PKG_VERSION")),
        Invocation::BuildInfo => print(&build_info()),
        Invocation::Help(text) => print(&text),
    }
}

fn build_info() -> String {
    format!(
        "Version: {}\nDapr API: {}\nPlugin API: {}",
        env!("CARGO_PKG_VERSION"),
        mecha_gateway::DAPR_VERSION,
        mecha_plugin_api::API_VERSION
    )
}

fn print(text: &str) -> Result<ExitCode> {
    match writeln!(std::io::stdout(), "{}", text.trim_end()) {
        // A reader such as `head` may have left.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        result => result.map(|()| ExitCode::SUCCESS).context("cannot write to standard output"),
    }
}

fn on_runtime(resolved: &Resolved, work: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = resolved.settings.runtime.worker_threads {
        builder.worker_threads(threads.get());
    }
    builder.enable_all().build().context("cannot start the worker threads")?.block_on(work)
}

fn on_one_thread(work: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start the worker thread")?.block_on(work)
}
