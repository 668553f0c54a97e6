//! What is said of orders: those to send, what the risk gate said, and what became of them.

use super::words::{Words, side};
use crate::event::Side;
use crate::fixed::{Price, Qty, Ts};

/// What a simulated venue says of an order of the strategy and symbol in the signal's head, whose
/// `ts_event` is when it happened there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The order signal's `seq` and ordinal.
    pub order_seq: u64,
    #[allow(missing_docs)]
    pub order_ordinal: u16,
    /// What happened.
    pub fate: Fate,
    /// The order's side.
    pub side: Side,
    /// Which check refused or ended it, where one did.
    pub reason: Option<RejectCode>,
    /// Of a fill; 0 where there is none.
    pub price: Price,
    /// Of a fill, or of what is over.
    pub qty: Qty,
    /// Filled so far, this fill included.
    pub filled: Qty,
    /// What may still be filled.
    pub left: Qty,
    /// What is shown at its price before it.
    pub ahead: Qty,
    /// The order's limit.
    pub limit: Price,
}

/// What happened to an order at a venue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Fate {
    /// It was accepted.
    New = 0,
    /// It was filled, or some of it.
    Fill = 1,
    /// The rest of it is cancelled.
    Cancelled = 2,
    /// The rest of it is over, because its time is.
    Expired = 3,
    /// It was not accepted.
    Rejected = 4,
}

impl Fate {
    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Fate::New => "new",
            Fate::Fill => "fill",
            Fate::Cancelled => "cancelled",
            Fate::Expired => "expired",
            Fate::Rejected => "rejected",
        }
    }
}

/// An order, passed by the risk gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// Buy or sell.
    pub side: Side,
    /// Limit price.
    pub price: Price,
    /// Shares.
    pub qty: Qty,
    /// The quote it was decided on.
    pub bid: Price,
    #[allow(missing_docs)]
    pub ask: Price,
    /// How long it may stand.
    pub tif: Tif,
}

/// How long an order may stand: TimeInForce (59).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tif {
    /// Until the end of the day.
    #[default]
    Day,
    /// What is not filled at once is cancelled.
    Ioc,
    /// Until this moment, which is after 1970.
    Till(Ts),
}

impl Tif {
    pub(super) fn to_word(self) -> i64 {
        match self {
            Tif::Day => 0,
            Tif::Ioc => -1,
            Tif::Till(ts) => ts.0.max(1),
        }
    }

    pub(super) fn from_word(word: i64) -> Option<Tif> {
        match word {
            0 => Some(Tif::Day),
            -1 => Some(Tif::Ioc),
            1.. => Some(Tif::Till(Ts(word))),
            _ => None,
        }
    }
}

/// A refused order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reject {
    /// The order.
    pub order: Order,
    /// Which rule refused it.
    pub code: RejectCode,
    /// The rule's limit, in the rule's unit.
    pub limit: i64,
    /// The order's value for it.
    pub value: i64,
}

/// Which risk rule refused an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RejectCode {
    /// Quantity above the limit, or not above zero; shares.
    Size = 0,
    /// Price times quantity above the limit; whole units of currency.
    Notional = 1,
    /// Price too far from the live book; hundredths of a basis point.
    Collar = 2,
    /// Too many orders of the symbol in one second of event time.
    Rate = 3,
    /// The symbol is halted, or not open for trading.
    Halted = 4,
    /// The book is missing a side, is crossed, or lost messages.
    Book = 5,
    /// The symbol is on the restricted list.
    Restricted = 6,
    /// Outside of the trading hours; nanoseconds since midnight.
    Hours = 7,
    /// Price too far from the last trade; hundredths of a basis point.
    CollarLast = 8,
    /// It would trade with an order of our own; price in units of 10^-9.
    SelfTrade = 9,
    /// If all orders of this side were filled and none of the other; units of quantity.
    Position = 10,
    /// Notional of all orders of the symbol; whole units of currency.
    Gross = 11,
    /// Notional of all orders of this side of the symbol; whole units of currency.
    Net = 12,
    /// The same side, price and quantity again; nanoseconds since the one before.
    Duplicate = 13,
    /// Orders that are open, this one included; orders.
    OpenOrders = 14,
    /// What was lost, by fills and by the live book; whole units of currency.
    Loss = 15,
    /// Messages in a second of the machine's time, this one included; messages.
    Messages = 16,
    /// It would have had to wait for its turn; nanoseconds.
    Throttle = 17,
    /// Orders that wait for theirs, this one included; orders.
    Queue = 18,
    /// The order that it was to leave with was refused; by the rule of this number.
    OtherLeg = 19,
    /// A price that the session's messages have no room for; units of 10^-9.
    Price = 20,
    /// A time until which it stands that the session's messages have no room for; nanoseconds.
    Till = 21,
}

