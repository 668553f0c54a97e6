//! A result as it is kept: one JSON object that holds all that the HTML shows, and that
//! `compare` reads again.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::host::{Disturbance, Drift};
use super::verdict::Verdict;
use crate::latency::{Histogram, Interval, write_log};
use crate::run_dir;

/// The format of `report.json`.
pub const SCHEMA: &str = "tapeline-bench/1";

/// The quantiles that are shown.
pub const QUANTILES: [f64; 5] = [0.5, 0.9, 0.99, 0.999, 0.9999];

/// Their names.
pub const QUANTILE_NAMES: [&str; 5] = ["p50", "p90", "p99", "p99.9", "p99.99"];

/// A result.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// `latency`, `sweep`, `saturate`, `wire` or `jitter`.
    pub kind: String,
    /// The program.
    pub program: Program,
    /// When it began, RFC 3339.
    pub started: String,
    /// How to do it again.
    pub commands: Vec<String>,
    /// The machine.
    pub host: BTreeMap<String, String>,
    /// What was played.
    pub input: Input,
    /// How.
    pub load: Load,
    /// Whether the figures stand.
    pub verdict: Verdict,
    /// Why, or why not.
    pub reasons: Vec<String>,
    /// What else is to be known.
    pub remarks: Vec<String>,
    /// Latencies of all trials together, the ones to look at first.
    pub stages: Vec<StageSaid>,
    /// Each trial.
    pub trials: Vec<TrialSaid>,
    /// Where the time of single messages and orders went.
    pub stacks: Vec<StackSaid>,
    /// Total latency by time.
    pub timeline: Vec<SlotSaid>,
    /// Percentile curves.
    pub curves: Vec<CurveSaid>,
    /// Latency against load.
    pub sweep: Vec<PointSaid>,
    /// What the search for the highest rate tried, in order.
    pub search: Vec<TriedSaid>,
    /// The highest rate that was held, or the knee of a sweep.
    pub rate_found: Option<f64>,
    /// The worst gaps that a spinning thread saw: after how many seconds, and how long.
    pub gaps: Vec<(f64, u64)>,
}

/// Which program.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Program {
    /// Its version.
    pub version: String,
    /// SHA-256 of its file: two builds of one version differ.
    pub sha256: String,
    /// The commit of the sources around it, where it lies in a build of them.
    pub commit: String,
}

/// What was played.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Input {
    /// In words.
    pub what: String,
    /// SHA-256 of the bytes that were played.
    pub sha256: String,
    /// Messages in one pass over all of it.
    pub messages: u64,
    /// Packets.
    pub packets: u64,
}

/// How it was played.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Load {
    /// In words: `100k/s, evenly`.
    pub pacing: String,
    /// Messages a second, on average.
    pub rate: f64,
    /// Seconds that do not count, at the start of each pass.
    pub warmup_s: f64,
    /// Seconds that count, in each trial.
    pub duration_s: f64,
    /// Shards.
    pub shards: usize,
    /// `pipeline` or `run-to-completion`.
    #[serde(default)]
    pub model: String,
    /// `durable` or `fast`.
    pub durability: String,
    /// How records reached the disk.
    pub log_backend: String,
    /// Each so many batches one was stamped event by event.
    pub stamp_every: u32,
}

/// One histogram in figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageSaid {
    /// Its name.
    pub stage: String,
    /// What its time is.
    pub meaning: String,
    /// Samples.
    pub count: u64,
    /// Mean.
    pub mean_ns: f64,
    /// [`QUANTILES`]; null with too few samples.
    pub quantiles_ns: [Option<u64>; 5],
    /// The longest.
    pub max_ns: Option<u64>,
    /// The least and the most that the trials had.
    pub spread_ns: [Option<(u64, u64)>; 5],
}

impl StageSaid {
    /// A histogram in figures.
    pub fn new(stage: &str, meaning: &str, histogram: &Histogram) -> StageSaid {
        StageSaid {
            stage: stage.into(),
            meaning: meaning.into(),
            count: histogram.count(),
            mean_ns: histogram.mean_ns(),
            quantiles_ns: QUANTILES.map(|q| histogram.quantile_ns(q)),
            max_ns: histogram.max_ns(),
            spread_ns: [None; 5],
        }
    }

    /// The same with what the single trials had.
    pub fn with_trials(mut self, trials: &[&Histogram]) -> StageSaid {
        for (spread, quantile) in self.spread_ns.iter_mut().zip(QUANTILES) {
            let each: Option<Vec<u64>> = trials.iter().map(|h| h.quantile_ns(quantile)).collect();
            let each = each.filter(|each| each.len() > 1).unwrap_or_default();
            *spread = each.iter().min().copied().zip(each.iter().max().copied());
        }
        self
    }
}

