//! The subcommands, and the help text of each command with an example.

use std::path::PathBuf;

use clap::{Arg, ArgAction, Command as ClapCommand, error::ErrorKind, value_parser};

use super::certs::{self, NewCertificates};
use super::flags::{FLAGS, Flag, Kind};
use crate::Error;

/// The command that was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    Run,
    ConfigShow,
    Components,
    CertsNew(NewCertificates),
    PluginInspect(PathBuf),
    PluginCheck { file: PathBuf, component: Option<PathBuf> },
    Help(String),
}

const NAME: &str = "mecha";

const RUN_EXAMPLE: &str = "\
Examples:
  mecha --app-id orders --resources-path ./components
  mecha --app-id orders --app-port 8080 --config-dir ./configs --profile jaeger

Every flag may have one dash or two. A setting that has no flag can be set in
the settings folder (--config-dir) or as MECHA__SECTION__KEY in the environment.";

const INSPECT_EXAMPLE: &str = "Example:\n  mecha plugin inspect plugins/libmecha_plugin_redis.so";
const CHECK_EXAMPLE: &str = "\
Examples:
  mecha plugin check plugins/libmecha_plugin_memory.so
  mecha plugin check --conformance plugins/libmecha_plugin_redis.so --component component.yaml

Without --component only the types that open without metadata are checked. The file holds
Component resources; {env:NAME}, {folder}, {here} and {unique} in their values stand for an
environment variable, a temporary folder, the file's own folder and a text of this run.";
const PLUGIN_EXAMPLE: &str = "Example:\n  mecha plugin inspect plugins/libmecha_plugin_memory.so";
const CONFIG_EXAMPLE: &str = "Example:\n  mecha config show --config-dir ./configs --profile jaeger";
const COMPONENTS_EXAMPLE: &str = "Example:\n  mecha components --resources-path ./components";

/// Splits off the subcommand. The flags of those that take settings are left to `scan`, which reads them as daprd
/// does; everything else is clap's.
pub(super) fn split(args: &[String]) -> Result<(Command, &[String]), Error> {
    let word = |index: usize| args.get(index).map(String::as_str);
    match (word(0), word(1)) {
        (Some("config"), Some("show")) => Ok((Command::ConfigShow, &args[2..])),
        (Some("components"), _) => Ok((Command::Components, &args[1..])),
        (Some(first), _) if !first.is_empty() && !first.starts_with('-') => Ok((by_clap(args)?, &[])),
        _ => Ok((Command::Run, args)),
    }
}

fn by_clap(args: &[String]) -> Result<Command, Error> {
    let with_name = std::iter::once(NAME).chain(args.iter().map(String::as_str));
    let matches = match root().try_get_matches_from(with_name) {
        Ok(matches) => matches,
        Err(error) => return help_or_usage(&error),
    };
    let plugin = match matches.subcommand() {
        Some(("plugin", plugin)) => plugin,
        Some(("certs", certs)) => {
            let new = certs.subcommand_matches("new").map(|new| Command::CertsNew(certs::new(new)));
            return Ok(new.unwrap_or_else(|| Command::Help(help_of(&Command::Run))));
        }
        _ => return Ok(Command::Help(help_of(&Command::Run))),
    };
    let file = |matches: &clap::ArgMatches| matches.get_one::<PathBuf>("FILE").cloned().unwrap_or_default();
    match plugin.subcommand() {
        Some(("inspect", matches)) => Ok(Command::PluginInspect(file(matches))),
        Some(("check", matches)) => {
            let component = matches.get_one::<PathBuf>("component").cloned();
            Ok(Command::PluginCheck { file: file(matches), component })
        }
        _ => Ok(Command::Help(help_of(&Command::Run))),
    }
}

fn help_or_usage(error: &clap::Error) -> Result<Command, Error> {
    let text = error.render().to_string();
    match error.kind() {
        ErrorKind::DisplayHelp => Ok(Command::Help(text)),
        _ => Err(Error::Usage(text.trim_end().to_owned())),
    }
}

/// The help text of a command that takes settings.
pub(super) fn help_of(command: &Command) -> String {
    let path: &[&str] = match command {
        Command::ConfigShow => &["config", "show"],
        Command::Components => &["components"],
        _ => &[],
    };
    let mut shown = root();
    // Fills in the whole `mecha config show` in the usage line.
    shown.build();
    for name in path {
        shown = shown.find_subcommand(name).cloned().unwrap_or(shown);
    }
    shown.render_help().to_string()
}

fn root() -> ClapCommand {
    ClapCommand::new(NAME)
        .about("A distributed application runtime: Dapr's API, hot-loaded native plugins")
        .override_usage("mecha [FLAGS]\n       mecha <COMMAND>")
        .after_help(RUN_EXAMPLE)
        .disable_version_flag(true)
        .args(FLAGS.iter().map(argument))
        .subcommand(plugin())
        .subcommand(config())
        .subcommand(certs::command())
        .subcommand(
            ClapCommand::new("components")
                .about("List the components that settings and resource files declare")
                .after_help(COMPONENTS_EXAMPLE)
                .args(FLAGS.iter().map(argument)),
        )
}

fn plugin() -> ClapCommand {
    let file =
        Arg::new("FILE").required(true).value_parser(value_parser!(PathBuf)).help("The plugin library");
    ClapCommand::new("plugin")
        .about("Look at a plugin library")
        .after_help(PLUGIN_EXAMPLE)
        .subcommand_required(true)
        .subcommand(
            ClapCommand::new("inspect")
                .about("Say what a plugin library holds, or why it cannot be used")
                .after_help(INSPECT_EXAMPLE)
                .arg(file.clone()),
        )
        .subcommand(
            ClapCommand::new("check")
                .about("Load a plugin library, check its layout and run the conformance checks")
                .after_help(CHECK_EXAMPLE)
                .arg(file)
                .arg(
                    Arg::new("conformance")
                        .long("conformance")
                        .action(ArgAction::SetTrue)
                        .help("Run the conformance checks; they always run"),
                )
                .arg(
                    Arg::new("component")
                        .long("component")
                        .value_name("FILE")
                        .value_parser(value_parser!(PathBuf))
                        .help("The components to check: Dapr Component resources, YAML or JSON"),
                ),
        )
}

fn config() -> ClapCommand {
    ClapCommand::new("config")
        .about("Look at the settings")
        .after_help(CONFIG_EXAMPLE)
        .subcommand_required(true)
        .subcommand(
            ClapCommand::new("show")
                .about("Print the merged settings, each with the layer that set it")
                .after_help(CONFIG_EXAMPLE)
                .args(FLAGS.iter().map(argument)),
        )
}

/// A flag as clap shows it in the help text.
fn argument(flag: &'static Flag) -> Arg {
    let help = match flag.default {
        "" | "false" => flag.help.to_owned(),
        default => format!("{} [default: {default}]", flag.help),
    };
    let arg = Arg::new(flag.name).long(flag.name).help(help).hide(flag.instead.is_some());
    if flag.kind.is_switch() {
        return arg.action(ArgAction::SetTrue);
    }
    let value = match flag.kind {
        Kind::Number | Kind::Count | Kind::Unsigned | Kind::Seconds | Kind::Millis => "NUMBER",
        Kind::Duration | Kind::PositiveDuration => "DURATION",
        Kind::Size | Kind::Mebibytes | Kind::Kibibytes => "SIZE",
        _ => "VALUE",
    };
    arg.action(ArgAction::Append).value_name(value)
}
