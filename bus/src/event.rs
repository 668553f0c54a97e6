//! One market event: what every feed is decoded into, what a ring carries, what the log keeps.

use bytemuck::{CheckedBitPattern, NoUninit, Zeroable};

use crate::fixed::{Price, Qty, Ts};

/// One market event, 64 bytes, one cache line: the same in a ring, in the log and in a test.
///
/// ```text
/// byte   0        8       16    24      32       40      48    56      60    61    62     63
///     ts_event ts_recv   seq  order  order_b   price    qty  symbol  kind  side  flags  code
/// ```
///
/// What `order`, `order_b`, `price` and `qty` mean is said at each [`Kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, NoUninit, CheckedBitPattern, Zeroable)]
#[repr(C, align(64))]
pub struct Event {
    /// When it happened, by the exchange's clock.
    pub ts_event: Ts,
    /// When its packet was captured, or received; equal to `ts_event` where nothing says.
    pub ts_recv: Ts,
    /// Its place in the input: 1, 2, 3 ... over all symbols, the same on every replay.
    pub seq: u64,
    /// The order it is about.
    pub order: u64,
    /// A second id: the new order of a replace, the match number of an execution or a trade.
    pub order_b: u64,
    /// A price; 0 where the kind has none.
    pub price: Price,
    /// A quantity; 0 where the kind has none.
    pub qty: Qty,
    /// The symbol's number in this run; 0 for what concerns all symbols.
    pub symbol: u32,
    /// What happened.
    pub kind: Kind,
    /// Which side of the book.
    pub side: Side,
    /// See [`Flags`].
    pub flags: Flags,
    /// The protocol's own message type (for ITCH the type's letter), for reports.
    pub code: u8,
}

const _: () = assert!(size_of::<Event>() == 64);
const _: () = assert!(std::mem::offset_of!(Event, kind) == 60);

/// What happened. Values stay below 0x80, so that one byte tells an event from a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, NoUninit, CheckedBitPattern, Zeroable)]
#[repr(u8)]
pub enum Kind {
    /// Padding; never handed to a book.
    Nothing = 0,
    /// A new order: `order`, `side`, `price`, `qty`; with [`Flags::ATTRIBUTED`], of whom in `order_b`.
    Add = 1,
    /// An order executed at its own price: `order`, `qty`, match number in `order_b`.
    Execute = 2,
    /// An order executed at another price: as `Execute` with `price`; prints if flagged.
    ExecuteAt = 3,
    /// `qty` of `order` cancelled, the rest stays.
    Cancel = 4,
    /// `order` is gone.
    Delete = 5,
    /// `order` becomes `order_b` with `price` and `qty`, same side, at the back of its queue.
    Replace = 6,
    /// A trade against an order that was never shown: `price`, `qty`, match number in `order_b`.
    Trade = 7,
    /// An auction's single print: `price`, `qty`, match number in `order_b`.
    Cross = 8,
    /// The print with match number `order_b` is broken. Books do not change.
    Break = 9,
    /// Auction imbalance: paired in `order`, imbalance in `qty`, its side, reference in `price`.
    Imbalance = 10,
    /// A symbol's definition: its name, eight bytes padded with spaces, big-endian in `order`;
    /// round lot in `qty`. Quantities of the symbol are in units of 10 to the power of minus
    /// `order_b`, which is 0 for shares.
    Symbol = 11,
    /// A symbol's trading state changes, to the letter in `order` (ITCH 5.0 section 4.2.2:
    /// `H` halted, `P` paused, `Q` quotes only, `T` trading).
    Status = 12,
    /// The session's state changes, to the letter in `order` (ITCH 5.0 section 4.1). All symbols.
    System = 13,
    /// Anything else the feed said of a symbol; kept in the log, ignored by books.
    Info = 14,
    /// Time has come to `ts_event`: no earlier event is expected any more. All symbols.
    Tick = 15,
    /// Messages are lost for good: `qty` of them, the first one's feed sequence in `order`.
    /// All symbols. With [`Flags::WHOLE`] it is the opposite: what is known up to the feed sequence in
    /// `order` is whole; with [`Flags::STALE`] too, books are empty from here on, and stale still, and
    /// what they have follows. With [`Flags::STALE`] alone only those symbols may lack something that
    /// say so behind it.
    Gap = 16,
    /// The input ended; what is open closes. All symbols.
    End = 17,
}

