//! A run of a LOBSTER message file against the order book file that came with it: a row for each
//! message, with the book's levels after it.
//!
//! The messages begin in the middle of a day and leave out what lies beyond the levels of the rows,
//! so the rows show quantities that no message brought. What a price has beyond the book when it
//! comes into the rows' view is taken over as found; from then on, as long as it stays in view, it
//! changes by messages about orders that no message brought, and by nothing else.
//!
//! ```text
//! row     = book + beyond          for each price in view, after each message
//! beyond := row - book             when a price comes into view
//! beyond -= size                   by a cancel, delete or execution of an order not brought
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use book::Books;
use bus::log::Record;
use bus::{Anomaly, Event, Kind, Level, Price, Qty, Side};
use feed::protocol::lobster::{self, Message};
use feed::source::TextFile;
use serde_json::json;
use tapeline::config::Config;
use tapeline::run_dir::Piece;
use tapeline::term::count;

use super::divergence::{At, Divergence, Outcome};
use crate::commands::series::once;
use crate::commands::words::name_of;
use crate::commands::{Failure, Talk};

pub fn compare(
    folder: &Path,
    pieces: &[Piece],
    config: &Config,
    talk: Talk,
) -> Result<Outcome, Failure> {
    let mut rows = Rows::open(folder, talk)?;
    let mut books = Books::new(config.books()).map_err(Failure::io)?;
    let mut sides = [Beside::new(Side::Buy), Beside::new(Side::Sell)];
    let mut symbol = None;
    let (mut messages, mut divergence) = (0u64, None);
    'logs: for (index, piece) in pieces.iter().enumerate() {
        for item in piece.records().map_err(Failure::log)? {
            let (cell, Record::Event(event)) = item.map_err(Failure::log)? else {
                continue;
            };
            if name_of(&event).as_ref() == Some(&rows.symbol) {
                symbol = Some(event.symbol);
            }
            if symbol != Some(event.symbol) || event.kind.is_for_all() {
                continue;
            }
            let applied = books.apply(&event);
            // The symbol's own definition is no message.
            if event.kind == Kind::Symbol {
                continue;
            }
            let Some((message, shown)) = rows.next(&event)? else {
                return Err(Failure::usage(format!(
                    "{}: has {messages} lines, and the run goes on behind them",
                    rows.messages_path.display()
                )));
            };
            messages += 1;
            let is_print = event.kind == Kind::Trade && message.code == b'4';
            let is_beyond = applied.anomaly == Some(Anomaly::UnknownOrder) || is_print;
            for side in &mut sides {
                let levels = match side.side {
                    Side::Buy => &shown.bids,
                    _ => &shown.asks,
                };
                let taken = (is_beyond && message.side == side.side)
                    .then_some((message.price, message.qty));
                let found = side.row(&books, event.symbol, levels, shown.depth, taken);
                if let Some((price, book, row)) = found {
                    divergence = Some(Divergence {
                        symbol: event.symbol,
                        at: Some(At { piece: index, cell }),
                        side: side.side,
                        level: levels.iter().position(|level| level.0 == price),
                        price: Some(price),
                        what: format!("quantity, in line {}", rows.line),
                        book: book.to_string(),
                        oracle: row.to_string(),
                    });
                    break 'logs;
                }
            }
        }
    }
    if messages == 0 {
        return Err(Failure::usage(format!(
            "{}: is of {}, of which the run has no message",
            rows.messages_path.display(),
            rows.symbol
        )));
    }
    let compared: u64 = sides.iter().map(|side| side.compared).sum();
    let found: u64 = sides.iter().map(|side| side.found).sum();
    Ok(Outcome {
        not_compared: Vec::new(),
        oracle: "lobster",
        compared: format!(
            "{} rows, {} levels of both sides; {} times a price had quantity from elsewhere when it \
             came into view",
            count(messages),
            count(compared),
            count(found)
        ),
        counts: json!({"rows": messages, "levels": compared, "from_elsewhere": found}),
        divergence,
    })
}

/// Both files, line by line.
struct Rows {
    symbol: String,
    messages_path: PathBuf,
    messages: TextFile,
    books: TextFile,
    /// The line read last, from 1 on.
    line: u64,
}

