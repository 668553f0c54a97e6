//! One thing that was concluded: a closed window, an alert, a regime, an order to send.

use bytemuck::{CheckedBitPattern, NoUninit};

use crate::event::Side;
use crate::fixed::{Notional, Price, Qty, Ts};

/// One conclusion, 128 bytes, two cache lines: the same in the log, in a table and in a test.
///
/// ```text
/// byte   0        8     16 ...... 55   56    60    61     62      64 ........ 127
///     ts_event   seq    words 0 to 4  symbol kind  rule ordinal   words 5 to 12
/// ```
///
/// The kind stands where an [`Event`](crate::Event) has its own, with a value of 0x80 or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, NoUninit, CheckedBitPattern)]
#[repr(C, align(64))]
pub struct Signal {
    /// The event time it holds for; for a window its end.
    pub ts_event: Ts,
    /// The `seq` of the event that caused it.
    pub seq: u64,
    words_front: [i64; 5],
    /// The symbol's number in this run.
    pub symbol: u32,
    /// What is said; the words are read through [`Signal::body`].
    pub kind: SignalKind,
    /// Which of the configured windows, monitors or strategies says it.
    pub rule: u8,
    /// Tells apart several signals of one symbol with one cause: 0, 1, 2 ...
    pub ordinal: u16,
    words_back: [i64; 8],
}

const _: () = assert!(size_of::<Signal>() == 128);
const _: () = assert!(std::mem::offset_of!(Signal, kind) == 60);

/// What a signal says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, NoUninit, CheckedBitPattern)]
#[repr(u8)]
pub enum SignalKind {
    /// [`Body::Window`]
    Window = 0x80,
    /// [`Body::Late`]
    Late = 0x81,
    /// [`Body::Spread`]
    Spread = 0x82,
    /// [`Body::Regime`]
    Regime = 0x83,
    /// [`Body::Momentum`]
    Momentum = 0x84,
    /// [`Body::Order`]
    Order = 0x85,
    /// [`Body::Reject`]
    Reject = 0x86,
    /// [`Body::Sent`]
    Sent = 0x87,
    /// [`Body::Digest`]
    Digest = 0x88,
    /// [`Body::Broken`]
    Broken = 0x89,
    /// [`Body::WindowFlow`]
    WindowFlow = 0x8a,
    /// [`Body::WindowStanding`]
    WindowStanding = 0x8b,
    /// [`Body::Adjust`]
    Adjust = 0x8c,
    /// [`Body::Features`]
    Features = 0x8d,
    /// [`Body::Report`]
    Report = 0x8e,
    /// [`Body::Join`]
    Join = 0x8f,
    /// [`Body::Best`]
    Best = 0x90,
}

impl SignalKind {
    /// How many kinds there are.
    pub const COUNT: usize = 17;

    /// Its number among them, from 0.
    #[inline]
    pub const fn index(self) -> usize {
        self as usize - 0x80
    }

    /// Its name for people.
    pub const fn name(self) -> &'static str {
        match self {
            SignalKind::Window => "window",
            SignalKind::Late => "late",
            SignalKind::Spread => "spread",
            SignalKind::Regime => "regime",
            SignalKind::Momentum => "momentum",
            SignalKind::Order => "order",
            SignalKind::Reject => "reject",
            SignalKind::Sent => "sent",
            SignalKind::Digest => "digest",
            SignalKind::Broken => "broken",
            SignalKind::WindowFlow => "window_flow",
            SignalKind::WindowStanding => "window_standing",
            SignalKind::Adjust => "adjust",
            SignalKind::Features => "features",
            SignalKind::Report => "report",
            SignalKind::Join => "join",
            SignalKind::Best => "best",
        }
    }
}

/// A signal's content.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Body {
    /// A window closed.
    Window(Window),
    /// A trade came after its window had closed, or with a time out of bounds.
    Late(Late),
    /// A spread alert is raised or cleared.
    Spread(Spread),
    /// The volatility regime changed.
    Regime(Regime),
    /// The momentum strategy saw an opportunity.
    Momentum(Momentum),
    /// An order to send; its id is made of the signal's own head.
    Order(Order),
    /// An order that the risk gate refused.
    Reject(Reject),
    /// What became of an order at the gateway.
    Sent(Sent),
    /// Digest of all that was concluded of this symbol in one minute.
    Digest(Digest),
    /// A print was broken.
    Broken(Broken),
    /// More of the window that was said before it.
    WindowFlow(WindowFlow),
    /// More of the window that was said before it.
    WindowStanding(WindowStanding),
    /// A print was broken that windows have, and keep.
    Adjust(Adjust),
    /// What the strategy of this number saw when it wanted an order.
    Features(Features),
    /// What a simulated venue says of an order.
    Report(Report),
    /// A row of the join of this number.
    Join(Join),
    /// The best prices of the instrument of this number are others.
    Best(Best),
}

