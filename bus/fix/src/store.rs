//! What a session must not forget: the numbers, and the messages that may be asked for again.

use std::io;
use std::path::Path;

use bus::Ts;

use crate::records::{Kinds, Records, Safe};

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
    /// The name of the other side's session, where it has one and it was kept.
    fn session(&self) -> Option<[u8; 10]>;
    /// Keeps the name of the other side's session.
    fn set_session(&mut self, name: [u8; 10]) -> io::Result<()>;
    /// Forgets all: both numbers are 1, and there is no name.
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
    session: Option<[u8; 10]>,
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
            session: None,
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

    fn session(&self) -> Option<[u8; 10]> {
        self.session
    }

    fn set_session(&mut self, name: [u8; 10]) -> io::Result<()> {
        self.session = Some(name);
        Ok(())
    }
}

/// Remembers in one file of [records](crate::records), which is refused where it is damaged.
///
/// ```text
/// kind:   M a message that is sent, under its number
///         I the next number that is expected
///         R both numbers are 1; number is the time
///         S the name of the other side's session (SoupBinTCP: 10 letters)
/// ```
#[derive(Debug)]
pub struct FileStore {
    records: Records,
    next_out: u64,
    next_in: u64,
    created: Ts,
    places: Places,
    session: Option<[u8; 10]>,
}

const KINDS: Kinds = ("M, I, R or S", |kind| {
    matches!(kind, b'M' | b'I' | b'R' | b'S')
});

impl FileStore {
    /// Opens a file, or makes it. One process at a time may have it.
    pub fn open(path: &Path, safe: Safe, now: Ts) -> io::Result<FileStore> {
        let Memory {
            mut next_out,
            mut next_in,
            mut created,
            mut places,
            ..
        } = Memory::new(now);
        let mut session = None;
        let records = Records::open(path, safe, KINDS, |record| match record.kind {
            b'M' => {
                places.put(record.number, (record.at, record.body.len() as u32));
                next_out = record.number.saturating_add(1);
            }
            b'I' => next_in = record.number,
            // One that is no name is as good as none: the venue says it again.
            b'S' => session = record.body.try_into().ok(),
            _ => {
                (next_out, next_in) = (1, 1);
                session = None;
                created = Ts(record.number as i64);
                places.list.clear();
            }
        })?;
        let mut store = FileStore {
            records,
            next_out,
            next_in,
            created,
            places,
            session,
        };
        if store.records.is_empty() {
            store.reset(now)?;
        }
        Ok(store)
    }
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
        let at = self.records.append(b'M', seq, message)?;
        self.places.put(seq, (at, message.len() as u32));
        self.next_out = seq + 1;
        Ok(())
    }

    fn set_next_in(&mut self, seq: u64) -> io::Result<()> {
        self.records.append(b'I', seq, &[])?;
        self.next_in = seq;
        Ok(())
    }

    fn load(&mut self, seq: u64, into: &mut Vec<u8>) -> io::Result<bool> {
        let Some((at, len)) = self.places.get(seq) else {
            return Ok(false);
        };
        let start = into.len();
        into.resize(start + len as usize, 0);
        self.records.load(at, &mut into[start..])?;
        Ok(true)
    }

    /// What was there before is gone with it, so that the file does not grow from day to day.
    fn reset(&mut self, now: Ts) -> io::Result<()> {
        self.records.cut(0)?;
        self.next_out = 1;
        self.next_in = 1;
        self.created = now;
        self.places.list.clear();
        self.session = None;
        self.records.append(b'R', now.0 as u64, &[])?;
        Ok(())
    }

    fn session(&self) -> Option<[u8; 10]> {
        self.session
    }

    fn set_session(&mut self, name: [u8; 10]) -> io::Result<()> {
        self.records.append(b'S', 0, &name)?;
        self.session = Some(name);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::records::RECORD_BYTES;

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
}
