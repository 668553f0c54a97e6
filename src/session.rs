//! The trading day: its date, its midnight, and times of day as text.

use std::path::Path;

use bus::Ts;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// A trading day in the venue's time zone.
#[derive(Clone, Debug, PartialEq)]
pub struct TradingDay {
    /// The date.
    pub date: Date,
    /// Its first moment.
    pub midnight: Ts,
    /// The venue's time zone.
    pub timezone: TimeZone,
    /// In whose clock times are read and shown; the venue's, unless somebody wants another.
    told: TimeZone,
}

impl TradingDay {
    /// The day with this date, `2026-01-05`, in this zone, `America/New_York`.
    pub fn new(date: &str, timezone: &str) -> Result<TradingDay, String> {
        let zone = zone(timezone)?;
        let date: Date = date
            .parse()
            .map_err(|_| format!("`{date}` is not a date (like \"2026-01-05\")"))?;
        TradingDay::of(date, zone)
    }

    /// The day in which `ts` lies.
    pub fn at(ts: Ts, timezone: &str) -> Result<TradingDay, String> {
        let zone = zone(timezone)?;
        let moment = Timestamp::from_nanosecond(ts.0 as i128)
            .map_err(|_| format!("{} ns is out of the range of dates", ts.0))?;
        let date = moment.to_zoned(zone.clone()).date();
        TradingDay::of(date, zone)
    }

    fn of(date: Date, timezone: TimeZone) -> Result<TradingDay, String> {
        // Times are ns since 1970 in 63 bits.
        if !(1970..=2261).contains(&date.year()) {
            return Err(format!("{date}: want a date from 1970 to 2261"));
        }
        let start: Zoned = date
            .to_datetime(Time::midnight())
            .to_zoned(timezone.clone())
            .map_err(|e| format!("{date} has no midnight: {e}"))?;
        Ok(TradingDay {
            date,
            midnight: Ts(start.timestamp().as_nanosecond() as i64),
            told: timezone.clone(),
            timezone,
        })
    }

    /// The same day, with times read and shown by the clock of this zone.
    pub fn told_in(&self, timezone: &str) -> Result<TradingDay, String> {
        Ok(TradingDay {
            told: zone(timezone)?,
            ..self.clone()
        })
    }

    /// The day so many days later, in the same zone.
    pub fn later(&self, days: u32) -> Result<TradingDay, String> {
        let span = jiff::Span::new().try_days(days);
        let date = span.and_then(|span| self.date.checked_add(span));
        let date = date.map_err(|e| format!("{} and {days} days: {e}", self.date))?;
        let day = TradingDay::of(date, self.timezone.clone())?;
        Ok(TradingDay {
            told: self.told.clone(),
            ..day
        })
    }

    /// The name of its time zone.
    pub fn zone(&self) -> &str {
        // Made of a name, always.
        self.timezone.iana_name().unwrap_or("UTC")
    }

    /// The name of the zone in whose clock times are read and shown.
    pub fn told_zone(&self) -> &str {
        self.told.iana_name().unwrap_or("UTC")
    }

    /// Year, month, day.
    pub fn ymd(&self) -> (u16, u8, u8) {
        (
            self.date.year() as u16,
            self.date.month() as u8,
            self.date.day() as u8,
        )
    }

