//! What goes from the old copy of a component to the new one: length-prefixed frames. Both ends are this plugin, possibly of
//! two versions: the number in the address changes when a frame does.

use std::io::{Error, ErrorKind, Result};
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};
use mecha_plugin_api::Metadata;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::pubsub::queue::{Entry, Message};

const GROUP: u8 = 1;
const END_OF_GROUPS: u8 = 2;
const MESSAGE: u8 = 3;

pub(super) enum Frame {
    /// A group that the old copy has; messages refer to it by its number there.
    Group { id: u64, topic: String, consumer: Option<String> },
    /// The groups that were there at the start are told.
    EndOfGroups,
    /// A message that a group still has to get.
    Message { group: u64, entry: Entry },
}

impl Frame {
    pub(super) fn write(&self, to: &mut Vec<u8>) {
        let at = to.len();
        to.put_u64(0);
        match self {
            Self::Group { id, topic, consumer } => {
                to.put_u8(GROUP);
                to.put_u64(*id);
                put(to, topic.as_bytes());
                to.put_u8(u8::from(consumer.is_some()));
                put(to, consumer.as_deref().unwrap_or_default().as_bytes());
            }
            Self::EndOfGroups => to.put_u8(END_OF_GROUPS),
            Self::Message { group, entry } => {
                to.put_u8(MESSAGE);
                to.put_u64(*group);
                to.put_u32(entry.redelivered);
                put(to, entry.message.content_type.as_bytes());
                for (key, value) in entry.message.metadata.iter() {
                    to.put_u8(1);
                    put(to, key.as_bytes());
                    put(to, value.as_bytes());
                }
                to.put_u8(0);
                put(to, &entry.message.data);
            }
        }
        let length = (to.len() - at - size_of::<u64>()) as u64;
        to[at..at + size_of::<u64>()].copy_from_slice(&length.to_be_bytes());
    }

    /// The next frame; `None` at the end.
    pub(super) async fn read(from: &mut (impl AsyncRead + Unpin)) -> Result<Option<Self>> {
        let length = match from.read_u64().await {
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut body = Vec::new();
        from.take(length).read_to_end(&mut body).await?;
        if body.len() as u64 != length {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Self::parse(&mut Bytes::from(body)).map(Some)
    }

    fn parse(body: &mut Bytes) -> Result<Self> {
        match byte(body)? {
            GROUP => {
                let (id, topic) = (number(body)?, text(body)?);
                let is_named = byte(body)? == 1;
                let consumer = text(body)?;
                Ok(Self::Group { id, topic, consumer: is_named.then_some(consumer) })
            }
            END_OF_GROUPS => Ok(Self::EndOfGroups),
            MESSAGE => {
                let group = number(body)?;
                let redelivered = body.try_get_u32().map_err(|_| broken())?;
                let content_type = text(body)?.into();
                let mut metadata = Metadata::new();
                while byte(body)? == 1 {
                    metadata.insert(text(body)?, text(body)?);
                }
                let message = Message { data: bytes(body)?, content_type, metadata };
                Ok(Self::Message { group, entry: Entry { message: Arc::new(message), redelivered } })
            }
            _ => Err(broken()),
        }
    }
}

fn put(to: &mut Vec<u8>, bytes: &[u8]) {
    to.put_u64(bytes.len() as u64);
    to.put_slice(bytes);
}

fn byte(from: &mut Bytes) -> Result<u8> {
    from.try_get_u8().map_err(|_| broken())
}

fn number(from: &mut Bytes) -> Result<u64> {
    from.try_get_u64().map_err(|_| broken())
}

fn bytes(from: &mut Bytes) -> Result<Bytes> {
    let length = usize::try_from(number(from)?).map_err(|_| broken())?;
    if length > from.len() {
        return Err(broken());
    }
    Ok(from.split_to(length))
}

fn text(from: &mut Bytes) -> Result<String> {
    String::from_utf8(bytes(from)?.into()).map_err(|_| broken())
}

fn broken() -> Error {
    Error::new(ErrorKind::InvalidData, "a frame cannot be read")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_come_out_as_they_went_in_and_broken_ones_are_refused() {
        let message = Message {
            data: Bytes::from_static(b"\0data"),
            content_type: "text/plain".into(),
            metadata: Metadata::from_iter([("a", "1"), ("b", "")]),
        };
        let entry = Entry { message: Arc::new(message), redelivered: 3 };
        let mut written = Vec::new();
        Frame::Group { id: 7, topic: "orders".into(), consumer: None }.write(&mut written);
        Frame::EndOfGroups.write(&mut written);
        Frame::Message { group: 7, entry }.write(&mut written);

        let mut from = written.as_slice();
        let group = Frame::read(&mut from).await.unwrap();
        assert!(matches!(group, Some(Frame::Group { id: 7, topic, consumer: None }) if topic == "orders"));
        assert!(matches!(Frame::read(&mut from).await.unwrap(), Some(Frame::EndOfGroups)));
        let Some(Frame::Message { group: 7, entry }) = Frame::read(&mut from).await.unwrap() else {
            panic!("no message");
        };
        assert_eq!((&*entry.message.data, entry.redelivered), (&b"\0data"[..], 3));
        assert_eq!((entry.message.metadata.get("a"), entry.message.metadata.len()), (Some("1"), 2));
        assert!(Frame::read(&mut from).await.unwrap().is_none());

        let mut cut = &written[..written.len() - 1];
        Frame::read(&mut cut).await.unwrap();
        Frame::read(&mut cut).await.unwrap();
        let error = Frame::read(&mut cut).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        let unknown = [0, 0, 0, 0, 0, 0, 0, 1, 9];
        assert!(Frame::read(&mut unknown.as_slice()).await.is_err());
    }
}