/// A closed event-time window: `[start, end)`, with `end` the signal's `ts_event`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its first nanosecond.
    pub start: Ts,
    /// First, highest, lowest and last price.
    pub open: Price,
    #[allow(missing_docs)]
    pub high: Price,
    #[allow(missing_docs)]
    pub low: Price,
    #[allow(missing_docs)]
    pub close: Price,
    /// Shares traded.
    pub volume: Qty,
    /// Sum of price times shares.
    pub notional: Notional,
    /// How many prints.
    pub trade_count: u32,
    /// How many of them came after the watermark had passed the window's end.
    pub late_count: u32,
    /// How often it was said before.
    pub revision: u32,
    /// Whether it will not be said again.
    pub is_final: bool,
}

/// What trades did within a window. It follows the window that it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowFlow {
    /// The window's first nanosecond.
    pub start: Ts,
    /// What buyers took, and sellers; `None` where nobody asked.
    pub bought: Option<Qty>,
    #[allow(missing_docs)]
    pub sold: Qty,
    /// Sum of the squares of returns, in 1e-18; `None` where nobody asked.
    pub squares: Option<i128>,
    /// How many returns.
    pub return_count: u32,
    /// Size of a trade at 50, 95 and 99 of a hundred; `None` where nobody asked.
    pub sizes: Option<[Qty; 3]>,
}

/// What stood within a window, each a number times nanoseconds. It follows the window that it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowStanding {
    /// The window's first nanosecond.
    pub start: Ts,
    /// Of the last price, over the time that there was one.
    pub price_ns: i128,
    #[allow(missing_docs)]
    pub priced_ns: i64,
    /// Of the spread and of the quantities at the best prices, over the time that there was a quote.
    pub spread_ns: i128,
    #[allow(missing_docs)]
    pub bid_qty_ns: i128,
    #[allow(missing_docs)]
    pub ask_qty_ns: i128,
    #[allow(missing_docs)]
    pub quoted_ns: i64,
    /// Order-flow imbalance.
    pub ofi: Qty,
    /// How often the quote changed.
    pub moves: u32,
}

/// A broken print that windows keep. The signal's `ts_event` is the end of the last of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adjust {
    /// The start of the first of them.
    pub start: Ts,
    /// The print's match number.
    pub match_number: u64,
    /// What it was; no price where that is not known any more.
    pub price: Price,
    #[allow(missing_docs)]
    pub qty: Qty,
    /// Why they keep it.
    pub reason: AdjustReason,
    /// How many windows.
    pub window_count: u32,
}

/// Some of the numbers that a decision saw. Those of one decision follow each other, in order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Features {
    /// Which is the first of these, from 0.
    pub first: u32,
    /// How many there are.
    pub count: u32,
    /// The numbers; one that is not known is not a number, and those beyond `count` are 0.
    pub values: [f64; Features::VALUES_MAX],
}

impl Features {
    /// As many as one signal has.
    pub const VALUES_MAX: usize = 12;
}

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

/// A row of a join: a record of the signal's symbol, at the signal's `ts_event`, and what it meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Join {
    /// The event that the left record is of.
    pub left_seq: u64,
    #[allow(missing_docs)]
    pub left: JoinValue,
    /// What it meets.
    pub right: Met,
}

/// What a record of a joined stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinValue {
    /// A print, and who took.
    Trade(crate::Fill),
    /// The best prices as they are from then on.
    Quote(crate::Quote),
}

/// What a left record meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// Nothing.
    Nothing,
    /// A record of the other stream.
    Record {
        /// Of this symbol.
        symbol: u32,
        /// Its event.
        ts: Ts,
        #[allow(missing_docs)]
        seq: u64,
        #[allow(missing_docs)]
        value: JoinValue,
    },
    /// A row of the join's table, from 0 in the order of the file.
    Row(u32),
}

impl JoinValue {
    const fn code(&self) -> i64 {
        match self {
            JoinValue::Trade(_) => 1,
            JoinValue::Quote(_) => 2,
        }
    }

    /// As four words, for states.
    pub fn to_words(self) -> [i64; 4] {
        match self {
            JoinValue::Trade(fill) => [fill.price.0, fill.qty.0, fill.aggressor as i64, 0],
            JoinValue::Quote(quote) => [quote.bid.0, quote.ask.0, quote.bid_qty.0, quote.ask_qty.0],
        }
    }

