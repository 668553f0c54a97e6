//! What a file is, and what was met in it.

use std::ops::AddAssign;
use std::path::PathBuf;

use bus::Ts;

use super::input::Compression;
use super::record::Interface;
use crate::protocol::Wire;

/// What kind of file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Classic pcap, of either byte order and unit of time.
    Pcap,
    /// pcapng.
    Pcapng,
    /// ITCH messages behind their lengths.
    Itch,
    /// A LOBSTER message file.
    Lobster,
    /// Databento Binary Encoding.
    Dbn,
    /// Binance's messages.
    Binance,
    /// CSV of tardis.dev.
    Tardis,
    /// Coinbase's messages.
    Coinbase,
    /// Bitstamp's orders or trades.
    Bitstamp,
    /// What a run did not understand.
    Quarantine,
    /// What a SoupBinTCP server sent.
    SoupBinTcp,
}

impl Format {
    /// The name that people know it by.
    pub const fn name(self) -> &'static str {
        match self {
            Format::Pcap => "pcap",
            Format::Pcapng => "pcapng",
            Format::Itch => "ITCH file",
            Format::Lobster => "LOBSTER messages",
            Format::Dbn => "DBN",
            Format::Binance => "Binance messages",
            Format::Tardis => "tardis.dev CSV",
            Format::Coinbase => "Coinbase messages",
            Format::Bitstamp => "Bitstamp CSV",
            Format::Quarantine => "quarantine",
            Format::SoupBinTcp => "SoupBinTCP session",
        }
    }

    /// The same in a sentence.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Format::Pcap => "a pcap of packets",
            Format::Pcapng => "a pcapng of packets",
            Format::Itch => "length-prefixed ITCH messages",
            Format::Lobster => "LOBSTER messages (CSV)",
            Format::Dbn => "a DBN file",
            Format::Binance => "Binance messages (JSON)",
            Format::Tardis => "tardis.dev CSV",
            Format::Coinbase => "Coinbase messages (JSON)",
            Format::Bitstamp => "Bitstamp CSV",
            Format::Quarantine => "a quarantine",
            Format::SoupBinTcp => "a SoupBinTCP session",
        }
    }

    /// Whether messages of a protocol can come in such a file; a quarantine says of itself of which
    /// it is.
    pub(super) fn may_be(self, wire: Wire) -> bool {
        match self {
            Format::Pcap | Format::Pcapng => wire.framing(0).is_some(),
            Format::Itch | Format::SoupBinTcp => wire == Wire::Itch,
            Format::Lobster => wire == Wire::Lobster,
            Format::Dbn => wire == Wire::Dbn,
            Format::Binance => wire == Wire::Binance,
            Format::Tardis => wire == Wire::Tardis,
            Format::Coinbase => wire == Wire::Coinbase,
            Format::Bitstamp => wire == Wire::Bitstamp,
            Format::Quarantine => true,
        }
    }

    /// The files in which a protocol's messages come, for people.
    pub(super) const fn titles(wire: Wire) -> &'static str {
        match wire {
            Wire::Itch => "a pcap, a pcapng, a SoupBinTCP session or length-prefixed messages",
            Wire::Iex | Wire::Mdp3 | Wire::Pitch => "a pcap or pcapng of its packets",
            Wire::Lobster => Format::Lobster.title(),
            Wire::Dbn => Format::Dbn.title(),
            Wire::Binance => Format::Binance.title(),
            Wire::Tardis => Format::Tardis.title(),
            Wire::Coinbase => Format::Coinbase.title(),
            Wire::Bitstamp => Format::Bitstamp.title(),
        }
    }
}

/// What one file is and what was met in it so far.
#[derive(Clone, Debug)]
pub struct FileInfo {
    /// As it was named to [`Capture::open`](super::Capture::open).
    pub path: PathBuf,
    /// What kind of file it is.
    pub format: Format,
    /// What it is wrapped in.
    pub compression: Compression,
    /// Where its packets were captured; none for ITCH files, and those of a pcapng appear as
    /// they are met.
    pub interfaces: Vec<Interface>,
    /// Where its data are from, where the file itself says so: the dataset of DBN, `GLBX.MDP3`.
    pub dataset: Option<String>,
    /// When its data begin, where the file itself says so.
    pub start: Option<Ts>,
    /// What was met.
    pub counts: Counts,
}

/// How much was met, of what kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records of the file; for an ITCH file, pieces of it.
    pub records: u64,
    /// Bytes in them.
    pub record_bytes: u64,
    /// Packets handed out.
    pub packets: u64,
    /// Payload bytes in them.
    pub payload_bytes: u64,
    /// Packets handed out whose payload the capture had cut.
    pub snaplen_cut: u64,
    /// Records of other protocols than UDP.
    pub not_udp: u64,
    /// Datagrams to destinations that were not asked for.
    pub filtered: u64,
    /// Datagrams to destinations for which no line was left.
    pub beyond_lines: u64,
    /// Pieces of fragmented IP packets.
    pub fragments: u64,
    /// Frames that end inside a header.
    pub cut: u64,
    /// Frames whose headers contradict themselves.
    pub bad: u64,
    /// Frames of a link type that is not known.
    pub unknown_link: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.records += other.records;
        self.record_bytes += other.record_bytes;
        self.packets += other.packets;
        self.payload_bytes += other.payload_bytes;
        self.snaplen_cut += other.snaplen_cut;
        self.not_udp += other.not_udp;
        self.filtered += other.filtered;
        self.beyond_lines += other.beyond_lines;
        self.fragments += other.fragments;
        self.cut += other.cut;
        self.bad += other.bad;
        self.unknown_link += other.unknown_link;
    }
}
