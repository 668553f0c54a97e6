//! A disk in memory that fails in every way a real one may, from a seed.
//!
//! Time passes only when asked: one step each time [`Disk::poll`] finds nothing more. Writes in
//! flight finish in any order. What is not yet synced survives a crash in any subset of its
//! 512-byte sectors, and a name, a removal or a trim survives it or not.
//!
//! Read `faults` (what can go wrong), then `wreck` (what a crash leaves), then this.

mod faults;
mod wreck;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Disk, DiskError, Done, Files, Geometry, Op, Slot, steps};

use faults::kind_of;
pub use faults::{Fault, Faults, Fired, Kind, Random};
pub use wreck::{Image, Wreck};
use wreck::{Pending, Piece, put};

/// See the module.
#[derive(Debug)]
pub struct SimDisk {
    geometry: Geometry,
    faults: Faults,
    random: RefCell<Random>,
    /// Every file that has a name, with the bytes in it that are durable.
    files: BTreeMap<u64, Vec<u8>>,
    /// What was done since and is not durable. The bytes among it are what a reader sees.
    pending: Vec<Pending>,
    in_flight: Vec<Flight>,
    /// Files are made one after the other, and after one failed all fail.
    prepared_at: u64,
    prepare_failed: Option<DiskError>,
    now: u64,
    ops: Cell<u64>,
    fail: Cell<Option<(u64, Fault)>>,
    is_fired: Cell<bool>,
    fired: Cell<Fired>,
}

#[derive(Debug)]
struct Flight {
    due: u64,
    work: Work,
}

#[derive(Debug)]
enum Work {
    Prepare {
        segment: u64,
        made: Made,
        result: Result<(), DiskError>,
    },
    Write {
        segment: u64,
        offset: u64,
        bytes: usize,
        token: u64,
        slot: Slot,
        wrote: Wrote,
    },
}

/// How far the making of a segment got.
#[derive(Clone, Copy, Debug, Default)]
struct Made {
    is_synced: bool,
    is_named: bool,
    is_name_synced: bool,
}

/// How a write will end; decided when it is asked for, so that the operations count the same
/// however they finish.
#[derive(Clone, Debug)]
struct Wrote {
    /// How many bytes got to the page cache.
    bytes: usize,
    sync: Synced,
    result: Result<(), DiskError>,
}

/// What a sync did, whatever was said of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Synced {
    Not,
    /// It failed: from now on the kernel takes for written what is not.
    GivenUp,
    Durable,
}

impl SimDisk {
    /// An empty disk.
    pub fn new(geometry: Geometry, seed: u64, faults: Faults) -> SimDisk {
        SimDisk {
            geometry,
            faults,
            random: RefCell::new(Random(seed)),
            files: BTreeMap::new(),
            pending: Vec::new(),
            in_flight: Vec::new(),
            prepared_at: 0,
            prepare_failed: None,
            now: 0,
            ops: Cell::new(0),
            fail: Cell::new(faults.fail),
            is_fired: Cell::new(false),
            fired: Cell::new(Fired::default()),
        }
    }

    /// The power fails now: what a new process finds afterwards.
    pub fn crash(self, seed: u64, geometry: Geometry, faults: Faults) -> SimDisk {
        let mut random = Random(seed);
        let mut fired = self.fired.get();
        let wreck = self.wreck();
        if !wreck.pending.is_empty() {
            fired.count(Kind::CutInWrite);
        }
        let survives = wreck.draw(&mut random);
        wreck.count(&survives, &mut fired);
        SimDisk {
            fired: Cell::new(fired),
            ..SimDisk::on(&wreck, &survives, random.next(), geometry, faults)
        }
    }

    /// The disk that a wreck becomes if these atoms survive.
    pub fn on(
        wreck: &Wreck,
        survives: &[bool],
        seed: u64,
        geometry: Geometry,
        faults: Faults,
    ) -> SimDisk {
        SimDisk {
            files: wreck.files(survives),
            ..SimDisk::new(geometry, seed, faults)
        }
    }

    /// The power fails now, and what survives is still open.
    pub fn wreck(mut self) -> Wreck {
        let mut follows = false;
        for flight in std::mem::take(&mut self.in_flight) {
            if let Work::Prepare { segment, made, .. } = flight.work {
                // Its zeros are synced before it gets its name, so that only the name is open.
                if made.is_named {
                    self.name(segment, made, follows);
                    follows = true;
                }
            } else {
                self.write_cached(flight.work, usize::MAX);
            }
        }
        Wreck {
            files: self.files,
            pending: self.pending,
        }
    }

