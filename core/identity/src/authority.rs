//! A certificate authority of one's own, and certificates for applications, so that mutual TLS can be tried without anything else.

use std::time::{Duration, SystemTime};

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

use crate::spiffe::Identity;

/// Clocks of other machines may be behind.
const EARLIER: Duration = Duration::from_secs(15 * 60);
/// How long an authority lasts.
const TEN_YEARS: Duration = Duration::from_secs(3650 * 24 * 60 * 60);

/// Why a certificate cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The names or the authority's files cannot be used.
    #[error("cannot make a certificate: {0}")]
    Refused(#[from] rcgen::Error),
    /// The id would not be read as it was given.
    #[error("{0:?} cannot stand in a SPIFFE ID; use letters, digits, dots, dashes and underscores")]
    Name(String),
}

/// Who signs.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

/// A certificate and its key, both PEM.
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

impl Authority {
    /// A new one; its key is [`Authority::key`].
    ///
    /// # Errors
    /// [`IssueError`] where no key can be made.
    pub fn new() -> Result<Self, IssueError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        // Two authorities of one name would be taken for each other until a signature does not fit.
        let mark: String =
            params.key_identifier(&key).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        params.distinguished_name.push(DnType::CommonName, format!("mecha local authority {mark}"));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        span(&mut params, SystemTime::now(), TEN_YEARS);
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    /// One that was made before, from its certificate and key.
    ///
    /// # Errors
    /// [`IssueError`] of files that hold something else.
    pub fn read(certificate: &str, key: &str) -> Result<Self, IssueError> {
        let issuer = Issuer::from_ca_cert_pem(certificate, KeyPair::from_pem(key)?)?;
        Ok(Self { issuer, certificate: certificate.to_owned() })
    }

    /// Its certificate: what peers trust.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Its private key, which stays with whoever issues.
    pub fn key(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// A certificate for an application, with its key. It counts from a little before `from`.
    ///
    /// # Errors
    /// [`IssueError`] of a name that cannot stand in a certificate.
    pub fn issue(
        &self,
        identity: &Identity,
        from: SystemTime,
        lasts: Duration,
    ) -> Result<Issued, IssueError> {
        for name in [&identity.trust_domain, &identity.namespace, &identity.app_id] {
            let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            // Nothing but dots is another place, in an id as in a path.
            if !name.chars().all(fits) || name.chars().all(|c| c == '.') {
                return Err(IssueError::Name(name.clone()));
            }
        }
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, identity.app_id.as_str());
        params.subject_alt_names = vec![SanType::URI(Ia5String::try_from(identity.to_string())?)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        span(&mut params, from, lasts);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Issued { certificate, key: key.serialize_pem() })
    }
}

fn span(params: &mut CertificateParams, from: SystemTime, lasts: Duration) {
    let from = from.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + from.saturating_sub(EARLIER);
    params.not_after = epoch + from.saturating_add(lasts);
}
