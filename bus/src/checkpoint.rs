//! A state in a file: checkpoints and savepoints. Byte by byte in `CHECKPOINT.md`.
//!
//! A file appears under its name only when all of it is durable, so that there is the old one or
//! the new one, never half of one. The newest two are kept: the newest that was made, and the one
//! that it was made from, which is thereby known to be good.
//!
//! Knows nothing of what is in a state: see [`crate::state`].

use std::fmt;
use std::path::PathBuf;

use crate::disk::{DiskError, Folder};
use crate::planted::{self, Bug};
use crate::state::{Part, StateReader, StateSink, StateWriter, Versions};

/// The version of the container's format, which is not that of the program.
pub const FORMAT_VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"TAPECKPT";
const END_MAGIC: [u8; 8] = *b"TAPECEND";
const HEAD_BYTES: usize = 4096;
const FOOT_BYTES: usize = 32;
/// So much of the body has a checksum of its own, which says where damage is.
const BLOCK_BYTES: usize = 1 << 20;
const VERSIONS_AT: usize = 88;

/// What a checkpoint is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The log's own name.
    pub uuid: [u8; 16],
    /// The state is what the cells below this make.
    pub cell: u64,
    /// The `seq` of the last event in it.
    pub last_seq: u64,
    /// Which shard, of how many.
    pub shard: u32,
    /// How many there were.
    pub shards: u32,
    /// The program that made it.
    pub build_hash: u64,
    /// What of the configuration decides results.
    pub config_hash: u64,
    /// When it was made, by the machine's clock, ns since 1970.
    pub made_ns: i64,
    /// The layouts in it.
    pub versions: Versions,
}

impl Head {
    fn write(&self, page: &mut [u8; HEAD_BYTES]) -> u32 {
        page.fill(0);
        page[..8].copy_from_slice(&MAGIC);
        page[12..16].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        page[16..32].copy_from_slice(&self.uuid);
        page[32..40].copy_from_slice(&self.cell.to_le_bytes());
        page[40..48].copy_from_slice(&self.last_seq.to_le_bytes());
        page[48..52].copy_from_slice(&self.shard.to_le_bytes());
        page[52..56].copy_from_slice(&self.shards.to_le_bytes());
        page[56..64].copy_from_slice(&self.build_hash.to_le_bytes());
        page[64..72].copy_from_slice(&self.config_hash.to_le_bytes());
        page[72..80].copy_from_slice(&self.made_ns.to_le_bytes());
        page[80..82].copy_from_slice(&(Part::ALL.len() as u16).to_le_bytes());
        let versions = page[VERSIONS_AT..].chunks_mut(2);
        for (bytes, version) in versions.zip(self.versions.numbers()) {
            bytes.copy_from_slice(&version.to_le_bytes());
        }
        let checksum = head_checksum(page);
        page[8..12].copy_from_slice(&checksum.to_le_bytes());
        checksum
    }

    fn read(page: &[u8]) -> Result<Head, Fault> {
        if page[..8] != MAGIC {
            return Err(Fault::Damage(0, "`TAPECKPT`"));
        }
        if word(page, 8) != head_checksum(page) {
            return Err(Fault::Damage(8, "the checksum of its head"));
        }
        let version = word(page, 12);
        if version != FORMAT_VERSION {
            return Err(Fault::Version(version));
        }
        let parts = u16::from_le_bytes([page[80], page[81]]);
        if usize::from(parts) != Part::ALL.len() {
            return Err(Fault::Parts(parts));
        }
        let mut versions = [0; Part::ALL.len()];
        for (version, bytes) in versions.iter_mut().zip(page[VERSIONS_AT..].chunks(2)) {
            *version = u16::from_le_bytes([bytes[0], bytes[1]]);
        }
        Ok(Head {
            uuid: page[16..32].try_into().expect("16 bytes"),
            cell: long(page, 32),
            last_seq: long(page, 40),
            shard: word(page, 48),
            shards: word(page, 52),
            build_hash: long(page, 56),
            config_hash: long(page, 64),
            made_ns: long(page, 72) as i64,
            versions: Versions::read(versions)
                .map_err(|(part, found)| Fault::Layout(part, found))?,
        })
    }
}

/// A checkpoint that was read and whose checksums are good.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// What it is of.
    pub head: Head,
    /// The file.
    pub path: PathBuf,
    bytes: Vec<u8>,
    body_bytes: usize,
}

