//! Beginning at a cell in the middle of a log.

use std::path::Path;

use super::{LogReader, PAGE, WINDOW_BYTES};
use crate::disk::{CELL_BYTES, Directory, Files};
use crate::log::error::{LogError, NoCell};
use crate::log::recover::{End, Survey};

impl LogReader<Directory> {
    /// Opens the log in a directory at the record that begins at `cell`; see
    /// [`LogReader::over_from`].
    pub fn open_from(dir: &Path, cell: u64) -> Result<LogReader<Directory>, LogError> {
        LogReader::over_from(Directory::new(dir), cell)
    }
}

impl<F: Files> LogReader<F> {
    /// Opens the log in these files at the record that begins at `cell`.
    ///
    /// All headers are checked, but frames only from the segment that holds `cell`: damage before
    /// it is not looked for. At the log's end, where the next record will stand, there is nothing
    /// to read and nothing wrong. Any other cell at which no record begins is
    /// [`LogError::NoCell`].
    pub fn over_from(files: F, cell: u64) -> Result<LogReader<F>, LogError> {
        let survey = Survey::read(&files)?;
        let mut reader = LogReader::at_segment(files, survey, Some(cell))?;
        reader.seek(cell)?;
        Ok(reader)
    }

    /// A reader that begins with the segment that holds `cell`, or with the first.
    pub(in crate::log) fn at_segment(
        files: F,
        survey: Survey,
        cell: Option<u64>,
    ) -> Result<LogReader<F>, LogError> {
        let first_kept = survey.first_cell();
        let index = match cell {
            None => 0,
            Some(cell) if cell < first_kept => {
                let why = NoCell::Below { first: first_kept };
                return Err(no_cell(&files, &survey, 0, cell, why));
            }
            // Segments without cells begin where the next one does: the last of them will do,
            // since nothing of the others is wanted.
            Some(cell) => survey
                .begun
                .partition_point(|begun| begun.header.first_cell <= cell)
                .saturating_sub(1),
        };
        let begun = survey.begun.get(index);
        Ok(LogReader {
            index,
            offset: PAGE,
            next_cell: begun.map_or(0, |begun| begun.header.first_cell),
            prev_crc: begun.map_or(0, |begun| begun.header_crc),
            durable_upto: begun.map_or(0, |begun| begun.header.first_cell),
            window: vec![0; WINDOW_BYTES],
            window_at: 0,
            window_len: 0,
            cells: 0..0,
            cell: 0,
            frames: 0,
            last_seq_event: None,
            sealed_at: None,
            finished: false,
            live: false,
            end: begun.is_none().then_some(Ok(End::Clean)),
            files,
            survey,
        })
    }

    /// Goes on to `cell`, which is not before the segment that the reader begins with.
    pub(super) fn seek(&mut self, cell: u64) -> Result<(), LogError> {
        // Whole frames are passed by as they are: their checksum says that they hold what the
        // writer put there.
        while self.next_cell <= cell {
            if !self.advance()? {
                let end = self.next_cell;
                return match cell == end {
                    true => Ok(()),
                    false => Err(self.no_cell(cell, NoCell::Beyond { end })),
                };
            }
            if self.next_cell <= cell {
                self.cells = 0..0;
            }
        }
        while self.cell < cell {
            let count = self.record_cells();
            if self.cells.len() < count * CELL_BYTES {
                // It goes over its frame's end, and that error has a place of its own.
                return self.take_record().map(drop);
            }
            self.cells.start += count * CELL_BYTES;
            self.cell += count as u64;
        }
        match self.cell == cell {
            true => Ok(()),
            false => Err(self.no_cell(cell, NoCell::Inside { next: self.cell })),
        }
    }

    fn no_cell(&self, cell: u64, why: NoCell) -> LogError {
        no_cell(&self.files, &self.survey, self.index, cell, why)
    }
}

fn no_cell(files: &impl Files, survey: &Survey, index: usize, cell: u64, why: NoCell) -> LogError {
    let segment = survey.begun.get(index);
    let segment = segment.map_or(0, |begun| begun.header.segment);
    LogError::NoCell {
        path: files.path(segment),
        cell,
        why,
    }
}
