//! From the command line to a tape, a configuration and a directory.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tapeline::config::{Config, Span};
use tapeline::lab::report::{Input, Load, Report};
use tapeline::lab::tape::{Pacing, Sample, Tape};
use tapeline::lab::units::Rate;
use tapeline::run_dir;
use tapeline::session::TradingDay;
use tapeline::term::count;
use tapeline::venue::Venue;

use super::super::replay;
use super::super::{Failure, Talk};
use crate::cli;

/// Messages that a session is made of at most where none is given.
const MESSAGES_MAX: f64 = 12e6;

/// All that a measurement needs.
pub struct Setup {
    pub config: Config,
    pub day: TradingDay,
    pub tape: Tape,
    pub input: Input,
    pub dir: PathBuf,
}

/// How long a span of the command line is.
pub fn duration(span: Span) -> Duration {
    Duration::from_nanos(span.0.max(0) as u64)
}

impl Setup {
    /// Reads or makes what is to be played. A session that is made passes, at `rate`, as fast as
    /// the clock, for `seconds` if that is not too much to hold in memory.
    pub fn new(
        kind: &str,
        played: &cli::Played,
        rate: Rate,
        seconds: f64,
        talk: Talk,
    ) -> Result<Setup, Failure> {
        let mut config = match &played.config {
            Some(path) => Config::read(path).map_err(Failure::usage)?,
            None => Config::default(),
        };
        if let Some(shards) = played.shards {
            config.run.shards = shards;
            config.run.cpus.clear();
        }
        if let Some(model) = played.model {
            config.run.model = model;
            config.run.cpus.clear();
        }
        if let Some(durability) = played.durability {
            config.log.durability = durability;
        }
        if !played.cpus.is_empty() {
            config.run.cpus.clone_from(&played.cpus);
        }
        // At another pace than the recorded one, arrivals do not say how far event time may leap.
        config.time.max_future = Span(86_400_000_000_000);
        config.check().map_err(Failure::usage)?;
        config
            .models
            .load(played.config.as_deref())
            .map_err(Failure::usage)?;
        let (day, tape, what) = match played.input.is_empty() {
            true => make(played, &config, rate, seconds, talk)?,
            false => read(played, &config, talk)?,
        };
        let input = Input {
            what,
            sha256: tape.sha256(),
            messages: tape.messages,
            packets: tape.packets() as u64,
        };
        let dir = output(kind, played.output.as_deref())?;
        run_dir::write_config(&dir, &config).map_err(Failure::io)?;
        Ok(Setup {
            config,
            day,
            tape,
            input,
            dir,
        })
    }

    /// Where the runs lie while they run.
    pub fn folder(&self) -> PathBuf {
        self.dir.join("running")
    }

    /// A report that says what is played.
    pub fn report(&self, kind: &str) -> Report {
        let mut report = Report::begin(kind, vec![command_line()]);
        report.input = self.input.clone();
        report.load = Load {
            shards: self.config.run.shards,
            model: self.config.run.model.name().into(),
            durability: self.config.log.durability.name().into(),
            ..Load::default()
        };
        report
    }
}

/// This process's command line, as a shell would take it.
pub fn command_line() -> String {
    let quote = |word: String| match word
        .chars()
        .all(|c| c.is_alphanumeric() || "-_./=,:@%+".contains(c))
    {
        true if !word.is_empty() => word,
        _ => format!("'{}'", word.replace('\'', "'\\''")),
    };
    let words = std::env::args().skip(1).map(quote);
    let words: Vec<String> = std::iter::once("tapeline".into()).chain(words).collect();
    words.join(" ")
}

/// An empty directory for results.
pub fn output(kind: &str, path: Option<&Path>) -> Result<PathBuf, Failure> {
    let path = path.map_or_else(
        || {
            let stamp = jiff::Zoned::now().strftime("%Y%m%d-%H%M%S");
            Path::new("results").join(format!("{kind}-{stamp}"))
        },
        Path::to_path_buf,
    );
    let fail = |e: std::io::Error| Failure::usage(format!("{}: {e}", path.display()));
    std::fs::create_dir_all(&path).map_err(fail)?;
    if std::fs::read_dir(&path).map_err(fail)?.next().is_some() {
        let what = format!("{}: not empty, want a new directory", path.display());
        return Err(Failure::usage(what));
    }
    Ok(path)
}

type Played = (TradingDay, Tape, String);

fn make(
    played: &cli::Played,
    config: &Config,
    rate: Rate,
    seconds: f64,
    talk: Talk,
) -> Result<Played, Failure> {
    let day = TradingDay::new(
        "2026-01-05",
        config
            .source
            .zone(Venue::of(feed::protocol::Wire::Itch, None)),
    )
    .map_err(Failure::usage)?;
    let rate = rate.0.clamp(100.0, 20e6);
    let sample = Sample {
        symbols: played.symbols,
        seed: played.seed,
        seconds: seconds.min(MESSAGES_MAX / rate).ceil().clamp(1.0, 23_400.0) as u32,
        rate: rate as u32,
    };
    let tape = Tape::make(&sample, day.midnight).map_err(Failure::usage)?;
    talk.say(format_args!(
        "made a session of {} messages, {} symbols, seed {}",
        count(tape.messages),
        count(u64::from(sample.symbols)),
        sample.seed
    ));
    let what = format!(
        "made session, {} symbols, seed {}",
        count(u64::from(sample.symbols)),
        sample.seed
    );
    Ok((day, tape, what))
}

fn read(played: &cli::Played, config: &Config, talk: Talk) -> Result<Played, Failure> {
    let day = replay::trading_day(&played.input, config, talk)?;
    let mut source = replay::open(&played.input, config)?;
    let wire = replay::wire(&mut source, config)?;
    replay::check_together(&source, wire, &played.input, config)?;
    drop(source);
    let ports = (!config.source.ports.is_empty()).then(|| config.source.ports.clone());
    let tape = Tape::read(&played.input, ports, day.midnight).map_err(Failure::io)?;
    if tape.is_cut {
        talk.say(format_args!(
            "the input is larger than what is held in memory: its first {} messages are played",
            count(tape.messages)
        ));
    }
    let name = |path: &PathBuf| {
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        name.unwrap_or_else(|| path.display().to_string())
    };
    let names: Vec<String> = played.input.iter().map(name).collect();
    Ok((day, tape, names.join(" and ")))
}

/// How often batches are stamped, unless somebody said: always where there is time for it.
pub fn stamp_every(played: &cli::Played, rate: f64) -> u32 {
    match played.stamp_every {
        Some(every) => every.max(1),
        None if rate <= 300e3 => 1,
        None if rate <= 1e6 => 4,
        None => 32,
    }
}

/// How a schedule is called.
pub fn pacing_name(pacing: Pacing, tape: &Tape) -> String {
    match pacing {
        Pacing::Rate(rate) => format!("{rate}, evenly"),
        Pacing::Recorded(times) => {
            format!("{times}x the recorded pace, {} on average", rate_of(tape))
        }
    }
}

/// Messages a second, on average.
pub fn rate_of(tape: &Tape) -> Rate {
    Rate(tape.messages as f64 / (tape.length_ns.max(1) as f64 / 1e9))
}