impl Checkpoint {
    /// Its state.
    pub fn state(&self) -> StateReader<'_> {
        let body = &self.bytes[HEAD_BYTES..HEAD_BYTES + self.body_bytes];
        StateReader::new(body, self.head.versions)
    }

    /// Looks through a file's bytes: nothing of it is believed unless all of it is right.
    pub fn parse(bytes: Vec<u8>, path: PathBuf) -> Result<Checkpoint, CheckpointError> {
        match check(&bytes) {
            Ok((head, body_bytes)) => Ok(Checkpoint {
                head,
                path,
                bytes,
                body_bytes,
            }),
            Err(fault) => Err(CheckpointError { path, fault }),
        }
    }
}

fn check(bytes: &[u8]) -> Result<(Head, usize), Fault> {
    let len = bytes.len();
    if len < HEAD_BYTES + FOOT_BYTES {
        return Err(Fault::Damage(len as u64, "a head and a foot"));
    }
    let head = Head::read(&bytes[..HEAD_BYTES])?;
    let foot_at = len - FOOT_BYTES;
    let foot = &bytes[foot_at..];
    if foot[..8] != END_MAGIC {
        return Err(Fault::Damage(foot_at as u64, "`TAPECEND`"));
    }
    let body_bytes = long(foot, 8);
    let blocks = body_bytes.div_ceil(BLOCK_BYTES as u64);
    let whole = (HEAD_BYTES + FOOT_BYTES) as u64;
    let want = blocks.checked_mul(4).and_then(|table| {
        let body = body_bytes.checked_add(table)?;
        body.checked_add(whole)
    });
    if want != Some(len as u64) {
        return Err(Fault::Damage(foot_at as u64 + 8, "the length of this file"));
    }
    let body_end = HEAD_BYTES + body_bytes as usize;
    let foot_checksum = crc32c::crc32c(&bytes[body_end..foot_at + 20]);
    let zeros = foot[24..] == [0; 8];
    if word(foot, 20) != foot_checksum || !zeros || word(foot, 16) != word(bytes, 8) {
        return Err(Fault::Damage(
            foot_at as u64 + 16,
            "the checksum of its end",
        ));
    }
    let body = bytes[HEAD_BYTES..body_end].chunks(BLOCK_BYTES);
    let table = bytes[body_end..foot_at].chunks(4);
    for (index, (block, want)) in body.zip(table).enumerate() {
        if crc32c::crc32c(block) != word(want, 0) {
            let at = HEAD_BYTES + index * BLOCK_BYTES;
            return Err(Fault::Damage(at as u64, "a block with its checksum"));
        }
    }
    Ok((head, body_bytes as usize))
}

/// A checkpoint that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// At this byte something else was wanted.
    Damage(u64, &'static str),
    /// The container's format is of another version.
    Version(u32),
    /// It has another number of parts.
    Parts(u16),
    /// A part has a layout that this program does not read.
    Layout(Part, u16),
    /// It could not be read.
    Disk(DiskError),
}

