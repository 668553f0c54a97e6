//! Whether an order may leave.
//!
//! Everything is counted per symbol and in event time, so that the answer does not depend on how
//! many shards there are or how fast they run. What stops orders from outside is looked at when an
//! order is sent, not here.
//!
//! What became of an order is not known here, because when it is told is a matter of luck. So what
//! passed counts as open, and for a position as filled, whichever is worse.

use bus::planted::{self, Bug};
use bus::signal::{Order, Reject, RejectCode};
use bus::state::{StateError, StateReader, StateWriter};
use bus::{Phase, Price, Qty, Quote, Side, Ts};

use crate::intent::Intent;
use crate::number::{Bps, double_mid, excess};

/// The limits.
#[derive(Clone, Debug, PartialEq)]
pub struct RiskConfig {
    /// Most shares of one order.
    pub qty_max: Qty,
    /// Most currency of one order, in whole units.
    pub notional_max: i64,
    /// Furthest a price may be from the mid of the live book, to either side.
    pub collar: Bps,
    /// Most orders of one symbol within any second of event time. 0 lets none pass.
    pub orders_per_second: u32,
    /// Furthest a price may be from the last trade, to either side. Before the first trade no order
    /// passes then.
    pub collar_last: Option<Bps>,
    /// For how long the same side, price and quantity may not come again: up to a second, 0 for not
    /// at all.
    pub duplicate_ns: i64,
    /// Symbols that may not be traded.
    pub restricted: Vec<[u8; 8]>,
    /// From when on, and before when, since midnight.
    pub hours_ns: Option<(i64, i64)>,
    /// The trading day's midnight.
    pub midnight: Ts,
    /// Whether an order is refused that an earlier one of ours, of the other side, could trade with.
    pub refuses_self_trade: bool,
    /// Most of one side of a symbol: the position if all of that is filled, and none of the other.
    pub position_max: Option<Qty>,
    /// Most notional of all orders of a symbol, and of those of one side, in whole units.
    pub gross_max: Option<i64>,
    #[allow(missing_docs)]
    pub net_max: Option<i64>,
}

impl RiskConfig {
    /// Whether what passed must be added up.
    fn adds_up(&self) -> bool {
        self.refuses_self_trade
            || self.position_max.is_some()
            || self.gross_max.is_some()
            || self.net_max.is_some()
    }
}

impl Default for RiskConfig {
    fn default() -> RiskConfig {
        RiskConfig {
            qty_max: Qty(5_000),
            notional_max: 250_000,
            collar: Bps::whole(300),
            orders_per_second: 5,
            collar_last: None,
            duplicate_ns: 0,
            restricted: Vec::new(),
            hours_ns: None,
            midnight: Ts(0),
            refuses_self_trade: false,
            position_max: None,
            gross_max: None,
            net_max: None,
        }
    }
}

/// The gate, with what it remembers of each symbol.
#[derive(Debug)]
pub struct Risk {
    config: RiskConfig,
    /// For each symbol the times of its latest orders that passed, a ring of
    /// `orders_per_second`: an order may pass when the oldest is a second ago.
    passed: Vec<Ts>,
    oldest: Vec<u32>,
    /// What those were, in the same places; empty where duplicates may pass.
    kept: Vec<Kept>,
    is_restricted: Vec<bool>,
    /// What passed of each symbol; empty where it need not be added up.
    sums: Vec<Sums>,
}

/// What makes an order a duplicate of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kept {
    side: Side,
    price: Price,
    qty: Qty,
}

impl Kept {
    const NONE: Kept = Kept {
        side: Side::None,
        price: Price::NONE,
        qty: Qty(0),
    };
}

/// What passed of one side of a symbol, and the price at which the other side would meet it first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    qty: i64,
    notional: i128,
    /// 0 for none.
    best: i64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    bought: Sum,
    sold: Sum,
}

impl Risk {
    /// A gate for symbol numbers up to `symbols_max`.
    pub fn new(config: RiskConfig, symbols_max: usize) -> Risk {
        assert!(config.qty_max.0 >= 0 && config.notional_max >= 0 && config.collar.0 >= 0);
        // Orders are remembered for a second, which is as long as the rate needs them.
        assert!((0..=Ts::SECOND_NS).contains(&config.duplicate_ns));
        let ring = config.orders_per_second as usize;
        let symbols = symbols_max + 1;
        let kept = ring * symbols * usize::from(config.duplicate_ns > 0);
        let sums = symbols * usize::from(config.adds_up());
        Risk {
            config,
            passed: vec![Ts(0); ring * symbols],
            oldest: vec![0; symbols],
            kept: vec![Kept::NONE; kept],
            is_restricted: vec![false; symbols],
            sums: vec![Sums::default(); sums],
        }
    }

