//! Input bindings.

use std::time::{Duration, Instant};

use mecha_plugin_api::Buf;
use mecha_plugin_api::binding::{InputBindingObject, InvokeRequest, OutputBindingObject};
use mecha_plugin_api::source::{Outcome, Settlement, SourceObject};

use crate::subject::{Subject, context, unique};
use crate::{Checked, Tell, because, run};

/// How long a pull that is to find something waits at most.
const PULL: Duration = Duration::from_millis(500);

pub(crate) async fn all(subject: &Subject<'_>, is_output: bool, tell: Tell<'_>) {
    run!(subject, tell, [the_back_end_answers, a_reader_opens_and_closes]);
    if is_output {
        run!(subject, tell, [what_is_sent_comes_in]);
    }
}

async fn the_back_end_answers(subject: &Subject<'_>) -> Checked {
    let binding: InputBindingObject = subject.open().await?;
    binding.ping(context()).await.into_result().map_err(because)
}

async fn read(subject: &Subject<'_>) -> Result<SourceObject, String> {
    let binding: InputBindingObject = subject.open().await?;
    binding.read(context()).await.into_result().map_err(because)
}

async fn close(source: SourceObject) -> Checked {
    source.close(context()).await.into_result().map_err(because)
}

async fn a_reader_opens_and_closes(subject: &Subject<'_>) -> Checked {
    close(read(subject).await?).await
}

/// For bindings that send to where they read from.
async fn what_is_sent_comes_in(subject: &Subject<'_>) -> Checked {
    let (source, text, started) = (read(subject).await?, unique("event"), Instant::now());
    let output: OutputBindingObject = subject.open().await?;
    let metadata = subject.row.publish_metadata.clone();
    let request = InvokeRequest { operation: "create".into(), data: Buf::from(text.clone()), metadata };
    output.invoke(context(), request).await.into_result().map_err(because)?;
    loop {
        let pulled =
            source.next(context(), 10, PULL.as_nanos() as u64).await.into_result().map_err(because)?;
        let seen = pulled.iter().any(|delivery| &*delivery.data == text.as_bytes());
        let settlements: Vec<_> = pulled
            .iter()
            .map(|delivery| Settlement { id: delivery.id, outcome: Outcome::ACK, delay_ns: 0 })
            .collect();
        source.settle(context(), settlements.into()).await.into_result().map_err(because)?;
        if seen {
            return close(source).await;
        }
        if started.elapsed() > subject.row.patience {
            return Err(format!("it did not come within {:?}", subject.row.patience));
        }
    }
}
