//! Rules that span several settings, checked before anything starts. The words are daprd's where it has the rule.

use std::time::Duration;

use mecha_resources::duration;

use crate::{Error, Settings, model::Mode};

/// Checks what the gateway needs to start.
pub(crate) fn check(settings: &Settings) -> Result<(), Error> {
    app_id(settings)?;
    ports(settings)?;
    let app = &settings.app;
    for endpoint in &app.disabled_init_endpoints {
        if !["config", "subscribe"].contains(&endpoint.trim().to_ascii_lowercase().as_str()) {
            return refuse(format!("invalid value for 'disable-init-endpoints': {endpoint}"));
        }
    }
    if app.health.timeout > app.health.interval {
        return refuse("value for 'health-probe-timeout' must be smaller than 'health-probe-interval'");
    }
    let timeout = settings.control_plane.disseminate_timeout;
    if timeout == Duration::ZERO {
        let given = duration::format(timeout);
        return refuse(format!(
            "invalid value for 'actors-disseminate-timeout' option: must be positive, got {given}"
        ));
    }
    if settings.tracing.sampling_rate.is_some_and(|rate| !(0.0..=1.0).contains(&rate)) {
        return refuse("`tracing.sampling-rate` must lie between 0 and 1");
    }
    Ok(())
}

fn app_id(settings: &Settings) -> Result<(), Error> {
    if settings.runtime.mode == Mode::Kubernetes {
        return Ok(());
    }
    match settings.app.id.as_deref() {
        None | Some("") => refuse("parameter app-id cannot be empty"),
        Some(id) if id.contains('.') => refuse("parameter app-id cannot contain dots"),
        Some(_) => Ok(()),
    }
}

fn ports(settings: &Settings) -> Result<(), Error> {
    let Some(app) = settings.app.port.filter(|port| *port != 0) else { return Ok(()) };
    for (flag, port) in [("dapr-http-port", settings.http.port), ("dapr-grpc-port", settings.grpc.port)] {
        if port == app {
            return refuse(format!("the '{flag}' argument value {port} conflicts with 'app-port'"));
        }
    }
    Ok(())
}

fn refuse(text: impl Into<String>) -> Result<(), Error> {
    Err(Error::Rule(text.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(change: impl Fn(&mut Settings)) -> String {
        let mut settings = Settings::default();
        settings.app.id = Some("app".into());
        assert_eq!(check(&settings), Ok(()));
        change(&mut settings);
        check(&settings).unwrap_err().to_string()
    }

    #[test]
    fn speaks_daprds_words() {
        assert_eq!(refusal(|s| s.app.id = None), "parameter app-id cannot be empty");
        assert_eq!(refusal(|s| s.app.id = Some("a.b".into())), "parameter app-id cannot contain dots");
        assert_eq!(
            refusal(|s| s.app.port = Some(3500)),
            "the 'dapr-http-port' argument value 3500 conflicts with 'app-port'"
        );
        assert_eq!(
            refusal(|s| s.app.disabled_init_endpoints = vec!["x".into()]),
            "invalid value for 'disable-init-endpoints': x"
        );
        assert!(
            refusal(|s| s.app.health.timeout = Duration::from_secs(9)).contains("'health-probe-timeout'")
        );
        assert!(refusal(|s| s.control_plane.disseminate_timeout = Duration::ZERO).ends_with("got 0s"));
        assert!(refusal(|s| s.tracing.sampling_rate = Some(f64::NAN)).contains("sampling-rate"));
    }

    #[test]
    fn leaves_ids_to_kubernetes() {
        let mut settings = Settings::default();
        settings.runtime.mode = Mode::Kubernetes;
        assert_eq!(check(&settings), Ok(()));
    }
}
