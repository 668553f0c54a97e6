//! What could not be decoded, kept with its place and the reason: `QUARANTINE.md` has the bytes.
//!
//! The reader encodes a record where it refuses a message, which is off the usual path, and hands the
//! bytes to whoever writes them ([`Quarantine`]). A [`Capture`](crate::source::Capture) reads such a
//! file like any other input ([`Records`]), so that what was refused can be taken in once it is known
//! what it means.

use std::fmt;
use std::sync::mpsc::Sender;

use bus::{Anomaly, Ts};

use crate::moldudp64::SessionId;
use crate::protocol::Wire;
use crate::source::{Framing, Place};

/// A file begins with these.
pub const MAGIC: [u8; 8] = *b"tapequar";
/// The format's version.
pub const VERSION: u32 = 1;
/// The bytes before the first record.
pub const HEADER_BYTES: usize = 64;
/// The bytes of a record before its reason.
const HEAD_BYTES: usize = 80;
/// What is kept of one message, packet or line at most.
pub const RAW_BYTES_MAX: usize = 256 << 10;
/// What is kept of a reason at most.
const WHY_BYTES_MAX: usize = 512;
/// The longest record.
pub(crate) const RECORD_BYTES_MAX: usize = HEAD_BYTES + WHY_BYTES_MAX + 2 + RAW_BYTES_MAX;

/// What was not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Item {
    /// A message, without its length.
    Message = 1,
    /// A datagram's payload.
    Packet = 2,
    /// What was left behind the last whole message of a packet or piece.
    Rest = 3,
    /// A line of a text file, without its end.
    Line = 4,
    /// A captured frame, or what a file goes on with where it is damaged.
    Bytes = 5,
    /// Nothing: from here on there was no room.
    Full = 6,
}

impl Item {
    const ALL: [Item; 6] = [
        Item::Message,
        Item::Packet,
        Item::Rest,
        Item::Line,
        Item::Bytes,
        Item::Full,
    ];

    /// For people.
    pub const fn name(self) -> &'static str {
        match self {
            Item::Message => "message",
            Item::Packet => "packet",
            Item::Rest => "rest",
            Item::Line => "line",
            Item::Bytes => "bytes",
            Item::Full => "full",
        }
    }
}

/// One thing that was not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused<'a> {
    /// What it is.
    pub item: Item,
    /// What it was counted as; `None` for what the source stumbled over.
    pub anomaly: Option<Anomaly>,
    /// How messages lie in it, where it is a packet.
    pub framing: Framing,
    /// Which line brought it.
    pub line: u8,
    /// Where it stood.
    pub place: Place,
    /// When it arrived.
    pub ts_recv: Option<Ts>,
    /// Its session and number, where it has some.
    pub numbered: Option<(SessionId, u64)>,
    /// Which message of its packet it was, from 1; 0 for none.
    pub message: u16,
    /// How many payload bytes its packet had on the wire.
    pub wire_bytes: u32,
    /// How many bytes there were, of which `raw` may be the first only.
    pub full_bytes: u32,
    /// Why.
    pub why: &'a str,
    /// Its bytes.
    pub raw: &'a [u8],
}

