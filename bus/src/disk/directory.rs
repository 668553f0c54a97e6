//! A log's directory, to be read, with what was moved out of it into a tier.
//!
//! Reads are `pread`, not `mmap`: the writer of a log that is being read may shorten its last
//! file when it ends, and a mapped read past the new end kills the reader with SIGBUS, where
//! `pread` says how many bytes there were. A reader that keeps up reads from the page cache
//! either way.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use super::files::segment_path;
use super::tier::seekable::Seekable;
use super::tier::{self, Tier};
use super::{Cause, DiskError, Files, Op};

/// A log's directory, to be read. A segment that is not in it is looked for in the log's tier.
#[derive(Debug)]
pub struct Directory {
    dir: PathBuf,
    /// The file read last: a reader goes through one after the other.
    last: Mutex<Option<(u64, Opened)>>,
    /// The log's tier, once it was needed and is there.
    tier: Mutex<Option<Arc<dyn Tier>>>,
}

#[derive(Debug)]
enum Opened {
    Local(File),
    Tiered(Arc<dyn Tier>, Seekable),
}

fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Directory {
    /// The directory as it is; not looked at yet.
    pub fn new(dir: &Path) -> Directory {
        Directory {
            dir: dir.to_owned(),
            last: Mutex::new(None),
            tier: Mutex::new(None),
        }
    }

    /// Its path.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The segments that lie here, uncompressed.
    pub fn list_local(&self) -> Result<Vec<u64>, DiskError> {
        let fail = |error| DiskError::io(Op::List, &self.dir, &error);
        let mut numbers = Vec::new();
        for entry in std::fs::read_dir(&self.dir).map_err(fail)? {
            let name = entry.map_err(fail)?.file_name();
            numbers.extend(name.to_str().and_then(segment_number));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The log's tier, if it has one.
    pub fn tier(&self) -> Result<Option<Arc<dyn Tier>>, DiskError> {
        let mut known = hold(&self.tier);
        if known.is_none()
            && let Some(bytes) = self.beside(tier::POINTER)?
        {
            let (location, uuid) = tier::read_pointer(&self.dir.join(tier::POINTER), &bytes)?;
            *known = Some(tier::open(&location, &uuid)?);
        }
        Ok(known.clone())
    }

    fn open(&self, segment: u64) -> Result<Opened, DiskError> {
        let path = segment_path(&self.dir, segment);
        let error = match File::open(&path) {
            Ok(file) => return Ok(Opened::Local(file)),
            Err(error) => DiskError::io(Op::Open, path, &error),
        };
        if error.cause != Cause::Errno(libc::ENOENT) {
            return Err(error);
        }
        let Some(tier) = self.tier()? else {
            return Err(error);
        };
        let fetch = |offset, into: &mut [u8]| tier.read(segment, offset, into);
        let seekable = Seekable::open(&tier.path(segment), tier.len(segment)?, &fetch)?;
        Ok(Opened::Tiered(tier, seekable))
    }

    fn with_file<T>(
        &self,
        segment: u64,
        work: impl FnOnce(&mut Opened) -> Result<T, DiskError>,
    ) -> Result<T, DiskError> {
        let mut last = hold(&self.last);
        let mut opened = match last.take() {
            Some((number, opened)) if number == segment => opened,
            _ => self.open(segment)?,
        };
        let result = work(&mut opened);
        *last = Some((segment, opened));
        result
    }

    pub(super) fn forget_file(&self) {
        *hold(&self.last) = None;
    }
}

/// Only names that we would write count: other files are not ours to judge.
pub(crate) fn segment_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg")?;
    let is_ours = digits.len() == 10 && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_ours.then(|| digits.parse().ok())?
}

impl Files for Directory {
    fn list(&self) -> Result<Vec<u64>, DiskError> {
        let mut numbers = self.list_local()?;
        // Where all are here, the tier has nothing to add, and need not even be there.
        let is_whole = numbers
            .iter()
            .zip(0..)
            .all(|(&number, place)| number == place);
        if is_whole && !numbers.is_empty() {
            return Ok(numbers);
        }
        if let Some(tier) = self.tier()? {
            numbers.extend(tier.list()?);
            // A segment lies in both places between its copy and its removal.
            numbers.sort_unstable();
            numbers.dedup();
        }
        Ok(numbers)
    }

    fn len(&self, segment: u64) -> Result<u64, DiskError> {
        self.with_file(segment, |opened| match opened {
            Opened::Local(file) => {
                let meta = file.metadata();
                meta.map(|meta| meta.len())
                    .map_err(|error| DiskError::io(Op::Open, self.path(segment), &error))
            }
            Opened::Tiered(_, seekable) => Ok(seekable.len()),
        })
    }

    fn read(&self, segment: u64, offset: u64, into: &mut [u8]) -> Result<(), DiskError> {
        self.with_file(segment, |opened| match opened {
            Opened::Local(file) => file.read_exact_at(into, offset).map_err(|error| {
                let path = self.path(segment);
                match (error.kind(), file.metadata()) {
                    (io::ErrorKind::UnexpectedEof, Ok(meta)) => {
                        let got = meta.len().saturating_sub(offset);
                        DiskError::short(Op::Read, path, got, into.len() as u64)
                    }
                    _ => DiskError::io(Op::Read, path, &error),
                }
            }),
            Opened::Tiered(tier, seekable) => {
                let fetch = |offset, into: &mut [u8]| tier.read(segment, offset, into);
                seekable.read(&tier.path(segment), &fetch, offset, into)
            }
        })
    }

    fn path(&self, segment: u64) -> PathBuf {
        let path = segment_path(&self.dir, segment);
        match hold(&self.tier).as_ref() {
            Some(tier) if !path.exists() => tier.path(segment),
            _ => path,
        }
    }

    fn path_beside(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn beside(&self, name: &str) -> Result<Option<Vec<u8>>, DiskError> {
        let path = self.path_beside(name);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(DiskError::io(Op::Read, path, &error)),
        }
    }

    fn written(&self, segment: u64) -> Option<SystemTime> {
        let meta = std::fs::metadata(segment_path(&self.dir, segment));
        match meta.and_then(|meta| meta.modified()) {
            Ok(time) => Some(time),
            Err(_) => self.tier().ok().flatten()?.written(segment),
        }
    }
}
