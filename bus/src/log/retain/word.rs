//! `RETAINED`: from where on a log is kept. One sector, replaced as a whole, so that a reader
//! sees the old word or the new one. Byte by byte in `FORMAT.md`.

use crate::disk::Files;
use crate::log::error::{Corruption, Damage, LogError};
use crate::log::frame::{long, word};

/// The file's name.
pub(crate) const NAME: &str = "RETAINED";
/// What a drive writes whole or not at all.
const BYTES: usize = 512;
const MAGIC: [u8; 8] = *b"TAPERET\n";
const VERSION: u32 = 1;

/// From where on a log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    /// The log's name.
    pub(crate) uuid: [u8; 16],
    /// Segments below this count for nothing, whether they are still there or not.
    pub(crate) from: u64,
    /// The first cell of that segment.
    pub(crate) first_cell: u64,
    /// Checksum of the reference file that goes with it.
    pub(crate) reference_crc: u32,
    /// When it was said, ns since 1970.
    pub(crate) said_ns: u64,
}

impl Word {
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = vec![0; BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[12..16].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.uuid);
        bytes[32..40].copy_from_slice(&self.from.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.first_cell.to_le_bytes());
        bytes[48..52].copy_from_slice(&self.reference_crc.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.said_ns.to_le_bytes());
        let crc = checksum(&bytes);
        bytes[8..12].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// What the log in `files` says; `None` where nothing was ever taken from it.
    pub(crate) fn of(files: &impl Files) -> Result<Option<Word>, LogError> {
        let Some(bytes) = files.beside(NAME)? else {
            return Ok(None);
        };
        let fits =
            bytes.len() == BYTES && bytes[..8] == MAGIC && word(&bytes, 8) == checksum(&bytes);
        if !fits {
            return Err(damaged(files, NAME, Damage::Beside));
        }
        let found = word(&bytes, 12);
        if found != VERSION {
            let path = files.path_beside(NAME);
            return Err(LogError::Version { path, found });
        }
        Ok(Some(Word {
            uuid: bytes[16..32].try_into().expect("16 bytes"),
            from: long(&bytes, 32),
            first_cell: long(&bytes, 40),
            reference_crc: word(&bytes, 48),
            said_ns: long(&bytes, 56),
        }))
    }
}

fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[..8]), &bytes[12..])
}

pub(crate) fn damaged(files: &impl Files, name: &str, damage: Damage) -> LogError {
    LogError::Corrupt(Box::new(Corruption {
        path: files.path_beside(name),
        segment: 0,
        offset: 0,
        cell: 0,
        damage,
    }))
}
