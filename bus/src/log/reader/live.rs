//! Reading a log while another process writes it.
//!
//! Where a reader of a log at rest judges what stands at the end, this one comes back later. A
//! frame that fails its checksum may be under way. It is damage only once the next segment is
//! begun, because then all of this one is durable and can be seen.

use std::path::Path;

use super::LogReader;
use crate::disk::{Cause, Directory, Files, PAGE_BYTES};
use crate::log::error::{LogError, NoCell};
use crate::log::recover::Begun;
use crate::log::retain::word::Word;
use crate::log::segment::{Page0, SegmentHeader};

impl LogReader<Directory> {
    /// As [`LogReader::open_from`], for a log that may be written meanwhile: the end of the
    /// iterator is then only where the writer was, and there may be more the next time. Without
    /// a cell it begins with the first that is kept.
    pub fn open_live(dir: &Path, cell: Option<u64>) -> Result<LogReader<Directory>, LogError> {
        LogReader::live(Directory::new(dir), cell)
    }
}

impl<F: Files> LogReader<F> {
    /// The same for a log that is not in a directory.
    pub fn live(files: F, cell: Option<u64>) -> Result<LogReader<F>, LogError> {
        let survey = crate::log::recover::Survey::read(&files)?;
        let mut reader = LogReader::at_segment(files, survey, cell)?;
        reader.live = true;
        if reader.survey.begun.is_empty() {
            let path = reader.files.path(0);
            let (cell, why) = (cell.unwrap_or(0), NoCell::Beyond { end: 0 });
            return Err(LogError::NoCell { path, cell, why });
        }
        if let Some(cell) = cell {
            reader.seek(cell)?;
        }
        Ok(reader)
    }

    /// Goes past all that is there now.
    pub(in crate::log) fn skip_to_end(&mut self) -> Result<(), LogError> {
        while self.advance()? {
            self.cells = 0..0;
        }
        Ok(())
    }

    /// Forgets what was seen of the current file's end, and looks whether the next segment was
    /// begun.
    pub(super) fn look_again(&mut self) -> Result<(), LogError> {
        self.window_len = 0;
        let segment = self.survey.begun[self.index].header.segment;
        // First the next header, then this file: what that header counts on can then be seen.
        if self.index + 1 == self.survey.begun.len()
            && let Some(next) = self.header_of(segment + 1)?
        {
            if let Some(field) = next.follows(segment + 1, &self.survey.begun[self.index]) {
                let damage = super::Damage::HeaderField(field);
                return Err(super::corrupt(
                    &self.files,
                    segment + 1,
                    0,
                    self.next_cell,
                    damage,
                ));
            }
            self.survey.begun.push(next);
        }
        self.survey.begun[self.index].file_bytes = self.files.len(segment)?;
        Ok(())
    }

