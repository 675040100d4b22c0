//! The component's metadata: Dapr's names, parsed once into [`Settings`].

mod bytesize;
mod pem;

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use mecha_plugin_api::{ComponentSpec, Error, Result};

use self::pem::Pem;

const DEFAULT_MAX_RESPONSE_BODY_SIZE: u64 = 100 << 20;
/// Longest that a responseTimeout can mean; anything longer is as good as none.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Everything that a component's metadata settles.
pub(crate) struct Settings {
    pub(crate) url: String,
    pub(crate) tls: TlsFiles,
    /// Limit of a request from the first byte sent to the last received; `None` = only the caller's deadline.
    pub(crate) response_timeout: Option<Duration>,
    /// Bytes of a response's body that are read; `None` = all.
    pub(crate) max_response_body_size: Option<u64>,
    pub(crate) security_token: Option<(HeaderName, HeaderValue)>,
    pub(crate) error_if_not_2xx: bool,
}

/// Certificates in PEM, already read from disk where the metadata named files.
#[derive(Default)]
pub(crate) struct TlsFiles {
    pub(crate) root_ca: Option<Vec<u8>>,
    pub(crate) identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl Settings {
    /// Reads a component's metadata, and the files that it names.
    pub(crate) async fn read(spec: &ComponentSpec) -> Result<Self> {
        let timeout = spec.duration("responseTimeout", Duration::ZERO)?;
        Ok(Self {
            url: url(spec)?,
            tls: tls(spec).await?,
            response_timeout: (!timeout.is_zero()).then_some(timeout.min(FOREVER)),
            max_response_body_size: max_response_body_size(spec)?,
            security_token: security_token(spec)?,
            error_if_not_2xx: spec.text("errorIfNot2XX").is_none() || flag(spec, "errorIfNot2XX")?,
        })
    }
}

fn url(spec: &ComponentSpec) -> Result<String> {
    let url = spec.required("url")?;
    crate::client::target::parse(url).map_err(|error| error.with_field("url"))?;
    Ok(url.to_owned())
}

async fn tls(spec: &ComponentSpec) -> Result<TlsFiles> {
    match spec.text("MTLSRenegotiation") {
        None | Some("RenegotiateNever") => {}
        Some("RenegotiateOnceAsClient" | "RenegotiateFreelyAsClient") => {
            return Err(Error::invalid("TLS renegotiation is not supported").with_field("MTLSRenegotiation"));
        }
        Some(other) => {
            let message = format!("invalid renegotiation value: {other}");
            return Err(Error::invalid(message).with_field("MTLSRenegotiation"));
        }
    }
    let root_ca = Pem::of(spec, "MTLSRootCA").read().await?;
    let certificate = Pem::of(spec, "MTLSClientCert").read().await?;
    let key = Pem::of(spec, "MTLSClientKey").read().await?;
    let identity = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(_), None) => {
            return Err(Error::invalid("required with MTLSClientCert").with_field("MTLSClientKey"));
        }
        (None, Some(_)) => {
            return Err(Error::invalid("required with MTLSClientKey").with_field("MTLSClientCert"));
        }
    };
    Ok(TlsFiles { root_ca, identity })
}

fn max_response_body_size(spec: &ComponentSpec) -> Result<Option<u64>> {
    let Some(text) = spec.text("maxResponseBodySize") else {
        return Ok(Some(DEFAULT_MAX_RESPONSE_BODY_SIZE));
    };
    match bytesize::parse(text) {
        Some(size) => Ok(u64::try_from(size).ok().filter(|size| *size > 0)),
        None => Err(Error::invalid(format!("'{text}' is not a size such as 10Mi or 1000"))
            .with_field("maxResponseBodySize")),
    }
}

/// Both fields or nothing is sent, as in Dapr.
fn security_token(spec: &ComponentSpec) -> Result<Option<(HeaderName, HeaderValue)>> {
    let (Some(token), Some(header)) = (spec.text("securityToken"), spec.text("securityTokenHeader")) else {
        return Ok(None);
    };
    let name = HeaderName::try_from(header)
        .map_err(|_| Error::invalid("is not a header's name").with_field("securityTokenHeader"))?;
    let mut value = HeaderValue::try_from(token)
        .map_err(|_| Error::invalid("cannot be sent in a header").with_field("securityToken"))?;
    value.set_sensitive(true);
    Ok(Some((name, value)))
}

/// A yes/no field. Dapr takes anything that is not a yes for a no, a typing error as well.
fn flag(spec: &ComponentSpec, name: &str) -> Result<bool> {
    let text = spec.text(name).unwrap_or_default().trim().to_ascii_lowercase();
    match text.as_str() {
        "" | "false" | "no" | "n" | "off" | "0" | "f" => Ok(false),
        _ if spec.flag(name) => Ok(true),
        _ => Err(Error::invalid(format!("'{text}' is neither true nor false")).with_field(name)),
    }
}

#[cfg(test)]
mod tests {
    use mecha_plugin_api::{ErrorKind, Metadata};

    use super::*;

    async fn read(pairs: &[(&str, &str)]) -> Result<Settings> {
        let metadata = Metadata::from_iter(pairs.iter().copied());
        Settings::read(&ComponentSpec::new("http", "bindings.http", metadata)).await
    }

    #[tokio::test]
    async fn defaults_are_daprs() {
        let settings = read(&[("url", "http://host/base")]).await.unwrap();
        assert_eq!(settings.max_response_body_size, Some(104_857_600));
        assert_eq!(settings.response_timeout, None);
        assert!(settings.error_if_not_2xx);
        assert!(settings.security_token.is_none() && settings.tls.root_ca.is_none());
    }

    #[tokio::test]
    async fn values_are_read() {
        let settings = read(&[
            ("url", "https://host"),
            ("maxResponseBodySize", "0"),
            ("responseTimeout", "1m"),
            ("errorIfNot2XX", "false"),
            ("securityToken", "secret"),
            ("securityTokenHeader", "X-Token"),
        ])
        .await
        .unwrap();
        assert_eq!(settings.max_response_body_size, None);
        assert_eq!(settings.response_timeout, Some(Duration::from_secs(60)));
        assert!(!settings.error_if_not_2xx);
        assert_eq!(settings.security_token.unwrap().0, "x-token");
    }

    #[tokio::test]
    async fn wrong_fields_are_named() {
        let with_url = |field, value| [("url", "http://host"), (field, value)];
        for (pairs, field) in [
            (&[][..], "url"),
            (&[("url", "host/path")], "url"),
            (&[("url", "ftp://host")], "url"),
            (&with_url("maxResponseBodySize", "big"), "maxResponseBodySize"),
            (&with_url("responseTimeout", "soon"), "responseTimeout"),
            (&with_url("errorIfNot2XX", "ture"), "errorIfNot2XX"),
            (&with_url("MTLSRenegotiation", "RenegotiateOnceAsClient"), "MTLSRenegotiation"),
            (&with_url("MTLSRootCA", "/no/such/file"), "MTLSRootCA"),
        ] {
            let error = read(pairs).await.err().unwrap();
            assert_eq!((error.kind(), error.field()), (ErrorKind::INVALID, Some(field)), "{error}");
        }
    }
}
