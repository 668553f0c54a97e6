//! A hidden Markov model: two or three states, in each of which returns are normal about 0 with a
//! volatility of its own; filtered, so that only what was seen counts (Hamilton 1989).
//!
//! `p'(k) ~ sum_j p(j) A(j, k) * N(r; 0, sigma_k)`, where A stays with `stay` and else leaves to each
//! other state alike.

use bus::signal::Volatility;

use super::Seen;
use crate::number::half_to_the;
use crate::regime::Measure;

/// The model's parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct HmmConfig {
    /// The volatility of each state, ascending: two of them are calm and stressed, three have normal
    /// between. In basis points per square root of a second, or multiples of the long-run one.
    pub sigmas: Vec<f64>,
    /// How likely it is that a state is the next sample's too.
    pub stay: f64,
    /// How likely another state must be to be said.
    pub confidence: f64,
}

impl HmmConfig {
    pub(super) fn wrong(&self) -> Option<String> {
        let sigmas = &self.sigmas;
        let is_count = (2..=STATES_MAX).contains(&sigmas.len());
        let ascends = sigmas.windows(2).all(|two| two[0] < two[1]);
        let are_numbers = sigmas.iter().all(|sigma| *sigma > 0.0 && sigma.is_finite());
        if !(is_count && ascends && are_numbers) {
            return Some(format!(
                "sigmas {sigmas:?}, want two or three above 0, ascending"
            ));
        }
        if !(self.stay > 0.0 && self.stay < 1.0) {
            return Some(format!("stay {}, want between 0 and 1", self.stay));
        }
        let confidence = self.confidence;
        let is_right = (0.5..1.0).contains(&confidence);
        (!is_right).then(|| format!("confidence {confidence}, want 0.5 or above, below 1"))
    }
}

const STATES_MAX: usize = 3;

#[derive(Clone, Debug)]
pub(super) struct Hmm {
    count: usize,
    /// In multiples of the long-run volatility, or basis points of one sample.
    sigmas: [f64; STATES_MAX],
    measure: Measure,
    stay: f64,
    leave: f64,
    confidence: f64,
}

impl Hmm {
    pub(super) fn new(config: &HmmConfig, measure: Measure, samples_per_second: f64) -> Hmm {
        let count = config.sigmas.len();
        let unit = match measure {
            Measure::Baseline => 1.0,
            Measure::Absolute => 1.0 / samples_per_second.sqrt(),
        };
        let mut sigmas = [0.0; STATES_MAX];
        for (sigma, from) in sigmas.iter_mut().zip(&config.sigmas) {
            *sigma = from * unit;
        }
        Hmm {
            count,
            sigmas,
            measure,
            stay: config.stay,
            leave: (1.0 - config.stay) / (count - 1) as f64,
            confidence: config.confidence,
        }
    }

    /// How likely each state is, and one more than the state that was said last.
    pub(super) fn floats(&self) -> usize {
        self.count + 1
    }

    pub(super) fn take(&self, state: &mut [f64], bps: f64, long_run: f64) -> Seen {
        let (likely, said) = state.split_at_mut(self.count);
        let unit = match self.measure {
            Measure::Baseline => long_run.sqrt(),
            Measure::Absolute => 1.0,
        };
        let is_first = said[0] == 0.0;
        let mut next = [0.0; STATES_MAX];
        let mut deviates = [0.0; STATES_MAX];
        for (index, deviate) in deviates[..self.count].iter_mut().enumerate() {
            let z = bps / (self.sigmas[index] * unit);
            *deviate = 0.5 * z * z;
        }
        // The widest state fits best what is far off; relative to it nothing vanishes altogether.
        let least = deviates[self.count - 1];
        let mut total = 0.0;
        for index in 0..self.count {
            let prior = match is_first {
                true => 1.0 / self.count as f64,
                false => likely[index] * self.stay + (1.0 - likely[index]) * self.leave,
            };
            // Above `least` for all but the last, whose sigma is largest.
            let density = half_to_the((deviates[index] - least).max(0.0) / std::f64::consts::LN_2);
            next[index] = prior * density / self.sigmas[index];
            total += next[index];
        }
        let (mut best, mut variance) = (0, 0.0);
        for index in 0..self.count {
            likely[index] = next[index] / total;
            let sigma = self.sigmas[index] * unit;
            variance += likely[index] * (sigma * sigma);
            if likely[index] > likely[best] {
                best = index;
            }
        }
        if is_first {
            // Normal where there is such a state; of two, the calm one until more is known.
            said[0] = if self.count == 3 { 2.0 } else { 1.0 };
        }
        if likely[best] >= self.confidence {
            said[0] = (best + 1) as f64;
        }
        let state = match (said[0] as usize, self.count) {
            (1, _) => Volatility::Calm,
            (2, 3) => Volatility::Normal,
            _ => Volatility::Stressed,
        };
        Seen {
            sigma: variance.sqrt(),
            state: Some(state),
        }
    }
}