    /// What those words were of: a trade, or else a quote. `None` where they were of none.
    pub fn from_words(is_trade: bool, w: [i64; 4]) -> Option<JoinValue> {
        Some(match is_trade {
            true => JoinValue::Trade(crate::Fill {
                price: Price(w[0]),
                qty: Qty(w[1]),
                aggressor: side(w[2])?,
            }),
            false => JoinValue::Quote(crate::Quote {
                bid: Price(w[0]),
                ask: Price(w[1]),
                bid_qty: Qty(w[2]),
                ask_qty: Qty(w[3]),
            }),
        })
    }

    fn read(code: i64, words: &[i64]) -> Option<JoinValue> {
        match code {
            1 | 2 => JoinValue::from_words(code == 1, words.try_into().ok()?),
            _ => None,
        }
    }
}

/// The best prices of all symbols that are one instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Best {
    /// The highest bid and the lowest ask; no price where no symbol has one.
    pub bid: Price,
    #[allow(missing_docs)]
    pub ask: Price,
    /// What all have there together, in units of 10 to the power of minus `decimals`.
    pub bid_qty: i128,
    #[allow(missing_docs)]
    pub ask_qty: i128,
    /// Which have it: a bit for each symbol in the order of the settings.
    pub bid_on: u8,
    #[allow(missing_docs)]
    pub ask_on: u8,
    /// Which count; others are silent, stale, halted or crossed in themselves.
    pub counts: u8,
    #[allow(missing_docs)]
    pub decimals: u8,
}

impl Best {
    /// No symbol counts.
    pub const NONE: Best = Best {
        bid: Price::NONE,
        ask: Price::NONE,
        bid_qty: 0,
        ask_qty: 0,
        bid_on: 0,
        ask_on: 0,
        counts: 0,
        decimals: 0,
    };
}

/// Why windows keep a broken print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum AdjustReason {
    /// They are final.
    Closed = 0,
    /// They are open, but what they would be without it is not known any more.
    Beyond = 1,
    /// The print is not known any more, nor which windows have it.
    Unknown = 2,
}

impl AdjustReason {
    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            AdjustReason::Closed => "closed",
            AdjustReason::Beyond => "beyond_memory",
            AdjustReason::Unknown => "unknown_trade",
        }
    }
}

/// A trade that counts in no window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Late {
    /// At which price.
    pub price: Price,
    /// How much.
    pub qty: Qty,
    /// How far the watermark was past the window's end, in ns.
    pub late_ns: i64,
    /// Why.
    pub reason: LateReason,
}

/// Why a trade counts in no window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum LateReason {
    /// Its window had closed.
    Closed = 0,
    /// Its time was far in the future.
    Future = 1,
}

/// A spread alert.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Raised, or cleared.
    pub raised: bool,
    /// The spread now, in basis points of the mid price.
    pub bps: f64,
    /// The quote now.
    pub bid: Price,
    #[allow(missing_docs)]
    pub ask: Price,
    /// Since when the threshold was passed (raised) or the alert stood (cleared).
    pub since: Ts,
}

/// A change of volatility regime.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Regime {
    /// Before.
    pub from: Volatility,
    /// From now on.
    pub to: Volatility,
    /// The volatility estimate, in basis points per square root of a second.
    pub bps: f64,
}

/// How lively a symbol is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Volatility {
    /// Below the lower threshold.
    Calm = 0,
    /// Between.
    #[default]
    Normal = 1,
    /// Above the upper threshold.
    Stressed = 2,
}

impl Volatility {
    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Volatility::Calm => "calm",
            Volatility::Normal => "normal",
            Volatility::Stressed => "stressed",
        }
    }

    const fn from_word(word: i64) -> Volatility {
        match word {
            0 => Volatility::Calm,
            2 => Volatility::Stressed,
            _ => Volatility::Normal,
        }
    }
}

