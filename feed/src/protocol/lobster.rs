//! LOBSTER message files: comma-separated lines, as "Output Structure" of LOBSTER's own documentation
//! has them.
//!
//! ```text
//! 34200.004241176,1,16113575,18,5853300,1
//! seconds since   │ order    │  │       └ 1 buy, -1 sell: the side of the resting order
//! midnight        │ number   │  └ price in 1e-4
//!                 │          └ size
//!                 └ 1 new, 2 part cancelled, 3 deleted, 4 executed, 5 hidden executed,
//!                   6 auction, 7 halt: price -1 halted, 0 quotes, 1 trades again
//! ```
//!
//! A file has one symbol, which its name begins with; the source puts it, padded to eight letters,
//! in front of each line. A seventh column, which newer files have, is passed over.
//!
//! A file with so many levels leaves out what lies beyond them, and it begins in the middle of a
//! day: its lines refer to orders that no line ever brought. The book lacks those, and each line that
//! takes from one is counted as an unknown order; but an execution has its price in the line, and so
//! it prints all the same, as a trade without an order.

use bus::{Event, Flags, Kind, Price, Qty, Side, Ts};

use super::keyed::Map;
use super::symbols::Symbols;
use super::{Fault, Notes, Protocol};
use crate::source::Framing;

/// The letters of a symbol in front of each line.
pub(crate) const NAME_BYTES: usize = 8;

/// The longest line that can be right: six numbers of 19 digits, and a column more.
pub(crate) const LINE_BYTES_MAX: usize = 256;

/// The decoder of one trading day.
#[derive(Debug)]
pub struct Lobster {
    midnight: Ts,
    symbols: Symbols,
    /// What is left of each order that a line brought.
    orders: Map<u64, i64>,
}

/// So many orders are remembered at most.
const ORDERS_MAX: usize = 1 << 24;

impl Lobster {
    /// For lines that count their seconds from `midnight`.
    pub fn new(midnight: Ts) -> Lobster {
        Lobster {
            midnight,
            symbols: Symbols::default(),
            orders: Map::default(),
        }
    }
}

/// A line's columns.
struct Row {
    ns: i64,
    kind: u8,
    order: u64,
    size: i64,
    price: i64,
    side: Side,
}

/// Whether this is a line of a message file; if not, the byte where it shows.
pub(crate) fn look(line: &[u8]) -> Result<(), usize> {
    row(line).map(drop)
}

/// When a line happened, in nanoseconds since midnight.
pub(crate) fn time(line: &[u8]) -> Option<Ts> {
    Columns { line, at: 0 }.seconds().ok().map(Ts)
}

/// A line's columns, or the byte where it has something else.
fn row(line: &[u8]) -> Result<Row, usize> {
    let mut columns = Columns { line, at: 0 };
    let ns = columns.seconds()?;
    let at = columns.at;
    let kind = match columns.number()? {
        kind @ 1..=7 => b'0' + kind as u8,
        _ => return Err(at),
    };
    let at = columns.at;
    let order = u64::try_from(columns.number()?).map_err(|_| at)?;
    let at = columns.at;
    let size = Some(columns.number()?)
        .filter(|size| *size >= 0)
        .ok_or(at)?;
    let price = columns.number()?;
    let at = columns.at;
    let side = match columns.number()? {
        1 => Side::Buy,
        -1 => Side::Sell,
        _ => return Err(at),
    };
    Ok(Row {
        ns,
        kind,
        order,
        size,
        price,
        side,
    })
}

/// What a line of a message file says of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// The digit of its kind.
    pub code: u8,
    /// The order's number.
    pub order: u64,
    /// Its quantity.
    pub qty: Qty,
    /// The order's price.
    pub price: Price,
    /// The order's side.
    pub side: Side,
}

/// A line of a message file, or the byte where it has something else.
pub fn message(line: &[u8]) -> Result<Message, usize> {
    let row = row(line)?;
    Ok(Message {
        code: row.kind,
        order: row.order,
        qty: Qty(row.size),
        price: price(row.price).ok_or(0usize)?,
        side: row.side,
    })
}

/// What a line of an order book file shows: bids and asks with their sizes, each from the best on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// The bids.
    pub bids: Vec<(Price, Qty)>,
    /// The asks.
    pub asks: Vec<(Price, Qty)>,
    /// Levels of a side that the file has room for.
    pub depth: usize,
}

/// A line of an order book file, or the byte where it has something else: ask price, ask size, bid
/// price, bid size of each level; the price of a level that is not there is 9999999999 or its negative.
pub fn shown(line: &[u8]) -> Result<Shown, usize> {
    const NOTHING: i64 = 9_999_999_999;
    let mut columns = Columns { line, at: 0 };
    let mut shown = Shown::default();
    while columns.at < line.len() {
        for side in [&mut shown.asks, &mut shown.bids] {
            let at = columns.at;
            let (e4, size) = (columns.number()?, columns.number()?);
            let price = price(e4).ok_or(at)?;
            if e4.abs() != NOTHING {
                side.push((price, Qty(size)));
            }
        }
        shown.depth += 1;
    }
    if shown.depth == 0 { Err(0) } else { Ok(shown) }
}

/// A price in 1e-4.
fn price(e4: i64) -> Option<Price> {
    let price = e4.checked_mul(100_000).map(Price);
    price.filter(|price| price.is_some())
}

/// Columns of a line, one after another. An error is the byte where something else was expected.
struct Columns<'a> {
    line: &'a [u8],
    at: usize,
}

/// More decimals of a time than any number type prints.
const DECIMALS_MAX: usize = 19;

