//! Captures and ITCH files on disk, several at once, as one stream of packets.
//!
//! Packets come in the order of their capture time; at the same time, in the order in which the
//! files were named; within a file, always in the file's own order, so that one record with a
//! wrong time moves nothing else. An ITCH file has no capture times: there the time of day of a
//! piece's first message takes their place, which orders several such files among themselves.
//!
//! A capture never says [`Polled::Empty`]: the same files give the same polls.

use std::fmt;
use std::net::IpAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bus::Ts;

use super::dbn_file::DbnFile;
use super::input::Input;
use super::itch_file::{self, ItchFile};
use super::lines::Lines;
use super::lobster_file::{self, LobsterFile};
use super::pcap::Pcap;
use super::pcapng::Pcapng;
use super::quarantine_file::QuarantineFile;
use super::record::{Record, Step};
use super::soup_file::{self, SoupFile};
use super::text_file::{self, TextFile};
use super::{Framing, Line, Packet, Place, Polled, Source, SourceError, Trouble};
use crate::link::{self, NotUdp};
use crate::protocol::Wire;
use crate::protocol::said::Instruments;
use crate::quarantine::RAW_BYTES_MAX;
use crate::{iextp, mdp3, pitch};

pub use super::file_info::{Counts, FileInfo, Format};
pub use super::input::Compression;
pub use super::record::{Interface, Resolution};

/// What to take from captures, and how.
#[derive(Clone, Debug)]
pub struct CaptureOptions {
    /// Take only what was sent to these ports; `None` for all.
    pub ports: Option<Vec<u16>>,
    /// Take only what was sent to these addresses; `None` for all.
    pub groups: Option<Vec<IpAddr>>,
    /// Decompress on a thread of its own, one per compressed file. The threads run where the
    /// thread that opens the capture may run: open it before pinning.
    pub decompress_ahead: bool,
    /// How many messages of a file make a packet at most: many for speed; 1 to have each
    /// paced by its own time.
    pub itch_messages_max: usize,
}

impl Default for CaptureOptions {
    /// Everything, decompressed ahead where there is more than one processor.
    fn default() -> CaptureOptions {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        CaptureOptions {
            ports: None,
            groups: None,
            decompress_ahead: cpus > 1,
            itch_messages_max: 64,
        }
    }
}

/// Packets from files.
pub struct Capture {
    files: Vec<OpenFile>,
    infos: Vec<FileInfo>,
    lines: Lines,
    /// The file whose next packet is to be looked for: the one that the last packet came from.
    stale: Option<usize>,
    /// Files whose first packet is still to be looked for.
    unread: Range<usize>,
    /// What the next poll must tell before anything else.
    pending: Option<Box<Stop>>,
    /// Those of the crypto venues' files, together and of each.
    instruments: Arc<Instruments>,
    own_instruments: Vec<(usize, Instruments)>,
}

enum Stop {
    Trouble(Trouble),
    Failed(SourceError),
}

struct OpenFile {
    input: Input,
    reader: Reader,
    /// The packet to come, if `is_ready`. Its bytes stay in `input` until the file is stale.
    head: Head,
    is_ready: bool,
    /// Where the packet stands in the order: its time, or that of the last one that had one.
    key: Ts,
    /// A file that is no capture is a line of its own.
    own_line: u8,
    /// The packet to come, where its bytes are not as they stand in the file.
    framed: Vec<u8>,
    /// How many packets there were, or messages in a file of them.
    number: u64,
}

enum Reader {
    Pcap(Pcap),
    Pcapng(Pcapng),
    Itch(ItchFile),
    Lobster(LobsterFile),
    Dbn(DbnFile),
    Text(Box<TextFile>),
    Quarantine(Box<QuarantineFile>),
    Soup(SoupFile),
}

pub(super) struct Head {
    pub(super) ts: Option<Ts>,
    /// When it was captured, where the file says so.
    pub(super) ts_recv: Option<Ts>,
    /// Where the payload stands in `input.bytes()`.
    pub(super) at: usize,
    pub(super) len: usize,
    pub(super) wire_bytes: u32,
    pub(super) line: u8,
    pub(super) framing: Framing,
    pub(super) place: Place,
}

