//! What is kept of one symbol besides its orders and levels.

use bus::{Phase, Price, Qty, Quote};
use bytemuck::Zeroable;

use crate::far::price_of;

/// The number of bids, where sides are numbered.
pub(crate) const BUY: usize = 0;
/// The number of asks.
pub(crate) const SELL: usize = 1;

/// One symbol's book, all zero at the start, in one cache line.
#[derive(Clone, Copy, Debug, Zeroable)]
#[repr(C, align(64))]
pub(crate) struct Book {
    pub(crate) best: [Best; 2],
    /// Which cells of each side's ladder have a level; see [`crate::ladder`].
    pub(crate) cells: [u64; 2],
    /// The lowest rung of each side's ladder.
    pub(crate) base: [u32; 2],
    /// [`Phase`] as a number.
    pub(crate) phase: u8,
    /// Crossed while trading, as of the last change.
    pub(crate) is_crossed: u8,
    /// [`NAMED`] and [`CUT`].
    pub(crate) marks: u8,
    /// One bit for each side: it has, or had, a price that has no rung.
    pub(crate) odd: u8,
    pub(crate) evidence: u32,
}

const _: () = assert!(size_of::<Book>() == 64);

/// An event named this symbol.
pub(crate) const NAMED: u8 = 1;
/// Something was left out for want of room.
pub(crate) const CUT: u8 = 2;

/// The best price of a side and what is shown there; zeros for an empty side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Zeroable)]
#[repr(C)]
pub(crate) struct Best {
    pub(crate) key: u64,
    pub(crate) qty: i64,
}

impl Book {
    #[inline(always)]
    pub(crate) fn quote(&self) -> Quote {
        let [bid, ask] = self.best;
        Quote {
            bid: if bid.key == 0 {
                Price::NONE
            } else {
                price_of(bid.key, BUY)
            },
            // The key 0 is the price "none" on this side.
            ask: price_of(ask.key, SELL),
            bid_qty: Qty(bid.qty),
            ask_qty: Qty(ask.qty),
        }
    }

    /// Whether the best bid is at or above the best ask: with `ask = MAX - ask.key`, both keys
    /// together reach MAX. A side without orders has key 0, and the other one alone cannot.
    #[inline(always)]
    pub(crate) fn is_crossed_now(&self) -> bool {
        (self.best[BUY].key + self.best[SELL].key >= i64::MAX as u64)
            & (self.phase == Phase::Trading as u8)
    }
}