impl Columns<'_> {
    /// Goes over the comma behind a column, or to the end.
    fn end(&mut self) -> Result<(), usize> {
        match self.line.get(self.at) {
            Some(b',') => self.at += 1,
            None => {}
            Some(_) => return Err(self.at),
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<i64, usize> {
        let (mut value, first) = (0i64, self.at);
        while let Some(digit) = self.line.get(self.at).filter(|byte| byte.is_ascii_digit()) {
            let next = value.checked_mul(10);
            let next = next.and_then(|value| value.checked_add(i64::from(digit - b'0')));
            value = next.ok_or(self.at)?;
            self.at += 1;
        }
        if self.at == first {
            Err(self.at)
        } else {
            Ok(value)
        }
    }

    fn number(&mut self) -> Result<i64, usize> {
        let is_negative = self.line.get(self.at) == Some(&b'-');
        self.at += usize::from(is_negative);
        let value = self.digits()?;
        self.end()?;
        Ok(if is_negative { -value } else { value })
    }

    /// Seconds with decimals, of which nine count, in nanoseconds; less than two days of them. Who
    /// wrote them as floating point has more now and then.
    fn seconds(&mut self) -> Result<i64, usize> {
        let start = self.at;
        let seconds = self.digits()?;
        if seconds >= 2 * 86_400 {
            return Err(start);
        }
        let mut ns = seconds * 1_000_000_000;
        if self.line.get(self.at) == Some(&b'.') {
            self.at += 1;
            let first = self.at;
            let digits = self.line[first..].iter();
            let digits = digits.take_while(|byte| byte.is_ascii_digit());
            let mut worth = 100_000_000;
            for digit in digits {
                ns += i64::from(digit - b'0') * worth;
                (self.at, worth) = (self.at + 1, worth / 10);
            }
            if self.at == first || self.at - first > DECIMALS_MAX {
                return Err(self.at.min(first + DECIMALS_MAX));
            }
        }
        self.end()?;
        Ok(ns)
    }
}

impl Protocol for Lobster {
    const FRAMING: Framing = Framing::Records(None);
    const IS_TRANSLATED: bool = true;

    fn decode(&self, message: &[u8], event: &mut Event) -> Result<Notes, Fault> {
        let Some((_, line)) = message.split_at_checked(NAME_BYTES) else {
            return Err(Fault::Empty);
        };
        let wrong = |at: usize| Fault::Field {
            code: b'?',
            offset_bytes: at.min(255) as u8,
            got: line.get(at).copied().unwrap_or(b'\n'),
        };
        let row = row(line).map_err(wrong)?;
        let price = price(row.price);
        *event = Event {
            ts_event: self.midnight.plus_ns(row.ns),
            order: row.order,
            price: price.ok_or(wrong(0))?,
            qty: Qty(row.size),
            side: row.side,
            code: row.kind,
            ..Event::new(Kind::Info)
        };
        (event.kind, event.flags) = match row.kind {
            b'1' => (Kind::Add, Flags(0)),
            b'2' => (Kind::Cancel, Flags(0)),
            b'3' => (Kind::Delete, Flags(0)),
            b'4' => (Kind::Execute, Flags::PRINTABLE),
            b'5' => (Kind::Trade, Flags::PRINTABLE),
            b'6' => (Kind::Cross, Flags::PRINTABLE),
            _ => (Kind::Status, Flags(0)),
        };
        if event.kind == Kind::Status {
            event.order = u64::from(match row.price {
                -1 => b'H',
                0 => b'Q',
                1 => b'T',
                _ => return Err(wrong(0)),
            });
        }
        // An order has its own price.
        if matches!(event.kind, Kind::Cancel | Kind::Delete | Kind::Status) {
            event.price = Price(0);
        }
        if matches!(event.kind, Kind::Delete | Kind::Status) {
            event.qty = Qty(0);
        }
        Ok(Notes(0))
    }

    fn code(&self, _message: &[u8]) -> Option<u8> {
        Some(b'?')
    }

    fn ts_event(&self, message: &[u8]) -> Option<Ts> {
        let since_midnight = time(message.get(NAME_BYTES..)?)?;
        Some(self.midnight.plus_ns(since_midnight.0))
    }

    fn translate(
        &mut self,
        message: &[u8],
        event: &Event,
        out: &mut Vec<Event>,
    ) -> Result<(), Fault> {
        let name = message.first_chunk().expect("it was decoded");
        let name = u64::from_be_bytes(*name);
        let (symbol, is_new) = self.symbols.number(name)?;
        if is_new {
            out.push(Event {
                order: name,
                symbol,
                ts_event: event.ts_event,
                ts_recv: event.ts_recv,
                ..Event::new(Kind::Symbol)
            });
        }
        let mut event = Event { symbol, ..*event };
        let result = self.remember(&mut event);
        out.push(event);
        result
    }
}

impl Lobster {
    /// Keeps what is left of orders; an execution of one that no line brought becomes a trade.
    fn remember(&mut self, event: &mut Event) -> Result<(), Fault> {
        let left = match event.kind {
            Kind::Add => {
                if self.orders.len() == ORDERS_MAX {
                    let (what, max) = ("orders", ORDERS_MAX as u32);
                    return Err(Fault::Full { what, max });
                }
                self.orders.insert(event.order, event.qty.0);
                return Ok(());
            }
            Kind::Cancel | Kind::Execute => {
                let left = self.orders.get_mut(&event.order).map(|left| {
                    *left -= event.qty.0;
                    *left
                });
                if event.kind == Kind::Execute {
                    if left.is_none() {
                        (event.kind, event.order) = (Kind::Trade, 0);
                        return Ok(());
                    }
                    event.price = Price(0);
                }
                left.unwrap_or(0)
            }
            Kind::Delete => 0,
            _ => return Ok(()),
        };
        if left <= 0 {
            self.orders.remove(&event.order);
        }
        Ok(())
    }
}
