//! Cboe Multicast Depth of Book (PITCH), as of US Equities 2.41 and US Options 2.39, and of Futures
//! 1.1.6, whose orders have no flags; little-endian.
//!
//! ```text
//! type      bytes          what it says                             becomes
//! 20           6 or 10     the second, since midnight               nothing; times count from it
//! 97           6           a unit is cleared                        Delete of all its orders
//! 21 22 2f    34 26 40     an order: long, short, expanded          Add
//! 23          26           it was executed                          Execute
//! 24          38           it was, at a price, and what is left     ExecuteAt, Cancel
//! 25 26       18 16        it was made smaller                      Cancel
//! 27 28       27 19        it was changed                           Replace, Cancel
//! 29          14           it is gone                               Delete
//! 2a 2b 30    41 33 43     a trade: long, short, expanded           Trade
//! 2c          14           a trade is broken                        Break, for its unit
//! 2d           6           the unit's session is over               Info
//! 2e          38           a symbol's other names                   Info
//! 31          18           trading status                           Status
//! ```
//!
//! Byte 0 is the length, byte 1 the type; then most have nanoseconds since the last full second, which
//! a message of its own tells for each unit. Before it came, the second is the one that is nearest to
//! when the packet was received. Long prices are in 1e-4, short ones in 1e-2. What is behind a known
//! length is passed over, and an unknown type is counted and passed over.
//!
//! Only the first message of an order names its symbol: the others are its. One of an order that
//! nobody told of is of no symbol, and the books count it.

use std::cell::Cell;

use bus::{Event, Flags, Kind, Price, Qty, Side, Ts};

use super::keyed::Map;
use super::symbols::Symbols;
use super::{Fault, Notes, Protocol};
use crate::pitch::PREFIX_BYTES;
use crate::source::Framing;

/// A short and a long price are so many of ours.
const E2: i64 = 10_000_000;
const E4: i64 = 100_000;

/// So many orders are remembered at most, over all units.
const ORDERS_MAX: usize = 1 << 24;

/// Stands for a second that was not told yet.
const NOT_TOLD: Ts = Ts(-1);

/// The flag of a changed order that keeps its place.
const KEEPS_PRIORITY: u8 = 2;

/// The decoder, and what has to be remembered of the messages before.
#[derive(Debug)]
pub struct Pitch {
    midnight: Ts,
    /// By unit, the last full second that it told.
    seconds: [Cell<i64>; 256],
    symbols: Symbols,
    orders: Map<u64, Resting>,
}

/// An order as it rests.
#[derive(Clone, Copy, Debug)]
struct Resting {
    symbol: u32,
    unit: u8,
    side: Side,
    price: Price,
    qty: i64,
}

impl Pitch {
    /// Before the first message, of the day that begins at `midnight`.
    pub fn new(midnight: Ts) -> Pitch {
        Pitch {
            midnight,
            seconds: [const { Cell::new(NOT_TOLD.0) }; 256],
            symbols: Symbols::default(),
            orders: Map::default(),
        }
    }

    /// When it happened: so long after the unit's last full second.
    fn time(&self, prefix: &[u8; PREFIX_BYTES], after_ns: u32) -> Ts {
        let second = Ts(self.seconds[usize::from(prefix[0])].get());
        let after_ns = i64::from(after_ns);
        if second != NOT_TOLD {
            return second.plus_ns(after_ns);
        }
        let received = i64::from_le_bytes(prefix[1..].try_into().expect("eight"));
        let half = Ts::SECOND_NS / 2;
        let near = Ts(received.max(0)).plus_ns(half - after_ns);
        near.floor(Ts::SECOND_NS).plus_ns(after_ns)
    }

    /// The full second that a message of type 20 tells. Futures say it since 1970 too, since their
    /// midnight is another one.
    fn second(&self, message: &[u8]) -> Ts {
        match message.get(6..10) {
            Some(_) => Ts(i64::from(u32_at(message, 6)) * Ts::SECOND_NS),
            None => self
                .midnight
                .plus_ns(i64::from(u32_at(message, 2)) * Ts::SECOND_NS),
        }
    }
}