impl fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.fault {
            Fault::Damage(at, want) => write!(f, "{path}: damaged: want {want} at byte {at}"),
            Fault::Version(found) => write!(
                f,
                "{path}: checkpoint format version {found}, this program reads {FORMAT_VERSION}"
            ),
            Fault::Parts(found) => write!(
                f,
                "{path}: a state of {found} parts, this program knows {}",
                Part::ALL.len()
            ),
            Fault::Layout(part, found) => write!(
                f,
                "{path}: layout {found} of part `{}`, this program reads {} to {}",
                part.name(),
                Versions::OLDEST.of(*part),
                Versions::NEWEST.of(*part)
            ),
            Fault::Disk(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for CheckpointError {}

/// Writes a file whole: under another name, made durable, and only then given its own.
/// Returns its length.
pub fn write(
    folder: &mut impl Folder,
    name: &str,
    head: &Head,
    body: impl FnOnce(&mut StateWriter<'_>),
) -> Result<u64, DiskError> {
    let temporary = format!("{name}.tmp");
    folder.create(&temporary)?;
    crate::failpoint!("ckpt-created");
    let mut page = [0; HEAD_BYTES];
    let head_checksum = head.write(&mut page);
    folder.append(&temporary, &page)?;
    let mut blocks = Blocks {
        folder,
        name: &temporary,
        block: Vec::with_capacity(BLOCK_BYTES),
        body_bytes: 0,
        table: Vec::new(),
    };
    let mut state = StateWriter::new(&mut blocks, head.versions);
    body(&mut state);
    state.finish()?;
    blocks.end_block()?;
    let Blocks {
        folder,
        body_bytes,
        mut table,
        ..
    } = blocks;
    let mut foot = [0; FOOT_BYTES];
    foot[..8].copy_from_slice(&END_MAGIC);
    foot[8..16].copy_from_slice(&body_bytes.to_le_bytes());
    foot[16..20].copy_from_slice(&head_checksum.to_le_bytes());
    let table_checksum = crc32c::crc32c(&table);
    let checksum = crc32c::crc32c_append(table_checksum, &foot[..20]);
    foot[20..24].copy_from_slice(&checksum.to_le_bytes());
    table.extend_from_slice(&foot);
    folder.append(&temporary, &table)?;
    crate::failpoint!("ckpt-written");
    if planted::is(Bug::CheckpointRenamedBeforeSync) {
        folder.rename(&temporary, name)?;
        folder.sync(name)?;
        folder.sync_names()?;
        return Ok(HEAD_BYTES as u64 + body_bytes + table.len() as u64);
    }
    folder.sync(&temporary)?;
    crate::failpoint!("ckpt-synced");
    folder.rename(&temporary, name)?;
    crate::failpoint!("ckpt-renamed");
    folder.sync_names()?;
    crate::failpoint!("ckpt-durable");
    Ok(HEAD_BYTES as u64 + body_bytes + table.len() as u64)
}

/// Cuts a body into blocks on its way to the disk.
struct Blocks<'a, F> {
    folder: &'a mut F,
    name: &'a str,
    block: Vec<u8>,
    body_bytes: u64,
    table: Vec<u8>,
}

impl<F: Folder> Blocks<'_, F> {
    fn end_block(&mut self) -> Result<(), DiskError> {
        if self.block.is_empty() {
            return Ok(());
        }
        let checksum = crc32c::crc32c(&self.block);
        self.table.extend_from_slice(&checksum.to_le_bytes());
        self.body_bytes += self.block.len() as u64;
        self.folder.append(self.name, &self.block)?;
        self.block.clear();
        crate::failpoint!("ckpt-writing");
        Ok(())
    }
}

impl<F: Folder> StateSink for Blocks<'_, F> {
    fn put(&mut self, mut bytes: &[u8]) -> Result<(), DiskError> {
        while !bytes.is_empty() {
            let room = BLOCK_BYTES - self.block.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.block.extend_from_slice(now);
            bytes = later;
            if self.block.len() == BLOCK_BYTES {
                self.end_block()?;
            }
        }
        Ok(())
    }
}

/// The file name of a generation.
pub fn name_of(generation: u64) -> String {
    format!("{generation:010}.ckpt")
}

fn generation_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".ckpt")?;
    (digits.len() == 10).then(|| digits.parse().ok())?
}

/// The generations in a folder, oldest first.
pub fn generations(folder: &impl Folder) -> Result<Vec<u64>, DiskError> {
    let names = folder.list()?;
    Ok(names
        .iter()
        .filter_map(|name| generation_of(name))
        .collect())
}

/// Reads one generation.
pub fn load(folder: &impl Folder, generation: u64) -> Result<Checkpoint, CheckpointError> {
    let name = name_of(generation);
    let path = folder.path(&name);
    match folder.read(&name) {
        Ok(bytes) => Checkpoint::parse(bytes, path),
        Err(error) => Err(CheckpointError {
            path,
            fault: Fault::Disk(error),
        }),
    }
}

