//! `tapeline replay`, and what it has in common with `tapeline run`

mod go;
mod input;
mod judge;
mod live;
mod resume;

use std::path::{Path, PathBuf};

use tapeline::config::{Config, Depth, OrderMode, Speed};
use tapeline::pipeline::{self, Stop};
use tapeline::reference::Reference;
use tapeline::run_dir::{Manifest, Options, RunDir};
use tapeline::series::Series;
use tapeline::session::TradingDay;

pub use self::go::with_name;
use self::go::{go, manifest};
pub use self::input::{check_together, day_said, first_day, open, trading_day, wire};
use self::input::{inputs, venue};
pub use self::judge::{Run, header_only, not_recognised};
pub use self::live::run;
pub use self::resume::resume;
use super::{Failure, Talk, breaks, series};
use crate::cli;

pub fn replay(args: &cli::Replay, talk: Talk) -> Result<(), Failure> {
    let stop = pipeline::watch_signals().map_err(Failure::io)?;
    if let Some(condition) = &args.break_at {
        return breaks::watch(args, condition, talk, &stop);
    }
    let run = match &args.resume {
        Some(path) if Series::is_at(path) => return series::resume(path, args, talk, &stop),
        Some(path) => match resume(path, args, talk, &stop)? {
            Some(run) => run,
            None => return Ok(()),
        },
        None if args.days || args.rounds.is_some() => {
            return series::start(args, talk, &stop);
        }
        None => replay_plan(plan(args)?, talk, &stop)?,
    };
    run.report(args.strict, talk)
}

/// What to replay, after command line and configuration are one.
pub struct Plan {
    pub files: Vec<PathBuf>,
    pub output: PathBuf,
    pub config: Config,
    /// Where the configuration was read, if it is of a file.
    pub settings: Option<PathBuf>,
    pub options: PlanOptions,
    /// As which day, where that is known.
    pub day: Option<MovedDay>,
}

/// As which day an input is taken.
#[derive(Clone, Debug)]
pub struct MovedDay {
    /// The day that it is of.
    pub own: TradingDay,
    /// So many days later.
    pub days: u32,
}

/// What is asked beyond the configuration.
#[derive(Clone, Debug, Default)]
pub struct PlanOptions {
    pub symbols: Vec<String>,
    pub from: Option<String>,
    pub to: Option<String>,
    /// In which zone's clock the two are, where it is not the command line's.
    pub tz: Option<String>,
}

/// The speed that the command line asks for, where it asks for one.
pub fn speed(args: &cli::Replay) -> Result<Option<Speed>, Failure> {
    match (args.rate, args.speed) {
        (None, speed) => Ok(speed),
        (Some(rate), None | Some(Speed::Max)) => Ok(Some(Speed::Rate(rate))),
        (Some(rate), Some(speed)) => Err(Failure::usage(format!(
            "--rate {rate} and --speed {speed} are two paces: want one of them"
        ))),
    }
}

/// The settings that the command line asks for.
pub fn settings(args: &cli::Replay) -> Result<Config, Failure> {
    let mut config = match &args.config {
        Some(path) => Config::read(path).map_err(Failure::usage)?,
        None => Config::default(),
    };
    if let Some(shards) = args.shards {
        config.run.shards = shards;
        config.run.cpus.clear();
    }
    if !args.cpus.is_empty() {
        config.run.cpus.clone_from(&args.cpus);
    }
    if let Some(speed) = speed(args)? {
        config.run.speed = speed;
    }
    if let Some(date) = &args.date {
        config.source.date = Some(date.clone());
    }
    if args.protocol.is_some() {
        config.source.protocol.clone_from(&args.protocol);
    }
    config.check().map_err(Failure::usage)?;
    let settings = args.config.as_deref();
    config.models.load(settings).map_err(Failure::usage)?;
    Ok(config)
}

