//! Follows a move of the micro-price when the sizes at the touch agree with it.
//!
//! The micro-price is remembered on a grid of event time, eight samples over the look-back. A
//! quote that cannot have moved far enough, because even its ask is not above the upper line or
//! its bid not below the lower one, is done with after two comparisons.

use bus::signal::{Body, Momentum as Seen, Tif, Volatility};
use bus::state::{StateError, StateReader, StateWriter};
use bus::{Outbox, Price, Qty, Side, Ts};

use crate::intent::{Intent, Intents};
use crate::number::{Bps, micro};
use crate::suite::{Analytic, Moment};
use crate::view::View;

/// When to follow a move.
#[derive(Clone, Debug, PartialEq)]
pub struct MomentumConfig {
    /// Whether it runs.
    pub enabled: bool,
    /// Over how long the micro-price's move is measured; what it is compared with is between
    /// seven and eight eighths of this old.
    pub lookback_ns: i64,
    /// Smallest move ...
    pub threshold: Bps,
    /// ... and smallest move in multiples of what the symbol's volatility lets expect over the
    /// look-back. The larger of the two holds; 0 turns this one off.
    pub sigmas: f64,
    /// Smallest imbalance of the sizes at the touch, 0 to 1, towards the move.
    pub imbalance: f64,
    /// Rest of a symbol after an order.
    pub cooldown_ns: i64,
    /// Shares of an order.
    pub qty: Qty,
}

impl Default for MomentumConfig {
    fn default() -> MomentumConfig {
        MomentumConfig {
            enabled: true,
            lookback_ns: Ts::SECOND_NS,
            threshold: Bps::whole(5),
            sigmas: 3.0,
            imbalance: 0.5,
            cooldown_ns: 5 * Ts::SECOND_NS,
            qty: Qty(100),
        }
    }
}

impl MomentumConfig {
    /// What is wrong with it, if anything.
    pub(crate) fn problem(&self) -> Option<String> {
        if self.lookback_ns < SAMPLES as i64 {
            return Some(format!(
                "momentum: look-back {} ns, want 8 or above",
                self.lookback_ns
            ));
        }
        if !(0.0..=1.0).contains(&self.imbalance) {
            return Some(format!(
                "momentum: imbalance {}, want 0 to 1",
                self.imbalance
            ));
        }
        if !(self.sigmas >= 0.0 && self.sigmas.is_finite()) {
            return Some(format!("momentum: sigmas {}, want 0 or above", self.sigmas));
        }
        if self.threshold.0 <= 0 || self.cooldown_ns < 0 || self.qty.0 <= 0 {
            return Some("momentum: threshold and qty must be above 0, cooldown not below".into());
        }
        None
    }
}

const SAMPLES: usize = 8;

/// A configuration, worked out.
#[derive(Debug)]
pub struct Common {
    config: MomentumConfig,
    sample_ns: i64,
    threshold_bps: f64,
    /// Multiplies a volatility per square root of a second.
    sigmas_lookback: f64,
}

impl Common {
    /// Whether whatever is sampled each `ns` is sampled at a time of ours each time.
    pub(crate) fn divides(&self, ns: i64) -> bool {
        !self.config.enabled || ns % self.sample_ns == 0
    }

    /// Works out what is the same for all symbols.
    pub fn new(config: MomentumConfig) -> Common {
        assert_eq!(config.problem(), None);
        let lookback_seconds = config.lookback_ns as f64 / Ts::SECOND_NS as f64;
        Common {
            sample_ns: config.lookback_ns / SAMPLES as i64,
            threshold_bps: config.threshold.to_f64(),
            sigmas_lookback: config.sigmas * lookback_seconds.sqrt(),
            config,
        }
    }
}

/// The momentum strategy in one symbol.
#[derive(Clone, Copy, Debug)]
pub struct Momentum {
    /// When the next sample of the micro-price is to be taken.
    sample_at: Ts,
    /// The micro-price at which we follow upwards, and downwards.
    upper: Price,
    lower: Price,
    /// What the move is measured from.
    reference: Price,
    /// No order before this.
    rest_until: Ts,
    /// The latest samples, a ring whose oldest is at `oldest` once it is full.
    samples: [Price; SAMPLES],
    oldest: u8,
    count: u8,
}

impl Analytic for Momentum {
    type Common = Common;

    fn new(common: &mut Common) -> Momentum {
        Momentum {
            sample_at: if common.config.enabled {
                Ts::MIN
            } else {
                Ts::MAX
            },
            upper: Price::NONE,
            lower: Price(i64::MIN),
            reference: Price(0),
            rest_until: Ts::MIN,
            samples: [Price(0); SAMPLES],
            oldest: 0,
            count: 0,
        }
    }

    #[inline]
    fn on_time(&mut self, common: &mut Common, now: Ts, view: &mut View, _out: &mut Outbox) {
        // At its time itself the sample still holds what was before, as in `regime`.
        if self.sample_at <= now {
            self.sample(common, now, view);
        }
    }

