//! IEX DEEP 1.0 and TOPS 1.6, little-endian, as the chapters "Administrative Message Formats",
//! "Trading Message Formats" and "Auction Message Formats" of both specifications have them; TOPS
//! 1.5 differs in no message that is read here.
//!
//! ```text
//! type  bytes  what it says                                      becomes
//! S        10  event of the session                              System
//! D        31  a symbol, its round lot                           Symbol
//! H        22  trading status                                    Status
//! O        18  operational halt of IEX alone                     Status, where it changes
//! P I E    19 18 18  short sale test, retail interest, event     Info
//! 8 5      30  a price level's size, bids and asks (DEEP)        Add, Replace, Delete
//! Q        42  best bid and ask (TOPS)                           the same, up to four of them
//! T        38  a trade                                           Trade
//! B        38  a trade is broken                                 Break
//! X        26  official price                                    Info
//! A        80  auction information                               Imbalance
//! ```
//!
//! Byte 0 is the type, byte 1 a letter or flags, then a time in nanoseconds since 1970, then the
//! symbol, eight letters padded with spaces. Prices are in 1e-4. The specifications reserve to make
//! messages longer and to add types: what is behind a known length is passed over, and an unknown
//! type is counted and passed over.
//!
//! Neither feed shows orders. A price level is one order with a number of its own
//! (`shown`): its count of orders says 1. A level update whose flags say that more belong to it
//! (DEEP, "Event Flags", bit 0 unset) is not concluded from before the one that ends them.

use bus::{Event, Flags, Kind, Price, Qty, Side, Ts};

use super::shown::{Shown, Unfinished};
use super::symbols::Symbols;
use super::{Fault, Notes, Protocol};
use crate::source::Framing;

/// A price of the feed is so many of ours.
const E4: i64 = 100_000;
/// The letter of a halt, and that of trading, as [`Kind::Status`] has them.
const HALTED: u8 = b'H';

/// The decoder of both feeds, and what has to be remembered of the messages before.
#[derive(Debug, Default)]
pub struct Iex {
    symbols: Symbols,
    shown: Shown,
    unfinished: Unfinished,
    states: Vec<State>,
}

/// What is remembered of a symbol.
#[derive(Clone, Copy, Debug)]
struct State {
    /// The trading status that was said last; 0 for none.
    status: u8,
    /// IEX alone has halted it.
    is_halted: bool,
    /// The best bid and ask that TOPS said last.
    quote: [Price; 2],
}

const NEW: State = State {
    status: 0,
    is_halted: false,
    quote: [Price::NONE; 2],
};

impl Iex {
    /// Before the first message.
    pub fn new() -> Iex {
        Iex::default()
    }
}

/// How long each type is at least.
const fn len_of(code: u8) -> Option<usize> {
    Some(match code {
        b'S' => 10,
        b'D' => 31,
        b'H' => 22,
        b'O' | b'E' | b'I' => 18,
        b'P' => 19,
        b'8' | b'5' => 30,
        b'Q' => 42,
        b'T' | b'B' => 38,
        b'X' => 26,
        b'A' => 80,
        _ => return None,
    })
}

impl Protocol for Iex {
    const FRAMING: Framing = Framing::IexTp;
    const IS_TRANSLATED: bool = true;

    #[inline]
    fn decode(&self, message: &[u8], event: &mut Event) -> Result<Notes, Fault> {
        let Some(&code) = message.first() else {
            return Err(Fault::Empty);
        };
        let got = message.len() as u16;
        let Some(want) = len_of(code) else {
            return Err(Fault::UnknownType {
                code,
                len_bytes: got,
            });
        };
        if message.len() < want {
            let want = want as u16;
            return Err(Fault::Length { code, got, want });
        }
        let ts_event = Ts(u64_at(message, 2) as i64);
        *event = Event {
            ts_event,
            code,
            ..Event::new(Kind::Info)
        };
        let wrong = |at: u8| {
            let got = message[usize::from(at)];
            Err(Fault::Field {
                code,
                offset_bytes: at,
                got,
            })
        };
        if ts_event.0 < 0 {
            return wrong(2);
        }
        event.order = u64::from(message[1]);
        match code {
            b'8' | b'5' => {
                event.kind = Kind::Add;
                event.side = if code == b'8' { Side::Buy } else { Side::Sell };
                event.qty = Qty(u32_at(message, 18).into());
                let Some(price) = price_at(message, 22) else {
                    return wrong(22);
                };
                event.price = price;
            }
            b'T' | b'B' => {
                (event.kind, event.flags) = match code {
                    b'T' => (Kind::Trade, Flags::PRINTABLE),
                    _ => (Kind::Break, Flags(0)),
                };
                let Some(price) = price_at(message, 22) else {
                    return wrong(22);
                };
                event.order = 0;
                event.order_b = u64_at(message, 30);
                // What was broken is told by its number; its price and size are not of a trade.
                if code == b'T' {
                    event.qty = Qty(u32_at(message, 18).into());
                    event.price = price;
                }
            }
            b'Q' => {
                event.kind = Kind::Add;
                if price_at(message, 22).is_none() {
                    return wrong(22);
                }
                if price_at(message, 30).is_none() {
                    return wrong(30);
                }
            }
            b'H' => {
                event.kind = Kind::Status;
                event.order = match message[1] {
                    letter @ (b'T' | b'H' | b'P') => u64::from(letter),
                    // Released into a time in which orders are only taken in.
                    b'O' => u64::from(b'Q'),
                    _ => return wrong(1),
                };
            }
            b'S' => {
                event.kind = Kind::System;
                event.order = match message[1] {
                    // Regular hours begin: ITCH has the letter Q for it, which events keep.
                    b'R' => u64::from(b'Q'),
                    letter @ (b'O' | b'S' | b'M' | b'E' | b'C') => u64::from(letter),
                    _ => return wrong(1),
                };
                return Ok(Notes(Notes::FOR_ALL));
            }
            b'D' => {
                event.kind = Kind::Symbol;
                event.order = name_at(message);
                event.qty = Qty(u32_at(message, 18).into());
            }
            b'A' => {
                event.kind = Kind::Imbalance;
                event.order = u32_at(message, 18).into();
                let Some(price) = price_at(message, 22) else {
                    return wrong(22);
                };
                event.price = price;
                event.qty = Qty(u32_at(message, 38).into());
                event.side = match message[42] {
                    b'B' => Side::Buy,
                    b'S' => Side::Sell,
                    _ => Side::None,
                };
            }
            _ => {}
        }
        Ok(Notes(0))
    }

