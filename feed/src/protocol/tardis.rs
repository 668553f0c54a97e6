//! The CSV files of tardis.dev: `incremental_book_L2`, `trades` and `quotes`.
//!
//! ```text
//! exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount
//! exchange,symbol,timestamp,local_timestamp,id,side,price,amount
//! exchange,symbol,timestamp,local_timestamp,ask_amount,ask_price,bid_price,bid_amount
//! ```
//!
//! Columns are found by their names in the first line, so that others may stand among them; times are
//! microseconds since 1970. Rows of one symbol with the same times are one message of the venue, and one
//! here:
//!
//! ```text
//! L  changed levels        S  levels of a snapshot: behind rows that are none, the first of a new book
//! T  a trade, whose side is the taker's        Q  a quote: a book of one level, where there is no other
//! ```

use bus::{Event, Side, Ts};

use super::plain::{CHANGES, Plain, QUOTE, SNAPSHOT, Snapshots};
use super::said::{About, BadLine, Decimal, Message, Row, Said};
use super::{Fault, Notes, Protocol, Told};
use crate::source::Framing;

const CODES: &[u8] = b"LSTQ+";
const TRADES: &[u8] = b"T";

/// The decoder.
#[derive(Debug)]
pub struct Tardis(Plain);

impl Default for Tardis {
    fn default() -> Tardis {
        Tardis::new()
    }
}

impl Tardis {
    /// A decoder that has seen nothing yet.
    pub fn new() -> Tardis {
        Tardis(Plain::new(Snapshots::InSeveral))
    }
}

impl Protocol for Tardis {
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
        self.0.translate(message, event, out)
    }

    fn told(&self, message: &[u8]) -> Told {
        self.0.told(message)
    }
}

/// Columns that are looked at.
const NAMES: [&str; 12] = [
    "exchange",
    "symbol",
    "timestamp",
    "local_timestamp",
    "is_snapshot",
    "id",
    "side",
    "price",
    "amount",
    "bid_price",
    "bid_amount",
    "ask_price",
];
const ASK_AMOUNT: &str = "ask_amount";
/// A line has at most this many columns.
const COLUMNS_MAX: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rows {
    Levels,
    Trades,
    Quotes,
}

/// What the first line says of the others.
#[derive(Clone, Debug)]
pub(crate) struct Columns {
    rows: Rows,
    names: Vec<&'static str>,
}

impl Columns {
    /// The columns, if this is a first line.
    pub(crate) fn of(line: &[u8]) -> Option<Columns> {
        let line = std::str::from_utf8(line).ok()?;
        let all = || NAMES.iter().chain([&ASK_AMOUNT]);
        let name = |name: &str| all().find(|known| **known == name).copied().unwrap_or("");
        let names: Vec<&'static str> = line.split(',').take(COLUMNS_MAX + 1).map(name).collect();
        let has = |wanted: &[&str]| wanted.iter().all(|name| names.contains(name));
        if names.len() > COLUMNS_MAX || !has(&NAMES[..4]) {
            return None;
        }
        let rows = if has(&["is_snapshot", "side", "price", "amount"]) {
            Rows::Levels
        } else if has(&["id", "side", "price", "amount"]) {
            Rows::Trades
        } else if has(&["bid_price", "bid_amount", "ask_price", ASK_AMOUNT]) {
            Rows::Quotes
        } else {
            return None;
        };
        Some(Columns { rows, names })
    }

