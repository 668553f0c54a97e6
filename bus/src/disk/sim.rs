//! A disk in memory that fails in every way a real one may, from a seed.
//!
//! Time passes only when asked: one step each time [`Disk::poll`] finds nothing more. Writes in
//! flight finish in any order. What is not yet synced survives a crash in any subset of its
//! 512-byte sectors.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Disk, DiskError, Done, Files, Geometry, Op, Slot};

/// The unit of tearing: a drive writes a sector whole or not at all.
const SECTOR_BYTES: usize = 512;

/// What goes wrong, besides crashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// The operation with this number (from 1, in the order they are asked for; a write and its
    /// sync are two) fails with this.
    pub fail: Option<(u64, Fault)>,
    /// Preparing a segment that would take more than this fails with ENOSPC.
    pub capacity_bytes: Option<u64>,
    /// A sync says it worked and did nothing: for showing that a test would notice.
    pub sync_lies: bool,
    /// An operation takes up to this many steps.
    pub steps_max: u64,
}

/// One way to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// EIO. Of what a failed write wrote, any sectors may be there.
    Io,
    /// ENOSPC.
    NoSpace,
    /// A write ends early; what is not a write fails with EIO.
    Short,
}

/// See the module.
#[derive(Debug)]
pub struct SimDisk {
    geometry: Geometry,
    faults: Faults,
    random: Random,
    /// What would survive a crash now, whatever the luck.
    files: BTreeMap<u64, Vec<u8>>,
    /// What was written and not synced: at a crash, luck decides sector by sector.
    unsynced: Vec<Piece>,
    /// What a killed process wrote and did not sync: to be read, and not yet on the disk.
    cached: Vec<Piece>,
    in_flight: Vec<Flight>,
    /// Files are made one after the other, and after one failed all fail.
    prepared_at: u64,
    prepare_failed: Option<DiskError>,
    now: u64,
    ops: Cell<u64>,
    fired: Cell<bool>,
}

#[derive(Debug)]
struct Piece {
    segment: u64,
    offset: u64,
    bytes: Vec<u8>,
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
        result: Result<(), DiskError>,
    },
    Write {
        segment: u64,
        offset: u64,
        bytes: usize,
        token: u64,
        slot: Slot,
        fate: Fate,
    },
}

/// How a write will end; decided when it is asked for, so that the operations count the same
/// however they finish.
#[derive(Clone, Debug)]
enum Fate {
    Fine,
    WriteFails(DiskError),
    SyncFails(DiskError),
}

impl Piece {
    /// Puts what it has of a range of its file into `into`, which begins at `offset`.
    fn show(&self, offset: u64, into: &mut [u8]) {
        let start = self.offset.max(offset);
        let end = (self.offset + self.bytes.len() as u64).min(offset + into.len() as u64);
        if start < end {
            let (from, to) = ((start - self.offset) as usize, (start - offset) as usize);
            let len = (end - start) as usize;
            into[to..to + len].copy_from_slice(&self.bytes[from..from + len]);
        }
    }
}

impl SimDisk {
    /// An empty disk.
    pub fn new(geometry: Geometry, seed: u64, faults: Faults) -> SimDisk {
        SimDisk {
            geometry,
            faults,
            random: Random(seed),
            files: BTreeMap::new(),
            unsynced: Vec::new(),
            cached: Vec::new(),
            in_flight: Vec::new(),
            prepared_at: 0,
            prepare_failed: None,
            now: 0,
            ops: Cell::new(0),
            fired: Cell::new(false),
        }
    }

    /// The power fails now: what a new process finds afterwards.
    pub fn crash(mut self, seed: u64, geometry: Geometry, faults: Faults) -> SimDisk {
        let mut random = Random(seed);
        let pieces = self.stop(&mut random);
        for piece in &pieces {
            tear(&mut self.files, piece, &mut random);
        }
        SimDisk {
            files: self.files,
            ..SimDisk::new(geometry, random.next(), faults)
        }
    }

    /// The process is killed now, and the machine lives: a new process reads all that was
    /// written, as far as it got, but until it is settled a power failure can still undo it.
    pub fn kill(mut self, seed: u64, geometry: Geometry, faults: Faults) -> SimDisk {
        let mut random = Random(seed);
        let mut cached = self.stop(&mut random);
        cached.retain(|_| random.below(4) > 0);
        SimDisk {
            files: self.files,
            cached,
            ..SimDisk::new(geometry, random.next(), faults)
        }
    }

