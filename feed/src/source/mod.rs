//! Where packets come from: captures on disk, or the network.

use std::fmt;
use std::path::PathBuf;

use bus::Ts;

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

/// How messages lie in a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// A MoldUDP64 downstream packet.
    MoldUdp64,
    /// Messages one after another, each behind its length in two big-endian bytes; whole messages
    /// only. The bytes of an ITCH file come in such pieces.
    LengthPrefixed,
}

/// Where in the input something stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Which input file, from 0; 0 for the network.
    pub file: u16,
    /// Which packet of it, from 1.
    pub packet: u64,
    /// Where the packet's record starts, in bytes from the (decompressed) file's start.
    pub offset_bytes: u64,
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
}

/// Packets in, one after another.
pub trait Source {
    /// The next packet, or what there is instead. An `Err` is final.
    fn poll(&mut self) -> Result<Polled<'_>, SourceError>;
    /// The lines met so far; grows, never reorders.
    fn lines(&self) -> &[Line];
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
