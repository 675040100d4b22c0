//! Trace identity as it travels: ids in memory, W3C `traceparent` and `tracestate` in text, Dapr's `grpc-trace-bin` in bytes.

use std::cell::RefCell;
use std::fmt;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::baggage::{self, BaggageError};

/// Longest `tracestate` that Dapr sends on.
const MAX_TRACESTATE: usize = 512;
/// Most members in a `tracestate` (W3C Trace Context 3.3.1.1).
const MAX_TRACESTATE_MEMBERS: usize = 32;
/// Length of a `traceparent` of version 00.
const TRACEPARENT_LEN: usize = 55;
/// Length of a `grpc-trace-bin` with all three fields.
const BINARY_LEN: usize = 29;

/// Ids of a trace and of one span in it. All zero means that there is no trace.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct TraceContext {
    /// W3C trace id.
    pub trace_id: [u8; 16],
    /// The span that this context names.
    pub span_id: [u8; 8],
    /// W3C trace flags.
    pub flags: u8,
}

impl TraceContext {
    /// No trace.
    pub const NONE: Self = Self { trace_id: [0; 16], span_id: [0; 8], flags: 0 };
    /// Flag: the trace is recorded.
    pub const SAMPLED: u8 = 0x01;
    /// Flag of Trace Context level 2: the low 56 bits of the trace id are random. Carried, never set by us.
    const RANDOM: u8 = 0x02;

    /// Whether both ids are present.
    pub fn is_valid(&self) -> bool {
        self.trace_id != [0; 16] && self.span_id != [0; 8]
    }

    /// Whether the trace is recorded.
    pub fn is_sampled(&self) -> bool {
        self.flags & Self::SAMPLED != 0
    }

    /// A new trace with its first span, not sampled. Ids are never zero, which would mean "none".
    pub fn new_root() -> Self {
        let (trace_id, span_id) = random(|ids| (ids.random::<u128>(), ids.random::<u64>()));
        Self { trace_id: trace_id.max(1).to_be_bytes(), span_id: span_id.max(1).to_be_bytes(), flags: 0 }
    }

    /// A new span in the same trace.
    pub fn new_child(&self) -> Self {
        let span_id = random(|ids| ids.random::<u64>());
        Self { span_id: span_id.max(1).to_be_bytes(), ..*self }
    }

    /// The same ids with the sampled flag set or cleared.
    pub fn with_sampled(self, sampled: bool) -> Self {
        let cleared = self.flags & !Self::SAMPLED;
        Self { flags: cleared | u8::from(sampled), ..self }
    }

    /// Reads a `traceparent` header as W3C Trace Context asks: lower-case hex, no zero id, no version `ff`; a version above
    /// 00 may carry more fields behind the four that are known.
    pub fn parse_traceparent(header: &str) -> Option<Self> {
        let bytes = header.as_bytes();
        let dashes =
            bytes.len() >= TRACEPARENT_LEN && bytes[2] == b'-' && bytes[35] == b'-' && bytes[52] == b'-';
        if !dashes {
            return None;
        }
        let [version] = hex_bytes(&bytes[..2])?;
        let ends_here = bytes.len() == TRACEPARENT_LEN;
        let has_more_fields = version != 0 && bytes.get(TRACEPARENT_LEN) == Some(&b'-');
        if version == 0xff || !(ends_here || has_more_fields) {
            return None;
        }
        let trace_id = hex_bytes(&bytes[3..35])?;
        let span_id = hex_bytes(&bytes[36..52])?;
        let [flags] = hex_bytes(&bytes[53..55])?;
        let context = Self { trace_id, span_id, flags: flags & (Self::SAMPLED | Self::RANDOM) };
        context.is_valid().then_some(context)
    }

    /// The `traceparent` header value.
    pub fn traceparent(&self) -> Traceparent {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        write_hex(&mut text[3..35], &self.trace_id);
        write_hex(&mut text[36..52], &self.span_id);
        write_hex(&mut text[53..55], &[self.flags]);
        Traceparent(text)
    }

    /// Reads Dapr's `grpc-trace-bin` metadata (OpenCensus' binary format).
    pub fn parse_binary(bytes: &[u8]) -> Option<Self> {
        let (version, fields) = bytes.split_first()?;
        let (trace_id, fields) = binary_field::<16>(fields, 0)?;
        let (span_id, fields) = binary_field::<8>(fields, 1)?;
        let flags = binary_field::<1>(fields, 2).map_or(0, |([flags], _)| flags);
        let context = Self { trace_id, span_id, flags: flags & (Self::SAMPLED | Self::RANDOM) };
        (*version == 0 && context.is_valid()).then_some(context)
    }

