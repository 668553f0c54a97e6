//! What runs did not understand, as an input: each record is a packet with one message, the packet that
//! it was, or a line's messages.
//!
//! A file is read through when it is opened: one that is damaged anywhere is refused, since nothing of
//! what is in it may be missing without a word.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use bus::Ts;

use super::capture::Head;
use super::input::{Compression, Input, PIECE_MAX};
use super::record::{Record, Step, ending};
use super::text_file::{Scanned, TextFile, Venue};
use super::{Framing, Place, SourceError};
use crate::protocol::Wire;
use crate::protocol::said::Instruments;
use crate::quarantine::{
    FileHeader, HEADER_BYTES, Item, MAGIC, RECORD_BYTES_MAX, Records, Refused, message_at,
    record_bytes,
};

const _: () = assert!(RECORD_BYTES_MAX <= PIECE_MAX);

/// The largest file that is read: ten times what is kept by default would fill it.
const FILE_BYTES_MAX: u64 = 1 << 30;

pub(super) struct QuarantineFile {
    header: FileHeader,
    /// Of which wire its lines are, where they are lines.
    text: Option<TextFile>,
    number: u64,
    /// Bytes of the record handed out last, which are skipped at the next step.
    behind: u64,
    /// What the packet to come is.
    framing: Framing,
    wire_bytes: u32,
    ts_recv: Option<Ts>,
    /// What is still not understood, and whether it is a line.
    refused: (Vec<u8>, bool),
}

impl QuarantineFile {
    pub(super) fn is(input: &mut Input) -> bool {
        input.peek(MAGIC.len()).starts_with(&MAGIC)
    }

    /// Reads all of it. The error says at which byte what is wrong with it.
    pub(super) fn start(path: &Path, input: &mut Input) -> Result<QuarantineFile, (u64, String)> {
        if input.compression() != Compression::None {
            let wrapping = input.compression().name();
            return Err((0, format!("a quarantine in {wrapping}, want it plain")));
        }
        let bytes = read(path).map_err(|what| (0, what))?;
        let mut records = Records::open(&bytes)?;
        let header = records.header();
        if let Some(damage) = records.find_map(Result::err) {
            let (offset, what) = damage;
            return Err((offset, format!("damaged quarantine: {what}")));
        }
        input.skip(HEADER_BYTES as u64);
        Ok(QuarantineFile {
            header,
            text: Venue::of(header.wire).map(|venue| TextFile::new(venue, path)),
            number: 0,
            behind: 0,
            framing: Framing::LengthPrefixed,
            wire_bytes: 0,
            ts_recv: None,
            refused: (Vec::new(), false),
        })
    }

    /// The bytes that the last step was about, where it was a trouble, and whether they are a line.
    pub(super) fn take_refused(&mut self) -> (Vec<u8>, bool) {
        std::mem::take(&mut self.refused)
    }

    pub(super) fn wire(&self) -> Wire {
        self.header.wire
    }

    /// The first moment, in UTC, of the trading date.
    pub(super) fn date(&self) -> Ts {
        self.header.date
    }

    /// Which instruments its lines are about.
    pub(super) fn scan(&self, path: &Path) -> Result<Scanned, SourceError> {
        let mut scanned = Scanned::default();
        let Some(text) = &self.text else {
            return Ok(scanned);
        };
        let failed = |what| SourceError {
            path: path.into(),
            offset_bytes: None,
            what,
        };
        let bytes = read(path).map_err(failed)?;
        let records = Records::open(&bytes).map_err(|(_, what)| failed(what))?;
        let lines = records
            .flatten()
            .filter(|refused| refused.item == Item::Line)
            .map(|refused| refused.raw);
        scanned.learn_all(text.venue(), lines);
        Ok(scanned)
    }

    pub(super) fn know(&mut self, own: &Instruments, all: &Arc<Instruments>) {
        if let Some(text) = &mut self.text {
            text.know(own, all);
        }
    }

    /// The next record that is something to take in.
    pub(super) fn next(&mut self, input: &mut Input, out: &mut Vec<u8>) -> Step {
        loop {
            input.skip(std::mem::take(&mut self.behind));
            let offset_bytes = input.offset();
            let bytes = input.peek(RECORD_BYTES_MAX);
            if bytes.is_empty() {
                return ending(input, "record", 1);
            }
            // It was whole when it was opened, and may have been changed since.
            let trouble = |what| Step::Trouble { offset_bytes, what };
            let record = record_bytes(bytes).and_then(|len| {
                let record = bytes.get(..len).ok_or("cut record");
                record.map_err(str::to_owned)
            });
            let refused = record.and_then(|record| Refused::decode(record, self.number + 1));
            let (record, refused) = match (record_bytes(bytes), refused) {
                (Ok(len), Ok(refused)) => (&bytes[..len], refused),
                (Ok(_) | Err(_), Err(what)) | (Err(what), Ok(_)) => {
                    self.behind = bytes.len() as u64;
                    return trouble(what);
                }
            };
            self.number += 1;
            self.behind = record.len() as u64;
            self.ts_recv = refused.ts_recv;
            self.framing = Framing::LengthPrefixed;
            self.wire_bytes = refused.wire_bytes;
            let (at, message_bytes) = message_at(record);
            let (at, len) = match refused.item {
                // Behind its length.
                Item::Message => (at, 2 + message_bytes),
                Item::Rest => (at + 2, message_bytes),
                Item::Packet => {
                    self.framing = refused.framing;
                    (at + 2, message_bytes)
                }
                Item::Line => match self.text.as_mut().map(|text| text.one(refused.raw, out)) {
                    Some(Ok(Some(due))) => {
                        self.framing = Framing::Records(Some(due));
                        self.ts_recv = None;
                        (0, out.len())
                    }
                    Some(Ok(None)) => continue,
                    Some(Err(what)) => {
                        self.refused = (refused.raw.to_vec(), true);
                        return trouble(what);
                    }
                    None => return trouble("a line that needs the first one of its file".into()),
                },
                Item::Bytes => {
                    self.refused = (refused.raw.to_vec(), false);
                    return trouble(refused.why.to_owned());
                }
                Item::Full => return trouble("the quarantine ends where it was full".into()),
            };
            let ts = match self.framing {
                Framing::Records(due) => due,
                _ => self.ts_recv,
            };
            return Step::Record(Record {
                at,
                len,
                offset_bytes,
                ts,
                interface: 0,
                piece: None,
            });
        }
    }

    /// The packet that the last record is.
    pub(super) fn head(&self, record: &Record, line: u8, place: Place) -> Head {
        Head {
            ts: record.ts,
            ts_recv: self.ts_recv,
            at: record.at,
            len: record.len,
            wire_bytes: self.wire_bytes,
            line,
            framing: self.framing,
            place,
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let about = fs::metadata(path).map_err(|e| format!("cannot open: {e}"))?;
    if about.len() > FILE_BYTES_MAX {
        let found = about.len();
        return Err(format!("{found} bytes, want at most {FILE_BYTES_MAX}"));
    }
    fs::read(path).map_err(|e| format!("cannot read: {e}"))
}