impl<'a> Refused<'a> {
    /// Something at a place, of which all else is still to be said.
    pub fn new(item: Item, place: Place, why: &'a str, raw: &'a [u8]) -> Refused<'a> {
        Refused {
            item,
            anomaly: None,
            framing: Framing::LengthPrefixed,
            line: 0,
            place,
            ts_recv: None,
            numbered: None,
            message: 0,
            wire_bytes: raw.len() as u32,
            full_bytes: raw.len() as u32,
            why,
            raw,
        }
    }

    /// The record with this number, at the end of `out`.
    pub fn encode(&self, number: u64, out: &mut Vec<u8>) {
        let start = out.len();
        let mut why_bytes = self.why.len().min(WHY_BYTES_MAX);
        while !self.why.is_char_boundary(why_bytes) {
            why_bytes -= 1;
        }
        let raw = &self.raw[..self.raw.len().min(RAW_BYTES_MAX)];
        let (session, sequence) = self.numbered.unwrap_or((SessionId([0; 10]), 0));
        let (framing, port) = framing_code(self.framing);
        out.extend(((HEAD_BYTES + why_bytes + 2 + raw.len()) as u32).to_le_bytes());
        out.extend([0; 4]);
        out.extend(number.to_le_bytes());
        out.extend([
            self.item as u8,
            self.anomaly.map_or(u8::MAX, |anomaly| anomaly as u8),
            framing,
            self.line,
        ]);
        out.extend(self.place.file.to_le_bytes());
        out.extend(port.to_le_bytes());
        out.extend(self.place.packet.to_le_bytes());
        out.extend(self.place.offset_bytes.to_le_bytes());
        out.extend(self.ts_recv.map_or(i64::MIN, |ts| ts.0).to_le_bytes());
        out.extend(sequence.to_le_bytes());
        out.extend(session.0);
        out.extend(self.message.to_le_bytes());
        out.extend(self.wire_bytes.to_le_bytes());
        out.extend(self.full_bytes.to_le_bytes());
        out.extend((why_bytes as u16).to_le_bytes());
        out.extend([0; 2]);
        debug_assert_eq!(out.len() - start, HEAD_BYTES);
        out.extend(&self.why.as_bytes()[..why_bytes]);
        // A message stands behind its length, as in a file of messages.
        let prefix = u16::try_from(raw.len()).unwrap_or(u16::MAX);
        out.extend(prefix.to_be_bytes());
        out.extend(raw);
        let crc = crc32c::crc32c(&out[start + 8..]);
        out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    }

    /// The record that `bytes` are; what is wrong with them otherwise.
    pub fn decode(bytes: &'a [u8], number: u64) -> Result<Refused<'a>, String> {
        if bytes.len() < HEAD_BYTES + 2 {
            return Err(format!(
                "record of {} bytes, want at least {}",
                bytes.len(),
                HEAD_BYTES + 2
            ));
        }
        let (stored, found) = (u32_at(bytes, 4), crc32c::crc32c(&bytes[8..]));
        if stored != found {
            return Err(format!("checksum {found:08x}, want {stored:08x}"));
        }
        let found = u64_at(bytes, 8);
        if found != number {
            return Err(format!("record {found}, want {number}"));
        }
        let why_bytes = usize::from(u16_at(bytes, 76));
        let why = bytes.get(HEAD_BYTES..HEAD_BYTES + why_bytes);
        let raw = bytes.get(HEAD_BYTES + why_bytes + 2..);
        let (Some(why), Some(raw)) = (why, raw) else {
            return Err(format!("a reason of {why_bytes} bytes, want fewer"));
        };
        let item = Item::ALL.into_iter().find(|i| *i as u8 == bytes[16]);
        let item = item.ok_or_else(|| format!("kind {}, want 1 to 6", bytes[16]))?;
        let anomaly = match bytes[17] {
            u8::MAX => None,
            code => Some(
                *Anomaly::ALL
                    .get(usize::from(code))
                    .ok_or_else(|| format!("anomaly {code} is not known"))?,
            ),
        };
        let framing = framing_of(bytes[18], u16_at(bytes, 22))
            .ok_or_else(|| format!("framing {} is not known", bytes[18]))?;
        let sequence = u64_at(bytes, 48);
        let session = SessionId(bytes[56..66].try_into().expect("ten bytes"));
        let ts_recv = u64_at(bytes, 40) as i64;
        Ok(Refused {
            item,
            anomaly,
            framing,
            line: bytes[19],
            place: Place {
                file: u16_at(bytes, 20),
                packet: u64_at(bytes, 24),
                offset_bytes: u64_at(bytes, 32),
                message_extra_bytes: None,
            },
            ts_recv: (ts_recv != i64::MIN).then_some(Ts(ts_recv)),
            numbered: (sequence != 0).then_some((session, sequence)),
            message: u16_at(bytes, 66),
            wire_bytes: u32_at(bytes, 68),
            full_bytes: u32_at(bytes, 72),
            why: std::str::from_utf8(why).map_err(|_| "a reason that is no text")?,
            raw,
        })
    }
}

fn framing_code(framing: Framing) -> (u8, u16) {
    match framing {
        Framing::LengthPrefixed | Framing::Records(_) => (0, 0),
        Framing::MoldUdp64 => (1, 0),
        Framing::IexTp => (2, 0),
        Framing::Mdp3(port) => (3, port),
        Framing::Pitch(port) => (4, port),
    }
}

fn framing_of(code: u8, port: u16) -> Option<Framing> {
    match code {
        0 => Some(Framing::LengthPrefixed),
        1 => Some(Framing::MoldUdp64),
        2 => Some(Framing::IexTp),
        3 => Some(Framing::Mdp3(port)),
        4 => Some(Framing::Pitch(port)),
        _ => None,
    }
}

/// What a file begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHeader {
    /// The protocol of everything in it.
    pub wire: Wire,
    /// The first moment, in UTC, of the trading date.
    pub date: Ts,
}

