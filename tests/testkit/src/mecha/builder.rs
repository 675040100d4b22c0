//! Describes a process and starts it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use mecha_backends::free_port;
use tokio::process::Command;

use super::{Mecha, Ports};
use crate::artifacts::mecha_binary;
use crate::client::HttpClient;
use crate::logs::Logs;
use crate::plugins::PluginDir;

/// How long a start may take on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(20);
/// Another process may take a port between the look and the bind.
const PORT_TRIES: usize = 3;
const PORT_TAKEN: &str = "in use";

/// Describes a process to start: daprd's flags, resources, plugins, environment.
#[derive(Debug, Clone)]
pub struct MechaBuilder {
    binary: Option<PathBuf>,
    app_id: String,
    resources: Vec<String>,
    backends: Vec<String>,
    libraries: Vec<(String, PathBuf)>,
    more_plugins_dirs: Vec<PathBuf>,
    args: Vec<String>,
    env: Vec<(String, String)>,
    echo: bool,
}

impl Default for MechaBuilder {
    fn default() -> Self {
        Self {
            binary: None,
            app_id: "app".to_owned(),
            resources: Vec::new(),
            backends: Vec::new(),
            libraries: Vec::new(),
            more_plugins_dirs: Vec::new(),
            args: Vec::new(),
            env: Vec::new(),
            echo: false,
        }
    }
}

impl MechaBuilder {
    /// Another binary than the one that the build left beside the test.
    pub fn binary(mut self, path: impl Into<PathBuf>) -> Self {
        self.binary = Some(path.into());
        self
    }

    /// The application id; `app` when not set.
    pub fn app_id(mut self, id: &str) -> Self {
        self.app_id = id.to_owned();
        self
    }

    /// A resources file with this text; each call makes one more file.
    pub fn resources(mut self, yaml: &str) -> Self {
        self.resources.push(yaml.to_owned());
        self
    }

    /// A component of this name and type (version `v1`) without metadata.
    pub fn component(self, name: &str, component_type: &str) -> Self {
        self.component_with(name, component_type, &[])
    }

    /// A component of this name and type (version `v1`) with metadata.
    pub fn component_with(self, name: &str, component_type: &str, metadata: &[(&str, &str)]) -> Self {
        self.resources(&component_resource(name, component_type, metadata))
    }

    /// The built plugin of a backend lies in the plugins directory from the start.
    pub fn plugin(mut self, backend: &str) -> Self {
        self.backends.push(backend.to_owned());
        self
    }

    /// Any library lies in the plugins directory from the start, under `name`.
    pub fn library(mut self, name: &str, source: impl Into<PathBuf>) -> Self {
        self.libraries.push((name.to_owned(), source.into()));
        self
    }