impl Rows {
    fn open(folder: &Path, talk: Talk) -> Result<Rows, Failure> {
        let fail = |e: std::io::Error| Failure::io(format!("{}: {e}", folder.display()));
        let entries: Vec<_> = std::fs::read_dir(folder)
            .and_then(Iterator::collect)
            .map_err(fail)?;
        let find = |what: &str| {
            let names = entries.iter().map(|entry| entry.path()).filter(|path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                name.contains(what)
            });
            let mut names: Vec<PathBuf> = names.collect();
            once(&mut names, talk)?;
            match &names[..] {
                [one] => Ok(one.clone()),
                _ => Err(Failure::usage(format!(
                    "{}: {} files with `{what}` in their names, want one",
                    folder.display(),
                    names.len()
                ))),
            }
        };
        let (messages_path, books) = (find("_message_")?, find("_orderbook_")?);
        let name = messages_path.file_name().unwrap_or_default();
        let name = name.to_string_lossy();
        let symbol = name.split('_').next().unwrap_or_default();
        Ok(Rows {
            symbol: symbol.to_ascii_uppercase(),
            messages: TextFile::open(&messages_path).map_err(Failure::io)?,
            books: TextFile::open(&books).map_err(Failure::io)?,
            messages_path,
            line: 0,
        })
    }

    /// The line of an event of the run, and the row beside it. Lines that the run could not read are
    /// passed over, with their rows.
    fn next(&mut self, event: &Event) -> Result<Option<(Message, lobster::Shown)>, Failure> {
        loop {
            self.line += 1;
            let Some(line) = self.messages.line().map_err(Failure::io)? else {
                return Ok(None);
            };
            let message = lobster::message(line).ok();
            let row = self.books.line().map_err(Failure::io)?;
            let Some(row) = row else {
                let what = format!(
                    "ends before line {}, which the message file has: want a row for each message",
                    self.line
                );
                return Err(Failure::usage(self.books.error(what)));
            };
            let shown = lobster::shown(row);
            let Some(message) = message else { continue };
            let shown = shown.map_err(|at| {
                let what = format!(
                    "line {}, column byte {at}: want prices and sizes of each level",
                    self.line
                );
                Failure::usage(self.books.error(what))
            })?;
            // What the run keeps of a line: deletes lose their size, and prints their order.
            let is_same = message.code == event.code
                && (event.kind == Kind::Status
                    || (event.order == 0 || event.order == message.order)
                        && (event.qty.0 == 0 || event.qty == message.qty));
            if !is_same {
                let what = format!(
                    "line {} has type {}, order {}, size {}, and message {} of the run type {}, order \
                     {}, size {}: want the file that the run was made from",
                    self.line,
                    char::from(message.code),
                    message.order,
                    message.qty,
                    event.seq,
                    char::from(event.code),
                    event.order,
                    event.qty
                );
                return Err(Failure::usage(self.messages.error(what)));
            }
            return Ok(Some((message, shown)));
        }
    }
}

/// One side of the book beside one side of the rows.
struct Beside {
    side: Side,
    /// What prices in view have beyond the book, where that is not 0.
    beyond: BTreeMap<Price, i64>,
    /// The worst price in view; `None` if all prices are.
    worst: Option<Price>,
    /// Whether there was a row before.
    has_view: bool,
    levels: Vec<Level>,
    compared: u64,
    found: u64,
}

impl Beside {
    fn new(side: Side) -> Beside {
        Beside {
            side,
            beyond: BTreeMap::new(),
            worst: None,
            has_view: false,
            levels: Vec::new(),
            compared: 0,
            found: 0,
        }
    }

    fn is_in(&self, price: Price, worst: Option<Price>) -> bool {
        worst.is_none_or(|worst| match self.side {
            Side::Buy => price >= worst,
            _ => price <= worst,
        })
    }

    /// Compares a row; the first price that is not right, with what the book and what is beyond it
    /// have there, and what the row has.
    fn row(
        &mut self,
        books: &Books,
        symbol: u32,
        row: &[(Price, Qty)],
        depth: usize,
        taken: Option<(Price, Qty)>,
    ) -> Option<(Price, i64, i64)> {
        if let Some((price, qty)) = taken.filter(|(price, _)| self.was_in(*price)) {
            *self.beyond.entry(price).or_default() -= qty.0;
        }
        let worst = match row.last() {
            Some((price, _)) if row.len() >= depth => Some(*price),
            _ => None,
        };
        let mut levels = std::mem::take(&mut self.levels);
        books.depth(symbol, self.side, usize::MAX, &mut levels);
        let mut prices: BTreeMap<Price, (i64, i64)> = BTreeMap::new();
        for level in levels.iter().take_while(|l| self.is_in(l.price, worst)) {
            prices.entry(level.price).or_default().0 = level.qty.0;
        }
        for (price, qty) in row {
            prices.entry(*price).or_default().1 = qty.0;
        }
        for price in self.beyond.keys() {
            if self.is_in(*price, worst) {
                prices.entry(*price).or_default();
            }
        }
        self.levels = levels;
        let mut beyond = BTreeMap::new();
        let mut wrong = None;
        for (price, (ours, shown)) in prices {
            self.compared += 1;
            if self.was_in(price) {
                let known = self.beyond.get(&price).copied().unwrap_or(0);
                if ours + known != shown && (wrong.is_none() || self.side == Side::Buy) {
                    wrong = Some((price, ours + known, shown));
                }
            } else {
                self.found += u64::from(ours != shown);
            }
            if ours != shown {
                beyond.insert(price, shown - ours);
            }
        }
        self.beyond = beyond;
        (self.worst, self.has_view) = (worst, true);
        wrong
    }

    /// Whether the row before showed what is at this price.
    fn was_in(&self, price: Price) -> bool {
        self.has_view && self.is_in(price, self.worst)
    }
}
