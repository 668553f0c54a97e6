//! Rates as people write them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

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

/// A range of rates, `100k..5M`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// The lowest.
    pub from: Rate,
    /// The highest.
    pub to: Rate,
}

impl FromStr for Rates {
    type Err = String;

    fn from_str(text: &str) -> Result<Rates, String> {
        let bad = || format!("`{text}` is not a range of rates (like 100k..5M)");
        let (from, to) = text.split_once("..").ok_or_else(bad)?;
        let (from, to): (Rate, Rate) = (from.parse()?, to.parse()?);
        if from >= to {
            return Err(bad());
        }
        Ok(Rates { from, to })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_and_written() {
        for (text, value, shown) in [
            ("1M/s", 1e6, "1M/s"),
            ("250k", 250e3, "250k/s"),
            ("1.25M/s", 1.25e6, "1.25M/s"),
            ("20000/s", 20e3, "20k/s"),
            ("7", 7.0, "7/s"),
        ] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!((rate, rate.to_string().as_str()), (Rate(value), shown));
        }
        for bad in ["", "0", "-1k", "k", "1G", "1e99", "NaN", "1M/m"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
        assert!("5M..100k".parse::<Rates>().is_err());
        assert_eq!("100k..5M".parse::<Rates>().unwrap().to, Rate(5e6));
    }
}