    /// The feed said what a symbol is called.
    pub fn on_symbol(&mut self, symbol: u32, letters: &[u8; 8]) {
        if let Some(is_restricted) = self.is_restricted.get_mut(symbol as usize) {
            *is_restricted = self.config.restricted.contains(letters);
        }
    }

    /// The order, or why not. An order that passes counts against the rate, a refused one does
    /// not.
    ///
    /// The first rule that refuses is the one that is named, in this order: restricted, hours,
    /// halted, book, size, notional, collar, collar_last, self_trade, position, gross, net,
    /// duplicate, rate.
    pub fn check(
        &mut self,
        symbol: u32,
        ts_event: Ts,
        intent: &Intent,
        quote: &Quote,
        phase: Phase,
        stale: bool,
    ) -> Result<Order, Reject> {
        let order = self.verdict(symbol, ts_event, intent, quote, phase, stale)?;
        self.pass(symbol, ts_event, &order);
        Ok(order)
    }

    /// What [`Risk::check`] would say, with nothing counted.
    #[inline]
    pub fn verdict(
        &self,
        symbol: u32,
        ts_event: Ts,
        intent: &Intent,
        quote: &Quote,
        phase: Phase,
        stale: bool,
    ) -> Result<Order, Reject> {
        let order = Order {
            side: intent.side,
            price: intent.price,
            qty: intent.qty,
            bid: intent.quote.bid,
            ask: intent.quote.ask,
            tif: intent.tif,
        };
        let refuse = |(code, limit, value)| Reject {
            order,
            code,
            limit,
            value,
        };
        self.restricted(symbol).map_err(refuse)?;
        self.hours(ts_event).map_err(refuse)?;
        self.halted(phase).map_err(refuse)?;
        self.book(quote, stale).map_err(refuse)?;
        self.size(&order).map_err(refuse)?;
        self.notional(&order).map_err(refuse)?;
        self.collar(&order, quote).map_err(refuse)?;
        self.collar_last(&order, intent.last).map_err(refuse)?;
        self.sums(symbol, &order).map_err(refuse)?;
        self.duplicate(symbol, ts_event, &order).map_err(refuse)?;
        self.rate(symbol, ts_event).map_err(refuse)?;
        Ok(order)
    }

    /// Counts an order that is to leave, of which [`Risk::verdict`] said just now that it may.
    #[inline]
    pub fn pass(&mut self, symbol: u32, ts_event: Ts, order: &Order) {
        let limit = self.config.orders_per_second;
        let oldest = &mut self.oldest[symbol as usize];
        let place = limit as usize * symbol as usize + *oldest as usize;
        self.passed[place] = ts_event;
        if let Some(kept) = self.kept.get_mut(place) {
            *kept = Kept {
                side: order.side,
                price: order.price,
                qty: order.qty,
            };
        }
        *oldest = (*oldest + 1) % limit;
        self.add(symbol, order);
    }

    /// Saves what it remembers of a symbol.
    pub fn save(&self, symbol: u32, out: &mut StateWriter<'_>) {
        let ring = self.config.orders_per_second as usize;
        out.u32(ring as u32);
        out.u32(self.oldest[symbol as usize]);
        for ts in &self.passed[ring * symbol as usize..][..ring] {
            out.i64(ts.0);
        }
        // The settings are part of what a state must fit, so what of this is there is known.
        if !self.kept.is_empty() {
            for kept in &self.kept[ring * symbol as usize..][..ring] {
                out.u8(kept.side as u8);
                out.i64(kept.price.0);
                out.i64(kept.qty.0);
            }
        }
        if let Some(Sums { bought, sold }) = self.sums.get(symbol as usize) {
            for sum in [bought, sold] {
                out.i64(sum.qty);
                out.i128(sum.notional);
                out.i64(sum.best);
            }
        }
    }

