//! Where packets come from: captures on disk, or the network.
//!
//! Read in this order: this file (what a source is), `capture` (files, merged on time), `multicast`
//! (the network), `soup` and `dial` under it (a session over TCP), `paced` (a capture at the pace at
//! which it was taken, or at a rate), `sim` (for tests).
//! Under `capture`: `input` (bytes, decompressed), `record` (what the formats share), one module
//! per format, `lines` (where packets were sent to), `file_info` (what was met), `together` (what may
//! be read as one input).

use std::fmt;
use std::path::PathBuf;

use bus::Ts;

use crate::moldudp64::HEADER_BYTES;
use crate::retransmit::{AskCounts, Asked, Missing};

pub mod capture;
mod dbn_file;
mod dial;
mod file_info;
mod input;
mod itch_file;
mod lines;
mod lobster_file;
pub mod multicast;
mod network;
pub mod paced;
mod pcap;
mod pcapng;
mod quarantine_file;
mod record;
pub mod sim;
pub mod soup;
mod soup_file;
mod text;
mod text_file;
mod together;

pub use capture::{Capture, CaptureOptions};
pub use multicast::{Multicast, MulticastLine, MulticastOptions};
pub use network::Network;
pub use paced::{Evenly, Pace, Paced, Speed};
pub use sim::{SimSource, SimStep};
pub use soup::{DialRule, Soup};
pub use text::TextFile;
pub use together::{is_same_content, told_again};

/// One payload, with where and when it was met. Borrows from the source until the next poll.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// When it was captured or received; for files without times, `None`.
    pub ts_recv: Option<Ts>,
    /// Which line brought it: an index into [`Source::lines`].
    pub line: u8,
    /// How messages lie in the payload.
    pub framing: Framing,
    /// What the packet carries, after the UDP header.
    pub payload: &'a [u8],
    /// How many payload bytes the wire had; more than `payload` holds when the capture cut it.
    pub wire_bytes: u32,
    /// Where it stands.
    pub place: Place,
}

impl Packet<'_> {
    /// The same packet as a MoldUDP64 packet with this payload, which lacks as much as it did.
    pub(crate) fn with<'b>(&self, payload: &'b [u8]) -> Packet<'b> {
        let cut_bytes = self.wire_bytes - self.wire_bytes.min(self.payload.len() as u32);
        Packet {
            payload,
            wire_bytes: payload.len() as u32 + cut_bytes,
            framing: Framing::MoldUdp64,
            ts_recv: self.ts_recv,
            line: self.line,
            place: self.place,
        }
    }

    /// The time that orders and paces packets: when it was captured or, in files without such
    /// times, when its first message happened, in nanoseconds since midnight.
    #[inline]
    pub fn ts_due(&self) -> Option<Ts> {
        match (self.ts_recv, self.framing) {
            (Some(ts), _) => Some(ts),
            (None, Framing::LengthPrefixed) => itch_time(self.payload),
            (None, Framing::Records(due)) => due,
            (None, Framing::MoldUdp64) => itch_time(self.payload.get(HEADER_BYTES..)?),
            (None, Framing::IexTp | Framing::Mdp3(_) | Framing::Pitch(_)) => None,
        }
    }
}

/// The time of the first of some length-prefixed ITCH messages, in nanoseconds since midnight:
/// six bytes behind length(2), type(1), locate(2) and tracking number(2).
#[inline]
fn itch_time(messages: &[u8]) -> Option<Ts> {
    let at = messages.get(7..13)?;
    let ns = at.iter().fold(0, |ns, byte| ns << 8 | i64::from(*byte));
    Some(Ts(ns))
}

/// How messages lie in a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// A MoldUDP64 downstream packet.
    MoldUdp64,
    /// A segment of IEX-TP.
    IexTp,
    /// A packet of CME MDP 3.0, with the port it was sent to.
    Mdp3(u16),
    /// A sequenced unit of Cboe PITCH, with the port it was sent to.
    Pitch(u16),
    /// Messages one after another, each behind its length in two big-endian bytes; whole messages
    /// only. The bytes of an ITCH file come in such pieces.
    LengthPrefixed,
    /// The same for what other files hold, which the source frames; with the time that orders and
    /// paces them, if they have one.
    Records(Option<Ts>),
}

impl Framing {
    /// Whether both are of one kind, whatever else they say.
    #[inline]
    pub fn is_like(self, other: Framing) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }
}

