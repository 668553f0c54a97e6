//! Cutting a log off before damage in its middle. Nothing is deleted: the files as they were go
//! aside, with a record of who cut what off.
//!
//! This loses what was durable, perhaps orders that were sent. It is for a person to decide, who
//! was told what would be lost.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::error::{LogError, NoCell};
use super::frame::FrameHeader;
use super::reader::{LogReader, Record};
use super::retain::replace;
use crate::disk::files::{lock, sync_dir};
use crate::disk::{Cause, Directory, DiskError, Files, Op, RealFolder, segment_name};
use crate::fixed::Ts;
use crate::signal::SignalKind;

/// What a cut would take away, as far as it can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// The log will end here: at the frame that holds the cell that was asked for, or at it.
    pub end_cell: u64,
    /// In which segment.
    pub segment: u64,
    /// Where in its file.
    pub offset: u64,
    /// Where the log ended, as far as its headers and frames say.
    pub old_end_cell: u64,
    /// Cells that would be lost.
    pub cells: u64,
    /// Of those, cells that cannot be read anyway.
    pub unreadable_cells: u64,
    /// Events among those that can.
    pub events: u64,
    /// Signals, orders among them.
    pub signals: u64,
    /// Orders.
    pub orders: u64,
    /// Records that orders were sent.
    pub sent: u64,
    /// The `seq` of the last event or signal among those that can.
    pub last_seq: Option<u64>,
    /// When the first and the last of the events happened.
    pub span: Option<(Ts, Ts)>,
    /// Segments that would go aside whole.
    pub segments: Vec<u64>,
}

/// The segments up to one, as if those after it were not there.
struct UpTo<'a>(&'a Directory, u64);

impl Files for UpTo<'_> {
    fn list(&self) -> Result<Vec<u64>, DiskError> {
        let mut numbers = self.0.list()?;
        numbers.retain(|&number| number <= self.1);
        Ok(numbers)
    }
    fn len(&self, segment: u64) -> Result<u64, DiskError> {
        self.0.len(segment)
    }
    fn read(&self, segment: u64, offset: u64, into: &mut [u8]) -> Result<(), DiskError> {
        // What lies beyond is not there, even for who asks by number.
        match segment <= self.1 {
            true => self.0.read(segment, offset, into),
            false => Err(DiskError::new(Op::Read, self.path(segment), libc::ENOENT)),
        }
    }
    fn path(&self, segment: u64) -> PathBuf {
        self.0.path(segment)
    }
    fn path_beside(&self, name: &str) -> PathBuf {
        self.0.path_beside(name)
    }
    fn beside(&self, name: &str) -> Result<Option<Vec<u8>>, DiskError> {
        self.0.beside(name)
    }
}

/// What cutting the log in `dir` off at `cell` would take away. Changes nothing.
pub fn plan(dir: &Path, cell: u64) -> Result<Cut, LogError> {
    let files = Directory::new(dir);
    let numbers = files.list()?;
    let mut cut = Cut::default();
    // As much of the front as its headers let be read.
    let mut reader = None;
    let mut is_front = false;
    for &last in numbers.iter().rev() {
        if let Ok(found) = LogReader::live(UpTo(&files, last), None) {
            reader = Some(found);
            is_front = Some(&last) != numbers.last();
            break;
        }
    }
    let Some(mut reader) = reader else {
        return LogReader::over(&files).map(|_| cut);
    };
    if cell < reader.first_cell() {
        let first = reader.first_cell();
        let path = files.path(reader.place().0);
        let why = NoCell::Below { first };
        return Err(LogError::NoCell { path, cell, why });
    }
    loop {
        let (segment, offset, start) = reader.place();
        if reader.position() >= cell {
            cut.segment = segment;
            cut.offset = offset;
            cut.end_cell = start;
            break;
        }
        let next = reader.next_frame().map(|frame| frame.is_some());
        if !matches!(next, Ok(true)) && is_front {
            // What is behind cannot be reached from here, whatever cell it is at.
            (cut.segment, cut.offset, cut.end_cell) = reader.place();
            break;
        }
        if !matches!(next, Ok(true)) {
            let why = NoCell::Beyond {
                end: reader.position(),
            };
            let path = files.path(segment);
            return Err(LogError::NoCell { path, cell, why });
        }
        if reader.position() > cell {
            // The frame goes as a whole: it has one checksum.
            cut.segment = reader.place().0;
            cut.offset = offset.max(super::reader::PAGE);
            if cut.segment != segment {
                cut.offset = super::reader::PAGE;
            }
            cut.end_cell = start;
            break;
        }
    }
    count(&files, &numbers, &mut cut)?;
    Ok(cut)
}