impl Head {
    const NONE: Head = Head {
        ts: None,
        ts_recv: None,
        at: 0,
        len: 0,
        wire_bytes: 0,
        line: 0,
        framing: Framing::MoldUdp64,
        place: Place {
            file: 0,
            packet: 0,
            offset_bytes: 0,
            message_extra_bytes: None,
        },
    };
}

impl Stop {
    #[cold]
    fn into_polled(self) -> Result<Polled<'static>, SourceError> {
        match self {
            Stop::Trouble(trouble) => Ok(Polled::Trouble(trouble)),
            Stop::Failed(error) => Err(error),
        }
    }
}

impl Capture {
    /// Opens all files and looks at how each starts; one that cannot be read at all is refused.
    pub fn open(paths: &[PathBuf], options: CaptureOptions) -> Result<Capture, SourceError> {
        let files_max = usize::from(u16::MAX);
        if paths.len() > files_max {
            return Err(SourceError {
                path: paths[files_max].clone(),
                offset_bytes: None,
                what: format!("one file too many, want at most {files_max}"),
            });
        }
        let mut capture = Capture {
            files: Vec::with_capacity(paths.len()),
            infos: Vec::with_capacity(paths.len()),
            lines: Lines::new(options.ports, options.groups),
            stale: None,
            unread: 0..paths.len(),
            pending: None,
            instruments: Arc::default(),
            own_instruments: Vec::new(),
        };
        for path in paths {
            let mut input = Input::open(path, options.decompress_ahead)?;
            let mut interfaces = Vec::new();
            let reader = recognise(path, &mut input, &mut interfaces, options.itch_messages_max)
                .map_err(|(offset, what)| SourceError {
                    path: path.clone(),
                    offset_bytes: Some(offset),
                    what,
                })?;
            let (format, start) = match &reader {
                Reader::Pcap(_) => (Format::Pcap, None),
                Reader::Pcapng(_) => (Format::Pcapng, None),
                Reader::Itch(_) => (Format::Itch, None),
                Reader::Lobster(_) => (Format::Lobster, None),
                Reader::Dbn(file) => (Format::Dbn, file.start),
                Reader::Text(file) => (file.venue().format(), None),
                Reader::Quarantine(file) => (Format::Quarantine, Some(file.date())),
                Reader::Soup(_) => (Format::SoupBinTcp, None),
            };
            let dataset = match &reader {
                Reader::Dbn(file) => Some(file.dataset.clone()),
                Reader::Pcap(_)
                | Reader::Pcapng(_)
                | Reader::Itch(_)
                | Reader::Lobster(_)
                | Reader::Text(_)
                | Reader::Quarantine(_)
                | Reader::Soup(_) => None,
            };
            let own_line = match format {
                Format::Pcap | Format::Pcapng => 0,
                Format::Itch
                | Format::Lobster
                | Format::Dbn
                | Format::Binance
                | Format::Tardis
                | Format::Coinbase
                | Format::Bitstamp
                | Format::Quarantine
                | Format::SoupBinTcp => capture.lines.add_file(path)?,
            };
            capture.infos.push(FileInfo {
                path: path.clone(),
                format,
                compression: input.compression(),
                interfaces,
                dataset,
                start,
                counts: Counts::default(),
            });
            capture.files.push(OpenFile {
                input,
                reader,
                head: Head::NONE,
                is_ready: false,
                key: Ts::MIN,
                own_line,
                framed: Vec::new(),
                number: 0,
            });
        }
        capture.read_for_instruments()?;
        Ok(capture)
    }

