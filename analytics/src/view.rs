//! What is known of one symbol now.

use bus::signal::Volatility;
use bus::state::{StateError, StateReader, StateWriter};
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

    pub(crate) fn save(&self, out: &mut StateWriter<'_>) {
        let Quote {
            bid,
            ask,
            bid_qty,
            ask_qty,
        } = self.quote;
        for word in [bid.0, ask.0, bid_qty.0, ask_qty.0] {
            out.i64(word);
        }
        out.u8(self.phase as u8);
        out.bool(self.stale);
        out.u8(self.regime as u8);
        out.bool(self.regime_known);
        out.bool(self.spread_alert);
        out.f64(self.sigma_bps);
        out.i64(self.last_price.0);
        out.i64(self.last_qty.0);
        out.i64(self.last_ts.0);
        out.i64(self.volume.0);
        out.i128(self.notional.0);
        out.i64(self.high.0);
        out.i64(self.low.0);
        out.u32(self.trade_count);
        out.u32(self.broken_count);
    }

    pub(crate) fn load(from: &mut StateReader<'_>) -> Result<View, StateError> {
        Ok(View {
            quote: Quote {
                bid: Price(from.i64()?),
                ask: Price(from.i64()?),
                bid_qty: Qty(from.i64()?),
                ask_qty: Qty(from.i64()?),
            },
            phase: match from.u8()? {
                0 => Phase::Unknown,
                1 => Phase::Trading,
                2 => Phase::Halted,
                3 => Phase::QuoteOnly,
                other => return Err(from.error(format_args!("a phase, found {other}"))),
            },
            stale: from.bool()?,
            regime: match from.u8()? {
                0 => Volatility::Calm,
                1 => Volatility::Normal,
                2 => Volatility::Stressed,
                other => return Err(from.error(format_args!("a regime, found {other}"))),
            },
            regime_known: from.bool()?,
            spread_alert: from.bool()?,
            sigma_bps: from.f64()?,
            last_price: Price(from.i64()?),
            last_qty: Qty(from.i64()?),
            last_ts: Ts(from.i64()?),
            volume: Qty(from.i64()?),
            notional: Notional(from.i128()?),
            high: Price(from.i64()?),
            low: Price(from.i64()?),
            trade_count: from.u32()?,
            broken_count: from.u32()?,
        })
    }

    /// Volume-weighted average price of the session; `None` before the first trade.
    pub fn vwap(&self) -> Option<Price> {
        self.notional.per(self.volume)
    }
}
