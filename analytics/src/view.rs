//! What is known of one symbol now.

use bus::signal::Volatility;
use bus::{Notional, Phase, Price, Qty, Quote, Ts};

/// What is known of one symbol now; each analytic fills its own fields and may read the rest.
///
/// The first cache line has all that a change of the quote needs; a trade needs the second too.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(64))]
pub struct View {
    /// The quote after the latest event.
    pub quote: Quote,
    /// Whether the symbol may trade.
    pub phase: Phase,
    /// Whether messages were lost, so that the book may be wrong.
    pub stale: bool,
    /// How lively it is; `Normal` until enough is known.
    pub regime: Volatility,
    /// Whether enough is known for a verdict on the regime.
    pub regime_known: bool,
    /// Whether a spread alert stands.
    pub spread_alert: bool,
    /// The volatility estimate, in basis points per square root of a second; 0 at first.
    pub sigma_bps: f64,

    /// The latest trade; no price before the first.
    pub last_price: Price,
    #[allow(missing_docs)]
    pub last_qty: Qty,
    #[allow(missing_docs)]
    pub last_ts: Ts,
    /// Shares traded.
    pub volume: Qty,
    /// Sum of price times shares.
    pub notional: Notional,
    /// Highest and lowest price traded; no price before the first trade.
    pub high: Price,
    #[allow(missing_docs)]
    pub low: Price,
    /// How many prints.
    pub trade_count: u32,
    /// How many prints were broken. Totals and windows keep them: what was concluded on them
    /// cannot be taken back, and who needs the corrected sum has the match numbers.
    pub broken_count: u32,
}

const _: () = assert!(size_of::<View>() == 128);

impl View {
    /// Nothing is known.
    pub const EMPTY: View = View {
        quote: Quote::EMPTY,
        phase: Phase::Unknown,
        stale: false,
        regime: Volatility::Normal,
        regime_known: false,
        spread_alert: false,
        sigma_bps: 0.0,
        last_price: Price::NONE,
        last_qty: Qty(0),
        last_ts: Ts(0),
        volume: Qty(0),
        notional: Notional(0),
        high: Price::NONE,
        low: Price::NONE,
        trade_count: 0,
        broken_count: 0,
    };

    /// Whether the quote says something about the market: two sides, not crossed, nothing lost,
    /// and not halted. A symbol of which the feed said nothing yet counts as trading, because a
    /// capture may begin in the middle of a day.
    #[inline]
    pub fn is_measurable(&self) -> bool {
        matches!(self.phase, Phase::Trading | Phase::Unknown) && !self.stale && self.quote.is_open()
    }

    /// Whether one may trade on the quote: as measurable, and the feed said so.
    #[inline]
    pub fn is_tradable(&self) -> bool {
        self.phase == Phase::Trading && !self.stale && self.quote.is_open()
    }

    /// Volume-weighted average price of the session; `None` before the first trade.
    pub fn vwap(&self) -> Option<Price> {
        self.notional.per(self.volume)
    }
}
