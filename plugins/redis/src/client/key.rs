//! Which key a command is about, and which of a cluster's slots that key belongs to.

use redis::{Arg, Cmd};

/// How many slots a cluster shares out.
pub(crate) const SLOTS: usize = 16_384;

/// The first key of a command; `None` for a command that any node can answer.
pub(crate) fn key_of(command: &Cmd) -> Option<&[u8]> {
    let name = argument(command, 0)?.to_ascii_uppercase();
    match name.as_slice() {
        b"PING" | b"INFO" | b"WAIT" | b"SCAN" | b"CONFIG" | b"CLIENT" | b"SCRIPT" | b"ROLE" | b"CLUSTER" => {
            None
        }
        b"EVAL" | b"EVALSHA" => argument(command, 3),
        b"XGROUP" | b"XINFO" => argument(command, 2),
        b"XREADGROUP" => {
            let at = arguments(command).position(|argument| argument.eq_ignore_ascii_case(b"STREAMS"))?;
            argument(command, at + 1)
        }
        _ => argument(command, 1),
    }
}

/// The slot of a key: of the part in its first braces when there is one, so that keys can be kept together.
pub(crate) fn slot(key: &[u8]) -> usize {
    usize::from(crc16(hash_tag(key))) % SLOTS
}

fn hash_tag(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|byte| *byte == b'{') else { return key };
    let rest = &key[open + 1..];
    match rest.iter().position(|byte| *byte == b'}') {
        None | Some(0) => key,
        Some(close) => &rest[..close],
    }
}

/// CRC-16/XMODEM, as the cluster specification asks for.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

fn arguments(command: &Cmd) -> impl Iterator<Item = &[u8]> {
    command.args_iter().map(|argument| match argument {
        Arg::Simple(bytes) => bytes,
        _ => &[],
    })
}

fn argument(command: &Cmd, at: usize) -> Option<&[u8]> {
    arguments(command).nth(at)
}

#[cfg(test)]
mod tests {
    use redis::cmd;

    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot(b"foo"), 12_182);
        assert_eq!(slot(b"{user1000}.following"), slot(b"user1000"));
        assert_eq!(slot(b"foo{}{bar}"), usize::from(crc16(b"foo{}{bar}")) % SLOTS);
        assert_eq!(slot(b"foo{{bar}}zap"), slot(b"{bar"));
    }

    #[test]
    fn keys_are_found_where_each_command_has_them() {
        assert_eq!(key_of(cmd("HGET").arg("k").arg("f")), Some(&b"k"[..]));
        assert_eq!(key_of(cmd("EVALSHA").arg("hash").arg(1).arg("k").arg("v")), Some(&b"k"[..]));
        assert_eq!(key_of(cmd("XGROUP").arg("CREATE").arg("s").arg("g")), Some(&b"s"[..]));
        let read = &["GROUP", "g", "c", "COUNT", "1", "STREAMS", "s", ">"];
        assert_eq!(key_of(cmd("XREADGROUP").arg(read)), Some(&b"s"[..]));
        assert_eq!(key_of(&cmd("PING")), None);
    }
}