    /// Ends all that is in flight; returns the writes that may or may not have happened.
    fn stop(&mut self, random: &mut Random) -> Vec<Piece> {
        let mut pieces = std::mem::take(&mut self.cached);
        pieces.append(&mut self.unsynced);
        for flight in std::mem::take(&mut self.in_flight) {
            match flight.work {
                // A new file's name is either there or not; its zeros were synced before.
                Work::Prepare {
                    segment,
                    result: Ok(()),
                } => {
                    // Files are made in order, so that one cannot outlive the one before it.
                    let in_order = segment == self.files.keys().last().map_or(0, |last| last + 1);
                    if in_order && random.below(2) == 0 {
                        self.files
                            .insert(segment, vec![0; self.geometry.segment_bytes as usize]);
                    }
                }
                Work::Prepare { result: Err(_), .. } => {}
                Work::Write {
                    segment,
                    offset,
                    bytes,
                    slot,
                    ..
                } => {
                    pieces.push(Piece {
                        segment,
                        offset,
                        bytes: slot.bytes()[..bytes].to_vec(),
                    });
                }
            }
        }
        pieces
    }

    /// The same disk, on which other things go wrong; operations count from 1 again.
    pub fn with_faults(self, faults: Faults) -> SimDisk {
        SimDisk {
            faults,
            ops: Cell::new(0),
            fired: Cell::new(false),
            ..self
        }
    }

    /// How many operations were asked for.
    pub fn op_count(&self) -> u64 {
        self.ops.get()
    }

    /// Whether the operation that [`Faults::fail`] names was reached.
    pub fn fault_fired(&self) -> bool {
        self.fired.get()
    }

    /// What is durable, by segment number, to be spoilt at will.
    pub fn files_mut(&mut self) -> &mut BTreeMap<u64, Vec<u8>> {
        &mut self.files
    }

    /// Counts an operation, and says how it fails if it is the one to fail.
    fn count(&self) -> Option<Fault> {
        let op = self.ops.get() + 1;
        self.ops.set(op);
        let (nth, fault) = self.faults.fail?;
        if op != nth {
            return None;
        }
        self.fired.set(true);
        Some(fault)
    }

    fn fail(&self, op: Op, segment: u64, fault: Fault) -> DiskError {
        let errno = match fault {
            Fault::Io | Fault::Short => libc::EIO,
            Fault::NoSpace => libc::ENOSPC,
        };
        DiskError::new(op, self.path(segment), errno)
    }

    fn step(&self, op: Op, segment: u64) -> Result<(), DiskError> {
        match self.count() {
            None => Ok(()),
            Some(fault) => Err(self.fail(op, segment, fault)),
        }
    }

    fn due(&mut self) -> u64 {
        self.now + 1 + self.random.below(self.faults.steps_max.max(1))
    }

