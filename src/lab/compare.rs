//! Two results side by side, and whether a difference is more than noise.
//!
//! The noise is what equal runs differ by. Between two results it is the spread of the trials of
//! each; in an A/B comparison it is measured in the same minutes, by how far the runs of one side
//! lie apart. A difference is called one only where the two sides do not overlap, and beyond a
//! floor below which nothing matters.

use serde::{Deserialize, Serialize};

use super::report::{QUANTILE_NAMES, Report};

/// Differences below this share are not worth a word.
const SHARE_MIN: f64 = 0.03;
/// Nor are those below so many nanoseconds: a few clock readings.
const NS_MIN: f64 = 30.0;
/// With fewer runs on a side there is no spread to speak of.
const RUNS_MIN: usize = 3;

/// What may be said of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Call {
    /// Within the noise.
    Same,
    /// Less time.
    Faster,
    /// More time.
    Slower,
    /// Too few runs, or too few samples.
    Unknown,
}

impl Call {
    /// A word.
    pub const fn name(self) -> &'static str {
        match self {
            Call::Same => "same",
            Call::Faster => "faster",
            Call::Slower => "slower",
            Call::Unknown => "unknown",
        }
    }
}

/// A quantile of a stage on two sides.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// Which stage.
    pub stage: String,
    /// Which quantile.
    pub quantile: String,
    /// The median of the runs of the base.
    pub base_ns: Option<f64>,
    /// The median of the runs of the head.
    pub head_ns: Option<f64>,
    /// How much more the head takes, as a share.
    pub change: Option<f64>,
    /// What equal runs differ by, as a share: the wider of the two sides' spreads.
    pub noise: Option<f64>,
    /// What may be said.
    pub call: Call,
}

/// Compares the runs of two sides.
pub fn row(stage: &str, quantile: &str, base: &[u64], head: &[u64]) -> Row {
    let (base_ns, head_ns) = (median(base), median(head));
    let change = base_ns
        .zip(head_ns)
        .map(|(base, head)| head / base.max(1.0) - 1.0);
    let noise = spread(base)
        .zip(spread(head))
        .map(|(base, head)| base.max(head));
    Row {
        stage: stage.into(),
        quantile: quantile.into(),
        base_ns,
        head_ns,
        change,
        noise,
        call: call(base, head),
    }
}

fn call(base: &[u64], head: &[u64]) -> Call {
    if base.len() < RUNS_MIN || head.len() < RUNS_MIN {
        return Call::Unknown;
    }
    let (Some(base_ns), Some(head_ns)) = (median(base), median(head)) else {
        return Call::Unknown;
    };
    let is_small = (head_ns - base_ns).abs() < (base_ns * SHARE_MIN).max(NS_MIN);
    let bounds = |runs: &[u64]| (runs.iter().min().copied(), runs.iter().max().copied());
    let ((base_least, base_most), (head_least, head_most)) = (bounds(base), bounds(head));
    if is_small {
        Call::Same
    } else if head_most < base_least {
        Call::Faster
    } else if head_least > base_most {
        Call::Slower
    } else {
        Call::Same
    }
}

fn median(runs: &[u64]) -> Option<f64> {
    let mut sorted = runs.to_vec();
    sorted.sort_unstable();
    let high = *sorted.get(sorted.len() / 2)?;
    let low = sorted[(sorted.len() - 1) / 2];
    Some((low as f64 + high as f64) / 2.0)
}

fn spread(runs: &[u64]) -> Option<f64> {
    let (least, most) = (*runs.iter().min()?, *runs.iter().max()?);
    let middle = median(runs)?.max(1.0);
    (runs.len() > 1).then(|| (most - least) as f64 / middle)
}

/// What two results have in common that is worth comparing, and what makes them hard to compare.
pub fn compare(base: &Report, head: &Report) -> (Vec<Row>, Vec<String>) {
    let mut rows = Vec::new();
    for stage in &base.stages {
        if head.stage(&stage.stage).is_none() {
            continue;
        }
        for (index, name) in QUANTILE_NAMES.into_iter().enumerate() {
            let runs = |report: &Report| -> Vec<u64> {
                let trials = report.trials.iter();
                let each = trials.filter_map(|trial| {
                    let same = trial.stages.iter().find(|s| s.stage == stage.stage)?;
                    same.quantiles_ns[index]
                });
                each.collect()
            };
            let row = row(&stage.stage, name, &runs(base), &runs(head));
            if row.change.is_some() {
                rows.push(row);
            }
        }
    }
    (rows, differences(base, head))
}

/// What else differs between two results than the program.
fn differences(base: &Report, head: &Report) -> Vec<String> {
    let mut said = Vec::new();
    for (key, value) in &base.host {
        let other = head.host.get(key).map_or("nothing", String::as_str);
        if other != value {
            said.push(format!("other machine: {key} {value} and {other}"));
        }
    }
    let mut differ = |what: &str, base: &str, head: &str| {
        if base != head {
            said.push(format!("other {what}: {base} and {head}"));
        }
    };
    differ("kind", &base.kind, &head.kind);
    differ("input", &base.input.sha256, &head.input.sha256);
    differ("load", &base.load.pacing, &head.load.pacing);
    differ(
        "shards",
        &base.load.shards.to_string(),
        &head.load.shards.to_string(),
    );
    // Older reports do not say.
    if !base.load.model.is_empty() && !head.load.model.is_empty() {
        differ("threads", &base.load.model, &head.load.model);
    }
    differ("durability", &base.load.durability, &head.load.durability);
    differ("log", &base.load.log_backend, &head.load.log_backend);
    let stamps = |report: &Report| format!("one batch in {}", report.load.stamp_every);
    differ("stamping", &stamps(base), &stamps(head));
    for (name, report) in [("base", base), ("head", head)] {
        if report.verdict != super::verdict::Verdict::Valid {
            said.push(format!("the {name} is {}", report.verdict));
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(base: &[u64], head: &[u64], want: Call) {
        assert_eq!(
            row("total", "p50", base, head).call,
            want,
            "{base:?} {head:?}"
        );
    }

    #[test]
    fn a_difference_is_one_only_beyond_the_noise() {
        check(&[1_000, 1_010, 1_020], &[1_200, 1_210, 1_220], Call::Slower);
        check(&[1_000, 1_010, 1_020], &[800, 810, 820], Call::Faster);
        // They overlap: equal runs lie as far apart.
        check(&[1_000, 1_010, 1_300], &[1_200, 1_210, 1_220], Call::Same);
        // Apart, but by less than matters.
        check(&[1_000, 1_001, 1_002], &[1_020, 1_021, 1_022], Call::Same);
        check(&[100, 101, 102], &[120, 121, 122], Call::Same);
        // Two runs have no spread to speak of.
        check(&[1_000, 1_001], &[2_000, 2_001], Call::Unknown);
        check(&[], &[], Call::Unknown);
    }

    #[test]
    fn the_noise_is_the_wider_spread() {
        let row = row("total", "p50", &[90, 100, 110], &[100, 100, 105]);
        assert_eq!((row.change, row.noise), (Some(0.0), Some(0.2)));
    }
}
