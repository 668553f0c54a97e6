//! What goes wrong on a simulated disk, and how often it did.

use std::fmt;

use crate::disk::Op;

/// What goes wrong, besides crashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// The operation with this number (from 1, in the order they are asked for; a write and its
    /// sync are two, making a segment is five) fails with this.
    pub fail: Option<(u64, Fault)>,
    /// Preparing a segment that would take more than this fails with ENOSPC.
    pub capacity_bytes: Option<u64>,
    /// A sync says it worked and did nothing: for showing that a test would notice.
    pub sync_lies: bool,
    /// An operation takes up to this many steps.
    pub steps_max: u64,
    /// One operation in so many takes a hundred times as long; 0 for none.
    pub stall_one_in: u64,
}

/// One way to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// EIO. Of what a failed write wrote, any sectors may be there; what else failed may still
    /// have happened.
    Io,
    /// ENOSPC.
    NoSpace,
    /// A write ends early; what is not a write fails with EIO.
    Short,
    /// A read succeeds, with one bit wrong; what is not a read is not hurt.
    Flip,
}

/// How often each fault happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fired([u64; KINDS.len()]);

/// Each kind of fault, in words.
const KINDS: [(Kind, &str); 19] = [
    (Kind::PowerCut, "power cuts"),
    (Kind::ProcessKill, "process kills"),
    (Kind::CutInWrite, "power cuts inside a write"),
    (Kind::TornWrite, "torn writes"),
    (Kind::LostWrite, "lost writes"),
    (Kind::ReorderedWrite, "writes that outlived an earlier one"),
    (Kind::LostName, "lost file names"),
    (Kind::UndoneRemoval, "removals undone"),
    (Kind::UndoneTrim, "trims undone"),
    (Kind::FailedPrepare, "failed steps of making a segment"),
    (Kind::FailedWrite, "failed writes"),
    (Kind::ShortWrite, "short writes"),
    (Kind::FullWrite, "writes to a full disk"),
    (Kind::FullPrepare, "segments refused by a full disk"),
    (Kind::FailedSync, "failed syncs"),
    (Kind::FailedRead, "failed reads, lists and opens"),
    (Kind::FailedRemoval, "failed removals and trims"),
    (Kind::FlippedBit, "flipped bits"),
    (Kind::Stall, "stalls"),
];

/// One kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    PowerCut,
    ProcessKill,
    CutInWrite,
    TornWrite,
    LostWrite,
    ReorderedWrite,
    LostName,
    UndoneRemoval,
    UndoneTrim,
    FailedPrepare,
    FailedWrite,
    ShortWrite,
    FullWrite,
    FullPrepare,
    FailedSync,
    FailedRead,
    FailedRemoval,
    FlippedBit,
    Stall,
}

impl Fired {
    pub(super) fn count(&mut self, kind: Kind) {
        self.0[kind as usize] += 1;
    }

    /// How often this happened.
    pub fn of(&self, kind: Kind) -> u64 {
        self.0[kind as usize]
    }

    /// Those of another disk too.
    pub fn add(&mut self, other: &Fired) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }

    /// The kinds that never happened.
    pub fn missing(&self) -> impl Iterator<Item = Kind> + '_ {
        let kinds = KINDS.iter().map(|(kind, _)| *kind);
        kinds.filter(|&kind| self.of(kind) == 0)
    }
}

impl fmt::Display for Fired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, name) in KINDS.into_iter().filter(|(kind, _)| self.of(*kind) > 0) {
            writeln!(f, "{:>12} {name}", self.of(kind))?;
        }
        Ok(())
    }
}

/// Under which kind a failure counts.
pub(super) fn kind_of(op: Op, fault: Fault) -> Kind {
    match (op, fault) {
        (_, Fault::Flip) => Kind::FlippedBit,
        (Op::Prepare, Fault::NoSpace) => Kind::FullPrepare,
        (Op::Prepare, Fault::Io | Fault::Short) => Kind::FailedPrepare,
        (Op::Write, Fault::Io) => Kind::FailedWrite,
        (Op::Write, Fault::NoSpace) => Kind::FullWrite,
        (Op::Write, Fault::Short) => Kind::ShortWrite,
        (Op::Sync, Fault::Io | Fault::NoSpace | Fault::Short) => Kind::FailedSync,
        (Op::Open | Op::List | Op::Lock | Op::Read, _) => Kind::FailedRead,
        (Op::Remove | Op::Rename | Op::Trim, _) => Kind::FailedRemoval,
    }
}

/// SplitMix64: small, seeded, and good enough to choose sectors.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next 64 bits.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// True once in `bound` times, which is not zero.
    pub fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_own_count() {
        for (index, (kind, _)) in KINDS.iter().enumerate() {
            assert_eq!(*kind as usize, index);
        }
    }
}