    /// The `grpc-trace-bin` metadata value.
    pub fn to_binary(&self) -> [u8; BINARY_LEN] {
        let mut bytes = [0; BINARY_LEN];
        bytes[2..18].copy_from_slice(&self.trace_id);
        bytes[18] = 1;
        bytes[19..27].copy_from_slice(&self.span_id);
        bytes[27] = 2;
        bytes[28] = self.flags;
        bytes
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.traceparent().as_str())
    }
}

/// A `traceparent` header value, on the stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Traceparent([u8; TRACEPARENT_LEN]);

impl Traceparent {
    /// The value as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The value as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// All that is carried from hop to hop.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Propagated {
    /// The caller's span; [`TraceContext::NONE`] when the call came without one.
    pub context: TraceContext,
    /// W3C `tracestate`, as received.
    pub tracestate: Option<Box<str>>,
    /// W3C `baggage`, as received.
    pub baggage: Option<Box<str>>,
}

impl Propagated {
    /// Reads the headers of an HTTP call. A broken `traceparent` counts as none; broken baggage is an error, to which Dapr
    /// answers 400.
    pub fn from_headers(
        traceparent: Option<&str>,
        tracestate: Option<&str>,
        baggage: Option<&str>,
    ) -> Result<Self, BaggageError> {
        let context = traceparent.and_then(TraceContext::parse_traceparent).unwrap_or(TraceContext::NONE);
        Self::of(context, tracestate, baggage)
    }

    /// Reads the metadata of a gRPC call: `grpc-trace-bin` (decoded from base64) comes before `traceparent`.
    pub fn from_grpc(
        binary: Option<&[u8]>,
        traceparent: Option<&str>,
        tracestate: Option<&str>,
        baggage: Option<&str>,
    ) -> Result<Self, BaggageError> {
        match binary {
            Some(binary) => {
                Self::of(TraceContext::parse_binary(binary).unwrap_or_default(), tracestate, baggage)
            }
            None => Self::from_headers(traceparent, tracestate, baggage),
        }
    }

    fn of(
        context: TraceContext,
        tracestate: Option<&str>,
        baggage: Option<&str>,
    ) -> Result<Self, BaggageError> {
        let baggage = baggage.filter(|baggage| !baggage.is_empty());
        baggage.map_or(Ok(()), baggage::validate)?;
        let tracestate = tracestate.filter(|state| context.is_valid() && is_tracestate(state));
        Ok(Self { context, tracestate: tracestate.map(Box::from), baggage: baggage.map(Box::from) })
    }
}

thread_local! {
    /// Ids must differ, not be secret: a small generator a thread, seeded from the system's, costs a few ns and no lock.
    static IDS: RefCell<SmallRng> = RefCell::new(rand::make_rng());
}

/// Draws from this thread's generator, or from a new one while the thread is being torn down.
fn random<T>(draw: impl Fn(&mut SmallRng) -> T) -> T {
    let drawn = IDS.try_with(|ids| draw(&mut ids.borrow_mut()));
    drawn.unwrap_or_else(|_| draw(&mut SmallRng::from_rng(&mut rand::rng())))
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

fn hex_bytes<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = hex_digit(pair[0])? << 4 | hex_digit(pair[1])?;
    }
    Some(bytes)
}

pub(crate) fn write_hex(text: &mut [u8], bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 0x0f)];
    }
}

/// Ids as text, for exporters and log lines.
pub(crate) fn hex_string(bytes: &[u8]) -> String {
    let mut text = vec![0; bytes.len() * 2];
    write_hex(&mut text, bytes);
    String::from_utf8(text).unwrap_or_default()
}

fn binary_field<const N: usize>(bytes: &[u8], id: u8) -> Option<([u8; N], &[u8])> {
    let (found, rest) = bytes.split_first()?;
    let (value, rest) = rest.split_first_chunk::<N>()?;
    (*found == id).then_some((*value, rest))
}

fn is_tracestate(state: &str) -> bool {
    let members = state.split(',').map(str::trim).filter(|member| !member.is_empty());
    let all_well_formed = members.clone().all(|member| {
        let pair = member.split_once('=');
        pair.is_some_and(|(key, value)| is_tracestate_key(key) && is_tracestate_value(value))
    });
    let count = members.count();
    state.len() <= MAX_TRACESTATE && all_well_formed && (1..=MAX_TRACESTATE_MEMBERS).contains(&count)
}

