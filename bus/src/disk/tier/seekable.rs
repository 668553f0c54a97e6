//! A segment in zstd that can be read from anywhere.
//!
//! Chunks, each a zstd frame of its own, then a table of where they are in a frame that zstd
//! skips: the *seekable format* that zstd's `contrib` describes. So reading takes the memory of
//! one chunk, and `zstd -d` gives the segment back without any of our code. The first chunk is
//! one page, because most of what is read of a cold segment is its header.

use std::path::Path;

use crate::disk::{Cause, DiskError, Files, Op, PAGE_BYTES};

const CHUNK_BYTES: usize = 1 << 20;
/// Cold data is read rarely, and written off the hot path: zstd's usual level.
const LEVEL: i32 = 3;
const SKIPPABLE_MAGIC: u32 = 0x184d_2a5e;
const TABLE_MAGIC: u32 = 0x8f92_eab1;
const FOOTER_BYTES: u64 = 9;
const ENTRY_BYTES: u64 = 8;
const SKIPPABLE_HEAD_BYTES: u64 = 8;

/// Takes bytes one piece after the other.
pub type Sink<'a> = dyn FnMut(&[u8]) -> Result<(), DiskError> + 'a;

/// Compresses a whole segment file into `sink`.
pub(crate) fn compress(files: &dyn Files, segment: u64, sink: &mut Sink) -> Result<(), DiskError> {
    let path = files.path(segment);
    let fail = |error| DiskError::io(Op::Write, &path, &error);
    let mut compressor = zstd::bulk::Compressor::new(LEVEL).map_err(fail)?;
    compressor.include_checksum(true).map_err(fail)?;
    let len = files.len(segment)?;
    let mut plain = vec![0; CHUNK_BYTES];
    let mut packed = vec![0; zstd::zstd_safe::compress_bound(CHUNK_BYTES)];
    let mut table = Vec::new();
    let mut at = 0;
    while at < len {
        let wanted = if at == 0 { PAGE_BYTES } else { CHUNK_BYTES };
        let plain = &mut plain[..(len - at).min(wanted as u64) as usize];
        files.read(segment, at, plain)?;
        let bytes = compressor
            .compress_to_buffer(plain, &mut packed)
            .map_err(fail)?;
        sink(&packed[..bytes])?;
        table.extend_from_slice(&(bytes as u32).to_le_bytes());
        table.extend_from_slice(&(plain.len() as u32).to_le_bytes());
        at += plain.len() as u64;
    }
    let count = (table.len() as u64 / ENTRY_BYTES) as u32;
    table.extend_from_slice(&count.to_le_bytes());
    table.push(0);
    table.extend_from_slice(&TABLE_MAGIC.to_le_bytes());
    sink(&SKIPPABLE_MAGIC.to_le_bytes())?;
    sink(&(table.len() as u32).to_le_bytes())?;
    sink(&table)
}

/// A compressed segment that is being read; `read` fetches ranges of the compressed bytes.
#[derive(Debug)]
pub(crate) struct Seekable {
    /// Where each chunk begins, compressed and plain; last where they end.
    starts: Vec<(u64, u64)>,
    /// The chunk that `plain` holds.
    current: Option<usize>,
    plain: Vec<u8>,
    packed: Vec<u8>,
}

/// Fetches a range of compressed bytes.
pub(crate) type Fetch<'a> = dyn Fn(u64, &mut [u8]) -> Result<(), DiskError> + 'a;

fn bad(path: &Path, what: &'static str) -> DiskError {
    DiskError {
        op: Op::Read,
        path: path.to_owned(),
        cause: Cause::Bytes(what),
    }
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes[..4].try_into().expect("four bytes"))
}

impl Seekable {
    /// Reads the table of a compressed segment of `len` bytes.
    pub(crate) fn open(path: &Path, len: u64, fetch: &Fetch) -> Result<Seekable, DiskError> {
        let no_table = || bad(path, "it has no table of chunks");
        let mut footer = [0; FOOTER_BYTES as usize];
        let footer_at = len.checked_sub(FOOTER_BYTES).ok_or_else(no_table)?;
        fetch(footer_at, &mut footer)?;
        let entries_bytes = u64::from(word(&footer)) * ENTRY_BYTES;
        let head_at = footer_at
            .checked_sub(entries_bytes + SKIPPABLE_HEAD_BYTES)
            .filter(|_| footer[4] == 0 && word(&footer[5..]) == TABLE_MAGIC)
            .ok_or_else(no_table)?;
        let mut table = vec![0; (SKIPPABLE_HEAD_BYTES + entries_bytes) as usize];
        fetch(head_at, &mut table)?;
        let (head, entries) = table.split_at(SKIPPABLE_HEAD_BYTES as usize);
        let is_head = word(head) == SKIPPABLE_MAGIC
            && u64::from(word(&head[4..])) == entries_bytes + FOOTER_BYTES;
        let (mut packed_at, mut plain_at) = (0, 0);
        let mut starts = vec![(0, 0)];
        for entry in entries.chunks_exact(ENTRY_BYTES as usize) {
            let (packed, plain) = (word(entry), word(&entry[4..]));
            // What no writer of ours makes is not believed: it would say how much memory to take.
            if plain as usize > CHUNK_BYTES || u64::from(packed) > head_at {
                return Err(bad(path, "its table of chunks makes no sense"));
            }
            packed_at += u64::from(packed);
            plain_at += u64::from(plain);
            starts.push((packed_at, plain_at));
        }
        if !is_head || packed_at != head_at {
            return Err(bad(path, "its table of chunks makes no sense"));
        }
        Ok(Seekable {
            starts,
            current: None,
            plain: Vec::new(),
            packed: Vec::new(),
        })
    }

    /// How long the segment is.
    pub(crate) fn len(&self) -> u64 {
        self.starts.last().expect("it ends somewhere").1
    }

    /// Fills `into` from the segment.
    pub(crate) fn read(
        &mut self,
        path: &Path,
        fetch: &Fetch,
        offset: u64,
        into: &mut [u8],
    ) -> Result<(), DiskError> {
        let end = offset.saturating_add(into.len() as u64);
        if end > self.len() {
            let got = self.len().saturating_sub(offset);
            return Err(DiskError::short(Op::Read, path, got, into.len() as u64));
        }
        let mut at = offset;
        while at < end {
            let index = self.starts.partition_point(|&(_, plain)| plain <= at) - 1;
            self.load(path, fetch, index)?;
            let skip = (at - self.starts[index].1) as usize;
            let len = (self.plain.len() - skip).min((end - at) as usize);
            let to = (at - offset) as usize;
            into[to..to + len].copy_from_slice(&self.plain[skip..skip + len]);
            at += len as u64;
        }
        Ok(())
    }

    fn load(&mut self, path: &Path, fetch: &Fetch, index: usize) -> Result<(), DiskError> {
        if self.current == Some(index) {
            return Ok(());
        }
        self.current = None;
        let ((packed_at, plain_at), (packed_end, plain_end)) =
            (self.starts[index], self.starts[index + 1]);
        self.packed.resize((packed_end - packed_at) as usize, 0);
        self.plain.resize((plain_end - plain_at) as usize, 0);
        fetch(packed_at, &mut self.packed)?;
        let plain = zstd::bulk::decompress_to_buffer(&self.packed, &mut self.plain);
        if plain.ok() != Some(self.plain.len()) {
            return Err(bad(
                path,
                "a chunk does not decompress to what was compressed",
            ));
        }
        self.current = Some(index);
        Ok(())
    }
}
