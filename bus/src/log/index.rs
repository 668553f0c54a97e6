//! Which segments a log has, and what each holds, from their headers.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::error::LogError;
use super::reader::{LogReader, Record};
use super::recover::Survey;
use super::segment::SegmentHeader;
use crate::disk::{Directory, Files, PAGE_BYTES, segment_path};
use crate::fixed::Ts;

/// One segment that was begun.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// What its first page says.
    pub header: SegmentHeader,
    /// The first cell of the next segment; of the last one, where its frames end.
    pub end_cell: u64,
    /// When the first event in it happened; `None` where there is none, or it cannot be read.
    pub first_event: Option<Ts>,
    /// Where it lies.
    pub path: PathBuf,
    /// Whether that is the log's tier.
    pub is_tiered: bool,
    /// How many bytes it takes there.
    pub bytes: u64,
    /// When it was last written.
    pub written: Option<SystemTime>,
    /// What its records look like, as it says; empty in version 1.
    pub schema: String,
}

/// The segments of the log in `dir`, in order. Checks headers; what they hold is not read.
pub fn index(dir: &Path) -> Result<Vec<Segment>, LogError> {
    let files = Directory::new(dir);
    let survey = Survey::read(&files)?;
    let tier = files.tier()?;
    let mut found: Vec<Segment> = Vec::with_capacity(survey.begun.len());
    let mut page = vec![0; PAGE_BYTES];
    for begun in &survey.begun {
        let header = begun.header;
        let segment = header.segment;
        let mut reader = LogReader::live(&files, Some(header.first_cell))?;
        let first_event = loop {
            match reader.next_live() {
                Ok(Some((_, Record::Event(event)))) => break Some(event.ts_event),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break None,
            }
        };
        files.read(segment, 0, &mut page)?;
        let is_tiered = !segment_path(dir, segment).exists();
        let bytes = match tier.as_ref().filter(|_| is_tiered) {
            Some(tier) => tier.len(segment)?,
            None => begun.file_bytes,
        };
        if let Some(before) = found.last_mut() {
            before.end_cell = header.first_cell;
        }
        found.push(Segment {
            header,
            end_cell: header.first_cell,
            first_event,
            path: files.path(segment),
            is_tiered,
            bytes,
            written: files.written(segment),
            schema: SegmentHeader::schema(&page).unwrap_or_default().to_owned(),
        });
    }
    if let Some(last) = found.last_mut() {
        let mut reader = LogReader::live(&files, Some(last.header.first_cell))?;
        // Where damage stops the reader, what is before it is all that is known.
        let _ = reader.skip_to_end();
        last.end_cell = reader.position();
    }
    Ok(found)
}
