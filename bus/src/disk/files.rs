//! What the two real disks share: the log's lock, and the thread that makes segment files ahead
//! of need.
//!
//! A running log never makes a file longer: the first write to a new block costs a journal
//! commit, 1.5 to 2 times the time of a write to a block that was written before, and far more
//! in the worst cases. So segments are written full of zeros before they are used.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;

use super::{Directory, DiskError, Files, Op, PAGE_BYTES, Page, Slot, steps, uring};

const ZEROS_PAGES: usize = 256;
const UNSYNCED_BYTES_MAX: u64 = 4 << 20;

/// The file name of a segment.
pub fn segment_path(dir: &Path, segment: u64) -> PathBuf {
    dir.join(segment_name(segment))
}

/// The same without its directory.
pub fn segment_name(segment: u64) -> String {
    format!("{segment:010}.seg")
}

/// How segment files are opened for writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caching {
    /// Past the page cache, where the file system can.
    Direct,
    /// Through the page cache.
    Buffered,
}

/// The directory, locked for one writer, and the thread that makes and closes its files.
///
/// The thread makes one file after the other, each durable before the next is begun, so that a
/// crash leaves no hole in the numbers.
#[derive(Debug)]
pub(super) struct Locked {
    pub(super) directory: Directory,
    caching: Caching,
    _lock: File,
    ask: Option<SyncSender<Ask>>,
    made: Receiver<Made>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Ask {
    Make(u64),
    Close(Arc<File>),
}

/// A segment file that was made, or not.
pub(super) type Made = (u64, Result<Arc<File>, DiskError>);

/// A segment file that is open for writing.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) segment: u64,
    pub(super) file: Arc<File>,
}

impl Open {
    /// More than are ever open at once, so that a list of them never grows.
    pub(super) const MANY: usize = 16;

    pub(super) fn find(open: &[Open], segment: u64) -> &Arc<File> {
        let found = open.iter().find(|open| open.segment == segment);
        &found
            .expect("the segment was prepared, and not released")
            .file
    }

    pub(super) fn take(open: &mut Vec<Open>, segment: u64) -> Option<Arc<File>> {
        let index = open.iter().position(|open| open.segment == segment)?;
        Some(open.remove(index).file)
    }
}