/// Counts what stands from the cut on: by frames that are whole, wherever the last reader
/// stopped.
fn count(files: &Directory, numbers: &[u64], cut: &mut Cut) -> Result<(), LogError> {
    let mut readable_cells = 0;
    cut.old_end_cell = cut.end_cell;
    for &number in numbers.iter().filter(|&&number| number >= cut.segment) {
        if number > cut.segment {
            cut.segments.push(number);
        }
        let from = if number == cut.segment {
            cut.offset
        } else {
            super::reader::PAGE
        };
        let mut take = |frame: &FrameHeader, records: &mut dyn Iterator<Item = Record>| {
            readable_cells += u64::from(frame.cell_count);
            cut.old_end_cell = cut.old_end_cell.max(frame.end_cell());
            for record in records {
                match record {
                    Record::Event(event) => {
                        cut.events += 1;
                        cut.last_seq = cut.last_seq.max(Some(event.seq));
                        let ts = event.ts_event;
                        let (first, last) = cut.span.unwrap_or((ts, ts));
                        cut.span = Some((first.min(ts), last.max(ts)));
                    }
                    Record::Signal(signal) => {
                        cut.signals += 1;
                        cut.last_seq = cut.last_seq.max(Some(signal.seq));
                        cut.orders += u64::from(signal.kind == SignalKind::Order);
                        cut.sent += u64::from(signal.kind == SignalKind::Sent);
                    }
                }
            }
        };
        super::reader::salvage(files, number, from, &mut take)?;
    }
    cut.cells = cut.old_end_cell - cut.end_cell;
    cut.unreadable_cells = cut.cells.saturating_sub(readable_cells);
    Ok(())
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// The folder that has what was cut off.
    pub aside: PathBuf,
    /// Named readers that were beyond, and where: they are at the cut now.
    pub taken_back: Vec<(String, u64)>,
}

/// Cuts the log in `dir` off as planned, and says in `audit` why. For who holds no lock on the
/// log; nobody may, and no named reader that is beyond the cut may be open.
pub fn cut(dir: &Path, cut: &Cut, audit: &str, now: SystemTime) -> Result<Done, LogError> {
    let _lock = lock(dir)?;
    let files = Directory::new(dir);
    let local = files.list_local()?;
    let all = std::iter::once(cut.segment).chain(cut.segments.iter().copied());
    if let Some(segment) = all.clone().find(|segment| !local.contains(segment)) {
        return Err(LogError::Disk(DiskError {
            op: Op::Open,
            path: files.path(segment),
            cause: Cause::Bytes("it lies in the tier; a cut is made in segments that are here"),
        }));
    }
    // Before the cut: who reads some again loses nothing, and a crash between the two leaves that.
    let taken_back = super::consumer::take_back(dir, cut.end_cell)?;
    let fail = |path: &Path| {
        let path = path.to_owned();
        move |error: io::Error| LogError::Disk(DiskError::io(Op::Write, &path, &error))
    };
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let aside = dir.join(format!("cut-{:010}-{seconds}", cut.segment));
    fs::create_dir(&aside).map_err(fail(&aside))?;
    for segment in all {
        let name = segment_name(segment);
        // A second name for the same bytes: nothing is copied, nothing is lost.
        fs::hard_link(dir.join(&name), aside.join(&name)).map_err(fail(&aside))?;
    }
    replace(&mut RealFolder::open(&aside)?, "REPAIR", audit.as_bytes())?;
    sync_dir(dir)?;
    // From the last to the first, so that a crash leaves no hole in the numbers.
    for &segment in cut.segments.iter().rev() {
        let path = dir.join(segment_name(segment));
        fs::remove_file(&path).map_err(fail(&path))?;
        sync_dir(dir)?;
    }
    shorten(dir, cut).map_err(fail(&dir.join(segment_name(cut.segment))))?;
    Ok(Done { aside, taken_back })
}

/// The last segment again, with zeros from the cut on.
fn shorten(dir: &Path, cut: &Cut) -> io::Result<()> {
    let path = dir.join(segment_name(cut.segment));
    let unnamed = path.with_extension("seg.tmp");
    let mut from = File::open(&path)?;
    let page = {
        use std::os::unix::fs::FileExt;
        let mut page = vec![0; crate::disk::PAGE_BYTES];
        from.read_exact_at(&mut page, 0)?;
        page
    };
    let bytes = match super::segment::SegmentHeader::read(&page) {
        super::segment::Page0::Header(header, _) => header.segment_bytes,
        _ => from.metadata()?.len(),
    };
    let mut to = File::create(&unnamed)?;
    io::copy(&mut io::Read::take(&mut from, cut.offset), &mut to)?;
    let mut zeros = io::Read::take(io::repeat(0), bytes.saturating_sub(cut.offset));
    io::copy(&mut zeros, &mut to)?;
    to.sync_all()?;
    fs::rename(&unnamed, &path)?;
    File::open(dir)?.sync_all()
}
