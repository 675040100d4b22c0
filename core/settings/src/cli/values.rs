//! Flags → a layer of settings.

use mecha_resources::duration;
use serde_json::Value;

use super::{
    flags::{Flag, Kind},
    scan::Scanned,
};
use crate::{Error, Origin, layer::Layer, quantity};

/// The settings that flags state. A list flag that stands several times makes one list.
pub(super) fn flag_layer(scanned: &Scanned) -> Result<Layer, Error> {
    let mut layer = Layer::default();
    for (flag, text) in &scanned.given {
        if flag.key.is_empty() || flag.unless.is_some_and(|other| scanned.last(other).is_some()) {
            continue;
        }
        let value = value(flag, text).map_err(|reason| Error::Flag { flag: flag.name, reason })?;
        let Some(value) = value else { continue };
        let origin = Origin::Flag(flag.name.to_owned());
        let earlier = layer.0.iter_mut().find(|entry| entry.key == flag.key && entry.origin == origin);
        match (earlier, value) {
            (Some(entry), Value::Array(more)) => {
                if let Value::Array(items) = &mut entry.value {
                    items.extend(more);
                }
            }
            (Some(entry), value) => entry.value = value,
            (None, value) => layer.push(flag.key, value, origin),
        }
    }
    Ok(layer)
}

/// A flag's text as the setting's value; `None` when daprd takes it as not given.
fn value(flag: &Flag, text: &str) -> Result<Option<Value>, String> {
    let number = || text.parse::<i64>().map_err(|_| format!("{text:?} is not a whole number"));
    let from = |least: i64| number().map(|number| Some(number).filter(|number| *number >= least));
    let scaled = |unit: u64| -> Result<Option<Value>, String> {
        let number = number()?;
        if number == -1 {
            return Ok(None);
        }
        let bytes = u64::try_from(number).ok().and_then(|number| number.checked_mul(unit));
        bytes.map(|bytes| Some(Value::from(bytes))).ok_or_else(|| format!("{text:?} is not a size"))
    };
    match flag.kind {
        Kind::Text => Ok(Some(Value::from(text))),
        Kind::List => Ok(Some(text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect())),
        Kind::Switch => Ok(Some(Value::from(text == "true"))),
        Kind::Negated => Ok(Some(Value::from(text != "true"))),
        Kind::Number => Ok(Some(Value::from(number()?))),
        Kind::Count => Ok(from(1)?.map(Value::from)),
        Kind::Unsigned => Ok(from(0)?.map(Value::from)),
        Kind::Seconds => Ok(from(1)?.map(|seconds| Value::from(format!("{seconds}s")))),
        Kind::Millis => Ok(from(1)?.map(|millis| Value::from(format!("{millis}ms")))),
        Kind::Duration => Ok(Some(Value::from(go_duration(text)?))),
        Kind::PositiveDuration => Ok(positive_duration(text)?.map(Value::from)),
        Kind::Size if text == "-1" => Ok(None),
        Kind::Size => match quantity::parse(text) {
            Some(bytes) => Ok(Some(Value::from(bytes))),
            None => Err(format!("{text:?} is not a resource quantity such as 4Mi")),
        },
        Kind::Mebibytes => scaled(1 << 20),
        Kind::Kibibytes => scaled(1 << 10),
        Kind::Control | Kind::ControlSwitch | Kind::Ignored => Ok(None),
    }
}

/// The duration as given, checked.
fn go_duration(text: &str) -> Result<&str, String> {
    let is_one = duration::parse(text).is_some();
    is_one.then_some(text).ok_or_else(|| format!("{text:?} is not a duration such as 500ms or 1m30s"))
}

