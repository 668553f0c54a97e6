//! `tapeline log repair`

use std::time::SystemTime;

use bus::log::repair::{self, Cut};
use tapeline::run_dir::RunDir;
use tapeline::savepoint;
use tapeline::session::TradingDay;
use tapeline::term::count;

use super::{Logs, failure};
use crate::cli;
use crate::commands::{Failure, Talk};

pub fn repair(args: &cli::LogRepair, talk: Talk) -> Result<(), Failure> {
    let logs = Logs::open(&args.run, args.part, Some(args.shard), talk)?;
    let (shard, dir) = &logs.shards[0];
    let before = bus::log::verify(dir);
    let cut = repair::plan(dir, args.truncate_at).map_err(failure)?;
    let lost = lost(&cut, &logs.day);
    if !args.yes {
        talk.data(&format!(
            "shard {shard}: {}cutting the log off at cell {} would lose\n{lost}nothing was changed; \
             --yes does it\n",
            if before.is_ok() {
                "the log is whole and needs no repair: "
            } else {
                ""
            },
            count(cut.end_cell)
        ))?;
        return Ok(());
    }
    let why = match &before {
        Ok(_) => "the log was whole".to_owned(),
        Err(error) => error.to_string(),
    };
    let audit = format!(
        "tapeline {} cut this log off at cell {} (segment {}, byte {}), asked for cell {}\n\
         before: {why}\nlost:\n{lost}",
        env!("CARGO_PKG_VERSION"),
        cut.end_cell,
        cut.segment,
        cut.offset,
        args.truncate_at
    );
    // Before the cut, so that a crash between leaves more to replay and nothing that is wrong.
    let (run, manifest) = RunDir::open(&args.run).map_err(Failure::usage)?;
    let part = args.part.unwrap_or(manifest.parts.len() - 1);
    savepoint::forget_beyond(&run, part, *shard, cut.end_cell).map_err(Failure::io)?;
    // Where nothing can be read any more, nobody knows how far orders had gone.
    let seq = cut.last_seq.unwrap_or(u64::MAX);
    run.mark_repaired(part, *shard, seq).map_err(Failure::io)?;
    let done = repair::cut(dir, &cut, &audit, SystemTime::now()).map_err(failure)?;
    bus::log::verify(dir).map_err(failure)?;
    for (name, cell) in &done.taken_back {
        talk.say(format_args!(
            "consumer {name} was at cell {}: it is at {} now, and reads what takes its place",
            count(*cell),
            count(cut.end_cell)
        ));
    }
    talk.data(&format!(
        "shard {shard}: the log ends at cell {}; lost\n{lost}the files as they were, and a record \
         of this: {}\n",
        count(cut.end_cell),
        done.aside.display()
    ))
}

fn lost(cut: &Cut, day: &TradingDay) -> String {
    let mut text = format!(
        "{:>16} cells, {} of them unreadable already\n{:>16} events\n{:>16} signals, {} of them \
         orders and {} of them records of orders sent\n{:>16} segments, and the end of segment {}\n",
        count(cut.cells),
        count(cut.unreadable_cells),
        count(cut.events),
        count(cut.signals),
        count(cut.orders),
        count(cut.sent),
        cut.segments.len(),
        cut.segment
    );
    if let Some((first, last)) = cut.span {
        text.push_str(&format!(
            "{:>16} to {}, what can be read of it\n",
            day.shown(first),
            day.shown(last)
        ));
    }
    text
}
