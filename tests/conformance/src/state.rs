//! State stores.

use std::time::{Duration, Instant};

use mecha_plugin_api::state::{
    Concurrency, Consistency, DeleteRequest, GetRequest, SetRequest, StateFeatures, StateItem,
    StateOperation, StateStoreObject, ValueKind,
};
use mecha_plugin_api::{Buf, Error, ErrorKind, Metadata, ROption};

use crate::subject::{Subject, context, unique};
use crate::{Checked, Tell, because, is, run};

/// Between two looks at a key that is to expire.
const LOOK: Duration = Duration::from_millis(100);
/// One mebibyte: what applications do keep under one key.
const LARGE: usize = 1 << 20;

pub(crate) async fn all(subject: &Subject<'_>, tell: Tell<'_>) {
    run!(
        subject,
        tell,
        [
            the_back_end_answers,
            what_is_written_is_read,
            any_bytes_and_any_key_are_kept,
            a_key_that_is_not_there_is_none,
            a_deletion_deletes_also_what_is_not_there,
            a_write_that_names_the_etag_holds,
            a_stale_etag_is_refused,
            a_first_write_does_not_overwrite,
            a_bulk_reads_each_key,
            a_bulk_writes_and_deletes_each_key,
            a_transaction_applies_all_or_nothing,
            a_key_expires,
        ]
    );
}

struct Store {
    store: StateStoreObject,
    patience: Duration,
}

impl Store {
    async fn open(subject: &Subject<'_>) -> Result<Self, String> {
        Ok(Self { store: subject.open().await?, patience: subject.row.patience })
    }

    fn has(&self, feature: StateFeatures) -> bool {
        self.store.features().has(feature)
    }

    async fn get(&self, key: &str) -> Result<Option<StateItem>, String> {
        let item = self.store.get(context(), get(key)).await.into_result();
        item.map(ROption::into_option).map_err(because)
    }

    async fn value(&self, key: &str) -> Result<Option<Vec<u8>>, String> {
        Ok(self.get(key).await?.map(|item| item.value.to_vec()))
    }

    async fn etag(&self, key: &str) -> Result<String, String> {
        let item = self.get(key).await?.ok_or("the key is not there")?;
        item.etag
            .into_option()
            .map(String::from)
            .ok_or_else(|| "the store has etags but gave none".to_owned())
    }

    async fn set(&self, request: SetRequest) -> Result<(), Error> {
        self.store.set(context(), request).await.into_result()
    }

    async fn write(&self, key: &str, value: &[u8]) -> Checked {
        self.set(set(key, value)).await.map_err(because)
    }

    async fn delete(&self, request: DeleteRequest) -> Result<(), Error> {
        self.store.delete(context(), request).await.into_result()
    }
}

fn get(key: &str) -> GetRequest {
    GetRequest { key: key.into(), consistency: Consistency::UNSPECIFIED, metadata: Metadata::new() }
}

fn set(key: &str, value: &[u8]) -> SetRequest {
    SetRequest {
        key: key.into(),
        value: Buf::from(value.to_vec()),
        kind: ValueKind::BYTES,
        etag: ROption::RNone,
        concurrency: Concurrency::UNSPECIFIED,
        consistency: Consistency::UNSPECIFIED,
        metadata: Metadata::new(),
    }
}

fn delete(key: &str) -> DeleteRequest {
    DeleteRequest {
        key: key.into(),
        etag: ROption::RNone,
        concurrency: Concurrency::UNSPECIFIED,
        consistency: Consistency::UNSPECIFIED,
        metadata: Metadata::new(),
    }
}

/// A key as the runtime gives it, with the application's prefix.
fn key() -> String {
    format!("check||{}", unique("key"))
}

fn refused(result: Result<(), Error>, kind: ErrorKind) -> Checked {
    match result {
        Err(error) if error.kind() == kind => Ok(()),
        Err(error) => Err(format!("another kind of error: {error}")),
        Ok(()) => Err("it was not refused".to_owned()),
    }
}

