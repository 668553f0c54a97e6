//! `tapeline recon`

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use ::fix::recon::{Break, Fate, Ledger, Logged, reconcile};
use bus::log::Record;
use bus::oms::{Date, OrderId};
use bus::signal::Outcome;
use bus::{Body, Side};
use serde_json::json;
use tapeline::config::OrderMode;
use tapeline::results::{read_blotters, read_paper};
use tapeline::run_dir::{Manifest, RunDir};
use tapeline::session::TradingDay;
use tapeline::term::{Style, count};

use super::words::name_of;
use super::{Failure, Talk};
use crate::cli;

pub fn recon(args: &cli::Recon, talk: Talk) -> Result<(), Failure> {
    let (dir, manifest) = RunDir::open(&args.run).map_err(Failure::usage)?;
    let config = dir.read_config().map_err(Failure::usage)?;
    let is_paper = config.orders.mode == Some(OrderMode::Paper);
    if !config.orders.has_session() && !is_paper {
        return Err(Failure::usage(format!(
            "{}: its orders went through no session, so nobody reported on them; want a run with \
             [orders.fix] or [orders.ouch], or of the mode `paper`",
            args.run.display()
        )));
    }
    if is_paper && !args.drop_copy.is_empty() {
        return Err(Failure::usage(format!(
            "{}: its venue is simulated and tells nobody else of its orders; want no --drop-copy",
            args.run.display()
        )));
    }
    let date = date_of(&manifest)?;
    let (log, names) = logged(&dir, &manifest, date)?;
    let reports = if is_paper {
        let pieces = dir.pieces(&manifest.parts);
        let name_of = |number| name_in(&names, number);
        vec![read_paper(&pieces, date, name_of).map_err(Failure::io)?]
    } else {
        // A run that changed its number of shards has a journal for each that it ever had.
        let shards = manifest.parts.iter().map(|part| part.shards).max();
        let shards = shards.unwrap_or(0).max(config.run.shards);
        read_blotters(&dir, shards).map_err(Failure::io)?
    };
    let reports = Ledger::of(reports);
    let copy = read_copies(&args.drop_copy)?;
    let breaks = reconcile(&log, &reports, copy.as_ref(), args.fills_only);
    let sent = log.values().filter(|order| order.fate == Fate::Sent);
    let sent = sent.count();
    if talk.json {
        let side = |ledger: &Ledger| json!({ "orders": ledger.order_count(), "fills": ledger.fill_count() });
        let said = json!({
            "schema": "tapeline-recon/1",
            "equal": breaks.is_empty(),
            "log": { "orders": log.len(), "sent": sent },
            "reports": json!({
                "orders": reports.order_count(),
                "fills": reports.fill_count(),
                "withheld": reports.withheld_count(),
            }),
            "drop_copy": copy.as_ref().map(side),
            "breaks": breaks.iter().map(row).collect::<Vec<_>>(),
        });
        talk.data(&format!("{said}\n"))?;
    } else {
        let mut text = format!(
            "log: {} orders, {} sent\nreports: {} orders, {} fills",
            count(log.len() as u64),
            count(sent as u64),
            count(reports.order_count() as u64),
            count(reports.fill_count() as u64),
        );
        match reports.withheld_count() {
            0 => text.push('\n'),
            withheld => text += &format!("; {} withheld\n", count(withheld as u64)),
        }
        if let Some(copy) = &copy {
            text += &format!(
                "drop copy: {} orders, {} fills, {} other messages\n",
                count(copy.order_count() as u64),
                count(copy.fill_count() as u64),
                count(copy.passed_over),
            );
        }
        text += &table(&breaks, copy.is_some());
        if breaks.is_empty() {
            text += &format!("{}\n", Style::stdout().good("equal"));
        }
        talk.data(&text)?;
    }
    match breaks.len() {
        0 => Ok(()),
        1 => Err(Failure::verification("1 break")),
        breaks => Err(Failure::verification(format!("{breaks} breaks"))),
    }
}

/// The trading date, which orders are named by.
fn date_of(manifest: &Manifest) -> Result<Date, Failure> {
    let day = TradingDay::new(&manifest.date, &manifest.timezone).map_err(Failure::usage)?;
    Ok(Date {
        year: day.date.year() as u16,
        month: day.date.month() as u8,
        day: day.date.day() as u8,
    })
}

/// Symbols by number.
type SymbolNames = HashMap<u32, String>;

/// One without a name is called by its number.
fn name_in(names: &SymbolNames, number: u32) -> String {
    let name = names.get(&number).cloned();
    name.unwrap_or_else(|| format!("#{number}"))
}