    /// Reads the crypto venues' files once for what must be known before their first message.
    fn read_for_instruments(&mut self) -> Result<(), SourceError> {
        let (mut all, mut own, mut unnamed) = (Instruments::default(), Vec::new(), 0);
        for (index, file) in self.files.iter().enumerate() {
            if let Reader::Text(text) = &file.reader {
                let scanned = text_file::scan(&self.infos[index].path, text.venue())?;
                self.infos[index].start = scanned.start;
                all.merge(&scanned.instruments);
                own.push((index, scanned.instruments));
                unnamed = scanned.unnamed.max(unnamed);
            } else if let Reader::Quarantine(file) = &self.files[index].reader {
                let scanned = file.scan(&self.infos[index].path)?;
                all.merge(&scanned.instruments);
                own.push((index, scanned.instruments));
                unnamed = scanned.unnamed.max(unnamed);
            }
        }
        all.learn_unnamed(unnamed);
        all.name();
        self.instruments = Arc::new(all);
        for (index, own) in &own {
            match &mut self.files[*index].reader {
                Reader::Text(text) => text.know(own, &self.instruments),
                Reader::Quarantine(file) => file.know(own, &self.instruments),
                _ => {}
            }
        }
        self.own_instruments = own;
        Ok(())
    }

    /// The instruments of each of the crypto venues' files.
    pub(super) fn instruments_of_files(&self) -> impl Iterator<Item = (usize, &Instruments)> {
        let own = self.own_instruments.iter();
        own.map(|(file, instruments)| (*file, instruments))
    }

    /// The files of DBN.
    pub(super) fn dbn_files(&self) -> impl Iterator<Item = (usize, &DbnFile)> {
        let files = self.files.iter().enumerate();
        files.filter_map(|(index, file)| match &file.reader {
            Reader::Dbn(dbn) => Some((index, dbn)),
            _ => None,
        })
    }

    /// Instruments whose names are longer than eight letters, and what they are called instead.
    pub fn renamed(&self) -> Vec<(String, String)> {
        let renamed = self.instruments.renamed();
        renamed
            .map(|(full, name)| (full.to_owned(), name))
            .collect()
    }

    /// The protocol that the input is in, by how each file begins. Takes nothing out of it. What is
    /// not known, and captures without packets, are taken for ITCH; two protocols are an error.
    pub fn wire(&mut self) -> Result<Wire, SourceError> {
        self.freshen();
        let mut found: Option<(usize, Wire)> = None;
        for (index, file) in self.files.iter().enumerate() {
            let wire = match (self.infos[index].format, file.is_ready) {
                (Format::Quarantine, _) => match &file.reader {
                    Reader::Quarantine(file) => file.wire(),
                    _ => continue,
                },
                (Format::Dbn, _) => Wire::Dbn,
                (Format::Binance, _) => Wire::Binance,
                (Format::Tardis, _) => Wire::Tardis,
                (Format::Coinbase, _) => Wire::Coinbase,
                (Format::Bitstamp, _) => Wire::Bitstamp,
                (Format::Lobster, _) => Wire::Lobster,
                (Format::Itch | Format::SoupBinTcp, _) => Wire::Itch,
                (Format::Pcap | Format::Pcapng, true) => match file.head.framing {
                    Framing::IexTp => Wire::Iex,
                    Framing::Mdp3(_) => Wire::Mdp3,
                    Framing::Pitch(_) => Wire::Pitch,
                    _ => Wire::Itch,
                },
                (Format::Pcap | Format::Pcapng, false) => continue,
            };
            let (first, before) = *found.get_or_insert((index, wire));
            if before != wire {
                let other = self.infos[first].path.display();
                return Err(SourceError {
                    path: self.infos[index].path.clone(),
                    offset_bytes: Some(file.head.place.offset_bytes),
                    what: format!(
                        "begins as {}, want {} as {other} does: one protocol at a time",
                        wire.title(),
                        before.title()
                    ),
                });
            }
        }
        Ok(found.map_or(Wire::Itch, |(_, wire)| wire))
    }

    /// Refuses a file that cannot be in this protocol by what kind of file it is, and a quarantine
    /// that says itself that it is in another one: bytes would be taken for what they are not.
    pub fn check_protocol(&self, wire: Wire) -> Result<(), SourceError> {
        for (file, info) in self.files.iter().zip(&self.infos) {
            if let Reader::Quarantine(file) = &file.reader
                && file.wire() != wire
            {
                let (own, want) = (file.wire().title(), wire.title());
                return Err(SourceError {
                    path: info.path.clone(),
                    offset_bytes: None,
                    what: format!("a quarantine of {own}, as its header says, want one of {want}"),
                });
            }
            if !info.format.may_be(wire) {
                return Err(SourceError {
                    path: info.path.clone(),
                    offset_bytes: None,
                    what: format!(
                        "begins as {}, want {} for the protocol {}",
                        info.format.title(),
                        Format::titles(wire),
                        wire.name()
                    ),
                });
            }
        }
        Ok(())
    }

