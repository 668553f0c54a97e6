//! Books, and what is concluded of them.

use std::collections::BTreeMap;

use analytics::{Condition, RuleConfig, RuleOrder, Touch};
use bus::{Qty, Side};
use serde::{Deserialize, Serialize};

use super::units::{Ratio, Span};
use super::{MILLI, SECOND, positive};

/// What books keep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Book {
    /// `l3`, or `l2` to do without the order in which orders are executed.
    pub depth: Depth,
}

/// What is kept of each price of a book.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Depth {
    /// Its quantity and its orders, in the order in which they will be executed.
    L3,
    /// Its quantity and the number of its orders.
    L2,
}

/// Named windows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Windows(pub BTreeMap<String, Window>);

/// One window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Only `tumbling` so far.
    #[serde(default)]
    pub kind: WindowKind,
    /// Its length.
    pub size: Span,
    /// How long after its end trades still count.
    #[serde(default = "no_span")]
    pub lateness: Span,
}

/// The kinds of window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WindowKind {
    /// One after another without overlap.
    #[default]
    Tumbling,
}

/// The spread monitor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Spread {
    /// Raise when the spread is at least this ...
    pub threshold: Ratio,
    /// ... for this long.
    pub hold: Span,
    /// Clear when it is at most this ...
    pub clear: Ratio,
    /// ... for this long.
    pub clear_hold: Span,
}

/// The volatility regime.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Regime {
    /// How often the mid price is sampled.
    pub sample: Span,
    /// Half-life of the volatility estimate.
    pub half_life: Span,
    /// Half-life of the symbol's own long-run volatility, which the ratios refer to.
    pub baseline: Span,
    /// Samples before the first verdict.
    pub warmup_samples: u32,
    /// What `stressed` and `calm` are measured in.
    pub measure: Measure,
    /// Stressed above this.
    pub stressed: f64,
    /// Calm below this.
    pub calm: f64,
    /// How far back, as a share of the threshold, it must come to leave a state.
    pub hysteresis: f64,
    /// The long-run volatility is taken as at least this, per square root of a second.
    pub floor: Ratio,
}

/// What the thresholds of a regime are measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Measure {
    /// Multiples of the symbol's own long-run volatility.
    Baseline,
    /// Basis points per square root of a second.
    Absolute,
}

/// The momentum strategy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Momentum {
    /// Whether it runs.
    pub enabled: bool,
    /// Over how long the micro-price's move is measured.
    pub lookback: Span,
    /// Smallest move ...
    pub threshold: Ratio,
    /// ... and smallest in multiples of what the symbol's volatility lets expect.
    pub sigmas: f64,
    /// Smallest imbalance at the touch, 0 to 1.
    pub imbalance: f64,
    /// Rest after an order.
    pub cooldown: Span,
    /// Shares of an order.
    pub qty: u32,
}

/// Named rules.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rules(pub BTreeMap<String, Rule>);

/// One rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What must hold, and for how long: `spread > 5bps and regime == 'stressed' for 200ms`.
    pub when: String,
    /// `buy` or `sell` to want an order; otherwise it only says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub side: Option<RuleSide>,
    /// The price of the order: of its own side of the quote, `near`, or of the other, `far`.
    #[serde(default)]
    pub touch: RuleTouch,
    /// Shares of an order.
    #[serde(default = "hundred")]
    pub qty: u32,
    /// Rest of the rule in a symbol after an order.
    #[serde(default = "five_seconds")]
    pub cooldown: Span,
}

/// Which side an order is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum RuleSide {
    Buy,
    Sell,
}

/// Which price of the quote limits an order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleTouch {
    /// Of its own side, to wait there.
    Near,
    /// Of the other side, to trade.
    #[default]
    Far,
}

fn hundred() -> u32 {
    100
}

fn five_seconds() -> Span {
    Span(5 * SECOND)
}

impl Rule {
    fn config(&self, name: &str) -> Result<RuleConfig, String> {
        let when = Condition::parse(&self.when).map_err(|e| format!("rules.{name}.when: {e}"))?;
        let side = self.side.map(|side| match side {
            RuleSide::Buy => Side::Buy,
            RuleSide::Sell => Side::Sell,
        });
        let order = side.map(|side| RuleOrder {
            side,
            touch: match self.touch {
                RuleTouch::Near => Touch::Near,
                RuleTouch::Far => Touch::Far,
            },
            qty: Qty(i64::from(self.qty)),
            cooldown_ns: self.cooldown.0,
        });
        Ok(RuleConfig {
            name: name.into(),
            when,
            order,
        })
    }
}

impl Rules {
    /// What each says, in the order of their names.
    pub(super) fn configs(&self) -> Result<Vec<RuleConfig>, String> {
        let rules = self.0.iter();
        rules.map(|(name, rule)| rule.config(name)).collect()
    }
}

impl Default for Book {
    fn default() -> Book {
        Book { depth: Depth::L3 }
    }
}

impl Windows {
    /// What no single field can know.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.0.is_empty() || self.0.len() > 16 {
            return Err(format!("{} windows, want 1 to 16", self.0.len()));
        }
        for (name, window) in &self.0 {
            positive(&format!("windows.{name}.size"), window.size.0)?;
        }
        Ok(())
    }
}

impl Default for Windows {
    fn default() -> Windows {
        let window = |size: i64| Window {
            kind: WindowKind::Tumbling,
            size: Span(size),
            lateness: Span(200 * MILLI),
        };
        let named = [("1m", 60 * SECOND), ("1s", SECOND), ("5s", 5 * SECOND)];
        Windows(
            named
                .into_iter()
                .map(|(name, size)| (name.to_string(), window(size)))
                .collect(),
        )
    }
}

impl Default for Spread {
    fn default() -> Spread {
        Spread {
            threshold: Ratio(2_000),
            hold: Span(100 * MILLI),
            clear: Ratio(1_500),
            clear_hold: Span(0),
        }
    }
}

impl Default for Regime {
    fn default() -> Regime {
        Regime {
            sample: Span(SECOND / 4),
            half_life: Span(2 * SECOND),
            baseline: Span(30 * SECOND),
            warmup_samples: 20,
            measure: Measure::Baseline,
            stressed: 2.0,
            calm: 0.5,
            hysteresis: 0.2,
            floor: Ratio(20),
        }
    }
}

impl Default for Momentum {
    fn default() -> Momentum {
        Momentum {
            enabled: true,
            lookback: Span(SECOND),
            threshold: Ratio(500),
            sigmas: 3.0,
            imbalance: 0.5,
            cooldown: Span(5 * SECOND),
            qty: 100,
        }
    }
}

fn no_span() -> Span {
    Span(0)
}
