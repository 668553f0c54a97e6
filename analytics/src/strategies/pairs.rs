//! Trades the ratio of two symbols' prices against its own mean: short the dear one and long the cheap
//! one when the ratio is far from where it was, and back when it is near.
//!
//! ```text
//! s = ln(mid of the first) - hedge ln(mid of the second)
//! z = (s - mean) / sqrt(variance)     both exponentially weighted, of s sampled once in a period
//! ```
//!
//! Source: E. Gatev, W. Goetzmann and K. Rouwenhorst, *Pairs trading: performance of a relative-value
//! arbitrage rule*, Review of Financial Studies 19 (2006), for the bet; T. Finch, *Incremental calculation of
//! weighted mean and variance*, University of Cambridge (2009), for the recurrences.

use bus::signal::Tif;
use bus::state::{StateError, StateReader, StateWriter};
use bus::{Price, Qty, Quote, Side, Ts};

use super::StrategyConfig;
use crate::intent::Intent;
use crate::number::{double_mid, half_to_the, ln};
use crate::view::View;

/// When the ratio of two symbols' prices counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pairs {
    /// Their names, with spaces behind. Both are in one group, so that one shard has them.
    pub legs: [[u8; 8]; 2],
    /// How many hundredths the first moves with one of the second; above 0.
    pub hedge: f64,
    /// The ratio is sampled with the first event of either in each such time.
    pub period_ns: i64,
    /// A sample weighs half of one that is so much later.
    pub half_life_ns: i64,
    /// In from this z-score on, above 0 ...
    pub enter: f64,
    /// ... and out from this one on; below `enter`, not below 0.
    pub leave: f64,
    /// Nothing before so many samples; at least 2.
    pub samples_min: u32,
    /// A symbol that said nothing for longer says nothing of its price.
    pub fresh_ns: i64,
    /// What is ordered of the second; the strategy's quantity is the first's.
    pub other_qty: Qty,
}

impl Pairs {
    /// What is wrong with them, if anything.
    pub(super) fn problem(&self) -> Option<String> {
        let Pairs {
            legs,
            hedge,
            period_ns,
            half_life_ns,
            enter,
            leave,
            samples_min,
            fresh_ns,
            other_qty,
        } = *self;
        if legs[0] == legs[1] {
            return Some("both legs are the same symbol, want two".into());
        }
        if !(hedge > 0.0 && hedge.is_finite()) {
            return Some(format!("hedge {hedge}, want one above 0"));
        }
        if period_ns <= 0 || half_life_ns < period_ns {
            return Some("want a period above 0, and a half-life not below it".into());
        }
        if !(enter.is_finite() && (0.0..enter).contains(&leave)) {
            return Some(format!(
                "enter {enter} and leave {leave}, want 0 <= leave < enter"
            ));
        }
        if samples_min < 2 {
            return Some(format!("samples_min {samples_min}, want at least 2"));
        }
        if fresh_ns <= 0 || other_qty.0 <= 0 {
            return Some("want `fresh` and both quantities above 0".into());
        }
        None
    }
}

/// One symbol of a pair, as of its latest event.
#[derive(Clone, Copy, Debug)]
struct Leg {
    /// Its number; 0 while its name was not said.
    symbol: u32,
    quote: Quote,
    last: Price,
    ts: Ts,
    /// It trades, and its quote is sound.
    is_good: bool,
    /// Of twice the mid, where it is good.
    log: f64,
}

impl Leg {
    const NEW: Leg = Leg {
        symbol: 0,
        quote: Quote::EMPTY,
        last: Price::NONE,
        ts: Ts::MIN,
        is_good: false,
        log: 0.0,
    };

    fn is_fresh(&self, now: Ts, fresh_ns: i64) -> bool {
        self.is_good && now.since(self.ts) <= fresh_ns
    }