async fn the_back_end_answers(subject: &Subject<'_>) -> Checked {
    let Store { store, .. } = Store::open(subject).await?;
    store.ping(context()).await.into_result().map_err(because)
}

async fn what_is_written_is_read(subject: &Subject<'_>) -> Checked {
    let (store, key) = (Store::open(subject).await?, key());
    for value in [r#"{"order":7}"#, r#""text""#, "null", "12"] {
        let request = SetRequest { kind: ValueKind::JSON, ..set(&key, value.as_bytes()) };
        store.set(request).await.map_err(because)?;
        is("value", store.value(&key).await?, Some(value.as_bytes().to_vec()))?;
    }
    Ok(())
}

async fn any_bytes_and_any_key_are_kept(subject: &Subject<'_>) -> Checked {
    let store = Store::open(subject).await?;
    let large: Vec<u8> = (0..LARGE).map(|number| (number % 251) as u8).collect();
    let values: [&[u8]; 4] = [b"", b"\0\xff\xfe", "größer".as_bytes(), &large];
    for value in values {
        let key = format!("{}/with space|{{}}*?[ü]'\"%", key());
        store.write(&key, value).await?;
        let found = store.value(&key).await?.ok_or("the key is not there")?;
        is("length", found.len(), value.len())?;
        is("equal", found == value, true)?;
    }
    Ok(())
}

async fn a_key_that_is_not_there_is_none(subject: &Subject<'_>) -> Checked {
    let store = Store::open(subject).await?;
    is("value", store.value(&key()).await?, None)
}

async fn a_deletion_deletes_also_what_is_not_there(subject: &Subject<'_>) -> Checked {
    let (store, key) = (Store::open(subject).await?, key());
    store.write(&key, b"1").await?;
    for _ in 0..2 {
        store.delete(delete(&key)).await.map_err(because)?;
        is("value", store.value(&key).await?, None)?;
    }
    Ok(())
}

async fn a_write_that_names_the_etag_holds(subject: &Subject<'_>) -> Checked {
    let (store, key) = (Store::open(subject).await?, key());
    if !store.has(StateFeatures::ETAG) {
        return Ok(());
    }
    store.write(&key, b"1").await?;
    let first = store.etag(&key).await?;
    let request = SetRequest { etag: ROption::RSome(first.as_str().into()), ..set(&key, b"2") };
    store.set(request).await.map_err(because)?;
    let second = store.etag(&key).await?;
    is("the etag is the same after a write", first == second, false)?;
    let request = DeleteRequest { etag: ROption::RSome(second.into()), ..delete(&key) };
    store.delete(request).await.map_err(because)?;
    is("value", store.value(&key).await?, None)
}

async fn a_stale_etag_is_refused(subject: &Subject<'_>) -> Checked {
    let (store, key) = (Store::open(subject).await?, key());
    if !store.has(StateFeatures::ETAG) {
        return Ok(());
    }
    store.write(&key, b"1").await?;
    let stale = store.etag(&key).await?;
    store.write(&key, b"2").await?;
    let etag = || ROption::RSome(stale.as_str().into());
    refused(store.set(SetRequest { etag: etag(), ..set(&key, b"3") }).await, ErrorKind::ETAG_MISMATCH)?;
    refused(store.delete(DeleteRequest { etag: etag(), ..delete(&key) }).await, ErrorKind::ETAG_MISMATCH)?;
    is("value", store.value(&key).await?, Some(b"2".to_vec()))
}

async fn a_first_write_does_not_overwrite(subject: &Subject<'_>) -> Checked {
    let (store, key) = (Store::open(subject).await?, key());
    if !store.has(StateFeatures::ETAG) {
        return Ok(());
    }
    let first = |value: &[u8]| SetRequest { concurrency: Concurrency::FIRST_WRITE, ..set(&key, value) };
    store.set(first(b"1")).await.map_err(because)?;
    // Dapr's stores differ in the kind of error, since no etag was given.
    is("refused", store.set(first(b"2")).await.is_err(), true)?;
    is("value", store.value(&key).await?, Some(b"1".to_vec()))
}

