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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_far_from_its_middle_is_followed_and_an_unknown_one_is_left() {
        let score = Score {
            model: 1,
            middle: 0.5,
            enter: 0.25,
            leave: 0.125,
        };
        assert_eq!(score.problem(), None);
        let look = |own: f64| score.look(&[9.0, own]);
        for (own, want) in [
            (0.75, Look::Enter(Side::Buy)),
            (0.74, Look::Stay),
            (0.625, Look::Leave),
            (0.5, Look::Leave),
            (0.375, Look::Leave),
            (0.26, Look::Stay),
            (0.25, Look::Enter(Side::Sell)),
            (f64::NAN, Look::Leave),
        ] {
            assert_eq!(look(own), want, "{own}");
        }
        assert_eq!(score.look(&[9.0]), Look::Leave);
        let wrong = Score {
            leave: 0.25,
            ..score
        };
        assert!(wrong.problem().is_some());
    }
}
