//! Cryptography. Documents are encrypted by the runtime; what a plugin does is to wrap their keys and to unwrap them, with the
//! keys that the row names.

use mecha_plugin_api::crypto::{CryptoObject, KeyRequest};
use mecha_plugin_api::{Buf, Error, ErrorKind, Metadata};

use crate::row::Key;
use crate::subject::{Subject, context, unique};
use crate::{Checked, Tell, because, is, run};

/// As long as the keys that the runtime makes for documents; nothing that another key could give by chance.
const SECRET: &[u8; 32] = b"a key of 256 bits, for one check";

pub(crate) async fn all(subject: &Subject<'_>, tell: Tell<'_>) {
    run!(
        subject,
        tell,
        [
            the_back_end_answers,
            what_is_wrapped_is_unwrapped,
            what_was_changed_is_not_unwrapped,
            another_key_does_not_unwrap,
            a_key_that_is_not_there_is_not_found,
            an_algorithm_that_it_lacks_is_refused,
        ]
    );
}

struct Keys<'a> {
    crypto: CryptoObject,
    keys: &'a [Key],
}

impl<'a> Keys<'a> {
    async fn open(subject: &Subject<'a>) -> Result<Self, String> {
        let (crypto, keys) = (subject.open().await?, &*subject.row.keys);
        if keys.is_empty() {
            return Err("the row names no key; list some under conformance.keys".to_owned());
        }
        Ok(Self { crypto, keys })
    }

    async fn wrap(&self, key: &Key, plain: &[u8]) -> Result<Vec<u8>, Error> {
        let wrapped = self.crypto.wrap_key(context(), request(key, plain)).await.into_result();
        wrapped.map(|wrapped| wrapped.to_vec())
    }

    async fn unwrap(&self, key: &Key, wrapped: &[u8]) -> Result<Vec<u8>, Error> {
        let plain = self.crypto.unwrap_key(context(), request(key, wrapped)).await.into_result();
        plain.map(|plain| plain.to_vec())
    }

    /// It does not give the secret; what it may say is not that the key is missing.
    async fn keeps(&self, what: &str, key: &Key, wrapped: &[u8]) -> Checked {
        match self.unwrap(key, wrapped).await {
            Err(error) => {
                is(&format!("{what}: the kind of {error}"), error.kind() == ErrorKind::NOT_FOUND, false)
            }
            Ok(_) => Err(format!("{what}: {} unwrapped it", key.name)),
        }
    }
}

fn request(key: &Key, bytes: &[u8]) -> KeyRequest {
    KeyRequest {
        key_name: key.name.as_str().into(),
        algorithm: key.algorithm.as_str().into(),
        key: Buf::from(bytes.to_vec()),
        metadata: Metadata::new(),
    }
}

async fn the_back_end_answers(subject: &Subject<'_>) -> Checked {
    let crypto: CryptoObject = subject.open().await?;
    crypto.ping(context()).await.into_result().map_err(because)
}

async fn what_is_wrapped_is_unwrapped(subject: &Subject<'_>) -> Checked {
    let keys = Keys::open(subject).await?;
    for key in keys.keys {
        let said = |error: Error| format!("{} with {}: {error}", key.algorithm, key.name);
        let wrapped = keys.wrap(key, SECRET).await.map_err(said)?;
        let shows = wrapped.windows(SECRET.len()).any(|part| part == SECRET);
        is("the wrapped key shows the key", shows, false)?;
        // Secrets are not printed, those of a check neither.
        let same = keys.unwrap(key, &wrapped).await.map_err(said)? == SECRET;
        is(&format!("{} with {} gives the key back", key.algorithm, key.name), same, true)?;
    }
    Ok(())
}

async fn what_was_changed_is_not_unwrapped(subject: &Subject<'_>) -> Checked {
    let keys = Keys::open(subject).await?;
    for key in keys.keys {
        let wrapped = keys.wrap(key, SECRET).await.map_err(because)?;
        for place in [0, wrapped.len() / 2, wrapped.len() - 1] {
            let mut changed = wrapped.clone();
            changed[place] ^= 1;
            keys.keeps("one bit is another", key, &changed).await?;
        }
        keys.keeps("it is cut", key, &wrapped[..wrapped.len() - 8]).await?;
        keys.keeps("it is empty", key, &[]).await?;
    }
    Ok(())
}

/// For rows with two keys of one algorithm.
async fn another_key_does_not_unwrap(subject: &Subject<'_>) -> Checked {
    let keys = Keys::open(subject).await?;
    for key in keys.keys {
        let wrapped = keys.wrap(key, SECRET).await.map_err(because)?;
        for other in keys.keys.iter().filter(|other| other.name != key.name) {
            keys.keeps("another key", other, &wrapped).await?;
        }
    }
    Ok(())
}

async fn a_key_that_is_not_there_is_not_found(subject: &Subject<'_>) -> Checked {
    let keys = Keys::open(subject).await?;
    for key in keys.keys {
        let missing = Key { name: unique("key"), ..key.clone() };
        for result in [keys.wrap(&missing, SECRET).await, keys.unwrap(&missing, SECRET).await] {
            is("kind of error", result.map_err(|error| error.kind()).map(drop), Err(ErrorKind::NOT_FOUND))?;
        }
    }
    Ok(())
}

async fn an_algorithm_that_it_lacks_is_refused(subject: &Subject<'_>) -> Checked {
    let keys = Keys::open(subject).await?;
    for key in keys.keys {
        let unknown = Key { algorithm: "MECHA-NO-ALGORITHM".to_owned(), ..key.clone() };
        for result in [keys.wrap(&unknown, SECRET).await, keys.unwrap(&unknown, SECRET).await] {
            is("kind of error", result.map_err(|error| error.kind()).map(drop), Err(ErrorKind::UNSUPPORTED))?;
        }
    }
    Ok(())
}
