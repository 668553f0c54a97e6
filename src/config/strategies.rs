//! Strategies by name.

use std::collections::BTreeMap;

use analytics::strategies::{
    Pairs, QueueImbalance, Score, SpreadCapture, StrategyConfig, StrategyKind, VwapReversion,
};
use analytics::{Bps, Touch};
use bus::{Price, Qty};
use feed::groups::padded;
use serde::{Deserialize, Serialize};

use super::market::{RuleTouch, Rules};
use super::units::{Ratio, Span};
use super::{GroupConfigs, Models};

/// Named strategies, beside the one below `[momentum]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Strategies(pub BTreeMap<String, Strategy>);

/// One of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Strategy {
    /// Trades the ratio of two symbols' prices against its own mean.
    Pairs {
        /// The symbols, which one group has.
        legs: [String; 2],
        /// How many hundredths the first moves with one of the second.
        #[serde(default = "even")]
        hedge: f64,
        /// How often the ratio is sampled.
        #[serde(default = "one_second")]
        period: Span,
        /// A sample weighs half of one that is so much later.
        #[serde(default = "five_minutes")]
        half_life: Span,
        /// In from this z-score on ...
        #[serde(default = "enter_z")]
        enter: f64,
        /// ... and out from this one on.
        #[serde(default = "leave_z")]
        leave: f64,
        /// Not before so many samples.
        #[serde(default = "sixty")]
        samples_min: u32,
        /// A symbol that said nothing for longer is waited for.
        #[serde(default = "five_seconds")]
        fresh: Span,
        #[allow(missing_docs)]
        #[serde(default)]
        touch: RuleTouch,
        /// Shares of an order in the first and in the second.
        #[serde(default = "hundreds")]
        qty: [u32; 2],
        #[allow(missing_docs)]
        #[serde(default = "five_seconds")]
        cooldown: Span,
    },
    /// Leans to the side with more at the best price.
    QueueImbalance {
        /// From this imbalance on, 0 to 1 ...
        #[serde(default = "enter_imbalance")]
        enter: f64,
        /// ... until it is at most this.
        #[serde(default = "leave_imbalance")]
        leave: f64,
        /// The price of the order: of its own side of the quote, `near`, or of the other, `far`.
        #[serde(default)]
        touch: RuleTouch,
        /// Shares of an order.
        #[serde(default = "hundred")]
        qty: u32,
        /// Rest in a symbol after an order.
        #[serde(default = "five_seconds")]
        cooldown: Span,
    },
    /// Trades against a mid price far from the session's volume-weighted one.
    VwapReversion {
        /// From this share of it on ...
        #[serde(default = "enter_ratio")]
        enter: Ratio,
        /// ... until it is at most this.
        #[serde(default = "leave_ratio")]
        leave: Ratio,
        /// Not before so many trades of the session.
        #[serde(default = "hundred")]
        trades_min: u32,
        #[allow(missing_docs)]
        #[serde(default)]
        touch: RuleTouch,
        #[allow(missing_docs)]
        #[serde(default = "hundred")]
        qty: u32,
        #[allow(missing_docs)]
        #[serde(default = "five_seconds")]
        cooldown: Span,
    },
    /// Follows what a model says.
    Model {
        /// Which, by its name.
        model: String,
        /// What says nothing: 0.5 of a probability.
        #[serde(default)]
        middle: f64,
        /// So far above it buys, so far below it sells ...
        enter: f64,
        /// ... until it is nearer than this.
        #[serde(default)]
        leave: f64,
        #[allow(missing_docs)]
        #[serde(default)]
        touch: RuleTouch,
        #[allow(missing_docs)]
        #[serde(default = "hundred")]
        qty: u32,
        #[allow(missing_docs)]
        #[serde(default = "five_seconds")]
        cooldown: Span,
    },
    /// Quotes both sides of a wide spread, and leans against what it holds.
    SpreadCapture {
        /// From this share of the mid price on.
        #[serde(default = "five_bps")]
        spread_min: Ratio,
        /// How large a tick is, in units of 1e-9.
        #[serde(default = "cent")]
        tick_e9: u64,
        /// So many ticks better than the best price.
        #[serde(default = "one")]
        inside: u32,
        /// So many ticks lower, or higher, at the largest position.
        #[serde(default = "two")]
        skew: u32,
        /// The largest position, to either side.
        #[serde(default = "five_hundred")]
        inventory_max: u32,
        /// How long a quote stands.
        #[serde(default = "one_second")]
        life: Span,
        #[allow(missing_docs)]
        #[serde(default = "hundred")]
        qty: u32,
        /// Rest on a side after a quote there.
        #[serde(default = "tenth_of_second")]
        cooldown: Span,
    },
}

fn five_bps() -> Ratio {
    Ratio(500)
}

fn cent() -> u64 {
    10_000_000
}

fn one() -> u32 {
    1
}

fn two() -> u32 {
    2
}

fn five_hundred() -> u32 {
    500
}

fn one_second() -> Span {
    Span(1_000_000_000)
}

fn tenth_of_second() -> Span {
    Span(100_000_000)
}

fn enter_imbalance() -> f64 {
    0.8
}

fn leave_imbalance() -> f64 {
    0.4
}

