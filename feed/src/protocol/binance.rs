//! Binance's market streams, spot and futures, as captures keep them: lines with a message each, and
//! the answer of the REST call for a book's depth among them.
//!
//! ```text
//! D  depthUpdate   changes of price levels, with the numbers of the first and the last change (U, u)
//!                  and on futures of the last one before (pu)
//! S  a snapshot    levels as they were at change lastUpdateId
//! T  trade         a trade; A  aggTrade: several, which count where the input has no T of the symbol
//! Q  bookTicker    best bid and offer: counted, and never a part of the book
//! O  anything else
//! ```
//!
//! A book is what a snapshot and all changes after it come to. So changes wait for a snapshot, and of
//! those that waited the first one to be taken must reach back to it: what it has begins at or before
//! the change after the snapshot's. From then on each must begin where the one before ended. Where it
//! does not, changes are lost: the book is emptied and stale until a snapshot that later changes reach
//! back to. A snapshot may thus stand behind changes that are newer than it, as it does where it
//! was asked for over another connection.
//!
//! A trade's side is that of the order that was there before it (`m`: the buyer's).

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;

use bus::{Event, Flags, Kind, Price, Qty, Side, Ts};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::depth::Depth;
use super::said::{About, BadLine, CODE_GOES_ON, Decimal, Markets, Message, Row, Said, Unit};
use super::shown::Unfinished;
use super::symbols::Symbols;
use super::{Basis, Fault, Notes, Protocol, Snapshot, Told};
use crate::source::Framing;

const CODES: &[u8] = b"DSTAQO+";
const TRADES: &[u8] = b"TA";

/// So many changed levels wait for snapshots at most, over all symbols.
const WAITING_MAX: usize = 1 << 22;

/// The decoder.
#[derive(Debug, Default)]
pub struct Binance {
    symbols: Symbols,
    depth: Depth,
    unfinished: Unfinished,
    /// By the symbols' numbers.
    books: Vec<Book>,
    /// Levels that wait in all of them.
    waiting: usize,
    /// The message whose rest is still to come.
    open: Option<Update>,
}

/// Where a symbol's book stands.
#[derive(Debug, Default)]
struct Book {
    /// The last change in it; `None` while it waits for a snapshot.
    last: Option<u64>,
    /// Changes that wait, each of which begins where the one before ended.
    waiting: VecDeque<Update>,
    is_stale: bool,
}

/// Some changes, or a snapshot.
#[derive(Debug)]
struct Update {
    is_snapshot: bool,
    before: u64,
    last: u64,
    rows: Vec<Unit>,
}

impl Binance {
    /// A decoder that has seen nothing yet.
    pub fn new() -> Binance {
        Binance::default()
    }
}

impl Protocol for Binance {
    const FRAMING: Framing = Framing::Records(None);
    const IS_TRANSLATED: bool = true;

    fn decode(&self, message: &[u8], event: &mut Event) -> Result<Notes, Fault> {
        Message::decode(message, CODES, TRADES, event)
    }

    fn code(&self, message: &[u8]) -> Option<u8> {
        message.get(8).copied()
    }

    fn ts_event(&self, message: &[u8]) -> Option<Ts> {
        Message::time(message)
    }

    fn translate(
        &mut self,
        message: &[u8],
        event: &Event,
        out: &mut Vec<Event>,
    ) -> Result<(), Fault> {
        let message = Message::new(message).expect("it was decoded");
        let symbol = message.number(&mut self.symbols, event, out)?;
        let event = Event { symbol, ..*event };
        let is_of_book = matches!(event.code, b'D' | b'S' | CODE_GOES_ON);
        if !is_of_book || symbol == 0 {
            out.push(event);
            return Ok(());
        }
        let mut update = match (event.code, self.open.take()) {
            (CODE_GOES_ON, Some(open)) => open,
            // The rest of what was refused.
            (CODE_GOES_ON, None) => {
                out.push(event);
                return Ok(());
            }
            (code, _) => Update {
                is_snapshot: code == b'S',
                before: message.before(),
                last: message.last(),
                rows: Vec::new(),
            },
        };
        update.rows.extend(message.rows());
        if update.rows.len() > WAITING_MAX {
            return Err(Fault::Full {
                what: "levels of one message",
                max: WAITING_MAX as u32,
            });
        }
        if message.has_more() {
            self.open = Some(update);
            out.push(event);
            return Ok(());
        }
        let start = out.len();
        let index = symbol as usize;
        if self.books.len() <= index {
            self.books.resize_with(index + 1, Book::default);
        }
        let mut book = std::mem::take(&mut self.books[index]);
        let result = match update.is_snapshot {
            true => self.snapshot(&mut book, &event, update, message.decimals(), out),
            false => self.changes(&mut book, &event, update, message.decimals(), out),
        };
        self.books[index] = book;
        let made = &mut out[start..];
        // That a book is stale comes before changes that are one with it: the last of them is a change.
        if made.last().is_some_and(|last| last.kind == Kind::Info) {
            let is_whole_first = made.len() > 1 && made[0].flags.has(Flags::WHOLE);
            made[usize::from(is_whole_first)..].rotate_right(1);
        }
        if made.is_empty() {
            out.push(event);
        } else {
            self.unfinished.mark(symbol, made, true);
        }
        result
    }

