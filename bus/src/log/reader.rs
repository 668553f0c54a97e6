//! Reading a log from its first cell, or from one in the middle, to its end.

mod live;
mod seek;

pub(super) use live::salvage;

use std::ops::Range;
use std::path::Path;

use super::error::{Damage, LogError};
use super::frame::{FLAG_FINAL, FrameHeader, FrameKind, RECORD_SCHEMA, checksum, stored_checksum};
use super::recover::{Begun, End, GoOn, Recovered, Survey, corrupt, first_byte, judge_tail};
use super::segment::{Before, BeforeEnd};
use crate::disk::{CELL_BYTES, Cause, Directory, Files, PAGE_BYTES};
use crate::event::Event;
use crate::planted::{self, Bug};
use crate::signal::Signal;

pub(super) const PAGE: u64 = PAGE_BYTES as u64;
const WINDOW_BYTES: usize = 1 << 20;
const KIND_AT: usize = 60;
const SIGNAL_KIND_MIN: u8 = 0x80;

/// One thing that the log keeps.
#[derive(Clone, Copy, Debug, PartialEq)]
// Boxing would cost an allocation per record, to save moving 64 bytes.
#[allow(clippy::large_enum_variant)]
pub enum Record {
    /// Came in.
    Event(Event),
    /// Was concluded.
    Signal(Signal),
}

/// Reads a log's records in order. Takes no lock, so that a log can be read while it is written:
/// its end is then wherever the writer is.
///
/// As an iterator it yields every record with its cell number, then ends; after that
/// [`LogReader::recovered`] says how the log ends. Damage is an error, and the last item.
#[derive(Debug)]
pub struct LogReader<F = Directory> {
    files: F,
    survey: Survey,
    /// Which of the begun segments is being read.
    index: usize,
    /// Where its next frame should be.
    offset: u64,
    next_cell: u64,
    prev_crc: u32,
    /// What the frames read so far say was durable.
    durable_upto: u64,
    /// A piece of the file, and where it lies in it.
    window: Vec<u8>,
    window_at: u64,
    window_len: usize,
    /// What is left of the current frame's cells, in the window, and the first one's number.
    cells: Range<usize>,
    cell: u64,
    frames: u64,
    last_seq_event: Option<u64>,
    sealed_at: Option<u64>,
    finished: bool,
    /// The end is only where the writer is: see `live`.
    live: bool,
    end: Option<Result<End, LogError>>,
}

/// One frame's cells, still as bytes.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// The number of the first.
    pub first_cell: u64,
    /// All of them.
    pub cells: &'a [u8],
}

impl LogReader<Directory> {
    /// Opens the log in a directory.
    pub fn open(dir: &Path) -> Result<LogReader<Directory>, LogError> {
        LogReader::over(Directory::new(dir))
    }
}

impl<F: Files> LogReader<F> {
    /// Opens the log in these files.
    pub fn over(files: F) -> Result<LogReader<F>, LogError> {
        let survey = Survey::read(&files)?;
        LogReader::at_segment(files, survey, None)
    }

    /// The first cell that the log has: 0, unless segments were removed for good. What must be
    /// known of those is in [`reference`](super::reference).
    pub fn first_cell(&self) -> u64 {
        self.survey.first_cell()
    }

    /// The cell at which the next record begins.
    pub fn position(&self) -> u64 {
        if self.cells.is_empty() {
            self.next_cell
        } else {
            self.cell
        }
    }

    /// The segment, the place in its file, and the cell at which the next frame should begin.
    pub(super) fn place(&self) -> (u64, u64, u64) {
        let segment = self.survey.begun[self.index].header.segment;
        (segment, self.offset, self.next_cell)
    }

    /// Whether a segment holds a whole frame.
    pub(super) fn has_frame(files: F, survey: &Survey, index: usize) -> Result<bool, LogError> {
        let begun = survey.begun[index];
        let mut reader = LogReader::at_segment(files, survey.clone(), None)?;
        let frame = reader.frame_here(&begun, begun.file_bytes)?;
        Ok(frame.is_some())
    }

    /// Cells below this were durable when the last frame that was read was written, by the log's
    /// own word: what a crash of the machine cannot have taken, whoever wrote after them. Of what
    /// is above, nobody but the writer knows.
    pub fn durable_upto(&self) -> u64 {
        self.durable_upto
    }

    /// The log's own name; `None` of a log that was never begun.
    pub fn uuid(&self) -> Option<[u8; 16]> {
        let first = self.survey.begun.first();
        first.map(|begun| begun.header.uuid)
    }

