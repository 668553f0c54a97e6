//! Follows what a model says: a number far above its middle is to buy on, one far below to sell on.

use bus::Side;

use super::Look;

/// When a model's score counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// The model's place among those that are declared.
    pub model: usize,
    /// What says nothing: 0.5 of a probability, 0 of an expected return.
    pub middle: f64,
    /// So far above it buys, so far below it sells; above 0.
    pub enter: f64,
    /// Nearer than this it wants no more; not below 0, below `enter`.
    pub leave: f64,
}

impl Score {
    /// What it wants; out, while the model says nothing.
    pub(super) fn look(&self, scores: &[f64]) -> Look {
        let away = scores
            .get(self.model)
            .map_or(f64::NAN, |score| score - self.middle);
        if away >= self.enter {
            Look::Enter(Side::Buy)
        } else if away <= -self.enter {
            Look::Enter(Side::Sell)
        } else if away.abs() > self.leave {
            Look::Stay
        } else {
            Look::Leave
        }
    }

    pub(super) fn problem(&self) -> Option<String> {
        let is_good = self.middle.is_finite()
            && self.enter.is_finite()
            && (0.0..self.enter).contains(&self.leave);
        (!is_good).then(|| {
            let (enter, leave) = (self.enter, self.leave);
            format!("enter {enter} and leave {leave}, want 0 <= leave < enter, and a middle")
        })
    }
}
