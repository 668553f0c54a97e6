//! `pwrite` and `fdatasync` on a thread of its own, for where `io_uring` is refused.
//!
//! The thread takes all writes that wait, does them, and syncs once for all of them.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;

use super::files::{Caching, Locked, Made, Open, segment_path};
use super::{Disk, DiskError, Done, Files, Geometry, Op, Slot, steps};

/// See the module.
#[derive(Debug)]
pub struct PlainDisk {
    geometry: Geometry,
    refusal: String,
    open: Vec<Open>,
    write: Option<SyncSender<Job>>,
    written: Receiver<Done>,
    thread: Option<JoinHandle<()>>,
    preparing: usize,
    writing: usize,
    // Dropped last: it holds the lock.
    locked: Locked,
}

#[derive(Debug)]
struct Job {
    file: Arc<File>,
    segment: u64,
    offset: u64,
    slot: Slot,
    bytes: usize,
    token: u64,
}

impl PlainDisk {
    /// Locks the directory (made if need be) and starts the threads. `refusal` says why this
    /// backend was taken.
    pub fn open(dir: &Path, geometry: Geometry, refusal: String) -> Result<PlainDisk, DiskError> {
        let locked = Locked::open(dir, geometry.segment_bytes, Caching::Buffered)?;
        // One place for each slot: sending never waits.
        let (write, jobs) = sync_channel(geometry.slot_count + 1);
        let (done, written) = sync_channel(geometry.slot_count + 1);
        let thread_dir = dir.to_owned();
        let thread = std::thread::Builder::new()
            .name("log-writes".to_owned())
            .spawn(move || write_all(&thread_dir, &jobs, &done))
            .map_err(|error| DiskError::io(Op::Open, dir, &error))?;
        Ok(PlainDisk {
            geometry,
            refusal,
            open: Vec::with_capacity(Open::MANY),
            write: Some(write),
            written,
            thread: Some(thread),
            preparing: 0,
            writing: 0,
            locked,
        })
    }

    fn prepared(&mut self, (segment, made): Made) -> Done {
        self.preparing -= 1;
        let result = made.map(|file| self.open.push(Open { segment, file }));
        Done::Prepared { segment, result }
    }
}

fn write_all(dir: &Path, jobs: &Receiver<Job>, done: &SyncSender<Done>) {
    let mut batch: Vec<(Job, Result<(), DiskError>)> = Vec::new();
    while let Ok(first) = jobs.recv() {
        batch.extend(std::iter::once(first).chain(jobs.try_iter()).map(|job| {
            let result = write_one(dir, &job);
            crate::failpoint!("frame-written");
            (job, result)
        }));
        // In a batch that crosses into another segment, the first one is synced by itself.
        let mut synced: Option<(u64, Result<(), DiskError>)> = None;
        for (job, written) in batch.drain(..) {
            let result = written.and_then(|()| match &synced {
                Some((segment, result)) if *segment == job.segment => result.clone(),
                _ => {
                    let sync = || match crate::failpoint!(errno "sync-fails") {
                        Some(errno) => Err(io::Error::from_raw_os_error(errno)),
                        None => job.file.sync_data(),
                    };
                    let result = steps::sync(sync).map_err(|error| {
                        DiskError::io(Op::Sync, segment_path(dir, job.segment), &error)
                    });
                    synced = Some((job.segment, result.clone()));
                    result
                }
            });
            if done
                .send(Done::Written {
                    token: job.token,
                    slot: job.slot,
                    result,
                })
                .is_err()
            {
                return;
            }
        }
    }
}

fn write_one(dir: &Path, job: &Job) -> Result<(), DiskError> {
    let want = &job.slot.bytes()[..job.bytes];
    let path = || segment_path(dir, job.segment);
    if let Some(errno) = crate::failpoint!(errno "write-fails") {
        return Err(DiskError::new(Op::Write, path(), errno));
    }
    match job.file.write_at(want, job.offset) {
        Ok(got) if steps::is_whole(got, want.len()) => Ok(()),
        Ok(got) => Err(DiskError::short(
            Op::Write,
            path(),
            got as u64,
            want.len() as u64,
        )),
        Err(error) => Err(DiskError::io(Op::Write, path(), &error)),
    }
}

impl Files for PlainDisk {
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

impl Disk for PlainDisk {
    fn take_slots(&mut self) -> Vec<Slot> {
        self.geometry.slots()
    }

    fn prepare(&mut self, segment: u64) {
        self.preparing += 1;
        self.locked.prepare(segment);
    }

    fn write(&mut self, segment: u64, offset: u64, slot: Slot, bytes: usize, token: u64) {
        let file = Arc::clone(Open::find(&self.open, segment));
        let job = Job {
            file,
            segment,
            offset,
            slot,
            bytes,
            token,
        };
        let sender = self.write.as_ref().expect("only dropped by drop");
        sender
            .try_send(job)
            .expect("a place for each slot, and a thread that lives");
        self.writing += 1;
    }

    fn poll(&mut self) -> Option<Done> {
        if self.writing > 0 {
            match self.written.try_recv() {
                Ok(done) => {
                    self.writing -= 1;
                    return Some(done);
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => panic!("the thread that writes the log died"),
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
        if let Some(done) = self.poll() {
            return Some(done);
        }
        if self.writing > 0 {
            self.writing -= 1;
            return Some(
                self.written
                    .recv()
                    .expect("the thread that writes the log lives"),
            );
        }
        if self.preparing > 0 {
            let made = self.locked.wait_made();
            return Some(self.prepared(made));
        }
        None
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
        format!("log: pwrite and fdatasync on a thread ({})", self.refusal)
    }
}

impl Drop for PlainDisk {
    fn drop(&mut self) {
        self.write = None;
        if let Some(thread) = self.thread.take() {
            // What was handed over is still written, and the lock goes only after that.
            let _ = thread.join();
        }
    }
}
