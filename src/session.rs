//! The trading day: its date, its midnight, and times of day as text.

use std::path::Path;

use bus::Ts;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// A trading day in the exchange's time zone.
#[derive(Clone, Debug, PartialEq)]
pub struct TradingDay {
    /// The date.
    pub date: Date,
    /// Its first moment.
    pub midnight: Ts,
    /// The exchange's time zone.
    pub timezone: TimeZone,
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
        let start: Zoned = date
            .to_datetime(Time::midnight())
            .to_zoned(timezone.clone())
            .map_err(|e| format!("{date} has no midnight: {e}"))?;
        // Times are ns since 1970 in 63 bits.
        if !(1970..=2261).contains(&date.year()) {
            return Err(format!("{date}: want a date from 1970 to 2261"));
        }
        Ok(TradingDay {
            date,
            midnight: Ts(start.timestamp().as_nanosecond() as i64),
            timezone,
        })
    }

    /// The day so many days later, in the same zone.
    pub fn later(&self, days: u32) -> Result<TradingDay, String> {
        let span = jiff::Span::new().try_days(days);
        let date = span.and_then(|span| self.date.checked_add(span));
        let date = date.map_err(|e| format!("{} and {days} days: {e}", self.date))?;
        TradingDay::of(date, self.timezone.clone())
    }

    /// The name of its time zone.
    pub fn zone(&self) -> &str {
        // Made of a name, always.
        self.timezone.iana_name().unwrap_or("UTC")
    }

    /// Year, month, day.
    pub fn ymd(&self) -> (u16, u8, u8) {
        (
            self.date.year() as u16,
            self.date.month() as u8,
            self.date.day() as u8,
        )
    }

    /// A time of that day, `09:31` or `10:31:07.123456789`, or of any day as RFC 3339.
    pub fn parse(&self, text: &str) -> Result<Ts, String> {
        if let Ok(moment) = text.parse::<Timestamp>() {
            return Ok(Ts(moment.as_nanosecond() as i64));
        }
        let bad = || format!("`{text}` is not a time (like \"09:31:00.5\")");
        let time: Time = text.parse().map_err(|_| bad())?;
        let zoned = DateTime::from_parts(self.date, time)
            .to_zoned(self.timezone.clone())
            .map_err(|_| bad())?;
        Ok(Ts(zoned.timestamp().as_nanosecond() as i64))
    }

    /// The time of day in ns since midnight: independent of the date, so digests use it.
    pub fn clock(&self, ts: Ts) -> String {
        let ns = ts.since(self.midnight);
        let sign = if ns < 0 { "-" } else { "" };
        let ns = ns.unsigned_abs();
        let (seconds, fraction) = (ns / 1_000_000_000, ns % 1_000_000_000);
        let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        if fraction == 0 {
            format!("{sign}{h:02}:{m:02}:{s:02}")
        } else {
            format!("{sign}{h:02}:{m:02}:{s:02}.{fraction:09}")
        }
    }

    /// The same for people: what is of another day has its date in front, and that day's time.
    pub fn shown(&self, ts: Ts) -> String {
        let ns = ts.since(self.midnight);
        // The longest day has an hour more.
        if (0..25 * 3600 * Ts::SECOND_NS).contains(&ns) {
            return self.clock(ts);
        }
        match Timestamp::from_nanosecond(i128::from(ts.0)) {
            Ok(moment) => {
                let zoned = moment.to_zoned(self.timezone.clone());
                zoned.strftime("%Y-%m-%d %H:%M:%S%.f").to_string()
            }
            Err(_) => self.clock(ts),
        }
    }
}

fn zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name)
        .map_err(|_| format!("`{name}` is not a time zone (like \"America/New_York\")"))
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
        assert_eq!(winter.clock(open.plus_ns(1)), "09:30:00.000000001");
        assert_eq!(winter.shown(open.plus_ns(1)), "09:30:00.000000001");
        let eve = winter.midnight.plus_ns(-57_595_250_000_000);
        assert_eq!(winter.shown(eve), "2026-01-04 08:00:04.75");
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
        assert!(TradingDay::new("2026-01-05", "Mars/Base").is_err());
        assert!(TradingDay::new("20260199", "America/New_York").is_err());
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
