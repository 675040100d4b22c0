//! When a schedule fires: Dapr's forms, with five or six fields, names for common schedules, `@every` and a time zone in front.
//!
//! Fields mean what they mean to robfig/cron, which Dapr uses: a day matches when day of month and day of week both match if
//! either is a star, and when one of them matches if neither is.

mod field;

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};

use self::field::{Bounds, Field};

/// A schedule that fits no day within this time never fires.
const FARTHEST_YEARS: i64 = 5;

/// When something is to happen.
#[derive(Clone, Debug)]
pub(crate) enum Schedule {
    /// Every so often.
    Every(Duration),
    /// At the times that match.
    At(Box<Calendar>),
}

/// Matching times of day and days.
#[derive(Clone, Debug)]
pub(crate) struct Calendar {
    second: Field,
    minute: Field,
    hour: Field,
    day_of_month: Field,
    month: Field,
    day_of_week: Field,
    zone: TimeZone,
}

impl Schedule {
    /// Reads a schedule; the error says what is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("empty spec string".to_owned());
        }
        let (zone, rest) = time_zone(text)?;
        if rest.starts_with('@') {
            return named(rest, zone);
        }
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let with_seconds = match fields.len() {
            5 => [&["0"], fields.as_slice()].concat(),
            6 => fields,
            count => {
                let given = fields.join(" ");
                return Err(format!("expected 5 to 6 fields, found {count}: [{given}]"));
            }
        };
        Calendar::new(&with_seconds, zone).map(|calendar| Self::At(Box::new(calendar)))
    }

    /// The first time after `after`; `None` when there is none in the next five years.
    pub(crate) fn next(&self, after: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Every(interval) => after.checked_add(*interval).ok(),
            Self::At(calendar) => calendar.next(after),
        }
    }
}

fn time_zone(text: &str) -> Result<(TimeZone, &str), String> {
    let given = text.strip_prefix("CRON_TZ=").or_else(|| text.strip_prefix("TZ="));
    let Some(given) = given else { return Ok((TimeZone::system(), text)) };
    let (name, rest) = given.split_once(' ').ok_or("the schedule is missing after the time zone")?;
    let zone = match name {
        // As Go names them.
        "" | "UTC" => TimeZone::UTC,
        "Local" => TimeZone::system(),
        name => TimeZone::get(name).map_err(|error| format!("provided bad location {name}: {error}"))?,
    };
    Ok((zone, rest.trim()))
}

/// `@hourly` and its like, `@every 5s`.
fn named(text: &str, zone: TimeZone) -> Result<Schedule, String> {
    if let Some(interval) = text.strip_prefix("@every ") {
        let interval = parse_interval(interval)
            .ok_or_else(|| format!("failed to parse duration {text}: invalid duration \"{interval}\""))?;
        return Ok(Schedule::Every(interval));
    }
    let fields = match text {
        "@yearly" | "@annually" => "0 0 0 1 1 *",
        "@monthly" => "0 0 0 1 * *",
        "@weekly" => "0 0 0 * * 0",
        "@daily" | "@midnight" => "0 0 0 * * *",
        "@hourly" => "0 0 * * * *",
        _ => return Err(format!("unrecognized descriptor: {text}")),
    };
    let fields: Vec<&str> = fields.split(' ').collect();
    Calendar::new(&fields, zone).map(|calendar| Schedule::At(Box::new(calendar)))
}

/// A positive duration in Go's form. Zero or less would fire without end.
fn parse_interval(text: &str) -> Option<Duration> {
    // Plain seconds are a duration elsewhere, but not to Go.
    let has_unit = text.ends_with(|last: char| last.is_ascii_alphabetic());
    mecha_plugin_api::parse_duration(text).filter(|interval| has_unit && !interval.is_zero())
}