    /// What each file is, and what was met in it so far.
    pub fn files(&self) -> &[FileInfo] {
        &self.infos
    }

    /// What was met so far in all files together.
    pub fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        for info in &self.infos {
            sum += info.counts;
        }
        sum
    }

    /// Looks for the next packet of the stale file, and at first of all; stops at a trouble.
    #[inline]
    fn freshen(&mut self) {
        if self.pending.is_some() {
            return;
        }
        while let Some(index) = self.stale.or_else(|| self.unread.next()) {
            let file = &mut self.files[index];
            match file.advance(index, &mut self.infos[index], &mut self.lines) {
                Ok(()) => self.stale = None,
                Err(stop) => {
                    self.stale = Some(index);
                    self.pending = Some(Box::new(stop));
                    return;
                }
            }
        }
    }

    /// Which file's packet is the next.
    #[inline]
    fn first(&self) -> Option<usize> {
        if let [file] = &self.files[..] {
            return file.is_ready.then_some(0);
        }
        let mut first: Option<(Ts, usize)> = None;
        for (index, file) in self.files.iter().enumerate() {
            if file.is_ready && first.is_none_or(|(key, _)| file.key < key) {
                first = Some((file.key, index));
            }
        }
        first.map(|(_, index)| index)
    }
}

impl Source for Capture {
    #[inline]
    fn poll(&mut self) -> Result<Polled<'_>, SourceError> {
        self.freshen();
        if self.pending.is_some()
            && let Some(stop) = self.pending.take()
        {
            return stop.into_polled();
        }
        let Some(index) = self.first() else {
            return Ok(Polled::End);
        };
        self.stale = Some(index);
        let file = &mut self.files[index];
        file.is_ready = false;
        let head = &file.head;
        let bytes = match head.framing {
            // They were put into packets here.
            _ if matches!(file.reader, Reader::Soup(_)) => &file.framed[..],
            Framing::MoldUdp64
            | Framing::IexTp
            | Framing::Mdp3(_)
            | Framing::Pitch(_)
            | Framing::LengthPrefixed => file.input.bytes(),
            Framing::Records(_) => &file.framed[..],
        };
        Ok(Polled::Packet(Packet {
            ts_recv: head.ts_recv,
            line: head.line,
            framing: head.framing,
            payload: &bytes[head.at..head.at + head.len],
            wire_bytes: head.wire_bytes,
            place: head.place,
        }))
    }

    fn lines(&self) -> &[Line] {
        self.lines.as_slice()
    }

    #[inline]
    fn peek_ts(&mut self) -> Option<Ts> {
        self.freshen();
        if self.pending.is_some() {
            return None;
        }
        self.first().and_then(|index| self.files[index].head.ts)
    }
}

impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capture")
            .field("files", &self.infos)
            .finish_non_exhaustive()
    }
}

