//! The part of a component's metadata that every AWS type has: region, endpoint and who calls.

use std::fmt;

use mecha_plugin_api::{ComponentSpec, Error, Result};

const DEFAULT_SESSION_NAME: &str = "DaprDefaultSession";
/// What an emulator is told when neither the metadata nor the environment names a region.
pub(crate) const EMULATOR_REGION: &str = "us-east-1";

/// Where the service is and how the component proves who it is.
#[derive(Clone, Debug)]
pub(crate) struct AwsSettings {
    pub(crate) region: Option<String>,
    /// With its scheme; `None` = the region's own.
    pub(crate) endpoint: Option<String>,
    pub(crate) sts_endpoint: Option<String>,
    pub(crate) identity: Identity,
    pub(crate) insecure_ssl: bool,
}

/// Who calls.
#[derive(Clone)]
pub(crate) enum Identity {
    /// The keys of the metadata.
    Keys { access_key: String, secret_key: String, session_token: Option<String> },
    /// What the environment, the profile files or the machine offers, and the role taken with it.
    Ambient { profile: Option<String>, role: Option<Role> },
}

/// A role to assume.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Role {
    pub(crate) arn: String,
    pub(crate) session_name: String,
    pub(crate) external_id: Option<String>,
}

/// Names the kind of identity only: keys are secrets.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keys { .. } => f.write_str("Keys"),
            Self::Ambient { profile, role } => {
                f.debug_struct("Ambient").field("profile", profile).field("role", role).finish()
            }
        }
    }
}

impl AwsSettings {
    /// Reads the shared fields.
    pub(crate) fn read(spec: &ComponentSpec) -> Result<Self> {
        if let Some(field) =
            ["trustAnchorArn", "trustProfileArn"].into_iter().find(|name| spec.text(name).is_some())
        {
            return Err(Error::invalid("IAM Roles Anywhere is not supported").with_field(field));
        }
        Ok(Self {
            region: spec.text("region").or_else(|| spec.text("awsRegion")).map(str::to_owned),
            endpoint: endpoint(spec, "endpoint")?,
            sts_endpoint: endpoint(spec, "stsEndpoint")?,
            identity: identity(spec)?,
            insecure_ssl: flag(spec, "insecureSSL")?,
        })
    }
}

/// Keys come first, as in Dapr: a role beside them is not assumed.
fn identity(spec: &ComponentSpec) -> Result<Identity> {
    let role = spec.text("assumeRoleArn").map(|arn| Role {
        arn: arn.to_owned(),
        session_name: ["assumeRoleSessionName", "sessionName"]
            .into_iter()
            .find_map(|name| spec.text(name))
            .unwrap_or(DEFAULT_SESSION_NAME)
            .to_owned(),
        external_id: spec.text("externalId").map(str::to_owned),
    });
    let profile = spec.text("profile").map(str::to_owned);
    let keys = (
        spec.text("accessKey").or_else(|| spec.text("awsAccountID")),
        spec.text("secretKey").or_else(|| spec.text("awsSecret")),
    );
    match keys {
        (Some(access_key), Some(secret_key)) => {
            if role.is_some() {
                tracing::warn!(component = %spec.name, "accessKey and secretKey are used, assumeRoleArn is not");
            }
            Ok(Identity::Keys {
                access_key: access_key.to_owned(),
                secret_key: secret_key.to_owned(),
                session_token: spec.text("sessionToken").map(str::to_owned),
            })
        }
        (None, None) => Ok(Identity::Ambient { profile, role }),
        (Some(_), None) => Err(Error::invalid("required with accessKey").with_field("secretKey")),
        (None, Some(_)) => Err(Error::invalid("required with secretKey").with_field("accessKey")),
    }
}

