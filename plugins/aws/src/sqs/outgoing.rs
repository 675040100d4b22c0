//! A message on its way to a queue: body, attributes, and what SQS is told about it.

use std::collections::HashMap;

use aws_sdk_sqs::types::MessageAttributeValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mecha_plugin_api::{CallContext, Error, Metadata, Result};

/// The largest message that SQS takes, attributes included.
const LARGEST: usize = 1024 * 1024;
const MOST_ATTRIBUTES: usize = 10;
const LONGEST_DELAY: i32 = 900;
const TRACEPARENT: &str = "traceparent";
/// Says how a body that SQS cannot carry was made into text.
pub(crate) const ENCODING: &str = "mecha-encoding";
pub(crate) const BASE64: &str = "base64";

/// Request metadata that is an instruction to the runtime or to this plugin, not a header of the message.
const INSTRUCTIONS: &[&str] = &[
    "messageGroupId",
    "partitionKey",
    "messageDeduplicationId",
    "delaySeconds",
    "delayInSeconds",
    "rawPayload",
    "ttlInSeconds",
];

/// A message as it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) body: String,
    pub(crate) attributes: HashMap<String, MessageAttributeValue>,
    pub(crate) group: Option<String>,
    pub(crate) deduplication: Option<String>,
    pub(crate) delay: Option<i32>,
    /// As SQS counts it.
    pub(crate) size: usize,
}

/// What a queue wants of its messages.
#[derive(Clone, Copy)]
pub(crate) struct Rules<'a> {
    pub(crate) fifo: bool,
    /// The queue tells duplicates by their bodies.
    pub(crate) content_based: bool,
    /// The group of a message that names none.
    pub(crate) group: &'a str,
}

/// A message of a call; `own` metadata stands before that of the whole request.
pub(crate) fn message(
    context: &CallContext,
    data: &[u8],
    request: &Metadata,
    own: &Metadata,
    rules: Rules<'_>,
) -> Result<Outgoing> {
    let find = |name: &str| own.get(name).or_else(|| request.get(name)).filter(|value| !value.is_empty());
    let mut attributes = attributes(context, request, own)?;
    let body = match std::str::from_utf8(data) {
        Ok(text) if text.chars().all(is_carried) => text.to_owned(),
        _ => {
            attributes.insert(ENCODING.to_owned(), BASE64.to_owned());
            STANDARD.encode(data)
        }
    };
    if body.is_empty() {
        return Err(Error::invalid("sqs takes no message without a body").with_field("data"));
    }
    if attributes.len() > MOST_ATTRIBUTES {
        let message = format!("{} headers, of which sqs carries {MOST_ATTRIBUTES}", attributes.len());
        return Err(Error::invalid(message).with_field("metadata"));
    }
    let carried: usize =
        attributes.iter().map(|(name, value)| name.len() + value.len() + "String".len()).sum();
    let size = body.len() + carried;
    if size > LARGEST {
        let message = format!("{size} bytes with its headers, of which sqs takes {LARGEST}");
        return Err(Error::invalid(message).with_field("data"));
    }
    let group = ["messageGroupId", "partitionKey"].into_iter().find_map(find);
    let (group, deduplication) = match rules.fifo {
        true => {
            let given = find("messageDeduplicationId").map(str::to_owned);
            // A request that is sent again after a lost answer carries the same id, so it adds no second message.
            let made = || (!rules.content_based).then(|| uuid::Uuid::new_v4().to_string());
            (Some(group.unwrap_or(rules.group).to_owned()), given.or_else(made))
        }
        // On a standard queue a group is a tenant for fair delivery.
        false => (find("messageGroupId").map(str::to_owned), None),
    };
    let attributes = attributes.into_iter().map(|(name, value)| (name, attribute(value))).collect();
    Ok(Outgoing { body, attributes, group, deduplication, delay: delay(find)?, size })
}

/// The headers of the message: all metadata that is no instruction, and the trace.
fn attributes(context: &CallContext, request: &Metadata, own: &Metadata) -> Result<HashMap<String, String>> {
    let mut attributes = HashMap::new();
    for (name, value) in request.iter().chain(own.iter()) {
        if value.is_empty() || is_instruction(name) {
            continue;
        }
        if !is_attribute_name(name) {
            let message = format!("'{name}' cannot be the name of a message attribute");
            return Err(Error::invalid(message).with_field("metadata"));
        }
        if !value.chars().all(is_carried) {
            return Err(Error::invalid(format!(
                "the value of '{name}' has characters that sqs does not carry"
            ))
            .with_field("metadata"));
        }
        let name = if is_trace(name) { name.to_ascii_lowercase() } else { name.to_owned() };
        attributes.insert(name, value.to_owned());
    }
    if let Some(traceparent) = context.traceparent() {
        attributes.entry(TRACEPARENT.to_owned()).or_insert(traceparent);
    }
    Ok(attributes)
}

fn is_instruction(name: &str) -> bool {
    INSTRUCTIONS.iter().any(|known| known.eq_ignore_ascii_case(name))
        || name.get(..11).is_some_and(|start| start.eq_ignore_ascii_case("cloudevent."))
}

fn is_trace(name: &str) -> bool {
    [TRACEPARENT, "tracestate", "baggage"].iter().any(|known| known.eq_ignore_ascii_case(name))
}

