//! Captures of the crypto venues: lines, each a message, with the time at which it arrived in front or
//! without one.
//!
//! ```text
//! 1723161256172216566 {"stream": ...        nanoseconds since 1970
//! 1626992741.06217: {"stream": ...          seconds since 1970
//! {"stream": ...                            no time: the venue's own stands in
//! wss://... <- ...                          what was sent, or a connection: passed over
//! ```
//!
//! A file is read twice: when it is opened, for its instruments and how many decimals their quantities
//! have, and then for its messages. Memory is one line's.

use std::path::Path;
use std::sync::Arc;

use bus::Ts;

use super::SourceError;
use super::file_info::Format;
use super::input::{Input, PIECE_MAX};
use super::record::{Record, Step, ending};
use crate::protocol::binance;
use crate::protocol::said::{About, BadLine, Decimal, Instruments, Said};

/// The longest line that is read.
const LINE_BYTES_MAX: usize = 16 << 20;
/// How far a file is looked into for what it is.
const LOOK_BYTES: usize = PIECE_MAX;
const LOOK_LINES: usize = 64;

/// Whose lines they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Venue {
    Binance,
}

impl Venue {
    const ALL: [Venue; 1] = [Venue::Binance];

    pub(super) fn format(self) -> Format {
        match self {
            Venue::Binance => Format::Binance,
        }
    }

    fn read(self, text: &[u8], said: &mut Said) -> Result<(), BadLine> {
        match self {
            Venue::Binance => binance::read(text, said),
        }
    }

    /// Whether lines of this code are met at other venues too.
    fn is_unsure(self, code: u8) -> bool {
        match self {
            Venue::Binance => code == b'O',
        }
    }
}

pub(super) struct TextFile {
    venue: Venue,
    /// Those of the whole input.
    instruments: Arc<Instruments>,
    /// Whose a book is that does not say it.
    only_book: Option<String>,
    lines: Lines,
    said: Said,
    /// The venue's latest time.
    ts_event: Option<Ts>,
    is_over: bool,
}

/// What is known of a file once it was read for its instruments.
pub(super) struct Scanned {
    pub(super) instruments: Instruments,
    /// The decimals of books that do not say whose they are.
    pub(super) unnamed: u8,
    pub(super) start: Option<Ts>,
}

/// Whose lines the input begins with, if anybody's.
pub(super) fn look(input: &mut Input) -> Option<Venue> {
    let bytes = input.peek(LOOK_BYTES);
    let bytes = &bytes[..bytes.len().min(LOOK_BYTES)];
    let mut said = Said::default();
    for line in bytes.split(|byte| *byte == b'\n').take(LOOK_LINES) {
        let Ok(Some((_, text, _))) = front(line.trim_ascii_end()) else {
            continue;
        };
        for venue in Venue::ALL {
            if venue.read(text, &mut said).is_ok() && !venue.is_unsure(said.code) {
                return Some(venue);
            }
        }
    }
    None
}

/// Reads a file for its instruments, whatever else is in it; what is wrong is told when it is read
/// again.
pub(super) fn scan(path: &Path, venue: Venue) -> Result<Scanned, SourceError> {
    let mut input = Input::open(path, false)?;
    let (mut lines, mut said) = (Lines::default(), Said::default());
    let (mut instruments, mut start) = (Instruments::default(), None);
    let mut unnamed = 0;
    loop {
        match lines.next(&mut input) {
            Next::Line => {}
            Next::Long => continue,
            Next::End => break,
        }
        let Ok(Some((ts_recv, text, _))) = front(&lines.line) else {
            continue;
        };
        if venue.read(text, &mut said).is_ok() {
            start = start.or(ts_recv).or(said.ts_event);
            if said.symbol.is_empty() {
                unnamed = said.decimals().max(unnamed);
            }
            instruments.learn(&said);
        }
    }
    Ok(Scanned {
        instruments,
        unnamed,
        start,
    })
}

impl TextFile {
    pub(super) fn new(venue: Venue) -> TextFile {
        TextFile {
            venue,
            instruments: Arc::default(),
            only_book: None,
            lines: Lines::default(),
            said: Said::default(),
            ts_event: None,
            is_over: false,
        }
    }

    pub(super) fn venue(&self) -> Venue {
        self.venue
    }

    /// Says which instruments this file has, and which the whole input.
    pub(super) fn know(&mut self, own: &Instruments, all: &Arc<Instruments>) {
        let only = own.only_book().or(all.only_book());
        self.only_book = only.map(str::to_owned);
        self.instruments = Arc::clone(all);
    }

