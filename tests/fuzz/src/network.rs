//! What other runtimes send: the frames of a call, and multicast packets.

use bytes::Bytes;
use mecha_invocation::fuzzing;

/// Largest message of the frames.
const LIMIT: usize = 4096;

/// The first byte says how large the pieces are that the rest arrives in.
pub(crate) fn grpc_frames(data: &[u8]) {
    let Some((size, data)) = data.split_first() else { return };
    let whole = fuzzing::frames(vec![Bytes::copy_from_slice(data)], LIMIT);
    let size = usize::from(*size).max(1);
    let pieces = data.chunks(size).map(Bytes::copy_from_slice).collect();
    assert_eq!(fuzzing::frames(pieces, LIMIT), whole, "the same however it is cut");
}

/// A packet that is read and written is read as the same packet again.
pub(crate) fn mdns_packets(data: &[u8]) {
    let Some(written) = fuzzing::packet(data) else { return };
    let Some(again) = fuzzing::packet(&written) else { panic!("what was written cannot be read") };
    assert_eq!(again, written);
}
