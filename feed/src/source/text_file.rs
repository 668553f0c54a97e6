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

use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;

use bus::Ts;

use super::SourceError;
use super::capture::wire_of;
use super::file_info::Format;
use super::input::{Input, PIECE_MAX};
use super::record::{Record, Step, ending};
use crate::protocol::Wire;
use crate::protocol::bitstamp::{self, Rows};
use crate::protocol::said::{About, BadLine, Decimal, Instruments, Said};
use crate::protocol::tardis::Columns;
use crate::protocol::{binance, coinbase};

/// The longest line that is read.
const LINE_BYTES_MAX: usize = 16 << 20;
/// How far a file is looked into for what it is.
const LOOK_BYTES: usize = PIECE_MAX;
const LOOK_LINES: usize = 64;
/// So many rows of one message are held until its last one comes.
const ROWS_HELD_MAX: usize = 1 << 20;

/// Whose lines they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Venue {
    Binance,
    Coinbase,
    Tardis,
    Bitstamp,
}

/// What one line may be of a message of the venue.
enum Parts {
    /// All of it.
    Whole,
    /// Some of its rows.
    Rows,
    /// One of several messages of one time, which are one change.
    Times,
}

impl Venue {
    /// Whose lines are in this protocol, where each says something on its own.
    pub(super) fn of(wire: Wire) -> Option<Venue> {
        let is = |venue: &Venue| wire_of(venue.format()) == Some(wire);
        [Venue::Binance, Venue::Coinbase].into_iter().find(is)
    }

    pub(super) fn format(self) -> Format {
        match self {
            Venue::Binance => Format::Binance,
            Venue::Coinbase => Format::Coinbase,
            Venue::Tardis => Format::Tardis,
            Venue::Bitstamp => Format::Bitstamp,
        }
    }

    fn parts(self) -> Parts {
        match self {
            Venue::Binance | Venue::Coinbase => Parts::Whole,
            Venue::Tardis => Parts::Rows,
            Venue::Bitstamp => Parts::Times,
        }
    }

    /// Whether its lines are in the order of the venue's times, rather than of their arrival.
    fn is_by_event(self) -> bool {
        self == Venue::Bitstamp
    }

    /// Whether a line that says this may be met at other venues too.
    fn is_unsure(self, said: &Said) -> bool {
        match self {
            Venue::Binance | Venue::Coinbase => said.code == b'O',
            Venue::Tardis | Venue::Bitstamp => false,
        }
    }
}

/// Who reads the lines, with what the first of them said of the others.
#[derive(Clone, Debug)]
enum Voice {
    Binance,
    Coinbase,
    Tardis(Option<Columns>),
    Bitstamp { rows: Option<Rows>, market: String },
}

impl Voice {
    fn new(venue: Venue, path: &Path) -> Voice {
        match venue {
            Venue::Binance => Voice::Binance,
            Venue::Coinbase => Voice::Coinbase,
            Venue::Tardis => Voice::Tardis(None),
            Venue::Bitstamp => Voice::Bitstamp {
                rows: None,
                market: bitstamp::market(path),
            },
        }
    }