impl RejectCode {
    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            RejectCode::Size => "size",
            RejectCode::Notional => "notional",
            RejectCode::Collar => "collar",
            RejectCode::Rate => "rate",
            RejectCode::Halted => "halted",
            RejectCode::Book => "book",
            RejectCode::Restricted => "restricted",
            RejectCode::Hours => "hours",
            RejectCode::CollarLast => "collar_last",
            RejectCode::SelfTrade => "self_trade",
            RejectCode::Position => "position",
            RejectCode::Gross => "gross",
            RejectCode::Net => "net",
            RejectCode::Duplicate => "duplicate",
            RejectCode::OpenOrders => "open_orders",
            RejectCode::Loss => "loss",
            RejectCode::Messages => "messages",
            RejectCode::Throttle => "throttle",
            RejectCode::Queue => "queue",
            RejectCode::OtherLeg => "other_leg",
            RejectCode::Price => "price",
            RejectCode::Till => "till",
        }
    }

    pub(super) const fn from_word(word: i64) -> Option<RejectCode> {
        Some(match word {
            0 => RejectCode::Size,
            1 => RejectCode::Notional,
            2 => RejectCode::Collar,
            3 => RejectCode::Rate,
            4 => RejectCode::Halted,
            5 => RejectCode::Book,
            6 => RejectCode::Restricted,
            7 => RejectCode::Hours,
            8 => RejectCode::CollarLast,
            9 => RejectCode::SelfTrade,
            10 => RejectCode::Position,
            11 => RejectCode::Gross,
            12 => RejectCode::Net,
            13 => RejectCode::Duplicate,
            14 => RejectCode::OpenOrders,
            15 => RejectCode::Loss,
            16 => RejectCode::Messages,
            17 => RejectCode::Throttle,
            18 => RejectCode::Queue,
            19 => RejectCode::OtherLeg,
            20 => RejectCode::Price,
            21 => RejectCode::Till,
            _ => return None,
        })
    }
}

/// What became of the order whose signal has the same `seq`, `symbol`, and this `ordinal`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The order signal's ordinal.
    pub order_ordinal: u16,
    /// What happened.
    pub outcome: Outcome,
    /// The message's number at the gateway.
    pub msg_seq: u64,
    /// When, by the machine's clock.
    pub ts_sent: Ts,
    /// The limit that it would have been over, where it was refused.
    pub over: Option<Over>,
}

/// A limit of several orders together that one more would have been over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Over {
    /// Whose limit.
    pub whose: Whose,
    /// Which one.
    pub code: RejectCode,
    /// The limit, in its unit.
    pub limit: i64,
    /// What there would have been, in the same unit.
    pub value: i64,
}

/// Whose orders count together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Whose {
    /// Those of the order's symbol.
    Symbol = 1,
    /// Those of the order's strategy.
    Strategy = 2,
    /// Those of the shard's session.
    Session = 3,
    /// Those of the run.
    Firm = 4,
}

impl Whose {
    /// Its name in settings and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Whose::Symbol => "symbol",
            Whose::Strategy => "strategy",
            Whose::Session => "session",
            Whose::Firm => "firm",
        }
    }

    pub(super) const fn from_word(word: i64) -> Option<Whose> {
        Some(match word {
            1 => Whose::Symbol,
            2 => Whose::Strategy,
            3 => Whose::Session,
            4 => Whose::Firm,
            _ => return None,
        })
    }
}

/// What a gateway did with an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Outcome {
    /// Handed to the peer.
    Sent = 0,
    /// Held back by the kill flag.
    Killed = 1,
    /// The peer is gone.
    Failed = 2,
    /// It may have left before a crash; a cancel for it was handed to the peer.
    Cancelled = 3,
    /// Held back because of [`Sent::over`].
    Refused = 4,
}

impl Order {
    pub(super) fn to_words(self) -> [i64; 5] {
        [
            self.side as i64,
            self.price.0,
            self.qty.0,
            self.bid.0,
            self.ask.0,
        ]
    }

    pub(super) fn from_words(w: &Words, tif: i64) -> Option<Order> {
        Some(Order {
            side: side(w[0])?,
            price: Price(w[1]),
            qty: Qty(w[2]),
            bid: Price(w[3]),
            ask: Price(w[4]),
            tif: Tif::from_word(tif)?,
        })
    }
}
