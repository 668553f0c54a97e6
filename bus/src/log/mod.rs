//! The durable log: every event that came in, and every signal and order that went out, in order.
//!
//! One writer ([`Log`]), any number of readers ([`LogReader`]). The log knows only cells of 64
//! bytes: an event is one, a signal two. Cells are numbered from 0. The files are described byte
//! by byte in `FORMAT.md`.
//!
//! ```text
//! append ─► open frame ─► waiting frames ─► in flight (write, then sync) ─► durable
//!           cells of 64 B   full, or due      at most frames_in_flight_max     below durable_upto
//! ```
//!
//! Read `frame` and `segment` (what is written), then `writer`, `reader`, `recover` (which ends
//! a crash can leave), `retain` (what is moved away and removed).

mod consumer;
mod error;
mod frame;
mod index;
mod reader;
mod recover;
pub mod repair;
mod retain;
mod schema;
mod segment;
pub mod tail;
mod writer;

use std::path::{Path, PathBuf};

pub use consumer::{Consumer, Known, Position, consumers};
pub use error::{Corruption, Damage, LogError, NoCell};
pub use frame::{FLAG_FINAL, FrameHeader, FrameKind, RECORD_SCHEMA, frame_bytes, frame_cells};
pub use index::{Segment, index};
pub use reader::{Frame, LogReader, Record};
pub use recover::{End, Recovered};
pub use retain::{Retained, Retention, reference, reference_in, retain, retain_in};
pub use schema::{Field, Layout, Of, SCHEMA, Schema, Value};
pub use segment::{Before, BeforeEnd, FORMAT_VERSION, FORMAT_VERSION_MIN, Page0, SegmentHeader};
pub use tail::Tail;
pub use writer::{Commit, Log, LogStats};

use crate::disk::{Backend, Directory, Files, Geometry, PAGE_BYTES, RealDisk};

/// How a log is laid out and when it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Its directory, of its own.
    pub dir: PathBuf,
    /// How long a segment file is; whole pages. [`LogConfig::SEGMENT_BYTES`] is a good size.
    pub segment_bytes: u64,
    /// How long a frame can be; whole pages.
    pub frame_bytes_max: usize,
    /// How many frames can be under way to the disk at once.
    pub frames_in_flight_max: usize,
    /// How many more can be filled meanwhile. What is in memory at most is the sum of the two.
    pub frames_waiting_max: usize,
    /// How many segments are kept ready; at least 2, so that one is there while one is made.
    pub spares: usize,
    /// A frame that is this old is written, however little is in it.
    pub commit_age_ns: u64,
    /// The log's own name, random. Only for a new log; a resumed one has its name.
    pub uuid: [u8; 16],
    /// The program, for those who read the log later.
    pub build_hash: u64,
    /// Its configuration, likewise.
    pub config_hash: u64,
}

impl LogConfig {
    /// A usual size for a segment.
    pub const SEGMENT_BYTES: u64 = 64 << 20;
    /// A usual bound for a frame.
    pub const FRAME_BYTES_MAX: usize = 256 << 10;
    /// A usual bound for frames under way.
    pub const FRAMES_IN_FLIGHT_MAX: usize = 3;
    /// A usual bound for frames that wait.
    pub const FRAMES_WAITING_MAX: usize = 5;
    /// A usual age.
    pub const COMMIT_AGE_NS: u64 = 200_000;

    /// What the disk must know.
    pub fn geometry(&self) -> Geometry {
        Geometry {
            segment_bytes: self.segment_bytes,
            slot_bytes: self.frame_bytes_max,
            slot_count: self.frames_in_flight_max + self.frames_waiting_max,
        }
    }

    /// Locks the directory, made if need be, for the log to come. Call it before the thread is
    /// pinned or given a real-time class: the threads started here inherit both.
    pub fn open_disk(&self, backend: Backend) -> Result<RealDisk, LogError> {
        self.check()?;
        Ok(RealDisk::open(&self.dir, self.geometry(), backend)?)
    }

    fn check(&self) -> Result<(), LogError> {
        let page = PAGE_BYTES as u64;
        let rules = [
            (
                self.segment_bytes.is_multiple_of(page),
                "segment_bytes is not whole pages of 4096",
            ),
            (
                self.frame_bytes_max.is_multiple_of(PAGE_BYTES) && self.frame_bytes_max > 0,
                "frame_bytes_max is not whole pages of 4096",
            ),
            (
                self.frame_bytes_max <= 16 << 20,
                "frame_bytes_max is above 16 MiB",
            ),
            (
                self.segment_bytes >= self.frame_bytes_max as u64 + 2 * page,
                "segment_bytes is less than one frame and two pages",
            ),
            (
                self.segment_bytes <= 1 << 40,
                "segment_bytes is above 1 TiB",
            ),
            (
                (1..=64).contains(&self.frames_in_flight_max),
                "frames_in_flight_max is not 1 to 64",
            ),
            (
                (1..=64).contains(&self.frames_waiting_max),
                "frames_waiting_max is not 1 to 64",
            ),
            ((2..=8).contains(&self.spares), "spares is not 2 to 8"),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, what)) => Err(LogError::Config(what)),
            None => Ok(()),
        }
    }
}

/// Sixteen random bytes from the system, for [`LogConfig::uuid`].
pub fn random_uuid() -> std::io::Result<[u8; 16]> {
    use std::io::Read;
    let mut uuid = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut uuid)?;
    Ok(uuid)
}

/// Reads a whole log and says what is in it, or where it is damaged.
pub fn verify(dir: &Path) -> Result<Recovered, LogError> {
    verify_files(Directory::new(dir))
}

/// The same for a log that is not in a directory.
pub fn verify_files(files: impl Files) -> Result<Recovered, LogError> {
    LogReader::over(files)?
        .finish()
        .map(|(recovered, _)| recovered)
}
