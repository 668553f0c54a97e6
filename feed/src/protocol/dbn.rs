//! Databento Binary Encoding, versions 1 to 3, little-endian: records that each begin with
//!
//! ```text
//! byte 0       1      2          4           8
//!      length  rtype  publisher  instrument  ts_event, ns since 1970
//!      in 4s
//! ```
//!
//! | rtype | schema | becomes |
//! |---|---|---|
//! | 0xa0 | `mbo` | orders, trades |
//! | 0x00 | `trades` | trades |
//! | 0x01, 0xc5 | `mbp-1`, `tbbo` | best bid and ask, trades |
//! | 0x0a | `mbp-10` | ten levels of each side, trades |
//! | 0x13 | `definition` | Symbol |
//! | others | `ohlcv`, `bbo`, `statistics`, `status` ... | Info |
//!
//! The record's action says what happened: `A` added, `C` cancelled, `M` modified, `R` the book is
//! cleared, `T` a trade, `F` an order was filled, `N` nothing. A trade prints and changes no book, nor
//! do `F` and `N`: the `C` or `M` behind them does. So a `tbbo` record, which is a trade, leaves its
//! quote unsaid. Changes are told of with the record whose flags end the event (`F_LAST`); a book is
//! not concluded from before.
//!
//! An order that is made smaller at its price keeps its place in the queue; every other `M` puts it
//! behind the others. Levels of `mbp` records are one order each (`shown`). Prices are in 1e-9, as
//! ours are.
//!
//! In front of each record the source puts the instrument's name from the file's metadata, eight
//! letters padded with spaces; where it is longer or not known, or another instrument's, the
//! instrument's number in hexadecimal.

use bus::{Event, Flags, Kind, Price, Qty, Side, Ts};

use super::keyed::Map;
use super::shown::{Shown, Unfinished};
use super::symbols::Symbols;
use super::{Fault, Notes, Protocol};
use crate::source::Framing;

/// The letters of a name in front of each record.
pub(crate) const NAME_BYTES: usize = 8;
/// What every record begins with.
pub(crate) const HEADER_BYTES: usize = 16;

const MBO: u8 = 0xa0;
const TRADES: u8 = 0x00;
const MBP_1: u8 = 0x01;
const TBBO: u8 = 0xc5;
const MBP_10: u8 = 0x0a;
const DEFINITION: u8 = 0x13;

/// The flag that ends an event.
const F_LAST: u8 = 0x80;

/// What stands for no price.
const UNDEF_PRICE: i64 = i64::MAX;

/// So many orders are remembered at most, over all instruments.
const ORDERS_MAX: usize = 1 << 24;

/// Where the levels of `mbp` records begin, and how long each is.
const LEVELS_AT: usize = 48;
const LEVEL_BYTES: usize = 32;
/// Levels of each side in the longest of those records.
const LEVELS_MAX: usize = 10;

/// Where a definition has its symbol, how much room that has, and its round lot, by the length of
/// the record: versions 1, 2 and 3.
const DEFINITIONS: [(usize, usize, usize, usize); 3] = [
    (360, 200, 22, 148),
    (400, 200, 71, 156),
    (520, 238, 71, 168),
];

/// The decoder, and what has to be remembered of the records before.
#[derive(Debug, Default)]
pub struct Dbn {
    symbols: Symbols,
    /// Whose each name is.
    names: Map<u64, u32>,
    orders: Map<u64, Resting>,
    shown: Shown,
    unfinished: Unfinished,
    /// By symbol, what each side showed last.
    levels: Vec<[Levels; 2]>,
}

/// An order as it rests.
#[derive(Clone, Copy, Debug)]
struct Resting {
    symbol: u32,
    side: Side,
    price: Price,
    qty: i64,
}

/// The levels of one side, the best first.
#[derive(Clone, Copy, Debug)]
struct Levels {
    rows: [(Price, i64); LEVELS_MAX],
    len: usize,
    /// Each price is worse than the one before, so none is there twice.
    is_ordered: bool,
}

impl Levels {
    const NONE: Levels = Levels {
        rows: [(Price(0), 0); LEVELS_MAX],
        len: 0,
        is_ordered: true,
    };

