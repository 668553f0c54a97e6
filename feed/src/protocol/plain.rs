//! Books of venues whose changes have no numbers: a snapshot, and what follows it.

use bus::{Event, Flags, Kind, Price, Qty, Side};

use super::depth::Depth;
use super::said::{CODE_GOES_ON, Message, Unit};
use super::shown::Unfinished;
use super::symbols::Symbols;
use super::{Basis, Fault, Snapshot, Told};

/// So many levels of one message are kept until its last ones come.
const LEVELS_MAX: usize = 1 << 22;

/// The code of a snapshot's levels.
pub(super) const SNAPSHOT: u8 = b'S';
/// The code of changed levels.
pub(super) const CHANGES: u8 = b'L';
/// The code of a best bid and offer.
pub(super) const QUOTE: u8 = b'Q';

/// When a message of a snapshot is the first of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Snapshots {
    /// Always.
    InOneMessage,
    /// Where the message before it, of the same book, was none.
    InSeveral,
}

/// The books.
#[derive(Debug)]
pub(super) struct Plain {
    snapshots: Snapshots,
    symbols: Symbols,
    depth: Depth,
    unfinished: Unfinished,
    /// By the symbols' numbers.
    books: Vec<Book>,
    /// Levels of the message whose rest is still to come, and its code.
    open: Option<(u8, Vec<Unit>)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Book {
    is_in_snapshot: bool,
    /// Its changes follow on a snapshot.
    is_whole: bool,
    is_stale: bool,
}

impl Plain {
    pub(super) fn new(snapshots: Snapshots) -> Plain {
        Plain {
            snapshots,
            symbols: Symbols::default(),
            depth: Depth::default(),
            unfinished: Unfinished::default(),
            books: Vec::new(),
            open: None,
        }
    }

    /// See [`super::Protocol::translate`]. Levels are those of the codes above; a quote is a book of one
    /// level a side where the input has no other book of the symbol.
    pub(super) fn translate(
        &mut self,
        message: &[u8],
        event: &Event,
        out: &mut Vec<Event>,
    ) -> Result<(), Fault> {
        let message = Message::new(message).expect("it was decoded");
        let symbol = message.number(&mut self.symbols, event, out)?;
        let event = Event { symbol, ..*event };
        let (code, mut rows) = match (event.code, self.open.take()) {
            (CODE_GOES_ON, Some(open)) => open,
            (code, _) => (code, Vec::new()),
        };
        let is_quote = code == QUOTE && !message.is_told_elsewhere();
        if symbol == 0 || !(is_quote || matches!(code, SNAPSHOT | CHANGES)) {
            out.push(event);
            return Ok(());
        }
        rows.extend(message.rows());
        if message.has_more() {
            out.push(event);
            if rows.len() > LEVELS_MAX {
                let (what, max) = ("levels of one message", LEVELS_MAX as u32);
                return Err(Fault::Full { what, max });
            }
            self.open = Some((code, rows));
            return Ok(());
        }
        let index = symbol as usize;
        if self.books.len() <= index {
            self.books.resize(index + 1, Book::default());
        }
        let start = out.len();
        let result = self.show(code, &event, &rows, message.decimals(), out);
        let made = &mut out[start..];
        // That a book is stale comes before changes that are one with it: the last of them is a change.
        if made.last().is_some_and(|last| last.kind == Kind::Info) {
            let is_whole_first = made.len() > 1 && made[0].flags.has(Flags::WHOLE);
            made[usize::from(is_whole_first)..].rotate_right(1);
        }
        if made.is_empty() {
            out.push(event);
        } else {
            self.unfinished.mark(symbol, made, true);
        }
        result
    }

    /// See [`super::Protocol::told`]: of each snapshot that there is one.
    pub(super) fn told(&self, message: &[u8]) -> Told {
        let message = Message::new(message).filter(|message| message.code() == SNAPSHOT);
        let Some(message) = message else {
            return Told::Nothing;
        };
        let symbol = self.symbols.known(message.name());
        let book = self.books.get(symbol as usize).copied().unwrap_or_default();
        if book.is_in_snapshot && self.snapshots == Snapshots::InSeveral {
            return Told::Nothing;
        }
        Told::Snapshot(Snapshot {
            symbol,
            group: symbol,
            number: 0,
            basis: match book.is_whole {
                true => Basis::Unnumbered,
                false => Basis::Begins,
            },
            part: 1,
            parts: 1,
            rows: Vec::new(),
            are_orders: false,
            levels_max: None,
        })
    }

    fn show(
        &mut self,
        code: u8,
        event: &Event,
        rows: &[Unit],
        decimals: u8,
        out: &mut Vec<Event>,
    ) -> Result<(), Fault> {
        let book = &mut self.books[event.symbol as usize];
        let is_snapshot = code == SNAPSHOT;
        let goes_on = book.is_in_snapshot && self.snapshots == Snapshots::InSeveral;
        book.is_in_snapshot = is_snapshot;
        let is_anew = code == QUOTE || is_snapshot && !goes_on;
        if is_anew {
            book.is_whole = true;
            if std::mem::take(&mut book.is_stale) {
                out.push(note(event, Flags::WHOLE));
            }
            let level = |row: &Unit| (row.side as u8, row.price.0);
            let mut stay: Vec<(u8, i64)> = rows.iter().map(level).collect();
            stay.sort_unstable();
            self.depth.keep(event, &stay, out);
        }
        let mut lacks_any = !book.is_whole;
        let mut result = Ok(());
        for row in rows {
            let event = Event {
                side: row.side,
                ..*event
            };
            let one = self.depth.set(&event, row.price, row.qty, decimals, out);
            lacks_any |= one.is_err();
            result = result.and(one);
        }
        if lacks_any && !std::mem::replace(&mut book.is_stale, true) {
            out.push(note(event, Flags::STALE));
        }
        result
    }
}

/// What is said of a book as a whole.
fn note(event: &Event, flags: Flags) -> Event {
    Event {
        kind: Kind::Info,
        side: Side::None,
        price: Price(0),
        qty: Qty(0),
        flags,
        ..*event
    }
}