/// A trial in figures.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TrialSaid {
    /// Whether it stands.
    pub verdict: Verdict,
    /// Why not.
    pub reasons: Vec<String>,
    /// How often the input was played.
    pub passes: u32,
    /// Messages a second concluded.
    pub achieved: f64,
    /// Messages, events, signals and orders.
    pub counts: [u64; 4],
    /// Late sends.
    pub late: u64,
    /// Messages lost.
    pub dropped: u64,
    /// What the machine did.
    pub disturbance: Disturbance,
    /// What the clocks did.
    pub drift: Drift,
    /// Its latencies.
    pub stages: Vec<StageSaid>,
}

/// Where the time went, on average over some messages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StackSaid {
    /// Which messages: `messages around the p50`.
    pub which: String,
    /// How many were looked at.
    pub count: u64,
    /// Their mean total: the sum of the parts.
    pub total_ns: f64,
    /// The mean of each part, by name, in the order of a message's way.
    pub parts_ns: Vec<(String, f64)>,
}

/// A slot of time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlotSaid {
    /// Which trial, from 0.
    pub trial: usize,
    /// When it began, in measured seconds from the start of all.
    pub at_s: f64,
    /// Samples.
    pub count: u64,
    /// The shortest.
    pub min_ns: u64,
    /// The median.
    pub p50_ns: u64,
    /// The 99th percentile, with enough samples.
    pub p99_ns: Option<u64>,
    /// The longest.
    pub max_ns: u64,
}

/// A curve of quantiles.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurveSaid {
    /// What it is of.
    pub name: String,
    /// Whether it is one trial of several, to be drawn faintly.
    pub is_single: bool,
    /// Quantile and nanoseconds.
    pub points: Vec<(f64, u64)>,
}

impl CurveSaid {
    /// As far as there are samples, the maximum last, at the quantile that it stands for.
    pub fn new(name: &str, is_single: bool, histogram: &Histogram) -> CurveSaid {
        let mut points = histogram.curve(5);
        points.dedup_by_key(|point| (point.0 * 1e7) as u64);
        CurveSaid {
            name: name.into(),
            is_single,
            points,
        }
    }
}

/// A load of a sweep.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PointSaid {
    /// Offered, messages a second.
    pub rate: f64,
    /// Concluded.
    pub achieved: f64,
    /// Whether its figures stand.
    pub verdict: Verdict,
    /// Why not.
    pub reasons: Vec<String>,
    /// Total latency.
    pub total: StageSaid,
}

/// A rate that was tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TriedSaid {
    /// Messages a second.
    pub rate: f64,
    /// Whether it was held.
    pub is_held: bool,
    /// What was seen.
    pub why: String,
}

impl Report {
    /// A report of nothing yet, begun now.
    pub fn begin(kind: &str, commands: Vec<String>) -> Report {
        Report {
            schema: SCHEMA.into(),
            kind: kind.into(),
            program: Program::this(),
            started: jiff::Timestamp::now()
                .strftime("%Y-%m-%dT%H:%M:%SZ")
                .to_string(),
            commands,
            host: run_dir::host(),
            input: Input::default(),
            load: Load::default(),
            verdict: Verdict::Valid,
            reasons: Vec::new(),
            remarks: Vec::new(),
            stages: Vec::new(),
            trials: Vec::new(),
            stacks: Vec::new(),
            timeline: Vec::new(),
            curves: Vec::new(),
            sweep: Vec::new(),
            search: Vec::new(),
            rate_found: None,
            gaps: Vec::new(),
        }
    }

    /// Reads one, from its directory or its JSON file.
    pub fn read(path: &Path) -> Result<Report, String> {
        let file = match path.is_dir() {
            true => path.join("report.json"),
            false => path.to_path_buf(),
        };
        let bytes = fs::read(&file).map_err(|e| format!("{}: {e}", file.display()))?;
        let report: Report =
            serde_json::from_slice(&bytes).map_err(|e| format!("{}: {e}", file.display()))?;
        match report.schema == SCHEMA {
            true => Ok(report),
            false => Err(format!(
                "{}: schema {}, want {SCHEMA}",
                file.display(),
                report.schema
            )),
        }
    }

    /// A stage's figures.
    pub fn stage(&self, name: &str) -> Option<&StageSaid> {
        self.stages.iter().find(|stage| stage.stage == name)
    }

    /// Writes `report.json`, `report.html` and the CSV files.
    pub fn write(&self, dir: &Path) -> Result<(), String> {
        let put = |name: &str, text: &str| run_dir::write_whole(dir, name, text.as_bytes());
        let json = serde_json::to_string_pretty(self).expect("always JSON");
        put("report.json", &format!("{json}\n"))?;
        put("report.html", &super::html::page(self))?;
        put("percentiles.csv", &self.percentiles_csv())?;
        if !self.timeline.is_empty() {
            put("timeline.csv", &self.timeline_csv())?;
        }
        if !self.sweep.is_empty() {
            put("sweep.csv", &self.sweep_csv())?;
        }
        Ok(())
    }

