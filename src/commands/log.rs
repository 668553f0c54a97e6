//! `tapeline log ...`

mod print;
mod repair;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bus::Ts;
use bus::log::tail::{self, From, Until};
use bus::log::{Consumer, End, LogError, LogReader, Of, Record, Schema, Segment, Tail};
use tapeline::run_dir::RunDir;
use tapeline::session::TradingDay;
use tapeline::term::{Style, count};

use self::print::Printer;
use super::{Failure, Talk};
use crate::cli::{self, LogCommand};

/// How often a log is looked at for more.
const REST: Duration = Duration::from_millis(20);
/// Records printed between two writes, and between two stored positions.
const BATCH: usize = 4096;

pub fn log(command: &LogCommand, talk: Talk) -> Result<(), Failure> {
    match command {
        LogCommand::Cat(args) => cat(args, talk),
        LogCommand::Tail(args) => tail(args, talk),
        LogCommand::Index(args) => index(args, talk),
        LogCommand::Verify(args) => verify(args, talk),
        LogCommand::Stat(args) => stat(args, talk),
        LogCommand::Schema(args) => schema(args, talk),
        LogCommand::Consumers(args) => consumers(args, talk),
        LogCommand::Repair(args) => repair::repair(args, talk),
    }
}

/// A cell that is not there is a usage error.
fn failure(error: LogError) -> Failure {
    match &error {
        error if error.is_damage() => Failure::damage(error),
        LogError::NoCell { .. } | LogError::Config(_) => Failure::usage(error),
        _ => Failure::io(error),
    }
}

/// A run, and those of its logs that are asked for.
struct Logs {
    day: TradingDay,
    shards: Vec<(usize, PathBuf)>,
    /// Which part they are of, and of how many.
    part: usize,
    parts: usize,
}

impl Logs {
    fn open(
        run: &Path,
        part: Option<usize>,
        shard: Option<usize>,
        talk: Talk,
    ) -> Result<Logs, Failure> {
        let (dir, manifest) = RunDir::open(run).map_err(Failure::usage)?;
        let part = part.unwrap_or(manifest.parts.len() - 1);
        let shards = match manifest.parts.get(part) {
            Some(found) => found.shards,
            None => {
                let parts = manifest.parts.len();
                return Err(Failure::usage(format!(
                    "part {part}: the run has {parts}, numbered from 0"
                )));
            }
        };
        dir.check_logs(part, shards).map_err(failure)?;
        let day = talk.day(&manifest)?;
        if let Some(shard) = shard.filter(|&shard| shard >= shards) {
            return Err(Failure::usage(format!(
                "shard {shard}: the run has {shards}, numbered from 0"
            )));
        }
        let wanted = (0..shards).filter(|&index| shard.is_none_or(|shard| shard == index));
        let shards = wanted
            .map(|index| (index, dir.log_dir(part, index)))
            .collect();
        let parts = manifest.parts.len();
        Ok(Logs {
            day,
            shards,
            part,
            parts,
        })
    }

    /// Those of one part, or of all parts in order, where they have what is asked for.
    fn open_all(args: &cli::LogRun, talk: Talk) -> Result<Vec<Logs>, Failure> {
        let (run, shard) = (&args.run, args.shard);
        if args.part.is_some() {
            return Ok(vec![Logs::open(run, args.part, shard, talk)?]);
        }
        let (_, manifest) = RunDir::open(run).map_err(Failure::usage)?;
        let shards_max = manifest.parts.iter().map(|part| part.shards).max();
        if let Some(shard) = shard.filter(|shard| Some(*shard) >= shards_max) {
            let shards = shards_max.unwrap_or(0);
            return Err(Failure::usage(format!(
                "shard {shard}: the run has {shards}, numbered from 0"
            )));
        }
        let parts = manifest.parts.iter().enumerate();
        parts
            .filter(|(_, part)| shard.is_none_or(|shard| shard < part.shards))
            .map(|(part, _)| Logs::open(run, Some(part), shard, talk))
            .collect()
    }

