//! What we conclude about one symbol: windows, spread alerts, regimes, momentum, and whether an
//! order may leave.
//!
//! Start with `suite`, which runs the others; `view` is what they know of a symbol; `vwap`,
//! `spread`, `regime`, `momentum` and `rule` are the analytics, in the order in which they run; `expr`
//! reads the conditions of rules; `scores` is what models say, before the rules; `windows`, `regimes`, `monitors` and `patterns` are those that the configuration declares
//! beside the plain ones of `vwap`, `regime` and `spread`; `strategies` are those that it declares beside `momentum`; `joins` are streams beside each other, and `instruments` the best prices of several symbols; `features` is what a decision
//! saw; `intent` is what a strategy wants and `risk` says whether it may.
//! Knows nothing of books, exchanges, threads, clocks or files. The same events and ticks give
//! the same signals, to the bit: floats appear in statistics only, and only under operations
//! that IEEE 754 defines exactly.

#![forbid(unsafe_code)]

mod beside;
mod due;
pub mod expr;
pub mod features;
pub mod instruments;
pub mod intent;
pub mod joins;
pub mod momentum;
pub mod monitors;
pub mod number;
pub mod patterns;
pub mod regime;
pub mod regimes;
pub mod risk;
pub mod rule;
pub mod scores;
pub mod spread;
pub mod strategies;
pub mod suite;
pub mod view;
pub mod vwap;
pub mod windows;

pub use expr::pattern::Pattern;
pub use expr::{Condition, ExprError};
pub use features::{FeatureConfig, FeatureSource, Take};
pub use instruments::InstrumentConfig;
pub use intent::{Intent, Intents};
pub use joins::{JoinConfig, JoinCounts, JoinKind, Right, Stream};
pub use momentum::MomentumConfig;
pub use monitors::{Limit, MonitorConfig, Watch};
pub use number::Bps;
pub use patterns::{By, Known, PatternConfig};
pub use regime::{Measure, RegimeConfig};
pub use regimes::{ChangeConfig, GarchConfig, HmmConfig, ModelConfig, ModelKind};
pub use risk::{Risk, RiskConfig};
pub use rule::{RuleConfig, RuleOrder, Touch};
pub use scores::ScoreConfig;
pub use spread::SpreadConfig;
pub use suite::{Suite, SuiteConfig, Suites, matters};
pub use view::View;
pub use vwap::WindowConfig;
pub use windows::{Aggregate, DeclaredConfig, Policy, Shape};
