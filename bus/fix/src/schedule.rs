//! When a session may be open, by the clock of a place.

use bus::Ts;
use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};

/// When a session is open. Each opening begins with both numbers at 1.
#[derive(Clone, Debug)]
pub enum Schedule {
    /// At any time; nothing begins anew by itself.
    Always,
    /// Once on each of some days.
    Daily {
        /// Whose clock it is.
        zone: TimeZone,
        /// When it opens.
        start: Time,
        /// When it closes: on the next day, when that is not later than `start`.
        end: Time,
        /// The days on which it opens; none means all.
        days: Vec<Weekday>,
    },
    /// Once a week.
    Weekly {
        /// Whose clock it is.
        zone: TimeZone,
        /// When it opens.
        start: (Weekday, Time),
        /// When it closes.
        end: (Weekday, Time),
    },
}

/// One opening: from `start` on, up to but without `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// When it opened.
    pub start: Ts,
    /// When it closes.
    pub end: Ts,
}

impl Schedule {
    /// The opening that `now` lies in; `None` while it is closed.
    pub fn opening(&self, now: Ts) -> Option<Opening> {
        match self {
            Schedule::Always => Some(Opening {
                start: Ts::MIN,
                end: Ts::MAX,
            }),
            Schedule::Daily {
                zone,
                start,
                end,
                days,
            } => {
                let here = local(now, zone)?;
                let span = if end > start { 0 } else { 1 };
                [0, 1].into_iter().find_map(|back| {
                    let day = here.date().checked_sub(Span::new().days(back)).ok()?;
                    if !days.is_empty() && !days.contains(&day.weekday()) {
                        return None;
                    }
                    let last = day.checked_add(Span::new().days(span)).ok()?;
                    let opening = Opening {
                        start: instant(day.to_datetime(*start), zone)?,
                        end: instant(last.to_datetime(*end), zone)?,
                    };
                    opening.has(now).then_some(opening)
                })
            }
            Schedule::Weekly { zone, start, end } => {
                let here = local(now, zone)?;
                let back = i64::from(start.0.until(here.date().weekday()));
                let mut days = i64::from(start.0.until(end.0));
                if days == 0 && end.1 <= start.1 {
                    days = 7;
                }
                // On the day itself, what is open may have opened a week ago.
                [back, back + 7].into_iter().find_map(|back| {
                    let day = here.date().checked_sub(Span::new().days(back)).ok()?;
                    let last = day.checked_add(Span::new().days(days)).ok()?;
                    let opening = Opening {
                        start: instant(day.to_datetime(start.1), zone)?,
                        end: instant(last.to_datetime(end.1), zone)?,
                    };
                    opening.has(now).then_some(opening)
                })
            }
        }
    }
}

impl Opening {
    /// Whether a time lies in it.
    pub fn has(&self, ts: Ts) -> bool {
        self.start <= ts && ts < self.end
    }
}

fn local(now: Ts, zone: &TimeZone) -> Option<Zoned> {
    let instant = Timestamp::from_nanosecond(i128::from(now.0)).ok()?;
    Some(instant.to_zoned(zone.clone()))
}

/// Where clocks go back a time comes twice, and the first counts; where they go forward a time that
/// is left out counts as much later as the clocks went.
fn instant(here: jiff::civil::DateTime, zone: &TimeZone) -> Option<Ts> {
    let instant = zone.to_ambiguous_timestamp(here).compatible().ok()?;
    i64::try_from(instant.as_nanosecond()).ok().map(Ts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value;

    fn ts(text: &str) -> Ts {
        value::timestamp(text.as_bytes()).unwrap()
    }

    fn shown(ts: Ts) -> String {
        let (text, len) = value::time_text(ts, false);
        String::from_utf8(text[..len].to_vec()).unwrap()
    }

    fn check(schedule: &Schedule, now: &str, want: &str) {
        let found = schedule
            .opening(ts(now))
            .map_or("closed".into(), |opening| {
                format!("{} to {}", shown(opening.start), shown(opening.end))
            });
        assert_eq!(found, want, "{now}");
    }

    fn at(text: &str) -> Time {
        text.parse().unwrap()
    }

    #[test]
    fn a_day_by_the_clock_of_new_york() {
        let schedule = Schedule::Daily {
            zone: TimeZone::get("America/New_York").unwrap(),
            start: at("08:00"),
            end: at("17:00"),
            days: Vec::new(),
        };
        // Winter, and then summer: an hour earlier by UTC.
        check(&schedule, "20260105-12:59:59", "closed");
        let winter = "20260105-13:00:00 to 20260105-22:00:00";
        check(&schedule, "20260105-13:00:00", winter);
        check(&schedule, "20260105-21:59:59", winter);
        check(&schedule, "20260105-22:00:00", "closed");
        check(
            &schedule,
            "20260706-12:00:00",
            "20260706-12:00:00 to 20260706-21:00:00",
        );
    }

    #[test]
    fn a_night_that_began_the_day_before() {
        let schedule = Schedule::Daily {
            zone: TimeZone::UTC,
            start: at("22:00"),
            end: at("05:00"),
            days: vec![Weekday::Monday, Weekday::Friday],
        };
        let monday = "20260105-22:00:00 to 20260106-05:00:00";
        check(&schedule, "20260105-23:00:00", monday);
        check(&schedule, "20260106-04:59:59", monday);
        check(&schedule, "20260106-05:00:00", "closed");
        check(&schedule, "20260106-23:00:00", "closed");
        check(
            &schedule,
            "20260110-01:00:00",
            "20260109-22:00:00 to 20260110-05:00:00",
        );
    }

    #[test]
    fn a_whole_day_begins_anew_each_day() {
        let schedule = Schedule::Daily {
            zone: TimeZone::UTC,
            start: at("00:00"),
            end: at("00:00"),
            days: Vec::new(),
        };
        check(
            &schedule,
            "20260105-00:00:00",
            "20260105-00:00:00 to 20260106-00:00:00",
        );
        check(
            &schedule,
            "20260105-23:59:59",
            "20260105-00:00:00 to 20260106-00:00:00",
        );
    }

    #[test]
    fn a_week() {
        let schedule = Schedule::Weekly {
            zone: TimeZone::get("America/Chicago").unwrap(),
            start: (Weekday::Sunday, at("17:00")),
            end: (Weekday::Friday, at("16:00")),
        };
        let week = "20260104-23:00:00 to 20260109-22:00:00";
        check(&schedule, "20260104-22:59:59", "closed");
        check(&schedule, "20260104-23:00:00", week);
        check(&schedule, "20260107-03:00:00", week);
        check(&schedule, "20260109-21:59:59", week);
        check(&schedule, "20260109-22:00:00", "closed");
        check(&schedule, "20260110-12:00:00", "closed");
        // Clocks go forward on a Sunday in March, before it opens.
        check(
            &schedule,
            "20260308-22:00:00",
            "20260308-22:00:00 to 20260313-21:00:00",
        );
        let same_day = Schedule::Weekly {
            zone: TimeZone::UTC,
            start: (Weekday::Monday, at("12:00")),
            end: (Weekday::Monday, at("12:00")),
        };
        check(
            &same_day,
            "20260112-11:00:00",
            "20260105-12:00:00 to 20260112-12:00:00",
        );
        assert!(Schedule::Always.opening(Ts(0)).is_some());
    }
}
