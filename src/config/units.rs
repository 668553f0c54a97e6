//! Values with their units: `"5s"`, `"64MiB"`, `"2bps"`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A length of time in nanoseconds, written `5s`, `200ms`, `1m`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span(pub i64);

/// A number of bytes, written `64MiB`, `4KiB`, `512B`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

/// A ratio in hundredths of a basis point, written `2bps`, `0.5bps`, `3%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ratio(pub i64);

const SPAN_UNITS: &[(&str, i64)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];
const SIZE_UNITS: &[(&str, i64)] = &[
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];
const RATIO_UNITS: &[(&str, i64)] = &[("bps", 100), ("%", 10_000)];

/// `12.5ms` as a whole number of the smallest unit.
fn parse(text: &str, units: &[(&str, i64)], example: &str) -> Result<i64, String> {
    let bad = || {
        let names: Vec<&str> = units.iter().map(|(name, _)| *name).collect();
        format!(
            "`{text}` is not a number with one of the units {} (like \"{example}\")",
            names.join(", ")
        )
    };
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '_'));
    let (number, unit) = text.split_at(split.ok_or_else(bad)?);
    let unit = unit.trim_start();
    let &(_, scale) = units
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(bad)?;
    let number = number.replace('_', "");
    let (whole, fraction) = number.split_once('.').unwrap_or((&number, ""));
    if whole.is_empty() || (number.contains('.') && fraction.is_empty()) || fraction.len() > 9 {
        return Err(bad());
    }
    let whole: i64 = whole.parse().map_err(|_| bad())?;
    let mut total = whole.checked_mul(scale).ok_or_else(bad)?;
    if !fraction.is_empty() {
        let digits: i64 = fraction.parse().map_err(|_| bad())?;
        let part = digits as i128 * scale as i128;
        let ten = 10i128.pow(fraction.len() as u32);
        if part % ten != 0 {
            return Err(format!("`{text}` is finer than its smallest unit"));
        }
        total = total.checked_add((part / ten) as i64).ok_or_else(bad)?;
    }
    Ok(total)
}

/// With the largest unit that divides it.
fn write(value: i64, units: &[(&str, i64)], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (name, scale) = units
        .iter()
        .rev()
        .find(|(_, scale)| value % scale == 0 && value != 0)
        .unwrap_or(&units[0]);
    if value % scale == 0 {
        write!(f, "{}{name}", value / scale)
    } else {
        // Only ratios are finer than their first unit: hundredths of a basis point.
        write!(f, "{}.{:02}{name}", value / scale, value % scale)
    }
}

