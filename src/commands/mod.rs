//! What each command does.

mod bench;
mod book;
mod breaks;
mod config;
mod convert;
mod damage;
mod demo;
mod diff;
mod doctor;
mod fix;
mod inspect;
mod kill;
mod limits;
mod log;
mod ouch;
mod recon;
mod replay;
mod sample;
mod savepoint;
mod series;
mod serve_feed;
mod shadow;
mod slice;
mod verify;
mod words;

use std::fmt;
use std::io::Write;
use std::path::PathBuf;

use bus::log::LogError;
use tapeline::run_dir::Manifest;
use tapeline::session::TradingDay;
use tapeline::shard::ShardError;

use crate::cli::{Cli, Command};

/// Why a command did not do what was asked, with the exit code it ends in.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// The command line or the configuration cannot be used.
    pub fn usage(message: impl fmt::Display) -> Failure {
        Failure {
            code: 2,
            message: message.to_string(),
        }
    }

    /// The input has anomalies that were not to be, or holds nothing.
    pub fn input(message: impl fmt::Display) -> Failure {
        Failure {
            code: 3,
            message: message.to_string(),
        }
    }

    /// The exit code of a comparison or a check that did not hold.
    pub const VERIFICATION: u8 = 4;

    /// A comparison or a check did not hold.
    pub fn verification(message: impl fmt::Display) -> Failure {
        Failure {
            code: Failure::VERIFICATION,
            message: message.to_string(),
        }
    }

    /// Reading or writing failed.
    pub fn io(message: impl fmt::Display) -> Failure {
        Failure {
            code: 5,
            message: message.to_string(),
        }
    }

    /// A log is damaged, or does not fit this program: nothing is skipped, and somebody must decide.
    pub fn damage(message: impl fmt::Display) -> Failure {
        Failure {
            code: 6,
            message: message.to_string(),
        }
    }

    /// A log that cannot be read: damaged, or the machine failed.
    pub fn log(error: LogError) -> Failure {
        match error.is_damage() {
            true => Failure::damage(error),
            false => Failure::io(error),
        }
    }

    /// A shard that cannot be had again from its log, the same.
    pub fn shard(error: ShardError) -> Failure {
        match error.is_damage() {
            true => Failure::damage(error),
            false => Failure::io(error),
        }
    }

    /// A measurement whose figures are not to be used.
    pub fn invalid(message: impl fmt::Display) -> Failure {
        Failure {
            code: 7,
            message: message.to_string(),
        }
    }

    /// A measurement with more load than the pipeline takes.
    pub fn saturated(message: impl fmt::Display) -> Failure {
        Failure {
            code: 8,
            message: message.to_string(),
        }
    }

    /// Stopped by a signal, in order.
    pub fn interrupted(message: impl fmt::Display) -> Failure {
        Failure {
            code: 130,
            message: message.to_string(),
        }
    }

    /// The same, with what it is about in front.
    fn of(self, what: &impl fmt::Display) -> Failure {
        Failure {
            code: self.code,
            message: format!("{what}: {}", self.message),
        }
    }

    /// The process's exit code.
    pub fn code(&self) -> u8 {
        self.code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// How a command talks.
#[derive(Clone, Copy, Debug)]
pub struct Talk {
    /// One JSON object on stdout instead of text.
    pub json: bool,
    /// Nothing on stderr but errors.
    pub quiet: bool,
    /// In which zone's clock times are read and shown; the venue's otherwise.
    pub tz: Option<&'static str>,
}

impl Talk {
    /// A day whose times are read and shown as was asked for.
    pub fn told(self, day: TradingDay) -> Result<TradingDay, Failure> {
        match self.tz {
            Some(zone) => day
                .told_in(zone)
                .map_err(|e| Failure::usage(format!("--tz: {e}"))),
            None => Ok(day),
        }
    }

    /// The day of a run, likewise.
    pub fn day(self, manifest: &Manifest) -> Result<TradingDay, Failure> {
        let day = TradingDay::new(&manifest.date, &manifest.timezone);
        self.told(day.map_err(Failure::usage)?)
    }

    /// A message for people, on stderr.
    pub fn say(self, message: impl fmt::Display) {
        if !self.quiet {
            tapeline::term::complain(message);
        }
    }

    /// Data, on stdout. A reader that is gone (`| head`) is no error.
    pub fn data(self, text: &str) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(Failure::io(format!("stdout: {e}")))
            }
            _ => Ok(()),
        }
    }
}

/// Refuses what cannot be read from its beginning more than once, as most commands do.
pub fn check_regular(files: &[PathBuf]) -> Result<(), Failure> {
    for file in files {
        let about = std::fs::metadata(file);
        if about.is_ok_and(|about| !about.is_file() && !about.is_dir()) {
            return Err(Failure::io(format!(
                "{}: is no regular file, and a capture is read more than once",
                file.display()
            )));
        }
    }
    Ok(())
}

/// Does what the command line asks.
pub fn dispatch(cli: Cli) -> Result<(), Failure> {
    let talk = Talk {
        json: cli.json,
        quiet: cli.quiet,
        // Kept as long as the program runs, so that `Talk` stays two words that are copied.
        tz: cli.tz.map(|zone| &*zone.leak()),
    };
    if let Some(zone) = talk.tz {
        TradingDay::new("2000-01-01", zone).map_err(|e| Failure::usage(format!("--tz: {e}")))?;
    }
    match cli.command {
        Command::Demo(args) => demo::demo(&args, talk),
        Command::Sample(args) => sample::sample(&args, talk),
        Command::Inspect(args) => inspect::inspect(&args, talk),
        Command::Replay(args) => replay::replay(&args, talk),
        Command::Run(args) => replay::run(&args, talk),
        Command::ServeFeed(args) => serve_feed::serve_feed(&args, talk),
        Command::Fix(args) => fix::fix(&args, talk),
        Command::Ouch(args) => ouch::ouch(&args, talk),
        Command::Book(args) => book::book(&args, talk),
        Command::Verify(args) => verify::verify(&args, talk),
        Command::Slice(args) => slice::slice(&args, talk),
        Command::Convert(args) => convert::convert(&args, talk),
        Command::Diff(args) => diff::diff(&args, talk),
        Command::Recon(args) => recon::recon(&args, talk),
        Command::Kill(args) => kill::kill(&args, talk),
        Command::Unkill(args) => kill::unkill(&args, talk),
        Command::Limits(args) => limits::limits(&args, talk),
        Command::Savepoint(args) => savepoint::savepoint(&args, talk),
        Command::Shadow(args) => shadow::shadow(&args, talk),
        Command::Log(args) => log::log(&args, talk),
        Command::Bench(args) => bench::bench(&args, talk),
        Command::Config(args) => config::config(&args, talk),
        Command::Doctor(args) => doctor::doctor(&args, talk),
    }
}