/// An address with its scheme; without one it is `https`, or `http` where `disableSSL` says so.
fn endpoint(spec: &ComponentSpec, name: &str) -> Result<Option<String>> {
    let is_plain = flag(spec, "disableSSL")?;
    let Some(text) = spec.text(name) else { return Ok(None) };
    let text = text.trim();
    let full = match (text.contains("://"), is_plain) {
        (true, _) => text.to_owned(),
        (false, true) => format!("http://{text}"),
        (false, false) => format!("https://{text}"),
    };
    let uri: http::Uri = full
        .parse()
        .map_err(|error| Error::invalid(format!("'{text}' is not an address: {error}")).with_field(name))?;
    match uri.scheme_str() {
        Some("http" | "https") if uri.host().is_some_and(|host| !host.is_empty()) => {
            Ok(Some(full.trim_end_matches('/').to_owned()))
        }
        _ => Err(Error::invalid(format!("'{text}' is not an http or https address")).with_field(name)),
    }
}

/// A yes/no field. Dapr takes anything that is not a yes for a no, a typing error as well.
pub(crate) fn flag(spec: &ComponentSpec, name: &str) -> Result<bool> {
    let text = spec.text(name).unwrap_or_default().trim().to_ascii_lowercase();
    match text.as_str() {
        "" | "false" | "no" | "n" | "off" | "0" | "f" => Ok(false),
        _ if spec.flag(name) => Ok(true),
        _ => Err(Error::invalid(format!("'{text}' is neither true nor false")).with_field(name)),
    }
}

/// A whole number between two bounds.
pub(crate) fn number(
    spec: &ComponentSpec,
    name: &str,
    default: i32,
    range: std::ops::RangeInclusive<i32>,
) -> Result<i32> {
    let value: i32 = spec.parsed(name, default)?;
    if range.contains(&value) {
        return Ok(value);
    }
    let message = format!("{value} is not between {} and {}", range.start(), range.end());
    Err(Error::invalid(message).with_field(name))
}

#[cfg(test)]
mod tests {
    use mecha_plugin_api::{ErrorKind, Metadata};

    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<AwsSettings> {
        AwsSettings::read(&ComponentSpec::new(
            "q",
            "bindings.aws.sqs",
            Metadata::from_iter(pairs.iter().copied()),
        ))
    }

    #[test]
    fn keys_are_preferred_and_come_in_pairs() {
        let keys = [("accessKey", "a"), ("secretKey", "s"), ("assumeRoleArn", "arn:r")];
        assert!(matches!(read(&keys).unwrap().identity, Identity::Keys { .. }));
        assert_eq!(read(&keys[..1]).unwrap_err().field(), Some("secretKey"));
        assert_eq!(read(&keys[1..2]).unwrap_err().field(), Some("accessKey"));
        let Identity::Ambient { role, .. } = read(&keys[2..]).unwrap().identity else { panic!("keys") };
        assert_eq!(role.unwrap().session_name, DEFAULT_SESSION_NAME);
    }

    #[test]
    fn no_secret_is_printed() {
        let settings =
            read(&[("accessKey", "AKIA-open"), ("secretKey", "hush"), ("sessionToken", "t0k")]).unwrap();
        let printed = format!("{settings:?}");
        assert!(
            !printed.contains("hush") && !printed.contains("t0k") && !printed.contains("AKIA"),
            "{printed}"
        );
    }

    #[test]
    fn an_endpoint_gets_a_scheme_and_nonsense_is_refused() {
        let of = |pairs: &[(&str, &str)]| read(pairs).map(|settings| settings.endpoint);
        assert_eq!(of(&[("endpoint", "host:1/")]).unwrap().as_deref(), Some("https://host:1"));
        assert_eq!(
            of(&[("endpoint", "host:1"), ("disableSSL", "true")]).unwrap().as_deref(),
            Some("http://host:1")
        );
        assert_eq!(of(&[("Endpoint", "http://host:1")]).unwrap().as_deref(), Some("http://host:1"));
        for wrong in ["ftp://host", "http://", "a b"] {
            let error = of(&[("endpoint", wrong)]).unwrap_err();
            assert_eq!((error.kind(), error.field()), (ErrorKind::INVALID, Some("endpoint")), "{wrong}");
        }
    }

    #[test]
    fn what_is_not_offered_is_refused() {
        assert_eq!(read(&[("trustAnchorArn", "arn")]).unwrap_err().field(), Some("trustAnchorArn"));
    }
}