macro_rules! unit {
    ($t:ident, $inner:ty, $units:ident, $example:literal) => {
        impl FromStr for $t {
            type Err = String;
            fn from_str(text: &str) -> Result<$t, String> {
                parse(text, $units, $example).map(|value| $t(value as $inner))
            }
        }
        impl fmt::Display for $t {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write(self.0 as i64, $units, f)
            }
        }
        impl<'de> Deserialize<'de> for $t {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<$t, D::Error> {
                let text = String::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
        impl Serialize for $t {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
    };
}
unit!(Span, i64, SPAN_UNITS, "5s");
unit!(Size, u64, SIZE_UNITS, "64MiB");
unit!(Ratio, i64, RATIO_UNITS, "2bps");

impl Ratio {
    /// In basis points, for statistics.
    pub fn bps(self) -> f64 {
        self.0 as f64 / 100.0
    }
}

/// So many a second: `1M/s`, `250k/s`, `20000`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rate(pub f64);

impl Rate {
    /// The most that makes sense: one in each nanosecond.
    const MAX: f64 = 1e9;
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Rate, String> {
        let bare = text.trim().strip_suffix("/s").unwrap_or(text.trim());
        let (digits, times) = match bare.chars().last() {
            Some('k' | 'K') => (&bare[..bare.len() - 1], 1e3),
            Some('M') => (&bare[..bare.len() - 1], 1e6),
            _ => (bare, 1.0),
        };
        match digits.trim().parse::<f64>() {
            Ok(value) if value.is_finite() && (1.0..=Rate::MAX).contains(&(value * times)) => {
                Ok(Rate(value * times))
            }
            _ => Err(format!(
                "`{text}` is not a rate (like 1M/s, 250k/s or 20000/s)"
            )),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, unit) = match self.0 {
            v if v >= 1e6 => (v / 1e6, "M"),
            v if v >= 1e3 => (v / 1e3, "k"),
            v => (v, ""),
        };
        let text = format!("{value:.2}");
        write!(
            f,
            "{}{unit}/s",
            text.trim_end_matches('0').trim_end_matches('.')
        )
    }
}

/// How fast to replay: as fast as possible, at a multiple of the recorded pace, or at so many messages
/// a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// As fast as the machine can.
    Max,
    /// `1x`, `10x`, `0.5x`.
    Times(f64),
    /// `2M/s`, `250k/s`: messages, evenly, whatever times were recorded.
    Rate(Rate),
}

impl FromStr for Speed {
    type Err = String;
    fn from_str(text: &str) -> Result<Speed, String> {
        if text == "max" {
            return Ok(Speed::Max);
        }
        if text.ends_with("/s") {
            return text.parse().map(Speed::Rate);
        }
        let times = text.strip_suffix('x').and_then(|t| t.parse::<f64>().ok());
        match times {
            Some(times) if times.is_finite() && times > 0.0 => Ok(Speed::Times(times)),
            _ => Err(format!(
                "`{text}` is not a speed (like \"max\", \"1x\", \"0.5x\" or \"2M/s\")"
            )),
        }
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Speed::Max => f.write_str("max"),
            Speed::Times(times) => write!(f, "{times}x"),
            // Not as it is shown to people, which is rounded.
            Speed::Rate(Rate(rate)) => write!(f, "{rate}/s"),
        }
    }
}

impl<'de> Deserialize<'de> for Speed {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Speed, D::Error> {
        String::deserialize(d)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl Serialize for Speed {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read_and_written_back() {
        for (text, ns) in [
            ("5s", 5_000_000_000),
            ("200ms", 200_000_000),
            ("1m", 60_000_000_000),
        ] {
            assert_eq!(text.parse(), Ok(Span(ns)));
            assert_eq!(Span(ns).to_string(), text);
        }
        assert_eq!("1.5us".parse(), Ok(Span(1_500)));
        assert_eq!("64MiB".parse(), Ok(Size(64 << 20)));
        assert_eq!("1_000B".parse(), Ok(Size(1000)));
        assert_eq!("3%".parse(), Ok(Ratio(30_000)));
        assert_eq!("0.25bps".parse(), Ok(Ratio(25)));
        assert_eq!(Ratio(25).to_string(), "0.25bps");
        assert_eq!(Ratio(0).to_string(), "0bps");
    }

    #[test]
    fn speeds_are_read_and_written_back() {
        for (text, speed, shown) in [
            ("max", Speed::Max, "max"),
            ("0.5x", Speed::Times(0.5), "0.5x"),
            ("2M/s", Speed::Rate(Rate(2e6)), "2000000/s"),
            ("1234567.5/s", Speed::Rate(Rate(1_234_567.5)), "1234567.5/s"),
        ] {
            assert_eq!(text.parse(), Ok(speed));
            assert_eq!(speed.to_string(), shown);
            assert_eq!(shown.parse(), Ok(speed));
        }
    }

    #[test]
    fn a_number_without_its_unit_is_refused() {
        for text in [
            "5",
            "",
            "s",
            "5 parsecs",
            "1.s",
            "0.5ns",
            "99999999999999h",
            "-1s",
            "1..2s",
        ] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
        for text in ["fast", "x", "0x", "-1x", "infx", "2M", "0/s", "fast/s"] {
            assert!(text.parse::<Speed>().is_err(), "{text}");
        }
    }
}
