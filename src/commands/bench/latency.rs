//! `tapeline bench latency`

use tapeline::config::Speed;
use tapeline::lab::series;
use tapeline::lab::stall::Stall;
use tapeline::lab::tape::Pacing;
use tapeline::lab::trial::{self, Plan};
use tapeline::lab::units::Rate;
use tapeline::pipeline;
use tapeline::term::Progress;

use super::setup::{Setup, duration, pacing_name, rate_of, stamp_every};
use super::{Failure, Talk, conclude, failed};
use crate::cli;

pub fn latency(args: &cli::Latency, talk: Talk) -> Result<(), Failure> {
    let stop = pipeline::watch_signals().map_err(Failure::io)?;
    let (warmup, length) = (duration(args.warmup), duration(args.duration));
    if length.is_zero() || args.trials == 0 {
        return Err(Failure::usage(
            "--duration and --trials want more than nothing",
        ));
    }
    let pacing = match (args.rate, args.recorded_rate) {
        (_, Some(Speed::Times(times))) => Pacing::Recorded(times),
        (_, Some(Speed::Max | Speed::Rate(_))) => {
            let why = "--recorded-rate wants a multiple, like 5x; --rate takes messages a second, and `bench saturate` finds the most";
            return Err(Failure::usage(why));
        }
        (rate, None) => Pacing::Rate(rate.unwrap_or(Rate(100e3))),
    };
    let made = match pacing {
        Pacing::Rate(rate) => rate,
        // A session that is made has the default's pace, to be multiplied.
        Pacing::Recorded(_) => Rate(100e3),
    };
    let times = match pacing {
        Pacing::Rate(_) => 1.0,
        Pacing::Recorded(times) => times,
    };
    let seconds = (warmup + length).as_secs_f64() * times;
    let mut setup = Setup::new("latency", &args.played, made, seconds, talk)?;
    setup.tape.schedule(pacing);
    let rate = rate_of(&setup.tape).0;
    let folder = setup.folder();
    let plan = Plan {
        tape: &setup.tape,
        config: &setup.config,
        day: &setup.day,
        folder: &folder,
        warmup,
        duration: length,
        stall: args.stall.map(|(after, length)| Stall {
            after: duration(after),
            length: duration(length),
        }),
        stamp_every: stamp_every(&args.played, rate),
    };
    let mut report = setup.report("latency");
    report.load.pacing = pacing_name(pacing, &setup.tape);
    report.load.rate = rate;
    report.load.warmup_s = warmup.as_secs_f64();
    report.load.duration_s = length.as_secs_f64();
    report.load.stamp_every = plan.stamp_every;
    if let Some(stall) = plan.stall {
        report.remarks.push(format!(
            "the sinks were held up on purpose, once in each pass, {:?} after its start, for {:?}",
            stall.after, stall.length
        ));
    }
    let mut progress = Progress::new(talk.quiet);
    let mut trials = Vec::new();
    for number in 1..=args.trials {
        let trial = trial::run(&plan, &stop, |done, whole| {
            progress.show(|| {
                format!(
                    "trial {number} of {}: {:.0} of {:.0} s",
                    args.trials,
                    done.as_secs_f64(),
                    whole.as_secs_f64()
                )
            });
        });
        progress.clear();
        trials.push(trial.map_err(failed)?);
    }
    let _ = std::fs::remove_dir_all(&folder);
    if trials.iter().any(|trial| trial.passes > 1) {
        report.remarks.push(format!(
            "the input is shorter than the time to measure and was played {} times in each trial, \
             each time from an empty state; the first part of each pass is warm-up",
            trials[0].passes
        ));
    }
    series::describe(&mut report, &trials);
    series::write(&setup.dir, &trials).map_err(Failure::io)?;
    conclude(&report, &setup.dir, talk)
}
