//! Object stores as the runtime calls them: requests with one answer, and the two streams.
//!
//! A stream holds the component's generation for as long as it runs, so that a plugin is not retired under it.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mecha_plugin_api::object::{
    CopyRequest, DeleteRequest, GetRequest, ListPage, ListRequest, ObjectFeatures, ObjectHead,
    ObjectStoreObject, PresignRequest, Presigned, PutRequest, ReadObject, WriteObject,
};
use mecha_plugin_api::{AbiFuture, Buf, CallContext, Error};
use tokio::runtime::Handle;

use crate::call::{Call, CallError};
use crate::component::Component;
use crate::drain::Open;
use crate::observe::Operation;
use crate::poll::Measured;

/// An object store.
pub type ObjectStore = Component<ObjectStoreObject>;

const GET: Operation<'static> = Operation::named("get");
const PUT: Operation<'static> = Operation::named("put");
const HEAD: Operation<'static> = Operation::named("head");
const DELETE: Operation<'static> = Operation::named("delete");
const LIST: Operation<'static> = Operation::named("list");
const COPY: Operation<'static> = Operation::named("copy");
const PRESIGN: Operation<'static> = Operation::named("presign");
/// How long the removal of an unfinished object may take.
const ABORT_LIMIT: Duration = Duration::from_secs(30);

/// Where the bytes of an object to be put come from.
pub trait ObjectSource: Send {
    /// The next bytes; `None` at the end. An error is a caller that broke off.
    fn next(&mut self) -> impl Future<Output = Option<Result<Bytes, String>>> + Send;
}

/// Why an object was not put.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// The store failed, or refused.
    #[error(transparent)]
    Store(#[from] CallError),
    /// Its bytes stopped coming.
    #[error("the object's bytes broke off: {0}")]
    BrokenOff(String),
    /// It has another size than was said.
    #[error("the object has {found} bytes and was said to have {said}")]
    Size {
        /// What was said.
        said: u64,
        /// What came, up to the piece that was too much.
        found: u64,
    },
}

/// An opened object on its way to the caller.
pub struct Download {
    /// What the store knows of it.
    pub head: ObjectHead,
    /// The first byte of what comes.
    pub first: u64,
    /// How many bytes come.
    pub length: u64,
    body: ReadObject,
    context: CallContext,
    component: String,
    open: Arc<Open<ObjectStoreObject>>,
}

impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, length) = (self.first, self.length);
        f.debug_struct("Download").field("first", &first).field("length", &length).finish_non_exhaustive()
    }
}

impl Download {
    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// [`CallError`]; nothing comes after it.
    pub async fn next(&mut self) -> Result<Option<Bytes>, CallError> {
        let reading = self.body.next(self.context.clone());
        let piece = step(&self.open, reading).await.map_err(|error| failed(&self.component, error))?;
        Ok(piece.into_option().map(Buf::into_bytes))
    }
}

impl ObjectStore {
    /// What the store can do.
    pub fn features(&self) -> ObjectFeatures {
        self.read(|store| store.features()).unwrap_or_default()
    }

