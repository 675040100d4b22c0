//! The runtime as a child process of a test.

mod builder;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::StatusCode;
use mecha_proto::runtime::v1::dapr_client::DaprClient;
use rustix::process::{Pid, Signal};
use tempfile::TempDir;
use tokio::process::Child;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};

pub use builder::MechaBuilder;

use crate::client::HttpClient;
use crate::logs::Logs;
use crate::plugins::PluginDir;
use crate::wait::eventually;

/// The ports of one process.
#[derive(Debug, Clone, Copy)]
struct Ports {
    http: u16,
    grpc: u16,
    metrics: u16,
}

/// A running `mecha`. Dropping it kills it.
#[derive(Debug)]
pub struct Mecha {
    child: Child,
    pid: u32,
    ports: Ports,
    logs: Logs,
    plugins: PluginDir,
    resources: TempDir,
    http: HttpClient,
}

impl Mecha {
    /// Describes a process to start.
    pub fn builder() -> MechaBuilder {
        MechaBuilder::default()
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What it printed so far, on both outputs.
    pub fn logs(&self) -> &Logs {
        &self.logs
    }

    /// Its own plugins directory.
    pub fn plugins(&self) -> &PluginDir {
        &self.plugins
    }

    /// Puts the built plugin of a backend into its plugins directory.
    pub fn install_plugin(&self, backend: &str) -> Result<PathBuf> {
        self.plugins.install(backend)
    }

    /// Removes a backend's plugin from its plugins directory.
    pub fn remove_plugin(&self, backend: &str) -> Result<()> {
        self.plugins.remove(backend)
    }

    /// Replaces a backend's plugin in its plugins directory by another library.
    pub fn replace_plugin(&self, backend: &str, source: &std::path::Path) -> Result<PathBuf> {
        self.plugins.replace(backend, source)
    }

    /// Writes a file into its resources folder, whole at once.
    pub fn write_resource(&self, name: &str, yaml: &str) -> Result<()> {
        let unfinished = self.resources.path().join(format!(".{name}.unfinished"));
        fs::write(&unfinished, yaml)?;
        fs::rename(unfinished, self.resources.path().join(name))?;
        Ok(())
    }

    /// Removes a file from its resources folder.
    pub fn remove_resource(&self, name: &str) -> Result<()> {
        Ok(fs::remove_file(self.resources.path().join(name))?)
    }

    /// An HTTP/1.1 client.
    pub fn http(&self) -> &HttpClient {
        &self.http
    }

    /// Address of the HTTP API, as `127.0.0.1:port`.
    pub fn http_addr(&self) -> String {
        format!("127.0.0.1:{}", self.ports.http)
    }

    /// URL of a path of the HTTP API.
    pub fn http_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.http_addr())
    }

    /// URL of the gRPC API.
    pub fn grpc_endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.grpc)
    }

    /// A connection to the gRPC API.
    pub async fn grpc_channel(&self) -> Result<Channel> {
        let endpoint = Endpoint::from_shared(self.grpc_endpoint())?;
        endpoint.connect().await.with_context(|| format!("connecting to {}", self.grpc_endpoint()))
    }

    /// A client of the gRPC API.
    pub async fn grpc(&self) -> Result<DaprClient<Channel>> {
        Ok(DaprClient::new(self.grpc_channel().await?))
    }

    /// URL of the metrics page.
    pub fn metrics_url(&self) -> String {
        format!("http://127.0.0.1:{}/metrics", self.ports.metrics)
    }

    /// The metrics page.
    pub async fn metrics(&self) -> Result<String> {
        let answer = self.http.get(&self.metrics_url()).await?;
        ensure!(answer.status == StatusCode::OK, "metrics answered {}: {}", answer.status, answer.text());
        Ok(answer.text())
    }

    /// Resident memory in bytes.
    pub fn rss_bytes(&self) -> Result<u64> {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.pid)).context("the process's status")?;
        resident_bytes(&status).context("the process has ended")
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        // The id names our child as long as its end was not collected; after that tokio has none to give.
        let pid = self.child.id().and_then(|id| Pid::from_raw(id as i32)).context("the process has ended")?;
        Ok(rustix::process::kill_process(pid, signal)?)
    }

    /// Waits for the end and returns the exit code; 128 + n for a death by signal n, as shells have it.
    pub async fn wait_exit(&mut self, limit: Duration) -> Result<i32> {
        let ended = timeout(limit, self.child.wait()).await;
        let status =
            ended.with_context(|| format!("still running after {limit:?}:\n{}", self.logs.tail()))??;
        Ok(status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1))
    }

    /// Asks it to end and returns the exit code.
    pub async fn terminate(&mut self, limit: Duration) -> Result<i32> {
        self.signal(Signal::TERM)?;
        self.wait_exit(limit).await
    }

    /// Waits until it says that it is ready.
    pub async fn wait_ready(&mut self, limit: Duration) -> Result<()> {
        let (http, url) = (self.http.clone(), self.http_url("/v1.0/healthz"));
        let ready = eventually(limit, || async {
            let status = http.get(&url).await?.status;
            ensure!(status == StatusCode::NO_CONTENT, "healthz answers {status}");
            Ok(())
        });
        let died = tokio::select! {
            result = ready => return result.with_context(|| format!("not ready:\n{}", self.logs.tail())),
            status = self.child.wait() => status?,
        };
        anyhow::bail!("mecha ended before it was ready ({died}):\n{}", self.logs.tail())
    }
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_from_the_status_page() {
        assert_eq!(
            resident_bytes("Name:\tmecha\nVmRSS:\t   20480 kB\nThreads:\t3\n"),
            Some(20 * 1024 * 1024)
        );
        assert_eq!(resident_bytes("Name:\tmecha\nState:\tZ (zombie)\n"), None);
    }
}