    fn finish(&mut self, work: Work) -> Done {
        match work {
            Work::Prepare { segment, result } => {
                if result.is_ok() {
                    self.files
                        .insert(segment, vec![0; self.geometry.segment_bytes as usize]);
                }
                Done::Prepared { segment, result }
            }
            Work::Write {
                segment,
                offset,
                bytes,
                token,
                slot,
                fate,
            } => {
                let piece = Piece {
                    segment,
                    offset,
                    bytes: slot.bytes()[..bytes].to_vec(),
                };
                let result = match fate {
                    Fate::Fine if self.faults.sync_lies => {
                        self.unsynced.push(piece);
                        Ok(())
                    }
                    Fate::Fine => {
                        put(&mut self.files, &piece, 0..bytes);
                        Ok(())
                    }
                    Fate::WriteFails(error) | Fate::SyncFails(error) => {
                        self.unsynced.push(piece);
                        Err(error)
                    }
                };
                Done::Written {
                    token,
                    slot,
                    result,
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
}

fn put(files: &mut BTreeMap<u64, Vec<u8>>, piece: &Piece, range: std::ops::Range<usize>) {
    let Some(file) = files.get_mut(&piece.segment) else {
        return;
    };
    let at = piece.offset as usize + range.start;
    file[at..at + range.len()].copy_from_slice(&piece.bytes[range]);
}

/// Lets some sectors of an unsynced write reach the disk: none, all, a front part, or any.
fn tear(files: &mut BTreeMap<u64, Vec<u8>>, piece: &Piece, random: &mut Random) {
    let sectors = piece.bytes.len() / SECTOR_BYTES;
    let how = random.below(4);
    let front = random.below(sectors as u64 + 1) as usize;
    for sector in 0..sectors {
        let survives = match how {
            0 => false,
            1 => true,
            2 => sector < front,
            _ => random.below(2) == 0,
        };
        if survives {
            put(
                files,
                piece,
                sector * SECTOR_BYTES..(sector + 1) * SECTOR_BYTES,
            );
        }
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
        self.step(Op::Read, segment)?;
        let file = self.files.get(&segment);
        let file =
            file.ok_or_else(|| DiskError::new(Op::Read, self.path(segment), libc::ENOENT))?;
        let from = file.get(offset as usize..).unwrap_or_default();
        let Some(from) = from.get(..into.len()) else {
            let (got, want) = (from.len() as u64, into.len() as u64);
            return Err(DiskError::short(Op::Read, self.path(segment), got, want));
        };
        into.copy_from_slice(from);
        for piece in self.cached.iter().filter(|piece| piece.segment == segment) {
            piece.show(offset, into);
        }
        Ok(())
    }

    fn path(&self, segment: u64) -> PathBuf {
        super::files::segment_path("sim".as_ref(), segment)
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
        let full = self
            .faults
            .capacity_bytes
            .is_some_and(|capacity| taken_bytes + self.geometry.segment_bytes > capacity);
        let fault = self.count().or(full.then_some(Fault::NoSpace));
        let error = fault.map(|fault| self.fail(Op::Prepare, segment, fault));
        self.prepare_failed = self.prepare_failed.take().or(error);
        let result = self.prepare_failed.clone().map_or(Ok(()), Err);
        let due = self.due().max(self.prepared_at + 1);
        self.prepared_at = due;
        self.in_flight.push(Flight {
            due,
            work: Work::Prepare { segment, result },
        });
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
        let fate = match (self.count(), self.count()) {
            (Some(Fault::Short), _) => {
                let error = DiskError::short(Op::Write, self.path(segment), 512, bytes as u64);
                Fate::WriteFails(error)
            }
            (Some(fault), _) => Fate::WriteFails(self.fail(Op::Write, segment, fault)),
            (None, Some(fault)) => Fate::SyncFails(self.fail(Op::Sync, segment, fault)),
            (None, None) => Fate::Fine,
        };
        let due = self.due();
        let work = Work::Write {
            segment,
            offset,
            bytes,
            token,
            slot,
            fate,
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
        let piece = Piece {
            segment,
            offset,
            bytes: slot.bytes().to_vec(),
        };
        for op in [Op::Write, Op::Sync] {
            if let Err(error) = self.step(op, segment) {
                self.unsynced.push(piece);
                return Err(error);
            }
        }
        put(&mut self.files, &piece, 0..piece.bytes.len());
        Ok(())
    }

    fn settle(&mut self, segment: u64) -> Result<(), DiskError> {
        self.step(Op::Sync, segment)?;
        let (settled, rest) = std::mem::take(&mut self.cached)
            .into_iter()
            .partition::<Vec<_>, _>(|piece| piece.segment == segment);
        self.cached = rest;
        for piece in &settled {
            put(&mut self.files, piece, 0..piece.bytes.len());
        }
        Ok(())
    }

    fn adopt(&mut self, segment: u64) -> Result<(), DiskError> {
        self.step(Op::Open, segment)
    }

    fn remove(&mut self, segment: u64) -> Result<(), DiskError> {
        self.step(Op::Remove, segment)?;
        self.cached.retain(|piece| piece.segment != segment);
        self.files.remove(&segment);
        Ok(())
    }

    fn trim(&mut self, segment: u64, bytes: u64) -> Result<(), DiskError> {
        self.step(Op::Trim, segment)?;
        if let Some(file) = self.files.get_mut(&segment) {
            file.truncate(bytes as usize);
        }
        Ok(())
    }

    fn describe(&self) -> String {
        "log: simulated disk".to_owned()
    }
}

/// SplitMix64: small, seeded, and good enough to choose sectors.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next 64 bits.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
