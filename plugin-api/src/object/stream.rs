//! The two streams of an object store: bytes that the host pulls, and bytes that it pushes.

use std::future::Future;
use std::sync::Arc;

use abi_stable::sabi_trait;
use abi_stable::std_types::{RBox, ROption};
use tokio::sync::Mutex;

use super::values::{ObjectHead, Opened};
use crate::instance::{AbiFuture, ComponentScope, Shared};
use crate::{Buf, CallContext, Result};

/// The bytes of an opened object, piece by piece. Dropped when they are through or the caller went away.
pub trait Read: Send + 'static {
    /// The next piece, never an empty one; `None` at the end. Pieces of 64 KiB to 1 MiB serve best: each stays in memory until
    /// the caller's socket has taken it.
    ///
    /// # Errors
    /// Any kind; the object counts as broken off.
    fn next(&mut self, context: &CallContext) -> impl Future<Output = Result<Option<Buf>>> + Send;
}

/// An object that is being written. The host calls one method at a time, and at last either [`Write::finish`] or
/// [`Write::abort`]; the latter also after an error or a call that it gave up half-way.
pub trait Write: Send + 'static {
    /// Takes the next piece; returns when there is room for another one.
    ///
    /// # Errors
    /// Any kind; the host then aborts.
    fn write(&mut self, context: &CallContext, piece: Buf) -> impl Future<Output = Result<()>> + Send;

    /// Makes the object appear, durably.
    ///
    /// # Errors
    /// [`crate::ErrorKind::ETAG_MISMATCH`] when a condition does not hold, or any kind; the host then aborts.
    fn finish(&mut self, context: &CallContext) -> impl Future<Output = Result<ObjectHead>> + Send;

    /// Removes every trace of what was written.
    ///
    /// # Errors
    /// Any kind; the host can only tell its log.
    fn abort(&mut self, context: &CallContext) -> impl Future<Output = Result<()>> + Send;
}

/// [`Read`] at the boundary.
#[sabi_trait]
pub trait ReadAbi: Send + Sync {
    /// See [`Read::next`].
    #[sabi(last_prefix_field)]
    fn next(&self, context: CallContext) -> AbiFuture<ROption<Buf>>;
}

/// An open body as it crosses the boundary.
pub type ReadObject = ReadAbi_TO<'static, RBox<()>>;

/// [`Write`] at the boundary.
#[sabi_trait]
pub trait WriteAbi: Send + Sync {
    /// See [`Write::write`].
    fn write(&self, context: CallContext, piece: Buf) -> AbiFuture<()>;
    /// See [`Write::finish`].
    fn finish(&self, context: CallContext) -> AbiFuture<ObjectHead>;
    /// See [`Write::abort`].
    #[sabi(last_prefix_field)]
    fn abort(&self, context: CallContext) -> AbiFuture<()>;
}

/// A begun object as it crosses the boundary.
pub type WriteObject = WriteAbi_TO<'static, RBox<()>>;

type Make<T> = Box<dyn FnOnce(Arc<ComponentScope>) -> T + Send>;

/// An object that a plugin has opened, on its way to the host.
pub struct Body {
    head: ObjectHead,
    first: u64,
    length: u64,
    read: Make<ReadObject>,
}

impl Body {
    /// `length` bytes from `first` on, of the object that `head` describes.
    pub fn new(head: ObjectHead, first: u64, length: u64, read: impl Read) -> Self {
        let make = move |scope| {
            let adapter = Adapter(Shared::new(Mutex::new(read), scope));
            ReadAbi_TO::from_value(adapter, abi_stable::sabi_trait::TD_Opaque)
        };
        Self { head, first, length, read: Box::new(make) }
    }

    pub(crate) fn into_opened(self, scope: Arc<ComponentScope>) -> Opened {
        Opened { head: self.head, first: self.first, length: self.length, body: (self.read)(scope) }
    }
}

/// An object that a plugin has begun, on its way to the host.
pub struct Upload(Make<WriteObject>);

impl Upload {
    /// Wraps what takes the bytes.
    pub fn new(write: impl Write) -> Self {
        Self(Box::new(move |scope| {
            let adapter = Adapter(Shared::new(Mutex::new(write), scope));
            WriteAbi_TO::from_value(adapter, abi_stable::sabi_trait::TD_Opaque)
        }))
    }

    pub(crate) fn into_object(self, scope: Arc<ComponentScope>) -> WriteObject {
        (self.0)(scope)
    }
}

/// The lock is never waited for: the host makes one call at a time.
struct Adapter<T: Send + 'static>(Shared<Mutex<T>>);

impl<R: Read> ReadAbi for Adapter<R> {
    fn next(&self, context: CallContext) -> AbiFuture<ROption<Buf>> {
        self.0.call(context, |read, context| async move {
            read.lock().await.next(&context).await.map(ROption::from)
        })
    }
}

impl<W: Write> WriteAbi for Adapter<W> {
    fn write(&self, context: CallContext, piece: Buf) -> AbiFuture<()> {
        self.0.call(context, |write, context| async move { write.lock().await.write(&context, piece).await })
    }

    fn finish(&self, context: CallContext) -> AbiFuture<ObjectHead> {
        self.0.call(context, |write, context| async move { write.lock().await.finish(&context).await })
    }

    fn abort(&self, context: CallContext) -> AbiFuture<()> {
        self.0.call(context, |write, context| async move { write.lock().await.abort(&context).await })
    }
}
