//! The command line: what the process is asked to do.
//!
//! `flags` is the table of daprd's flags and ours, `scan` splits arguments as Go's flag parser does, `values` turns
//! flags into a layer of settings, `commands` holds the subcommands and every help text.

mod certs;
mod commands;
mod flags;
mod scan;
mod values;

use std::path::{Path, PathBuf};

use crate::{
    Environment, Error, Origins, Settings, SettingsSources, keys::KnownKeys, rules,
    sources::environment_layer,
};

pub use certs::NewCertificates;
use commands::Command;
use scan::Scanned;

/// What the process is asked to do.
#[derive(Debug)]
pub enum Invocation {
    /// Serve.
    Run(Box<Resolved>),
    /// Say what a plugin file holds.
    PluginInspect {
        /// The file.
        file: PathBuf,
    },
    /// Load a plugin file and run the conformance checks on it.
    PluginCheck {
        /// The file.
        file: PathBuf,
        /// Components to check; without them the types that open without metadata are.
        component: Option<PathBuf>,
    },
    /// Make an authority and certificates for applications.
    CertsNew(NewCertificates),
    /// Print the merged settings with their origins ([`crate::render`]).
    ConfigShow(Box<Resolved>),
    /// List the components that the settings and resource files declare.
    Components(Box<Resolved>),
    /// Wait until another process's API can call out, then end.
    Wait {
        /// That process's HTTP port.
        http_port: u16,
    },
    /// Print the version.
    Version,
    /// Print the version and how it was built.
    BuildInfo,
    /// Print this text.
    Help(String),
}

/// Everything that was asked for, in one value.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The merged settings.
    pub settings: Settings,
    /// Where each setting came from.
    pub origins: Origins,
    /// The environment.
    pub environment: Environment,
    /// What was odd but no reason to stop: unknown and deprecated flags. For the log, once there is one.
    pub warnings: Vec<String>,
    /// The settings files that were read. The Dapr Configuration files are `settings.resources.configurations`.
    pub files: Vec<PathBuf>,
    /// The layers, for reading the files again after a change.
    pub sources: SettingsSources,
}

impl Invocation {
    /// Reads the arguments (without the program's name) and the environment.
    ///
    /// `default_plugins_dir` is used when no layer names a folder for plugins; the binary passes the folder `plugins`
    /// beside itself.
    pub fn parse(
        args: impl IntoIterator<Item = String>,
        environment: Environment,
        default_plugins_dir: &Path,
    ) -> Result<Self, Error> {
        let args: Vec<String> = args.into_iter().collect();
        let (command, rest) = commands::split(&args)?;
        match command {
            Command::Help(text) => Ok(Self::Help(text)),
            Command::CertsNew(asked) => Ok(Self::CertsNew(asked)),
            Command::PluginInspect(file) => Ok(Self::PluginInspect { file }),
            Command::PluginCheck { file, component } => Ok(Self::PluginCheck { file, component }),
            Command::Run | Command::ConfigShow | Command::Components => {
                let scanned = scan::scan(rest)?;
                if scanned.help {
                    return Ok(Self::Help(commands::help_of(&command)));
                }
                Self::with_settings(&command, scanned, environment, default_plugins_dir)
            }
        }
    }

    fn with_settings(
        command: &Command,
        scanned: Scanned,
        environment: Environment,
        default_plugins_dir: &Path,
    ) -> Result<Self, Error> {
        // As in daprd, these print and end before anything else is looked at.
        if scanned.is_on("version") {
            return Ok(Self::Version);
        }
        if scanned.is_on("build-info") {
            return Ok(Self::BuildInfo);
        }
        let wait = scanned.is_on("wait");
        let resolved = Box::new(resolve(scanned, environment, default_plugins_dir)?);
        match command {
            Command::ConfigShow => Ok(Self::ConfigShow(resolved)),
            Command::Components => Ok(Self::Components(resolved)),
            _ if wait => Ok(Self::Wait { http_port: resolved.settings.http.port }),
            _ => {
                rules::check(&resolved.settings)?;
                Ok(Self::Run(resolved))
            }
        }
    }
}

fn resolve(
    scanned: Scanned,
    environment: Environment,
    default_plugins_dir: &Path,
) -> Result<Resolved, Error> {
    let known = KnownKeys::new();
    let sources = SettingsSources {
        config_dir: scanned.last("config-dir").map(PathBuf::from),
        profile: scanned.last("profile").map(str::to_owned),
        environment: environment_layer(&environment, &known)?,
        flags: values::flag_layer(&scanned)?,
        app_tls: scanned.is_on("app-ssl"),
        default_plugins_dir: default_plugins_dir.to_owned(),
    };
    let loaded = sources.load()?;
    Ok(Resolved {
        settings: loaded.settings,
        origins: loaded.origins,
        environment,
        warnings: scanned.warnings,
        files: loaded.files,
        sources,
    })
}

impl Resolved {
    /// Reads the settings files again. The caller compares with what it has and applies the difference.
    pub fn reload(&self) -> Result<Self, Error> {
        let loaded = self.sources.load()?;
        rules::check(&loaded.settings)?;
        Ok(Self {
            settings: loaded.settings,
            origins: loaded.origins,
            files: loaded.files,
            warnings: Vec::new(),
            ..self.clone()
        })
    }
}

#[cfg(test)]
mod tests;
