//! What a decision saw: a vector of named numbers, said with each order that a strategy wants.
//!
//! ```text
//! view ───────────── value  ──┐
//! windows said ───── window ──┤   an intent?   Features, Features ...   Order or Reject
//! regimes said ───── regime ──┼──────────────► at most 12 each ───────► of the same event
//! alerts said ────── alert  ──┘
//! ```
//!
//! Of windows, regimes and alerts it knows what was said, as the log has it, up to the decision and at
//! the same event. It changes nothing that others conclude.

use bus::signal::{Body, Features as Said};
use bus::state::{StateError, StateReader, StateWriter};
use bus::{Outbox, Price, Signal};

use crate::expr::{Known, Value};
use crate::intent::Intents;

/// A named number.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureConfig {
    /// For people, and a column of the table.
    pub name: String,
    /// Where it comes from.
    pub source: FeatureSource,
}

/// Where a feature comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum FeatureSource {
    /// Worked out of the symbol's view.
    Value(Value),
    /// Of the latest window that was said.
    Window {
        /// Its number in signals.
        rule: u8,
        /// What of it.
        take: Take,
    },
    /// The regime that was said last: 0 calm, 1 normal, 2 stressed.
    Regime {
        /// Its number in signals.
        rule: u8,
    },
    /// Whether an alert stands: 1 or 0.
    Alert {
        /// Its number in signals.
        rule: u8,
    },
}

/// What of a window is taken. Prices and money are in units of the currency, not in 1e-9.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Take {
    Open,
    High,
    Low,
    Close,
    Vwap,
    Volume,
    TradeCount,
    /// What buyers took less what sellers did, over both.
    TradeImbalance,
    RealizedVariance,
    Twap,
    Spread,
    BidDepth,
    AskDepth,
    Ofi,
}

impl FeatureConfig {
    /// More are refused: what is said of one decision is then at most four signals.
    pub const COUNT_MAX: usize = 48;

    /// What is wrong with these features, if anything.
    pub(crate) fn problem(all: &[FeatureConfig]) -> Option<String> {
        (all.len() > Self::COUNT_MAX)
            .then(|| format!("{} features, want at most {}", all.len(), Self::COUNT_MAX))
    }
}

/// The latest of what a feature heard. Not a number before the first.
#[derive(Clone, Copy, Debug)]
struct Heard {
    value: f64,
    /// The end of the window that it is of, in ns; those before it are not taken any more.
    end: i64,
}

impl Heard {
    const NOTHING: Heard = Heard {
        value: f64::NAN,
        end: i64::MIN,
    };
}

/// The features of all symbols, in the order in which these appeared.
#[derive(Debug)]
pub(crate) struct Features {
    configs: Box<[FeatureConfig]>,
    /// For each symbol one of each feature.
    heard: Vec<Heard>,
}

const SCALE: f64 = Price::SCALE as f64;

impl Features {
    /// Memory for all symbols, reserved.
    pub(crate) fn new(configs: &[FeatureConfig], symbol_count: usize) -> Features {
        Features {
            heard: Vec::with_capacity(symbol_count * configs.len()),
            configs: configs.into(),
        }
    }

    /// What a symbol takes once it has appeared, in bytes.
    pub(crate) fn bytes_per_symbol(&self) -> usize {
        self.configs.len() * size_of::<Heard>()
    }

    /// One more symbol, at the next place.
    pub(crate) fn appear(&mut self) {
        let count = self.heard.len() + self.configs.len();
        debug_assert!(count <= self.heard.capacity(), "reserved for all symbols");
        self.heard.resize(count, Heard::NOTHING);
        // Nothing stands until it is said to.
        let of_symbol = &mut self.heard[count - self.configs.len()..];
        for (config, heard) in self.configs.iter().zip(of_symbol) {
            if matches!(config.source, FeatureSource::Alert { .. }) {
                heard.value = 0.0;
            }
        }
    }

    /// What was said of the symbol at this place.
    #[inline]
    pub(crate) fn hear(&mut self, place: usize, signals: &[Signal]) {
        if signals.is_empty() {
            return;
        }
        let heard = &mut self.heard[place * self.configs.len()..][..self.configs.len()];
        for signal in signals {
            for (config, heard) in self.configs.iter().zip(&mut *heard) {
                config.source.hear(signal, heard);
            }
        }
    }

    /// Says the vector for each strategy that wants an order.
    #[inline]
    pub(crate) fn say(&self, place: usize, known: &Known, out: &mut Outbox, intents: &Intents) {
        if !intents.is_empty() {
            self.say_all(place, known, out, intents);
        }
    }

    /// What one of them is now; not a number where it is not known.
    #[inline]
    pub(crate) fn value(&self, place: usize, index: usize, known: &Known<'_>) -> f64 {
        let now = match &self.configs[index].source {
            FeatureSource::Value(value) => value.of_known(known),
            FeatureSource::Window { .. }
            | FeatureSource::Regime { .. }
            | FeatureSource::Alert { .. } => self.heard[place * self.configs.len() + index].value,
        };
        // What is no number has many forms, which depend on the machine.
        if now.is_finite() { now } else { f64::NAN }
    }

