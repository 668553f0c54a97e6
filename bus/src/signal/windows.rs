//! What is said of windows, and of prints that windows keep.

use crate::fixed::{Notional, Price, Qty, Ts};

/// A closed event-time window: `[start, end)`, with `end` the signal's `ts_event`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its first nanosecond.
    pub start: Ts,
    /// First, highest, lowest and last price.
    pub open: Price,
    #[allow(missing_docs)]
    pub high: Price,
    #[allow(missing_docs)]
    pub low: Price,
    #[allow(missing_docs)]
    pub close: Price,
    /// Shares traded.
    pub volume: Qty,
    /// Sum of price times shares.
    pub notional: Notional,
    /// How many prints.
    pub trade_count: u32,
    /// How many of them came after the watermark had passed the window's end.
    pub late_count: u32,
    /// How often it was said before.
    pub revision: u32,
    /// Whether it will not be said again.
    pub is_final: bool,
}

/// What trades did within a window. It follows the window that it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowFlow {
    /// The window's first nanosecond.
    pub start: Ts,
    /// What buyers took, and sellers; `None` where nobody asked.
    pub bought: Option<Qty>,
    #[allow(missing_docs)]
    pub sold: Qty,
    /// Sum of the squares of returns, in 1e-18; `None` where nobody asked.
    pub squares: Option<i128>,
    /// How many returns.
    pub return_count: u32,
    /// Size of a trade at 50, 95 and 99 of a hundred; `None` where nobody asked.
    pub sizes: Option<[Qty; 3]>,
}

/// What stood within a window, each a number times nanoseconds. It follows the window that it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowStanding {
    /// The window's first nanosecond.
    pub start: Ts,
    /// Of the last price, over the time that there was one.
    pub price_ns: i128,
    #[allow(missing_docs)]
    pub priced_ns: i64,
    /// Of the spread and of the quantities at the best prices, over the time that there was a quote.
    pub spread_ns: i128,
    #[allow(missing_docs)]
    pub bid_qty_ns: i128,
    #[allow(missing_docs)]
    pub ask_qty_ns: i128,
    #[allow(missing_docs)]
    pub quoted_ns: i64,
    /// Order-flow imbalance.
    pub ofi: Qty,
    /// How often the quote changed.
    pub moves: u32,
}

/// A broken print that windows keep. The signal's `ts_event` is the end of the last of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adjust {
    /// The start of the first of them.
    pub start: Ts,
    /// The print's match number.
    pub match_number: u64,
    /// What it was; no price where that is not known any more.
    pub price: Price,
    #[allow(missing_docs)]
    pub qty: Qty,
    /// Why they keep it.
    pub reason: AdjustReason,
    /// How many windows.
    pub window_count: u32,
}

/// Why windows keep a broken print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum AdjustReason {
    /// They are final.
    Closed = 0,
    /// They are open, but what they would be without it is not known any more.
    Beyond = 1,
    /// The print is not known any more, nor which windows have it.
    Unknown = 2,
}

impl AdjustReason {
    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            AdjustReason::Closed => "closed",
            AdjustReason::Beyond => "beyond_memory",
            AdjustReason::Unknown => "unknown_trade",
        }
    }
}

/// A trade that counts in no window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Late {
    /// At which price.
    pub price: Price,
    /// How much.
    pub qty: Qty,
    /// How far the watermark was past the window's end, in ns.
    pub late_ns: i64,
    /// Why.
    pub reason: LateReason,
}

/// Why a trade counts in no window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum LateReason {
    /// Its window had closed.
    Closed = 0,
    /// Its time was far in the future.
    Future = 1,
}

/// A broken print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Its match number.
    pub match_number: u64,
}