    /// The process is killed now, and the machine lives: a new process reads all that was
    /// written, as far as it got, but until it is settled a power failure can still undo it.
    pub fn kill(mut self, seed: u64, geometry: Geometry, faults: Faults) -> SimDisk {
        let mut random = Random(seed);
        let mut fired = self.fired.get();
        fired.count(Kind::ProcessKill);
        let mut is_making = true;
        for flight in std::mem::take(&mut self.in_flight) {
            match flight.work {
                // Files are made one after the other, so that one cannot outlive the one before.
                Work::Prepare { segment, made, .. } => {
                    is_making &= made.is_named && random.one_in(2);
                    if is_making {
                        let is_name_synced = made.is_name_synced && random.one_in(2);
                        let made = Made {
                            is_name_synced,
                            ..made
                        };
                        self.name(segment, made, false);
                        is_making = is_name_synced;
                    }
                }
                work @ Work::Write { bytes, .. } => {
                    let got = match random.below(4) {
                        0 => 0,
                        1 => random.below(bytes as u64 / 512 + 1) as usize * 512,
                        _ => bytes,
                    };
                    self.write_cached(work, got);
                }
            }
        }
        SimDisk {
            files: self.files,
            pending: self.pending,
            fired: Cell::new(fired),
            ..SimDisk::new(geometry, random.next(), faults)
        }
    }

    /// The same disk, on which other things go wrong; operations count from 1 again.
    pub fn with_faults(self, faults: Faults) -> SimDisk {
        SimDisk {
            faults,
            ops: Cell::new(0),
            fail: Cell::new(faults.fail),
            is_fired: Cell::new(false),
            ..self
        }
    }

    /// From now on, the `nth` operation fails.
    pub fn fail_later(&self, nth: u64, fault: Fault) {
        self.fail.set(Some((self.ops.get() + nth, fault)));
    }

    /// Lets a test look at the disk: what it does counts for nothing, and nothing of it fails.
    pub fn quietly<T>(&self, look: impl FnOnce(&SimDisk) -> T) -> T {
        let (fail, ops) = (self.fail.take(), self.ops.get());
        let result = look(self);
        self.fail.set(fail);
        self.ops.set(ops);
        result
    }

    /// How many operations were asked for.
    pub fn op_count(&self) -> u64 {
        self.ops.get()
    }

    /// Whether the operation that [`Faults::fail`] names was reached.
    pub fn fault_fired(&self) -> bool {
        self.is_fired.get()
    }

    /// How often each fault happened, on this disk and those that it was before a crash.
    pub fn fired(&self) -> Fired {
        self.fired.get()
    }

    /// What is durable, by segment number, to be spoilt at will.
    pub fn files_mut(&mut self) -> &mut BTreeMap<u64, Vec<u8>> {
        &mut self.files
    }

    /// One bit of what lies on the disk changes; where, by segment and byte.
    pub fn rot(&mut self, random: &mut Random) -> Option<(u64, usize)> {
        let sizes = self.files.values().map(Vec::len);
        let mut at = random.below(sizes.sum::<usize>().max(1) as u64) as usize;
        for (&segment, file) in &mut self.files {
            if let Some(byte) = file.get_mut(at) {
                *byte ^= 1 << random.below(8);
                self.fire(Kind::FlippedBit);
                return Some((segment, at));
            }
            at -= file.len();
        }
        None
    }

    fn fire(&self, kind: Kind) {
        let mut fired = self.fired.get();
        fired.count(kind);
        self.fired.set(fired);
    }

    /// Counts an operation, and says how it fails if it is the one to fail.
    fn count(&self, op: Op) -> Option<Fault> {
        let number = self.ops.get() + 1;
        self.ops.set(number);
        let (nth, fault) = self.fail.get()?;
        // Only a read can come out wrong.
        if number != nth || (fault == Fault::Flip && op != Op::Read) {
            return None;
        }
        self.is_fired.set(true);
        self.fire(kind_of(op, fault));
        Some(fault)
    }

    fn error(&self, op: Op, segment: u64, fault: Fault) -> DiskError {
        let errno = match fault {
            Fault::Io | Fault::Short | Fault::Flip => libc::EIO,
            Fault::NoSpace => libc::ENOSPC,
        };
        DiskError::new(op, self.path(segment), errno)
    }

