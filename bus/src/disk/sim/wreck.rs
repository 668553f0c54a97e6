//! What a crash leaves: all that was durable, and of the rest whatever luck lets through.
//!
//! What may or may not have reached the disk is a row of *atoms*: each 512-byte sector of each
//! write that was not synced, and each name, removal or trim that was not. Any subset of the
//! atoms can survive. A test can try them all, or draw some.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::faults::{Fired, Kind, Random};
use crate::disk::files::segment_path;
use crate::disk::{DiskError, Files, Op};

/// The unit of tearing: a drive writes a sector whole or not at all.
pub(super) const SECTOR_BYTES: usize = 512;

/// Something that was done and not yet made durable.
#[derive(Clone, Debug)]
pub(super) enum Pending {
    /// Bytes.
    Write(Piece),
    /// A segment's name. Names are given in order: with `follows`, it cannot outlive the one
    /// before it.
    Name { segment: u64, follows: bool },
    /// A new segment's zeros: without them the file is short.
    Zeros { segment: u64 },
    /// A removal; what was removed.
    Removal { segment: u64, bytes: Vec<u8> },
    /// A trim; what was cut off.
    Trim { segment: u64, tail: Vec<u8> },
}

/// Bytes of one write.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) segment: u64,
    pub(super) offset: u64,
    pub(super) bytes: Vec<u8>,
    /// A sync of it failed: the kernel takes it for written, and no later sync writes it.
    pub(super) given_up: bool,
}

impl Piece {
    fn sectors(&self) -> usize {
        self.bytes.len() / SECTOR_BYTES
    }

    /// Puts what it has of a range of its file into `into`, which begins at `offset`.
    pub(super) fn show(&self, offset: u64, into: &mut [u8]) {
        show(self.offset, &self.bytes, offset, into);
    }
}

fn show(at: u64, bytes: &[u8], offset: u64, into: &mut [u8]) {
    let start = at.max(offset);
    let end = (at + bytes.len() as u64).min(offset + into.len() as u64);
    if start < end {
        let (from, to) = ((start - at) as usize, (start - offset) as usize);
        let len = (end - start) as usize;
        into[to..to + len].copy_from_slice(&bytes[from..from + len]);
    }
}

