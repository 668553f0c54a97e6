//! Writing through `io_uring`: a write past the page cache and a linked `fdatasync` for each
//! frame, from buffers that are registered once. The only place that knows `io-uring`.
//!
//! The kernel starts the sync only if the whole write succeeded, and cancels it otherwise. Both
//! answers are looked at, and the length.
//!
//! Completions run in the thread that drives the log when it enters the kernel anyway: with
//! COOP_TASKRUN no other processor interrupts it, and a flag in shared memory says whether asking
//! is worth a system call. DEFER_TASKRUN took as long to a commit and three more system calls for
//! each frame, and would tie the log to one thread. Registered buffers make handing over 256 KiB
//! 5 us cheaper (18 of 23). There is no kernel thread that polls: it would take one of two cores.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use io_uring::{IoUring, opcode, squeue, types};

use super::files::{Caching, Locked, Made, Open, segment_path};
use super::{Cause, Disk, DiskError, Done, Files, Geometry, Op, Page, Slot};

/// A ring, and the slots it knows.
pub(super) struct Ring {
    ring: IoUring,
    slots: Vec<Slot>,
    /// Where each slot lies, to check that what comes to be written is what was registered.
    bases: Vec<*const Page>,
    registered: bool,
}

// SAFETY: the pointers in `bases` are only compared, never followed; the rest is `Send`.
unsafe impl Send for Ring {}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Ring {{ slots: {}, registered: {} }}",
            self.bases.len(),
            self.registered
        )
    }
}

impl Ring {
    /// A ring with room for a write and a sync of every slot. Fails where the system forbids
    /// `io_uring`, or does not know it.
    pub(super) fn open(geometry: Geometry) -> io::Result<Ring> {
        let slots = geometry.slots();
        let entries = (2 * slots.len()).next_power_of_two() as u32;
        let ring = IoUring::builder()
            .setup_coop_taskrun()
            .setup_taskrun_flag()
            .build(entries)
            // A kernel before 5.19 does not know the two flags.
            .or_else(|_| IoUring::new(entries))?;
        let buffers: Vec<libc::iovec> = slots
            .iter()
            .map(|slot| libc::iovec {
                iov_base: slot.pages.as_ptr().cast_mut().cast(),
                iov_len: size_of_val(&*slot.pages),
            })
            .collect();
        // SAFETY: each range is a live boxed slice. The kernel pins the pages, so that they stay
        // memory even if a slot were dropped, and touches them only for the requests that
        // `write` makes, each of which owns its slot until it is answered.
        let registered = unsafe { ring.submitter().register_buffers(&buffers) };
        let bases = slots.iter().map(|slot| slot.pages.as_ptr()).collect();
        // A low limit on locked memory refuses it: then each write pins its pages for itself.
        Ok(Ring {
            ring,
            slots,
            bases,
            registered: registered.is_ok(),
        })
    }
}

/// Whether the system lets this process use `io_uring`. Asks for a small ring, and gives it back.
pub fn is_allowed() -> io::Result<()> {
    IoUring::new(2).map(drop)
}

/// See the module.
#[derive(Debug)]
pub struct UringDisk {
    ring: Ring,
    /// By slot index: what the kernel is reading from now.
    flights: Vec<Option<Flight>>,
    flight_count: usize,
    /// Submitting failed for good.
    broken: Option<i32>,
    /// Oldest first.
    open: Vec<Open>,
    preparing: usize,
    // Dropped last: it holds the lock.
    locked: Locked,
}

#[derive(Debug)]
struct Flight {
    slot: Slot,
    /// Keeps the file open: the kernel looks up the sync's file only when the write has ended.
    _file: Arc<File>,
    segment: u64,
    bytes: usize,
    token: u64,
    written: Option<i32>,
    synced: Option<i32>,
}

const WRITE: u64 = 0;
const SYNC: u64 = 1;

impl UringDisk {
    /// Locks the directory (made if need be) and starts the thread that makes segments.
    pub(super) fn open(dir: &Path, geometry: Geometry, ring: Ring) -> Result<UringDisk, DiskError> {
        let locked = Locked::open(dir, geometry.segment_bytes, Caching::Direct)?;
        let flights = ring.bases.iter().map(|_| None).collect();
        Ok(UringDisk {
            ring,
            flights,
            flight_count: 0,
            broken: None,
            open: Vec::with_capacity(Open::MANY),
            preparing: 0,
            locked,
        })
    }

    fn prepared(&mut self, (segment, made): Made) -> Done {
        self.preparing -= 1;
        let result = made.map(|file| self.open.push(Open { segment, file }));
        Done::Prepared { segment, result }
    }

    /// Hands over what is queued and, where the flag says so, lets completions run.
    fn enter(&mut self, wait: usize) {
        match self.ring.ring.submit_and_wait(wait) {
            Ok(_) => {}
            Err(error) => match error.raw_os_error() {
                // Nothing was lost: what is queued stays, and is handed over next time.
                Some(libc::EINTR | libc::EAGAIN | libc::EBUSY) => {}
                errno => self.broken = Some(errno.unwrap_or(libc::EIO)),
            },
        }
    }