fn positive_duration(text: &str) -> Result<Option<&str>, String> {
    match text.strip_prefix('-') {
        Some(magnitude) => go_duration(magnitude).map(|_| None),
        None => go_duration(text)
            .map(|text| Some(text).filter(|_| duration::parse(text).is_some_and(|d| !d.is_zero()))),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, path::PathBuf};

    use super::*;
    use crate::{
        Environment, Settings, SettingsSources,
        cli::{flags::FLAGS, scan::scan},
        keys::KnownKeys,
        model::AppProtocol,
    };

    fn settings(args: &[&str]) -> Result<Settings, Error> {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let scanned = scan(&args)?;
        let sources = SettingsSources {
            config_dir: None,
            profile: None,
            environment: Layer::default(),
            flags: flag_layer(&scanned)?,
            app_tls: scanned.is_on("app-ssl"),
            default_plugins_dir: PathBuf::new(),
        };
        let mut settings = sources.load()?.settings;
        settings.plugins.dirs.retain(|folder| !folder.as_os_str().is_empty());
        Ok(settings)
    }

    #[test]
    fn every_flag_names_a_setting_and_states_its_default() {
        let known = KnownKeys::new();
        for flag in &FLAGS {
            if flag.key.is_empty() {
                continue;
            }
            assert!(known.default_of(flag.key).is_some(), "--{} names `{}`", flag.name, flag.key);
            let arg = format!("--{}={}", flag.name, flag.default);
            assert_eq!(settings(&[&arg]).unwrap(), Settings::default(), "{arg}");
        }
    }

    #[test]
    fn flags_have_names_of_their_own() {
        let mut names = BTreeMap::new();
        for flag in &FLAGS {
            assert!(names.insert(flag.name, flag.key).is_none(), "--{} stands twice", flag.name);
        }
    }

    #[test]
    fn values_become_settings() {
        let given = settings(&[
            "--app-port=80",
            "--app-protocol=GRPC",
            "--app-ssl",
            "--resources-path=a,b",
            "--resources-path=c",
            "--components-path=ignored",
            "--max-body-size=1Mi",
            "--dapr-http-max-request-size=9",
            "--dapr-http-read-buffer-size=8",
            "--app-health-probe-interval=7",
            "--app-health-probe-timeout=20",
            "--disable-builtin-k8s-secret-store",
            "--dapr-block-shutdown-duration=3m",
            "--enable-api-logging=false",
            "--scheduler-host-address=h:1, h:2",
            "--dapr-internal-grpc-port=0",
        ])
        .unwrap();
        assert_eq!((given.app.port, given.app.protocol), (Some(80), AppProtocol::Grpcs));
        assert_eq!(given.resources.paths, ["a", "b", "c"].map(PathBuf::from));
        assert_eq!((given.http.max_body_size, given.http.read_buffer_size), (1 << 20, 8 << 10));
        assert_eq!((given.app.health.interval.as_secs(), given.app.health.timeout.as_millis()), (7, 20));
        assert!(!given.control_plane.kubernetes_secret_store);
        assert_eq!(given.shutdown.block_duration.unwrap().as_secs(), 180);
        assert_eq!(given.log.api_calls, Some(false));
        assert_eq!(given.control_plane.scheduler_addresses, ["h:1", "h:2"]);
    }

    #[test]
    fn what_daprd_takes_as_not_given_is_not() {
        for arg in [
            "--app-health-probe-interval=0",
            "--app-health-threshold=0",
            "--app-health-probe-timeout=-5",
            "--hot-reload-reconcile-interval=0",
            "--app-binding-options-timeout=-1s",
            "--max-body-size=-1",
            "--dapr-http-max-request-size=-1",
            "--dapr-graceful-shutdown-seconds=-1",
        ] {
            assert_eq!(settings(&[arg]).unwrap(), Settings::default(), "{arg}");
        }
    }

    #[test]
    fn wrong_values_name_the_flag() {
        for (arg, name) in [
            ("--dapr-http-port=x", "dapr-http-port"),
            ("--max-body-size=4MB", "max-body-size"),
            ("--actors-disseminate-timeout=30", "actors-disseminate-timeout"),
            ("--hot-reload-reconcile-interval=soon", "hot-reload-reconcile-interval"),
        ] {
            let text = settings(&[arg]).unwrap_err().to_string();
            assert!(text.starts_with(&format!("error parsing {name} flag: ")), "{text}");
        }
        let text = settings(&["--dapr-http-port=70000"]).unwrap_err().to_string();
        assert!(text.contains("http.port") && text.contains("flag --dapr-http-port"), "{text}");
        let text = settings(&["--app-protocol=smtp"]).unwrap_err().to_string();
        assert!(text.contains("invalid value for 'app-protocol': smtp"), "{text}");
    }

    #[test]
    fn an_unused_environment_is_fine() {
        assert_eq!(Environment::from_vars([]), Environment::default());
    }
}
