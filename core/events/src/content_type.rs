//! What a content type says about how data stands in an envelope.

/// The content type of a CloudEvent in JSON.
pub const CLOUD_EVENT: &str = "application/cloudevents+json";
/// The content type of bytes that nothing is known about.
pub const OCTET_STREAM: &str = "application/octet-stream";
/// The content type of data that came without one.
pub const DEFAULT_DATA: &str = "text/plain";
/// What a message from a broker is taken for when it names no content type.
pub const DEFAULT_MESSAGE: &str = "application/json";

const JSON: &str = "application/json";
const XML: &str = "application/xml";
const PROTOBUF: &str = "application/x-protobuf";
const CLOUD_EVENT_PROTOBUF: &str = "application/cloudevents+protobuf";

/// Whether it is a CloudEvent in JSON.
#[must_use]
pub fn is_cloud_event(content_type: &str) -> bool {
    is(content_type, CLOUD_EVENT)
}

/// Whether it is JSON.
#[must_use]
pub fn is_json(content_type: &str) -> bool {
    is(content_type, JSON)
}

/// Whether it is text that is no JSON.
#[must_use]
pub fn is_text(content_type: &str) -> bool {
    let prefix = content_type.as_bytes().get(..5);
    prefix.is_some_and(|prefix| prefix.eq_ignore_ascii_case(b"text/")) || is(content_type, XML)
}

/// Whether it is bytes that nothing is known about.
#[must_use]
pub fn is_binary(content_type: &str) -> bool {
    is(content_type, OCTET_STREAM)
}

/// Whether the data is a CloudEvent in protobuf: by its content type, or because protobuf data reads as one.
#[must_use]
pub fn is_protobuf_event(content_type: &str, data: &[u8]) -> bool {
    is(content_type, CLOUD_EVENT_PROTOBUF) || (is(content_type, PROTOBUF) && reads_as_event(data))
}

/// Compares the type without its parameters, as Dapr does: no space may stand before the semicolon.
fn is(content_type: &str, expected: &str) -> bool {
    let bare = content_type.split_once(';').map_or(content_type, |(bare, _)| bare);
    bare.eq_ignore_ascii_case(expected)
}

/// Whether bytes are well-formed protobuf in which the text fields of a CloudEvent message (id, source, spec_version, type and
/// text_data) hold text. Nested messages are not looked into.
fn reads_as_event(mut data: &[u8]) -> bool {
    while !data.is_empty() {
        let Some((tag, rest)) = varint(data) else { return false };
        let (field, wire_type) = (tag >> 3, tag & 7);
        let skipped = match wire_type {
            0 => varint(rest).map(|(_, rest)| rest),
            1 => rest.get(8..),
            2 => length_delimited(rest).and_then(|(value, rest)| {
                let is_text = matches!(field, 1..=4 | 7);
                (!is_text || std::str::from_utf8(value).is_ok()).then_some(rest)
            }),
            5 => rest.get(4..),
            _ => None,
        };
        match skipped {
            Some(rest) if field != 0 => data = rest,
            _ => return false,
        }
    }
    true
}

fn length_delimited(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = varint(data)?;
    rest.split_at_checked(usize::try_from(length).ok()?)
}

fn varint(data: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (index, byte) in data.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f).checked_shl(7 * index as u32)?;
        if byte & 0x80 == 0 {
            return Some((value, &data[index + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignores_case_and_parameters() {
        assert!(is_json("application/JSON; charset=utf-8") && is_json("application/json"));
        assert!(!is_json("application/json-patch") && !is_json("application/json ;x") && !is_json(""));
        assert!(is_cloud_event("Application/CloudEvents+json;charset=utf-8"));
        assert!(is_text("TEXT/html") && is_text("application/xml") && !is_text("tex") && !is_text("é/x"));
        assert!(is_binary("application/octet-stream") && !is_binary("image/png"));
    }

    #[test]
    fn tells_an_event_in_protobuf() {
        // id = "1234", spec_version = "1.0"
        let event = b"\x0a\x041234\x1a\x031.0";
        assert!(is_protobuf_event("application/x-protobuf", event));
        assert!(is_protobuf_event("application/cloudevents+protobuf", b"anything"));
        for broken in [
            &b"\x0a\x09short"[..],
            b"\x0a\x01\xff",
            b"plain text",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        ] {
            assert!(!is_protobuf_event("application/x-protobuf", broken), "{broken:?}");
        }
        assert!(!is_protobuf_event("application/json", event));
    }
}
