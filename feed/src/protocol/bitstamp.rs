//! Bitstamp's live orders and trades, as CSV files of one market each.
//!
//! ```text
//! id,timestamp,exchange_timestamp,price,volume,action,direction
//! trade_id,timestamp,exchange_timestamp,price,amount,buy_order_id,sell_order_id,side
//! ```
//!
//! Both times are milliseconds since 1970, of arrival and of the venue. A row is a message:
//!
//! ```text
//! C  created   an order comes      H  changed   what is left of it, and its price
//! D  deleted   it goes             T  a trade, whose side is the taker's
//! ```
//!
//! An order that takes from others is told like one that rests: created at its limit, changed with each
//! trade to that trade's price, deleted. So rows of one venue's time are one change, and nothing is
//! concluded from what the book is meanwhile. An order that becomes smaller at its price keeps its place;
//! one that changes its price, or grows, goes behind the others. An order without a volume, as market
//! orders may be told, or with price 0, as below the smallest step, is known but in no book. Trades are those of the trades' file: that orders became
//! smaller prints nothing.
//!
//! A file begins with the orders that were there. What refers to one that was never created is counted
//! (`UnknownOrder`) and changes nothing.

use bus::{Event, Flags, Kind, Price, Qty, Side, Ts};

use super::keyed::Map;
use super::said::{About, BadLine, Decimal, Message, Row, Said, Unit};
use super::shown::{NARROW_MAX, Unfinished, WIDE_MAX, beyond};
use super::symbols::Symbols;
use super::{Fault, Notes, Protocol};
use crate::source::Framing;

const CODES: &[u8] = b"CHDT";
const TRADES: &[u8] = b"T";

/// So many orders are remembered at most.
const ORDERS_MAX: usize = 1 << 24;

/// The decoder.
#[derive(Debug, Default)]
pub struct Bitstamp {
    symbols: Symbols,
    orders: Map<u64, Resting>,
    unfinished: Unfinished,
    /// What all orders have that are beyond 32 bits.
    wide_sum: i64,
}

/// An order as it rests; with quantity 0, in no book.
#[derive(Clone, Copy, Debug)]
struct Resting {
    price: Price,
    qty: i64,
}

impl Bitstamp {
    /// A decoder that has seen nothing yet.
    pub fn new() -> Bitstamp {
        Bitstamp::default()
    }
}

impl Protocol for Bitstamp {
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
        let row = message.rows().next().filter(|_| event.code != b'T');
        let Some(row) = row.filter(|_| symbol != 0) else {
            out.push(event);
            return Ok(());
        };
        let event = Event {
            side: row.side,
            order: row.id,
            ..event
        };
        let start = out.len();
        let result = match event.code {
            b'C' => self.created(&event, row, out),
            b'H' => self.changed(&event, row, out),
            _ => {
                self.deleted(&event, out);
                Ok(())
            }
        };
        if let Err(Fault::TooLarge { .. }) = result {
            out.push(Event {
                side: Side::None,
                order: 0,
                flags: Flags::STALE,
                ..event
            });
        }
        let is_last = !message.is_followed();
        let is_untold = self.unfinished.mark(symbol, &mut out[start..], is_last);
        if out.len() == start {
            out.push(Event {
                side: Side::None,
                order: 0,
                flags: if is_untold { Flags::ENDS } else { Flags(0) },
                ..event
            });
        }
        result.map_err(|fault| match fault {
            Fault::TooLarge { qty, max, .. } => Fault::TooLarge {
                qty,
                max,
                decimals: message.decimals(),
            },
            other => other,
        })
    }
}

