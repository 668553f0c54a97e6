//! Trades against a mid price far from the session's volume-weighted one, which institutions are
//! measured by and so trade around.
//!
//! Source: S. Berkowitz, D. Logue and E. Noser, *The total cost of transactions on the NYSE*, Journal of
//! Finance 43 (1988), for the average price as the benchmark; that prices come back to it is the bet.

use bus::Side;

use super::{Look, Strategy};
use crate::number::{Bps, double_mid};
use crate::view::View;

/// When (mid - vwap) / vwap counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VwapReversion {
    /// At least so far above it sells, so far below it buys; above 0.
    pub enter: Bps,
    /// At most so far away it wants no more; not below 0, below `enter`.
    pub leave: Bps,
    /// Nothing before so many trades of the session.
    pub trades_min: u32,
}

impl Strategy for VwapReversion {
    fn look(&self, view: &View) -> Look {
        if view.trade_count < self.trades_min.max(1) || view.volume.0 <= 0 {
            return Look::Leave;
        }
        // All over twice the volume: compared exactly, without a division.
        let fair = 2 * view.notional.0;
        let away = i128::from(double_mid(&view.quote)) * i128::from(view.volume.0) - fair;
        let part = away.abs().saturating_mul(i128::from(Bps::ONE.0));
        let limit = |limit: Bps| fair.abs().saturating_mul(i128::from(limit.0));
        if part >= limit(self.enter) {
            Look::Enter(if away > 0 { Side::Sell } else { Side::Buy })
        } else if part > limit(self.leave) {
            Look::Stay
        } else {
            Look::Leave
        }
    }

    fn problem(&self) -> Option<String> {
        let is_good = self.leave.0 >= 0 && self.leave < self.enter && self.enter < Bps::ONE;
        (!is_good).then(|| {
            let (enter, leave) = (self.enter, self.leave);
            format!("enter {enter} and leave {leave}, want 0 <= leave < enter < 100%")
        })
    }
}
