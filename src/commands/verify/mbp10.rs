//! A run against ten levels by Databento: the records of an `mbp-10` file of the same market, of which
//! each has the ten best prices of both sides as they are after its event.
//!
//! A record and an event of the log belong together by symbol and time. Where several events have one
//! time, the records of that time are met in their order, each after any of these events. What is
//! compared last stays: an event behind it that no record tells of must leave the ten levels as they
//! are. Records that do not end their event (`F_LAST`) and those of a snapshot are passed over.
//!
//! ```text
//! events of a symbol   a ─ b ─ b ─ c ─ d          letters are times
//! records              a ─ b ────────── d          c must change none of the ten levels
//! ```

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::{Path, PathBuf};

use book::Books;
use bus::log::Record;
use bus::{Event, Flags, Kind, Level, Price, Qty, Side, Ts};
use feed::groups::Groups;
use feed::moldudp64::Blocks;
use feed::protocol::Wire;
use feed::source::{Capture, CaptureOptions, Polled, Source};
use serde_json::json;
use tapeline::config::Config;
use tapeline::run_dir::Piece;
use tapeline::term::count;

use super::books_of;
use super::divergence::{At, Divergence, Outcome};
use crate::commands::Failure;
use crate::commands::words::name_of;

/// Levels of a record, and how long each is.
const LEVELS: usize = 10;
const LEVEL_BYTES: usize = 32;
/// Where they begin, behind the name that the source puts in front.
const NAME_BYTES: usize = 8;
const LEVELS_AT: usize = NAME_BYTES + 48;
const MBP_10: u8 = 0x0a;
/// The flags that end an event, and that are of a snapshot.
const F_LAST: u8 = 0x80;
const F_SNAPSHOT: u8 = 0x20;
/// What stands for no price.
const UNDEF_PRICE: i64 = i64::MAX;

/// The ten best prices of a side, those that there are.
type Ten = Vec<Level>;

/// What a record says.
#[derive(Clone, Debug)]
struct Row {
    ts: Ts,
    /// Which record of its file, from 1 on.
    number: u64,
    sides: [Ten; 2],
}

pub fn compare(file: &Path, pieces: &[Piece], config: &Config) -> Result<Outcome, Failure> {
    let names = names(pieces)?;
    let mut walk = Walk {
        file: file.to_path_buf(),
        books: Books::new(books_of(pieces, config)).map_err(Failure::io)?,
        symbols: HashMap::new(),
        records: 0,
        compared: 0,
    };
    for (index, piece) in pieces.iter().enumerate() {
        let mut rows = Rows::open(file, &names, &walk.symbols, piece, config)?;
        let found = walk.piece(index, piece, &mut rows)?;
        if found.is_some() {
            return Ok(walk.outcome(found));
        }
    }
    if walk.records == 0 {
        return Err(Failure::usage(format!(
            "{}: has no mbp-10 record of a symbol and a time of the run",
            file.display()
        )));
    }
    Ok(walk.outcome(None))
}

/// The run's symbols by their names.
fn names(pieces: &[Piece]) -> Result<BTreeMap<String, u32>, Failure> {
    let mut names = BTreeMap::new();
    for piece in pieces {
        for item in piece.records().map_err(Failure::log)? {
            let (_, Record::Event(event)) = item.map_err(Failure::log)? else {
                continue;
            };
            if let Some(name) = name_of(&event) {
                names.insert(name, event.symbol);
            }
        }
    }
    Ok(names)
}

/// The file's records of a shard's symbols.
struct Rows<'a> {
    file: PathBuf,
    capture: Capture,
    names: &'a BTreeMap<String, u32>,
    /// How many records of each symbol were compared in an earlier log of the run.
    passed: HashMap<u32, u64>,
    shard: usize,
    shards: usize,
    groups: Groups,
    /// Those read ahead.
    waiting: HashMap<u32, VecDeque<Row>>,
    /// The latest time read so far.
    upto: Ts,
    number: u64,
    is_over: bool,
}

