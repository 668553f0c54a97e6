//! The numbers that are kept of each decision.

use std::collections::BTreeMap;

use analytics::expr::Value;
use analytics::{FeatureConfig, FeatureSource};
use serde::{Deserialize, Serialize};

use super::Config;
use super::market::{AggregateName, Window};

/// Named features; the order of their names is that of the table's columns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Features(pub BTreeMap<String, Feature>);

/// One of them: exactly one of `value`, `window`, `regime` and `alert`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Feature {
    /// A number worked out of the symbol's view, in the language of rules: `(last - vwap) / vwap`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// A window by its name, of which the latest that was said is looked at ...
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<String>,
    /// ... and what of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub take: Option<Take>,
    /// A regime by its name, or `volatility`: 0 calm, 1 normal, 2 stressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regime: Option<String>,
    /// A monitor or a rule by its name, or `spread`: whether its alert stands, 1 or 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert: Option<String>,
}

/// What of a window is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Take {
    Open,
    High,
    Low,
    Close,
    Vwap,
    Volume,
    TradeCount,
    TradeImbalance,
    RealizedVariance,
    Twap,
    Spread,
    BidDepth,
    AskDepth,
    Ofi,
}

impl Take {
    fn plain(self) -> analytics::Take {
        use analytics::Take as To;
        match self {
            Take::Open => To::Open,
            Take::High => To::High,
            Take::Low => To::Low,
            Take::Close => To::Close,
            Take::Vwap => To::Vwap,
            Take::Volume => To::Volume,
            Take::TradeCount => To::TradeCount,
            Take::TradeImbalance => To::TradeImbalance,
            Take::RealizedVariance => To::RealizedVariance,
            Take::Twap => To::Twap,
            Take::Spread => To::Spread,
            Take::BidDepth => To::BidDepth,
            Take::AskDepth => To::AskDepth,
            Take::Ofi => To::Ofi,
        }
    }

    /// The aggregates of which one must be asked for, so that windows have it; none for what they
    /// always have.
    fn needs(self) -> &'static [AggregateName] {
        use AggregateName as Name;
        match self {
            Take::Open | Take::High | Take::Low | Take::Close => &[],
            Take::Vwap | Take::Volume | Take::TradeCount => &[],
            Take::TradeImbalance => &[Name::BuyVolume, Name::SellVolume, Name::TradeImbalance],
            Take::RealizedVariance => &[Name::RealizedVariance],
            // One is worked out with the others.
            Take::Twap | Take::Spread | Take::BidDepth | Take::AskDepth | Take::Ofi => {
                &[Name::Twap, Name::Spread, Name::Depth, Name::Ofi]
            }
        }
    }
}

/// Columns that the table has anyway.
const TAKEN: [&str; 4] = ["ts_event", "symbol", "name", "seq"];
const NAME_LETTERS_MAX: usize = 48;

impl Feature {
    /// Worked out; `models` may be asked for what they say.
    pub(super) fn config(
        &self,
        name: &str,
        all: &Config,
        models: &[&str],
    ) -> Result<FeatureConfig, String> {
        let fail = |what: String| Err(format!("features.{name}: {what}"));
        let is_letter = |letter: char| matches!(letter, 'a'..='z' | '0'..='9' | '_');
        let is_column = name.starts_with(|first: char| first.is_ascii_lowercase())
            && name.chars().all(is_letter)
            && name.len() <= NAME_LETTERS_MAX;
        if !is_column || TAKEN.contains(&name) {
            return fail(format!(
                "is a column, want at most {NAME_LETTERS_MAX} of a-z, 0-9 and _, a letter first, and none of {}",
                TAKEN.join(", ")
            ));
        }
        if self.take.is_some() != self.window.is_some() {
            return fail("`window` and `take` go together".into());
        }
        let source = match (&self.value, &self.window, &self.regime, &self.alert) {
            (Some(text), None, None, None) => {
                let value = Value::parse_among(text, models);
                FeatureSource::Value(value.map_err(|e| format!("features.{name}.value: {e}"))?)
            }
            (None, Some(window), None, None) => {
                let take = self.take.expect("it goes with `window`");
                let mut windows = all.windows.in_order();
                let Some((rule, found)) = find(&mut windows, window) else {
                    return fail(format!("there is no window `{window}`"));
                };
                if !is_said(take, found) {
                    let needs = take.needs()[0];
                    return fail(format!(
                        "windows.{window} does not say that; want \"{}\" among its aggregates",
                        serde_name(&needs)
                    ));
                }
                let take = take.plain();
                FeatureSource::Window { rule, take }
            }
            (None, None, Some(regime), None) => {
                let names =
                    std::iter::once("volatility").chain(all.regimes.0.keys().map(String::as_str));
                match place(names, regime) {
                    Some(rule) => FeatureSource::Regime { rule },
                    None => return fail(format!("there is no regime `{regime}`")),
                }
            }
            (None, None, None, Some(alert)) => {
                let names = std::iter::once("spread")
                    .chain(all.rules.0.keys().map(String::as_str))
                    .chain(all.monitors.0.keys().map(String::as_str));
                match place(names, alert) {
                    Some(rule) => FeatureSource::Alert { rule },
                    None => return fail(format!("there is no monitor and no rule `{alert}`")),
                }
            }
            _ => {
                return fail(
                    "want one of `value`, `window` with `take`, `regime` and `alert`".into(),
                );
            }
        };
        Ok(FeatureConfig {
            name: name.into(),
            source,
        })
    }
}

fn is_said(take: Take, window: &Window) -> bool {
    let needs = take.needs();
    needs.is_empty() || needs.iter().any(|need| window.aggregates.contains(need))
}

fn serde_name(aggregate: &AggregateName) -> String {
    let text = serde_json::to_string(aggregate).expect("a name");
    text.trim_matches('"').to_string()
}

fn find<'a>(
    windows: &mut dyn Iterator<Item = (&'a String, &'a Window)>,
    name: &str,
) -> Option<(u8, &'a Window)> {
    let found = windows.enumerate().find(|(_, (own, _))| *own == name);
    found.map(|(rule, (_, window))| (rule as u8, window))
}

fn place<'a>(mut names: impl Iterator<Item = &'a str>, name: &str) -> Option<u8> {
    let place = names.position(|own| own == name);
    place.map(|rule| rule as u8)
}

impl Features {
    /// A configuration without any is the text that it was before there could be some.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each, in the order of their names.
    pub(super) fn configs(&self, all: &Config) -> Result<Vec<FeatureConfig>, String> {
        let (features, models) = (self.0.iter(), all.models.names());
        features
            .map(|(name, feature)| feature.config(name, all, &models))
            .collect()
    }
}
