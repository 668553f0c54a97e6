//! `tapeline replay` and `tapeline run`

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use bus::clock::{Clock, MachineClock};
use bus::state::Versions;
use bus::{Anomaly, Ts};
use feed::protocol::Wire;
use feed::source::multicast::{Multicast, MulticastLine, MulticastOptions};
use feed::source::{Capture, CaptureOptions, Network, Polled, Soup, Source};
use tapeline::config::{Config, Depth, InDoubt, OrderMode, Speed, absent_text, soup};
use tapeline::pipeline::{self, Job, Live, Outcome, Progressed, Stop, Timed};
use tapeline::positions::{self, GoesOn};
use tapeline::reference::Reference;
use tapeline::results::{self, Results};
use tapeline::run_dir::{self, Input, Manifest, Options, Part, RunDir, State};
use tapeline::savepoint::{self, Origin, Savepoint};
use tapeline::series::Series;
use tapeline::session::{TradingDay, date_in_name};
use tapeline::summary;
use tapeline::term::{Progress, count, short};
use tapeline::venue::Venue;

use super::{Failure, Talk, breaks, damage, series};
use crate::cli;

/// The trading date of captures that say none.
const UNDATED: &str = "2000-01-01";

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

/// A replay that came to its end.
pub struct Run {
    pub dir: RunDir,
    pub day: TradingDay,
    pub config: Config,
    pub outcome: Outcome,
    pub results: Results,
}

impl Run {
    /// Whether nothing in the captures said which protocol they are in.
    fn is_taken_for_itch(&self) -> bool {
        let inputs = self.results.manifest.inputs.iter();
        let files: Vec<PathBuf> = inputs.map(|input| input.path.clone()).collect();
        let capture = Capture::open(&files, CaptureOptions::default());
        capture.is_ok_and(|mut capture| matches!(capture.wire(), Ok(Wire::Itch)))
    }

    fn report(&self, is_strict: bool, talk: Talk) -> Result<(), Failure> {
        for remark in &self.outcome.remarks {
            talk.say(remark);
        }
        if talk.json {
            let text = serde_json::to_string(&self.results.manifest).expect("always JSON");
            talk.data(&format!("{text}\n"))?;
        } else {
            talk.data(&summary::text(
                &self.dir,
                &talk.told(self.day.clone())?,
                &self.config,
                &self.outcome,
                &self.results,
            ))?;
        }
        let manifest = &self.results.manifest;
        // Of a replay that was stopped they may come yet.
        if manifest.state == State::Complete || manifest.mode == "live" {
            absent_text(&manifest.absent)
                .iter()
                .for_each(|line| talk.say(line));
        }
        self.judge(is_strict, talk)?;
        self.check_symbols()
    }

    /// Whether a symbol that was asked for was not met.
    fn check_symbols(&self) -> Result<(), Failure> {
        let met = |name: &String| self.results.symbols.iter().any(|s| s.symbol == *name);
        let wanted = &self.results.manifest.options.symbols;
        match wanted.iter().find(|name| !met(name)) {
            Some(name) => Err(Failure::input(format!(
                "{name}: no such symbol in the input"
            ))),
            None => Ok(()),
        }
    }

