//! Where a run and an oracle first differ, with what happened around it.

use std::collections::VecDeque;

use bus::log::Record;
use bus::{Event, Kind, Price, Side};
use serde_json::json;
use tapeline::run_dir::Piece;
use tapeline::term::Style;

use super::Whole;
use crate::commands::words::Words;
use crate::commands::{Failure, Talk};

/// Events of the symbol shown before the first that differs, and behind it.
const BEFORE: usize = 5;
const BEHIND: usize = 4;

/// An event's place in a run's logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// Which of the run's logs.
    pub piece: usize,
    /// Its cell there.
    pub cell: u64,
}

/// What is not the same.
#[derive(Clone, Debug)]
pub struct Divergence {
    pub symbol: u32,
    /// After which event; none where only the end is known.
    pub at: Option<At>,
    pub side: Side,
    pub level: Option<usize>,
    pub price: Option<Price>,
    pub what: String,
    pub book: String,
    pub oracle: String,
}

/// What was compared with an oracle, and what was found.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The oracle's name, as people see it.
    pub oracle: &'static str,
    /// What was compared, in words.
    pub compared: String,
    /// The same, as fields of the JSON object.
    pub counts: serde_json::Value,
    /// What the oracle says besides, by its names.
    pub not_compared: Vec<String>,
    pub divergence: Option<Divergence>,
}

/// Events around the one that differs; that one is `before.last()`.
#[derive(Default)]
struct Around {
    before: VecDeque<Event>,
    behind: Vec<Event>,
    name: String,
}

/// Walks through the logs once more for the events around a place.
fn around(pieces: &[Piece], symbol: u32, at: Option<At>) -> Result<Around, Failure> {
    let mut around = Around::default();
    let mut is_found = false;
    for (index, piece) in pieces.iter().enumerate() {
        for item in piece.records().map_err(Failure::log)? {
            let (cell, Record::Event(event)) = item.map_err(Failure::log)? else {
                continue;
            };
            if event.symbol == symbol && event.kind == Kind::Symbol {
                around.name = crate::commands::words::name_of(&event).unwrap_or_default();
            }
            let is_it = at == Some(At { piece: index, cell });
            let concerns = event.symbol == symbol && !event.kind.is_for_all();
            if !(is_it || concerns || event.kind == Kind::Gap) {
                continue;
            }
            if is_found {
                around.behind.push(event);
                if around.behind.len() == BEHIND {
                    return Ok(around);
                }
                continue;
            }
            if around.before.len() > BEFORE {
                around.before.pop_front();
            }
            around.before.push_back(event);
            is_found = is_it;
        }
    }
    Ok(around)
}

/// Says what was compared, and the first difference with its surroundings.
pub(super) fn report(outcome: &Outcome, run: &Whole, talk: Talk) -> Result<(), Failure> {
    let (pieces, day, style) = (&run.pieces[..], &run.day, Style::stdout());
    let lost = run.lost();
    let and_lost = lost
        .as_ref()
        .map_or(String::new(), |lost| format!("; {lost}"));
    let partial = run.partial();
    let mut beside = String::new();
    if let Some(partial) = &partial {
        beside.push_str(&format!("{:<9} {partial}\n", "partial"));
    }
    if !outcome.not_compared.is_empty() {
        beside.push_str(&format!(
            "not compared: {}\n",
            outcome.not_compared.join(", ")
        ));
    }
    let Some(found) = &outcome.divergence else {
        if talk.json {
            let mut said = json!({
                "schema": "tapeline-verify/1", "oracle": outcome.oracle, "equal": true,
                "lost": lost, "partial": partial, "fields_not_compared": outcome.not_compared,
            });
            extend(&mut said, &outcome.counts);
            return talk.data(&format!("{said}\n"));
        }
        return talk.data(&format!(
            "{} {}: {}{and_lost}\n{beside}",
            style.bold(&format!("{:<9}", outcome.oracle)),
            style.good("equal"),
            outcome.compared
        ));
    };
    let words = Words::new(day);
    let around = around(pieces, found.symbol, found.at)?;
    let mut before: Vec<String> = around.before.iter().map(|e| words.event(e)).collect();
    let last = around.before.back();
    let event = match found.at {
        Some(_) => before.pop(),
        None => None,
    };
    let behind: Vec<String> = around.behind.iter().map(|e| words.event(e)).collect();
    let side = match found.side {
        Side::None => None,
        Side::Buy => Some("bid"),
        Side::Sell => Some("ask"),
    };
    let piece = found.at.map(|at| (&pieces[at.piece], at.cell));
    let message = last.map(|event| event.seq);
    if talk.json {
        let mut said = json!({
            "schema": "tapeline-verify/1", "oracle": outcome.oracle, "equal": false, "lost": lost,
            "partial": partial, "fields_not_compared": outcome.not_compared,
            "first_divergence": {
                "symbol": around.name, "message": message,
                "part": piece.map(|(piece, _)| piece.part),
                "shard": piece.map(|(piece, _)| piece.shard),
                "cell": piece.map(|(_, cell)| cell),
                "side": side, "level": found.level,
                "price": found.price.map(|price| price.to_string()),
                "what": found.what, "book": found.book, "oracle": found.oracle,
                "before": before, "event": event, "behind": behind,
            },
        });
        extend(&mut said, &outcome.counts);
        talk.data(&format!("{said}\n"))?;
    } else {
        let mut text = format!("first divergence: {}", style.bold(&around.name));
        match (piece, message) {
            (Some((piece, cell)), Some(message)) => text.push_str(&format!(
                " after message {message} (part {}, shard {}, cell {cell})",
                piece.part, piece.shard
            )),
            _ => text.push_str(" at the end of the run"),
        }
        if let Some(side) = side {
            text.push_str(&format!(", {side}"));
        }
        if let Some(level) = found.level {
            text.push_str(&format!(" level {level}"));
        }
        if let Some(price) = found.price {
            text.push_str(&format!(" at {price}"));
        }
        text.push_str(&format!(": {}\n", found.what));
        for line in &before {
            text.push_str(&format!("    {line}\n"));
        }
        if let Some(line) = &event {
            text.push_str(&format!("  > {line}\n"));
        }
        for line in &behind {
            text.push_str(&format!("    {line}\n"));
        }
        text.push_str(&format!("{:<10} {}\n", style.bad("book      "), found.book));
        text.push_str(&format!(
            "{} {}\n",
            style.bad(&format!("{:<10}", outcome.oracle)),
            found.oracle
        ));
        text.push_str(&beside);
        talk.data(&text)?;
    }
    Err(Failure::verification(format!(
        "the book and its {} differ{and_lost}",
        outcome.oracle
    )))
}

fn extend(said: &mut serde_json::Value, counts: &serde_json::Value) {
    if let (Some(said), Some(counts)) = (said.as_object_mut(), counts.as_object()) {
        said.extend(counts.clone());
    }
}
