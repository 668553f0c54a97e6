//! Rates as people write them.

use std::str::FromStr;

pub use crate::config::Rate;

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
