//! What can go wrong with a log, each with the file and the place.

use std::fmt;
use std::path::PathBuf;

use super::segment::{FORMAT_VERSION, FORMAT_VERSION_MIN};
use crate::disk::{Cause, DiskError, Op};

/// Why a log cannot go on, or cannot be opened. Final: nothing is tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogError {
    /// There already is a log where one was to be created.
    Exists {
        /// Its first file.
        path: PathBuf,
    },
    /// Another process writes this log.
    InUse {
        /// The lock file.
        path: PathBuf,
        /// Its process number, as it says.
        pid: Option<String>,
    },
    /// The disk is full, or the user's share of it.
    NoSpace(DiskError),
    /// A file operation failed.
    Disk(DiskError),
    /// The log is damaged elsewhere than at an end that a crash could have left.
    Corrupt(Box<Corruption>),
    /// Written in a format that this program does not read.
    Version {
        /// The file.
        path: PathBuf,
        /// Its format version.
        found: u32,
    },
    /// Its records are laid out in a way that this program would misread.
    Schema {
        /// The file.
        path: PathBuf,
        /// Which record and field.
        why: String,
    },
    /// No record begins at the cell that was to be read from.
    NoCell {
        /// The file in which it was looked for.
        path: PathBuf,
        /// The cell.
        cell: u64,
        /// Why it cannot be had.
        why: NoCell,
    },
    /// The configuration makes no sense.
    Config(&'static str),
}

/// Why nothing can be read from a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoCell {
    /// The log no longer has it.
    Below {
        /// The first that it has.
        first: u64,
    },
    /// The log does not go so far.
    Beyond {
        /// Where it ends.
        end: u64,
    },
    /// It is the second cell of a signal.
    Inside {
        /// Where the next record begins.
        next: u64,
    },
}

/// Where a log is damaged and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corruption {
    /// The file.
    pub path: PathBuf,
    /// The segment's number.
    pub segment: u64,
    /// Where in the file.
    pub offset: u64,
    /// The first cell that cannot be had.
    pub cell: u64,
    /// What is wrong.
    pub damage: Damage,
}

/// What is wrong with a damaged log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// A segment file is not there.
    Missing,
    /// None is, though the log was begun.
    Gone,
    /// A segment's first page is neither zeros nor a header.
    Header,
    /// A segment's header does not follow from the segment before: which field.
    HeaderField(&'static str),
    /// The file is shorter or longer than its header says.
    Length {
        /// How long it is.
        found: u64,
        /// How long it should be.
        want: u64,
    },
    /// No valid frame where one must be: the log says later that it was durable, or the segment
    /// is complete.
    Frame,
    /// A frame with a good checksum does not follow from the one before: which field.
    FrameField(&'static str),
    /// A cell that is neither an event nor a signal.
    Cell {
        /// Its kind byte.
        kind: u8,
    },
    /// A layout of cells that this program does not know.
    Schema(u16),
    /// Bytes where nothing was ever written.
    Stray,
    /// A small file beside the segments is not what was written.
    Beside,
    /// The first segment is not the one that `RETAINED` names: which field.
    Retained(&'static str),
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damage::Missing => write!(f, "the segment is missing"),
            Damage::Gone => write!(f, "no segment is there, though the run had begun"),
            Damage::Header => write!(f, "the segment's header fails its checksum"),
            Damage::HeaderField(field) => {
                write!(
                    f,
                    "the segment's {field} does not follow from the segment before"
                )
            }
            Damage::Length { found, want } => write!(f, "the file has {found} bytes, want {want}"),
            Damage::Frame => write!(f, "no valid frame where one was durable"),
            Damage::FrameField(field) => {
                write!(
                    f,
                    "the frame's {field} does not follow from the frame before"
                )
            }
            Damage::Cell { kind } => write!(f, "kind {kind:#04x} is no event and no signal"),
            Damage::Schema(schema) => write!(f, "record schema {schema}, want 1"),
            Damage::Beside => write!(f, "the file is not what was written"),
            Damage::Retained(field) => {
                write!(
                    f,
                    "the segment's {field} is not what the file RETAINED says"
                )
            }
            Damage::Stray => write!(f, "bytes where nothing was ever written"),
        }
    }
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Corruption {
            path,
            offset,
            cell,
            damage,
            ..
        } = self;
        write!(
            f,
            "{}: damaged at byte {offset}, cell {cell}: {damage}",
            path.display()
        )
    }
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogError::Exists { path } => write!(f, "{}: there already is a log", path.display()),
            LogError::InUse { path, pid } => {
                write!(f, "{}: another process writes this log", path.display())?;
                match pid {
                    Some(pid) => write!(f, " (pid {pid})"),
                    None => Ok(()),
                }
            }
            LogError::NoSpace(error) => write!(f, "no space for the log: {error}"),
            LogError::Disk(error) => write!(f, "the log failed: {error}"),
            LogError::Corrupt(corruption) => write!(f, "{corruption}"),
            LogError::Version { path, found } => {
                let path = path.display();
                write!(
                    f,
                    "{path}: log format version {found}, this program reads {FORMAT_VERSION_MIN} \
                     to {FORMAT_VERSION}"
                )
            }
            LogError::Schema { path, why } => write!(f, "{}: {why}", path.display()),
            LogError::NoCell { path, cell, why } => {
                write!(f, "{}: no record at cell {cell}: ", path.display())?;
                match why {
                    NoCell::Below { first } => write!(f, "the first that is kept is {first}"),
                    NoCell::Beyond { end } => write!(f, "the log ends before cell {end}"),
                    NoCell::Inside { next } => {
                        write!(f, "it is inside of one, the next begins at {next}")
                    }
                }
            }
            LogError::Config(what) => write!(f, "log configuration: {what}"),
        }
    }
}

impl LogError {
    /// Whether what is on the disk is not what was written there.
    pub fn is_damage(&self) -> bool {
        match self {
            LogError::Corrupt(_) => true,
            LogError::Disk(error) => match error.cause {
                Cause::Bytes(_) => true,
                // A file that is too short; what a write did not write is no fault of what stands there.
                Cause::Short { .. } => error.op != Op::Write,
                _ => false,
            },
            _ => false,
        }
    }

    /// Whether it may be over by itself: a store of objects did not do what it was asked.
    pub fn may_pass(&self) -> bool {
        matches!(self, LogError::Disk(error) if matches!(error.cause, Cause::Store(_)))
    }
}

impl std::error::Error for LogError {}

impl From<DiskError> for LogError {
    fn from(error: DiskError) -> LogError {
        let locked = error.op == Op::Lock && error.cause == Cause::Errno(libc::EWOULDBLOCK);
        if locked {
            let pid = error
                .path
                .parent()
                .and_then(crate::disk::files::lock_holder);
            LogError::InUse {
                path: error.path,
                pid,
            }
        } else if error.is_no_space() {
            LogError::NoSpace(error)
        } else {
            LogError::Disk(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_read_is_damage_and_a_short_write_is_not() {
        let short = |op| {
            LogError::Disk(DiskError {
                op,
                path: PathBuf::from("shard-0/0000000000.seg"),
                cause: Cause::Short {
                    got: 8192,
                    want: 16384,
                },
            })
        };
        assert!(short(Op::Read).is_damage());
        assert!(!short(Op::Write).is_damage());
    }
}