    #[inline]
    fn on_event(
        &mut self,
        common: &mut Common,
        moment: &Moment,
        view: &mut View,
        out: &mut Outbox,
        intents: &mut Intents,
    ) {
        let quote = &view.quote;
        let far = quote.ask > self.upper || quote.bid < self.lower;
        if far && moment.applied.quote_changed {
            self.look(common, moment.event.ts_event, view, out, intents);
        }
    }

    fn save(&self, _common: &Common, out: &mut StateWriter<'_>) {
        out.i64(self.sample_at.0);
        for price in [self.upper, self.lower, self.reference] {
            out.i64(price.0);
        }
        out.i64(self.rest_until.0);
        out.u8(SAMPLES as u8);
        for price in self.samples {
            out.i64(price.0);
        }
        out.u8(self.oldest);
        out.u8(self.count);
    }

    fn load(_common: &mut Common, from: &mut StateReader<'_>) -> Result<Momentum, StateError> {
        let mut momentum = Momentum {
            sample_at: Ts(from.i64()?),
            upper: Price(from.i64()?),
            lower: Price(from.i64()?),
            reference: Price(from.i64()?),
            rest_until: Ts(from.i64()?),
            samples: [Price(0); SAMPLES],
            oldest: 0,
            count: 0,
        };
        if usize::from(from.u8()?) != SAMPLES {
            return Err(from.error(format_args!("{SAMPLES} samples")));
        }
        for price in &mut momentum.samples {
            *price = Price(from.i64()?);
        }
        (momentum.oldest, momentum.count) = (from.u8()?, from.u8()?);
        let is_in =
            usize::from(momentum.oldest) < SAMPLES && usize::from(momentum.count) <= SAMPLES;
        match is_in {
            true => Ok(momentum),
            false => Err(from.error(format_args!("a place among {SAMPLES} samples"))),
        }
    }
}

impl Momentum {
    fn forget(&mut self) {
        self.count = 0;
        self.upper = Price::NONE;
        self.lower = Price(i64::MIN);
    }

    /// As [`Analytic::on_time`].
    pub(crate) fn catch_up(&mut self, common: &Common, to: Ts, view: &View) {
        if self.sample_at <= to {
            self.sample(common, to, view);
        }
    }

    /// Takes the samples that are due up to now. The quote was the same at all of them, so that it
    /// does not matter how many of them are taken at once.
    fn sample(&mut self, common: &Common, now: Ts, view: &View) {
        let sample_ns = common.sample_ns;
        let first = self.sample_at;
        // Usually one is due, and nothing has to be divided.
        let mut missed = 1;
        self.sample_at = first.plus_ns(sample_ns);
        if first == Ts::MIN || self.sample_at <= now {
            self.sample_at = now.floor(sample_ns).plus_ns(sample_ns);
            if first != Ts::MIN {
                missed = self.sample_at.since(first) / sample_ns;
            }
        }
        if !view.is_tradable() {
            return self.forget();
        }
        let price = micro(&view.quote);
        let written = missed.min(SAMPLES as i64) as usize;
        for index in 0..written {
            self.samples[(self.oldest as usize + index) % SAMPLES] = price;
        }
        self.oldest = ((i64::from(self.oldest) + missed) % SAMPLES as i64) as u8;
        self.count = (self.count + written as u8).min(SAMPLES as u8);
        if (self.count as usize) < SAMPLES {
            return;
        }
        self.reference = self.samples[self.oldest as usize];
        let least_bps = common
            .threshold_bps
            .max(view.sigma_bps * common.sigmas_lookback);
        let move_min = (self.reference.0 as f64 * least_bps / 10_000.0) as i64;
        self.upper = Price(self.reference.0.saturating_add(move_min));
        self.lower = Price(self.reference.0.saturating_sub(move_min));
    }

    fn look(
        &mut self,
        common: &Common,
        ts: Ts,
        view: &View,
        out: &mut Outbox,
        intents: &mut Intents,
    ) {
        if (self.count as usize) < SAMPLES || ts < self.rest_until || !view.is_tradable() {
            return;
        }
        if view.regime == Volatility::Stressed || view.spread_alert {
            return;
        }
        let quote = view.quote;
        let price = micro(&quote);
        let side = if price >= self.upper {
            Side::Buy
        } else if price <= self.lower {
            Side::Sell
        } else {
            return;
        };
        let (bid, ask) = (quote.bid_qty.0 as f64, quote.ask_qty.0 as f64);
        let imbalance = (bid - ask) / (bid + ask);
        let (agrees, limit) = match side {
            Side::Buy => (imbalance >= common.config.imbalance, quote.ask),
            Side::Sell | Side::None => (-imbalance >= common.config.imbalance, quote.bid),
        };
        if !agrees {
            return;
        }
        self.rest_until = ts.plus_ns(common.config.cooldown_ns);
        let moved = (price.0 - self.reference.0) as f64;
        let move_bps = moved * 10_000.0 / self.reference.0 as f64;
        out.say(
            0,
            Body::Momentum(Seen {
                side,
                move_bps,
                imbalance,
                quote,
            }),
        );
        intents.push(Intent {
            rule: 0,
            side,
            price: limit,
            qty: common.config.qty,
            quote,
            last: view.last_price,
            tif: Tif::Day,
            is_leg: false,
        });
    }
}
