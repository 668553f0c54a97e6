//! `tapeline bench compare` and `tapeline bench ab`

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tapeline::lab::compare::{self, Call, Row};
use tapeline::lab::report::{QUANTILE_NAMES, Report};
use tapeline::lab::verdict::Verdict;
use tapeline::pipeline::{self, Stop};
use tapeline::run_dir;
use tapeline::term::{Style, nanos};

use super::setup::output;
use super::{Failure, Talk};
use crate::cli;

pub fn compare(args: &cli::Compare, talk: Talk) -> Result<(), Failure> {
    let read = |path: &Path| Report::read(path).map_err(Failure::usage);
    let (base, head) = (read(&args.base)?, read(&args.head)?);
    let (rows, differences) = compare::compare(&base, &head);
    if rows.is_empty() {
        return Err(Failure::input("the two results have no figure in common"));
    }
    show(&rows, &differences, talk)?;
    let is_bad = |report: &Report| report.verdict != Verdict::Valid;
    if args.gate && (is_bad(&base) || is_bad(&head)) {
        return Err(Failure::invalid(
            "a gate needs two VALID results: these say nothing about a change",
        ));
    }
    gate(&rows, args.gate)
}

fn show(rows: &[Row], differences: &[String], talk: Talk) -> Result<(), Failure> {
    if talk.json {
        let said = serde_json::json!({
            "schema": "tapeline-compare/1", "rows": rows, "differences": differences,
        });
        return talk.data(&format!("{said}\n"));
    }
    let style = Style::stdout();
    let mut out = String::new();
    let head = format!(
        "{:<10} {:<7} {:>10} {:>10} {:>9} {:>9}",
        "latency", "", "base", "head", "change", "noise"
    );
    let _ = writeln!(out, "{}", style.dim(&head));
    for row in rows {
        let time = |ns: Option<f64>| ns.map_or("n/a".into(), |ns| nanos(ns as u64));
        let change = row
            .change
            .map_or("n/a".into(), |c| format!("{:+.1} %", c * 100.0));
        let noise = row
            .noise
            .map_or("n/a".into(), |c| format!("{:.1} %", c * 100.0));
        let call = match row.call {
            Call::Faster => style.good(row.call.name()),
            Call::Slower => style.bad(row.call.name()),
            Call::Same | Call::Unknown => style.dim(row.call.name()),
        };
        let _ = writeln!(
            out,
            "{:<10} {:<7} {:>10} {:>10} {change:>9} {noise:>9}  {call}",
            row.stage,
            row.quantile,
            time(row.base_ns),
            time(row.head_ns)
        );
    }
    let _ = writeln!(
        out,
        "\n{}",
        style.dim(
            "medians of the runs; noise is how far equal runs lie apart; a change is called one \
             only where the runs of the two sides do not overlap"
        )
    );
    for difference in differences {
        let _ = writeln!(out, "{} {difference}", style.warn("note"));
    }
    talk.data(&out)
}

fn gate(rows: &[Row], is_on: bool) -> Result<(), Failure> {
    let slower = rows.iter().filter(|row| row.call == Call::Slower);
    let names: Vec<String> = slower
        .map(|row| format!("{} {}", row.stage, row.quantile))
        .collect();
    match is_on && !names.is_empty() {
        true => Err(Failure::verification(format!(
            "slower: {}",
            names.join(", ")
        ))),
        false => Ok(()),
    }
}

/// A side of an A/B comparison.
struct Side {
    name: &'static str,
    program: PathBuf,
    runs: Vec<Report>,
    dropped: usize,
}

pub fn ab(args: &cli::Ab, talk: Talk) -> Result<(), Failure> {
    let stop = pipeline::watch_signals().map_err(Failure::io)?;
    let dir = output("ab", args.played.output.as_deref())?;
    let dir = dir.canonicalize().map_err(Failure::io)?;
    let builds = dir.join("builds");
    let this = std::env::current_exe().map_err(Failure::io)?;
    let base = build(&args.base, &builds.join("base"), talk)?;
    let head = match &args.head {
        Some(revision) => build(revision, &builds.join("head"), talk)?,
        None => this,
    };
    let side = |name, program| Side {
        name,
        program,
        runs: Vec::new(),
        dropped: 0,
    };
    let mut sides = [side("base", base), side("head", head)];
    let result = interleave(args, &dir, &mut sides, &stop, talk);
    for name in ["base", "head"] {
        remove(&builds.join(name));
    }
    let _ = std::fs::remove_dir_all(&builds);
    result?;
    let [base, head] = &sides;
    let mut rows = Vec::new();
    for (index, quantile) in QUANTILE_NAMES.into_iter().enumerate() {
        for stage in ["total", "service", "order"] {
            let runs = |side: &Side| -> Vec<u64> {
                let runs = side.runs.iter();
                runs.filter_map(|run| run.stage(stage)?.quantiles_ns[index])
                    .collect()
            };
            let row = compare::row(stage, quantile, &runs(base), &runs(head));
            if row.change.is_some() {
                rows.push(row);
            }
        }
    }
    rows.sort_by_key(|row| {
        ["total", "service", "order"]
            .iter()
            .position(|s| *s == row.stage)
    });
    let mut notes = Vec::new();
    for side in &sides {
        notes.push(format!(
            "{}: {} runs counted, {} left out because they were not VALID",
            side.name,
            side.runs.len(),
            side.dropped
        ));
    }
    let said = serde_json::json!({ "schema": "tapeline-ab/1", "rows": rows, "notes": notes });
    run_dir::write_whole(&dir, "ab.json", format!("{said:#}\n").as_bytes()).map_err(Failure::io)?;
    if sides.iter().any(|side| side.runs.len() < 3) {
        let why = "fewer than three VALID runs on a side: nothing can be said";
        return Err(Failure::invalid(format!(
            "INVALID: {why}; {}",
            notes.join("; ")
        )));
    }
    show(&rows, &notes, talk)?;
    gate(&rows, args.gate)
}