    fn step(&self, op: Op, segment: u64) -> Result<(), DiskError> {
        match self.count(op) {
            None => Ok(()),
            Some(fault) => Err(self.error(op, segment, fault)),
        }
    }

    /// A sync as the code under test does it, and what it did.
    fn sync(&self, op: Op, segment: u64) -> (Synced, Result<(), DiskError>) {
        let mut did = Synced::Not;
        let result = steps::sync(|| {
            if self.faults.sync_lies {
                return Ok(());
            }
            let result = self.step(op, segment);
            match (&result, did) {
                (Err(_), _) => did = Synced::GivenUp,
                (Ok(()), Synced::Not) => did = Synced::Durable,
                // A second sync finds nothing to do.
                (Ok(()), Synced::GivenUp | Synced::Durable) => {}
            }
            result
        });
        (did, result)
    }

    fn due(&mut self) -> u64 {
        let steps_max = self.faults.steps_max.max(1);
        let mut steps = 1 + self.random.get_mut().below(steps_max);
        let one_in = self.faults.stall_one_in;
        if one_in > 0 && self.random.get_mut().one_in(one_in) {
            steps *= 100;
            self.fire(Kind::Stall);
        }
        self.now + steps
    }

    /// A new segment gets its name.
    fn name(&mut self, segment: u64, made: Made, follows: bool) {
        let bytes = vec![0; self.geometry.segment_bytes as usize];
        self.files.insert(segment, bytes);
        if !made.is_name_synced || follows {
            self.pending.push(Pending::Name { segment, follows });
        }
        if !made.is_synced {
            self.pending.push(Pending::Zeros { segment });
        }
    }

    /// The first `got` bytes of a write that was not synced.
    fn write_cached(&mut self, work: Work, got: usize) {
        let Work::Write {
            segment,
            offset,
            slot,
            wrote,
            ..
        } = work
        else {
            return;
        };
        self.pending.push(Pending::Write(Piece {
            segment,
            offset,
            bytes: slot.bytes()[..wrote.bytes.min(got)].to_vec(),
            given_up: false,
        }));
    }

    /// The write and its sync are over.
    fn land(&mut self, segment: u64, offset: u64, bytes: &[u8], sync: Synced) {
        if sync == Synced::Durable {
            put(&mut self.files, segment, offset, bytes);
            return;
        }
        self.pending.push(Pending::Write(Piece {
            segment,
            offset,
            bytes: bytes.to_vec(),
            given_up: sync == Synced::GivenUp,
        }));
    }

    /// How a write of so many bytes and its sync end.
    fn wrote(&self, segment: u64, bytes: usize) -> Wrote {
        let (fault, want) = (self.count(Op::Write), bytes);
        let mut wrote = Wrote {
            bytes,
            sync: Synced::Not,
            result: Ok(()),
        };
        match fault {
            None => {}
            Some(Fault::Short) => {
                wrote.bytes = self.random.borrow_mut().below(want as u64 / 512) as usize * 512
            }
            Some(fault) => {
                wrote.result = Err(self.error(Op::Write, segment, fault));
                return wrote;
            }
        }
        if steps::is_whole(wrote.bytes, want) {
            (wrote.sync, wrote.result) = self.sync(Op::Sync, segment);
        } else {
            let path = self.path(segment);
            let (got, want) = (wrote.bytes as u64, want as u64);
            wrote.result = Err(DiskError::short(Op::Write, path, got, want));
        }
        wrote
    }

    fn finish(&mut self, work: Work) -> Done {
        match work {
            Work::Prepare {
                segment,
                made,
                result,
            } => {
                if made.is_named {
                    self.name(segment, made, false);
                }
                Done::Prepared { segment, result }
            }
            Work::Write {
                segment,
                offset,
                token,
                slot,
                wrote,
                ..
            } => {
                self.land(segment, offset, &slot.bytes()[..wrote.bytes], wrote.sync);
                Done::Written {
                    token,
                    slot,
                    result: wrote.result,
                }
            }
        }
    }

    fn next_due(&mut self) -> Option<Done> {
        let dues = self
            .in_flight
            .iter()
            .enumerate()
            .map(|(index, flight)| (flight.due, index));
        let (due, index) = dues.min()?;
        if due > self.now {
            return None;
        }
        let flight = self.in_flight.remove(index);
        Some(self.finish(flight.work))
    }

