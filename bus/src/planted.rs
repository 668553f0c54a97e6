//! Faults planted on purpose, to show that the tests would catch them.
//!
//! A test that cannot fail proves nothing. Each [`Bug`] stands at the place where a programmer
//! could have made it; `tests/planted.rs` switches them on one by one, and each has to be caught.
//! Without the feature `planted`, [`is`] is a constant `false`, and the compiler leaves nothing
//! of it.

/// A fault that can be switched on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// A sync is not done, and said to be.
    SyncSkipped,
    /// A frame's checksum is not compared.
    ChecksumSkipped,
    /// A new segment's name is not made durable.
    DirectorySyncSkipped,
    /// A sync that failed is tried again, and believed.
    SyncRetried,
    /// A write that ended early counts as whole.
    ShortWriteAccepted,
    /// A prepared segment of an earlier writer is used before its name is durable.
    AdoptedOnTrust,
    /// A frame counts as durable although one before it does not.
    DurableOutOfOrder,
    /// A frame says that all before it is durable, while some of it is under way.
    ClaimsTooMuch,
    /// After an error the log goes on.
    ErrorForgotten,
    /// A segment is begun before all of the one before is durable.
    HeaderBeforeDurable,
    /// A new writer begins one cell too early.
    CellOffByOne,
    /// What the page cache shows of a killed writer's log is taken for durable.
    SettleSkipped,
    /// What could not be read counts as the log's end.
    ReadErrorIsEnd,
    /// What stands after the last good frame is not looked at.
    DamageTakenForTorn,
    /// What stands after a seal is not looked at.
    SealUnchecked,
    /// That a frame follows from the one before is not checked.
    ChainUnchecked,
    /// Order ids are made from the time of day.
    IdsFromClock,
    /// An order leaves before its cause is durable.
    SendBeforeDurable,
    /// An order is said to be sent while it is still in this process.
    SentBeforeItLeft,
    /// After a crash, orders in doubt are dropped.
    DoubtForgotten,
    /// After a crash, orders in doubt go out as if for the first time.
    DoubtUnflagged,
    /// A resumed input leaves out the first event that the log does not have.
    ResumeSkipsOne,
    /// A resumed input repeats the last event that the log has.
    ResumeRepeatsOne,
    /// A checkpoint gets its name before its bytes are durable.
    CheckpointRenamedBeforeSync,
    /// What the log has behind a checkpoint is not replayed.
    CheckpointWithoutTail,
    /// A checkpoint's open windows are dropped.
    WindowNotRestored,
    /// A checkpoint's counts of orders per second are dropped.
    RiskNotRestored,
    /// Orders that were sent beyond a savepoint are forgotten.
    AheadForgotten,
    /// A price keeps one more than what is taken from its orders leaves.
    LevelQtyOff,
    /// A price loses twice what is taken from its orders.
    LevelTakenTwice,
    /// An order counts twice at its price.
    LevelCountOff,
    /// A price that is far from the best one is put behind all others.
    FarPriceMisplaced,
    /// A best price that is gone stays the best.
    BestKept,
    /// An order that is deleted stays.
    DeleteForgotten,
}

impl Bug {
    /// All of them.
    pub const ALL: [Bug; 34] = [
        Bug::SyncSkipped,
        Bug::ChecksumSkipped,
        Bug::DirectorySyncSkipped,
        Bug::SyncRetried,
        Bug::ShortWriteAccepted,
        Bug::AdoptedOnTrust,
        Bug::DurableOutOfOrder,
        Bug::ClaimsTooMuch,
        Bug::ErrorForgotten,
        Bug::HeaderBeforeDurable,
        Bug::CellOffByOne,
        Bug::SettleSkipped,
        Bug::ReadErrorIsEnd,
        Bug::DamageTakenForTorn,
        Bug::SealUnchecked,
        Bug::ChainUnchecked,
        Bug::IdsFromClock,
        Bug::SendBeforeDurable,
        Bug::SentBeforeItLeft,
        Bug::DoubtForgotten,
        Bug::DoubtUnflagged,
        Bug::ResumeSkipsOne,
        Bug::ResumeRepeatsOne,
        Bug::CheckpointRenamedBeforeSync,
        Bug::CheckpointWithoutTail,
        Bug::WindowNotRestored,
        Bug::RiskNotRestored,
        Bug::AheadForgotten,
        Bug::LevelQtyOff,
        Bug::LevelTakenTwice,
        Bug::LevelCountOff,
        Bug::FarPriceMisplaced,
        Bug::BestKept,
        Bug::DeleteForgotten,
    ];
}

/// Whether the bug is there.
#[cfg(not(feature = "planted"))]
#[inline(always)]
pub const fn is(_bug: Bug) -> bool {
    false
}

#[cfg(feature = "planted")]
pub use on::{Planted, is, plant};

#[cfg(feature = "planted")]
mod on {
    use std::cell::Cell;

    use super::Bug;

    thread_local! {
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Whether the bug is there, on this thread.
    pub fn is(bug: Bug) -> bool {
        PLANTED.get() == Some(bug)
    }

    /// While this lives, its thread has the bug.
    #[derive(Debug)]
    pub struct Planted(());

    /// Switches a bug on for this thread, which must have none.
    pub fn plant(bug: Bug) -> Planted {
        assert_eq!(PLANTED.replace(Some(bug)), None, "one bug at a time");
        Planted(())
    }

    impl Drop for Planted {
        fn drop(&mut self) {
            PLANTED.set(None);
        }
    }
}
