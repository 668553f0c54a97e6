//! DBN files, versions 1 to 3: metadata, then records.
//!
//! ```text
//! "DBN" version(1) length(4) dataset(16) schema(2) start(8) end(8) limit(8)
//!     records(8), only in version 1
//!     stype in(1) stype out(1) ts_out(1)
//!     length of a symbol(2), from version 2 on; 22 before
//!     reserved(47 in version 1, 53 after) schema's length(4), which is 0
//!     symbols, partial, not found: each a count(4) and so many symbols
//!     mappings: a count(4) and so many { symbol, count(4), { from(4) to(4) symbol }* }
//! record  length in fours(1) rtype(1) publisher(2) instrument(4) ts_event(8) ...
//! ```
//!
//! A mapping says from which date on, and before which, a symbol has an instrument's number; dates
//! are numbers like 20231225. Nothing here is believed before as many bytes are there.

use std::collections::{BTreeSet, HashMap};

use bus::Ts;

use super::input::{Input, PIECE_MAX};
use super::record::{Piece, Record, Step, ending};
use crate::protocol::dbn::{HEADER_BYTES, NAME_BYTES, short_name, ts_of, ts_recv};

/// A piece holds whole records, of at most this many bytes together.
const PIECE_BYTES_MAX: usize = 16_384;
/// The longest record, whose length is one byte of fours.
const RECORD_BYTES_MAX: usize = 1_020;
/// Before the metadata: magic, version and length.
const PRELUDE_BYTES: usize = 8;
/// The longest metadata that is read: some 300,000 symbols.
const METADATA_BYTES_MAX: u32 = 64 << 20;

/// The schemas whose records tell trades.
const TRADING: [(u16, &str); 5] = [
    (0, "mbo"),
    (1, "mbp-1"),
    (2, "mbp-10"),
    (3, "tbbo"),
    (4, "trades"),
];

const _: () = assert!(RECORD_BYTES_MAX <= PIECE_BYTES_MAX && PIECE_BYTES_MAX <= PIECE_MAX);

pub(super) struct DbnFile {
    names: Names,
    /// Where its data are from, as Databento calls it: `GLBX.MDP3`.
    pub(super) dataset: String,
    /// When its data begin, by its metadata.
    pub(super) start: Option<Ts>,
    /// When they end, which lies behind the last, by its metadata.
    end: Option<Ts>,
    schema: u16,
    /// The numbers that its metadata have; none where they do not say.
    instruments: BTreeSet<u32>,
    records_max: usize,
    /// Bytes of the records handed out last, which are skipped at the next step.
    behind: u64,
    is_over: bool,
}

/// Names of instruments.
#[derive(Default)]
struct Names {
    /// By instrument: from which date on, before which, and the name.
    mapped: HashMap<u32, Vec<(u32, u32, u64)>>,
    /// What was found for the instruments met so far.
    met: HashMap<u32, u64>,
}

impl Names {
    /// The instrument's name at this time; its number in hexadecimal where it has no short one.
    fn of(&mut self, instrument: u32, ts: Option<Ts>) -> u64 {
        if let Some(&name) = self.met.get(&instrument) {
            return name;
        }
        let date = ts.map_or(0, date);
        let spans = self.mapped.get(&instrument).map_or(&[][..], Vec::as_slice);
        let mut held = spans
            .iter()
            .filter(|(from, to, _)| (*from..*to).contains(&date));
        let found = held.next().or(spans.first());
        let number = || {
            let text = format!("{instrument:08X}");
            u64::from_be_bytes(text.as_bytes().try_into().expect("eight digits"))
        };
        let name = found.map_or_else(number, |(_, _, name)| *name);
        self.met.insert(instrument, name);
        name
    }
}

impl DbnFile {
    pub(super) fn is(start: &[u8]) -> bool {
        start.starts_with(b"DBN")
    }

