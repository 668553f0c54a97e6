//! Going on with a run.

use std::fs;
use std::path::{Path, PathBuf};

use bus::Ts;
use bus::state::Versions;
use tapeline::config::{Config, InDoubt, OrderMode, Speed};
use tapeline::pipeline::Stop;
use tapeline::positions::{self, GoesOn};
use tapeline::run_dir::{self, Manifest, RunDir, State};
use tapeline::savepoint::{self, Origin, Savepoint};
use tapeline::session::TradingDay;

use super::go::go;
use super::input::open;
use super::judge::Run;
use super::{aim, pace, speed};
use crate::cli;
use crate::commands::{Failure, Talk, damage};

/// A run that is to go on.
pub(super) struct Resumed {
    pub(super) dir: RunDir,
    pub(super) manifest: Manifest,
    pub(super) config: Config,
    pub(super) day: TradingDay,
    pub(super) goes_on: Option<GoesOn>,
}

/// What may be changed where a run goes on.
pub(super) struct Changes<'a> {
    pub(super) shards: Option<usize>,
    pub(super) cpus: &'a [usize],
    pub(super) speed: Option<Speed>,
    pub(super) in_doubt: Option<InDoubt>,
    pub(super) mode: Option<OrderMode>,
    pub(super) confirmed: &'a [String],
}

/// Opens a run to go on with it; `None` if there is nothing to go on with, because it is complete.
pub(super) fn reopen(
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
