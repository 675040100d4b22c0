//! A component's metadata in Dapr's names, parsed once into [`Settings`].

mod auth;

use std::fmt;
use std::time::Duration;

use mecha_plugin_api::{ComponentSpec, Error, Result, parse_duration};
use regex_lite::Regex;

pub(crate) use self::auth::{Mechanism, OidcSettings, Sasl, Security, Tls};

/// Brokers close idle connections after nine minutes; a refresh before that keeps them.
const DEFAULT_REFRESH: Duration = Duration::from_secs(8 * 60);
const DEFAULT_NETWORK_TIMEOUT: Duration = Duration::from_secs(30);
const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(3);
const DEFAULT_SESSION: Duration = Duration::from_secs(10);
const DEFAULT_RETRY_INTERVAL: Duration = Duration::from_millis(100);
const DEFAULT_QUEUE_DEPTH: u32 = 256;
const DEFAULT_FETCH_MIN: u32 = 1;
const DEFAULT_FETCH: u32 = 1024 * 1024;
const DEFAULT_MESSAGE_BYTES: u32 = 1024 * 1024;
const DEFAULT_PRODUCER_RETRIES: u32 = 5;
/// librdkafka's own limits; it refuses what lies outside.
const MESSAGE_BYTES: std::ops::RangeInclusive<u32> = 1000..=1_000_000_000;
const MAX_FETCH_MIN: u32 = 100_000_000;

/// Where a group begins to read a partition that it never committed an offset of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum InitialOffset {
    /// At the first message that is there.
    Oldest,
    /// At the end.
    Newest,
}

/// How partitions are divided among the members of a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Strategy {
    /// Neighbouring partitions of each topic.
    Range,
    /// As before where possible, without stopping what stays.
    Sticky,
    /// One after the other.
    RoundRobin,
}

/// How many replicas must have a message before it counts as published.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RequiredAcks {
    /// All that are in sync.
    All,
    /// The partition's leader.
    Local,
    /// None: messages can get lost unnoticed.
    None,
}

/// Everything that a component's author settles, for all capabilities.
#[derive(Clone)]
pub(crate) struct Settings {
    /// Addresses, separated by commas.
    pub(crate) brokers: String,
    pub(crate) group: String,
    pub(crate) client_id: Option<String>,
    pub(crate) security: Security,
    pub(crate) initial_offset: InitialOffset,
    pub(crate) max_message_bytes: u32,
    /// How long a failed message waits unless the host says; `None` = a failed message is not tried again.
    pub(crate) retry: Option<Duration>,
    pub(crate) heartbeat: Duration,
    pub(crate) session_timeout: Duration,
    pub(crate) refresh: Duration,
    /// When idle connections are closed; zero = never.
    pub(crate) max_idle: Duration,
    pub(crate) dial_timeout: Duration,
    pub(crate) request_timeout: Duration,
    /// How long a message may wait for its delivery; `None` = as the plugin likes.
    pub(crate) delivery_timeout: Option<Duration>,
    pub(crate) fetch_min: u32,
    pub(crate) fetch: u32,
    /// How many messages are fetched ahead, for each partition.
    pub(crate) queue_depth: u32,
    pub(crate) strategy: Strategy,
    pub(crate) compression: &'static str,
    pub(crate) acks: RequiredAcks,
    pub(crate) producer_retries: u32,
    pub(crate) headers: HeaderRules,
}

/// How headers become metadata and the other way round.
#[derive(Clone, Default)]
pub(crate) struct HeaderRules {
    /// Values are URL-escaped on their way to the application.
    pub(crate) escape: bool,
    /// Names that are left out, both ways.
    pub(crate) exclude: Option<Regex>,
}

/// What differs between the broker and the binding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Defaults {
    pub(crate) retries: bool,
}