    fn told(&self, message: &[u8]) -> Told {
        let Some(message) = Message::new(message).filter(|message| !message.has_more()) else {
            return Told::Nothing;
        };
        let open = self
            .open
            .as_ref()
            .filter(|_| message.code() == CODE_GOES_ON);
        let is_snapshot = match message.code() {
            b'D' => false,
            b'S' => true,
            _ => match open {
                Some(open) => open.is_snapshot,
                None => return Told::Nothing,
            },
        };
        let symbol = self.symbols.known(message.name());
        let last = message.last();
        if !is_snapshot {
            let first = message.before().saturating_add(1);
            return Told::Changes {
                group: symbol,
                first,
                last,
            };
        }
        let rows = open.into_iter().flat_map(|open| open.rows.iter().copied());
        let rows = rows.chain(message.rows());
        let has = self.books.get(symbol as usize).and_then(|book| book.last);
        Told::Snapshot(Snapshot {
            symbol,
            group: symbol,
            number: last,
            basis: match has {
                None => Basis::Begins,
                Some(has) if has < last => Basis::Ahead,
                Some(_) => Basis::Whole,
            },
            part: 1,
            parts: 1,
            rows: rows.map(|row| (row.side, row.price, row.qty)).collect(),
            are_orders: false,
            levels_max: None,
        })
    }
}

impl Binance {
    fn changes(
        &mut self,
        book: &mut Book,
        event: &Event,
        update: Update,
        decimals: u8,
        out: &mut Vec<Event>,
    ) -> Result<(), Fault> {
        let Some(last) = book.last else {
            return self.wait(book, event, update, out);
        };
        if update.last <= last {
            return Ok(());
        }
        if update.before > last {
            let missed = Fault::Missed {
                last,
                next: update.before,
            };
            book.last = None;
            stale(book, event, out);
            self.depth.keep(event, &[], out);
            self.wait(book, event, update, out)?;
            return Err(missed);
        }
        book.last = Some(update.last);
        self.take(book, event, &update.rows, decimals, out)
    }

    /// Keeps changes until there is a snapshot.
    fn wait(
        &mut self,
        book: &mut Book,
        event: &Event,
        update: Update,
        out: &mut Vec<Event>,
    ) -> Result<(), Fault> {
        stale(book, event, out);
        let last = book.waiting.back().map(|waiting| waiting.last);
        if last.is_some_and(|last| update.last <= last) {
            return Ok(());
        }
        let missed = last.filter(|last| update.before > *last);
        let is_full = self.waiting + update.rows.len() > WAITING_MAX;
        if missed.is_some() || is_full {
            self.forget(book);
        }
        if self.waiting + update.rows.len() <= WAITING_MAX {
            self.waiting += update.rows.len();
            book.waiting.push_back(update);
            if let Some(last) = missed {
                let next = book.waiting[0].before;
                return Err(Fault::Missed { last, next });
            }
        }
        match is_full {
            false => Ok(()),
            true => Err(Fault::Full {
                what: "changes that wait for a snapshot",
                max: WAITING_MAX as u32,
            }),
        }
    }

    /// Forgets what waits.
    fn forget(&mut self, book: &mut Book) {
        for update in book.waiting.drain(..) {
            self.waiting -= update.rows.len();
        }
    }

