//! `tapeline replay --days` and `--loop`: several runs, one after the other

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use feed::source::{is_same_content, told_again};
use tapeline::config::{Config, absent_text};
use tapeline::pipeline::Stop;
use tapeline::run_dir::{Counts, RunDir, State};
use tapeline::series::{self, Kind, Leg, Series};
use tapeline::session::TradingDay;
use tapeline::term::{Style, count, short};

use super::replay::{self, MovedDay, Plan, PlanOptions, Run};
use super::{Failure, Talk, damage};
use crate::cli;

pub fn start(args: &cli::Replay, talk: Talk, stop: &Stop) -> Result<(), Failure> {
    let plan = replay::plan(args)?;
    super::check_regular(&plan.files)?;
    let (kind, runs) = match args.rounds {
        Some(rounds) => (Kind::Rounds, rounds_of(&plan, rounds, talk)?),
        None => (Kind::Days, days_of(&plan, talk)?),
    };
    let reference = replay::reference(&plan.config)?;
    let dir = RunDir::create(&plan.output).map_err(Failure::usage)?;
    let series = Series {
        schema: series::SCHEMA.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        kind,
        state: State::Running,
        symbols: plan.options.symbols,
        from: plan.options.from,
        to: plan.options.to,
        tz: talk.tz.map(str::to_string),
        runs,
        digest: String::new(),
    };
    let write = || {
        dir.write_config(&plan.config)?;
        if let Some(bytes) = &reference {
            dir.write_whole("reference.csv", bytes)?;
        }
        series.write(dir.path())
    };
    write().map_err(Failure::io)?;
    go(&dir, series, plan.config, args, talk, stop)
}

/// Goes on where days or rounds were interrupted.
pub fn resume(path: &Path, args: &cli::Replay, talk: Talk, stop: &Stop) -> Result<(), Failure> {
    let series = Series::open(path).map_err(Failure::usage)?;
    if series.state == State::Complete {
        for leg in &series.runs {
            let (dir, manifest) = RunDir::open(&path.join(&leg.name)).map_err(Failure::usage)?;
            damage::check(&dir, &manifest).map_err(|failure| failure.of(&leg.name))?;
        }
        talk.say(format_args!(
            "{}: all {}s are complete",
            path.display(),
            series.kind.word()
        ));
        return Ok(());
    }
    let config = Config::read(&path.join("config.toml")).map_err(Failure::usage)?;
    let dir = RunDir::at(path);
    go(&dir, series, config, args, talk, stop)
}

/// One of several runs that is not complete, where all must be: it goes on, unless its logs are damaged.
pub fn unfinished(path: &Path, leg: &Leg) -> Failure {
    let run = RunDir::open(&path.join(&leg.name));
    if let Ok((dir, manifest)) = run
        && let Err(failure) = damage::check(&dir, &manifest)
    {
        return failure.of(&leg.name);
    }
    Failure::usage(format!(
        "{}: {} is not complete; `tapeline replay --resume {}` goes on",
        path.display(),
        leg.name,
        path.display()
    ))
}

/// The same input, each time as that of the day after.
fn rounds_of(plan: &Plan, rounds: u32, talk: Talk) -> Result<Vec<Leg>, Failure> {
    let day = replay::trading_day(&plan.files, &plan.config, talk)?;
    // The last one must be a day that there is.
    day.later(rounds.saturating_sub(1))
        .map_err(Failure::usage)?;
    let files = plan.files.iter().map(|file| resolved(file));
    let files: Vec<PathBuf> = files.collect::<Result<_, _>>()?;
    let width = rounds.to_string().len();
    let leg = |index: u32| Leg {
        name: format!("round-{:0width$}", index + 1),
        date: day.date.to_string(),
        timezone: day.zone().into(),
        days_later: index,
        files: files.clone(),
        done: None,
    };
    Ok((0..rounds).map(leg).collect())
}

