//! A file of records that only grows: what a session's store and its journal are written in.
//!
//! ```text
//! record: crc32c(4)  len(4)  kind(1)  number(8)  body(len)
//! ```
//!
//! All integers are little-endian; the sum is over everything behind it. A record that was not
//! finished is cut off when the file is opened again, and so are zeros, which a machine that lost
//! its power may leave where the last records were to be. What stands behind a record that is
//! damaged is refused, since numbers that have been used could be used again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// When what was written is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Safe {
    /// From the end of this process.
    Process,
    /// From the end of the machine, too: each record waits for the disk.
    Machine,
}

/// One record of a file.
pub(crate) struct Record<'a> {
    pub(crate) kind: u8,
    pub(crate) number: u64,
    pub(crate) body: &'a [u8],
    /// Where the body stands in the file.
    pub(crate) at: u64,
}

/// The kinds that a file may have, as an error names them, and whether one is among them.
pub(crate) type Kinds = (&'static str, fn(u8) -> bool);

/// A file of records that is written by this process alone.
#[derive(Debug)]
pub(crate) struct Records {
    file: File,
    path: PathBuf,
    safe: Safe,
    /// Where the next record goes: behind the last good one.
    end: u64,
    /// Whether there may be something behind `end`.
    is_torn: bool,
    scratch: Vec<u8>,
}

/// Bytes of a record in front of its body.
pub(crate) const RECORD_BYTES: usize = 17;
/// No message is longer, so nothing is allocated for a length beyond it.
const BODY_BYTES_MAX: u32 = 1 << 24;

impl Records {
    /// Opens a file, or makes it, and gives `each` what is in it. One process at a time may have it.
    pub(crate) fn open(
        path: &Path,
        safe: Safe,
        kinds: Kinds,
        each: impl FnMut(Record<'_>),
    ) -> io::Result<Records> {
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
        let (end, len) = scan(&file, path, kinds, each)?;
        // The file itself must be there after the machine ends, too.
        if safe == Safe::Machine
            && end == 0
            && let Some(folder) = path.parent().filter(|path| !path.as_os_str().is_empty())
        {
            File::open(folder)
                .and_then(|folder| folder.sync_all())
                .map_err(|error| told(folder, "sync", &error))?;
        }
        Ok(Records {
            file,
            path: path.to_owned(),
            safe,
            end,
            is_torn: end < len,
            scratch: Vec::new(),
        })
    }

    /// Gives `each` what is in a file that another may write to; nothing where there is none.
    pub(crate) fn read(path: &Path, kinds: Kinds, each: impl FnMut(Record<'_>)) -> io::Result<()> {
        match File::open(path) {
            Ok(file) => scan(&file, path, kinds, each).map(|_| ()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(told(path, "open", &error)),
        }
    }

    /// Whether nothing is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.end == 0
    }

    /// Puts a record at the end, and says where its body stands. After an error, nothing of it
    /// counts.
    pub(crate) fn append(&mut self, kind: u8, number: u64, body: &[u8]) -> io::Result<u64> {
        assert!(body.len() <= BODY_BYTES_MAX as usize);
        if self.is_torn {
            self.cut(self.end)?;
        }
        self.scratch.clear();
        self.scratch.extend_from_slice(&[0; 4]);
        self.scratch
            .extend_from_slice(&(body.len() as u32).to_le_bytes());
        self.scratch.push(kind);
        self.scratch.extend_from_slice(&number.to_le_bytes());
        self.scratch.extend_from_slice(body);
        let sum = crc32c::crc32c(&self.scratch[4..]);
        self.scratch[..4].copy_from_slice(&sum.to_le_bytes());
        self.is_torn = true;
        self.file
            .write_all_at(&self.scratch, self.end)
            .map_err(|error| told(&self.path, "write", &error))?;
        if self.safe == Safe::Machine {
            self.sync()?;
        }
        self.is_torn = false;
        let at = self.end + RECORD_BYTES as u64;
        self.end += self.scratch.len() as u64;
        Ok(at)
    }

    /// Waits until all of it survives the end of the machine.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.file
            .sync_data()
            .map_err(|error| told(&self.path, "sync", &error))
    }

    /// Fills `into` with what stands at a place that [`Records::append`] or a [`Record`] told.
    pub(crate) fn load(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.file
            .read_exact_at(into, at)
            .map_err(|error| told(&self.path, "read", &error))
    }

    /// Leaves nothing behind this place.
    pub(crate) fn cut(&mut self, end: u64) -> io::Result<()> {
        self.file
            .set_len(end)
            .map_err(|error| told(&self.path, "cut", &error))?;
        self.end = end;
        self.is_torn = false;
        Ok(())
    }
}

/// Where the last good record ends, and where the file does.
fn scan(
    file: &File,
    path: &Path,
    (names, is_kind): Kinds,
    mut each: impl FnMut(Record<'_>),
) -> io::Result<(u64, u64)> {
    let fail = |error| told(path, "read", &error);
    let wrong = |at: u64, what: String| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{}, byte {at}: {what}", path.display()),
        )
    };
    let len = file.metadata().map_err(fail)?.len();
    let mut reader = io::BufReader::new(file);
    let mut at = 0;
    let mut record = Vec::new();
    while len - at >= RECORD_BYTES as u64 {
        record.resize(RECORD_BYTES, 0);
        reader.read_exact(&mut record).map_err(fail)?;
        let body_bytes = u32::from_le_bytes(record[4..8].try_into().expect("four bytes"));
        if body_bytes > BODY_BYTES_MAX {
            let what = format!("a record of {body_bytes} bytes, want at most {BODY_BYTES_MAX}");
            return Err(wrong(at, what));
        }
        if len - at < RECORD_BYTES as u64 + u64::from(body_bytes) {
            // Not finished, or finished and of another length once.
            let mut rest = Vec::new();
            reader.read_to_end(&mut rest).map_err(fail)?;
            if let Some(place) = (0..rest.len()).find(|&place| is_record(&rest[place..], is_kind)) {
                let good = at + RECORD_BYTES as u64 + place as u64;
                let what = format!("a damaged record, with a good one behind it at byte {good}");
                return Err(wrong(at, what));
            }
            break;
        }
        record.resize(RECORD_BYTES + body_bytes as usize, 0);
        reader
            .read_exact(&mut record[RECORD_BYTES..])
            .map_err(fail)?;
        let sum = u32::from_le_bytes(record[..4].try_into().expect("four bytes"));
        let next = at + record.len() as u64;
        if crc32c::crc32c(&record[4..]) != sum {
            if next < len && !(is_zero(&record) && is_zero_to_the_end(&mut reader).map_err(fail)?) {
                let what = format!("a damaged record, with {} bytes behind it", len - next);
                return Err(wrong(at, what));
            }
            break;
        }
        let kind = record[8];
        if !is_kind(kind) {
            return Err(wrong(at, format!("a record of kind {kind}, want {names}")));
        }
        each(Record {
            kind,
            number: u64::from_le_bytes(record[9..17].try_into().expect("eight bytes")),
            body: &record[RECORD_BYTES..],
            at: at + RECORD_BYTES as u64,
        });
        at = next;
    }
    Ok((at, len))
}

/// Whether these bytes begin with a good record.
fn is_record(bytes: &[u8], is_kind: fn(u8) -> bool) -> bool {
    let Some((head, body)) = bytes.split_at_checked(RECORD_BYTES) else {
        return false;
    };
    let number = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes"));
    let body_bytes = number(4) as usize;
    is_kind(head[8])
        && body_bytes <= body.len()
        && crc32c::crc32c(&bytes[4..RECORD_BYTES + body_bytes]) == number(0)
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}

fn is_zero_to_the_end(reader: &mut impl io::BufRead) -> io::Result<bool> {
    loop {
        let bytes = reader.fill_buf()?;
        if bytes.is_empty() {
            return Ok(true);
        }
        if !is_zero(bytes) {
            return Ok(false);
        }
        let taken = bytes.len();
        reader.consume(taken);
    }
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

    const KINDS: Kinds = ("A or B", |kind| matches!(kind, b'A' | b'B'));

    fn bodies(path: &Path) -> io::Result<Vec<Vec<u8>>> {
        let mut found = Vec::new();
        Records::read(path, KINDS, |record| found.push(record.body.to_vec()))?;
        Ok(found)
    }

    /// Wherever a process or a machine stopped writing, what was said to be kept is there, and the
    /// next record can follow.
    #[test]
    fn what_was_not_finished_is_cut_off() {
        let path = std::env::temp_dir().join(format!("fix-records-{}", std::process::id()));
        let _ = fs::remove_file(&path);
        assert_eq!(bodies(&path).unwrap(), Vec::<Vec<u8>>::new());
        let open = || Records::open(&path, Safe::Process, KINDS, |_| {});
        let mut records = open().unwrap();
        assert!(records.is_empty());
        for body in [&b"one"[..], b"", b"three"] {
            records.append(b'A', 7, body).unwrap();
        }
        let error = open().unwrap_err().to_string();
        assert!(error.ends_with("another process has it open"), "{error}");
        drop(records);
        let whole = fs::read(&path).unwrap();
        let kept = [b"one".to_vec(), Vec::new()];
        let third = whole.len() - RECORD_BYTES - 5;
        let cuts = (third..whole.len()).map(|len| whole[..len].to_vec());
        let zeros = [1, RECORD_BYTES - 1, RECORD_BYTES, 100].map(|zeros| {
            let mut bytes = whole[..third].to_vec();
            bytes.resize(third + zeros, 0);
            bytes
        });
        for bytes in cuts.chain(zeros) {
            fs::write(&path, &bytes).unwrap();
            assert_eq!(bodies(&path).unwrap(), kept, "{} bytes", bytes.len());
            open().unwrap().append(b'B', 8, b"after").unwrap();
            assert_eq!(bodies(&path).unwrap()[2..], [b"after".to_vec()]);
        }
        let mut bytes = whole.clone();
        // A length, and what it is the length of.
        bytes[25] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let error = bodies(&path).unwrap_err().to_string();
        assert!(
            error.ends_with(", byte 20: a damaged record, with a good one behind it at byte 37"),
            "{error}"
        );
        bytes[25] ^= 1;
        bytes[30] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let error = bodies(&path).unwrap_err().to_string();
        assert!(
            error.ends_with(", byte 20: a damaged record, with 22 bytes behind it"),
            "{error}"
        );
        bytes[24..28].fill(0xff);
        fs::write(&path, &bytes).unwrap();
        let error = bodies(&path).unwrap_err().to_string();
        assert!(
            error.ends_with(", byte 20: a record of 4294967295 bytes, want at most 16777216"),
            "{error}"
        );
        fs::remove_file(&path).unwrap();
        open().unwrap().append(b'C', 0, b"").unwrap();
        let error = bodies(&path).unwrap_err().to_string();
        assert!(
            error.ends_with(", byte 0: a record of kind 67, want A or B"),
            "{error}"
        );
        fs::remove_file(&path).unwrap();
    }

    /// What a failed write left is no damage to the shorter record that takes its place.
    #[test]
    fn a_failed_write_leaves_nothing() {
        let path = std::env::temp_dir().join(format!("fix-records-torn-{}", std::process::id()));
        let _ = fs::remove_file(&path);
        let mut records = Records::open(&path, Safe::Process, KINDS, |_| {}).unwrap();
        records.append(b'A', 1, b"first").unwrap();
        // A write that stopped half way, as on a full disk.
        records.is_torn = true;
        records
            .file
            .write_all_at(&[0x5a; 100], records.end)
            .unwrap();
        records.append(b'A', 2, b"2").unwrap();
        drop(records);
        assert_eq!(bodies(&path).unwrap(), [b"first".to_vec(), b"2".to_vec()]);
        fs::remove_file(&path).unwrap();
    }
}
