//! `tapeline demo`

use std::path::{Path, PathBuf};

use tapeline::config::{Config, Speed};
use tapeline::pipeline::{self, Stop};
use tapeline::run_dir::RunDir;
use tapeline::summary;
use tapeline::term::{Style, count};

use super::replay::{Plan, PlanOptions, Run, replay_plan};
use super::{Failure, Talk, sample, verify};
use crate::cli;

/// The impairments of the demo's capture: each line loses packets, doubles and reorders some, and
/// the two together lose none.
const LOSS: f64 = 0.05;
const DUPLICATE: f64 = 0.01;
const REORDER: u32 = 8;

pub fn demo(args: &cli::Demo, talk: Talk) -> Result<(), Failure> {
    let stop = pipeline::watch_signals().map_err(Failure::io)?;
    let folder = args.output.clone().unwrap_or_else(|| {
        std::env::temp_dir().join(format!("tapeline-demo-{}", std::process::id()))
    });
    // Refuses a directory that holds anything.
    RunDir::create(&folder).map_err(Failure::usage)?;
    let style = Style::stdout();
    let say = |text: String| if talk.json { Ok(()) } else { talk.data(&text) };

    let session = cli::SampleItch {
        output: folder.join("session.pcap.zst"),
        symbols: args.symbols,
        seconds: args.seconds,
        seed: args.seed,
        rate: 20_000,
        loss_a: LOSS,
        loss_b: LOSS,
        duplicate: DUPLICATE,
        reorder: REORDER,
        drop_both: 0,
        force: true,
    };
    say(format!(
        "{}\n",
        style.bold("1. A session: a simulated exchange, captured on two lines that lose packets")
    ))?;
    let truth = sample::write(&session)?;
    let truth_path = sample::truth_path(&session.output)?;
    truth
        .write(&truth_path)
        .map_err(|e| Failure::io(format!("{}: {e}", truth_path.display())))?;
    say(format!(
        "{} messages of {} symbols, {} s of trading; each line loses 5% of its packets, doubles 1% \
         and swaps some\n\n",
        count(truth.messages),
        truth.symbols.len(),
        args.seconds
    ))?;

    say(format!(
        "{}\n",
        style.bold("2. Replayed as fast as this machine can")
    ))?;
    let fast = replay(
        &session.output,
        &folder.join("fast"),
        Speed::Max,
        talk,
        &stop,
    )?;
    say(text(&fast))?;
    let verified = verify::compare(fast.dir.path(), &truth)?;
    say(format!("{}\n", verify::text(&verified)))?;
    verify::judge(&verified)?;

    let pace = format!(
        "3. The same capture at {} its pace, for latency",
        args.speed
    );
    say(format!("{}\n", style.bold(&pace)))?;
    let paced = replay(
        &session.output,
        &folder.join("paced"),
        args.speed,
        talk,
        &stop,
    )?;
    say(text(&paced))?;
    let is_equal = fast.results.manifest.digest == paced.results.manifest.digest;
    let verdict = if is_equal {
        style.good("equal")
    } else {
        style.bad("NOT equal")
    };
    say(format!(
        "{} {verdict} digests at both speeds\n",
        style.bold("replay  ")
    ))?;
    if talk.json {
        let said = serde_json::json!({
            "schema": "tapeline-demo/1", "folder": folder, "verified": verified.is_equal(),
            "equal_digests": is_equal, "fast": fast.results.manifest,
            "paced": paced.results.manifest,
        });
        talk.data(&format!("{said}\n"))?;
    } else {
        say(hints(&folder, &fast))?;
    }
    if !is_equal {
        return Err(Failure::verification("two replays of one capture differ"));
    }
    Ok(())
}

fn replay(
    capture: &Path,
    output: &Path,
    speed: Speed,
    talk: Talk,
    stop: &Stop,
) -> Result<Run, Failure> {
    let mut config = Config::default();
    config.run.speed = speed;
    let plan = Plan {
        files: vec![capture.to_path_buf()],
        output: output.to_path_buf(),
        config,
        settings: None,
        options: PlanOptions::default(),
        day: None,
    };
    let run = replay_plan(plan, talk, stop)?;
    if run.outcome.is_stopped {
        return Err(Failure::interrupted("stopped by a signal"));
    }
    Ok(run)
}

fn text(run: &Run) -> String {
    summary::text(&run.dir, &run.day, &run.config, &run.outcome, &run.results)
}

fn hints(folder: &Path, run: &Run) -> String {
    let busiest = run
        .results
        .symbols
        .iter()
        .max_by_key(|symbol| symbol.trades);
    let name = busiest.map_or("AAPL", |symbol| &symbol.symbol);
    let shown = |path: PathBuf| path.display().to_string();
    format!(
        "\nLook further:\n  tapeline inspect {}\n  tapeline book {name} --run {run} --at 09:30:10\n  \
         tapeline diff {run} {}\n  tables for pandas, DuckDB and Polars: {run}/tables/*.parquet\n",
        shown(folder.join("session.pcap.zst")),
        shown(folder.join("paced")),
        run = shown(folder.join("fast")),
    )
}
