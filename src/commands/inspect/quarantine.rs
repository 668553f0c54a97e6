//! `tapeline inspect quarantine.bin`

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use feed::quarantine::{Item, MAGIC, Records, Refused};
use serde_json::json;
use tapeline::config::Config;
use tapeline::run_dir::RunDir;
use tapeline::session::TradingDay;
use tapeline::term::{Style, count};
use tapeline::venue::Venue;

use crate::commands::{Failure, Talk};

/// How many bytes of a record are shown.
const BYTES_SHOWN: usize = 16;

/// Whether all of these files are quarantines.
pub fn are(files: &[PathBuf]) -> bool {
    let is = |path: &PathBuf| {
        let mut start = [0; MAGIC.len()];
        let file = fs::File::open(path).and_then(|mut file| file.read_exact(&mut start));
        file.is_ok() && start == MAGIC
    };
    !files.is_empty() && files.iter().all(is)
}

/// Lists them.
pub fn list(files: &[PathBuf], config: &Config, talk: Talk) -> Result<(), Failure> {
    let mut text = String::new();
    for path in files {
        let bytes = fs::read(path).map_err(|e| Failure::io(format!("{}: {e}", path.display())))?;
        let listed = one(path, &bytes, config, talk);
        text += &listed.map_err(|(offset, what)| {
            let path = path.display();
            Failure::io(format!("{path}, byte {offset}: damaged quarantine: {what}"))
        })?;
    }
    talk.data(&text)
}

fn one(path: &Path, bytes: &[u8], config: &Config, talk: Talk) -> Result<String, (u64, String)> {
    let mut records = Records::open(bytes)?;
    let header = records.header();
    let date = TradingDay::at(header.date, "UTC").map_err(|what| (32, what))?;
    let date = date.date.to_string();
    let zone = config.source.zone(Venue::of(header.wire, None));
    let day = TradingDay::new(&date, talk.tz.unwrap_or(zone)).map_err(|what| (32, what))?;
    let all = records.by_ref().collect::<Result<Vec<_>, _>>()?;
    let kind = |refused: &Refused<'_>| match refused.anomaly {
        Some(anomaly) => anomaly.name(),
        None if refused.item == Item::Full => "full",
        None => "trouble",
    };
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    for refused in &all {
        *kinds.entry(kind(refused)).or_default() += 1;
    }
    // The run beside it knows the files by name.
    let inputs = path
        .parent()
        .and_then(|run| RunDir::open(run).ok())
        .map_or(Vec::new(), |(_, manifest)| manifest.inputs);
    let names: Vec<&Path> = inputs.iter().map(|input| &*input.path).collect();
    let hex = |raw: &[u8]| raw.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let mut out = String::new();
    if talk.json {
        let rows = all.iter().map(|r| {
            json!({
                "item": r.item.name(),
                "anomaly": kind(r),
                "file": r.place.file,
                "name": names.get(usize::from(r.place.file)),
                "packet": r.place.packet,
                "offset_bytes": r.place.offset_bytes,
                "message": r.message,
                "line": r.line,
                "session": r.numbered.map(|(session, _)| session.to_string()),
                "sequence": r.numbered.map(|(_, sequence)| sequence),
                "ts_recv_ns": r.ts_recv.map(|ts| ts.0),
                "why": r.why,
                "bytes": r.full_bytes,
                "raw": hex(r.raw),
            })
        });
        let value = json!({
            "path": path.display().to_string(),
            "protocol": header.wire.name(),
            "date": date,
            "kinds": kinds,
            "records": rows.collect::<Vec<_>>(),
        });
        let _ = writeln!(out, "{value}");
        return Ok(out);
    }
    let style = Style::stdout();
    let kinds: Vec<String> = kinds
        .iter()
        .map(|(name, n)| format!("{name} {}", count(*n)))
        .collect();
    let _ = writeln!(
        out,
        "{} {}: quarantine of {} on {date}, {} records: {}",
        style.bold("file    "),
        path.display(),
        header.wire.title(),
        count(all.len() as u64),
        kinds.join(", ")
    );
    for (index, refused) in all.iter().enumerate() {
        let _ = writeln!(
            out,
            "{:>8} {}",
            index + 1,
            line(refused, &names, &day, &hex)
        );
    }
    Ok(out)
}

fn line(
    refused: &Refused<'_>,
    names: &[&Path],
    day: &TradingDay,
    hex: &dyn Fn(&[u8]) -> String,
) -> String {
    let place = refused.place;
    let file = match names.get(usize::from(place.file)) {
        Some(path) => path.display().to_string(),
        None => format!("file {}", place.file),
    };
    let mut text = format!(
        "{:<7} {file}, packet {} at byte {}",
        refused.item.name(),
        place.packet,
        place.offset_bytes
    );
    if refused.message > 0 {
        let _ = write!(text, ", message {}", refused.message);
    }
    if let Some((session, sequence)) = refused.numbered {
        let _ = write!(text, ", sequence {sequence} of {session}");
    }
    if let Some(ts) = refused.ts_recv {
        let _ = write!(text, ", {}", day.shown(ts));
    }
    let _ = write!(text, ": {}", refused.why);
    let shown = &refused.raw[..refused.raw.len().min(BYTES_SHOWN)];
    if !shown.is_empty() {
        let more = if refused.full_bytes as usize > shown.len() {
            "..."
        } else {
            ""
        };
        let _ = write!(text, "; {} bytes: {}{more}", refused.full_bytes, hex(shown));
    }
    text
}
