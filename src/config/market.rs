//! Books, and what is concluded of them.

use std::collections::BTreeMap;

use analytics::{Condition, RuleConfig, RuleOrder, Shape, Touch};
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
    /// What is looked at after each event for whether it holds: `off`, `touched` (the prices that it
    /// changed, and the quote), or `full` (its whole book). What does not is counted and told, and
    /// decides nothing.
    pub check: Check,
}

/// How much of a book is looked at after each event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Check {
    /// Nothing.
    Off,
    /// The prices that the event changed, and the quote.
    Touched,
    /// All prices of its symbol.
    Full,
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

/// Which trades count, where a window says nothing of its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Prints {
    /// For all windows without a key of this name, those that are there without being declared
    /// included. It is read once, and stands in the windows from then on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eligible: Option<Eligible>,
}

/// Named windows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Windows(pub BTreeMap<String, Window>);

/// One window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Which trades are in one.
    #[serde(default)]
    pub kind: WindowKind,
    /// Its length: of `tumbling` and `sliding`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Span>,
    /// How long after its end trades still count.
    #[serde(default = "no_span")]
    pub lateness: Span,
    /// How far apart windows are: of `sliding` and `cumulative`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slide: Option<Span>,
    /// Until when a `cumulative` window grows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period: Option<Span>,
    /// How long there is no trade behind a `session`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<Span>,
    /// How many trades `count` windows have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trades: Option<u32>,
    /// How much `volume` windows have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qty: Option<u64>,
    /// Say it at its end, and again when a late trade has changed it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub revise: bool,
    /// Which trades count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eligible: Option<Eligible>,
    /// What is said of it beside prices, volume, notional and counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aggregates: Vec<AggregateName>,
    /// Which symbols have it; all where there is no list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub symbols: Vec<String>,
}

/// The kinds of window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WindowKind {
    /// One after another without overlap.
    #[default]
    Tumbling,
    /// One begins every `slide`.
    Sliding,
    /// From the start of a `period` on, said every `slide`.
    Cumulative,
    /// Trades that follow each other within a `gap`.
    Session,
    /// So many `trades`.
    Count,
    /// Trades of so much `qty` together.
    Volume,
}

/// Which trades count in a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Eligible {
    /// Every print; broken ones stay.
    #[default]
    AsPrinted,
    /// Every print that is not broken.
    All,
    /// Those without the prints of auctions.
    NoAuctions,
    /// As the American consolidated tape has it.
    #[serde(rename = "us-consolidated-v1")]
    UsConsolidatedV1,
}

/// What is said of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AggregateName {
    /// Always there, as the next five.
    Vwap,
    #[allow(missing_docs)]
    Ohlc,
    #[allow(missing_docs)]
    Volume,
    #[allow(missing_docs)]
    Notional,
    #[allow(missing_docs)]
    TradeCount,
    /// What buyers took, and sellers.
    BuyVolume,
    #[allow(missing_docs)]
    SellVolume,
    /// Of the two before: their difference over their sum.
    TradeImbalance,
    /// Sum of squared returns.
    RealizedVariance,
    /// The sizes of trades at 50, 95 and 99 of a hundred.
    SizeQuantiles,
    /// The last price, weighted with time.
    Twap,
    /// The spread, weighted with time.
    Spread,
    /// The quantities at the best prices, weighted with time.
    Depth,
    /// Order-flow imbalance at the best prices.
    Ofi,
}

impl Window {
    /// Whether it is one of the plain windows, which are there for every symbol and cost least.
    pub fn is_plain(&self) -> bool {
        self.kind == WindowKind::Tumbling
            && !self.revise
            && matches!(self.eligible, None | Some(Eligible::AsPrinted))
            && self.aggregates.is_empty()
            && self.symbols.is_empty()
    }

    /// Which trades count.
    pub fn policy(&self) -> analytics::Policy {
        match self.eligible.unwrap_or_default() {
            Eligible::AsPrinted => analytics::Policy::AsPrinted,
            Eligible::All => analytics::Policy::All,
            Eligible::NoAuctions => analytics::Policy::NoAuctions,
            Eligible::UsConsolidatedV1 => analytics::Policy::UsConsolidatedV1,
        }
    }

