//! Looks for the highest rate that the pipeline holds, and for the knee of a sweep.

use super::report::TriedSaid;
use super::units::{Rate, Rates};
use super::verdict::{Shown, Verdict, standing};

/// What a rate did when it was tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Tried {
    /// Whether nothing was lost and the queue emptied to the end.
    pub is_held: bool,
    /// What was seen.
    pub why: String,
}

impl Tried {
    /// By what a trial showed. That the machine was disturbed does not decide here: a rate that
    /// was held all the same was held, and one that was not is tried again.
    pub fn by(shown: &Shown) -> Tried {
        let (is_held, why) = match (shown.dropped, standing(&shown.floors_ns)) {
            (0, None) => (true, "nothing lost, the queue emptied".to_string()),
            (0, Some(ns)) => {
                let waited = crate::term::nanos(ns);
                (
                    false,
                    format!("the luckiest packet waited {waited} at the end"),
                )
            }
            (lost, _) => (false, format!("{lost} messages lost")),
        };
        Tried { is_held, why }
    }
}

/// What a search found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The highest rate that was held each time it was tried; `None` if not even the lowest was.
    pub rate: Option<Rate>,
    /// Every try, in order.
    pub tried: Vec<TriedSaid>,
    /// Whether even the highest rate was held, so that the limit is above it.
    pub is_open: bool,
}

/// A failure counts when it comes twice: once can be the machine.
const FAILURES: u32 = 2;

/// Halves the range, by ratio, until its ends are within `precision` per cent. `attempt` is told
/// a rate and whether this is the confirmation, which is to take longer. Where the confirmation
/// fails, the next lower rate by that precision is confirmed instead.
pub fn bisect<E>(
    between: Rates,
    precision: f64,
    mut attempt: impl FnMut(Rate, bool) -> Result<Tried, E>,
) -> Result<Found, E> {
    let mut tried = Vec::new();
    let step = 1.0 + precision / 100.0;
    let mut is_held = |rate: f64, confirms: bool, tried: &mut Vec<TriedSaid>| -> Result<bool, E> {
        for _ in 0..FAILURES {
            let one = attempt(Rate(rate), confirms)?;
            let prefix = if confirms { "confirmation: " } else { "" };
            tried.push(TriedSaid {
                rate,
                is_held: one.is_held,
                why: format!("{prefix}{}", one.why),
            });
            if one.is_held {
                return Ok(true);
            }
        }
        Ok(false)
    };
    let (mut low, mut high) = (between.from.0, between.to.0);
    let mut found = Found {
        rate: None,
        tried: Vec::new(),
        is_open: false,
    };
    if !is_held(low, false, &mut tried)? {
        found.tried = tried;
        return Ok(found);
    }
    // From below: what is far above the limit takes long to play, and says little.
    let mut rate = low;
    loop {
        rate = (rate * 2.0).min(high);
        if !is_held(rate, false, &mut tried)? {
            high = rate;
            break;
        }
        low = rate;
        if rate >= high {
            found.is_open = true;
            break;
        }
    }
    while high / low > step {
        let middle = (low * high).sqrt();
        match is_held(middle, false, &mut tried)? {
            true => low = middle,
            false => high = middle,
        }
    }
    while low >= between.from.0 {
        if is_held(low, true, &mut tried)? {
            found.rate = Some(Rate(low));
            break;
        }
        found.is_open = false;
        low /= step;
    }
    found.tried = tried;
    Ok(found)
}

/// So many times the p99 of the quietest load is no longer on the flat part of a curve.
const KNEE_TIMES: u64 = 10;

/// The last load of a sweep before its p99 leaves the flat part for good, or a queue stands.
/// `points` are rate, p99 and verdict, by rising rate. A point that is INVALID says nothing.
pub fn knee(points: &[(f64, Option<u64>, Verdict)]) -> Option<f64> {
    let known = || points.iter().filter(|point| point.2 != Verdict::Invalid);
    let floor_ns = known().filter_map(|point| point.1).min()?;
    let is_flat = |point: &&(f64, Option<u64>, Verdict)| {
        point.2 == Verdict::Valid && point.1.is_some_and(|ns| ns <= floor_ns * KNEE_TIMES)
    };
    // One disturbed load below a good one is the machine, not the knee.
    known()
        .filter(is_flat)
        .map(|point| point.0)
        .reduce(f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(is_held: bool) -> Result<Tried, ()> {
        let why = String::new();
        Ok(Tried { is_held, why })
    }

    fn between(text: &str) -> Rates {
        text.parse().unwrap()
    }

    #[test]
    fn the_limit_is_found_to_the_precision() {
        let found = bisect(between("10k..10M"), 2.0, |rate, _| {
            tried(rate.0 <= 1_234_000.0)
        });
        let rate = found.unwrap().rate.unwrap().0;
        assert!((1_234_000.0 / 1.02..=1_234_000.0).contains(&rate), "{rate}");
    }

    #[test]
    fn one_bad_try_is_not_a_limit() {
        let mut count = 0;
        let found = bisect(between("10k..10M"), 2.0, |rate, _| {
            count += 1;
            tried(rate.0 <= 1_234_000.0 && count % 3 != 0)
        });
        let rate = found.unwrap().rate.unwrap().0;
        assert!(rate > 1_150_000.0, "{rate}");
    }

    #[test]
    fn what_is_not_confirmed_is_not_found() {
        // A short try holds more than a long one.
        let found = bisect(between("10k..10M"), 2.0, |rate, confirms| {
            tried(rate.0 <= if confirms { 1e6 } else { 1.1e6 })
        });
        let rate = found.unwrap().rate.unwrap().0;
        assert!((970_000.0..=1e6).contains(&rate), "{rate}");
    }

    #[test]
    fn the_ends_of_the_range_are_said_to_be_ends() {
        let none = bisect(between("10k..20k"), 2.0, |_, _| tried(false)).unwrap();
        assert_eq!((none.rate, none.is_open), (None, false));
        let all = bisect(between("10k..20k"), 2.0, |_, _| tried(true)).unwrap();
        assert_eq!((all.rate, all.is_open), (Some(Rate(20e3)), true));
    }

    #[test]
    fn the_knee_is_the_last_flat_load() {
        use Verdict::*;
        let points = [
            (1e5, Some(3_000), Valid),
            (2e5, Some(9_000_000), Invalid),
            (4e5, Some(4_000), Valid),
            (8e5, Some(9_000), Valid),
            (16e5, Some(90_000), Valid),
            (32e5, Some(80_000_000), Saturated),
        ];
        assert_eq!(knee(&points), Some(8e5));
        assert_eq!(knee(&points[1..2]), None);
    }
}