/// What the momentum strategy saw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Momentum {
    /// Buy or sell.
    pub side: Side,
    /// Move of the micro-price over the look-back, in basis points.
    pub move_bps: f64,
    /// Imbalance of the sizes at the touch, -1 (all offered) to 1 (all bid).
    pub imbalance: f64,
    /// The quote it saw.
    pub quote: crate::Quote,
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
    fn to_word(self) -> i64 {
        match self {
            Tif::Day => 0,
            Tif::Ioc => -1,
            Tif::Till(ts) => ts.0.max(1),
        }
    }

    fn from_word(word: i64) -> Option<Tif> {
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

    const fn from_word(word: i64) -> Option<RejectCode> {
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

    const fn from_word(word: i64) -> Option<Whose> {
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

/// Digest of one symbol's minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest {
    /// 64 bits over its events, quotes and signals, in order.
    pub value: u64,
    /// How many events.
    pub events: u64,
    /// Minutes since the trading date's midnight.
    pub minute: u32,
}

/// A broken print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Its match number.
    pub match_number: u64,
}

type Words = [i64; 13];

impl Signal {
    /// A signal with this head and content.
    pub fn new(ts_event: Ts, seq: u64, symbol: u32, rule: u8, ordinal: u16, body: Body) -> Signal {
        let (kind, words) = body.to_words();
        Signal {
            ts_event,
            seq,
            words_front: words[..5].try_into().expect("five words"),
            symbol,
            kind,
            rule,
            ordinal,
            words_back: words[5..].try_into().expect("eight words"),
        }
    }

    /// What it says; `None` where the words are none that [`Signal::new`] writes.
    pub fn body(&self) -> Option<Body> {
        let mut words = [0; 13];
        words[..5].copy_from_slice(&self.words_front);
        words[5..].copy_from_slice(&self.words_back);
        Body::from_words(self.kind, &words)
    }

    /// The words of its content, for digests.
    pub fn words(&self) -> impl Iterator<Item = i64> + '_ {
        self.words_front.iter().chain(&self.words_back).copied()
    }

    /// The signal as the 128 bytes that the log keeps.
    #[inline]
    pub fn as_bytes(&self) -> &[u8; 128] {
        bytemuck::bytes_of(self)
            .try_into()
            .expect("a signal is 128 bytes")
    }

    /// The signal in these bytes, or `None` where they are not one.
    pub fn from_bytes(bytes: &[u8; 128]) -> Option<Signal> {
        bytemuck::checked::try_pod_read_unaligned(bytes).ok()
    }
}

