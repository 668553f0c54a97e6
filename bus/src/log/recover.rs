//! What a log's files mean after whatever happened to them: which segments there are, and
//! whether the place where valid frames stop is an end that a crash can leave.
//!
//! A crash can leave only this: the last segment stops at a frame that was not yet durable, and
//! after it lie pieces of the frames that were under way with it; or the header of the segment
//! after it was under way. Anything else is damage, and is refused with its place.

use super::error::{Corruption, Damage, LogError};
use super::frame::{FrameHeader, checksum, stored_checksum};
use super::retain::word::Word;
use super::schema::{SCHEMA, Schema};
use super::segment::{Before, BeforeEnd, Page0, SegmentHeader};
use crate::disk::{Cause, Files, PAGE_BYTES};
use crate::planted::{self, Bug};

const PAGE: u64 = PAGE_BYTES as u64;
static ZEROS: [u8; PAGE_BYTES] = [0; PAGE_BYTES];

/// How a log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// After its last frame there is nothing.
    Clean,
    /// After its last frame lies what a crash left of writes that were under way. None of it was
    /// ever durable.
    Torn {
        /// In which segment.
        segment: u64,
        /// From where in its file.
        offset: u64,
        /// How far the remains go.
        dropped_bytes: u64,
    },
}

/// What was found in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// How many cells there are: their numbers are below this.
    pub cells: u64,
    /// The `seq` of the last event, of those that were read.
    pub last_seq_event: Option<u64>,
    /// How it ends.
    pub end: End,
    /// Whether its writer ended it in order, with [`Log::finish`](super::Log::finish).
    pub finished: bool,
    /// How many segments were begun.
    pub segments: u64,
    /// How many frames carry the cells that were read.
    pub frames: u64,
    /// The log's own name.
    pub uuid: [u8; 16],
    /// How many times it was resumed.
    pub epoch: u32,
    /// The program that wrote the last segment.
    pub build_hash: u64,
    /// The configuration it ran with.
    pub config_hash: u64,
}

/// A segment that was begun.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    pub(super) header: SegmentHeader,
    pub(super) header_crc: u32,
    pub(super) file_bytes: u64,
}

impl Begun {
    /// Which field does not follow from the segment before, if one does not.
    pub(super) fn follows(&self, number: u64, before: &Begun) -> Option<&'static str> {
        wrong_field(&self.header, number, Some(before))
    }
}

/// The segment files, sorted out.
#[derive(Clone, Debug, Default)]
pub(super) struct Survey {
    /// Begun, in order.
    pub(super) begun: Vec<Begun>,
    /// The one after them, if its header was under way when the writer died.
    pub(super) torn_header: Option<u64>,
    /// Prepared and not begun, in order.
    pub(super) unused: Vec<u64>,
}

pub(super) fn corrupt(
    files: &impl Files,
    segment: u64,
    offset: u64,
    cell: u64,
    damage: Damage,
) -> LogError {
    let path = files.path(segment);
    LogError::Corrupt(Box::new(Corruption {
        path,
        segment,
        offset,
        cell,
        damage,
    }))
}

impl Survey {
    /// Reads the first page of every segment and checks that they follow from each other.
    ///
    /// A log can be written, and segments taken from it, while this reads: what does not fit
    /// together is looked at again, and counts if it is still the same.
    pub(super) fn read(files: &impl Files) -> Result<Survey, LogError> {
        let mut before: Option<LogError> = None;
        loop {
            let said = Word::of(files)?;
            let error = match Survey::read_once(files, said) {
                Ok(survey) => return Ok(survey),
                Err(error) => error,
            };
            let may_pass = match &error {
                LogError::Corrupt(_) => before.as_ref() != Some(&error),
                LogError::Disk(error) => {
                    error.cause == Cause::Errno(libc::ENOENT) && Word::of(files)? != said
                }
                _ => false,
            };
            if !may_pass {
                return Err(error);
            }
            before = Some(error);
        }
    }

    fn read_once(files: &impl Files, said: Option<Word>) -> Result<Survey, LogError> {
        let from = said.map_or(0, |said| said.from);
        let mut numbers = files.list()?;
        // Below that they count for nothing, and are about to go.
        numbers.retain(|&number| number >= from);
        let mut survey = Survey::default();
        let mut bad: Option<u64> = None;
        let mut page = vec![0; PAGE_BYTES];
        for &number in &numbers {
            let file_bytes = files.len(number)?;
            let cell = survey
                .begun
                .last()
                .map_or(0, |begun| begun.header.first_cell);
            if file_bytes < PAGE {
                let damage = Damage::Length {
                    found: file_bytes,
                    want: PAGE,
                };
                return Err(corrupt(files, number, 0, cell, damage));
            }
            files.read(number, 0, &mut page)?;
            match SegmentHeader::read(&page) {
                Page0::Unused => survey.unused.push(number),
                Page0::Bad => {
                    if let Some(bad) = bad.replace(number) {
                        return Err(corrupt(files, bad, 0, cell, Damage::Header));
                    }
                }
                Page0::Version(found) => {
                    return Err(LogError::Version {
                        path: files.path(number),
                        found,
                    });
                }
                Page0::Header(header, header_crc) => {
                    check_schema(files, number, &page)?;
                    // A segment is begun only when all before it are complete, or cut.
                    if let Some(bad) = bad {
                        return Err(corrupt(files, bad, 0, cell, Damage::Header));
                    }
                    if let Some(&unused) = survey.unused.first() {
                        return Err(corrupt(files, unused, 0, cell, Damage::Header));
                    }
                    if let Some(field) = wrong_field(&header, number, survey.begun.last()) {
                        let damage = Damage::HeaderField(field);
                        return Err(corrupt(files, number, 0, cell, damage));
                    }
                    if file_bytes > header.segment_bytes {
                        let (found, want) = (file_bytes, header.segment_bytes);
                        let damage = Damage::Length { found, want };
                        return Err(corrupt(files, number, want, cell, damage));
                    }
                    survey.begun.push(Begun {
                        header,
                        header_crc,
                        file_bytes,
                    });
                }
            }
        }
        survey.check_numbers(files, &numbers, said)?;
        if let Some(bad) = bad {
            survey.check_torn_header(files, bad)?;
        }
        Ok(survey)
    }

