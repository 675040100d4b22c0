//! One running instance of a plugin library: its runtime thread, and the scope that every call is polled in.

use std::any::Any;
use std::cell::Cell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

use abi_stable::std_types::{RResult, RString};
use async_ffi::FfiFuture;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;

use crate::host::HostObject;
use crate::{CallContext, Error, ErrorKind, Result};

/// A call's result as it crosses the boundary.
pub type AbiResult<T> = RResult<T, Error>;
/// A call in flight as it crosses the boundary; polled by the host, cancelled by dropping it.
pub type AbiFuture<T> = FfiFuture<AbiResult<T>>;

/// The library's runtime and the host that started it.
pub(crate) struct Instance {
    pub(crate) host: HostObject,
    handle: Handle,
    thread: Mutex<Option<RuntimeThread>>,
}

struct RuntimeThread {
    stop: oneshot::Sender<Duration>,
    join: JoinHandle<()>,
}

impl Instance {
    /// Starts the runtime thread: reactor, timers and background tasks of the library live there.
    pub(crate) fn start(name: &str, host: HostObject) -> Result<Arc<Self>> {
        let failed =
            |error: std::io::Error| Error::internal(format!("cannot start the plugin's runtime: {error}"));
        let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let (give, take) = std::sync::mpsc::sync_channel::<Arc<Self>>(1);
        let join = std::thread::Builder::new()
            .name(format!("plugin-{name}"))
            .spawn(move || {
                // Ends without a value only when `start` itself fails, and then there is nothing to run.
                let Ok(instance) = take.recv() else { return };
                let scope = CallScope::background(instance);
                run(runtime, stopped, &scope);
            })
            .map_err(failed)?;
        let instance =
            Arc::new(Self { host, handle, thread: Mutex::new(Some(RuntimeThread { stop, join })) });
        give.send(instance.clone())
            .map_err(|_| Error::internal("the plugin's runtime thread ended at once"))?;
        Ok(instance)
    }

    /// Stops background tasks and ends the thread; calls still in flight fail. Waits at most `timeout`.
    pub(crate) fn shutdown(&self, timeout: Duration) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(RuntimeThread { stop, join }) = thread {
            // A send fails when the thread is gone already, which is what is wanted.
            let _ = stop.send(timeout);
            let _ = join.join();
        }
    }

    /// Runs `work` on the library's own thread, as opening a component must.
    pub(crate) fn spawn<T, F>(self: &Arc<Self>, component: RString, work: F) -> AbiFuture<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let scope = Arc::new(ComponentScope { instance: self.clone(), component });
        let call = Guarded { call: CallScope { scope, trace: TraceIds::default() }, future: Some(work) };
        let task = self.handle.spawn(call);
        FfiFuture::new(async move {
            match task.await {
                Ok(result) => result,
                Err(_) => {
                    RResult::RErr(Error::internal("the plugin was shut down while the component opened"))
                }
            }
        })
    }
}

fn run(runtime: Runtime, stopped: oneshot::Receiver<Duration>, scope: &CallScope) {
    let timeout = scope.enter(|| runtime.block_on(stopped)).unwrap_or_default();
    runtime.shutdown_timeout(timeout);
}

/// A component's place in its instance, shared by all its calls.
pub(crate) struct ComponentScope {
    pub(crate) instance: Arc<Instance>,
    pub(crate) component: RString,
}

/// What the boundary holds of an open component: the author's value, called and dropped inside the guard.
pub(crate) struct Shared<T: Send + Sync + 'static> {
    // `Some` until dropped; the last reference goes inside the guard because it may close connections.
    value: Option<Arc<T>>,
    scope: Arc<ComponentScope>,
}

impl<T: Send + Sync + 'static> Shared<T> {
    pub(crate) fn new(value: T, scope: Arc<ComponentScope>) -> Self {
        Self { value: Some(Arc::new(value)), scope }
    }

    pub(crate) fn scope(&self) -> Arc<ComponentScope> {
        self.scope.clone()
    }

    /// One call that awaits.
    pub(crate) fn call<R, F>(
        &self,
        context: CallContext,
        make: impl FnOnce(Arc<T>, CallContext) -> F,
    ) -> AbiFuture<R>
    where
        R: Send + 'static,
        F: Future<Output = Result<R>> + Send + 'static,
    {
        let trace = TraceIds::of(&context);
        let value = self.value.clone();
        let call = CallScope { scope: self.scope.clone(), trace };
        // `value` is `None` only while `drop` runs, and nothing can call then.
        match value {
            Some(value) => FfiFuture::new(Guarded { call, future: Some(make(value, context)) }),
            None => {
                FfiFuture::new(std::future::ready(RResult::RErr(Error::internal("the component is closed"))))
            }
        }
    }

    /// One call that answers at once; a panic gives `None`.
    pub(crate) fn with<R>(&self, run: impl FnOnce(&T) -> R) -> Option<R> {
        let value = self.value.as_ref()?;
        catch(|| run(value)).ok()
    }
}

