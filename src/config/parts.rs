//! The configuration as the plain structs that the crates below take.

use analytics::{Bps, Measure, MomentumConfig, RegimeConfig, RiskConfig, SpreadConfig};
use analytics::{SuiteConfig, WindowConfig};
use book::{BooksConfig, Depth};
use bus::Qty;

use super::{Config, Ratio};

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

    /// The analytics. A window's number is its place among the names in alphabetical order.
    pub fn suite(&self) -> SuiteConfig {
        let windows = self.windows.0.iter().map(|(name, window)| WindowConfig {
            name: name.clone(),
            size_ns: window.size.0,
            lateness_ns: window.lateness.0,
        });
        SuiteConfig {
            symbols_max: self.limits.symbols - 1,
            windows: windows.collect(),
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
            momentum: MomentumConfig {
                enabled: self.momentum.enabled,
                lookback_ns: self.momentum.lookback.0,
                threshold: self.momentum.threshold.into(),
                sigmas: self.momentum.sigmas,
                imbalance: self.momentum.imbalance,
                cooldown_ns: self.momentum.cooldown.0,
                qty: Qty(i64::from(self.momentum.qty)),
            },
            rules: self.rules.configs().expect("the configuration was checked"),
        }
    }

    /// The risk gate.
    pub fn risk_gate(&self) -> RiskConfig {
        RiskConfig {
            qty_max: Qty(i64::from(self.risk.qty_max)),
            notional_max: self.risk.notional_max as i64,
            collar: self.risk.collar.into(),
            orders_per_second: self.risk.orders_per_second,
        }
    }
}