/// How long each type is at least.
const fn len_of(code: u8) -> Option<usize> {
    Some(match code {
        0x20 | 0x97 | 0x2d => 6,
        0x21 => 34,
        // Without flags, as futures have it.
        0x22 => 25,
        0x2f => 40,
        0x23 => 26,
        0x24 => 38,
        0x25 => 18,
        0x26 => 16,
        0x27 => 26,
        0x28 => 18,
        0x29 | 0x2c => 14,
        0x2a => 41,
        0x2b => 33,
        0x30 => 43,
        0x2e => 8,
        0x31 => 15,
        _ => return None,
    })
}

/// Whether there is such a type, in a unit of any of the feeds: read, or known to be passed over.
pub(crate) const fn is_type(code: u8) -> bool {
    len_of(code).is_some() || matches!(code, 0x01..=0x03 | 0x32..=0x37 | 0x95..=0x9f | 0xac..=0xe4)
}

/// The letter for reports: those of the text form of the protocol, where it has one.
const fn letter(code: u8) -> u8 {
    match code {
        0x20 => b's',
        0x97 => b'u',
        0x21 | 0x22 | 0x2f => b'A',
        0x23 => b'E',
        0x24 => b'e',
        0x25 | 0x26 => b'X',
        0x27 | 0x28 => b'M',
        0x29 => b'D',
        0x2a | 0x2b | 0x30 => b'P',
        0x2c => b'B',
        0x2d => b'J',
        0x2e => b'm',
        0x31 => b'H',
        other => other,
    }
}

/// The parts of a message.
fn split(message: &[u8]) -> Result<(&[u8; PREFIX_BYTES], &[u8], u8), Fault> {
    let (prefix, message) = message.split_first_chunk().ok_or(Fault::Empty)?;
    let &[_, code, ..] = message else {
        return Err(Fault::Empty);
    };
    let got = message.len() as u16;
    match len_of(code) {
        None => Err(Fault::UnknownType {
            code,
            len_bytes: got,
        }),
        Some(want) if message.len() < want => Err(Fault::Length {
            code: letter(code),
            got,
            want: want as u16,
        }),
        Some(_) => Ok((prefix, message, code)),
    }
}

impl Protocol for Pitch {
    const FRAMING: Framing = Framing::Pitch(0);
    const IS_TRANSLATED: bool = true;

