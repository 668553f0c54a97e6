//! `tapeline savepoint`

use std::path::Path;
use std::time::{Duration, Instant};

use bus::Ts;
use bus::state::Versions;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tapeline::run_dir::{Manifest, RunDir, State};
use tapeline::savepoint::{self, Origin, Savepoint};
use tapeline::term::{count, short};

use super::{Failure, Talk};
use crate::cli;

/// How long a run that is asked to end may take.
const STOP_MAX: Duration = Duration::from_secs(60);

pub fn savepoint(args: &cli::Savepoint, talk: Talk) -> Result<(), Failure> {
    match args {
        cli::Savepoint::Create {
            run,
            name,
            stop,
            oldest,
        } => create(run, name.as_deref(), *stop, *oldest, talk),
        cli::Savepoint::List { run } => list(run, talk),
        cli::Savepoint::Restore {
            run,
            name,
            output,
            shards,
        } => restore(run, name, output, *shards, talk),
    }
}

fn create(
    run: &Path,
    name: Option<&str>,
    stop: bool,
    oldest: bool,
    talk: Talk,
) -> Result<(), Failure> {
    if let Some(name) = name {
        savepoint::check_free_name(name).map_err(Failure::usage)?;
    }
    let (dir, mut manifest) = RunDir::open(run).map_err(Failure::usage)?;
    if stop {
        end(&dir, &manifest, talk)?;
        (_, manifest) = RunDir::open(run).map_err(Failure::usage)?;
    }
    let config = dir.read_config().map_err(Failure::usage)?;
    let day = talk.day(&manifest)?;
    let origin = Origin {
        dir: &dir,
        parts: &manifest.parts,
        config: &config,
        midnight: day.midnight,
        from: manifest.options.from_ns.map(Ts),
    };
    let now = jiff::Zoned::now().strftime("%Y%m%d-%H%M%S").to_string();
    let name = name.unwrap_or(&now);
    let versions = match oldest {
        true => Versions::OLDEST,
        false => Versions::NEWEST,
    };
    let made = Savepoint::create(&origin, name, manifest.mode == "live", versions);
    let made = made.map_err(|e| super::damage::failed(e, &dir, &manifest.parts))?;
    if talk.json {
        return data(&made, talk);
    }
    talk.data(&line(&made))
}

/// Ends a run that is going on, in order.
fn end(dir: &RunDir, manifest: &Manifest, talk: Talk) -> Result<(), Failure> {
    let log = dir.log_dir(manifest.parts.len() - 1, 0);
    let owner = || bus::disk::files::lock_owner(&log).map_err(Failure::io);
    let deadline = Instant::now() + STOP_MAX;
    let Some(number) = owner()? else {
        return Ok(());
    };
    let pid = Pid::from_raw(number);
    if number <= 0 {
        return Err(Failure::io(format!(
            "{}: its writer is just starting",
            log.display()
        )));
    }
    talk.say(format_args!("asking process {number} to end"));
    kill(pid, Signal::SIGTERM).map_err(|e| Failure::io(format!("process {number}: {e}")))?;
    // Its results come after its log is closed, and its manifest last of all.
    let is_over = || -> Result<bool, Failure> {
        let (_, manifest) = RunDir::open(dir.path()).map_err(Failure::io)?;
        let is_gone = kill(pid, None).is_err();
        Ok(owner()?.is_none() && (manifest.state != State::Running || is_gone))
    };
    while !is_over()? {
        if Instant::now() >= deadline {
            let what = format!("process {number} did not end within {STOP_MAX:?}");
            return Err(Failure::io(what));
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    Ok(())
}

fn list(run: &Path, talk: Talk) -> Result<(), Failure> {
    let (dir, _) = RunDir::open(run).map_err(Failure::usage)?;
    let all = Savepoint::list(&dir).map_err(Failure::io)?;
    if talk.json {
        return data(&all, talk);
    }
    let mut damaged = None;
    for savepoint in &all {
        let whole = savepoint.check(&dir);
        let mark = if whole.is_ok() { "" } else { "  DAMAGED" };
        let line = line(savepoint);
        talk.data(&format!("{}{mark}\n", line.trim_end()))?;
        damaged = damaged.or(whole.err());
    }
    damaged.map_or(Ok(()), |what| Err(Failure::damage(what)))
}

fn restore(
    run: &Path,
    name: &str,
    output: &Path,
    shards: Option<usize>,
    talk: Talk,
) -> Result<(), Failure> {
    let (dir, manifest) = RunDir::open(run).map_err(Failure::usage)?;
    let savepoint = Savepoint::open(&dir, name).map_err(Failure::usage)?;
    savepoint.check(&dir).map_err(Failure::damage)?;
    let shards = shards.unwrap_or(savepoint.shards);
    if !(1..=64).contains(&shards) {
        return Err(Failure::usage(format!(
            "--shards is {shards}, want 1 to 64"
        )));
    }
    let log = dir.log_dir(manifest.parts.len() - 1, 0);
    if let Some(pid) = bus::disk::files::lock_owner(&log).map_err(Failure::io)? {
        return Err(Failure::usage(format!(
            "{}: process {pid} goes on with this run, and both would send the same orders; \
             end it first",
            run.display()
        )));
    }
    let made = savepoint::restore(&dir, &manifest, &savepoint, output, shards);
    let made = made.map_err(Failure::io)?;
    let command = match manifest.mode == "live" {
        true => "run",
        false => "replay",
    };
    let path = made.path().display();
    talk.say(format_args!(
        "tapeline {command} --resume {path} goes on from {name}"
    ));
    Ok(())
}

fn line(savepoint: &Savepoint) -> String {
    let seq = savepoint.cut.iter().max().copied().unwrap_or(0);
    format!(
        "{}  {}  {} shard{}, message {}, {}B\n",
        savepoint.name,
        savepoint.created,
        savepoint.shards,
        if savepoint.shards == 1 { "" } else { "s" },
        count(seq),
        short(savepoint.bytes as f64),
    )
}

fn data(what: &impl serde::Serialize, talk: Talk) -> Result<(), Failure> {
    let text = serde_json::to_string(what).expect("always JSON");
    talk.data(&format!("{text}\n"))
}
