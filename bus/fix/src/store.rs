//! What a session must not forget: the numbers, and the messages that may be asked for again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bus::Ts;

/// A session's memory. What a call says is kept before the call returns, so that a message can
/// leave once it is saved.
pub trait Store {
    /// The number of the next message that is sent.
    fn next_out(&self) -> u64;
    /// The number of the next message that is expected.
    fn next_in(&self) -> u64;
    /// When the numbers began at 1.
    fn created(&self) -> Ts;
    /// Keeps a message before it is sent, and moves on to the next number.
    fn save(&mut self, seq: u64, message: &[u8]) -> io::Result<()>;
    /// The number of the next message that is expected.
    fn set_next_in(&mut self, seq: u64) -> io::Result<()>;
    /// Puts a message that was sent behind what `into` has; `false` where there is none.
    fn load(&mut self, seq: u64, into: &mut Vec<u8>) -> io::Result<bool>;
    /// Forgets all: both numbers are 1.
    fn reset(&mut self, now: Ts) -> io::Result<()>;
}

/// Where each message that was sent stands, by its number.
#[derive(Clone, Debug)]
struct Places {
    /// The number of the first.
    first: u64,
    list: Vec<(u64, u32)>,
}

impl Places {
    fn put(&mut self, seq: u64, place: (u64, u32)) {
        if self.list.is_empty() {
            self.first = seq;
        }
        // Numbers go up by one, except where a file was damaged or made by hand.
        let index = usize::try_from(seq.wrapping_sub(self.first)).unwrap_or(usize::MAX);
        if index == self.list.len() {
            self.list.push(place);
        } else {
            self.list.clear();
            self.list.push(place);
            self.first = seq;
        }
    }

    fn get(&self, seq: u64) -> Option<(u64, u32)> {
        let index = usize::try_from(seq.checked_sub(self.first)?).ok()?;
        self.list.get(index).copied()
    }
}

/// Remembers while the process lives.
#[derive(Clone, Debug)]
pub struct Memory {
    next_out: u64,
    next_in: u64,
    created: Ts,
    places: Places,
    bytes: Vec<u8>,
}

impl Memory {
    /// Both numbers are 1.
    pub fn new(now: Ts) -> Memory {
        Memory {
            next_out: 1,
            next_in: 1,
            created: now,
            places: Places {
                first: 1,
                list: Vec::new(),
            },
            bytes: Vec::new(),
        }
    }
}

impl Store for Memory {
    fn next_out(&self) -> u64 {
        self.next_out
    }

    fn next_in(&self) -> u64 {
        self.next_in
    }

    fn created(&self) -> Ts {
        self.created
    }

    fn save(&mut self, seq: u64, message: &[u8]) -> io::Result<()> {
        self.places
            .put(seq, (self.bytes.len() as u64, message.len() as u32));
        self.bytes.extend_from_slice(message);
        self.next_out = seq + 1;
        Ok(())
    }

    fn set_next_in(&mut self, seq: u64) -> io::Result<()> {
        self.next_in = seq;
        Ok(())
    }

    fn load(&mut self, seq: u64, into: &mut Vec<u8>) -> io::Result<bool> {
        let Some((at, len)) = self.places.get(seq) else {
            return Ok(false);
        };
        into.extend_from_slice(&self.bytes[at as usize..][..len as usize]);
        Ok(true)
    }

    fn reset(&mut self, now: Ts) -> io::Result<()> {
        *self = Memory::new(now);
        Ok(())
    }
}

/// When what was written is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Safe {
    /// From the end of this process.
    Process,
    /// From the end of the machine, too: each record waits for the disk.
    Machine,
}

/// Remembers in one file.
///
/// ```text
/// record: crc32c(4)  len(4)  kind(1)  number(8)  message(len)
/// kind:   M a message that is sent, under its number
///         I the next number that is expected
///         R both numbers are 1; number is the time
/// ```
///
/// All integers are little-endian; the sum is over everything behind it. A record that was not
/// finished is cut off when the file is opened again. What stands behind a record that is damaged
/// is refused, since numbers that have been used could be used again.
#[derive(Debug)]
pub struct FileStore {
    file: File,
    path: PathBuf,
    safe: Safe,
    /// Where the next record goes: behind the last good one.
    end: u64,
    /// Whether there may be something behind `end`.
    is_torn: bool,
    scratch: Vec<u8>,
    next_out: u64,
    next_in: u64,
    created: Ts,
    places: Places,
}

const RECORD_BYTES: usize = 17;
/// No message is longer, so nothing is allocated for a length beyond it.
const MESSAGE_BYTES_MAX: u32 = 1 << 24;