    /// A time of that day, `09:31` or `10:31:07.123456789`, of any day with its date in front, or as
    /// RFC 3339 or RFC 9557, which say their own zone. A zone without a date is refused.
    pub fn parse(&self, text: &str) -> Result<Ts, String> {
        let own_zone = text.parse::<Timestamp>().ok();
        let own_zone = own_zone.or_else(|| Some(text.parse::<Zoned>().ok()?.timestamp()));
        if let Some(moment) = own_zone {
            return Ok(Ts(moment.as_nanosecond() as i64));
        }
        let bad =
            || format!("`{text}` is not a time (like \"09:31:00.5\" or \"2026-01-05 09:31\")");
        // What is parsed below would leave a zone out.
        let time = text.rsplit(['T', 't', ' ']).next().unwrap_or(text);
        let is_date = time.len() == 10 && time.parse::<Date>().is_ok();
        if time.contains(['+', '-', '[', 'Z', 'z']) && !is_date {
            return Err(format!("{}; a zone wants the date in front", bad()));
        }
        // A `Time` would be read from a text with a date too, and the date left out.
        let civil = match text.parse::<DateTime>() {
            Ok(civil) => civil,
            Err(_) => DateTime::from_parts(self.date, text.parse::<Time>().map_err(|_| bad())?),
        };
        let zoned = civil.to_zoned(self.told.clone()).map_err(|_| bad())?;
        Ok(Ts(zoned.timestamp().as_nanosecond() as i64))
    }

    /// A time for people, by the clock on the wall: what is of another date has that in front, so that
    /// no time is before midnight. [`TradingDay::parse`] reads it back.
    pub fn shown(&self, ts: Ts) -> String {
        let moment = Timestamp::from_nanosecond(i128::from(ts.0));
        // Timestamps reach over thousands of years, and 64 bits of ns over hundreds.
        let moment = moment.expect("any 64 bits of ns are a date");
        let zoned = moment.to_zoned(self.told.clone());
        let time = match zoned.subsec_nanosecond() {
            0 => zoned.strftime("%H:%M:%S"),
            _ => zoned.strftime("%H:%M:%S%.9f"),
        };
        match zoned.date() == self.date {
            true => time.to_string(),
            false => format!("{} {time}", zoned.date()),
        }
    }
}

fn zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name)
        .map_err(|_| format!("`{name}` is not a time zone (like \"America/New_York\")"))
}

/// A moment that says its own zone: RFC 3339, RFC 9557, or whole nanoseconds since 1970.
pub fn moment(text: &str) -> Result<Ts, String> {
    if let Ok(ns) = text.parse::<i64>() {
        return Ok(Ts(ns));
    }
    let moment = text.parse::<Timestamp>().ok();
    let moment = moment.or_else(|| Some(text.parse::<Zoned>().ok()?.timestamp()));
    let ns = moment.and_then(|moment| i64::try_from(moment.as_nanosecond()).ok());
    ns.map(Ts).ok_or_else(|| {
        format!("`{text}` is not a moment (like \"2026-01-05T14:30:00Z\", or ns since 1970)")
    })
}