impl Body {
    fn to_words(self) -> (SignalKind, Words) {
        let mut w = [0i64; 13];
        let kind = match self {
            Body::Window(x) => {
                let [high, low] = x.notional.to_words();
                w[..12].copy_from_slice(&[
                    x.start.0,
                    x.open.0,
                    x.high.0,
                    x.low.0,
                    x.close.0,
                    x.volume.0,
                    high,
                    low,
                    x.trade_count as i64,
                    x.late_count as i64,
                    x.revision as i64,
                    !x.is_final as i64,
                ]);
                SignalKind::Window
            }
            Body::Late(x) => {
                w[..4].copy_from_slice(&[x.price.0, x.qty.0, x.late_ns, x.reason as i64]);
                SignalKind::Late
            }
            Body::Spread(x) => {
                w[..5].copy_from_slice(&[
                    x.raised as i64,
                    float_word(x.bps),
                    x.bid.0,
                    x.ask.0,
                    x.since.0,
                ]);
                SignalKind::Spread
            }
            Body::Regime(x) => {
                w[..3].copy_from_slice(&[x.from as i64, x.to as i64, float_word(x.bps)]);
                SignalKind::Regime
            }
            Body::Momentum(x) => {
                w[..7].copy_from_slice(&[
                    x.side as i64,
                    float_word(x.move_bps),
                    float_word(x.imbalance),
                    x.quote.bid.0,
                    x.quote.ask.0,
                    x.quote.bid_qty.0,
                    x.quote.ask_qty.0,
                ]);
                SignalKind::Momentum
            }
            Body::Order(x) => {
                w[..5].copy_from_slice(&x.to_words());
                w[5] = x.tif.to_word();
                SignalKind::Order
            }
            Body::Reject(x) => {
                w[..5].copy_from_slice(&x.order.to_words());
                w[5..8].copy_from_slice(&[x.code as i64, x.limit, x.value]);
                w[8] = x.order.tif.to_word();
                SignalKind::Reject
            }
            Body::Sent(x) => {
                w[..4].copy_from_slice(&[
                    x.order_ordinal as i64,
                    x.outcome as i64,
                    x.msg_seq as i64,
                    x.ts_sent.0,
                ]);
                if let Some(over) = &x.over {
                    let Over {
                        whose,
                        code,
                        limit,
                        value,
                    } = *over;
                    w[4..8].copy_from_slice(&[whose as i64, code as i64, limit, value]);
                }
                SignalKind::Sent
            }
            Body::Digest(x) => {
                w[..3].copy_from_slice(&[x.value as i64, x.events as i64, x.minute as i64]);
                SignalKind::Digest
            }
            Body::Broken(x) => {
                w[0] = x.match_number as i64;
                SignalKind::Broken
            }
            Body::WindowFlow(x) => {
                let [high, low] = Notional(x.squares.unwrap_or(-1)).to_words();
                let sizes = x.sizes.unwrap_or([Qty(-1); 3]);
                w[..9].copy_from_slice(&[
                    x.start.0,
                    x.bought.map_or(-1, |qty| qty.0),
                    x.sold.0,
                    high,
                    low,
                    x.return_count as i64,
                    sizes[0].0,
                    sizes[1].0,
                    sizes[2].0,
                ]);
                SignalKind::WindowFlow
            }
            Body::WindowStanding(x) => {
                let sums = [x.price_ns, x.spread_ns, x.bid_qty_ns, x.ask_qty_ns];
                w[0] = x.start.0;
                for (sum, words) in sums.iter().zip(w[1..9].chunks_exact_mut(2)) {
                    words.copy_from_slice(&Notional(*sum).to_words());
                }
                w[9..].copy_from_slice(&[x.priced_ns, x.quoted_ns, x.ofi.0, x.moves as i64]);
                SignalKind::WindowStanding
            }
            Body::Adjust(x) => {
                w[..6].copy_from_slice(&[
                    x.start.0,
                    x.match_number as i64,
                    x.price.0,
                    x.qty.0,
                    x.reason as i64,
                    x.window_count as i64,
                ]);
                SignalKind::Adjust
            }
            Body::Features(x) => {
                w[0] = i64::from(x.first) | i64::from(x.count) << 32;
                for (word, value) in w[1..].iter_mut().zip(x.values) {
                    *word = float_word(value);
                }
                SignalKind::Features
            }
            Body::Report(x) => {
                let ordinal = i64::from(x.order_ordinal);
                // 0 for none.
                let reason = x.reason.map_or(0, |code| code as i64 + 1);
                w[..11].copy_from_slice(&[
                    x.order_seq as i64,
                    ordinal,
                    x.fate as i64,
                    reason,
                    x.price.0,
                    x.qty.0,
                    x.filled.0,
                    x.left.0,
                    x.ahead.0,
                    x.side as i64,
                    x.limit.0,
                ]);
                SignalKind::Report
            }
            Body::Join(x) => {
                w[0] = x.left_seq as i64;
                w[1..5].copy_from_slice(&x.left.to_words());
                let (met, of) = match x.right {
                    Met::Nothing => (0, 0),
                    Met::Record {
                        symbol,
                        ts,
                        seq,
                        value,
                    } => {
                        w[6..8].copy_from_slice(&[ts.0, seq as i64]);
                        w[8..12].copy_from_slice(&value.to_words());
                        (value.code(), symbol)
                    }
                    Met::Row(row) => (3, row),
                };
                w[5] = x.left.code() | met << 8 | i64::from(of) << 32;
                SignalKind::Join
            }
            Body::Best(x) => {
                (w[0], w[1]) = (x.bid.0, x.ask.0);
                w[2..4].copy_from_slice(&Notional(x.bid_qty).to_words());
                w[5..7].copy_from_slice(&Notional(x.ask_qty).to_words());
                let bytes = [x.bid_on, x.ask_on, x.counts, x.decimals, 0, 0, 0, 0];
                w[4] = i64::from_le_bytes(bytes);
                SignalKind::Best
            }
        };
        (kind, w)
    }

