//! CME MDP 3.0, schema 1 of Simple Binary Encoding, little-endian.
//!
//! ```text
//! templates       what they say                            letter  becomes
//! 32 46           price levels, and the orders in them     B       Add, Replace, Delete, Cancel
//! 43 47           orders                                   O       the same
//! 42 48           trades                                   T       Trade, Break
//! 37              volume                                   V       Info
//! 33 49  34 50  35 51  daily, limits, session statistics   D L S   Info
//! 38 52           snapshot of the price levels             W       as 46
//! 44 53           snapshot of the orders                   w       as 47
//! 27 54  29 56  41 55  future, spread, option              F C P   Symbol
//! 30              trading status                           H       Status
//! 39              request for quotes                       q       Info
//! 4               channel reset                            R       Delete of all there is
//! 12  15  16      heartbeat, login, logout                 h i o   nothing; its time counts
//! ```
//!
//! Where the fields are is in `mdp3_table`, which is made from `mdp3.xml`. Blocks and entries are as
//! long as the message says, and what a newer version has behind the known fields is passed over; a
//! field that is too new for the message's version, or behind the end of its block, is not there.
//! Templates that the table lacks are counted and passed over.
//!
//! An instrument whose orders are shown is a book of orders from the first of them on; before, and
//! where none are, it is one of price levels, each an order with a number of its own (`shown`). Levels
//! are told by their place: what a new one pushes beyond the market's depth is gone, though nobody
//! says so. An order that comes into the middle of its price's queue, by its priority, is put there by
//! queueing again what is behind it. Implied levels are Info, and so is all that has a price of zero or
//! below, as spreads have: books hold prices above zero.
//!
//! What was matched in one event is one change of each book that it touched: the last message of the
//! event says so, which may touch none of them.
//!
//! A snapshot is taken where a packet was missed, or none was seen, since the last: if it is not
//! older than what the instrument was last told, nor than what was missed, it is the book, and messages
//! that it knows of already change nothing.
//!
//! Where packets of a channel are lost, each of its instruments may lack something, and so may those that
//! are met only later: they are stale until such a snapshot, or, where their books are of price levels, until
//! their own numbers say that they lost nothing (tag 83, RptSeq, which counts an instrument's entries over the
//! templates of levels, trades, volume, limits and statistics alike). Messages of orders have no such number, so
//! it proves nothing of a book of orders. A hole in an instrument's numbers makes it stale in any case, until a
//! snapshot, which says the last number it knows of.
//!
//! A message's time is when the event was matched, that of the packet where it does not say. Prices
//! are in 1e-7 in older templates, in 1e-9 in newer ones.

mod books;
mod message;
mod recovery;

pub(crate) use message::is_template;
use message::{Block, Entries, Message, letter};

use bus::{Event, Flags, Kind, Price, Qty, Side, Ts};

use super::dbn::short_name;
use super::keyed::Map;
use super::shown::Shown;
use super::symbols::Symbols;
use super::{Fault, Notes, Protocol, Told};
use crate::mdp3::{PREFIX_BYTES, port_of};
use crate::moldudp64::SessionId;
use crate::source::Framing;

/// So many orders are remembered at most, over all instruments.
const ORDERS_MAX: usize = 1 << 24;
/// An order with more than so many others behind it goes to the end instead.
const MOVES_MAX: usize = 1 << 10;
/// How many levels a side has where nothing says.
const DEPTH: usize = 10;

/// What was done to a level or an order.
mod action {
    pub(super) const NEW: u8 = 0;
    pub(super) const CHANGE: u8 = 1;
    pub(super) const DELETE: u8 = 2;
    /// The whole side.
    pub(super) const DELETE_THRU: u8 = 3;
    /// The best level and the others up to this.
    pub(super) const DELETE_FROM: u8 = 4;
    pub(super) const OVERLAY: u8 = 5;
}

/// The decoder, and what has to be remembered of the messages before.
#[derive(Debug)]
pub struct Mdp3 {
    symbols: Symbols,
    instruments: Vec<Instrument>,
    channels: Vec<Channel>,
    shown: Shown,
    orders: Map<u64, Resting>,
    /// By symbol, side and price, priority and number of each order.
    queues: Map<Key, Vec<(u64, u64)>>,
    /// Queues that were emptied.
    spare: Vec<Vec<(u64, u64)>>,
    /// How many messages there were.
    messages: u64,
    /// How often packets were missed on any channel, and 1.
    epoch: u32,
    /// Packets were lost for good.
    has_lost: bool,
}

