//! DNS messages, as far as finding a runtime needs them: questions, and PTR, SRV, TXT, A and AAAA records.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const PTR: u16 = 12;
const TXT: u16 = 16;
const SRV: u16 = 33;
const A: u16 = 1;
const AAAA: u16 = 28;
const IN: u16 = 1;
/// In a record's class: this replaces what was known before.
const FLUSH: u16 = 0x8000;
/// Longest chain of pointers in a name that is followed.
const MOST_JUMPS: usize = 16;

/// A name as its labels, byte for byte: Dapr compares them so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name(Vec<Vec<u8>>);

impl Name {
    pub(super) fn new(labels: &[&str]) -> Self {
        Self(labels.iter().map(|label| label.as_bytes().to_vec()).collect())
    }

    /// Whether every label fits.
    pub(super) fn is_sendable(&self) -> bool {
        self.0.iter().all(|label| (1..=63).contains(&label.len()))
    }

    /// The name below `parent`, when it is one label longer.
    pub(super) fn is_below(&self, parent: &Self) -> bool {
        self.0.len() == parent.0.len() + 1 && self.0.ends_with(&parent.0)
    }
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Data {
    Ptr(Name),
    Srv { port: u16, target: Name },
    Txt(Vec<Vec<u8>>),
    Address(IpAddr),
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) name: Name,
    pub(super) flush: bool,
    /// Seconds.
    pub(super) ttl: u32,
    pub(super) data: Data,
}

/// A message; records that say something else are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(super) id: u16,
    pub(super) flags: u16,
    pub(super) questions: Vec<Name>,
    pub(super) answers: Vec<Record>,
    pub(super) authorities: Vec<Record>,
    pub(super) additionals: Vec<Record>,
}

impl Packet {
    pub(super) fn is_query(&self) -> bool {
        self.flags & 0x8000 == 0
    }

    pub(super) fn records(&self) -> impl Iterator<Item = &Record> {
        self.answers.iter().chain(&self.additionals)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        let count = |list: usize| u16::try_from(list).unwrap_or(u16::MAX);
        for number in [
            self.id,
            self.flags,
            count(self.questions.len()),
            count(self.answers.len()),
            count(self.authorities.len()),
            count(self.additionals.len()),
        ] {
            out.extend(number.to_be_bytes());
        }
        for name in &self.questions {
            put_name(&mut out, name);
            out.extend(PTR.to_be_bytes());
            out.extend(IN.to_be_bytes());
        }
        for record in self.answers.iter().chain(&self.authorities).chain(&self.additionals) {
            put_record(&mut out, record);
        }
        out
    }

    /// `None` for what is no message.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader { bytes, at: 0 };
        let (id, flags) = (reader.number()?, reader.number()?);
        let counts = [reader.number()?, reader.number()?, reader.number()?, reader.number()?];
        let mut packet = Self { id, flags, ..Self::default() };
        for _ in 0..counts[0] {
            let name = reader.name()?;
            let (_kind, _class) = (reader.number()?, reader.number()?);
            packet.questions.push(name);
        }
        let lists = [&mut packet.answers, &mut packet.authorities, &mut packet.additionals];
        for (list, count) in lists.into_iter().zip(&counts[1..]) {
            for _ in 0..*count {
                list.extend(reader.record()?);
            }
        }
        Some(packet)
    }
}

fn put_name(out: &mut Vec<u8>, name: &Name) {
    for label in &name.0 {
        out.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
        out.extend(label);
    }
    out.push(0);
}

