//! `mecha certs`: its arguments and its help.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

/// Certificates to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCertificates {
    /// For which applications.
    pub app_ids: Vec<String>,
    /// The folder for the files.
    pub out: PathBuf,
    /// The applications' namespace.
    pub namespace: String,
    /// Their trust domain.
    pub trust_domain: String,
    /// How long the certificates last.
    pub days: u32,
}

const EXAMPLE: &str = "\
Examples:
  mecha certs new --app-id orders --app-id stock --out ./certs

  DAPR_TRUST_ANCHORS_FILE=certs/ca.crt DAPR_CERT_CHAIN=certs/orders/tls.crt \\
    DAPR_CERT_KEY=certs/orders/tls.key mecha --app-id orders --enable-mtls

The folder holds ca.crt and ca.key, and tls.crt and tls.key in a folder for each application. Run
again, it renews the certificates by the same authority, and runtimes take them in while they run.";

pub(super) fn command() -> Command {
    let text = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    Command::new("certs")
        .about("Make certificates to try mutual TLS between runtimes")
        .after_help(EXAMPLE)
        .subcommand_required(true)
        .subcommand(
            Command::new("new")
                .about("Make a local authority, or take the one in the folder, and a certificate for each application")
                .after_help(EXAMPLE)
                .arg(
                    text("app-id", "ID", "An application; may be given again")
                        .required(true)
                        .action(ArgAction::Append),
                )
                .arg(
                    text("out", "DIR", "The folder for the files")
                        .required(true)
                        .value_parser(value_parser!(PathBuf)),
                )
                .arg(text("namespace", "NAME", "The applications' NAMESPACE").default_value("default"))
                .arg(
                    text("trust-domain", "NAME", "Their trust domain, as access control names it")
                        .default_value("public"),
                )
                .arg(
                    text("days", "NUMBER", "How long the certificates last")
                        .default_value("365")
                        .value_parser(value_parser!(u32).range(1..=3650)),
                ),
        )
}

/// What `mecha certs new` was given.
pub(super) fn new(matches: &ArgMatches) -> NewCertificates {
    let text = |name: &str| matches.get_one::<String>(name).cloned().unwrap_or_default();
    NewCertificates {
        app_ids: matches.get_many::<String>("app-id").unwrap_or_default().cloned().collect(),
        out: matches.get_one::<PathBuf>("out").cloned().unwrap_or_default(),
        namespace: text("namespace"),
        trust_domain: text("trust-domain"),
        days: matches.get_one::<u32>("days").copied().unwrap_or_default(),
    }
}
