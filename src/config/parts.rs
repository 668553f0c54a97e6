//! The configuration as the plain structs that the crates below take.

use analytics::{Aggregate, DeclaredConfig, SuiteConfig, WindowConfig};
use analytics::{Bps, Measure, MomentumConfig, RegimeConfig, RiskConfig, SpreadConfig};
use book::{BooksConfig, Depth};
use bus::{Qty, Ts};

use super::{AggregateName, Config, OrderMode, Ratio, Window};

impl From<Ratio> for Bps {
    fn from(ratio: Ratio) -> Bps {
        Bps(ratio.0)
    }
}

impl Config {
    /// Bounds of a shard's books.
    pub fn books(&self) -> BooksConfig {
        BooksConfig {
            orders_max: self.limits.orders as u32,
            levels_max: self.limits.levels as u32,
            symbols_max: self.limits.symbols as u32,
            depth: match self.book.depth {
                super::Depth::L3 => Depth::L3,
                super::Depth::L2 => Depth::L2,
            },
        }
    }

    /// The analytics. A window's number is its place in [`super::Windows::in_order`].
    pub fn suite(&self) -> SuiteConfig {
        let is_plain = |window: &Window| window.is_plain();
        let windows = self.windows.in_order();
        let (plain, others): (Vec<_>, Vec<_>) = windows.partition(|(_, window)| is_plain(window));
        let windows = plain.into_iter().map(|(name, window)| WindowConfig {
            name: name.clone(),
            size_ns: window.size.map_or(0, |size| size.0),
            lateness_ns: window.lateness.0,
            ahead_ns: self.time.idle_after.0,
        });
        let declared = others
            .into_iter()
            .map(|(name, window)| declared(name, window));
        SuiteConfig {
            symbols_max: self.limits.symbols - 1,
            windows: windows.collect(),
            declared: declared.collect(),
            // The trading day's midnight; who has it, sets it.
            origin: Ts(0),
            // Ticks are this far apart, and behind the latest event by the second, and by the third
            // where they wait for a source.
            ahead_ns: (self.time.tick.0)
                .saturating_add(self.time.out_of_order.0)
                .saturating_add(self.time.idle_after.0),
            spread: SpreadConfig {
                threshold: self.spread.threshold.into(),
                hold_ns: self.spread.hold.0,
                clear: self.spread.clear.into(),
                clear_hold_ns: self.spread.clear_hold.0,
            },
            regime: RegimeConfig {
                sample_ns: self.regime.sample.0,
                half_life_ns: self.regime.half_life.0,
                baseline_ns: self.regime.baseline.0,
                warmup_samples: self.regime.warmup_samples,
                measure: match self.regime.measure {
                    super::Measure::Baseline => Measure::Baseline,
                    super::Measure::Absolute => Measure::Absolute,
                },
                stressed: self.regime.stressed,
                calm: self.regime.calm,
                hysteresis: self.regime.hysteresis,
                floor_bps: self.regime.floor.bps(),
            },
            regimes: self.regimes.configs(),
            monitors: self.monitors.configs(),
            patterns: (self.patterns.configs()).expect("the configuration was checked"),
            joins: (self.joins.configs()).expect("the configuration was checked"),
            instruments: self.instruments.configs(),
            strategies: self.strategies.configs(&self.models.names()),
            // Who makes a core reads their files.
            scores: Vec::new(),
            features: (self.features.configs(self)).expect("the configuration was checked"),
            momentum: MomentumConfig {
                enabled: self.momentum.enabled,
                lookback_ns: self.momentum.lookback.0,
                threshold: self.momentum.threshold.into(),
                sigmas: self.momentum.sigmas,
                imbalance: self.momentum.imbalance,
                cooldown_ns: self.momentum.cooldown.0,
                qty: Qty(i64::from(self.momentum.qty)),
            },
            rules: (self.rules.configs(&self.models.names()))
                .expect("the configuration was checked"),
        }
    }

    /// The simulated venue, in the mode that has one.
    pub fn paper(&self) -> Option<book::PaperConfig> {
        let is_on = self.orders.mode == Some(OrderMode::Paper);
        let paper = self.orders.paper.as_ref().filter(|_| is_on)?;
        Some(paper.config(self.limits.symbols))
    }

    /// The risk gate.
    pub fn risk_gate(&self) -> RiskConfig {
        RiskConfig {
            qty_max: Qty(i64::from(self.risk.qty_max)),
            notional_max: self.risk.notional_max as i64,
            collar: self.risk.collar.into(),
            orders_per_second: self.risk.orders_per_second,
            collar_last: self.risk.collar_last.map(Bps::from),
            duplicate_ns: self.risk.duplicate_window.0,
            restricted: self
                .risk
                .restricted
                .iter()
                .map(|name| letters(name))
                .collect(),
            hours_ns: self.risk.hours.map(|hours| (hours.from_ns, hours.until_ns)),
            // Who knows the day, sets it.
            midnight: Ts(0),
            refuses_self_trade: self.risk.refuse_self_trade,
            position_max: self.risk.position_max.map(|max| Qty(max as i64)),
            gross_max: self.risk.gross_max.map(|max| max as i64),
            net_max: self.risk.net_max.map(|max| max as i64),
        }
    }
}

fn declared(name: &str, window: &Window) -> DeclaredConfig {
    let mut aggregates: Vec<Aggregate> = Vec::new();
    for name in &window.aggregates {
        aggregates.extend(match name {
            AggregateName::Vwap
            | AggregateName::Ohlc
            | AggregateName::Volume
            | AggregateName::Notional
            | AggregateName::TradeCount => None,
            AggregateName::BuyVolume
            | AggregateName::SellVolume
            | AggregateName::TradeImbalance => Some(Aggregate::Sides),
            AggregateName::RealizedVariance => Some(Aggregate::RealizedVariance),
            AggregateName::SizeQuantiles => Some(Aggregate::Sizes),
            AggregateName::Twap
            | AggregateName::Spread
            | AggregateName::Depth
            | AggregateName::Ofi => Some(Aggregate::Standing),
        });
    }
    DeclaredConfig {
        name: name.to_string(),
        shape: window.shape(),
        lateness_ns: window.lateness.0,
        revise: window.revise,
        policy: window.policy(),
        aggregates,
        symbols: window.symbols.iter().map(|name| letters(name)).collect(),
    }
}

/// A symbol's name as events have it, in upper case as on the command line; it was checked that it
/// fits.
fn letters(name: &str) -> [u8; 8] {
    let mut letters = [b' '; 8];
    letters[..name.len()].copy_from_slice(name.as_bytes());
    letters.make_ascii_uppercase();
    letters
}
