//! A run against books that somebody else built of the same input: a JSON file that has them at some
//! places of it, each compared when the run's log has come to its place.
//!
//! ```text
//! { ..., ENGINE: { ..., "checkpoints" or "samples": [CHECKPOINT, ...] },     any number of engines
//!        "per_symbol" or "busiest_symbols": { NAME: FINAL, ... } }           books at the end
//!
//! CHECKPOINT  "ts_event_le_ns": N            behind the last message up to this time, ns since 1970
//!             "after": "... #N"              or behind the symbol's N-th message that is no trade
//!             "symbol": NAME                 may be left out where the run has one symbol
//!             "top10_bids[price,size,orders]", "top10_asks[price,size,orders]"
//!             "bid_levels", "ask_levels", "bid_orders", "ask_orders"     of the whole side, if there
//! FINAL       "final_bid", "final_ask": [price, size] or null
//!             "final_levels" or "levels": [bids, asks]
//! ```
//!
//!             "best_bid", "best_ask"         a price or null
//!
//! Numbers may be text; sizes are in the feed's own units. What else is in the file is named, and not compared.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use book::{Books, BooksConfig};
use bus::fixed::decimal_text;
use bus::log::Record;
use bus::{Event, Kind, Level, Price, Side};
use serde_json::{Map, Value, json};
use tapeline::config::Config;
use tapeline::run_dir::Piece;
use tapeline::term::count;

use super::books_of;
use super::divergence::{At, Divergence, Outcome};
use crate::commands::Failure;
use crate::commands::words::name_of;

/// Levels that a checkpoint shows at most: a book with more goes on beyond it.
const SHOWN: usize = 10;
/// The code of a message that prints only, which those who count changes leave out.
const TRADE: u8 = b'T';

/// One price of a checkpoint. The size is in 1e-9, since it may be divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) price: Price,
    pub(super) size_e9: i128,
    pub(super) orders: Option<u64>,
}

/// Where in the input a checkpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Behind the last message up to this number.
    Message(u64),
    /// Behind the last message up to this time.
    Time(i64),
    /// Behind so many messages that are no trades.
    Changes(u64),
    End,
}

/// A symbol's book at a place.
#[derive(Clone, Debug)]
pub(super) struct Checkpoint {
    /// What people call it.
    pub(super) name: String,
    pub(super) symbol: Option<String>,
    pub(super) place: Place,
    /// The best prices of each side, and how many at most there would be.
    pub(super) sides: [Option<Vec<Row>>; 2],
    pub(super) shown: usize,
    /// The worst price of each side that is compared.
    pub(super) worst: [Option<Price>; 2],
    /// The best price of each side, which may be none.
    pub(super) best: [Option<Option<Price>>; 2],
    /// All levels and orders of each side.
    pub(super) levels: [Option<u64>; 2],
    pub(super) orders: [Option<u64>; 2],
}

/// Whether a file says books at places of its input.
pub fn is_of(truth: &Value) -> bool {
    truth.get("schema").is_none() && truth.is_object()
}

pub fn compare(
    path: &Path,
    truth: &Value,
    pieces: &[Piece],
    config: &Config,
) -> Result<Outcome, Failure> {
    let fail = |what: String| Failure::usage(format!("{}: {what}", path.display()));
    let checkpoints = read(truth).map_err(fail)?;
    if checkpoints.is_empty() {
        return Err(fail(
            "no `checkpoints`, `samples`, `per_symbol` or `busiest_symbols` with books, want a truth \
             of `tapeline sample` or books at places of the input"
                .into(),
        ));
    }
    let symbols = symbols(pieces)?;
    let waiting = waiting(checkpoints, &symbols).map_err(fail)?;
    let mut walk = Walk::new(waiting, false, pieces, config)?;
    let divergence = walk.all(pieces)?;
    let left: usize = walk.waiting.values().map(Vec::len).sum();
    if divergence.is_none() && left > 0 {
        let first = walk.waiting.values().flatten().next().expect("some");
        return Err(fail(format!(
            "{left} checkpoints are behind the run's end, the first is {} of {}: want those of the \
             run's own input",
            first.checkpoint.name, first.name
        )));
    }
    Ok(Outcome {
        oracle: "truth",
        compared: format!(
            "{} checkpoints of {}, {} levels and sums",
            count(walk.checkpoints),
            path.display(),
            count(walk.compared)
        ),
        counts: json!({"checkpoints": walk.checkpoints, "levels": walk.compared}),
        not_compared: unknown(truth).into_iter().collect(),
        divergence,
    })
}

