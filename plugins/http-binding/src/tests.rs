//! Tests against a small server on loopback.

mod boundary;
mod redirect;
mod request;
mod response;
mod secure;
mod server;

use mecha_plugin_api::binding::{InvokeRequest, InvokeResponse, OutputBinding};
use mecha_plugin_api::{Buf, CallContext, ComponentSpec, Metadata, Result};

use crate::binding::HttpBinding;

pub(crate) fn context() -> CallContext {
    CallContext::background("app")
}

pub(crate) fn spec(url: &str, more: &[(&str, &str)]) -> ComponentSpec {
    let mut metadata = Metadata::from_iter(more.iter().copied());
    metadata.insert("url", url);
    ComponentSpec::new("http", "bindings.http", metadata)
}

pub(crate) async fn opened(url: &str, more: &[(&str, &str)]) -> HttpBinding {
    HttpBinding::open(spec(url, more)).await.unwrap()
}

pub(crate) fn request(operation: &str, data: &str, metadata: &[(&str, &str)]) -> InvokeRequest {
    InvokeRequest {
        operation: operation.into(),
        data: Buf::from(data.to_owned()),
        metadata: Metadata::from_iter(metadata.iter().copied()),
    }
}

pub(crate) async fn invoke(
    binding: &HttpBinding,
    operation: &str,
    data: &str,
    metadata: &[(&str, &str)],
) -> Result<InvokeResponse> {
    binding.invoke(&context(), request(operation, data, metadata)).await
}