/// The files by their trading dates, in the order of those; files of one date in the order in which
/// they were named.
fn days_of(plan: &Plan, talk: Talk) -> Result<Vec<Leg>, Failure> {
    let mut legs: Vec<Leg> = Vec::new();
    let mut named: Vec<PathBuf> = Vec::new();
    for (file, is_named) in files_of(&plan.files, talk)? {
        let one = std::slice::from_ref(&file);
        let day = match replay::day_said(one, &plan.config) {
            Ok(day) => day,
            // What else lies in a folder is nobody's fault.
            Err(failure) if !is_named => {
                talk.say(format_args!("left out: {failure}"));
                continue;
            }
            Err(failure) => return Err(failure),
        };
        let Some(day) = day else {
            return Err(Failure::usage(format!(
                "{}: neither the file nor its name says its trading date, which --days needs",
                file.display()
            )));
        };
        if is_named {
            named.push(resolved(&file)?);
        }
        let (date, timezone) = (day.date.to_string(), day.zone().to_string());
        let same = legs.iter_mut().find(|leg| leg.date == date);
        match same {
            Some(leg) if leg.timezone != timezone => {
                return Err(Failure::usage(format!(
                    "{}: its day is one of {timezone}, that of {} one of {}: take them by \
                     themselves",
                    file.display(),
                    leg.files[0].display(),
                    leg.timezone
                )));
            }
            Some(leg) => leg.files.push(resolved(&file)?),
            None => legs.push(Leg {
                name: date.clone(),
                date,
                timezone,
                days_later: 0,
                files: vec![resolved(&file)?],
                done: None,
            }),
        }
    }
    if legs.is_empty() {
        return Err(Failure::usage("no capture was found in what was named"));
    }
    for leg in &mut legs {
        leave_out_told_again(&mut leg.files, &named, talk);
    }
    legs.sort_by(|a, b| a.date.cmp(&b.date));
    Ok(legs)
}

/// A folder of Databento's has one market in several schemas: of those that tell the same trades, the one that
/// tells most of the book is taken. What was named is taken, or refused with what it clashes with.
fn leave_out_told_again(files: &mut Vec<PathBuf>, named: &[PathBuf], talk: Talk) {
    let mut again = told_again(files);
    again.retain(|(index, _, _)| !named.contains(&files[*index]));
    for (index, other, what) in &again {
        let (file, other) = (files[*index].display(), files[*other].display());
        talk.say(format_args!(
            "left out: {file}: {what}; the other is {other}"
        ));
    }
    let mut index = 0;
    files.retain(|_| {
        let is_out = again.iter().any(|(out, _, _)| *out == index);
        index += 1;
        !is_out
    });
}

/// The files that were named, and those in the folders that were, by name; with whether each was
/// named itself. A file that lies compressed beside itself is taken once.
fn files_of(named: &[PathBuf], talk: Talk) -> Result<Vec<(PathBuf, bool)>, Failure> {
    let mut files = Vec::new();
    for path in named {
        if !path.is_dir() {
            files.push((path.clone(), true));
            continue;
        }
        let fail = |e| Failure::io(format!("{}: {e}", path.display()));
        let mut found = Vec::new();
        for entry in fs::read_dir(path).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            if !is_hidden && entry.path().is_file() {
                found.push(entry.path());
            }
        }
        once(&mut found, talk)?;
        files.extend(found.into_iter().map(|file| (file, false)));
    }
    Ok(files)
}

/// Of files that lie compressed beside themselves, one of each; by name.
pub fn once(found: &mut Vec<PathBuf>, talk: Talk) -> Result<(), Failure> {
    // The plain one comes before what its name is the beginning of.
    found.sort();
    let mut index = 0;
    while index < found.len() {
        let file = &found[index];
        let beside = found[..index]
            .iter()
            .find(|other| plain(other) == plain(file));
        match beside {
            None => index += 1,
            Some(other) if is_same_content(other, file) => {
                let (file, other) = (file.display(), other.display());
                talk.say(format_args!(
                    "left out: {file}: the same content as {other}"
                ));
                found.remove(index);
            }
            Some(other) => {
                return Err(Failure::usage(format!(
                    "{}: another content than {}, want the same where one is the other compressed: \
                     name the files to take",
                    file.display(),
                    other.display()
                )));
            }
        }
    }
    Ok(())
}