    #[cold]
    fn say_all(&self, place: usize, known: &Known, out: &mut Outbox, intents: &Intents) {
        let count = self.configs.len();
        let mut values = [0.0; FeatureConfig::COUNT_MAX];
        for (index, value) in values[..count].iter_mut().enumerate() {
            *value = self.value(place, index, known);
        }
        let mut before = None;
        for intent in intents {
            // A strategy that wants two orders at one event saw one vector.
            if before.replace(intent.rule) == Some(intent.rule) {
                continue;
            }
            for (part, some) in values[..count].chunks(Said::VALUES_MAX).enumerate() {
                let mut said = Said {
                    first: (part * Said::VALUES_MAX) as u32,
                    count: some.len() as u32,
                    values: [0.0; Said::VALUES_MAX],
                };
                said.values[..some.len()].copy_from_slice(some);
                out.say(intent.rule, Body::Features(said));
            }
        }
    }

    /// Saves what is known of the symbol at this place.
    pub(crate) fn save(&self, place: usize, out: &mut StateWriter<'_>) {
        for heard in &self.heard[place * self.configs.len()..][..self.configs.len()] {
            out.f64(heard.value);
            out.i64(heard.end);
        }
    }

    /// Loads what was known of a symbol, at the next place.
    pub(crate) fn load(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        let place = self.heard.len() / self.configs.len();
        self.appear();
        self.load_at(place, from)
    }

    /// The same, of one that has appeared.
    pub(crate) fn load_at(
        &mut self,
        place: usize,
        from: &mut StateReader<'_>,
    ) -> Result<(), StateError> {
        let count = self.configs.len();
        for heard in &mut self.heard[place * count..][..count] {
            *heard = Heard {
                value: from.f64()?,
                end: from.i64()?,
            };
        }
        Ok(())
    }
}

impl FeatureSource {
    fn hear(&self, signal: &Signal, heard: &mut Heard) {
        match *self {
            FeatureSource::Value(_) => {}
            FeatureSource::Window { rule, take } if rule == signal.rule => {
                if let Some(value) = signal.body().and_then(|body| take.of(&body)) {
                    // A correction of one that a later one has followed is not the latest.
                    if signal.ts_event.0 >= heard.end {
                        (heard.value, heard.end) = (value, signal.ts_event.0);
                    }
                }
            }
            FeatureSource::Regime { rule } if rule == signal.rule => {
                if let Some(Body::Regime(regime)) = signal.body() {
                    heard.value = f64::from(regime.to as u8);
                }
            }
            FeatureSource::Alert { rule } if rule == signal.rule => {
                if let Some(Body::Spread(alert)) = signal.body() {
                    heard.value = f64::from(u8::from(alert.raised));
                }
            }
            FeatureSource::Window { .. }
            | FeatureSource::Regime { .. }
            | FeatureSource::Alert { .. } => {}
        }
    }
}

impl Take {
    /// `None` of a body that does not have it.
    fn of(self, body: &Body) -> Option<f64> {
        let price = |price: Price| match price.is_some() {
            true => price.0 as f64 / SCALE,
            false => f64::NAN,
        };
        let mean = |sum: i128, ns: i64| match ns > 0 {
            true => sum as f64 / ns as f64,
            false => f64::NAN,
        };
        Some(match (self, body) {
            (Take::Open, Body::Window(x)) => price(x.open),
            (Take::High, Body::Window(x)) => price(x.high),
            (Take::Low, Body::Window(x)) => price(x.low),
            (Take::Close, Body::Window(x)) => price(x.close),
            (Take::Vwap, Body::Window(x)) => x.notional.per(x.volume).map_or(f64::NAN, price),
            (Take::Volume, Body::Window(x)) => x.volume.0 as f64,
            (Take::TradeCount, Body::Window(x)) => f64::from(x.trade_count),
            (Take::TradeImbalance, Body::WindowFlow(x)) => {
                let (bought, sold) = (x.bought?.0, x.sold.0);
                (bought - sold) as f64 / (bought + sold) as f64
            }
            (Take::RealizedVariance, Body::WindowFlow(x)) => x.squares? as f64 / 1e18,
            (Take::Twap, Body::WindowStanding(x)) => mean(x.price_ns, x.priced_ns) / SCALE,
            (Take::Spread, Body::WindowStanding(x)) => mean(x.spread_ns, x.quoted_ns) / SCALE,
            (Take::BidDepth, Body::WindowStanding(x)) => mean(x.bid_qty_ns, x.quoted_ns),
            (Take::AskDepth, Body::WindowStanding(x)) => mean(x.ask_qty_ns, x.quoted_ns),
            (Take::Ofi, Body::WindowStanding(x)) => x.ofi.0 as f64,
            _ => return None,
        })
    }
}