    fn snapshot(
        &mut self,
        book: &mut Book,
        event: &Event,
        update: Update,
        decimals: u8,
        out: &mut Vec<Event>,
    ) -> Result<(), Fault> {
        // What the book has is newer.
        if book.last.is_some_and(|last| update.last < last) {
            return Ok(());
        }
        while let Some(old) = book.waiting.front()
            && old.last <= update.last
        {
            self.waiting -= old.rows.len();
            book.waiting.pop_front();
        }
        if let Some(next) = book.waiting.front()
            && next.before > update.last
        {
            return Err(Fault::Missed {
                last: update.last,
                next: next.before,
            });
        }
        if std::mem::take(&mut book.is_stale) {
            out.push(Event {
                flags: Flags::WHOLE,
                ..*event
            });
        }
        let mut stay: Vec<(u8, i64)> = update
            .rows
            .iter()
            .map(|row| (row.side as u8, row.price.0))
            .collect();
        stay.sort_unstable();
        self.depth.keep(event, &stay, out);
        let mut result = self.take(book, event, &update.rows, decimals, out);
        book.last = Some(update.last);
        for waited in std::mem::take(&mut book.waiting) {
            self.waiting -= waited.rows.len();
            book.last = Some(waited.last);
            result = result.and(self.take(book, event, &waited.rows, decimals, out));
        }
        result
    }

    /// Levels are as these rows say from now on. The first that does not fit is told, and the book
    /// that lacks it is stale.
    fn take(
        &mut self,
        book: &mut Book,
        event: &Event,
        rows: &[Unit],
        decimals: u8,
        out: &mut Vec<Event>,
    ) -> Result<(), Fault> {
        let mut result = Ok(());
        for row in rows {
            let event = Event {
                side: row.side,
                ..*event
            };
            let one = self.depth.set(&event, row.price, row.qty, decimals, out);
            if one.is_err() {
                stale(book, &event, out);
            }
            result = result.and(one);
        }
        result
    }
}

/// The book is not to be relied on from now on.
fn stale(book: &mut Book, event: &Event, out: &mut Vec<Event>) {
    if !std::mem::replace(&mut book.is_stale, true) {
        out.push(Event {
            kind: Kind::Info,
            side: Side::None,
            price: Price(0),
            qty: Qty(0),
            flags: Flags::STALE,
            ..*event
        });
    }
}

/// Reads a line's JSON. An error is the byte where something else was expected.
pub(crate) fn read(json: &[u8], said: &mut Said) -> Result<(), BadLine> {
    said.clear();
    said.code = b'O';
    let line: Line = parse(json)?;
    let Some(fields) = line.0 else {
        return Ok(());
    };
    match fields.data {
        Some(Line(inner)) => inner.map_or(Ok(()), |inner| inner.read(json, said)),
        None => fields.read(json, said),
    }
}

/// A line as a type. That it is text is looked at once, for all of it, and not in each of its strings.
pub(super) fn parse<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, BadLine> {
    let parsed = match std::str::from_utf8(json) {
        Ok(text) => serde_json::from_str(text),
        // The error is that of the string which is no text, if nothing else is wrong in front of it.
        Err(_) => serde_json::from_slice(json),
    };
    parsed.map_err(|error| BadLine {
        // Its lines and columns count from 1, and column 0 is before a line's first byte.
        at: error.column().saturating_sub(1),
        what: text_of(&error),
    })
}

/// What a JSON error says, without its place.
fn text_of(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// An object, or anything else, which says nothing.
struct Line<'a>(Option<Box<Fields<'a>>>);

/// The fields that are looked at, in all messages that have them.
#[derive(Deserialize, Default)]
#[serde(default, bound(deserialize = "'de: 'a"))]
struct Fields<'a> {
    data: Option<Line<'a>>,
    e: Any<'a>,
    #[serde(rename = "E")]
    ts: Any<'a>,
    s: Any<'a>,
    symbol: Any<'a>,
    #[serde(rename = "U")]
    first: Any<'a>,
    u: Any<'a>,
    pu: Any<'a>,
    #[serde(rename = "lastUpdateId")]
    snapshot: Any<'a>,
    b: Any<'a>,
    a: Any<'a>,
    #[serde(rename = "B")]
    bid_qty: Any<'a>,
    #[serde(rename = "A")]
    ask_qty: Any<'a>,
    bids: Any<'a>,
    asks: Any<'a>,
    p: Any<'a>,
    q: Any<'a>,
    t: Any<'a>,
    m: Any<'a>,
    /// On the spot market only, and says nothing there.
    #[serde(rename = "M")]
    spot: Any<'a>,
    /// On futures only: the kind of a trade.
    #[serde(rename = "X")]
    futures: Any<'a>,
}

