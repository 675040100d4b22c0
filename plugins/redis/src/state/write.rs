//! What a save, a deletion and a transaction ask of the scripts, and what their failures tell the caller.

use std::num::IntErrorKind;

use mecha_plugin_api::state::{Concurrency, DeleteRequest, SetRequest, StateOperation};
use mecha_plugin_api::{Error, ErrorKind, Metadata, RString, Result};
use redis::Cmd;

use super::script::{Form, Script, is_condition};
use crate::error::Failure;

/// The scripts' word for "no etag".
const NO_ETAG: &str = "0";
/// Longest time to live in seconds: the server counts milliseconds since 1970 in 64 bits.
const LONGEST_TTL: i64 = i64::MAX / 2000;

/// One save, ready to be sent.
pub(crate) struct Save<'a> {
    request: &'a SetRequest,
    etag: i64,
    ttl: Ttl,
}

impl<'a> Save<'a> {
    /// Reads the request; `default_ttl` holds when the request names none.
    pub(crate) fn new(request: &'a SetRequest, default_ttl: Option<i64>) -> Result<Self> {
        let etag = match request.etag.as_ref().into_option() {
            Some(etag) if request.concurrency != Concurrency::LAST_WRITE && !etag.is_empty() => {
                version(etag)?
            }
            _ => 0,
        };
        Ok(Self { request, etag, ttl: Ttl::of(&request.metadata, default_ttl)? })
    }

    pub(crate) fn command(&self, script: &Script, form: Form) -> Cmd {
        let request = self.request;
        let first = if request.concurrency == Concurrency::FIRST_WRITE { "0" } else { "1" };
        let mut command = script.command(form, 1, request.key.len() + request.value.len());
        command.arg(request.key.as_str()).arg(self.etag).arg(&request.value[..]).arg(first);
        self.ttl.add_to(&mut command);
        command
    }

    /// With an etag, a condition that did not hold is an etag mismatch; without one, first-write was not first.
    pub(crate) fn error(&self, failure: Failure) -> Error {
        if is_mismatch(&failure) && has_etag(&self.request.etag) {
            return mismatch(&failure);
        }
        failure.into_error(&format!("failed to set key {}", self.request.key))
    }
}

/// One deletion, ready to be sent.
pub(crate) struct Deletion<'a> {
    request: &'a DeleteRequest,
}

impl<'a> Deletion<'a> {
    pub(crate) fn new(request: &'a DeleteRequest) -> Self {
        Self { request }
    }

    /// The etag goes as it is: a text that is no version matches none.
    fn etag(&self) -> &str {
        match self.request.etag.as_ref().into_option() {
            Some(etag) if !etag.is_empty() => etag,
            _ => NO_ETAG,
        }
    }

    pub(crate) fn command(&self, script: &Script, form: Form) -> Cmd {
        let mut command = script.command(form, 1, self.request.key.len() + 16);
        command.arg(self.request.key.as_str()).arg(self.etag());
        command
    }

    pub(crate) fn error(&self, failure: Failure) -> Error {
        if is_mismatch(&failure) {
            return mismatch(&failure);
        }
        failure.into_error(&format!("failed to delete key {}", self.request.key))
    }
}

/// Several steps, ready to be sent.
pub(crate) struct Transaction<'a> {
    steps: Vec<Step<'a>>,
}

enum Step<'a> {
    Save(Save<'a>),
    Deletion(Deletion<'a>),
}

impl<'a> Transaction<'a> {
    pub(crate) fn new(operations: &'a [StateOperation], default_ttl: Option<i64>) -> Result<Self> {
        let steps = operations.iter().map(|operation| match operation {
            StateOperation::Upsert(request) => Save::new(request, default_ttl).map(Step::Save),
            StateOperation::Delete(request) => Ok(Step::Deletion(Deletion::new(request))),
        });
        Ok(Self { steps: steps.collect::<Result<_>>()? })
    }

    pub(crate) fn command(&self, script: &Script, form: Form) -> Cmd {
        let room = self.steps.iter().map(Step::room).sum();
        let mut command = script.command(form, self.steps.len(), room);
        for step in &self.steps {
            command.arg(step.key());
        }
        for step in &self.steps {
            match step {
                Step::Save(save) => {
                    command.arg("set").arg(save.etag).arg(&save.request.value[..]);
                    save.ttl.add_to(&mut command);
                }
                Step::Deletion(deletion) => {
                    command.arg("delete").arg(deletion.etag()).arg("").arg("");
                }
            }
        }
        command
    }

    /// Nothing was written when a condition did not hold.
    pub(crate) fn error(&self, failure: Failure) -> Error {
        if is_mismatch(&failure) {
            return mismatch(&failure);
        }
        failure.into_error("failed to run the transaction")
    }
}

impl Step<'_> {
    fn key(&self) -> &str {
        match self {
            Self::Save(save) => &save.request.key,
            Self::Deletion(deletion) => &deletion.request.key,
        }
    }

    fn room(&self) -> usize {
        let value = match self {
            Self::Save(save) => save.request.value.len(),
            Self::Deletion(_) => 0,
        };
        self.key().len() + value + 32
    }
}

