//! Objects as streams, and parts of them.

use mecha_plugin_api::object::PutRequest;
use mecha_plugin_api::{Buf, ErrorKind, ROption};

use super::store::{Store, get, key, part, put, read, refused};
use crate::subject::{Subject, context};
use crate::{Checked, because, is};

/// Large enough that stores cut it: S3 takes parts of 5 MiB and more.
const LARGE: usize = 17 * PIECE + 3;
const PIECE: usize = 1 << 20;

/// Bytes that are different everywhere, so that one that is lost, doubled or in the wrong place is noticed.
fn large() -> Vec<u8> {
    let mut bytes = Vec::with_capacity(LARGE + 4);
    (0..=LARGE as u32 / 4).for_each(|number| bytes.extend_from_slice(&number.to_be_bytes()));
    bytes.truncate(LARGE);
    bytes
}

/// With its size known from the start, and without.
pub(super) async fn an_object_streams_through(subject: &Subject<'_>) -> Checked {
    let (store, key, data) = (Store::open(subject).await?, key(), large());
    for size in [ROption::RSome(LARGE as u64), ROption::RNone] {
        let writer = store.begin(PutRequest { size, ..put(&key, LARGE) }).await.map_err(because)?;
        for piece in data.chunks(PIECE) {
            writer.write(context(), Buf::from(piece.to_vec())).await.into_result().map_err(because)?;
        }
        writer.finish(context()).await.into_result().map_err(because)?;
        is("size", store.head(&key).await?.size, LARGE as u64)?;
        store.holds(&key, &data).await?;
        // Across the places where it was cut.
        let (first, last) = (4 * PIECE as u64 + 1, 12 * PIECE as u64);
        let opened = store.get(part(&key, Some(first), Some(last))).await.map_err(because)?;
        let found = read(opened).await?;
        is("the part is the object's", found == data[first as usize..=last as usize], true)?;
        store.delete([&key]).await?;
    }
    Ok(())
}

pub(super) async fn parts_are_got(subject: &Subject<'_>) -> Checked {
    let (store, key, data) = (Store::open(subject).await?, key(), &b"0123456789"[..]);
    store.put(&key, data).await?;
    for (first, last, expected) in [
        (None, None, 0..10),
        (Some(2), Some(4), 2..5),
        (Some(0), Some(0), 0..1),
        (Some(7), None, 7..10),
        (Some(9), Some(u64::from(u32::MAX)), 9..10),
        (None, Some(3), 7..10),
        (None, Some(11), 0..10),
    ] {
        let what = format!("{first:?}-{last:?}");
        let opened = store.get(part(&key, first, last)).await.map_err(|error| format!("{what}: {error}"))?;
        is(&what, (opened.first, opened.length), (expected.start as u64, expected.len() as u64))?;
        is("size of the whole", opened.head.size, 10)?;
        is(&what, read(opened).await?.as_slice(), &data[expected])?;
    }
    store.delete([key]).await
}

pub(super) async fn a_part_outside_is_refused(subject: &Subject<'_>) -> Checked {
    let (store, key) = (Store::open(subject).await?, key());
    store.put(&key, b"0123456789").await?;
    for (first, last) in [(Some(10), None), (Some(10), Some(12))] {
        let got = store.get(part(&key, first, last)).await;
        refused(&format!("{first:?}-{last:?}"), got, ErrorKind::INVALID, Some("range"))?;
    }
    store.delete([key]).await
}

pub(super) async fn a_reader_that_goes_away_harms_nobody(subject: &Subject<'_>) -> Checked {
    let (store, key, data) = (Store::open(subject).await?, key(), large());
    store.put(&key, &data).await?;
    let opened = store.get(get(&key)).await.map_err(because)?;
    let piece = opened.body.next(context()).await.into_result().map_err(because)?;
    is("a first piece came", piece.is_some(), true)?;
    drop(opened);
    store.holds(&key, &data).await?;
    store.delete([key]).await
}
