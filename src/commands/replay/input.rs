//! Captures: what they are of, and of which day.

use std::path::{Path, PathBuf};

use bus::Ts;
use feed::protocol::Wire;
use feed::source::{Capture, CaptureOptions, Polled, Source};
use tapeline::config::{Config, Speed};
use tapeline::run_dir::{self, Input};
use tapeline::session::{TradingDay, date_in_name};
use tapeline::venue::Venue;

use crate::commands::{Failure, Talk};

/// The trading date of captures that say none.
const UNDATED: &str = "2000-01-01";

pub fn open(files: &[PathBuf], config: &Config) -> Result<Capture, Failure> {
    Capture::open(files, capture_options(files, config)).map_err(Failure::io)
}

/// Refuses files that are not of one input: what one says would be taken for what another says, or be said twice.
pub fn check_together(
    source: &Capture,
    wire: Wire,
    files: &[PathBuf],
    config: &Config,
) -> Result<(), Failure> {
    let options = capture_options(files, config);
    let checked = source.check_together(wire, files, &options);
    checked.map_err(Failure::usage)
}

fn capture_options(files: &[PathBuf], config: &Config) -> CaptureOptions {
    let ports = (!config.source.ports.is_empty()).then(|| config.source.ports.clone());
    // At a pace, each message of an ITCH file has its own time; among several files, its own
    // place, which must be the same at any pace.
    let itch_messages_max = match config.run.speed {
        Speed::Max if files.len() == 1 => CaptureOptions::default().itch_messages_max,
        Speed::Max | Speed::Times(_) | Speed::Rate(_) => 1,
    };
    CaptureOptions {
        ports,
        itch_messages_max,
        ..CaptureOptions::default()
    }
}

/// The protocol of captures: the configured one, else that in which they begin.
pub fn wire(source: &mut Capture, config: &Config) -> Result<Wire, Failure> {
    match &config.source.protocol {
        Some(name) => {
            let wire = Wire::named(name).expect("the configuration was checked");
            source.check_protocol(wire).map_err(Failure::usage)?;
            Ok(wire)
        }
        None => source.wire().map_err(Failure::input),
    }
}

/// Where the captures are from.
pub(super) fn venue(source: &Capture, wire: Wire) -> Venue {
    let mut datasets = source
        .files()
        .iter()
        .filter_map(|file| file.dataset.as_deref());
    Venue::of(wire, datasets.next())
}

/// The configured date, else that from which on a file says to have its data, else that of the
/// first capture time, else that in a file's name. Captures of several days are refused where no date
/// is configured: in one session one day's books would stand in the next one's.
pub fn trading_day(files: &[PathBuf], config: &Config, talk: Talk) -> Result<TradingDay, Failure> {
    let first = First::of(files, config)?;
    let timezone = config.source.zone(first.venue);
    let day = first.day(files, config).transpose();
    let Some(day) = day.map_err(Failure::usage)? else {
        talk.say(format_args!(
            "neither the input nor its name says the trading date; {UNDATED} stands in for it \
             (--date or source.date says it)"
        ));
        return TradingDay::new(UNDATED, timezone).map_err(Failure::usage);
    };
    if files.len() == 1 || config.source.date.is_some() {
        return Ok(day);
    }
    let mut before: Option<(&Path, jiff::civil::Date)> = None;
    for (index, file) in files.iter().enumerate() {
        let own = match first.starts[index] {
            // Opened once: some files are read as a whole for that.
            Some(start) => Some(first.day_at(start, timezone).map_err(Failure::usage)?),
            None => day_said(std::slice::from_ref(file), config)?,
        };
        let Some(own) = own else { continue };
        let (other, date) = *before.get_or_insert((file.as_path(), own.date));
        if date != own.date {
            return Err(Failure::usage(format!(
                "{} is of {date}, and {} of {}: --days makes a run of each day, and --date (or \
                 source.date) one session of all, of that date",
                other.display(),
                file.display(),
                own.date
            )));
        }
    }
    Ok(day)
}

/// The same of captures that are only looked at: the first day of several, a stand-in for none.
pub fn first_day(files: &[PathBuf], config: &Config) -> Result<TradingDay, Failure> {
    let first = First::of(files, config)?;
    let undated = || TradingDay::new(UNDATED, config.source.zone(first.venue));
    first
        .day(files, config)
        .unwrap_or_else(undated)
        .map_err(Failure::usage)
}

/// The same, where anything says it, whatever other captures say.
pub fn day_said(files: &[PathBuf], config: &Config) -> Result<Option<TradingDay>, Failure> {
    let day = First::of(files, config)?.day(files, config);
    day.transpose().map_err(Failure::usage)
}

/// How captures begin.
struct First {
    wire: Wire,
    venue: Venue,
    /// When the data of each file begin, where it says so.
    starts: Vec<Option<Ts>>,
    /// When the first packet was captured, where no file says more.
    captured: Option<Ts>,
}

impl First {
    fn of(files: &[PathBuf], config: &Config) -> Result<First, Failure> {
        let options = CaptureOptions {
            decompress_ahead: false,
            ..CaptureOptions::default()
        };
        let mut source = Capture::open(files, options).map_err(Failure::io)?;
        let wire = wire(&mut source, config)?;
        let mut first = First {
            wire,
            venue: venue(&source, wire),
            starts: source.files().iter().map(|file| file.start).collect(),
            captured: None,
        };
        if first.starts.iter().any(Option::is_some) {
            return Ok(first);
        }
        loop {
            match source.poll().map_err(Failure::io)? {
                Polled::Packet(packet) if packet.ts_recv.is_some() => {
                    first.captured = packet.ts_recv;
                    return Ok(first);
                }
                Polled::Packet(_) | Polled::Empty | Polled::Trouble(_) => {}
                Polled::End => return Ok(first),
            }
        }
    }

    fn day(&self, files: &[PathBuf], config: &Config) -> Option<Result<TradingDay, String>> {
        let timezone = config.source.zone(self.venue);
        if let Some(date) = &config.source.date {
            return Some(TradingDay::new(date, timezone));
        }
        if let Some(start) = self.starts.iter().find_map(|start| *start) {
            return Some(self.day_at(start, timezone));
        }
        if let Some(ts) = self.captured {
            return Some(TradingDay::at(ts, timezone));
        }
        let named = files.iter().find_map(|file| date_in_name(file));
        named.map(|date| TradingDay::new(&date, timezone))
    }

    /// The day of data that a file says to begin then.
    fn day_at(&self, start: Ts, timezone: &str) -> Result<TradingDay, String> {
        if self.wire.is_crypto() {
            return TradingDay::at(start, timezone);
        }
        // Days of such files are those of UTC.
        let day = TradingDay::at(start, "UTC")?;
        TradingDay::new(&day.date.to_string(), timezone)
    }
}

pub(super) fn inputs(files: &[PathBuf], source: &Capture) -> Result<Vec<Input>, Failure> {
    let hashed = files.iter().zip(source.files());
    hashed
        .map(|(path, info)| {
            let fail = |e| Failure::io(format!("{}: {e}", path.display()));
            let (sha256, bytes) = run_dir::sha256_file(path).map_err(fail)?;
            let format = format!("{}, {}", info.format.name(), info.compression.name());
            // Absolute, so that a run can be resumed from anywhere.
            let path = path.canonicalize().map_err(fail)?;
            if path.to_str().is_none() {
                return Err(Failure::usage(format!(
                    "{}: the path is not UTF-8, which a run's manifest is: rename it",
                    path.display()
                )));
            }
            Ok(Input {
                path,
                bytes,
                sha256,
                format,
            })
        })
        .collect()
}