    /// `shard 0`, or `part 1, shard 0` where there are several parts.
    fn name(&self, shard: usize) -> String {
        match self.parts {
            1 => format!("shard {shard}"),
            _ => format!("part {}, shard {shard}", self.part),
        }
    }

    /// Says which part is looked at, where nobody said it and there are others.
    fn say_part(&self, asked: Option<usize>, talk: Talk) {
        if asked.is_none() && self.parts > 1 {
            talk.say(format_args!(
                "part {} only, the last; those before it have their own cells: --part 0 to {}",
                self.part,
                self.parts - 1
            ));
        }
    }

    fn time(&self, text: Option<&String>) -> Result<Option<Ts>, Failure> {
        let parsed = text.map(|text| self.day.parse(text)).transpose();
        parsed.map_err(Failure::usage)
    }
}

fn cat(args: &cli::LogCat, talk: Talk) -> Result<(), Failure> {
    let logs = Logs::open(&args.log.run, args.log.part, args.log.shard, talk)?;
    logs.say_part(args.log.part, talk);
    let from = logs.time(args.from_time.as_ref())?;
    let to = logs.time(args.to_time.as_ref())?;
    let mut is_empty = true;
    for (shard, dir) in &logs.shards {
        let cell = match from {
            Some(ts) => {
                let files = bus::disk::Directory::new(dir);
                Some(tail::cell_at(files, ts).map_err(failure)?)
            }
            None => args.from_cell,
        };
        let reader = match cell {
            Some(cell) => LogReader::open_from(dir, cell),
            None => LogReader::open(dir),
        };
        let reader = reader.map_err(failure)?;
        let mut printer = Printer::new(*shard, dir, &logs.day, talk, reader.position())?;
        for item in reader {
            // What was read before damage is said before it.
            let (cell, record) = match item {
                Ok(item) => item,
                Err(error) => {
                    printer.flush()?;
                    return Err(failure(error));
                }
            };
            let is_past = matches!((&record, to), (Record::Event(e), Some(to)) if e.ts_event >= to);
            if is_past || args.to_cell.is_some_and(|to| cell >= to) {
                break;
            }
            printer.print(cell, &record);
            is_empty = false;
            if printer.count() >= BATCH && !printer.flush()? {
                return Ok(());
            }
        }
        printer.flush()?;
    }
    if is_empty {
        talk.say("no record in this range; `tapeline log index` shows what the log has");
    }
    Ok(())
}

fn tail(args: &cli::LogTail, talk: Talk) -> Result<(), Failure> {
    let is_placed = args.from_cell.is_some() || args.from_time.is_some() || args.from_start;
    if args.part.is_some() || args.consumer.is_none() || is_placed {
        let logs = Logs::open(&args.run, args.part, Some(args.shard), talk)?;
        logs.say_part(args.part, talk);
        return tail_part(&logs, args, !args.no_follow, talk).map(|_| ());
    }
    // A named reader has read all parts before the last to their ends before it follows that.
    let all = Logs::open_all(
        &cli::LogRun {
            run: args.run.clone(),
            part: None,
            shard: Some(args.shard),
        },
        talk,
    )?;
    for logs in &all {
        let follows = !args.no_follow && logs.part + 1 == logs.parts;
        if !tail_part(logs, args, follows, talk)? {
            break;
        }
    }
    Ok(())
}

/// Whether a log was begun. Who follows a run may be there before its logs are.
fn is_there(dir: &Path) -> bool {
    LogReader::open_live(dir, None).is_ok_and(|log| log.uuid().is_some())
}

