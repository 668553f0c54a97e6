//! Making room: sealed segments go to a tier, and the oldest go for good.
//!
//! Nothing here is done by the writer. It may run beside it, in any thread of the process that
//! holds the log's lock, one at a time, because it touches only segments that are complete: below
//! the cell that the caller wants kept, and never one whose successor is not known to be durable.
//!
//! ```text
//! to a tier:   copy ─► read back, compare ─► remove here
//! for good:    REFERENCE-n ─► RETAINED (the commit point) ─► remove, oldest first
//! ```
//!
//! So a crash leaves a segment in two places, or one that is no longer counted and not yet
//! removed; the next time clears both up.

mod reference;
pub(super) mod word;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use self::reference::Reference;
use self::word::Word;
use super::error::LogError;
use super::reader::LogReader;
use super::recover::{Begun, Survey};
use crate::disk::tier::{self, Tier, seekable};
use crate::disk::{
    Cause, Directory, DiskError, Files, Folder, Op, RealFolder, segment_name, segment_number,
};
use crate::event::Event;

const COMPARE_BYTES: usize = 1 << 20;

/// How much of a log to keep, and where. Nothing is deleted by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Keep at most so many bytes, here and in the tier together, as they lie.
    pub bytes_max: Option<u64>,
    /// Keep no segment that was last written longer ago.
    pub age_max: Option<Duration>,
    /// Move complete segments here: a directory, or a URL; see [`tier::open`].
    pub tier: Option<String>,
}

/// What [`retain`] did and left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retained {
    /// The first segment that is kept.
    pub first_segment: u64,
    /// Its first cell.
    pub first_cell: u64,
    /// Segments moved to the tier.
    pub moved_segments: u64,
    /// What they took here.
    pub moved_bytes: u64,
    /// Segments removed for good.
    pub removed_segments: u64,
    /// What they took.
    pub removed_bytes: u64,
    /// What is left, here and in the tier, as it lies.
    pub kept_bytes: u64,
}

/// Moves and removes what `policy` says of the log in `dir`, and nothing that holds a cell at or
/// above `keep_cell`. For the process that holds the log's lock; not from two threads at once.
pub fn retain(
    dir: &Path,
    policy: &Retention,
    keep_cell: u64,
    now: SystemTime,
) -> Result<Retained, LogError> {
    let files = Directory::new(dir);
    let mut folder = RealFolder::open(dir)?;
    let survey = Survey::read(&files)?;
    let Some(first) = survey.begun.first() else {
        return Ok(Retained::default());
    };
    let uuid = first.header.uuid;
    let place = match &policy.tier {
        Some(location) => Some(point_to_tier(&mut folder, location, &uuid)?),
        // What is in a tier already still counts, and still goes in the end.
        None => files.tier()?,
    };
    let place = place.as_deref();
    retain_in(&mut folder, &files, place, policy, keep_cell, now)
}

/// The last `Symbol` and the last `Status` of each symbol, of all segments that were removed for
/// good: whoever reads the log from its first cell begins with these.
pub fn reference(dir: &Path) -> Result<Vec<Event>, LogError> {
    reference_in(&Directory::new(dir))
}

/// The same for a log that is not in a directory.
pub fn reference_in(files: &impl Files) -> Result<Vec<Event>, LogError> {
    loop {
        let said = Word::of(files)?;
        let found = Reference::of(files);
        // A new word may have taken the old word's file away meanwhile.
        if found.is_ok() || Word::of(files)? == said {
            return Ok(found?.events());
        }
    }
}

/// Opens the tier and says in the log's directory where it is, if it does not yet.
fn point_to_tier(
    folder: &mut impl Folder,
    location: &str,
    uuid: &[u8; 16],
) -> Result<Arc<dyn Tier>, LogError> {
    let location = match location.contains("://") {
        true => location.to_owned(),
        // Whoever reads the log later may stand somewhere else.
        false => std::path::absolute(location)
            .map_err(|error| DiskError::io(Op::Open, location, &error))?
            .to_string_lossy()
            .into_owned(),
    };
    if location.contains('\n') {
        return Err(LogError::Config("the tier's name has a line break"));
    }
    let opened = tier::open(&location, uuid)?;
    let wanted = tier::pointer_bytes(&location, uuid);
    let is_there = folder.list()?.iter().any(|name| name == tier::POINTER);
    if is_there && folder.read(tier::POINTER)? != wanted {
        return Err(LogError::Config(
            "the log has another tier; the file TIER in its directory says which",
        ));
    }
    if !is_there {
        // It must be there before anyone looks for it.
        opened.make()?;
        replace(folder, tier::POINTER, &wanted)?;
    }
    Ok(opened)
}