    fn from_words(kind: SignalKind, w: &Words) -> Option<Body> {
        Some(match kind {
            SignalKind::Window => Body::Window(Window {
                start: Ts(w[0]),
                open: Price(w[1]),
                high: Price(w[2]),
                low: Price(w[3]),
                close: Price(w[4]),
                volume: Qty(w[5]),
                notional: Notional::from_words([w[6], w[7]]),
                trade_count: w[8] as u32,
                late_count: w[9] as u32,
                revision: w[10] as u32,
                is_final: w[11] == 0,
            }),
            SignalKind::Late => Body::Late(Late {
                price: Price(w[0]),
                qty: Qty(w[1]),
                late_ns: w[2],
                reason: if w[3] == 0 {
                    LateReason::Closed
                } else {
                    LateReason::Future
                },
            }),
            SignalKind::Spread => Body::Spread(Spread {
                raised: w[0] != 0,
                bps: word_float(w[1]),
                bid: Price(w[2]),
                ask: Price(w[3]),
                since: Ts(w[4]),
            }),
            SignalKind::Regime => Body::Regime(Regime {
                from: Volatility::from_word(w[0]),
                to: Volatility::from_word(w[1]),
                bps: word_float(w[2]),
            }),
            SignalKind::Momentum => Body::Momentum(Momentum {
                side: side(w[0])?,
                move_bps: word_float(w[1]),
                imbalance: word_float(w[2]),
                quote: crate::Quote {
                    bid: Price(w[3]),
                    ask: Price(w[4]),
                    bid_qty: Qty(w[5]),
                    ask_qty: Qty(w[6]),
                },
            }),
            SignalKind::Order => Body::Order(Order::from_words(w, w[5])?),
            SignalKind::Reject => Body::Reject(Reject {
                order: Order::from_words(w, w[8])?,
                code: RejectCode::from_word(w[5])?,
                limit: w[6],
                value: w[7],
            }),
            SignalKind::Sent => Body::Sent(Sent {
                order_ordinal: w[0] as u16,
                outcome: match w[1] {
                    0 => Outcome::Sent,
                    1 => Outcome::Killed,
                    2 => Outcome::Failed,
                    3 => Outcome::Cancelled,
                    4 => Outcome::Refused,
                    _ => return None,
                },
                msg_seq: w[2] as u64,
                ts_sent: Ts(w[3]),
                over: match w[4] {
                    0 => None,
                    whose => Some(Over {
                        whose: Whose::from_word(whose)?,
                        code: RejectCode::from_word(w[5])?,
                        limit: w[6],
                        value: w[7],
                    }),
                },
            }),
            SignalKind::Digest => Body::Digest(Digest {
                value: w[0] as u64,
                events: w[1] as u64,
                minute: w[2] as u32,
            }),
            SignalKind::Broken => Body::Broken(Broken {
                match_number: w[0] as u64,
            }),
            SignalKind::WindowFlow => Body::WindowFlow(WindowFlow {
                start: Ts(w[0]),
                bought: (w[1] >= 0).then_some(Qty(w[1])),
                sold: Qty(w[2]),
                squares: Some(Notional::from_words([w[3], w[4]]).0).filter(|sum| *sum >= 0),
                return_count: w[5] as u32,
                sizes: (w[6] >= 0).then_some([Qty(w[6]), Qty(w[7]), Qty(w[8])]),
            }),
            SignalKind::WindowStanding => {
                let sum = |at: usize| Notional::from_words([w[at], w[at + 1]]).0;
                Body::WindowStanding(WindowStanding {
                    start: Ts(w[0]),
                    price_ns: sum(1),
                    spread_ns: sum(3),
                    bid_qty_ns: sum(5),
                    ask_qty_ns: sum(7),
                    priced_ns: w[9],
                    quoted_ns: w[10],
                    ofi: Qty(w[11]),
                    moves: w[12] as u32,
                })
            }
            SignalKind::Adjust => Body::Adjust(Adjust {
                start: Ts(w[0]),
                match_number: w[1] as u64,
                price: Price(w[2]),
                qty: Qty(w[3]),
                reason: match w[4] {
                    0 => AdjustReason::Closed,
                    1 => AdjustReason::Beyond,
                    2 => AdjustReason::Unknown,
                    _ => return None,
                },
                window_count: w[5] as u32,
            }),
            SignalKind::Features => {
                let mut values = [0.0; Features::VALUES_MAX];
                for (value, word) in values.iter_mut().zip(&w[1..]) {
                    *value = word_float(*word);
                }
                let (first, count) = (w[0] as u32, (w[0] >> 32) as u32);
                if count as usize > Features::VALUES_MAX {
                    return None;
                }
                Body::Features(Features {
                    first,
                    count,
                    values,
                })
            }
            SignalKind::Report => Body::Report(Report {
                order_seq: w[0] as u64,
                order_ordinal: w[1] as u16,
                fate: match w[2] {
                    0 => Fate::New,
                    1 => Fate::Fill,
                    2 => Fate::Cancelled,
                    3 => Fate::Expired,
                    4 => Fate::Rejected,
                    _ => return None,
                },
                side: side(w[9])?,
                reason: match w[3] {
                    0 => None,
                    code => Some(RejectCode::from_word(code.checked_sub(1)?)?),
                },
                price: Price(w[4]),
                qty: Qty(w[5]),
                filled: Qty(w[6]),
                left: Qty(w[7]),
                ahead: Qty(w[8]),
                limit: Price(w[10]),
            }),
            SignalKind::Best => {
                let [bid_on, ask_on, counts, decimals, ..] = w[4].to_le_bytes();
                Body::Best(Best {
                    bid: Price(w[0]),
                    ask: Price(w[1]),
                    bid_qty: Notional::from_words([w[2], w[3]]).0,
                    ask_qty: Notional::from_words([w[5], w[6]]).0,
                    bid_on,
                    ask_on,
                    counts,
                    decimals,
                })
            }
            SignalKind::Join => {
                let of = (w[5] >> 32) as u32;
                Body::Join(Join {
                    left_seq: w[0] as u64,
                    left: JoinValue::read(w[5] & 0xff, &w[1..5])?,
                    right: match w[5] >> 8 & 0xff {
                        0 => Met::Nothing,
                        3 => Met::Row(of),
                        code => Met::Record {
                            symbol: of,
                            ts: Ts(w[6]),
                            seq: w[7] as u64,
                            value: JoinValue::read(code, &w[8..12])?,
                        },
                    },
                })
            }
        })
    }
}

