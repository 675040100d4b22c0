//! Whole command lines.

use super::*;
use crate::{Origin, model::AppProtocol};

fn parse_with(args: &[&str], env: &[(&str, &str)]) -> Result<Invocation, Error> {
    let vars = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let args = args.iter().map(|arg| (*arg).to_owned());
    Invocation::parse(args, Environment::from_vars(vars), Path::new("/opt/mecha/plugins"))
}

fn parse(args: &[&str]) -> Result<Invocation, Error> {
    parse_with(args, &[])
}

fn run(args: &[&str], env: &[(&str, &str)]) -> Box<Resolved> {
    match parse_with(args, env).unwrap() {
        Invocation::Run(resolved) => resolved,
        other => panic!("{other:?}"),
    }
}

#[test]
fn runs_with_an_id_and_nothing_else() {
    let resolved = run(&["--app-id", "app"], &[]);
    assert_eq!(resolved.settings.app.id.as_deref(), Some("app"));
    assert_eq!(resolved.settings.plugins.dirs, [PathBuf::from("/opt/mecha/plugins")]);
    assert_eq!(resolved.origins.of("app.id"), Origin::Flag("app-id".into()));
    assert!(resolved.warnings.is_empty() && resolved.files.is_empty());
}

#[test]
fn needs_an_id_to_run() {
    for args in [&[][..], &["--app-id", ""], &["--dapr-http-port=1"]] {
        assert_eq!(parse(args).unwrap_err().to_string(), "parameter app-id cannot be empty");
    }
    assert!(matches!(parse(&["config", "show"]), Ok(Invocation::ConfigShow(_))));
    assert!(matches!(parse(&["components"]), Ok(Invocation::Components(_))));
}

#[test]
fn takes_the_suites_flags() {
    // The flags that Dapr's own integration suite passes to every process it starts.
    let resolved = run(
        &[
            "--log-level=info",
            "--app-id=a",
            "--app-port=0",
            "--app-protocol=http",
            "--dapr-grpc-port=2",
            "--dapr-http-port=3",
            "--dapr-internal-grpc-port=4",
            "--dapr-internal-grpc-listen-address=127.0.0.1",
            "--dapr-listen-addresses=127.0.0.1",
            "--dapr-public-port=5",
            "--dapr-public-listen-address=127.0.0.1",
            "--metrics-port=6",
            "--metrics-listen-address=127.0.0.1",
            "--profile-port=7",
            "--enable-app-health-check=false",
            "--app-health-check-path=",
            "--app-health-probe-interval=0",
            "--app-health-threshold=0",
            "--mode=standalone",
            "--enable-mtls=false",
            "--enable-profiling",
            "--resources-path=/r1",
            "--resources-path=/r2",
            "--config=/c",
            "--scheduler-host-address=",
            "--from-the-future=1",
        ],
        &[],
    );
    let settings = &resolved.settings;
    assert_eq!((settings.http.port, settings.grpc.port, settings.metrics.port), (3, 2, 6));
    assert_eq!(settings.http.listen_addresses, ["127.0.0.1"]);
    assert_eq!(settings.resources.paths.len(), 2);
    assert_eq!(settings.resources.configurations, [PathBuf::from("/c")]);
    assert_eq!(settings.app.protocol, AppProtocol::Http);
    assert_eq!(resolved.warnings, ["unknown flag --from-the-future is ignored"]);
}

#[test]
fn a_flag_wins_over_the_environment() {
    let env =
        [("MECHA__HTTP__PORT", "1"), ("MECHA__GRPC__PORT", "2"), ("DAPR_API_TOKEN", "t"), ("PATH", "/bin")];
    let resolved = run(&["--app-id=a", "-dapr-http-port", "9"], &env);
    assert_eq!((resolved.settings.http.port, resolved.settings.grpc.port), (9, 2));
    assert!(resolved.environment.dapr_api_token.is_some());
    assert!(!format!("{resolved:?}").contains("\"t\""));
}

