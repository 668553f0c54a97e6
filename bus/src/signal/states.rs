//! What is said of a symbol's state: spread, volatility, momentum, what a decision saw, digests.

use crate::event::Side;
use crate::fixed::{Price, Ts};

/// Some of the numbers that a decision saw. Those of one decision follow each other, in order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Features {
    /// Which is the first of these, from 0.
    pub first: u32,
    /// How many there are.
    pub count: u32,
    /// The numbers; one that is not known is not a number, and those beyond `count` are 0.
    pub values: [f64; Features::VALUES_MAX],
}

impl Features {
    /// As many as one signal has.
    pub const VALUES_MAX: usize = 12;
}

/// A spread alert.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Raised, or cleared.
    pub raised: bool,
    /// The spread now, in basis points of the mid price.
    pub bps: f64,
    /// The quote now.
    pub bid: Price,
    #[allow(missing_docs)]
    pub ask: Price,
    /// Since when the threshold was passed (raised) or the alert stood (cleared).
    pub since: Ts,
}

/// A change of volatility regime.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Regime {
    /// Before.
    pub from: Volatility,
    /// From now on.
    pub to: Volatility,
    /// The volatility estimate, in basis points per square root of a second.
    pub bps: f64,
}

/// How lively a symbol is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Volatility {
    /// Below the lower threshold.
    Calm = 0,
    /// Between.
    #[default]
    Normal = 1,
    /// Above the upper threshold.
    Stressed = 2,
}

impl Volatility {
    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Volatility::Calm => "calm",
            Volatility::Normal => "normal",
            Volatility::Stressed => "stressed",
        }
    }

    pub(super) const fn from_word(word: i64) -> Volatility {
        match word {
            0 => Volatility::Calm,
            2 => Volatility::Stressed,
            _ => Volatility::Normal,
        }
    }
}

/// What the momentum strategy saw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Momentum {
    /// Buy or sell.
    pub side: Side,
    /// Move of the micro-price over the look-back, in basis points.
    pub move_bps: f64,
    /// Imbalance of the sizes at the touch, -1 (all offered) to 1 (all bid).
    pub imbalance: f64,
    /// The quote it saw.
    pub quote: crate::Quote,
}

/// Digest of one symbol's minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest {
    /// 64 bits over its events, quotes and signals, in order.
    pub value: u64,
    /// How many events.
    pub events: u64,
    /// Minutes since the trading date's midnight.
    pub minute: u32,
}
