//! The HTTPEndpoint resource: a service outside, which applications invoke by a name.

use serde::Deserialize;
use serde_json::Value;

use crate::{
    component::{Item, MetadataItem, Reference, SecretKeyRef, dynamic_text, fix_item_cases},
    error::FileErrorKind,
    lenient,
    resource::{ObjectMeta, fix, typed},
    selection::Selectable,
};

/// An endpoint as its file declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpEndpoint {
    /// The name that applications invoke it by.
    pub name: String,
    /// The namespace of its file; empty when the file names none.
    pub namespace: String,
    /// Where it is.
    pub base_url: String,
    /// Headers of every request to it, in file order.
    pub headers: Vec<MetadataItem>,
    /// How TLS is spoken with it; `None` means the system's way.
    pub client_tls: Option<ClientTls>,
    /// The secret store that its `secretKeyRef`s refer to; `None` means the mode's default store.
    pub secret_store: Option<String>,
    /// The application ids that may use it; empty means all.
    pub scopes: Vec<String>,
}

/// How TLS is spoken with an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientTls {
    /// Who signs the endpoint's certificate.
    pub root_ca: Option<TlsDocument>,
    /// The client's certificate.
    pub certificate: Option<TlsDocument>,
    /// The client's key.
    pub private_key: Option<TlsDocument>,
    /// `Never`, `OnceAsClient` or `FreelyAsClient`; empty when the file has none.
    pub renegotiation: String,
}

/// A PEM document, or the secret that holds it, which goes before a value.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct TlsDocument {
    /// The document.
    pub value: Option<String>,
    /// The secret that holds it.
    pub secret_key_ref: Option<SecretKeyRef>,
}

/// The document may be a key.
impl std::fmt::Debug for TlsDocument {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = self.value.as_ref().map(|_| crate::component::REDACTED);
        f.debug_struct("TlsDocument")
            .field("value", &value)
            .field("secret_key_ref", &self.secret_key_ref)
            .finish()
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Document {
    #[serde(deserialize_with = "lenient::or_default")]
    metadata: ObjectMeta,
    #[serde(deserialize_with = "lenient::or_default")]
    spec: Spec,
    #[serde(deserialize_with = "lenient::or_default")]
    auth: Auth,
    #[serde(deserialize_with = "lenient::texts")]
    scopes: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Auth {
    #[serde(deserialize_with = "lenient::optional_text")]
    secret_store: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    #[serde(deserialize_with = "lenient::text")]
    base_url: String,
    #[serde(deserialize_with = "lenient::or_default")]
    headers: Vec<Item>,
    #[serde(rename = "clientTLS")]
    client_tls: Option<Tls>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Tls {
    #[serde(rename = "rootCA")]
    root_ca: Option<Pem>,
    certificate: Option<Pem>,
    private_key: Option<Pem>,
    #[serde(deserialize_with = "lenient::text")]
    renegotiation: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Pem {
    value: Value,
    #[serde(deserialize_with = "lenient::or_default")]
    secret_key_ref: Reference,
}

impl HttpEndpoint {
    /// Types a document of kind HTTPEndpoint.
    pub fn from_document(mut document: Value) -> Result<Self, FileErrorKind> {
        fix_cases(&mut document);
        let Document { metadata, spec, auth, scopes } = typed(document)?;
        metadata.check(<Self as Selectable>::KIND)?;
        if spec.base_url.is_empty() {
            return Err(FileErrorKind::field("spec.baseUrl", "is missing"));
        }
        Ok(Self {
            name: metadata.name,
            namespace: metadata.namespace,
            base_url: spec.base_url,
            headers: spec.headers.into_iter().map(MetadataItem::from).collect(),
            client_tls: spec.client_tls.map(ClientTls::from),
            secret_store: auth.secret_store,
            scopes,
        })
    }
}

impl From<Tls> for ClientTls {
    fn from(tls: Tls) -> Self {
        let document = |pem: Pem| TlsDocument {
            value: dynamic_text(&pem.value),
            secret_key_ref: pem.secret_key_ref.into_option(),
        };
        Self {
            root_ca: tls.root_ca.map(document),
            certificate: tls.certificate.map(document),
            private_key: tls.private_key.map(document),
            renegotiation: tls.renegotiation,
        }
    }
}

fn fix_cases(document: &mut Value) {
    let Some(root) = document.as_object_mut() else { return };
    lenient::fix_case(root, &["metadata", "spec", "auth", "scopes"]);
    fix(root, "metadata", &["name", "namespace"]);
    fix(root, "auth", &["secretStore"]);
    let Some(spec) = fix(root, "spec", &["baseUrl", "headers", "clientTLS"]) else { return };
    fix_item_cases(spec.get_mut("headers"));
    let known = ["rootCA", "certificate", "privateKey", "renegotiation"];
    let Some(tls) = fix(spec, "clientTLS", &known) else { return };
    for document in &known[..3] {
        if let Some(document) = fix(tls, document, &["value", "secretKeyRef"]) {
            fix(document, "secretKeyRef", &["name", "key"]);
        }
    }
}

impl Selectable for HttpEndpoint {
    const KIND: &'static str = "HTTPEndpoint";

    fn name(&self) -> &str {
        &self.name
    }

    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn scopes(&self) -> &[String] {
        &self.scopes
    }

    fn log_name(&self) -> String {
        format!("{} ({})", self.name, self.base_url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    fn read(text: &str) -> Result<HttpEndpoint, FileErrorKind> {
        HttpEndpoint::from_document(yaml::parse(text).unwrap())
    }

    #[test]
    fn reads_every_field() {
        let endpoint = read(
            "
metadata: {name: github}
spec:
  baseURL: https://api.example.com
  headers:
  - {name: Accept-Language, value: en-US}
  - {name: Authorization, secretKeyRef: {name: token, key: k}}
  clientTLS:
    rootCA: {secretKeyRef: {name: ca, key: ca.crt}}
    certificate: {value: PEM}
    privatekey: {value: hidden}
    renegotiation: OnceAsClient
auth: {secretStore: vault}
scopes: [app1]",
        )
        .unwrap();
        assert_eq!(endpoint.log_name(), "github (https://api.example.com)");
        assert_eq!(endpoint.headers[0].value.as_deref(), Some("en-US"));
        assert_eq!(endpoint.headers[1].secret_key_ref.as_ref().unwrap().field(), "k");
        let tls = endpoint.client_tls.as_ref().unwrap();
        let root = SecretKeyRef { name: "ca".into(), key: "ca.crt".into() };
        assert_eq!(tls.root_ca.as_ref().unwrap().secret_key_ref, Some(root));
        assert_eq!(tls.certificate.as_ref().unwrap().value.as_deref(), Some("PEM"));
        assert_eq!(tls.renegotiation, "OnceAsClient");
        assert_eq!((endpoint.secret_store.as_deref(), endpoint.is_in_scope("app2")), (Some("vault"), false));
        assert!(!format!("{endpoint:?}").contains("hidden"));
    }

    #[test]
    fn needs_a_place() {
        let endpoint = read("metadata: {name: e}\nspec: {baseUrl: http://x}").unwrap();
        assert_eq!((endpoint.headers.len(), endpoint.client_tls), (0, None));
        assert!(read("metadata: {name: e}\nspec: {}").unwrap_err().to_string().contains("spec.baseUrl"));
    }
}