type Key = (u32, u8, i64);

/// What is remembered of an instrument.
#[derive(Clone, Debug)]
struct Instrument {
    name: u64,
    group: [u8; 6],
    depth: usize,
    /// The channel, and its last packet, that told of it.
    channel: u16,
    seen: u32,
    /// The last packet that its snapshot knew of.
    known_to: u32,
    /// The epoch for which there was a snapshot.
    whole: u32,
    /// The last part of a snapshot in several.
    chunk: u32,
    has_orders: bool,
    /// It was said that the book lacks something.
    is_stale: bool,
    /// The number of its last entry (RptSeq); 0 while none is known.
    numbered_to: u32,
    /// The book lacks something that the numbers to come say nothing of.
    has_hole: bool,
    /// The prices that each side shows, best first; none where it was not said.
    levels: [Vec<Price>; 2],
    /// It was changed in an event that goes on; how often, and by which message's which event last.
    is_open: bool,
    changes: u32,
    last: (u64, usize),
}

/// An order as it rests.
#[derive(Clone, Copy, Debug)]
struct Resting {
    symbol: u32,
    side: Side,
    price: Price,
    qty: i64,
    priority: u64,
}

impl Resting {
    fn key(&self) -> Key {
        (self.symbol, self.side as u8, self.price.0)
    }
}

/// What is remembered of a channel.
#[derive(Debug)]
struct Channel {
    port: u16,
    sequence: u32,
    /// The last packet that was missed; 0 for none.
    missed_to: u32,
    /// The symbols that were changed in the event that goes on.
    open: Vec<u32>,
}

impl Default for Mdp3 {
    fn default() -> Mdp3 {
        Mdp3 {
            symbols: Symbols::default(),
            instruments: Vec::new(),
            channels: Vec::new(),
            shown: Shown::default(),
            orders: Map::default(),
            queues: Map::default(),
            spare: Vec::new(),
            messages: 0,
            epoch: 1,
            has_lost: false,
        }
    }
}

impl Protocol for Mdp3 {
    const FRAMING: Framing = Framing::Mdp3(0);
    const NUMBERS_PACKETS: bool = true;
    const IS_TRANSLATED: bool = true;

    #[inline]
    fn decode(&self, message: &[u8], event: &mut Event) -> Result<Notes, Fault> {
        let message = Message::parse(message)?;
        let block = &message.block;
        let time = message.ts_event();
        *event = Event {
            ts_event: time.ok_or_else(|| message.wrong(block, block.fields.transact_time))?,
            code: message.code,
            ..Event::new(Kind::Info)
        };
        Ok(Notes(0))
    }

    fn code(&self, message: &[u8]) -> Option<u8> {
        let id = message.get(PREFIX_BYTES + 2..PREFIX_BYTES + 4)?;
        let id = u16::from_le_bytes([id[0], id[1]]);
        Some(match letter(id) {
            b'?' => u8::try_from(id).unwrap_or(0),
            letter => letter,
        })
    }

    fn ts_event(&self, message: &[u8]) -> Option<Ts> {
        Message::parse(message).ok()?.ts_event()
    }

    #[inline]
    fn translate(
        &mut self,
        message: &[u8],
        event: &Event,
        out: &mut Vec<Event>,
    ) -> Result<(), Fault> {
        let message = &Message::parse(message)?;
        self.messages += 1;
        let channel = self.channel(message.channel);
        let mut ends = message.ends_event();
        if !matches!(message.code, b'W' | b'w' | b'F' | b'C' | b'P') {
            self.follow(channel, message.sequence);
        }
        let result = match message.code {
            b'B' => self.book(message, event, out),
            b'O' => each(message.entries(), |entry| {
                self.order_entry(message, event, &entry, &entry, out)
            }),
            b'T' => each(message.entries(), |entry| {
                self.trade(message, event, &entry, out)
            }),
            b'V' | b'D' | b'L' | b'S' | b'q' => each(message.entries(), |entry| {
                let (symbol, is_news) = self.instrument(message, event, &entry, out)?;
                let numbered = self.number(symbol, is_news, event, &entry, out);
                out.push(info(message, event, &entry, symbol));
                numbered
            }),
            b'W' => {
                ends = true;
                self.snapshot(message, event, out)
            }
            b'w' => {
                let (result, is_last) = self.order_snapshot(message, event, out);
                ends = is_last;
                result
            }
            b'F' | b'C' | b'P' => self.definition(message, event, out),
            b'H' => self.status(message, event, out),
            b'R' => {
                self.reset(message.channel, event, out);
                Ok(())
            }
            _ => Ok(()),
        };
        if ends {
            self.end_event(channel, event, out);
        }
        result
    }

