use std::str::FromStr;
use std::time::Duration;

use jiff::Zoned;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use mayfly_types::Timestamp;

/// When a scheduled machine runs: an interval counted from its creation, or a cron expression in UTC.
///
/// Intervals as in <https://fly.io/docs/machines/flyctl/fly-machine-run/>; cron expressions have five fields
/// (minute, hour, day of month, month, day of week) with `*`, lists, ranges, steps and English names, and when both
/// day fields are restricted either may match, as crontab(5) says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    Hourly,
    Daily,
    Weekly,
    Monthly,
    Cron(Box<Cron>),
}

/// A text that is no schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "schedule `{text}` is not valid: {rule}; use hourly, daily, weekly, monthly or five cron fields such as `*/15 8-18 * * mon-fri` (UTC)"
)]
pub struct InvalidSchedule {
    pub text: String,
    pub rule: String,
}

/// A parsed cron expression: bit sets of what each field allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    any_day: bool,
    any_weekday: bool,
}

/// One field's name, bounds and words.
struct Field {
    name: &'static str,
    least: u32,
    most: u32,
    words: &'static [&'static str],
}

const MINUTE: Field = Field {
    name: "minute",
    least: 0,
    most: 59,
    words: &[],
};
const HOUR: Field = Field {
    name: "hour",
    least: 0,
    most: 23,
    words: &[],
};
const DAY: Field = Field {
    name: "day of month",
    least: 1,
    most: 31,
    words: &[],
};
const MONTH: Field = Field {
    name: "month",
    least: 1,
    most: 12,
    words: &[
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ],
};
/// Sunday is 0 and 7.
const WEEKDAY: Field = Field {
    name: "day of week",
    least: 0,
    most: 7,
    words: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
};

/// Long enough for every 29 February, also around a year that is no leap year (1900, 2100).
const YEARS_AHEAD: i16 = 9;

impl FromStr for Schedule {
    type Err = InvalidSchedule;

    fn from_str(text: &str) -> Result<Self, InvalidSchedule> {
        match text {
            "hourly" => return Ok(Schedule::Hourly),
            "daily" => return Ok(Schedule::Daily),
            "weekly" => return Ok(Schedule::Weekly),
            "monthly" => return Ok(Schedule::Monthly),
            _ => {}
        }
        let invalid = |rule: String| InvalidSchedule {
            text: text.chars().take(80).collect(),
            rule,
        };
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let &[minute, hour, day, month, weekday] = fields.as_slice() else {
            return Err(invalid(format!("it has {} fields", fields.len())));
        };
        let parse = |field: &Field, text| field.parse(text).map_err(invalid);
        let weekdays = parse(&WEEKDAY, weekday)?;
        let cron = Cron {
            minutes: parse(&MINUTE, minute)?,
            hours: parse(&HOUR, hour)?,
            days: parse(&DAY, day)?,
            months: parse(&MONTH, month)?,
            weekdays: (weekdays | weekdays >> 7) & 0x7f,
            any_day: day.starts_with('*'),
            any_weekday: weekday.starts_with('*'),
        };
        let schedule = Schedule::Cron(Box::new(cron));
        // The start does not matter: either a day like this exists in any few years or never.
        match schedule.next_after(Timestamp::from_millis(0), Timestamp::from_millis(0)) {
            Some(_) => Ok(schedule),
            None => Err(invalid("no such day ever comes".to_owned())),
        }
    }
}

impl Field {
    fn parse(&self, text: &str) -> Result<u64, String> {
        let mut bits = 0;
        for part in text.split(',') {
            let (range, step) = match part.split_once('/') {
                Some((range, step)) => {
                    let step: u32 = step.parse().unwrap_or(0);
                    if step == 0 {
                        return Err(format!(
                            "the step in {} `{part}` is not a number above 0",
                            self.name
                        ));
                    }
                    (range, Some(step))
                }
                None => (part, None),
            };
            let (first, last) = match (range, range.split_once('-')) {
                ("*", _) => (self.least, self.most),
                (_, Some((first, last))) => (self.value(first)?, self.value(last)?),
                // `5/15` means from 5 to the end.
                (single, None) => {
                    let first = self.value(single)?;
                    (first, if step.is_some() { self.most } else { first })
                }
            };
            if first > last {
                return Err(format!("{} `{range}` runs backwards", self.name));
            }
            for value in (first..=last).step_by(step.unwrap_or(1) as usize) {
                bits |= 1 << value;
            }
        }
        Ok(bits)
    }

