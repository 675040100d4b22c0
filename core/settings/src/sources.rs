//! The layers of one process, and merging them. Kept after the start, so that a changed file can be read again.

use std::path::{Path, PathBuf};

use config::{Config, ConfigError};

use crate::{
    Environment, Error, Origin, Origins, Settings, environment::is_truthy, keys::KnownKeys, layer::Layer,
};

/// What begins every variable that is a setting.
const PREFIX: &str = "MECHA__";

/// The layers of one process.
#[derive(Debug, Clone)]
pub struct SettingsSources {
    pub(crate) config_dir: Option<PathBuf>,
    pub(crate) profile: Option<String>,
    pub(crate) environment: Layer,
    pub(crate) flags: Layer,
    /// daprd's `--app-ssl`: whatever the protocol turns out to be, over TLS.
    pub(crate) app_tls: bool,
    pub(crate) default_plugins_dir: PathBuf,
}

/// The merged settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Where each came from.
    pub origins: Origins,
    /// The files that were read, which a watcher may watch.
    pub files: Vec<PathBuf>,
}

impl SettingsSources {
    /// Reads the files again and merges all layers.
    pub fn load(&self) -> Result<Loaded, Error> {
        let known = KnownKeys::new();
        let mut layers = Vec::new();
        let mut files = Vec::new();
        for (file, origin) in self.files()? {
            layers.push(Layer::from_file(&file, &origin, &known)?);
            files.push(file);
        }
        layers.push(self.environment.clone());
        layers.push(self.flags.clone());

        let mut origins = Origins::default();
        for entry in layers.iter().flat_map(|layer| &layer.0) {
            origins.set(&entry.key, entry.origin.clone());
        }
        let mut settings = merged(layers).map_err(|error| wrong_value(&error, &origins))?;
        if self.app_tls {
            settings.app.protocol = settings.app.protocol.over_tls();
            origins.set("app.protocol", Origin::Flag("app-ssl".to_owned()));
        }
        if settings.plugins.dirs.is_empty() {
            settings.plugins.dirs.push(self.default_plugins_dir.clone());
        }
        Ok(Loaded { settings, origins, files })
    }

    /// The files to read. `mecha.yaml` may be absent; a profile that was asked for may not.
    fn files(&self) -> Result<Vec<(PathBuf, Origin)>, Error> {
        let Some(folder) = &self.config_dir else {
            return match &self.profile {
                None => Ok(Vec::new()),
                Some(_) => Err(Error::Rule("--profile needs --config-dir".to_owned())),
            };
        };
        if !folder.is_dir() {
            return Err(Error::File { file: folder.clone(), reason: "is not a folder".to_owned() });
        }
        let mut files = Vec::new();
        let main = folder.join("mecha.yaml");
        if main.exists() {
            files.push((main.clone(), Origin::File(main)));
        }
        if let Some(profile) = &self.profile {
            let file = profile_file(folder, profile)?;
            files.push((file.clone(), Origin::Profile(file)));
        }
        Ok(files)
    }
}

fn profile_file(folder: &Path, profile: &str) -> Result<PathBuf, Error> {
    if profile.contains(['/', '\\']) || profile.starts_with('.') {
        return Err(Error::Rule(format!("`{profile}` is not the name of a profile")));
    }
    Ok(folder.join(format!("{profile}.yaml")))
}

fn merged(layers: Vec<Layer>) -> Result<Settings, ConfigError> {
    let mut builder = Config::builder();
    for layer in layers {
        builder = builder.add_source(layer);
    }
    builder.build()?.try_deserialize()
}

/// What is wrong, at which key, and who set it. `config` knows all three, but does not always say them.
fn wrong_value(error: &ConfigError, origins: &Origins) -> Error {
    let (key, reason) = key_and_reason(error);
    let Some(key) = key else { return Error::Value(reason) };
    let origin = origins
        .iter()
        .find(|(setting, _)| {
            key.strip_prefix(*setting)
                .is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '-'))
        })
        .map(|(_, origin)| origin.to_string())
        .unwrap_or_default();
    Error::Value(format!("setting `{key}` ({origin}): {reason}"))
}

fn key_and_reason(error: &ConfigError) -> (Option<&str>, String) {
    match error {
        ConfigError::Type { unexpected, expected, key, .. } => {
            (key.as_deref(), format!("{unexpected} is not {expected}"))
        }
        ConfigError::At { error, key, .. } => {
            let (inner, reason) = key_and_reason(error);
            (key.as_deref().or(inner), reason)
        }
        other => (None, other.to_string()),
    }
}