/// A B B A, so that what drifts slowly falls on both sides alike.
fn interleave(
    args: &cli::Ab,
    dir: &Path,
    sides: &mut [Side; 2],
    stop: &Stop,
    talk: Talk,
) -> Result<(), Failure> {
    for round in 0..args.rounds {
        for (place, which) in [0, 1, 1, 0].into_iter().enumerate() {
            if stop.is_set() {
                return Err(Failure::interrupted("stopped by a signal"));
            }
            let side = &mut sides[which];
            let out = dir.join(format!("run-{round}-{place}-{}", side.name));
            let report = run(args, side, &out)?;
            let p50 = report.stage("total").and_then(|s| s.quantiles_ns[0]);
            talk.say(format_args!(
                "{} {:<9} p50 {}",
                side.name,
                report.verdict,
                p50.map_or("n/a".into(), nanos)
            ));
            match report.verdict {
                Verdict::Valid => side.runs.push(report),
                Verdict::Saturated | Verdict::Invalid => side.dropped += 1,
            }
        }
    }
    Ok(())
}

fn run(args: &cli::Ab, side: &Side, out: &Path) -> Result<Report, Failure> {
    let played = &args.played;
    let mut command = Command::new(&side.program);
    command
        .args(["--quiet", "bench", "latency", "--trials", "1", "-o"])
        .arg(out);
    command.args(["--rate", &args.rate.0.to_string()]);
    command.args(["--duration", &args.duration.to_string()]);
    command.args(["--warmup", &args.warmup.to_string()]);
    if played.input.is_empty() {
        command.args(["--symbols", &played.symbols.to_string()]);
        command.args(["--seed", &played.seed.to_string()]);
    } else {
        command.arg("--input").args(&played.input);
    }
    if let Some(shards) = played.shards {
        command.args(["--shards", &shards.to_string()]);
    }
    for cpu in &played.cpus {
        command.args(["--cpus", &cpu.to_string()]);
    }
    if let Some(model) = played.model {
        command.args(["--model", model.name()]);
    }
    if let Some(durability) = played.durability {
        command.args(["--durability", durability.name()]);
    }
    if let Some(config) = &played.config {
        command.arg("--config").arg(config);
    }
    if let Some(every) = played.stamp_every {
        command.args(["--stamp-every", &every.to_string()]);
    }
    let ran = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output();
    let ran = ran.map_err(|e| Failure::io(format!("{}: {e}", side.program.display())))?;
    // INVALID and SATURATED have a report too; anything else went wrong.
    match ran.status.code() {
        Some(0 | 7 | 8) => Report::read(out).map_err(Failure::io),
        code => Err(Failure::io(format!(
            "the {} ({}) ended with {code:?}: {}",
            side.name,
            side.program.display(),
            String::from_utf8_lossy(&ran.stderr).trim()
        ))),
    }
}

/// Builds a revision in a work tree of its own.
fn build(revision: &str, folder: &Path, talk: Talk) -> Result<PathBuf, Failure> {
    talk.say(format_args!("building {revision}"));
    let tree = folder.join("tree");
    std::fs::create_dir_all(folder).map_err(Failure::io)?;
    let step = |command: &mut Command| -> Result<(), Failure> {
        let words = format!("{command:?}");
        let ran = command
            .output()
            .map_err(|e| Failure::io(format!("{words}: {e}")))?;
        match ran.status.success() {
            true => Ok(()),
            false => Err(Failure::usage(format!(
                "{words}: {}",
                String::from_utf8_lossy(&ran.stderr).trim()
            ))),
        }
    };
    step(
        Command::new("git")
            .args(["worktree", "add", "--detach"])
            .arg(&tree)
            .arg(revision),
    )?;
    let target = folder.join("target");
    step(
        Command::new("cargo")
            .args(["build", "--release", "--locked", "--bin", "tapeline"])
            .current_dir(&tree)
            .env("CARGO_TARGET_DIR", &target),
    )?;
    Ok(target.join("release/tapeline"))
}

fn remove(folder: &Path) {
    let tree = folder.join("tree");
    if tree.exists() {
        // What is left of it is in our own directory, and removed with that.
        let _ = Command::new("git")
            .args(["worktree", "remove", "--force"])
            .arg(&tree)
            .output();
    }
}