    /// Those that a record shows.
    fn of(record: &[u8], side: Side) -> Levels {
        let (price_at, size_at) = match side {
            Side::Buy => (0, 16),
            Side::Sell | Side::None => (8, 20),
        };
        let mut levels = Levels::NONE;
        for level in record[LEVELS_AT..].chunks_exact(LEVEL_BYTES) {
            let price = Price(u64_at(level, price_at) as i64);
            let size = i64::from(u32_at(level, size_at));
            if price.0 != UNDEF_PRICE && size > 0 {
                levels.push(side, price, size);
            }
        }
        levels
    }

    fn push(&mut self, side: Side, price: Price, size: i64) {
        if let Some(&(last, _)) = self.rows().last() {
            self.is_ordered &= match side {
                Side::Buy => price < last,
                Side::Sell | Side::None => price > last,
            };
        }
        self.rows[self.len] = (price, size);
        self.len += 1;
    }

    fn rows(&self) -> &[(Price, i64)] {
        &self.rows[..self.len]
    }

    /// Whether there is such a price, which most likely has this place.
    fn has(&self, index: usize, price: Price) -> bool {
        let rows = self.rows();
        rows.get(index).is_some_and(|row| row.0 == price) || rows.iter().any(|row| row.0 == price)
    }

    /// Whether there is such a level, which most likely has this place.
    fn says(&self, index: usize, row: (Price, i64)) -> bool {
        let rows = self.rows();
        rows.get(index) == Some(&row) || rows.contains(&row)
    }
}

impl Dbn {
    /// Before the first record.
    pub fn new() -> Dbn {
        Dbn::default()
    }
}

/// When the record was received, where its type says so.
pub(crate) fn ts_recv(record: &[u8]) -> Option<Ts> {
    let at = match *record.get(1)? {
        MBO => 40,
        TRADES | MBP_1 | TBBO | MBP_10 | 0xb1 | 0xc0..=0xc4 => 32,
        0x12..=0x14 | 0x18 => 16,
        _ => return None,
    };
    time_at(record, at)
}

/// A time; `None` where there is none, or beyond what ours can say.
fn time_at(record: &[u8], at: usize) -> Option<Ts> {
    let ns = u64::from_le_bytes(record.get(at..at + 8)?.try_into().expect("eight bytes"));
    i64::try_from(ns).ok().map(Ts)
}

/// When it happened; when it was received, where that is not said.
pub(crate) fn ts_of(record: &[u8]) -> Option<Ts> {
    time_at(record, 8).or_else(|| ts_recv(record))
}

/// How long a record of this type is; `None` where that does not matter.
fn len_of(rtype: u8) -> Option<usize> {
    Some(match rtype {
        MBO => 56,
        TRADES => 48,
        MBP_1 | TBBO => 80,
        MBP_10 => 368,
        _ => return None,
    })
}

impl Protocol for Dbn {
    const FRAMING: Framing = Framing::Records(None);
    const IS_TRANSLATED: bool = true;

    #[inline]
    fn decode(&self, message: &[u8], event: &mut Event) -> Result<Notes, Fault> {
        let record = message.get(NAME_BYTES..).unwrap_or_default();
        if record.is_empty() {
            return Err(Fault::Empty);
        }
        let got = record.len() as u16;
        let rtype = record.get(1).copied().unwrap_or(0);
        let length = |want: usize| Fault::Length {
            code: rtype,
            got,
            want: want as u16,
        };
        if record.len() < HEADER_BYTES || usize::from(record[0]) * 4 != record.len() {
            return Err(length(usize::from(record[0]).max(4) * 4));
        }
        let wrong = |at: usize| Fault::Field {
            code: rtype,
            offset_bytes: at as u8,
            got: record[at],
        };
        let ts_event = ts_of(record).ok_or_else(|| wrong(8))?;
        *event = Event {
            ts_event,
            ts_recv: ts_recv(record).unwrap_or(ts_event),
            code: code_of(rtype),
            ..Event::new(Kind::Info)
        };
        let Some(want) = len_of(rtype) else {
            if rtype == DEFINITION {
                let known = DEFINITIONS.iter().find(|(len, ..)| *len == record.len());
                let &(_, _, _, lot_at) = known.ok_or_else(|| length(DEFINITIONS[2].0))?;
                event.kind = Kind::Symbol;
                event.qty = Qty(i64::from(u32_at(record, lot_at) as i32).max(0));
            }
            return Ok(Notes(0));
        };
        // With `ts_out`, eight bytes more.
        if record.len() != want && record.len() != want + 8 {
            return Err(length(want));
        }
        let (order, price_at, size_at, action_at, side_at) = match rtype {
            MBO => (u64_at(record, 16), 24, 32, 38, 39),
            _ => (0, 16, 24, 28, 29),
        };
        event.code = record[action_at];
        event.order = order;
        event.price = Price(u64_at(record, price_at) as i64);
        event.qty = Qty(u32_at(record, size_at).into());
        event.side = match record[side_at] {
            b'B' => Side::Buy,
            b'A' => Side::Sell,
            b'N' => Side::None,
            _ => return Err(wrong(side_at)),
        };
        event.kind = match event.code {
            b'A' => Kind::Add,
            b'C' => Kind::Cancel,
            b'M' => Kind::Replace,
            b'T' => Kind::Trade,
            b'R' | b'F' | b'N' => Kind::Info,
            _ => return Err(wrong(action_at)),
        };
        let is_order = matches!(event.kind, Kind::Add | Kind::Cancel | Kind::Replace);
        if rtype == MBO && is_order && event.side == Side::None {
            return Err(wrong(side_at));
        }
        if event.kind == Kind::Trade {
            (event.order, event.flags) = (0, Flags::PRINTABLE);
            // The number of the packet at the exchange, the nearest there is to one of the trade.
            event.order_b = u32_at(record, if rtype == MBO { 52 } else { 44 }).into();
        }
        Ok(Notes(0))
    }

