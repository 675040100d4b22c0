//! From settings, Configuration and environment to the log, the traces and the metrics.

use anyhow::{Context as _, Result};
use mecha_observability::telemetry::Service;
use mecha_observability::{
    LogFormat, LogLevel, LogSettings, Logger, OtlpProtocol, OtlpSettings, TraceSettings,
};
use mecha_resources::Configuration;
use mecha_settings::{Resolved, model};

/// The machine's name, which Dapr calls the instance.
pub(crate) fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

/// Opens the log.
pub(crate) fn logger(resolved: &Resolved) -> Result<Logger> {
    let log = &resolved.settings.log;
    let settings = LogSettings {
        level: level(log.level),
        format: if log.json { LogFormat::Json } else { LogFormat::Text },
        app_id: resolved.settings.app.id.clone().unwrap_or_default(),
        host: host_name(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..LogSettings::default()
    };
    Logger::new(settings.with_file(log.file.clone())).context("cannot open the log")
}

fn level(level: model::LogLevel) -> LogLevel {
    match level {
        model::LogLevel::Debug => LogLevel::Debug,
        model::LogLevel::Info => LogLevel::Info,
        model::LogLevel::Warn => LogLevel::Warn,
        model::LogLevel::Error => LogLevel::Error,
        model::LogLevel::Fatal => LogLevel::Fatal,
    }
}

/// Whose spans these are.
pub(crate) fn service(resolved: &Resolved) -> Service {
    let service = Service {
        app_id: resolved.settings.app.id.clone().unwrap_or_default(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        host: host_name(),
        attributes: Vec::new(),
    };
    let mut service = service.with_environment(resolved.environment.vars());
    if let Some(name) = &resolved.settings.tracing.service_name {
        service.app_id.clone_from(name);
    }
    service
}

/// Where traces go: our settings win over Dapr's Configuration, which wins over the `OTEL_*` variables.
pub(crate) fn traces(resolved: &Resolved, configuration: &Configuration) -> Result<TraceSettings> {
    let dapr = &configuration.tracing;
    let mut settings = TraceSettings {
        sampling_rate: dapr.sampling_rate.clone(),
        stdout: dapr.stdout,
        zipkin_endpoint: Some(dapr.zipkin.endpoint_address.clone()).filter(|endpoint| !endpoint.is_empty()),
        otlp: dapr_otlp(&dapr.otel)?,
        ..TraceSettings::default()
    };
    let ours = &resolved.settings.tracing;
    if let Some(endpoint) = &ours.otlp.endpoint {
        let otlp = settings.otlp.get_or_insert_default();
        otlp.endpoint.clone_from(endpoint);
        // Without a scheme an endpoint of our own settings is a plain one, as collectors beside the process are.
        otlp.secure = false;
    }
    if let (Some(otlp), Some(protocol)) = (&mut settings.otlp, ours.otlp.protocol) {
        otlp.protocol = match protocol {
            model::OtlpProtocol::Grpc => OtlpProtocol::Grpc,
            model::OtlpProtocol::Http => OtlpProtocol::Http,
        };
    }
    if let Some(otlp) = &mut settings.otlp {
        otlp.headers.extend(ours.otlp.headers.iter().map(|(name, value)| (name.clone(), value.clone())));
    }
    if let Some(rate) = ours.sampling_rate {
        settings.sampling_rate = rate.to_string();
    }
    settings.with_environment(resolved.environment.vars()).context("cannot read the OTEL_* variables")
}

fn dapr_otlp(otel: &mecha_resources::configuration::Otel) -> Result<Option<OtlpSettings>> {
    if otel.endpoint_address.is_empty() {
        return Ok(None);
    }
    let mut otlp = OtlpSettings {
        endpoint: otel.endpoint_address.clone(),
        secure: otel.secure(),
        headers: otel.headers.0.clone(),
        ..OtlpSettings::default()
    };
    if !otel.protocol.is_empty() {
        otlp.protocol = otel.protocol.parse().context("spec.tracing.otel.protocol of the Configuration")?;
    }
    if let Some(timeout) = otel.timeout {
        otlp.timeout = timeout;
    }
    Ok(Some(otlp))
}