impl Settings {
    /// Reads a component's metadata.
    pub(crate) fn read(spec: &ComponentSpec, defaults: Defaults) -> Result<Self> {
        refuse_unsupported(spec)?;
        check_version(spec)?;
        let (heartbeat, session_timeout) = group_times(spec)?;
        network_timeout(spec, "metadataTimeout")?;
        Ok(Self {
            brokers: brokers(spec)?,
            group: group(spec),
            client_id: spec.text("clientID").map(str::to_owned),
            security: Security::read(spec)?,
            initial_offset: choice(spec, "initialOffset", INITIAL_OFFSETS, InitialOffset::Newest)?,
            max_message_bytes: max_message_bytes(spec)?,
            retry: retry(spec, defaults)?,
            heartbeat,
            session_timeout,
            refresh: positive(spec, "clientConnectionTopicMetadataRefreshInterval", DEFAULT_REFRESH)?,
            max_idle: spec.duration("clientConnectionKeepAliveInterval", Duration::ZERO)?,
            dial_timeout: positive(spec, "dialTimeout", DEFAULT_NETWORK_TIMEOUT)?,
            request_timeout: positive(spec, "readTimeout", DEFAULT_NETWORK_TIMEOUT)?,
            delivery_timeout: network_timeout(spec, "writeTimeout")?,
            fetch_min: number(spec, "consumerFetchMin", DEFAULT_FETCH_MIN, 1..=MAX_FETCH_MIN)?,
            fetch: number(spec, "consumerFetchDefault", DEFAULT_FETCH, 1..=1_000_000_000)?,
            queue_depth: number(spec, "channelBufferSize", DEFAULT_QUEUE_DEPTH, 1..=10_000_000)?,
            strategy: choice(spec, "consumerGroupRebalanceStrategy", STRATEGIES, Strategy::Range)?,
            compression: choice(spec, "compression", COMPRESSIONS, "none")?,
            acks: choice(spec, "producerRequiredAcks", ACKS, RequiredAcks::All)?,
            producer_retries: number(
                spec,
                "producerRetryMax",
                DEFAULT_PRODUCER_RETRIES,
                0..=i32::MAX as u32,
            )?,
            headers: header_rules(spec)?,
        })
    }
}

const INITIAL_OFFSETS: &[(&str, InitialOffset)] =
    &[("newest", InitialOffset::Newest), ("oldest", InitialOffset::Oldest)];
const STRATEGIES: &[(&str, Strategy)] =
    &[("range", Strategy::Range), ("sticky", Strategy::Sticky), ("roundrobin", Strategy::RoundRobin)];
const COMPRESSIONS: &[(&str, &str)] =
    &[("none", "none"), ("gzip", "gzip"), ("snappy", "snappy"), ("lz4", "lz4"), ("zstd", "zstd")];
const ACKS: &[(&str, RequiredAcks)] =
    &[("all", RequiredAcks::All), ("local", RequiredAcks::Local), ("none", RequiredAcks::None)];

/// One of several words, in any case.
fn choice<T: Copy>(spec: &ComponentSpec, field: &str, words: &[(&str, T)], default: T) -> Result<T> {
    let Some(text) = spec.text(field).map(str::trim) else { return Ok(default) };
    let found = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
    found.map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        Error::invalid(format!("'{text}' is none of {}", known.join(", "))).with_field(field)
    })
}

fn number(
    spec: &ComponentSpec,
    field: &str,
    default: u32,
    range: std::ops::RangeInclusive<u32>,
) -> Result<u32> {
    let value = spec.parsed(field, default)?;
    if range.contains(&value) {
        return Ok(value);
    }
    let message = format!("must lie between {} and {}", range.start(), range.end());
    Err(Error::invalid(message).with_field(field))
}

/// Zero means the default, as in Dapr.
fn positive(spec: &ComponentSpec, field: &str, default: Duration) -> Result<Duration> {
    let value = spec.duration(field, default)?;
    Ok(if value.is_zero() { default } else { value })
}

fn network_timeout(spec: &ComponentSpec, field: &str) -> Result<Option<Duration>> {
    let value = spec.duration(field, Duration::ZERO)?;
    Ok((!value.is_zero()).then_some(value))
}

/// A yes/no field. Dapr takes anything that is not a yes for a no; a typing error here could turn TLS off.
pub(crate) fn flag(spec: &ComponentSpec, field: &str, default: bool) -> Result<bool> {
    let text = spec.text(field).unwrap_or_default().trim().to_ascii_lowercase();
    match text.as_str() {
        "" => Ok(default),
        "false" | "no" | "n" | "off" | "0" | "f" => Ok(false),
        _ if spec.flag(field) => Ok(true),
        _ => Err(Error::invalid(format!("'{text}' is neither true nor false")).with_field(field)),
    }
}