impl<T: Send + Sync + 'static> Drop for Shared<T> {
    fn drop(&mut self) {
        let call = CallScope { scope: self.scope.clone(), trace: TraceIds::default() };
        // A panic in the author's destructor ends here: the component is closed either way.
        let _ = call.guarded(|| self.value = None);
    }
}

/// The ids of the host's span for a call.
#[derive(Clone, Copy, Default)]
pub(crate) struct TraceIds {
    pub(crate) trace_id: [u8; 16],
    pub(crate) span_id: [u8; 8],
    pub(crate) sampled: bool,
}

impl TraceIds {
    fn of(context: &CallContext) -> Self {
        Self { trace_id: context.trace_id, span_id: context.span_id, sampled: context.is_sampled() }
    }
}

/// What a thread must know while it runs plugin code for one call.
pub(crate) struct CallScope {
    pub(crate) scope: Arc<ComponentScope>,
    pub(crate) trace: TraceIds,
}

thread_local! {
    static CURRENT: Cell<*const CallScope> = const { Cell::new(std::ptr::null()) };
}

impl CallScope {
    fn background(instance: Arc<Instance>) -> Self {
        let scope = Arc::new(ComponentScope { instance, component: RString::new() });
        Self { scope, trace: TraceIds::default() }
    }

    fn enter<R>(&self, run: impl FnOnce() -> R) -> R {
        struct Restore(*const CallScope);
        impl Drop for Restore {
            fn drop(&mut self) {
                CURRENT.set(self.0);
            }
        }
        let _restore = Restore(CURRENT.replace(self));
        run()
    }

    /// Hands the scope of the running call to `read`; `None` on a thread that runs no plugin code.
    pub(crate) fn with_current<R>(read: impl FnOnce(&CallScope) -> R) -> Option<R> {
        // SAFETY: `enter` holds the pointed-to scope borrowed for as long as the pointer is set, and restores the
        // earlier one on the way out, also when unwinding.
        unsafe { CURRENT.get().as_ref() }.map(read)
    }
}

/// A future of plugin code: the library's runtime and the call's scope are entered on each poll and on drop, and a
/// panic becomes an error.
pub(crate) struct Guarded<F> {
    call: CallScope,
    // `None` once finished or panicked: the inner future is dropped inside the guard.
    future: Option<F>,
}

impl<T, F: Future<Output = Result<T>>> Future for Guarded<F> {
    type Output = AbiResult<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: `future` is never moved out of its place, only dropped in place by assigning `None`; `call` is not pinned.
        let this = unsafe { self.get_unchecked_mut() };
        let Self { call, future } = this;
        let polled = call.guarded(|| {
            let Some(inner) = future.as_mut() else {
                return Poll::Ready(Err(Error::internal("a finished call was polled again")));
            };
            // SAFETY: as above, `inner` stays where it is until it is dropped.
            let poll = unsafe { Pin::new_unchecked(inner) }.poll(cx);
            if poll.is_ready() {
                *future = None;
            }
            poll
        });
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(result)) => Poll::Ready(result.into()),
            Err(panic) => {
                call.discard(future);
                Poll::Ready(RResult::RErr(panic))
            }
        }
    }
}

impl<F> Drop for Guarded<F> {
    fn drop(&mut self) {
        if self.future.is_some() {
            self.call.discard(&mut self.future);
        }
    }
}

impl CallScope {
    /// Runs plugin code with its runtime and scope entered.
    fn guarded<R>(&self, run: impl FnOnce() -> R) -> Result<R> {
        let _runtime = self.scope.instance.handle.enter();
        catch(|| self.enter(run))
    }

    /// Drops a future inside the guard. A panic in its destructor ends there: nobody waits for the result any more.
    fn discard<F>(&self, future: &mut Option<F>) {
        let _ = self.guarded(|| *future = None);
    }
}

thread_local! {
    /// Where the last panic of this thread began.
    static PANICKED_AT: Cell<Option<String>> = const { Cell::new(None) };
}

/// Keeps the library's panics off standard error: each becomes one error, which the host logs.
pub(crate) fn quiet_panics() {
    std::panic::set_hook(Box::new(|panic| {
        PANICKED_AT.set(panic.location().map(|place| format!(" ({}:{})", place.file(), place.line())));
    }));
}

/// Runs plugin code that does not await; a panic becomes an error.
pub(crate) fn catch<R>(run: impl FnOnce() -> R) -> Result<R> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| {
        let place = PANICKED_AT.take().unwrap_or_default();
        Error::new(ErrorKind::PANIC, format!("the plugin panicked: {}{place}", panic_text(panic.as_ref())))
    })
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