    fn see(&mut self, ts: Ts, view: &View) {
        self.ts = self.ts.max(ts);
        self.last = view.last_price;
        let (is_good, before) = (view.is_tradable(), self.quote);
        self.quote = view.quote;
        if is_good
            && !(self.is_good && before.bid == view.quote.bid && before.ask == view.quote.ask)
        {
            self.log = log_of(&view.quote);
        }
        self.is_good = is_good;
    }
}

fn log_of(quote: &Quote) -> f64 {
    ln(double_mid(quote).max(1) as f64)
}

/// What is known of a pair.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    settings: Pairs,
    /// What a new sample weighs.
    alpha: f64,
    legs: [Leg; 2],
    mean: f64,
    variance: f64,
    samples: u32,
    /// The first time that is not of the period of the latest sample.
    period_end: Ts,
    /// What it holds of the first leg.
    side: Side,
    /// What that was before the latest orders. Looked at within one event, and so not saved.
    side_before: Side,
    /// No order before this.
    rest_until: Ts,
}

const _: () = assert!(size_of::<Pair>() <= 320);

impl Pair {
    pub(super) fn new(settings: Pairs) -> Pair {
        let periods = settings.period_ns as f64 / settings.half_life_ns as f64;
        Pair {
            settings,
            alpha: 1.0 - half_to_the(periods),
            legs: [Leg::NEW; 2],
            mean: 0.0,
            variance: 0.0,
            samples: 0,
            period_end: Ts::MIN,
            side: Side::None,
            side_before: Side::None,
            rest_until: Ts::MIN,
        }
    }

    /// Its latest orders were refused: it is where it was, and rests all the same.
    pub(super) fn on_refused(&mut self) {
        self.side = self.side_before;
    }

    /// The name of a symbol of a group is said. The first number with a leg's name is the leg.
    pub(super) fn on_member(&mut self, symbol: u32, name: [u8; 8]) {
        let legs = self.settings.legs.iter().zip(&mut self.legs);
        for (_, leg) in legs.filter(|(wanted, leg)| **wanted == name && leg.symbol == 0) {
            leg.symbol = symbol;
        }
    }

    /// Messages of all symbols are lost.
    pub(super) fn on_gap(&mut self) {
        for leg in &mut self.legs {
            leg.is_good = false;
        }
    }

    /// Something happened to a symbol: its own order, and that of the other with its number.
    #[inline]
    pub(super) fn on_event(
        &mut self,
        config: &StrategyConfig,
        rule: u8,
        symbol: u32,
        ts: Ts,
        view: &View,
    ) -> Option<(Intent, (u32, Intent))> {
        let which = self.legs.iter().position(|leg| leg.symbol == symbol)?;
        self.take(config, rule, which, ts, view)
    }

    fn take(
        &mut self,
        config: &StrategyConfig,
        rule: u8,
        which: usize,
        ts: Ts,
        view: &View,
    ) -> Option<(Intent, (u32, Intent))> {
        let fresh_ns = self.settings.fresh_ns;
        let now = ts.max(self.legs[0].ts).max(self.legs[1].ts);
        // What stood when the period began, before what happens now.
        if now >= self.period_end {
            if self.legs.iter().all(|leg| leg.is_fresh(now, fresh_ns)) {
                self.sample();
            }
            let period_ns = self.settings.period_ns;
            self.period_end = now.floor(period_ns).plus_ns(period_ns);
        }
        self.legs[which].see(ts, view);
        let is_fresh = self.legs.iter().all(|leg| leg.is_fresh(now, fresh_ns));
        let is_known = self.samples >= self.settings.samples_min && self.variance > 0.0;
        if !is_fresh || !is_known || now < self.rest_until {
            return None;
        }
        let z = (self.spread() - self.mean) / self.variance.sqrt();
        let Pairs { enter, leave, .. } = self.settings;
        let (first, then) = match self.side {
            Side::None if z >= enter => (Side::Sell, Side::Sell),
            Side::None if z <= -enter => (Side::Buy, Side::Buy),
            Side::Sell if z <= leave => (Side::Buy, Side::None),
            Side::Buy if z >= -leave => (Side::Sell, Side::None),
            Side::None | Side::Buy | Side::Sell => return None,
        };
        (self.side_before, self.side) = (self.side, then);
        self.rest_until = now.plus_ns(config.cooldown_ns);
        let other = match first {
            Side::Buy => Side::Sell,
            Side::Sell | Side::None => Side::Buy,
        };
        let intent = |index: usize| {
            let leg = &self.legs[index];
            let (side, qty) = match index {
                0 => (first, config.qty),
                _ => (other, self.settings.other_qty),
            };
            Intent {
                rule,
                side,
                price: config.touch.price(side, &leg.quote),
                qty,
                quote: leg.quote,
                last: leg.last,
                tif: Tif::Day,
                is_leg: true,
            }
        };
        let away = 1 - which;
        Some((intent(which), (self.legs[away].symbol, intent(away))))
    }