    /// What of the run is a failure.
    pub fn judge(&self, is_strict: bool, talk: Talk) -> Result<(), Failure> {
        let manifest = &self.results.manifest;
        let reader = &self.outcome.reader;
        if let Some(outside) = &manifest.outside {
            talk.say(outside);
        }
        if self.outcome.is_stopped {
            // A replay that was stopped can go on, and is judged at its end. A live run, whose feed may
            // not say its end, has no other one.
            if let Some(wrong) = wrong(manifest).filter(|_| manifest.mode == "live") {
                let none = match reader.messages {
                    0 => "no message of the feed was found in the input: ",
                    _ => "",
                };
                if is_strict {
                    return Err(Failure::input(format!(
                        "anomalies in the input: {none}{wrong}"
                    )));
                }
                talk.say(format_args!("wrong with the input: {none}{wrong}"));
            }
            return Err(Failure::interrupted(format!(
                "stopped by a signal; {} holds what was done",
                self.dir.path().display()
            )));
        }
        if let Some(example) = manifest.breach_examples.first() {
            let kinds = manifest.breaches.iter();
            let kinds: Vec<String> = kinds
                .map(|(name, n)| format!("{name} {}", count(*n)))
                .collect();
            return Err(Failure::verification(format!(
                "books are not what they must be: {}; {example}",
                kinds.join(", ")
            )));
        }
        let refused = [Anomaly::UnknownType, Anomaly::BadLength, Anomaly::BadField];
        let kinds = reader.anomalies.iter();
        let refused: u64 = kinds
            .filter(|(anomaly, _)| refused.contains(anomaly))
            .map(|(_, count)| count)
            .sum();
        // Another dialect in the same packets is as little of a session as other packets.
        if reader.messages == refused {
            let found = "no message of the feed was found in the input";
            let Some(wrong) = wrong(manifest) else {
                let headers = header_only(
                    (manifest.inputs.iter()).map(|input| (&*input.path, &*input.format)),
                );
                return Err(Failure::input(format!("{found}{headers}")));
            };
            let hint = match self.config.source.protocol {
                None if self.is_taken_for_itch() => format!("; {}", not_recognised()),
                _ => String::new(),
            };
            return Err(Failure::input(format!("{found}: {wrong}{hint}")));
        }
        if reader.unread > 0 {
            let wrong = wrong(manifest).unwrap_or_default();
            return Err(Failure::io(format!(
                "part of the input was not read: {wrong}"
            )));
        }
        match wrong(manifest) {
            Some(wrong) if is_strict => {
                Err(Failure::input(format!("anomalies in the input: {wrong}")))
            }
            Some(wrong) => {
                talk.say(format_args!("wrong with the input: {wrong}"));
                Ok(())
            }
            None => Ok(()),
        }
    }
}

/// That files were known by the header of their columns, and nothing stands behind it; of files in which nothing is
/// wrong and no message was found.
pub fn header_only<'a>(files: impl Iterator<Item = (&'a Path, &'a str)>) -> String {
    let tables = files.filter(|(_, format)| format.contains(" CSV"));
    let names: Vec<String> = tables.map(|(path, _)| path.display().to_string()).collect();
    match names.is_empty() {
        true => String::new(),
        false => format!(
            ": {}: columns are named, and no row follows",
            names.join(", ")
        ),
    }
}

/// For captures in which nothing was found of the protocol that they were taken for.
pub fn not_recognised() -> String {
    let known = Wire::ALL.map(Wire::name).join(", ");
    format!("the protocol was not recognised; known are {known} (--protocol says which)")
}

/// What was wrong with the input in one line, with the first place that is known.
fn wrong(manifest: &Manifest) -> Option<String> {
    if manifest.anomalies.is_empty() {
        return None;
    }
    let kinds: Vec<String> = manifest
        .anomalies
        .iter()
        .map(|(name, n)| format!("{name} {}", count(*n)))
        .collect();
    let mut kinds = kinds.join(", ");
    if let Some(full) = &manifest.full {
        kinds = format!("{kinds} ({})", full.text());
    }
    let examples = &manifest.anomaly_examples;
    let first = examples.first();
    // Where a file is cut, or cannot be read on from, comes last and is told all the same.
    let mut troubles = examples.iter().filter(|text| text.starts_with("trouble"));
    let trouble = troubles.next().filter(|trouble| Some(*trouble) != first);
    let told = first.into_iter().chain(trouble);
    Some(told.fold(kinds, |said, example| format!("{said}; {example}")))
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

/// A run that is to go on.
struct Resumed {
    dir: RunDir,
    manifest: Manifest,
    config: Config,
    day: TradingDay,
    goes_on: Option<GoesOn>,
}

/// What may be changed where a run goes on.
struct Changes<'a> {
    shards: Option<usize>,
    cpus: &'a [usize],
    speed: Option<Speed>,
    in_doubt: Option<InDoubt>,
    mode: Option<OrderMode>,
    confirmed: &'a [String],
}