    #[inline]
    fn decode(&self, message: &[u8], event: &mut Event) -> Result<Notes, Fault> {
        let (prefix, message, code) = split(message)?;
        if code == 0x20 {
            self.seconds[usize::from(prefix[0])].set(self.second(message).0);
        }
        let has_time = !matches!(code, 0x20 | 0x2e);
        let after_ns = if has_time { u32_at(message, 2) } else { 0 };
        *event = Event {
            ts_event: self.time(prefix, after_ns),
            code: letter(code),
            ..Event::new(Kind::Info)
        };
        let wrong = |at: usize| Fault::Field {
            code: letter(code),
            offset_bytes: at as u8,
            got: message[at],
        };
        if event.ts_event.0 < 0 {
            return Err(wrong(2));
        }
        match code {
            0x21 | 0x22 | 0x2f | 0x2a | 0x2b | 0x30 => {
                let is_short = matches!(code, 0x22 | 0x2b);
                let is_order = matches!(code, 0x21 | 0x22 | 0x2f);
                let (symbol_at, wide) = match code {
                    0x22 | 0x2b => (17, 6),
                    0x2f | 0x30 => (19, 8),
                    _ => (19, 6),
                };
                event.kind = if is_order { Kind::Add } else { Kind::Trade };
                event.side = match message[14] {
                    b'B' => Side::Buy,
                    b'S' => Side::Sell,
                    _ => return Err(wrong(14)),
                };
                event.qty = Qty(qty_at(message, 15, is_short));
                let price_at = symbol_at + wide;
                let price = price_of(message, price_at, is_short);
                event.price = price.ok_or_else(|| wrong(price_at))?;
                if is_order {
                    event.order = u64_at(message, 6);
                    if code == 0x2f && message[36..40] != *b"    " {
                        event.order_b = u32_at(message, 36).swap_bytes().into();
                        event.flags = Flags::ATTRIBUTED;
                    }
                } else {
                    event.flags = Flags::PRINTABLE;
                    event.order_b = u64_at(message, price_at + if is_short { 2 } else { 8 });
                }
            }
            0x23 | 0x24 => {
                event.order = u64_at(message, 6);
                event.qty = Qty(u32_at(message, 14).into());
                event.kind = Kind::Execute;
                event.flags = Flags::PRINTABLE;
                event.order_b = u64_at(message, 18);
                if code == 0x24 {
                    event.kind = Kind::ExecuteAt;
                    event.order_b = u64_at(message, 22);
                    event.price = price_of(message, 30, false).ok_or_else(|| wrong(30))?;
                }
            }
            0x25 | 0x26 => {
                event.kind = Kind::Cancel;
                event.order = u64_at(message, 6);
                event.qty = Qty(qty_at(message, 14, code == 0x26));
            }
            0x27 | 0x28 => {
                let is_short = code == 0x28;
                let price_at = if is_short { 16 } else { 18 };
                event.kind = Kind::Replace;
                event.order = u64_at(message, 6);
                event.order_b = event.order;
                event.qty = Qty(qty_at(message, 14, is_short));
                let price = price_of(message, price_at, is_short);
                event.price = price.ok_or_else(|| wrong(price_at))?;
            }
            0x29 => {
                event.kind = Kind::Delete;
                event.order = u64_at(message, 6);
            }
            0x2c => {
                event.kind = Kind::Break;
                event.order_b = u64_at(message, 6);
            }
            0x2d => {
                // Of this unit only; the others go on.
                event.order = b'C'.into();
            }
            0x31 => {
                event.order = message[14].into();
                let status = match message[14] {
                    b'T' => b'T',
                    b'H' | b'S' => b'H',
                    b'Q' | b'A' => b'Q',
                    _ => 0,
                };
                if status != 0 {
                    (event.kind, event.order) = (Kind::Status, status.into());
                }
            }
            _ => {}
        }
        Ok(Notes(0))
    }

    fn code(&self, message: &[u8]) -> Option<u8> {
        message.get(PREFIX_BYTES + 1).copied().map(letter)
    }

    fn ts_event(&self, message: &[u8]) -> Option<Ts> {
        let (prefix, message, code) = split(message).ok()?;
        match code {
            0x20 => Some(self.second(message)),
            0x2e => None,
            _ => Some(self.time(prefix, u32_at(message, 2))),
        }
    }

    #[inline]
    fn translate(
        &mut self,
        message: &[u8],
        event: &Event,
        out: &mut Vec<Event>,
    ) -> Result<(), Fault> {
        let (prefix, message, code) = split(message)?;
        let mut event = *event;
        let id = event.order;
        match code {
            0x20 => {}
            0x97 => self.clear(prefix[0], &event, out),
            0x21 | 0x22 | 0x2f => {
                event.symbol = self.symbol(message, code, &event, out)?;
                if self.orders.len() == ORDERS_MAX {
                    let (what, max) = ("orders", ORDERS_MAX as u32);
                    return Err(Fault::Full { what, max });
                }
                if event.qty.0 > 0 && event.price.0 > 0 {
                    self.orders.entry(id).or_insert(Resting {
                        symbol: event.symbol,
                        unit: prefix[0],
                        side: event.side,
                        price: event.price,
                        qty: event.qty.0,
                    });
                }
                out.push(event);
            }
            0x2a | 0x2b | 0x30 | 0x31 | 0x2e => {
                event.symbol = self.symbol(message, code, &event, out)?;
                out.push(event);
            }
            0x2c | 0x2d => out.push(event),
            _ => self.change(&event, message, code, out),
        }
        Ok(())
    }
}

