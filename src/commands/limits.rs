//! `tapeline limits`

use bus::oms::limits::{Key, Page};
use tapeline::kill::LimitChange;
use tapeline::run_dir::RunDir;

use super::{Failure, Talk};
use crate::cli;

pub fn limits(args: &cli::Limits, talk: Talk) -> Result<(), Failure> {
    let (dir, _) = RunDir::open(&args.run).map_err(Failure::usage)?;
    let path = dir.limits_path();
    if !path.exists() {
        return Err(Failure::usage(format!(
            "{}: the run counts no orders together: its settings had none of risk.firm, risk.session, \
             risk.strategy and risk.symbol (an empty table is enough)",
            dir.path().display()
        )));
    }
    let page = Page::open(&path).map_err(Failure::io)?;
    if args.set.is_empty() {
        return show(&page, talk);
    }
    let reason = args.reason.as_deref().unwrap_or_default();
    if reason.trim().is_empty() {
        return Err(Failure::usage("--reason is missing: why is this changed?"));
    }
    // All are understood before one is changed.
    let changes: Result<Vec<(Key, Option<u64>)>, String> =
        args.set.iter().map(|text| change(text)).collect();
    for (key, value) in changes.map_err(Failure::usage)? {
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

/// `KEY=VALUE`, or `KEY=none`.
fn change(text: &str) -> Result<(Key, Option<u64>), String> {
    let want = || format!("--set {text}: want KEY=NUMBER or KEY=none");
    let (key, value) = text.split_once('=').ok_or_else(want)?;
    let key = Key::parse(key).map_err(|what| format!("--set {text}: {what}"))?;
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