impl Locked {
    /// Makes the directory if need be, locks it, clears away half-made files and starts the
    /// thread.
    pub(super) fn open(
        dir: &Path,
        segment_bytes: u64,
        caching: Caching,
    ) -> Result<Locked, DiskError> {
        make_dir(dir)?;
        let lock = lock(dir)?;
        crate::failpoint!("lock-taken");
        clear_half_made(dir)?;
        let caching = match caching {
            Caching::Direct if !takes_direct(dir)? => Caching::Buffered,
            caching => caching,
        };
        // Long enough that asking never waits: few segments are open or wanted at once.
        let (ask, asked) = sync_channel(2 * Open::MANY);
        let (make, made) = sync_channel(Open::MANY);
        let thread_dir = dir.to_owned();
        let maker = move || {
            let zeros = vec![bytemuck::Zeroable::zeroed(); ZEROS_PAGES];
            let zeros = bytemuck::cast_slice::<Page, u8>(&zeros);
            let mut failed: Option<DiskError> = None;
            for ask in asked {
                match ask {
                    Ask::Make(segment) => {
                        let file = match &failed {
                            Some(error) => Err(error.clone()),
                            None => {
                                make_segment(&thread_dir, segment, segment_bytes, caching, zeros)
                            }
                        };
                        failed = file.as_ref().err().cloned();
                        if make.send((segment, file)).is_err() {
                            return;
                        }
                    }
                    Ask::Close(file) => drop(file),
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("log-files".to_owned())
            .spawn(maker);
        let thread = thread.map_err(|error| DiskError::io(Op::Open, dir, &error))?;
        Ok(Locked {
            directory: Directory::new(dir),
            caching,
            _lock: lock,
            ask: Some(ask),
            made,
            thread: Some(thread),
        })
    }

    pub(super) fn caching(&self) -> Caching {
        self.caching
    }

    pub(super) fn prepare(&mut self, segment: u64) {
        self.ask(Ask::Make(segment));
    }

    /// Closing frees what the file system keeps for a file; no reason to wait for that.
    pub(super) fn close(&mut self, file: Arc<File>) {
        self.ask(Ask::Close(file));
    }

    fn ask(&mut self, ask: Ask) {
        // The thread only ends when this end is dropped, or by a panic that `made` shows.
        let _ = self.ask.as_ref().expect("only dropped by drop").send(ask);
    }

    /// What the thread made, if something new.
    pub(super) fn poll_made(&mut self) -> Option<Made> {
        match self.made.try_recv() {
            Ok(made) => Some(made),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => panic!("the thread that makes segments died"),
        }
    }

    /// The next thing that the thread makes; only while one is asked for.
    pub(super) fn wait_made(&mut self) -> Made {
        self.made
            .recv()
            .expect("the thread that makes segments lives")
    }

    pub(super) fn adopt(&mut self, segment: u64) -> Result<Arc<File>, DiskError> {
        let path = self.directory.path(segment);
        let open = || {
            open_segment(&path, self.caching, OpenOptions::new().write(true))
                .map(Arc::new)
                .map_err(|error| DiskError::io(Op::Open, &path, &error))
        };
        steps::adopt(open, || sync_dir(self.directory.dir()))
    }

    /// Writes a whole slot and syncs, here and now.
    pub(super) fn write_now(
        &self,
        file: &File,
        segment: u64,
        offset: u64,
        slot: &Slot,
    ) -> Result<(), DiskError> {
        let fail = |op| move |error| DiskError::io(op, self.directory.path(segment), &error);
        file.write_all_at(slot.bytes(), offset)
            .map_err(fail(Op::Write))?;
        steps::sync(|| file.sync_data()).map_err(fail(Op::Sync))
    }

    pub(super) fn settle(&mut self, segment: u64) -> Result<(), DiskError> {
        let path = segment_path(self.directory.dir(), segment);
        // What was moved to a tier was durable there before it was gone from here.
        if !path.exists()
            && let Some(tier) = self.directory.tier()?
            && tier.list()?.contains(&segment)
        {
            return Ok(());
        }
        let settle = || {
            let file = OpenOptions::new().read(true).write(true).open(&path)?;
            steps::sync(|| file.sync_data())?;
            uring::forget_cache(&file)
        };
        settle().map_err(|error: io::Error| DiskError::io(Op::Sync, &path, &error))
    }

    pub(super) fn remove(&mut self, segment: u64) -> Result<(), DiskError> {
        self.directory.forget_file();
        let path = self.directory.path(segment);
        std::fs::remove_file(&path).map_err(|error| DiskError::io(Op::Remove, path, &error))?;
        sync_dir(self.directory.dir())
    }

    pub(super) fn trim(&mut self, segment: u64, bytes: u64) -> Result<(), DiskError> {
        let path = self.directory.path(segment);
        let trim = || {
            let file = OpenOptions::new().write(true).open(&path)?;
            file.set_len(bytes)?;
            crate::failpoint!("finish-trimmed");
            file.sync_all()
        };
        trim().map_err(|error: io::Error| DiskError::io(Op::Trim, &path, &error))
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        self.ask = None;
        if let Some(thread) = self.thread.take() {
            // The lock goes only after the last file operation.
            let _ = thread.join();
        }
    }
}

pub(super) fn make_dir(dir: &Path) -> Result<(), DiskError> {
    let fail = |error: io::Error| DiskError::io(Op::Open, dir, &error);
    if dir.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(dir).map_err(fail)?;
    // The names of all new directories must survive, or the log in them does not.
    dir.ancestors()
        .skip(1)
        .filter(|parent| !parent.as_os_str().is_empty())
        .try_for_each(sync_dir)
}

pub(crate) fn sync_dir(dir: &Path) -> Result<(), DiskError> {
    let sync = || File::open(dir)?.sync_all();
    sync().map_err(|error: io::Error| DiskError::io(Op::Sync, dir, &error))
}

/// Who holds the lock of `dir`, as its file says, for a message.
pub fn lock_holder(dir: &Path) -> Option<String> {
    let text = std::fs::read_to_string(dir.join("LOCK")).ok()?;
    let pid = text.lines().next()?.strip_prefix("pid ")?;
    pid.chars()
        .all(|c| c.is_ascii_digit())
        .then(|| pid.to_owned())
}

/// Which process writes the log in `dir` now; `None` if nobody does.
pub fn lock_owner(dir: &Path) -> Result<Option<i32>, DiskError> {
    let path = dir.join("LOCK");
    let fail = |error: &io::Error| DiskError::io(Op::Lock, &path, error);
    let file = match OpenOptions::new().write(true).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fail(&error)),
    };
    match file.try_lock() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => {
            let pid = lock_holder(dir).and_then(|pid| pid.parse().ok());
            // Between taking the lock and saying so a writer has not written its number yet.
            Ok(Some(pid.unwrap_or(0)))
        }
        Err(TryLockError::Error(error)) => Err(fail(&error)),
    }
}

