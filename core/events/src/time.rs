//! Points in time as the text that envelopes hold (RFC 3339).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat, Utc};

/// Writes a point in time to the second, in UTC.
pub(crate) fn format(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// When something that lives this long from now ends. What lies beyond the calendar ends with it.
pub(crate) fn after(now: SystemTime, ttl: Duration) -> SystemTime {
    // Go's longest duration, some 292 years, which is where Dapr's calculation ends.
    now.checked_add(ttl.min(Duration::from_nanos(i64::MAX as u64))).unwrap_or(now)
}

/// Whether the text names a point in time before `now`. Text that names none is never past.
pub(crate) fn is_past(text: &str, now: SystemTime) -> bool {
    let Ok(time) = DateTime::parse_from_rfc3339(text) else { return false };
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    (time.timestamp(), time.timestamp_subsec_nanos())
        < (i64::try_from(now.as_secs()).unwrap_or(i64::MAX), now.subsec_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_and_compares() {
        let time = UNIX_EPOCH + Duration::from_millis(1_627_894_800_999);
        assert_eq!(format(time), "2021-08-02T09:00:00Z");
        assert!(is_past("2021-08-02T09:00:00Z", time));
        assert!(is_past("2021-08-02T10:59:59.5+02:00", time));
        assert!(!is_past("2021-08-02T09:00:01Z", time));
        for text in ["", "Mon, 02 Aug 2021 09:00:00 GMT", "2021-08-02"] {
            assert!(!is_past(text, time), "{text}");
        }
    }

    #[test]
    fn survives_the_longest_life() {
        let end = after(UNIX_EPOCH, Duration::MAX);
        assert_eq!(format(end), "2262-04-11T23:47:16Z");
    }
}