/// Whether anybody still reads what is printed.
fn tail_part(logs: &Logs, args: &cli::LogTail, follows: bool, talk: Talk) -> Result<bool, Failure> {
    let (shard, dir) = &logs.shards[0];
    // Nobody writes a part that has one after it: all of it counts.
    let until = match args.written || logs.part + 1 < logs.parts {
        true => Until::Written,
        false => Until::Durable,
    };
    while follows && args.from_cell.is_none() && !is_there(dir) {
        std::thread::park_timeout(REST);
    }
    let mut consumer = match &args.consumer {
        Some(name) => {
            let log = LogReader::open_live(dir, None).map_err(failure)?;
            let uuid = log.uuid().unwrap_or_default();
            Some(Consumer::open(dir, name, uuid).map_err(failure)?)
        }
        None => None,
    };
    let from_time = logs.time(args.from_time.as_ref())?;
    let stored = consumer.as_ref().and_then(Consumer::position);
    let from = match (args.from_cell, from_time) {
        (Some(cell), _) => From::Cell(cell),
        (_, Some(ts)) => From::Time(ts),
        _ if args.from_start => From::Start,
        _ => match (stored, &consumer) {
            (Some(cell), _) => From::Cell(cell),
            (None, Some(_)) => From::Start,
            (None, None) => From::End,
        },
    };
    let mut tail = Tail::open(dir, from, until).map_err(failure)?;
    let mut printer = Printer::new(*shard, dir, &logs.day, talk, tail.position())?;
    loop {
        let polled = tail.poll();
        let is_more = match &polled {
            Ok(Some((cell, record))) => {
                printer.print(*cell, record);
                true
            }
            _ => false,
        };
        if printer.count() >= BATCH || !is_more {
            let had_any = printer.count() > 0;
            let is_read = printer.flush()?;
            // First said, then stored: a reader that dies between gets some again, and loses none.
            if let Some(consumer) = consumer.as_mut().filter(|_| had_any && is_read) {
                consumer
                    .store(tail.position(), SystemTime::now())
                    .map_err(failure)?;
            }
            if !is_read {
                return Ok(false);
            }
        }
        polled.map_err(failure)?;
        if !is_more {
            if !follows {
                return Ok(true);
            }
            std::thread::park_timeout(REST);
        }
    }
}

fn index(args: &cli::LogRun, talk: Talk) -> Result<(), Failure> {
    let logs = Logs::open(&args.run, args.part, args.shard, talk)?;
    let style = Style::stdout();
    let mut text = String::new();
    for (shard, dir) in &logs.shards {
        let segments = bus::log::index(dir).map_err(failure)?;
        if talk.json {
            text.push_str(&index_json(*shard, &segments));
            continue;
        }
        text.push_str(&style.bold(&format!("shard {shard}\n")));
        let head = format!(
            "{:>10} {:>14} {:>14} {:>6} {:>7} {:>15} {:>14}  {}\n",
            "segment",
            "first cell",
            "end cell",
            "epoch",
            "version",
            "first event",
            "bytes",
            "where"
        );
        text.push_str(&style.dim(&head));
        for segment in &segments {
            let header = &segment.header;
            let time = segment
                .first_event
                .map_or("-".into(), |ts| logs.day.shown(ts));
            text.push_str(&format!(
                "{:>10} {:>14} {:>14} {:>6} {:>7} {:>15} {:>14}  {}\n",
                header.segment,
                count(header.first_cell),
                count(segment.end_cell),
                header.epoch,
                header.version,
                time,
                count(segment.bytes),
                if segment.is_tiered { "tier" } else { "local" },
            ));
        }
    }
    talk.data(&text)
}

fn index_json(shard: usize, segments: &[Segment]) -> String {
    let line = |segment: &Segment| {
        let said = serde_json::json!({
            "schema": "tapeline-log-index/1", "shard": shard, "segment": segment.header.segment,
            "first_cell": segment.header.first_cell, "end_cell": segment.end_cell,
            "epoch": segment.header.epoch, "version": segment.header.version,
            "first_event_ns": segment.first_event.map(|ts| ts.0), "bytes": segment.bytes,
            "where": if segment.is_tiered { "tier" } else { "local" },
            "path": segment.path,
        });
        format!("{said}\n")
    };
    segments.iter().map(line).collect()
}