/// Opens a run to go on with it; `None` if there is nothing to go on with, because it is complete.
fn reopen(
    path: &Path,
    mode: &str,
    changes: &Changes<'_>,
    talk: Talk,
) -> Result<Option<Resumed>, Failure> {
    let (dir, mut manifest) = RunDir::open(path).map_err(Failure::usage)?;
    if manifest.mode != mode {
        let (what, with) = match mode {
            "live" => ("a replay", "tapeline replay"),
            _ => ("a live run", "tapeline run"),
        };
        let path = path.display();
        return Err(Failure::usage(format!(
            "{path}: {what}; {with} --resume goes on with it"
        )));
    }
    if manifest.state == State::Complete {
        // What was made of its logs is there, and nothing reads them to go on.
        damage::check(&dir, &manifest)?;
        talk.say(format_args!("{}: the run is complete", path.display()));
        return Ok(None);
    }
    let mut config = dir.read_config().map_err(Failure::usage)?;
    let last = manifest.parts.last().expect("a run has a part");
    dir.check_logs(manifest.parts.len() - 1, last.shards)
        .map_err(|e| damage::refused(e, &dir, &manifest.parts))?;
    let shards = changes.shards.unwrap_or(last.shards);
    if shards != config.run.shards {
        config.run.shards = shards;
        config.run.cpus.clear();
    }
    if !changes.cpus.is_empty() {
        config.run.cpus = changes.cpus.to_vec();
    }
    config.run.speed = changes.speed.unwrap_or(config.run.speed);
    config.orders.in_doubt = changes.in_doubt.unwrap_or(config.orders.in_doubt);
    // What may be out already was meant for whom it was meant for.
    if changes.mode.is_some() && changes.mode != config.orders.mode {
        return Err(Failure::usage(
            "--mode: a run goes on in the mode that it began in",
        ));
    }
    aim(&mut config, changes.mode, changes.confirmed)?;
    config.check().map_err(Failure::usage)?;
    let settings = dir.config_path();
    let settings = Some(settings.as_path());
    config.models.load(settings).map_err(Failure::usage)?;
    pace(&config, settings, false, talk)?;
    let addressee = config.orders.addressee();
    if !manifest.addressee.is_empty() && manifest.addressee != addressee {
        return Err(Failure::usage(format!(
            "{}: orders are from {addressee} now, and the run began with {}: what may be out already was \
             meant for whom it was meant for; put mode, sender, target, fix and tcp of [orders] back",
            dir.config_path().display(),
            manifest.addressee
        )));
    }
    let day = TradingDay::new(&manifest.date, &manifest.timezone).map_err(Failure::usage)?;
    let parts = manifest.parts.clone();
    let origin = Origin {
        dir: &dir,
        parts: &parts,
        config: &config,
        midnight: day.midnight,
        from: manifest.options.from_ns.map(Ts),
    };
    let is_live = mode == "live";
    config.check_logins(is_live).map_err(Failure::usage)?;
    // A live run that was stopped logged the end of its input; it is taken back.
    let is_ended =
        is_live && savepoint::is_ended(&origin).map_err(|e| damage::failed(e, &dir, &parts))?;
    // Of other live feeds, what is missing could be asked for, out of time.
    let goes_on = match is_live && config.source.soup.server.is_some() {
        true => positions::goes_on(&dir, &manifest).map_err(Failure::io)?,
        false => None,
    };
    if shards != last.shards || is_ended {
        let is_past = is_live && goes_on.is_none();
        take_over(&origin, &mut manifest, shards, is_past)?;
    }
    if !manifest.latch {
        // Of a version that had none.
        dir.make_latch().map_err(Failure::io)?;
        manifest.latch = true;
    }
    manifest.state = State::Running;
    manifest.resumed += 1;
    // What a crash leaves does not say how far the sessions came.
    let sessions = std::mem::take(&mut manifest.sessions);
    dir.write_manifest(&manifest).map_err(Failure::io)?;
    manifest.sessions = sessions;
    Ok(Some(Resumed {
        dir,
        manifest,
        config,
        day,
        goes_on,
    }))
}

/// Begins a new part of a run, with so many shards, where the one before came to. `is_past`: its input cannot be
/// read again.
fn take_over(
    origin: &Origin<'_>,
    manifest: &mut Manifest,
    shards: usize,
    is_past: bool,
) -> Result<(), Failure> {
    let part = origin.part();
    let has_log = |shard| origin.dir.log_dir(part, shard).is_dir();
    if !(0..origin.shards()).all(has_log) {
        // The reader begins when all shards have a log: nothing has been taken in.
        manifest.parts[part].shards = shards;
        return Ok(());
    }
    let name = savepoint::name_of_part(part + 1);
    // One that a crash left here is of an earlier place.
    let left = origin.dir.savepoints_dir().join(&name);
    if left.exists() {
        fs::remove_dir_all(&left).map_err(|e| Failure::io(format!("{}: {e}", left.display())))?;
    }
    let made = Savepoint::create(origin, &name, is_past, Versions::NEWEST);
    let made = made.map_err(|e| damage::failed(e, origin.dir, origin.parts))?;
    manifest.parts.push(made.part(shards));
    Ok(())
}

