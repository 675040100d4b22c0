//! The resource of every span: which application, which runtime, which process.

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;

use super::Service;
use crate::names::attribute;

/// `service.name` is the application id, as with daprd; the service's own attributes win over the built-in ones.
pub(super) fn of(service: &Service) -> Resource {
    let built_in = [
        KeyValue::new(attribute::SERVICE_NAME, service.app_id.clone()),
        KeyValue::new(attribute::SERVICE_VERSION, service.version.clone()),
        KeyValue::new(attribute::HOST_NAME, service.host.clone()),
        KeyValue::new(attribute::PROCESS_PID, i64::from(std::process::id())),
    ];
    let own = service.attributes.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    Resource::builder_empty().with_attributes(built_in).with_attributes(own).build()
}
