//! Where the log's bytes go: segment files, written from aligned slots, made durable in order.
//!
//! [`Disk`] is all that the log asks of the outside. `plain` writes with `pwrite` and
//! `fdatasync` on a thread of its own, `uring` through `io_uring`, `sim` into memory from a seed,
//! with every way to fail. `steps` has the order in which all three make things durable.
//! `directory` reads a log's directory, and what was moved out of it into a `tier`. `files` has
//! what the two real ones share: the lock, and the thread that makes segments ahead of need.
//!
//! A process that writes logs must ignore `SIGXFSZ`, or a file size limit kills it before the
//! error can be said. That is the caller's duty, as is opening the disk before its thread is
//! pinned or given a real-time class: the threads started here inherit both.

mod directory;
pub mod files;
pub mod folder;
pub mod plain;
pub mod sim;
mod steps;
pub mod tier;
pub mod uring;

use std::fmt;
use std::path::{Path, PathBuf};

use bytemuck::{Pod, Zeroable};

pub use directory::Directory;
pub(crate) use directory::segment_number;
pub(crate) use files::{segment_name, segment_path};
pub use folder::{Folder, FolderFaults, RealFolder, SimFolder};
pub use plain::PlainDisk;
pub use sim::{Fault, Faults, SimDisk};
pub use tier::TierFolder;
pub use uring::UringDisk;

/// The unit of writing: nothing smaller is ever written, and nothing is written twice.
pub const PAGE_BYTES: usize = 4096;

/// The log's unit of account: an event is one, a signal two.
pub const CELL_BYTES: usize = 64;

const CELLS_PER_PAGE: usize = PAGE_BYTES / CELL_BYTES;

/// One page, aligned as O_DIRECT wants it.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(4096))]
struct Page([[u8; CELL_BYTES]; CELLS_PER_PAGE]);

const _: () = assert!(size_of::<Page>() == PAGE_BYTES);

/// A buffer to write from. The log owns it while filling it and the disk while writing it, so
/// that nobody can change what is being written.
pub struct Slot {
    index: usize,
    pages: Box<[Page]>,
}

impl Slot {
    /// A zeroed slot; `index` is its place among the disk's slots.
    fn new(index: usize, bytes: usize) -> Slot {
        assert!(bytes.is_multiple_of(PAGE_BYTES), "a slot is whole pages");
        Slot {
            index,
            pages: vec![Page::zeroed(); bytes / PAGE_BYTES].into_boxed_slice(),
        }
    }

    /// Stands where there is no slot: room for nothing, allocates nothing.
    pub fn none() -> Slot {
        Slot {
            index: usize::MAX,
            pages: Box::default(),
        }
    }

    /// Its place among the disk's slots.
    pub fn index(&self) -> usize {
        self.index
    }

    /// How many cells it has room for.
    #[inline]
    pub fn cells(&self) -> usize {
        self.pages.len() * CELLS_PER_PAGE
    }

    /// Puts `bytes` into a cell.
    #[inline]
    pub fn put(&mut self, cell: usize, bytes: &[u8; CELL_BYTES]) {
        self.pages[cell / CELLS_PER_PAGE].0[cell % CELLS_PER_PAGE] = *bytes;
    }

    /// All of it.
    pub fn bytes(&self) -> &[u8] {
        bytemuck::cast_slice(&self.pages)
    }

    /// All of it.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        bytemuck::cast_slice_mut(&mut self.pages)
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Slot {{ index: {}, pages: {} }}",
            self.index,
            self.pages.len()
        )
    }
}

/// What a disk must know before its first write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// How long a segment file is.
    pub segment_bytes: u64,
    /// How long a slot is; one more slot of one page comes with them.
    pub slot_bytes: usize,
    /// How many slots there are.
    pub slot_count: usize,
}

impl Geometry {
    fn slots(&self) -> Vec<Slot> {
        let mut slots: Vec<Slot> = (0..self.slot_count)
            .map(|index| Slot::new(index, self.slot_bytes))
            .collect();
        slots.push(Slot::new(self.slot_count, PAGE_BYTES));
        slots
    }
}

