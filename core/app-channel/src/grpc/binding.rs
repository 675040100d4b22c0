//! Events of input bindings over gRPC.

use bytes::Bytes;
use mecha_observability::Propagated;
use mecha_proto::common::v1 as common;
use mecha_proto::runtime::v1 as pb;
use mecha_proto::runtime::v1::binding_event_response::BindingEventConcurrency;

use super::GrpcApp;
use crate::error::AppError;
use crate::{BindingAnswer, StateAnswer};

impl GrpcApp {
    /// The input bindings that the application wants; none when it does not have the method.
    ///
    /// # Errors
    /// [`AppError`].
    pub async fn input_bindings(&self) -> Result<Vec<String>, AppError> {
        let request = self.request((), &Propagated::default());
        match self.callback().list_input_bindings(request).await.map_err(AppError::from) {
            Ok(answer) => Ok(answer.into_inner().bindings),
            Err(error) if error.is_unimplemented() => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Hands over one event of the binding `name`.
    ///
    /// # Errors
    /// [`AppError`]; then the event is to be delivered again.
    pub async fn binding_event<'a>(
        &self,
        name: &str,
        data: Bytes,
        metadata: impl IntoIterator<Item = (&'a str, &'a str)>,
        trace: &Propagated,
    ) -> Result<BindingAnswer, AppError> {
        let metadata = metadata.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let event = pb::BindingEventRequest { name: name.to_owned(), data, metadata };
        let _place = self.0.place().await;
        let answer = self.callback().on_binding_event(self.request(event, trace)).await?.into_inner();
        let parallel = answer.concurrency() == BindingEventConcurrency::Parallel;
        Ok(BindingAnswer {
            // As in Dapr data that is no JSON counts as none.
            data: serde_json::from_slice(&answer.data).ok(),
            parallel,
            to: answer.to,
            store: answer.store_name,
            state: answer.states.into_iter().map(StateAnswer::from).collect(),
        })
    }
}

impl From<common::StateItem> for StateAnswer {
    fn from(item: common::StateItem) -> Self {
        Self {
            key: item.key,
            value: item.value,
            is_json: false,
            etag: item.etag.map(|etag| etag.value),
            metadata: item.metadata.into_iter().collect(),
        }
    }
}
