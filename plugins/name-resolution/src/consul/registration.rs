//! What is registered with the agent: this runtime as a service of Consul, with a health check.

use mecha_plugin_api::name_resolution::{Registration, endpoint};
use mecha_plugin_api::{Error, Result};
use serde_json::{Map, Value, json};

use super::settings::Settings;

/// The service; `None` when the settings ask for no registration.
pub(super) fn service(
    settings: &Settings,
    registration: &Registration,
) -> Result<Option<Map<String, Value>>> {
    let mut service = match &settings.advanced {
        Some(service) => service.clone(),
        None if settings.self_register => own(settings, registration)?,
        None => return Ok(None),
    };
    let name = field(&service, "meta").map_or_else(|| "Meta".to_owned(), |(name, _)| name.clone());
    let meta = service.entry(name).or_insert_with(|| json!({}));
    if !meta.is_object() {
        *meta = json!({});
    }
    if let Value::Object(meta) = meta {
        meta.insert(settings.port_key.clone(), registration.port.to_string().into());
    }
    Ok(Some(service))
}

/// The id under which a service is known; its name where it has none.
pub(super) fn id(service: &Map<String, Value>) -> String {
    let text =
        |name| field(service, name).and_then(|(_, value)| value.as_str()).filter(|text| !text.is_empty());
    text("id").or_else(|| text("name")).unwrap_or_default().to_owned()
}

fn field<'a>(service: &'a Map<String, Value>, name: &str) -> Option<(&'a String, &'a Value)> {
    service.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))
}

fn own(settings: &Settings, registration: &Registration) -> Result<Map<String, Value>> {
    let missing = |name: &str| Err(Error::invalid(format!("metadata property missing: {name}")));
    if registration.app_port == 0 {
        return missing("APP_PORT");
    }
    if registration.http_port == 0 {
        return missing("DAPR_HTTP_PORT");
    }
    let (app_id, host) = (registration.app_id.as_str(), registration.address.as_str());
    let id = format!("{app_id}-{host}-{}", registration.http_port);
    let health = json!({
        "Name": "Dapr Health Status",
        "CheckID": format!("daprHealth:{id}"),
        "Interval": "15s",
        "HTTP": format!("http://{}/v1.0/healthz?appid={app_id}", endpoint(host, registration.http_port)),
    });
    let checks = if settings.checks.is_empty() { vec![health] } else { settings.checks.clone() };
    let service = [
        ("ID", id.into()),
        ("Name", app_id.into()),
        ("Address", host.into()),
        ("Port", registration.app_port.into()),
        ("Checks", checks.into()),
        ("Tags", settings.tags.clone().into()),
        ("Meta", settings.meta.clone().into()),
    ];
    Ok(service.into_iter().map(|(name, value): (_, Value)| (name.to_owned(), value)).collect())
}
