//! What was said of orders in a session, by both sides, kept for good.
//!
//! A [`Store`](crate::Store) is emptied when a session's numbers begin anew; a journal is not. The
//! state of every order, each fill and each position can be worked out of it again: see `blotter`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

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

    fn of(kind: u8, number: u64, body: &[u8]) -> Option<Entry> {
        Some(match kind {
            b'B' => Entry::Begins(number),
            b'S' => Entry::Sent(number, body.to_vec()),
            b'C' => Entry::Came(number as i64, body.to_vec()),
            b'W' => Entry::Withheld(number),
            b'X' => Entry::Refused(number, body.to_vec()),
            b'R' => Entry::Reset,
            _ => return None,
        })
    }
}

/// A journal that is written.
///
/// ```text
/// record: crc32c(4)  len(4)  kind(1)  number(8)  message(len)
/// ```
///
/// All integers are little-endian; the sum is over everything behind it. A record that was not
/// finished is cut off when the file is opened again; what stands behind a damaged one is refused.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    end: u64,
    scratch: Vec<u8>,
}

const RECORD_BYTES: usize = 17;
/// No message is longer, so nothing is allocated for a length beyond it.
const MESSAGE_BYTES_MAX: u32 = 1 << 24;

impl Journal {
    /// Opens a journal, or makes it, and gives `each` what is in it. One process at a time may have
    /// it.
    pub fn open(path: &Path, each: impl FnMut(Entry)) -> io::Result<Journal> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(|error| told(path, "open", &error))?;
        file.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => io::Error::new(
                io::ErrorKind::ResourceBusy,
                format!("{}: another process has it open", path.display()),
            ),
            fs::TryLockError::Error(error) => told(path, "lock", &error),
        })?;
        let end = scan(&file, path, each)?;
        file.set_len(end)
            .map_err(|error| told(path, "cut", &error))?;
        Ok(Journal {
            file,
            path: path.to_owned(),
            end,
            scratch: Vec::new(),
        })
    }

    /// Gives `each` what is in a journal that another may write to; nothing where there is none.
    pub fn read(path: &Path, each: impl FnMut(Entry)) -> io::Result<()> {
        match File::open(path) {
            Ok(file) => scan(&file, path, each).map(|_| ()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(told(path, "open", &error)),
        }
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.end == 0
    }

    /// Puts an entry at the end, where it survives the end of this process.
    pub fn append(&mut self, entry: &Entry) -> io::Result<()> {
        let (kind, number, body) = entry.parts();
        self.put(kind, number, body)
    }

    /// As [`Journal::append`] of [`Entry::Sent`], without a copy of the message.
    pub fn sent(&mut self, seq: u64, message: &[u8]) -> io::Result<()> {
        self.put(b'S', seq, message)
    }

    /// As [`Journal::append`] of [`Entry::Came`], without a copy of the message.
    pub fn came(&mut self, at: i64, message: &[u8]) -> io::Result<()> {
        self.put(b'C', at as u64, message)
    }

    fn put(&mut self, kind: u8, number: u64, body: &[u8]) -> io::Result<()> {
        assert!(body.len() <= MESSAGE_BYTES_MAX as usize);
        self.scratch.clear();
        self.scratch.extend_from_slice(&[0; 4]);
        self.scratch
            .extend_from_slice(&(body.len() as u32).to_le_bytes());
        self.scratch.push(kind);
        self.scratch.extend_from_slice(&number.to_le_bytes());
        self.scratch.extend_from_slice(body);
        let sum = crc32c::crc32c(&self.scratch[4..]);
        self.scratch[..4].copy_from_slice(&sum.to_le_bytes());
        // What a failed write left is written over by the next.
        self.file
            .write_all_at(&self.scratch, self.end)
            .map_err(|error| told(&self.path, "write", &error))?;
        self.end += self.scratch.len() as u64;
        Ok(())
    }

    /// Waits until all of it survives the end of the machine.
    pub fn sync(&mut self) -> io::Result<()> {
        self.file
            .sync_data()
            .map_err(|error| told(&self.path, "sync", &error))
    }
}

/// Where the last good record ends.
fn scan(file: &File, path: &Path, mut each: impl FnMut(Entry)) -> io::Result<u64> {
    let fail = |error| told(path, "read", &error);
    let len = file.metadata().map_err(fail)?.len();
    let mut reader = io::BufReader::new(file);
    let mut at = 0;
    let mut record = Vec::new();
    while len - at >= RECORD_BYTES as u64 {
        record.resize(RECORD_BYTES, 0);
        reader.read_exact(&mut record).map_err(fail)?;
        let body_bytes = u32::from_le_bytes(record[4..8].try_into().expect("four bytes"));
        if body_bytes > MESSAGE_BYTES_MAX {
            return Err(io::Error::other(format!(
                "{}, byte {at}: a record of {body_bytes} bytes, want at most {MESSAGE_BYTES_MAX}",
                path.display()
            )));
        }
        if len - at < RECORD_BYTES as u64 + u64::from(body_bytes) {
            break;
        }
        record.resize(RECORD_BYTES + body_bytes as usize, 0);
        reader
            .read_exact(&mut record[RECORD_BYTES..])
            .map_err(fail)?;
        let sum = u32::from_le_bytes(record[..4].try_into().expect("four bytes"));
        let number = u64::from_le_bytes(record[9..17].try_into().expect("eight bytes"));
        let next = at + record.len() as u64;
        if crc32c::crc32c(&record[4..]) != sum {
            if next == len {
                break;
            }
            return Err(io::Error::other(format!(
                "{}, byte {at}: a damaged record, with {} bytes behind it",
                path.display(),
                len - next
            )));
        }
        let entry = Entry::of(record[8], number, &record[RECORD_BYTES..]).ok_or_else(|| {
            io::Error::other(format!(
                "{}, byte {at}: a record of kind {}, want B, S, C, W, X or R",
                path.display(),
                record[8]
            ))
        })?;
        each(entry);
        at = next;
    }
    Ok(at)
}

#[cold]
fn told(path: &Path, tried: &str, error: &io::Error) -> io::Error {
    io::Error::new(
        error.kind(),
        format!("{}: {tried}: {error}", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(path: &Path) -> io::Result<Vec<Entry>> {
        let mut found = Vec::new();
        Journal::read(path, |entry| found.push(entry))?;
        Ok(found)
    }

    #[test]
    fn what_was_written_is_read_wherever_it_was_cut() {
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
        let whole = fs::read(&path).unwrap();
        for cut in 1..RECORD_BYTES {
            fs::write(&path, &whole[..whole.len() - cut]).unwrap();
            let mut journal = Journal::open(&path, |_| {}).unwrap();
            journal.append(&Entry::Reset).unwrap();
            drop(journal);
            assert_eq!(entries(&path).unwrap(), all);
        }
        let mut bytes = whole.clone();
        bytes[RECORD_BYTES + 20] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let error = entries(&path).unwrap_err().to_string();
        assert!(
            error.contains("byte 17: a damaged record, with "),
            "{error}"
        );
        bytes[RECORD_BYTES + 4..RECORD_BYTES + 8].fill(0xff);
        fs::write(&path, &bytes).unwrap();
        let error = entries(&path).unwrap_err().to_string();
        assert!(
            error.contains("byte 17: a record of 4294967295 bytes"),
            "{error}"
        );
        fs::remove_file(&path).unwrap();
    }
}