    fn code(&self, message: &[u8]) -> Option<u8> {
        message.get(NAME_BYTES + 1).copied().map(code_of)
    }

    fn ts_event(&self, message: &[u8]) -> Option<Ts> {
        ts_of(message.get(NAME_BYTES..)?)
    }

    #[inline]
    fn translate(
        &mut self,
        message: &[u8],
        event: &Event,
        out: &mut Vec<Event>,
    ) -> Result<(), Fault> {
        let (name, record) = message.split_first_chunk::<NAME_BYTES>().expect("decoded");
        let key = u64::from(u32_at(record, 4)) | u64::from(u16_at(record, 2)) << 32;
        let (symbol, is_new) = self.symbols.number(key)?;
        let mut event = Event {
            symbol,
            ts_recv: ts_recv(record).unwrap_or(event.ts_recv),
            ..*event
        };
        if event.kind == Kind::Symbol {
            let name = defined_name(record).unwrap_or(u64::from_be_bytes(*name));
            event.order = self.own_name(symbol, u32_at(record, 4), name);
            out.push(event);
            return Ok(());
        }
        if is_new {
            let name = u64::from_be_bytes(*name);
            out.push(Event {
                order: self.own_name(symbol, u32_at(record, 4), name),
                symbol,
                ts_event: event.ts_event,
                ts_recv: event.ts_recv,
                ..Event::new(Kind::Symbol)
            });
        }
        let rtype = record[1];
        if len_of(rtype).is_none() {
            out.push(event);
            return Ok(());
        }
        let is_last = record[if rtype == MBO { 36 } else { 30 }] & F_LAST != 0;
        let from = out.len();
        let result = match (event.code, rtype) {
            (b'T' | b'F' | b'N', _) => Ok(()),
            (b'R', MBO) => {
                self.clear(&event, out);
                Ok(())
            }
            (_, MBO) => self.order(&event, out),
            (_, TRADES) => Ok(()),
            _ => self.levels(&event, record, out),
        };
        let changes = &mut out[from..];
        let is_untold = self.unfinished.mark(symbol, changes, is_last);
        if changes.is_empty() {
            if event.kind != Kind::Trade {
                (event.kind, event.price) = (Kind::Info, Price(0));
            }
            if is_untold {
                event.flags = event.flags.with(Flags::ENDS);
            }
            out.push(event);
        }
        result
    }
}

impl Dbn {
    /// The name, if no other instrument has it; else the instrument's number in hexadecimal, or ours where
    /// that is another's name, too. So two books are never called the same.
    fn own_name(&mut self, symbol: u32, instrument: u32, name: u64) -> u64 {
        let letters = |text: String| {
            let bytes = text.as_bytes().first_chunk();
            u64::from_be_bytes(*bytes.expect("eight letters"))
        };
        for name in [name, letters(format!("{instrument:08X}"))] {
            if *self.names.entry(name).or_insert(symbol) == symbol {
                return name;
            }
        }
        letters(format!("~{symbol:07X}"))
    }

