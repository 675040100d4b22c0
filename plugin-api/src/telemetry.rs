//! Carries the plugin's `tracing` spans and events to the host.
//!
//! A library has its own copy of `tracing`, so the host's subscriber never sees it. This one is installed in each
//! library when it starts. A span of an unsampled call costs nothing but a constant id. A sampled one is kept here until it
//! closes and then crosses the boundary once, whole.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use abi_stable::std_types::{RString, RVec};
use tracing_core::span::{Attributes, Id, Record};
use tracing_core::{Event, Interest, Level, LevelFilter, Metadata, Subscriber};

use crate::fields::{EventFields, SpanFields};
use crate::host::{Field, FinishedSpan, LogEvent, LogLevel, SpanEvent};
use crate::instance::{CallScope, ComponentScope, TraceIds};

/// Id of every span that is not recorded.
const UNRECORDED: u64 = 1;

/// The library's level, raised and lowered by the host while running.
static MAX_LEVEL: AtomicU8 = AtomicU8::new(3);

/// Installs the subscriber of this library. A plugin that has installed its own keeps it; then nothing is forwarded.
pub(crate) fn install() {
    // Fails only when the library has a subscriber already, from an earlier instance or of its own.
    let _ = tracing::subscriber::set_global_default(Forward);
}

/// Sets the level from which events are forwarded.
pub(crate) fn set_max_level(level: LogLevel) {
    if MAX_LEVEL.swap(level.0, Ordering::Relaxed) != level.0 {
        // Without this, callsites keep the interest that they cached at the old level.
        tracing::callsite::rebuild_interest_cache();
    }
}

struct Forward;

/// A recorded span that is still open.
struct OpenSpan {
    trace: TraceIds,
    parent_span_id: [u8; 8],
    name: &'static str,
    target: &'static str,
    start_unix_ns: u64,
    scope: Arc<ComponentScope>,
    state: Mutex<SpanState>,
}

#[derive(Default)]
struct SpanState {
    fields: SpanFields,
    events: Vec<SpanEvent>,
}

thread_local! {
    /// The spans entered on this thread, innermost last.
    static ENTERED: RefCell<Vec<Id>> = const { RefCell::new(Vec::new()) };
}

fn level_number(level: &Level) -> u8 {
    match *level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        Level::TRACE => 5,
    }
}

fn unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Gives the span behind an id that `new_span` handed out.
fn open_span(id: &Id) -> Option<&OpenSpan> {
    let raw = id.into_u64();
    // SAFETY: every id but UNRECORDED is `Arc::into_raw` of an `OpenSpan`, and `tracing` uses an id only between
    // `new_span` and the last `try_close`, which is where the last reference goes.
    (raw != UNRECORDED).then(|| unsafe { &*(raw as *const OpenSpan) })
}

fn with_innermost<R>(read: impl FnOnce(&OpenSpan) -> R) -> Option<R> {
    let innermost = ENTERED.with_borrow(|entered| entered.last().cloned())?;
    open_span(&innermost).map(read)
}

impl OpenSpan {
    fn start(attributes: &Attributes<'_>, call: &CallScope) -> Self {
        let parent = attributes.parent().and_then(open_span).map(|parent| parent.trace);
        let parent = parent.or_else(|| {
            let inherits = attributes.is_contextual();
            inherits.then(|| with_innermost(|span| span.trace)).flatten()
        });
        let parent = parent.unwrap_or(call.trace);
        let mut fields = SpanFields::default();
        attributes.record(&mut fields);
        Self {
            trace: TraceIds { span_id: rand::random::<u64>().max(1).to_be_bytes(), ..parent },
            parent_span_id: parent.span_id,
            name: attributes.metadata().name(),
            target: attributes.metadata().target(),
            start_unix_ns: unix_ns(),
            scope: call.scope.clone(),
            state: Mutex::new(SpanState { fields, events: Vec::new() }),
        }
    }

