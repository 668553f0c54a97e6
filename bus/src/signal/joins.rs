//! What is said of two symbols: rows of joins, and the best prices of an instrument.

use super::words::side;
use crate::fixed::{Price, Qty, Ts};

/// A row of a join: a record of the signal's symbol, at the signal's `ts_event`, and what it meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Join {
    /// The event that the left record is of.
    pub left_seq: u64,
    #[allow(missing_docs)]
    pub left: JoinValue,
    /// What it meets.
    pub right: Met,
}

/// What a record of a joined stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinValue {
    /// A print, and who took.
    Trade(crate::Fill),
    /// The best prices as they are from then on.
    Quote(crate::Quote),
}

/// What a left record meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// Nothing.
    Nothing,
    /// A record of the other stream.
    Record {
        /// Of this symbol.
        symbol: u32,
        /// Its event.
        ts: Ts,
        #[allow(missing_docs)]
        seq: u64,
        #[allow(missing_docs)]
        value: JoinValue,
    },
    /// A row of the join's table, from 0 in the order of the file.
    Row(u32),
}

impl JoinValue {
    pub(super) const fn code(&self) -> i64 {
        match self {
            JoinValue::Trade(_) => 1,
            JoinValue::Quote(_) => 2,
        }
    }

    /// As four words, for states.
    pub fn to_words(self) -> [i64; 4] {
        match self {
            JoinValue::Trade(fill) => [fill.price.0, fill.qty.0, fill.aggressor as i64, 0],
            JoinValue::Quote(quote) => [quote.bid.0, quote.ask.0, quote.bid_qty.0, quote.ask_qty.0],
        }
    }

    /// What those words were of: a trade, or else a quote. `None` where they were of none.
    pub fn from_words(is_trade: bool, w: [i64; 4]) -> Option<JoinValue> {
        Some(match is_trade {
            true => JoinValue::Trade(crate::Fill {
                price: Price(w[0]),
                qty: Qty(w[1]),
                aggressor: side(w[2])?,
            }),
            false => JoinValue::Quote(crate::Quote {
                bid: Price(w[0]),
                ask: Price(w[1]),
                bid_qty: Qty(w[2]),
                ask_qty: Qty(w[3]),
            }),
        })
    }

    pub(super) fn read(code: i64, words: &[i64]) -> Option<JoinValue> {
        match code {
            1 | 2 => JoinValue::from_words(code == 1, words.try_into().ok()?),
            _ => None,
        }
    }
}

/// The best prices of all symbols that are one instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Best {
    /// The highest bid and the lowest ask; no price where no symbol has one.
    pub bid: Price,
    #[allow(missing_docs)]
    pub ask: Price,
    /// What all have there together, in units of 10 to the power of minus `decimals`.
    pub bid_qty: i128,
    #[allow(missing_docs)]
    pub ask_qty: i128,
    /// Which have it: a bit for each symbol in the order of the settings.
    pub bid_on: u8,
    #[allow(missing_docs)]
    pub ask_on: u8,
    /// Which count; others are silent, stale, halted or crossed in themselves.
    pub counts: u8,
    #[allow(missing_docs)]
    pub decimals: u8,
}

impl Best {
    /// No symbol counts.
    pub const NONE: Best = Best {
        bid: Price::NONE,
        ask: Price::NONE,
        bid_qty: 0,
        ask_qty: 0,
        bid_on: 0,
        ask_on: 0,
        counts: 0,
        decimals: 0,
    };
}