    fn value(&self, text: &str) -> Result<u32, String> {
        let lower = text.to_ascii_lowercase();
        if let Some(index) = self.words.iter().position(|word| *word == lower) {
            return Ok(self.least + index as u32);
        }
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse::<u32>() {
            Ok(value) if digits && (self.least..=self.most).contains(&value) => Ok(value),
            _ => Err(format!(
                "{} `{text}` is not from {} to {}",
                self.name, self.least, self.most
            )),
        }
    }
}

impl Schedule {
    /// The first due time after `now`; intervals count from `created_at`. `None` if there is none in the calendar.
    pub fn next_after(&self, now: Timestamp, created_at: Timestamp) -> Option<Timestamp> {
        const HOUR_LONG: Duration = Duration::from_secs(3600);
        match self {
            Schedule::Hourly => next_multiple(HOUR_LONG, now, created_at),
            Schedule::Daily => next_multiple(24 * HOUR_LONG, now, created_at),
            Schedule::Weekly => next_multiple(7 * 24 * HOUR_LONG, now, created_at),
            Schedule::Monthly => next_month(now, created_at),
            Schedule::Cron(cron) => cron.next_after(now),
        }
    }
}

fn next_multiple(interval: Duration, now: Timestamp, created_at: Timestamp) -> Option<Timestamp> {
    let interval = i64::try_from(interval.as_millis()).ok()?;
    let passed = now.as_millis().checked_sub(created_at.as_millis())?;
    let turns = passed.div_euclid(interval).checked_add(1)?.max(1);
    created_at
        .as_millis()
        .checked_add(turns.checked_mul(interval)?)
        .map(Timestamp::from_millis)
}

/// The same day and time of a later month; the last day of a month that is too short.
fn next_month(now: Timestamp, created_at: Timestamp) -> Option<Timestamp> {
    let (created, now) = (utc(created_at)?, utc(now)?);
    let months = (i32::from(now.year()) - i32::from(created.year())) * 12 + i32::from(now.month())
        - i32::from(created.month());
    (months.max(1)..=months.max(1) + 1).find_map(|months| {
        let due = created.checked_add(jiff::Span::new().months(months)).ok()?;
        (due > now).then(|| timestamp(due)).flatten()
    })
}

impl Cron {
    fn allows_day(&self, date: Date) -> bool {
        let day = self.days >> date.day() & 1 == 1;
        let weekday = self.weekdays >> date.weekday().to_sunday_zero_offset() & 1 == 1;
        let matches = match (self.any_day, self.any_weekday) {
            (false, false) => day || weekday,
            _ => day && weekday,
        };
        matches && self.months >> date.month() & 1 == 1
    }

    fn next_after(&self, now: Timestamp) -> Option<Timestamp> {
        let now = utc(now)?;
        // The minute of `now` has begun, so the next one is the first that can still be due.
        let start = now.with().second(0).subsec_nanosecond(0).build().ok()?;
        let start = start.checked_add(jiff::Span::new().minutes(1)).ok()?;
        let mut date = start.date();
        let mut from = (start.hour(), start.minute());
        let last_year = date.year().checked_add(YEARS_AHEAD)?;
        while date.year() <= last_year {
            if self.allows_day(date)
                && let Some((hour, minute)) = self.first_time(from)
            {
                return timestamp(date.at(hour, minute, 0, 0));
            }
            date = date.tomorrow().ok()?;
            from = (0, 0);
        }
        None
    }

    /// The first allowed hour and minute of a day, not before `from`.
    fn first_time(&self, from: (i8, i8)) -> Option<(i8, i8)> {
        (from.0..24)
            .filter(|hour| self.hours >> hour & 1 == 1)
            .find_map(|hour| {
                let first = if hour == from.0 { from.1 } else { 0 };
                (first..60)
                    .find(|minute| self.minutes >> minute & 1 == 1)
                    .map(|minute| (hour, minute))
            })
    }
}

fn utc(time: Timestamp) -> Option<DateTime> {
    let time = jiff::Timestamp::from_millisecond(time.as_millis()).ok()?;
    Some(Zoned::new(time, TimeZone::UTC).datetime())
}