/// The kernel gives up the lock when the process is gone and, with `io_uring`, only after its
/// last write: files are closed after all requests have ended.
pub(crate) fn lock(dir: &Path) -> Result<File, DiskError> {
    let path = dir.join("LOCK");
    let fail = |error: &io::Error| DiskError::io(Op::Lock, &path, error);
    let open = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path);
    let mut file = open.map_err(|error| fail(&error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(DiskError::new(Op::Lock, &path, libc::EWOULDBLOCK));
        }
        Err(TryLockError::Error(error)) => return Err(fail(&error)),
    }
    let mut boot = String::new();
    // Only for a person who looks: the lock itself is the kernel's, and ends with the boot.
    if let Ok(mut file) = File::open("/proc/sys/kernel/random/boot_id") {
        let _ = file.read_to_string(&mut boot);
    }
    let mut write = || {
        file.set_len(0)?;
        write!(file, "pid {}\nboot {}\n", std::process::id(), boot.trim())
    };
    write().map_err(|error: io::Error| fail(&error))?;
    Ok(file)
}

/// A crash can leave a file that was not yet given its name.
fn clear_half_made(dir: &Path) -> Result<(), DiskError> {
    let fail = |error: io::Error| DiskError::io(Op::Remove, dir, &error);
    for entry in std::fs::read_dir(dir).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if path.to_str().is_some_and(|path| path.ends_with(".seg.tmp")) {
            std::fs::remove_file(&path).map_err(fail)?;
            crate::failpoint!("half-made-removed");
        }
    }
    Ok(())
}

/// Whether a file here can be written past the page cache, found out by doing it.
fn takes_direct(dir: &Path) -> Result<bool, DiskError> {
    let path = dir.join("direct.seg.tmp");
    let page = [Page([[0; 64]; 64])];
    let attempt = || {
        let file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .custom_flags(libc::O_DIRECT)
            .open(&path)?;
        file.write_all_at(bytemuck::cast_slice(&page), PAGE_BYTES as u64)
    };
    let result: io::Result<()> = attempt();
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(DiskError::io(Op::Remove, path, &error))
        }
        _ => Ok(result.is_ok()),
    }
}

fn open_segment(path: &Path, caching: Caching, options: &mut OpenOptions) -> io::Result<File> {
    if caching == Caching::Direct {
        options.custom_flags(libc::O_DIRECT);
    }
    options.open(path)
}

/// A segment file in the making.
struct Making<'a> {
    dir: &'a Path,
    path: PathBuf,
    unnamed: PathBuf,
    bytes: u64,
    caching: Caching,
    zeros: &'a [u8],
    file: Option<File>,
    is_named: bool,
}

impl Making<'_> {
    fn file(&self) -> &File {
        self.file.as_ref().expect("created first")
    }
}

impl steps::Making for Making<'_> {
    type Error = io::Error;

    fn create(&mut self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let options = options.create(true).truncate(true).write(true);
        let file = open_segment(&self.unnamed, self.caching, options)?;
        crate::failpoint!("segment-opened");
        uring::allocate(self.file.insert(file), self.bytes)?;
        crate::failpoint!("segment-allocated");
        Ok(())
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut at = 0;
        while at < self.bytes {
            if let Some(errno) = crate::failpoint!(errno "segment-fails") {
                return Err(io::Error::from_raw_os_error(errno));
            }
            let len = self.zeros.len().min((self.bytes - at) as usize);
            self.file().write_all_at(&self.zeros[..len], at)?;
            at += len as u64;
            crate::failpoint!("segment-half-zeroed");
            // A sync of the running log waits until the drive has flushed these zeros too, so
            // there must never be many of them.
            if at.is_multiple_of(UNSYNCED_BYTES_MAX) {
                self.file().sync_data()?;
            }
        }
        crate::failpoint!("segment-zeroed");
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file().sync_all()?;
        crate::failpoint!("segment-synced");
        Ok(())
    }

    fn rename(&mut self) -> io::Result<()> {
        std::fs::rename(&self.unnamed, &self.path)?;
        self.is_named = true;
        crate::failpoint!("segment-renamed");
        Ok(())
    }

    fn sync_directory(&mut self) -> io::Result<()> {
        File::open(self.dir)?.sync_all()?;
        crate::failpoint!("segment-made");
        Ok(())
    }
}

fn make_segment(
    dir: &Path,
    segment: u64,
    bytes: u64,
    caching: Caching,
    zeros: &[u8],
) -> Result<Arc<File>, DiskError> {
    let path = segment_path(dir, segment);
    let mut making = Making {
        dir,
        unnamed: path.with_extension("seg.tmp"),
        path,
        bytes,
        caching,
        zeros,
        file: None,
        is_named: false,
    };
    match steps::make_segment(&mut making) {
        Ok(()) => Ok(Arc::new(making.file.expect("created"))),
        Err(error) => {
            let _ = std::fs::remove_file(&making.unnamed);
            // Once it has its name, nothing is as if it had not been tried.
            let op = if making.is_named {
                Op::Sync
            } else {
                Op::Prepare
            };
            Err(DiskError::io(op, making.path, &error))
        }
    }
}
