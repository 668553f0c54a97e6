//! `tapeline kill` and `tapeline unkill`

use std::path::{Path, PathBuf};

use bus::log::{LogReader, Record};
use bus::oms::latch::{Gate, Latch, Scope};
use tapeline::config::Config;
use tapeline::kill::{self, Change};
use tapeline::run_dir::RunDir;

use super::{Failure, Talk};
use crate::cli;

/// The latch that is meant, and the strategies that there are, if that can be known.
struct Meant {
    latch: PathBuf,
    strategies: Result<Vec<String>, String>,
}

impl Meant {
    fn find(which: &cli::WhichLatch) -> Result<Meant, Failure> {
        if let Some(path) = &which.config {
            let config = Config::read(path).map_err(Failure::usage)?;
            let Some(latch) = config.risk.latch.clone() else {
                return Err(Failure::usage(format!(
                    "{}: no risk.latch: then each run has its own; name the run",
                    path.display()
                )));
            };
            let strategies = Ok(kill::strategies(&config));
            return Ok(Meant { latch, strategies });
        }
        let path = which.run.as_ref().expect("one of the two is required");
        let (dir, _) = RunDir::open(path).map_err(Failure::usage)?;
        match dir.read_config() {
            Ok(config) => Ok(Meant {
                latch: kill::path_of(&config, &dir),
                strategies: Ok(kill::strategies(&config)),
            }),
            // Settings of another version must not stand in the way of a stop.
            Err(error) if dir.latch_path().exists() => Ok(Meant {
                latch: dir.latch_path(),
                strategies: Err(error),
            }),
            Err(error) => Err(Failure::usage(error)),
        }
    }

    fn scope(&self, what: &cli::KillScope) -> Result<Option<Scope>, Failure> {
        let cli::KillScope {
            all,
            symbol,
            strategy,
        } = what;
        if let Some(symbol) = symbol {
            let name = super::replay::symbol(symbol)?;
            if name.len() > Latch::SYMBOL_BYTES_MAX {
                return Err(Failure::usage(format!(
                    "--symbol {name}: {} letters, want 1 to {}, as a stop has room for",
                    name.len(),
                    Latch::SYMBOL_BYTES_MAX
                )));
            }
            return Ok(Some(Scope::Symbol(name)));
        }
        if let Some(name) = strategy {
            let known = self.strategies.as_ref().map_err(Failure::usage)?;
            if !known.contains(name) {
                let known = known.join(", ");
                return Err(Failure::usage(format!(
                    "{name}: no such strategy; there are {known}"
                )));
            }
            return Ok(Some(Scope::Strategy(name.clone())));
        }
        Ok(all.then_some(Scope::All))
    }
}

pub fn kill(args: &cli::Kill, talk: Talk) -> Result<(), Failure> {
    let meant = Meant::find(&args.which)?;
    if args.status {
        return status(&meant.latch, talk);
    }
    let scope = meant.scope(&args.scope)?;
    let scope = scope.expect("one of them is required");
    let latch = Latch::force(&meant.latch).map_err(Failure::io)?;
    let change = latch.stop(&scope, args.cancel).map_err(Failure::io)?;
    // Orders are stopped; what follows is for people.
    let said = Change::now("kill", &scope, args.cancel, &args.reason, change);
    said.record(latch.path()).map_err(|e| {
        Failure::io(format!(
            "{scope} is stopped, but that could not be recorded: {e}"
        ))
    })?;
    done(&said, latch.path(), talk)?;
    // A name that is written wrongly stops nothing, and may yet be one of a symbol to come.
    if let Scope::Symbol(name) = &scope
        && let Some(false) = args
            .which
            .run
            .as_ref()
            .and_then(|run| has_symbol(run, name))
    {
        talk.say(format_args!(
            "{name}: no such symbol in the run so far; it is stopped should it come"
        ));
    }
    Ok(())
}

/// Whether a run's logs name a symbol; `None` where that cannot be known.
fn has_symbol(run: &Path, wanted: &str) -> Option<bool> {
    let (dir, manifest) = RunDir::open(run).ok()?;
    for piece in dir.pieces(&manifest.parts) {
        let log = LogReader::open(&piece.dir).ok()?;
        // What was removed may have named it.
        if log.first_cell() != 0 {
            return None;
        }
        for item in log {
            if let Record::Event(event) = item.ok()?.1
                && super::words::name_of(&event).is_some_and(|name| name == wanted)
            {
                return Some(true);
            }
        }
    }
    Some(false)
}

