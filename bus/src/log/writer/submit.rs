//! From waiting frames to the disk, and from one segment to the next.

use super::{HEADER_TOKEN, InFlight, Log, PAGE, PROOF_AGE_NS, Phase, Waiting};
use crate::disk::{Disk, DiskError, PAGE_BYTES, Slot};
use crate::log::LogError;
use crate::log::frame::{FrameHeader, FrameKind, RECORD_SCHEMA, frame_bytes};
use crate::log::segment::{Before, BeforeEnd, FORMAT_VERSION, SegmentHeader};
use crate::planted::{self, Bug};

impl<D: Disk> Log<D> {
    /// Hands waiting frames to the disk, and moves on to the next segment when one is full.
    pub(super) fn submit(&mut self) -> usize {
        let mut work = 0;
        while let Some(frame) = self.waiting.front() {
            match self.phase {
                Phase::Taking => {
                    if self.in_flight.len() >= self.config.frames_in_flight_max {
                        break;
                    }
                    let bytes = frame_bytes(frame.cell_count) as u64;
                    if self.offset + bytes + PAGE > self.config.segment_bytes {
                        if self.page_slot.is_none() {
                            break;
                        }
                        self.submit_page(FrameKind::Seal, 0);
                        crate::failpoint!("seal-submitted");
                        self.phase = Phase::Sealed;
                    } else {
                        let frame = self.waiting.pop_front().expect("just seen");
                        self.submit_frame(frame);
                    }
                }
                Phase::Sealed => {
                    // The segment counts as complete from the moment that the next is begun, so
                    // all of it must be durable first.
                    let is_durable = self.in_flight.is_empty()
                        || (planted::is(Bug::HeaderBeforeDurable) && self.page_slot.is_some());
                    if !is_durable || !self.begin_next_segment() {
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

    pub(super) fn submit_frame(&mut self, frame: Waiting) {
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

    /// When the feed rests, says in the log that all of it is durable. Without that, damage to
    /// the last frames would look like an end that a crash left, until the next frame.
    pub(super) fn mark_if_at_rest(&mut self) -> usize {
        let is_at_rest = self.open_next == 1
            && self.waiting.is_empty()
            && self.in_flight.is_empty()
            && self.phase == Phase::Taking;
        // The page for it must not be the one that the open frame counts on.
        let is_due = self.proven_upto < self.durable_upto
            && self.now_ns.saturating_sub(self.committed_ns) >= PROOF_AGE_NS
            && is_at_rest
            && self.places_left() > 0
            && self.offset + 2 * PAGE <= self.config.segment_bytes;
        if is_due {
            self.submit_page(FrameKind::Mark, 0);
        }
        usize::from(is_due)
    }

    /// A frame without cells: the seal that ends a segment, or a mark.
    pub(super) fn submit_page(&mut self, kind: FrameKind, flags: u8) {
        let mut slot = self.page_slot.take().expect("only one page is under way");
        let first_cell = self
            .waiting
            .front()
            .map_or(self.open_first, |frame| frame.first_cell);
        let header = self.header_for(kind, flags, first_cell, 0);
        self.prev_crc = header.close(slot.bytes_mut());
        self.send(slot, &header, self.now_ns);
    }

    pub(super) fn header_for(
        &self,
        kind: FrameKind,
        flags: u8,
        first_cell: u64,
        cell_count: usize,
    ) -> FrameHeader {
        FrameHeader {
            frame_bytes: frame_bytes(cell_count) as u32,
            first_cell,
            durable_upto: if planted::is(Bug::ClaimsTooMuch) {
                first_cell
            } else {
                self.durable_upto
            },
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

    pub(super) fn send(&mut self, slot: Slot, header: &FrameHeader, opened_ns: u64) {
        let token = self.token_first + self.in_flight.len() as u64;
        self.in_flight.push_back(InFlight {
            end_cell: header.end_cell(),
            cell_count: header.cell_count,
            bytes: header.frame_bytes,
            opened_ns,
            submitted_ns: self.now_ns,
            done: false,
        });
        self.proven_upto = header.durable_upto;
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
        crate::failpoint!("frame-submitted");
    }

    /// False while no segment is ready.
    pub(super) fn begin_next_segment(&mut self) -> bool {
        let Some(next) = self.spares.pop_front() else {
            return false;
        };
        assert_eq!(next, self.segment + 1, "segments are begun in order");
        crate::failpoint!("seal-durable");
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
        crate::failpoint!("header-submitted");
        self.prepare_more();
        true
    }

    /// Writes the header of `segment` into `slot`, and makes it the current segment.
    pub(super) fn fill_header(&mut self, slot: &mut Slot, segment: u64, before: Before) {
        let config = &self.config;
        let header = SegmentHeader {
            version: FORMAT_VERSION,
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

    pub(super) fn prepare_more(&mut self) {
        while self.full.is_none() && self.spares.len() + self.preparing < self.config.spares {
            self.prepare_one();
        }
    }

    pub(super) fn prepare_one(&mut self) {
        self.disk.prepare(self.prepare_next);
        self.prepare_next += 1;
        self.preparing += 1;
    }

    /// The disk is full, and everything appended is durable, or can no longer get smaller: the
    /// caller who waits for room would wait for ever.
    pub(super) fn end_of_space(&self) -> Option<DiskError> {
        let error = self.full.as_ref()?;
        let is_at_rest =
            self.open_next == 1 && self.waiting.is_empty() && self.in_flight.is_empty();
        let is_short = self.free.len() > self.places_left();
        (is_at_rest && is_short).then(|| error.clone())
    }

    /// What was prepared and is not needed goes, from the last to the first so that the numbers
    /// have no hole, and so do the zeros after the last seal.
    pub(super) fn give_back_space(&mut self) -> Result<(), LogError> {
        while let Some(spare) = self.spares.pop_back() {
            self.disk.remove(spare)?;
            crate::failpoint!("finish-removed");
        }
        self.disk.release(self.segment);
        Ok(self.disk.trim(self.segment, self.offset)?)
    }
}
