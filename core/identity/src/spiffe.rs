//! Names of applications as certificates carry them: SPIFFE ids of Dapr's form.

use std::fmt;

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// An application as its certificate names it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Who answers for it.
    pub trust_domain: String,
    /// Its namespace.
    pub namespace: String,
    /// Its id.
    pub app_id: String,
}

/// Why a certificate names no application.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoIdentity {
    /// It is no certificate.
    #[error("the certificate cannot be read: {0}")]
    Unreadable(String),
    /// It names nobody.
    #[error("certificate contains no URI SAN, where a SPIFFE ID should be")]
    Nobody,
    /// It names several.
    #[error("certificate contains more than one URI SAN, where one SPIFFE ID should be")]
    Several,
    /// It names something else.
    #[error("malformed SPIFFE ID: {0}; it has the form spiffe://TRUST-DOMAIN/ns/NAMESPACE/APP-ID")]
    Malformed(String),
}

impl Identity {
    /// From `spiffe://DOMAIN/ns/NAMESPACE/APP`; more parts may follow. `None` for anything else.
    pub fn parse(id: &str) -> Option<Self> {
        let mut parts = id.strip_prefix("spiffe://")?.split('/');
        let (trust_domain, ns, namespace, app_id) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_one = ns == "ns" && ![trust_domain, namespace, app_id].contains(&"");
        is_one.then(|| Self {
            trust_domain: trust_domain.to_owned(),
            namespace: namespace.to_owned(),
            app_id: app_id.to_owned(),
        })
    }

    /// The one that a certificate names.
    ///
    /// # Errors
    /// [`NoIdentity`] of a certificate that names none, or not one alone.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, NoIdentity> {
        let unreadable = |error: &dyn fmt::Display| NoIdentity::Unreadable(error.to_string());
        let (_, parsed) = X509Certificate::from_der(certificate).map_err(|error| unreadable(&error))?;
        let names = parsed.subject_alternative_name().map_err(|error| unreadable(&error))?;
        let names = names.iter().flat_map(|names| &names.value.general_names);
        let mut uris = names.filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        });
        let uri = uris.next().ok_or(NoIdentity::Nobody)?;
        if uris.next().is_some() {
            return Err(NoIdentity::Several);
        }
        Self::parse(uri).ok_or_else(|| NoIdentity::Malformed(uri.to_owned()))
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}/ns/{}/{}", self.trust_domain, self.namespace, self.app_id)
    }
}

/// Seconds since 1970 at which a certificate ends; `None` of what is no certificate.
pub(crate) fn end_of(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(parsed.validity().not_after.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_read_from_spiffe_ids() {
        let identity = Identity { trust_domain: "public".into(), namespace: "ns".into(), app_id: "a".into() };
        assert_eq!(Identity::parse("spiffe://public/ns/ns/a/more"), Some(identity.clone()));
        assert_eq!(Identity::parse(&identity.to_string()), Some(identity));
        for wrong in
            ["spiffe://public/ns/ns", "spiffe://public/x/ns/a", "spiffe:///ns/ns/a", "http://public/ns/ns/a"]
        {
            assert_eq!(Identity::parse(wrong), None, "{wrong}");
        }
    }
}
