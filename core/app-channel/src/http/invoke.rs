//! Another application's calls, over HTTP: passed on as they are, whatever the status of the answer.

use http::{HeaderMap, Method, Response};
use mecha_observability::Propagated;

use super::HttpApp;
use crate::body::{BodyStream, Outgoing, placed};
use crate::error::AppError;

impl HttpApp {
    /// Passes one call on. `path` is escaped and has its query; of the headers the runtime's own go before the caller's. The
    /// answer's body takes the call's place until it is read or dropped.
    ///
    /// # Errors
    /// [`AppError`] when there is no answer at all.
    pub async fn invoke(
        &self,
        method: Method,
        path: &str,
        mut headers: HeaderMap,
        body: Outgoing,
        trace: &Propagated,
    ) -> Result<Response<BodyStream>, AppError> {
        for (name, value) in self.0.headers(trace) {
            if let Some(name) = name {
                headers.insert(name, value);
            }
        }
        let request = self.request(method, path, headers, body)?;
        let place = self.0.owned_place().await;
        match self.around() {
            None => Ok(self.dispatch(request).await?.map(|body| placed(body, place))),
            Some(around) => Ok(self.through(around, request).await?.map(|body| placed(body, place))),
        }
    }
}