impl<'a> Rows<'a> {
    fn open(
        file: &Path,
        names: &'a BTreeMap<String, u32>,
        symbols: &HashMap<u32, Beside>,
        piece: &Piece,
        config: &Config,
    ) -> Result<Rows<'a>, Failure> {
        let mut capture =
            Capture::open(&[file.to_path_buf()], CaptureOptions::default()).map_err(Failure::io)?;
        if capture.wire().map_err(Failure::io)? != Wire::Dbn {
            return Err(Failure::usage(format!(
                "{}: is no DBN file, want one of mbp-10",
                file.display()
            )));
        }
        let passed = symbols
            .iter()
            .map(|(symbol, beside)| (*symbol, beside.passed));
        Ok(Rows {
            file: file.to_path_buf(),
            capture,
            names,
            passed: passed.collect(),
            shard: piece.shard,
            shards: piece.shards,
            groups: config.symbol_groups(),
            waiting: HashMap::new(),
            upto: Ts::MIN,
            number: 0,
            is_over: false,
        })
    }

    /// Reads on until a record is behind this time.
    fn read_upto(&mut self, ts: Ts) -> Result<(), Failure> {
        while !self.is_over && self.upto <= ts {
            match self.capture.poll().map_err(Failure::io)? {
                Polled::Packet(packet) => {
                    for message in Blocks::new(packet.payload) {
                        self.number += 1;
                        let Some((name, row)) = row(message, self.number) else {
                            continue;
                        };
                        self.upto = self.upto.max(row.ts);
                        let name = name.trim_end();
                        let Some(&symbol) = self.names.get(name) else {
                            continue;
                        };
                        let shard = self.groups.shard_of_named(symbol, name, self.shards);
                        if shard != self.shard {
                            continue;
                        }
                        match self.passed.get_mut(&symbol).filter(|left| **left > 0) {
                            Some(left) => *left -= 1,
                            None => self.waiting.entry(symbol).or_default().push_back(row),
                        }
                    }
                }
                Polled::Empty => {}
                Polled::Trouble(trouble) => {
                    return Err(Failure::usage(format!(
                        "{}, byte {}: {}",
                        self.file.display(),
                        trouble.place.offset_bytes,
                        trouble.what
                    )));
                }
                Polled::End => self.is_over = true,
            }
        }
        Ok(())
    }

    fn front(&self, symbol: u32) -> Option<&Row> {
        self.waiting.get(&symbol)?.front()
    }

    fn take(&mut self, symbol: u32) -> Option<Row> {
        self.waiting.get_mut(&symbol)?.pop_front()
    }
}

/// What a record of ten levels says, and of whom; none of other records.
fn row(message: &[u8], number: u64) -> Option<(&str, Row)> {
    let (name, record) = message.split_at_checked(NAME_BYTES)?;
    if *record.get(1)? != MBP_10 || message.len() < LEVELS_AT + LEVELS * LEVEL_BYTES {
        return None;
    }
    let flags = record[30];
    if flags & F_LAST == 0 || flags & F_SNAPSHOT != 0 {
        return None;
    }
    let u32_at = |level: &[u8], at: usize| {
        u32::from_le_bytes(level[at..at + 4].try_into().expect("four bytes"))
    };
    let i64_at = |level: &[u8], at: usize| {
        i64::from_le_bytes(level[at..at + 8].try_into().expect("eight bytes"))
    };
    let levels = message[LEVELS_AT..].chunks_exact(LEVEL_BYTES).take(LEVELS);
    let side = |price_at: usize, qty_at: usize, orders_at: usize| {
        let levels = levels.clone().map(|level| Level {
            price: Price(i64_at(level, price_at)),
            qty: Qty(u32_at(level, qty_at).into()),
            orders: u32_at(level, orders_at),
        });
        let is_there = |level: &Level| level.price.0 != UNDEF_PRICE && level.qty.0 > 0;
        levels.filter(is_there).collect::<Ten>()
    };
    let row = Row {
        ts: Ts(i64_at(record, 8)),
        number,
        sides: [side(0, 16, 24), side(8, 20, 28)],
    };
    Some((std::str::from_utf8(name).ok()?, row))
}

/// A symbol on its way through the log.
#[derive(Default)]
struct Beside {
    /// The ten levels compared last; none before the first record.
    shown: Option<[Ten; 2]>,
    /// Records compared.
    passed: u64,
    /// The time of its events, and the last of them after which its book is one to look at.
    now: Option<(Ts, At)>,
}

struct Walk {
    file: PathBuf,
    books: Books,
    symbols: HashMap<u32, Beside>,
    records: u64,
    compared: u64,
}