/// A field's value, whatever it is.
#[derive(Default)]
enum Any<'a> {
    #[default]
    None,
    Text(Cow<'a, str>),
    Number(u64),
    Bool(bool),
    Levels(Vec<(Decimal, Decimal)>),
    Other,
}

impl<'de: 'a, 'a> Deserialize<'de> for Line<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Line<'a>, D::Error> {
        from.deserialize_any(LineVisitor).map(Line)
    }
}

struct LineVisitor;

impl<'de> Visitor<'de> for LineVisitor {
    type Value = Option<Box<Fields<'de>>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let fields = Fields::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Some(Box::new(fields)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Any<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Any<'a>, D::Error> {
        from.deserialize_any(AnyVisitor)
    }
}

struct AnyVisitor;

impl<'de> Visitor<'de> for AnyVisitor {
    type Value = Any<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Any<'de>, E> {
        Ok(Any::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Any<'de>, E> {
        Ok(Any::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Any<'de>, E> {
        Ok(Any::Number(number))
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Any<'de>, E> {
        Ok(Any::Other)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Any<'de>, E> {
        Ok(Any::Other)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Any<'de>, E> {
        Ok(Any::Bool(value))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Any<'de>, E> {
        Ok(Any::None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Any<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Any::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Any<'de>, A::Error> {
        let mut levels = Vec::new();
        while let Some(Level(price, qty)) = seq.next_element()? {
            levels.push((price, qty));
        }
        Ok(Any::Levels(levels))
    }
}

/// `["61804.7","35"]`
struct Level(Decimal, Decimal);

impl<'de> Deserialize<'de> for Level {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Level, D::Error> {
        from.deserialize_seq(LevelVisitor)
    }
}

struct LevelVisitor;

impl<'de> Visitor<'de> for LevelVisitor {
    type Value = Level;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a level's price and quantity")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Level, A::Error> {
        let want = || de::Error::custom("a level without price and quantity");
        let Digits(price) = seq.next_element()?.ok_or_else(want)?;
        let Digits(qty) = seq.next_element()?.ok_or_else(want)?;
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Level(price, qty))
    }
}

/// A decimal in quotes.
struct Digits(Decimal);

impl<'de> Deserialize<'de> for Digits {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Digits, D::Error> {
        from.deserialize_str(DigitsVisitor)
    }
}

struct DigitsVisitor;

impl Visitor<'_> for DigitsVisitor {
    type Value = Digits;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a decimal in quotes")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Digits, E> {
        match Decimal::parse(text.as_bytes()) {
            Some(number) => Ok(Digits(number)),
            None => Err(E::custom(format_args!(
                "{text:?}, want a decimal of at most 18 places"
            ))),
        }
    }
}

/// Where a part of the line stands in it; 0 for what was put together anew.
fn place_of(line: &[u8], part: &str) -> usize {
    let at = (part.as_ptr() as usize).wrapping_sub(line.as_ptr() as usize);
    if at < line.len() { at } else { 0 }
}

impl Any<'_> {
    fn text(&self) -> Option<&str> {
        match self {
            Any::Text(text) => Some(text),
            _ => None,
        }
    }

    fn number(&self) -> Option<u64> {
        match self {
            Any::Number(number) => Some(*number),
            _ => None,
        }
    }
}

