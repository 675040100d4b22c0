//! `nameresolution.nameformat`: an address made out of the application's id by a pattern.

use std::time::Duration;

use mecha_plugin_api::name_resolution::{NameResolution, Registration, Resolution, ResolveRequest};
use mecha_plugin_api::{CallContext, ComponentSpec, Error, Result};

/// What stands for the id in the pattern.
const APP_ID: &str = "{appid}";
/// The pattern never changes, so that asking again soon is of no use.
const VALID_FOR: Duration = Duration::from_secs(3600);

/// The pattern.
pub(crate) struct NameFormat {
    format: String,
}

impl NameFormat {
    pub(crate) async fn open(spec: ComponentSpec) -> Result<Self> {
        let invalid = |message: &str| Error::invalid(message).with_field("format");
        let format = spec.text("format").ok_or_else(|| invalid("format is required in metadata"))?;
        if !format.contains(APP_ID) {
            return Err(invalid("format must contain {appid} placeholder"));
        }
        Ok(Self { format: format.to_owned() })
    }
}

impl NameResolution for NameFormat {
    async fn register(&self, _context: &CallContext, _registration: Registration) -> Result<()> {
        Ok(())
    }

    async fn resolve(&self, _context: &CallContext, request: ResolveRequest) -> Result<Resolution> {
        if request.app_id.is_empty() {
            return Err(Error::invalid("empty ID not allowed"));
        }
        let address = self.format.replace(APP_ID, &request.app_id);
        // Runtimes that are found by names alone share their port.
        let address = match has_port(&address) || request.port == 0 {
            true => address,
            false => mecha_plugin_api::name_resolution::endpoint(&address, request.port),
        };
        Ok(Resolution::new([address], VALID_FOR))
    }

    async fn unregister(&self, _context: &CallContext) -> Result<()> {
        Ok(())
    }
}

fn has_port(address: &str) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else { return false };
    // Colons elsewhere belong to an IPv6 address, which has brackets when a port follows it.
    (!host.contains(':') || host.ends_with(']')) && port.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use mecha_plugin_api::Metadata;

    use super::*;

    async fn open(format: &str) -> Result<NameFormat> {
        let metadata = Metadata::from_iter([("format", format)]);
        NameFormat::open(ComponentSpec::new("nr", "nameresolution.nameformat", metadata)).await
    }

    async fn resolve(format: &str, app_id: &str) -> String {
        let request = ResolveRequest {
            app_id: app_id.into(),
            namespace: "ns".into(),
            port: 50002,
            metadata: Metadata::new(),
        };
        let found = open(format).await.unwrap().resolve(&CallContext::background("a"), request).await;
        found.unwrap().addresses[0].to_string()
    }

    #[tokio::test]
    async fn the_id_stands_in_every_place() {
        assert_eq!(resolve("{appid}.svc:7000", "b").await, "b.svc:7000");
        assert_eq!(resolve("{appid}-{appid}.svc:7000", "b").await, "b-b.svc:7000");
    }

    #[tokio::test]
    async fn a_name_without_a_port_gets_that_of_the_runtime() {
        assert_eq!(resolve("service-{appid}.default.svc", "b").await, "service-b.default.svc:50002");
        assert_eq!(resolve("[fd00::{appid}]", "1").await, "[fd00::1]:50002");
        assert_eq!(resolve("fd00::{appid}", "1").await, "[fd00::1]:50002");
        assert_eq!(resolve("[fd00::{appid}]:80", "1").await, "[fd00::1]:80");
    }

    #[tokio::test]
    async fn a_pattern_that_cannot_be_used_is_refused_in_the_words_of_dapr() {
        let refusal = |found: Result<NameFormat>| found.err().unwrap().message().to_owned();
        assert_eq!(refusal(open("").await), "format is required in metadata");
        assert_eq!(refusal(open("svc.local").await), "format must contain {appid} placeholder");
    }
}
