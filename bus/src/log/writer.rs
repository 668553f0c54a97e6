//! The writer: cells into frames, frames to the disk, durable in order.
//!
//! Several frames may be under way at once, and their syncs may end in any order. That is safe
//! for three reasons. `durable_upto` moves over a frame only when that frame's own write and sync
//! succeeded and so did all before it. At most `frames_in_flight_max` are under way, so that
//! every frame says that all but those before it were durable: a hole with proof after it is
//! told from a torn end. And a new segment is begun only when all of the one before is durable,
//! its seal included, so that a torn end is in the last segment.
//!
//! A frame is opened for cells only if there is a place for it, full, in the segments that
//! exist. So whatever was appended can be written, even when no further segment can be made.

mod start;
mod submit;

use std::collections::VecDeque;

use super::frame::{FLAG_FINAL, FrameKind, frame_cells};
use super::{LogConfig, LogError};
use crate::disk::{Disk, DiskError, Done, Op, PAGE_BYTES, Slot};
use crate::event::Event;
use crate::planted::{self, Bug};
use crate::signal::Signal;

const PAGE: u64 = PAGE_BYTES as u64;
const COMMITS_KEPT: usize = 256;
/// After so long a rest the log says that all of it is durable.
const PROOF_AGE_NS: u64 = 100_000_000;

/// One log's writer. See the module.
#[derive(Debug)]
pub struct Log<D> {
    // Touched by every append.
    open: Slot,
    /// The next cell to fill in `open`; cell 0 is the frame's header.
    open_next: usize,
    /// How many cells `open` has; 0 while there is no open frame.
    open_end: usize,
    /// The number of the open frame's first cell.
    open_first: u64,

    free: Vec<Slot>,
    waiting: VecDeque<Waiting>,
    in_flight: VecDeque<InFlight>,
    /// The token of the first in `in_flight`.
    token_first: u64,
    /// The slot for seals and headers, while it is not in use.
    page_slot: Option<Slot>,
    /// When the open frame was first seen with something in it.
    opened_ns: Option<u64>,
    now_ns: u64,

    phase: Phase,
    segment: u64,
    offset: u64,
    prev_crc: u32,
    salt: u32,
    durable_upto: u64,
    /// What the last frame said of it.
    proven_upto: u64,
    /// When a frame last became durable.
    committed_ns: u64,
    /// Prepared segments, in order.
    spares: VecDeque<u64>,
    /// The next segment to be prepared, and how many are being.
    prepare_next: u64,
    preparing: usize,
    /// No more segments can be made.
    full: Option<DiskError>,
    /// What a turn said of it, and says again, whatever the disk finishes since.
    out_of_space: Option<LogError>,
    failed: Option<LogError>,

    commits: VecDeque<Commit>,
    stats: LogStats,
    epoch: u32,
    config: LogConfig,
    disk: D,
}

#[derive(Debug)]
struct Waiting {
    slot: Slot,
    first_cell: u64,
    cell_count: usize,
    opened_ns: u64,
}

#[derive(Debug)]
struct InFlight {
    end_cell: u64,
    cell_count: u32,
    bytes: u32,
    opened_ns: u64,
    submitted_ns: u64,
    done: bool,
}

/// How far the current segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Its header is being written; no frame may follow yet.
    Header,
    /// Takes frames.
    Taking,
    /// Its seal is written or being written.
    Sealed,
    /// The log was ended.
    Finished,
}

/// The header's write carries this in place of a frame's token.
const HEADER_TOKEN: u64 = u64::MAX;

/// One frame that became durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Cells below this are durable since.
    pub end_cell: u64,
    /// How many cells it carried.
    pub cell_count: u32,
    /// How many bytes it took.
    pub bytes: u32,
    /// When the log was first turned with something in the frame.
    pub opened_ns: u64,
    /// When it was handed to the disk.
    pub submitted_ns: u64,
    /// When the log saw that it is durable.
    pub durable_ns: u64,
}

/// What a log did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Frames made durable, each with one write and one sync.
    pub frames: u64,
    /// Cells in them.
    pub cells: u64,
    /// Their bytes, headers and padding included.
    pub bytes: u64,
    /// Segments begun.
    pub segments: u64,
    /// Prepared segments at hand.
    pub spares: usize,
    /// Frames under way.
    pub in_flight: usize,
    /// No further segment can be made: the log goes on until those at hand are full.
    pub is_disk_full: bool,
    /// Sum of the times from first turn to durable, over all frames.
    pub commit_ns_sum: u64,
    /// The longest of them.
    pub commit_ns_max: u64,
}

impl<D: Disk> Log<D> {
    /// How many cells can be appended now, however they are shared out among events and signals.
    #[inline]
    pub fn room_cells(&self) -> usize {
        // A signal does not go over the end of a frame: one cell of each may stay empty.
        let cap = frame_cells(self.config.frame_bytes_max) - 1;
        self.open_end.saturating_sub(self.open_next + 1)
            + self.free.len().min(self.places_left()) * cap
    }

