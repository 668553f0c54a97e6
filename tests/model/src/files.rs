//! Files of a disk that can lose what was not synced.
//!
//! What is written goes to real files, and is noted here; a sync moves what was written before it
//! began to what would survive. Each operation is a place at which the checker may switch to
//! another thread, before and after it, as on a real disk, where an operation takes its time.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::bus::disk::{Directory, DiskError, Files};

/// What became of one file's bytes.
#[derive(Default)]
struct Kept {
    /// Written, and not synced since.
    pending: Vec<(u64, Vec<u8>)>,
    /// What the disk would have after the power was cut.
    synced: Vec<u8>,
}

#[derive(Default)]
struct Disk {
    files: BTreeMap<u64, Kept>,
    /// Syncs so far, and which of them fails.
    syncs: u64,
    failing: Option<u64>,
    writes: u64,
}

thread_local! {
    static DISK: RefCell<Disk> = RefCell::default();
}

/// Forgets all files; from now on the `failing`th sync of written data fails, if one is named.
pub fn begin(failing: Option<u64>) {
    DISK.set(Disk {
        failing,
        ..Disk::default()
    });
}

/// Whether the sync that was to fail was come to.
pub fn has_failed() -> bool {
    DISK.with_borrow(|disk| disk.failing.is_some_and(|nth| disk.syncs > nth))
}

/// How many writes there were.
pub fn writes() -> u64 {
    DISK.with_borrow(|disk| disk.writes)
}

fn switch() {
    shuttle::thread::yield_now();
}

/// A file.
pub struct File {
    file: std::fs::File,
    inode: u64,
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.file.fmt(f)
    }
}

impl File {
    fn new(file: std::fs::File) -> io::Result<File> {
        let inode = file.metadata()?.ino();
        Ok(File { file, inode })
    }

    pub fn open(path: impl AsRef<Path>) -> io::Result<File> {
        std::fs::File::open(path).and_then(File::new)
    }

    pub fn metadata(&self) -> io::Result<std::fs::Metadata> {
        self.file.metadata()
    }

    pub fn try_lock(&self) -> Result<(), std::fs::TryLockError> {
        self.file.try_lock()
    }

    pub fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    pub fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(into, offset)
    }

    pub fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        switch();
        self.file.write_all_at(bytes, offset)?;
        DISK.with_borrow_mut(|disk| {
            let file = disk.files.entry(self.inode).or_default();
            file.pending.push((offset, bytes.to_vec()));
            disk.writes += 1;
        });
        switch();
        Ok(bytes.len())
    }

    pub fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_at(bytes, offset).map(|_| ())
    }

    pub fn sync_data(&self) -> io::Result<()> {
        switch();
        let (pending, fails) = DISK.with_borrow_mut(|disk| {
            let fails = disk.failing == Some(disk.syncs);
            disk.syncs += 1;
            let file = disk.files.entry(self.inode).or_default();
            (std::mem::take(&mut file.pending), fails)
        });
        // Only what was written before a sync began is sure to be in it.
        switch();
        if fails {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        DISK.with_borrow_mut(|disk| {
            let file = disk.files.entry(self.inode).or_default();
            for (offset, bytes) in pending {
                let end = offset as usize + bytes.len();
                if file.synced.len() < end {
                    file.synced.resize(end, 0);
                }
                file.synced[offset as usize..end].copy_from_slice(&bytes);
            }
        });
        switch();
        Ok(())
    }

    pub fn sync_all(&self) -> io::Result<()> {
        if self.file.metadata()?.is_dir() {
            switch();
            return Ok(());
        }
        self.sync_data()
    }
}

impl AsRawFd for File {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

impl io::Read for File {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.file.read(into)
    }
}

impl io::Write for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// How to open one.
pub struct OpenOptions(std::fs::OpenOptions);

impl OpenOptions {
    pub fn new() -> OpenOptions {
        OpenOptions(std::fs::OpenOptions::new())
    }

    pub fn read(&mut self, is_on: bool) -> &mut OpenOptions {
        self.0.read(is_on);
        self
    }

    pub fn write(&mut self, is_on: bool) -> &mut OpenOptions {
        self.0.write(is_on);
        self
    }

    pub fn create(&mut self, is_on: bool) -> &mut OpenOptions {
        self.0.create(is_on);
        self
    }

    pub fn create_new(&mut self, is_on: bool) -> &mut OpenOptions {
        self.0.create_new(is_on);
        self
    }

    pub fn truncate(&mut self, is_on: bool) -> &mut OpenOptions {
        self.0.truncate(is_on);
        self
    }

    pub fn custom_flags(&mut self, flags: i32) -> &mut OpenOptions {
        self.0.custom_flags(flags);
        self
    }

    pub fn open(&self, path: impl AsRef<Path>) -> io::Result<File> {
        self.0.open(path).and_then(File::new)
    }
}

/// A log's directory as it would be found if the power were cut now: whatever was not synced is
/// gone.
pub struct AfterPowerCut(Directory);

impl AfterPowerCut {
    pub fn of(dir: &Path) -> AfterPowerCut {
        AfterPowerCut(Directory::new(dir))
    }
}

impl Files for AfterPowerCut {
    fn list(&self) -> Result<Vec<u64>, DiskError> {
        self.0.list()
    }

    fn len(&self, segment: u64) -> Result<u64, DiskError> {
        self.0.len(segment)
    }

    fn read(&self, segment: u64, offset: u64, into: &mut [u8]) -> Result<(), DiskError> {
        into.fill(0);
        let path = self.0.path(segment);
        let inode = std::fs::metadata(&path).expect("a segment of ours").ino();
        DISK.with_borrow(|disk| {
            let Some(kept) = disk.files.get(&inode) else {
                return;
            };
            let from = kept.synced.get(offset as usize..).unwrap_or(&[]);
            let length = from.len().min(into.len());
            into[..length].copy_from_slice(&from[..length]);
        });
        Ok(())
    }

    fn path(&self, segment: u64) -> PathBuf {
        self.0.path(segment)
    }
}
