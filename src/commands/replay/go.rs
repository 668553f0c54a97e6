//! A run from its first packet to its results.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Instant;

use bus::Ts;
use bus::clock::MachineClock;
use feed::protocol::Wire;
use feed::source::Capture;
use tapeline::config::Config;
use tapeline::pipeline::{self, Job, Progressed, Stop, Timed};
use tapeline::positions::GoesOn;
use tapeline::run_dir::{self, Manifest, Options, Part, RunDir, State};
use tapeline::session::TradingDay;
use tapeline::term::{Progress, count, short};
use tapeline::venue::Venue;
use tapeline::{results, savepoint};

use super::input::wire;
use super::judge::Run;
use crate::commands::{Failure, Talk, damage};

pub(super) fn manifest(mode: &str, config: &Config, day: &TradingDay, venue: Venue) -> Manifest {
    Manifest {
        schema: run_dir::SCHEMA.into(),
        state: State::Running,
        version: env!("CARGO_PKG_VERSION").into(),
        started: jiff::Timestamp::now().to_string(),
        elapsed_s: 0.0,
        mode: mode.into(),
        inputs: Vec::new(),
        date: day.date.to_string(),
        timezone: day.zone().into(),
        midnight_ns: day.midnight.0,
        unit: venue.unit.into(),
        options: Options::default(),
        config_sha256: run_dir::sha256(config.show().as_bytes()),
        parts: vec![Part {
            shards: config.run.shards,
            ..Part::default()
        }],
        kept_from_ns: None,
        resumed: 0,
        sessions: BTreeMap::new(),
        latch: true,
        addressee: config.orders.addressee(),
        log_backend: String::new(),
        host: run_dir::host(),
        counts: run_dir::Counts::default(),
        lines: Vec::new(),
        gaps: Vec::new(),
        retransmission: None,
        breaches: Default::default(),
        breach_examples: Vec::new(),
        outside: None,
        absent: BTreeMap::new(),
        snapshot: None,
        full: None,
        quarantine: None,
        anomalies: Default::default(),
        anomaly_examples: Vec::new(),
        digest: String::new(),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Replay,
    Resume,
    Live,
    LiveResume,
}

impl Mode {
    fn is_live(self) -> bool {
        matches!(self, Mode::Live | Mode::LiveResume)
    }
}

#[allow(clippy::too_many_arguments)]
pub(super) fn go(
    mut source: Capture,
    dir: RunDir,
    config: Config,
    day: TradingDay,
    manifest: Manifest,
    is_resumed: bool,
    talk: Talk,
    stop: &Stop,
) -> Result<Run, Failure> {
    let clock = MachineClock::new();
    let mode = if is_resumed {
        Mode::Resume
    } else {
        Mode::Replay
    };
    for (full, name) in source.renamed() {
        talk.say(format_args!("{full} is called {name} here"));
    }
    let wire = wire(&mut source, &config)?;
    match pipeline::paced(source, clock.clone(), config.run.speed) {
        Err(source) => finish_run(
            source, wire, &clock, dir, config, day, manifest, mode, None, talk, stop,
        ),
        Ok(paced) => finish_run(
            paced, wire, &clock, dir, config, day, manifest, mode, None, talk, stop,
        ),
    }
}

#[allow(clippy::too_many_arguments)]
pub(super) fn finish_run<S: Timed + Send>(
    source: S,
    wire: Wire,
    clock: &MachineClock,
    dir: RunDir,
    config: Config,
    day: TradingDay,
    manifest: Manifest,
    mode: Mode,
    goes_on: Option<GoesOn>,
    talk: Talk,
    stop: &Stop,
) -> Result<Run, Failure> {
    let options = &manifest.options;
    let job = Job {
        config: &config,
        day: &day,
        dir: &dir,
        from: options.from_ns.map(Ts),
        until: options.to_ns.map(Ts),
        symbols: &options.symbols,
        parts: &manifest.parts,
        resume: matches!(mode, Mode::Resume | Mode::LiveResume),
        is_live: mode.is_live(),
        goes_on,
        wire,
        moved_ns: options.moved_ns,
    };
    let mut progress = Progress::new(talk.quiet);
    let mut last = (Instant::now(), 0u64);
    let outcome = pipeline::run(source, &job, clock, stop, |done: Progressed| {
        progress.show(|| {
            let rate = (done.events - last.1) as f64 / last.0.elapsed().as_secs_f64();
            last = (Instant::now(), done.events);
            let seconds = done.elapsed.as_secs_f64();
            format!(
                "{} events, {} /s, {seconds:.1} s",
                count(done.events),
                short(rate)
            )
        });
    });
    progress.clear();
    let mut outcome = outcome.map_err(|e| match e.is_damage() {
        true if e.is_divergence() && is_config_changed(&dir, &manifest) => Failure::usage(format!(
            "{}: not the settings that the run began with, and they decide what is concluded: put \
             them back ({e})",
            dir.config_path().display()
        )),
        true => damage::refused(e, &dir, &manifest.parts),
        false => Failure::io(format!("{e}; {}", what_is_left(&dir, mode))),
    })?;
    if outcome.is_stopped && mode.is_live() && config.checkpoint.every.0 > 0 {
        match savepoint::checkpoint_all(&job.origin()) {
            Ok(()) => {}
            Err(error) if error.is_damage() => {
                return Err(damage::refused(error, &dir, &manifest.parts));
            }
            // It would have saved time, and nothing else.
            Err(error) => outcome
                .remarks
                .push(format!("no checkpoint of the end: {error}")),
        }
    }
    for example in &mut outcome.reader.examples {
        *example = match mode {
            Mode::Live | Mode::LiveResume => example.replacen(": file 0, packet ", ": packet ", 1),
            Mode::Replay | Mode::Resume => {
                with_name(example, manifest.inputs.iter().map(|input| &*input.path))
            }
        };
    }
    let parts = manifest.parts.clone();
    let results = results::conclude(&dir, &config, &day, &outcome, manifest).map_err(|e| {
        // The results are made from all of the log. What lies before a checkpoint was not read when
        // the run went on from there.
        match damage::find(&dir, &parts) {
            Ok(Some(_)) => damage::refused(e, &dir, &parts),
            Ok(None) | Err(_) => Failure::io(format!("{e}; {}", what_is_left(&dir, mode))),
        }
    })?;
    Ok(Run {
        dir,
        day,
        config,
        outcome,
        results,
    })
}

fn is_config_changed(dir: &RunDir, manifest: &Manifest) -> bool {
    let text = fs::read(dir.config_path()).unwrap_or_default();
    run_dir::sha256(&text) != manifest.config_sha256
}

/// For whoever sees a run fail: what there is, and how it goes on.
fn what_is_left(dir: &RunDir, mode: Mode) -> String {
    let path = dir.path().display();
    let with = match mode.is_live() {
        true => "tapeline run",
        false => "tapeline replay",
    };
    format!("{path} keeps what was done: with that mended, `{with} --resume {path}` goes on")
}

/// The reader counts its files; people know them by name.
pub fn with_name<'a>(example: &str, files: impl Iterator<Item = &'a Path>) -> String {
    for (number, path) in files.enumerate() {
        let counted = format!(": file {number}, packet ");
        if let Some((kind, rest)) = example.split_once(&counted) {
            return format!("{kind}: {}, packet {rest}", path.display());
        }
    }
    example.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_have_the_names_of_their_files() {
        let files = || [Path::new("/a.pcap"), Path::new("/b.pcap")].into_iter();
        assert_eq!(
            with_name(
                "bad_packet: file 1, packet 7 at byte 40: too short",
                files()
            ),
            "bad_packet: /b.pcap, packet 7 at byte 40: too short"
        );
        assert_eq!(with_name("something else", files()), "something else");
    }
}