async fn a_bulk_reads_each_key(subject: &Subject<'_>) -> Checked {
    let store = Store::open(subject).await?;
    let keys: Vec<_> = (0..20).map(|_| key()).collect();
    for (number, key) in keys.iter().enumerate().filter(|(number, _)| number % 2 == 0) {
        store.write(key, number.to_string().as_bytes()).await?;
    }
    let requests: Vec<_> = keys.iter().map(|key| get(key)).collect();
    let items = store.store.bulk_get(context(), requests.into(), 4).await.into_result().map_err(because)?;
    is("items", items.len(), keys.len())?;
    for (number, key) in keys.iter().enumerate() {
        let item = items.iter().find(|item| item.key == key.as_str()).ok_or("a key is not answered")?;
        let found = item.result.clone().into_result().map_err(because)?.into_option();
        let found = found.map(|item| item.value.to_vec());
        let expected = (number % 2 == 0).then(|| number.to_string().into_bytes());
        is("value", found, expected)?;
    }
    Ok(())
}

async fn a_bulk_writes_and_deletes_each_key(subject: &Subject<'_>) -> Checked {
    let store = Store::open(subject).await?;
    let keys: Vec<_> = (0..20).map(|_| key()).collect();
    let writes: Vec<_> = keys.iter().map(|key| set(key, key.as_bytes())).collect();
    store.store.bulk_set(context(), writes.into()).await.into_result().map_err(because)?;
    for key in &keys {
        is("value", store.value(key).await?, Some(key.clone().into_bytes()))?;
    }
    let deletions: Vec<_> = keys.iter().map(|key| delete(key)).collect();
    store.store.bulk_delete(context(), deletions.into()).await.into_result().map_err(because)?;
    for key in &keys {
        is("value", store.value(key).await?, None)?;
    }
    Ok(())
}

async fn a_transaction_applies_all_or_nothing(subject: &Subject<'_>) -> Checked {
    let store = Store::open(subject).await?;
    if !store.has(StateFeatures::TRANSACTIONAL) {
        return Ok(());
    }
    let (first, second) = (key(), key());
    store.write(&second, b"0").await?;
    let transact = async |operations: Vec<StateOperation>| {
        store.store.transact(context(), operations.into(), Metadata::new()).await.into_result()
    };
    let writes = vec![StateOperation::Upsert(set(&first, b"1")), StateOperation::Delete(delete(&second))];
    transact(writes).await.map_err(because)?;
    is("written", store.value(&first).await?, Some(b"1".to_vec()))?;
    is("deleted", store.value(&second).await?, None)?;
    if !store.has(StateFeatures::ETAG) {
        return Ok(());
    }
    let stale = store.etag(&first).await?;
    store.write(&first, b"2").await?;
    let late = SetRequest { etag: ROption::RSome(stale.into()), ..set(&first, b"3") };
    let result =
        transact(vec![StateOperation::Upsert(set(&second, b"3")), StateOperation::Upsert(late)]).await;
    if result.is_ok() {
        return Err("a stale etag did not stop it".to_owned());
    }
    is("not written", store.value(&second).await?, None)?;
    is("not overwritten", store.value(&first).await?, Some(b"2".to_vec()))
}

async fn a_key_expires(subject: &Subject<'_>) -> Checked {
    let (store, key) = (Store::open(subject).await?, key());
    if !store.has(StateFeatures::TTL) {
        return Ok(());
    }
    let metadata = Metadata::from_iter([("ttlInSeconds", "1")]);
    let written = Instant::now();
    store.set(SetRequest { metadata, ..set(&key, b"1") }).await.map_err(because)?;
    is("value", store.value(&key).await?, Some(b"1".to_vec()))?;
    while store.value(&key).await?.is_some() {
        if written.elapsed() > store.patience {
            return Err(format!("it is still there after {:?}", written.elapsed()));
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}