#[test]
fn prints_and_ends() {
    assert!(matches!(parse(&["--version"]), Ok(Invocation::Version)));
    assert!(matches!(parse(&["-build-info", "--dapr-http-port=x"]), Ok(Invocation::BuildInfo)));
    assert!(matches!(parse(&["--wait", "--dapr-http-port=81"]), Ok(Invocation::Wait { http_port: 81 })));
    assert!(parse(&["--version=false", "--app-id=a"]).is_ok_and(|asked| matches!(asked, Invocation::Run(_))));
}

#[test]
fn looks_at_plugins() {
    match parse(&["plugin", "inspect", "a.so"]).unwrap() {
        Invocation::PluginInspect { file } => assert_eq!(file, PathBuf::from("a.so")),
        other => panic!("{other:?}"),
    }
    match parse(&["plugin", "check", "--conformance", "a.so", "--component", "c.yaml"]).unwrap() {
        Invocation::PluginCheck { file, component } => {
            assert_eq!((file, component), (PathBuf::from("a.so"), Some(PathBuf::from("c.yaml"))));
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        parse(&["plugin", "check", "a.so"]),
        Ok(Invocation::PluginCheck { component: None, .. })
    ));
    for args in [&["plugin"][..], &["plugin", "inspect"], &["plugin", "inspct", "a"], &["config"], &["serve"]]
    {
        assert!(matches!(parse(args), Err(Error::Usage(_))), "{args:?}");
    }
}

#[test]
fn every_command_has_help_with_an_example() {
    for args in [
        &["--help"][..],
        &["-h"],
        &["help"],
        &["plugin", "--help"],
        &["plugin", "inspect", "--help"],
        &["plugin", "check", "--help"],
        &["config", "--help"],
        &["config", "show", "--help"],
        &["components", "-help"],
    ] {
        match parse(args).unwrap() {
            Invocation::Help(text) => {
                assert!(text.contains("Example") && text.contains("mecha "), "{args:?}: {text}")
            }
            other => panic!("{args:?}: {other:?}"),
        }
    }
    let Invocation::Help(text) = parse(&["--help"]).unwrap() else { panic!() };
    for flag in flags::FLAGS.iter().filter(|flag| flag.instead.is_none()) {
        assert!(text.contains(&format!("--{}", flag.name)), "--{} is missing", flag.name);
    }
}

#[test]
fn reads_changed_files_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mecha.yaml");
    std::fs::write(&file, "log: {level: debug}").unwrap();
    let resolved = run(&["--app-id=a", "--config-dir", folder.path().to_str().unwrap()], &[]);
    assert_eq!(resolved.files, std::slice::from_ref(&file));
    std::fs::write(&file, "log: {level: error}").unwrap();
    let reloaded = resolved.reload().unwrap();
    assert_eq!(reloaded.settings.log.level.as_str(), "error");
    assert_eq!(reloaded.settings.app, resolved.settings.app);
    std::fs::write(&file, "log: {level: loud}").unwrap();
    assert!(resolved.reload().is_err());
}

#[test]
fn makes_certificates() {
    let Ok(Invocation::CertsNew(asked)) =
        parse(&["certs", "new", "--app-id", "a", "--app-id", "b", "--out", "/c", "--days", "2"])
    else {
        panic!("it should be understood");
    };
    assert_eq!((asked.app_ids, asked.out), (vec!["a".to_owned(), "b".to_owned()], PathBuf::from("/c")));
    assert_eq!((&*asked.namespace, &*asked.trust_domain, asked.days), ("default", "public", 2));
    for wrong in [&["certs"][..], &["certs", "new", "--out", "/c"], &["certs", "new", "--app-id", "a"]] {
        assert!(parse(wrong).is_err() || matches!(parse(wrong), Ok(Invocation::Help(_))), "{wrong:?}");
    }
    let Ok(Invocation::Help(help)) = parse(&["certs", "new", "--help"]) else { panic!("no help") };
    assert!(help.contains("--trust-domain") && help.contains("Example"), "{help}");
}