    /// Its shape; missing lengths are 0, which `check` refuses.
    pub fn shape(&self) -> Shape {
        let ns = |span: Option<Span>| span.map_or(0, |span| span.0);
        let (size_ns, slide_ns) = (ns(self.size), ns(self.slide));
        match self.kind {
            WindowKind::Tumbling => Shape::Tumbling { size_ns },
            WindowKind::Sliding => Shape::Sliding { size_ns, slide_ns },
            WindowKind::Cumulative => Shape::Cumulative {
                period_ns: ns(self.period),
                slide_ns,
            },
            WindowKind::Session => Shape::Session {
                gap_ns: ns(self.gap),
            },
            WindowKind::Count => Shape::Count {
                trades: self.trades.unwrap_or(0),
            },
            WindowKind::Volume => Shape::Volume {
                qty: i64::try_from(self.qty.unwrap_or(0)).unwrap_or(i64::MAX),
            },
        }
    }

    /// The keys that its kind has, and no others.
    fn check(&self, name: &str) -> Result<(), String> {
        let keys = [
            ("size", self.size.is_some()),
            ("slide", self.slide.is_some()),
            ("period", self.period.is_some()),
            ("gap", self.gap.is_some()),
            ("trades", self.trades.is_some()),
            ("qty", self.qty.is_some()),
        ];
        let wants: &[&str] = match self.kind {
            WindowKind::Tumbling => &["size"],
            WindowKind::Sliding => &["size", "slide"],
            WindowKind::Cumulative => &["period", "slide"],
            WindowKind::Session => &["gap"],
            WindowKind::Count => &["trades"],
            WindowKind::Volume => &["qty"],
        };
        let kind = self.shape().name();
        for (key, is_there) in keys {
            match (wants.contains(&key), is_there) {
                (true, false) => return Err(format!("windows.{name}: {kind} wants `{key}`")),
                (false, true) => {
                    return Err(format!("windows.{name}.{key}: {kind} has no `{key}`"));
                }
                _ => {}
            }
        }
        for (key, span) in [
            ("size", self.size),
            ("slide", self.slide),
            ("period", self.period),
            ("gap", self.gap),
        ] {
            if let Some(span) = span {
                positive(&format!("windows.{name}.{key}"), span.0)?;
            }
        }
        for symbol in &self.symbols {
            if symbol.is_empty() || symbol.len() > 8 {
                return Err(format!(
                    "windows.{name}.symbols: `{symbol}`, want one to eight letters"
                ));
            }
        }
        Ok(())
    }
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
    fn config(&self, name: &str, models: &[&str]) -> Result<RuleConfig, String> {
        let when = Condition::parse_among(&self.when, models)
            .map_err(|e| format!("rules.{name}.when: {e}"))?;
        let of_order = [
            ("touch", self.touch != RuleTouch::default()),
            ("qty", self.qty != hundred()),
            ("cooldown", self.cooldown != five_seconds()),
        ];
        if let (None, Some((key, _))) = (self.side, of_order.iter().find(|(_, is_set)| *is_set)) {
            return Err(format!(
                "rules.{name}.{key}: is of an order, and only a rule with `side` wants one"
            ));
        }
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
    pub(super) fn configs(&self, models: &[&str]) -> Result<Vec<RuleConfig>, String> {
        if self.0.contains_key("") {
            return Err("rules: a rule without a name".into());
        }
        if self.0.contains_key("momentum") {
            return Err(
                "rules.momentum: is the name of the strategy, whose settings are below [momentum]"
                    .into(),
            );
        }
        let rules = self.0.iter();
        rules
            .map(|(name, rule)| rule.config(name, models))
            .collect()
    }
}

impl Default for Book {
    fn default() -> Book {
        Book {
            depth: Depth::L3,
            check: Check::Off,
        }
    }
}

impl Windows {
    /// What no single field can know.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.0.is_empty() {
            return Err("0 windows, want 1 or more".into());
        }
        for (name, window) in &self.0 {
            window.check(name)?;
        }
        Ok(())
    }

    /// Takes over what counts where a window says nothing.
    pub(super) fn take_over(&mut self, prints: &mut Prints) {
        if let Some(eligible) = prints.eligible.take() {
            for window in self.0.values_mut() {
                window.eligible.get_or_insert(eligible);
            }
        }
    }

    /// All windows in the order of their numbers: plain ones by their names, then the others.
    pub fn in_order(&self) -> impl Iterator<Item = (&String, &Window)> {
        let plain = self.0.iter().filter(|(_, window)| window.is_plain());
        let others = self.0.iter().filter(|(_, window)| !window.is_plain());
        plain.chain(others)
    }
}

impl Default for Windows {
    fn default() -> Windows {
        let window = |size: i64| Window {
            size: Some(Span(size)),
            lateness: Span(200 * MILLI),
            ..Window::default()
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