fn put_record(out: &mut Vec<u8>, record: &Record) {
    let mut data = Vec::new();
    let kind = match &record.data {
        Data::Ptr(target) => {
            put_name(&mut data, target);
            PTR
        }
        Data::Srv { port, target } => {
            data.extend([0; 4]);
            data.extend(port.to_be_bytes());
            put_name(&mut data, target);
            SRV
        }
        Data::Txt(strings) => {
            for string in strings {
                data.push(u8::try_from(string.len()).unwrap_or(u8::MAX));
                data.extend(string.iter().take(usize::from(u8::MAX)));
            }
            TXT
        }
        Data::Address(IpAddr::V4(address)) => {
            data.extend(address.octets());
            A
        }
        Data::Address(IpAddr::V6(address)) => {
            data.extend(address.octets());
            AAAA
        }
    };
    put_name(out, &record.name);
    out.extend(kind.to_be_bytes());
    out.extend(if record.flush { IN | FLUSH } else { IN }.to_be_bytes());
    out.extend(record.ttl.to_be_bytes());
    out.extend(u16::try_from(data.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend(data);
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    fn number(&mut self) -> Option<u16> {
        let bytes: [u8; 2] = self.take(2)?.try_into().ok()?;
        Some(u16::from_be_bytes(bytes))
    }

    /// A name, whose end may stand elsewhere in the message.
    fn name(&mut self) -> Option<Name> {
        let (mut labels, mut at, mut jumps) = (Vec::new(), self.at, 0);
        loop {
            let length = usize::from(*self.bytes.get(at)?);
            at += 1;
            match length {
                0 => break,
                1..=63 => {
                    labels.push(self.bytes.get(at..at + length)?.to_vec());
                    at += length;
                }
                192.. => {
                    let low = usize::from(*self.bytes.get(at)?);
                    if jumps == 0 {
                        self.at = at + 1;
                    }
                    jumps += 1;
                    if jumps > MOST_JUMPS {
                        return None;
                    }
                    at = (length & 0x3f) << 8 | low;
                }
                _ => return None,
            }
        }
        if jumps == 0 {
            self.at = at;
        }
        Some(Name(labels))
    }

    /// A record; the inner `None` is one of another kind.
    fn record(&mut self) -> Option<Option<Record>> {
        let name = self.name()?;
        let (kind, class) = (self.number()?, self.number()?);
        let ttl: [u8; 4] = self.take(4)?.try_into().ok()?;
        let length = usize::from(self.number()?);
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len())?;
        let data = self.data(kind, length);
        self.at = end;
        let data = match data {
            Some(data) => data?,
            None => return Some(None),
        };
        Some(Some(Record { name, flush: class & FLUSH != 0, ttl: u32::from_be_bytes(ttl), data }))
    }

    /// The outer `None` is data of another kind, the inner one data that is broken.
    fn data(&mut self, kind: u16, length: usize) -> Option<Option<Data>> {
        Some(match kind {
            PTR => self.name().map(Data::Ptr),
            SRV => self.srv(),
            TXT => self.txt(length),
            A => self
                .take(4)
                .and_then(|octets| <[u8; 4]>::try_from(octets).ok())
                .map(|octets| Data::Address(Ipv4Addr::from(octets).into())),
            AAAA => self
                .take(16)
                .and_then(|octets| <[u8; 16]>::try_from(octets).ok())
                .map(|octets| Data::Address(Ipv6Addr::from(octets).into())),
            _ => return None,
        })
    }

    fn srv(&mut self) -> Option<Data> {
        let (_priority, _weight) = (self.number()?, self.number()?);
        Some(Data::Srv { port: self.number()?, target: self.name()? })
    }

    fn txt(&mut self, length: usize) -> Option<Data> {
        let mut rest = self.take(length)?;
        let mut strings = Vec::new();
        while let Some((length, after)) = rest.split_first() {
            let (string, after) = after.split_at_checked(usize::from(*length))?;
            strings.push(string.to_vec());
            rest = after;
        }
        Some(Data::Txt(strings))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let instance = Name::new(&["vm:9296", "myapp", "local"]);
        let record = |name: &Name, data| Record { name: name.clone(), flush: true, ttl: 120, data };
        let packet = Packet {
            id: 7,
            flags: 0x8400,
            questions: vec![Name::new(&["myapp", "local"])],
            answers: vec![record(&Name::new(&["myapp", "local"]), Data::Ptr(instance.clone()))],
            authorities: vec![record(&instance, Data::Txt(vec![b"myapp".to_vec()]))],
            additionals: vec![
                record(&instance, Data::Srv { port: 3603, target: Name::new(&["vm", "local"]) }),
                record(&Name::new(&["vm", "local"]), Data::Address([127, 0, 0, 1].into())),
                record(&Name::new(&["vm", "local"]), Data::Address(Ipv6Addr::LOCALHOST.into())),
            ],
        };
        assert_eq!(Packet::decode(&packet.encode()), Some(packet));
    }

    #[test]
    fn pointers_are_followed_and_loops_are_not() {
        let mut bytes = vec![0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0];
        let at = bytes.len();
        put_name(&mut bytes, &Name::new(&["a", "local"]));
        bytes.extend([0, 12, 0, 1, 0, 0, 0, 1, 0, 4, 1, b'x', 0xc0, at as u8]);
        let packet = Packet::decode(&bytes).unwrap();
        assert_eq!(packet.answers[0].data, Data::Ptr(Name::new(&["x", "a", "local"])));
        let looped = [&[0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], &[0xc0, 12, 0, 12, 0, 1]].concat();
        assert_eq!(Packet::decode(&looped), None);
    }

    #[test]
    fn what_is_cut_off_anywhere_is_no_message_and_no_panic() {
        let name = Name::new(&["a", "local"]);
        let data = Data::Srv { port: 1, target: name.clone() };
        let answers = vec![Record { name, flush: false, ttl: 1, data }];
        let bytes = Packet { answers, ..Packet::default() }.encode();
        for end in 0..bytes.len() {
            assert_eq!(Packet::decode(&bytes[..end]), None, "{end}");
        }
    }
}