    /// Appends an event. There must be room.
    #[inline]
    pub fn append_event(&mut self, event: &Event) {
        if self.open_next >= self.open_end {
            self.turn_over();
        }
        self.open.put(self.open_next, event.as_bytes());
        self.open_next += 1;
    }

    /// Appends a signal: two cells. There must be room.
    #[inline]
    pub fn append_signal(&mut self, signal: &Signal) {
        if self.open_next + 1 >= self.open_end {
            self.turn_over();
        }
        let (cells, _) = signal.as_bytes().as_chunks();
        self.open.put(self.open_next, &cells[0]);
        self.open.put(self.open_next + 1, &cells[1]);
        self.open_next += 2;
    }

    /// The number that the next cell will have.
    #[inline]
    pub fn next_cell(&self) -> u64 {
        self.open_first + (self.open_next - 1) as u64
    }

    /// Cells below this are durable.
    #[inline]
    pub fn durable_upto(&self) -> u64 {
        self.durable_upto
    }

    /// Sees what the disk finished and hands it what is due: full frames, a frame older than
    /// `commit_age_ns`, or, when `idle`, whatever there is. Says how much it did. Never blocks.
    ///
    /// An error is final: it comes again at every turn, and `durable_upto` stands still.
    pub fn turn(&mut self, now_ns: u64, idle: bool) -> Result<usize, LogError> {
        if let Some(error) = self.failed.as_ref().or(self.out_of_space.as_ref()) {
            return Err(error.clone());
        }
        self.now_ns = now_ns;
        let mut work = 0;
        while let Some(done) = self.disk.poll() {
            work += 1;
            self.take_or_fail(done)?;
        }
        if self.is_due(idle) {
            self.close_frame();
        }
        work += self.submit();
        work += self.mark_if_at_rest();
        if self.open_end == 0 {
            self.open_frame();
        }
        if let Some(error) = self.end_of_space() {
            let error = LogError::NoSpace(error);
            self.out_of_space = Some(error.clone());
            return Err(error);
        }
        Ok(work)
    }

