//! The segment's first page. Byte by byte in `FORMAT.md`.

use super::frame::{long, word};
use super::schema::SCHEMA;
use crate::disk::PAGE_BYTES;

/// The version of the format of the files, which is not that of the program.
pub const FORMAT_VERSION: u32 = 2;

/// The oldest that is still read. It does not say what its records look like.
pub const FORMAT_VERSION_MIN: u32 = 1;

const SCHEMA_LEN_AT: usize = 112;
const SCHEMA_AT: usize = 120;
const _: () = assert!(SCHEMA_AT + SCHEMA.len() <= PAGE_BYTES);

const MAGIC: [u8; 8] = *b"TAPELOG\n";

/// Where the log stood when a segment was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Before {
    /// How the segment before this one ended.
    pub how: BeforeEnd,
    /// Where in its file it ended.
    pub end_bytes: u64,
    /// The checksum of its last frame, or of its header if it has none.
    pub crc: u32,
}

/// How the segment before ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum BeforeEnd {
    /// There is none: this is the log's first.
    None = 0,
    /// With a seal.
    Sealed = 1,
    /// A recovery cut it: what follows `end_bytes` counts for nothing.
    Cut = 2,
}

/// What the first page of a segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The version of its format.
    pub version: u32,
    /// The same in every segment of a log.
    pub uuid: [u8; 16],
    /// Its number, from 0, as in its file name.
    pub segment: u64,
    /// The number of its first cell.
    pub first_cell: u64,
    /// What every checksum in it begins with.
    pub salt: u32,
    /// How many writers the log had before: 0, 1, 2 ...
    pub epoch: u32,
    /// Where the log stood.
    pub before: Before,
    /// How long the file is.
    pub segment_bytes: u64,
    /// How long a frame can be in it.
    pub frame_bytes_max: u32,
    /// How many frames could be under way at once.
    pub frames_in_flight_max: u32,
    /// The program that wrote it.
    pub build_hash: u64,
    /// The configuration that it ran with.
    pub config_hash: u64,
    /// Segments below this may have been deleted.
    pub retained_from: u64,
}

/// What a first page turns out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page0 {
    /// All zeros: the segment was prepared and not yet begun.
    Unused,
    /// A header, and its checksum.
    Header(SegmentHeader, u32),
    /// A header of another version of the format.
    Version(u32),
    /// Neither.
    Bad,
}

impl SegmentHeader {
    /// The salt of a segment: different for every segment of every log and every writer.
    pub fn salt(uuid: &[u8; 16], segment: u64, epoch: u32) -> u32 {
        let crc = crc32c::crc32c(uuid);
        let crc = crc32c::crc32c_append(crc, &segment.to_le_bytes());
        crc32c::crc32c_append(crc, &epoch.to_le_bytes())
    }

    /// Fills the page and returns its checksum.
    pub fn write(&self, page: &mut [u8]) -> u32 {
        assert_eq!(page.len(), PAGE_BYTES, "a header is one page");
        page.fill(0);
        page[..8].copy_from_slice(&MAGIC);
        page[12..16].copy_from_slice(&self.version.to_le_bytes());
        page[16..32].copy_from_slice(&self.uuid);
        page[32..40].copy_from_slice(&self.segment.to_le_bytes());
        page[40..48].copy_from_slice(&self.first_cell.to_le_bytes());
        page[48..52].copy_from_slice(&self.salt.to_le_bytes());
        page[52..56].copy_from_slice(&self.epoch.to_le_bytes());
        page[56..60].copy_from_slice(&self.before.crc.to_le_bytes());
        page[60..64].copy_from_slice(&(self.before.how as u32).to_le_bytes());
        page[64..72].copy_from_slice(&self.before.end_bytes.to_le_bytes());
        page[72..80].copy_from_slice(&self.segment_bytes.to_le_bytes());
        page[80..84].copy_from_slice(&self.frame_bytes_max.to_le_bytes());
        page[84..88].copy_from_slice(&self.frames_in_flight_max.to_le_bytes());
        page[88..96].copy_from_slice(&self.build_hash.to_le_bytes());
        page[96..104].copy_from_slice(&self.config_hash.to_le_bytes());
        page[104..112].copy_from_slice(&self.retained_from.to_le_bytes());
        if self.version > 1 {
            let len = SCHEMA.len() as u32;
            page[SCHEMA_LEN_AT..][..4].copy_from_slice(&len.to_le_bytes());
            page[SCHEMA_AT..][..SCHEMA.len()].copy_from_slice(SCHEMA.as_bytes());
        }
        let crc = checksum(page);
        page[8..12].copy_from_slice(&crc.to_le_bytes());
        crc
    }

