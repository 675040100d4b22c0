//! Secret stores.

use mecha_plugin_api::secret::SecretStoreObject;
use mecha_plugin_api::{ErrorKind, Metadata};

use crate::row::Lack;
use crate::subject::{Subject, context, unique};
use crate::{Checked, Tell, because, is, run};

pub(crate) async fn all(subject: &Subject<'_>, tell: Tell<'_>) {
    run!(
        subject,
        tell,
        [the_back_end_answers, each_secret_of_a_bulk_is_read_alone, a_secret_that_is_not_there_is_not_found]
    );
}

async fn the_back_end_answers(subject: &Subject<'_>) -> Checked {
    let store: SecretStoreObject = subject.open().await?;
    store.ping(context()).await.into_result().map_err(because)
}

async fn each_secret_of_a_bulk_is_read_alone(subject: &Subject<'_>) -> Checked {
    let store: SecretStoreObject = subject.open().await?;
    let secrets = store.bulk_get(context(), Metadata::new()).await.into_result().map_err(because)?;
    if secrets.is_empty() {
        return Err("the store holds nothing that could be read; give it one secret".to_owned());
    }
    for secret in secrets {
        let alone = store.get(context(), secret.name.clone(), Metadata::new()).await;
        let alone = alone.into_result().map_err(because)?;
        let same = secret.data.iter().all(|(key, value)| alone.get(key) == Some(value));
        // The values themselves are nobody's business.
        is("the values of a secret are the same in a bulk and alone", same, true)?;
        if !store.has_multiple_keys() {
            is("keys", secret.data.iter().count(), 1)?;
        }
    }
    Ok(())
}

async fn a_secret_that_is_not_there_is_not_found(subject: &Subject<'_>) -> Checked {
    let store: SecretStoreObject = subject.open().await?;
    if !subject.row.has(Lack::NotFound) {
        return Ok(());
    }
    match store.get(context(), unique("secret").into(), Metadata::new()).await.into_result() {
        Err(error) if error.kind() == ErrorKind::NOT_FOUND => Ok(()),
        Err(error) => Err(format!("another kind of error: {error}")),
        Ok(_) => Err("there is one".to_owned()),
    }
}
