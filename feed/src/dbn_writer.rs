//! Events as a Databento DBN file of orders: version 2, schema `mbo`, which others read, too.
//!
//! ```text
//! Add                     A
//! Cancel, Delete          C
//! Replace                 C of the old order, A of the new one
//! Execute, ExecuteAt      T (where it prints), F of the order, C
//! Trade, Cross            T
//! ```
//!
//! `T` and `F` change no book; each change does, and the last record of an event says so (`F_LAST`). What
//! no book would take, as a doubled order or one that nobody knows, is left out and counted. A record's
//! sequence is the lower half of the event's.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};

use bus::{Event, Flags, Kind, Price, Side, Ts};

/// What an instrument is called, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its number in events.
    pub symbol: u32,
    /// Its name, as [`Kind::Symbol`] has it.
    pub name: u64,
}

/// What stands before the records.
#[derive(Clone, Debug)]
pub struct Metadata<'a> {
    /// The data set's code, of at most 16 letters.
    pub dataset: &'a str,
    /// The first and the last time.
    pub span: (Ts, Ts),
    /// The dates of the span's first day and of the day after its last, as 20231225.
    pub dates: (u32, u32),
    /// All instruments.
    pub symbols: &'a [Named],
}

const VERSION: u8 = 2;
/// A symbol's room, its last byte a zero.
const SYMBOL_BYTES: usize = 71;
const RECORD_BYTES: usize = 56;
const MBO: u8 = 0xa0;
const F_LAST: u8 = 0x80;
const UNDEF_PRICE: i64 = i64::MAX;

/// A live order.
#[derive(Clone, Copy)]
struct Resting {
    symbol: u32,
    side: Side,
    price: Price,
    qty: i64,
}

/// Writes the file.
pub struct DbnWriter<W> {
    out: W,
    orders: HashMap<u64, Resting>,
    /// Symbols of which records were written that are one change with later ones.
    open: HashSet<u32>,
    /// The records of the event at hand.
    made: Vec<[u8; RECORD_BYTES]>,
    /// How many records were written.
    pub records: u64,
    /// Events about orders that no book would take.
    pub left_out: u64,
}

impl<W: Write> DbnWriter<W> {
    /// Writes what stands before the records.
    pub fn new(mut out: W, metadata: &Metadata<'_>) -> io::Result<DbnWriter<W>> {
        let mut bytes = Vec::new();
        let mut dataset = [0u8; 16];
        let letters = dataset.iter_mut().zip(metadata.dataset.bytes());
        letters.for_each(|(to, from)| *to = from);
        bytes.extend(dataset);
        // Schema 0 is mbo; no limit; from raw symbols to instrument numbers; no time of sending.
        bytes.extend(0u16.to_le_bytes());
        bytes.extend((metadata.span.0.0.max(0) as u64).to_le_bytes());
        bytes.extend((metadata.span.1.0.max(0) as u64 + 1).to_le_bytes());
        bytes.extend(0u64.to_le_bytes());
        bytes.extend([1, 0, 0]);
        bytes.extend((SYMBOL_BYTES as u16).to_le_bytes());
        bytes.extend([0; 53]);
        bytes.extend(0u32.to_le_bytes());
        let count = metadata.symbols.len() as u32;
        let cstr = |text: &[u8]| {
            let mut room = [0u8; SYMBOL_BYTES];
            room.iter_mut().zip(text).for_each(|(to, from)| *to = *from);
            room
        };
        let name = |named: &Named| cstr(named.name.to_be_bytes().trim_ascii_end());
        bytes.extend(count.to_le_bytes());
        metadata
            .symbols
            .iter()
            .for_each(|named| bytes.extend(name(named)));
        // Neither symbols that were found in parts nor such that were not.
        bytes.extend([0; 8]);
        bytes.extend(count.to_le_bytes());
        for named in metadata.symbols {
            bytes.extend(name(named));
            bytes.extend(1u32.to_le_bytes());
            bytes.extend(metadata.dates.0.to_le_bytes());
            bytes.extend(metadata.dates.1.to_le_bytes());
            bytes.extend(cstr(named.symbol.to_string().as_bytes()));
        }
        out.write_all(b"DBN")?;
        out.write_all(&[VERSION])?;
        out.write_all(&(bytes.len() as u32).to_le_bytes())?;
        out.write_all(&bytes)?;
        Ok(DbnWriter {
            out,
            orders: HashMap::new(),
            open: HashSet::new(),
            made: Vec::new(),
            records: 0,
            left_out: 0,
        })
    }