    /// One record of an order.
    fn order(&mut self, event: &Event, out: &mut Vec<Event>) -> Result<(), Fault> {
        let (id, qty) = (event.order, event.qty.0);
        let rests = Resting {
            symbol: event.symbol,
            side: event.side,
            price: event.price,
            qty,
        };
        let found = self.orders.get_mut(&id);
        match (event.kind, found) {
            (Kind::Cancel, found) => {
                out.push(Event {
                    price: Price(0),
                    ..*event
                });
                if let Some(order) = found {
                    order.qty -= qty;
                    if order.qty <= 0 {
                        self.orders.remove(&id);
                    }
                }
            }
            (Kind::Replace, Some(order)) => {
                let before = std::mem::replace(order, rests);
                let is_same = before.side == event.side && before.price == event.price;
                if qty == 0 {
                    self.orders.remove(&id);
                }
                if before.side != event.side || qty == 0 {
                    out.push(gone(event, id));
                    if qty > 0 {
                        out.push(Event {
                            kind: Kind::Add,
                            ..*event
                        });
                    }
                } else if is_same && qty < before.qty {
                    out.push(Event {
                        kind: Kind::Cancel,
                        price: Price(0),
                        qty: Qty(before.qty - qty),
                        ..*event
                    });
                } else if !is_same || qty > before.qty {
                    out.push(Event {
                        order_b: id,
                        ..*event
                    });
                }
            }
            // An order that was never shown, or comes twice, which the book then tells of.
            (_, found) => {
                let is_there = found.is_some();
                if !is_there && qty > 0 {
                    if self.orders.len() == ORDERS_MAX {
                        let (what, max) = ("orders", ORDERS_MAX as u32);
                        return Err(Fault::Full { what, max });
                    }
                    self.orders.insert(id, rests);
                }
                out.push(Event {
                    kind: Kind::Add,
                    ..*event
                });
            }
        }
        Ok(())
    }

    /// All orders of a symbol go.
    fn clear(&mut self, event: &Event, out: &mut Vec<Event>) {
        let orders = self.orders.iter();
        let of_symbol = orders.filter(|(_, order)| order.symbol == event.symbol);
        let mut ids: Vec<u64> = of_symbol.map(|(id, _)| *id).collect();
        ids.sort_unstable();
        for id in ids {
            self.orders.remove(&id);
            out.push(gone(event, id));
        }
    }

    /// The levels that a record shows are all there are.
    fn levels(&mut self, event: &Event, record: &[u8], out: &mut Vec<Event>) -> Result<(), Fault> {
        let index = event.symbol as usize;
        if index >= self.levels.len() {
            self.levels.resize(index + 1, [Levels::NONE; 2]);
        }
        let shown = &mut self.shown;
        for (old, side) in self.levels[index].iter_mut().zip([Side::Buy, Side::Sell]) {
            let mut now = Levels::of(record, side);
            // A price that is there twice is not looked for: what it shows is what its last row says.
            let is_plain = old.is_ordered && now.is_ordered;
            if is_plain && old.rows() == now.rows() {
                continue;
            }
            let event = Event {
                side,
                order: 0,
                ..*event
            };
            for (place, &(price, _)) in old.rows().iter().enumerate() {
                if !now.has(place, price) {
                    shown.set(&event, price, Qty(0), out)?;
                }
            }
            for (place, &(price, size)) in now.rows().iter().enumerate() {
                if is_plain && old.says(place, (price, size)) {
                    continue;
                }
                if let Err(full) = shown.set(&event, price, Qty(size), out) {
                    now.len = place;
                    *old = now;
                    return Err(full);
                }
            }
            *old = now;
        }
        Ok(())
    }
}

/// An order goes, whatever is left of it.
fn gone(event: &Event, id: u64) -> Event {
    Event {
        kind: Kind::Delete,
        order: id,
        price: Price(0),
        qty: Qty(0),
        ..*event
    }
}

/// The type's letter for reports; those with an action have that.
fn code_of(rtype: u8) -> u8 {
    match rtype {
        DEFINITION => b'd',
        0x11 | 0x20..=0x24 => b'o',
        0x12 => b's',
        0x14 => b'i',
        0x15 => b'e',
        0x16 => b'm',
        0x17 => b'y',
        0x18 => b't',
        0xb1 | 0xc0..=0xc4 => b'b',
        other => other,
    }
}