    fn told(&self, message: &[u8]) -> Told {
        let Ok(message) = Message::parse(message) else {
            return Told::Nothing;
        };
        match message.code {
            b'W' | b'w' => self.shown_by(&message),
            b'F' | b'C' | b'P' => Told::Nothing,
            _ => {
                let number = message.sequence.into();
                Told::Changes {
                    group: message.channel.into(),
                    first: number,
                    last: number,
                }
            }
        }
    }

    fn lost(&mut self, session: SessionId, out: &mut Vec<Event>) -> bool {
        self.has_lost = true;
        let port = port_of(session);
        for (symbol, instrument) in self.instruments.iter_mut().enumerate().skip(1) {
            // One that was only defined so far may be of any channel.
            let may_be = instrument.channel == 0 || port.is_none_or(|p| p == instrument.channel);
            if may_be && !std::mem::replace(&mut instrument.is_stale, true) {
                let event = Event::new(Kind::Info);
                out.push(note(&event, symbol as u32, Flags::STALE));
            }
        }
        true
    }
}

/// Does all, and says what was wrong last.
fn each<'a>(
    entries: impl Iterator<Item = Block<'a>>,
    mut take: impl FnMut(Block<'a>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut result = Ok(());
    for entry in entries {
        let done = take(entry);
        if done.is_err() {
            result = done;
        }
    }
    result
}

/// What an entry says that changes no book.
fn info(message: &Message<'_>, event: &Event, entry: &Block<'_>, symbol: u32) -> Event {
    let fields = entry.fields;
    let price = entry.price();
    Event {
        symbol,
        order: entry.byte(fields.md_entry_type).unwrap_or(0).into(),
        price: if price.is_some() { price } else { Price(0) },
        qty: Qty(entry.qty(fields.md_entry_size)),
        code: message.code,
        ..*event
    }
}

/// The side of an entry of the book itself; `None` for what is implied, and for a reset.
fn side_of(entry_type: u8) -> Option<Side> {
    match entry_type {
        b'0' => Some(Side::Buy),
        b'1' => Some(Side::Sell),
        _ => None,
    }
}

/// What is said of a book as a whole.
fn note(event: &Event, symbol: u32, flags: Flags) -> Event {
    Event {
        ts_event: event.ts_event,
        ts_recv: event.ts_recv,
        symbol,
        flags,
        code: event.code,
        ..Event::new(Kind::Info)
    }
}