impl OpenFile {
    /// Goes on to the next packet for us, or to the end, where none is ready.
    #[inline]
    fn advance(
        &mut self,
        index: usize,
        info: &mut FileInfo,
        lines: &mut Lines,
    ) -> Result<(), Stop> {
        loop {
            let step = match &mut self.reader {
                Reader::Pcap(pcap) => pcap.next(&mut self.input),
                Reader::Pcapng(pcapng) => pcapng.next(&mut self.input, &mut info.interfaces),
                Reader::Itch(itch) => itch.next(&mut self.input),
                Reader::Lobster(file) => file.next(&mut self.input, &mut self.framed),
                Reader::Dbn(file) => file.next(&mut self.input, &mut self.framed),
                Reader::Text(file) => file.next(&mut self.input, &mut self.framed),
                Reader::Quarantine(file) => file.next(&mut self.input, &mut self.framed),
                Reader::Soup(file) => file.next(&mut self.input, &mut self.framed),
            };
            let is_lost = matches!(step, Step::Lost { .. });
            let record = match step {
                Step::Record(record) => record,
                Step::End => return Ok(()),
                Step::Trouble { offset_bytes, what } | Step::Lost { offset_bytes, what } => {
                    let place = Place {
                        file: index as u16,
                        packet: self.number + 1,
                        offset_bytes,
                        message_extra_bytes: None,
                    };
                    let trouble = self.trouble(place, what);
                    return Err(Stop::Trouble(Trouble { is_lost, ..trouble }));
                }
                Step::Failed { offset_bytes, what } => {
                    let (path, offset_bytes) = (info.path.clone(), Some(offset_bytes));
                    return Err(Stop::Failed(SourceError {
                        path,
                        offset_bytes,
                        what,
                    }));
                }
            };
            self.key = record.ts.unwrap_or(self.key);
            info.counts.records += 1;
            info.counts.record_bytes += record.len as u64;
            let place = Place {
                file: index as u16,
                packet: self.number + 1,
                offset_bytes: record.offset_bytes,
                message_extra_bytes: record.piece.as_ref().map(|piece| piece.extra_bytes),
            };
            self.number += record.piece.as_ref().map_or(1, |piece| piece.messages);
            match &self.reader {
                Reader::Quarantine(file) => self.head = file.head(&record, self.own_line, place),
                Reader::Itch(_)
                | Reader::Lobster(_)
                | Reader::Dbn(_)
                | Reader::Text(_)
                | Reader::Soup(_) => {
                    self.head = Head {
                        ts: record.ts,
                        ts_recv: None,
                        at: record.at,
                        len: record.len,
                        wire_bytes: record.len as u32,
                        line: self.own_line,
                        framing: match self.reader {
                            Reader::Itch(_) => Framing::LengthPrefixed,
                            Reader::Soup(_) => Framing::MoldUdp64,
                            _ => Framing::Records(record.ts),
                        },
                        place,
                    };
                }
                Reader::Pcap(_) | Reader::Pcapng(_) => {
                    match self.datagram(&record, place, info, lines) {
                        Ok(true) => {}
                        Ok(false) => continue,
                        Err(what) => {
                            let frame = &self.input.bytes()[record.at..record.at + record.len];
                            let raw = kept(frame);
                            let trouble = Trouble::new(place, what);
                            return Err(Stop::Trouble(Trouble { raw, ..trouble }));
                        }
                    }
                }
            }
            info.counts.packets += 1;
            info.counts.payload_bytes += self.head.len as u64;
            self.is_ready = true;
            return Ok(());
        }
    }

    /// Something wrong, with the bytes that are: the line, or what the file goes on with.
    #[cold]
    fn trouble(&mut self, place: Place, what: String) -> Trouble {
        let (raw, is_line) = match &mut self.reader {
            Reader::Text(file) => (kept(file.at_hand()), true),
            Reader::Quarantine(file) => file.take_refused(),
            _ if self.input.offset() == place.offset_bytes => {
                (kept(self.input.peek(RAW_BYTES_MAX)), false)
            }
            _ => (Vec::new(), false),
        };
        Trouble {
            raw,
            is_line,
            ..Trouble::new(place, what)
        }
    }

    /// Makes the datagram in a captured frame the head, if it is for us; an error is something
    /// to tell of.
    #[inline]
    fn datagram(
        &mut self,
        record: &Record,
        place: Place,
        info: &mut FileInfo,
        lines: &mut Lines,
    ) -> Result<bool, String> {
        let interface = &mut info.interfaces[record.interface];
        interface.records += 1;
        let frame = &self.input.bytes()[record.at..record.at + record.len];
        let udp = match link::udp(interface.link_type, frame) {
            Ok(udp) => udp,
            Err(why) => return not_udp(why, interface, &mut info.counts),
        };
        let Some(line) = lines.route(&udp) else {
            return lines.refuse(&udp, &mut info.counts);
        };
        info.counts.snaplen_cut += u64::from(udp.wire_bytes as usize > udp.payload.len());
        self.head = Head {
            ts: record.ts,
            ts_recv: record.ts,
            at: record.at + udp.payload_at,
            len: udp.payload.len(),
            wire_bytes: udp.wire_bytes,
            line,
            framing: if iextp::is_iextp(udp.payload) {
                Framing::IexTp
            } else if mdp3::is_mdp3(udp.payload) {
                Framing::Mdp3(udp.dst_port)
            } else if pitch::is_pitch(udp.payload) {
                Framing::Pitch(udp.dst_port)
            } else {
                Framing::MoldUdp64
            },
            place,
        };
        Ok(true)
    }
}