impl Bitstamp {
    fn created(&mut self, event: &Event, row: Unit, out: &mut Vec<Event>) -> Result<(), Fault> {
        if let Some(before) = self.orders.get(&row.id) {
            // Told again: the book counts it, and keeps what it has. Where it had no room for it before,
            // it is what it would have been.
            let (price, qty) = (before.price, Qty(before.qty));
            let flags = wide(before.qty, 0);
            out.push(of_order(event, Kind::Add, price, qty, flags));
            return Ok(());
        }
        if self.orders.len() == ORDERS_MAX {
            let (what, max) = ("orders", ORDERS_MAX as u32);
            return Err(Fault::Full { what, max });
        }
        self.set(
            event,
            row,
            Resting {
                price: row.price,
                qty: 0,
            },
            out,
        )
    }

    fn changed(&mut self, event: &Event, row: Unit, out: &mut Vec<Event>) -> Result<(), Fault> {
        let Some(before) = self.orders.get(&row.id).copied() else {
            out.push(Event {
                order_b: row.id,
                ..of_order(event, Kind::Replace, row.price, row.qty, Flags(0))
            });
            return Ok(());
        };
        self.set(event, row, before, out)
    }

    /// The order is as its row says from now on.
    fn set(
        &mut self,
        event: &Event,
        row: Unit,
        before: Resting,
        out: &mut Vec<Event>,
    ) -> Result<(), Fault> {
        let max = NARROW_MAX.max(WIDE_MAX - self.wide_sum + beyond(before.qty));
        let fits = row.qty.0 <= max;
        let now = Resting {
            price: row.price,
            qty: if fits && row.price.0 > 0 {
                row.qty.0
            } else {
                0
            },
        };
        self.wide_sum += beyond(now.qty) - beyond(before.qty);
        self.orders.insert(row.id, now);
        let flags = wide(before.qty, now.qty);
        let of_order = |kind, price, qty| of_order(event, kind, price, Qty(qty), flags);
        if before.qty == 0 {
            if now.qty > 0 {
                out.push(of_order(Kind::Add, now.price, now.qty));
            }
        } else if now.qty == 0 {
            out.push(of_order(Kind::Delete, Price(0), 0));
        } else if now.price == before.price && now.qty <= before.qty {
            if now.qty < before.qty {
                out.push(of_order(Kind::Cancel, Price(0), before.qty - now.qty));
            }
        } else {
            out.push(Event {
                order_b: row.id,
                ..of_order(Kind::Replace, now.price, now.qty)
            });
        }
        match fits {
            true => Ok(()),
            false => Err(Fault::TooLarge {
                qty: row.qty.0,
                decimals: 0,
                max,
            }),
        }
    }

    fn deleted(&mut self, event: &Event, out: &mut Vec<Event>) {
        let before = self.orders.remove(&event.order);
        let qty = before.map_or(0, |before| before.qty);
        self.wide_sum -= beyond(qty);
        // One that nobody knows is the book's to count.
        if before.is_none() || qty > 0 {
            out.push(of_order(
                event,
                Kind::Delete,
                Price(0),
                Qty(0),
                wide(qty, 0),
            ));
        }
    }
}

fn of_order(event: &Event, kind: Kind, price: Price, qty: Qty, flags: Flags) -> Event {
    Event {
        kind,
        price,
        qty,
        flags,
        ..*event
    }
}

fn wide(before: i64, now: i64) -> Flags {
    if before.max(now) > NARROW_MAX {
        Flags::WIDE
    } else {
        Flags(0)
    }
}

/// What the first line says of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rows {
    Orders,
    Trades,
}

impl Rows {
    /// The rows, if this is a first line.
    pub(crate) fn of(line: &[u8]) -> Option<Rows> {
        match line {
            b"id,timestamp,exchange_timestamp,price,volume,action,direction" => Some(Rows::Orders),
            b"trade_id,timestamp,exchange_timestamp,price,amount,buy_order_id,sell_order_id,side" => {
                Some(Rows::Trades)
            }
            _ => None,
        }
    }