/// The schema registry changes what is in a message: ignoring it would write messages that readers cannot decode.
fn refuse_unsupported(spec: &ComponentSpec) -> Result<()> {
    match spec.text("schemaRegistryURL") {
        Some(_) => Err(Error::invalid("a schema registry is not supported").with_field("schemaRegistryURL")),
        None => Ok(()),
    }
}

fn brokers(spec: &ComponentSpec) -> Result<String> {
    let text = spec.required("brokers")?;
    let addresses: Vec<&str> = text.split(',').map(str::trim).filter(|text| !text.is_empty()).collect();
    if addresses.is_empty() {
        return Err(Error::invalid("names no broker").with_field("brokers"));
    }
    for address in &addresses {
        check_address(address)?;
    }
    Ok(addresses.join(","))
}

fn check_address(address: &str) -> Result<()> {
    let (host, port) = match address.rsplit_once(':') {
        // An IPv6 address without a port.
        Some((_, port)) if port.ends_with(']') => (address, None),
        Some((host, port)) => (host, Some(port)),
        None => (address, None),
    };
    let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port != 0));
    if host.is_empty() || !is_port {
        return Err(Error::invalid(format!("'{address}' is not host:port")).with_field("brokers"));
    }
    Ok(())
}

/// The group, else the consumer id that daprd would set, else the application.
fn group(spec: &ComponentSpec) -> String {
    let named = spec.text("consumerGroup").or_else(|| spec.text("consumerID"));
    named.unwrap_or(&spec.app_id).to_owned()
}

fn max_message_bytes(spec: &ComponentSpec) -> Result<u32> {
    match spec.parsed("maxMessageBytes", 0_u32)? {
        0 => Ok(DEFAULT_MESSAGE_BYTES),
        _ => number(spec, "maxMessageBytes", DEFAULT_MESSAGE_BYTES, MESSAGE_BYTES),
    }
}

/// A bare number counts milliseconds, in this field alone.
fn retry(spec: &ComponentSpec, defaults: Defaults) -> Result<Option<Duration>> {
    let is_enabled = flag(spec, "consumeRetryEnabled", defaults.retries)?;
    let interval = match spec.text("consumeRetryInterval").map(str::trim) {
        None => DEFAULT_RETRY_INTERVAL,
        Some(text) => match text.parse::<u32>() {
            Ok(millis) => Duration::from_millis(millis.into()),
            Err(_) => parse_duration(text).ok_or_else(|| {
                let message = format!("'{text}' is not a duration such as 100ms");
                Error::invalid(message).with_field("consumeRetryInterval")
            })?,
        },
    };
    Ok(is_enabled.then_some(interval))
}

fn group_times(spec: &ComponentSpec) -> Result<(Duration, Duration)> {
    let session = positive(spec, "sessionTimeout", DEFAULT_SESSION)?;
    let heartbeat = positive(spec, "heartbeatInterval", DEFAULT_HEARTBEAT)?;
    if session > Duration::from_secs(3600) {
        return Err(Error::invalid("must not exceed an hour").with_field("sessionTimeout"));
    }
    if heartbeat >= session {
        let message = "must be shorter than sessionTimeout";
        return Err(Error::invalid(message).with_field("heartbeatInterval"));
    }
    Ok((heartbeat, session))
}

/// The brokers are asked for what they speak, so the version only has to be one.
fn check_version(spec: &ComponentSpec) -> Result<()> {
    let Some(text) = spec.text("version").map(str::trim) else { return Ok(()) };
    let parts: Vec<&str> = text.split('.').collect();
    let are_numbers = parts.iter().all(|part| part.parse::<u16>().is_ok());
    if are_numbers && (3..=4).contains(&parts.len()) {
        return Ok(());
    }
    Err(Error::invalid(format!("'{text}' is not a version such as 2.0.0")).with_field("version"))
}

fn header_rules(spec: &ComponentSpec) -> Result<HeaderRules> {
    let exclude = match spec.text("excludeHeaderMetaRegex") {
        None => None,
        Some(text) => Some(Regex::new(text).map_err(|error| {
            let message = format!("not a regular expression: {error}");
            Error::invalid(message).with_field("excludeHeaderMetaRegex")
        })?),
    };
    Ok(HeaderRules { escape: flag(spec, "escapeHeaders", false)?, exclude })
}

/// Names what connects where, and no secret.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("brokers", &self.brokers).field("group", &self.group).finish()
    }
}

#[cfg(test)]
mod tests;