/// Where in the input something stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Which input file, from 0; 0 for the network.
    pub file: u16,
    /// Which packet of it, from 1. In a file of messages each of them counts as one.
    pub packet: u64,
    /// Where the packet's record starts, in bytes from the (decompressed) file's start.
    pub offset_bytes: u64,
    /// For a piece of a file of messages: by how many bytes a message is longer there than in the payload,
    /// both with all that is in front of it. Then this is the place of the first of them, and the others
    /// have their own (`Place::of_message`). `None` where messages stand where their packet does.
    pub message_extra_bytes: Option<i16>,
}

impl Place {
    /// Where the `index`-th message stands, from 1, which begins so many bytes behind the first one in the
    /// payload; and which message of the packet it is there. So it does not matter of which length pieces
    /// are.
    pub(crate) fn of_message(self, index: u64, behind_bytes: usize) -> (Place, u64) {
        let Some(extra_bytes) = self.message_extra_bytes else {
            return (self, index);
        };
        let before = index.saturating_sub(1);
        let extra_bytes = i64::from(extra_bytes).wrapping_mul(before as i64);
        let place = Place {
            packet: self.packet + before,
            offset_bytes: (self.offset_bytes + behind_bytes as u64)
                .saturating_add_signed(extra_bytes),
            ..self
        };
        (place, 1)
    }
}

/// A line: one multicast group and port, or one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// For people: `239.192.1.1:26400`, or a file's name.
    pub name: String,
}

/// What a poll found.
#[derive(Debug)]
pub enum Polled<'a> {
    /// A packet.
    Packet(Packet<'a>),
    /// Nothing now; ask again.
    Empty,
    /// Something wrong that can be carried on from (a cut record at the end, a link type that
    /// is not known): counted by the reader, and an error under `--strict`.
    Trouble(Trouble),
    /// Nothing any more.
    End,
}

/// Something wrong at a place of the input, in one line: what was found, what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Where.
    pub place: Place,
    /// For people, without the place: `record of 4294967295 bytes, want at most 262144`.
    pub what: String,
    /// The bytes that were not understood, where there are some.
    pub raw: Vec<u8>,
    /// Whether they are a line of a text.
    pub is_line: bool,
    /// Whether what lies behind it in its file is not read.
    pub is_lost: bool,
}

impl Trouble {
    /// Something wrong, without the bytes that are.
    pub fn new(place: Place, what: String) -> Trouble {
        Trouble {
            place,
            what,
            raw: Vec::new(),
            is_line: false,
            is_lost: false,
        }
    }
}

/// Packets in, one after another.
pub trait Source {
    /// The next packet, or what there is instead. An `Err` is final.
    fn poll(&mut self) -> Result<Polled<'_>, SourceError>;
    /// The lines met so far; grows, never reorders.
    fn lines(&self) -> &[Line];
    /// The [`Packet::ts_due`] of what the next poll will bring, where that is known to be a
    /// packet with a time. Asking takes nothing out of the source.
    fn peek_ts(&mut self) -> Option<Ts> {
        None
    }
    /// Says what is missing, or that nothing is, and does not wait: what comes of it are packets of
    /// one more line. To be called often while something is missing. With `only_answers` the next
    /// polls bring nothing else: there is no room for what cannot be delivered before.
    fn recover(&mut self, _missing: Option<&Missing>, _only_answers: bool) -> Asked {
        Asked::GivenUp
    }
    /// The time on the clock that stamps arrivals, where that goes on without packets: after
    /// [`Polled::Empty`] none is left that arrived before. `None` where only packets move the time.
    fn now(&self) -> Option<Ts> {
        None
    }
    /// How many packets of each line the system dropped because we did not keep up; empty where it
    /// cannot.
    fn dropped(&self) -> Vec<u64> {
        Vec::new()
    }
    /// What was asked for, where missing messages are asked for at all.
    fn asked(&self) -> Option<AskCounts> {
        None
    }
}

/// An input that cannot be read at all, or not any further.
#[derive(Debug)]
pub struct SourceError {
    /// Which file, or which socket.
    pub path: PathBuf,
    /// At which byte of it, where that is known.
    pub offset_bytes: Option<u64>,
    /// What was found and what was expected.
    pub what: String,
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(offset) = self.offset_bytes {
            write!(f, ", byte {offset}")?;
        }
        write!(f, ": {}", self.what)
    }
}

impl std::error::Error for SourceError {}