    /// Writes what an event comes to.
    pub fn event(&mut self, event: &Event) -> io::Result<()> {
        self.made.clear();
        match event.kind {
            Kind::Add => self.add(event, event.side, event.order),
            Kind::Delete => self.take(event, i64::MAX),
            Kind::Cancel | Kind::Execute | Kind::ExecuteAt => self.take(event, event.qty.0),
            Kind::Replace => {
                let side = self.orders.get(&event.order).map(|order| order.side);
                self.take(event, i64::MAX);
                if let Some(side) = side {
                    self.add(event, side, event.order_b);
                }
            }
            Kind::Trade | Kind::Cross => {
                if event.qty.0 > 0 && event.price.0 > 0 {
                    self.record(event, b'T', 0, event.side.other(), event.price, event.qty.0);
                }
            }
            Kind::Nothing
            | Kind::Break
            | Kind::Imbalance
            | Kind::Symbol
            | Kind::Status
            | Kind::System
            | Kind::Info
            | Kind::Tick
            | Kind::Gap
            | Kind::End => {}
        }
        let goes_on = event.flags.has(Flags::MORE);
        let is_open = self.open.contains(&event.symbol);
        // A print between changes that are one does not end them.
        let ends = !goes_on && (!is_open || event.flags.has(Flags::ENDS));
        if self.made.is_empty() && is_open && ends {
            self.record(event, b'N', 0, Side::None, Price(UNDEF_PRICE), 0);
        }
        if let Some(last) = self.made.last_mut() {
            if ends {
                last[36] |= F_LAST;
                self.open.remove(&event.symbol);
            } else {
                self.open.insert(event.symbol);
            }
        }
        for record in &self.made {
            self.out.write_all(record)?;
        }
        self.records += self.made.len() as u64;
        Ok(())
    }

    /// Gives back what was written to.
    pub fn finish(self) -> W {
        self.out
    }

    fn add(&mut self, event: &Event, side: Side, id: u64) {
        let is_good = side != Side::None && event.price.0 > 0 && event.price.is_some();
        if !is_good || event.qty.0 <= 0 || self.orders.contains_key(&id) {
            self.left_out += 1;
            return;
        }
        let (price, qty) = (event.price, event.qty.0);
        let order = Resting {
            symbol: event.symbol,
            side,
            price,
            qty,
        };
        self.orders.insert(id, order);
        self.record(event, b'A', id, side, price, qty);
    }

    fn take(&mut self, event: &Event, asked: i64) {
        let Some(order) = self.orders.get_mut(&event.order).filter(|_| asked > 0) else {
            self.left_out += 1;
            return;
        };
        let taken = asked.min(order.qty);
        order.qty -= taken;
        let order = *order;
        if order.qty == 0 {
            self.orders.remove(&event.order);
        }
        // An event belongs to its order's book, whatever it names.
        let event = Event {
            symbol: order.symbol,
            ..*event
        };
        let price = match event.kind {
            Kind::Execute => Some(order.price),
            Kind::ExecuteAt => event.flags.has(Flags::PRINTABLE).then_some(event.price),
            _ => None,
        };
        if let Some(price) = price.filter(|price| price.0 > 0) {
            self.record(&event, b'T', 0, order.side.other(), price, taken);
            self.record(&event, b'F', event.order, order.side, price, taken);
        }
        self.record(&event, b'C', event.order, order.side, order.price, taken);
    }

    fn record(&mut self, event: &Event, action: u8, id: u64, side: Side, price: Price, qty: i64) {
        let ts_recv = if event.ts_recv.0 > 0 {
            event.ts_recv
        } else {
            event.ts_event
        };
        let mut record = [0; RECORD_BYTES];
        record[0] = (RECORD_BYTES / 4) as u8;
        record[1] = MBO;
        record[4..8].copy_from_slice(&event.symbol.to_le_bytes());
        record[8..16].copy_from_slice(&event.ts_event.0.to_le_bytes());
        record[16..24].copy_from_slice(&id.to_le_bytes());
        record[24..32].copy_from_slice(&price.0.to_le_bytes());
        record[32..36].copy_from_slice(&(qty as u32).to_le_bytes());
        record[38] = action;
        record[39] = match side {
            Side::Buy => b'B',
            Side::Sell => b'A',
            Side::None => b'N',
        };
        record[40..48].copy_from_slice(&ts_recv.0.to_le_bytes());
        record[52..56].copy_from_slice(&(event.seq as u32).to_le_bytes());
        self.made.push(record);
    }
}