    /// Writes all there is, ends the log in order and gives back the space it does not need.
    /// Blocks. Allowed after [`LogError::NoSpace`] from `turn`, and then nothing is lost.
    pub fn finish(&mut self) -> Result<(), LogError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if self.phase == Phase::Finished {
            return Ok(());
        }
        self.close_frame();
        while !self.waiting.is_empty() || !self.in_flight.is_empty() || self.phase != Phase::Taking
        {
            self.submit();
            self.wait_one()?;
        }
        crate::failpoint!("finish-flushed");
        self.submit_page(FrameKind::Seal, FLAG_FINAL);
        while !self.in_flight.is_empty() || self.preparing > 0 {
            self.wait_one()?;
        }
        crate::failpoint!("finish-sealed");
        self.phase = Phase::Finished;
        self.give_back_space().map_err(|error| self.fail(error))
    }

    /// What it did so far.
    pub fn stats(&self) -> LogStats {
        LogStats {
            spares: self.spares.len(),
            in_flight: self.in_flight.len(),
            is_disk_full: self.full.is_some(),
            ..self.stats
        }
    }

    /// The frames that became durable since the last call, oldest first. The oldest are dropped
    /// where nobody asks.
    pub fn commits(&mut self) -> impl Iterator<Item = Commit> + '_ {
        self.commits.drain(..)
    }

    /// The log's own name.
    pub fn uuid(&self) -> [u8; 16] {
        self.config.uuid
    }

    /// Where it is kept.
    pub fn disk(&self) -> &D {
        &self.disk
    }

    /// Gives up the log as it stands, as a crash would: for tests of whoever holds one.
    pub fn into_disk(self) -> D {
        self.disk
    }

    fn wait_one(&mut self) -> Result<(), LogError> {
        let done = self.disk.wait().expect("something is under way");
        self.take_or_fail(done)
    }

    fn take_or_fail(&mut self, done: Done) -> Result<(), LogError> {
        self.take(done).map_err(|error| self.fail(error))
    }

    /// From here on every turn says `error`, and there is no room for more.
    #[cold]
    fn fail(&mut self, error: LogError) -> LogError {
        self.open_end = self.open_end.min(self.open_next);
        if !planted::is(Bug::ErrorForgotten) {
            self.failed = Some(error.clone());
        }
        error
    }

    fn take(&mut self, done: Done) -> Result<(), LogError> {
        match done {
            Done::Prepared {
                segment,
                result: Ok(()),
            } => {
                self.preparing -= 1;
                // One before it found no space: this one would stand behind a hole in the numbers.
                if self.full.is_some() {
                    return Ok(self.disk.remove(segment)?);
                }
                let newest = self.spares.back().copied();
                assert!(
                    newest.is_none_or(|newest| segment == newest + 1),
                    "made in order"
                );
                self.spares.push_back(segment);
                Ok(())
            }
            Done::Prepared {
                result: Err(error), ..
            } => {
                self.preparing -= 1;
                // A file that has its name and is not durable is no mere lack of space: it may
                // stand there after a crash, behind spares that were given back.
                if error.op == Op::Sync || !error.is_no_space() {
                    return Err(error.into());
                }
                self.full.get_or_insert(error);
                Ok(())
            }
            Done::Written {
                result: Err(error), ..
            } => Err(error.into()),
            Done::Written {
                token: HEADER_TOKEN,
                slot,
                result: Ok(()),
            } => {
                assert_eq!(self.phase, Phase::Header);
                crate::failpoint!("header-durable");
                self.phase = Phase::Taking;
                self.page_slot = Some(slot);
                Ok(())
            }
            Done::Written {
                token,
                slot,
                result: Ok(()),
            } => {
                if slot.index() == self.config.geometry().slot_count {
                    self.page_slot = Some(slot);
                } else {
                    self.free.push(slot);
                }
                let index = match planted::is(Bug::DurableOutOfOrder) {
                    true => self.in_flight.iter().position(|frame| !frame.done),
                    false => Some((token - self.token_first) as usize),
                };
                let index = index.expect("it is in flight");
                self.in_flight[index].done = true;
                crate::failpoint!("frame-synced");
                self.advance_durable();
                crate::failpoint!("frame-durable");
                Ok(())
            }
        }
    }

    /// Moves over the frames at the front that are durable, and stops at the first that is not.
    fn advance_durable(&mut self) {
        while self.in_flight.front().is_some_and(|frame| frame.done) {
            let frame = self.in_flight.pop_front().expect("just seen");
            self.token_first += 1;
            assert!(frame.end_cell >= self.durable_upto, "durable only grows");
            self.durable_upto = frame.end_cell;
            self.committed_ns = self.now_ns;
            if frame.cell_count == 0 {
                continue;
            }
            let commit_ns = self.now_ns.saturating_sub(frame.opened_ns);
            self.stats.frames += 1;
            self.stats.cells += u64::from(frame.cell_count);
            self.stats.bytes += u64::from(frame.bytes);
            self.stats.commit_ns_sum += commit_ns;
            self.stats.commit_ns_max = self.stats.commit_ns_max.max(commit_ns);
            if self.commits.len() == COMMITS_KEPT {
                self.commits.pop_front();
            }
            self.commits.push_back(Commit {
                end_cell: frame.end_cell,
                cell_count: frame.cell_count,
                bytes: frame.bytes,
                opened_ns: frame.opened_ns,
                submitted_ns: frame.submitted_ns,
                durable_ns: self.now_ns,
            });
        }
    }

    /// Whether the open frame should be closed now. It stays open while the disk could not take
    /// it anyway, so that more goes into one write.
    fn is_due(&mut self, idle: bool) -> bool {
        if self.open_next == 1 {
            return false;
        }
        if self.open_next == self.open_end {
            return true;
        }
        let opened_ns = *self.opened_ns.get_or_insert(self.now_ns);
        if !self.waiting.is_empty() || self.phase != Phase::Taking {
            return false;
        }
        let is_old = self.now_ns.saturating_sub(opened_ns) >= self.config.commit_age_ns;
        match self.in_flight.len() {
            0 => idle || is_old,
            // While one is under way, idle turns would make many tiny frames.
            count => is_old && count < self.config.frames_in_flight_max,
        }
    }

    /// The open frame is full, or has no two cells left for a signal: the next one takes over.
    #[cold]
    fn turn_over(&mut self) {
        self.close_frame();
        self.open_frame();
        assert!(self.open_end > 0, "appended without room");
    }

    fn close_frame(&mut self) {
        if self.open_next == 1 {
            return;
        }
        let cell_count = self.open_next - 1;
        let slot = std::mem::replace(&mut self.open, Slot::none());
        let opened_ns = self.opened_ns.take().unwrap_or(self.now_ns);
        self.waiting.push_back(Waiting {
            slot,
            first_cell: self.open_first,
            cell_count,
            opened_ns,
        });
        self.open_first += cell_count as u64;
        self.open_next = 1;
        self.open_end = 0;
        crate::failpoint!("frame-closed");
    }

    fn open_frame(&mut self) {
        debug_assert_eq!(self.open_end, 0);
        if self.places_left() == 0 || self.failed.is_some() || self.phase == Phase::Finished {
            return;
        }
        if let Some(slot) = self.free.pop() {
            self.open_end = slot.cells();
            self.open = slot;
        }
    }

    /// How many more full frames have a place in the segments at hand, after those that wait
    /// and the open one.
    fn places_left(&self) -> usize {
        if self.failed.is_some() || self.phase == Phase::Finished {
            return 0;
        }
        let frame = self.config.frame_bytes_max as u64;
        let here = match self.phase {
            Phase::Header | Phase::Taking => {
                (self.config.segment_bytes - PAGE - self.offset) / frame
            }
            Phase::Sealed | Phase::Finished => 0,
        };
        let each = (self.config.segment_bytes - 2 * PAGE) / frame;
        let taken = self.waiting.len() + usize::from(self.open_end > 0);
        (here + each * self.spares.len() as u64).saturating_sub(taken as u64) as usize
    }
}
