//! `tapeline doctor`

mod machine;

use std::path::Path;

use tapeline::config::{Config, HugePages};
use tapeline::term::Style;
use tuning::doctor::probe::{Probe, Recorded};
use tuning::doctor::script::script;
use tuning::doctor::seen::Aim;
use tuning::doctor::tree::Tree;
use tuning::doctor::{Line, Remedy, Report, Verdict, examine};

use super::{Failure, Talk};
use crate::cli::Doctor;

pub fn doctor(args: &Doctor, talk: Talk) -> Result<(), Failure> {
    if args.fix && !args.dry_run {
        return Err(Failure::usage(
            "--fix changes nothing by itself: `doctor --fix --dry-run` prints a script to read and run",
        ));
    }
    if args.fix && talk.json {
        return Err(Failure::usage(
            "--fix prints a script, and --json an object: want one of them",
        ));
    }
    let tree = Tree::new(&args.root);
    if !tree.has("/proc") {
        let root = args.root.display();
        return Err(Failure::usage(format!(
            "{root}: has no folder `proc`, so it is no host's root"
        )));
    }
    let aim = aim(args, &tree)?;
    let report = if tree.is_this_machine() {
        examine(&tree, &machine::Machine, &aim)
    } else {
        examine(&tree, &Recorded::read(&tree) as &dyn Probe, &aim)
    };
    if args.fix {
        return talk.data(&script(&report));
    }
    if talk.json {
        talk.data(&format!("{}\n", as_json(&report, &aim)))?;
    } else {
        talk.data(&as_text(&report, &aim, args.verbose, Style::stdout()))?;
    }
    match report.count(Verdict::Fail) {
        0 => Ok(()),
        1 => Err(Failure::verification("a check of this host failed")),
        count => Err(Failure::verification(format!(
            "{count} checks of this host failed"
        ))),
    }
}

/// What is to run, of the settings and the command line.
fn aim(args: &Doctor, tree: &Tree) -> Result<Aim, Failure> {
    let config = match &args.config {
        Some(file) => Config::read(file).map_err(Failure::usage)?,
        None => Config::default(),
    };
    let is_live = !config.source.lines.is_empty();
    let interface = config.source.interface;
    let nic = match &args.nic {
        Some(nic) => Some(Ok(nic.clone())),
        None if interface.is_loopback() => Some(Ok("lo".into())),
        None if is_live && tree.is_this_machine() && !interface.is_unspecified() => {
            Some(machine::card_of(interface))
        }
        None => None,
    };
    let log_dir = match &args.log_dir {
        Some(dir) if tree.is_this_machine() => existing(dir),
        Some(dir) => dir.display().to_string(),
        None if tree.is_this_machine() => existing(Path::new(".")),
        None => "/".into(),
    };
    Ok(Aim {
        cpus: config.run.cpus.clone(),
        threads: config.run.hot_threads(),
        log_dir,
        // The one that is written, and two made ahead.
        log_bytes: config
            .log
            .segment
            .0
            .saturating_mul(3)
            .saturating_mul(config.run.shards as u64),
        is_durable: config.log.durability == tapeline::config::Durability::Durable,
        nic,
        is_live,
        receive_buffer_bytes: config.source.receive_buffer.0,
        fifo_priority: config.host.fifo_priority,
        lock_memory: config.host.lock_memory,
        huge_pages_wanted: huge_pages(&config)?,
    })
}

/// How many huge pages the books of all shards take, if they are to come from reserved ones. Making
/// them reserves address space, which is all that is needed to count them.
fn huge_pages(config: &Config) -> Result<u64, Failure> {
    if config.host.huge_pages != HugePages::Reserved {
        return Ok(0);
    }
    let before = bus::mem::made().huge_pages;
    book::Books::new(config.books()).map_err(Failure::io)?;
    let of_one = bus::mem::made().huge_pages - before;
    Ok(of_one.saturating_mul(config.run.shards as u64))
}

/// The folder itself or the nearest above it that is there, as the system names it: run
/// directories are often still to be made.
fn existing(dir: &Path) -> String {
    let absolute = std::path::absolute(dir).unwrap_or_else(|_| dir.to_path_buf());
    let found = absolute
        .ancestors()
        .find_map(|path| path.canonicalize().ok());
    found.unwrap_or(absolute).display().to_string()
}

