//! Money, sizes and times as integers. Only sensible operations exist.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Mul, Sub, SubAssign};

use bytemuck::{Pod, Zeroable};

/// A price in units of 1e-9 of the currency, as in Databento's DBN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(transparent)]
pub struct Price(pub i64);

/// A number of shares or contracts. Of what is divided further, a number of the smallest units: see
/// [`Kind::Symbol`](crate::Kind::Symbol).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(transparent)]
pub struct Qty(pub i64);

/// A point in time: nanoseconds since 1970-01-01 00:00 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(transparent)]
pub struct Ts(pub i64);

/// Price times quantity, in units of 1e-9 of the currency. 128 bits, because 61 million shares
/// at 150 already pass the range of 64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Notional(pub i128);

impl Price {
    /// How many units make one unit of currency.
    pub const SCALE: i64 = 1_000_000_000;
    /// Stands for "no price", and is above every price.
    pub const NONE: Price = Price(i64::MAX);

    /// From units of 1e-4 of the currency, as ITCH 5.0 has them (section 3, "Price(4)").
    #[inline]
    pub const fn from_e4(units: u32) -> Price {
        Price(units as i64 * 100_000)
    }

    /// Whether this is a price at all.
    #[inline]
    pub const fn is_some(self) -> bool {
        self.0 != i64::MAX
    }

    /// For reports and statistics only, never for a price that is sent.
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / Self::SCALE as f64
    }
}

impl Notional {
    /// The notional's price for one share, rounded half away from zero; `None` for no shares.
    /// The one division of a volume-weighted average price.
    pub fn per(self, qty: Qty) -> Option<Price> {
        if qty.0 <= 0 {
            return None;
        }
        let (n, q) = (self.0, qty.0 as i128);
        let half = if n >= 0 { q / 2 } else { -(q / 2) };
        Some(Price(((n + half) / q) as i64))
    }

    /// High and low half, for records made of 64-bit words.
    pub const fn to_words(self) -> [i64; 2] {
        [(self.0 >> 64) as i64, self.0 as i64]
    }

    /// The inverse of [`Notional::to_words`].
    pub const fn from_words(words: [i64; 2]) -> Notional {
        Notional(((words[0] as i128) << 64) | (words[1] as u64 as i128))
    }

    /// For reports and statistics only.
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / Price::SCALE as f64
    }
}

impl Ts {
    /// One second, in the unit of a `Ts` difference.
    pub const SECOND_NS: i64 = 1_000_000_000;
    /// Later than every time.
    pub const MAX: Ts = Ts(i64::MAX);
    /// Earlier than every time.
    pub const MIN: Ts = Ts(i64::MIN);

    /// Nanoseconds from `earlier` to `self`, negative if `self` is the earlier.
    #[inline]
    pub const fn since(self, earlier: Ts) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// This time moved by `ns`.
    #[inline]
    pub const fn plus_ns(self, ns: i64) -> Ts {
        Ts(self.0.saturating_add(ns))
    }

    /// The latest multiple of `step_ns` since 1970 that is not after this time.
    #[inline]
    pub const fn floor(self, step_ns: i64) -> Ts {
        Ts(self.0 - self.0.rem_euclid(step_ns))
    }
}

impl Mul<Qty> for Price {
    type Output = Notional;
    #[inline]
    fn mul(self, qty: Qty) -> Notional {
        Notional(self.0 as i128 * qty.0 as i128)
    }
}

/// A whole number of units of 10 to the power of minus so many decimals, for people: `0.107`. All
/// decimals are written, and none where there are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scaled(pub i64, pub u8);

impl fmt::Display for Scaled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scaled(units, decimals) = *self;
        f.pad(&decimal_text(units.into(), decimals.into()))
    }
}

/// A whole number of units of 10 to the power of minus so many decimals, as a decimal.
pub fn decimal_text(units: i128, decimals: usize) -> String {
    let digits = format!("{:0width$}", units.unsigned_abs(), width = decimals + 1);
    let (whole, fraction) = digits.split_at(digits.len() - decimals);
    let sign = if units < 0 { "-" } else { "" };
    let point = if decimals == 0 { "" } else { "." };
    format!("{sign}{whole}{point}{fraction}")
}

macro_rules! additive {
    ($($t:ident),*) => {$(
        impl Add for $t {
            type Output = $t;
            #[inline]
            fn add(self, other: $t) -> $t { $t(self.0 + other.0) }
        }
        impl Sub for $t {
            type Output = $t;
            #[inline]
            fn sub(self, other: $t) -> $t { $t(self.0 - other.0) }
        }
        impl AddAssign for $t {
            #[inline]
            fn add_assign(&mut self, other: $t) { self.0 += other.0 }
        }
        impl SubAssign for $t {
            #[inline]
            fn sub_assign(&mut self, other: $t) { self.0 -= other.0 }
        }
        impl Sum for $t {
            fn sum<I: Iterator<Item = $t>>(items: I) -> $t {
                items.fold($t::default(), |a, b| a + b)
            }
        }
    )*};
}
additive!(Price, Qty, Notional);

/// As a decimal with the trailing zeros after the cents removed: `12.34`, `0.0001`, `-` for none.
impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_some() {
            return f.pad("-");
        }
        let abs = self.0.unsigned_abs();
        let mut text = format!("{}.{:09}", abs / 1_000_000_000, abs % 1_000_000_000);
        while text.ends_with('0') && text.len() - text.find('.').unwrap_or(0) > 3 {
            text.pop();
        }
        if self.0 < 0 {
            text.insert(0, '-');
        }
        f.pad(&text)
    }
}

impl fmt::Display for Qty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_read_as_decimals() {
        let text = |units| Price(units).to_string();
        assert_eq!(text(12_340_000_000), "12.34");
        assert_eq!(text(100_000), "0.0001");
        assert_eq!(text(-1_500_000_000), "-1.50");
        assert_eq!(text(i64::MAX), "-");
    }

    #[test]
    fn scaled_numbers_have_all_their_decimals() {
        let text = |units, decimals| Scaled(units, decimals).to_string();
        assert_eq!(text(107, 0), "107");
        assert_eq!(text(107, 2), "1.07");
        assert_eq!(text(7, 3), "0.007");
        assert_eq!(text(-7, 1), "-0.7");
        assert_eq!(text(i64::MIN, 18), "-9.223372036854775808");
        assert_eq!(decimal_text(1_500, 3), "1.500");
    }

    #[test]
    fn notional_does_not_overflow_where_64_bits_would() {
        let day = Price(150 * Price::SCALE) * Qty(1_000_000_000);
        assert_eq!(day.per(Qty(1_000_000_000)), Some(Price(150 * Price::SCALE)));
        assert_eq!(Notional::from_words(day.to_words()), day);
        assert_eq!(Notional::from_words(Notional(-5).to_words()), Notional(-5));
        assert_eq!(day.per(Qty(0)), None);
    }
}
