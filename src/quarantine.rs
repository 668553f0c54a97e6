//! Writes what a run does not understand to its `quarantine.bin`, beside the reader: the watching thread
//! does it.
//!
//! A replay that goes on reads its input from the beginning again and refuses the same again, so as
//! many records as the file has are passed over. A live run that goes on adds to the file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver};

use bus::Ts;
use feed::quarantine::{FileHeader, HEADER_BYTES, Item, Quarantine, Records};
use jiff::tz::TimeZone;

use crate::pipeline::Job;

/// The file of a run.
pub struct Keeper {
    path: PathBuf,
    header: FileHeader,
    file: Option<File>,
    from: Receiver<Vec<u8>>,
    /// So many records that come are in the file already.
    skip: u64,
    is_failed: bool,
}

/// What stands in a file when a run goes on.
#[derive(Default)]
struct Found {
    records: u64,
    /// Without the header.
    bytes: u64,
    is_full: bool,
}

impl Keeper {
    /// The keeper of a run, and what its reader is to be given; `None` where nothing is to be kept.
    pub fn open(job: &Job<'_>) -> Result<Option<(Keeper, Quarantine)>, String> {
        let bytes_max = job.config.source.quarantine.max_bytes.0;
        if bytes_max == 0 {
            return Ok(None);
        }
        let midnight = job.day.date.to_zoned(TimeZone::UTC);
        let midnight = midnight.map_err(|e| format!("{}: {e}", job.day.date))?;
        let header = FileHeader {
            wire: job.wire,
            date: Ts(midnight.timestamp().as_nanosecond() as i64),
        };
        let path = job.dir.quarantine_path();
        let mut found = Found::default();
        let mut file = None;
        let has_header = |path: &Path| {
            let about = fs::metadata(path);
            about.is_ok_and(|about| about.len() >= HEADER_BYTES as u64)
        };
        if job.resume && has_header(&path) {
            let fail = |e: io::Error| format!("{}: {e}", path.display());
            found = look(&path, job.is_live)?;
            let opened = OpenOptions::new().append(true).open(&path).map_err(fail)?;
            let good_bytes = HEADER_BYTES as u64 + found.bytes;
            opened.set_len(good_bytes).map_err(fail)?;
            file = Some(opened);
        }
        let (to, from) = mpsc::channel();
        let quarantine = match job.is_live {
            true => {
                Quarantine::new(to, bytes_max).behind(found.records, found.bytes, found.is_full)
            }
            false => Quarantine::new(to, bytes_max),
        };
        let keeper = Keeper {
            path,
            header,
            file,
            from,
            skip: if job.is_live { 0 } else { found.records },
            is_failed: false,
        };
        Ok(Some((keeper, quarantine)))
    }

    /// Writes what has come; says what is wrong, once. The run goes on: its results do not need it.
    pub fn write(&mut self) -> Option<String> {
        self.try_write().err().map(|error| {
            self.is_failed = true;
            format!("{}: {error}; no more is kept", self.path.display())
        })
    }

    /// All is in the file, and stays there.
    pub fn finish(mut self) -> Option<String> {
        let failed = self.write();
        let synced = self.file.as_ref().map_or(Ok(()), File::sync_all);
        failed.or_else(|| {
            let error = synced.err()?;
            Some(format!("{}: {error}", self.path.display()))
        })
    }

    fn try_write(&mut self) -> io::Result<()> {
        while let Ok(record) = self.from.try_recv() {
            if self.is_failed {
                continue;
            }
            if self.skip > 0 {
                self.skip -= 1;
                continue;
            }
            let file = match &mut self.file {
                Some(file) => file,
                None => {
                    // What a crash left of one without a whole header goes.
                    let mut file = File::create(&self.path)?;
                    file.write_all(&self.header.encode())?;
                    self.file.insert(file)
                }
            };
            file.write_all(&record)?;
        }
        Ok(())
    }
}

/// What a run left in its file. What a crash tore off its end does not count.
fn look(path: &Path, is_live: bool) -> Result<Found, String> {
    let name = path.display();
    let bytes = fs::read(path).map_err(|e| format!("{name}: {e}"))?;
    let damaged = |offset: u64, what: String| {
        format!("{name}, byte {offset}: {what}; move the file away to go on without it")
    };
    let mut records = Records::open(&bytes).map_err(|(offset, what)| damaged(offset, what))?;
    let mut is_full = false;
    for record in records.by_ref() {
        match record {
            Ok(refused) => is_full = refused.item == Item::Full,
            Err((offset, what)) => {
                let is_torn = what.starts_with("cut ")
                    || bytes[offset as usize..].iter().all(|byte| *byte == 0);
                // A replay refuses the same things again.
                if is_live && !is_torn {
                    return Err(damaged(offset, what));
                }
                break;
            }
        }
    }
    Ok(Found {
        records: records.number(),
        bytes: records.good_bytes() - HEADER_BYTES as u64,
        is_full,
    })
}
