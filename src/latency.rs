//! How long each stage takes, as histograms: recorded by a shard without allocating, written as
//! HdrHistogram files.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Stage {
    /// One turn of the reader: some packets unframed, arbitrated, decoded and pushed.
    Decode,
    /// In the ring, from push to pop.
    Ring,
    /// One batch of the shard: log append, book, analytics, risk.
    Apply,
    /// From when a packet was due (replay) or received (live) until all it says is concluded.
    Total,
    /// From an order's decision until its cause was durable; zero in `fast` mode.
    Durable,
    /// Encoding an order and handing it to the peer.
    Send,
    /// From when an order's cause was due until the order was sent.
    Order,
}

impl Stage {
    /// In the order of a message's way.
    pub const ALL: [Stage; 7] = [
        Stage::Decode,
        Stage::Ring,
        Stage::Apply,
        Stage::Total,
        Stage::Durable,
        Stage::Send,
        Stage::Order,
    ];

    /// Its name in files and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Stage::Decode => "decode",
            Stage::Ring => "ring",
            Stage::Apply => "apply",
            Stage::Total => "total",
            Stage::Durable => "durable",
            Stage::Send => "send",
            Stage::Order => "order",
        }
    }
}

/// The largest time a histogram tells apart; longer ones count as this.
const MAX_NS: u64 = 60_000_000_000;

/// One histogram for each stage, nanoseconds, three significant digits.
#[derive(Clone, Debug)]
pub struct Latency {
    stages: Vec<Histogram<u64>>,
}

impl Latency {
    /// Allocates all the histograms need.
    pub fn new() -> Latency {
        let empty = Histogram::new_with_bounds(1, MAX_NS, 3).expect("valid bounds");
        Latency {
            stages: vec![empty; Stage::ALL.len()],
        }
    }

    /// Counts one.
    #[inline]
    pub fn record(&mut self, stage: Stage, ns: u64) {
        self.stages[stage as usize].saturating_record(ns);
    }

    /// Adds the counts of `other`.
    pub fn merge(&mut self, other: &Latency) {
        for (mine, theirs) in self.stages.iter_mut().zip(&other.stages) {
            mine.add(theirs).expect("same bounds");
        }
    }

    /// How many were counted.
    pub fn count(&self, stage: Stage) -> u64 {
        self.stages[stage as usize].len()
    }

    /// The time that a share `quantile` did not exceed; `None` with fewer than ten samples
    /// beyond it, since it would be a guess.
    pub fn quantile_ns(&self, stage: Stage, quantile: f64) -> Option<u64> {
        let histogram = &self.stages[stage as usize];
        let beyond = histogram.len() as f64 * (1.0 - quantile);
        (beyond >= 10.0).then(|| histogram.value_at_quantile(quantile))
    }

    /// The longest.
    pub fn max_ns(&self, stage: Stage) -> Option<u64> {
        let histogram = &self.stages[stage as usize];
        (!histogram.is_empty()).then(|| histogram.max())
    }

    /// Writes `latency.hlog` (one tagged line for each stage) and `STAGE.hgrm` for each stage
    /// that counted anything.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        std::fs::create_dir_all(dir)?;
        let mut out = BufWriter::new(File::create(dir.join("latency.hlog"))?);
        let mut serializer = V2DeflateSerializer::new();
        let mut builder = IntervalLogWriterBuilder::new();
        builder.add_comment("values in nanoseconds");
        let mut log = builder.begin_log_with(&mut out, &mut serializer)?;
        for stage in Stage::ALL {
            let histogram = &self.stages[stage as usize];
            if histogram.is_empty() {
                continue;
            }
            let zero = std::time::Duration::ZERO;
            log.write_histogram(histogram, zero, zero, Tag::new(stage.name()))
                .map_err(|e| io::Error::other(format!("{e:?}")))?;
        }
        out.flush()?;
        for stage in Stage::ALL {
            let histogram = &self.stages[stage as usize];
            if !histogram.is_empty() {
                let path = dir.join(format!("{}.hgrm", stage.name()));
                std::fs::write(path, percentiles(histogram))?;
            }
        }
        Ok(())
    }
}

impl Default for Latency {
    fn default() -> Latency {
        Latency::new()
    }
}

/// The percentile text of the HdrHistogram tools, microseconds.
fn percentiles(histogram: &Histogram<u64>) -> String {
    let mut text = String::from("       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
    let us = |ns: f64| ns / 1_000.0;
    let mut count = 0;
    for item in histogram.iter_quantiles(5) {
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
        us(histogram.mean()),
        us(histogram.stdev()),
        us(histogram.max() as f64),
        histogram.len(),
        histogram.buckets(),
        2048
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_needs_ten_samples_beyond_it() {
        let mut latency = Latency::new();
        for ns in 1..=1_000 {
            latency.record(Stage::Ring, ns * 1_000);
        }
        assert!(
            latency
                .quantile_ns(Stage::Ring, 0.5)
                .unwrap()
                .abs_diff(500_000)
                < 1_000
        );
        assert!(latency.quantile_ns(Stage::Ring, 0.99).is_some());
        assert_eq!(latency.quantile_ns(Stage::Ring, 0.999), None);
        assert_eq!(latency.quantile_ns(Stage::Send, 0.5), None);
        latency.record(Stage::Ring, u64::MAX); // Longer than a histogram goes, still counted.
        assert_eq!(latency.count(Stage::Ring), 1_001);
    }

    #[test]
    fn files_are_written_for_the_stages_that_ran() {
        let dir = std::env::temp_dir().join(format!("tapeline-latency-{}", std::process::id()));
        let mut latency = Latency::new();
        latency.record(Stage::Ring, 1_500);
        latency.write(&dir).unwrap();
        let log = std::fs::read_to_string(dir.join("latency.hlog")).unwrap();
        assert!(log.contains("Tag=ring,"), "{log}");
        let text = std::fs::read_to_string(dir.join("ring.hgrm")).unwrap();
        assert!(
            text.contains("       1.500 1.000000000000          1"),
            "{text}"
        );
        assert!(!dir.join("send.hgrm").exists());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