    /// One finished pair of a write and its sync, if both answers are there.
    fn reap(&mut self) -> Option<Done> {
        loop {
            let answer = self.ring.ring.completion().next()?;
            let (index, part) = ((answer.user_data() / 2) as usize, answer.user_data() % 2);
            let flight = self.flights[index]
                .as_mut()
                .expect("an answer to what was asked");
            match part {
                WRITE => {
                    crate::failpoint!("frame-written");
                    let pretended = crate::failpoint!(errno "write-fails").map(|errno| -errno);
                    flight.written = Some(pretended.unwrap_or(answer.result()));
                }
                _ => {
                    let pretended = crate::failpoint!(errno "sync-fails").map(|errno| -errno);
                    flight.synced = Some(pretended.unwrap_or(answer.result()));
                }
            }
            if let (Some(written), Some(synced)) = (flight.written, flight.synced) {
                let flight = self.flights[index].take().expect("just seen");
                self.flight_count -= 1;
                // The path is for an error only, and making it allocates.
                // The path is made only for an error: this runs between events.
                let result = judge(flight.bytes, written, synced).map_err(|(op, cause)| {
                    let path = segment_path(self.locked.directory.dir(), flight.segment);
                    DiskError { op, path, cause }
                });
                return Some(Done::Written {
                    token: flight.token,
                    slot: flight.slot,
                    result,
                });
            }
        }
    }

    /// The ring no longer takes requests: what is under way will never be answered.
    #[cold]
    fn give_up(&mut self, errno: i32) -> Option<Done> {
        let flight = self.flights.iter_mut().flatten().next()?;
        let path = segment_path(self.locked.directory.dir(), flight.segment);
        let result = Err(DiskError::new(Op::Write, path, errno));
        // The slot itself stays: the kernel may still be reading from it.
        Some(Done::Written {
            token: flight.token,
            slot: Slot::none(),
            result,
        })
    }
}

fn judge(bytes: usize, written: i32, synced: i32) -> Result<(), (Op, Cause)> {
    if written < 0 {
        return Err((Op::Write, Cause::Errno(-written)));
    }
    if written as usize != bytes {
        let (got, want) = (written as u64, bytes as u64);
        return Err((Op::Write, Cause::Short { got, want }));
    }
    if synced < 0 {
        return Err((Op::Sync, Cause::Errno(-synced)));
    }
    Ok(())
}

impl Files for UringDisk {
    fn list(&self) -> Result<Vec<u64>, DiskError> {
        self.locked.directory.list()
    }
    fn len(&self, segment: u64) -> Result<u64, DiskError> {
        self.locked.directory.len(segment)
    }
    fn read(&self, segment: u64, offset: u64, into: &mut [u8]) -> Result<(), DiskError> {
        self.locked.directory.read(segment, offset, into)
    }
    fn path(&self, segment: u64) -> PathBuf {
        self.locked.directory.path(segment)
    }
    fn path_beside(&self, name: &str) -> PathBuf {
        self.locked.directory.path_beside(name)
    }
    fn beside(&self, name: &str) -> Result<Option<Vec<u8>>, DiskError> {
        self.locked.directory.beside(name)
    }
}

impl Disk for UringDisk {
    fn take_slots(&mut self) -> Vec<Slot> {
        assert!(!self.ring.slots.is_empty(), "slots are taken once");
        std::mem::take(&mut self.ring.slots)
    }

    fn prepare(&mut self, segment: u64) {
        self.preparing += 1;
        self.locked.prepare(segment);
    }

    fn write(&mut self, segment: u64, offset: u64, slot: Slot, bytes: usize, token: u64) {
        let index = slot.index;
        assert!(
            bytes <= size_of_val(&*slot.pages),
            "no more than the slot holds"
        );
        assert_eq!(
            slot.pages.as_ptr(),
            self.ring.bases[index],
            "a slot of this disk"
        );
        assert!(self.flights[index].is_none(), "a slot is in one place");
        let file = Arc::clone(Open::find(&self.open, segment));
        let (fd, base, user) = (
            types::Fd(file.as_raw_fd()),
            slot.pages.as_ptr(),
            index as u64 * 2,
        );
        let write = if self.ring.registered {
            opcode::WriteFixed::new(fd, base.cast(), bytes as u32, index as u16)
                .offset(offset)
                .build()
        } else {
            opcode::Write::new(fd, base.cast(), bytes as u32)
                .offset(offset)
                .build()
        };
        let sync = opcode::Fsync::new(fd)
            .flags(types::FsyncFlags::DATASYNC)
            .build();
        let pair = [
            write.flags(squeue::Flags::IO_LINK).user_data(user + WRITE),
            sync.user_data(user + SYNC),
        ];
        let flight = Flight {
            slot,
            _file: file,
            segment,
            bytes,
            token,
            written: None,
            synced: None,
        };
        self.flights[index] = Some(flight);
        self.flight_count += 1;
        // SAFETY: the kernel reads `bytes` from `base` until the write is answered, and uses the
        // file until the sync is. Both are in `self.flights[index]` from the line above, moved
        // only as handles (the pages are boxed, the file counted), and `reap` alone takes them
        // out, after both answers. `Drop` waits for the answers, or leaks what has none. The
        // length was checked against the slot, and the slot against what was registered.
        let pushed = unsafe { self.ring.ring.submission().push_multiple(&pair) };
        pushed.expect("two places for each slot");
        self.enter(0);
    }