/// As many of these bytes as are kept of what is not understood.
fn kept(bytes: &[u8]) -> Vec<u8> {
    bytes[..bytes.len().min(RAW_BYTES_MAX)].to_vec()
}

/// Whose protocol a file of this format is in, where the format says it.
pub(super) fn wire_of(format: Format) -> Option<Wire> {
    match format {
        Format::Itch | Format::SoupBinTcp => Some(Wire::Itch),
        Format::Lobster => Some(Wire::Lobster),
        Format::Dbn => Some(Wire::Dbn),
        Format::Binance => Some(Wire::Binance),
        Format::Tardis => Some(Wire::Tardis),
        Format::Coinbase => Some(Wire::Coinbase),
        Format::Bitstamp => Some(Wire::Bitstamp),
        Format::Pcap | Format::Pcapng | Format::Quarantine => None,
    }
}

/// Counts a frame that is not UDP. An unknown link type is told of once for each interface,
/// another protocol never.
#[cold]
fn not_udp(why: NotUdp, interface: &Interface, counts: &mut Counts) -> Result<bool, String> {
    let (count, is_told) = match why {
        NotUdp::Other => (&mut counts.not_udp, false),
        NotUdp::Fragment => (&mut counts.fragments, true),
        NotUdp::Cut { .. } => (&mut counts.cut, true),
        NotUdp::Bad { .. } => (&mut counts.bad, true),
        NotUdp::Link(_) => (&mut counts.unknown_link, interface.records == 1),
    };
    *count += 1;
    if is_told {
        Err(why.to_string())
    } else {
        Ok(false)
    }
}

/// What kind of file this is, by how it starts; if none of ours, where that shows and why.
fn recognise(
    path: &Path,
    input: &mut Input,
    interfaces: &mut Vec<Interface>,
    itch_messages_max: usize,
) -> Result<Reader, (u64, String)> {
    let start = input.peek(4);
    let start = &start[..start.len().min(4)];
    if Pcap::is(start) {
        return Pcap::start(input, interfaces)
            .map(Reader::Pcap)
            .map_err(|what| (0, what));
    }
    if Pcapng::is(start) {
        return Pcapng::start(input)
            .map(Reader::Pcapng)
            .map_err(|what| (0, what));
    }
    if QuarantineFile::is(input) {
        return QuarantineFile::start(path, input).map(|file| Reader::Quarantine(Box::new(file)));
    }
    let start = input.peek(4);
    let start = &start[..start.len().min(4)];
    if DbnFile::is(start) {
        return DbnFile::start(input, itch_messages_max).map(Reader::Dbn);
    }
    let found = start
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<Vec<_>>()
        .join(" ");
    if let Some(error) = input.failure()
        && found.is_empty()
    {
        let wrapping = input.compression().name();
        return Err((
            0,
            format!("cannot read the first byte through {wrapping}: {error}"),
        ));
    }
    if lobster_file::look(input) {
        return Ok(Reader::Lobster(LobsterFile::new(path, itch_messages_max)));
    }
    if let Some(venue) = text_file::look(input) {
        return Ok(Reader::Text(Box::new(TextFile::new(venue, path))));
    }
    if soup_file::look(input) {
        return Ok(Reader::Soup(SoupFile::new(itch_messages_max)));
    }
    let want = "want a pcap, a pcapng, DBN, LOBSTER messages, Binance or Coinbase messages, tardis.dev or \
                Bitstamp CSV, a SoupBinTCP session or length-prefixed ITCH messages, plain or in \
                gzip or zstd";
    match itch_file::look(input) {
        Ok(()) if found.is_empty() => Err((0, format!("is empty, {want}"))),
        Ok(()) => Ok(Reader::Itch(ItchFile::new(itch_messages_max))),
        Err((offset, what)) => Err((
            offset,
            format!("starts with {found}, {want}; as ITCH: {what}"),
        )),
    }
}
