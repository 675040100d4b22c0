//! Which node of a cluster serves which slot.

use std::ops::Range;

use redis::Value;

use super::key::{SLOTS, slot};
use crate::metadata::Address;

const UNASSIGNED: u16 = u16::MAX;

/// The masters of a cluster and their slots, as one of its nodes tells them.
#[derive(Clone)]
pub(crate) struct SlotMap {
    /// The masters.
    pub(crate) nodes: Vec<Address>,
    /// For each slot the place of its master in `nodes`.
    owners: Vec<u16>,
}

impl SlotMap {
    /// The node that serves a key, or any.
    pub(crate) fn node_of(&self, key: Option<&[u8]>) -> Option<Address> {
        match key {
            None => self.nodes.first().cloned(),
            Some(key) => self.nodes.get(usize::from(self.owners[slot(key)])).cloned(),
        }
    }

    /// Gives slots to a node.
    pub(crate) fn assign(&mut self, slots: Range<usize>, to: &Address) {
        let at = self.nodes.iter().position(|node| node == to).unwrap_or_else(|| {
            self.nodes.push(to.clone());
            self.nodes.len() - 1
        });
        let at = u16::try_from(at).unwrap_or(UNASSIGNED);
        let end = slots.end.min(SLOTS);
        self.owners[slots.start.min(end)..end].fill(at);
    }

    /// Reads the answer of CLUSTER SLOTS: `[first, last, [host, port, …], …]` for each range.
    pub(crate) fn read(answer: &Value, asked: &Address) -> Option<Self> {
        let Value::Array(ranges) = answer else { return None };
        let mut map = Self { nodes: Vec::new(), owners: vec![UNASSIGNED; SLOTS] };
        for range in ranges {
            let Value::Array(range) = range else { return None };
            let [Value::Int(first), Value::Int(last), Value::Array(master), ..] = range.as_slice() else {
                return None;
            };
            let [host, Value::Int(port), ..] = master.as_slice() else { return None };
            let host = match host {
                Value::BulkString(text) if !text.is_empty() => String::from_utf8_lossy(text).into_owned(),
                // The node does not know its own name: the one it was asked by must do.
                _ => asked.host.clone(),
            };
            let address = Address { host, port: u16::try_from(*port).ok()? };
            map.assign(usize::try_from(*first).ok()?..usize::try_from(*last).ok()? + 1, &address);
        }
        (!map.nodes.is_empty()).then_some(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(host: &str, port: u16) -> Address {
        Address { host: host.into(), port }
    }

    #[test]
    fn the_map_is_read_and_corrected() {
        let node = |host: &str, port| {
            Value::Array(vec![Value::BulkString(host.as_bytes().to_vec()), Value::Int(port)])
        };
        let range = |first, last, node| Value::Array(vec![Value::Int(first), Value::Int(last), node]);
        let answer = Value::Array(vec![range(0, 8000, node("a", 1)), range(8001, 16_383, node("", 2))]);
        let mut map = SlotMap::read(&answer, &address("asked", 9)).unwrap();
        assert_eq!(map.nodes, [address("a", 1), address("asked", 2)]);
        assert_eq!(map.node_of(Some(b"foo")), Some(address("asked", 2)));
        map.assign(12_182..12_183, &address("c", 3));
        assert_eq!(map.node_of(Some(b"foo")), Some(address("c", 3)));
        assert!(SlotMap::read(&Value::Array(Vec::new()), &address("asked", 9)).is_none());
    }
}