/// What a save does to the key's expiry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ttl {
    /// Leaves it as it is.
    Keep,
    /// Sets it to this many seconds; zero or less removes it.
    Seconds(i64),
}

impl Ttl {
    fn of(metadata: &Metadata, default: Option<i64>) -> Result<Self> {
        let seconds = match metadata.get("ttlInSeconds").filter(|text| !text.is_empty()) {
            None => default,
            Some(text) => Some(text.parse::<i64>().map_err(|error| {
                let reason = number_error("ParseInt", text, error.kind());
                Error::invalid(format!("failed to parse ttl from metadata: {reason}"))
                    .with_field("ttlInSeconds")
            })?),
        };
        match seconds {
            None => Ok(Self::Keep),
            Some(seconds) if seconds > LONGEST_TTL => {
                Err(Error::invalid("time to live is too long").with_field("ttlInSeconds"))
            }
            Some(seconds) => Ok(Self::Seconds(seconds)),
        }
    }

    fn add_to(self, command: &mut Cmd) {
        match self {
            Self::Keep => command.arg(""),
            Self::Seconds(seconds) => command.arg(seconds),
        };
    }
}

fn has_etag(etag: &mecha_plugin_api::ROption<RString>) -> bool {
    etag.as_ref().into_option().is_some_and(|etag| !etag.is_empty())
}

fn version(etag: &str) -> Result<i64> {
    etag.parse::<i64>().map_err(|error| {
        let reason = number_error("Atoi", etag, error.kind());
        Error::new(ErrorKind::ETAG_INVALID, format!("invalid etag value: {reason}"))
    })
}

/// The words in which Dapr's Redis store reports a text that is no number; clients see them.
fn number_error(function: &str, text: &str, kind: &IntErrorKind) -> String {
    let reason = match kind {
        IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
        _ => "invalid syntax",
    };
    format!("strconv.{function}: parsing {text:?}: {reason}")
}

fn is_mismatch(failure: &Failure) -> bool {
    failure.code() == Some("ERR") && is_condition(&failure.text())
}

fn mismatch(failure: &Failure) -> Error {
    let text = format!("possible etag mismatch. error from state store: {}", failure.text());
    Error::new(ErrorKind::ETAG_MISMATCH, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etag_that_is_no_number_is_invalid() {
        for (etag, reason) in [("abc", "invalid syntax"), ("99999999999999999999", "value out of range")] {
            let error = version(etag).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ETAG_INVALID);
            let text = format!("invalid etag value: strconv.Atoi: parsing \"{etag}\": {reason}");
            assert_eq!(error.message(), text);
        }
        assert_eq!(version("007").unwrap(), 7);
    }

    #[test]
    fn a_requests_time_to_live_wins_over_the_components() {
        let none = Metadata::new();
        assert_eq!(Ttl::of(&none, None).unwrap(), Ttl::Keep);
        assert_eq!(Ttl::of(&none, Some(60)).unwrap(), Ttl::Seconds(60));
        let own = Metadata::from_iter([("ttlInSeconds", "-1")]);
        assert_eq!(Ttl::of(&own, Some(60)).unwrap(), Ttl::Seconds(-1));
        let empty = Metadata::from_iter([("ttlInSeconds", "")]);
        assert_eq!(Ttl::of(&empty, Some(60)).unwrap(), Ttl::Seconds(60));
    }

    #[test]
    fn a_wrong_time_to_live_names_its_field() {
        for text in ["soon", "1.5", "9223372036854775807"] {
            let error = Ttl::of(&Metadata::from_iter([("ttlInSeconds", text)]), None).unwrap_err();
            assert_eq!((error.kind(), error.field()), (ErrorKind::INVALID, Some("ttlInSeconds")), "{text}");
        }
    }
}
