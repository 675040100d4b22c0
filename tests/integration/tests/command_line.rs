//! The commands beside serving, and daprd's flags as daprd takes them.

use std::path::Path;
use std::time::Duration;

use mecha_testkit::{Mecha, fixture, mecha_binary, plugin_library};
use serde_json::Value;
use tokio::process::Command;

const SOON: Duration = Duration::from_secs(60);

/// Exit code and everything printed.
async fn run(args: &[&str], env: &[(&str, &str)]) -> (i32, String) {
    let mut command = Command::new(mecha_binary().unwrap());
    command.args(args).env_clear().envs(env.iter().copied()).kill_on_drop(true);
    let output = tokio::time::timeout(SOON, command.output()).await.unwrap().unwrap();
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap_or(-1), text)
}

/// The line of `mecha config show` for a setting whose name is given once only.
fn setting<'a>(text: &'a str, name: &str) -> &'a str {
    let line = text.lines().find(|line| line.trim_start().starts_with(&format!("{name}:")));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).trim()
}

#[tokio::test]
async fn the_version_is_one_line() {
    let (code, text) = run(&["--version"], &[]).await;
    assert_eq!((code, text.lines().count()), (0, 1), "{text}");
    assert_eq!(text.trim().split('.').filter(|part| part.parse::<u32>().is_ok()).count(), 3, "{text}");
    let (code, text) = run(&["-build-info"], &[]).await;
    assert!(code == 0 && text.contains("Version: "), "{text}");
    let (code, text) = run(&["--help"], &[]).await;
    assert!(code == 0 && text.contains("--dapr-http-port") && text.contains("plugin"), "{text}");
}

#[tokio::test]
async fn settings_are_shown_with_the_layer_that_set_them() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mecha.yaml"), "http:\n  max-body-size: 1Mi\nlog:\n  level: warn\n")
        .unwrap();
    std::fs::write(folder.path().join("fast.yaml"), "log:\n  level: error\nplugins:\n  settle: 50ms\n")
        .unwrap();
    let dir = folder.path().to_str().unwrap();
    let args = ["config", "show", "--config-dir", dir, "--profile", "fast", "--dapr-grpc-port", "50002"];
    let (code, text) = run(&args, &[("MECHA__PLUGINS__SETTLE", "70ms")]).await;
    assert_eq!(code, 0, "{text}");
    for (name, value, layer) in [
        ("max-body-size", "1Mi", "file "),
        ("level", "error", "profile "),
        ("settle", "70ms", "environment MECHA__PLUGINS__SETTLE"),
        ("read-buffer-size", "4Ki", "default"),
    ] {
        let line = setting(&text, name);
        assert!(line.starts_with(&format!("{name}: {value} ")), "{line}");
        assert!(line.contains(&format!("# {layer}")), "{line}");
    }
    assert!(text.contains("port: 50002") && text.contains("# flag --dapr-grpc-port"), "{text}");

    let (code, text) = run(&["config", "show"], &[("MECHA__HTTP__MAX_BODY_SISE", "1")]).await;
    assert!(code == 1 && text.contains("max-body-size"), "the nearest known name is not named: {text}");
}

#[tokio::test]
async fn components_are_listed_with_their_files() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store.yaml");
    let yaml = "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: orders}\nspec: {type: state.redis, version: v1}\nscopes: [shop, web]\n";
    std::fs::write(&file, yaml).unwrap();
    std::fs::write(folder.path().join("bad.yaml"), "a: [").unwrap();
    let (code, text) = run(&["components", "--resources-path", folder.path().to_str().unwrap()], &[]).await;
    assert_eq!(code, 0, "{text}");
    let line = text.lines().find(|line| line.contains("orders")).unwrap_or_else(|| panic!("{text}"));
    for part in ["state.redis/v1", "shop,web", file.to_str().unwrap()] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
    assert!(text.lines().any(|line| line.contains("problem") && line.contains("bad.yaml")), "{text}");
}

async fn plugin(command: &str, file: &Path) -> (i32, String) {
    run(&["plugin", command, file.to_str().unwrap()], &[]).await
}

#[tokio::test]
async fn a_plugin_file_is_looked_at_as_the_process_would() {
    let (code, text) = plugin("inspect", &plugin_library("local-secrets").unwrap()).await;
    assert_eq!(code, 0, "{text}");
    for part in [
        "libmecha_plugin_local_secrets.so",
        "sha256",
        "plugin API",
        "secretstores.local.file/v1",
        "secretsFile: missing local secrets file in metadata",
        "secretstores.local.env/v1 (secret): opens and answers",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let (code, text) = plugin("check", &plugin_library("memory").unwrap()).await;
    assert!(code == 0 && text.contains("state.in-memory/v1") && !text.contains("FAILED"), "{text}");
    for (name, reason) in [
        ("no-export", "not a Mecha plugin"),
        ("incompatible", "built against an incompatible plugin API"),
        ("probe-panic-abort", "built with panic=abort"),
    ] {
        for command in ["inspect", "check"] {
            let (code, text) = plugin(command, &fixture(name).unwrap()).await;
            assert!(code == 1 && text.contains(reason) && text.lines().count() == 1, "{command}: {text}");
        }
    }
    let (code, text) = plugin("inspect", Path::new("/nowhere/x.so")).await;
    assert!(code == 1 && text.contains("cannot read the file"), "{text}");
}

#[tokio::test]
async fn flags_may_have_one_dash_and_unknown_ones_only_warn() {
    let mecha = Mecha::builder()
        .flag("-log-level", "debug")
        .switch("-log-as-json")
        .switch("--enable-metrics=true")
        .flag("--flag-of-a-newer-daprd", "value")
        .switch("--another-one=1")
        .switch("-third")
        .flag("--dapr-http-max-request-size", "1")
        .flag("--placement-host-address", "")
        .start()
        .await
        .unwrap();
    for text in [
        "unknown flag --flag-of-a-newer-daprd is ignored",
        "unknown flag --another-one is ignored",
        "unknown flag --third is ignored",
        "flag --dapr-http-max-request-size has been deprecated",
    ] {
        let line = mecha.logs().wait_for(text, SOON).await.unwrap();
        let entry: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (&entry["level"], &entry["app_id"], &entry["type"]),
            (&"warning".into(), &"app".into(), &"log".into())
        );
    }
    // Every line is an entry of its own.
    for line in mecha.logs().lines() {
        let entry: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for field in ["time", "level", "msg", "app_id", "instance", "scope", "type", "ver"] {
            assert!(entry[field].is_string(), "{field} is not in {line}");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_in_dapr_s_words() {
    for (args, text) in [
        (&[][..], "parameter app-id cannot be empty"),
        (&["--app-id", "a.b"], "parameter app-id cannot contain dots"),
        (&["--app-id", "a", "--app-port", "3500"], "conflicts with 'app-port'"),
        (&["--app-id", "a", "--dapr-http-port", "many"], "dapr-http-port"),
        (&["plugin", "paint"], "paint"),
        (&["--app-id", "a", "--config", "/nowhere/config.yaml"], "/nowhere/config.yaml"),
    ] {
        let (code, printed) = run(args, &[]).await;
        assert!(code == 1 && printed.contains(text), "{args:?}: {code} {printed}");
    }
}
