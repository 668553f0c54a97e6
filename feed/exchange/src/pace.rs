//! When things arrive: busy at the open and the close, quiet and busy stretches between, and
//! clusters within microseconds everywhere.

use crate::random::{Random, exp};

/// Of ten arrivals, those that follow closely upon the one before.
const CLOSE_SHARE: f64 = 0.6;

/// The rate over a session, in slots of equal length.
#[derive(Debug)]
pub(crate) struct Pace {
    open_ns: u64,
    slot_ns: u64,
    /// The mean time of one message in each slot.
    mean_ns: Vec<f64>,
}

impl Pace {
    /// `rate` messages a second on average between `open_ns` and `close_ns`.
    pub(crate) fn new(open_ns: u64, close_ns: u64, rate: u32, random: &mut Random) -> Self {
        let length_ns = close_ns - open_ns;
        let count = (length_ns / 50_000_000).clamp(20, 20_000);
        let (mut level, mut remaining) = (1.0, 0u32);
        let mut rates: Vec<f64> = (0..count)
            .map(|slot| {
                if remaining == 0 {
                    (level, remaining) = match random.below(10) {
                        0..3 => (random.between(0.15, 0.4), 2 + random.geometric(5.0)),
                        3..8 => (1.0, 3 + random.geometric(10.0)),
                        _ => (random.between(1.8, 3.5), 1 + random.geometric(3.0)),
                    };
                }
                remaining -= 1;
                let place = (slot as f64 + 0.5) / count as f64;
                let rush = 3.0 * exp(-place * 30.0) + 2.5 * exp((place - 1.0) * 20.0);
                level * random.between(0.8, 1.2) + rush
            })
            .collect();
        let mean = rates.iter().sum::<f64>() / count as f64;
        for rate_here in &mut rates {
            *rate_here = 1e9 / (*rate_here / mean * f64::from(rate));
        }
        Self {
            open_ns,
            slot_ns: length_ns.div_ceil(count),
            mean_ns: rates,
        }
    }

    /// The time from an arrival of `messages` messages at `now_ns` to the next one.
    pub(crate) fn gap_ns(&self, now_ns: u64, messages: u64, random: &mut Random) -> u64 {
        let slot = ((now_ns - self.open_ns) / self.slot_ns) as usize;
        let mean_ns = self.mean_ns[slot.min(self.mean_ns.len() - 1)] * messages as f64;
        let close_ns = (mean_ns * 0.05).min(3_000.0);
        let gap_ns = if random.chance(CLOSE_SHARE) {
            random.exponential(close_ns)
        } else {
            random.exponential((mean_ns - CLOSE_SHARE * close_ns) / (1.0 - CLOSE_SHARE))
        };
        // Rounded by chance, since at high rates the fraction is a large part.
        (gap_ns + random.unit()) as u64
    }
}
