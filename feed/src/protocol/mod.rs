//! Messages to events, one file per exchange protocol.
//!
//! A protocol knows its bytes and nothing else: no packets, no sequence numbers, no rings.

use std::fmt;

use bus::fixed::Scaled;
use bus::{Anomaly, Event, Price, Qty, Side, Ts};

use crate::moldudp64::SessionId;
use crate::source::Framing;

pub mod binance;
pub mod bitstamp;
pub mod coinbase;
pub mod dbn;
mod depth;
pub mod iex;
pub mod itch;
mod keyed;
pub mod lobster;
pub mod mdp3;
mod mdp3_table;
pub mod pitch;
mod plain;
pub(crate) mod said;
mod shown;
mod symbols;
pub mod tardis;

pub use binance::Binance;
pub use bitstamp::Bitstamp;
pub use coinbase::Coinbase;
pub use dbn::Dbn;
pub use iex::Iex;
pub use itch::Itch;
pub use lobster::Lobster;
pub use mdp3::Mdp3;
pub use pitch::Pitch;
pub use tardis::Tardis;

/// The protocols, for whoever has to choose one: [`Capture::wire`](crate::source::Capture::wire)
/// does by how the input begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Nasdaq TotalView-ITCH 5.0.
    Itch,
    /// IEX DEEP and TOPS.
    Iex,
    /// LOBSTER message files.
    Lobster,
    /// Databento Binary Encoding.
    Dbn,
    /// CME MDP 3.0.
    Mdp3,
    /// Binance's market streams.
    Binance,
    /// Cboe PITCH.
    Pitch,
    /// The CSV files of tardis.dev.
    Tardis,
    /// Coinbase Exchange's websocket feed.
    Coinbase,
    /// Bitstamp's live orders and trades.
    Bitstamp,
}

impl Wire {
    /// Whether its venues trade around the clock, by UTC.
    pub const fn is_crypto(self) -> bool {
        match self {
            Wire::Binance | Wire::Tardis | Wire::Coinbase | Wire::Bitstamp => true,
            Wire::Itch | Wire::Iex | Wire::Lobster | Wire::Dbn | Wire::Mdp3 | Wire::Pitch => false,
        }
    }

    /// All there are.
    pub const ALL: [Wire; 10] = [
        Wire::Itch,
        Wire::Iex,
        Wire::Lobster,
        Wire::Dbn,
        Wire::Mdp3,
        Wire::Binance,
        Wire::Pitch,
        Wire::Tardis,
        Wire::Coinbase,
        Wire::Bitstamp,
    ];

    /// The name by which it is chosen.
    pub const fn name(self) -> &'static str {
        match self {
            Wire::Itch => "itch",
            Wire::Iex => "iex",
            Wire::Lobster => "lobster",
            Wire::Dbn => "dbn",
            Wire::Mdp3 => "mdp3",
            Wire::Binance => "binance",
            Wire::Pitch => "pitch",
            Wire::Tardis => "tardis",
            Wire::Coinbase => "coinbase",
            Wire::Bitstamp => "bitstamp",
        }
    }

    /// The protocol of this name.
    pub fn named(name: &str) -> Option<Wire> {
        Wire::ALL.into_iter().find(|wire| wire.name() == name)
    }

    /// How its datagrams to this port are laid out; `None` for what comes in files only.
    pub const fn framing(self, port: u16) -> Option<Framing> {
        match self {
            Wire::Itch => Some(Framing::MoldUdp64),
            Wire::Iex => Some(Framing::IexTp),
            Wire::Mdp3 => Some(Framing::Mdp3(port)),
            Wire::Pitch => Some(Framing::Pitch(port)),
            Wire::Lobster
            | Wire::Dbn
            | Wire::Binance
            | Wire::Tardis
            | Wire::Coinbase
            | Wire::Bitstamp => None,
        }
    }

    /// What people call it.
    pub const fn title(self) -> &'static str {
        match self {
            Wire::Itch => "ITCH",
            Wire::Iex => "IEX",
            Wire::Lobster => "LOBSTER",
            Wire::Dbn => "DBN",
            Wire::Mdp3 => "MDP 3.0",
            Wire::Binance => "Binance",
            Wire::Pitch => "PITCH",
            Wire::Tardis => "tardis.dev",
            Wire::Coinbase => "Coinbase",
            Wire::Bitstamp => "Bitstamp",
        }
    }
}