impl Calendar {
    fn new(fields: &[&str], zone: TimeZone) -> Result<Self, String> {
        let [second, minute, hour, day_of_month, month, day_of_week] = fields else {
            return Err(format!("expected 6 fields, found {}", fields.len()));
        };
        Ok(Self {
            second: Field::parse(second, &Bounds::SECONDS)?,
            minute: Field::parse(minute, &Bounds::MINUTES)?,
            hour: Field::parse(hour, &Bounds::HOURS)?,
            day_of_month: Field::parse(day_of_month, &Bounds::DAYS_OF_MONTH)?,
            month: Field::parse(month, &Bounds::MONTHS)?,
            day_of_week: Field::parse(day_of_week, &Bounds::DAYS_OF_WEEK)?,
            zone,
        })
    }

    /// Steps from one candidate to the next, over the largest unit that does not match. Hours, minutes and seconds are stepped
    /// over in real time: an hour that a clock change repeats fires twice, one that it leaves out does not fire.
    fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let start = Timestamp::from_second(after.as_second() + 1).ok()?;
        let mut at = start.to_zoned(self.zone.clone());
        let last_year = i64::from(at.year()) + FARTHEST_YEARS;
        while i64::from(at.year()) <= last_year {
            at = if !self.month.has(at.month()) {
                let first = at.first_of_month().ok()?;
                first.checked_add(jiff::Span::new().months(1)).ok()?.start_of_day().ok()?
            } else if !self.matches_day(&at) {
                at.tomorrow().ok()?.start_of_day().ok()?
            } else if !self.hour.has(at.hour()) {
                step(&at, 3600 - i64::from(at.minute()) * 60 - i64::from(at.second()))?
            } else if !self.minute.has(at.minute()) {
                step(&at, 60 - i64::from(at.second()))?
            } else if !self.second.has(at.second()) {
                step(&at, 1)?
            } else {
                return Some(at.timestamp());
            };
        }
        None
    }

    fn matches_day(&self, at: &Zoned) -> bool {
        let of_month = self.day_of_month.has(at.day());
        let of_week = self.day_of_week.has(at.weekday().to_sunday_zero_offset());
        if self.day_of_month.is_star || self.day_of_week.is_star {
            of_month && of_week
        } else {
            of_month || of_week
        }
    }
}