    /// Reads a line behind the first.
    pub(crate) fn read(&self, line: &[u8], said: &mut Said) -> Result<(), BadLine> {
        said.clear();
        let line = std::str::from_utf8(line).map_err(|error| BadLine {
            at: error.valid_up_to(),
            what: "want text".into(),
        })?;
        let mut fields = Fields {
            columns: self,
            line,
            starts: [0; COLUMNS_MAX + 1],
        };
        let (mut found, want) = (1, self.names.len());
        for (at, _) in line.bytes().enumerate().filter(|(_, byte)| *byte == b',') {
            if let Some(start) = fields.starts.get_mut(found) {
                *start = at + 1;
            }
            found += 1;
        }
        if let Some(end) = fields.starts.get_mut(found) {
            // As if a comma were behind the last one.
            *end = line.len() + 1;
        }
        if found != want {
            let what = format!("{found} columns, want {want} as in the first line");
            return Err(BadLine {
                at: line.len(),
                what,
            });
        }
        let (at, symbol) = fields.get("symbol");
        if symbol.is_empty() || symbol.len() > 64 || !symbol.bytes().all(|b| b.is_ascii_graphic()) {
            let what = format!("{symbol:?}, want a symbol's name");
            return Err(BadLine { at, what });
        }
        said.symbol.push_str(symbol);
        said.symbol.make_ascii_uppercase();
        said.venue.push_str(fields.get("exchange").1);
        said.ts_event = Some(fields.time("timestamp")?);
        said.ts_recv = Some(fields.time("local_timestamp")?);
        match self.rows {
            Rows::Levels => {
                let (at, word) = fields.get("is_snapshot");
                said.code = match word {
                    "true" => SNAPSHOT,
                    "false" => CHANGES,
                    _ => return Err(wrong(at, "is_snapshot", word, "true or false")),
                };
                said.about = About::Book;
                let (at, word) = fields.get("side");
                let side = match word {
                    "bid" => Side::Buy,
                    "ask" => Side::Sell,
                    _ => return Err(wrong(at, "side", word, "bid or ask")),
                };
                said.rows.push(fields.row(side, "price", "amount", 0)?);
            }
            Rows::Trades => {
                said.code = b'T';
                said.about = About::Trade;
                let (at, word) = fields.get("side");
                // The taker's; ours is that of the order that was there.
                let side = match word {
                    "buy" => Side::Sell,
                    "sell" => Side::Buy,
                    "unknown" => Side::None,
                    _ => return Err(wrong(at, "side", word, "buy, sell or unknown")),
                };
                // Some venues number their trades by text.
                let id = fields.get("id").1.parse().unwrap_or(0);
                said.rows.push(fields.row(side, "price", "amount", id)?);
            }
            Rows::Quotes => {
                said.code = QUOTE;
                said.about = About::Quote;
                for (side, price, amount) in [
                    (Side::Buy, "bid_price", "bid_amount"),
                    (Side::Sell, "ask_price", ASK_AMOUNT),
                ] {
                    // A side without orders is empty.
                    if !fields.get(price).1.is_empty() {
                        said.rows.push(fields.row(side, price, amount, 0)?);
                    }
                }
            }
        }
        Ok(())
    }
}

/// A line's columns by name.
struct Fields<'a> {
    columns: &'a Columns,
    line: &'a str,
    /// Where each column begins, and behind them where one more would.
    starts: [usize; COLUMNS_MAX + 1],
}

impl<'a> Fields<'a> {
    /// A column, and where it stands. The first line has it, and as many as this one.
    fn get(&self, name: &str) -> (usize, &'a str) {
        let Some(index) = self.columns.names.iter().position(|known| *known == name) else {
            return (self.line.len(), "");
        };
        let (start, next) = (self.starts[index], self.starts[index + 1]);
        (start, &self.line[start..next - 1])
    }

    fn time(&self, name: &str) -> Result<Ts, BadLine> {
        let (at, text) = self.get(name);
        let micros: Option<u64> = text.parse().ok();
        let ns = micros.and_then(|micros| i64::try_from(micros).ok()?.checked_mul(1_000));
        ns.map(Ts)
            .ok_or_else(|| wrong(at, name, text, "microseconds since 1970"))
    }

    fn row(&self, side: Side, price: &str, amount: &str, id: u64) -> Result<Row, BadLine> {
        let number = |name: &str| {
            let (at, text) = self.get(name);
            let number = Decimal::parse(text.as_bytes());
            number.ok_or_else(|| wrong(at, name, text, "a decimal of at most 18 places"))
        };
        Ok(Row {
            side,
            price: number(price)?,
            qty: number(amount)?,
            id,
        })
    }
}

fn wrong(at: usize, name: &str, text: &str, want: &str) -> BadLine {
    let what = format!("{name} is {text:?}, want {want}");
    BadLine { at, what }
}
