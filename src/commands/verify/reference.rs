//! A run's events through the books and through their plain twin, in step.

use std::collections::BTreeMap;

use book::BooksConfig;
use bus::log::Record;
use bus::{Event, Level, Side};
use serde_json::json;
use tapeline::config::Config;
use tapeline::lockstep::{Difference, Lockstep, Scope};
use tapeline::run_dir::{Piece, RunDir};
use tapeline::tables;
use tapeline::term::count;

use super::divergence::{At, Divergence, Outcome};
use crate::commands::Failure;
use crate::commands::words::name_of;

/// Events applied together, as a shard does.
const BLOCK: usize = 64;
/// The most orders and levels that books can be told to hold.
const HELD_MAX: u32 = (1 << 26) - 1;

pub fn compare(dir: &RunDir, pieces: &[Piece], config: &Config) -> Result<Outcome, Failure> {
    let mut walk = Walk::new(pieces, config.books());
    let found = match walk.all(Scope::Touched)? {
        // Only that the whole book differs is known: from when on, a closer look says.
        Some((found, _)) if found.is_late => {
            let symbol = found.symbol;
            let closer = walk.all(Scope::Whole(symbol))?;
            Some(closer.unwrap_or((found, None)))
        }
        found => found,
    };
    let mut divergence = found.map(|(found, at)| Divergence {
        symbol: found.symbol,
        at,
        side: found.side,
        level: found.level,
        price: found.price,
        what: found.what.to_string(),
        book: found.books,
        oracle: found.reference,
    });
    let (mut symbols, mut levels) = (0, 0);
    let table = dir.tables_dir().join("books.parquet");
    let has_table = divergence.is_none() && table.exists();
    if has_table {
        let mut books: BTreeMap<String, [Vec<Level>; 2]> = BTreeMap::new();
        for row in tables::read_books(&table).map_err(Failure::io)? {
            let row = row.map_err(Failure::io)?;
            let [bids, asks] = books.entry(row.symbol).or_default();
            bids.extend(row.bid);
            asks.extend(row.ask);
        }
        symbols = books.len();
        levels = books.values().flatten().map(Vec::len).sum();
        divergence = walk.finals(&books);
    }
    let mut compared = format!(
        "{} events of {} symbols in step, {} prices with their queues",
        count(walk.events),
        count(walk.names.len() as u64),
        count(walk.comparisons)
    );
    if has_table {
        let (levels, symbols) = (count(levels as u64), count(symbols as u64));
        compared.push_str(&format!(
            ", {levels} prices of the run's own {symbols} final books"
        ));
    }
    Ok(Outcome {
        not_compared: Vec::new(),
        oracle: "reference",
        compared,
        counts: json!({
            "events": walk.events, "symbols": walk.names.len(), "prices": walk.comparisons,
            "final_prices": levels,
        }),
        divergence,
    })
}

/// A walk through a run's logs.
struct Walk<'a> {
    pieces: &'a [Piece],
    config: BooksConfig,
    names: BTreeMap<u32, String>,
    /// Each symbol's side at the end, by the plain books: the ten best prices.
    last: BTreeMap<u32, [Vec<Level>; 2]>,
    events: u64,
    comparisons: u64,
}

type Found = Option<(Difference, Option<At>)>;

impl Walk<'_> {
    fn new(pieces: &[Piece], config: BooksConfig) -> Walk<'_> {
        Walk {
            pieces,
            config,
            names: BTreeMap::new(),
            last: BTreeMap::new(),
            events: 0,
            comparisons: 0,
        }
    }

    /// All logs: each with books of its own, as its shard had. Where a run changed its number of
    /// shards a symbol's events are in several logs, and the same books go through all of them.
    fn all(&mut self, scope: Scope) -> Result<Found, Failure> {
        (self.events, self.comparisons) = (0, 0);
        let is_one = self.pieces.iter().all(|piece| piece.part == 0);
        let mut config = self.config;
        if !is_one {
            let shards = self.pieces.iter().map(|piece| piece.shards).max();
            let shards = shards.unwrap_or(1) as u32;
            config.orders_max = config.orders_max.saturating_mul(shards).min(HELD_MAX);
            config.levels_max = config.levels_max.saturating_mul(shards).min(HELD_MAX);
        }
        let fresh = || Lockstep::new(config, scope).map_err(Failure::io);
        let mut both = fresh()?;
        for index in 0..self.pieces.len() {
            let found = self.piece(index, &mut both)?;
            if found.is_some() {
                self.count(&both);
                return Ok(found);
            }
            if is_one || index + 1 == self.pieces.len() {
                let found = both.finish().err();
                self.count(&both);
                if let Some(found) = found {
                    return Ok(Some((found, None)));
                }
                self.keep(&both);
                both = fresh()?;
            }
        }
        Ok(None)
    }

    fn piece(&mut self, index: usize, both: &mut Lockstep) -> Result<Found, Failure> {
        let mut events: Vec<Event> = Vec::with_capacity(BLOCK);
        let mut cells = Vec::with_capacity(BLOCK);
        let mut records = self.pieces[index].records().map_err(Failure::log)?;
        loop {
            let next = records.next().transpose().map_err(Failure::log)?;
            let is_end = next.is_none();
            if let Some((cell, Record::Event(event))) = next {
                if let Some(name) = name_of(&event) {
                    self.names.insert(event.symbol, name);
                }
                events.push(event);
                cells.push(cell);
            }
            if events.len() == BLOCK || is_end {
                if let Err((at, found)) = both.take(&events) {
                    let cell = cells[at];
                    return Ok(Some((found, Some(At { piece: index, cell }))));
                }
                events.clear();
                cells.clear();
            }
            if is_end {
                return Ok(None);
            }
        }
    }

    fn count(&mut self, both: &Lockstep) {
        self.events += both.events();
        self.comparisons += both.comparisons();
    }

    fn keep(&mut self, both: &Lockstep) {
        let reference = both.reference();
        for symbol in reference.symbols() {
            let levels = |side| {
                let levels = reference.side(symbol, side).into_iter();
                levels.map(|(level, _)| level).take(10).collect()
            };
            let sides = [levels(Side::Buy), levels(Side::Sell)];
            self.last.insert(symbol, sides);
        }
    }

    /// The books that the run itself ended with, by its table.
    fn finals(&self, books: &BTreeMap<String, [Vec<Level>; 2]>) -> Option<Divergence> {
        let none = [Vec::new(), Vec::new()];
        let text = |level: Option<&Level>| {
            level.map_or("none".to_string(), |level| {
                format!(
                    "{} in {} orders at {}",
                    level.qty, level.orders, level.price
                )
            })
        };
        for (symbol, name) in &self.names {
            let ours = books.get(name).unwrap_or(&none);
            let plain = self.last.get(symbol).unwrap_or(&none);
            for (side, index) in [(Side::Buy, 0), (Side::Sell, 1)] {
                for depth in 0..ours[index].len().max(plain[index].len()) {
                    let (ours, plain) = (ours[index].get(depth), plain[index].get(depth));
                    if ours != plain {
                        return Some(Divergence {
                            symbol: *symbol,
                            at: None,
                            side,
                            level: Some(depth),
                            price: plain.or(ours).map(|level| level.price),
                            what: "level of the run's final book".into(),
                            book: text(ours),
                            oracle: text(plain),
                        });
                    }
                }
            }
        }
        None
    }
}