impl Order {
    fn to_words(self) -> [i64; 5] {
        [
            self.side as i64,
            self.price.0,
            self.qty.0,
            self.bid.0,
            self.ask.0,
        ]
    }

    fn from_words(w: &Words, tif: i64) -> Option<Order> {
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

fn side(word: i64) -> Option<Side> {
    match word {
        0 => Some(Side::None),
        1 => Some(Side::Buy),
        2 => Some(Side::Sell),
        _ => None,
    }
}

fn float_word(value: f64) -> i64 {
    value.to_bits() as i64
}

fn word_float(word: i64) -> f64 {
    f64::from_bits(word as u64)
}

/// Where analytics put what they say about one symbol at one event.
///
/// Bounded: one event can cause at most [`Outbox::SIGNALS_MAX`] signals of one symbol.
#[derive(Debug)]
pub struct Outbox {
    signals: Vec<Signal>,
    ts_event: Ts,
    seq: u64,
    symbol: u32,
    ordinal: u16,
}

impl Outbox {
    /// More than all windows, monitors and strategies together can say at one event.
    pub const SIGNALS_MAX: usize = 4096;
    /// Signals beyond have this ordinal, too: rows of joins at the end of the input. The one above is of
    /// digests.
    const ORDINAL_MAX: u16 = u16::MAX - 1;

    /// An empty outbox; allocates once.
    pub fn new() -> Outbox {
        Outbox {
            signals: Vec::with_capacity(Self::SIGNALS_MAX),
            ts_event: Ts(0),
            seq: 0,
            symbol: 0,
            ordinal: 0,
        }
    }

    /// From now on, signals are about this symbol, caused by the event with this `seq`.
    #[inline]
    pub fn at(&mut self, ts_event: Ts, seq: u64, symbol: u32) {
        debug_assert!(
            self.signals.is_empty(),
            "signals of the symbol before were not taken"
        );
        self.ts_event = ts_event;
        self.seq = seq;
        self.symbol = symbol;
        self.ordinal = 0;
    }

    /// Says `body` for the current event's time.
    pub fn say(&mut self, rule: u8, body: Body) {
        self.say_at(self.ts_event, rule, body);
    }

    /// Says `body` for another time, such as a window's end.
    pub fn say_at(&mut self, ts_event: Ts, rule: u8, body: Body) {
        assert!(
            self.signals.len() < Self::SIGNALS_MAX,
            "an event caused too many signals"
        );
        let signal = Signal::new(ts_event, self.seq, self.symbol, rule, self.ordinal, body);
        self.signals.push(signal);
        self.ordinal = (self.ordinal + 1).min(Self::ORDINAL_MAX);
    }

    /// Whom the signals are about.
    pub fn symbol(&self) -> u32 {
        self.symbol
    }

    /// The event time they hold for, unless they say another.
    pub fn ts_event(&self) -> Ts {
        self.ts_event
    }

    /// Whether nothing was said since the last [`Outbox::clear`].
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.signals.is_empty()
    }

    /// What was said, in order.
    #[inline]
    pub fn signals(&self) -> &[Signal] {
        &self.signals
    }

    /// Forgets what was said; the numbering goes on.
    #[inline]
    pub fn clear(&mut self) {
        self.signals.clear();
    }
}

impl Default for Outbox {
    fn default() -> Outbox {
        Outbox::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_body_survives_its_bytes() {
        let order = Order {
            side: Side::Sell,
            price: Price(5),
            qty: Qty(6),
            bid: Price(7),
            ask: Price::NONE,
            tif: Tif::Till(Ts(8)),
        };
        let bodies = [
            Body::Window(Window {
                start: Ts(1),
                open: Price(2),
                high: Price(3),
                low: Price(4),
                close: Price(5),
                volume: Qty(6),
                notional: Notional(-7 << 70),
                trade_count: 8,
                late_count: 9,
                revision: 10,
                is_final: false,
            }),
            Body::Late(Late {
                price: Price(1),
                qty: Qty(2),
                late_ns: 3,
                reason: LateReason::Future,
            }),
            Body::Spread(Spread {
                raised: true,
                bps: 2.5,
                bid: Price(1),
                ask: Price(2),
                since: Ts(3),
            }),
            Body::Regime(Regime {
                from: Volatility::Calm,
                to: Volatility::Stressed,
                bps: 1.25,
            }),
            Body::Momentum(Momentum {
                side: Side::Buy,
                move_bps: -0.5,
                imbalance: 0.75,
                quote: crate::Quote::EMPTY,
            }),
            Body::Order(order),
            Body::Reject(Reject {
                order,
                code: RejectCode::Collar,
                limit: -1,
                value: i64::MAX,
            }),
            Body::Sent(Sent {
                order_ordinal: 3,
                outcome: Outcome::Killed,
                msg_seq: 9,
                ts_sent: Ts(1),
                over: None,
            }),
            Body::Sent(Sent {
                order_ordinal: 3,
                outcome: Outcome::Refused,
                msg_seq: 0,
                ts_sent: Ts(1),
                over: Some(Over {
                    whose: Whose::Firm,
                    code: RejectCode::Messages,
                    limit: i64::MAX,
                    value: i64::MIN,
                }),
            }),
            Body::Digest(Digest {
                value: u64::MAX,
                events: 3,
                minute: 570,
            }),
            Body::Broken(Broken {
                match_number: u64::MAX,
            }),
            Body::Report(Report {
                order_seq: u64::MAX,
                order_ordinal: u16::MAX,
                fate: Fate::Rejected,
                side: Side::Sell,
                reason: Some(RejectCode::Queue),
                price: Price(1),
                qty: Qty(2),
                filled: Qty(3),
                left: Qty(4),
                ahead: Qty(5),
                limit: Price(6),
            }),
            Body::WindowFlow(WindowFlow {
                start: Ts(1),
                bought: Some(Qty(2)),
                sold: Qty(3),
                squares: Some(4 << 70),
                return_count: 5,
                sizes: Some([Qty(6), Qty(7), Qty(8)]),
            }),
            Body::WindowFlow(WindowFlow {
                start: Ts(1),
                bought: None,
                sold: Qty(3),
                squares: None,
                return_count: 5,
                sizes: None,
            }),
            Body::WindowStanding(WindowStanding {
                start: Ts(1),
                price_ns: 2 << 70,
                priced_ns: 3,
                spread_ns: -4 << 70,
                bid_qty_ns: 5 << 70,
                ask_qty_ns: 6 << 70,
                quoted_ns: 7,
                ofi: Qty(-8),
                moves: 9,
            }),
            Body::Adjust(Adjust {
                start: Ts(1),
                match_number: u64::MAX,
                price: Price::NONE,
                qty: Qty(2),
                reason: AdjustReason::Unknown,
                window_count: 3,
            }),
            Body::Features(Features {
                first: 12,
                count: 2,
                values: [0.5, -2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 9.0],
            }),
            Body::Best(Best {
                bid: Price(1),
                ask: Price::NONE,
                bid_qty: 2 << 70,
                ask_qty: -3,
                bid_on: 4,
                ask_on: 5,
                counts: 6,
                decimals: 18,
            }),
            Body::Join(Join {
                left_seq: u64::MAX,
                left: JoinValue::Trade(crate::Fill {
                    price: Price(1),
                    qty: Qty(2),
                    aggressor: Side::Sell,
                }),
                right: Met::Record {
                    symbol: u32::MAX,
                    ts: Ts(-1),
                    seq: 3,
                    value: JoinValue::Quote(crate::Quote {
                        bid: Price(4),
                        ask: Price::NONE,
                        bid_qty: Qty(5),
                        ask_qty: Qty(6),
                    }),
                },
            }),
            Body::Join(Join {
                left_seq: 7,
                left: JoinValue::Quote(crate::Quote::EMPTY),
                right: Met::Row(u32::MAX),
            }),
            Body::Join(Join {
                left_seq: 7,
                left: JoinValue::Quote(crate::Quote::EMPTY),
                right: Met::Nothing,
            }),
        ];
        for body in bodies {
            let signal = Signal::new(Ts(10), 11, 12, 13, 14, body);
            let back = Signal::from_bytes(signal.as_bytes()).expect("its own bytes");
            assert_eq!(back, signal);
            assert_eq!(back.body(), Some(body));
        }
    }

    #[test]
    fn an_event_is_not_a_signal() {
        assert!(Signal::from_bytes(&[0; 128]).is_none());
    }
}
