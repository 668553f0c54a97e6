//! `tapeline bench saturate` and `tapeline bench sweep`

use std::time::Duration;

use tapeline::lab::hunt::{self, Tried};
use tapeline::lab::report::{PointSaid, StageSaid};
use tapeline::lab::series;
use tapeline::lab::tape::Pacing;
use tapeline::lab::trial::{self, Plan, Trial};
use tapeline::lab::units::Rate;
use tapeline::lab::verdict::Verdict;
use tapeline::latency::Stage;
use tapeline::pipeline::{self, Stop};
use tapeline::term::{Progress, nanos};

use super::setup::{Setup, duration, stamp_every};
use super::{Failure, Talk, conclude, failed};
use crate::cli;

/// Event time of a session that is made passes as fast as the clock at this rate.
const MADE_RATE: Rate = Rate(200e3);
/// How long such a session is.
const MADE_SECONDS: f64 = 30.0;

/// Runs a trial at a rate.
struct Runner<'a> {
    setup: Setup,
    played: &'a cli::Played,
    stop: Stop,
    progress: Progress,
    warmup: Duration,
}

impl Runner<'_> {
    fn run(&mut self, rate: Rate, duration: Duration) -> Result<Trial, Failure> {
        self.setup.tape.schedule(Pacing::Rate(rate));
        let folder = self.setup.folder();
        let plan = Plan {
            tape: &self.setup.tape,
            config: &self.setup.config,
            day: &self.setup.day,
            folder: &folder,
            warmup: self.warmup,
            duration,
            stall: None,
            stamp_every: stamp_every(self.played, rate.0),
        };
        let progress = &mut self.progress;
        let trial = trial::run(&plan, &self.stop, |done, whole| {
            progress.show(|| {
                let (done, whole) = (done.as_secs_f64(), whole.as_secs_f64());
                format!("{rate}: {done:.1} of {whole:.1} s")
            });
        });
        self.progress.clear();
        let _ = std::fs::remove_dir_all(&folder);
        trial.map_err(failed)
    }
}

fn runner<'a>(
    kind: &str,
    played: &'a cli::Played,
    warmup: Duration,
    talk: Talk,
) -> Result<Runner<'a>, Failure> {
    Ok(Runner {
        stop: pipeline::watch_signals().map_err(Failure::io)?,
        setup: Setup::new(kind, played, MADE_RATE, MADE_SECONDS, talk)?,
        played,
        progress: Progress::new(talk.quiet),
        warmup,
    })
}

pub fn saturate(args: &cli::Saturate, talk: Talk) -> Result<(), Failure> {
    let length = duration(args.duration);
    let mut runner = runner("saturate", &args.played, duration(args.warmup), talk)?;
    let mut report = runner.setup.report("saturate");
    let mut held: Option<Trial> = None;
    let found = hunt::bisect(args.between, args.precision, |rate, confirms| {
        let length = if confirms { length * 3 } else { length };
        let trial = runner.run(rate, length)?;
        let tried = Tried::by(&trial.shown);
        let word = if tried.is_held { "held" } else { "not held" };
        talk.say(format_args!("{rate:<12} {word}: {}", tried.why));
        if confirms && tried.is_held {
            held = Some(trial);
        }
        Ok::<Tried, Failure>(tried)
    })?;
    report.search = found.tried;
    report.rate_found = found.rate.map(|rate| rate.0);
    report.load.warmup_s = runner.warmup.as_secs_f64();
    report.load.duration_s = (length * 3).as_secs_f64();
    if found.is_open {
        report.remarks.push(format!(
            "even {} was held: the limit is above it, look higher with --between",
            args.between.to
        ));
    }
    match (found.rate, held) {
        (Some(rate), Some(trial)) => {
            report.load.rate = rate.0;
            report.load.pacing = format!("{rate}, evenly: the highest rate that was held");
            report.load.stamp_every = stamp_every(&args.played, rate.0);
            let trials = [trial];
            series::describe(&mut report, &trials);
            series::write(&runner.setup.dir, &trials).map_err(Failure::io)?;
        }
        _ => {
            report.verdict = Verdict::Saturated;
            report.load.pacing = format!("{} to {}", args.between.from, args.between.to);
            let why = format!("not even {} was held", args.between.from);
            report.reasons.push(why);
        }
    }
    conclude(&report, &runner.setup.dir, talk)
}

/// Rates that people can say.
fn two_digits(rate: f64) -> f64 {
    let scale = 10f64.powf(rate.log10().floor() - 1.0);
    (rate / scale).round() * scale
}

pub fn sweep(args: &cli::Sweep, talk: Talk) -> Result<(), Failure> {
    if args.points < 2 {
        return Err(Failure::usage("--points wants at least 2"));
    }
    let length = duration(args.duration);
    let mut runner = runner("sweep", &args.played, duration(args.warmup), talk)?;
    let mut report = runner.setup.report("sweep");
    let ratio = (args.rate.to.0 / args.rate.from.0).powf(1.0 / (args.points - 1) as f64);
    let mut quietest: Option<Trial> = None;
    let mut overloaded = 0;
    for point in 0..args.points {
        let rate = Rate(two_digits(args.rate.from.0 * ratio.powi(point as i32)));
        let trial = runner.run(rate, length)?;
        let histogram = trial.latency.stage(Stage::Total);
        let total = StageSaid::new("total", Stage::Total.meaning(), histogram);
        let show = |ns: Option<u64>| ns.map_or("n/a".into(), nanos);
        talk.say(format_args!(
            "{:<12} {:<9} p50 {:>9}, p99 {:>9}, p99.9 {:>9}",
            rate.to_string(),
            trial.verdict,
            show(total.quantiles_ns[0]),
            show(total.quantiles_ns[2]),
            show(total.quantiles_ns[3])
        ));
        let (verdict, reasons) = (trial.verdict, trial.reasons.clone());
        report.sweep.push(PointSaid {
            rate: rate.0,
            achieved: trial.achieved(),
            verdict,
            reasons,
            total,
        });
        if verdict == Verdict::Valid || quietest.is_none() {
            quietest = Some(trial);
        }
        overloaded = if verdict == Verdict::Saturated {
            overloaded + 1
        } else {
            0
        };
        // What is further beyond the limit says nothing more.
        if overloaded == 2 {
            break;
        }
    }
    let points = report.sweep.iter();
    let points: Vec<_> = points
        .map(|p| (p.rate, p.total.quantiles_ns[2], p.verdict))
        .collect();
    report.rate_found = hunt::knee(&points);
    let trials = [quietest.expect("there was a point")];
    series::describe(&mut report, &trials);
    series::write(&runner.setup.dir, &trials).map_err(Failure::io)?;
    report.load.pacing = format!("{} to {}, evenly", args.rate.from, args.rate.to);
    report.load.warmup_s = runner.warmup.as_secs_f64();
    report.load.duration_s = length.as_secs_f64();
    report
        .remarks
        .push("curves, stages and figures are those of the highest load that was VALID".into());
    // Loads beyond the limit are what a sweep is for; only one that shows nothing is not valid.
    (report.verdict, report.reasons) = match report.rate_found {
        Some(_) => (Verdict::Valid, Vec::new()),
        None => (
            Verdict::Invalid,
            vec!["no load of the sweep was VALID".into()],
        ),
    };
    conclude(&report, &runner.setup.dir, talk)
}