impl FileHeader {
    /// Its bytes.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&(HEADER_BYTES as u32).to_le_bytes());
        let name = self.wire.name().as_bytes();
        bytes[16..16 + name.len()].copy_from_slice(name);
        bytes[32..40].copy_from_slice(&self.date.0.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<FileHeader, (u64, String)> {
        let version = u32_at(bytes, 8);
        if version != VERSION {
            let what = format!("quarantine of version {version}, want {VERSION}");
            return Err((8, what));
        }
        let (stored, found) = (u32_at(bytes, 60), crc32c::crc32c(&bytes[..60]));
        if stored != found || u32_at(bytes, 12) as usize != HEADER_BYTES {
            let what = format!("quarantine header's checksum {found:08x}, want {stored:08x}");
            return Err((60, what));
        }
        let name = bytes[16..32].split(|byte| *byte == 0).next();
        let name = String::from_utf8_lossy(name.unwrap_or_default());
        let wire = Wire::named(&name)
            .ok_or_else(|| (16, format!("quarantine of `{name}`, which is not known")))?;
        Ok(FileHeader {
            wire,
            date: Ts(u64_at(bytes, 32) as i64),
        })
    }
}

/// The records of a file in memory, one after another; stops behind the first that is damaged.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    bytes: &'a [u8],
    at: usize,
    number: u64,
    header: FileHeader,
}

impl<'a> Records<'a> {
    /// Those of a whole file; where it is damaged and how, otherwise.
    pub fn open(bytes: &'a [u8]) -> Result<Records<'a>, (u64, String)> {
        let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
            let found = bytes.len();
            let what = format!("quarantine header of {found} bytes, want {HEADER_BYTES}");
            return Err((0, what));
        };
        if header[..8] != MAGIC {
            return Err((0, "is no quarantine".into()));
        }
        Ok(Records {
            bytes,
            at: HEADER_BYTES,
            number: 0,
            header: FileHeader::decode(header)?,
        })
    }

    /// What the file begins with.
    pub fn header(&self) -> FileHeader {
        self.header
    }

    /// How many bytes of the file are good so far.
    pub fn good_bytes(&self) -> u64 {
        self.at as u64
    }

    /// How many records there were so far.
    pub fn number(&self) -> u64 {
        self.number
    }
}

impl<'a> Iterator for Records<'a> {
    /// A record, or where the file is damaged and how.
    type Item = Result<Refused<'a>, (u64, String)>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.bytes.get(self.at..).filter(|rest| !rest.is_empty())?;
        let damaged = |what| Some(Err((self.at as u64, what)));
        let len = match record_bytes(rest) {
            Ok(len) => len,
            Err(what) => return damaged(what),
        };
        if len > rest.len() {
            let found = rest.len();
            return damaged(format!("cut record: {found} bytes, want {len}"));
        }
        match Refused::decode(&rest[..len], self.number + 1) {
            Ok(refused) => {
                self.number += 1;
                self.at += len;
                Some(Ok(refused))
            }
            Err(what) => damaged(what),
        }
    }
}

/// How long the record is that these bytes begin.
pub(crate) fn record_bytes(start: &[u8]) -> Result<usize, String> {
    let Some(len) = start.first_chunk::<4>() else {
        let found = start.len();
        return Err(format!("cut record: {found} bytes, want its length in 4"));
    };
    let len = u32::from_le_bytes(*len) as usize;
    match (HEAD_BYTES + 2..=RECORD_BYTES_MAX).contains(&len) {
        true => Ok(len),
        false => Err(format!(
            "record of {len} bytes, want {} to {RECORD_BYTES_MAX}",
            HEAD_BYTES + 2
        )),
    }
}

/// Where in a record its message's length stands, and how long the message is.
pub(crate) fn message_at(record: &[u8]) -> (usize, usize) {
    let at = HEAD_BYTES + usize::from(u16_at(record, 76));
    (at, record.len() - at - 2)
}

/// How much was kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuarantineStats {
    /// Records, without the one that says that there is no more room.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What there was no room for.
    pub left_out: u64,
}

/// Takes what a reader refuses, up to a bound, and hands it over as bytes of the file.
pub struct Quarantine {
    to: Sender<Vec<u8>>,
    bytes_max: u64,
    number: u64,
    is_full: bool,
    stats: QuarantineStats,
}

impl Quarantine {
    /// Hands records to `to`, of at most so many bytes together.
    pub fn new(to: Sender<Vec<u8>>, bytes_max: u64) -> Quarantine {
        Quarantine {
            to,
            bytes_max,
            number: 0,
            is_full: false,
            stats: QuarantineStats::default(),
        }
    }

    /// Goes on behind so many records of so many bytes, which may have been all there was room for.
    pub fn behind(mut self, records: u64, bytes: u64, is_full: bool) -> Quarantine {
        self.number = records;
        self.is_full = is_full;
        self.stats.records = records - u64::from(is_full);
        self.stats.bytes = bytes;
        self
    }

    /// How much was kept.
    pub fn stats(&self) -> QuarantineStats {
        self.stats
    }