/// Goes on with a replay; `None` if it is complete.
pub fn resume(
    path: &Path,
    args: &cli::Replay,
    talk: Talk,
    stop: &Stop,
) -> Result<Option<Run>, Failure> {
    let changes = Changes {
        shards: args.shards,
        cpus: &args.cpus,
        speed: speed(args)?,
        in_doubt: args.in_doubt,
        mode: args.mode,
        confirmed: &args.confirm,
    };
    let (_, manifest) = RunDir::open(path).map_err(Failure::usage)?;
    for input in &manifest.inputs {
        if manifest.state == State::Complete || manifest.mode != "replay" {
            break;
        }
        let (sha256, _) = run_dir::sha256_file(&input.path)
            .map_err(|e| Failure::io(format!("{}: {e}", input.path.display())))?;
        if sha256 != input.sha256 {
            return Err(Failure::usage(format!(
                "{}: not the file that the run began with (SHA-256 {sha256}, want {})",
                input.path.display(),
                input.sha256
            )));
        }
    }
    let Some(resumed) = reopen(path, "replay", &changes, talk)? else {
        return Ok(None);
    };
    let Resumed {
        dir,
        manifest,
        config,
        day,
        goes_on: _,
    } = resumed;
    let inputs = manifest.inputs.iter();
    let files: Vec<PathBuf> = inputs.map(|input| input.path.clone()).collect();
    let source = open(&files, &config)?;
    go(source, dir, config, day, manifest, true, talk, stop).map(Some)
}

pub fn run(args: &cli::Run, talk: Talk) -> Result<(), Failure> {
    let stop = pipeline::watch_signals().map_err(Failure::io)?;
    let clock = MachineClock::new();
    let (resumed, mode) = match &args.resume {
        Some(path) => {
            let changes = Changes {
                shards: args.shards,
                cpus: &[],
                speed: None,
                in_doubt: args.in_doubt,
                mode: args.mode,
                confirmed: &args.confirm,
            };
            let Some(resumed) = reopen(path, "live", &changes, talk)? else {
                return Ok(());
            };
            (resumed, Mode::LiveResume)
        }
        None => (begin_live(args, &clock, talk)?, Mode::Live),
    };
    let Resumed {
        dir,
        manifest,
        config,
        day,
        goes_on,
    } = resumed;
    let today = TradingDay::at(clock.wall(), day.zone()).map_err(Failure::usage)?;
    if mode == Mode::LiveResume && config.source.date.is_none() && today.date != day.date {
        return Err(Failure::usage(format!(
            "{}: a run of {}, and today is {}: begin a new one",
            dir.path().display(),
            day.date,
            today.date
        )));
    }
    let wire = live_wire(&config).map_err(Failure::usage)?;
    let soup = &config.source.soup;
    let source = match &soup.server {
        Some(server) => {
            let sequence = match (mode, &goes_on) {
                (_, Some(on)) => on.at.next,
                (Mode::LiveResume, None) => 0,
                (Mode::Live | Mode::Replay | Mode::Resume, None) => soup.sequence,
            };
            let mut login = soup.login(sequence).map_err(Failure::usage)?;
            if let Some(on) = &goes_on {
                login.session = on.at.session.0;
            }
            let address = soup::resolve(server).map_err(Failure::io)?;
            let from = match &goes_on {
                Some(on) => format!(", from message {} of {} on", on.at.next, on.at.session),
                None => String::new(),
            };
            talk.say(format_args!(
                "reading the session at {server}{from}; SIGINT ends in order"
            ));
            Network::Soup(Soup::new(address, login, config.source.soup.rule()))
        }
        None => Network::Multicast(listen(&config, wire, talk)?),
    };
    let live = Live::new(source, &clock);
    let run = finish_run(
        live, wire, &clock, dir, config, day, manifest, mode, goes_on, talk, &stop,
    )?;
    run.report(args.strict, talk)
}

/// The protocol of a live run; an error says why it cannot be one.
fn live_wire(config: &Config) -> Result<Wire, String> {
    let named = config.source.protocol.as_deref();
    let wire = named.map_or(Wire::Itch, |name| {
        Wire::named(name).expect("the configuration was checked")
    });
    let (name, itch) = (wire.name(), Wire::Itch.name());
    if wire.framing(0).is_none() {
        return Err(format!(
            "source.protocol is {name:?}, which is read from files only"
        ));
    }
    let source = &config.source;
    if wire != Wire::Itch && (source.retransmit.server.is_some() || source.soup.server.is_some()) {
        return Err(format!(
            "source.protocol is {name:?}; source.retransmit and source.soup are for {itch:?}"
        ));
    }
    if wire != Wire::Itch && source.snapshot.glimpse.is_some() {
        return Err(format!(
            "source.protocol is {name:?}; source.snapshot.glimpse is for {itch:?}"
        ));
    }
    Ok(wire)
}