/// A file's name without what says that it is compressed.
fn plain(file: &Path) -> PathBuf {
    let is_compressed = |ending: &std::ffi::OsStr| ending == "gz" || ending == "zst";
    match file.extension() {
        Some(ending) if is_compressed(ending) => file.with_extension(""),
        Some(_) | None => file.to_path_buf(),
    }
}

/// The same file from wherever it is resumed.
fn resolved(file: &Path) -> Result<PathBuf, Failure> {
    let path = file.canonicalize();
    path.map_err(|e| Failure::io(format!("{}: {e}", file.display())))
}

fn go(
    dir: &RunDir,
    mut series: Series,
    config: Config,
    args: &cli::Replay,
    talk: Talk,
    stop: &Stop,
) -> Result<(), Failure> {
    let path = dir.path();
    let (word, all) = (series.kind.word(), series.runs.len());
    let mut worst: Option<Failure> = None;
    let mut met: Vec<String> = Vec::new();
    for index in 0..all {
        let leg = &series.runs[index];
        let output = path.join(&leg.name);
        if leg.done.is_some() {
            met.extend(symbols_of(&output)?);
            continue;
        }
        let number = index + 1;
        if let Some(run) = one(dir, &series, leg, &config, args, talk, stop)? {
            // What is said of one run has its name in front.
            let judged = run.judge(args.strict, talk);
            if run.outcome.is_stopped {
                return Err(Failure::interrupted(format!(
                    "stopped by a signal in {word} {number} of {all}; `tapeline replay --resume {}` \
                     goes on",
                    path.display()
                )));
            }
            if let Err(failure) = judged {
                let failure = failure.of(&output.display());
                talk.say(&failure);
                worst.get_or_insert(failure);
            }
        }
        let (_, manifest) = RunDir::open(&output).map_err(Failure::io)?;
        met.extend(symbols_of(&output)?);
        met.sort();
        met.dedup();
        series.finish(index, &manifest);
        series.write(path).map_err(Failure::io)?;
        talk.say(format_args!(
            "{word} {number} of {all}: {} messages, digest {}",
            count(manifest.counts.messages),
            first(&manifest.digest)
        ));
    }
    if talk.json {
        let text = serde_json::to_string(&series).expect("it was written before");
        talk.data(&format!("{text}\n"))?;
    } else {
        talk.data(&summary(path, &series))?;
    }
    let is_met = |name: &str| {
        let is_left_out =
            !series.symbols.is_empty() && !series.symbols.iter().any(|wanted| wanted == name);
        is_left_out || met.iter().any(|met| met == name)
    };
    if let Some(line) = absent_text(&config.absent(is_met)) {
        talk.say(line);
    }
    if let Some((before, after)) = series.differing() {
        return Err(Failure::verification(format!(
            "{} came to another digest than {}: `tapeline diff {} {}` shows where",
            after.name,
            before.name,
            path.join(&before.name).display(),
            path.join(&after.name).display()
        )));
    }
    if let Some(failure) = worst {
        return Err(failure);
    }
    let missing = series.symbols.iter().find(|name| !met.contains(name));
    match missing {
        Some(name) => Err(Failure::input(format!(
            "{name}: no such symbol in any {word}"
        ))),
        None => Ok(()),
    }
}

/// The symbols that a complete run met, where that is asked for.
fn symbols_of(run: &Path) -> Result<Vec<String>, Failure> {
    let symbols = RunDir::at(run).read_symbols().map_err(Failure::io)?;
    Ok(symbols.into_iter().map(|symbol| symbol.symbol).collect())
}