fn step(at: &Zoned, seconds: i64) -> Option<Zoned> {
    at.checked_add(SignedDuration::from_secs(seconds)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The next times after a moment, as they read in the schedule's own time zone.
    fn next(schedule: &str, after: &str, count: usize) -> Vec<String> {
        let parsed = Schedule::parse(schedule).unwrap();
        let zone = match &parsed {
            Schedule::At(calendar) => calendar.zone.clone(),
            Schedule::Every(_) => TimeZone::UTC,
        };
        let mut at: Timestamp = after.parse().unwrap();
        let mut times = Vec::new();
        for _ in 0..count {
            let Some(next) = parsed.next(at) else { break };
            at = next;
            times.push(at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %:z").to_string());
        }
        times
    }

    fn utc(schedule: &str, after: &str) -> String {
        next(&format!("TZ=UTC {schedule}"), after, 1).join("").replace(" +00:00", "")
    }

    #[test]
    fn six_and_five_fields() {
        assert_eq!(utc("*/15 * * * * *", "2024-05-01T10:00:14.9Z"), "2024-05-01 10:00:15");
        assert_eq!(utc("*/15 * * * * *", "2024-05-01T10:00:15Z"), "2024-05-01 10:00:30");
        assert_eq!(utc("*/15 * * * *", "2024-05-01T10:46:00Z"), "2024-05-01 11:00:00");
        assert_eq!(utc("0 30 9 * * mon-fri", "2024-05-03T09:30:00Z"), "2024-05-06 09:30:00");
        assert_eq!(utc("0 0 */6 ? * *", "2024-05-01T19:00:00Z"), "2024-05-02 00:00:00");
        assert_eq!(utc("59 59 23 31 DEC *", "2024-05-01T00:00:00Z"), "2024-12-31 23:59:59");
        assert_eq!(utc("0 0 0 29 2 *", "2025-01-01T00:00:00Z"), "2028-02-29 00:00:00");
        assert_eq!(utc("5/20 0 0 * * *", "2024-05-01T00:00:25Z"), "2024-05-01 00:00:45");
    }

    #[test]
    fn days_of_month_and_week_restrict_together_only_beside_a_star() {
        // The 15th, or any Friday.
        assert_eq!(utc("0 0 15 * 5", "2024-05-11T00:00:00Z"), "2024-05-15 00:00:00");
        assert_eq!(utc("0 0 15 * 5", "2024-05-15T00:00:00Z"), "2024-05-17 00:00:00");
        assert_eq!(utc("0 0 * * 5", "2024-05-11T00:00:00Z"), "2024-05-17 00:00:00");
        // A star with a step is a restriction: odd days, or any Friday.
        assert_eq!(utc("0 0 */2 * 5", "2024-05-11T12:00:00Z"), "2024-05-13 00:00:00");
    }

    #[test]
    fn names_for_common_schedules() {
        let after = "2024-05-01T10:20:30Z";
        assert_eq!(utc("@hourly", after), "2024-05-01 11:00:00");
        assert_eq!(utc("@daily", after), "2024-05-02 00:00:00");
        assert_eq!(utc("@midnight", after), "2024-05-02 00:00:00");
        assert_eq!(utc("@weekly", after), "2024-05-05 00:00:00");
        assert_eq!(utc("@monthly", after), "2024-06-01 00:00:00");
        assert_eq!(utc("@yearly", after), "2025-01-01 00:00:00");
        assert_eq!(utc("@annually", after), "2025-01-01 00:00:00");
        let every = next("@every 1m30s", after, 2);
        assert_eq!(every, ["2024-05-01 10:22:00 +00:00", "2024-05-01 10:23:30 +00:00"]);
    }

    #[test]
    fn time_zones_and_their_clock_changes() {
        let daily = next("CRON_TZ=Europe/Berlin 0 30 2 * * *", "2024-03-29T12:00:00Z", 3);
        // On the 31st there is no half past two.
        assert_eq!(
            daily,
            ["2024-03-30 02:30:00 +01:00", "2024-04-01 02:30:00 +02:00", "2024-04-02 02:30:00 +02:00"]
        );
        let repeated = next("TZ=Europe/Berlin 0 30 2 * * *", "2024-10-26T12:00:00Z", 2);
        assert_eq!(repeated, ["2024-10-27 02:30:00 +02:00", "2024-10-27 02:30:00 +01:00"]);
        assert_eq!(next("TZ=Asia/Kolkata @daily", "2024-05-01T10:00:00Z", 1), ["2024-05-02 00:00:00 +05:30"]);
    }

    #[test]
    fn what_never_matches_never_fires() {
        assert_eq!(utc("0 0 0 30 2 *", "2024-05-01T00:00:00Z"), "");
        assert_eq!(utc("0 0 0 , * *", "2024-05-01T00:00:00Z"), "");
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        for (schedule, part) in [
            ("", "empty spec string"),
            ("INVALID_SCHEDULE", "expected 5 to 6 fields, found 1: [INVALID_SCHEDULE]"),
            ("* * * * * * *", "expected 5 to 6 fields, found 7"),
            ("60 * * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("5-2 * * * *", "beginning of range (5) beyond end of range (2): 5-2"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
            ("1/2/3 * * * *", "too many slashes: 1/2/3"),
            ("x * * * *", "failed to parse int from x"),
            ("@fortnightly", "unrecognized descriptor: @fortnightly"),
            ("@every soon", "failed to parse duration @every soon"),
            ("@every 5", "failed to parse duration"),
            ("@every 0s", "failed to parse duration"),
            ("TZ=Nowhere/Else * * * * *", "provided bad location Nowhere/Else"),
            ("TZ=UTC", "missing after the time zone"),
        ] {
            let error = Schedule::parse(schedule).unwrap_err();
            assert!(error.contains(part), "{schedule}: {error}");
        }
    }
}