/// The settings that the environment holds: `MECHA__SECTION__KEY`, and daprd's variables that mean one.
pub(crate) fn environment_layer(environment: &Environment, known: &KnownKeys) -> Result<Layer, Error> {
    let mut layer = daprd_variables(environment);
    let mut names: Vec<&String> = environment.vars().keys().filter(|name| name.starts_with(PREFIX)).collect();
    names.sort();
    for name in names {
        let Some(value) = environment.given(name) else { continue };
        let key = key_of_variable(&name[PREFIX.len()..]);
        let place = format!("environment variable {name}");
        if known.default_of(&key).is_none() {
            return Err(Error::UnknownSetting { nearest: known.nearest(&key), key, place });
        }
        let value = Layer::text_value(&key, value, known)
            .map_err(|reason| Error::Value(format!("{place}: {reason}")))?;
        layer.push(key, value, Origin::Environment(name.clone()));
    }
    Ok(layer)
}

/// `HTTP__MAX_BODY_SIZE` → `http.max-body-size`.
fn key_of_variable(rest: &str) -> String {
    rest.to_ascii_lowercase().replace("__", ".").replace('_', "-")
}

fn daprd_variables(environment: &Environment) -> Layer {
    let mut layer = Layer::default();
    let mut take = |variable: &str, key: &str| {
        if let Some(value) = environment.given(variable) {
            layer.push(key, value, Origin::Environment(variable.to_owned()));
        }
    };
    take("DAPR_COMPONENTS_SOCKETS_FOLDER", "components.sockets-folder");
    take("DAPR_CONTROLPLANE_NAMESPACE", "control-plane.namespace");
    take("DAPR_CONTROLPLANE_TRUST_DOMAIN", "control-plane.trust-domain");
    take("DAPR_TRUST_ANCHORS_FILE", "mtls.trust-anchors");
    take("DAPR_TRUST_ANCHORS", "mtls.trust-anchors");
    take("DAPR_CERT_CHAIN", "mtls.certificate-chain");
    take("DAPR_CERT_KEY", "mtls.key");
    if environment.given("DAPR_HTTP_DISABLE_H2C").is_some_and(is_truthy) {
        layer.push("http.h2c", false, Origin::Environment("DAPR_HTTP_DISABLE_H2C".to_owned()));
    }
    if let Some(addresses) = environment.given("DAPR_SCHEDULER_HOST_ADDRESS_DNS_A") {
        let addresses: Vec<&str> = addresses.split(',').collect();
        let origin = Origin::Environment("DAPR_SCHEDULER_HOST_ADDRESS_DNS_A".to_owned());
        layer.push("control-plane.scheduler-addresses", addresses, origin);
    }
    layer
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn sources(folder: Option<&Path>, profile: Option<&str>, env: &[(&str, &str)]) -> SettingsSources {
        let vars = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let environment = environment_layer(&Environment::from_vars(vars), &KnownKeys::new()).unwrap();
        SettingsSources {
            config_dir: folder.map(Path::to_owned),
            profile: profile.map(str::to_owned),
            environment,
            flags: Layer::default(),
            app_tls: false,
            default_plugins_dir: PathBuf::from("/bin/plugins"),
        }
    }

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn needs_nothing_at_all() {
        let loaded = sources(None, None, &[]).load().unwrap();
        let mut expected = Settings::default();
        expected.plugins.dirs = vec![PathBuf::from("/bin/plugins")];
        assert_eq!(
            (loaded.settings, loaded.origins, loaded.files),
            (expected, Origins::default(), Vec::new())
        );
    }

    #[test]
    fn later_layers_win_and_leave_their_mark() {
        let folder = folder(&[
            ("mecha.yaml", "http: {port: 1, h2c: no}\ngrpc:\nlog:\n  level:\ntracing: {sampling-rate: 1}\n"),
            ("test.yaml", "http: {port: 2}\ntracing: {sampling-rate: null}\n"),
        ]);
        let env = [("MECHA__HTTP__READ_BUFFER_SIZE", "8Ki"), ("MECHA__PLUGINS__DIRS", "/a, /b")];
        let mut sources = sources(Some(folder.path()), Some("test"), &env);
        sources.flags.push("grpc.port", "5", Origin::Flag("dapr-grpc-port".into()));
        let Loaded { settings, origins, files } = sources.load().unwrap();
        assert_eq!((settings.http.port, settings.http.h2c, settings.grpc.port), (2, false, 5));
        assert_eq!((settings.http.read_buffer_size, settings.tracing.sampling_rate), (8192, None));
        assert_eq!(settings.plugins.dirs, [PathBuf::from("/a"), PathBuf::from("/b")]);
        assert_eq!(files.len(), 2);
        assert_eq!(origins.of("http.port"), Origin::Profile(folder.path().join("test.yaml")));
        assert_eq!(origins.of("http.h2c"), Origin::File(folder.path().join("mecha.yaml")));
        assert_eq!(origins.of("grpc.port").to_string(), "flag --dapr-grpc-port");
        assert_eq!(origins.of("log.level"), Origin::Default);
    }

    #[test]
    fn relative_paths_are_meant_from_the_file() {
        let folder = folder(&[(
            "mecha.yaml",
            "resources: {paths: [components, /abs]}\nlog: {file: a.log}\nmtls: {key: tls.key, trust-anchors: \"-----BEGIN CERTIFICATE-----\"}\n",
        )]);
        let settings = sources(Some(folder.path()), None, &[]).load().unwrap().settings;
        assert_eq!(settings.resources.paths, [folder.path().join("components"), PathBuf::from("/abs")]);
        assert_eq!(settings.log.file, Some(folder.path().join("a.log")));
        assert_eq!(settings.mtls.key, Some(folder.path().join("tls.key").display().to_string()));
        assert_eq!(settings.mtls.trust_anchors.as_deref(), Some("-----BEGIN CERTIFICATE-----"));
    }

    #[test]
    fn reads_daprs_variables() {
        let env = [
            ("DAPR_HTTP_DISABLE_H2C", "true"),
            ("DAPR_COMPONENTS_SOCKETS_FOLDER", "/s"),
            ("DAPR_SCHEDULER_HOST_ADDRESS_DNS_A", "a:1,b:2"),
            ("DAPR_TRUST_ANCHORS_FILE", "/ca.crt"),
            ("DAPR_CERT_KEY", "-----BEGIN PRIVATE KEY-----"),
            ("MECHA__TRACING__OTLP__HEADERS", "key=a%20b"),
        ];
        let settings = sources(None, None, &env).load().unwrap().settings;
        assert!(!settings.http.h2c);
        assert_eq!(settings.components.sockets_folder, PathBuf::from("/s"));
        assert_eq!(settings.control_plane.scheduler_addresses, ["a:1", "b:2"]);
        assert_eq!(settings.mtls.trust_anchors.as_deref(), Some("/ca.crt"));
        assert!(settings.mtls.key.as_ref().is_some_and(|key| key.starts_with("-----BEGIN")));
        assert_eq!(settings.tracing.otlp.headers["key"], "a b");
        assert!(!format!("{settings:?}").contains("a b"));
    }

    #[test]
    fn takes_headers_on_one_line_and_never_shows_them() {
        let given = |text: &str| {
            let folder = folder(&[("mecha.yaml", &format!("tracing: {{otlp: {{headers: {text}}}}}"))]);
            sources(Some(folder.path()), None, &[]).load().map(|loaded| loaded.settings.tracing.otlp.headers)
        };
        assert_eq!(given("'api-key=topsecret'").unwrap()["api-key"], "topsecret");
        for wrong in ["topsecret", "'a b=topsecret'", "[topsecret]", "{a: [topsecret]}"] {
            let text = given(wrong).unwrap_err().to_string();
            assert!(text.contains("tracing.otlp.headers") && !text.contains("topsecret"), "{text}");
        }
    }

    #[test]
    fn refuses_unknown_settings_with_the_nearest() {
        let folder = folder(&[("mecha.yaml", "http:\n  prot: 1\n")]);
        let text = sources(Some(folder.path()), None, &[]).load().unwrap_err().to_string();
        assert!(
            text.contains("unknown setting `http.prot`") && text.ends_with("did you mean `http.port`?"),
            "{text}"
        );
        let vars = [("MECHA__HTP__PORT".to_owned(), "1".to_owned())];
        let text =
            environment_layer(&Environment::from_vars(vars), &KnownKeys::new()).unwrap_err().to_string();
        let expected =
            "unknown setting `htp.port` in environment variable MECHA__HTP__PORT, did you mean `http.port`?";
        assert_eq!(text, expected);
    }

    #[test]
    fn names_the_key_and_place_of_a_wrong_value() {
        for (given, key) in [
            ("http: {port: 70000}", "http.port"),
            ("http: {port: many}", "http.port"),
            ("http: {max-body-size: 4MB}", "http.max-body-size"),
            ("plugins: {settle: 5}", "plugins.settle"),
            ("shutdown: {block-duration: 5}", "shutdown.block-duration"),
            ("log: {level: loud}", "log.level"),
            ("runtime: {worker-threads: 0}", "runtime.worker-threads"),
            ("components: {define: [{name: a, typ: b}]}", "components.define"),
        ] {
            let folder = folder(&[("mecha.yaml", given)]);
            let text = sources(Some(folder.path()), None, &[]).load().unwrap_err().to_string();
            assert!(text.contains(key) && text.contains("mecha.yaml"), "{given}: {text}");
        }
        let section = folder(&[("mecha.yaml", "http: 3500")]);
        let text = sources(Some(section.path()), None, &[]).load().unwrap_err().to_string();
        assert!(text.starts_with("`http` in "), "{text}");
    }

    #[test]
    fn refuses_files_that_are_not_there() {
        let folder = folder(&[]);
        assert!(sources(Some(folder.path()), None, &[]).load().is_ok());
        assert!(sources(Some(folder.path()), Some("absent"), &[]).load().is_err());
        assert!(sources(Some(folder.path()), Some("../x"), &[]).load().is_err());
        assert!(sources(Some(Path::new("/nonexistent")), None, &[]).load().is_err());
        assert!(sources(None, Some("p"), &[]).load().is_err());
    }
}