/// The bytes of a log as they lie: a directory, or what a simulated disk kept.
pub trait Files {
    /// The numbers of all segment files, in order.
    fn list(&self) -> Result<Vec<u64>, DiskError>;
    /// How long a segment file is.
    fn len(&self, segment: u64) -> Result<u64, DiskError>;
    /// Fills `into` from a segment file.
    fn read(&self, segment: u64, offset: u64, into: &mut [u8]) -> Result<(), DiskError>;
    /// What to call a segment file in a message.
    fn path(&self, segment: u64) -> PathBuf;
    /// What to call a small file beside the segments.
    fn path_beside(&self, name: &str) -> PathBuf {
        self.path(0).with_file_name(name)
    }
    /// A small file beside the segments, whole; `None` where there is none of this name.
    fn beside(&self, name: &str) -> Result<Option<Vec<u8>>, DiskError> {
        let _ = name;
        Ok(None)
    }
    /// When a segment file was last written, if that is known.
    fn written(&self, segment: u64) -> Option<std::time::SystemTime> {
        let _ = segment;
        None
    }
}

macro_rules! files_through {
    ($($head:tt)*) => {
        $($head)* {
            fn list(&self) -> Result<Vec<u64>, DiskError> {
                (**self).list()
            }
            fn len(&self, segment: u64) -> Result<u64, DiskError> {
                (**self).len(segment)
            }
            fn read(&self, segment: u64, offset: u64, into: &mut [u8]) -> Result<(), DiskError> {
                (**self).read(segment, offset, into)
            }
            fn path(&self, segment: u64) -> PathBuf {
                (**self).path(segment)
            }
            fn path_beside(&self, name: &str) -> PathBuf {
                (**self).path_beside(name)
            }
            fn beside(&self, name: &str) -> Result<Option<Vec<u8>>, DiskError> {
                (**self).beside(name)
            }
            fn written(&self, segment: u64) -> Option<std::time::SystemTime> {
                (**self).written(segment)
            }
        }
    };
}
files_through!(impl<F: Files + ?Sized> Files for &F);
files_through!(impl<F: Files + ?Sized> Files for &mut F);

/// A log's directory, held by one writer.
///
/// The first part never blocks and is what a running log uses. The second blocks, and is for the
/// start and the end.
pub trait Disk: Files {
    /// The slots to write from: `slot_count` long ones and last the page-sized one. Only once.
    fn take_slots(&mut self) -> Vec<Slot>;
    /// Starts making a segment file full of zeros; [`Done::Prepared`] says when it will survive
    /// a crash. Files are made in the order they were asked for, and after one failed all fail,
    /// so that the numbers have no hole. An error of [`Op::Prepare`] left nothing; one of
    /// [`Op::Sync`] left a file that may or may not survive.
    fn prepare(&mut self, segment: u64);
    /// Starts writing the first `bytes` of `slot` to a prepared segment and, if all of them were
    /// written, making them durable; [`Done::Written`] gives the slot back. `token` comes back
    /// with it. Writes in flight at one time may finish in any order.
    fn write(&mut self, segment: u64, offset: u64, slot: Slot, bytes: usize, token: u64);
    /// One thing that finished, or `None` when nothing more has. Never blocks.
    fn poll(&mut self) -> Option<Done>;
    /// Nothing more will be written to a segment.
    fn release(&mut self, segment: u64);

    /// Blocks until something finishes; `None` when nothing is under way.
    fn wait(&mut self) -> Option<Done>;
    /// Writes a whole slot to a prepared segment and makes it durable. Blocks.
    fn write_now(&mut self, segment: u64, offset: u64, slot: &Slot) -> Result<(), DiskError>;
    /// Makes what lies in a segment durable, and forgets what memory knows of it: what is read
    /// afterwards is what the disk has.
    fn settle(&mut self, segment: u64) -> Result<(), DiskError>;
    /// Takes over a prepared file that an earlier writer left unused.
    fn adopt(&mut self, segment: u64) -> Result<(), DiskError>;
    /// Deletes a segment file, durably.
    fn remove(&mut self, segment: u64) -> Result<(), DiskError>;
    /// Shortens a segment file, durably.
    fn trim(&mut self, segment: u64, bytes: u64) -> Result<(), DiskError>;
    /// One line for the user: which backend, and why not a better one.
    fn describe(&self) -> String;
}

