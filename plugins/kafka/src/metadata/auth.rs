//! Who logs in and over what: `authType` and the fields that belong to each.

use mecha_plugin_api::{ComponentSpec, Error, Result};

use super::flag;

/// How connections are secured.
#[derive(Clone)]
pub(crate) struct Security {
    pub(crate) tls: Option<Tls>,
    pub(crate) sasl: Option<Sasl>,
}

/// How TLS is set up.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) skip_verify: bool,
    /// Authorities in PEM; `None` = the system's.
    pub(crate) ca: Option<String>,
    /// Certificate and key in PEM.
    pub(crate) identity: Option<(String, String)>,
}

/// How a client says who it is, beyond TLS.
#[derive(Clone)]
pub(crate) enum Sasl {
    /// By name and password.
    Password {
        /// What of them goes over the wire.
        mechanism: Mechanism,
        /// The name.
        username: String,
        /// The password.
        password: String,
    },
    /// By a token of an identity provider.
    Oidc(OidcSettings),
}

/// What of a name and password goes over the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mechanism {
    /// Both, as they are.
    Plain,
    /// A proof, SHA-256.
    ScramSha256,
    /// A proof, SHA-512.
    ScramSha512,
}

/// Where tokens come from.
#[derive(Clone)]
pub(crate) struct OidcSettings {
    pub(crate) endpoint: String,
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
    pub(crate) scopes: String,
}

impl Security {
    pub(crate) fn read(spec: &ComponentSpec) -> Result<Self> {
        let kind = auth_type(spec)?;
        let tls = Tls::read(spec)?;
        let is_off = flag(spec, "disableTls", false)?;
        let over = (!is_off).then_some(tls);
        match kind.as_str() {
            "none" => Ok(Self { tls: None, sasl: None }),
            "password" => Ok(Self { tls: over, sasl: Some(password(spec)?) }),
            "oidc" => Ok(Self { tls: over, sasl: Some(Sasl::Oidc(oidc(spec)?)) }),
            "mtls" => match over {
                Some(tls) => Ok(Self { tls: Some(tls.with_identity(spec)?), sasl: None }),
                None => Err(Error::invalid("authType mtls needs TLS").with_field("disableTls")),
            },
            "certificate" => {
                spec.required("caCert")?;
                Ok(Self { tls: over, sasl: None })
            }
            "awsiam" | "oidc_private_key_jwt" => {
                Err(Error::invalid(format!("'{kind}' is not supported")).with_field("authType"))
            }
            _ => {
                let message = format!("'{kind}' is none of none, password, certificate, mtls, oidc");
                Err(Error::invalid(message).with_field("authType"))
            }
        }
    }

    /// The field that is most likely wrong when a broker refuses the client.
    pub(crate) fn credential_field(&self) -> &'static str {
        match (&self.sasl, &self.tls) {
            (Some(Sasl::Password { .. }), _) => "saslPassword",
            (Some(Sasl::Oidc(_)), _) => "oidcClientSecret",
            (None, Some(Tls { identity: Some(_), .. })) => "clientCert",
            (None, _) => "authType",
        }
    }
}

/// `authType`, or what the older `authRequired` meant.
fn auth_type(spec: &ComponentSpec) -> Result<String> {
    if let Some(kind) = spec.text("authType") {
        return Ok(kind.trim().to_ascii_lowercase());
    }
    if spec.text("authRequired").is_none() {
        return Err(Error::invalid("required metadata field is missing").with_field("authType"));
    }
    let kind = match flag(spec, "authRequired", false)? {
        false => "none",
        true if spec.text("saslPassword").is_some() => "password",
        true => "mtls",
    };
    Ok(kind.to_owned())
}

impl Tls {
    fn read(spec: &ComponentSpec) -> Result<Self> {
        let skip_verify = flag(spec, "skipVerify", false)?;
        Ok(Self { skip_verify, ca: pem(spec, "caCert")?, identity: None })
    }

    fn with_identity(self, spec: &ComponentSpec) -> Result<Self> {
        let certificate = pem(spec, "clientCert")?;
        let key = pem(spec, "clientKey")?;
        match (certificate, key) {
            (Some(certificate), Some(key)) => Ok(Self { identity: Some((certificate, key)), ..self }),
            (None, _) => Err(Error::invalid("required with authType mtls").with_field("clientCert")),
            (_, None) => Err(Error::invalid("required with authType mtls").with_field("clientKey")),
        }
    }
}

/// Text in PEM; what is in it is checked when the client is made.
fn pem(spec: &ComponentSpec, field: &str) -> Result<Option<String>> {
    match spec.text(field) {
        None => Ok(None),
        Some(text) if text.contains("-----BEGIN ") && text.contains("-----END ") => Ok(Some(text.to_owned())),
        Some(_) => Err(Error::invalid("not in PEM").with_field(field)),
    }
}

/// Dapr sends the password as it is for any word that it does not know; a typing error must not do that.
fn password(spec: &ComponentSpec) -> Result<Sasl> {
    let word = spec.text("saslMechanism").unwrap_or("PLAINTEXT").trim().to_ascii_uppercase();
    let mechanism = match word.as_str() {
        "PLAINTEXT" | "PLAIN" => Mechanism::Plain,
        "SHA-256" | "SCRAM-SHA-256" => Mechanism::ScramSha256,
        "SHA-512" | "SCRAM-SHA-512" => Mechanism::ScramSha512,
        _ => {
            let message = format!("'{word}' is none of PLAINTEXT, SHA-256, SHA-512");
            return Err(Error::invalid(message).with_field("saslMechanism"));
        }
    };
    let username = spec.required("saslUsername")?.to_owned();
    Ok(Sasl::Password { mechanism, username, password: spec.required("saslPassword")?.to_owned() })
}

fn oidc(spec: &ComponentSpec) -> Result<OidcSettings> {
    if spec.text("oidcExtensions").is_some() {
        return Err(Error::invalid("extensions are not supported").with_field("oidcExtensions"));
    }
    let endpoint = spec.required("oidcTokenEndpoint")?.trim();
    if !endpoint.starts_with("https://") && !endpoint.starts_with("http://") {
        return Err(Error::invalid("not an http or https address").with_field("oidcTokenEndpoint"));
    }
    let scopes = spec.text("oidcScopes").unwrap_or("openid");
    let scopes: Vec<&str> = scopes.split(',').map(str::trim).filter(|scope| !scope.is_empty()).collect();
    Ok(OidcSettings {
        endpoint: endpoint.to_owned(),
        client_id: spec.required("oidcClientID")?.to_owned(),
        client_secret: spec.required("oidcClientSecret")?.to_owned(),
        scopes: scopes.join(" "),
    })
}