/// Says which models take longer here than they may; refuses a new run where that is wanted.
fn pace(config: &Config, settings: Option<&Path>, is_new: bool, talk: Talk) -> Result<(), Failure> {
    for (said, refuses) in config.models.pace(settings).map_err(Failure::usage)? {
        if refuses && is_new {
            return Err(Failure::usage(said));
        }
        talk.say(said);
    }
    Ok(())
}

/// What the command line asks for.
pub fn plan(args: &cli::Replay) -> Result<Plan, Failure> {
    let mut config = settings(args)?;
    aim(&mut config, args.mode, &args.confirm)?;
    if args.files.is_empty() {
        return Err(Failure::usage(
            "which captures? `tapeline replay FILE... -o runs/r1`",
        ));
    }
    let output = args
        .output
        .clone()
        .ok_or_else(|| Failure::usage("where to? name a run directory with -o runs/r1"))?;
    let options = PlanOptions {
        symbols: symbols(args)?,
        from: args.from.clone(),
        to: args.to.clone(),
        tz: None,
    };
    at_rest(&mut config)?;
    config.check_logins(false).map_err(Failure::usage)?;
    Ok(Plan {
        files: args.files.clone(),
        output,
        config,
        settings: args.config.clone(),
        options,
        day: None,
    })
}

/// The symbols that were asked for.
pub fn symbols(args: &cli::Replay) -> Result<Vec<String>, Failure> {
    args.symbols.iter().map(|name| symbol(name)).collect()
}

/// A symbol's name as exchanges write it.
pub fn symbol(text: &str) -> Result<String, Failure> {
    let name = text.trim().to_ascii_uppercase();
    if name.is_empty() {
        return Err(Failure::usage("--symbols has an empty name"));
    }
    Ok(name)
}

/// Replays captures into a new run directory.
pub fn replay_plan(plan: Plan, talk: Talk, stop: &Stop) -> Result<Run, Failure> {
    let Plan {
        files,
        output,
        mut config,
        settings,
        options,
        day,
    } = plan;
    super::check_regular(&files)?;
    let mut source = open(&files, &config)?;
    let wire = wire(&mut source, &config)?;
    let has_queues = config.book.depth == Depth::L3;
    config.orders.see(wire, has_queues);
    let venue = venue(&source, wire);
    let (own, day) = match day {
        Some(MovedDay { own, days }) => {
            let day = own.later(days).map_err(Failure::usage)?;
            (own, day)
        }
        None => {
            let day = trading_day(&files, &config, talk)?;
            (day.clone(), day)
        }
    };
    let moved_ns = day.midnight.since(own.midnight);
    let told = match &options.tz {
        Some(zone) => own.told_in(zone).map_err(Failure::usage)?,
        None => talk.told(own)?,
    };
    let time = |text: &Option<String>| {
        text.as_ref()
            .map(|text| told.parse(text).map(|ts| ts.plus_ns(moved_ns)))
            .transpose()
            .map_err(Failure::usage)
    };
    let (from, until) = (time(&options.from)?, time(&options.to)?);
    if let (Some(from), Some(until)) = (from, until)
        && from > until
    {
        return Err(Failure::usage("--from is after --to"));
    }
    let reference = reference(&config)?;
    let inputs = inputs(&files, &source)?;
    check_together(&source, wire, &files, &config)?;
    pace(&config, settings.as_deref(), true, talk)?;
    let dir = RunDir::create(&output).map_err(Failure::usage)?;
    let mut manifest = manifest("replay", &config, &day, venue);
    manifest.inputs = inputs;
    manifest.options = Options {
        symbols: options.symbols,
        from_ns: from.map(|ts| ts.0),
        to_ns: until.map(|ts| ts.0),
        moved_ns,
    };
    begin(&dir, &config, reference.as_deref(), &manifest)?;
    go(source, dir, config, day, manifest, false, talk, stop)
}