    /// Loads that, for a gate with the same rate.
    pub fn load(&mut self, symbol: u32, from: &mut StateReader<'_>) -> Result<(), StateError> {
        let ring = self.config.orders_per_second as usize;
        if from.u32()? as usize != ring {
            return Err(from.error(format_args!("a rate of {ring} orders per second")));
        }
        let symbols = self.oldest.len();
        let Some(oldest) = self.oldest.get_mut(symbol as usize) else {
            return Err(from.error(format_args!("a symbol below {symbols}, found {symbol}")));
        };
        *oldest = from.u32()?;
        if *oldest as usize >= ring.max(1) {
            return Err(from.error(format_args!("a place among {ring} orders")));
        }
        for ts in &mut self.passed[ring * symbol as usize..][..ring] {
            let passed = Ts(from.i64()?);
            if !planted::is(Bug::RiskNotRestored) {
                *ts = passed;
            }
        }
        if !self.kept.is_empty() {
            for kept in &mut self.kept[ring * symbol as usize..][..ring] {
                let side = match from.u8()? {
                    side if side == Side::None as u8 => Side::None,
                    side if side == Side::Buy as u8 => Side::Buy,
                    side if side == Side::Sell as u8 => Side::Sell,
                    other => return Err(from.error(format_args!("a side, found {other}"))),
                };
                *kept = Kept {
                    side,
                    price: Price(from.i64()?),
                    qty: Qty(from.i64()?),
                };
            }
        }
        if let Some(Sums { bought, sold }) = self.sums.get_mut(symbol as usize) {
            for sum in [bought, sold] {
                *sum = Sum {
                    qty: from.i64()?,
                    notional: from.i128()?,
                    best: from.i64()?,
                };
            }
        }
        Ok(())
    }

    fn restricted(&self, symbol: u32) -> Verdict {
        match self.is_restricted[symbol as usize] {
            false => Ok(()),
            true => Err((RejectCode::Restricted, 0, 1)),
        }
    }

    /// From the first on, and before the second.
    fn hours(&self, ts_event: Ts) -> Verdict {
        let Some((from, until)) = self.config.hours_ns else {
            return Ok(());
        };
        let at = ts_event.since(self.config.midnight);
        match (at < from, at >= until) {
            (false, false) => Ok(()),
            (true, _) => Err((RejectCode::Hours, from, at)),
            (false, true) => Err((RejectCode::Hours, until, at)),
        }
    }

    /// Nothing may be sent unless the feed said that the symbol trades.
    fn halted(&self, phase: Phase) -> Verdict {
        match phase {
            Phase::Trading => Ok(()),
            Phase::Unknown | Phase::Halted | Phase::QuoteOnly => {
                Err((RejectCode::Halted, Phase::Trading as i64, phase as i64))
            }
        }
    }

    fn book(&self, quote: &Quote, stale: bool) -> Verdict {
        match quote.is_open() && !stale {
            true => Ok(()),
            // As value, what is wrong: 1 for lost messages, 2 for a side missing or crossed.
            false => Err((RejectCode::Book, 0, if stale { 1 } else { 2 })),
        }
    }

    fn size(&self, order: &Order) -> Verdict {
        let has_side = order.side != Side::None;
        match has_side && order.qty.0 > 0 && order.qty <= self.config.qty_max {
            true => Ok(()),
            false => Err((RejectCode::Size, self.config.qty_max.0, order.qty.0)),
        }
    }

    fn notional(&self, order: &Order) -> Verdict {
        let value = (order.price * order.qty).0;
        let unit = Price::SCALE as i128;
        if value <= self.config.notional_max as i128 * unit {
            return Ok(());
        }
        // Rounded up, so that the value named is above the limit named.
        let whole = (value + unit - 1) / unit;
        Err((RejectCode::Notional, self.config.notional_max, clamp(whole)))
    }

    fn collar(&self, order: &Order, quote: &Quote) -> Verdict {
        let mid = double_mid(quote);
        let distance = order
            .price
            .0
            .saturating_mul(2)
            .saturating_sub(mid)
            .saturating_abs();
        if excess(distance, mid, self.config.collar) <= 0 {
            return Ok(());
        }
        let (part, whole) = (distance as i128 * Bps::ONE.0 as i128, mid.max(1) as i128);
        Err((
            RejectCode::Collar,
            self.config.collar.0,
            clamp((part + whole - 1) / whole),
        ))
    }

