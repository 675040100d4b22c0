//! A metadata field that holds PEM, or names a file that does.

use mecha_plugin_api::{ComponentSpec, Error, Result};

const BEGIN: &str = "-----BEGIN ";

/// The field and its text.
pub(crate) struct Pem<'a> {
    field: &'static str,
    text: Option<&'a str>,
}

impl<'a> Pem<'a> {
    pub(crate) fn of(spec: &'a ComponentSpec, field: &'static str) -> Self {
        Self { field, text: spec.text(field) }
    }

    /// The PEM text; `None` when the field is absent.
    pub(crate) async fn read(self) -> Result<Option<Vec<u8>>> {
        let Some(text) = self.text else { return Ok(None) };
        if text.contains(BEGIN) {
            return Ok(Some(text.as_bytes().to_vec()));
        }
        let path = text.to_owned();
        let read = tokio::task::spawn_blocking(move || std::fs::read(path)).await;
        match read {
            Ok(Ok(pem)) => Ok(Some(pem)),
            Ok(Err(error)) => Err(self.wrong(&error)),
            Err(error) => Err(self.wrong(&error)),
        }
    }

    /// The text stays out of the message: a mangled private key would stand in it.
    fn wrong(&self, error: &dyn std::error::Error) -> Error {
        Error::invalid(format!("is neither a PEM text nor a file that can be read: {error}"))
            .with_field(self.field)
    }
}