    /// Puts the next line's messages into `out`, behind their lengths.
    pub(super) fn next(&mut self, input: &mut Input, out: &mut Vec<u8>) -> Step {
        if self.is_over {
            return Step::End;
        }
        loop {
            let found = self.lines.next(input);
            let offset_bytes = self.lines.offset;
            match found {
                Next::Line => {}
                Next::Long => {
                    let number = self.lines.number;
                    let what = format!("line {number}: want at most {LINE_BYTES_MAX} bytes");
                    return Step::Trouble { offset_bytes, what };
                }
                Next::End => {
                    self.is_over = true;
                    return ending(input, "line", 1);
                }
            }
            out.clear();
            match self.line(out) {
                Ok(Some(ts)) => {
                    return Step::Record(Record {
                        at: 0,
                        len: out.len(),
                        offset_bytes,
                        ts: Some(ts),
                        interface: 0,
                    });
                }
                Ok(None) => {}
                Err(BadLine { at, what }) => {
                    let (number, byte) = (self.lines.number, at + 1);
                    return Step::Trouble {
                        offset_bytes: offset_bytes + at as u64,
                        what: format!("line {number}, byte {byte}: {what}"),
                    };
                }
            }
        }
    }

    /// The messages of the line at hand, and when they are due; `None` for a line that says nothing.
    fn line(&mut self, out: &mut Vec<u8>) -> Result<Option<Ts>, BadLine> {
        let Some((ts_recv, text, start)) = front(&self.lines.line)? else {
            return Ok(None);
        };
        let said = &mut self.said;
        self.venue.read(text, said).map_err(|bad| BadLine {
            at: start + bad.at,
            ..bad
        })?;
        let at_start = |what: String| BadLine { at: start, what };
        self.ts_event = said.ts_event.or(self.ts_event);
        let Some(ts_event) = self.ts_event.or(ts_recv) else {
            if self.venue.is_unsure(said.code) {
                return Ok(None);
            }
            return Err(at_start("no time is known yet".into()));
        };
        let symbol = match (said.symbol.as_str(), &self.only_book) {
            ("", Some(only)) if said.about == About::Book => only,
            ("", None) if said.about == About::Book => {
                let what = "a book without a symbol, want one, or one book in the input";
                return Err(at_start(what.into()));
            }
            (symbol, _) => symbol,
        };
        let due = ts_recv.unwrap_or(ts_event);
        let written = self.instruments.write(said, symbol, ts_event, due, out);
        written.map_err(at_start)?;
        Ok(Some(due))
    }
}

/// When a line arrived, what it says, and where that begins; `None` for a line that is no message.
type Front<'a> = Option<(Option<Ts>, &'a [u8], usize)>;

fn front(line: &[u8]) -> Result<Front<'_>, BadLine> {
    let wrong = |at: usize, what: &str| {
        let what = what.to_owned();
        Err(BadLine { at, what })
    };
    let is_number = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
    match line.first() {
        None => return Ok(None),
        Some(b'{' | b'[') => return Ok(Some((None, line, 0))),
        Some(byte) if is_number(byte) => {}
        Some(_) if line.starts_with(b"ws://") || line.starts_with(b"wss://") => return Ok(None),
        Some(_) if line.starts_with(b"http://") || line.starts_with(b"https://") => {
            return Ok(None);
        }
        Some(_) => return wrong(0, "want a time or a message"),
    }
    let len = line.iter().take_while(|byte| is_number(byte)).count();
    let (time, rest) = line.split_at(len);
    // Seconds have a point, or are short: nanoseconds have had 19 digits since 2001.
    let is_seconds = time.len() < 13 || time.contains(&b'.');
    let time =
        Decimal::parse(time).and_then(|time| time.in_units_of(if is_seconds { 9 } else { 0 }));
    let Some(ns) = time else {
        return wrong(0, "want a time in seconds or nanoseconds since 1970");
    };
    let behind = rest.strip_prefix(b":").unwrap_or(rest);
    let Some(text) = behind.strip_prefix(b" ") else {
        return wrong(len, "want a space behind the time");
    };
    Ok(Some((Some(Ts(ns)), text, line.len() - text.len())))
}

/// What comes next.
enum Next {
    /// A line, which may be empty.
    Line,
    /// One that is too long; it is passed over.
    Long,
    End,
}

/// The lines of a file, one after another.
#[derive(Default)]
struct Lines {
    line: Vec<u8>,
    number: u64,
    /// Where it stands.
    offset: u64,
}

impl Lines {
    fn next(&mut self, input: &mut Input) -> Next {
        self.line.clear();
        self.offset = input.offset();
        self.number += 1;
        let (mut is_long, mut is_any) = (false, false);
        loop {
            let bytes = input.peek(1);
            if bytes.is_empty() {
                break;
            }
            is_any = true;
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let part = &bytes[..end.unwrap_or(bytes.len())];
            is_long |= self.line.len() + part.len() > LINE_BYTES_MAX;
            if !is_long {
                self.line.extend_from_slice(part);
            }
            let taken = part.len() + usize::from(end.is_some());
            input.skip(taken as u64);
            if end.is_some() {
                break;
            }
        }
        self.line.truncate(self.line.trim_ascii_end().len());
        match (is_any, is_long) {
            (false, _) => Next::End,
            (true, true) => Next::Long,
            (true, false) => Next::Line,
        }
    }
}