    /// What this first page is.
    pub fn read(page: &[u8]) -> Page0 {
        assert_eq!(page.len(), PAGE_BYTES, "a header is one page");
        if page.iter().all(|&byte| byte == 0) {
            return Page0::Unused;
        }
        let crc = word(page, 8);
        // Magic, checksum and version stand where they do in every version.
        if page[..8] != MAGIC || crc != checksum(page) {
            return Page0::Bad;
        }
        let version = word(page, 12);
        if !(FORMAT_VERSION_MIN..=FORMAT_VERSION).contains(&version) {
            return Page0::Version(version);
        }
        let how = match word(page, 60) {
            0 => BeforeEnd::None,
            1 => BeforeEnd::Sealed,
            2 => BeforeEnd::Cut,
            _ => return Page0::Bad,
        };
        let header = SegmentHeader {
            version,
            uuid: page[16..32].try_into().expect("16 bytes"),
            segment: long(page, 32),
            first_cell: long(page, 40),
            salt: word(page, 48),
            epoch: word(page, 52),
            before: Before {
                how,
                end_bytes: long(page, 64),
                crc: word(page, 56),
            },
            segment_bytes: long(page, 72),
            frame_bytes_max: word(page, 80),
            frames_in_flight_max: word(page, 84),
            build_hash: long(page, 88),
            config_hash: long(page, 96),
            retained_from: long(page, 104),
        };
        Page0::Header(header, crc)
    }

    /// What the records of a segment with this first page look like, as it says. Version 1 does
    /// not; its records are those of [`SCHEMA`] where each kind has version 1. `None` where the
    /// page says it in a way that no version does.
    pub fn schema(page: &[u8]) -> Option<&str> {
        if word(page, 12) == 1 {
            return Some("");
        }
        let len = word(page, SCHEMA_LEN_AT) as usize;
        std::str::from_utf8(page[SCHEMA_AT..].get(..len)?).ok()
    }

    /// The furthest byte from `offset` that a writer could have touched while the frame at
    /// `offset` was not yet durable: all frames under way, and a seal.
    pub fn reach(&self, offset: u64) -> u64 {
        let frames = u64::from(self.frames_in_flight_max) * u64::from(self.frame_bytes_max);
        (offset + frames + PAGE_BYTES as u64).min(self.segment_bytes)
    }
}

fn checksum(page: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&page[..8]), &page[12..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_its_bytes_and_every_flipped_bit_shows() {
        let header = SegmentHeader {
            version: FORMAT_VERSION,
            uuid: *b"0123456789abcdef",
            segment: 3,
            first_cell: 4,
            salt: 5,
            epoch: 6,
            before: Before {
                how: BeforeEnd::Cut,
                end_bytes: 8192,
                crc: 7,
            },
            segment_bytes: 1 << 20,
            frame_bytes_max: 65536,
            frames_in_flight_max: 4,
            build_hash: 8,
            config_hash: 9,
            retained_from: 0,
        };
        let mut page = vec![0; PAGE_BYTES];
        assert_eq!(SegmentHeader::read(&page), Page0::Unused);
        let crc = header.write(&mut page);
        assert_eq!(SegmentHeader::read(&page), Page0::Header(header, crc));
        assert_eq!(SegmentHeader::schema(&page), Some(SCHEMA));
        for at in 0..PAGE_BYTES {
            page[at] ^= 1 << (at % 8);
            assert_eq!(SegmentHeader::read(&page), Page0::Bad, "byte {at}");
            page[at] ^= 1 << (at % 8);
        }
    }

    #[test]
    fn another_version_is_told_from_damage() {
        let mut page = vec![0; PAGE_BYTES];
        page[..8].copy_from_slice(&MAGIC);
        for version in [0, 3, 255] {
            page[12] = version;
            let crc = checksum(&page);
            page[8..12].copy_from_slice(&crc.to_le_bytes());
            assert_eq!(SegmentHeader::read(&page), Page0::Version(version.into()));
        }
    }
}