    /// All that is not durable of one segment, and of names in general, by what a sync did.
    fn resolve(&mut self, is_meant: impl Fn(&Pending) -> bool, sync: Synced) {
        let mut pending = std::mem::take(&mut self.pending);
        pending.retain_mut(|pending| {
            if !is_meant(pending) {
                return true;
            }
            match (pending, sync) {
                (_, Synced::Not) => true,
                (Pending::Write(piece), Synced::GivenUp) => {
                    piece.given_up = true;
                    true
                }
                (Pending::Write(piece), Synced::Durable) => {
                    // What was given up is not written by a later sync. Luck had written some.
                    for (sector, at) in piece.bytes.chunks(512).zip((piece.offset..).step_by(512)) {
                        if !piece.given_up || self.random.get_mut().one_in(2) {
                            put(&mut self.files, piece.segment, at, sector);
                        }
                    }
                    false
                }
                (_, Synced::GivenUp) => true,
                (_, Synced::Durable) => false,
            }
        });
        self.pending = pending;
    }

    /// Takes one thing out of the directory's sync.
    fn sync_directory(&mut self, op: Op, segment: u64) -> Result<(), DiskError> {
        let (did, result) = self.sync(op, segment);
        let is_name = |pending: &Pending| match pending {
            Pending::Name { .. } | Pending::Removal { .. } => true,
            Pending::Write(_) | Pending::Zeros { .. } | Pending::Trim { .. } => false,
        };
        self.resolve(is_name, did);
        result
    }
}

impl Files for SimDisk {
    fn list(&self) -> Result<Vec<u64>, DiskError> {
        self.step(Op::List, 0)?;
        Ok(self.files.keys().copied().collect())
    }

    fn len(&self, segment: u64) -> Result<u64, DiskError> {
        self.step(Op::Open, segment)?;
        let file = self.files.get(&segment);
        file.map(|file| file.len() as u64)
            .ok_or_else(|| DiskError::new(Op::Open, self.path(segment), libc::ENOENT))
    }

    fn read(&self, segment: u64, offset: u64, into: &mut [u8]) -> Result<(), DiskError> {
        let fault = self.count(Op::Read);
        if let Some(fault) = fault.filter(|&fault| fault != Fault::Flip) {
            return Err(self.error(Op::Read, segment, fault));
        }
        let file = self.files.get(&segment);
        let file =
            file.ok_or_else(|| DiskError::new(Op::Read, self.path(segment), libc::ENOENT))?;
        let from = file.get(offset as usize..).unwrap_or_default();
        let Some(from) = from.get(..into.len()) else {
            let (got, want) = (from.len() as u64, into.len() as u64);
            return Err(DiskError::short(Op::Read, self.path(segment), got, want));
        };
        into.copy_from_slice(from);
        for pending in &self.pending {
            if let Pending::Write(piece) = pending
                && piece.segment == segment
            {
                piece.show(offset, into);
            }
        }
        if fault.is_some() && !into.is_empty() {
            let mut random = self.random.borrow_mut();
            into[random.below(into.len() as u64) as usize] ^= 1 << random.below(8);
        }
        Ok(())
    }

    fn path(&self, segment: u64) -> PathBuf {
        super::files::segment_path("sim".as_ref(), segment)
    }
}

/// One segment in the making. What it does shows only when it is over.
struct Making<'a> {
    disk: &'a SimDisk,
    segment: u64,
    is_full: bool,
    made: Made,
}

impl steps::Making for Making<'_> {
    type Error = DiskError;

    fn create(&mut self) -> Result<(), DiskError> {
        if self.is_full {
            self.disk.fire(Kind::FullPrepare);
            let error = self.disk.error(Op::Prepare, self.segment, Fault::NoSpace);
            return Err(error);
        }
        self.disk.step(Op::Prepare, self.segment)
    }

    fn fill(&mut self) -> Result<(), DiskError> {
        self.disk.step(Op::Prepare, self.segment)
    }

    fn sync(&mut self) -> Result<(), DiskError> {
        self.disk.step(Op::Prepare, self.segment)?;
        self.made.is_synced = true;
        Ok(())
    }

    fn rename(&mut self) -> Result<(), DiskError> {
        self.disk.step(Op::Prepare, self.segment)?;
        self.made.is_named = true;
        Ok(())
    }

    fn sync_directory(&mut self) -> Result<(), DiskError> {
        self.disk.step(Op::Sync, self.segment)?;
        self.made.is_name_synced = true;
        Ok(())
    }
}

impl Disk for SimDisk {
    fn take_slots(&mut self) -> Vec<Slot> {
        self.geometry.slots()
    }

