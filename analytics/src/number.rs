//! Ratios, and the little arithmetic that must give the same bits everywhere.

use std::fmt;

use bus::{Price, Quote};

/// A ratio in hundredths of a basis point, so that limits stay integers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bps(pub i64);

impl Bps {
    /// The whole of something, in this unit.
    pub const ONE: Bps = Bps(1_000_000);

    /// From whole basis points.
    pub const fn whole(bps: i64) -> Bps {
        Bps(bps * 100)
    }

    /// For statistics and reports.
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / 100.0
    }
}

impl fmt::Display for Bps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}bps", self.to_f64())
    }
}

/// How `part / whole` compares to `limit`, without a division: negative, zero or positive as the
/// difference `part * 1 - limit * whole`, in 128 bits because prices times ratios pass 64.
#[inline]
pub(crate) fn excess(part: i64, whole: i64, limit: Bps) -> i128 {
    part as i128 * Bps::ONE.0 as i128 - whole as i128 * limit.0 as i128
}

/// Twice the mid price, which need not be a whole number of units itself. Absurd prices saturate.
/// The caller knows that the quote is open.
#[inline]
pub(crate) fn double_mid(quote: &Quote) -> i64 {
    quote.bid.0.saturating_add(quote.ask.0)
}

/// Twice the spread, to go with [`double_mid`].
#[inline]
pub(crate) fn double_spread(quote: &Quote) -> i64 {
    quote.ask.0.saturating_sub(quote.bid.0).saturating_mul(2)
}

/// The spread in basis points of the mid price; 0 where a side is missing.
pub(crate) fn spread_bps(quote: &Quote) -> f64 {
    if !(quote.bid.is_some() && quote.ask.is_some()) {
        return 0.0;
    }
    let (bid, ask) = (quote.bid.0 as f64, quote.ask.0 as f64);
    (ask - bid) * 20_000.0 / (ask + bid)
}

/// The price between bid and ask towards which the sizes lean: at the ask when all is bid.
///
/// `(bid * ask_qty + ask * bid_qty) / (bid_qty + ask_qty)`, written so that the float holds the
/// part between the touches only. The caller knows that the quote is open.
#[inline]
pub(crate) fn micro(quote: &Quote) -> Price {
    let total = quote.bid_qty.0 as f64 + quote.ask_qty.0 as f64;
    let lean = if total > 0.0 {
        quote.bid_qty.0 as f64 / total
    } else {
        0.5
    };
    let spread = quote.ask.0.saturating_sub(quote.bid.0) as f64;
    Price(quote.bid.0.saturating_add((spread * lean) as i64))
}

/// `2^-x` for `x >= 0`, by multiplication and division only: a `exp2` from a library may differ
/// in its last bit between machines.
pub(crate) fn half_to_the(x: f64) -> f64 {
    assert!(x >= 0.0, "a half-life looks back");
    if x >= 1_000.0 {
        return 0.0;
    }
    let whole = x as u32;
    let rest = (x - whole as f64) * std::f64::consts::LN_2;
    // exp(-rest) for rest below 0.7: the twentieth term is far below the last bit.
    let (mut sum, mut term) = (1.0, 1.0);
    for n in 1..=24 {
        term *= -rest / n as f64;
        sum += term;
    }
    sum * power(0.5, whole as u64)
}

/// The natural logarithm of a number above 0 that is not below the smallest normal one, by addition,
/// multiplication and division only, to a few units of the last place.
///
/// With `x = m 2^e` and m between the roots of 1/2 and 2, `ln x = e ln 2 + 2 artanh((m - 1) / (m + 1))`.
pub(crate) fn ln(x: f64) -> f64 {
    assert!(x >= f64::MIN_POSITIVE && x.is_finite(), "has a logarithm");
    let bits = x.to_bits();
    let mut exponent = (bits >> 52) as i64 - 1023;
    let mut m = f64::from_bits(bits & ((1 << 52) - 1) | 1023 << 52);
    if m > std::f64::consts::SQRT_2 {
        m *= 0.5;
        exponent += 1;
    }
    let s = (m - 1.0) / (m + 1.0);
    let square = s * s;
    // The fifteenth term is below 0.03^14 / 29 of the first.
    let mut sum = 0.0;
    for n in (0..15).rev() {
        sum = sum * square + 1.0 / (2 * n + 1) as f64;
    }
    exponent as f64 * std::f64::consts::LN_2 + 2.0 * s * sum
}

/// `base^n` by squaring.
pub(crate) fn power(mut base: f64, mut n: u64) -> f64 {
    let mut result = 1.0;
    while n > 0 {
        if n & 1 == 1 {
            result *= base;
        }
        base *= base;
        n >>= 1;
    }
    result
}

#[cfg(test)]
mod tests {
    use bus::Qty;

    use super::*;

    #[test]
    fn half_lives_halve() {
        for x in [0.0, 0.001, 0.1, 0.5, 0.999, 1.0, 1.5, 7.25, 40.0] {
            let (ours, library) = (half_to_the(x), (-x).exp2());
            assert!(
                (ours - library).abs() <= 4.0 * f64::EPSILON * library,
                "{x}: {ours} {library}"
            );
        }
        assert_eq!(half_to_the(1e9), 0.0);
        assert_eq!(power(0.5, 10), 1.0 / 1024.0);
    }

    #[test]
    fn logarithms_are_those_of_a_library() {
        for x in [
            1.0, 1e-300, 0.5, 0.7, 0.75, 1.41, 1.42, 2.0, 10.0, 12_345.678, 9e18, 1e300,
        ] {
            let (ours, library): (f64, f64) = (ln(x), x.ln());
            let off = (ours - library).abs();
            assert!(
                off <= 2.0 * f64::EPSILON * library.abs().max(0.5),
                "{x}: {ours} {library}"
            );
        }
        assert_eq!(ln(1.0), 0.0);
    }

    #[test]
    fn the_micro_price_leans_to_the_larger_size() {
        let quote = |bid_qty, ask_qty| Quote {
            bid: Price(10_000),
            ask: Price(10_100),
            bid_qty: Qty(bid_qty),
            ask_qty: Qty(ask_qty),
        };
        assert_eq!(micro(&quote(300, 100)), Price(10_075));
        assert_eq!(micro(&quote(100, 300)), Price(10_025));
        assert_eq!(micro(&quote(0, 0)), Price(10_050));
    }

    #[test]
    fn limits_are_met_exactly_where_they_are() {
        // 20 basis points of 100.00 are 0.20.
        let hundred = 100 * Price::SCALE;
        let fifth = Price::SCALE / 5;
        assert_eq!(excess(fifth, hundred, Bps::whole(20)).signum(), 0);
        assert_eq!(excess(fifth + 1, hundred, Bps::whole(20)).signum(), 1);
        assert_eq!(excess(fifth - 1, hundred, Bps::whole(20)).signum(), -1);
        assert_eq!(Bps(250).to_string(), "2.5bps");
    }
}
