//! What is kept of one symbol besides its orders and levels.

use bus::{Phase, Price, Qty, Quote};
use bytemuck::Zeroable;

use crate::sides::{Piece, price_of};

/// The number of bids, where sides are numbered.
pub(crate) const BUY: usize = 0;
/// The number of asks.
pub(crate) const SELL: usize = 1;

const NEAR: usize = 16;
/// One cent, the usual distance of prices. Where it is another one, more has to be searched.
const TICK: u64 = 10_000_000;

/// Where a price has its level among the near ones.
#[inline(always)]
pub(crate) fn near_index(price: Price) -> usize {
    (price.0 as u64 / TICK) as usize % NEAR
}

/// One symbol's book, all zero at the start: a cache line of its own, and one for each side, of
/// which only the one is needed that is added to.
#[derive(Clone, Copy, Debug, Zeroable)]
#[repr(C, align(64))]
pub(crate) struct Book {
    pub(crate) best: [Best; 2],
    pub(crate) pieces: [Piece; 2],
    pub(crate) classes: [u8; 2],
    /// [`Phase`] as a number.
    pub(crate) phase: u8,
    /// Crossed while trading, as of the last change.
    pub(crate) is_crossed: u8,
    /// An event named this symbol without an order. (Orders leave pieces.)
    pub(crate) is_named: u8,
    /// Something was left out for want of room.
    pub(crate) is_cut: u8,
    reserved: [u8; 2],
    pub(crate) evidence: u32,
    reserved_too: u32,
    /// The level that each price near the best probably has: by the last bits of its number of
    /// ticks, for each side. What is found here must be checked.
    pub(crate) near: [[u32; NEAR]; 2],
}

const _: () = assert!(size_of::<Book>() == 3 * 64);
const _: () = assert!(std::mem::offset_of!(Book, near) == 64);

/// The last entry of a side and its level's quantity; zeros for an empty side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Zeroable)]
#[repr(C)]
pub(crate) struct Best {
    pub(crate) key: u64,
    pub(crate) qty: i64,
}

impl Book {
    /// Whether an event named this symbol.
    pub(crate) fn is_known(&self) -> bool {
        self.is_named != 0 || self.pieces.iter().any(|piece| piece.start != 0)
    }

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
