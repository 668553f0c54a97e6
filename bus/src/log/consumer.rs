//! Named readers: how far each is, kept beside the log, for it to go on from and for others to
//! see.
//!
//! A position is a claim of the reader's, and nothing depends on it: the writer does not know of
//! consumers, and segments are removed without regard to them. One name is for one process at a
//! time.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::error::LogError;
use super::frame::{long, word};
use super::retain::replace;
use crate::disk::{Cause, DiskError, Folder, Op, RealFolder};

const FOLDER: &str = "consumers";
const MAGIC: [u8; 8] = *b"TAPECON\n";
const VERSION: u32 = 1;
/// What a drive writes whole or not at all.
const BYTES: usize = 512;
const NAME_LEN_MAX: usize = 32;

/// A named reader's position, held by this process.
#[derive(Debug)]
pub struct Consumer {
    folder: RealFolder,
    name: String,
    uuid: [u8; 16],
    position: Option<u64>,
    _lock: File,
}

/// A named reader, as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Its name.
    pub name: String,
    /// It has all below this cell.
    pub cell: u64,
    /// When it said so.
    pub stored: SystemTime,
    /// Whether a process has it open now.
    pub is_open: bool,
}

impl Consumer {
    /// Takes the name for this process, in the log in `dir`, which has this uuid.
    pub fn open(dir: &Path, name: &str, uuid: [u8; 16]) -> Result<Consumer, LogError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let fits = (1..=NAME_LEN_MAX).contains(&name.len())
            && name.bytes().all(is_plain)
            && !name.starts_with('.')
            && !name.ends_with(".lock")
            && !name.ends_with(".tmp");
        if !fits {
            return Err(LogError::Config(
                "a consumer's name is 1 to 32 letters, digits, `.`, `_` or `-`, and does not begin \
                 with `.` nor end in `.lock` or `.tmp`",
            ));
        }
        let folder = RealFolder::open(&dir.join(FOLDER))?;
        let path = folder.path(&format!("{name}.lock"));
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path);
        let lock = lock.map_err(|error| DiskError::io(Op::Lock, &path, &error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let in_use = DiskError {
                    op: Op::Lock,
                    path,
                    cause: Cause::Bytes("another process is this consumer"),
                };
                return Err(LogError::Disk(in_use));
            }
            Err(TryLockError::Error(error)) => {
                return Err(DiskError::io(Op::Lock, &path, &error).into());
            }
        }
        let position = match folder.list()?.iter().any(|found| found == name) {
            false => None,
            true => {
                let path = folder.path(name);
                let (cell, _, of) = parse(&path, &folder.read(name)?)?;
                if of != uuid {
                    return Err(bad(&path, "it is a position in another log").into());
                }
                Some(cell)
            }
        };
        Ok(Consumer {
            folder,
            name: name.to_owned(),
            uuid,
            position,
            _lock: lock,
        })
    }

    /// It has all below this cell; `None` if it never said.
    pub fn position(&self) -> Option<u64> {
        self.position
    }

    /// Says, durably, that it has all below `cell`.
    pub fn store(&mut self, cell: u64, now: SystemTime) -> Result<(), LogError> {
        let mut bytes = vec![0; BYTES];
        let now_ns = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[12..16].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.uuid);
        bytes[32..40].copy_from_slice(&cell.to_le_bytes());
        bytes[40..48].copy_from_slice(&(now_ns.as_nanos() as u64).to_le_bytes());
        let crc = checksum(&bytes);
        bytes[8..12].copy_from_slice(&crc.to_le_bytes());
        replace(&mut self.folder, &self.name, &bytes)?;
        self.position = Some(cell);
        Ok(())
    }
}

/// A named reader, or what is wrong with its position.
pub type Known = Result<Position, LogError>;

/// All named readers of the log in `dir`, by name. One whose position cannot be read hides no other.
pub fn consumers(dir: &Path) -> Result<Vec<Known>, LogError> {
    let dir = dir.join(FOLDER);
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    let folder = RealFolder::open(&dir)?;
    let mut found = Vec::new();
    for name in folder.list()? {
        if name.ends_with(".lock") || name.ends_with(".tmp") {
            continue;
        }
        let path = folder.path(&name);
        let read = folder.read(&name).map_err(LogError::from);
        found.push(
            read.and_then(|bytes| parse(&path, &bytes))
                .map(|(cell, stored, _)| Position {
                    is_open: is_locked(&folder.path(&format!("{name}.lock"))),
                    name,
                    cell,
                    stored,
                }),
        );
    }
    Ok(found)
}

/// Takes back to `cell` all readers that were further: what they had read of the log behind it is
/// no longer in there, and other records take its numbers. Returns their names, with where they
/// were.
pub(super) fn take_back(dir: &Path, cell: u64) -> Result<Vec<(String, u64)>, LogError> {
    let mut taken = Vec::new();
    for position in consumers(dir)?.into_iter().flatten() {
        if position.cell > cell {
            let folder = dir.join(FOLDER);
            let path = folder.join(&position.name);
            let bytes = RealFolder::open(&folder)?.read(&position.name)?;
            let (_, _, uuid) = parse(&path, &bytes)?;
            let mut consumer = Consumer::open(dir, &position.name, uuid)?;
            consumer.store(cell, SystemTime::now())?;
            taken.push((position.name, position.cell));
        }
    }
    Ok(taken)
}

fn is_locked(path: &PathBuf) -> bool {
    // A shared lock, so that two who look do not take each other for the consumer.
    let tried = File::open(path).map(|file| file.try_lock_shared());
    matches!(tried, Ok(Err(TryLockError::WouldBlock)))
}

fn bad(path: &Path, what: &'static str) -> DiskError {
    DiskError {
        op: Op::Read,
        path: path.to_owned(),
        cause: Cause::Bytes(what),
    }
}

fn parse(path: &Path, bytes: &[u8]) -> Result<(u64, SystemTime, [u8; 16]), LogError> {
    let fits = bytes.len() == BYTES && bytes[..8] == MAGIC && word(bytes, 8) == checksum(bytes);
    if !fits {
        return Err(bad(path, "it is no consumer's position, or fails its checksum").into());
    }
    let found = word(bytes, 12);
    if found != VERSION {
        let path = path.to_owned();
        return Err(LogError::Version { path, found });
    }
    let stored = UNIX_EPOCH + std::time::Duration::from_nanos(long(bytes, 40));
    let uuid = bytes[16..32].try_into().expect("16 bytes");
    Ok((long(bytes, 32), stored, uuid))
}

fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[..8]), &bytes[12..])
}