/// The orders that the run's log has, with what became of each, and its symbols.
fn logged(
    dir: &RunDir,
    manifest: &Manifest,
    date: Date,
) -> Result<(BTreeMap<Vec<u8>, Logged>, SymbolNames), Failure> {
    let mut names = SymbolNames::new();
    let mut orders: BTreeMap<Vec<u8>, (u32, Logged)> = BTreeMap::new();
    let mut by_cause: HashMap<(u64, u32, u16), OrderId> = HashMap::new();
    for piece in dir.pieces(&manifest.parts) {
        for item in piece.records().map_err(Failure::log)? {
            let (_, record) = item.map_err(Failure::log)?;
            let signal = match record {
                Record::Event(event) => {
                    if let Some(name) = name_of(&event) {
                        names.insert(event.symbol, name);
                    }
                    continue;
                }
                Record::Signal(signal) => signal,
            };
            match signal.body() {
                Some(Body::Order(order)) => {
                    let id = OrderId::of(date, &signal);
                    by_cause.insert((signal.seq, signal.symbol, signal.ordinal), id);
                    let side: &[u8] = match order.side {
                        Side::Buy => b"1",
                        Side::Sell => b"2",
                        Side::None => b"",
                    };
                    let logged = Logged {
                        symbol: Vec::new(),
                        side: side.to_vec(),
                        qty: order.qty,
                        price: order.price,
                        fate: Fate::Unsaid,
                    };
                    orders.insert(id.as_bytes().to_vec(), (signal.symbol, logged));
                }
                Some(Body::Sent(sent)) => {
                    let cause = (signal.seq, signal.symbol, sent.order_ordinal);
                    let id = by_cause.get(&cause);
                    let found = id.and_then(|id| orders.get_mut(&id.as_bytes()[..]));
                    if let Some((_, logged)) = found {
                        logged.fate = match sent.outcome {
                            Outcome::Sent => Fate::Sent,
                            Outcome::Killed | Outcome::Failed | Outcome::Refused => Fate::Kept,
                            // It was said to have left, or it may have left before a crash.
                            Outcome::Cancelled => logged.fate,
                        };
                    }
                }
                _ => {}
            }
        }
    }
    let named = orders.into_iter().map(|(id, (symbol, mut logged))| {
        logged.symbol = name_in(&names, symbol).into();
        (id, logged)
    });
    Ok((named.collect(), names))
}

/// The files of a drop copy, and of its folders, by their names.
fn read_copies(paths: &[PathBuf]) -> Result<Option<Ledger>, Failure> {
    if paths.is_empty() {
        return Ok(None);
    }
    let mut copy = Ledger::default();
    let mut messages = 0;
    for path in paths {
        for file in files_of(path)? {
            messages += copy.read_copy(&file).map_err(|error| match error.kind() {
                std::io::ErrorKind::InvalidData => Failure::input(error),
                _ => Failure::io(error),
            })?;
        }
    }
    if messages == 0 {
        let paths: Vec<String> = paths
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        return Err(Failure::input(format!(
            "{}: empty, want the messages of a drop copy",
            paths.join(", ")
        )));
    }
    Ok(Some(copy))
}

fn files_of(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let fail = |error| Failure::io(format!("{}: {error}", path.display()));
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(fail)? {
        let file = entry.map_err(fail)?.path();
        if file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(Failure::usage(format!(
            "{}: no file in it, want those of a drop copy",
            path.display()
        )));
    }
    Ok(files)
}

fn row(found: &Break) -> serde_json::Value {
    json!({
        "break": found.kind.name(),
        "order": found.order,
        "fill": found.fill,
        "symbol": found.symbol,
        "log": found.log,
        "reports": found.reports,
        "drop_copy": found.drop_copy,
    })
}

/// The breaks as a table, each column as wide as it needs to be.
fn table(breaks: &[Break], has_copy: bool) -> String {
    if breaks.is_empty() {
        return String::new();
    }
    let head = [
        "break",
        "order",
        "fill",
        "symbol",
        "log",
        "reports",
        "drop copy",
    ];
    let columns = if has_copy { head.len() } else { head.len() - 1 };
    let mut rows: Vec<Vec<String>> = vec![head.map(str::to_owned).to_vec()];
    for found in breaks {
        let said = |what: &Option<String>| what.clone().unwrap_or_default();
        rows.push(vec![
            found.kind.name().to_owned(),
            found.order.clone(),
            found.fill.clone(),
            found.symbol.clone(),
            said(&found.log),
            said(&found.reports),
            said(&found.drop_copy),
        ]);
    }
    let mut text = String::new();
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0))
        .collect();
    for row in &rows {
        let cells = row.iter().zip(&widths);
        let line: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text += line.join("  ").trim_end();
        text.push('\n');
    }
    text
}
