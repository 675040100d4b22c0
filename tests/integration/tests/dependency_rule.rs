//! Dependencies among our own crates point one way; this test holds the table that says which way.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// What the crates of a folder may depend on among our own, and why.
struct Rule {
    /// Folder below the root; a rule for `plugins` holds for each crate in it. The longest match decides.
    folder: &'static str,
    may_use: &'static [&'static str],
    because: &'static str,
}

const API: &str = "mecha-plugin-api";
const PLUGGABLE: &str = "mecha-pluggable";
const HOST: &str = "mecha-plugin-host";
const RESOURCES: &str = "mecha-resources";
const RESILIENCY: &str = "mecha-resiliency";
const SETTINGS: &str = "mecha-settings";
const OBSERVABILITY: &str = "mecha-observability";
const PROTO: &str = "mecha-proto";
const ENC: &str = "mecha-enc";
const EVENTS: &str = "mecha-events";
const APP_CHANNEL: &str = "mecha-app-channel";
const IDENTITY: &str = "mecha-identity";
const INVOCATION: &str = "mecha-invocation";
const RUNTIME: &str = "mecha-runtime";
const GATEWAY: &str = "mecha-gateway";
const CONFORMANCE: &str = "mecha-conformance";

const RULES: &[Rule] = &[
    Rule {
        folder: "plugin-api",
        may_use: &[],
        because: "whatever it uses, every plugin links, and the boundary would change with it",
    },
    Rule {
        folder: "plugins",
        may_use: &[API],
        because: "a plugin is built and shipped without the runtime; the boundary is all it may know",
    },
    Rule {
        folder: "core/plugin-host",
        may_use: &[API],
        because: "it loads libraries; what their capabilities mean is the runtime's business",
    },
    Rule {
        folder: "core/pluggable",
        may_use: &[API, HOST, PROTO],
        because: "it makes generations of what others serve; what becomes of components is the runtime's business",
    },
    Rule { folder: "core/resources", may_use: &[], because: "it is pure: YAML in, values out" },
    Rule {
        folder: "core/resiliency",
        may_use: &[],
        because: "it is pure: policies as values and one way to run them",
    },
    Rule {
        folder: "core/settings",
        may_use: &[RESOURCES],
        because: "components may stand in the settings; beyond that it is pure",
    },
    Rule {
        folder: "core/proto",
        may_use: &[],
        because: "messages are the protocol's and know nothing of us",
    },
    Rule {
        folder: "core/events",
        may_use: &[RESOURCES],
        because: "it is pure: events, rules and subscriptions as values",
    },
    Rule {
        folder: "core/crypto-scheme",
        may_use: &[],
        because: "it is pure: bytes in, bytes out; who holds the keys is the caller's business",
    },
    Rule {
        folder: "core/app-channel",
        may_use: &[PROTO, EVENTS, RESOURCES, OBSERVABILITY],
        because: "it is the one place that speaks to the application; what is brought there is the runtime's business",
    },
    Rule {
        folder: "core/identity",
        may_use: &[],
        because: "it is certificates and connections; who calls whom over them is others' business",
    },
    Rule {
        folder: "core/invocation",
        may_use: &[PROTO, APP_CHANNEL, IDENTITY, OBSERVABILITY, RESILIENCY],
        because: "it speaks to applications and runtimes; components are not its business",
    },
    Rule {
        folder: "observability",
        may_use: &[],
        because: "everything reports to it, so that it can know nobody",
    },
    Rule {
        folder: "core/runtime",
        may_use: &[
            API,
            HOST,
            PLUGGABLE,
            RESOURCES,
            RESILIENCY,
            EVENTS,
            APP_CHANNEL,
            IDENTITY,
            INVOCATION,
            OBSERVABILITY,
        ],
        because: "it calls components and knows no protocol, neither HTTP's nor gRPC's messages",
    },
    Rule {
        folder: "gateway",
        may_use: &[RUNTIME, API, PROTO, ENC, EVENTS, IDENTITY, INVOCATION, RESOURCES, OBSERVABILITY],
        because: "it translates protocols into calls of the runtime; it never loads a library itself",
    },
    Rule {
        folder: "core/mecha",
        may_use: &[
            API,
            HOST,
            IDENTITY,
            INVOCATION,
            RESOURCES,
            SETTINGS,
            OBSERVABILITY,
            RUNTIME,
            GATEWAY,
            CONFORMANCE,
        ],
        because: "the binary composes: it alone may see every layer, and still no plugin",
    },
    Rule {
        folder: "tests/conformance",
        may_use: &[API, HOST, RESOURCES],
        because: "`mecha plugin check` runs it on any plugin, so that the binary is built from it",
    },
];