    /// The header of a segment, if it is begun.
    fn header_of(&self, segment: u64) -> Result<Option<Begun>, LogError> {
        let mut page = vec![0; PAGE_BYTES];
        let read = self.files.len(segment).and_then(|file_bytes| {
            self.files.read(segment, 0, &mut page)?;
            Ok(file_bytes)
        });
        let file_bytes = match read {
            Ok(file_bytes) => file_bytes,
            Err(error) if error.cause == Cause::Errno(libc::ENOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        match SegmentHeader::read(&page) {
            Page0::Header(header, header_crc) => Ok(Some(Begun {
                header,
                header_crc,
                file_bytes,
            })),
            // Not begun, or its header is under way.
            Page0::Unused | Page0::Bad => Ok(None),
            Page0::Version(found) => {
                let path = self.files.path(segment);
                Err(LogError::Version { path, found })
            }
        }
    }

    /// Says that a segment was removed, where that is why it is not there.
    #[cold]
    pub(super) fn explain(&self, error: LogError) -> LogError {
        let is_gone = matches!(&error, LogError::Disk(error)
            if error.cause == Cause::Errno(libc::ENOENT));
        if !is_gone {
            return error;
        }
        let segment = self.survey.begun[self.index].header.segment;
        match Word::of(&self.files) {
            Ok(Some(said)) if said.from > segment => LogError::NoCell {
                path: self.files.path(segment),
                cell: self.next_cell,
                why: NoCell::Below {
                    first: said.first_cell,
                },
            },
            _ => error,
        }
    }
}

impl<F: Files> LogReader<F> {
    /// Begins with the last segment that was begun.
    pub(in crate::log) fn live_at_last(files: F) -> Result<LogReader<F>, LogError> {
        let survey = crate::log::recover::Survey::read(&files)?;
        let last = survey.begun.last().map(|begun| begun.header.first_cell);
        LogReader::live(files, last)
    }

    /// The next record, if there is one now.
    pub(in crate::log) fn next_live(&mut self) -> Result<Option<(u64, super::Record)>, LogError> {
        if self.cells.is_empty() && !self.advance()? {
            return Ok(None);
        }
        self.take_record().map(Some)
    }

    /// Whether the last frame read ended the log in order.
    pub(in crate::log) fn is_finished(&self) -> bool {
        self.finished
    }

    /// The first cell of the last segment that begins with an event before `ts`.
    pub(in crate::log) fn first_cell_of_times(
        files: F,
        ts: crate::fixed::Ts,
    ) -> Result<Option<u64>, LogError>
    where
        F: Copy,
    {
        let survey = crate::log::recover::Survey::read(&files)?;
        let mut found = None;
        for begun in &survey.begun {
            let first = begun.header.first_cell;
            let mut reader = LogReader::live(files, Some(first))?;
            let event = loop {
                match reader.next_live()? {
                    Some((_, super::Record::Event(event))) => break Some(event),
                    Some(_) => {}
                    None => break None,
                }
            };
            if event.is_none_or(|event| event.ts_event >= ts) {
                break;
            }
            found = Some(first);
        }
        Ok(found)
    }
}

/// Goes through the whole frames of one segment from a page on, whatever lies between them, for
/// who wants to know what is lost. A segment without a header has none.
pub(in crate::log) fn salvage(
    files: &Directory,
    segment: u64,
    from: u64,
    take: &mut dyn FnMut(&super::FrameHeader, &mut dyn Iterator<Item = super::Record>),
) -> Result<(), LogError> {
    let len = files.len(segment)?;
    let mut page = vec![0; PAGE_BYTES];
    if len < super::PAGE {
        return Ok(());
    }
    files.read(segment, 0, &mut page)?;
    let Page0::Header(header, _) = SegmentHeader::read(&page) else {
        return Ok(());
    };
    let mut frame = Vec::new();
    let mut at = from;
    while at + super::PAGE <= len {
        files.read(segment, at, &mut page)?;
        let found = crate::log::recover::valid_frame(files, &header, &page, at, &mut frame)?;
        let Some(found) = found.filter(|found| at + u64::from(found.frame_bytes) <= len) else {
            at += super::PAGE;
            continue;
        };
        let cells = &frame[super::CELL_BYTES..][..found.cell_count as usize * super::CELL_BYTES];
        let mut left = cells;
        let mut records = std::iter::from_fn(|| {
            let first: &[u8; super::CELL_BYTES] = left.first_chunk()?;
            let is_event = first[super::KIND_AT] < super::SIGNAL_KIND_MIN;
            let (record, bytes) = match is_event {
                true => (
                    super::Event::from_bytes(first).map(super::Record::Event),
                    64,
                ),
                false => {
                    let both = left.first_chunk();
                    (
                        both.and_then(super::Signal::from_bytes)
                            .map(super::Record::Signal),
                        128,
                    )
                }
            };
            left = left.get(bytes..)?;
            record
        });
        take(&found, &mut records);
        at += u64::from(found.frame_bytes);
    }
    Ok(())
}