    /// A plugins directory besides the process's own.
    pub fn plugins_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.more_plugins_dirs.push(dir.into());
        self
    }

    /// A flag with its value.
    pub fn flag(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.args.extend([name.to_owned(), value.as_ref().to_owned()]);
        self
    }

    /// A flag without a value.
    pub fn switch(mut self, name: &str) -> Self {
        self.args.push(name.to_owned());
        self
    }

    /// An environment variable; the process sees no others.
    pub fn env(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.env.push((name.to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Prints the process's lines as the test's own, to look into a failing test.
    pub fn echo(mut self) -> Self {
        self.echo = true;
        self
    }

    /// Starts it and returns once it is ready.
    pub async fn start(&self) -> Result<Mecha> {
        let mut tried = 0;
        loop {
            let mut mecha = self.spawn().await?;
            tried += 1;
            match mecha.wait_ready(READY_WITHIN).await {
                Err(_) if tried < PORT_TRIES && !mecha.logs().matching(PORT_TAKEN).is_empty() => {}
                Err(error) => return Err(error),
                Ok(()) => return Ok(mecha),
            }
        }
    }

    /// Starts it without waiting: for tests of the start itself.
    pub async fn spawn(&self) -> Result<Mecha> {
        let resources = tempfile::tempdir()?;
        for (index, yaml) in self.resources.iter().enumerate() {
            fs::write(resources.path().join(format!("{index:02}.yaml")), yaml)?;
        }
        let plugins = self.fill_plugins()?;
        let ports = Ports { http: free_port()?, grpc: free_port()?, metrics: free_port()? };
        let mut command = self.command(resources.path(), plugins.path(), ports)?;
        let mut child =
            command.spawn().with_context(|| format!("running {:?}", command.as_std().get_program()))?;
        let logs = Logs::default();
        logs.collect(child.stdout.take().context("stdout is piped")?, self.echo);
        logs.collect(child.stderr.take().context("stderr is piped")?, self.echo);
        let pid = child.id().context("a process that was just started has an id")?;
        Ok(Mecha { child, pid, ports, logs, plugins, resources, http: HttpClient::new() })
    }

    fn fill_plugins(&self) -> Result<PluginDir> {
        let plugins = PluginDir::new()?;
        for backend in &self.backends {
            plugins.install(backend)?;
        }
        for (name, source) in &self.libraries {
            plugins.put(source, name)?;
        }
        Ok(plugins)
    }

    fn command(&self, resources: &Path, plugins: &Path, ports: Ports) -> Result<Command> {
        let binary = self.binary.clone().map_or_else(mecha_binary, Ok)?;
        let mut command = Command::new(binary);
        command.args(["--app-id", &self.app_id]);
        command.args(["--dapr-http-port", &ports.http.to_string()]);
        command.args(["--dapr-grpc-port", &ports.grpc.to_string()]);
        command.args(["--metrics-port", &ports.metrics.to_string()]);
        // Tests speak to loopback only, and so does what they start.
        command.args(["--dapr-listen-addresses", "127.0.0.1", "--metrics-listen-address", "127.0.0.1"]);
        command.arg("--resources-path").arg(resources);
        for dir in [plugins].into_iter().chain(self.more_plugins_dirs.iter().map(PathBuf::as_path)) {
            command.arg("--plugins-dir").arg(dir);
        }
        command.args(&self.args);
        command.env_clear().envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        Ok(command)
    }
}

fn component_resource(name: &str, component_type: &str, metadata: &[(&str, &str)]) -> String {
    let metadata: Vec<_> =
        metadata.iter().map(|(name, value)| serde_json::json!({"name": name, "value": value})).collect();
    // JSON is YAML, and quotes whatever the values hold.
    serde_json::json!({
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Component",
        "metadata": {"name": name},
        "spec": {"type": component_type, "version": "v1", "metadata": metadata},
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    /// A stand-in for the binary: prints what it was given, then does what the script says.
    fn stand_in(dir: &Path, script: &str) -> PathBuf {
        let file = dir.join("mecha");
        let text =
            format!("#!/bin/sh\necho \"args: $*\"\necho \"env: $(env | sort | tr '\\n' ' ')\"\n{script}\n");
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        file
    }

    #[tokio::test]
    async fn the_process_gets_flags_and_only_the_named_environment() {
        let dir = tempfile::tempdir().unwrap();
        let builder =
            Mecha::builder().binary(stand_in(dir.path(), "exit 3")).app_id("orders").env("NAMESPACE", "n1");
        let mut mecha = builder.flag("--log-level", "debug").switch("--log-as-json").spawn().await.unwrap();
        let args = mecha.logs().wait_for("args: ", SOON).await.unwrap();
        for part in
            ["--app-id orders", "--dapr-http-port ", "--plugins-dir /", "--log-level debug --log-as-json"]
        {
            assert!(args.contains(part), "{part} is not in {args}");
        }
        let env = mecha.logs().wait_for("env: ", SOON).await.unwrap();
        assert!(env.contains("NAMESPACE=n1") && !env.contains("HOME="), "{env}");
        assert_eq!(mecha.wait_exit(SOON).await.unwrap(), 3);
        assert!(mecha.signal(crate::Signal::TERM).is_err());
    }

    #[tokio::test]
    async fn an_early_end_is_an_error_with_the_last_lines() {
        let dir = tempfile::tempdir().unwrap();
        let builder = Mecha::builder().binary(stand_in(dir.path(), "echo 'no such store' >&2; exit 1"));
        let error = format!("{:#}", builder.start().await.unwrap_err());
        assert!(error.contains("before it was ready"), "{error}");
    }

    #[tokio::test]
    async fn a_signal_reaches_the_process_and_shows_in_the_exit_code() {
        let dir = tempfile::tempdir().unwrap();
        let builder = Mecha::builder().binary(stand_in(dir.path(), "echo up; exec sleep 600"));
        let mut mecha = builder.spawn().await.unwrap();
        mecha.logs().wait_for("up", SOON).await.unwrap();
        assert!(mecha.rss_bytes().unwrap() > 0);
        assert_eq!(mecha.terminate(SOON).await.unwrap(), 128 + 15);
    }

    #[test]
    fn a_component_s_values_are_quoted() {
        let text = component_resource("store", "state.redis", &[("redisPassword", "a: \"b\"\n# c")]);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["spec"]["metadata"][0]["value"], "a: \"b\"\n# c");
        assert_eq!(value["spec"]["type"], "state.redis");
    }
}
