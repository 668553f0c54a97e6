//! Whether an order may leave.
//!
//! Everything is counted per symbol and in event time, so that the answer does not depend on how
//! many shards there are or how fast they run. The kill flag is looked at when the order is sent,
//! not here.

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
}

impl Default for RiskConfig {
    fn default() -> RiskConfig {
        RiskConfig {
            qty_max: Qty(5_000),
            notional_max: 250_000,
            collar: Bps::whole(300),
            orders_per_second: 5,
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
}

impl Risk {
    /// A gate for symbol numbers up to `symbols_max`.
    pub fn new(config: RiskConfig, symbols_max: usize) -> Risk {
        assert!(config.qty_max.0 >= 0 && config.notional_max >= 0 && config.collar.0 >= 0);
        let ring = config.orders_per_second as usize;
        let symbols = symbols_max + 1;
        Risk {
            config,
            passed: vec![Ts(0); ring * symbols],
            oldest: vec![0; symbols],
        }
    }

    /// The order, or why not. An order that passes counts against the rate, a refused one does
    /// not.
    ///
    /// The first rule that refuses is the one that is named, in this order: halted, book, size,
    /// notional, collar, rate.
    pub fn check(
        &mut self,
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
        };
        let refuse = |(code, limit, value)| Reject {
            order,
            code,
            limit,
            value,
        };
        self.halted(phase).map_err(refuse)?;
        self.book(quote, stale).map_err(refuse)?;
        self.size(&order).map_err(refuse)?;
        self.notional(&order).map_err(refuse)?;
        self.collar(&order, quote).map_err(refuse)?;
        self.rate(symbol, ts_event).map_err(refuse)?;
        Ok(order)
    }

    /// Saves what it remembers of a symbol.
    pub fn save(&self, symbol: u32, out: &mut StateWriter<'_>) {
        let ring = self.config.orders_per_second as usize;
        out.u32(ring as u32);
        out.u32(self.oldest[symbol as usize]);
        for ts in &self.passed[ring * symbol as usize..][..ring] {
            out.i64(ts.0);
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
        Ok(())
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

    fn rate(&mut self, symbol: u32, ts_event: Ts) -> Verdict {
        let limit = self.config.orders_per_second;
        if limit == 0 {
            return Err((RejectCode::Rate, 0, 1));
        }
        let ring = limit as usize * symbol as usize;
        let oldest = &mut self.oldest[symbol as usize];
        let slot = &mut self.passed[ring + *oldest as usize];
        // A slot that was never used holds 1970.
        if slot.0 != 0 && ts_event.since(*slot) < Ts::SECOND_NS {
            return Err((RejectCode::Rate, limit as i64, limit as i64 + 1));
        }
        *slot = ts_event;
        *oldest = (*oldest + 1) % limit;
        Ok(())
    }
}

/// Passed; or the rule with its limit and the order's value.
type Verdict = Result<(), (RejectCode, i64, i64)>;

fn clamp(value: i128) -> i64 {
    value.min(i64::MAX as i128) as i64
}