/// Writes a new generation, and when it is durable lets go of all but it and `base`, the one that
/// it was made from. Returns its number and length.
pub fn save(
    folder: &mut impl Folder,
    base: Option<u64>,
    head: &Head,
    body: impl FnOnce(&mut StateWriter<'_>),
) -> Result<(u64, u64), DiskError> {
    let newest = generations(folder)?.last().copied();
    let generation = newest.map_or(0, |newest| newest + 1);
    let bytes = write(folder, &name_of(generation), head, body)?;
    for name in folder.list()? {
        let is_kept = generation_of(&name).is_some_and(|g| g == generation || Some(g) == base);
        let is_ours = generation_of(&name).is_some() || name.ends_with(".ckpt.tmp");
        if is_ours && !is_kept {
            folder.remove(&name)?;
            crate::failpoint!("ckpt-removed");
        }
    }
    folder.sync_names()?;
    Ok((generation, bytes))
}

fn head_checksum(page: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&page[..8]), &page[12..HEAD_BYTES])
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{FolderFaults, SimFolder};

    fn head(cell: u64) -> Head {
        Head {
            uuid: *b"0123456789abcdef",
            cell,
            last_seq: 2,
            shard: 1,
            shards: 2,
            build_hash: 3,
            config_hash: 4,
            made_ns: -5,
            versions: Versions::NEWEST,
        }
    }

    fn body(out: &mut StateWriter<'_>, cell: u64, words: u64) {
        for word in 0..words {
            out.u64(word ^ cell);
        }
    }

    fn is_whole(found: &Checkpoint, words: u64) -> bool {
        let mut state = found.state();
        let cell = found.head.cell;
        (0..words).all(|word| state.u64() == Ok(word ^ cell)) && state.end().is_ok()
    }

    #[test]
    fn what_was_saved_is_loaded_and_the_newest_two_are_kept() {
        // Two blocks and a bit.
        let words = (2 * BLOCK_BYTES as u64 + 100) / 8;
        let mut folder = SimFolder::new(FolderFaults::default());
        let mut base = None;
        for cell in 10..14 {
            let (generation, _) = save(&mut folder, base, &head(cell), |out| {
                body(out, cell, words);
            })
            .unwrap();
            let found = load(&folder, generation).unwrap();
            assert_eq!(found.head, head(cell));
            assert!(is_whole(&found, words));
            base = Some(generation);
        }
        assert_eq!(generations(&folder), Ok(vec![2, 3]));
    }

    #[test]
    fn every_flipped_byte_and_every_cut_is_found() {
        let mut folder = SimFolder::new(FolderFaults::default());
        save(&mut folder, None, &head(9), |out| body(out, 9, 200)).unwrap();
        let bytes = folder.read(&name_of(0)).unwrap();
        for at in 0..bytes.len() {
            for mask in [1, 0x80, 0xff] {
                let mut bad = bytes.clone();
                bad[at] ^= mask;
                assert!(Checkpoint::parse(bad, "x".into()).is_err(), "byte {at}");
            }
            let cut = bytes[..at].to_vec();
            assert!(Checkpoint::parse(cut, "x".into()).is_err(), "cut at {at}");
        }
        for start in (0..bytes.len()).step_by(512) {
            let mut bad = bytes.clone();
            let end = (start + 512).min(bytes.len());
            // The end of the head is zeros already.
            if bad[start..end].iter().any(|&byte| byte != 0) {
                bad[start..end].fill(0);
                assert!(
                    Checkpoint::parse(bad, "x".into()).is_err(),
                    "sector {start}"
                );
            }
        }
        assert!(Checkpoint::parse(bytes, "x".into()).is_ok());
    }

    /// Saves three generations, with a crash after each number of operations; what is found then.
    fn crash_everywhere(faults: FolderFaults) -> Result<u32, String> {
        let mut states = 0;
        for fail_at in 1.. {
            for seed in 0..20 {
                let mut folder = SimFolder::new(FolderFaults {
                    fail: Some((fail_at, libc::EIO)),
                    ..faults
                });
                let mut durable = None;
                for cell in 1..4 {
                    let saved = save(&mut folder, durable, &head(cell), |out| {
                        body(out, cell, 300);
                    });
                    let Ok((generation, _)) = saved else { break };
                    durable = Some(generation);
                }
                if !folder.fired() {
                    return Ok(states);
                }
                states += 1;
                let after = folder.crash(seed, FolderFaults::default());
                let found = generations(&after).unwrap();
                for &generation in &found {
                    let loaded = load(&after, generation).map_err(|e| e.to_string())?;
                    if !is_whole(&loaded, 300) {
                        return Err("made up".into());
                    }
                }
                if durable > found.last().copied() {
                    return Err(format!("{durable:?} was durable, found {found:?}"));
                }
            }
        }
        unreachable!("some number of operations is enough")
    }

    #[test]
    fn after_any_crash_what_was_saved_is_there_and_whole() {
        let states = crash_everywhere(FolderFaults::default()).unwrap();
        assert!(states > 500, "{states} states");
    }

    #[test]
    fn a_disk_that_does_not_sync_is_noticed() {
        for faults in [
            FolderFaults {
                sync_lies: true,
                ..FolderFaults::default()
            },
            FolderFaults {
                sync_names_lies: true,
                ..FolderFaults::default()
            },
        ] {
            assert!(crash_everywhere(faults).is_err(), "{faults:?}");
        }
    }

    #[test]
    fn others_are_refused_by_name() {
        let mut folder = SimFolder::new(FolderFaults::default());
        save(&mut folder, None, &head(9), |_| {}).unwrap();
        let bytes = folder.read(&name_of(0)).unwrap();
        let changed = |at: usize, byte: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = byte;
            let checksum = head_checksum(&bytes).to_le_bytes();
            bytes[8..12].copy_from_slice(&checksum);
            let error = Checkpoint::parse(bytes, "x.ckpt".into()).unwrap_err();
            error.to_string()
        };
        assert_eq!(
            changed(12, 2),
            "x.ckpt: checkpoint format version 2, this program reads 1"
        );
        assert_eq!(
            changed(VERSIONS_AT + 2, 9),
            "x.ckpt: layout 9 of part `book`, this program reads 1 to 1"
        );
        assert_eq!(
            changed(80, 11),
            "x.ckpt: a state of 11 parts, this program knows 10"
        );
    }
}