/// Joins the groups of all lines.
fn listen(config: &Config, wire: Wire, talk: Talk) -> Result<Multicast, Failure> {
    let (lines, interface) = (&config.source.lines, config.source.interface);
    let options = MulticastOptions {
        lines: lines
            .iter()
            .map(|line| MulticastLine {
                group: *line.ip(),
                port: line.port(),
                interface,
            })
            .collect(),
        receive_buffer_bytes: config.source.receive_buffer.0 as usize,
    };
    let framing = |port| wire.framing(port).expect("it comes in datagrams");
    let source = Multicast::open_for(&options, framing).map_err(Failure::io)?;
    let retransmit = &config.source.retransmit;
    let source = match retransmit.server {
        Some(server) => source
            .with_retransmission(
                server,
                retransmit.rule(),
                config.source.receive_buffer.0 as usize,
            )
            .map_err(Failure::io)?,
        None => source,
    };
    let names: Vec<String> = lines.iter().map(ToString::to_string).collect();
    talk.say(format_args!(
        "listening on {}; SIGINT ends in order",
        names.join(" and ")
    ));
    let want = config.source.receive_buffer.0 as usize;
    if let Some(got) = source.receive_buffer_bytes().find(|got| *got < want) {
        talk.say(format_args!(
            "receive buffers are {got} bytes, not {want}: raise net.core.rmem_max to lose less in \
             bursts"
        ));
    }
    Ok(source)
}

/// The directory of a new live run.
fn begin_live(args: &cli::Run, clock: &MachineClock, talk: Talk) -> Result<Resumed, Failure> {
    let path = args.config.as_ref().expect("required unless resumed");
    let mut config = Config::read(path).map_err(Failure::usage)?;
    config.models.load(Some(path)).map_err(Failure::usage)?;
    aim(&mut config, args.mode, &args.confirm)?;
    at_rest(&mut config)?;
    config.check_logins(true).map_err(Failure::usage)?;
    if config.source.lines.is_empty() && config.source.soup.server.is_none() {
        return Err(Failure::usage(format!(
            "{}: source.lines names no multicast group, nor source.soup.server a session",
            path.display()
        )));
    }
    let wire =
        live_wire(&config).map_err(|why| Failure::usage(format!("{}: {why}", path.display())))?;
    let has_queues = config.book.depth == Depth::L3;
    config.orders.see(wire, has_queues);
    let venue = Venue::of(wire, None);
    let timezone = config.source.zone(venue);
    let day = match &config.source.date {
        Some(date) => TradingDay::new(date, timezone),
        None => TradingDay::at(clock.wall(), timezone),
    }
    .map_err(Failure::usage)?;
    let reference = reference(&config)?;
    pace(&config, Some(path), true, talk)?;
    let output = args.output.clone().unwrap_or_else(|| {
        let stamp = jiff::Zoned::now().strftime("%Y%m%d-%H%M%S").to_string();
        Path::new("runs").join(stamp)
    });
    let dir = RunDir::create(&output).map_err(Failure::usage)?;
    let mut manifest = manifest("live", &config, &day, venue);
    let lines = config.source.lines.iter();
    manifest.inputs = lines
        .map(|line| Input {
            path: line.to_string().into(),
            format: "UDP multicast".into(),
            ..Input::default()
        })
        .collect();
    manifest
        .inputs
        .extend(config.source.soup.server.iter().map(|server| Input {
            path: server.into(),
            format: "SoupBinTCP".into(),
            ..Input::default()
        }));
    begin(&dir, &config, reference.as_deref(), &manifest)?;
    Ok(Resumed {
        dir,
        manifest,
        config,
        day,
        goes_on: None,
    })
}

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
fn venue(source: &Capture, wire: Wire) -> Venue {
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

fn manifest(mode: &str, config: &Config, day: &TradingDay, venue: Venue) -> Manifest {
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

fn inputs(files: &[PathBuf], source: &Capture) -> Result<Vec<Input>, Failure> {
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
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
fn go(
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
fn finish_run<S: Timed + Send>(
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