    /// The first cell that the log has, or will have.
    pub(super) fn first_cell(&self) -> u64 {
        self.begun
            .first()
            .map_or(0, |begun| begun.header.first_cell)
    }

    fn check_numbers(
        &self,
        files: &impl Files,
        numbers: &[u64],
        said: Option<Word>,
    ) -> Result<(), LogError> {
        let from = said.map_or(0, |said| said.from);
        let cell = self.begun.last().map_or(0, |begun| begun.header.first_cell);
        let missing = |number| Err(corrupt(files, number, 0, cell, Damage::Missing));
        let is_first = numbers.first().is_none_or(|&first| first == from);
        if !is_first || (numbers.is_empty() && said.is_some()) {
            return missing(from);
        }
        if let (Some(said), Some(begun)) = (said, self.begun.first()) {
            let wrong = [
                (begun.header.uuid != said.uuid, "uuid"),
                (begun.header.first_cell != said.first_cell, "first cell"),
            ];
            if let Some((_, field)) = wrong.iter().find(|(is_wrong, _)| *is_wrong) {
                return Err(corrupt(files, from, 0, cell, Damage::Retained(field)));
            }
        }
        match numbers.windows(2).find(|pair| pair[1] != pair[0] + 1) {
            Some(pair) => missing(pair[0] + 1),
            None => Ok(()),
        }
    }

    /// A header under way is the only thing in its file, and its file the next to be begun.
    fn check_torn_header(&mut self, files: &impl Files, bad: u64) -> Result<(), LogError> {
        let cell = self.begun.last().map_or(0, |begun| begun.header.first_cell);
        let next = self
            .begun
            .last()
            .map_or(0, |begun| begun.header.segment + 1);
        if bad != next {
            return Err(corrupt(files, bad, 0, cell, Damage::Header));
        }
        if first_byte(files, bad, PAGE, files.len(bad)?)?.is_some() {
            return Err(corrupt(files, bad, 0, cell, Damage::Header));
        }
        self.torn_header = Some(bad);
        Ok(())
    }

    /// That what was prepared and not begun is as it was prepared.
    pub(super) fn check_unused(&self, files: &impl Files, cell: u64) -> Result<(), LogError> {
        for &number in &self.unused {
            if let Some(offset) = first_byte(files, number, PAGE, files.len(number)?)? {
                return Err(corrupt(files, number, offset, cell, Damage::Stray));
            }
        }
        Ok(())
    }
}

/// That this program reads the records of a segment with this first page as they were meant.
fn check_schema(files: &impl Files, number: u64, page: &[u8]) -> Result<(), LogError> {
    let said = SegmentHeader::schema(page);
    if said.is_some_and(|said| said.is_empty() || said == SCHEMA) {
        return Ok(());
    }
    let refuse = |why| {
        let path = files.path(number);
        Err(LogError::Schema { path, why })
    };
    let Some(text) = said else {
        return refuse("the description of its records is no text".to_owned());
    };
    match Schema::parse(text) {
        Err(line) => refuse(format!(
            "line {line} of the description of its records is none"
        )),
        Ok(found) => match found.refusal(&Schema::current()) {
            Some(why) => refuse(why),
            None => Ok(()),
        },
    }
}