impl Walk {
    fn piece(
        &mut self,
        index: usize,
        piece: &Piece,
        rows: &mut Rows<'_>,
    ) -> Result<Option<Divergence>, Failure> {
        for item in piece.records().map_err(Failure::log)? {
            let (cell, Record::Event(event)) = item.map_err(Failure::log)? else {
                continue;
            };
            if event.kind.is_for_all() || event.kind == Kind::Symbol {
                self.books.apply(&event);
                continue;
            }
            let symbol = event.symbol;
            let now = self.symbols.get(&symbol).and_then(|beside| beside.now);
            if let Some((ts, at)) = now.filter(|(ts, _)| *ts != event.ts_event) {
                let found = self.leave(symbol, ts, at, rows)?;
                if found.is_some() {
                    return Ok(found);
                }
            }
            self.books.apply(&event);
            if ends(&event) {
                let at = At { piece: index, cell };
                let beside = self.symbols.entry(symbol).or_default();
                beside.now = Some((event.ts_event, at));
                rows.read_upto(event.ts_event)?;
                self.meet(symbol, event.ts_event, rows);
            }
        }
        // What is owed at the end of the log.
        let mut owed: Vec<_> = self.symbols.iter().collect();
        owed.sort_unstable_by_key(|(symbol, _)| **symbol);
        let owed = owed
            .into_iter()
            .map(|(symbol, beside)| (*symbol, beside.now));
        let owed: Vec<_> = owed
            .filter(|(_, now)| now.is_some_and(|(_, at)| at.piece == index))
            .collect();
        for (symbol, now) in owed {
            let (ts, at) = now.expect("filtered");
            let found = self.leave(symbol, ts, at, rows)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Passes the records that the book is equal to as it stands.
    fn meet(&mut self, symbol: u32, ts: Ts, rows: &mut Rows<'_>) {
        let sides = self.ten(symbol);
        while rows
            .front(symbol)
            .is_some_and(|row| row.ts <= ts && row.sides == sides)
        {
            let row = rows.take(symbol).expect("it is there");
            self.pass(symbol, row);
        }
    }

    fn pass(&mut self, symbol: u32, row: Row) {
        self.records += 1;
        let levels: usize = row.sides.iter().map(Vec::len).sum();
        self.compared += levels as u64;
        let beside = self.symbols.entry(symbol).or_default();
        beside.shown = Some(row.sides);
        beside.passed += 1;
    }

    /// The last event of a time has been: all its records are to be met, and the last of them stands.
    fn leave(
        &mut self,
        symbol: u32,
        ts: Ts,
        at: At,
        rows: &mut Rows<'_>,
    ) -> Result<Option<Divergence>, Failure> {
        rows.read_upto(ts)?;
        self.meet(symbol, ts, rows);
        let beside = self.symbols.entry(symbol).or_default();
        beside.now = None;
        let sides = self.ten(symbol);
        if let Some(row) = rows.front(symbol).filter(|row| row.ts <= ts) {
            let what = format!("level, in record {}", row.number);
            return Ok(Some(difference(symbol, at, what, &sides, &row.sides)));
        }
        let shown = self.symbols[&symbol].shown.as_ref();
        Ok(shown.filter(|shown| **shown != sides).map(|shown| {
            let what = "level, which changed without a record".to_string();
            difference(symbol, at, what, &sides, shown)
        }))
    }

    fn ten(&self, symbol: u32) -> [Ten; 2] {
        [Side::Buy, Side::Sell].map(|side| {
            let mut levels = Vec::with_capacity(LEVELS);
            self.books.depth(symbol, side, LEVELS, &mut levels);
            levels
        })
    }

    fn outcome(&self, divergence: Option<Divergence>) -> Outcome {
        let symbols = self
            .symbols
            .values()
            .filter(|beside| beside.passed > 0)
            .count();
        Outcome {
            not_compared: Vec::new(),
            oracle: "mbp10",
            compared: format!(
                "{} records of {} symbols in {}, {} levels with their numbers of orders",
                count(self.records),
                count(symbols as u64),
                self.file.display(),
                count(self.compared)
            ),
            counts: json!({
                "records": self.records, "symbols": symbols, "levels": self.compared,
            }),
            divergence,
        }
    }
}

/// Whether a book is one to look at after an event: it changed, and nothing more belongs to that.
fn ends(event: &Event) -> bool {
    match event.kind {
        Kind::Add
        | Kind::Execute
        | Kind::ExecuteAt
        | Kind::Cancel
        | Kind::Delete
        | Kind::Replace => !event.flags.has(Flags::MORE),
        Kind::Nothing
        | Kind::Trade
        | Kind::Cross
        | Kind::Break
        | Kind::Imbalance
        | Kind::Symbol
        | Kind::Status
        | Kind::System
        | Kind::Info
        | Kind::Tick
        | Kind::Gap
        | Kind::End => event.flags.has(Flags::ENDS),
    }
}

/// The first level that is not the same, bids first.
fn difference(symbol: u32, at: At, what: String, ours: &[Ten; 2], shown: &[Ten; 2]) -> Divergence {
    let text = |level: Option<&Level>| {
        level.map_or("none".to_string(), |level| {
            let Level { price, qty, orders } = level;
            format!("{qty} in {orders} orders at {price}")
        })
    };
    let places = [(Side::Buy, 0), (Side::Sell, 1)].into_iter();
    let mut places = places.flat_map(|side| (0..LEVELS).map(move |level| (side, level)));
    let differs = |((_, side), level): &((Side, usize), usize)| {
        ours[*side].get(*level) != shown[*side].get(*level)
    };
    let ((side, index), level) = places.find(differs).expect("they differ");
    let (ours, shown) = (ours[index].get(level), shown[index].get(level));
    Divergence {
        symbol,
        at: Some(at),
        side,
        level: Some(level),
        price: shown.or(ours).map(|level| level.price),
        what,
        book: text(ours),
        oracle: text(shown),
    }
}
