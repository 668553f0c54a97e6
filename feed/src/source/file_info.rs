//! What a file is, and what was met in it.

use std::ops::AddAssign;
use std::path::PathBuf;

use bus::Ts;

use super::input::Compression;
use super::record::Interface;

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