/// How many bytes [`Protocol::decode_ahead`] is shown: eight more than 64, so that eight bytes can
/// be loaded from any place below 64.
pub const AHEAD_BYTES: usize = 72;

/// How one exchange writes its messages.
///
/// Where a message is one change of one order and names its symbol by a number, `decode` says all
/// of it. Other feeds name symbols by text, tell levels instead of orders, or several changes in one
/// message: there `decode` says what the message alone can, and [`Protocol::translate`], which
/// remembers, makes the events of it.
pub trait Protocol {
    /// How its datagrams are laid out; those of another layout are none of ours.
    const FRAMING: Framing = Framing::MoldUdp64;

    /// Whether numbers count packets: what the arbiter has as one message is all messages of a
    /// packet, each behind its length.
    const NUMBERS_PACKETS: bool = false;

    /// Whether an accepted message goes through [`Protocol::translate`].
    const IS_TRANSLATED: bool = false;

    /// Writes the event in one message to where it will stay; `message` is all of its bytes.
    /// `seq` and `ts_recv` become 0: they are not the message's to say. After a fault, `event`
    /// is any event.
    ///
    /// Not returned by value, as an event is built of small words and copied in large ones, which
    /// a processor does slowly right after.
    fn decode(&self, message: &[u8], event: &mut Event) -> Result<Notes, Fault>;

    /// As `decode`, for the message of `len_bytes` bytes that `ahead` begins with. What follows it
    /// there changes nothing: it is only there so that no load needs to ask where the message
    /// ends.
    /// Not asked where [`Protocol::IS_TRANSLATED`].
    fn decode_ahead(
        &self,
        ahead: &[u8; AHEAD_BYTES],
        len_bytes: usize,
        event: &mut Event,
    ) -> Result<Notes, Fault> {
        self.decode(ahead.get(..len_bytes).unwrap_or(ahead), event)
    }

    /// The number of the symbol a message is about; 0 where it says none, or is too short to.
    fn symbol(&self, _message: &[u8]) -> u32 {
        0
    }

    /// The type under which a message that is refused is counted; `None` where it has none.
    fn code(&self, message: &[u8]) -> Option<u8> {
        message.first().copied()
    }

    /// When a message says it happened; `None` if it is too short to say. Nothing else of it is
    /// looked at.
    fn ts_event(&self, message: &[u8]) -> Option<Ts>;

    /// The name of the symbol a message is about, as in [`bus::Kind::Symbol`]; `None` where its
    /// type does not carry one.
    fn name(&self, _message: &[u8]) -> Option<u64> {
        None
    }

    /// Adds the events of a message that `decode` made `event` of, and whose time was accepted.
    /// Each message that counts comes once, in order. A symbol is named by a
    /// [`bus::Kind::Symbol`] before its first other event; numbers follow the order in which names
    /// are met.
    fn translate(
        &mut self,
        _message: &[u8],
        _event: &Event,
        _out: &mut Vec<Event>,
    ) -> Result<(), Fault> {
        Ok(())
    }

    /// What a message says of numbers and whole books, as far as it alone and those before it can tell. To be
    /// asked right before [`Protocol::translate`] takes the same message, by whoever holds books against
    /// the feed's own snapshots; nothing else asks.
    fn told(&self, _message: &[u8]) -> Told {
        Told::Nothing
    }

    /// Messages of this session are lost. Where the feed itself shows each symbol's book as a whole again,
    /// adds that those lack something which may, and answers true; else nobody knows, and all may.
    fn lost(&mut self, _session: SessionId, _out: &mut Vec<Event>) -> bool {
        false
    }
}

/// What a message says for whoever holds books against the feed's own snapshots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Nothing.
    Nothing,
    /// Books of a group, whose changes are numbered together, come from before `first` to `last`.
    Changes {
        /// Which group.
        group: u32,
        /// The number of the first change.
        first: u64,
        /// The number of the last one.
        last: u64,
    },
    /// A book as it is as a whole, or a part of that.
    Snapshot(Snapshot),
}