fn is_tracestate_key(key: &str) -> bool {
    let first = key.bytes().next().is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"_-*/@".contains(&c);
    first && key.len() <= 256 && key.bytes().all(allowed)
}

fn is_tracestate_value(value: &str) -> bool {
    !value.is_empty() && value.len() <= 256 && value.bytes().all(|c| (0x20..=0x7e).contains(&c) && c != b'=')
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_traceparent_survives_the_round_trip() {
        let context = TraceContext::parse_traceparent(HEADER).unwrap();
        assert!(context.is_sampled());
        assert_eq!(context.traceparent().as_str(), HEADER);
    }

    #[test]
    fn malformed_traceparents_are_refused() {
        let zero_trace = "00-00000000000000000000000000000000-b7ad6b7169203331-01";
        let zero_span = "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01";
        let upper = HEADER.to_uppercase();
        let more = format!("{HEADER}-extra");
        let glued = HEADER.replacen("00", "01", 1) + "x";
        let refused = [
            "",
            "00",
            zero_trace,
            zero_span,
            &upper,
            &more,
            &glued,
            &HEADER[1..],
            &format!("ff{}", &HEADER[2..]),
        ];
        for header in refused {
            assert_eq!(TraceContext::parse_traceparent(header), None, "{header}");
        }
        assert_eq!(TraceContext::parse_traceparent(&HEADER.replace("-b7", "-é")), None);
    }

    #[test]
    fn a_higher_version_may_carry_more_fields() {
        let header = format!("42{}-what-comes", &HEADER[2..]);
        let context = TraceContext::parse_traceparent(&header).unwrap();
        assert_eq!(context.traceparent().as_str(), HEADER);
    }

    #[test]
    fn unknown_flags_are_not_carried() {
        let context = TraceContext::parse_traceparent(&HEADER.replace("-01", "-ff")).unwrap();
        assert_eq!(context.flags, 0x03);
    }

    #[test]
    fn the_binary_form_matches_opencensus() {
        let context = TraceContext::parse_traceparent(HEADER).unwrap();
        let bytes = context.to_binary();
        assert_eq!((bytes[0], bytes[1], bytes[18], bytes[27], bytes[28]), (0, 0, 1, 2, 1));
        assert_eq!(TraceContext::parse_binary(&bytes), Some(context));
        assert_eq!(TraceContext::parse_binary(&bytes[..27]), Some(context.with_sampled(false)));
        for length in [0, 1, 10, 18, 26] {
            assert_eq!(TraceContext::parse_binary(&bytes[..length]), None, "{length}");
        }
        let mut other_version = bytes;
        other_version[0] = 1;
        assert_eq!(TraceContext::parse_binary(&other_version), None);
    }

    #[test]
    fn binary_metadata_comes_before_text() {
        let binary = TraceContext::new_root();
        let read = Propagated::from_grpc(Some(&binary.to_binary()), Some(HEADER), Some("a=1"), None).unwrap();
        assert_eq!(read.context, binary);
        assert_eq!(read.tracestate.as_deref(), Some("a=1"));
    }

    #[test]
    fn tracestate_needs_a_trace_and_a_sound_form() {
        let read =
            |state: &str| Propagated::from_headers(Some(HEADER), Some(state), None).unwrap().tracestate;
        assert_eq!(read("congo=t61rcWkgMzE,rojo@x=00").as_deref(), Some("congo=t61rcWkgMzE,rojo@x=00"));
        assert_eq!(read(""), None);
        assert_eq!(read("no-value"), None);
        assert_eq!(read(&format!("a={}", "b".repeat(600))), None);
        assert_eq!(Propagated::from_headers(None, Some("a=1"), None).unwrap().tracestate, None);
    }

    #[test]
    fn broken_baggage_is_an_error() {
        assert!(Propagated::from_headers(None, None, Some("no value")).is_err());
        let read = Propagated::from_headers(None, None, Some("user=Am%C3%A9lie;a=b,x=1")).unwrap();
        assert_eq!(read.baggage.as_deref(), Some("user=Am%C3%A9lie;a=b,x=1"));
        assert!(!read.context.is_valid());
    }

    #[test]
    fn new_ids_differ_and_stay_in_their_trace() {
        let root = TraceContext::new_root();
        let child = root.with_sampled(true).new_child();
        assert!(root.is_valid() && child.is_valid() && child.is_sampled());
        assert_eq!(child.trace_id, root.trace_id);
        assert_ne!(child.span_id, root.span_id);
        assert_ne!(TraceContext::new_root().trace_id, root.trace_id);
    }
}