/// Runs one of them, or goes on with it; nothing if it is complete, and only its end was not noted.
fn one(
    dir: &RunDir,
    series: &Series,
    leg: &Leg,
    config: &Config,
    args: &cli::Replay,
    talk: Talk,
    stop: &Stop,
) -> Result<Option<Run>, Failure> {
    let output = dir.path().join(&leg.name);
    if output.join("manifest.json").exists() {
        return replay::resume(&output, args, talk, stop);
    }
    if output.exists() {
        // It was killed before it had a manifest, and so before anything left it.
        fs::remove_dir_all(&output)
            .map_err(|e| Failure::io(format!("{}: {e}", output.display())))?;
    }
    let mut config = config.clone();
    if config.source.reference.is_some() {
        config.source.reference = Some(dir.reference_path());
    }
    if let Some(shards) = args.shards {
        config.run.shards = shards;
        config.run.cpus.clear();
    }
    if !args.cpus.is_empty() {
        config.run.cpus.clone_from(&args.cpus);
    }
    config.run.speed = replay::speed(args)?.unwrap_or(config.run.speed);
    config.orders.in_doubt = args.in_doubt.unwrap_or(config.orders.in_doubt);
    config.check().map_err(Failure::usage)?;
    let own = TradingDay::new(&leg.date, &leg.timezone).map_err(Failure::usage)?;
    let plan = Plan {
        files: leg.files.clone(),
        output,
        config,
        settings: Some(dir.config_path()),
        options: PlanOptions {
            symbols: series.symbols.clone(),
            from: series.from.clone(),
            to: series.to.clone(),
            tz: series.tz.clone(),
        },
        day: Some(MovedDay {
            own,
            days: leg.days_later,
        }),
    };
    replay::replay_plan(plan, talk, stop).map(Some)
}

/// So much of a digest tells it from any other.
fn first(digest: &str) -> &str {
    &digest[..16.min(digest.len())]
}

fn summary(path: &Path, series: &Series) -> String {
    let style = Style::stdout();
    let mut out = String::new();
    let head = format!(
        "{:<12} {:>13} {:>13} {:>9} {:>9} {:>9} {:>9} {:>10}  {}",
        series.kind.word(),
        "messages",
        "events",
        "lost",
        "anomalies",
        "windows",
        "orders",
        "seconds",
        "digest"
    );
    let _ = writeln!(out, "{}", style.dim(&head));
    let (mut all, mut anomalies, mut seconds) = (Counts::default(), 0, 0.0);
    let mut row = |name: &str, counts: &Counts, anomalies: u64, seconds: f64, digest: &str| {
        let _ = writeln!(
            out,
            "{name:<12} {:>13} {:>13} {:>9} {:>9} {:>9} {:>9} {seconds:>10.2}  {}",
            count(counts.messages),
            count(counts.events),
            count(counts.lost_messages),
            count(anomalies),
            count(counts.windows),
            count(counts.orders),
            first(digest)
        );
    };
    for leg in &series.runs {
        let Some(done) = &leg.done else { continue };
        let counts = &done.counts;
        row(
            &leg.name,
            counts,
            done.anomalies,
            done.elapsed_s,
            &done.digest,
        );
        all.messages += counts.messages;
        all.events += counts.events;
        all.lost_messages += counts.lost_messages;
        all.windows += counts.windows;
        all.orders += counts.orders;
        anomalies += done.anomalies;
        seconds += done.elapsed_s;
    }
    row("all", &all, anomalies, seconds, &series.digest);
    let rate = short(all.messages as f64 / seconds.max(f64::MIN_POSITIVE));
    let _ = writeln!(out, "{} {rate}messages/s", style.bold("speed   "));
    let _ = writeln!(
        out,
        "{} {}, each {} in a folder of its own",
        style.bold("runs    "),
        path.display(),
        series.kind.word()
    );
    out
}