/// Tests, benchmarks and the project's commands stand beside the product: they may use what they like, save a plugin. Not so
/// those with a row in the table.
const OUTSIDE_THE_PRODUCT: &[&str] = &["tests", "xtask"];

/// One of our crates.
struct Package {
    name: String,
    folder: String,
    /// What it is built from: our own crates, dependencies of tests left out.
    builds_on: Vec<String>,
    /// The same with those of tests.
    uses: Vec<String>,
}

#[test]
fn dependencies_point_one_way() {
    let packages = packages();
    let ours: BTreeMap<_, _> = packages.iter().map(|package| (package.name.as_str(), package)).collect();
    let mut broken = Vec::new();
    for package in packages.iter().filter(|package| !is_outside(&package.folder)) {
        let rule = rule_of(&package.folder);
        for used in package.builds_on.iter().filter(|used| ours.contains_key(used.as_str())) {
            if !rule.may_use.contains(&used.as_str()) {
                broken.push(format!("{} uses {used}, but {}", package.name, rule.because));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn nothing_depends_on_a_plugin() {
    let packages = packages();
    let plugins: Vec<_> = packages.iter().filter(|package| is_below(&package.folder, "plugins")).collect();
    assert!(!plugins.is_empty(), "no plugin was found: the test looks in the wrong place");
    for package in &packages {
        for plugin in &plugins {
            assert!(!package.uses.contains(&plugin.name), "{} uses the plugin {}", package.name, plugin.name);
        }
    }
}

#[test]
fn the_product_is_built_without_the_tests_crates() {
    let packages = packages();
    let outside: Vec<_> = packages.iter().filter(|package| is_outside(&package.folder)).collect();
    assert!(!outside.is_empty(), "no crate of the tests was found: the test looks in the wrong place");
    for package in packages.iter().filter(|package| !is_outside(&package.folder)) {
        for tool in &outside {
            assert!(!package.builds_on.contains(&tool.name), "{} is built from {}", package.name, tool.name);
        }
    }
}

#[test]
fn the_longest_folder_decides_and_names_are_whole() {
    assert_eq!(rule_of("plugins/redis").folder, "plugins");
    assert!(!is_below("plugin-api", "plugin"));
    assert!(is_outside("tests/fixtures/plugins/probe"));
}

fn rule_of(folder: &str) -> &'static Rule {
    let fitting = RULES.iter().filter(|rule| is_below(folder, rule.folder));
    let rule = fitting.max_by_key(|rule| rule.folder.len());
    rule.unwrap_or_else(|| panic!("{folder} has no row in the table: add one with its reason"))
}

fn is_outside(folder: &str) -> bool {
    let has_row = RULES.iter().any(|rule| rule.folder == folder);
    !has_row && OUTSIDE_THE_PRODUCT.iter().any(|outside| is_below(folder, outside))
}

fn is_below(folder: &str, above: &str) -> bool {
    Path::new(folder).starts_with(above)
}

fn packages() -> Vec<Package> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs this test, so cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let root = text(&metadata["workspace_root"]);
    list(&metadata["packages"]).iter().map(|package| read_package(package, root)).collect()
}

fn read_package(package: &Value, root: &str) -> Package {
    let manifest = Path::new(text(&package["manifest_path"]));
    let folder = manifest
        .parent()
        .and_then(|folder| folder.strip_prefix(root).ok())
        .expect("it lies in the workspace");
    let dependencies = list(&package["dependencies"]);
    let name_of = |dependency: &Value| text(&dependency["name"]).to_owned();
    Package {
        name: name_of(package),
        folder: folder.to_string_lossy().into_owned(),
        builds_on: dependencies
            .iter()
            .filter(|dependency| dependency["kind"] != "dev")
            .map(name_of)
            .collect(),
        uses: dependencies.iter().map(name_of).collect(),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().expect("cargo's metadata holds a text here")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("cargo's metadata holds a list here")
}
