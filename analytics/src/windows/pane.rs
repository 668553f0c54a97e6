//! What is kept of the trades of a stretch of time, so that stretches can be put together.

use bus::state::{StateError, StateReader, StateWriter};
use bus::{Applied, Event, Flags, Kind, Side};

use super::policy::Counts;

/// A trade, as panes need it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trade {
    pub(super) ts: i64,
    pub(super) price: i64,
    pub(super) qty: i64,
    pub(super) notional: i128,
    /// Of its quantity, what a buyer or a seller took; neither in auctions and where nobody says.
    pub(super) bought: i64,
    pub(super) sold: i64,
    /// The return since the print before, in 1e-9; none for the first.
    pub(super) returned: Option<i64>,
    /// The watermark when it came.
    pub(super) watermark: i64,
}

impl Trade {
    /// The print of an event, after the one at `before` (0 for none); `None` where there is none whose
    /// time is known.
    pub(super) fn of(
        event: &Event,
        applied: &Applied,
        before: i64,
        watermark: i64,
    ) -> Option<Trade> {
        let fill = &applied.fill;
        if fill.qty.0 <= 0 || event.flags.has(Flags::BAD_TS) {
            return None;
        }
        let taken = |side: Side| match event.kind != Kind::Cross && fill.aggressor == side {
            true => fill.qty.0,
            false => 0,
        };
        Some(Trade {
            ts: event.ts_event.0,
            price: fill.price.0,
            qty: fill.qty.0,
            notional: (fill.price * fill.qty).0,
            bought: taken(Side::Buy),
            sold: taken(Side::Sell),
            returned: (before > 0).then(|| return_e9(before, fill.price.0)),
            watermark,
        })
    }
}

/// The simple return from one price to the next in 1e-9, rounded to the nearest. Floats divide it, in
/// operations that IEEE 754 defines exactly; prices differ by less than they can tell apart only
/// where the return is 0 anyway.
#[inline]
fn return_e9(before: i64, now: i64) -> i64 {
    let ratio = (now - before) as f64 / before as f64 * 1e9;
    // Half away from zero; casts of floats stay within their bounds.
    (ratio + if ratio < 0.0 { -0.5 } else { 0.5 }) as i64
}

/// The sums of the trades of a stretch of time. All whole numbers, so that it does not matter in
/// which order trades and panes are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pane {
    /// Which one it is, where panes have numbers.
    pub(super) index: i64,
    pub(super) notional: i128,
    /// Sum of the squares of returns, in 1e-18.
    pub(super) squares: i128,
    pub(super) volume: i64,
    pub(super) bought: i64,
    pub(super) sold: i64,
    /// Highest and lowest price; `MIN` and `MAX` where no trade counts for them.
    pub(super) high: i64,
    pub(super) low: i64,
    /// First and last trade in the order of their times, then of their arrival; `MAX` and `MIN` for
    /// none.
    pub(super) open_ts: i64,
    pub(super) open: i64,
    pub(super) close_ts: i64,
    pub(super) close: i64,
    pub(super) trade_count: u32,
    pub(super) return_count: u32,
    /// Of the window that ends with this pane: how many of its trades came after its end.
    pub(super) late_count: u32,
    /// Of the same window: how often it was said, and whether it has changed since.
    pub(super) said_count: u16,
    pub(super) is_dirty: bool,
}

const _: () = assert!(size_of::<Pane>() == 128);

impl Pane {
    /// No trades.
    pub(super) const EMPTY: Pane = Pane {
        index: i64::MIN,
        notional: 0,
        squares: 0,
        volume: 0,
        bought: 0,
        sold: 0,
        high: i64::MIN,
        low: i64::MAX,
        open_ts: i64::MAX,
        open: 0,
        close_ts: i64::MIN,
        close: 0,
        trade_count: 0,
        return_count: 0,
        late_count: 0,
        said_count: 0,
        is_dirty: false,
    };

    pub(super) fn numbered(index: i64) -> Pane {
        Pane {
            index,
            ..Pane::EMPTY
        }
    }