    fn poll(&mut self) -> Option<Done> {
        if self.flight_count > 0 {
            if let Some(done) = self.reap() {
                return Some(done);
            }
            let queue = self.ring.ring.submission();
            let worth_it = queue.taskrun() || queue.cq_overflow() || !queue.is_empty();
            drop(queue);
            if worth_it {
                self.enter(0);
                if let Some(done) = self.reap() {
                    return Some(done);
                }
            }
            if let Some(errno) = self.broken {
                return self.give_up(errno);
            }
        }
        if self.preparing > 0 {
            let made = self.locked.poll_made()?;
            return Some(self.prepared(made));
        }
        None
    }

    fn release(&mut self, segment: u64) {
        if let Some(file) = Open::take(&mut self.open, segment) {
            self.locked.close(file);
        }
    }

    fn wait(&mut self) -> Option<Done> {
        loop {
            if let Some(done) = self.poll() {
                return Some(done);
            }
            if self.flight_count > 0 {
                self.enter(1);
            } else if self.preparing > 0 {
                let made = self.locked.wait_made();
                return Some(self.prepared(made));
            } else {
                return None;
            }
        }
    }

    fn write_now(&mut self, segment: u64, offset: u64, slot: &Slot) -> Result<(), DiskError> {
        self.locked
            .write_now(Open::find(&self.open, segment), segment, offset, slot)
    }

    fn settle(&mut self, segment: u64) -> Result<(), DiskError> {
        self.locked.settle(segment)
    }

    fn adopt(&mut self, segment: u64) -> Result<(), DiskError> {
        let file = self.locked.adopt(segment)?;
        self.open.push(Open { segment, file });
        Ok(())
    }

    fn remove(&mut self, segment: u64) -> Result<(), DiskError> {
        Open::take(&mut self.open, segment);
        self.locked.remove(segment)
    }

    fn trim(&mut self, segment: u64, bytes: u64) -> Result<(), DiskError> {
        self.locked.trim(segment, bytes)
    }

    fn describe(&self) -> String {
        let path = match self.locked.caching() {
            Caching::Direct => "past the page cache",
            Caching::Buffered => "through the page cache, since this file system refuses O_DIRECT",
        };
        let buffers = if self.ring.registered {
            ""
        } else {
            ", buffers not registered"
        };
        format!("log: io_uring, {path}{buffers}")
    }
}

impl Drop for UringDisk {
    fn drop(&mut self) {
        while self.flight_count > 0 && self.broken.is_none() {
            if self.reap().is_none() {
                self.enter(1);
            }
        }
        // Whatever has no answer may still be read from.
        self.flights
            .iter_mut()
            .for_each(|flight| std::mem::forget(flight.take()));
    }
}

/// Reserves the blocks of a file, in one piece where the file system can.
pub(super) fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    // SAFETY: the call takes a descriptor, which `file` keeps open, and plain numbers.
    let result = unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, bytes as libc::off_t) };
    if result == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        // Only a help: the zeros that follow take the same blocks.
        Some(libc::EOPNOTSUPP | libc::ENOSYS) => Ok(()),
        _ => Err(error),
    }
}

/// Lets go of what the page cache holds of a file, so that the next read asks the disk.
pub(super) fn forget_cache(file: &File) -> io::Result<()> {
    // SAFETY: the call takes a descriptor, which `file` keeps open, and plain numbers.
    let errno = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    if errno == 0 {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(errno))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_write_and_a_good_sync_count() {
        assert_eq!(judge(4096, 4096, 0), Ok(()));
        let short = Cause::Short {
            got: 512,
            want: 4096,
        };
        // The kernel cancels the sync of a write that failed or was short: the write is to blame.
        assert_eq!(
            judge(4096, 512, -libc::ECANCELED),
            Err((Op::Write, short.clone()))
        );
        let no_space = Cause::Errno(libc::ENOSPC);
        assert_eq!(
            judge(4096, -libc::ENOSPC, -libc::ECANCELED),
            Err((Op::Write, no_space))
        );
        assert_eq!(
            judge(4096, 4096, -libc::EIO),
            Err((Op::Sync, Cause::Errno(libc::EIO)))
        );
        assert_eq!(judge(4096, 512, 0), Err((Op::Write, short)));
    }
}
