//! The files of `configs/` are part of the documentation: each must load, and `mecha.yaml` must tell the truth.

#![expect(clippy::unwrap_used, reason = "the helpers below belong to tests as well")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use mecha_resources::{Resource, load_dir, yaml};
use mecha_settings::{Environment, Invocation, Origin, Resolved, Settings};

fn configs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs")
}

fn run(folder: &Path, profile: Option<&str>) -> Box<Resolved> {
    let mut args = vec!["--app-id=demo".to_owned(), format!("--config-dir={}", folder.display())];
    args.extend(profile.map(|profile| format!("--profile={profile}")));
    match Invocation::parse(args, Environment::default(), Path::new("/plugins")).unwrap() {
        Invocation::Run(resolved) => resolved,
        other => panic!("{other:?}"),
    }
}

fn yaml_files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut names: Vec<String> = entries
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn mecha_yaml_states_every_setting_with_its_default() {
    let stated = yaml::parse(&fs::read_to_string(configs().join("mecha.yaml")).unwrap()).unwrap();
    assert_eq!(stated, serde_json::to_value(Settings::default()).unwrap());
}

#[test]
fn mecha_yaml_explains_every_section() {
    let text = fs::read_to_string(configs().join("mecha.yaml")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let sections =
        lines.iter().enumerate().filter(|(_, line)| line.starts_with(|c: char| c.is_ascii_alphabetic()));
    for (number, section) in sections {
        assert!(lines[number - 1].starts_with('#'), "{section} has no comment");
    }
}

#[test]
fn every_profile_loads() {
    for (folder, base) in [(configs(), true), (configs().join("examples/settings"), false)] {
        for profile in yaml_files(&folder).iter().filter(|name| *name != "mecha") {
            let resolved = run(&folder, Some(profile));
            assert_eq!(resolved.files.len(), if base { 2 } else { 1 }, "{profile}");
        }
    }
}

#[test]
fn jaeger_samples_everything() {
    let resolved = run(&configs(), Some("jaeger"));
    assert_eq!(resolved.settings.tracing.sampling_rate, Some(1.0));
    assert_eq!(resolved.settings.tracing.otlp.endpoint.as_deref(), Some("http://localhost:4317"));
    assert!(matches!(resolved.origins.of("tracing.sampling-rate"), Origin::Profile(_)));
    assert!(matches!(resolved.origins.of("http.port"), Origin::File(_)));
}

#[test]
fn inline_components_become_components() {
    let resolved = run(&configs().join("examples/settings"), Some("inline-components"));
    let components: Vec<_> = resolved.settings.components.define.iter().map(|d| d.to_component()).collect();
    assert_eq!(components.len(), 3);
    let redis = &components[2];
    assert_eq!(redis.log_name(), "redisstore (state.redis/v1)");
    assert_eq!(redis.secret_refs()[0].field(), "REDIS_PASSWORD");
    assert!(redis.is_in_scope("demo") && !redis.is_in_scope("other"));
}

#[test]
fn every_resource_file_loads() {
    let names = |folder: &str| -> Vec<String> {
        let (loaded, errors) = load_dir(&configs().join(folder));
        assert_eq!(errors, []);
        // A file whose kind or API version is mistyped would be skipped without a word.
        for file in yaml_files(&configs().join(folder)) {
            let held = |resource: &&mecha_resources::Loaded<Resource>| {
                resource.file.ends_with(format!("{file}.yaml"))
            };
            assert!(loaded.iter().any(|resource| held(&resource)), "{folder}/{file}.yaml holds no resource");
        }
        let name = |resource: &Resource| match resource {
            Resource::Component(component) => format!("{} {}", component.name, component.component_type),
            Resource::Configuration(configuration) => configuration.name.clone(),
            Resource::Subscription(subscription) => subscription.name.clone(),
            Resource::HttpEndpoint(endpoint) => endpoint.name.clone(),
            Resource::Resiliency(resiliency) => resiliency.name.clone(),
        };
        loaded.iter().map(|resource| name(&resource.value)).collect()
    };
    assert_eq!(
        names("components"),
        [
            "pubsub pubsub.in-memory",
            "envsecrets secretstores.local.env",
            "sqlitestore state.sqlite",
            "statestore state.in-memory"
        ]
    );
    let examples = [
        "example",
        "httpbin bindings.http",
        "redisstore state.redis",
        "filesecrets secretstores.local.file",
        "orderstore state.redis",
    ];
    assert_eq!(names("examples"), examples);
}