impl Pitch {
    /// The number of the symbol that a message names.
    fn symbol(
        &mut self,
        message: &[u8],
        code: u8,
        event: &Event,
        out: &mut Vec<Event>,
    ) -> Result<u32, Fault> {
        let (at, wide) = match code {
            0x22 | 0x2b => (17, 6),
            0x2f | 0x30 => (19, 8),
            0x31 => (6, 8),
            0x2e => (2, 6),
            _ => (19, 6),
        };
        let mut name = [b' '; 8];
        name[..wide].copy_from_slice(&message[at..at + wide]);
        let name = u64::from_be_bytes(name);
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
        Ok(symbol)
    }

    /// An order is executed, smaller, another or gone.
    fn change(&mut self, event: &Event, message: &[u8], code: u8, out: &mut Vec<Event>) {
        let id = event.order;
        let Some(order) = self.orders.get_mut(&id) else {
            out.push(*event);
            return;
        };
        let mut event = Event {
            symbol: order.symbol,
            side: order.side,
            ..*event
        };
        let before = *order;
        order.qty = match event.kind {
            Kind::Replace => event.qty.0,
            Kind::Delete => 0,
            _ => before.qty - event.qty.0,
        };
        match code {
            0x24 => {
                let left = i64::from(u32_at(message, 18));
                let more = order.qty - left;
                let is_more = more > 0 && order.qty > 0;
                if is_more {
                    event.flags = event.flags.with(Flags::MORE);
                }
                out.push(event);
                if is_more {
                    order.qty = left;
                    out.push(Event {
                        kind: Kind::Cancel,
                        price: Price(0),
                        qty: Qty(more),
                        order_b: 0,
                        flags: Flags::ENDS,
                        ..event
                    });
                }
            }
            0x27 | 0x28 => {
                let flags = message.get(if code == 0x28 { 18 } else { 26 });
                let keeps = flags.is_some_and(|flags| flags & KEEPS_PRIORITY != 0);
                let is_smaller = event.qty.0 < before.qty && event.qty.0 > 0;
                if keeps && event.price == before.price && is_smaller {
                    event = Event {
                        kind: Kind::Cancel,
                        price: Price(0),
                        qty: Qty(before.qty - event.qty.0),
                        order_b: 0,
                        ..event
                    };
                }
                order.price = if event.kind == Kind::Replace {
                    event.price
                } else {
                    before.price
                };
                out.push(event);
            }
            _ => out.push(event),
        }
        if order.qty <= 0 || order.price.0 <= 0 {
            self.orders.remove(&id);
        }
    }

    /// All orders of a unit go.
    fn clear(&mut self, unit: u8, event: &Event, out: &mut Vec<Event>) {
        let of_unit = self.orders.iter().filter(|(_, order)| order.unit == unit);
        let mut all: Vec<(u64, Resting)> = of_unit.map(|(id, order)| (*id, *order)).collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        for (id, order) in all {
            self.orders.remove(&id);
            out.push(Event {
                kind: Kind::Delete,
                order: id,
                symbol: order.symbol,
                side: order.side,
                ..*event
            });
        }
    }
}

fn u16_at(message: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(message[at..at + 2].try_into().expect("two bytes"))
}

fn u32_at(message: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(message[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(message: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(message[at..at + 8].try_into().expect("eight bytes"))
}

fn qty_at(message: &[u8], at: usize, is_short: bool) -> i64 {
    if is_short {
        u16_at(message, at).into()
    } else {
        u32_at(message, at).into()
    }
}

/// A price; `None` where it is below zero, or beyond what ours can say.
fn price_of(message: &[u8], at: usize, is_short: bool) -> Option<Price> {
    if is_short {
        return Some(Price(i64::from(u16_at(message, at)) * E2));
    }
    let price = (u64_at(message, at) as i64).checked_mul(E4)?;
    Some(Price(price)).filter(|price| price.0 >= 0 && price.is_some())
}