    #[inline]
    pub(super) fn add(&mut self, trade: &Trade, counts: Counts) {
        self.notional += trade.notional;
        self.volume += trade.qty;
        self.bought += trade.bought;
        self.sold += trade.sold;
        self.trade_count += 1;
        if counts.in_range {
            self.high = self.high.max(trade.price);
            self.low = self.low.min(trade.price);
        }
        if counts.as_last {
            if trade.ts < self.open_ts {
                (self.open_ts, self.open) = (trade.ts, trade.price);
            }
            if trade.ts >= self.close_ts {
                (self.close_ts, self.close) = (trade.ts, trade.price);
            }
            if let Some(returned) = trade.returned {
                self.squares += i128::from(returned) * i128::from(returned);
                self.return_count += 1;
            }
        }
    }

    /// Takes a trade away, if what is left can be told from sums: a trade at the edge of prices or
    /// times leaves another one there, and which is not known here.
    pub(super) fn remove(&mut self, trade: &Trade, counts: Counts) -> bool {
        let is_edge = counts.in_range && (trade.price >= self.high || trade.price <= self.low)
            || counts.as_last && (trade.ts <= self.open_ts || trade.ts >= self.close_ts);
        if is_edge && self.trade_count > 1 {
            return false;
        }
        self.notional -= trade.notional;
        self.volume -= trade.qty;
        self.bought -= trade.bought;
        self.sold -= trade.sold;
        self.trade_count -= 1;
        if let Some(returned) = trade.returned.filter(|_| counts.as_last) {
            self.squares -= i128::from(returned) * i128::from(returned);
            self.return_count -= 1;
        }
        if self.trade_count == 0 {
            self.take_trades(&Pane::EMPTY);
        }
        true
    }

    /// Adds the trades of another stretch.
    #[inline]
    pub(super) fn merge(&mut self, other: &Pane) {
        self.notional += other.notional;
        self.squares += other.squares;
        self.volume += other.volume;
        self.bought += other.bought;
        self.sold += other.sold;
        self.high = self.high.max(other.high);
        self.low = self.low.min(other.low);
        if other.open_ts < self.open_ts {
            (self.open_ts, self.open) = (other.open_ts, other.open);
        }
        if other.close_ts >= self.close_ts {
            (self.close_ts, self.close) = (other.close_ts, other.close);
        }
        self.trade_count += other.trade_count;
        self.return_count += other.return_count;
    }

    /// The trades of another one instead of its own.
    pub(super) fn take_trades(&mut self, other: &Pane) {
        *self = Pane {
            index: self.index,
            late_count: self.late_count,
            said_count: self.said_count,
            is_dirty: self.is_dirty,
            ..*other
        };
    }

    pub(super) fn save(&self, out: &mut StateWriter<'_>) {
        out.i64(self.index);
        out.i128(self.notional);
        out.i128(self.squares);
        for word in [
            self.volume,
            self.bought,
            self.sold,
            self.high,
            self.low,
            self.open_ts,
            self.open,
            self.close_ts,
            self.close,
        ] {
            out.i64(word);
        }
        out.u32(self.trade_count);
        out.u32(self.return_count);
        out.u32(self.late_count);
        out.u16(self.said_count);
        out.bool(self.is_dirty);
    }

    pub(super) fn load(from: &mut StateReader<'_>) -> Result<Pane, StateError> {
        Ok(Pane {
            index: from.i64()?,
            notional: from.i128()?,
            squares: from.i128()?,
            volume: from.i64()?,
            bought: from.i64()?,
            sold: from.i64()?,
            high: from.i64()?,
            low: from.i64()?,
            open_ts: from.i64()?,
            open: from.i64()?,
            close_ts: from.i64()?,
            close: from.i64()?,
            trade_count: from.u32()?,
            return_count: from.u32()?,
            late_count: from.u32()?,
            said_count: from.u16()?,
            is_dirty: from.bool()?,
        })
    }
}