/// Each log with those it is one of.
fn each(all: &[Logs]) -> impl Iterator<Item = (&Logs, &usize, &PathBuf)> {
    all.iter().flat_map(|logs| {
        logs.shards
            .iter()
            .map(move |(shard, dir)| (logs, shard, dir))
    })
}

fn verify(args: &cli::LogRun, talk: Talk) -> Result<(), Failure> {
    let all = Logs::open_all(args, talk)?;
    let mut first_error = None;
    for (logs, shard, dir) in each(&all) {
        let (name, part) = (logs.name(*shard), logs.part);
        let said = match bus::log::verify(dir) {
            Ok(found) => {
                let (end, dropped) = match found.end {
                    End::Clean if found.finished => ("ended in order", 0),
                    End::Clean => ("clean end", 0),
                    End::Torn { dropped_bytes, .. } => ("torn end", dropped_bytes),
                };
                if talk.json {
                    let said = serde_json::json!({
                        "schema": "tapeline-log-verify/1", "part": part, "shard": shard, "whole": true,
                        "cells": found.cells, "segments": found.segments, "frames": found.frames,
                        "epoch": found.epoch, "end": end, "dropped_bytes": dropped,
                    });
                    format!("{said}\n")
                } else {
                    let torn = match found.end {
                        End::Torn {
                            segment, offset, ..
                        } => format!(
                            ": what a crash left of {dropped} bytes under way, segment {segment} \
                             from byte {offset}"
                        ),
                        End::Clean => String::new(),
                    };
                    format!(
                        "{name}: whole, {} cells in {} frames of {} segments, {end}{torn}\n",
                        count(found.cells),
                        count(found.frames),
                        found.segments
                    )
                }
            }
            Err(error) => {
                let cell = match &error {
                    LogError::Corrupt(corruption) => Some(corruption.cell),
                    _ => None,
                };
                let said = if talk.json {
                    let said = serde_json::json!({
                        "schema": "tapeline-log-verify/1", "part": part, "shard": shard, "whole": false,
                        "cell": cell, "error": error.to_string(),
                    });
                    format!("{said}\n")
                } else {
                    format!("{name}: {error}\n")
                };
                first_error.get_or_insert(error);
                said
            }
        };
        talk.data(&said)?;
    }
    match first_error {
        None => Ok(()),
        // To verify is to compare: damage is a comparison that did not hold.
        Some(error) if error.is_damage() => Err(Failure::verification(error)),
        Some(error) => Err(failure(error)),
    }
}

fn stat(args: &cli::LogRun, talk: Talk) -> Result<(), Failure> {
    let all = Logs::open_all(args, talk)?;
    let style = Style::stdout();
    let names = Schema::current();
    for (logs, shard, dir) in each(&all) {
        let mut by_kind = [0u64; 256];
        let mut reader = LogReader::open(dir).map_err(failure)?;
        let first_cell = reader.first_cell();
        for item in &mut reader {
            let kind = match item.map_err(failure)?.1 {
                Record::Event(event) => event.kind as u8,
                Record::Signal(signal) => signal.kind as u8,
            };
            by_kind[usize::from(kind)] += 1;
        }
        let found = reader.recovered();
        let segments = bus::log::index(dir).map_err(failure)?;
        let bytes: u64 = segments.iter().map(|segment| segment.bytes).sum();
        let cells = found.cells - first_cell;
        let frame_cells = cells as f64 / found.frames.max(1) as f64;
        let kinds: BTreeMap<String, u64> = (0..=u8::MAX)
            .filter(|&kind| by_kind[usize::from(kind)] > 0)
            .map(|kind| {
                let layout = names.layouts.get(&Of::Kind(kind));
                let name = layout.map_or(format!("{kind:#04x}"), |layout| layout.name.clone());
                (name, by_kind[usize::from(kind)])
            })
            .collect();
        let text = if talk.json {
            let said = serde_json::json!({
                "schema": "tapeline-log-stat/1", "part": logs.part, "shard": shard, "first_cell": first_cell,
                "cells": cells, "frames": found.frames, "segments": found.segments,
                "bytes": bytes, "frame_cells_mean": frame_cells, "kinds": kinds,
            });
            format!("{said}\n")
        } else {
            let mut text = style.bold(&format!("{}\n", logs.name(*shard)));
            text.push_str(&format!(
                "{:>16} cells in {} frames, {frame_cells:.1} each; {} bytes in {} segments\n",
                count(cells),
                count(found.frames),
                count(bytes),
                found.segments
            ));
            for (name, number) in &kinds {
                text.push_str(&format!("{:>16} {name}\n", count(*number)));
            }
            text
        };
        talk.data(&text)?;
    }
    Ok(())
}

