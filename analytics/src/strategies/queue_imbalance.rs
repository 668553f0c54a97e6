//! Leans to the side with more at the touch, since that is the likelier side of the next move.
//!
//! Source: M. Gould and J. Bonart, *Queue imbalance as a one-tick-ahead price predictor in a limit order
//! book*, Market Microstructure and Liquidity 2 (2016).

use bus::Side;

use super::{Look, Strategy};
use crate::view::View;

/// When (B - A) / (B + A), of the quantities at the best prices, counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QueueImbalance {
    /// At or above this it buys, at or below minus this it sells; above 0, at most 1.
    pub enter: f64,
    /// Between this and minus this it wants no more; not below 0, below `enter`.
    pub leave: f64,
}

impl Strategy for QueueImbalance {
    fn look(&self, view: &View) -> Look {
        let (bid, ask) = (view.quote.bid_qty.0 as f64, view.quote.ask_qty.0 as f64);
        let imbalance = (bid - ask) / (bid + ask);
        if imbalance >= self.enter {
            Look::Enter(Side::Buy)
        } else if imbalance <= -self.enter {
            Look::Enter(Side::Sell)
        } else if imbalance.abs() <= self.leave {
            Look::Leave
        } else {
            Look::Stay
        }
    }

    fn problem(&self) -> Option<String> {
        let is_good = self.enter <= 1.0 && (0.0..self.enter).contains(&self.leave);
        (!is_good).then(|| {
            let (enter, leave) = (self.enter, self.leave);
            format!("enter {enter} and leave {leave}, want 0 <= leave < enter <= 1")
        })
    }
}
