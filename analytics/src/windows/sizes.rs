//! How large trades are: a histogram whose buckets grow with the size.
//!
//! ```text
//! 0 1 2 ... 15 | 16-17 18-19 ... 30-31 | 32-35 ... 60-63 | 64-71 ...     up to 2^40
//! ```
//!
//! Below 16 each size is a bucket of its own; above, each doubling has eight. What a quantile says is
//! its bucket's middle, which is off by at most a sixteenth of the true size (6.25 %). Counts are
//! whole, so histograms can be added, and taken away from each other, without loss.

const EXACT: i64 = 16;
const PER_DOUBLING: usize = 8;
const DOUBLINGS: usize = 36;

/// How many buckets there are.
pub(super) const BUCKETS: usize = EXACT as usize + PER_DOUBLING * DOUBLINGS;

/// The bucket of a size. What is above all buckets is in the last.
#[inline]
pub(super) fn bucket(size: i64) -> usize {
    if size < EXACT {
        return size.max(0) as usize;
    }
    let doubling = size.ilog2() as usize;
    let eighth = (size >> (doubling - 3)) as usize & 7;
    (EXACT as usize + (doubling - 4) * PER_DOUBLING + eighth).min(BUCKETS - 1)
}

/// The size that stands for a bucket: its middle, rounded down.
fn middle(bucket: usize) -> i64 {
    if bucket < EXACT as usize {
        return bucket as i64;
    }
    let above = bucket - EXACT as usize;
    let (doubling, eighth) = (above / PER_DOUBLING + 4, (above % PER_DOUBLING) as i64);
    let width = 1i64 << (doubling - 3);
    (8 + eighth) * width + (width - 1) / 2
}

/// The sizes at these shares of all, in hundredths, ascending: the smallest bucket with at least that
/// share of trades in it and below. 0 for no trades.
pub(super) fn quantiles<const N: usize>(counts: &[u32], percents: [u64; N]) -> [i64; N] {
    let total: u64 = counts.iter().map(|count| u64::from(*count)).sum();
    let mut sizes = [0; N];
    let (mut below, mut next) = (0u64, 0);
    for (bucket, count) in counts.iter().enumerate() {
        below += u64::from(*count);
        while next < N && total > 0 && below * 100 >= percents[next] * total && below > 0 {
            sizes[next] = middle(bucket);
            next += 1;
        }
    }
    sizes
}

pub(super) fn add(all: &mut [u32], some: &[u32]) {
    for (all, some) in all.iter_mut().zip(some) {
        *all += some;
    }
}

pub(super) fn take_away(all: &mut [u32], some: &[u32]) {
    for (all, some) in all.iter_mut().zip(some) {
        *all -= some;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_size_is_within_a_sixteenth_of_its_bucket() {
        let mut before = 0;
        for exponent in 0..40 {
            for step in 0..64 {
                let size = (1i64 << exponent) + ((1i64 << exponent) * step / 64);
                let bucket = bucket(size);
                assert!(bucket >= before, "{size}");
                before = bucket;
                let off = (middle(bucket) - size).abs();
                assert!(off * 16 <= size, "{size}: {}", middle(bucket));
                assert!(size >= EXACT || off == 0);
            }
        }
        assert_eq!(bucket(i64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_those_of_nearest_rank() {
        let mut counts = [0; BUCKETS];
        assert_eq!(quantiles(&counts, [50, 99]), [0, 0]);
        for size in [1, 2, 3, 4] {
            counts[bucket(size)] += 1;
        }
        assert_eq!(quantiles(&counts, [25, 50, 51, 100]), [1, 2, 3, 4]);
    }
}
