//! `tapeline shadow`

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bus::log::{LogError, LogReader, Record};
use bus::{Event, Signal, SignalKind, Ts};
use serde_json::json;
use tapeline::config::Config;
use tapeline::core::{Core, Sink};
use tapeline::pipeline;
use tapeline::run_dir::{Piece, RunDir, State};
use tapeline::savepoint::Origin;
use tapeline::session::TradingDay;
use tapeline::term::count;

use super::words::Words;
use super::{Failure, Talk};
use crate::cli;

pub fn shadow(args: &cli::Shadow, talk: Talk) -> Result<(), Failure> {
    let (dir, manifest) = RunDir::open(&args.run).map_err(Failure::usage)?;
    let own = dir.read_config().map_err(Failure::usage)?;
    let config = match &args.config {
        Some(path) => Config::read(path).map_err(Failure::usage)?,
        None => own.clone(),
    };
    let day = talk.day(&manifest)?;
    let from = manifest.options.from_ns.map(Ts);
    let (part, first) = (manifest.parts.len() - 1, manifest.parts.len() == 1);
    if !first && config.decisive() != own.decisive() {
        return Err(Failure::usage(
            "other settings can be tried on the first part of a run only, and this one has several",
        ));
    }
    let origin = Origin {
        dir: &dir,
        parts: &manifest.parts,
        config: &config,
        midnight: day.midnight,
        from,
    };
    let mut shadows = Vec::new();
    for piece in dir.pieces(&manifest.parts) {
        if piece.part != part {
            continue;
        }
        let core = match first {
            true => pipeline::core(&config, day.midnight, from).map_err(Failure::io)?,
            false => origin.begin_core(piece.shard).map_err(Failure::shard)?,
        };
        shadows.push(Shadow::new(core, piece, args.show));
    }
    loop {
        let is_over = !args.follow || !is_running(&args.run)?;
        for shadow in &mut shadows {
            match shadow.follow(is_over) {
                // What is under way to the disk can look like anything, and a log that is just
                // being ended becomes shorter: what is wrong for good is still so at the end.
                Err(LogError::Corrupt(_) | LogError::Disk(_)) if !is_over => {}
                result => result.map_err(Failure::log)?,
            }
        }
        if is_over {
            break;
        }
        std::thread::park_timeout(Duration::from_millis(200));
    }
    report(&shadows, &day, talk)
}

fn is_running(run: &std::path::Path) -> Result<bool, Failure> {
    let (dir, manifest) = RunDir::open(run).map_err(Failure::usage)?;
    let log = dir.log_dir(manifest.parts.len() - 1, 0);
    let owner = bus::disk::files::lock_owner(&log).map_err(Failure::io)?;
    Ok(manifest.state == State::Running && owner.is_some())
}

/// One shard's log, and a core that concludes from it anew.
struct Shadow {
    piece: Piece,
    core: Core,
    cell: u64,
    events: u64,
    /// What the shadow concluded and the log has not brought yet.
    ours: VecDeque<Signal>,
    by_kind: BTreeMap<&'static str, Kind>,
    differences: Vec<(Option<Signal>, Option<Signal>)>,
    show: usize,
}

/// How signals of one kind compare.
#[derive(Clone, Copy, Debug, Default)]
struct Kind {
    equal: u64,
    only_run: u64,
    only_shadow: u64,
}

impl Shadow {
    fn new(core: Core, piece: Piece, show: usize) -> Shadow {
        Shadow {
            piece,
            core,
            cell: 0,
            events: 0,
            ours: VecDeque::new(),
            by_kind: BTreeMap::new(),
            differences: Vec::new(),
            show,
        }
    }

    /// Takes in what the log has more: all of it if nobody writes it any more, else what it says
    /// itself is durable.
    fn follow(&mut self, is_over: bool) -> Result<(), LogError> {
        let mut log = LogReader::open_from(&self.piece.dir, self.cell)?;
        while let Some(item) = log.next() {
            let (cell, record) = item?;
            if !is_over && cell >= log.durable_upto() {
                return Ok(());
            }
            match record {
                Record::Event(event) => {
                    self.cell = cell + 1;
                    self.event(&event);
                }
                Record::Signal(signal) => {
                    self.cell = cell + 2;
                    self.signal(signal);
                }
            }
        }
        if is_over {
            // A crash may have kept from the log what the last event caused.
            let last_seq = self.core.last_seq();
            self.ours
                .retain(|signal| signal.seq != last_seq || self.core.is_ended());
            self.settle();
        }
        Ok(())
    }