/// As [`retain`], wherever the log's files are and however they are written.
pub fn retain_in(
    folder: &mut impl Folder,
    files: &impl Files,
    tier: Option<&dyn Tier>,
    policy: &Retention,
    keep_cell: u64,
    now: SystemTime,
) -> Result<Retained, LogError> {
    let said = Word::of(files)?;
    clear(folder, tier, said.map_or(0, |said| said.from))?;
    let survey = Survey::read(files)?;
    let mut done = Retained::default();
    let complete = complete(files, &survey, keep_cell)?;
    if let Some(tier) = tier.filter(|_| policy.tier.is_some()) {
        for begun in &survey.begun[..complete] {
            move_one(folder, files, tier, begun, &mut done)?;
        }
    }
    let sizes = sizes(folder, files, tier, &survey)?;
    let gone = excess(files, &survey, &sizes, complete, policy, now);
    let first = survey.begun.get(gone).map(|begun| begun.header);
    if gone > 0
        && let Some(first) = first
    {
        let said_ns = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let next = Word {
            uuid: first.uuid,
            from: first.segment,
            first_cell: first.first_cell,
            reference_crc: 0,
            said_ns: said_ns.as_nanos() as u64,
        };
        commit(folder, files, &survey, next)?;
        clear(folder, tier, first.segment)?;
    }
    done.removed_segments = gone as u64;
    done.removed_bytes = sizes[..gone].iter().sum();
    done.kept_bytes = sizes[gone..].iter().sum();
    done.first_segment = first.map_or(0, |header| header.segment);
    done.first_cell = first.map_or(0, |header| header.first_cell);
    Ok(done)
}

/// How many segments from the first on may go: all their cells are below `keep_cell`, and the
/// one after them will be found after a crash.
fn complete(files: &impl Files, survey: &Survey, keep_cell: u64) -> Result<usize, LogError> {
    let begun = &survey.begun;
    let mut count = begun.partition_point(|begun| begun.header.first_cell <= keep_cell);
    count = count.saturating_sub(1);
    // The last one's header may only be in memory yet. Its first frame is written when it is not.
    if count + 1 == begun.len() && !LogReader::has_frame(files, survey, count)? {
        count = count.saturating_sub(1);
    }
    Ok(count)
}

/// Copies a segment to the tier, makes sure that what is read there is what is here, and takes
/// it away here.
fn move_one(
    folder: &mut impl Folder,
    files: &impl Files,
    tier: &dyn Tier,
    begun: &Begun,
    done: &mut Retained,
) -> Result<(), LogError> {
    let segment = begun.header.segment;
    let name = segment_name(segment);
    if !folder.list()?.contains(&name) {
        return Ok(());
    }
    let is_there = tier.list()?.contains(&segment);
    // A copy that a crash left may be of anything: only what compares equal counts.
    if !is_there || !is_same(files, tier, segment).unwrap_or(false) {
        tier.put(segment, &mut |sink| {
            seekable::compress(files, segment, sink)
        })?;
        if !is_same(files, tier, segment)? {
            return Err(LogError::Disk(DiskError {
                op: Op::Read,
                path: tier.path(segment),
                cause: Cause::Bytes("the copy is not what was copied; nothing was removed"),
            }));
        }
    }
    folder.remove(&name)?;
    folder.sync_names()?;
    done.moved_segments += 1;
    done.moved_bytes += begun.file_bytes;
    Ok(())
}

