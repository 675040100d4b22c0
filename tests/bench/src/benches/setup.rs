//! The product with chosen plugins and a component on each, started as often as wanted.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Result;
use mecha_backends::free_port;
use mecha_testkit::mecha_binary;
use tempfile::TempDir;

use super::APP_ID;
use crate::child::OwnedChild;

const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// A plugin and what uses it.
#[derive(Debug, Clone)]
pub(super) struct Plugin<'a> {
    /// Its backend.
    pub(super) backend: &'a str,
    pub(super) components: Vec<Component<'a>>,
    /// What the Configuration says, as YAML.
    pub(super) configuration: Option<String>,
}

/// A type and its metadata.
pub(super) type Component<'a> = (&'a str, Vec<(&'a str, String)>);

impl<'a> Plugin<'a> {
    /// With one component.
    pub(super) fn with(backend: &'a str, component_type: &'a str, metadata: Vec<(&'a str, String)>) -> Self {
        Self { backend, components: vec![(component_type, metadata)], configuration: None }
    }
}

/// Folders that a start needs, made beforehand: they are not part of what is measured.
pub(super) struct Setup {
    plugins: mecha_testkit::PluginDir,
    resources: TempDir,
    folder: TempDir,
}

impl Setup {
    /// With these plugins.
    pub(super) fn new(plugins: &[Plugin<'_>]) -> Result<Self> {
        let setup = Self {
            plugins: mecha_testkit::PluginDir::new()?,
            resources: tempfile::tempdir()?,
            folder: tempfile::tempdir()?,
        };
        for plugin in plugins {
            setup.plugins.install(plugin.backend)?;
            for (number, component) in plugin.components.iter().enumerate() {
                setup.write(&format!("{}-{number}", plugin.backend), component)?;
            }
        }
        if let Some(spec) = plugins.iter().find_map(|plugin| plugin.configuration.as_ref()) {
            let yaml = format!(
                "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {{name: bench}}\nspec: {spec}\n"
            );
            fs::write(setup.configuration(), yaml)?;
        }
        Ok(setup)
    }

    fn configuration(&self) -> PathBuf {
        self.folder.path().join("config.yaml")
    }

    fn write(&self, name: &str, (component_type, metadata): &Component<'_>) -> Result<()> {
        let pairs = metadata.iter().map(|(name, value)| format!("{{name: {name}, value: \"{value}\"}}"));
        let metadata = pairs.collect::<Vec<_>>().join(", ");
        let yaml = format!(
            "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: {name}}}\nspec: {{type: {component_type}, version: v1, metadata: [{metadata}]}}\n"
        );
        Ok(fs::write(self.resources.path().join(format!("{name}.yaml")), yaml)?)
    }

    /// Starts the product; gives it with the time from exec to ready.
    pub(super) fn start(&self) -> Result<(OwnedChild, Duration)> {
        let http = free_port()?;
        let mut command = Command::new(mecha_binary()?);
        command.args(["--app-id", APP_ID, "--dapr-listen-addresses", "127.0.0.1"]);
        command.args(["--dapr-http-port", &http.to_string(), "--dapr-grpc-port", &free_port()?.to_string()]);
        command.args(["--metrics-port", &free_port()?.to_string(), "--metrics-listen-address", "127.0.0.1"]);
        flag(&mut command, "--resources-path", self.resources.path());
        flag(&mut command, "--plugins-dir", self.plugins.path());
        if self.configuration().is_file() {
            flag(&mut command, "--config", &self.configuration());
        }
        command.env_clear().stdout(Stdio::null()).stderr(Stdio::null());
        let began = Instant::now();
        let mut child = OwnedChild::spawn(&mut command)?;
        let addr = SocketAddr::from(([127, 0, 0, 1], http));
        child.wait(|| answers(addr, "/v1.0/healthz", b"HTTP/1.1 204"))?;
        Ok((child, began.elapsed()))
    }
}

fn flag(command: &mut Command, name: &str, path: &Path) {
    command.arg(name).arg(path);
}

/// Whether a GET is answered with this status line now.
pub(super) fn answers(addr: SocketAddr, path: &str, status: &[u8; 12]) -> bool {
    let ask = || -> std::io::Result<[u8; 12]> {
        let mut stream = TcpStream::connect(addr)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        stream.write_all(
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").as_bytes(),
        )?;
        let mut line = [0; 12];
        stream.read_exact(&mut line)?;
        Ok(line)
    };
    ask().is_ok_and(|line| line == *status)
}