/// Puts a piece into its file, if that is there.
pub(super) fn put(files: &mut BTreeMap<u64, Vec<u8>>, segment: u64, offset: u64, bytes: &[u8]) {
    let Some(file) = files.get_mut(&segment) else {
        return;
    };
    let at = offset as usize;
    // A file that lost its zeros is shorter; the write made it longer again.
    if file.len() < at + bytes.len() {
        file.resize(at + bytes.len(), 0);
    }
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

impl Pending {
    fn atoms(&self) -> usize {
        match self {
            Pending::Write(piece) => piece.sectors(),
            Pending::Name { .. }
            | Pending::Zeros { .. }
            | Pending::Removal { .. }
            | Pending::Trim { .. } => 1,
        }
    }
}

/// A disk at the moment of a crash, before it is known what survives.
#[derive(Clone, Debug)]
pub struct Wreck {
    pub(super) files: BTreeMap<u64, Vec<u8>>,
    pub(super) pending: Vec<Pending>,
}

impl Wreck {
    /// How many atoms there are.
    pub fn atoms(&self) -> usize {
        self.pending.iter().map(Pending::atoms).sum()
    }

    /// How many atoms each thing that was not durable has, in the order they were done.
    pub fn operations(&self) -> Vec<usize> {
        self.pending.iter().map(Pending::atoms).collect()
    }

    /// What can be read if these atoms survive. Copies no file.
    pub fn image<'a>(&'a self, survives: &'a [bool]) -> Image<'a> {
        assert_eq!(survives.len(), self.atoms(), "one answer for each atom");
        Image {
            files: self.settled(survives),
            wreck: self,
            survives,
        }
    }

    /// The same as files of their own.
    pub(super) fn files(&self, survives: &[bool]) -> BTreeMap<u64, Vec<u8>> {
        let image = self.image(survives);
        let mut files = BTreeMap::new();
        for (&segment, shape) in &image.files {
            let mut bytes = vec![0; shape.len()];
            image
                .read(segment, 0, &mut bytes)
                .expect("all of it is there");
            files.insert(segment, bytes);
        }
        files
    }

    /// Which files there are, and how long they are, without looking at writes.
    fn settled<'a>(&'a self, survives: &'a [bool]) -> BTreeMap<u64, Shape<'a>> {
        let whole = |bytes| Shape {
            bytes,
            tail: &[],
            len_min: 0,
        };
        let mut files: BTreeMap<u64, Shape<'_>> = self
            .files
            .iter()
            .map(|(&segment, bytes)| (segment, whole(bytes)))
            .collect();
        let mut is_last_name_lost = false;
        for (pending, survives) in self.fates(survives) {
            match pending {
                Pending::Write(piece) => {
                    let last = survives.iter().rposition(|&survives| survives);
                    if let (Some(last), Some(file)) = (last, files.get_mut(&piece.segment)) {
                        let end = piece.offset as usize + (last + 1) * SECTOR_BYTES;
                        file.len_min = file.len_min.max(end);
                    }
                }
                Pending::Name { segment, follows } => {
                    let is_lost = !survives[0] || (*follows && is_last_name_lost);
                    is_last_name_lost = is_lost;
                    if is_lost {
                        files.remove(segment);
                    }
                }
                Pending::Zeros { segment } => {
                    if let Some(file) = files.get_mut(segment).filter(|_| !survives[0]) {
                        file.bytes = &file.bytes[..file.bytes.len() / 2];
                    }
                }
                Pending::Removal { segment, bytes } => {
                    if !survives[0] {
                        files.entry(*segment).or_insert(whole(bytes));
                    }
                }
                Pending::Trim { segment, tail } => {
                    if let Some(file) = files.get_mut(segment).filter(|_| !survives[0]) {
                        file.tail = tail;
                    }
                }
            }
        }
        files
    }

    /// Each thing with what becomes of its atoms.
    fn fates<'a>(
        &'a self,
        survives: &'a [bool],
    ) -> impl Iterator<Item = (&'a Pending, &'a [bool])> {
        let mut rest = survives;
        self.pending.iter().map(move |pending| {
            let (these, others) = rest.split_at(pending.atoms());
            rest = others;
            (pending, these)
        })
    }

    /// Draws what survives: of each write none, all, a front part, or any sectors.
    pub fn draw(&self, random: &mut Random) -> Vec<bool> {
        let mut survives = Vec::with_capacity(self.atoms());
        for pending in &self.pending {
            let atoms = pending.atoms();
            let how = random.below(4);
            let front = random.below(atoms as u64 + 1) as usize;
            survives.extend((0..atoms).map(|atom| match how {
                0 => false,
                1 => true,
                2 => atom < front,
                _ => random.one_in(2),
            }));
        }
        survives
    }

    /// Counts what happens if these atoms survive.
    pub fn count(&self, survives: &[bool], fired: &mut Fired) {
        fired.count(Kind::PowerCut);
        let mut is_one_lost = false;
        for (pending, survives) in self.fates(survives) {
            let kept = survives.iter().filter(|&&survives| survives).count();
            match pending {
                Pending::Write(_) => {
                    if kept > 0 && is_one_lost {
                        fired.count(Kind::ReorderedWrite);
                    }
                    if kept == 0 {
                        fired.count(Kind::LostWrite);
                    } else if kept < survives.len() {
                        fired.count(Kind::TornWrite);
                    }
                    is_one_lost |= kept < survives.len();
                }
                Pending::Name { .. } | Pending::Zeros { .. } if kept == 0 => {
                    fired.count(Kind::LostName);
                }
                Pending::Removal { .. } if kept == 0 => fired.count(Kind::UndoneRemoval),
                Pending::Trim { .. } if kept == 0 => fired.count(Kind::UndoneTrim),
                Pending::Name { .. }
                | Pending::Zeros { .. }
                | Pending::Removal { .. }
                | Pending::Trim { .. } => {}
            }
        }
    }
}

/// A file as far as it is made of bytes that need no copying.
#[derive(Clone, Copy, Debug)]
struct Shape<'a> {
    bytes: &'a [u8],
    tail: &'a [u8],
    len_min: usize,
}

impl Shape<'_> {
    fn len(&self) -> usize {
        (self.bytes.len() + self.tail.len()).max(self.len_min)
    }
}

/// What is on a disk after a crash.
#[derive(Clone, Debug)]
pub struct Image<'a> {
    wreck: &'a Wreck,
    survives: &'a [bool],
    files: BTreeMap<u64, Shape<'a>>,
}

impl Files for Image<'_> {
    fn list(&self) -> Result<Vec<u64>, DiskError> {
        Ok(self.files.keys().copied().collect())
    }

    fn len(&self, segment: u64) -> Result<u64, DiskError> {
        let file = self.files.get(&segment);
        file.map(|file| file.len() as u64)
            .ok_or_else(|| DiskError::new(Op::Open, self.path(segment), libc::ENOENT))
    }

    fn read(&self, segment: u64, offset: u64, into: &mut [u8]) -> Result<(), DiskError> {
        let got = self.len(segment)?.saturating_sub(offset);
        let want = into.len() as u64;
        if got < want {
            return Err(DiskError::short(Op::Read, self.path(segment), got, want));
        }
        let file = &self.files[&segment];
        into.fill(0);
        show(0, file.bytes, offset, into);
        show(file.bytes.len() as u64, file.tail, offset, into);
        for (pending, survives) in self.wreck.fates(self.survives) {
            let Pending::Write(piece) = pending else {
                continue;
            };
            if piece.segment != segment {
                continue;
            }
            let sectors = piece.bytes.chunks_exact(SECTOR_BYTES);
            let ats = (piece.offset..).step_by(SECTOR_BYTES);
            for ((sector, at), survives) in sectors.zip(ats).zip(survives) {
                if *survives {
                    show(at, sector, offset, into);
                }
            }
        }
        Ok(())
    }

    fn path(&self, segment: u64) -> PathBuf {
        segment_path("sim".as_ref(), segment)
    }
}
