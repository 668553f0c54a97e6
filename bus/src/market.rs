//! What a book tells the analytics after an event.

use crate::event::Side;
use crate::fixed::{Price, Qty};

/// Best bid and ask with their sizes. A side without orders has [`Price::NONE`] and size 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quote {
    /// Highest bid.
    pub bid: Price,
    /// Lowest ask.
    pub ask: Price,
    /// Everything shown at the bid.
    pub bid_qty: Qty,
    /// Everything shown at the ask.
    pub ask_qty: Qty,
}

impl Quote {
    /// No orders on either side.
    pub const EMPTY: Quote = Quote {
        bid: Price::NONE,
        ask: Price::NONE,
        bid_qty: Qty(0),
        ask_qty: Qty(0),
    };

    /// Whether both sides have a price and the bid is below the ask.
    #[inline]
    pub const fn is_open(&self) -> bool {
        self.bid.is_some() && self.ask.is_some() && self.bid.0 < self.ask.0
    }

    /// Whether both sides have a price and the bid is at or above the ask.
    #[inline]
    pub const fn is_crossed(&self) -> bool {
        self.bid.is_some() && self.ask.is_some() && self.bid.0 >= self.ask.0
    }
}

/// A print: what counts as a trade. Quantity 0 means none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// At which price.
    pub price: Price,
    /// How much.
    pub qty: Qty,
    /// Which side took (the other side of the resting order); `None` for auctions and hidden.
    pub aggressor: Side,
}

impl Fill {
    /// Nothing traded.
    pub const NONE: Fill = Fill {
        price: Price(0),
        qty: Qty(0),
        aggressor: Side::None,
    };
}

/// What one event did to a book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The print, if it counts as one.
    pub fill: Fill,
    /// Whether best bid or ask, or their sizes, are other than before.
    pub quote_changed: bool,
    /// What was wrong with it.
    pub anomaly: Option<Anomaly>,
}

impl Applied {
    /// It changed nothing.
    pub const NOTHING: Applied = Applied {
        fill: Fill::NONE,
        quote_changed: false,
        anomaly: None,
    };
}

/// One price of a book's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// The price.
    pub price: Price,
    /// Everything shown at it.
    pub qty: Qty,
    /// In how many orders.
    pub orders: u32,
}

/// Whether a symbol may trade.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Phase {
    /// Nothing was said yet.
    #[default]
    Unknown = 0,
    /// Continuous trading.
    Trading = 1,
    /// Halted or paused.
    Halted = 2,
    /// Orders and quotes only, before an auction.
    QuoteOnly = 3,
}

/// Something wrong in the data, counted and carried on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Anomaly {
    /// An order id that is not in the book.
    UnknownOrder = 0,
    /// An add with an id that is there already.
    DuplicateOrder,
    /// More executed or cancelled than the order has; it is taken as gone.
    Overfill,
    /// An order with price zero or below.
    BadPrice,
    /// An order with quantity zero or above what a book can hold.
    BadQty,
    /// A bid at or above an ask in continuous trading.
    Crossed,
    /// A message type that the protocol does not know.
    UnknownType,
    /// A message that is shorter or longer than its type says.
    BadLength,
    /// A field with a value that the protocol does not allow.
    BadField,
    /// A packet that is not of the protocol, or cut.
    BadPacket,
    /// A time before the one before it.
    TimeBackwards,
    /// A time far in the future.
    TimeFuture,
    /// Messages that no line brought.
    Gap,
    /// More orders, levels or symbols than the run was told to hold.
    Full,
}

impl Anomaly {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Anomaly; 14] = [
        Anomaly::UnknownOrder,
        Anomaly::DuplicateOrder,
        Anomaly::Overfill,
        Anomaly::BadPrice,
        Anomaly::BadQty,
        Anomaly::Crossed,
        Anomaly::UnknownType,
        Anomaly::BadLength,
        Anomaly::BadField,
        Anomaly::BadPacket,
        Anomaly::TimeBackwards,
        Anomaly::TimeFuture,
        Anomaly::Gap,
        Anomaly::Full,
    ];

    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Anomaly::UnknownOrder => "unknown_order",
            Anomaly::DuplicateOrder => "duplicate_order",
            Anomaly::Overfill => "overfill",
            Anomaly::BadPrice => "bad_price",
            Anomaly::BadQty => "bad_qty",
            Anomaly::Crossed => "crossed",
            Anomaly::UnknownType => "unknown_type",
            Anomaly::BadLength => "bad_length",
            Anomaly::BadField => "bad_field",
            Anomaly::BadPacket => "bad_packet",
            Anomaly::TimeBackwards => "time_backwards",
            Anomaly::TimeFuture => "time_future",
            Anomaly::Gap => "gap",
            Anomaly::Full => "full",
        }
    }
}

/// How often each anomaly was met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Anomalies(pub [u64; Anomaly::ALL.len()]);

impl Anomalies {
    /// Counts one.
    #[inline]
    pub fn count(&mut self, anomaly: Anomaly) {
        self.0[anomaly as usize] += 1;
    }

    /// Adds the counts of `other`.
    pub fn merge(&mut self, other: &Anomalies) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }

    /// All together.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The kinds that were met, with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (Anomaly, u64)> + '_ {
        Anomaly::ALL
            .into_iter()
            .zip(self.0)
            .filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anomalies_are_numbered_as_listed() {
        for (index, anomaly) in Anomaly::ALL.into_iter().enumerate() {
            assert_eq!(anomaly as usize, index);
        }
    }
}
