//! `nameresolution.kubernetes`: the DNS name of the service that stands for an application in a cluster.

mod template;

use std::collections::BTreeSet;
use std::time::Duration;

use mecha_plugin_api::name_resolution::{NameResolution, Registration, Resolution, ResolveRequest};
use mecha_plugin_api::{CallContext, ComponentSpec, Error, Result};

use self::template::Template;

const CLUSTER_DOMAIN: &str = "cluster.local";
/// As long as Dapr keeps the addresses behind a name.
const VALID_FOR: Duration = Duration::from_secs(20);

/// How names are made.
pub(crate) struct Kubernetes {
    cluster_domain: String,
    template: Option<Template>,
}

impl Kubernetes {
    pub(crate) async fn open(spec: ComponentSpec) -> Result<Self> {
        let template = spec.text("template").map(Template::parse).transpose();
        Ok(Self {
            cluster_domain: spec.text("clusterDomain").unwrap_or(CLUSTER_DOMAIN).to_owned(),
            template: template.map_err(|error| error.with_field("template"))?,
        })
    }

    /// `host:port` of the application's service.
    fn name(&self, request: &ResolveRequest) -> String {
        match &self.template {
            Some(template) => template.fill(request),
            None => format!(
                "{}-dapr.{}.svc.{}:{}",
                request.app_id, request.namespace, self.cluster_domain, request.port
            ),
        }
    }
}

impl NameResolution for Kubernetes {
    async fn register(&self, _context: &CallContext, _registration: Registration) -> Result<()> {
        Ok(())
    }

    async fn resolve(&self, _context: &CallContext, request: ResolveRequest) -> Result<Resolution> {
        let name = self.name(&request);
        let (host, port) = name.rsplit_once(':').unwrap_or((&name, ""));
        let port = port.parse().unwrap_or(request.port);
        let looked = tokio::net::lookup_host((host.trim_matches(['[', ']']), port)).await;
        let failed =
            |reason: String| Error::unavailable(format!("failed to resolve address for '{host}': {reason}"));
        let found = looked.map_err(|error| failed(error.to_string()))?;
        // In order, so that the same pods are the same answer however DNS turns them.
        let addresses: BTreeSet<_> = found.collect();
        if addresses.is_empty() {
            return Err(failed("no such host".to_owned()));
        }
        Ok(Resolution::new(addresses.into_iter().map(|address| address.to_string()), VALID_FOR))
    }

    async fn unregister(&self, _context: &CallContext) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use mecha_plugin_api::Metadata;

    use super::*;

    async fn open(fields: &[(&str, &str)]) -> Result<Kubernetes> {
        let metadata = Metadata::from_iter(fields.iter().copied());
        Kubernetes::open(ComponentSpec::new("nr", "nameresolution.kubernetes", metadata)).await
    }

    fn request() -> ResolveRequest {
        ResolveRequest {
            app_id: "b".into(),
            namespace: "shop".into(),
            port: 50002,
            metadata: Metadata::from_iter([("region", "eu")]),
        }
    }

    #[tokio::test]
    async fn the_name_is_that_of_the_service_that_dapr_makes() {
        let name = |resolver: Kubernetes| resolver.name(&request());
        assert_eq!(name(open(&[]).await.unwrap()), "b-dapr.shop.svc.cluster.local:50002");
        let other = open(&[("clusterDomain", "k8s.example")]).await.unwrap();
        assert_eq!(name(other), "b-dapr.shop.svc.k8s.example:50002");
    }

    #[tokio::test]
    async fn a_template_takes_the_place_of_the_name() {
        let template = "{{.ID}}-{{ .Data.region }}.internal:{{- .Port -}}";
        let resolver = open(&[("template", template)]).await.unwrap();
        assert_eq!(resolver.name(&request()), "b-eu.internal:50002");
        for wrong in ["{{.ID", "{{.Name}}", "{{if .ID}}x{{end}}"] {
            let error = open(&[("template", wrong)]).await.err().unwrap();
            assert_eq!(error.field(), Some("template"), "{wrong}");
        }
    }

    #[tokio::test]
    async fn every_address_behind_the_name_is_given() {
        let resolver = open(&[("template", "localhost:{{.Port}}")]).await.unwrap();
        let context = CallContext::background("a");
        let found = resolver.resolve(&context, request()).await.unwrap();
        assert!(found.addresses.iter().any(|address| address == "127.0.0.1:50002"), "{found:?}");
        assert_eq!(found.valid_for(), VALID_FOR);

        let nowhere = open(&[("template", "{{.ID}}.invalid:1")]).await.unwrap();
        let error = nowhere.resolve(&context, request()).await.unwrap_err();
        assert!(error.message().starts_with("failed to resolve address for 'b.invalid': "), "{error}");
    }
}
