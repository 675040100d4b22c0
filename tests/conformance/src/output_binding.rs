//! Output bindings.

use mecha_plugin_api::binding::{InvokeRequest, InvokeResponse, OutputBindingObject};
use mecha_plugin_api::{Buf, Error, Metadata};

use crate::subject::{Subject, context, unique};
use crate::{Checked, Tell, because, is, run};

pub(crate) async fn all(subject: &Subject<'_>, tell: Tell<'_>) {
    run!(
        subject,
        tell,
        [the_back_end_answers, an_operation_that_it_lacks_is_refused, what_is_created_is_read_and_deleted]
    );
}

async fn invoke(
    binding: &OutputBindingObject,
    operation: &str,
    data: &[u8],
    metadata: &Metadata,
) -> Result<InvokeResponse, Error> {
    let request = InvokeRequest {
        operation: operation.into(),
        data: Buf::from(data.to_vec()),
        metadata: metadata.clone(),
    };
    binding.invoke(context(), request).await.into_result()
}

async fn the_back_end_answers(subject: &Subject<'_>) -> Checked {
    let binding: OutputBindingObject = subject.open().await?;
    is("it has no operation", binding.operations().is_empty(), false)?;
    binding.ping(context()).await.into_result().map_err(because)
}

async fn an_operation_that_it_lacks_is_refused(subject: &Subject<'_>) -> Checked {
    let binding: OutputBindingObject = subject.open().await?;
    match invoke(&binding, "mecha-no-operation", b"", &Metadata::new()).await {
        Err(_) => Ok(()),
        Ok(_) => Err("it did what it does not have".to_owned()),
    }
}

/// For bindings over a store; those that only send have nothing to read.
async fn what_is_created_is_read_and_deleted(subject: &Subject<'_>) -> Checked {
    let binding: OutputBindingObject = subject.open().await?;
    let operations = binding.operations();
    if !["create", "get", "delete"].iter().all(|wanted| operations.iter().any(|has| has == wanted)) {
        return Ok(());
    }
    let metadata = Metadata::from_iter([(subject.row.key.as_str(), unique("key").as_str())]);
    for value in [&b"one"[..], b"two"] {
        invoke(&binding, "create", value, &metadata).await.map_err(because)?;
        let found = invoke(&binding, "get", b"", &metadata).await.map_err(because)?;
        is("data", &*found.data, value)?;
    }
    invoke(&binding, "delete", b"", &metadata).await.map_err(because)?;
    match invoke(&binding, "get", b"", &metadata).await {
        Err(_) => Ok(()),
        Ok(found) => is("data after the deletion", &*found.data, &b""[..]),
    }
}
