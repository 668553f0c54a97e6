//! A directory as a tier.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{Sink, Tier};
use crate::disk::files::{make_dir, sync_dir};
use crate::disk::{DiskError, Op};

const SUFFIX: &str = ".seg.zst";

/// A directory of compressed segments of one log: `0000000003.seg.zst`.
#[derive(Debug)]
pub struct TierFolder {
    dir: PathBuf,
}

impl TierFolder {
    /// The directory, not looked at yet.
    pub fn new(dir: &Path) -> TierFolder {
        TierFolder {
            dir: dir.to_owned(),
        }
    }
}

impl Tier for TierFolder {
    fn make(&self) -> Result<(), DiskError> {
        make_dir(&self.dir)
    }

    fn list(&self) -> Result<Vec<u64>, DiskError> {
        let fail = |error| DiskError::io(Op::List, &self.dir, &error);
        let mut numbers = Vec::new();
        for entry in std::fs::read_dir(&self.dir).map_err(fail)? {
            let name = entry.map_err(fail)?.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
            let number = number.filter(|digits| digits.len() == 10);
            numbers.extend(number.and_then(|digits| digits.parse::<u64>().ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn len(&self, segment: u64) -> Result<u64, DiskError> {
        let path = self.path(segment);
        std::fs::metadata(&path)
            .map(|meta| meta.len())
            .map_err(|error| DiskError::io(Op::Open, path, &error))
    }

    fn read(&self, segment: u64, offset: u64, into: &mut [u8]) -> Result<(), DiskError> {
        let path = self.path(segment);
        let mut read = || File::open(&path)?.read_exact_at(into, offset);
        read().map_err(|error: io::Error| DiskError::io(Op::Read, &path, &error))
    }

    fn put(
        &self,
        segment: u64,
        fill: &mut dyn FnMut(&mut Sink) -> Result<(), DiskError>,
    ) -> Result<(), DiskError> {
        let path = self.path(segment);
        let unnamed = path.with_extension("zst.tmp");
        let fail = |op| {
            let path = &path;
            move |error: io::Error| DiskError::io(op, path, &error)
        };
        let mut file = File::create(&unnamed).map_err(fail(Op::Open))?;
        fill(&mut |bytes| file.write_all(bytes).map_err(fail(Op::Write)))?;
        file.sync_all().map_err(fail(Op::Sync))?;
        std::fs::rename(&unnamed, &path).map_err(fail(Op::Open))?;
        sync_dir(&self.dir)
    }

    fn remove(&self, segment: u64) -> Result<(), DiskError> {
        let path = self.path(segment);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(DiskError::io(Op::Remove, path, &error))
            }
            _ => sync_dir(&self.dir),
        }
    }

    fn path(&self, segment: u64) -> PathBuf {
        self.dir.join(format!("{segment:010}{SUFFIX}"))
    }

    fn written(&self, segment: u64) -> Option<SystemTime> {
        let meta = std::fs::metadata(self.path(segment)).ok()?;
        meta.modified().ok()
    }
}