fn is_same(files: &impl Files, tier: &dyn Tier, segment: u64) -> Result<bool, DiskError> {
    let path = tier.path(segment);
    let fetch = |offset, into: &mut [u8]| tier.read(segment, offset, into);
    let mut there = seekable::Seekable::open(&path, tier.len(segment)?, &fetch)?;
    let len = files.len(segment)?;
    if there.len() != len {
        return Ok(false);
    }
    let (mut ours, mut theirs) = (vec![0; COMPARE_BYTES], vec![0; COMPARE_BYTES]);
    let mut at = 0;
    while at < len {
        let count = (len - at).min(COMPARE_BYTES as u64) as usize;
        files.read(segment, at, &mut ours[..count])?;
        there.read(&path, &fetch, at, &mut theirs[..count])?;
        if ours[..count] != theirs[..count] {
            return Ok(false);
        }
        at += count as u64;
    }
    Ok(true)
}

/// What each begun segment takes where it lies.
fn sizes(
    folder: &impl Folder,
    files: &impl Files,
    tier: Option<&dyn Tier>,
    survey: &Survey,
) -> Result<Vec<u64>, LogError> {
    let here = folder.list()?;
    let size = |begun: &Begun| {
        let segment = begun.header.segment;
        match tier.filter(|_| !here.contains(&segment_name(segment))) {
            Some(tier) => tier.len(segment),
            None => files.len(segment),
        }
    };
    Ok(survey.begun.iter().map(size).collect::<Result<_, _>>()?)
}

/// How many of the first `complete` segments `policy` does not want.
fn excess(
    files: &impl Files,
    survey: &Survey,
    sizes: &[u64],
    complete: usize,
    policy: &Retention,
    now: SystemTime,
) -> usize {
    let mut kept_bytes: u64 = sizes.iter().sum();
    let too_old = |segment| {
        let written = files.written(segment);
        // A clock that went back makes nothing old.
        let age = written.and_then(|written| now.duration_since(written).ok());
        matches!((age, policy.age_max), (Some(age), Some(max)) if age > max)
    };
    let mut gone = 0;
    for begun in &survey.begun[..complete] {
        let too_much = policy.bytes_max.is_some_and(|max| kept_bytes > max);
        if !too_much && !too_old(begun.header.segment) {
            break;
        }
        kept_bytes -= sizes[gone];
        gone += 1;
    }
    gone
}

/// Says durably that the log is kept from `next` on, with all that must be known of what goes.
fn commit(
    folder: &mut impl Folder,
    files: &impl Files,
    survey: &Survey,
    mut next: Word,
) -> Result<(), LogError> {
    let mut reference = Reference::of(files)?;
    // Damage in what goes is said now, or never.
    let mut reader = LogReader::at_segment(files, survey.clone(), None)?;
    while reader.position() < next.first_cell {
        let Some(item) = reader.next() else { break };
        if let (_, super::Record::Event(event)) = item? {
            reference.take(&event);
        }
    }
    let bytes = reference.to_bytes(&next.uuid, next.first_cell);
    next.reference_crc = crc32c::crc32c(&bytes);
    replace(folder, &reference::name(next.from), &bytes)?;
    replace(folder, word::NAME, &next.to_bytes())
}

/// Puts a small file in place of what has its name.
pub(super) fn replace(folder: &mut impl Folder, name: &str, bytes: &[u8]) -> Result<(), LogError> {
    let unnamed = format!("{name}.tmp");
    folder.create(&unnamed)?;
    folder.append(&unnamed, bytes)?;
    folder.sync(&unnamed)?;
    folder.rename(&unnamed, name)?;
    Ok(folder.sync_names()?)
}

/// Removes what no longer counts, the oldest segment first.
fn clear(folder: &mut impl Folder, tier: Option<&dyn Tier>, from: u64) -> Result<(), LogError> {
    let wanted = reference::name(from);
    if let Some(tier) = tier {
        for segment in tier.list()?.into_iter().filter(|&segment| segment < from) {
            tier.remove(segment)?;
        }
    }
    let is_old = |name: &String| {
        segment_number(name).is_some_and(|segment| segment < from)
            || (reference::is_name(name) && *name != wanted)
    };
    let old: Vec<String> = folder.list()?.into_iter().filter(is_old).collect();
    for name in &old {
        folder.remove(name)?;
    }
    if !old.is_empty() {
        folder.sync_names()?;
    }
    Ok(())
}