    fn prepare(&mut self, segment: u64) {
        let under_way = self
            .in_flight
            .iter()
            .filter(|flight| matches!(flight.work, Work::Prepare { .. }));
        let taken_bytes: u64 = self
            .files
            .values()
            .map(|file| file.len() as u64)
            .sum::<u64>()
            + under_way.count() as u64 * self.geometry.segment_bytes;
        let is_full = self
            .faults
            .capacity_bytes
            .is_some_and(|capacity| taken_bytes + self.geometry.segment_bytes > capacity);
        let mut making = Making {
            disk: self,
            segment,
            is_full,
            made: Made::default(),
        };
        let result = match &self.prepare_failed {
            Some(error) => Err(error.clone()),
            None => steps::make_segment(&mut making),
        };
        let made = making.made;
        self.prepare_failed = result.as_ref().err().cloned();
        let due = self.due().max(self.prepared_at + 1);
        self.prepared_at = due;
        let work = Work::Prepare {
            segment,
            made,
            result,
        };
        self.in_flight.push(Flight { due, work });
    }

    fn write(&mut self, segment: u64, offset: u64, slot: Slot, bytes: usize, token: u64) {
        let end = offset + bytes as u64;
        assert!(
            end <= self.files[&segment].len() as u64,
            "a write past the segment's end"
        );
        let range = offset as usize..end as usize;
        assert!(
            self.files[&segment][range].iter().all(|&b| b == 0),
            "a page is written twice"
        );
        let wrote = self.wrote(segment, bytes);
        let due = self.due();
        let work = Work::Write {
            segment,
            offset,
            bytes,
            token,
            slot,
            wrote,
        };
        self.in_flight.push(Flight { due, work });
    }

    fn poll(&mut self) -> Option<Done> {
        let done = self.next_due();
        if done.is_none() {
            self.now += 1;
        }
        done
    }

    fn release(&mut self, _segment: u64) {}

    fn wait(&mut self) -> Option<Done> {
        let due = self.in_flight.iter().map(|flight| flight.due).min()?;
        self.now = self.now.max(due);
        self.next_due()
    }

    fn write_now(&mut self, segment: u64, offset: u64, slot: &Slot) -> Result<(), DiskError> {
        let wrote = self.wrote(segment, slot.bytes().len());
        self.land(segment, offset, &slot.bytes()[..wrote.bytes], wrote.sync);
        wrote.result
    }

    fn settle(&mut self, segment: u64) -> Result<(), DiskError> {
        let (did, result) = self.sync(Op::Sync, segment);
        let is_of_it = |pending: &Pending| match pending {
            Pending::Write(piece) => piece.segment == segment,
            Pending::Zeros { segment: other } => *other == segment,
            Pending::Trim { segment: other, .. } => *other == segment,
            Pending::Name { .. } | Pending::Removal { .. } => false,
        };
        self.resolve(is_of_it, did);
        result
    }

    fn adopt(&mut self, segment: u64) -> Result<(), DiskError> {
        let opened = self.step(Op::Open, segment);
        steps::adopt(|| opened, || self.sync_directory(Op::Sync, segment))
    }

    fn remove(&mut self, segment: u64) -> Result<(), DiskError> {
        // What failed may still have happened: the name goes first, and may come back.
        self.step(Op::Remove, segment)?;
        if let Some(bytes) = self.files.remove(&segment) {
            let is_its = |pending: &Pending| match pending {
                Pending::Write(piece) => piece.segment != segment,
                Pending::Name { segment: other, .. } | Pending::Zeros { segment: other } => {
                    *other != segment
                }
                Pending::Removal { .. } | Pending::Trim { .. } => true,
            };
            self.pending.retain(is_its);
            self.pending.push(Pending::Removal { segment, bytes });
        }
        self.sync_directory(Op::Remove, segment)
    }

    fn trim(&mut self, segment: u64, bytes: u64) -> Result<(), DiskError> {
        self.step(Op::Trim, segment)?;
        if let Some(file) = self.files.get_mut(&segment)
            && file.len() as u64 > bytes
        {
            let tail = file.split_off(bytes as usize);
            self.pending.push(Pending::Trim { segment, tail });
        }
        let (did, result) = self.sync(Op::Trim, segment);
        let is_it = |pending: &Pending| matches!(pending, Pending::Trim { segment: other, .. } if *other == segment);
        self.resolve(is_it, did);
        result
    }

    fn describe(&self) -> String {
        "log: simulated disk".to_owned()
    }
}