    fn percentiles_csv(&self) -> String {
        let mut out = String::from(
            "trial,stage,count,mean_ns,p50_ns,p90_ns,p99_ns,p99_9_ns,p99_99_ns,max_ns\n",
        );
        let rows = self.trials.iter().enumerate();
        let rows = rows.flat_map(|(at, trial)| trial.stages.iter().map(move |s| (at, s)));
        let all = self.stages.iter().map(|stage| ("all".to_string(), stage));
        for (trial, stage) in all.chain(rows.map(|(at, s)| (at.to_string(), s))) {
            let _ = write!(
                out,
                "{trial},{},{},{:.1}",
                stage.stage, stage.count, stage.mean_ns
            );
            for value in stage.quantiles_ns.iter().chain([&stage.max_ns]) {
                let _ = write!(out, ",{}", cell(*value));
            }
            out.push('\n');
        }
        out
    }

    fn timeline_csv(&self) -> String {
        let mut out = String::from("trial,at_s,count,min_ns,p50_ns,p99_ns,max_ns\n");
        for s in &self.timeline {
            let _ = writeln!(
                out,
                "{},{:.3},{},{},{},{},{}",
                s.trial,
                s.at_s,
                s.count,
                s.min_ns,
                s.p50_ns,
                cell(s.p99_ns),
                s.max_ns
            );
        }
        out
    }

    fn sweep_csv(&self) -> String {
        let mut out = String::from(
            "rate,achieved,verdict,count,p50_ns,p90_ns,p99_ns,p99_9_ns,p99_99_ns,max_ns\n",
        );
        for point in &self.sweep {
            let total = &point.total;
            let _ = write!(
                out,
                "{:.0},{:.0},{},{}",
                point.rate, point.achieved, point.verdict, total.count
            );
            for value in total.quantiles_ns.iter().chain([&total.max_ns]) {
                let _ = write!(out, ",{}", cell(*value));
            }
            out.push('\n');
        }
        out
    }
}

/// A cell of a CSV; `n/a` where there were too few samples.
fn cell(ns: Option<u64>) -> String {
    ns.map_or("n/a".into(), |ns| ns.to_string())
}

impl Program {
    /// The one that runs.
    pub fn this() -> Program {
        let exe = std::env::current_exe().unwrap_or_default();
        let sha256 = run_dir::sha256_file(&exe).map_or(String::new(), |(hash, _)| hash);
        Program {
            version: env!("CARGO_PKG_VERSION").into(),
            sha256,
            commit: commit_around(&exe).unwrap_or_default(),
        }
    }
}

/// The commit of the sources that the program lies in, as a build of them does.
fn commit_around(exe: &Path) -> Option<String> {
    let root = exe
        .ancestors()
        .find(|folder| folder.join(".git").exists())?;
    let git = std::process::Command::new("git")
        .args(["describe", "--always", "--dirty", "--abbrev=12"])
        .current_dir(root)
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&git.stdout).trim().to_string();
    (git.status.success() && !text.is_empty()).then_some(text)
}

/// One series of an interval log.
pub struct Logged<'a> {
    /// Its tag.
    pub tag: &'a str,
    /// When it began, from the start of the log, and how long each interval is.
    pub start: Duration,
    /// The length of an interval.
    pub each: Duration,
    /// One after the other.
    pub histograms: Vec<&'a Histogram>,
}

/// Writes `latency.hlog`, and `STAGE.hgrm` for each of `whole` that counted anything.
pub fn write_histograms(
    dir: &Path,
    series: &[Logged<'_>],
    whole: &[(&str, &Histogram)],
) -> Result<(), String> {
    let path: PathBuf = dir.join("latency.hlog");
    let fail = |e: std::io::Error| format!("{}: {e}", path.display());
    let mut intervals = Vec::new();
    for one in series {
        for (at, histogram) in one.histograms.iter().enumerate() {
            if !histogram.is_empty() {
                intervals.push(Interval {
                    tag: one.tag,
                    start: one.start + one.each * at as u32,
                    length: one.each,
                    histogram,
                });
            }
        }
    }
    // Readers of such logs want them in the order of time.
    intervals.sort_by_key(|interval| interval.start);
    let mut out = BufWriter::new(File::create(&path).map_err(fail)?);
    write_log(&mut out, SystemTime::now(), &intervals).map_err(fail)?;
    out.flush().map_err(fail)?;
    for (name, histogram) in whole {
        if !histogram.is_empty() {
            let path = dir.join(format!("{name}.hgrm"));
            fs::write(&path, histogram.hgrm()).map_err(|e| format!("{}: {e}", path.display()))?;
        }
    }
    Ok(())
}
