//! The frame: what one write to the log carries. Byte by byte in `FORMAT.md`.

use crate::disk::{CELL_BYTES, PAGE_BYTES};

/// The layout of the cells: `Event` and `Signal` as in this version of this crate.
pub const RECORD_SCHEMA: u16 = 1;

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// Carries cells.
    Cells = 1,
    /// The last frame of its segment; carries none.
    Seal = 2,
    /// Carries none: only says how much was durable, when nothing else will for a while.
    Mark = 3,
}

/// Set in the seal of a log that was ended in order.
pub const FLAG_FINAL: u8 = 1;

/// The first 64 bytes of a frame, without its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Header, cells and padding.
    pub frame_bytes: u32,
    /// The number of its first cell.
    pub first_cell: u64,
    /// Cells below this were durable when the frame was written.
    pub durable_upto: u64,
    /// How many cells it carries.
    pub cell_count: u32,
    /// The checksum of the frame before it, or of the segment's header.
    pub prev_crc: u32,
    /// Its segment's salt.
    pub salt: u32,
    /// Its segment's epoch.
    pub epoch: u32,
    /// Its segment's number.
    pub segment: u64,
    /// Which page of the segment it begins at.
    pub page: u32,
    /// What it is for.
    pub kind: u8,
    /// See [`FLAG_FINAL`].
    pub flags: u8,
    /// The layout of its cells.
    pub schema: u16,
}

/// How many bytes a frame with this many cells takes.
pub const fn frame_bytes(cell_count: usize) -> usize {
    ((cell_count + 1) * CELL_BYTES).next_multiple_of(PAGE_BYTES)
}

/// How many cells fit into a frame of so many bytes.
pub const fn frame_cells(bytes: usize) -> usize {
    bytes / CELL_BYTES - 1
}

impl FrameHeader {
    /// Writes the header into `frame`, clears what follows the cells, and seals all of it with
    /// the checksum that is returned.
    pub fn close(&self, frame: &mut [u8]) -> u32 {
        let cells_end = (self.cell_count as usize + 1) * CELL_BYTES;
        assert_eq!(
            frame.len(),
            self.frame_bytes as usize,
            "the frame is as long as it says"
        );
        assert!(cells_end <= frame.len(), "the cells fit");
        frame[cells_end..].fill(0);
        let head = &mut frame[..CELL_BYTES];
        head[4..8].copy_from_slice(&self.frame_bytes.to_le_bytes());
        head[8..16].copy_from_slice(&self.first_cell.to_le_bytes());
        head[16..24].copy_from_slice(&self.durable_upto.to_le_bytes());
        head[24..28].copy_from_slice(&self.cell_count.to_le_bytes());
        head[28..32].copy_from_slice(&self.prev_crc.to_le_bytes());
        head[32..36].copy_from_slice(&self.salt.to_le_bytes());
        head[36..40].copy_from_slice(&self.epoch.to_le_bytes());
        head[40..48].copy_from_slice(&self.segment.to_le_bytes());
        head[48..52].copy_from_slice(&self.page.to_le_bytes());
        head[52] = self.kind;
        head[53] = self.flags;
        head[54..56].copy_from_slice(&self.schema.to_le_bytes());
        head[56..64].fill(0);
        let crc = checksum(self.salt, frame);
        frame[..4].copy_from_slice(&crc.to_le_bytes());
        crc
    }

    /// Reads the header at the start of `page`, if it is one at all: lengths that agree, in a
    /// frame of at most `frame_bytes_max`. Says nothing about the checksum.
    pub fn read(page: &[u8], frame_bytes_max: usize) -> Option<FrameHeader> {
        let header = FrameHeader {
            frame_bytes: word(page, 4),
            first_cell: long(page, 8),
            durable_upto: long(page, 16),
            cell_count: word(page, 24),
            prev_crc: word(page, 28),
            salt: word(page, 32),
            epoch: word(page, 36),
            segment: long(page, 40),
            page: word(page, 48),
            kind: page[52],
            flags: page[53],
            schema: u16::from_le_bytes([page[54], page[55]]),
        };
        let bytes = header.frame_bytes as usize;
        let lengths_agree = bytes.is_multiple_of(PAGE_BYTES)
            && (PAGE_BYTES..=frame_bytes_max).contains(&bytes)
            && header.cell_count as usize <= frame_cells(bytes);
        lengths_agree.then_some(header)
    }

    /// The number of the first cell after the frame.
    pub fn end_cell(&self) -> u64 {
        self.first_cell + u64::from(self.cell_count)
    }
}

/// The checksum that a frame should have: over all of it but the checksum itself, begun with the
/// segment's salt, so that bytes of another segment never pass.
pub(super) fn checksum(salt: u32, frame: &[u8]) -> u32 {
    crc32c::crc32c_append(salt, &frame[4..])
}

/// The checksum that a frame has.
pub(super) fn stored_checksum(frame: &[u8]) -> u32 {
    word(frame, 0)
}

pub(super) fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub(super) fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_its_bytes_and_every_flipped_bit_shows() {
        let header = FrameHeader {
            frame_bytes: 4096,
            first_cell: 7,
            durable_upto: 5,
            cell_count: 3,
            prev_crc: 0xdead_beef,
            salt: 0x1234_5678,
            epoch: 2,
            segment: 9,
            page: 11,
            kind: FrameKind::Cells as u8,
            flags: FLAG_FINAL,
            schema: RECORD_SCHEMA,
        };
        let mut frame = vec![0xaa; 4096];
        let crc = header.close(&mut frame);
        assert_eq!(FrameHeader::read(&frame, 4096), Some(header));
        assert_eq!(stored_checksum(&frame), crc);
        for at in 0..frame.len() {
            frame[at] ^= 1 << (at % 8);
            assert_ne!(
                stored_checksum(&frame),
                checksum(header.salt, &frame),
                "byte {at}"
            );
            frame[at] ^= 1 << (at % 8);
        }
        assert_ne!(stored_checksum(&frame), checksum(header.salt + 1, &frame));
    }

    #[test]
    fn lengths_that_do_not_agree_are_no_header() {
        let read = |frame_bytes: u32, cell_count: u32| {
            let mut page = [0; 64];
            page[4..8].copy_from_slice(&frame_bytes.to_le_bytes());
            page[24..28].copy_from_slice(&cell_count.to_le_bytes());
            FrameHeader::read(&page, 8192).is_some()
        };
        assert!(read(4096, 63) && read(8192, 127));
        assert!(!read(0, 0) && !read(4096, 64) && !read(4097, 1) && !read(12288, 1));
        assert!(!read(u32::MAX, 1) && !read(4096, u32::MAX));
    }
}