/// A log can borrow its disk, so that a test still has it when the log is gone.
impl<D: Disk> Disk for &mut D {
    fn take_slots(&mut self) -> Vec<Slot> {
        (**self).take_slots()
    }
    fn prepare(&mut self, segment: u64) {
        (**self).prepare(segment);
    }
    fn write(&mut self, segment: u64, offset: u64, slot: Slot, bytes: usize, token: u64) {
        (**self).write(segment, offset, slot, bytes, token);
    }
    fn poll(&mut self) -> Option<Done> {
        (**self).poll()
    }
    fn release(&mut self, segment: u64) {
        (**self).release(segment);
    }
    fn wait(&mut self) -> Option<Done> {
        (**self).wait()
    }
    fn write_now(&mut self, segment: u64, offset: u64, slot: &Slot) -> Result<(), DiskError> {
        (**self).write_now(segment, offset, slot)
    }
    fn settle(&mut self, segment: u64) -> Result<(), DiskError> {
        (**self).settle(segment)
    }
    fn adopt(&mut self, segment: u64) -> Result<(), DiskError> {
        (**self).adopt(segment)
    }
    fn remove(&mut self, segment: u64) -> Result<(), DiskError> {
        (**self).remove(segment)
    }
    fn trim(&mut self, segment: u64, bytes: u64) -> Result<(), DiskError> {
        (**self).trim(segment, bytes)
    }
    fn describe(&self) -> String {
        (**self).describe()
    }
}

/// Something that a disk finished.
#[derive(Debug)]
pub enum Done {
    /// A segment file is there, zeroed and durable, or is not.
    Prepared {
        /// Its number.
        segment: u64,
        /// Whether it is there.
        result: Result<(), DiskError>,
    },
    /// A write and its sync are over.
    Written {
        /// As given to [`Disk::write`].
        token: u64,
        /// The slot that was written from.
        slot: Slot,
        /// `Ok` only if every byte is durable.
        result: Result<(), DiskError>,
    },
}

/// A file operation failed. Final: it is never tried again, because after a failed sync the
/// kernel no longer knows what is on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskError {
    /// What was tried.
    pub op: Op,
    /// On which file.
    pub path: PathBuf,
    /// Why it failed.
    pub cause: Cause,
}

/// A file operation, for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Op {
    Open,
    List,
    Lock,
    Prepare,
    Read,
    Write,
    Sync,
    Remove,
    Rename,
    Trim,
}

/// Why a file operation failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The system's error number.
    Errno(i32),
    /// Fewer bytes than asked for.
    Short {
        /// How many there were.
        got: u64,
        /// How many were asked for.
        want: u64,
    },
    /// What is there is not what was written, or not for this program: in which way.
    Bytes(&'static str),
    /// What a store of objects said, or why it could not be asked. Nothing is known to be wrong
    /// with what it has.
    Store(String),
}

impl DiskError {
    pub(crate) fn new(op: Op, path: impl AsRef<Path>, errno: i32) -> DiskError {
        DiskError {
            op,
            path: path.as_ref().to_owned(),
            cause: Cause::Errno(errno),
        }
    }

    pub(crate) fn io(op: Op, path: impl AsRef<Path>, error: &std::io::Error) -> DiskError {
        // An error that std made up has no number; EIO is what it amounts to.
        DiskError::new(op, path, error.raw_os_error().unwrap_or(libc::EIO))
    }

    fn short(op: Op, path: impl AsRef<Path>, got: u64, want: u64) -> DiskError {
        DiskError {
            op,
            path: path.as_ref().to_owned(),
            cause: Cause::Short { got, want },
        }
    }

    /// Whether there is no space left, or none allowed.
    pub fn is_no_space(&self) -> bool {
        let Cause::Errno(errno) = self.cause else {
            return false;
        };
        matches!(errno, libc::ENOSPC | libc::EDQUOT | libc::EFBIG)
    }
}