/// A symbol's book as its feed says that it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The symbol's number; 0 where it was not met before.
    pub symbol: u32,
    /// With whose changes its own are numbered.
    pub group: u32,
    /// The number of the last change that it knows of.
    pub number: u64,
    /// What the book is of which it says so.
    pub basis: Basis,
    /// Which part this is, from 1, and of how many.
    pub part: u32,
    /// How many parts there are.
    pub parts: u32,
    /// Side, price and quantity of each level, best first, or of each order; quantities in the symbol's
    /// units. What no book can hold is left out.
    pub rows: Vec<(Side, Price, Qty)>,
    /// Whether the rows are orders.
    pub are_orders: bool,
    /// How many levels of a side are shown at most; all that are not worse than the worst where that is
    /// not said.
    pub levels_max: Option<usize>,
}

/// What a book was made of when a snapshot of it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// It is whole, and made of the changes up to the snapshot's number, if they came already, and on.
    Whole,
    /// It is not whole: this snapshot begins it, if it can.
    Begins,
    /// It lacks changes that this snapshot knows of, and takes over from it.
    Ahead,
    /// Nobody knows: neither changes nor snapshots have numbers.
    Unnumbered,
}

/// Bits that ask the reader for more than passing the event on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notes(pub u8);

impl Notes {
    /// The message carries its symbol's name. The lowest bit, so that a symbol's state, which
    /// has it once the name is known, masks it away.
    pub const NAMES: u8 = 1;
    /// The message defines a symbol.
    pub const DEFINES: u8 = 2;
    /// The event goes to every shard.
    pub const FOR_ALL: u8 = 4;
}

/// Why a message is refused. A refused message is counted and skipped; the next one is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A message of no bytes.
    Empty,
    /// A type that the protocol does not have.
    UnknownType {
        /// The type.
        code: u8,
        /// The length that the message was sent with.
        len_bytes: u16,
    },
    /// A length that is not the type's.
    Length {
        /// The type.
        code: u8,
        /// The length that the message was sent with.
        got: u16,
        /// The length that the type has.
        want: u16,
    },
    /// A field with a value that the protocol does not allow.
    Field {
        /// The type.
        code: u8,
        /// Where in the message the field starts.
        offset_bytes: u8,
        /// The field's first byte.
        got: u8,
    },
    /// More than can be remembered: of symbols, or of orders and levels.
    Full {
        /// Of what.
        what: &'static str,
        /// How many there can be.
        max: u32,
    },
    /// Changes of a book that do not follow on those before.
    Missed {
        /// The number of the last change that is known.
        last: u64,
        /// The number of the change that these follow on.
        next: u64,
    },
    /// A quantity that a book cannot hold.
    TooLarge {
        /// The quantity, in units of 10 to the power of minus `decimals`.
        qty: i64,
        /// The symbol's decimals.
        decimals: u8,
        /// The largest that it can hold, in the same units.
        max: i64,
    },
}

impl Fault {
    /// What it is counted as.
    pub const fn anomaly(self) -> Anomaly {
        match self {
            Fault::Empty | Fault::Length { .. } => Anomaly::BadLength,
            Fault::UnknownType { .. } => Anomaly::UnknownType,
            Fault::Field { .. } => Anomaly::BadField,
            Fault::Full { .. } => Anomaly::Full,
            Fault::Missed { .. } => Anomaly::Gap,
            Fault::TooLarge { .. } => Anomaly::BadQty,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Fault::Empty => write!(f, "message of no bytes"),
            Fault::UnknownType { code, len_bytes } => {
                write!(f, "unknown type {} of {len_bytes} bytes", Letter(code))
            }
            Fault::Length { code, got, want } => {
                write!(
                    f,
                    "message length {got}, want {want} for type {}",
                    Letter(code)
                )
            }
            Fault::Full { what, max } => write!(f, "more {what} than {max}"),
            Fault::Missed { last, next } => write!(
                f,
                "changes after {next}, want those after {last}: the book is stale until a snapshot"
            ),
            Fault::TooLarge { qty, decimals, max } => {
                let (qty, max) = (Scaled(qty, decimals), Scaled(max, decimals));
                write!(
                    f,
                    "quantity {qty}, want at most {max}: the book lacks it, and is stale"
                )
            }
            Fault::Field {
                code,
                offset_bytes,
                got,
            } => {
                let got = Letter(got);
                write!(
                    f,
                    "type {}, byte {offset_bytes}: value {got} is not allowed",
                    Letter(code)
                )
            }
        }
    }
}

/// A byte that should be a letter, for people.
struct Letter(u8);

impl fmt::Display for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_ascii_graphic() {
            write!(f, "'{}'", self.0 as char)
        } else {
            write!(f, "0x{:02x}", self.0)
        }
    }
}