impl FileStore {
    /// Opens a file, or makes it. One process at a time may have it.
    pub fn open(path: &Path, safe: Safe, now: Ts) -> io::Result<FileStore> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(|error| told(path, "open", &error))?;
        file.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => {
                io::Error::other(format!("{}: another process has it open", path.display()))
            }
            fs::TryLockError::Error(error) => told(path, "lock", &error),
        })?;
        let mut store = FileStore {
            file,
            path: path.to_owned(),
            safe,
            end: 0,
            is_torn: false,
            scratch: Vec::new(),
            next_out: 1,
            next_in: 1,
            created: now,
            places: Places {
                first: 1,
                list: Vec::new(),
            },
        };
        store.recover()?;
        if store.end == 0 {
            store.reset(now)?;
            // The file itself must be there after the machine ends, too.
            if safe == Safe::Machine
                && let Some(folder) = path.parent().filter(|path| !path.as_os_str().is_empty())
            {
                File::open(folder)
                    .and_then(|folder| folder.sync_all())
                    .map_err(|error| told(folder, "sync", &error))?;
            }
        }
        Ok(store)
    }

    fn recover(&mut self) -> io::Result<()> {
        let path = self.path.clone();
        let fail = |error| told(&path, "read", &error);
        let len = self.file.metadata().map_err(fail)?.len();
        let mut reader = io::BufReader::new(&self.file);
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
                // A machine that lost its power may leave zeros where the last record was to be.
                let mut rest = Vec::new();
                let is_empty = record.iter().all(|&byte| byte == 0)
                    && len - next <= u64::from(MESSAGE_BYTES_MAX)
                    && reader.read_to_end(&mut rest).is_ok()
                    && rest.iter().all(|&byte| byte == 0);
                if next < len && !is_empty {
                    return Err(io::Error::other(format!(
                        "{}, byte {at}: a damaged record, with {} bytes behind it",
                        path.display(),
                        len - next
                    )));
                }
                break;
            }
            match record[8] {
                b'M' => {
                    let place = (at + RECORD_BYTES as u64, body_bytes);
                    self.places.put(number, place);
                    self.next_out = number.saturating_add(1);
                }
                b'I' => self.next_in = number,
                b'R' => {
                    self.next_out = 1;
                    self.next_in = 1;
                    self.created = Ts(number as i64);
                    self.places.list.clear();
                }
                kind => {
                    return Err(io::Error::other(format!(
                        "{}, byte {at}: a record of kind {kind}, want M, I or R",
                        path.display()
                    )));
                }
            }
            at = next;
        }
        self.end = at;
        self.is_torn = at < len;
        Ok(())
    }

    /// Puts a record at the end. After an error, nothing of it counts.
    fn append(&mut self, kind: u8, number: u64, body: &[u8]) -> io::Result<u64> {
        assert!(body.len() <= MESSAGE_BYTES_MAX as usize);
        let tell = |path: &Path, error| told(path, "write", &error);
        if self.is_torn {
            self.file
                .set_len(self.end)
                .map_err(|error| tell(&self.path, error))?;
            self.is_torn = false;
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
            .map_err(|error| tell(&self.path, error))?;
        if self.safe == Safe::Machine {
            self.file
                .sync_data()
                .map_err(|error| told(&self.path, "sync", &error))?;
        }
        self.is_torn = false;
        let at = self.end;
        self.end += self.scratch.len() as u64;
        Ok(at)
    }
}

#[cold]
fn told(path: &Path, tried: &str, error: &io::Error) -> io::Error {
    io::Error::new(
        error.kind(),
        format!("{}: {tried}: {error}", path.display()),
    )
}

impl Store for FileStore {
    fn next_out(&self) -> u64 {
        self.next_out
    }

    fn next_in(&self) -> u64 {
        self.next_in
    }

    fn created(&self) -> Ts {
        self.created
    }

    fn save(&mut self, seq: u64, message: &[u8]) -> io::Result<()> {
        let at = self.append(b'M', seq, message)?;
        let place = (at + RECORD_BYTES as u64, message.len() as u32);
        self.places.put(seq, place);
        self.next_out = seq + 1;
        Ok(())
    }

    fn set_next_in(&mut self, seq: u64) -> io::Result<()> {
        self.append(b'I', seq, &[])?;
        self.next_in = seq;
        Ok(())
    }

    fn load(&mut self, seq: u64, into: &mut Vec<u8>) -> io::Result<bool> {
        let Some((at, len)) = self.places.get(seq) else {
            return Ok(false);
        };
        let start = into.len();
        into.resize(start + len as usize, 0);
        self.file
            .read_exact_at(&mut into[start..], at)
            .map_err(|error| told(&self.path, "read", &error))?;
        Ok(true)
    }

