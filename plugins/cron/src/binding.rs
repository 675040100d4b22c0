//! `bindings.cron`: an event without data whenever the schedule says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use mecha_plugin_api::binding::InputBinding;
use mecha_plugin_api::source::{Delivery, Settlement, Source, Subscription};
use mecha_plugin_api::{Buf, CallContext, ComponentSpec, Error, Metadata, RString, Result};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::schedule::Schedule;

/// The longest sleep: after it the clock is looked at again, for it may have been set, or the machine suspended.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// The schedule of one component.
pub(crate) struct CronBinding {
    name: RString,
    schedule: Arc<Schedule>,
    opened: Instant,
}

impl CronBinding {
    pub(crate) async fn open(spec: ComponentSpec) -> Result<Self> {
        let text =
            spec.text("schedule").ok_or_else(|| Error::invalid("schedule not set").with_field("schedule"))?;
        let schedule = Schedule::parse(text).map_err(|error| {
            Error::invalid(format!("invalid schedule format '{text}': {error}")).with_field("schedule")
        })?;
        Ok(Self { name: spec.name.clone(), schedule: Arc::new(schedule), opened: Instant::now() })
    }

    pub(crate) fn source(&self) -> CronSource {
        CronSource {
            name: self.name.clone(),
            schedule: self.schedule.clone(),
            opened: self.opened,
            next: Mutex::new(self.schedule.next(Timestamp::now())),
            last_id: AtomicU64::new(0),
        }
    }
}

impl InputBinding for CronBinding {
    async fn read(&self, _context: &CallContext) -> Result<Subscription> {
        Ok(Subscription::new(self.source()))
    }
}

/// A running schedule. Times that pass while nobody pulls are made up for by one event.
pub(crate) struct CronSource {
    name: RString,
    schedule: Arc<Schedule>,
    opened: Instant,
    /// `None` = never again.
    next: Mutex<Option<Timestamp>>,
    last_id: AtomicU64,
}

impl CronSource {
    fn event(&self) -> Delivery {
        let metadata = Metadata::from_iter([
            // Dapr tells its own location here, whatever the schedule's time zone is.
            ("timeZone", "Local".to_owned()),
            ("readTimeUTC", go_time(Timestamp::now(), self.opened.elapsed())),
        ]);
        Delivery {
            id: self.last_id.fetch_add(1, Ordering::Relaxed) + 1,
            redelivered: 0,
            ordering_key: RString::new(),
            topic: self.name.clone(),
            data: Buf::new(),
            content_type: RString::new(),
            metadata,
        }
    }

    /// Moves on from a time that was due.
    fn after(&self, due: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let next = self.schedule.next(due)?;
        if next > now { Some(next) } else { self.schedule.next(now) }
    }
}

impl Source for CronSource {
    async fn next(&self, _context: &CallContext, max: u32, wait: Duration) -> Result<Vec<Delivery>> {
        let deadline = Instant::now() + wait;
        let mut next = self.next.lock().await;
        loop {
            let now = Timestamp::now();
            let left = next.map(|next| Duration::try_from(next.duration_since(now)).unwrap_or_default());
            if let Some(due) = *next
                && left == Some(Duration::ZERO)
                && max > 0
            {
                *next = self.after(due, now);
                return Ok(vec![self.event()]);
            }
            let sleep = left.unwrap_or(LONGEST_SLEEP).min(LONGEST_SLEEP);
            let until = (Instant::now() + sleep).min(deadline);
            tokio::time::sleep_until(until).await;
            if until == deadline {
                return Ok(Vec::new());
            }
        }
    }

    /// As in Dapr, an event that the application refused is not sent again.
    async fn settle(&self, _context: &CallContext, _settlements: Vec<Settlement>) -> Result<()> {
        Ok(())
    }
}

/// A time as Go prints it, with the reading of the clock that only runs forward.
fn go_time(at: Timestamp, running: Duration) -> String {
    let seconds = at.strftime("%Y-%m-%d %H:%M:%S");
    let fraction = format!("{:09}", at.subsec_nanosecond());
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    let (whole, nanoseconds) = (running.as_secs(), running.subsec_nanos());
    format!("{seconds}{point}{fraction} +0000 UTC m=+{whole}.{nanoseconds:09}")
}

#[cfg(test)]
mod tests {
    use mecha_plugin_api::ErrorKind;

    use super::*;

    async fn open(schedule: &str) -> Result<CronBinding> {
        let metadata = Metadata::from_iter([("schedule", schedule)]);
        CronBinding::open(ComponentSpec::new("every-so-often", "bindings.cron", metadata)).await
    }

    fn context() -> CallContext {
        CallContext::background("app")
    }

    #[tokio::test]
    async fn events_come_on_time_and_as_dapr_sends_them() {
        let source = open("@every 20ms").await.unwrap().source();
        let started = std::time::Instant::now();
        for id in 1..=3 {
            let events = source.next(&context(), 10, Duration::from_secs(10)).await.unwrap();
            let [event] = events.as_slice() else { panic!("{} events", events.len()) };
            assert_eq!((event.id, &*event.topic, event.data.len()), (id, "every-so-often", 0));
            assert_eq!(event.metadata.get("timeZone"), Some("Local"));
            let time = event.metadata.get("readTimeUTC").unwrap();
            assert!(time.contains(" +0000 UTC m=+0."), "{time}");
        }
        assert!(started.elapsed() >= Duration::from_millis(60), "{:?}", started.elapsed());
    }

    #[tokio::test]
    async fn a_pull_waits_no_longer_than_asked() {
        let source = open("@yearly").await.unwrap().source();
        assert!(source.next(&context(), 1, Duration::from_millis(5)).await.unwrap().is_empty());
        let never = open("0 0 0 30 2 *").await.unwrap().source();
        assert!(never.next(&context(), 1, Duration::from_millis(5)).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn times_that_nobody_waited_for_are_made_up_for_once() {
        let source = open("TZ=UTC @hourly").await.unwrap().source();
        let now = Timestamp::now();
        let long_ago = now - jiff::SignedDuration::from_hours(100);
        *source.next.lock().await = Some(long_ago);
        assert_eq!(source.next(&context(), 10, Duration::ZERO).await.unwrap().len(), 1);
        assert!(source.next(&context(), 10, Duration::ZERO).await.unwrap().is_empty());
        assert!(source.next.lock().await.is_some_and(|next| next > now));
    }

    #[tokio::test]
    async fn a_wrong_schedule_is_refused_in_dapr_s_words() {
        let error = open("INVALID_SCHEDULE").await.err().unwrap();
        assert_eq!((error.kind(), error.field()), (ErrorKind::INVALID, Some("schedule")));
        assert!(error.message().starts_with("invalid schedule format 'INVALID_SCHEDULE': expected 5 to 6"));
        assert_eq!(open("").await.err().unwrap().message(), "schedule not set");
    }

    #[test]
    fn times_look_as_go_prints_them() {
        let at: Timestamp = "2024-05-01T10:20:30.1205Z".parse().unwrap();
        let running = Duration::new(12, 345);
        assert_eq!(go_time(at, running), "2024-05-01 10:20:30.1205 +0000 UTC m=+12.000000345");
        let whole: Timestamp = "2024-05-01T10:20:30Z".parse().unwrap();
        assert_eq!(go_time(whole, Duration::ZERO), "2024-05-01 10:20:30 +0000 UTC m=+0.000000000");
    }
}
