//! `tapeline bench`

mod compare;
mod hunt;
mod jitter;
mod latency;
mod setup;
mod wire;

use std::fmt::Write as _;
use std::path::Path;

use tapeline::lab::report::{QUANTILE_NAMES, Report, StageSaid};
use tapeline::lab::trial::STOPPED;
use tapeline::lab::verdict::Verdict;
use tapeline::latency::Stage;
use tapeline::term::{Style, count, nanos};

use super::{Failure, Talk};
use crate::cli;

pub fn bench(args: &cli::Bench, talk: Talk) -> Result<(), Failure> {
    match args {
        cli::Bench::Latency(args) => latency::latency(args, talk),
        cli::Bench::Saturate(args) => hunt::saturate(args, talk),
        cli::Bench::Sweep(args) => hunt::sweep(args, talk),
        cli::Bench::Wire(args) => wire::wire(args, talk),
        cli::Bench::Jitter(args) => jitter::jitter(args, talk),
        cli::Bench::Compare(args) => compare::compare(args, talk),
        cli::Bench::Ab(args) => compare::ab(args, talk),
        cli::Bench::Peer(args) => wire::peer(args),
    }
}

/// What a trial failed with.
fn failed(error: String) -> Failure {
    match error == STOPPED {
        true => Failure::interrupted("stopped by a signal; nothing was written"),
        false => Failure::io(error),
    }
}

/// Writes a report, shows it, and turns its verdict into an exit code.
fn conclude(report: &Report, dir: &Path, talk: Talk) -> Result<(), Failure> {
    report.write(dir).map_err(Failure::io)?;
    if talk.json {
        let text = serde_json::to_string(report).expect("always JSON");
        talk.data(&format!("{text}\n"))?;
    } else {
        talk.data(&text(report))?;
        talk.data(&format!("report   {}\n", dir.join("report.html").display()))?;
    }
    let reasons = report.reasons.join("; ");
    match report.verdict {
        Verdict::Valid => Ok(()),
        Verdict::Saturated => Err(Failure::saturated(format!("SATURATED: {reasons}"))),
        Verdict::Invalid => Err(Failure::invalid(format!("INVALID: {reasons}"))),
    }
}

/// A verdict in its colour.
fn paint(style: Style, verdict: Verdict) -> String {
    match verdict {
        Verdict::Valid => style.good(verdict.name()),
        Verdict::Saturated => style.warn(verdict.name()),
        Verdict::Invalid => style.bad(verdict.name()),
    }
}

/// A report for a terminal.
fn text(report: &Report) -> String {
    let style = Style::stdout();
    let mut out = String::new();
    let load = &report.load;
    let _ = writeln!(out, "{} {}", style.bold("input   "), report.input.what);
    if !load.pacing.is_empty() {
        let _ = writeln!(
            out,
            "{} {}; {} s measured after {} s, {} trials, {} shards, {}, {} orders",
            style.bold("load    "),
            load.pacing,
            load.duration_s,
            load.warmup_s,
            report.trials.len().max(1),
            load.shards,
            load.model,
            load.durability
        );
    }
    out.push_str(&table(style, &report.stages));
    for remark in &report.remarks {
        let _ = writeln!(out, "{}", style.dim(remark));
    }
    if report.kind != "jitter" {
        let _ = writeln!(
            out,
            "\n{} {}: {}",
            style.bold("verdict "),
            paint(style, report.verdict),
            report.verdict.meaning()
        );
    }
    out
}

/// The figures of some stages.
fn table(style: Style, stages: &[StageSaid]) -> String {
    let mut out = String::new();
    let mut head = format!("\n{:<10} {:>11}", "latency", "samples");
    for name in QUANTILE_NAMES.iter().chain(&["max"]) {
        let _ = write!(head, " {name:>9}");
    }
    let _ = writeln!(out, "{}", style.dim(&head));
    for stage in stages {
        let _ = write!(out, "{:<10} {:>11}", stage.stage, count(stage.count));
        for ns in stage.quantiles_ns.iter().chain([&stage.max_ns]) {
            let _ = write!(out, " {:>9}", ns.map_or("n/a".into(), nanos));
        }
        let _ = writeln!(out, "  {}", style.dim(&stage.meaning));
        let is_whole = !Stage::PARTS.iter().any(|part| part.name() == stage.stage);
        if is_whole && stage.spread_ns.iter().any(Option::is_some) {
            for (name, pick) in [("least", 0), ("most", 1)] {
                let mut line = format!("{:<10} {:>11}", "", format!("{name} of all"));
                for spread in stage.spread_ns {
                    let ns = spread.map(|(least, most)| [least, most][pick]);
                    let _ = write!(line, " {:>9}", ns.map_or(String::new(), nanos));
                }
                let _ = writeln!(out, "{}", style.dim(&line));
            }
        }
    }
    out
}