/// Which field of a header does not follow from its file's name and the segment before.
fn wrong_field(
    header: &SegmentHeader,
    number: u64,
    before: Option<&Begun>,
) -> Option<&'static str> {
    let frame_bytes_max = u64::from(header.frame_bytes_max);
    let lengths_agree = header.segment_bytes.is_multiple_of(PAGE)
        && frame_bytes_max.is_multiple_of(PAGE)
        && frame_bytes_max + 2 * PAGE <= header.segment_bytes
        && header.segment_bytes / PAGE <= u64::from(u32::MAX);
    if header.segment != number {
        return Some("number");
    }
    // The next writer's is one more.
    if header.epoch == u32::MAX {
        return Some("epoch");
    }
    if header.salt != SegmentHeader::salt(&header.uuid, number, header.epoch) {
        return Some("salt");
    }
    if !lengths_agree {
        return Some("length");
    }
    let Some(before) = before.map(|before| &before.header) else {
        let is_first = header.first_cell == 0 && header.before.how == BeforeEnd::None;
        return (number == 0 && !is_first).then_some("first cell");
    };
    if header.uuid != before.uuid {
        return Some("uuid");
    }
    if header.epoch < before.epoch {
        return Some("epoch");
    }
    // Whoever begins in the middle does not read what would show it.
    if header.first_cell < before.first_cell {
        return Some("first cell");
    }
    // A cut is made by a new writer.
    let cut_by_same = header.before.how == BeforeEnd::Cut && header.epoch == before.epoch;
    if header.before.how == BeforeEnd::None || cut_by_same {
        return Some("end");
    }
    None
}

/// The first byte in a range of a file that is not zero.
pub(super) fn first_byte(
    files: &impl Files,
    segment: u64,
    from: u64,
    to: u64,
) -> Result<Option<u64>, LogError> {
    let mut block = vec![0; 64 * PAGE_BYTES];
    let mut at = from;
    while at < to {
        let len = (to - at).min(block.len() as u64) as usize;
        let block = &mut block[..len];
        files.read(segment, at, block)?;
        let pages = block.chunks(PAGE_BYTES).zip((at..).step_by(PAGE_BYTES));
        for (page, page_at) in pages {
            if page != &ZEROS[..page.len()] {
                let index = page
                    .iter()
                    .position(|&byte| byte != 0)
                    .expect("not all zeros");
                return Ok(Some(page_at + index as u64));
            }
        }
        at += len as u64;
    }
    Ok(None)
}

/// Valid frames of the last segment stop at `offset`, before cell `cell`: is this an end?
pub(super) fn judge_tail(
    files: &impl Files,
    begun: &Begun,
    offset: u64,
    cell: u64,
) -> Result<End, LogError> {
    let header = &begun.header;
    let segment = header.segment;
    let fail = |at, damage| Err(corrupt(files, segment, at, cell, damage));
    if begun.file_bytes != header.segment_bytes {
        // A file is made shorter only behind the log's last seal. If there is more of it, what stands here
        // is not what was written; else its end is gone.
        let (found, want) = (begun.file_bytes, header.segment_bytes);
        return match offset < found {
            true => fail(offset, Damage::Frame),
            false => fail(offset, Damage::Length { found, want }),
        };
    }
    let mut remains_end = offset;
    let mut block = vec![0; 64 * PAGE_BYTES];
    let mut frame = Vec::new();
    let mut at = offset;
    while at < header.segment_bytes {
        let len = (header.segment_bytes - at).min(block.len() as u64) as usize;
        let block = &mut block[..len];
        files.read(segment, at, block)?;
        for (page, page_at) in block.chunks(PAGE_BYTES).zip((at..).step_by(PAGE_BYTES)) {
            if page == &ZEROS[..page.len()] {
                continue;
            }
            let last = page
                .iter()
                .rposition(|&byte| byte != 0)
                .expect("not all zeros");
            remains_end = page_at + last as u64 + 1;
            let Some(later) = valid_frame(files, header, page, page_at, &mut frame)? else {
                continue;
            };
            // A frame says what was durable when it was written. If that goes beyond the place
            // where we stopped, what stood there was durable and is gone.
            let was_durable = later.durable_upto > cell || later.first_cell < cell;
            if was_durable && !planted::is(Bug::DamageTakenForTorn) {
                return fail(offset, Damage::Frame);
            }
        }
        at += len as u64;
    }
    if remains_end > header.reach(offset) {
        return fail(remains_end - 1, Damage::Stray);
    }
    if remains_end == offset {
        return Ok(End::Clean);
    }
    Ok(End::Torn {
        segment,
        offset,
        dropped_bytes: remains_end - offset,
    })
}

/// The frame of this segment that begins at `page_at`, if one does and is whole.
pub(super) fn valid_frame(
    files: &impl Files,
    header: &SegmentHeader,
    page: &[u8],
    page_at: u64,
    frame: &mut Vec<u8>,
) -> Result<Option<FrameHeader>, LogError> {
    let Some(found) = FrameHeader::read(page, header.frame_bytes_max as usize) else {
        return Ok(None);
    };
    let here = found.salt == header.salt
        && found.segment == header.segment
        && u64::from(found.page) * PAGE == page_at
        && page_at + u64::from(found.frame_bytes) <= header.segment_bytes;
    if !here {
        return Ok(None);
    }
    frame.resize(found.frame_bytes as usize, 0);
    files.read(header.segment, page_at, frame)?;
    let whole = checksum(header.salt, frame) == stored_checksum(frame);
    Ok(whole.then_some(found))
}

/// Where a new writer goes on.
#[derive(Clone, Debug)]
pub(super) struct GoOn {
    pub(super) before: Before,
    pub(super) next_segment: u64,
    pub(super) last_segment: Option<u64>,
    pub(super) torn_header: Option<u64>,
    pub(super) unused: Vec<u64>,
}
