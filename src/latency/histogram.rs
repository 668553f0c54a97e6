//! Counts of nanoseconds to three significant digits. The only place that knows `hdrhistogram`.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram as Hdr;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

/// The largest time a histogram tells apart; longer ones count as this.
const MAX_NS: u64 = 60_000_000_000;

/// How many samples must lie beyond a quantile for it to be shown: with fewer it would be a guess.
const BEYOND_MIN: f64 = 10.0;

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    counts: Hdr<u64>,
}

impl Histogram {
    /// Allocates all it will need.
    pub fn new() -> Histogram {
        Histogram {
            counts: Hdr::new_with_bounds(1, MAX_NS, 3).expect("valid bounds"),
        }
    }

    /// Counts one.
    #[inline]
    pub fn record(&mut self, ns: u64) {
        self.counts.saturating_record(ns);
    }

    /// Counts the same several times.
    #[inline]
    pub fn record_n(&mut self, ns: u64, count: u64) {
        self.counts.saturating_record_n(ns, count);
    }

    /// Adds the counts of `other`.
    pub fn add(&mut self, other: &Histogram) {
        if !other.is_empty() {
            self.counts.add(&other.counts).expect("same bounds");
        }
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.counts.len()
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// The time that a share `quantile` did not exceed; `None` with fewer than ten samples
    /// beyond it.
    pub fn quantile_ns(&self, quantile: f64) -> Option<u64> {
        // A tenth of 1 - 0.9999 is not exact in binary; a millionth of a sample is no sample.
        let beyond = self.counts.len() as f64 * (1.0 - quantile) + 1e-6;
        (beyond >= BEYOND_MIN).then(|| self.counts.value_at_quantile(quantile))
    }

    /// The longest.
    pub fn max_ns(&self) -> Option<u64> {
        (!self.is_empty()).then(|| self.counts.max())
    }

    /// The shortest.
    pub fn min_ns(&self) -> Option<u64> {
        (!self.is_empty()).then(|| self.counts.min())
    }

    /// The mean.
    pub fn mean_ns(&self) -> f64 {
        self.counts.mean()
    }

    /// How many were longer than this.
    pub fn count_above(&self, ns: u64) -> u64 {
        let upto = self.counts.highest_equivalent(ns);
        self.counts
            .len()
            .saturating_sub(self.counts.count_between(0, upto.min(MAX_NS)))
    }

    /// Quantiles that get closer to 1 by `steps` for each halving of the rest, with their times:
    /// a curve, as far as there are samples for it.
    pub fn curve(&self, steps: u32) -> Vec<(f64, u64)> {
        let mut curve = Vec::new();
        for item in self.counts.iter_quantiles(steps) {
            let quantile = item.quantile_iterated_to();
            if quantile < 1.0 && self.quantile_ns(quantile).is_some() {
                curve.push((quantile, item.value_iterated_to()));
            }
        }
        curve
    }

    /// The percentile text of the HdrHistogram tools (`.hgrm`), microseconds.
    pub fn hgrm(&self) -> String {
        let mut text = String::from("       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
        let us = |ns: f64| ns / 1_000.0;
        let mut count = 0;
        for item in self.counts.iter_quantiles(5) {
            let quantile = item.quantile_iterated_to();
            let value = us(item.value_iterated_to() as f64);
            count += item.count_since_last_iteration();
            let _ = if quantile < 1.0 {
                writeln!(
                    text,
                    "{value:12.3} {quantile:.12} {count:10} {:14.2}",
                    1.0 / (1.0 - quantile)
                )
            } else {
                writeln!(text, "{value:12.3} {quantile:.12} {count:10}")
            };
        }
        let _ = write!(
            text,
            "#[Mean    = {:12.3}, StdDeviation   = {:12.3}]\n#[Max     = {:12.3}, TotalCount     = {:12}]\n#[Buckets = {:12}, SubBuckets     = {:12}]\n",
            us(self.counts.mean()),
            us(self.counts.stdev()),
            us(self.counts.max() as f64),
            self.counts.len(),
            self.counts.buckets(),
            2048
        );
        text
    }
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram::new()
    }
}

/// One line of an interval log.
#[derive(Clone, Debug)]
pub struct Interval<'a> {
    /// Which of the log's series it belongs to.
    pub tag: &'a str,
    /// From when.
    pub start: Duration,
    /// How long.
    pub length: Duration,
    /// What was counted.
    pub histogram: &'a Histogram,
}

/// Writes an interval log (`.hlog`, V2 compressed) of nanoseconds; the longest times in the text
/// are milliseconds, as the HdrHistogram tools write them.
pub fn write_log(
    out: &mut impl Write,
    started: SystemTime,
    intervals: &[Interval<'_>],
) -> io::Result<()> {
    let mut serializer = V2DeflateSerializer::new();
    let mut builder = IntervalLogWriterBuilder::new();
    builder.with_start_time(started).with_base_time(started);
    builder.add_comment("values in nanoseconds");
    builder.with_max_value_divisor(1_000_000.0);
    let mut log = builder.begin_log_with(out, &mut serializer)?;
    for interval in intervals {
        let counts = &interval.histogram.counts;
        log.write_histogram(
            counts,
            interval.start,
            interval.length,
            Tag::new(interval.tag),
        )
        .map_err(|e| io::Error::other(format!("{e:?}")))?;
    }
    Ok(())
}