    fn collar_last(&self, order: &Order, last: Price) -> Verdict {
        let Some(collar) = self.config.collar_last else {
            return Ok(());
        };
        if !last.is_some() {
            return Err((RejectCode::CollarLast, collar.0, i64::MAX));
        }
        let distance = order.price.0.saturating_sub(last.0).saturating_abs();
        if excess(distance, last.0, collar) <= 0 {
            return Ok(());
        }
        let (part, whole) = (distance as i128 * Bps::ONE.0 as i128, last.0.max(1) as i128);
        let value = clamp((part + whole - 1) / whole);
        Err((RejectCode::CollarLast, collar.0, value))
    }

    /// What there would be with this order, all that passed before counted as it is worst.
    fn sums(&self, symbol: u32, order: &Order) -> Verdict {
        let Some(Sums { bought, sold }) = self.sums.get(symbol as usize) else {
            return Ok(());
        };
        let (mine, other) = match order.side {
            Side::Buy | Side::None => (bought, sold),
            Side::Sell => (sold, bought),
        };
        if self.config.refuses_self_trade && other.best != 0 {
            let meets = match order.side {
                Side::Buy | Side::None => order.price.0 >= other.best,
                Side::Sell => order.price.0 <= other.best,
            };
            if meets {
                return Err((RejectCode::SelfTrade, other.best, order.price.0));
            }
        }
        let qty = mine.qty.saturating_add(order.qty.0);
        if let Some(max) = self.config.position_max
            && qty > max.0
        {
            return Err((RejectCode::Position, max.0, qty));
        }
        let mine = mine.notional + (order.price * order.qty).0;
        let limits = [
            (
                RejectCode::Gross,
                self.config.gross_max,
                mine + other.notional,
            ),
            (RejectCode::Net, self.config.net_max, mine),
        ];
        for (code, max, value) in limits {
            let unit = Price::SCALE as i128;
            if let Some(max) = max
                && value > max as i128 * unit
            {
                return Err((code, max, clamp((value + unit - 1) / unit)));
            }
        }
        Ok(())
    }

    fn add(&mut self, symbol: u32, order: &Order) {
        let Some(sums) = self.sums.get_mut(symbol as usize) else {
            return;
        };
        let (sum, is_sale) = match order.side {
            Side::Buy | Side::None => (&mut sums.bought, false),
            Side::Sell => (&mut sums.sold, true),
        };
        let is_nearer = match is_sale {
            false => order.price.0 > sum.best,
            true => order.price.0 < sum.best,
        };
        sum.qty = sum.qty.saturating_add(order.qty.0);
        sum.notional += (order.price * order.qty).0;
        if sum.best == 0 || is_nearer {
            sum.best = order.price.0;
        }
    }

    /// Of what passed within the window, which the rate remembers all of.
    fn duplicate(&self, symbol: u32, ts_event: Ts, order: &Order) -> Verdict {
        if self.kept.is_empty() {
            return Ok(());
        }
        let ring = self.config.orders_per_second as usize;
        let range = ring * symbol as usize..ring * (symbol as usize + 1);
        let again = Kept {
            side: order.side,
            price: order.price,
            qty: order.qty,
        };
        let window = self.config.duplicate_ns;
        let pairs = self.passed[range.clone()].iter().zip(&self.kept[range]);
        let ages = pairs
            .filter(|(_, kept)| **kept == again)
            .map(|(ts, _)| ts_event.since(*ts));
        match ages.min().filter(|age| *age < window) {
            None => Ok(()),
            Some(age) => Err((RejectCode::Duplicate, window, age)),
        }
    }

    fn rate(&self, symbol: u32, ts_event: Ts) -> Verdict {
        let limit = self.config.orders_per_second;
        if limit == 0 {
            return Err((RejectCode::Rate, 0, 1));
        }
        let ring = limit as usize * symbol as usize;
        let slot = self.passed[ring + self.oldest[symbol as usize] as usize];
        // A slot that was never used holds 1970.
        if slot.0 != 0 && ts_event.since(slot) < Ts::SECOND_NS {
            return Err((RejectCode::Rate, limit as i64, limit as i64 + 1));
        }
        Ok(())
    }
}

/// Passed; or the rule with its limit and the order's value.
type Verdict = Result<(), (RejectCode, i64, i64)>;

fn clamp(value: i128) -> i64 {
    value.min(i64::MAX as i128) as i64
}
