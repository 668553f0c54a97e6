//! In which order files are made durable, apart from the files: the same text runs on a real
//! directory and on the simulated one, so that the simulation tests the order that really runs.

use crate::planted::{self, Bug};

/// What it takes to make a segment file. Each step needs the ones before.
pub(super) trait Making {
    /// Why a step failed.
    type Error;
    /// A file under a name that no reader looks at, with its space reserved.
    fn create(&mut self) -> Result<(), Self::Error>;
    /// Zeros in all of it.
    fn fill(&mut self) -> Result<(), Self::Error>;
    /// The zeros are durable.
    fn sync(&mut self) -> Result<(), Self::Error>;
    /// It gets its name.
    fn rename(&mut self) -> Result<(), Self::Error>;
    /// The name is durable.
    fn sync_directory(&mut self) -> Result<(), Self::Error>;
}

/// Makes a segment file that survives a crash. A reader takes a name for a whole file, so the
/// name comes last.
pub(super) fn make_segment<M: Making>(making: &mut M) -> Result<(), M::Error> {
    making.create()?;
    making.fill()?;
    sync(|| making.sync())?;
    making.rename()?;
    if planted::is(Bug::DirectorySyncSkipped) {
        return Ok(());
    }
    sync(|| making.sync_directory())
}

/// Opens a segment file that an earlier writer made. That one may have died between giving the
/// file its name and making the name durable.
pub(super) fn adopt<T, E>(
    open: impl FnOnce() -> Result<T, E>,
    sync_directory: impl FnMut() -> Result<(), E>,
) -> Result<T, E> {
    let file = open()?;
    if !planted::is(Bug::AdoptedOnTrust) {
        sync(sync_directory)?;
    }
    Ok(file)
}

/// Syncs, once: after a failed sync the kernel takes what it could not write for written, and a
/// second sync would find nothing to do and succeed.
pub(super) fn sync<E>(mut sync: impl FnMut() -> Result<(), E>) -> Result<(), E> {
    if planted::is(Bug::SyncSkipped) {
        return Ok(());
    }
    let result = sync();
    if planted::is(Bug::SyncRetried) && result.is_err() {
        return sync();
    }
    result
}

/// Whether a write wrote all that it was given.
pub(super) fn is_whole(got: usize, want: usize) -> bool {
    got == want || planted::is(Bug::ShortWriteAccepted)
}