    /// Reads a line; says whether it is a message.
    fn read(&mut self, text: &[u8], said: &mut Said) -> Result<bool, BadLine> {
        match self {
            Voice::Binance => binance::read(text, said)?,
            Voice::Coinbase => coinbase::read(text, said)?,
            Voice::Tardis(Some(columns)) => columns.read(text, said)?,
            Voice::Tardis(columns @ None) => {
                *columns = Some(Columns::of(text).ok_or_else(|| no_columns("tardis.dev"))?);
                return Ok(false);
            }
            Voice::Bitstamp {
                rows: Some(rows),
                market,
            } => rows.read(market, text, said)?,
            Voice::Bitstamp { rows, .. } => {
                *rows = Some(Rows::of(text).ok_or_else(|| no_columns("Bitstamp"))?);
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// When a line arrived, what it says, and where that begins; `None` for a line that is no message.
    fn front<'a>(&self, line: &'a [u8]) -> Result<Front<'a>, BadLine> {
        match self {
            Voice::Binance | Voice::Coinbase => front(line),
            Voice::Tardis(_) | Voice::Bitstamp { .. } if line.is_empty() => Ok(None),
            Voice::Tardis(_) | Voice::Bitstamp { .. } => Ok(Some((None, line, 0))),
        }
    }
}

fn no_columns(venue: &str) -> BadLine {
    let what = format!("want the names of the columns of {venue}");
    BadLine { at: 0, what }
}

pub(super) struct TextFile {
    venue: Venue,
    /// Those of the whole input.
    instruments: Arc<Instruments>,
    /// Whose a book is that does not say it.
    only_book: Option<String>,
    lines: Lines,
    voice: Voice,
    /// What the line at hand says.
    said: Said,
    /// What lines before it say, which others may go on with, and where the first of them stands.
    held: Option<(Said, u64)>,
    /// The venue's latest time.
    ts_event: Option<Ts>,
    is_over: bool,
}

/// What is known of a file once it was read for its instruments.
#[derive(Default)]
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
    for (index, line) in bytes
        .split(|byte| *byte == b'\n')
        .take(LOOK_LINES)
        .enumerate()
    {
        let line = line.trim_ascii_end();
        if index == 0 && Columns::of(line).is_some() {
            return Some(Venue::Tardis);
        }
        if index == 0 && Rows::of(line).is_some() {
            return Some(Venue::Bitstamp);
        }
        let Ok(Some((_, text, _))) = front(line) else {
            continue;
        };
        for (venue, mut voice) in [
            (Venue::Binance, Voice::Binance),
            (Venue::Coinbase, Voice::Coinbase),
        ] {
            let is_read = voice.read(text, &mut said);
            if is_read.is_ok() && !venue.is_unsure(&said) {
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
    let (mut scanned, mut voice) = (Scanned::default(), Voice::new(venue, path));
    loop {
        match lines.next(&mut input) {
            Next::Line => scanned.learn(&mut voice, &lines.line, &mut said),
            Next::Long => {}
            Next::End => return Ok(scanned),
        }
    }
}

impl Scanned {
    /// Takes note of one line.
    fn learn(&mut self, voice: &mut Voice, line: &[u8], said: &mut Said) {
        let Ok(Some((ts_recv, text, _))) = voice.front(line) else {
            return;
        };
        if let Ok(true) = voice.read(text, said) {
            let start = ts_recv.or(said.ts_recv).or(said.ts_event);
            self.start = self.start.or(start);
            if said.symbol.is_empty() {
                self.unnamed = said.decimals().max(self.unnamed);
            }
            self.instruments.learn(said);
        }
    }

    /// Takes note of lines that each say something on their own.
    pub(super) fn learn_all<'a>(&mut self, venue: Venue, lines: impl Iterator<Item = &'a [u8]>) {
        let (mut voice, mut said) = (Voice::new(venue, Path::new("")), Said::default());
        lines.for_each(|line| self.learn(&mut voice, line, &mut said));
    }
}

impl TextFile {
    pub(super) fn new(venue: Venue, path: &Path) -> TextFile {
        TextFile {
            venue,
            instruments: Arc::default(),
            only_book: None,
            lines: Lines::default(),
            voice: Voice::new(venue, path),
            said: Said::default(),
            held: None,
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

    /// The line that the last step was about.
    pub(super) fn at_hand(&self) -> &[u8] {
        &self.lines.line
    }

    /// Puts the messages of this line into `out`; says when they are due.
    pub(super) fn one(&mut self, line: &[u8], out: &mut Vec<u8>) -> Result<Option<Ts>, String> {
        self.lines.line.clear();
        self.lines.line.extend_from_slice(line);
        match self.line(0, out) {
            Ok(Some(Step::Record(record))) => Ok(record.ts),
            Ok(Some(
                Step::Trouble { what, .. } | Step::Lost { what, .. } | Step::Failed { what, .. },
            )) => Err(what),
            Ok(Some(Step::End) | None) => Ok(None),
            Err(BadLine { at, what }) => Err(format!("byte {}: {what}", at + 1)),
        }
    }

    /// Puts the messages of the next line, or of the next ones that are one, into `out`, behind their
    /// lengths.
    pub(super) fn next(&mut self, input: &mut Input, out: &mut Vec<u8>) -> Step {
        if self.is_over {
            return Step::End;
        }
        loop {
            let found = self.lines.next(input);
            let (offset_bytes, number) = (self.lines.offset, self.lines.number);
            match found {
                Next::Line => {}
                Next::Long => {
                    let what = format!("line {number}: want at most {LINE_BYTES_MAX} bytes");
                    return Step::Trouble { offset_bytes, what };
                }
                Next::End => {
                    if let Some(step) = self.end_held(out) {
                        return step;
                    }
                    self.is_over = true;
                    return ending(input, "line", 1);
                }
            }
            match self.line(offset_bytes, out) {
                Ok(Some(step)) => return step,
                Ok(None) => {}
                Err(BadLine { at, what }) => {
                    let byte = at + 1;
                    return Step::Trouble {
                        offset_bytes: offset_bytes + at as u64,
                        what: format!("line {number}, byte {byte}: {what}"),
                    };
                }
            }
        }
    }

    /// What is to be handed out now that a line was read, if anything.
    fn line(&mut self, offset_bytes: u64, out: &mut Vec<u8>) -> Result<Option<Step>, BadLine> {
        let Some((ts_recv, text, start)) = self.voice.front(&self.lines.line)? else {
            return Ok(None);
        };
        let is_message = self
            .voice
            .read(text, &mut self.said)
            .map_err(|bad| BadLine {
                at: start + bad.at,
                ..bad
            })?;
        if !is_message {
            return Ok(None);
        }
        self.said.ts_recv = ts_recv.or(self.said.ts_recv);
        let parts = self.venue.parts();
        if let Parts::Whole = parts {
            let said = std::mem::take(&mut self.said);
            let step = self.hand_out(&said, offset_bytes, out);
            self.said = said;
            return step.map_err(|what| BadLine { at: start, what });
        }
        if let Some((held, _)) = &mut self.held
            && held.is_one_with(&self.said, matches!(parts, Parts::Times))
        {
            match parts {
                Parts::Whole | Parts::Times => held.is_followed = true,
                Parts::Rows if held.rows.len() < ROWS_HELD_MAX => {
                    held.rows.append(&mut self.said.rows);
                    return Ok(None);
                }
                Parts::Rows => {}
            }
        }
        let said = std::mem::take(&mut self.said);
        let before = self.held.replace((said, offset_bytes));
        let Some((before, offset)) = before else {
            return Ok(None);
        };
        // Where several lines are one, what does not fit is told with the first of them.
        let step = self.hand_out(&before, offset, out).unwrap_or_else(|what| {
            Some(Step::Trouble {
                offset_bytes: offset,
                what,
            })
        });
        self.said = before;
        Ok(step)
    }

    /// The last lines that are one.
    fn end_held(&mut self, out: &mut Vec<u8>) -> Option<Step> {
        let (said, offset_bytes) = self.held.take()?;
        self.hand_out(&said, offset_bytes, out)
            .unwrap_or_else(|what| Some(Step::Trouble { offset_bytes, what }))
    }

    /// Makes messages of what was said; `None` of what says nothing. An error is why not.
    fn hand_out(
        &mut self,
        said: &Said,
        offset_bytes: u64,
        out: &mut Vec<u8>,
    ) -> Result<Option<Step>, String> {
        self.ts_event = said.ts_event.or(self.ts_event);
        let Some(ts_event) = self.ts_event.or(said.ts_recv) else {
            if self.venue.is_unsure(said) {
                return Ok(None);
            }
            return Err("no time is known yet".into());
        };
        let symbol = match (said.symbol.as_str(), &self.only_book) {
            ("", Some(only)) if said.about == About::Book => only,
            ("", None) if said.about == About::Book => {
                let what = "a book without a symbol, want one, or one book in the input";
                return Err(what.into());
            }
            (symbol, _) => symbol,
        };
        let ts_recv = said.ts_recv.unwrap_or(ts_event);
        let due = match self.venue.is_by_event() {
            true => ts_event,
            false => ts_recv,
        };
        out.clear();
        self.instruments
            .write(said, symbol, ts_event, ts_recv, out)?;
        Ok(Some(Step::Record(Record {
            at: 0,
            len: out.len(),
            offset_bytes,
            ts: Some(due),
            interface: 0,
            piece: None,
        })))
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
            // The library's search, which looks at many bytes at once.
            let taken = { bytes }.skip_until(b'\n').expect("it is in memory");
            let is_end = bytes[taken - 1] == b'\n';
            let part = &bytes[..taken - usize::from(is_end)];
            is_long |= self.line.len() + part.len() > LINE_BYTES_MAX;
            if !is_long {
                self.line.extend_from_slice(part);
            }
            input.skip(taken as u64);
            if is_end {
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