    fn event(&mut self, event: &Event) {
        self.settle();
        self.events += 1;
        let mut concluded = Concluded(&mut self.ours);
        self.core.take(std::slice::from_ref(event), &mut concluded);
    }

    fn signal(&mut self, theirs: Signal) {
        if theirs.kind == SignalKind::Sent {
            return;
        }
        // What this one said beyond the other stands before the first that both said.
        match self.ours.iter().position(|ours| *ours == theirs) {
            Some(at) => {
                for _ in 0..at {
                    let ours = self.ours.pop_front();
                    self.differ(None, ours);
                }
                self.ours.pop_front();
                self.of(&theirs).equal += 1;
            }
            None => self.differ(Some(theirs), None),
        }
    }

    /// The log has gone on without these.
    fn settle(&mut self) {
        while let Some(ours) = self.ours.pop_front() {
            self.differ(None, Some(ours));
        }
    }

    fn of(&mut self, signal: &Signal) -> &mut Kind {
        self.by_kind.entry(signal.kind.name()).or_default()
    }

    fn differ(&mut self, theirs: Option<Signal>, ours: Option<Signal>) {
        if let Some(theirs) = &theirs {
            self.of(theirs).only_run += 1;
        }
        if let Some(ours) = &ours {
            self.of(ours).only_shadow += 1;
        }
        if self.differences.len() < self.show {
            self.differences.push((theirs, ours));
        }
    }
}

struct Concluded<'a>(&'a mut VecDeque<Signal>);

impl Sink for Concluded<'_> {
    fn event(&mut self, _: &Event) {}

    fn signal(&mut self, signal: &Signal) {
        self.0.push_back(*signal);
    }
}

fn report(shadows: &[Shadow], day: &TradingDay, talk: Talk) -> Result<(), Failure> {
    let mut all: BTreeMap<&str, Kind> = BTreeMap::new();
    for (name, kind) in shadows.iter().flat_map(|shadow| &shadow.by_kind) {
        let sum = all.entry(name).or_default();
        sum.equal += kind.equal;
        sum.only_run += kind.only_run;
        sum.only_shadow += kind.only_shadow;
    }
    let events: u64 = shadows.iter().map(|shadow| shadow.events).sum();
    let differing: u64 = all.values().map(|k| k.only_run + k.only_shadow).sum();
    let words = Words::new(day);
    let describe = |what: &str, shadow: &Shadow, signal: &Signal| {
        let name = String::from_utf8_lossy(shadow.core.name(signal.symbol)).into_owned();
        format!("{what}: {}: {}", name.trim_end(), words.signal(signal))
    };
    let mut shown = Vec::new();
    for shadow in shadows {
        for (theirs, ours) in &shadow.differences {
            shown.extend(theirs.iter().map(|s| describe("only the run", shadow, s)));
            shown.extend(ours.iter().map(|s| describe("only the shadow", shadow, s)));
        }
    }
    if talk.json {
        let kinds: BTreeMap<_, _> = all
            .iter()
            .map(|(name, k)| {
                let Kind {
                    equal,
                    only_run,
                    only_shadow,
                } = k;
                let said =
                    json!({"equal": equal, "only_run": only_run, "only_shadow": only_shadow});
                (name, said)
            })
            .collect();
        let said = json!({
            "schema": "tapeline-shadow/1", "events": events, "signals": kinds, "examples": shown,
        });
        talk.data(&format!("{said}\n"))?;
    } else {
        let mut text = format!(
            "{:<10} {:>12} {:>12} {:>12}\n",
            "", "equal", "only run", "only shadow"
        );
        for (name, kind) in &all {
            text.push_str(&format!(
                "{name:<10} {:>12} {:>12} {:>12}\n",
                count(kind.equal),
                count(kind.only_run),
                count(kind.only_shadow)
            ));
        }
        text.push_str(&format!("{} events\n", count(events)));
        for line in &shown {
            text.push_str(line);
            text.push('\n');
        }
        talk.data(&text)?;
    }
    match differing {
        0 => Ok(()),
        _ => Err(Failure::verification(format!(
            "{} signals differ",
            count(differing)
        ))),
    }
}