fn schema(args: &cli::LogRun, talk: Talk) -> Result<(), Failure> {
    let logs = Logs::open(&args.run, args.part, args.shard, talk)?;
    for (shard, dir) in &logs.shards {
        let segments = bus::log::index(dir).map_err(failure)?;
        let mut last: Option<&Segment> = None;
        for segment in &segments {
            // Segments of one writer say the same; a change is worth a heading.
            if last.is_some_and(|last| last.schema == segment.schema) {
                continue;
            }
            last = Some(segment);
            let number = segment.header.segment;
            let text = match (talk.json, segment.schema.as_str()) {
                (true, schema) => {
                    let said = serde_json::json!({
                        "schema": "tapeline-log-schema/1", "shard": shard, "from_segment": number,
                        "version": segment.header.version,
                        "lines": schema.lines().collect::<Vec<_>>(),
                    });
                    format!("{said}\n")
                }
                (false, "") => format!(
                    "# shard {shard}, from segment {number}: format version 1 does not say\n"
                ),
                (false, schema) => {
                    format!("# shard {shard}, from segment {number}\n{schema}")
                }
            };
            talk.data(&text)?;
        }
    }
    Ok(())
}

fn consumers(args: &cli::LogRun, talk: Talk) -> Result<(), Failure> {
    let all = Logs::open_all(args, talk)?;
    let mut text = String::new();
    let mut first_error = None;
    if !talk.json {
        let head = format!(
            "{:>4} {:>5} {:<32} {:>14} {:>14} {:>10}  {}\n",
            "part", "shard", "consumer", "cell", "lag", "said", "now"
        );
        text.push_str(&Style::stdout().dim(&head));
    }
    for (logs, shard, dir) in each(&all) {
        let (written, durable) = tail::ends(dir).map_err(failure)?;
        for position in bus::log::consumers(dir).map_err(failure)? {
            let position = match position {
                Ok(position) => position,
                Err(error) => {
                    if let Some(earlier) = first_error.replace(error) {
                        talk.say(earlier);
                    }
                    continue;
                }
            };
            let lag = durable.saturating_sub(position.cell);
            let beyond = position.cell.saturating_sub(written);
            let age = position.stored.elapsed().unwrap_or_default().as_secs();
            let now = match (beyond, position.is_open) {
                (1.., _) => "beyond the log's end",
                (0, true) => "reading",
                (0, false) => "away",
            };
            text.push_str(&if talk.json {
                let said = serde_json::json!({
                    "schema": "tapeline-log-consumer/1", "part": logs.part, "shard": shard, "consumer": position.name,
                    "cell": position.cell, "lag_cells": lag, "beyond_cells": beyond,
                    "stored_s_ago": age, "reading": position.is_open,
                });
                format!("{said}\n")
            } else {
                format!(
                    "{:>4} {shard:>5} {:<32} {:>14} {:>14} {:>7} s  {now}\n",
                    logs.part,
                    position.name,
                    count(position.cell),
                    count(lag),
                    age
                )
            });
        }
    }
    talk.data(&text)?;
    first_error.map_or(Ok(()), |error| Err(failure(error)))
}
