//! The metadata of `bindings.aws.s3`: Dapr's names, those of a request over those of the component.

use std::time::Duration;

use mecha_plugin_api::{ComponentSpec, Error, Metadata, Result, parse_duration};

use super::ERROR;
use crate::metadata::{AwsSettings, flag};

const LONGEST_PRESIGN: Duration = Duration::from_secs(7 * 24 * 3600);

/// Everything that a component's metadata settles.
#[derive(Clone, Debug)]
pub(crate) struct S3Settings {
    pub(crate) aws: AwsSettings,
    pub(crate) bucket: String,
    pub(crate) force_path_style: bool,
    options: Options,
}

/// What a request may say otherwise than the component.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Options {
    pub(crate) decode_base64: bool,
    pub(crate) encode_base64: bool,
    pub(crate) file_path: Option<String>,
    pub(crate) storage_class: Option<String>,
    pub(crate) presign_ttl: Option<Duration>,
}

impl S3Settings {
    /// Reads a component's metadata.
    pub(crate) fn read(spec: &ComponentSpec) -> Result<Self> {
        // A request's own are taken as Dapr takes them: anything that is not a yes is a no.
        for name in ["decodeBase64", "encodeBase64"] {
            flag(spec, name)?;
        }
        Ok(Self {
            aws: AwsSettings::read(spec)?,
            bucket: spec.required("bucket")?.to_owned(),
            force_path_style: flag(spec, "forcePathStyle")?,
            options: Options::read(spec)?,
        })
    }

    /// The options of one request.
    pub(crate) fn options(&self, request: &Metadata) -> Result<Options> {
        let given = ComponentSpec::new("", "", request.clone());
        let own = Options::read(&given)?;
        let or =
            |name: &str, value: bool, default: bool| if given.text(name).is_some() { value } else { default };
        let component = &self.options;
        Ok(Options {
            decode_base64: or("decodeBase64", own.decode_base64, component.decode_base64),
            encode_base64: or("encodeBase64", own.encode_base64, component.encode_base64),
            file_path: own.file_path.or_else(|| component.file_path.clone()),
            storage_class: own.storage_class.or_else(|| component.storage_class.clone()),
            presign_ttl: own.presign_ttl.or(component.presign_ttl),
        })
    }
}

impl Options {
    fn read(spec: &ComponentSpec) -> Result<Self> {
        Ok(Self {
            decode_base64: spec.flag("decodeBase64"),
            encode_base64: spec.flag("encodeBase64"),
            file_path: spec.text("filePath").map(str::to_owned),
            storage_class: spec.text("storageClass").map(str::to_owned),
            presign_ttl: spec.text("presignTTL").map(presign_ttl).transpose()?,
        })
    }
}

fn presign_ttl(text: &str) -> Result<Duration> {
    match parse_duration(text) {
        Some(ttl) if !ttl.is_zero() && ttl <= LONGEST_PRESIGN => Ok(ttl),
        Some(_) => Err(Error::invalid(format!("{ERROR}: '{text}' is not between 1s and 7 days"))
            .with_field("presignTTL")),
        None => {
            Err(Error::invalid(format!("{ERROR}: cannot parse duration {text}")).with_field("presignTTL"))
        }
    }
}

/// `key=value,…` as S3 takes tags.
pub(crate) fn tagging(text: &str) -> Result<String> {
    let mut pairs = Vec::new();
    for entry in text.split(',') {
        let pair = entry.split_once('=').map(|(key, value)| (key.trim(), value.trim()));
        let Some((key, value)) = pair.filter(|(key, value)| !key.is_empty() && !value.is_empty()) else {
            let message = format!("{ERROR}: invalid tag format: '{entry}' (expected key=value)");
            return Err(Error::invalid(message).with_field("tags"));
        };
        pairs.push(format!("{}={}", query(key), query(value)));
    }
    Ok(pairs.join("&"))
}

/// A part of a query string. What is encoded already stays: Dapr's users had to do that themselves.
fn query(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'%' | b'+' => {
                encoded.push(byte.into())
            }
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Result<S3Settings> {
        S3Settings::read(&ComponentSpec::new(
            "s3",
            "bindings.aws.s3",
            Metadata::from_iter(pairs.iter().copied()),
        ))
    }

    #[test]
    fn a_request_stands_before_its_component() {
        let component = settings(&[("bucket", "b"), ("decodeBase64", "true"), ("presignTTL", "1h")]).unwrap();
        let own =
            Metadata::from_iter([("decodeBase64", "false"), ("storageClass", "GLACIER"), ("presignTTL", "")]);
        let options = component.options(&own).unwrap();
        assert!(!options.decode_base64);
        assert_eq!(options.storage_class.as_deref(), Some("GLACIER"));
        assert_eq!(options.presign_ttl, Some(Duration::from_secs(3600)));
        assert!(component.options(&Metadata::new()).unwrap().decode_base64);
    }

    #[test]
    fn wrong_fields_are_named() {
        assert_eq!(settings(&[]).unwrap_err().field(), Some("bucket"));
        for wrong in ["soon", "0s", "200h"] {
            let error = settings(&[("bucket", "b"), ("presignTTL", wrong)]).unwrap_err();
            assert_eq!(error.field(), Some("presignTTL"), "{wrong}");
        }
    }

    #[test]
    fn tags_become_a_query() {
        assert_eq!(tagging("project=sashimi, year = 2024").unwrap(), "project=sashimi&year=2024");
        assert_eq!(tagging("a=b c&d").unwrap(), "a=b%20c%26d");
        for wrong in ["", "a", "a=", "=b", "a=b,"] {
            assert_eq!(tagging(wrong).unwrap_err().field(), Some("tags"), "{wrong}");
        }
    }
}
