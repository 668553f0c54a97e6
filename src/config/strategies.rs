//! Strategies by name.

use std::collections::BTreeMap;

use analytics::strategies::{QueueImbalance, StrategyConfig, StrategyKind, VwapReversion};
use analytics::{Bps, Touch};
use bus::Qty;
use serde::{Deserialize, Serialize};

use super::market::{RuleTouch, Rules};
use super::units::{Ratio, Span};

/// Named strategies, beside the one below `[momentum]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Strategies(pub BTreeMap<String, Strategy>);

/// One of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Strategy {
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

fn hundred() -> u32 {
    100
}

fn five_seconds() -> Span {
    Span(5_000_000_000)
}

impl Strategy {
    fn config(&self, name: &str) -> StrategyConfig {
        let (kind, touch, qty, cooldown) = match *self {
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
    pub(super) fn check(&self, rules: &Rules) -> Result<(), String> {
        for name in self.0.keys() {
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
        }
        Ok(())
    }

    /// Each, in the order of their names.
    pub(super) fn configs(&self) -> Vec<StrategyConfig> {
        let strategies = self.0.iter();
        strategies
            .map(|(name, strategy)| strategy.config(name))
            .collect()
    }
}