impl Kind {
    /// Whether every shard gets this event, whatever its symbols.
    #[inline]
    pub const fn is_for_all(self) -> bool {
        matches!(self, Kind::System | Kind::Tick | Kind::Gap | Kind::End)
    }
}

/// A side of the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, NoUninit, CheckedBitPattern, Zeroable)]
#[repr(u8)]
pub enum Side {
    /// Neither, or not said.
    None = 0,
    /// Bids.
    Buy = 1,
    /// Asks.
    Sell = 2,
}

impl Side {
    /// The other side; `None` stays.
    pub const fn other(self) -> Side {
        match self {
            Side::None => Side::None,
            Side::Buy => Side::Sell,
            Side::Sell => Side::Buy,
        }
    }
}

/// Bits that qualify an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, NoUninit, CheckedBitPattern, Zeroable)]
#[repr(transparent)]
pub struct Flags(pub u8);

impl Flags {
    /// The execution counts in volume and prices (ITCH 5.0 `C`: printable).
    pub const PRINTABLE: Flags = Flags(1);
    /// The time was far in the future; the reader put the last good one in its place.
    pub const BAD_TS: Flags = Flags(2);
    /// More changes of this symbol's book follow that are one with this one: from what the book
    /// is meanwhile, nobody concludes anything.
    pub const MORE: Flags = Flags(4);
    /// The last of several changes that are one.
    pub const ENDS: Flags = Flags(8);
    /// An [`Kind::Info`] that says: this symbol's book lacks something from now on.
    pub const STALE: Flags = Flags(16);
    /// An [`Kind::Info`] that says: this symbol's book will be whole again, with the changes that
    /// follow.
    pub const WHOLE: Flags = Flags(32);
    /// An order that has more than 32 bits can say, or had, or will: each event about one has this, so
    /// that books need not ask of any other.
    pub const WIDE: Flags = Flags(64);
    /// An [`Kind::Add`] that says who entered the order: four letters, big-endian in `order_b`.
    pub const ATTRIBUTED: Flags = Flags(128);

    /// Whether all bits of `other` are set.
    #[inline]
    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// With the bits of `other` set.
    #[inline]
    pub const fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

impl Event {
    /// An event of `kind` with every other field zero.
    pub const fn new(kind: Kind) -> Event {
        Event {
            ts_event: Ts(0),
            ts_recv: Ts(0),
            seq: 0,
            order: 0,
            order_b: 0,
            price: Price(0),
            qty: Qty(0),
            symbol: 0,
            kind,
            side: Side::None,
            flags: Flags(0),
            code: 0,
        }
    }

    /// The event as the 64 bytes that the log keeps.
    #[inline]
    pub fn as_bytes(&self) -> &[u8; 64] {
        let bytes: &[u8] = bytemuck::bytes_of(self);
        bytes.try_into().expect("an event is 64 bytes")
    }

    /// The event in these bytes, or `None` where they are not one.
    pub fn from_bytes(bytes: &[u8; 64]) -> Option<Event> {
        bytemuck::checked::try_pod_read_unaligned(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_not_an_event_are_refused() {
        let mut bytes = *Event::new(Kind::Add).as_bytes();
        assert_eq!(Event::from_bytes(&bytes), Some(Event::new(Kind::Add)));
        bytes[60] = 0x7f;
        assert_eq!(Event::from_bytes(&bytes), None);
    }
}
