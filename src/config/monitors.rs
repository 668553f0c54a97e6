//! Monitors of spreads and books.

use std::collections::BTreeMap;

use analytics::{Bps, Limit, MonitorConfig, Watch};
use bus::Price;
use serde::{Deserialize, Serialize};

use super::units::{Ratio, Span};

/// Named monitors, beside the one below `[spread]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Monitors(pub BTreeMap<String, Monitor>);

/// One of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Monitor {
    /// What to look at.
    pub kind: MonitorKind,
    /// Of spreads: raise when it is at least this share of the mid ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<Ratio>,
    /// ... and clear when it is at most this; the threshold where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clear: Option<Ratio>,
    /// The same in ticks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold_ticks: Option<u32>,
    #[allow(missing_docs)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clear_ticks: Option<u32>,
    /// How large a tick is, in units of 1e-9.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tick_e9: Option<u64>,
    /// How long after a trade its spread is realised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub horizon: Option<Span>,
    /// For how long before it is raised ...
    #[serde(default = "nothing")]
    pub hold: Span,
    /// ... and cleared.
    #[serde(default = "nothing")]
    pub clear_hold: Span,
    /// After it was cleared, no hold time begins for this long.
    #[serde(default = "nothing")]
    pub rearm: Span,
}

/// What can be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum MonitorKind {
    QuotedSpread,
    EffectiveSpread,
    RealisedSpread,
    Crossed,
    Locked,
    OneSided,
    Stale,
}

fn nothing() -> Span {
    Span(0)
}

/// A cent.
const TICK_E9: u64 = 10_000_000;

impl Monitor {
    fn is_spread(&self) -> bool {
        use MonitorKind::{EffectiveSpread, QuotedSpread, RealisedSpread};
        matches!(self.kind, QuotedSpread | EffectiveSpread | RealisedSpread)
    }

    /// The keys that its kind has, and no others.
    fn check(&self, name: &str) -> Result<(), String> {
        let is_spread = self.is_spread();
        let in_ticks = self.threshold_ticks.is_some();
        let is_realised = self.kind == MonitorKind::RealisedSpread;
        let keys = [
            ("threshold", self.threshold.is_some(), is_spread),
            ("threshold_ticks", in_ticks, is_spread),
            ("clear", self.clear.is_some(), self.threshold.is_some()),
            ("clear_ticks", self.clear_ticks.is_some(), in_ticks),
            ("tick_e9", self.tick_e9.is_some(), in_ticks),
            ("horizon", self.horizon.is_some(), is_realised),
        ];
        for (key, is_there, may_be) in keys {
            if is_there && !may_be {
                return Err(format!("monitors.{name}.{key}: it has no `{key}`"));
            }
        }
        if is_spread && self.threshold.is_some() == in_ticks {
            let want = "want one of `threshold` and `threshold_ticks`";
            return Err(format!("monitors.{name}: {want}"));
        }
        if is_realised && self.horizon.is_none() {
            return Err(format!(
                "monitors.{name}: a realised spread wants `horizon`"
            ));
        }
        let tick_e9 = self.tick_e9.unwrap_or(TICK_E9);
        if !(1..=1_000_000_000_000).contains(&tick_e9) {
            return Err(format!(
                "monitors.{name}.tick_e9 is {tick_e9}, want 1 to 1000000000000"
            ));
        }
        Ok(())
    }

    fn config(&self, name: &str) -> MonitorConfig {
        let share = |ratio: Ratio| Limit::Share(Bps(ratio.0));
        let tick_e9 = self.tick_e9.unwrap_or(TICK_E9) as i64;
        // Below 2^32 ticks of at most 1e12 each.
        let ticks = |count: u32| Limit::Price(Price(i64::from(count).saturating_mul(tick_e9)));
        let threshold = match (self.threshold, self.threshold_ticks) {
            (Some(ratio), _) => share(ratio),
            (None, Some(count)) => ticks(count),
            (None, None) => Limit::Share(Bps(0)),
        };
        let clear = self.clear.map(share).or(self.clear_ticks.map(ticks));
        MonitorConfig {
            name: name.into(),
            watch: match self.kind {
                MonitorKind::QuotedSpread => Watch::Quoted,
                MonitorKind::EffectiveSpread => Watch::Effective,
                MonitorKind::RealisedSpread => Watch::Realised {
                    horizon_ns: self.horizon.map_or(0, |horizon| horizon.0),
                },
                MonitorKind::Crossed => Watch::Crossed,
                MonitorKind::Locked => Watch::Locked,
                MonitorKind::OneSided => Watch::OneSided,
                MonitorKind::Stale => Watch::Stale,
            },
            threshold,
            hold_ns: self.hold.0,
            clear: clear.unwrap_or(threshold),
            clear_hold_ns: self.clear_hold.0,
            rearm_ns: self.rearm.0,
        }
    }
}

impl Monitors {
    /// A configuration without any is the text that it was before there could be some.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let mut monitors = self.0.iter();
        monitors.try_for_each(|(name, monitor)| monitor.check(name))
    }

    /// Each, in the order of their names.
    pub(super) fn configs(&self) -> Vec<MonitorConfig> {
        let monitors = self.0.iter();
        monitors
            .map(|(name, monitor)| monitor.config(name))
            .collect()
    }
}
