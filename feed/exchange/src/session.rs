//! What a session is asked to be.

use std::error::Error;
use std::fmt;
use std::io;
use std::str::FromStr;

/// Start of market hours, 09:30:00 in New York, in nanoseconds since midnight there.
pub const OPEN_NS: u64 = 34_200_000_000_000;

/// New York is five hours behind UTC, as it is on the default date. A session on a date in
/// summer is stamped with winter time too: only the capture times would show it.
pub const UTC_OFFSET_HOURS: i64 = -5;

/// A session to simulate. Equal sessions give equal bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Stocks, 1 to 10,000. With fewer than 3 there is no public offering and no direct
    /// listing, so that the messages K and O do not occur.
    pub symbols: u32,
    /// Length of continuous trading, 1 to 23,400. Two seconds before and one after are added.
    pub seconds: u32,
    /// Any number.
    pub seed: u64,
    /// Messages a second on average while trading is continuous, 100 to 20,000,000.
    pub rate: u32,
    /// The trading date.
    pub date: Date,
}

impl Default for Session {
    fn default() -> Self {
        let date = Date {
            year: 2026,
            month: 1,
            day: 5,
        };
        Self {
            symbols: 64,
            seconds: 60,
            seed: 1,
            rate: 20_000,
            date,
        }
    }
}

impl Session {
    /// Whether all is within its bounds.
    ///
    /// # Errors
    ///
    /// The first number that is not.
    pub fn check(&self) -> Result<(), BadSession> {
        let bound = |field, got: u32, min, max| {
            let is_within = (min..=max).contains(&got);
            is_within.then_some(()).ok_or(BadSession::Bound {
                field,
                got,
                min,
                max,
            })
        };
        bound("symbols", self.symbols, 1, 10_000)?;
        bound("seconds", self.seconds, 1, 23_400)?;
        bound("rate", self.rate, 100, 20_000_000)?;
        self.date.check()
    }
}

/// Why a session cannot be simulated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadSession {
    /// A number is out of its bounds.
    Bound {
        /// The field of `Session`.
        field: &'static str,
        /// What it is.
        got: u32,
        /// The least it may be.
        min: u32,
        /// The most it may be.
        max: u32,
    },
    /// There is no such day, or it lies outside 1990 to 2099.
    Date(String),
}

impl fmt::Display for BadSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bound {
                field,
                got,
                min,
                max,
            } => {
                write!(f, "session: {field} is {got}, want {min} to {max}")
            }
            Self::Date(text) => {
                write!(
                    f,
                    "session: no trading date {text:?}, want one like 2026-01-05"
                )
            }
        }
    }
}

impl Error for BadSession {}

impl From<BadSession> for io::Error {
    fn from(bad: BadSession) -> Self {
        Self::new(io::ErrorKind::InvalidInput, bad)
    }
}

/// A calendar date, from 1990 to 2099.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date {
    /// With all four digits.
    pub year: u16,
    /// From 1.
    pub month: u8,
    /// From 1.
    pub day: u8,
}

impl Date {
    fn check(self) -> Result<(), BadSession> {
        let is_leap = self.year.is_multiple_of(4) && self.year != 2100;
        let days = match self.month {
            2 if is_leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => 0,
        };
        if (1990..=2099).contains(&self.year) && (1..=days).contains(&self.day) {
            Ok(())
        } else {
            Err(BadSession::Date(self.to_string()))
        }
    }

    /// Midnight in New York, in nanoseconds since 1970 began in UTC.
    #[must_use]
    pub fn midnight_unix_ns(self) -> u64 {
        // Days since 0000-03-01, with the year beginning in March so that the leap day is last.
        let (year, month) = match self.month {
            1 | 2 => (i64::from(self.year) - 1, i64::from(self.month) + 9),
            month => (i64::from(self.year), i64::from(month) - 3),
        };
        let leap_days = year / 4 - year / 100 + year / 400;
        let days = year * 365 + leap_days + (month * 153 + 2) / 5 + i64::from(self.day) - 1;
        let seconds = (days - 719_468) * 86_400 - UTC_OFFSET_HOURS * 3_600;
        seconds as u64 * 1_000_000_000
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl FromStr for Date {
    type Err = BadSession;

    fn from_str(text: &str) -> Result<Self, BadSession> {
        let bad = || BadSession::Date(text.to_owned());
        let mut parts = text.split('-');
        let mut part = || {
            parts
                .next()
                .and_then(|digits| digits.parse::<u16>().ok())
                .ok_or_else(bad)
        };
        let (year, month, day) = (part()?, part()?, part()?);
        let date = Self {
            year,
            month: month.min(99) as u8,
            day: day.min(99) as u8,
        };
        if parts.next().is_some() || date.check().is_err() {
            return Err(bad());
        }
        Ok(date)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn midnight_is_five_hours_after_that_of_utc() {
        let date: Date = "2026-01-05".parse().unwrap();
        assert_eq!(date.midnight_unix_ns(), 1_767_589_200_000_000_000);
        assert_eq!(
            Date {
                year: 1990,
                month: 3,
                day: 1
            }
            .midnight_unix_ns(),
            636_267_600_000_000_000
        );
        assert_eq!(
            Date {
                year: 2024,
                month: 2,
                day: 29
            }
            .midnight_unix_ns(),
            1_709_182_800_000_000_000
        );
    }

    #[test]
    fn a_bad_session_names_its_fault() {
        let text = |session: Session| session.check().unwrap_err().to_string();
        let sound = Session::default;
        assert_eq!(
            text(Session {
                symbols: 0,
                ..sound()
            }),
            "session: symbols is 0, want 1 to 10000"
        );
        assert_eq!(
            text(Session {
                seconds: 0,
                ..sound()
            }),
            "session: seconds is 0, want 1 to 23400"
        );
        assert_eq!(
            text(Session { rate: 1, ..sound() }),
            "session: rate is 1, want 100 to 20000000"
        );
        for bad in [
            "2026-02-29",
            "2026-13-01",
            "2026-00-10",
            "26-01-05",
            "2026-01",
            "x",
            "1-2-3-4",
        ] {
            let want = format!("session: no trading date {bad:?}, want one like 2026-01-05");
            assert_eq!(bad.parse::<Date>().unwrap_err().to_string(), want);
        }
    }
}