impl Fields<'_> {
    fn read(&self, line: &[u8], said: &mut Said) -> Result<(), BadLine> {
        said.ts_event = match &self.ts {
            Any::Number(ms) => match i64::try_from(*ms)
                .ok()
                .and_then(|ms| ms.checked_mul(1_000_000))
            {
                Some(ns) => Some(Ts(ns)),
                None => return Err(lacks("E in milliseconds")),
            },
            _ => None,
        };
        let name = self.s.text().or(self.symbol.text());
        if let Some(name) = name {
            if name.is_empty()
                || name.len() > 64
                || !name.bytes().all(|byte| byte.is_ascii_graphic())
            {
                let at = place_of(line, name);
                let what = format!("{name:?}, want a symbol's name");
                return Err(BadLine { at, what });
            }
            said.symbol.push_str(name);
            said.symbol.make_ascii_uppercase();
        }
        match self.e.text() {
            Some("depthUpdate") => self.depth_update(said),
            Some("trade") => self.trade(line, b'T', About::Trade, said),
            Some("aggTrade") => self.trade(line, b'A', About::TradesTogether, said),
            Some("bookTicker") => self.book_ticker(line, said),
            None if !matches!(self.snapshot, Any::None) => self.rest_snapshot(said),
            None if self.u.number().is_some() && self.b.text().is_some() => {
                self.book_ticker(line, said)
            }
            _ => {
                said.symbol.clear();
                Ok(())
            }
        }
    }

    fn depth_update(&self, said: &mut Said) -> Result<(), BadLine> {
        let first = self.first.number().ok_or_else(|| lacks("U"))?;
        let last = self.u.number().ok_or_else(|| lacks("u"))?;
        if first > last || said.symbol.is_empty() {
            return Err(lacks(if first > last {
                "U that is not above u"
            } else {
                "s"
            }));
        }
        said.code = b'D';
        said.about = About::Book;
        said.markets = match self.pu {
            Any::None => Markets::SPOT,
            _ => Markets::FUTURES,
        };
        said.before = match self.pu {
            Any::None => first.saturating_sub(1),
            _ => self.pu.number().ok_or_else(|| lacks("pu"))?,
        };
        (said.first, said.last) = (first, last);
        sides(&self.b, &self.a, ["b", "a"], said)
    }

    fn rest_snapshot(&self, said: &mut Said) -> Result<(), BadLine> {
        said.last = self
            .snapshot
            .number()
            .ok_or_else(|| lacks("lastUpdateId"))?;
        said.code = b'S';
        said.about = About::Book;
        sides(&self.bids, &self.asks, ["bids", "asks"], said)
    }

    fn trade(&self, line: &[u8], code: u8, about: About, said: &mut Said) -> Result<(), BadLine> {
        let price = decimal(line, &self.p, "p")?;
        let qty = decimal(line, &self.q, "q")?;
        let id = if code == b'T' { &self.t } else { &self.a };
        let id = id.number().ok_or_else(|| lacks("a trade's number"))?;
        let Any::Bool(is_buyer_maker) = self.m else {
            return Err(lacks("m"));
        };
        if said.symbol.is_empty() {
            return Err(lacks("s"));
        }
        let side = if is_buyer_maker {
            Side::Buy
        } else {
            Side::Sell
        };
        (said.code, said.about) = (code, about);
        said.markets = match (&self.spot, &self.futures) {
            (Any::None, Any::None) => Markets::MAYBE_FUTURES,
            (Any::None, _) => Markets::FUTURES,
            _ => Markets::SPOT,
        };
        said.rows.push(Row {
            side,
            price,
            qty,
            id,
        });
        Ok(())
    }

    fn book_ticker(&self, line: &[u8], said: &mut Said) -> Result<(), BadLine> {
        said.code = b'Q';
        said.about = About::Quote;
        said.last = self.u.number().ok_or_else(|| lacks("u"))?;
        for (side, price, qty, names) in [
            (Side::Buy, &self.b, &self.bid_qty, ["b", "B"]),
            (Side::Sell, &self.a, &self.ask_qty, ["a", "A"]),
        ] {
            let price = decimal(line, price, names[0])?;
            let qty = decimal(line, qty, names[1])?;
            said.rows.push(Row {
                side,
                price,
                qty,
                id: 0,
            });
        }
        Ok(())
    }
}

/// Both sides' levels.
fn sides(bids: &Any<'_>, asks: &Any<'_>, names: [&str; 2], said: &mut Said) -> Result<(), BadLine> {
    for (side, levels, name) in [(Side::Buy, bids, names[0]), (Side::Sell, asks, names[1])] {
        let Any::Levels(levels) = levels else {
            return Err(lacks(name));
        };
        let row = |&(price, qty): &(Decimal, Decimal)| Row {
            side,
            price,
            qty,
            id: 0,
        };
        said.rows.extend(levels.iter().map(row));
    }
    Ok(())
}

fn decimal(line: &[u8], field: &Any<'_>, name: &str) -> Result<Decimal, BadLine> {
    let text = field.text().ok_or_else(|| lacks(name))?;
    Decimal::parse(text.as_bytes()).ok_or_else(|| BadLine {
        at: place_of(line, text),
        what: format!("{name} is {text:?}, want a decimal of at most 18 places"),
    })
}

fn lacks(what: &str) -> BadLine {
    let what = format!("a message without {what}");
    BadLine { at: 0, what }
}