    /// Reads a line behind the first, of this market.
    pub(crate) fn read(self, market: &str, line: &[u8], said: &mut Said) -> Result<(), BadLine> {
        said.clear();
        let text = std::str::from_utf8(line).map_err(|error| BadLine {
            at: error.valid_up_to(),
            what: "want text".into(),
        })?;
        let want = match self {
            Rows::Orders => 7,
            Rows::Trades => 8,
        };
        let found = 1 + line.iter().filter(|byte| **byte == b',').count();
        if found != want {
            return Err(BadLine {
                at: line.len(),
                what: format!("{found} columns, want {want} as in the first line"),
            });
        }
        let mut fields = Fields { text, at: 0 };
        said.symbol.push_str(market);
        let id = fields.number("a number")?;
        let ts_recv = fields.time()?;
        let ts_event = fields.time()?;
        (said.ts_recv, said.ts_event) = (Some(ts_recv), Some(ts_event));
        let (price, qty) = (fields.decimal()?, fields.decimal()?);
        let side = match self {
            Rows::Orders => {
                said.about = About::Book;
                let actions = [("created", b'C'), ("changed", b'H'), ("deleted", b'D')];
                said.code = fields.word(&actions, "created, changed or deleted")?;
                let sides = [("bid", Side::Buy), ("ask", Side::Sell)];
                fields.word(&sides, "bid or ask")?
            }
            Rows::Trades => {
                (said.code, said.about) = (b'T', About::Trade);
                said.first = fields.number("an order's number")?;
                said.last = fields.number("an order's number")?;
                // The taker's; ours is that of the order that was there.
                let sides = [("buy", Side::Sell), ("sell", Side::Buy)];
                fields.word(&sides, "buy or sell")?
            }
        };
        said.rows.push(Row {
            side,
            price,
            qty,
            id,
        });
        Ok(())
    }
}

/// The market of a file, by its name: `bitstamp_btcusd_orders.csv.gz` and `btcusd.csv` are `BTCUSD`.
pub(crate) fn market(path: &std::path::Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let parts = name.split(|letter: char| !letter.is_ascii_alphanumeric());
    let mut parts = parts.filter(|part| !part.is_empty() && !part.eq_ignore_ascii_case("bitstamp"));
    let mut market = parts.next().unwrap_or("bitstamp").to_ascii_uppercase();
    market.truncate(64);
    market
}

/// A line's columns, one after another.
struct Fields<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Fields<'a> {
    fn next(&mut self) -> (usize, &'a str) {
        let (at, rest) = (self.at, &self.text[self.at..]);
        // Fields are short, and so is a loop over bytes.
        let len = rest.bytes().position(|byte| byte == b',');
        let field = &rest[..len.unwrap_or(rest.len())];
        self.at = (at + field.len() + 1).min(self.text.len());
        (at, field)
    }

    fn number(&mut self, want: &str) -> Result<u64, BadLine> {
        let (at, text) = self.next();
        text.parse().map_err(|_| wrong(at, text, want))
    }

    fn time(&mut self) -> Result<Ts, BadLine> {
        let (at, text) = self.next();
        let ms: Option<i64> = text.parse().ok().filter(|ms| *ms >= 0);
        let ns = ms.and_then(|ms| ms.checked_mul(1_000_000));
        ns.map(Ts)
            .ok_or_else(|| wrong(at, text, "milliseconds since 1970"))
    }

    fn decimal(&mut self) -> Result<Decimal, BadLine> {
        let (at, text) = self.next();
        let number = Decimal::parse(text.as_bytes());
        number.ok_or_else(|| wrong(at, text, "a decimal of at most 18 places"))
    }

    fn word<T: Copy>(&mut self, known: &[(&str, T)], want: &str) -> Result<T, BadLine> {
        let (at, text) = self.next();
        let found = known.iter().find(|(word, _)| *word == text);
        found
            .map(|(_, value)| *value)
            .ok_or_else(|| wrong(at, text, want))
    }
}

fn wrong(at: usize, text: &str, want: &str) -> BadLine {
    let what = format!("{text:?}, want {want}");
    BadLine { at, what }
}