    /// The log ratio. Twice each mid: of both, that is a constant.
    fn spread(&self) -> f64 {
        self.legs[0].log - self.settings.hedge * self.legs[1].log
    }

    fn sample(&mut self) {
        let spread = self.spread();
        if self.samples == 0 {
            self.mean = spread;
        } else {
            let off = spread - self.mean;
            let step = self.alpha * off;
            self.mean += step;
            self.variance = (1.0 - self.alpha) * (self.variance + off * step);
        }
        self.samples = self.samples.saturating_add(1);
    }

    /// Saves it; one of which no symbol's name was said is saved as nothing.
    pub(super) fn save(&self, out: &mut StateWriter<'_>) {
        out.u32(self.legs[0].symbol);
        out.u32(self.legs[1].symbol);
        if self.is_unknown() {
            return;
        }
        for leg in &self.legs {
            let Quote {
                bid,
                ask,
                bid_qty,
                ask_qty,
            } = leg.quote;
            for word in [bid.0, ask.0, bid_qty.0, ask_qty.0, leg.last.0, leg.ts.0] {
                out.i64(word);
            }
            out.bool(leg.is_good);
        }
        out.f64(self.mean);
        out.f64(self.variance);
        out.u32(self.samples);
        out.i64(self.period_end.0);
        out.u8(self.side as u8);
        out.i64(self.rest_until.0);
    }

    fn is_unknown(&self) -> bool {
        self.legs.iter().all(|leg| leg.symbol == 0)
    }

    /// What [`Pair::save`] wrote, taken over if a symbol of it is to be kept.
    pub(super) fn load(
        &mut self,
        from: &mut StateReader<'_>,
        keep: &impl Fn(u32) -> bool,
    ) -> Result<(), StateError> {
        let mut pair = Pair::new(self.settings);
        pair.legs[0].symbol = from.u32()?;
        pair.legs[1].symbol = from.u32()?;
        if pair.is_unknown() {
            return Ok(());
        }
        for leg in &mut pair.legs {
            leg.quote = Quote {
                bid: Price(from.i64()?),
                ask: Price(from.i64()?),
                bid_qty: Qty(from.i64()?),
                ask_qty: Qty(from.i64()?),
            };
            leg.last = Price(from.i64()?);
            leg.ts = Ts(from.i64()?);
            leg.is_good = from.bool()?;
            if leg.is_good {
                leg.log = log_of(&leg.quote);
            }
        }
        pair.mean = from.f64()?;
        pair.variance = from.f64()?;
        pair.samples = from.u32()?;
        pair.period_end = Ts(from.i64()?);
        pair.side = super::side(from)?;
        pair.rest_until = Ts(from.i64()?);
        if pair
            .legs
            .iter()
            .any(|leg| leg.symbol != 0 && keep(leg.symbol))
        {
            *self = pair;
        }
        Ok(())
    }
}
