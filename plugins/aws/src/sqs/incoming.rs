//! A message as SQS delivers it.

use aws_sdk_sqs::types::{Message, MessageAttributeValue, MessageSystemAttributeName as System};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mecha_plugin_api::source::Delivery;
use mecha_plugin_api::{Buf, Metadata, RString};

use super::outgoing::{BASE64, ENCODING};

/// What SQS knows about a message, and the names under which it is passed on.
const FACTS: &[(System, &str)] = &[
    (System::SentTimestamp, "sentTimestamp"),
    (System::ApproximateFirstReceiveTimestamp, "approximateFirstReceiveTimestamp"),
    (System::ApproximateReceiveCount, "approximateReceiveCount"),
    (System::SenderId, "senderId"),
    (System::MessageGroupId, "messageGroupId"),
    (System::MessageDeduplicationId, "messageDeduplicationId"),
    (System::SequenceNumber, "sequenceNumber"),
    (System::DeadLetterQueueSourceArn, "deadLetterQueueSourceArn"),
];

/// A received message, with what is needed to settle it.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) message_id: String,
    pub(crate) receipt: String,
    /// Handed to the host with its number filled in.
    pub(crate) delivery: Delivery,
}

/// Reads a message from a queue; one without a receipt cannot be settled and is no message.
pub(crate) fn read(mut message: Message, topic: &str, fifo: bool) -> Option<Incoming> {
    let receipt = message.receipt_handle.take()?;
    let message_id = message.message_id.take().unwrap_or_default();
    let system = message.attributes.take().unwrap_or_default();
    let mut own = message.message_attributes.take().unwrap_or_default();
    let body = message.body.take().unwrap_or_default();
    let encoding = own.remove(ENCODING).and_then(|value| value.string_value);
    let data = match encoding.as_deref() {
        Some(BASE64) => STANDARD.decode(&body).map_or_else(|_| Buf::from(body), Buf::from),
        _ => Buf::from(body),
    };
    let mut metadata: Metadata =
        own.into_iter().filter_map(|(name, value)| Some((name, text(value)?))).collect();
    metadata.insert("messageId", message_id.as_str());
    for (fact, name) in FACTS {
        if let Some(value) = system.get(fact) {
            metadata.insert(*name, value.as_str());
        }
    }
    let receives: u32 =
        system.get(&System::ApproximateReceiveCount).and_then(|count| count.parse().ok()).unwrap_or(1);
    let group = system.get(&System::MessageGroupId).filter(|_| fifo);
    let delivery = Delivery {
        id: 0,
        redelivered: receives.saturating_sub(1),
        ordering_key: group.map(|group| RString::from(group.as_str())).unwrap_or_default(),
        topic: topic.into(),
        data,
        content_type: RString::new(),
        metadata,
    };
    Some(Incoming { message_id, receipt, delivery })
}

fn text(value: MessageAttributeValue) -> Option<String> {
    let binary = |blob: aws_sdk_sqs::primitives::Blob| STANDARD.encode(blob);
    value.string_value.or_else(|| value.binary_value.map(binary))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(value: &str) -> MessageAttributeValue {
        MessageAttributeValue::builder().data_type("String").string_value(value).build().unwrap()
    }

    #[test]
    fn headers_and_facts_become_metadata() {
        let message = Message::builder()
            .receipt_handle("r")
            .message_id("m")
            .body("hello")
            .message_attributes("traceparent", attribute("00-a"))
            .message_attributes("messageId", attribute("forged"))
            .attributes(System::ApproximateReceiveCount, "3")
            .attributes(System::MessageGroupId, "customer")
            .build();
        let incoming = read(message.clone(), "orders", true).unwrap();
        let delivery = &incoming.delivery;
        assert_eq!((&*delivery.data, delivery.redelivered), (&b"hello"[..], 2));
        assert_eq!(delivery.ordering_key.as_str(), "customer");
        assert_eq!(delivery.metadata.get("traceparent"), Some("00-a"));
        assert_eq!(delivery.metadata.get("messageId"), Some("m"));
        assert_eq!(delivery.metadata.get("messageGroupId"), Some("customer"));
        // A group of a standard queue orders nothing.
        assert_eq!(read(message, "orders", false).unwrap().delivery.ordering_key.as_str(), "");
    }

    #[test]
    fn an_encoded_body_comes_back_as_it_was() {
        let of = |body: &str| {
            Message::builder().receipt_handle("r").body(body).message_attributes(ENCODING, attribute(BASE64))
        };
        let incoming = read(of("/wA=").build(), "t", false).unwrap();
        assert_eq!(&*incoming.delivery.data, b"\xff\x00");
        assert_eq!(incoming.delivery.metadata.get(ENCODING), None);
        assert_eq!(&*read(of("not base64").build(), "t", false).unwrap().delivery.data, b"not base64");
        assert!(read(Message::builder().body("x").build(), "t", false).is_none());
    }
}