/// A run's symbol.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) number: u32,
    pub(super) decimals: u8,
    /// Whether anything but its name was said of it.
    has_events: bool,
}

pub(super) fn symbols(pieces: &[Piece]) -> Result<BTreeMap<String, Known>, Failure> {
    let mut names: BTreeMap<u32, (String, Known)> = BTreeMap::new();
    for piece in pieces {
        for item in piece.records().map_err(Failure::log)? {
            let (_, Record::Event(event)) = item.map_err(Failure::log)? else {
                continue;
            };
            if let Some(name) = name_of(&event) {
                let known = Known {
                    number: event.symbol,
                    decimals: u8::try_from(event.order_b).unwrap_or(0),
                    has_events: false,
                };
                let entry = names.entry(event.symbol).or_insert((name, known));
                entry.1.decimals = u8::try_from(event.order_b).unwrap_or(0);
            } else if let Some((_, known)) = names.get_mut(&event.symbol) {
                known.has_events = true;
            }
        }
    }
    Ok(names.into_values().collect())
}

/// A checkpoint that the log has not come to, and what is needed to compare it.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) checkpoint: Checkpoint,
    pub(super) name: String,
    pub(super) decimals: u8,
}

/// The checkpoints of each symbol, in the order in which they are met from the back.
fn waiting(
    checkpoints: Vec<Checkpoint>,
    symbols: &BTreeMap<String, Known>,
) -> Result<BTreeMap<u32, Vec<Waiting>>, String> {
    let mut waiting: BTreeMap<u32, Vec<Waiting>> = BTreeMap::new();
    for checkpoint in checkpoints {
        let (name, known) = match &checkpoint.symbol {
            Some(name) => symbols
                .get_key_value(name)
                .ok_or_else(|| format!("{}: the run has no symbol {name}", checkpoint.name))?,
            None => {
                let mut with_events = symbols.iter().filter(|(_, known)| known.has_events);
                match (with_events.next(), with_events.next()) {
                    (Some(one), None) => one,
                    _ => {
                        return Err(format!(
                            "{} names no symbol, which is only clear where the run has one",
                            checkpoint.name
                        ));
                    }
                }
            }
        };
        waiting.entry(known.number).or_default().push(Waiting {
            name: name.clone(),
            decimals: known.decimals,
            checkpoint,
        });
    }
    Ok(waiting)
}

pub(super) struct Walk {
    books: Books,
    /// What books are begun with.
    fresh: BooksConfig,
    pub(super) waiting: BTreeMap<u32, Vec<Waiting>>,
    /// Checkpoints are snapshots of the feed itself: each symbol's are in order from the back, and those of
    /// books that lack something are passed over.
    are_snapshots: bool,
    /// By symbol, its messages that were no trades, the last one met, and where that was.
    changes: BTreeMap<u32, Met>,
    pub(super) checkpoints: u64,
    pub(super) compared: u64,
    /// Checkpoints of books that were known to lack something.
    pub(super) stale: u64,
}

#[derive(Clone, Copy, Debug)]
struct Met {
    changes: u64,
    seq: u64,
    at: At,
    /// The message before which the last checkpoint was equal; 0 for none.
    equal_to: u64,
}

impl Walk {
    pub(super) fn new(
        waiting: BTreeMap<u32, Vec<Waiting>>,
        are_snapshots: bool,
        pieces: &[Piece],
        config: &Config,
    ) -> Result<Walk, Failure> {
        Ok(Walk {
            books: Books::new(books_of(pieces, config)).map_err(Failure::io)?,
            fresh: books_of(pieces, config),
            waiting,
            are_snapshots,
            changes: BTreeMap::new(),
            checkpoints: 0,
            compared: 0,
            stale: 0,
        })
    }

