//! Configuration stores. The capability only reads, so that there is nothing to be checked about changes here.

use mecha_plugin_api::Metadata;
use mecha_plugin_api::configuration::ConfigurationStoreObject;

use crate::subject::{Subject, context, unique};
use crate::{Checked, Tell, because, is, run};

pub(crate) async fn all(subject: &Subject<'_>, tell: Tell<'_>) {
    run!(
        subject,
        tell,
        [the_back_end_answers, a_key_that_is_not_there_is_left_out, a_watch_opens_and_closes]
    );
}

async fn the_back_end_answers(subject: &Subject<'_>) -> Checked {
    let store: ConfigurationStoreObject = subject.open().await?;
    store.ping(context()).await.into_result().map_err(because)
}

async fn a_key_that_is_not_there_is_left_out(subject: &Subject<'_>) -> Checked {
    let store: ConfigurationStoreObject = subject.open().await?;
    let keys = vec![unique("key").into()];
    let items = store.get(context(), keys.into(), Metadata::new()).await.into_result().map_err(because)?;
    is("items", items.len(), 0)
}

async fn a_watch_opens_and_closes(subject: &Subject<'_>) -> Checked {
    let store: ConfigurationStoreObject = subject.open().await?;
    let keys = vec![unique("key").into()];
    let watch =
        store.subscribe(context(), keys.into(), Metadata::new()).await.into_result().map_err(because)?;
    let quiet = subject.row.quiet.as_nanos() as u64;
    let changes = watch.next(context(), 10, quiet).await.into_result().map_err(because)?;
    is("changes", changes.len(), 0)?;
    watch.close(context()).await.into_result().map_err(because)
}