fn is_attribute_name(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let is_ours = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    (1..=256).contains(&name.len())
        && name.bytes().all(is_ours)
        && !name.starts_with('.')
        && !name.ends_with('.')
        && !name.contains("..")
        && !lower.starts_with("aws.")
        && !lower.starts_with("amazon.")
}

/// The characters of XML 1.0, which is what SQS carries.
fn is_carried(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

fn attribute(value: String) -> MessageAttributeValue {
    let built = MessageAttributeValue::builder().data_type("String").string_value(value).build();
    built.expect("invariant: the data type is set, and nothing else is required")
}

fn delay<'m>(find: impl Fn(&str) -> Option<&'m str>) -> Result<Option<i32>> {
    let given = ["delaySeconds", "delayInSeconds"].into_iter().find_map(|name| Some((name, find(name)?)));
    let Some((name, text)) = given else { return Ok(None) };
    match text.trim().parse() {
        Ok(delay) if (0..=LONGEST_DELAY).contains(&delay) => Ok(Some(delay)),
        _ => Err(Error::invalid(format!("'{text}' is not a number of seconds up to {LONGEST_DELAY}"))
            .with_field(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STANDARD_QUEUE: Rules<'_> = Rules { fifo: false, content_based: false, group: "g" };
    const FIFO: Rules<'_> = Rules { fifo: true, ..STANDARD_QUEUE };

    fn made(data: &[u8], pairs: &[(&str, &str)], rules: Rules<'_>) -> Result<Outgoing> {
        let context = CallContext { trace_id: [1; 16], span_id: [2; 8], ..CallContext::background("app") };
        message(&context, data, &Metadata::from_iter(pairs.iter().copied()), &Metadata::new(), rules)
    }

    fn value<'m>(message: &'m Outgoing, name: &str) -> Option<&'m str> {
        message.attributes.get(name).and_then(|value| value.string_value())
    }

    #[test]
    fn headers_go_along_and_instructions_do_not() {
        let pairs = [
            ("kind", "new"),
            ("rawPayload", "true"),
            ("cloudevent.id", "1"),
            ("Baggage", "a=b"),
            ("empty", ""),
        ];
        let message = made(b"x", &pairs, STANDARD_QUEUE).unwrap();
        assert_eq!((value(&message, "kind"), value(&message, "baggage")), (Some("new"), Some("a=b")));
        assert!(value(&message, TRACEPARENT).unwrap().starts_with("00-0101"));
        assert_eq!(message.attributes.len(), 3);
    }

    #[test]
    fn a_message_with_a_trace_of_its_own_keeps_it() {
        let message = made(b"x", &[("Traceparent", "00-own")], STANDARD_QUEUE).unwrap();
        assert_eq!(value(&message, TRACEPARENT), Some("00-own"));
    }

    #[test]
    fn bytes_that_are_no_text_are_encoded_and_marked() {
        for data in [&b"\xff\x00"[..], b"bell \x07", "\u{fffe}".as_bytes()] {
            let message = made(data, &[], STANDARD_QUEUE).unwrap();
            assert_eq!(STANDARD.decode(&message.body).unwrap(), data);
            assert_eq!(value(&message, ENCODING), Some(BASE64));
        }
        assert_eq!(value(&made("žluť 😀\n".as_bytes(), &[], STANDARD_QUEUE).unwrap(), ENCODING), None);
    }

    #[test]
    fn fifo_messages_have_a_group_and_an_id() {
        let message = made(b"x", &[], FIFO).unwrap();
        assert_eq!(message.group.as_deref(), Some("g"));
        assert!(message.deduplication.is_some());
        let pairs = [("messageGroupId", "customer"), ("messageDeduplicationId", "7")];
        let message = made(b"x", &pairs, FIFO).unwrap();
        assert_eq!(
            (message.group.as_deref(), message.deduplication.as_deref()),
            (Some("customer"), Some("7"))
        );
        assert_eq!(made(b"x", &[("partitionKey", "p")], FIFO).unwrap().group.as_deref(), Some("p"));
        assert_eq!(made(b"x", &[], Rules { content_based: true, ..FIFO }).unwrap().deduplication, None);
        assert_eq!(made(b"x", &[], STANDARD_QUEUE).unwrap().group, None);
    }

    #[test]
    fn what_sqs_would_refuse_is_refused_with_its_field() {
        let eleven: Vec<String> = (0..10).map(|number| format!("header{number}")).collect();
        let eleven: Vec<(&str, &str)> = eleven.iter().map(|name| (name.as_str(), "v")).collect();
        for (data, pairs, field) in [
            (&b""[..], &[][..], "data"),
            (&vec![b'x'; LARGEST][..], &[], "data"),
            (b"x", &eleven, "metadata"),
            (b"x", &[("no spaces", "v")], "metadata"),
            (b"x", &[("aws.mine", "v")], "metadata"),
            (b"x", &[("bell", "\u{7}")], "metadata"),
            (b"x", &[("delaySeconds", "901")], "delaySeconds"),
            (b"x", &[("delayInSeconds", "soon")], "delayInSeconds"),
        ] {
            assert_eq!(made(data, pairs, STANDARD_QUEUE).unwrap_err().field(), Some(field));
        }
        assert_eq!(made(b"x", &[("delayInSeconds", "900")], STANDARD_QUEUE).unwrap().delay, Some(900));
    }
}