    /// The next frame with cells, or what is left of the one that the iterator is in; `None` at
    /// the end. For reading in bulk.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, LogError> {
        if self.cells.is_empty() && !self.advance()? {
            return Ok(None);
        }
        let cells = std::mem::replace(&mut self.cells, 0..0);
        Ok(Some(Frame {
            first_cell: self.cell,
            cells: &self.window[cells],
        }))
    }

    /// What was found: complete after the last record.
    ///
    /// # Panics
    /// If the reader is not at its end, or ended with an error.
    pub fn recovered(&self) -> Recovered {
        let end = self
            .end
            .as_ref()
            .expect("at the end")
            .as_ref()
            .expect("without an error");
        // A header that was cut off is the log's end, if nothing before it is.
        let end = match (*end, self.survey.torn_header) {
            (End::Clean, Some(segment)) => End::Torn {
                segment,
                offset: 0,
                dropped_bytes: PAGE,
            },
            (end, _) => end,
        };
        let last = self.survey.begun.last().map(|begun| &begun.header);
        Recovered {
            cells: self.next_cell,
            last_seq_event: self.last_seq_event,
            end,
            finished: self.finished,
            segments: self.survey.begun.len() as u64,
            frames: self.frames,
            uuid: last.map_or([0; 16], |header| header.uuid),
            epoch: last.map_or(0, |header| header.epoch),
            build_hash: last.map_or(0, |header| header.build_hash),
            config_hash: last.map_or(0, |header| header.config_hash),
        }
    }

    /// Reads what is left, and looks at the unused files too.
    pub(super) fn finish(mut self) -> Result<(Recovered, GoOn), LogError> {
        for record in &mut self {
            record?;
        }
        self.survey.check_unused(&self.files, self.next_cell)?;
        if let Some(begun) = self.survey.begun.last()
            && begun.header.epoch >= u32::MAX - 1
        {
            // The next writer's is one more, and the last one of all is read by nobody.
            let (number, damage) = (begun.header.segment, Damage::HeaderField("epoch"));
            return Err(corrupt(&self.files, number, 0, self.next_cell, damage));
        }
        let last = self.survey.begun.last().map(|begun| begun.header.segment);
        let before = match (last, self.sealed_at) {
            (None, _) => Before {
                how: BeforeEnd::None,
                end_bytes: 0,
                crc: 0,
            },
            (_, Some(end_bytes)) => Before {
                how: BeforeEnd::Sealed,
                end_bytes,
                crc: self.prev_crc,
            },
            (_, None) => Before {
                how: BeforeEnd::Cut,
                end_bytes: self.offset,
                crc: self.prev_crc,
            },
        };
        let go_on = GoOn {
            before,
            next_segment: last.map_or(0, |last| last + 1),
            last_segment: last,
            torn_header: self.survey.torn_header,
            unused: self.survey.unused.clone(),
        };
        Ok((self.recovered(), go_on))
    }

    /// Finds the next frame with cells. False at the end.
    fn advance(&mut self) -> Result<bool, LogError> {
        if let Some(end) = &self.end {
            return end.clone().map(|_| false);
        }
        let found = self.find_frame();
        match found {
            Ok(Some(cells)) => {
                self.cells = cells;
                return Ok(true);
            }
            Ok(None) if self.live => return Ok(false),
            Ok(None) => debug_assert!(self.end.is_some(), "no frame means the end"),
            Err(error) => self.end = Some(Err(self.explain(error))),
        }
        self.advance()
    }

    fn find_frame(&mut self) -> Result<Option<Range<usize>>, LogError> {
        let mut has_looked_again = false;
        loop {
            let begun = self.survey.begun[self.index];
            let after = self.survey.begun.get(self.index + 1).copied();
            let cut_at = after
                .map(|after| after.header.before)
                .filter(|before| before.how == BeforeEnd::Cut)
                .map(|before| before.end_bytes);
            if self.live && self.sealed_at.is_some() {
                match after {
                    Some(after) => self.step(after, BeforeEnd::Sealed)?,
                    None if has_looked_again => return Ok(None),
                    None => {
                        has_looked_again = true;
                        self.look_again()?;
                    }
                }
                continue;
            }
            if cut_at == Some(self.offset) {
                self.step(after.expect("it says where to cut"), BeforeEnd::Cut)?;
                continue;
            }
            let limit = cut_at.unwrap_or(begun.file_bytes);
            let here = match self.frame_here(&begun, limit) {
                Err(LogError::Disk(_)) if planted::is(Bug::ReadErrorIsEnd) => {
                    self.end = Some(Ok(End::Clean));
                    return Ok(None);
                }
                // The writer ended the log, and gave back what it did not need of the file.
                Err(LogError::Disk(error))
                    if self.live && matches!(error.cause, Cause::Short { .. }) =>
                {
                    None
                }
                here => here?,
            };
            let Some((frame, place)) = here else {
                if self.live && !has_looked_again {
                    has_looked_again = true;
                    self.look_again()?;
                    continue;
                }
                if self.live && after.is_none() {
                    return Ok(None);
                }
                if after.is_some() {
                    return Err(self.corrupt_here(Damage::Frame));
                }
                self.end = Some(Ok(judge_tail(
                    &self.files,
                    &begun,
                    self.offset,
                    self.next_cell,
                )?));
                return Ok(None);
            };
            has_looked_again = false;
            self.check(&begun, &frame)?;
            self.cell = self.next_cell;
            self.durable_upto = frame.durable_upto.max(self.durable_upto);
            self.next_cell = frame.end_cell();
            self.prev_crc = stored_checksum(&self.window[place.clone()]);
            self.offset += u64::from(frame.frame_bytes);
            if frame.kind == FrameKind::Cells as u8 {
                self.frames += 1;
                let cells_at = place.start + CELL_BYTES;
                return Ok(Some(
                    cells_at..cells_at + frame.cell_count as usize * CELL_BYTES,
                ));
            }
            if frame.kind == FrameKind::Mark as u8 {
                continue;
            }
            self.seal(&begun, frame.flags & FLAG_FINAL != 0, after)?;
            if self.end.is_some() {
                return Ok(None);
            }
        }
    }

    /// The frame at the current place, if a whole one is there before `limit`.
    fn frame_here(
        &mut self,
        begun: &Begun,
        limit: u64,
    ) -> Result<Option<(FrameHeader, Range<usize>)>, LogError> {
        let left = limit.saturating_sub(self.offset);
        if left < PAGE {
            return Ok(None);
        }
        let head = self.look(begun, PAGE_BYTES)?;
        let bytes_max = (begun.header.frame_bytes_max as usize).max(PAGE_BYTES);
        let Some(frame) = FrameHeader::read(&self.window[head], bytes_max) else {
            return Ok(None);
        };
        if u64::from(frame.frame_bytes) > left {
            return Ok(None);
        }
        let place = self.look(begun, frame.frame_bytes as usize)?;
        let bytes = &self.window[place.clone()];
        let whole = planted::is(Bug::ChecksumSkipped)
            || checksum(begun.header.salt, bytes) == stored_checksum(bytes);
        Ok(whole.then_some((frame, place)))
    }

    /// Where in the window the next `len` bytes of the file are, read if need be.
    fn look(&mut self, begun: &Begun, len: usize) -> Result<Range<usize>, LogError> {
        let start = self.offset.wrapping_sub(self.window_at) as usize;
        let is_in = self.offset >= self.window_at && start + len <= self.window_len;
        if is_in {
            return Ok(start..start + len);
        }
        if len > self.window.len() {
            self.window.resize(len, 0);
        }
        let left = begun.file_bytes.saturating_sub(self.offset);
        self.window_len = left.min(self.window.len() as u64) as usize;
        self.window_at = self.offset;
        let into = &mut self.window[..self.window_len];
        self.files.read(begun.header.segment, self.offset, into)?;
        Ok(0..len)
    }

    /// A frame with a good checksum was written by a log. That it is the one that belongs here
    /// is checked field by field.
    fn check(&self, begun: &Begun, frame: &FrameHeader) -> Result<(), LogError> {
        let header = &begun.header;
        let has_cells = frame.kind == FrameKind::Cells as u8;
        let is_bare = [FrameKind::Seal as u8, FrameKind::Mark as u8].contains(&frame.kind);
        let wrong = [
            (frame.salt != header.salt, "salt"),
            (frame.epoch != header.epoch, "epoch"),
            (frame.segment != header.segment, "segment"),
            (u64::from(frame.page) * PAGE != self.offset, "page"),
            (frame.first_cell != self.next_cell, "first cell"),
            (
                frame.prev_crc != self.prev_crc && !planted::is(Bug::ChainUnchecked),
                "previous checksum",
            ),
            (frame.durable_upto > frame.first_cell, "durable mark"),
            (!is_bare && !has_cells, "kind"),
            (has_cells != (frame.cell_count > 0), "cell count"),
        ];
        if let Some((_, field)) = wrong.iter().find(|(is_wrong, _)| *is_wrong) {
            return Err(self.corrupt_here(Damage::FrameField(field)));
        }
        if frame.schema != RECORD_SCHEMA {
            return Err(self.corrupt_here(Damage::Schema(frame.schema)));
        }
        Ok(())
    }

    /// Past a seal: nothing follows in this file.
    fn seal(
        &mut self,
        begun: &Begun,
        is_final: bool,
        after: Option<Begun>,
    ) -> Result<(), LogError> {
        let (found, want) = (begun.file_bytes, begun.header.segment_bytes);
        let is_trimmed = is_final && found == self.offset;
        if found != want && !is_trimmed {
            return Err(self.corrupt_here(Damage::Length { found, want }));
        }
        if self.live && after.is_none() {
            // The writer may be about to shorten the file. Whoever reads it at rest looks.
            self.sealed_at = Some(self.offset);
            self.finished = is_final;
            return Ok(());
        }
        let segment = begun.header.segment;
        if let Some(at) = first_byte(&self.files, segment, self.offset, found)?
            && !planted::is(Bug::SealUnchecked)
        {
            return Err(corrupt(
                &self.files,
                segment,
                at,
                self.next_cell,
                Damage::Stray,
            ));
        }
        match after {
            Some(after) => self.step(after, BeforeEnd::Sealed),
            None => {
                self.sealed_at = Some(self.offset);
                self.finished = is_final;
                self.end = Some(Ok(End::Clean));
                Ok(())
            }
        }
    }

    /// Into the next segment.
    fn step(&mut self, after: Begun, how: BeforeEnd) -> Result<(), LogError> {
        let header = &after.header;
        let here = Before {
            how,
            end_bytes: self.offset,
            crc: self.prev_crc,
        };
        let wrong = [
            (header.before.how != here.how, "end"),
            (header.before.end_bytes != here.end_bytes, "end offset"),
            (header.before.crc != here.crc, "previous checksum"),
            (header.first_cell != self.next_cell, "first cell"),
        ];
        if let Some((_, field)) = wrong.iter().find(|(is_wrong, _)| *is_wrong) {
            let damage = Damage::HeaderField(field);
            return Err(corrupt(
                &self.files,
                header.segment,
                0,
                self.next_cell,
                damage,
            ));
        }
        // A segment is begun only when all before it is durable.
        self.durable_upto = self.next_cell;
        self.sealed_at = None;
        self.finished = false;
        self.index += 1;
        self.offset = PAGE;
        self.prev_crc = after.header_crc;
        self.window_len = 0;
        Ok(())
    }

    fn corrupt_here(&self, damage: Damage) -> LogError {
        let segment = self.survey.begun[self.index].header.segment;
        corrupt(&self.files, segment, self.offset, self.next_cell, damage)
    }

    /// How many cells the record at the current place takes, by its kind.
    fn record_cells(&self) -> usize {
        let kind = self.window[self.cells.start + KIND_AT];
        if kind < SIGNAL_KIND_MIN { 1 } else { 2 }
    }

    fn take_record(&mut self) -> Result<(u64, Record), LogError> {
        let number = self.cell;
        let cells = &self.window[self.cells.clone()];
        let first: &[u8; CELL_BYTES] = cells.first_chunk().expect("the frame has a cell left");
        let kind = first[KIND_AT];
        let count = self.record_cells();
        let record = match count {
            1 => Event::from_bytes(first).map(Record::Event),
            _ => cells
                .first_chunk()
                .and_then(Signal::from_bytes)
                .map(Record::Signal),
        };
        let Some(record) = record else {
            let segment = self.survey.begun[self.index].header.segment;
            let offset = self.window_at + self.cells.start as u64;
            let error = corrupt(&self.files, segment, offset, number, Damage::Cell { kind });
            self.cells = 0..0;
            self.end = Some(Err(error.clone()));
            return Err(error);
        };
        if let Record::Event(event) = &record {
            self.last_seq_event = Some(event.seq);
        }
        self.cells.start += count * CELL_BYTES;
        self.cell += count as u64;
        Ok((number, record))
    }
}

impl<F: Files> Iterator for LogReader<F> {
    type Item = Result<(u64, Record), LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.cells.is_empty() {
            // After an error there is nothing more; it was said once.
            if matches!(self.end, Some(Err(_))) {
                return None;
            }
            match self.advance() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
        Some(self.take_record())
    }
}
