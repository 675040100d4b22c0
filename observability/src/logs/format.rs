//! One line as text or JSON, with the keys and the quoting of Dapr's logger.

use std::borrow::Cow;
use std::fmt::Write;
use std::time::SystemTime;

use super::{FieldValue, Identity, LogFormat, LogLevel};
use crate::context::{TraceContext, hex_string};

/// Prefix of the crates of this project in a `tracing` target.
const OWN_PREFIX: &str = "mecha";
/// What log queries for Dapr look for.
const DAPR_RUNTIME: &str = "dapr.runtime";

/// The scope of a target: `mecha_runtime::registry` is `dapr.runtime.registry`, so that queries made for daprd find it; others
/// keep their path with dots.
pub(super) fn scope_of(target: &str) -> Cow<'_, str> {
    if target == OWN_PREFIX || target == "mecha_runtime" {
        return Cow::Borrowed(DAPR_RUNTIME);
    }
    let own = target.strip_prefix("mecha_runtime::").or_else(|| target.strip_prefix("mecha::"));
    if let Some(module) = own {
        return Cow::Owned(format!("{DAPR_RUNTIME}.{}", module.replace("::", ".")));
    }
    match target.strip_prefix("mecha_") {
        Some(module) => Cow::Owned(format!("{DAPR_RUNTIME}.{}", module.replace("::", "."))),
        None if target.contains("::") => Cow::Owned(target.replace("::", ".")),
        None => Cow::Borrowed(target),
    }
}

/// A line under construction.
pub(super) struct Line {
    format: LogFormat,
    text: String,
}

impl Line {
    pub(super) fn new(format: LogFormat) -> Self {
        let mut text = String::with_capacity(256);
        if format == LogFormat::Json {
            text.push('{');
        }
        Self { format, text }
    }

    /// The keys of every line, in the order of Dapr's text form.
    pub(super) fn head(
        &mut self,
        identity: &Identity,
        time: SystemTime,
        level: LogLevel,
        message: &str,
        scope: &str,
    ) {
        self.pair("time", &humantime::format_rfc3339_nanos(time).to_string());
        self.pair("level", level.as_str());
        self.pair("msg", message);
        self.pair("app_id", &identity.app_id);
        self.pair("instance", &identity.host);
        self.pair("scope", scope);
        self.pair("type", "log");
        self.pair("ver", &identity.version);
    }

    pub(super) fn field(&mut self, name: &str, value: FieldValue) {
        match value {
            FieldValue::Text(text) => self.pair(name, &text),
            FieldValue::Int(number) => self.bare(name, number),
            FieldValue::Unsigned(number) => self.bare(name, number),
            // JSON knows no infinity and no NaN.
            FieldValue::Float(number) if !number.is_finite() => self.pair(name, &number.to_string()),
            FieldValue::Float(number) => self.bare(name, number),
            FieldValue::Bool(flag) => self.bare(name, flag),
        }
    }

    pub(super) fn trace(&mut self, trace: TraceContext) {
        self.pair("trace_id", &hex_string(&trace.trace_id));
        self.pair("span_id", &hex_string(&trace.span_id));
    }

    pub(super) fn finish(mut self) -> String {
        if self.format == LogFormat::Json {
            self.text.push('}');
        }
        self.text.push('\n');
        self.text
    }

    fn key(&mut self, name: &str) {
        match self.format {
            LogFormat::Text => {
                if !self.text.is_empty() {
                    self.text.push(' ');
                }
                push_text(&mut self.text, name);
                self.text.push('=');
            }
            LogFormat::Json => {
                if self.text.len() > 1 {
                    self.text.push(',');
                }
                push_json(&mut self.text, name);
                self.text.push(':');
            }
        }
    }

    fn pair(&mut self, name: &str, value: &str) {
        self.key(name);
        match self.format {
            LogFormat::Text => push_text(&mut self.text, value),
            LogFormat::Json => push_json(&mut self.text, value),
        }
    }

    fn bare(&mut self, name: &str, value: impl std::fmt::Display) {
        self.key(name);
        // Writing into a String cannot fail.
        let _ = write!(self.text, "{value}");
    }
}

fn push_json(line: &mut String, text: &str) {
    line.push_str(&serde_json::Value::from(text).to_string());
}

/// logrus leaves words of letters, digits and `-._/@^+` bare (an empty value as well) and quotes the rest as Go's `%q` does.
fn push_text(line: &mut String, text: &str) {
    let is_bare = |c: u8| c.is_ascii_alphanumeric() || b"-._/@^+".contains(&c);
    if text.bytes().all(is_bare) {
        line.push_str(text);
        return;
    }
    line.push('"');
    for c in text.chars() {
        push_quoted(line, c);
    }
    line.push('"');
}

fn push_quoted(line: &mut String, c: char) {
    match c {
        '"' => line.push_str("\\\""),
        '\\' => line.push_str("\\\\"),
        '\n' => line.push_str("\\n"),
        '\r' => line.push_str("\\r"),
        '\t' => line.push_str("\\t"),
        '\u{7}' => line.push_str("\\a"),
        '\u{8}' => line.push_str("\\b"),
        '\u{b}' => line.push_str("\\v"),
        '\u{c}' => line.push_str("\\f"),
        // Writing into a String cannot fail.
        c if u32::from(c) < 0x20 || c == '\u{7f}' => drop(write!(line, "\\x{:02x}", u32::from(c))),
        c if c.is_control() => drop(write!(line, "\\u{:04x}", u32::from(c))),
        c => line.push(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> String {
        let mut line = String::new();
        push_text(&mut line, value);
        line
    }

    #[test]
    fn quoting_follows_logrus() {
        assert_eq!(text("dapr.runtime/x-1_@^+"), "dapr.runtime/x-1_@^+");
        assert_eq!(text(""), "");
        assert_eq!(text("two words"), "\"two words\"");
        assert_eq!(text("a=b"), "\"a=b\"");
        assert_eq!(text("say \"hi\"\\\n\t\u{1}"), "\"say \\\"hi\\\"\\\\\\n\\t\\x01\"");
        assert_eq!(text("Zürich"), "\"Zürich\"");
        assert_eq!(text("\u{85}"), "\"\\u0085\"");
    }

    #[test]
    fn scopes_come_from_targets() {
        assert_eq!(scope_of("mecha"), "dapr.runtime");
        assert_eq!(scope_of("mecha_runtime::registry::swap"), "dapr.runtime.registry.swap");
        assert_eq!(scope_of("mecha_gateway::http"), "dapr.runtime.gateway.http");
        assert_eq!(scope_of("dapr.runtime.trace"), "dapr.runtime.trace");
        assert_eq!(scope_of("h2::client"), "h2.client");
    }
}
