//! Bayesian online detection of change points (Adams and MacKay 2007): how likely it is for how long
//! the returns have had the mean and variance that they have now.
//!
//! For each length of the stretch there are a probability and what is believed of its mean and variance
//! (normal, inverse gamma); each return is more or less surprising to each, by a Student t. A change
//! comes with a chance of one in `expected` at each sample.
//!
//! ```text
//! length    0      1      2    ...   run_max - 1, which has all longer ones, and forgets
//!           ▲  ╲      ╲      ╲
//!           └── a change ends whichever it is
//! ```

use super::Seen;
use crate::number::power;

/// The model's parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct ChangeConfig {
    /// How many samples there are between changes, on average.
    pub expected: f64,
    /// The longest stretch that is told from longer ones.
    pub run_max: usize,
    /// The volatility that is believed in before anything is seen, in basis points per square root of a
    /// second; worth two returns.
    pub prior_bps: f64,
}

impl ChangeConfig {
    pub(super) fn wrong(&self) -> Option<String> {
        if !(self.expected > 1.0 && self.expected.is_finite()) {
            return Some(format!("expected {}, want above 1", self.expected));
        }
        if !(2..=RUN_MAX).contains(&self.run_max) {
            return Some(format!("run_max {}, want 2 to {RUN_MAX}", self.run_max));
        }
        let is_right = self.prior_bps > 0.0 && self.prior_bps.is_finite();
        (!is_right).then(|| format!("prior {}, want above 0", self.prior_bps))
    }
}

const RUN_MAX: usize = 4096;
/// What is less likely than this is not followed any more.
const LIKELY_MIN: f64 = 1e-12;
/// Belief in the prior: one return for the mean, two for the variance.
const KAPPA: f64 = 1.0;
const ALPHA: f64 = 1.0;
/// Of each length: how likely it is, the mean, and beta of the inverse gamma.
const WIDTH: usize = 3;

#[derive(Clone, Debug)]
pub(super) struct Changes {
    hazard: f64,
    /// Beta before anything is seen.
    beta: f64,
    /// By the length: the density's constant factor.
    factors: Box<[f64]>,
}

impl Changes {
    pub(super) fn new(config: &ChangeConfig, samples_per_second: f64) -> Changes {
        // gamma(a + 1/2) / gamma(a) for each a, half a step at a time: from a to a + 1/2 it becomes
        // a over itself. It is 1 / sqrt(pi) at 1/2.
        let mut ratio = 0.5 * std::f64::consts::PI.sqrt();
        let mut alpha = ALPHA;
        let mut factors = Vec::with_capacity(config.run_max);
        for length in 0..config.run_max {
            let kappa = KAPPA + length as f64;
            let spread = (2.0 * std::f64::consts::PI * (kappa + 1.0) / kappa).sqrt();
            factors.push(ratio / spread);
            ratio = alpha / ratio;
            alpha += 0.5;
        }
        let prior_square = config.prior_bps * config.prior_bps / samples_per_second;
        Changes {
            hazard: 1.0 / config.expected,
            beta: ALPHA * prior_square,
            factors: factors.into(),
        }
    }

    /// How many lengths are in use, then each.
    pub(super) fn floats(&self) -> usize {
        1 + WIDTH * self.factors.len()
    }

    /// Whether a state that was loaded can be one.
    pub(super) fn is_whole(&self, state: &[f64]) -> bool {
        (0.0..=self.factors.len() as f64).contains(&state[0]) && state[0].fract() == 0.0
    }

    /// How likely a return is to a stretch of this length.
    #[inline]
    fn density(&self, length: usize, one: &[f64], bps: f64) -> f64 {
        let (mean, beta) = (one[1], one[2]);
        let kappa = KAPPA + length as f64;
        let off = bps - mean;
        let base = 1.0 + off * off * kappa / (2.0 * beta * (kappa + 1.0));
        // To the power of -(alpha + 1/2), with twice alpha a whole number.
        let twice = 2 * ALPHA as u64 + length as u64 + 1;
        self.factors[length] / beta.sqrt() * power(1.0 / base.sqrt(), twice)
    }

    /// What a stretch of this length believes after one more return; the longest forgets as it learns.
    #[inline]
    fn learn(&self, length: usize, one: &[f64], bps: f64) -> (f64, f64) {
        let (mean, beta) = (one[1], one[2]);
        let kappa = KAPPA + length as f64;
        let off = bps - mean;
        let next = beta + kappa * (off * off) / (2.0 * (kappa + 1.0));
        let mean = (kappa * mean + bps) / (kappa + 1.0);
        match length + 1 < self.factors.len() {
            true => (mean, next),
            false => {
                let alpha = ALPHA + 0.5 * length as f64;
                (mean, next * (alpha / (alpha + 0.5)))
            }
        }
    }

    pub(super) fn take(&self, state: &mut [f64], bps: f64) -> Seen {
        let (used, slots) = state.split_first_mut().expect("floats() of them");
        if *used == 0.0 {
            *used = 1.0;
            slots[..WIDTH].copy_from_slice(&[1.0, 0.0, self.beta]);
        }
        let (count, max) = (*used as usize, self.factors.len());
        // From the longest down, so that each moves on into a place that is free.
        let (mut changed, mut total) = (0.0, 0.0);
        for length in (0..count).rev() {
            let from = length * WIDTH;
            let one = [slots[from], slots[from + 1], slots[from + 2]];
            let likely = match one[0] > 0.0 {
                true => one[0] * self.density(length, &one, bps),
                false => 0.0,
            };
            let grown = likely * (1.0 - self.hazard);
            changed += likely * self.hazard;
            total += likely;
            let (mean, beta) = self.learn(length, &one, bps);
            if length + 1 < max {
                let to = from + WIDTH;
                // The longest has two that come to it, and believes the likelier one.
                let is_shared = length + 2 == max && count == max;
                if !is_shared || grown > slots[to] {
                    slots[to + 1..to + WIDTH].copy_from_slice(&[mean, beta]);
                }
                slots[to] = if is_shared { slots[to] + grown } else { grown };
            } else {
                slots[from..from + WIDTH].copy_from_slice(&[grown, mean, beta]);
            }
        }
        slots[..WIDTH].copy_from_slice(&[changed, 0.0, self.beta]);
        let mut count = (count + 1).min(max);
        if !(total > f64::MIN_POSITIVE && total.is_finite()) {
            // Nothing could be more surprising: a change, then.
            count = 1;
            slots[..WIDTH].copy_from_slice(&[1.0, 0.0, self.beta]);
            total = 1.0;
        }
        let mut best = 0;
        for length in 0..count {
            let likely = slots[length * WIDTH] / total;
            slots[length * WIDTH] = if likely < LIKELY_MIN { 0.0 } else { likely };
            if likely > slots[best * WIDTH] {
                best = length;
            }
        }
        while count > 1 && slots[(count - 1) * WIDTH] == 0.0 {
            count -= 1;
        }
        *used = count as f64;
        let alpha = ALPHA + 0.5 * best as f64;
        Seen {
            sigma: (slots[best * WIDTH + 2] / alpha).sqrt(),
            state: None,
        }
    }

    /// The most likely length.
    #[cfg(test)]
    pub(super) fn length(&self, state: &[f64]) -> usize {
        let lengths = 0..state[0] as usize;
        let likely = |length: &usize| state[1 + length * WIDTH];
        let best = lengths.max_by(|a, b| likely(a).total_cmp(&likely(b)));
        best.expect("at least one")
    }
}
