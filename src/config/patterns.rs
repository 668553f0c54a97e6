//! Patterns of events.

use std::collections::BTreeMap;

use analytics::{By, Known, Pattern as Compiled, PatternConfig};
use serde::{Deserialize, Serialize};

use super::units::{Ratio, Span};

/// Named patterns; the order of their names is their number, behind the rules and the monitors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Patterns(pub BTreeMap<String, Pattern>);

/// One of them: a text in `when`, or a built-in one by its `kind` with its parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pattern {
    /// The events: `add times 5 then cancel[age < 50ms] times 5 within 1s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// A built-in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<PatternKind>,
    /// Whose events are looked at together.
    #[serde(default)]
    pub by: PatternBy,
    /// How many partial matches behind their first step are kept of a symbol.
    #[serde(default = "partial_max")]
    pub partial_max: u32,
    /// How many of a symbol's latest orders are remembered.
    #[serde(default = "orders")]
    pub orders: u32,
    /// Of built-in ones: how long it takes from first to last at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Span>,
    /// How many messages, orders, trades or prints it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u16>,
    /// Of `layering`: how many orders are taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancels: Option<u16>,
    /// Of `quote-stuffing`: how old an order is at most; of `latency-arbitrage`: at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age: Option<Span>,
    /// Of `layering`: how far from the best price of its side an order is at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub away: Option<Ratio>,
    /// Of `momentum-ignition`: how far the mid goes; of `latency-arbitrage`: the profit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#move: Option<Ratio>,
    /// Of `wash-prints`: the least size of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qty_min: Option<u32>,
}

/// The built-in ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum PatternKind {
    QuoteStuffing,
    Layering,
    MomentumIgnition,
    WashPrints,
    LatencyArbitrage,
}

/// Whose events are looked at together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PatternBy {
    /// All of a symbol.
    #[default]
    Symbol,
    /// Those about orders of one participant.
    Participant,
}

fn partial_max() -> u32 {
    16
}

fn orders() -> u32 {
    256
}

const MILLI: i64 = 1_000_000;

impl Pattern {
    /// The parameters that its kind has, and no others.
    fn check_keys(&self) -> Result<(), String> {
        use PatternKind as Kind;
        let kind = self.kind;
        let of = |kinds: &[Kind]| kind.is_some_and(|kind| kinds.contains(&kind));
        let keys = [
            ("within", self.within.is_some(), kind.is_some()),
            (
                "count",
                self.count.is_some(),
                kind.is_some() && !of(&[Kind::LatencyArbitrage]),
            ),
            ("cancels", self.cancels.is_some(), of(&[Kind::Layering])),
            (
                "age",
                self.age.is_some(),
                of(&[Kind::QuoteStuffing, Kind::LatencyArbitrage]),
            ),
            ("away", self.away.is_some(), of(&[Kind::Layering])),
            (
                "move",
                self.r#move.is_some(),
                of(&[Kind::MomentumIgnition, Kind::LatencyArbitrage]),
            ),
            ("qty_min", self.qty_min.is_some(), of(&[Kind::WashPrints])),
        ];
        match keys
            .iter()
            .find(|(_, is_there, may_be)| *is_there && !may_be)
        {
            Some((key, ..)) => Err(format!(".{key}: it has no `{key}`")),
            None => Ok(()),
        }
    }

    /// The built-in one, and within what time.
    fn known(&self, kind: PatternKind) -> Result<(Known, i64), String> {
        let least = |name: &str, value: u16, least: u16| match (least..=Compiled::TIMES_MAX)
            .contains(&value)
        {
            true => Ok(value),
            false => Err(format!(
                ".{name} is {value}, want {least} to {}",
                Compiled::TIMES_MAX
            )),
        };
        let ns = |span: Option<Span>, other: i64| span.map_or(other, |span| span.0);
        let bps = |ratio: Option<Ratio>, other: f64| ratio.map_or(other, Ratio::bps);
        let (known, within) = match kind {
            PatternKind::QuoteStuffing => (
                Known::QuoteStuffing {
                    messages: least("count", self.count.unwrap_or(200), 1)?,
                    age_ns: ns(self.age, 50 * MILLI),
                },
                1_000 * MILLI,
            ),
            PatternKind::Layering => (
                Known::Layering {
                    layers: least("count", self.count.unwrap_or(5), 2)?,
                    cancels: least("cancels", self.cancels.unwrap_or(5), 1)?,
                    away_bps: bps(self.away, 10.0),
                },
                5_000 * MILLI,
            ),
            PatternKind::MomentumIgnition => (
                Known::MomentumIgnition {
                    trades: least("count", self.count.unwrap_or(10), 2)?,
                    move_bps: bps(self.r#move, 10.0),
                },
                5_000 * MILLI,
            ),
            PatternKind::WashPrints => (
                Known::WashPrints {
                    prints: least("count", self.count.unwrap_or(4), 2)?,
                    qty_min: i64::from(self.qty_min.unwrap_or(1)),
                },
                1_000 * MILLI,
            ),
            PatternKind::LatencyArbitrage => (
                Known::LatencyArbitrage {
                    age_ns: ns(self.age, 100 * MILLI),
                    edge_bps: bps(self.r#move, 1.0),
                },
                10 * MILLI,
            ),
        };
        for (key, span) in [("within", self.within), ("age", self.age)] {
            if span.is_some_and(|span| span.0 <= 0) {
                return Err(format!(".{key} must be above zero"));
            }
        }
        Ok((known, ns(self.within, within)))
    }

    fn config(&self, name: &str) -> Result<PatternConfig, String> {
        let fail = |what: String| format!("patterns.{name}{what}");
        self.check_keys().map_err(fail)?;
        let pattern = match (&self.when, self.kind) {
            (Some(text), None) => {
                Compiled::parse(text).map_err(|error| fail(format!(".when: {error}")))?
            }
            (None, Some(kind)) => {
                let (known, within_ns) = self.known(kind).map_err(fail)?;
                known
                    .pattern(within_ns)
                    .map_err(|what| fail(format!(": {what}")))?
            }
            (None, None) | (Some(_), Some(_)) => {
                return Err(fail(": want one of `when` and `kind`".into()));
            }
        };
        Ok(PatternConfig {
            name: name.into(),
            pattern,
            by: match self.by {
                PatternBy::Symbol => By::Symbol,
                PatternBy::Participant => By::Participant,
            },
            partial_max: self.partial_max as usize,
            orders: self.orders as usize,
        })
    }
}

impl Patterns {
    /// A configuration without any is the text that it was before there could be some.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each, in the order of their names.
    pub(super) fn configs(&self) -> Result<Vec<PatternConfig>, String> {
        let patterns = self.0.iter();
        patterns
            .map(|(name, pattern)| pattern.config(name))
            .collect()
    }
}