    /// Reads the metadata. The error says at which byte what is wrong with it.
    pub(super) fn start(input: &mut Input, records_max: usize) -> Result<DbnFile, (u64, String)> {
        let prelude = input.peek(PRELUDE_BYTES);
        let Some(prelude) = prelude.first_chunk::<PRELUDE_BYTES>() else {
            let found = prelude.len();
            return Err((
                0,
                format!("DBN header of {found} bytes, want {PRELUDE_BYTES}"),
            ));
        };
        let version = prelude[3];
        if !(1..=3).contains(&version) {
            return Err((3, format!("DBN version {version}, want 1 to 3")));
        }
        let len = u32::from_le_bytes(*prelude.last_chunk().expect("four of eight bytes"));
        if len > METADATA_BYTES_MAX {
            let what = format!("DBN metadata of {len} bytes, want at most {METADATA_BYTES_MAX}");
            return Err((4, what));
        }
        input.skip(PRELUDE_BYTES as u64);
        // Grows as the bytes come, whatever the length says.
        let mut bytes = Vec::new();
        while bytes.len() < len as usize {
            let want = (len as usize - bytes.len()).min(PIECE_MAX);
            let piece = input.peek(want);
            let piece = &piece[..piece.len().min(want)];
            if piece.is_empty() {
                let found = bytes.len();
                let what = format!("cut DBN metadata: {found} bytes, want {len}");
                return Err((PRELUDE_BYTES as u64, what));
            }
            bytes.extend_from_slice(piece);
            let taken = piece.len() as u64;
            input.skip(taken);
        }
        let mut metadata = Metadata {
            bytes: &bytes,
            at: 0,
        };
        let file = metadata.read(version, records_max).map_err(|at| {
            let what = "DBN metadata end here, want more of them".to_string();
            ((PRELUDE_BYTES + at) as u64, what)
        })?;
        Ok(file)
    }

    /// The names of both files' schemas, where both tell trades of an instrument at one time.
    pub(super) fn tells_trades_of(&self, other: &DbnFile) -> Option<(&'static str, &'static str)> {
        let name = |schema| TRADING.iter().find(|(number, _)| *number == schema);
        let ((_, own), (_, theirs)) = (name(self.schema)?, name(other.schema)?);
        let ends = |file: &DbnFile| file.end.unwrap_or(Ts::MAX);
        let are_known = |file: &DbnFile| file.end.is_some() && !file.instruments.is_empty();
        // What is recorded as it comes does not know its end, and goes on in the next file.
        if self.schema == other.schema && !(are_known(self) && are_known(other)) {
            return None;
        }
        let is_one_time = self.start < Some(ends(other)) && other.start < Some(ends(self));
        let are_shared = self.instruments.is_empty()
            || other.instruments.is_empty()
            || !self.instruments.is_disjoint(&other.instruments);
        (is_one_time && are_shared).then_some((*own, *theirs))
    }

    /// The names of both files' schemas, where all trades that this one tells are in the other, which
    /// tells more of the book.
    pub(super) fn is_told_by(&self, other: &DbnFile) -> Option<(&'static str, &'static str)> {
        // From the least that is told of a book to the most.
        let richness = |schema| [4, 3, 1, 2, 0].iter().position(|number| *number == schema);
        let is_richer = richness(self.schema)? < richness(other.schema)?;
        let is_within = self.dataset == other.dataset
            && self.start >= other.start
            && other.start.is_some()
            && self.end <= other.end
            && self.end.is_some()
            && !self.instruments.is_empty()
            && self.instruments.is_subset(&other.instruments);
        (is_richer && is_within).then(|| self.tells_trades_of(other))?
    }

    /// Puts the next records into `out`, as messages behind their lengths.
    pub(super) fn next(&mut self, input: &mut Input, out: &mut Vec<u8>) -> Step {
        input.skip(std::mem::take(&mut self.behind));
        if self.is_over {
            return Step::End;
        }
        out.clear();
        let offset_bytes = input.offset();
        let bytes = input.peek(PIECE_BYTES_MAX);
        let window = &bytes[..bytes.len().min(PIECE_BYTES_MAX)];
        let (mut at, mut ts, mut messages) = (0, None, 0);
        for _ in 0..self.records_max {
            let Some(record) = record_at(window, at) else {
                break;
            };
            let when = ts_recv(record).or_else(|| ts_of(record));
            let instrument = u32::from_le_bytes(record[4..8].try_into().expect("four bytes"));
            let name = self.names.of(instrument, when);
            out.extend_from_slice(&((NAME_BYTES + record.len()) as u16).to_be_bytes());
            out.extend_from_slice(&name.to_be_bytes());
            out.extend_from_slice(record);
            ts = ts.or(when);
            at += record.len();
            messages += 1;
        }
        if at == 0 {
            return self.last(input);
        }
        self.behind = at as u64;
        Step::Record(Record {
            at: 0,
            len: out.len(),
            offset_bytes,
            ts,
            interface: 0,
            piece: Some(Piece {
                messages,
                extra_bytes: -(2 + NAME_BYTES as i16),
            }),
        })
    }