fn timestamp(time: DateTime) -> Option<Timestamp> {
    let zoned = time.to_zoned(TimeZone::UTC).ok()?;
    Some(Timestamp::from_millis(zoned.timestamp().as_millisecond()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn next(schedule: &str, now: &str) -> String {
        let created = at("2026-01-31T10:20:30Z");
        let schedule: Schedule = schedule.parse().unwrap();
        let due = schedule.next_after(at(now), created).unwrap().to_string();
        due.replace(":00.000Z", "").replace(".000Z", "")
    }

    #[test]
    fn due_times() {
        for (schedule, now, due) in [
            ("hourly", "2026-01-31T10:20:30Z", "2026-01-31T11:20:30"),
            ("hourly", "2026-01-31T11:20:29.999Z", "2026-01-31T11:20:30"),
            ("hourly", "2026-01-31T11:20:30Z", "2026-01-31T12:20:30"),
            ("daily", "2026-02-10T00:00:00Z", "2026-02-10T10:20:30"),
            ("weekly", "2026-02-01T00:00:00Z", "2026-02-07T10:20:30"),
            ("monthly", "2026-02-01T00:00:00Z", "2026-02-28T10:20:30"),
            ("monthly", "2026-02-28T10:20:30Z", "2026-03-31T10:20:30"),
            ("monthly", "2027-12-31T10:20:30Z", "2028-01-31T10:20:30"),
            ("* * * * *", "2026-11-21T08:30:59.999Z", "2026-11-21T08:31"),
            ("* * * * *", "2026-11-21T08:31:00Z", "2026-11-21T08:32"),
            ("0 * * * *", "2026-11-21T08:30:00Z", "2026-11-21T09:00"),
            ("*/20 8-9 * * *", "2026-11-21T09:40:00Z", "2026-11-22T08:00"),
            ("5/20 * * * *", "2026-11-21T09:26:00Z", "2026-11-21T09:45"),
            ("0 8 * * 1-5", "2026-11-20T08:00:00Z", "2026-11-23T08:00"),
            (
                "0 8 * * Mon,thu",
                "2026-11-23T09:00:00Z",
                "2026-11-26T08:00",
            ),
            ("0 0 * * 7", "2026-11-21T00:00:00Z", "2026-11-22T00:00"),
            ("0 0 1 * 0", "2026-11-23T00:00:00Z", "2026-11-29T00:00"),
            ("0 0 1 * 0", "2026-11-29T00:00:00Z", "2026-12-01T00:00"),
            ("0 0 29 feb *", "2026-11-21T00:00:00Z", "2028-02-29T00:00"),
            ("59 23 31 12 *", "2026-12-31T23:59:00Z", "2027-12-31T23:59"),
        ] {
            assert_eq!(next(schedule, now), due, "{schedule} after {now}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_the_field() {
        for (text, part) in [
            ("", "0 fields"),
            ("Hourly", "1 fields"),
            ("* * * *", "4 fields"),
            ("60 * * * *", "minute"),
            ("* 24 * * *", "hour"),
            ("* * 0 * *", "day of month"),
            ("* * * 13 *", "month"),
            ("* * * * 8", "day of week"),
            ("*/0 * * * *", "step"),
            ("5-1 * * * *", "backwards"),
            ("+5 * * * *", "minute"),
            ("1,,2 * * * *", "minute"),
            ("0 0 31 feb *", "no such day"),
        ] {
            let error = text.parse::<Schedule>().expect_err(text).to_string();
            assert!(
                error.contains(part) && error.contains("hourly"),
                "{text}: {error}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[0-9a-z*/,\\- ]{0,30}") {
            let _ = text.parse::<Schedule>();
        }

        #[test]
        fn the_next_due_time_is_later_and_not_skipped(
            minute in 0u32..60, hour in 0u32..24, now in 0i64..4_000_000_000_000,
        ) {
            let schedule: Schedule = format!("{minute} {hour} * * *").parse().unwrap();
            let now = Timestamp::from_millis(now);
            let due = schedule.next_after(now, now).unwrap();
            prop_assert!(due > now);
            prop_assert!(due.since(now) <= Duration::from_secs(24 * 3600));
        }
    }
}