    /// Keeps one thing, if there is room for it.
    #[cold]
    pub(crate) fn keep(&mut self, refused: &Refused<'_>) {
        if self.is_full {
            self.stats.left_out += 1;
            return;
        }
        let mut bytes = Vec::new();
        refused.encode(self.number + 1, &mut bytes);
        if self.stats.bytes + bytes.len() as u64 > self.bytes_max {
            self.stats.left_out = 1;
            self.is_full = true;
            bytes.clear();
            let why = format!("no room from here on: at most {} bytes", self.bytes_max);
            let full = Refused {
                line: refused.line,
                ts_recv: refused.ts_recv,
                numbered: refused.numbered,
                ..Refused::new(Item::Full, refused.place, &why, &[])
            };
            full.encode(self.number + 1, &mut bytes);
        } else {
            self.stats.records += 1;
            self.stats.bytes += bytes.len() as u64;
        }
        self.number += 1;
        // Whoever writes it may be gone, since the disk failed; that is said elsewhere.
        let _ = self.to.send(bytes);
    }
}

impl fmt::Debug for Quarantine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quarantine")
            .field("bytes_max", &self.bytes_max)
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Refused<'static> {
        Refused {
            item: Item::Message,
            anomaly: Some(Anomaly::UnknownType),
            framing: Framing::Mdp3(14_310),
            line: 3,
            place: Place {
                file: 2,
                packet: 7,
                offset_bytes: 1 << 40,
                message_extra_bytes: None,
            },
            ts_recv: Some(Ts(5)),
            numbered: Some((SessionId(*b"0000000001"), 99)),
            message: 4,
            wire_bytes: 60,
            full_bytes: 3,
            why: "unknown type 'z' of 3 bytes",
            raw: b"zzz",
        }
    }

    fn file() -> Vec<u8> {
        let header = FileHeader {
            wire: Wire::Itch,
            date: Ts(86_400_000_000_000),
        };
        let mut bytes = header.encode().to_vec();
        sample().encode(1, &mut bytes);
        Refused::new(Item::Line, Place::default(), "why", b"a line").encode(2, &mut bytes);
        bytes
    }

    #[test]
    fn records_survive_their_bytes() {
        let bytes = file();
        let mut records = Records::open(&bytes).unwrap();
        assert_eq!(records.header().wire, Wire::Itch);
        assert_eq!(records.next().unwrap().unwrap(), sample());
        let line = records.next().unwrap().unwrap();
        assert_eq!((line.item, line.raw), (Item::Line, &b"a line"[..]));
        assert_eq!(
            (line.ts_recv, line.numbered, line.anomaly),
            (None, None, None)
        );
        assert!(records.next().is_none());
        assert_eq!(records.good_bytes(), bytes.len() as u64);
        let long = vec![b'x'; RAW_BYTES_MAX + 9];
        let mut one = Vec::new();
        Refused::new(Item::Line, Place::default(), &"w".repeat(999), &long).encode(1, &mut one);
        assert_eq!(one.len(), RECORD_BYTES_MAX);
        let read = Refused::decode(&one, 1).unwrap();
        assert_eq!(read.full_bytes as usize, long.len());
        assert_eq!(read.raw.len(), RAW_BYTES_MAX);
    }

    #[test]
    fn every_flipped_byte_and_every_cut_is_found() {
        let good = file();
        let count = |bytes: &[u8]| match Records::open(bytes) {
            Ok(records) => records.collect::<Result<Vec<_>, _>>().map(|all| all.len()),
            Err(damage) => Err(damage),
        };
        assert_eq!(count(&good), Ok(2));
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 0x41;
            let (offset, what) = count(&bytes).expect_err("a flipped byte");
            let is_header = at < HEADER_BYTES && offset < HEADER_BYTES as u64;
            assert!(is_header || offset <= at as u64, "byte {at}: {what}");
        }
        let first = HEADER_BYTES + u32_at(&good, HEADER_BYTES) as usize;
        for len in 0..good.len() {
            let is_whole = len == HEADER_BYTES || len == first;
            assert_eq!(count(&good[..len]).is_ok(), is_whole, "cut at {len}");
        }
    }

    #[test]
    fn the_bound_is_said_once() {
        let (to, from) = std::sync::mpsc::channel();
        let mut one = Vec::new();
        sample().encode(1, &mut one);
        let mut quarantine = Quarantine::new(to, 2 * one.len() as u64);
        (0..5).for_each(|_| quarantine.keep(&sample()));
        let stats = quarantine.stats();
        assert_eq!((stats.records, stats.left_out), (2, 3));
        let records: Vec<Vec<u8>> = from.try_iter().collect();
        assert_eq!(records.len(), 3);
        let last = Refused::decode(&records[2], 3).unwrap();
        assert_eq!(last.item, Item::Full);
        assert!(last.why.contains("no room"), "{}", last.why);
    }
}