    /// What to say where no whole record follows.
    #[cold]
    fn last(&mut self, input: &mut Input) -> Step {
        self.is_over = true;
        let offset_bytes = input.offset();
        match input.bytes().first() {
            Some(&fours) if usize::from(fours) * 4 < HEADER_BYTES => {
                let len = usize::from(fours) * 4;
                let what = format!("record of {len} bytes, want at least {HEADER_BYTES}");
                Step::Lost { offset_bytes, what }
            }
            fours => ending(
                input,
                "record",
                fours.map_or(16, |fours| u64::from(*fours) * 4),
            ),
        }
    }
}

/// The whole record that begins here.
fn record_at(window: &[u8], at: usize) -> Option<&[u8]> {
    let len = usize::from(*window.get(at)?) * 4;
    window.get(at..at + len).filter(|_| len >= HEADER_BYTES)
}

/// The date of a time in UTC, as a number like 20231225.
fn date(ts: Ts) -> u32 {
    // Days since 0000-03-01, by which a year's leap day is its last day.
    let days = ts.0.div_euclid(86_400_000_000_000) + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + i64::from(month <= 2);
    (year * 10_000 + month * 100 + day) as u32
}

/// Metadata behind the prelude. An error is the byte where they end too early.
struct Metadata<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Metadata<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], usize> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..len).ok_or(self.at)?;
        self.at += len;
        Ok(taken)
    }

    fn u32(&mut self) -> Result<u32, usize> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes(bytes.try_into().expect("four bytes")))
    }

    fn read(&mut self, version: u8, records_max: usize) -> Result<DbnFile, usize> {
        let dataset = String::from_utf8_lossy(self.take(16)?);
        let dataset = dataset.trim_end_matches('\0').to_string();
        let schema = u16::from_le_bytes(self.take(2)?.try_into().expect("two bytes"));
        let start = u64::from_le_bytes(self.take(8)?.try_into().expect("eight bytes"));
        let end = u64::from_le_bytes(self.take(8)?.try_into().expect("eight bytes"));
        self.take(if version == 1 { 16 } else { 8 } + 3)?;
        let symbol_bytes = match version {
            1 => 22,
            _ => {
                let bytes = self.take(2)?;
                usize::from(u16::from_le_bytes([bytes[0], bytes[1]]))
            }
        };
        self.take(if version == 1 { 47 } else { 53 })?;
        let schema_bytes = self.u32()? as usize;
        self.take(schema_bytes)?;
        for _ in 0..3 {
            let count = self.u32()? as usize;
            self.take(count.checked_mul(symbol_bytes).ok_or(self.at)?)?;
        }
        let (mut names, mut instruments) = (Names::default(), BTreeSet::new());
        for _ in 0..self.u32()? {
            let raw = self.take(symbol_bytes)?;
            for _ in 0..self.u32()? {
                let (from, to) = (self.u32()?, self.u32()?);
                let symbol = self.take(symbol_bytes)?;
                instruments.extend(number(symbol).or(number(raw)));
                // One of the two is the instrument's number, whichever way was asked.
                let found = match (number(symbol), number(raw)) {
                    (Some(id), _) => short_name(raw).map(|name| (id, name)),
                    (None, Some(id)) => short_name(symbol).map(|name| (id, name)),
                    (None, None) => None,
                };
                if let Some((id, name)) = found {
                    names.mapped.entry(id).or_default().push((from, to, name));
                }
            }
        }
        let time = |ns: u64| i64::try_from(ns).ok().filter(|ns| *ns > 0).map(Ts);
        Ok(DbnFile {
            names,
            dataset,
            start: i64::try_from(start).ok().map(Ts),
            end: time(end),
            schema,
            instruments,
            records_max,
            behind: 0,
            is_over: false,
        })
    }
}

/// A symbol that is an instrument's number.
fn number(symbol: &[u8]) -> Option<u32> {
    let text = symbol.split(|byte| *byte == 0).next()?;
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let day = |days: i64| date(Ts(days * 86_400_000_000_000));
        assert_eq!(day(0), 19_700_101);
        assert_eq!(day(-1), 19_691_231);
        assert_eq!(day(11_016), 20_000_229);
        assert_eq!(day(11_017), 20_000_301);
        assert_eq!(date(Ts(1_703_462_400_000_000_000)), 20_231_225);
        assert_eq!(date(Ts(1_703_462_399_999_999_999)), 20_231_224);
    }
}
