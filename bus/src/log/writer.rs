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

use std::collections::VecDeque;

use super::frame::{FLAG_FINAL, FrameHeader, FrameKind, RECORD_SCHEMA, frame_bytes, frame_cells};
use super::reader::LogReader;
use super::recover::{Recovered, Survey};
use super::segment::{Before, BeforeEnd, SegmentHeader};
use super::{LogConfig, LogError, disk_error};
use crate::disk::{Disk, DiskError, Done, PAGE_BYTES, Slot};
use crate::event::Event;
use crate::signal::Signal;

const PAGE: u64 = PAGE_BYTES as u64;
const COMMITS_KEPT: usize = 256;

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
    /// Prepared segments, in order.
    spares: VecDeque<u64>,
    /// The next segment to be prepared, and how many are being.
    prepare_next: u64,
    preparing: usize,
    /// No more segments can be made.
    full: Option<DiskError>,
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
    /// Begins a new log. Blocks until its first segment is there and begun.
    pub fn create(config: LogConfig, disk: D) -> Result<Log<D>, LogError> {
        config.check()?;
        if let Some(&first) = disk.list()?.first() {
            return Err(LogError::Exists {
                path: disk.path(first),
            });
        }
        let before = Before {
            how: BeforeEnd::None,
            end_bytes: 0,
            crc: 0,
        };
        Log::begin(config, disk, before, 0, 0, 0, VecDeque::new())
    }

    /// Takes over a log after whatever happened to its last writer, and goes on in a new segment.
    ///
    /// What was found durable stays as it is: no byte of an earlier segment is written. A log
    /// whose creation was cut off is begun anew. Blocks.
    pub fn resume(config: LogConfig, mut disk: D) -> Result<(Log<D>, Recovered), LogError> {
        config.check()?;
        // What the page cache shows of the last segment may never have reached the disk. Once
        // the new segment says that it counts, it must.
        if let Some(last) = Survey::read(&disk)?.begun.last() {
            disk.settle(last.header.segment)?;
        }
        let (recovered, go_on) = LogReader::over(&disk)?.finish()?;
        let mut spares = VecDeque::from(go_on.unused);
        let mut keep = go_on.torn_header.is_none();
        for &spare in &spares {
            keep &= disk.len(spare)? == config.segment_bytes;
        }
        if !keep {
            // From the last to the first, so that a crash leaves no hole in the numbers.
            for &spare in spares.iter().rev().chain(&go_on.torn_header) {
                disk.remove(spare)?;
            }
            spares.clear();
        }
        for &spare in &spares {
            disk.adopt(spare)?;
        }
        let uuid = if go_on.last_segment.is_some() {
            recovered.uuid
        } else {
            config.uuid
        };
        let epoch = if go_on.last_segment.is_some() {
            recovered.epoch + 1
        } else {
            0
        };
        let config = LogConfig { uuid, ..config };
        let next = go_on.next_segment;
        let log = Log::begin(
            config,
            disk,
            go_on.before,
            next,
            recovered.cells,
            epoch,
            spares,
        )?;
        Ok((log, recovered))
    }

    fn begin(
        config: LogConfig,
        mut disk: D,
        before: Before,
        segment: u64,
        first_cell: u64,
        epoch: u32,
        spares: VecDeque<u64>,
    ) -> Result<Log<D>, LogError> {
        let mut free = disk.take_slots();
        let page_slot = free.pop();
        let frames_max = free.len() + 1;
        let mut log = Log {
            open: Slot::none(),
            open_next: 1,
            open_end: 0,
            open_first: first_cell,
            free,
            waiting: VecDeque::with_capacity(frames_max),
            in_flight: VecDeque::with_capacity(frames_max + 1),
            token_first: 0,
            page_slot,
            opened_ns: None,
            now_ns: 0,
            phase: Phase::Taking,
            segment,
            offset: 0,
            prev_crc: 0,
            salt: 0,
            durable_upto: first_cell,
            prepare_next: spares.back().map_or(segment, |last| last + 1),
            spares,
            preparing: 0,
            full: None,
            failed: None,
            commits: VecDeque::with_capacity(COMMITS_KEPT),
            stats: LogStats::default(),
            epoch,
            config,
            disk,
        };
        if log.spares.is_empty() {
            log.prepare_one();
            while log.spares.is_empty() {
                let done = log.disk.wait().expect("a segment is being prepared");
                log.take(done)?;
                if let Some(error) = log.full.take() {
                    return Err(LogError::NoSpace(error));
                }
            }
        }
        let first = log.spares.pop_front();
        assert_eq!(first, Some(segment), "segments are prepared in order");
        let mut slot = log.page_slot.take().expect("a slot for pages");
        log.fill_header(&mut slot, segment, before);
        log.disk.write_now(segment, 0, &slot)?;
        log.page_slot = Some(slot);
        log.stats.segments += 1;
        log.prepare_more();
        log.open_frame();
        Ok(log)
    }

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
        if let Some(error) = &self.failed {
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
        if self.open_end == 0 {
            self.open_frame();
        }
        if let Some(error) = self.end_of_space() {
            return Err(LogError::NoSpace(error));
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
        self.submit_page(FLAG_FINAL);
        while !self.in_flight.is_empty() || self.preparing > 0 {
            self.wait_one()?;
        }
        self.phase = Phase::Finished;
        self.give_back_space()
            .inspect_err(|error| self.failed = Some(error.clone()))
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

    /// Gives up the log as it stands, as a crash would.
    pub fn into_disk(self) -> D {
        self.disk
    }

    fn wait_one(&mut self) -> Result<(), LogError> {
        let done = self.disk.wait().expect("something is under way");
        self.take_or_fail(done)
    }

    fn take_or_fail(&mut self, done: Done) -> Result<(), LogError> {
        self.take(done)
            .inspect_err(|error| self.failed = Some(error.clone()))
    }

    fn take(&mut self, done: Done) -> Result<(), LogError> {
        match done {
            Done::Prepared {
                segment,
                result: Ok(()),
            } => {
                self.preparing -= 1;
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
                if !error.is_no_space() {
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
                let index = (token - self.token_first) as usize;
                self.in_flight[index].done = true;
                self.advance_durable();
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

    /// Hands waiting frames to the disk, and moves on to the next segment when one is full.
    fn submit(&mut self) -> usize {
        let mut work = 0;
        while let Some(frame) = self.waiting.front() {
            match self.phase {
                Phase::Taking => {
                    if self.in_flight.len() >= self.config.frames_in_flight_max {
                        break;
                    }
                    let bytes = frame_bytes(frame.cell_count) as u64;
                    if self.offset + bytes + PAGE > self.config.segment_bytes {
                        self.submit_page(0);
                        self.phase = Phase::Sealed;
                    } else {
                        let frame = self.waiting.pop_front().expect("just seen");
                        self.submit_frame(frame);
                    }
                }
                Phase::Sealed => {
                    // The segment counts as complete from the moment that the next is begun, so
                    // all of it must be durable first.
                    if !self.in_flight.is_empty() || !self.begin_next_segment() {
                        break;
                    }
                }
                Phase::Header => break,
                Phase::Finished => unreachable!("nothing waits after the end"),
            }
            work += 1;
        }
        work
    }

    fn submit_frame(&mut self, frame: Waiting) {
        let Waiting {
            mut slot,
            first_cell,
            cell_count,
            opened_ns,
        } = frame;
        let bytes = frame_bytes(cell_count);
        let header = self.header_for(FrameKind::Cells, 0, first_cell, cell_count);
        self.prev_crc = header.close(&mut slot.bytes_mut()[..bytes]);
        self.send(slot, &header, opened_ns);
    }

    /// The seal: a frame without cells that ends a segment.
    fn submit_page(&mut self, flags: u8) {
        let mut slot = self.page_slot.take().expect("only one page is under way");
        let first_cell = self
            .waiting
            .front()
            .map_or(self.open_first, |frame| frame.first_cell);
        let header = self.header_for(FrameKind::Seal, flags, first_cell, 0);
        self.prev_crc = header.close(slot.bytes_mut());
        self.send(slot, &header, self.now_ns);
    }

    fn header_for(
        &self,
        kind: FrameKind,
        flags: u8,
        first_cell: u64,
        cell_count: usize,
    ) -> FrameHeader {
        FrameHeader {
            frame_bytes: frame_bytes(cell_count) as u32,
            first_cell,
            durable_upto: self.durable_upto,
            cell_count: cell_count as u32,
            prev_crc: self.prev_crc,
            salt: self.salt,
            epoch: self.epoch,
            segment: self.segment,
            page: (self.offset / PAGE) as u32,
            kind: kind as u8,
            flags,
            schema: RECORD_SCHEMA,
        }
    }

    fn send(&mut self, slot: Slot, header: &FrameHeader, opened_ns: u64) {
        let token = self.token_first + self.in_flight.len() as u64;
        self.in_flight.push_back(InFlight {
            end_cell: header.end_cell(),
            cell_count: header.cell_count,
            bytes: header.frame_bytes,
            opened_ns,
            submitted_ns: self.now_ns,
            done: false,
        });
        let offset = self.offset;
        self.offset += u64::from(header.frame_bytes);
        assert!(
            self.offset <= self.config.segment_bytes,
            "a frame stays in its segment"
        );
        self.disk.write(
            self.segment,
            offset,
            slot,
            header.frame_bytes as usize,
            token,
        );
    }

    /// False while no segment is ready.
    fn begin_next_segment(&mut self) -> bool {
        let Some(next) = self.spares.pop_front() else {
            return false;
        };
        assert_eq!(next, self.segment + 1, "segments are begun in order");
        self.disk.release(self.segment);
        let before = Before {
            how: BeforeEnd::Sealed,
            end_bytes: self.offset,
            crc: self.prev_crc,
        };
        let mut slot = self
            .page_slot
            .take()
            .expect("the seal is durable, its slot is back");
        self.fill_header(&mut slot, next, before);
        self.phase = Phase::Header;
        self.stats.segments += 1;
        self.disk.write(next, 0, slot, PAGE_BYTES, HEADER_TOKEN);
        self.prepare_more();
        true
    }

    /// Writes the header of `segment` into `slot`, and makes it the current segment.
    fn fill_header(&mut self, slot: &mut Slot, segment: u64, before: Before) {
        let config = &self.config;
        let header = SegmentHeader {
            uuid: config.uuid,
            segment,
            first_cell: self
                .waiting
                .front()
                .map_or(self.open_first, |frame| frame.first_cell),
            salt: SegmentHeader::salt(&config.uuid, segment, self.epoch),
            epoch: self.epoch,
            before,
            segment_bytes: config.segment_bytes,
            frame_bytes_max: config.frame_bytes_max as u32,
            frames_in_flight_max: config.frames_in_flight_max as u32,
            build_hash: config.build_hash,
            config_hash: config.config_hash,
            retained_from: 0,
        };
        self.salt = header.salt;
        self.prev_crc = header.write(slot.bytes_mut());
        self.segment = segment;
        self.offset = PAGE;
    }

    fn prepare_more(&mut self) {
        while self.full.is_none() && self.spares.len() + self.preparing < self.config.spares {
            self.prepare_one();
        }
    }

    fn prepare_one(&mut self) {
        self.disk.prepare(self.prepare_next);
        self.prepare_next += 1;
        self.preparing += 1;
    }

    /// The disk is full, and everything appended is durable, or can no longer get smaller: the
    /// caller who waits for room would wait for ever.
    fn end_of_space(&self) -> Option<DiskError> {
        let error = self.full.as_ref()?;
        let is_at_rest =
            self.open_next == 1 && self.waiting.is_empty() && self.in_flight.is_empty();
        let is_short = self.free.len() > self.places_left();
        (is_at_rest && is_short).then(|| error.clone())
    }

    /// What was prepared and is not needed goes, from the last to the first so that the numbers
    /// have no hole, and so do the zeros after the last seal.
    fn give_back_space(&mut self) -> Result<(), LogError> {
        while let Some(spare) = self.spares.pop_back() {
            self.disk.remove(spare).map_err(disk_error)?;
        }
        self.disk.release(self.segment);
        self.disk
            .trim(self.segment, self.offset)
            .map_err(disk_error)
    }
}