    /// What was there before is gone with it, so that the file does not grow from day to day.
    fn reset(&mut self, now: Ts) -> io::Result<()> {
        let tell = |error| told(&self.path, "empty", &error);
        self.file.set_len(0).map_err(tell)?;
        self.file.seek(SeekFrom::Start(0)).map_err(tell)?;
        self.file.flush().map_err(tell)?;
        self.end = 0;
        self.is_torn = false;
        self.next_out = 1;
        self.next_in = 1;
        self.created = now;
        self.places.list.clear();
        self.append(b'R', now.0 as u64, &[])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that goes away.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path =
                std::env::temp_dir().join(format!("fix-store-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Folder(path)
        }

        fn file(&self) -> PathBuf {
            self.0.join("session")
        }

        fn open(&self) -> io::Result<FileStore> {
            FileStore::open(&self.file(), Safe::Process, Ts(5))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn loaded(store: &mut impl Store, seq: u64) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        store.load(seq, &mut bytes).unwrap().then_some(bytes)
    }

    fn fill(store: &mut impl Store) {
        for seq in 1..=20u64 {
            store
                .save(seq, format!("message {seq}").as_bytes())
                .unwrap();
        }
        store.set_next_in(9).unwrap();
    }

    fn check_full(store: &mut impl Store) {
        assert_eq!((store.next_out(), store.next_in()), (21, 9));
        assert_eq!(loaded(store, 1).unwrap(), b"message 1");
        assert_eq!(loaded(store, 20).unwrap(), b"message 20");
        assert_eq!((loaded(store, 0), loaded(store, 21)), (None, None));
    }

    #[test]
    fn memory_remembers() {
        let mut store = Memory::new(Ts(5));
        fill(&mut store);
        check_full(&mut store);
        store.reset(Ts(6)).unwrap();
        assert_eq!(
            (store.next_out(), store.next_in(), store.created()),
            (1, 1, Ts(6))
        );
        assert_eq!(loaded(&mut store, 1), None);
    }

    #[test]
    fn a_file_remembers_across_processes() {
        let folder = Folder::new("remembers");
        let mut store = folder.open().unwrap();
        fill(&mut store);
        check_full(&mut store);
        let error = folder.open().unwrap_err().to_string();
        assert!(error.ends_with("another process has it open"), "{error}");
        drop(store);
        let mut store = FileStore::open(&folder.file(), Safe::Machine, Ts(7)).unwrap();
        check_full(&mut store);
        assert_eq!(store.created(), Ts(5));
        store.reset(Ts(8)).unwrap();
        store.save(1, b"new").unwrap();
        drop(store);
        let mut store = folder.open().unwrap();
        assert_eq!((store.next_out(), store.created()), (2, Ts(8)));
        assert_eq!(loaded(&mut store, 1).unwrap(), b"new");
    }

    /// Wherever a killed process stopped writing, what was said to be kept is there.
    #[test]
    fn a_record_that_was_not_finished_is_cut_off() {
        let folder = Folder::new("torn");
        fill(&mut folder.open().unwrap());
        let whole = fs::read(folder.file()).unwrap();
        for cut in 1..RECORD_BYTES {
            fs::write(folder.file(), &whole[..whole.len() - cut]).unwrap();
            let mut store = folder.open().unwrap();
            assert_eq!((store.next_out(), store.next_in()), (21, 1));
            store.set_next_in(9).unwrap();
            drop(store);
            check_full(&mut folder.open().unwrap());
        }
    }

    #[test]
    fn damage_in_front_of_records_is_refused() {
        let folder = Folder::new("damaged");
        fill(&mut folder.open().unwrap());
        let whole = fs::read(folder.file()).unwrap();
        let mut bytes = whole.clone();
        bytes[60] ^= 1;
        fs::write(folder.file(), &bytes).unwrap();
        let error = folder.open().unwrap_err().to_string();
        assert!(
            error.contains(", byte 43: a damaged record, with "),
            "{error}"
        );
        let mut bytes = whole[..RECORD_BYTES].to_vec();
        bytes.extend([0xff; 40]);
        fs::write(folder.file(), &bytes).unwrap();
        let error = folder.open().unwrap_err().to_string();
        assert!(
            error.ends_with(", byte 17: a record of 4294967295 bytes, want at most 16777216"),
            "{error}"
        );
        // Zeros are what a lost write leaves, and count as none.
        let mut bytes = whole.clone();
        bytes.extend([0; 100]);
        fs::write(folder.file(), &bytes).unwrap();
        check_full(&mut folder.open().unwrap());
    }
}