/// `command`, `ask`, `choice` and null are all that `fix.kind` can be.
fn as_json(report: &Report, aim: &Aim) -> serde_json::Value {
    let checks: Vec<serde_json::Value> = report
        .lines
        .iter()
        .map(|Line { check, found }| {
            let fix = match &found.remedy {
                Remedy::Nothing => serde_json::Value::Null,
                Remedy::Do(steps) => {
                    let steps: Vec<_> = steps
                        .iter()
                        .map(|step| {
                            serde_json::json!({ "run": step.command(), "lasting": step.lasting() })
                        })
                        .collect();
                    serde_json::json!({ "kind": "command", "steps": steps })
                }
                Remedy::Ask(what) => serde_json::json!({ "kind": "ask", "text": what }),
                Remedy::Choose(what) => serde_json::json!({ "kind": "choice", "text": what }),
            };
            serde_json::json!({
                "id": check.id, "title": check.title, "verdict": found.verdict.name(),
                "value": found.value, "why": check.why, "from": check.from, "fix": fix,
            })
        })
        .collect();
    serde_json::json!({
        "schema": "tapeline-doctor/1",
        "place": report.place,
        "hot_cpus": report.hot,
        "log_dir": aim.log_dir,
        "summary": {
            "fail": report.count(Verdict::Fail), "warn": report.count(Verdict::Warn),
            "unknown": report.count(Verdict::Unknown), "pass": report.count(Verdict::Pass),
        },
        "checks": checks,
    })
}

/// Columns of the text.
const WIDTH: usize = 96;
/// Columns before what a check says.
const INDENT: usize = 9;

fn as_text(report: &Report, aim: &Aim, is_verbose: bool, style: Style) -> String {
    let mut text = String::new();
    let threads = match aim.threads {
        1 => "one thread for reader and shards".to_string(),
        2 => "reader and 1 shard".to_string(),
        n => format!("reader and {} shards", n - 1),
    };
    let cores = match report.hot.as_str() {
        "none" => "on no cores of their own".to_string(),
        hot => format!("on cores {hot}"),
    };
    let place = format!("This is {}.", report.place);
    let what = format!("Looked at for {threads} {cores}, log in {}.", aim.log_dir);
    wrap(&mut text, "", 0, &place);
    wrap(&mut text, "", 0, &what);
    let mut passed: Vec<&Line> = Vec::new();
    for line in &report.lines {
        if line.found.verdict == Verdict::Pass && !is_verbose {
            passed.push(line);
        } else {
            text.push('\n');
            explain(&mut text, line, style);
        }
    }
    if !passed.is_empty() {
        text.push('\n');
    }
    for line in passed {
        let name = format!("{:<24}", line.check.id);
        let head = format!("{}     {name}", style.good("PASS"));
        wrap(&mut text, &head, INDENT + name.len(), &line.found.value);
    }
    text.push('\n');
    text.push_str(&style.bold(&summary(report)));
    text.push('\n');
    if report
        .lines
        .iter()
        .any(|line| matches!(line.found.remedy, Remedy::Do(_)))
    {
        text.push_str("tapeline doctor --fix --dry-run prints what can be set here as a script.\n");
    }
    text
}

fn summary(report: &Report) -> String {
    let all = [
        Verdict::Fail,
        Verdict::Warn,
        Verdict::Unknown,
        Verdict::Pass,
    ];
    all.map(|verdict| format!("{} {}", report.count(verdict), verdict.name()))
        .join(", ")
}

fn explain(text: &mut String, Line { check, found }: &Line, style: Style) {
    let verdict = format!("{:<9}", found.verdict.name());
    let verdict = match found.verdict {
        Verdict::Fail => style.bad(&verdict),
        Verdict::Warn => style.warn(&verdict),
        Verdict::Unknown => style.dim(&verdict),
        Verdict::Pass => style.good(&verdict),
    };
    text.push_str(&format!(
        "{verdict}{}  {}\n",
        style.bold(check.id),
        check.title
    ));
    let mut say = |name: &str, what: &str| {
        let head = format!("{:INDENT$}{}", "", style.dim(&format!("{name:<7}")));
        wrap(text, &head, INDENT + 7, what);
    };
    match found.verdict {
        Verdict::Unknown => say("found", &format!("could not check: {}", found.value)),
        _ => say("found", &found.value),
    }
    say("why", check.why);
    match &found.remedy {
        Remedy::Nothing => {}
        Remedy::Ask(what) => say("ask", what),
        Remedy::Choose(what) => say("do", what),
        Remedy::Do(steps) => {
            for step in steps {
                say("run", &step.command());
                say("", &format!("({})", step.lasting()));
            }
        }
    }
    say("from", check.from);
}

/// Appends `what` after `head`, which is `indent` columns wide, in lines of at most [`WIDTH`].
fn wrap(text: &mut String, head: &str, indent: usize, what: &str) {
    text.push_str(head);
    let mut column = indent;
    for (place, word) in what.split_whitespace().enumerate() {
        let width = word.chars().count();
        if place > 0 && column + 1 + width > WIDTH {
            text.push('\n');
            text.push_str(&" ".repeat(indent));
            column = indent;
        } else if place > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += width;
    }
    text.push('\n');
}