    /// Opens an object.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn get(&self, call: &Call, request: GetRequest) -> Result<Download, CallError> {
        let open = self.hold().ok_or_else(|| self.gone())?;
        let opening = |store: &ObjectStoreObject, context| store.get(context, request);
        let opened = self.call_on(&open, call, GET, opening).await?;
        Ok(Download {
            head: opened.head,
            first: opened.first,
            length: opened.length,
            body: opened.body,
            context: call.context(call.trace.context.span_id),
            component: self.name().to_owned(),
            open,
        })
    }

    /// Puts an object. It appears whole or not at all: whatever ends this early, dropping it included, removes what was written.
    ///
    /// # Errors
    /// [`PutError`].
    pub async fn put(
        &self,
        call: &Call,
        request: PutRequest,
        source: impl ObjectSource,
    ) -> Result<ObjectHead, PutError> {
        let open = self.hold().ok_or_else(|| self.gone())?;
        let span = self.observer().start(call, PUT, &open.generation);
        let context = call.context(span.id());
        let putting = self.put_on(&open, context, request, source);
        let (result, times) = Measured::new(Box::pin(putting), Instant::now()).await;
        let ended = match &result {
            Ok(_) => None,
            Err(PutError::Store(error)) => Some(error.clone()),
            Err(error) => Some(failed(self.name(), Error::invalid(error.to_string()))),
        };
        self.observer().finish(span, PUT, &open.plugin, ended.as_ref(), &times);
        result
    }

    async fn put_on(
        &self,
        open: &Arc<Open<ObjectStoreObject>>,
        context: CallContext,
        request: PutRequest,
        mut source: impl ObjectSource,
    ) -> Result<ObjectHead, PutError> {
        let said = request.size.into_option();
        let failed = |error| PutError::Store(failed(self.name(), error));
        let begun = step(open, open.object.put(context.clone(), request)).await.map_err(failed)?;
        let upload = Unfinished::new(begun, context.clone(), open.clone());
        let mut found = 0;
        while let Some(piece) = source.next().await {
            let piece = piece.map_err(PutError::BrokenOff)?;
            found += piece.len() as u64;
            if said.is_some_and(|said| found > said) {
                break;
            }
            if !piece.is_empty() {
                let writing = upload.get().write(context.clone(), piece.into());
                step(open, writing).await.map_err(failed)?;
            }
        }
        if let Some(said) = said.filter(|said| *said != found) {
            return Err(PutError::Size { said, found });
        }
        let head = step(open, upload.get().finish(context)).await.map_err(failed)?;
        upload.finished();
        Ok(head)
    }

    /// What the store knows of an object.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn head(&self, call: &Call, request: GetRequest) -> Result<ObjectHead, CallError> {
        self.call_once(call, HEAD, |store, context| store.head(context, request)).await
    }

    /// Deletes an object.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn delete(&self, call: &Call, request: DeleteRequest) -> Result<(), CallError> {
        self.call_once(call, DELETE, |store, context| store.delete(context, request)).await
    }

    /// One page of a listing.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn list(&self, call: &Call, request: ListRequest) -> Result<ListPage, CallError> {
        self.call_once(call, LIST, |store, context| store.list(context, request)).await
    }

    /// Copies an object inside the store.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn copy(&self, call: &Call, request: CopyRequest) -> Result<ObjectHead, CallError> {
        self.call_once(call, COPY, |store, context| store.copy(context, request)).await
    }

    /// Makes an address for one object.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn presign(&self, call: &Call, request: PresignRequest) -> Result<Presigned, CallError> {
        self.call_once(call, PRESIGN, |store, context| store.presign(context, request)).await
    }

    pub(crate) fn capabilities(&self) -> Vec<&'static str> {
        if self.features().has(ObjectFeatures::PRESIGN) { vec!["PRESIGN"] } else { Vec::new() }
    }
}

/// One step of a stream: it has no span, but is measured like every other call into a plugin.
async fn step<T>(open: &Open<ObjectStoreObject>, future: AbiFuture<T>) -> Result<T, Error> {
    tokio::task::coop::consume_budget().await;
    let _in_flight = open.plugin.enter();
    let (answer, times) = Measured::new(future, Instant::now()).await;
    open.plugin.polled(times.longest_poll);
    answer.into_result()
}

fn failed(component: &str, error: Error) -> CallError {
    CallError::Plugin { component: component.to_owned(), error }
}

/// A begun object, aborted when it is dropped unfinished: after an error, and when the caller went away and took the whole
/// call with it. That is why the abort is a task of its own.
struct Unfinished(Option<Begun>);

struct Begun {
    upload: WriteObject,
    context: CallContext,
    open: Arc<Open<ObjectStoreObject>>,
}

impl Unfinished {
    fn new(upload: WriteObject, context: CallContext, open: Arc<Open<ObjectStoreObject>>) -> Self {
        Self(Some(Begun { upload, context, open }))
    }

    fn get(&self) -> &WriteObject {
        &self
            .0
            .as_ref()
            .expect("invariant: only `finished` and `drop` take it, and both end the value")
            .upload
    }

    fn finished(mut self) {
        self.0 = None;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let Some(begun) = self.0.take() else { return };
        // Without a runtime the process is ending, and dropping the upload is all that can be done.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(begun.abort());
        }
    }
}

impl Begun {
    async fn abort(self) {
        let aborting = step(&self.open, self.upload.abort(self.context.clone()));
        match tokio::time::timeout(ABORT_LIMIT, aborting).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "an unfinished object could not be removed"),
            Err(_) => tracing::warn!("an unfinished object could not be removed in time"),
        }
    }
}