    pub(super) fn all(&mut self, pieces: &[Piece]) -> Result<Option<Divergence>, Failure> {
        // Each log has books of its own, as its shard had: some feeds give an order's number again once it is free,
        // to any symbol. Where a run changed its number of shards, the same books go through all logs.
        let is_one = pieces.iter().all(|piece| piece.part == 0);
        for (index, piece) in pieces.iter().enumerate() {
            if is_one && index > 0 {
                self.books = Books::new(self.fresh).map_err(Failure::io)?;
            }
            for item in piece.records().map_err(Failure::log)? {
                let (cell, Record::Event(event)) = item.map_err(Failure::log)? else {
                    continue;
                };
                let is_of_one = !event.kind.is_for_all() && event.kind != Kind::Symbol;
                if is_of_one && self.waiting.contains_key(&event.symbol) {
                    let found = self.before(&event, At { piece: index, cell });
                    if found.is_some() {
                        return Ok(found);
                    }
                }
                self.books.apply(&event);
            }
            if is_one || index + 1 == pieces.len() {
                let found = self.at_end();
                if found.is_some() {
                    return Ok(found);
                }
                self.changes.clear();
            }
        }
        Ok(None)
    }

    /// The last message of those symbols that were met has been.
    fn at_end(&mut self) -> Option<Divergence> {
        let met: Vec<(u32, Met)> = self.changes.iter().map(|(s, met)| (*s, *met)).collect();
        for (symbol, met) in met {
            let found = self.meet(symbol, met, |place| match place {
                Place::Message(_) | Place::Time(_) | Place::End => true,
                Place::Changes(changes) => changes == met.changes,
            });
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// An event of a symbol is next. With the first one of a message those checkpoints are due that are
    /// behind the message before.
    fn before(&mut self, event: &Event, at: At) -> Option<Divergence> {
        let met = self.changes.get(&event.symbol).copied();
        if let Some(met) = met.filter(|met| met.seq != event.seq) {
            let ts = event.ts_event.0;
            let found = self.meet(event.symbol, met, |place| match place {
                Place::Message(seq) => event.seq > seq,
                Place::Time(ns) => ts > ns,
                Place::Changes(changes) => changes == met.changes,
                Place::End => false,
            });
            if found.is_some() {
                return found;
            }
        }
        if met.is_none()
            && self.are_snapshots
            && let Some(waiting) = self.waiting.get_mut(&event.symbol)
        {
            // Nothing was said of the book before.
            let is_early = |one: &mut Waiting| match one.checkpoint.place {
                Place::Message(seq) => seq < event.seq,
                Place::Time(_) | Place::Changes(_) | Place::End => false,
            };
            self.stale += std::iter::from_fn(|| waiting.pop_if(is_early)).count() as u64;
        }
        let met = self.changes.entry(event.symbol).or_insert(Met {
            changes: 0,
            seq: 0,
            at,
            equal_to: 0,
        });
        let is_next = met.seq != event.seq;
        met.changes += u64::from(is_next && event.code != TRADE);
        (met.seq, met.at) = (event.seq, at);
        None
    }

    /// Compares the checkpoints of a symbol that are due, behind the message that was met last.
    fn meet(
        &mut self,
        symbol: u32,
        met: Met,
        is_due: impl Fn(Place) -> bool,
    ) -> Option<Divergence> {
        let waiting = self.waiting.get_mut(&symbol)?;
        let is_due = |one: &mut Waiting| is_due(one.checkpoint.place);
        let due: Vec<Waiting> = match self.are_snapshots {
            true => std::iter::from_fn(|| waiting.pop_if(is_due)).collect(),
            false => waiting.extract_if(.., is_due).collect(),
        };
        let mut any = false;
        for one in due {
            if self.are_snapshots && self.books.is_stale(symbol) {
                self.stale += 1;
                continue;
            }
            any = true;
            self.checkpoints += 1;
            let found = self.checkpoint(symbol, &one);
            if let Some((side, level, what, book, oracle)) = found {
                let since = match met.equal_to {
                    0 => String::new(),
                    seq => format!("; the checkpoint before, after message {seq}, is equal"),
                };
                return Some(Divergence {
                    symbol,
                    at: Some(met.at),
                    side,
                    level,
                    price: None,
                    what: format!("{what} of {}, {}{since}", one.name, one.checkpoint.name),
                    book,
                    oracle,
                });
            }
        }
        if any {
            self.changes.get_mut(&symbol).expect("it was met").equal_to = met.seq;
        }
        None
    }

    /// The first difference: side, level, in what, and both values.
    fn checkpoint(&mut self, symbol: u32, one: &Waiting) -> Option<Differs> {
        let checkpoint = &one.checkpoint;
        let text = |row: Option<&Row>| {
            row.map_or("none".to_string(), |row| {
                let size = decimal_text(row.size_e9, 9);
                let size = size.trim_end_matches('0').trim_end_matches('.');
                let orders = row.orders.map(|orders| format!(" in {orders} orders"));
                format!("{size}{} at {}", orders.unwrap_or_default(), row.price)
            })
        };
        for (index, side) in [Side::Buy, Side::Sell].into_iter().enumerate() {
            let mut all: Vec<Level> = Vec::new();
            self.books.depth(symbol, side, usize::MAX, &mut all);
            if let Some(worst) = checkpoint.worst[index] {
                all.retain(|level| match side {
                    Side::Buy => level.price >= worst,
                    _ => level.price <= worst,
                });
            }
            if let Some(rows) = &checkpoint.sides[index] {
                for level in 0..checkpoint.shown.min(all.len()).max(rows.len()) {
                    let theirs = rows.get(level);
                    let has_orders = theirs.is_none_or(|row| row.orders.is_some());
                    let ours = all.get(level).map(|level| Row {
                        price: level.price,
                        size_e9: size_e9(level.qty.0, one.decimals),
                        orders: has_orders.then_some(level.orders.into()),
                    });
                    self.compared += u64::from(theirs.is_some());
                    if ours.as_ref() != theirs {
                        let (book, oracle) = (text(ours.as_ref()), text(theirs));
                        return Some((side, Some(level), "level", book, oracle));
                    }
                }
            }
            if let Some(theirs) = checkpoint.best[index] {
                self.compared += 1;
                let ours = all.first().map(|level| level.price);
                let text = |best: Option<Price>| best.map_or("none".into(), |p| p.to_string());
                if ours != theirs {
                    let (book, oracle) = (text(ours), text(theirs));
                    return Some((side, Some(0), "best price", book, oracle));
                }
            }
            let orders: u64 = all.iter().map(|level| u64::from(level.orders)).sum();
            for (what, ours, theirs) in [
                (
                    "number of levels",
                    all.len() as u64,
                    checkpoint.levels[index],
                ),
                ("number of orders", orders, checkpoint.orders[index]),
            ] {
                self.compared += u64::from(theirs.is_some());
                if let Some(theirs) = theirs.filter(|theirs| *theirs != ours) {
                    return Some((side, None, what, ours.to_string(), theirs.to_string()));
                }
            }
        }
        None
    }
}

type Differs = (Side, Option<usize>, &'static str, String, String);

/// A quantity of a symbol with so many decimals, in 1e-9, or finer ones cut off.
pub(super) fn size_e9(qty: i64, decimals: u8) -> i128 {
    match decimals {
        0..=9 => i128::from(qty) * 10i128.pow(9 - u32::from(decimals)),
        _ => i128::from(qty) / 10i128.pow(u32::from(decimals) - 9),
    }
}

/// All checkpoints of a file.
fn read(truth: &Value) -> Result<Vec<Checkpoint>, String> {
    let top = truth.as_object().ok_or("want a JSON object")?;
    let mut all = Vec::new();
    lists("", top, &mut all)?;
    for (engine, value) in top {
        match value.as_object() {
            Some(symbols) if ["per_symbol", "busiest_symbols"].contains(&engine.as_str()) => {
                for (name, value) in symbols {
                    all.extend(at_end(name, value)?);
                }
            }
            Some(value) => lists(engine, value, &mut all)?,
            None => {}
        }
    }
    Ok(all)
}

/// What a file says that is not compared, by its names.
fn unknown(truth: &Value) -> BTreeSet<String> {
    const LISTS: [&str; 2] = ["checkpoints", "samples"];
    const OF_CHECKPOINT: [&str; 11] = [
        "ts_event_le_ns",
        "after",
        "symbol",
        "top10_bids[price,size,orders]",
        "top10_asks[price,size,orders]",
        "best_bid",
        "best_ask",
        "bid_levels",
        "ask_levels",
        "bid_orders",
        "ask_orders",
    ];
    const OF_FINAL: [&str; 4] = ["final_bid", "final_ask", "final_levels", "levels"];
    let mut found = BTreeSet::new();
    let mut others = |of: &Value, front: &str, known: &[&str]| {
        let fields = of.as_object().into_iter().flatten();
        let strange = fields.filter(|(key, _)| !known.contains(&key.as_str()));
        found.extend(strange.map(|(key, _)| format!("{front}{key}")));
    };
    let of_lists = |of: &Value, front: &str, others: &mut dyn FnMut(&Value, &str, &[&str])| {
        for list in LISTS {
            for one in of[list].as_array().into_iter().flatten() {
                others(one, &format!("{front}{list}."), &OF_CHECKPOINT);
            }
        }
    };
    let mut known = LISTS.to_vec();
    of_lists(truth, "", &mut others);
    for (name, value) in truth.as_object().into_iter().flatten() {
        match name.as_str() {
            "per_symbol" | "busiest_symbols" => {
                let symbols = value.as_object().into_iter().flatten();
                symbols.for_each(|(_, one)| others(one, &format!("{name}."), &OF_FINAL));
            }
            _ if LISTS.iter().any(|list| value.get(list).is_some()) => {
                others(value, &format!("{name}."), &LISTS);
                of_lists(value, &format!("{name}."), &mut others);
            }
            _ => continue,
        }
        known.push(name);
    }
    others(truth, "", &known);
    found
}

/// An engine's lists of checkpoints.
fn lists(engine: &str, of: &Map<String, Value>, all: &mut Vec<Checkpoint>) -> Result<(), String> {
    for key in ["checkpoints", "samples"] {
        let Some(list) = of.get(key) else { continue };
        let list = list
            .as_array()
            .ok_or_else(|| format!("{engine} {key}: want a list"))?;
        for (index, value) in list.iter().enumerate() {
            let name = format!("{engine} {key}[{index}]");
            let name = name.trim_start().to_string();
            all.push(checkpoint(name, value)?);
        }
    }
    Ok(())
}

fn checkpoint(name: String, value: &Value) -> Result<Checkpoint, String> {
    let wrong = |key: &str, want: &str| format!("{name}: {key}: want {want}");
    let whole = |key: &str| match value.get(key) {
        None => Ok(None),
        Some(value) => match value.as_u64() {
            Some(number) => Ok(Some(number)),
            None => Err(wrong(key, "a whole number")),
        },
    };
    let place = match (value.get("ts_event_le_ns"), value.get("after")) {
        (Some(ns), None) => {
            let ns = ns.as_i64();
            Place::Time(ns.ok_or_else(|| wrong("ts_event_le_ns", "ns since 1970"))?)
        }
        (None, Some(after)) => {
            let number = after.as_str().and_then(number_in);
            Place::Changes(number.ok_or_else(|| wrong("after", "text that ends with #N"))?)
        }
        _ => {
            return Err(format!(
                "{name}: want one of ts_event_le_ns and after, which say where it is"
            ));
        }
    };
    let symbol = match value.get("symbol") {
        None => None,
        Some(symbol) => {
            let text = symbol.as_str();
            Some(text.ok_or_else(|| wrong("symbol", "a name"))?.to_string())
        }
    };
    let side = |key: &str| -> Result<Option<Vec<Row>>, String> {
        let Some(list) = value.get(key) else {
            return Ok(None);
        };
        let rows = list.as_array().map(|list| list.iter().map(row).collect());
        let rows: Option<Option<Vec<Row>>> = rows;
        let rows = rows.flatten();
        Ok(Some(rows.ok_or_else(|| {
            wrong(key, "a list of [price, size, orders]")
        })?))
    };
    let sides = [
        side("top10_bids[price,size,orders]")?,
        side("top10_asks[price,size,orders]")?,
    ];
    let best = |key: &str| match value.get(key) {
        None => Ok(None),
        Some(Value::Null) => Ok(Some(None)),
        Some(value) => match e9(value).and_then(|e9| i64::try_from(e9).ok()) {
            Some(e9) => Ok(Some(Some(Price(e9)))),
            None => Err(wrong(key, "a price or null")),
        },
    };
    let levels = [whole("bid_levels")?, whole("ask_levels")?];
    if sides.iter().all(Option::is_none) && levels.iter().all(Option::is_none) {
        return Err(format!(
            "{name}: has no top10_bids[price,size,orders], nor bid_levels, of either side"
        ));
    }
    Ok(Checkpoint {
        symbol,
        place,
        sides,
        shown: SHOWN,
        worst: [None; 2],
        levels,
        best: [best("best_bid")?, best("best_ask")?],
        orders: [whole("bid_orders")?, whole("ask_orders")?],
        name,
    })
}

/// What a symbol's book is at the end; none where the file does not say.
fn at_end(symbol: &str, value: &Value) -> Result<Option<Checkpoint>, String> {
    let wrong = |key: &str, want: &str| format!("{symbol}: {key}: want {want}");
    let side = |key: &str| match value.get(key) {
        None => Ok(None),
        Some(Value::Null) => Ok(Some(Vec::new())),
        Some(best) => match row(best) {
            Some(row) => Ok(Some(vec![row])),
            None => Err(wrong(key, "[price, size]")),
        },
    };
    let sides = [side("final_bid")?, side("final_ask")?];
    let mut levels = [None, None];
    for key in ["final_levels", "levels"] {
        if let Some(both) = value.get(key) {
            for (index, levels) in levels.iter_mut().enumerate() {
                let number = both.get(index).and_then(Value::as_u64);
                *levels = Some(number.ok_or_else(|| wrong(key, "[bids, asks]"))?);
            }
        }
    }
    if sides.iter().all(Option::is_none) && levels.iter().all(Option::is_none) {
        return Ok(None);
    }
    Ok(Some(Checkpoint {
        name: "the end".into(),
        symbol: Some(symbol.to_string()),
        place: Place::End,
        sides,
        shown: 1,
        worst: [None; 2],
        best: [None; 2],
        levels,
        orders: [None, None],
    }))
}

/// `[price, size]` or `[price, size, orders]`.
fn row(value: &Value) -> Option<Row> {
    let row = value.as_array().filter(|row| matches!(row.len(), 2 | 3))?;
    let orders = match row.get(2) {
        None => None,
        Some(orders) => Some(orders.as_u64()?),
    };
    Some(Row {
        price: Price(i64::try_from(e9(&row[0])?).ok()?),
        size_e9: e9(&row[1])?,
        orders,
    })
}

/// A number, or the text of one, in 1e-9; `None` where that is not exact.
fn e9(value: &Value) -> Option<i128> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.as_str()),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let fraction = fraction.trim_end_matches('0');
    let is_decimal = !whole.is_empty()
        && fraction.len() <= 9
        && whole.len() <= 20
        && whole
            .bytes()
            .chain(fraction.bytes())
            .all(|b| b.is_ascii_digit());
    if !is_decimal {
        return None;
    }
    let number: i128 = format!("{whole}{fraction:0<9}").parse().ok()?;
    Some(sign * number)
}

/// The number behind the last `#` of a text.
fn number_in(text: &str) -> Option<u64> {
    let (_, number) = text.rsplit_once('#')?;
    number.trim_end_matches(')').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_exact_or_refused() {
        let text = |text: &str| e9(&Value::String(text.into()));
        assert_eq!(text("4800.00"), Some(4_800_000_000_000));
        assert_eq!(text("-0.7467"), Some(-746_700_000));
        assert_eq!(e9(&json!(4798.75)), Some(4_798_750_000_000));
        assert_eq!(e9(&json!(11)), Some(11_000_000_000));
        for bad in ["", ".", "1e-5", "0.0000000001", "1,5", "--1"] {
            assert_eq!(text(bad), None, "{bad}");
        }
        assert_eq!(size_e9(150, 2), 1_500_000_000);
        assert_eq!(number_in("a delta #10000"), Some(10_000));
        assert_eq!(number_in("a end (delta #65819)"), Some(65_819));
        assert_eq!(number_in("10000"), None);
    }

    #[test]
    fn a_checkpoint_without_a_place_or_a_book_is_refused_by_its_name() {
        for (file, want) in [
            (json!({"samples": [{}]}), "samples[0]: want one of"),
            (
                json!({"a": {"checkpoints": [{"after": "#1"}]}}),
                "a checkpoints[0]: has no top10_bids",
            ),
            (
                json!({"samples": [{"after": "#1", "top10_bids[price,size,orders]": [[1]]}]}),
                "samples[0]: top10_bids[price,size,orders]: want a list of",
            ),
            (
                json!({"per_symbol": {"A": {"final_bid": 3}}}),
                "A: final_bid: want",
            ),
        ] {
            let said = read(&file).unwrap_err();
            assert!(said.contains(want), "{said}");
        }
        assert!(read(&json!({"note": "nothing"})).unwrap().is_empty());
    }
}