impl Op {
    const fn name(self) -> &'static str {
        match self {
            Op::Open => "open",
            Op::List => "list",
            Op::Lock => "lock",
            Op::Prepare => "prepare",
            Op::Read => "read",
            Op::Write => "write",
            Op::Sync => "sync",
            Op::Remove => "remove",
            Op::Rename => "rename",
            Op::Trim => "trim",
        }
    }
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        write!(f, "{path}: {} failed: {}", self.op.name(), self.cause)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Errno(errno) => write!(f, "{}", std::io::Error::from_raw_os_error(*errno)),
            Cause::Short { got, want } => write!(f, "{got} bytes of {want}"),
            Cause::Bytes(what) => write!(f, "{what}"),
            Cause::Store(said) => write!(f, "{said}"),
        }
    }
}

impl std::error::Error for DiskError {}

/// Which real disk to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// `io_uring` where the system allows it, else plain.
    Best,
    /// `pwrite` and `fdatasync` on a thread.
    Plain,
}

/// A real disk, chosen when the program starts.
// There is one for each log: a box would only add a step.
#[allow(clippy::large_enum_variant)]
#[derive(Debug)]
pub enum RealDisk {
    /// See [`UringDisk`].
    Uring(UringDisk),
    /// See [`PlainDisk`].
    Plain(PlainDisk),
}

impl RealDisk {
    /// Locks the directory (made if need be) and starts the threads.
    pub fn open(dir: &Path, geometry: Geometry, backend: Backend) -> Result<RealDisk, DiskError> {
        let refusal = match backend {
            Backend::Plain => "chosen".to_owned(),
            Backend::Best => match uring::Ring::open(geometry) {
                Ok(ring) => return UringDisk::open(dir, geometry, ring).map(RealDisk::Uring),
                Err(error) => format!("io_uring is refused: {error}"),
            },
        };
        PlainDisk::open(dir, geometry, refusal).map(RealDisk::Plain)
    }
}

macro_rules! either {
    ($self:ident, $disk:ident => $call:expr) => {
        match $self {
            RealDisk::Uring($disk) => $call,
            RealDisk::Plain($disk) => $call,
        }
    };
}

impl Files for RealDisk {
    fn list(&self) -> Result<Vec<u64>, DiskError> {
        either!(self, d => d.list())
    }
    fn len(&self, segment: u64) -> Result<u64, DiskError> {
        either!(self, d => d.len(segment))
    }
    fn read(&self, segment: u64, offset: u64, into: &mut [u8]) -> Result<(), DiskError> {
        either!(self, d => d.read(segment, offset, into))
    }
    fn path(&self, segment: u64) -> PathBuf {
        either!(self, d => d.path(segment))
    }
    fn path_beside(&self, name: &str) -> PathBuf {
        either!(self, d => d.path_beside(name))
    }
    fn beside(&self, name: &str) -> Result<Option<Vec<u8>>, DiskError> {
        either!(self, d => d.beside(name))
    }
}

impl Disk for RealDisk {
    fn take_slots(&mut self) -> Vec<Slot> {
        either!(self, d => d.take_slots())
    }
    fn prepare(&mut self, segment: u64) {
        either!(self, d => d.prepare(segment))
    }
    fn write(&mut self, segment: u64, offset: u64, slot: Slot, bytes: usize, token: u64) {
        either!(self, d => d.write(segment, offset, slot, bytes, token))
    }
    fn poll(&mut self) -> Option<Done> {
        either!(self, d => d.poll())
    }
    fn release(&mut self, segment: u64) {
        either!(self, d => d.release(segment))
    }
    fn wait(&mut self) -> Option<Done> {
        either!(self, d => d.wait())
    }
    fn write_now(&mut self, segment: u64, offset: u64, slot: &Slot) -> Result<(), DiskError> {
        either!(self, d => d.write_now(segment, offset, slot))
    }
    fn settle(&mut self, segment: u64) -> Result<(), DiskError> {
        either!(self, d => d.settle(segment))
    }
    fn adopt(&mut self, segment: u64) -> Result<(), DiskError> {
        either!(self, d => d.adopt(segment))
    }
    fn remove(&mut self, segment: u64) -> Result<(), DiskError> {
        either!(self, d => d.remove(segment))
    }
    fn trim(&mut self, segment: u64, bytes: u64) -> Result<(), DiskError> {
        either!(self, d => d.trim(segment, bytes))
    }
    fn describe(&self) -> String {
        either!(self, d => d.describe())
    }
}