/// Whether books can hold it.
fn is_held(price: Price) -> bool {
    price.0 > 0 && price.is_some()
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

impl Mdp3 {
    /// Before the first message.
    pub fn new() -> Mdp3 {
        Mdp3::default()
    }

    /// Which of the channels this is.
    fn channel(&mut self, port: u16) -> usize {
        let found = self.channels.iter().position(|c| c.port == port);
        found.unwrap_or_else(|| {
            self.channels.push(Channel {
                port,
                sequence: 0,
                missed_to: 0,
                open: Vec::new(),
            });
            self.channels.len() - 1
        })
    }

    /// The number of an entry's instrument, and whether the message is news to its book.
    fn instrument(
        &mut self,
        message: &Message<'_>,
        event: &Event,
        entry: &Block<'_>,
        out: &mut Vec<Event>,
    ) -> Result<(u32, bool), Fault> {
        let at = entry.fields.security_id;
        let security = entry.i32(at).ok_or_else(|| message.wrong(entry, at))?;
        let symbol = self.symbol(security, None, event, out)?;
        let instrument = &mut self.instruments[symbol as usize];
        (instrument.channel, instrument.seen) = (message.channel, message.sequence);
        Ok((symbol, message.sequence > instrument.known_to))
    }

    /// The number of an instrument, which is named when it is met first, or by another name.
    fn symbol(
        &mut self,
        security: i32,
        defined: Option<u64>,
        event: &Event,
        out: &mut Vec<Event>,
    ) -> Result<u32, Fault> {
        let (symbol, is_new) = self.symbols.number(u64::from(security as u32))?;
        let index = symbol as usize;
        if index >= self.instruments.len() {
            self.instruments.resize(index + 1, NEW);
        }
        let instrument = &mut self.instruments[index];
        let is_renamed = defined.is_some_and(|name| name != instrument.name);
        if is_new || is_renamed {
            instrument.name = defined.unwrap_or_else(|| number_name(security));
            out.push(Event {
                order: instrument.name,
                symbol,
                ts_event: event.ts_event,
                ts_recv: event.ts_recv,
                code: event.code,
                ..Event::new(Kind::Symbol)
            });
        }
        if is_new && self.has_lost {
            instrument.is_stale = true;
            out.push(note(event, symbol, Flags::STALE));
        }
        Ok(symbol)
    }

    fn trade(
        &mut self,
        message: &Message<'_>,
        event: &Event,
        entry: &Block<'_>,
        out: &mut Vec<Event>,
    ) -> Result<(), Fault> {
        let fields = entry.fields;
        let (symbol, is_news) = self.instrument(message, event, entry, out)?;
        let numbered = self.number(symbol, is_news, event, entry, out);
        let said = info(message, event, entry, symbol);
        let id = entry.u32(fields.md_trade_entry_id);
        let (kind, flags) = match entry.byte(fields.md_update_action) {
            Some(action::NEW) if said.price.0 > 0 && said.qty.0 > 0 => {
                (Kind::Trade, Flags::PRINTABLE)
            }
            Some(action::DELETE) => (Kind::Break, Flags(0)),
            _ => (Kind::Info, Flags(0)),
        };
        let is_break = kind == Kind::Break;
        out.push(Event {
            kind,
            flags,
            order: 0,
            order_b: id.filter(|id| *id != u32::MAX).unwrap_or(0).into(),
            price: if is_break { Price(0) } else { said.price },
            qty: if is_break { Qty(0) } else { said.qty },
            side: match entry.byte(fields.aggressor_side) {
                Some(1) => Side::Buy,
                Some(2) => Side::Sell,
                _ => Side::None,
            },
            ..said
        });
        numbered
    }

    fn definition(
        &mut self,
        message: &Message<'_>,
        event: &Event,
        out: &mut Vec<Event>,
    ) -> Result<(), Fault> {
        let (block, fields) = (&message.block, message.block.fields);
        let Some(security) = block.i32(fields.security_id) else {
            return Err(message.wrong(block, fields.security_id));
        };
        let name = block.get::<20>(fields.symbol);
        let name = name.and_then(|name| short_name(&name));
        let symbol = self.symbol(security, name, event, out)?;
        let instrument = &mut self.instruments[symbol as usize];
        instrument.group = block.get(fields.security_group).unwrap_or_default();
        for feed in message.groups[1].into_iter().flat_map(Entries::iter) {
            let depth = feed.byte(feed.fields.market_depth).map_or(0, |d| d as i8);
            if feed.get(feed.fields.md_feed_type) == Some(*b"GBX") && depth > 0 {
                instrument.depth = depth as usize;
            }
        }
        Ok(())
    }

    /// The trading status of an instrument, or of all of a group as far as they were defined.
    fn status(
        &mut self,
        message: &Message<'_>,
        event: &Event,
        out: &mut Vec<Event>,
    ) -> Result<(), Fault> {
        let (block, fields) = (&message.block, message.block.fields);
        let status = block.byte(fields.security_trading_status).unwrap_or(0);
        let letter = match status {
            17 | 24 | 25 => b'T',
            2 | 4 | 18 | 26 => b'H',
            15 | 21 => b'Q',
            _ => 0,
        };
        let event = Event {
            kind: if letter == 0 {
                Kind::Info
            } else {
                Kind::Status
            },
            order: if letter == 0 { status } else { letter }.into(),
            ..*event
        };
        if let Some(security) = block.i32(fields.security_id) {
            let symbol = self.symbol(security, None, &event, out)?;
            out.push(Event { symbol, ..event });
            return Ok(());
        }
        let group = block.get::<6>(fields.security_group).unwrap_or_default();
        let all = self.instruments.iter().enumerate().skip(1);
        let from = out.len();
        out.extend(
            all.filter(|(_, instrument)| group != [0; 6] && instrument.group == group)
                .map(|(symbol, _)| Event {
                    symbol: symbol as u32,
                    ..event
                }),
        );
        if out.len() == from {
            // Whose status that is was not said.
            out.push(Event {
                kind: Kind::Info,
                ..event
            });
        }
        Ok(())
    }

    /// Marks the changes of a book, `out[from..]`, as some of more.
    fn changed(&mut self, symbol: u32, message: &Message<'_>, from: usize, out: &mut [Event]) {
        for (index, event) in out.iter_mut().enumerate().skip(from) {
            let is_change = matches!(
                event.kind,
                Kind::Add | Kind::Replace | Kind::Delete | Kind::Cancel
            );
            if !is_change {
                continue;
            }
            event.flags = event.flags.with(Flags::MORE);
            let instrument = &mut self.instruments[symbol as usize];
            instrument.changes = instrument.changes.saturating_add(1);
            instrument.last = (self.messages, index);
            if !instrument.is_open {
                instrument.is_open = true;
                let channel = self.channels.iter_mut().find(|c| c.port == message.channel);
                channel.expect("it is followed").open.push(symbol);
            }
        }
    }

    /// The event is over: each book that it touched is as it will be.
    fn end_event(&mut self, channel: usize, event: &Event, out: &mut Vec<Event>) {
        let messages = self.messages;
        for symbol in self.channels[channel].open.drain(..) {
            let instrument = &mut self.instruments[symbol as usize];
            let (changes, last) = (instrument.changes, instrument.last);
            (instrument.is_open, instrument.changes) = (false, 0);
            match out.get_mut(last.1).filter(|_| last.0 == messages) {
                Some(change) => {
                    let several = if changes > 1 { Flags::ENDS.0 } else { 0 };
                    change.flags = Flags(change.flags.0 & !Flags::MORE.0 | several);
                }
                None => out.push(Event {
                    kind: Kind::Info,
                    symbol,
                    flags: Flags::ENDS,
                    ..*event
                }),
            }
        }
    }
}

const NEW: Instrument = Instrument {
    name: 0,
    group: [0; 6],
    depth: DEPTH,
    channel: 0,
    seen: 0,
    known_to: 0,
    whole: 0,
    chunk: 0,
    has_orders: false,
    is_stale: false,
    numbered_to: 0,
    has_hole: false,
    levels: [Vec::new(), Vec::new()],
    is_open: false,
    changes: 0,
    last: (0, 0),
};

/// A level shows `qty` from now on, if books can hold its price.
fn show(
    shown: &mut Shown,
    event: &Event,
    price: Price,
    qty: i64,
    out: &mut Vec<Event>,
) -> Result<(), Fault> {
    if is_held(price) {
        return shown.set(event, price, Qty(qty), out);
    }
    if price.is_some() {
        out.push(Event {
            price,
            qty: Qty(qty),
            ..*event
        });
    }
    Ok(())
}

/// The name of an instrument that was not defined, as [`Kind::Symbol`] has it: its number; where
/// eight letters are not enough, to the base 36 behind a small `x`.
fn number_name(security: i32) -> u64 {
    let mut rest = security as u32;
    let is_long = rest > 99_999_999;
    let base = if is_long { 36 } else { 10 };
    let mut letters = Vec::with_capacity(8);
    while letters.is_empty() || rest > 0 {
        let digit = char::from_digit(rest % base, 36).expect("below its base");
        letters.push(digit as u8);
        rest /= base;
    }
    letters.extend(is_long.then_some(b'x'));
    let mut name = [b' '; 8];
    let letters = letters.iter().rev();
    name.iter_mut()
        .zip(letters)
        .for_each(|(to, from)| *to = *from);
    u64::from_be_bytes(name)
}
