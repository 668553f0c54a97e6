//! Following a log, from this process or another, without the writer's help or knowledge.
//!
//! A tail holds no lock and leaves no trace: a slow or dead one costs the writer nothing, and
//! segments are removed without regard to it. If that overtakes it, the error names the first
//! cell that is still there.

use std::path::Path;

use super::error::LogError;
use super::reader::{LogReader, Record};
use crate::disk::{Directory, Files};
use crate::fixed::Ts;

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// The first cell that is kept.
    Start,
    /// The record that begins at this cell.
    Cell(u64),
    /// The first event that happened at this time or later.
    Time(Ts),
    /// What comes from now on.
    End,
}

/// Which records to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Only what the log itself proves durable: no crash can take it back. It comes a frame
    /// later, or a tenth of a second later where the feed rests.
    Durable,
    /// All that can be read. After a crash of the machine the log may go on without some of it.
    Written,
}

/// Follows a log. See the module.
#[derive(Debug)]
pub struct Tail<F = Directory> {
    reader: LogReader<F>,
    /// Goes ahead, to learn what is durable.
    scout: Option<LogReader<F>>,
}

impl Tail<Directory> {
    /// Follows the log in a directory.
    pub fn open(dir: &Path, from: From, until: Until) -> Result<Tail<Directory>, LogError> {
        Tail::over(|| Directory::new(dir), from, until)
    }
}

impl<F: Files> Tail<F> {
    /// Follows the log in these files; `files` is called twice.
    pub fn over(files: impl Fn() -> F, from: From, until: Until) -> Result<Tail<F>, LogError> {
        let reader = match from {
            From::Start => LogReader::live(files(), None)?,
            From::Cell(cell) => LogReader::live(files(), Some(cell))?,
            From::Time(ts) => {
                let cell = cell_at(files(), ts)?;
                LogReader::live(files(), Some(cell))?
            }
            From::End => {
                let mut reader = LogReader::live_at_last(files())?;
                reader.skip_to_end()?;
                reader
            }
        };
        let scout = match until {
            Until::Written => None,
            Until::Durable => {
                let mut scout = LogReader::live(files(), Some(reader.position()))?;
                // What a cell in the middle of a segment follows is proven by what is before it
                // only as far as that was read: the way on says more.
                scout.skip_to_end()?;
                Some(scout)
            }
        };
        Ok(Tail { reader, scout })
    }

    /// The next record with its cell, or `None` while there is no more. Reads files, does not
    /// wait; the caller paces itself. After an error, every call says it again.
    pub fn poll(&mut self) -> Result<Option<(u64, Record)>, LogError> {
        if let Some(scout) = &mut self.scout
            && self.reader.position() >= scout.durable_upto()
        {
            scout.skip_to_end()?;
            if self.reader.position() >= scout.durable_upto() {
                return Ok(None);
            }
        }
        self.reader.next_live()
    }

    /// The cell at which the next record will begin: what to go on from.
    pub fn position(&self) -> u64 {
        self.reader.position()
    }

    /// Cells below this are durable, by the log's word as far as it was looked at.
    pub fn durable_upto(&self) -> u64 {
        let ahead = self.scout.as_ref().unwrap_or(&self.reader);
        ahead.durable_upto()
    }

    /// Whether all was said, and the writer ended the log in order. It may still be resumed.
    pub fn is_finished(&self) -> bool {
        let ahead = self.scout.as_ref().unwrap_or(&self.reader);
        ahead.is_finished() && self.position() == ahead.position()
    }
}

/// The cell of the first event that happened at `ts` or later; where the log ends, if none did.
/// Times are taken to grow from segment to segment, as a feed's do but for what comes late.
pub fn cell_at(files: impl Files, ts: Ts) -> Result<u64, LogError> {
    let begin = LogReader::first_cell_of_times(&files, ts)?;
    let mut reader = LogReader::live(&files, begin)?;
    loop {
        let cell = reader.position();
        match reader.next_live()? {
            Some((cell, Record::Event(event))) if event.ts_event >= ts => return Ok(cell),
            Some(_) => {}
            None => return Ok(cell),
        }
    }
}

/// How far a log is, and how much of it is durable by its own word: both as cells.
pub fn ends(dir: &Path) -> Result<(u64, u64), LogError> {
    let mut reader = LogReader::live_at_last(Directory::new(dir))?;
    reader.skip_to_end()?;
    Ok((reader.position(), reader.durable_upto()))
}
