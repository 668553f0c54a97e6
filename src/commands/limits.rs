//! `tapeline limits`

use bus::oms::limits::{Key, Of, Page};
use tapeline::config::Config;
use tapeline::kill::{self, LimitChange};
use tapeline::run_dir::RunDir;

use super::{Failure, Talk};
use crate::cli;

pub fn limits(args: &cli::Limits, talk: Talk) -> Result<(), Failure> {
    let (dir, manifest) = RunDir::open(&args.run).map_err(Failure::usage)?;
    let path = dir.limits_path();
    let config = dir.read_config().map_err(Failure::usage)?;
    if !config.risk.is_guarded() {
        return Err(Failure::usage(format!(
            "{}: the run counts no orders together: its settings had none of risk.firm, risk.session, \
             risk.strategy and risk.symbol (an empty table is enough)",
            dir.path().display()
        )));
    }
    let is_change = args.remake || !args.set.is_empty();
    if !is_change && args.reason.is_some() {
        return Err(Failure::usage("--reason goes with --set or --remake"));
    }
    let reason = args.reason.as_deref().unwrap_or_default();
    if is_change && reason.trim().is_empty() {
        return Err(Failure::usage("--reason is missing: why is this changed?"));
    }
    if args.remake {
        return remake(&dir, &config, reason, talk);
    }
    if !path.exists() {
        return Err(Failure::io(format!(
            "{}: the run's limits are gone, and no order of it leaves; `tapeline limits {} --remake --reason \
             TEXT` makes them anew",
            path.display(),
            dir.path().display()
        )));
    }
    let page = Page::open(&path).map_err(Failure::io)?;
    if args.set.is_empty() {
        return show(&page, talk);
    }
    // All are understood before one is changed.
    let strategies = kill::strategies(&config);
    let changes: Result<Vec<(Key, Option<u64>)>, String> = args
        .set
        .iter()
        .map(|text| change(text, &strategies))
        .collect();
    let changes = changes.map_err(Failure::usage)?;
    // As many as it has now, which need not be those that it began with.
    let mut now = config.clone();
    now.run.shards = manifest
        .parts
        .last()
        .map_or(now.run.shards, |part| part.shards);
    let is_session =
        |change: &&(Key, Option<u64>)| change.0.of == Of::Session && change.1.is_some();
    if let (Some(why), Some((key, _))) = (now.no_sessions(), changes.iter().find(is_session)) {
        return Err(Failure::usage(format!("--set {key}: {why}")));
    }
    for (key, value) in changes {
        let (old, new) = (page.get(&key), value.map(|value| value as i64));
        let said = LimitChange::now(&key.to_string(), old, new, reason);
        let record = |said: &LimitChange| said.record(&path).map_err(Failure::io);
        let is_tighter = new.is_some_and(|new| old.is_none_or(|old| new <= old));
        // What makes it tighter holds at once; what loosens is in the record first.
        if !is_tighter {
            record(&said)?;
        }
        if let Err(error) = page.set(&key, value) {
            if !is_tighter {
                record(&LimitChange {
                    did: "limit failed".into(),
                    ..said
                })?;
            }
            return Err(Failure::usage(error));
        }
        if is_tighter {
            record(&said)?;
        }
        if talk.json {
            let text = serde_json::to_string(&said).expect("always JSON");
            talk.data(&format!("{text}\n"))?;
        } else {
            let (old, new) = (shown(old), shown(new));
            talk.data(&format!("{key}: {old} to {new}\n"))?;
        }
    }
    Ok(())
}

fn shown(limit: Option<i64>) -> String {
    limit.map_or("none".into(), |limit| limit.to_string())
}

/// Makes the page anew. The record of it comes first: it may be looser than what is damaged.
fn remake(dir: &RunDir, config: &Config, reason: &str, talk: Talk) -> Result<(), Failure> {
    let path = dir.limits_path();
    let said = LimitChange {
        did: "limits remade".into(),
        ..LimitChange::now("", None, None, reason)
    };
    said.record(&path).map_err(Failure::io)?;
    let changes = dir.remake_limits(&config.risk).map_err(Failure::io)?;
    let page = Page::open(&path).map_err(Failure::io)?;
    if !talk.json {
        talk.say(format_args!(
            "{}: made anew, with {changes} changes of the record; a run that goes on lets no order leave \
             until it is resumed",
            path.display()
        ));
    }
    show(&page, talk)
}

/// `KEY=VALUE`, or `KEY=none`.
fn change(text: &str, strategies: &[String]) -> Result<(Key, Option<u64>), String> {
    let want = || format!("--set {text}: want KEY=NUMBER or KEY=none");
    let (key, value) = text.split_once('=').ok_or_else(want)?;
    let key = Key::parse(key).map_err(|what| format!("--set {text}: {what}"))?;
    if let Of::Strategy(name) = &key.of
        && !strategies.contains(name)
    {
        let known = strategies.join(", ");
        return Err(format!(
            "--set {text}: {name}: no such strategy; there are {known}"
        ));
    }
    let value = match value {
        "none" => None,
        digits => Some(digits.parse::<u64>().map_err(|_| want())?),
    };
    match value {
        Some(value) if value > key.limit.largest() => Err(format!(
            "--set {text}: want at most {}",
            key.limit.largest()
        )),
        value => Ok((key, value)),
    }
}

fn show(page: &Page, talk: Talk) -> Result<(), Failure> {
    let damage = page.damage();
    let all = page.all();
    if talk.json {
        let limits: serde_json::Map<String, serde_json::Value> = all
            .iter()
            .map(|(key, value)| (key.to_string(), (*value).into()))
            .collect();
        let text = serde_json::json!({
            "page": page.path().display().to_string(),
            "limits": limits,
            "trouble": damage,
        });
        return talk.data(&format!("{text}\n"));
    }
    let mut text = String::new();
    for (key, value) in all {
        text += &format!("{key} = {value}\n");
    }
    if let Some(damage) = damage {
        text += &format!("{damage}: no order leaves\n");
    }
    if text.is_empty() {
        text = format!("{}: there are no limits\n", page.path().display());
    }
    talk.data(&text)
}