fn enter_ratio() -> Ratio {
    Ratio(2_000)
}

fn leave_ratio() -> Ratio {
    Ratio(500)
}

fn even() -> f64 {
    1.0
}

fn five_minutes() -> Span {
    Span(300_000_000_000)
}

fn enter_z() -> f64 {
    2.0
}

fn leave_z() -> f64 {
    0.5
}

fn sixty() -> u32 {
    60
}

fn hundreds() -> [u32; 2] {
    [100, 100]
}

fn hundred() -> u32 {
    100
}

fn five_seconds() -> Span {
    Span(5_000_000_000)
}

impl Strategy {
    fn config(&self, name: &str, models: &[&str]) -> StrategyConfig {
        let (kind, touch, qty, cooldown) = match *self {
            Strategy::Pairs {
                ref legs,
                hedge,
                period,
                half_life,
                enter,
                leave,
                samples_min,
                fresh,
                touch,
                qty: [qty, other_qty],
                cooldown,
            } => {
                let kind = StrategyKind::Pairs(Pairs {
                    legs: [0, 1].map(|leg| padded(&legs[leg].to_ascii_uppercase())),
                    hedge,
                    period_ns: period.0,
                    half_life_ns: half_life.0,
                    enter,
                    leave,
                    samples_min,
                    fresh_ns: fresh.0,
                    other_qty: Qty(i64::from(other_qty)),
                });
                (kind, touch, qty, cooldown)
            }
            Strategy::QueueImbalance {
                enter,
                leave,
                touch,
                qty,
                cooldown,
            } => {
                let kind = StrategyKind::QueueImbalance(QueueImbalance { enter, leave });
                (kind, touch, qty, cooldown)
            }
            Strategy::VwapReversion {
                enter,
                leave,
                trades_min,
                touch,
                qty,
                cooldown,
            } => {
                let kind = StrategyKind::VwapReversion(VwapReversion {
                    enter: Bps::from(enter),
                    leave: Bps::from(leave),
                    trades_min,
                });
                (kind, touch, qty, cooldown)
            }
            Strategy::Model {
                ref model,
                middle,
                enter,
                leave,
                touch,
                qty,
                cooldown,
            } => {
                let place = models.iter().position(|name| *name == model);
                let kind = StrategyKind::Score(Score {
                    // One that there is not is refused by the check.
                    model: place.unwrap_or(usize::MAX),
                    middle,
                    enter,
                    leave,
                });
                (kind, touch, qty, cooldown)
            }
            Strategy::SpreadCapture {
                spread_min,
                tick_e9,
                inside,
                skew,
                inventory_max,
                life,
                qty,
                cooldown,
            } => {
                let kind = StrategyKind::SpreadCapture(SpreadCapture {
                    spread_min: Bps::from(spread_min),
                    tick: Price(i64::try_from(tick_e9).unwrap_or(i64::MAX)),
                    inside,
                    skew,
                    inventory_max: Qty(i64::from(inventory_max)),
                    life_ns: life.0,
                });
                (kind, RuleTouch::Near, qty, cooldown)
            }
        };
        StrategyConfig {
            name: name.into(),
            kind,
            touch: match touch {
                RuleTouch::Near => Touch::Near,
                RuleTouch::Far => Touch::Far,
            },
            qty: Qty(i64::from(qty)),
            cooldown_ns: cooldown.0,
        }
    }
}

impl Strategies {
    /// A configuration without any is the text that it was before there could be some.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names stand for orders of one strategy, or of one rule.
    pub(super) fn check(
        &self,
        rules: &Rules,
        groups: &GroupConfigs,
        models: &Models,
    ) -> Result<(), String> {
        for (name, strategy) in &self.0 {
            if name.is_empty() {
                return Err("strategies: a strategy without a name".into());
            }
            if name == "momentum" {
                return Err(
                    "strategies.momentum: is the one whose settings are below [momentum]".into(),
                );
            }
            if rules.0.contains_key(name) {
                return Err(format!("strategies.{name}: there is a rule of this name"));
            }
            if let Strategy::Model { model, .. } = strategy
                && !models.0.contains_key(model)
            {
                return Err(format!(
                    "strategies.{name}.model: there is no [models.{model}]"
                ));
            }
            if let Strategy::Pairs { legs, .. } = strategy {
                let [one, other] = [&legs[0], &legs[1]].map(|leg| leg.to_ascii_uppercase());
                if !groups.has(&one, &other) {
                    return Err(format!(
                        "strategies.{name}.legs: no group has both `{one}` and `{other}`; want \
                         [groups.NAME] with them among its symbols"
                    ));
                }
            }
        }
        Ok(())
    }

    /// The first that must be told what becomes of its orders.
    pub fn told(&self) -> Option<&str> {
        let mut all = self.0.iter();
        let found = all.find(|(_, strategy)| matches!(strategy, Strategy::SpreadCapture { .. }));
        found.map(|(name, _)| name.as_str())
    }

    /// Each, in the order of their names.
    pub(super) fn configs(&self, models: &[&str]) -> Vec<StrategyConfig> {
        let strategies = self.0.iter();
        strategies
            .map(|(name, strategy)| strategy.config(name, models))
            .collect()
    }
}