/// The reference data that the configuration names, as they stand in their file, once they are
/// seen to be good.
pub fn reference(config: &Config) -> Result<Option<Vec<u8>>, Failure> {
    let path = config.source.reference.as_deref();
    path.map(|path| Reference::read(path).map(|(_, bytes)| bytes))
        .transpose()
        .map_err(Failure::usage)
}

/// What a new run's directory holds before anything is sent; the manifest last.
fn begin(
    dir: &RunDir,
    config: &Config,
    reference: Option<&[u8]>,
    manifest: &Manifest,
) -> Result<(), Failure> {
    let write = || {
        dir.write_config(config)?;
        if let Some(bytes) = reference {
            dir.write_whole("reference.csv", bytes)?;
        }
        dir.make_latch()?;
        dir.make_limits(&config.risk)?;
        dir.write_manifest(manifest)
    };
    write().map_err(Failure::io)
}

/// Who gets orders, as the settings and the command line say together.
fn aim(config: &mut Config, mode: Option<OrderMode>, confirmed: &[String]) -> Result<(), Failure> {
    let said = config.orders.mode;
    if let (Some(said @ (OrderMode::Shadow | OrderMode::Paper)), Some(OrderMode::Live)) =
        (said, mode)
    {
        let name = match said {
            OrderMode::Paper => "paper",
            OrderMode::Shadow | OrderMode::Live => "shadow",
        };
        return Err(Failure::usage(format!(
            "orders.mode is `{name}`, and --mode live would send orders: change the settings"
        )));
    }
    config.orders.mode = mode.or(said);
    // When a counterparty says something depends on luck, and what is decided may not.
    if config.orders.mode != Some(OrderMode::Paper)
        && let Some(name) = config.strategies.told()
    {
        return Err(Failure::usage(format!(
            "strategies.{name} has to see its fills, which only a simulated venue tells it: want \
             orders.mode or --mode `paper`"
        )));
    }
    if config.orders.mode == Some(OrderMode::Paper) && config.risk.throttle.is_some() {
        return Err(Failure::usage(
            "risk.throttle: holds orders back by the machine's time, and the simulated venue of the mode \
             `paper` would fill them all the same: want none there; risk.orders_per_second counts in event \
             time",
        ));
    }
    match config.orders.mode {
        None if confirmed.is_empty() => Ok(()),
        Some(mode @ (OrderMode::Shadow | OrderMode::Paper)) if confirmed.is_empty() => {
            config.orders.unwired(mode);
            Ok(())
        }
        None | Some(OrderMode::Shadow | OrderMode::Paper) => Err(Failure::usage(
            "--confirm goes with orders.mode or --mode `live`",
        )),
        Some(OrderMode::Live) => {
            let mut there = config.orders.counterparties(config.run.shards);
            let mut named = confirmed.to_vec();
            there.sort();
            named.sort();
            if there.is_empty() {
                return Err(Failure::usage(
                    "the mode is `live`, but there is no orders.fix, orders.ouch or orders.tcp for orders to go to",
                ));
            }
            if there != named {
                let there = there.join(" --confirm ");
                let named = match named.is_empty() {
                    true => "nothing is confirmed".into(),
                    false => format!("confirmed is {}", named.join(", ")),
                };
                return Err(Failure::usage(format!(
                    "the mode is `live`, and {named}; want --confirm {there}"
                )));
            }
            Ok(())
        }
    }
}

/// Makes the configuration's paths absolute: a run can be resumed from anywhere, and must find its
/// kill file there.
fn at_rest(config: &mut Config) -> Result<(), Failure> {
    if let Some(path) = &mut config.risk.kill_file {
        *path = std::path::absolute(&*path)
            .map_err(|e| Failure::usage(format!("risk.kill_file: {}: {e}", path.display())))?;
        if path.to_str().is_none() {
            let path = path.display();
            return Err(Failure::usage(format!("risk.kill_file: {path}: not UTF-8")));
        }
    }
    Ok(())
}