    fn ts_event(&self, message: &[u8]) -> Option<Ts> {
        let time = message.get(2..10)?.try_into().expect("eight bytes");
        Some(Ts(i64::from_le_bytes(time)))
    }

    #[inline]
    fn translate(
        &mut self,
        message: &[u8],
        event: &Event,
        out: &mut Vec<Event>,
    ) -> Result<(), Fault> {
        let mut event = *event;
        if event.kind == Kind::System {
            out.push(event);
            return Ok(());
        }
        let name = name_at(message);
        let (symbol, is_new) = self.symbols.number(name)?;
        event.symbol = symbol;
        if is_new && event.kind != Kind::Symbol {
            out.push(Event {
                order: name,
                symbol,
                ts_event: event.ts_event,
                ts_recv: event.ts_recv,
                ..Event::new(Kind::Symbol)
            });
        }
        let index = symbol as usize;
        if index >= self.states.len() {
            self.states.resize(index + 1, NEW);
        }
        let state = &mut self.states[index];
        match event.code {
            b'8' | b'5' => {
                let is_last = message[1] & 1 != 0;
                let (price, qty) = (event.price, event.qty);
                event.order = 0;
                let from = out.len();
                let set = self.shown.set(&event, price, qty, out);
                self.end_change(&event, from, is_last, out);
                return set;
            }
            b'Q' => {
                event.order = 0;
                let from = out.len();
                let set = self.quote(message, event, out);
                self.end_change(&event, from, true, out);
                return set;
            }
            b'H' => {
                state.status = event.order as u8;
                if state.is_halted {
                    event.order = u64::from(HALTED);
                }
                out.push(event);
            }
            b'O' => {
                let is_halted = message[1] == b'O';
                if is_halted != state.is_halted && (is_halted || state.status != 0) {
                    event.kind = Kind::Status;
                    let status = if is_halted { HALTED } else { state.status };
                    event.order = u64::from(status);
                }
                state.is_halted = is_halted;
                out.push(event);
            }
            _ => out.push(event),
        }
        Ok(())
    }
}

impl Iex {
    /// Both sides of a quote, each as the one level that its side has.
    fn quote(&mut self, message: &[u8], event: Event, out: &mut Vec<Event>) -> Result<(), Fault> {
        let state = &mut self.states[event.symbol as usize];
        let (bid, ask) = (price_at(message, 22), price_at(message, 30));
        let sides = [
            (Side::Buy, bid, u32_at(message, 18)),
            (Side::Sell, ask, u32_at(message, 38)),
        ];
        for ((side, price, qty), old) in sides.into_iter().zip(&mut state.quote) {
            let event = Event { side, ..event };
            // A side without orders has size 0 and price 0.
            let price = price.filter(|_| qty > 0).unwrap_or(Price::NONE);
            if *old != price && old.is_some() {
                self.shown.set(&event, *old, Qty(0), out)?;
            }
            *old = price;
            if price.is_some() {
                self.shown.set(&event, price, Qty(qty.into()), out)?;
            }
        }
        Ok(())
    }

    fn end_change(&mut self, event: &Event, from: usize, is_last: bool, out: &mut Vec<Event>) {
        let changes = &mut out[from..];
        let is_untold = self.unfinished.mark(event.symbol, changes, is_last);
        if changes.is_empty() {
            // Nothing changed; that it was said is kept.
            out.push(Event {
                kind: Kind::Info,
                price: Price(0),
                qty: Qty(0),
                side: Side::None,
                flags: if is_untold { Flags::ENDS } else { Flags(0) },
                ..*event
            });
        }
    }
}

fn u32_at(message: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(message[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(message: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(message[at..at + 8].try_into().expect("eight bytes"))
}

/// The symbol's name, as [`Kind::Symbol`] has it.
fn name_at(message: &[u8]) -> u64 {
    u64::from_be_bytes(message[10..18].try_into().expect("eight bytes"))
}

/// A price, 0 where there is none; `None` where it is below, or beyond what ours can say.
fn price_at(message: &[u8], at: usize) -> Option<Price> {
    let e4 = u64_at(message, at) as i64;
    let price = e4.checked_mul(E4).filter(|price| *price >= 0)?;
    Some(Price(price)).filter(|price| price.is_some())
}
