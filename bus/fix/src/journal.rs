//! What was said of orders in a session, by both sides, kept for good.
//!
//! A [`Store`](crate::Store) is emptied when a session's numbers begin anew; a journal is not. The
//! state of every order, each fill and each position can be worked out of it again: see `blotter`.

use std::io;
use std::path::Path;

use crate::records::{Kinds, Record, Records, Safe};

/// What a record of a journal is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The journal begins: the session's next message has this number.
    Begins(u64),
    /// We sent this message, under this number.
    Sent(u64, Vec<u8>),
    /// This message came, at this time in nanoseconds since 1970.
    Came(i64, Vec<u8>),
    /// The message of this number was asked for again and was not repeated.
    Withheld(u64),
    /// The other side's session refused the message of this number, and said this of it.
    Refused(u64, Vec<u8>),
    /// The session's numbers began anew.
    Reset,
}

impl Entry {
    fn parts(&self) -> (u8, u64, &[u8]) {
        match self {
            Entry::Begins(seq) => (b'B', *seq, &[]),
            Entry::Sent(seq, message) => (b'S', *seq, message),
            Entry::Came(at, message) => (b'C', *at as u64, message),
            Entry::Withheld(seq) => (b'W', *seq, &[]),
            Entry::Refused(seq, text) => (b'X', *seq, text),
            Entry::Reset => (b'R', 0, &[]),
        }
    }

    fn of(record: &Record<'_>) -> Entry {
        let (number, body) = (record.number, || record.body.to_vec());
        match record.kind {
            b'B' => Entry::Begins(number),
            b'S' => Entry::Sent(number, body()),
            b'C' => Entry::Came(number as i64, body()),
            b'W' => Entry::Withheld(number),
            b'X' => Entry::Refused(number, body()),
            _ => Entry::Reset,
        }
    }
}

/// A journal that is written: a file of [records](crate::records), one for each [`Entry`].
#[derive(Debug)]
pub struct Journal {
    records: Records,
}

const KINDS: Kinds = ("B, S, C, W, X or R", |kind| {
    matches!(kind, b'B' | b'S' | b'C' | b'W' | b'X' | b'R')
});

impl Journal {
    /// Opens a journal, or makes it, and gives `each` what is in it. One process at a time may have
    /// it.
    pub fn open(path: &Path, mut each: impl FnMut(Entry)) -> io::Result<Journal> {
        let each = |record: Record<'_>| each(Entry::of(&record));
        // What must be on the disk is said by `sync`.
        let records = Records::open(path, Safe::Process, KINDS, each)?;
        Ok(Journal { records })
    }

    /// Gives `each` what is in a journal that another may write to; nothing where there is none.
    pub fn read(path: &Path, mut each: impl FnMut(Entry)) -> io::Result<()> {
        Records::read(path, KINDS, |record| each(Entry::of(&record)))
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Puts an entry at the end, where it survives the end of this process.
    pub fn append(&mut self, entry: &Entry) -> io::Result<()> {
        let (kind, number, body) = entry.parts();
        self.records.append(kind, number, body).map(drop)
    }

    /// As [`Journal::append`] of [`Entry::Sent`], without a copy of the message.
    pub fn sent(&mut self, seq: u64, message: &[u8]) -> io::Result<()> {
        self.records.append(b'S', seq, message).map(drop)
    }

    /// As [`Journal::append`] of [`Entry::Came`], without a copy of the message.
    pub fn came(&mut self, at: i64, message: &[u8]) -> io::Result<()> {
        self.records.append(b'C', at as u64, message).map(drop)
    }

    /// Waits until all of it survives the end of the machine.
    pub fn sync(&mut self) -> io::Result<()> {
        self.records.sync()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn entries(path: &Path) -> io::Result<Vec<Entry>> {
        let mut found = Vec::new();
        Journal::read(path, |entry| found.push(entry))?;
        Ok(found)
    }

    #[test]
    fn what_was_written_is_read() {
        let path = std::env::temp_dir().join(format!("fix-journal-{}", std::process::id()));
        let _ = fs::remove_file(&path);
        assert_eq!(entries(&path).unwrap(), []);
        let all = [
            Entry::Begins(7),
            Entry::Sent(7, b"8=FIX".to_vec()),
            Entry::Came(-5, b"report".to_vec()),
            Entry::Withheld(7),
            Entry::Refused(7, b"why".to_vec()),
            Entry::Reset,
        ];
        let mut journal = Journal::open(&path, |_| panic!("it is new")).unwrap();
        assert!(journal.is_empty());
        for entry in &all {
            journal.append(entry).unwrap();
        }
        journal.sync().unwrap();
        assert!(Journal::open(&path, |_| {}).is_err());
        drop(journal);
        assert_eq!(entries(&path).unwrap(), all);
        // Zeros, as a machine that lost its power leaves them, are none of it.
        let mut bytes = fs::read(&path).unwrap();
        bytes.resize(bytes.len() + 100, 0);
        fs::write(&path, &bytes).unwrap();
        assert_eq!(entries(&path).unwrap(), all);
        fs::remove_file(&path).unwrap();
    }
}
