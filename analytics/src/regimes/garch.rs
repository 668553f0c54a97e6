//! GARCH(1,1): the variance of the next return from this one's square and the variance before.
//!
//! `h' = (1 - alpha - beta) V + alpha r^2 + beta h` (Bollerslev 1986), where V is the symbol's own
//! long-run variance, which moves with it (variance targeting), or one that is given.

use super::Seen;

/// The model's parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct GarchConfig {
    /// The weight of the latest square.
    pub alpha: f64,
    /// The weight of the variance before.
    pub beta: f64,
    /// The long-run volatility, in basis points of one sample; the symbol's own where it is `None`.
    pub long_run_bps: Option<f64>,
}

impl GarchConfig {
    pub(super) fn wrong(&self) -> Option<String> {
        let GarchConfig { alpha, beta, .. } = *self;
        if !(alpha >= 0.0 && beta >= 0.0 && alpha + beta < 1.0) {
            return Some(format!(
                "alpha {alpha} and beta {beta}, want 0 or above, together below 1"
            ));
        }
        let is_wrong = |bps: f64| !(bps > 0.0 && bps.is_finite());
        let long_run = self.long_run_bps.filter(|bps| is_wrong(*bps));
        long_run.map(|bps| format!("long_run {bps}, want above 0"))
    }
}

#[derive(Clone, Debug)]
pub(super) struct Garch {
    alpha: f64,
    beta: f64,
    long_run: Option<f64>,
}

impl Garch {
    /// The variance of the next return.
    pub(super) const FLOATS: usize = 1;

    pub(super) fn new(config: &GarchConfig) -> Garch {
        Garch {
            alpha: config.alpha,
            beta: config.beta,
            long_run: config.long_run_bps.map(|bps| bps * bps),
        }
    }

    pub(super) fn take(&self, state: &mut [f64], bps: f64, long_run: f64) -> Seen {
        let long_run = self.long_run.unwrap_or(long_run);
        // Before the first return there is no variance but the usual one.
        let before = match state[0] > 0.0 {
            true => state[0],
            false => long_run,
        };
        let rest = (1.0 - self.alpha - self.beta) * long_run;
        state[0] = rest + self.alpha * (bps * bps) + self.beta * before;
        Seen {
            sigma: state[0].sqrt(),
            state: None,
        }
    }
}
