//! A symbol's latest trades, in case one of them is broken.

use bus::state::{StateError, StateReader, StateWriter};

use super::pane::{Pane, Trade};
use super::policy::{Counts, Policy};

/// How many trades of a symbol are kept.
pub(super) const TRADES_KEPT: usize = 256;

/// A trade, and for what it counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    number: u64,
    /// Its place among the symbol's trades, from 1; 0 for none.
    pub(super) ordinal: u64,
    pub(super) ts: i64,
    pub(super) price: i64,
    pub(super) qty: i64,
    returned: i64,
    pub(super) watermark: i64,
    /// Three bits for each policy: whether it counts, in the range, and as last.
    bits: u16,
    /// 1 where a buyer took, 2 where a seller did.
    taker: u8,
    pub(super) is_broken: bool,
}

const _: () = assert!(size_of::<Kept>() == 64);

/// No return.
const NO_RETURN: i64 = i64::MIN;

impl Kept {
    pub(super) const NONE: Kept = Kept {
        number: 0,
        ordinal: 0,
        ts: 0,
        price: 0,
        qty: 0,
        returned: NO_RETURN,
        watermark: 0,
        bits: 0,
        taker: 0,
        is_broken: false,
    };

    #[inline]
    pub(super) fn new(
        trade: &Trade,
        number: u64,
        ordinal: u64,
        counts: impl Fn(Policy) -> Option<Counts>,
    ) -> Kept {
        let mut bits = 0;
        for policy in Policy::ALL {
            if let Some(counts) = counts(policy) {
                let three = 1 | u16::from(counts.in_range) << 1 | u16::from(counts.as_last) << 2;
                bits |= three << (3 * policy as usize);
            }
        }
        Kept {
            number,
            ordinal,
            ts: trade.ts,
            price: trade.price,
            qty: trade.qty,
            returned: trade.returned.unwrap_or(NO_RETURN),
            watermark: trade.watermark,
            bits,
            taker: u8::from(trade.bought > 0) | u8::from(trade.sold > 0) << 1,
            is_broken: false,
        }
    }

    pub(super) fn is_some(&self) -> bool {
        self.ordinal > 0
    }

    /// Whether it is the trade with this match number, and not broken yet.
    pub(super) fn is(&self, number: u64) -> bool {
        self.is_some() && self.number == number && !self.is_broken
    }

    pub(super) fn counts(&self, policy: Policy) -> Option<Counts> {
        let bits = self.bits >> (3 * policy as usize);
        (bits & 1 != 0).then_some(Counts {
            in_range: bits & 2 != 0,
            as_last: bits & 4 != 0,
        })
    }

    pub(super) fn trade(&self) -> Trade {
        let taken = |taker: u8| if self.taker == taker { self.qty } else { 0 };
        Trade {
            ts: self.ts,
            price: self.price,
            qty: self.qty,
            notional: i128::from(self.price) * i128::from(self.qty),
            bought: taken(1),
            sold: taken(2),
            returned: (self.returned != NO_RETURN).then_some(self.returned),
            watermark: self.watermark,
        }
    }

    pub(super) fn save(&self, out: &mut StateWriter<'_>) {
        out.u64(self.number);
        out.u64(self.ordinal);
        for word in [self.ts, self.price, self.qty, self.returned, self.watermark] {
            out.i64(word);
        }
        out.u16(self.bits);
        out.u8(self.taker);
        out.bool(self.is_broken);
    }

    pub(super) fn load(from: &mut StateReader<'_>) -> Result<Kept, StateError> {
        Ok(Kept {
            number: from.u64()?,
            ordinal: from.u64()?,
            ts: from.i64()?,
            price: from.i64()?,
            qty: from.i64()?,
            returned: from.i64()?,
            watermark: from.i64()?,
            bits: from.u16()?,
            taker: from.u8()?,
            is_broken: from.bool()?,
        })
    }
}

/// Takes a broken trade out of a pane that had it. Where sums do not tell what is left, the pane's
/// other trades are added anew, if all of them are kept; if not, nothing changes.
pub(super) fn remove(
    pane: &mut Pane,
    gone: &Kept,
    counts: Counts,
    kept: &[Kept],
    policy: Policy,
    had: impl Fn(&Kept) -> bool,
) -> bool {
    if pane.trade_count == 0 {
        return false;
    }
    if pane.remove(&gone.trade(), counts) {
        return true;
    }
    // In the order of their arrival, which decides between equal times: the ring, from its oldest.
    let oldest = kept.iter().enumerate().filter(|(_, kept)| kept.is_some());
    let oldest = oldest
        .min_by_key(|(_, kept)| kept.ordinal)
        .map_or(0, |(place, _)| place);
    let mut others = Pane::EMPTY;
    for one in kept[oldest..].iter().chain(&kept[..oldest]) {
        if !one.is_some() || one.is_broken || !had(one) {
            continue;
        }
        if let Some(counts) = one.counts(policy) {
            others.add(&one.trade(), counts);
        }
    }
    if others.trade_count + 1 != pane.trade_count {
        return false;
    }
    pane.take_trades(&others);
    true
}