/// The symbol that a definition defines, if it fits.
fn defined_name(record: &[u8]) -> Option<u64> {
    let known = DEFINITIONS.iter().find(|(len, ..)| *len == record.len());
    let &(_, at, room, _) = known?;
    short_name(&record[at..at + room])
}

/// A name of up to eight letters with zeros behind it, as [`Kind::Symbol`] has it.
pub(crate) fn short_name(text: &[u8]) -> Option<u64> {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    let is_good = (1..=NAME_BYTES).contains(&text.len()) && text.iter().all(u8::is_ascii_graphic);
    let mut name = [b' '; NAME_BYTES];
    name.iter_mut().zip(text).for_each(|(to, from)| *to = *from);
    is_good.then_some(u64::from_be_bytes(name))
}

fn u16_at(record: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(record[at..at + 2].try_into().expect("two bytes"))
}

fn u32_at(record: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(record[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(record: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(record[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Levels as they are said in words: those of before that are not there go, then each is as it is.
    #[derive(Default)]
    struct Plain {
        shown: Shown,
        before: [Vec<Price>; 2],
    }

    impl Plain {
        fn levels(&mut self, event: &Event, rows: [&[(Price, i64)]; 2], out: &mut Vec<Event>) {
            for ((side, rows), before) in [Side::Buy, Side::Sell]
                .into_iter()
                .zip(rows)
                .zip(&mut self.before)
            {
                let event = Event { side, ..*event };
                for price in before.drain(..) {
                    if !rows.iter().any(|row| row.0 == price) {
                        let set = self.shown.set(&event, price, Qty(0), out);
                        set.expect("there is room");
                    }
                }
                for &(price, size) in rows {
                    let set = self.shown.set(&event, price, Qty(size), out);
                    set.expect("there is room");
                    before.push(price);
                }
            }
        }
    }

    /// Sides in order as venues have them, out of order, with prices that are there twice, and with holes.
    #[test]
    fn levels_are_those_of_who_looks_at_each() {
        let mut random = 1u64;
        let mut below = |end: u64| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (random >> 33) % end
        };
        let (mut skipped, mut unordered) = (0, 0);
        for _ in 0..300 {
            let (mut dbn, mut plain) = (Dbn::new(), Plain::default());
            let is_wild = below(3) == 0;
            let mut sides: [Vec<(i64, u64)>; 2] = Default::default();
            for step in 0..60 {
                for (side, rows) in sides.iter_mut().enumerate() {
                    if is_wild && below(2) == 0 {
                        let count = below(11);
                        *rows = (0..count)
                            .map(|_| (below(6) as i64 - 1, below(3)))
                            .collect();
                    } else if step == 0 || below(4) == 0 {
                        let from = below(5) as i64;
                        let sign = if side == 0 { -1 } else { 1 };
                        let row = |level| (sign * (from + level), 1 + below(3));
                        rows.clear();
                        rows.extend((0..10).map(row));
                    } else if let Some(row) = rows.last_mut() {
                        row.1 = 1 + below(3);
                    }
                }
                let mut record = vec![0; 368];
                let mut said: [Vec<(Price, i64)>; 2] = Default::default();
                for level in 0..10 {
                    for (side, rows) in sides.iter().enumerate() {
                        let (price, size) = match rows.get(level) {
                            Some(&(price, size)) => (price, size as u32),
                            None => (UNDEF_PRICE, 0),
                        };
                        let at = LEVELS_AT + LEVEL_BYTES * level;
                        record[at + 8 * side..][..8].copy_from_slice(&price.to_le_bytes());
                        record[at + 16 + 4 * side..][..4].copy_from_slice(&size.to_le_bytes());
                        if price != UNDEF_PRICE && size > 0 {
                            said[side].push((Price(price), size.into()));
                        }
                    }
                }
                let event = Event {
                    symbol: 1,
                    ..Event::new(Kind::Add)
                };
                let (mut got, mut want) = (Vec::new(), Vec::new());
                dbn.levels(&event, &record, &mut got)
                    .expect("there is room");
                plain.levels(&event, [&said[0], &said[1]], &mut want);
                assert_eq!(got, want, "step {step}: {said:?}");
                skipped += usize::from(want.len() < said[0].len() + said[1].len());
                unordered += usize::from(dbn.levels[1].iter().any(|side| !side.is_ordered));
            }
        }
        assert!(
            skipped > 5_000 && unordered > 1_000,
            "{skipped} {unordered}"
        );
    }
}
