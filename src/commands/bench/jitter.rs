//! `tapeline bench jitter`

use std::time::Duration;

use tapeline::lab::jitter;
use tapeline::lab::report::{CurveSaid, Logged, Report, StageSaid, write_histograms};
use tapeline::lab::verdict::Verdict;
use tapeline::latency::Histogram;
use tapeline::pipeline;
use tapeline::term::nanos;

use super::setup::{command_line, duration, output};
use super::{Failure, Talk, conclude};
use crate::cli;

pub fn jitter(args: &cli::Jitter, talk: Talk) -> Result<(), Failure> {
    let stop = pipeline::watch_signals().map_err(Failure::io)?;
    let cpus = match args.cpus.is_empty() {
        true => tuning::pin::allowed_cpus(),
        false => args.cpus.clone(),
    };
    let (length, threshold) = (duration(args.duration), duration(args.threshold));
    let dir = output("jitter", args.output.as_deref())?;
    let mut report = Report::begin("jitter", vec![command_line()]);
    let mut cores = Vec::new();
    for cpu in cpus {
        let core = jitter::watch_core(cpu, length, threshold, || stop.is_set());
        let core = core.map_err(Failure::usage)?;
        if stop.is_set() {
            return Err(Failure::interrupted(
                "stopped by a signal; nothing was written",
            ));
        }
        let seconds = core.watched.as_secs_f64();
        report.remarks.push(format!(
            "core {cpu}: {:.1} gaps a second, {:.3} % of the time, one look each {}",
            core.gaps.count() as f64 / seconds,
            core.lost_ns as f64 / 1e7 / seconds,
            nanos((seconds * 1e9 / core.looks as f64) as u64)
        ));
        cores.push(core);
    }
    let mut all = Histogram::new();
    cores.iter().for_each(|core| all.add(&core.gaps));
    let meaning = format!(
        "gaps from {} on, all cores",
        nanos(threshold.as_nanos() as u64)
    );
    report.stages.push(StageSaid::new("gap", &meaning, &all));
    let names: Vec<String> = cores
        .iter()
        .map(|core| format!("core-{}", core.cpu))
        .collect();
    for (core, name) in cores.iter().zip(&names) {
        report
            .stages
            .push(StageSaid::new(name, "one core", &core.gaps));
        report.curves.push(CurveSaid::new("gap", true, &core.gaps));
        let worst = core.worst.iter();
        report
            .gaps
            .extend(worst.map(|(at_ns, ns)| (*at_ns as f64 / 1e9, *ns)));
    }
    if all.count() >= 20 {
        report.curves.push(CurveSaid::new("gap", false, &all));
    }
    report.gaps.sort_by(|a, b| a.0.total_cmp(&b.0));
    let list: Vec<String> = cores.iter().map(|core| core.cpu.to_string()).collect();
    report.input.what = format!("a thread that only spins, on core {}", list.join(", "));
    report.load.duration_s = length.as_secs_f64();
    if all.is_empty() {
        report.verdict = Verdict::Valid;
        report
            .remarks
            .push("not one gap: a quiet machine, or too short a look".into());
    }
    let series: Vec<Logged<'_>> = cores
        .iter()
        .zip(&names)
        .map(|(core, name)| Logged {
            tag: name,
            start: Duration::ZERO,
            each: core.watched,
            histograms: vec![&core.gaps],
        })
        .collect();
    let mut whole: Vec<(&str, &Histogram)> = vec![("gap", &all)];
    whole.extend(
        cores
            .iter()
            .zip(&names)
            .map(|(core, name)| (name.as_str(), &core.gaps)),
    );
    write_histograms(&dir, &series, &whole).map_err(Failure::io)?;
    conclude(&report, &dir, talk)
}
