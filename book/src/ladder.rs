//! The prices near the best one of a side, each at a place of its own: nothing is searched for and
//! nothing moves when one comes or goes.
//!
//! ```text
//! rungs    base ............................ base + 63      one cent each, the better the higher
//! cells      └── rung % 64: the number of the level there
//! Book::cells    a bit for each cell that has a level, so that the best one is found by counting
//! ```
//!
//! Every price that has a rung at or above `base` is on its side's ladder, and none lies above
//! it: what would come there moves the ladder up first. Prices below `base`, and those that are no
//! whole cents, are sorted in [`crate::far`].

use bus::Price;

/// The rungs of a ladder.
pub(crate) const RUNGS: u32 = 64;
/// One cent, the usual distance of prices.
const TICK: u64 = 10_000_000;
/// Where in its ladder a price is put that moves it: there is more to come below the best price
/// than above.
pub(crate) const PLACE: u32 = 47;
/// A best price that fell below this place of its ladder moves it down.
pub(crate) const LOW: u32 = 16;

/// What turns a number of ticks into a rung and back, for bids and for asks.
const RUNG_MASKS: [u32; 2] = [0, u32::MAX];

/// The rung of a valid price, and whether it has one at all.
#[inline(always)]
pub(crate) fn rung_of(price: Price, side: usize) -> (u32, bool) {
    let ticks = price.0 as u64 / TICK;
    let has_one = (ticks.wrapping_mul(TICK) == price.0 as u64) & (ticks <= u64::from(u32::MAX));
    (ticks as u32 ^ RUNG_MASKS[side & 1], has_one)
}

/// The price of a rung.
pub(crate) fn price_at(rung: u32, side: usize) -> Price {
    Price((u64::from(rung ^ RUNG_MASKS[side & 1]) * TICK) as i64)
}

/// Whether a ladder that begins at `base` reaches this rung.
#[inline(always)]
pub(crate) fn reaches(base: u32, rung: u32) -> bool {
    rung.wrapping_sub(base) < RUNGS
}

/// The bit of a rung's cell.
#[inline(always)]
pub(crate) fn bit(rung: u32) -> u64 {
    1 << (rung % RUNGS)
}

/// The highest rung of the ladder that has a level; there must be one.
#[inline(always)]
pub(crate) fn top(cells: u64, base: u32) -> u32 {
    debug_assert!(cells != 0);
    base.wrapping_add(RUNGS - 1 - cells.rotate_right(base % RUNGS).leading_zeros())
}

/// Where the levels of a side's ladder are, all sides one after the other.
#[inline(always)]
pub(crate) fn index(symbol: u32, side: usize, rung: u32) -> usize {
    (symbol as usize * 2 + side) * RUNGS as usize + (rung % RUNGS) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::{BUY, SELL};

    #[test]
    fn a_better_price_has_a_higher_rung() {
        let rung = |cents: i64, side| rung_of(Price(cents * TICK as i64), side);
        assert_eq!(rung(100, BUY), (100, true));
        assert_eq!(price_at(rung(70, SELL).0, SELL), Price(70 * TICK as i64));
        assert!(rung(101, BUY).0 > rung(100, BUY).0);
        assert!(rung(101, SELL).0 < rung(100, SELL).0);
        assert!(!rung_of(Price(TICK as i64 + 1), BUY).1);
        assert!(rung(i64::from(u32::MAX), SELL).1 && !rung(1 << 32, SELL).1);
        assert!(!rung_of(Price(i64::MAX - 1), BUY).1);
    }

    #[test]
    fn the_top_is_the_highest_wherever_the_ladder_begins() {
        for base in [0, 1, 63, 64, 1_000, u32::MAX - 63] {
            for high in 0..RUNGS {
                let rungs = [base, base + high / 2, base + high];
                let cells = rungs.iter().fold(0, |cells, &rung| cells | bit(rung));
                assert_eq!(top(cells, base), base + high);
                assert!(reaches(base, base + high));
            }
            assert!(!reaches(base, base.wrapping_add(RUNGS)));
            assert!(!reaches(base, base.wrapping_sub(1)));
        }
    }
}