/// The date in a file's name, as exchanges write it: `20260105`, `2026-01-05`, Nasdaq's
/// `01052026` and `S010526-v50`.
pub fn date_in_name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let runs: Vec<String> = name
        .replace('-', "")
        .split(|c: char| !c.is_ascii_digit())
        .map(str::to_string)
        .filter(|run| run.len() == 8 || run.len() == 6)
        .collect();
    let valid = |y: &str, m: &str, d: &str| -> Option<String> {
        let text = format!("{y}-{m}-{d}");
        let date: Date = text.parse().ok()?;
        (1990..2100).contains(&date.year()).then_some(text)
    };
    runs.iter().find_map(|run| {
        if run.len() == 8 {
            valid(&run[..4], &run[4..6], &run[6..])
                .or_else(|| valid(&run[4..], &run[..2], &run[2..4]))
        } else {
            valid(&format!("20{}", &run[4..]), &run[..2], &run[2..4])
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn midnight_is_the_exchanges_own() {
        let winter = TradingDay::new("2026-01-05", "America/New_York").unwrap();
        assert_eq!(winter.midnight, Ts(1_767_589_200_000_000_000)); // 05:00 UTC
        let open = winter.parse("09:30").unwrap();
        assert_eq!(open.since(winter.midnight), 34_200 * Ts::SECOND_NS);
        assert_eq!(TradingDay::at(open, "America/New_York").unwrap(), winter);
        assert_eq!(winter.shown(open.plus_ns(1)), "09:30:00.000000001");
        let eve = winter.midnight.plus_ns(-57_595_250_000_000);
        assert_eq!(winter.shown(eve), "2026-01-04 08:00:04.750000000");
        assert_eq!(winter.parse(&winter.shown(eve)), Ok(eve));
        let next = open.plus_ns(2 * 86_400 * Ts::SECOND_NS);
        assert_eq!(winter.shown(next), "2026-01-07 09:30:00");
        assert_eq!(winter.parse("2026-01-05T14:30:00Z"), Ok(open));
        let before = TradingDay::new("2026-03-07", "America/New_York").unwrap();
        let clocks_go = before.later(2).unwrap();
        assert_eq!(clocks_go.date.to_string(), "2026-03-09");
        let moved_ns = clocks_go.midnight.since(before.midnight);
        assert_eq!(moved_ns, 47 * 3600 * Ts::SECOND_NS);
        assert!(before.later(u32::MAX).is_err());
        assert!(winter.parse("half past nine").is_err());
        for same in [
            "2026-01-05T15:30:00[Europe/Berlin]",
            "2026-01-05T15:30+01:00[+01:00]",
        ] {
            assert_eq!(winter.parse(same), Ok(open), "{same}");
        }
        assert_eq!(
            winter.parse("2026-01-05"),
            Ok(winter.parse("00:00").unwrap())
        );
        for without_date in [
            "14:30:00+00:00",
            "14:30Z",
            "09:30[Europe/Berlin]",
            "09:30-05",
        ] {
            let said = winter.parse(without_date).unwrap_err();
            assert!(said.ends_with("a zone wants the date in front"), "{said}");
        }
        assert!(TradingDay::new("2026-01-05", "Mars/Base").is_err());
        assert!(TradingDay::new("20260199", "America/New_York").is_err());
    }

    #[test]
    fn the_clock_on_the_wall_is_read_and_shown() {
        // Clocks go forward at two: 09:30 is eight hours and a half after midnight.
        let spring = TradingDay::new("2026-03-08", "America/Chicago").unwrap();
        let morning = spring.parse("09:30").unwrap();
        assert_eq!(morning.since(spring.midnight), 30_600 * Ts::SECOND_NS);
        assert_eq!(spring.shown(morning), "09:30:00");
        // The evening before belongs to the day, and is no negative time of it.
        let evening = spring.midnight.plus_ns(-7 * 3600 * Ts::SECOND_NS);
        assert_eq!(spring.shown(evening), "2026-03-07 17:00:00");
        let told = spring.told_in("UTC").unwrap();
        assert_eq!(told.shown(morning), "14:30:00");
        assert_eq!(told.parse("14:30"), Ok(morning));
        assert_eq!(told.parse("2026-03-07 23:00:00"), Ok(evening));
        assert_eq!(
            (told.midnight, told.zone()),
            (spring.midnight, "America/Chicago")
        );
        assert_eq!(told.later(1).unwrap().told_zone(), "UTC");
        for ts in [i64::MIN, -1, 0, i64::MAX] {
            assert!(told.shown(Ts(ts)).len() >= 8);
        }
        assert!(spring.told_in("Mars/Base").is_err());
    }

    #[test]
    fn dates_are_found_in_names() {
        let date = |name: &str| date_in_name(Path::new(name));
        assert_eq!(date("01302019.NASDAQ_ITCH50"), Some("2019-01-30".into()));
        assert_eq!(
            date("AAPL_20120621_0930-1000.itch50.zst"),
            Some("2012-06-21".into())
        );
        assert_eq!(date("cap/2026-11-20_a.pcap"), Some("2026-11-20".into()));
        assert_eq!(date("S081321-v50.txt.gz"), Some("2021-08-13".into()));
        assert_eq!(date("session.pcap"), None);
    }
}