pub fn unkill(args: &cli::Unkill, talk: Talk) -> Result<(), Failure> {
    let meant = Meant::find(&args.which)?;
    if args.reason.trim().is_empty() {
        return Err(Failure::usage(
            "--reason is empty: why may orders leave again?",
        ));
    }
    let scope = meant.scope(&args.scope)?.unwrap_or(Scope::All);
    let latch = Latch::force(&meant.latch).map_err(Failure::io)?;
    let standing = latch.standing();
    if standing.gate == Gate::Open && latch.damage().is_none() {
        talk.say(format_args!(
            "{}: nothing is stopped",
            latch.path().display()
        ));
        return Ok(());
    }
    let is_damaged = latch.damage().is_some();
    let (of, name) = match &scope {
        Scope::All => (&[][..], None),
        Scope::Symbol(name) => (&standing.symbols[..], Some(name)),
        Scope::Strategy(name) => (&standing.strategies[..], Some(name)),
    };
    if let Some(name) = name
        && !is_damaged
        && !of.contains(name)
    {
        let stopped: Vec<&str> = standing
            .symbols
            .iter()
            .chain(&standing.strategies)
            .map(String::as_str)
            .collect();
        let stopped = if stopped.is_empty() {
            "nothing".into()
        } else {
            stopped.join(", ")
        };
        return Err(Failure::usage(format!(
            "{scope} is not stopped by itself; what is: {stopped}"
        )));
    }
    // In the record first: nothing is let go that is not in it.
    let next = standing.change.wrapping_add(1);
    let said = Change::now("unkill", &scope, false, &args.reason, next);
    said.record(latch.path()).map_err(|e| {
        Failure::io(format!(
            "nothing was let go, since it cannot be recorded: {e}"
        ))
    })?;
    if let Err(error) = latch.let_go(&scope, standing.change) {
        let said = Change {
            did: "unkill failed".into(),
            ..said
        };
        said.record(latch.path()).map_err(Failure::io)?;
        return Err(Failure::io(error));
    }
    done(&said, latch.path(), talk)?;
    if is_damaged {
        talk.say(
            "the latch was missing or damaged: runs that found it so stay stopped until they are gone \
             on with (--resume)",
        );
    }
    Ok(())
}

fn done(said: &Change, latch: &Path, talk: Talk) -> Result<(), Failure> {
    if talk.json {
        let text = serde_json::to_string(said).expect("always JSON");
        return talk.data(&format!("{text}\n"));
    }
    talk.data(&format!("{}: {said}\n", latch.display()))
}

fn status(path: &Path, talk: Talk) -> Result<(), Failure> {
    let (is_open, standing, trouble) = match Latch::open(path) {
        Ok(latch) => (latch.is_open(), Some(latch.standing()), None),
        Err(error) => (false, None, Some(error.to_string())),
    };
    let standing = standing.as_ref();
    let symbols = standing.map_or(&[][..], |standing| &standing.symbols);
    let strategies = standing.map_or(&[][..], |standing| &standing.strategies);
    let cancels = standing.is_some_and(|standing| standing.cancels);
    let state = match standing.map(|standing| standing.gate) {
        Some(Gate::Open) => "open",
        Some(Gate::Part) => "part",
        Some(Gate::Shut | Gate::Damaged) | None => "shut",
    };
    let last = Change::last(path);
    if talk.json {
        let text = serde_json::json!({
            "latch": path.display().to_string(),
            "state": state,
            "symbols": symbols,
            "strategies": strategies,
            "cancel": cancels,
            "trouble": trouble,
            "last": last,
        });
        return talk.data(&format!("{text}\n"));
    }
    let mut text = format!("{}: ", path.display());
    match (&trouble, is_open, state) {
        (Some(trouble), _, _) => text = format!("{trouble}: all orders are stopped\n"),
        (None, true, _) => text += "open: orders leave\n",
        (None, _, "part") => {
            let names: Vec<&str> = symbols
                .iter()
                .chain(strategies)
                .map(String::as_str)
                .collect();
            text += &format!("orders of {} are stopped\n", names.join(", "));
        }
        (None, ..) => text += "all orders are stopped\n",
    }
    if cancels {
        text += "what is open of them is to be cancelled\n";
    }
    if let Some(last) = last {
        text += &format!("{last}\n");
    }
    talk.data(&text)
}