    fn finish(&self) {
        let state = std::mem::take(&mut *self.state.lock().unwrap_or_else(PoisonError::into_inner));
        let fields = state.fields;
        self.scope.instance.host.span(FinishedSpan {
            trace_id: self.trace.trace_id,
            span_id: self.trace.span_id,
            parent_span_id: self.parent_span_id,
            kind: fields.kind,
            status: fields.status,
            name: fields.name.unwrap_or_else(|| self.name.into()),
            target: self.target.into(),
            component: self.scope.component.clone(),
            start_unix_ns: self.start_unix_ns,
            end_unix_ns: unix_ns(),
            status_message: fields.status_message,
            fields: fields.attributes.into(),
            events: state.events.into(),
        });
    }
}

impl Subscriber for Forward {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) { Interest::always() } else { Interest::never() }
    }

    /// Spans count from DEBUG up whatever the log level: whether one is recorded depends on the call's sampling.
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let level = level_number(metadata.level());
        let wanted = MAX_LEVEL.load(Ordering::Relaxed);
        level <= if metadata.is_span() { wanted.max(4) } else { wanted }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(if MAX_LEVEL.load(Ordering::Relaxed) >= 5 { LevelFilter::TRACE } else { LevelFilter::DEBUG })
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let open = CallScope::with_current(|call| {
            let sampled = call.trace.sampled || attributes.parent().and_then(open_span).is_some();
            sampled.then(|| Arc::new(OpenSpan::start(attributes, call)))
        });
        match open.flatten() {
            Some(span) => Id::from_u64(Arc::into_raw(span) as u64),
            None => Id::from_u64(UNRECORDED),
        }
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        if let Some(span) = open_span(span) {
            values.record(&mut span.state.lock().unwrap_or_else(PoisonError::into_inner).fields);
        }
    }

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = EventFields::default();
        event.record(&mut fields);
        let recorded = with_innermost(|span| {
            let event = SpanEvent { unix_ns: unix_ns(), name: fields.message(), fields: fields.values() };
            span.state.lock().unwrap_or_else(PoisonError::into_inner).events.push(event);
            span.trace
        });
        let metadata = event.metadata();
        CallScope::with_current(|call| {
            let trace = recorded.unwrap_or(call.trace);
            call.scope.instance.host.log(LogEvent {
                level: LogLevel(level_number(metadata.level())),
                target: metadata.target().into(),
                component: call.scope.component.clone(),
                message: fields.message(),
                fields: fields.values(),
                trace_id: trace.trace_id,
                span_id: trace.span_id,
            });
        });
    }

    fn enter(&self, span: &Id) {
        ENTERED.with_borrow_mut(|entered| entered.push(span.clone()));
    }

    fn exit(&self, span: &Id) {
        ENTERED.with_borrow_mut(|entered| {
            if let Some(at) = entered.iter().rposition(|entered| entered == span) {
                entered.remove(at);
            }
        });
    }

    fn clone_span(&self, id: &Id) -> Id {
        if let Some(span) = open_span(id) {
            // SAFETY: the pointer came from `Arc::into_raw` and the span is open, so its count is at least one.
            unsafe { Arc::increment_strong_count(std::ptr::from_ref(span)) };
        }
        id.clone()
    }

    fn try_close(&self, id: Id) -> bool {
        let Some(span) = open_span(&id) else { return false };
        // SAFETY: takes back the reference that `new_span` or `clone_span` gave to this id.
        let span = unsafe { Arc::from_raw(std::ptr::from_ref(span)) };
        match Arc::into_inner(span) {
            Some(last) => {
                last.finish();
                true
            }
            None => false,
        }
    }
}

/// Used by the fields' collectors.
pub(crate) fn field(name: &str, value: crate::host::FieldValue) -> Field {
    Field { name: RString::from(name), value }
}

/// The fields as they cross the boundary.
pub(crate) type Fields = RVec<Field>;
