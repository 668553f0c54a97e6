//! Segments that are moved to a tier or removed for good: what is kept stays readable, what is
//! gone is said, and a crash at any step leaves one or the other.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use bus::disk::tier::{Sink, Tier};
use bus::disk::{
    Backend, Cause, DiskError, Files, Folder, FolderFaults, Op, SimFolder, TierFolder,
};
use bus::log::{
    Damage, Log, LogConfig, LogError, LogReader, NoCell, Record, Retained, Retention, reference,
    reference_in, retain, retain_in,
};
use bus::{Event, Kind};

use crate::check::sim;
use crate::damage::tiny;

const EVENTS: u64 = 2000;

/// What stands at cell `cell`: now and then a name or a trading state of one of five symbols.
fn event_at(cell: u64) -> Event {
    let kind = match cell % 13 {
        5 => Kind::Symbol,
        8 | 9 => Kind::Status,
        _ => Kind::Add,
    };
    Event {
        seq: cell + 1,
        order: cell * 7,
        symbol: (cell % 5) as u32,
        ..Event::new(kind)
    }
}

/// The plain way to what must be known of cells below `first`.
fn reference_below(first: u64) -> Vec<Event> {
    let mut last = BTreeMap::new();
    for event in (0..first).map(event_at) {
        if matches!(event.kind, Kind::Symbol | Kind::Status) {
            last.insert((event.kind as u8, event.symbol), event);
        }
    }
    let mut events: Vec<Event> = last.into_values().collect();
    events.sort_by_key(|event| event.seq);
    events
}

fn fill<D: bus::disk::Disk>(log: &mut Log<D>) {
    let mut now = 0;
    while log.next_cell() < EVENTS {
        if log.room_cells() > 0 {
            log.append_event(&event_at(log.next_cell()));
        }
        now += 1;
        log.turn(now, false).unwrap();
    }
    while log.durable_upto() < EVENTS {
        now += 1;
        log.turn(now, true).unwrap();
    }
}

/// A simulated folder that a reader and a writer share. Its changes are counted, and one of them
/// can fail.
#[derive(Clone)]
struct Shared {
    folder: Rc<RefCell<SimFolder>>,
    changes: Rc<Cell<u64>>,
    fail: u64,
}

impl Shared {
    /// A log of several segments, all of it durable.
    fn log() -> Shared {
        let config = tiny();
        let mut disk = sim(&config, 7, Default::default());
        fill(&mut Log::create(config, &mut disk).unwrap());
        let mut folder = SimFolder::new(FolderFaults::default());
        for (segment, bytes) in disk.files_mut() {
            let name = format!("{segment:010}.seg");
            folder.create(&name).unwrap();
            folder.append(&name, bytes).unwrap();
            folder.sync(&name).unwrap();
        }
        folder.sync_names().unwrap();
        Shared::over(folder, 0)
    }

    /// The `fail`th change from now on fails; none where that is 0.
    fn over(folder: SimFolder, fail: u64) -> Shared {
        Shared {
            folder: Rc::new(RefCell::new(folder)),
            changes: Rc::default(),
            fail,
        }
    }

    fn failing_at(&self, fail: u64) -> Shared {
        Shared::over(self.folder.borrow().clone(), fail)
    }

    fn crash(&self, seed: u64) -> Shared {
        let folder = self.folder.borrow().clone();
        Shared::over(folder.crash(seed, FolderFaults::default()), 0)
    }

    fn step(&self, op: Op) -> Result<(), DiskError> {
        self.changes.set(self.changes.get() + 1);
        match self.changes.get() == self.fail {
            true => Err(DiskError {
                op,
                path: "simulated".into(),
                cause: Cause::Errno(5),
            }),
            false => Ok(()),
        }
    }
}

impl Folder for Shared {
    fn list(&self) -> Result<Vec<String>, DiskError> {
        self.folder.borrow().list()
    }
    fn read(&self, name: &str) -> Result<Vec<u8>, DiskError> {
        self.folder.borrow().read(name)
    }
    fn create(&mut self, name: &str) -> Result<(), DiskError> {
        self.step(Op::Open)?;
        self.folder.borrow_mut().create(name)
    }
    fn append(&mut self, name: &str, bytes: &[u8]) -> Result<(), DiskError> {
        let done = self.step(Op::Write);
        // A write that fails may have written a part.
        let count = bytes.len() / (1 + usize::from(done.is_err()));
        self.folder.borrow_mut().append(name, &bytes[..count])?;
        done
    }
    fn sync(&mut self, name: &str) -> Result<(), DiskError> {
        self.step(Op::Sync)?;
        self.folder.borrow_mut().sync(name)
    }
    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        self.step(Op::Rename)?;
        self.folder.borrow_mut().rename(from, to)
    }
    fn remove(&mut self, name: &str) -> Result<(), DiskError> {
        self.step(Op::Remove)?;
        self.folder.borrow_mut().remove(name)
    }
    fn sync_names(&mut self) -> Result<(), DiskError> {
        self.step(Op::Sync)?;
        self.folder.borrow_mut().sync_names()
    }
    fn path(&self, name: &str) -> PathBuf {
        self.folder.borrow().path(name)
    }
}

/// The folder as a reader sees it, with the tier behind it.
struct View<'a>(&'a Shared, Option<&'a MemoryTier>);

impl Files for View<'_> {
    fn list(&self) -> Result<Vec<u64>, DiskError> {
        let names = Folder::list(self.0)?;
        let number = |name: &String| name.strip_suffix(".seg")?.parse().ok();
        let mut numbers: Vec<u64> = names.iter().filter_map(number).collect();
        if let Some(tier) = self.1 {
            numbers.extend(tier.list()?);
            numbers.sort_unstable();
            numbers.dedup();
        }
        Ok(numbers)
    }
    fn len(&self, segment: u64) -> Result<u64, DiskError> {
        Ok(self.whole(segment)?.len() as u64)
    }
    fn read(&self, segment: u64, offset: u64, into: &mut [u8]) -> Result<(), DiskError> {
        let bytes = self.whole(segment)?;
        into.copy_from_slice(&bytes[offset as usize..][..into.len()]);
        Ok(())
    }
    fn path(&self, segment: u64) -> PathBuf {
        Folder::path(self.0, &format!("{segment:010}.seg"))
    }
    fn beside(&self, name: &str) -> Result<Option<Vec<u8>>, DiskError> {
        match Folder::list(self.0)?.iter().any(|found| found == name) {
            true => Folder::read(self.0, name).map(Some),
            false => Ok(None),
        }
    }
}

impl View<'_> {
    fn whole(&self, segment: u64) -> Result<Vec<u8>, DiskError> {
        let name = format!("{segment:010}.seg");
        let is_here = Folder::list(self.0)?.contains(&name);
        match self.1.filter(|_| !is_here) {
            Some(tier) => Ok(
                zstd::decode_all(&tier.0.lock().unwrap().segments[&segment][..])
                    .expect("what a tier has is zstd for anyone"),
            ),
            None => Folder::read(self.0, &name),
        }
    }
}

/// A tier in memory, on which the `fail`th operation fails or spoils what it is given.
#[derive(Debug, Default)]
struct MemoryTier(Mutex<Inside>);

#[derive(Debug, Default)]
struct Inside {
    segments: BTreeMap<u64, Vec<u8>>,
    ops: u64,
    fail: u64,
    spoil: bool,
}

impl MemoryTier {
    fn step(&self, op: Op) -> Result<(), DiskError> {
        let mut inside = self.0.lock().unwrap();
        inside.ops += 1;
        match inside.ops == inside.fail {
            true => Err(DiskError {
                op,
                path: "tier".into(),
                cause: Cause::Errno(5),
            }),
            false => Ok(()),
        }
    }
}

impl Tier for MemoryTier {
    fn make(&self) -> Result<(), DiskError> {
        Ok(())
    }
    fn list(&self) -> Result<Vec<u64>, DiskError> {
        self.step(Op::List)?;
        Ok(self.0.lock().unwrap().segments.keys().copied().collect())
    }
    fn len(&self, segment: u64) -> Result<u64, DiskError> {
        self.step(Op::Open)?;
        Ok(self.0.lock().unwrap().segments[&segment].len() as u64)
    }
    fn read(&self, segment: u64, offset: u64, into: &mut [u8]) -> Result<(), DiskError> {
        self.step(Op::Read)?;
        let inside = self.0.lock().unwrap();
        into.copy_from_slice(&inside.segments[&segment][offset as usize..][..into.len()]);
        Ok(())
    }
    fn put(
        &self,
        segment: u64,
        fill: &mut dyn FnMut(&mut Sink) -> Result<(), DiskError>,
    ) -> Result<(), DiskError> {
        let mut bytes = Vec::new();
        fill(&mut |more| {
            bytes.extend_from_slice(more);
            Ok(())
        })?;
        self.step(Op::Write)?;
        let mut inside = self.0.lock().unwrap();
        if inside.spoil {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        }
        inside.segments.insert(segment, bytes);
        Ok(())
    }
    fn remove(&self, segment: u64) -> Result<(), DiskError> {
        self.step(Op::Remove)?;
        self.0.lock().unwrap().segments.remove(&segment);
        Ok(())
    }
    fn path(&self, segment: u64) -> PathBuf {
        format!("tier/{segment}").into()
    }
    fn written(&self, _segment: u64) -> Option<SystemTime> {
        None
    }
}

/// All that is kept, checked record by record; returns the first cell.
fn check(files: &impl Files) -> u64 {
    let mut reader = LogReader::over(files).unwrap();
    let first = reader.first_cell();
    let mut next = first;
    for item in &mut reader {
        let (cell, record) = item.unwrap();
        assert_eq!((cell, record), (next, Record::Event(event_at(next))));
        next += 1;
    }
    assert_eq!(reader.recovered().cells, EVENTS);
    assert_eq!(next, EVENTS);
    assert_eq!(reference_in(files).unwrap(), reference_below(first));
    first
}

fn at_most(bytes: u64) -> Retention {
    Retention {
        bytes_max: Some(bytes),
        ..Retention::default()
    }
}

fn run(
    shared: &Shared,
    tier: Option<&MemoryTier>,
    policy: &Retention,
    keep: u64,
) -> Result<Retained, LogError> {
    let mut folder = shared.clone();
    let place = tier.map(|tier| tier as &dyn Tier);
    let files = View(shared, tier);
    retain_in(&mut folder, &files, place, policy, keep, SystemTime::now())
}

#[test]
fn nothing_at_or_above_the_cell_to_keep_is_removed_nor_the_last_segment() {
    let whole = Shared::log();
    let mut firsts = Vec::new();
    for keep in (0..EVENTS).step_by(37).chain([EVENTS, u64::MAX]) {
        let shared = whole.failing_at(0);
        let done = run(&shared, None, &at_most(0), keep).unwrap();
        let first = check(&View(&shared, None));
        assert_eq!(done.first_cell, first);
        assert!(
            first <= keep && first < EVENTS,
            "keep {keep}, first {first}"
        );
        firsts.push(first);
        let below = LogReader::over_from(View(&shared, None), first.wrapping_sub(1));
        if first > 0 {
            let Err(LogError::NoCell { why, .. }) = below else {
                panic!("cell {first} is the first")
            };
            assert_eq!(why, NoCell::Below { first });
        }
    }
    assert!(firsts.is_sorted());
    firsts.dedup();
    assert!(firsts.len() > 4, "one segment after the other: {firsts:?}");
}

#[test]
fn size_and_age_bound_what_is_kept() {
    let shared = Shared::log();
    let size = run(&shared, None, &Retention::default(), u64::MAX)
        .unwrap()
        .kept_bytes;
    let before = check(&View(&shared, None));
    let done = run(&shared, None, &at_most(size - 1), u64::MAX).unwrap();
    assert_eq!((before, done.removed_segments), (0, 1));
    let again = run(&shared, None, &at_most(size - 1), u64::MAX).unwrap();
    assert_eq!(
        (again.removed_segments, again.first_cell),
        (0, done.first_cell)
    );
    // Nobody knows how old a simulated file is: then it is not too old.
    let policy = Retention {
        age_max: Some(Duration::ZERO),
        ..Retention::default()
    };
    assert_eq!(
        run(&shared, None, &policy, u64::MAX)
            .unwrap()
            .removed_segments,
        0
    );
}

/// Fails each operation in turn, then crashes: what is kept is the old or the new, and the next
/// time gets to where the first was going.
#[test]
fn a_crash_at_any_step_of_removing_leaves_the_old_or_the_new_log() {
    let whole = Shared::log();
    let (mut olds, mut news) = (0, 0);
    for nth in 1.. {
        let shared = whole.failing_at(nth);
        let done = run(&shared, None, &at_most(0), 1000);
        if shared.changes.get() < nth {
            assert!(
                done.is_ok() && nth > 20 && olds > 0 && news > 0,
                "{nth} {olds} {news}"
            );
            return;
        }
        assert!(done.is_err(), "operation {nth} failed");
        for seed in 0..8 {
            let after = shared.crash(seed);
            match check(&View(&after, None)) {
                0 => olds += 1,
                _ => news += 1,
            }
            let done = run(&after, None, &at_most(0), 1000).unwrap();
            assert_eq!(check(&View(&after, None)), done.first_cell);
            assert!(done.first_cell > 500);
            let names = after.list().unwrap();
            let stale = |name: &&String| name.starts_with("0000000000") || name.ends_with(".tmp");
            let stale: Vec<_> = names.iter().filter(stale).collect();
            // A name that never got its final form is of no meaning, and replaced when needed.
            assert!(
                stale.iter().all(|name| *name == "RETAINED.tmp"),
                "{stale:?}"
            );
        }
    }
}

#[test]
fn a_crash_at_any_step_of_moving_leaves_each_segment_somewhere() {
    let whole = Shared::log();
    let policy = Retention {
        tier: Some("memory".into()),
        bytes_max: Some(60_000),
        ..Retention::default()
    };
    for in_tier in [false, true] {
        // Most of what is done with a tier is reading, and one read fails like the other.
        for nth in (1..).step_by(if in_tier { 3 } else { 1 }) {
            let tier = MemoryTier::default();
            tier.0.lock().unwrap().fail = if in_tier { nth } else { 0 };
            let shared = whole.failing_at(if in_tier { 0 } else { nth });
            let done = run(&shared, Some(&tier), &policy, 1500);
            if done.is_ok() {
                assert!(nth > 20, "{nth}");
                break;
            }
            tier.0.lock().unwrap().fail = 0;
            for seed in 0..2 {
                let after = shared.crash(seed);
                check(&View(&after, Some(&tier)));
            }
            let after = shared.crash(nth);
            let done = run(&after, Some(&tier), &policy, 1500).unwrap();
            assert_eq!(check(&View(&after, Some(&tier))), done.first_cell);
        }
    }
}

#[test]
fn a_copy_that_is_not_what_was_copied_removes_nothing() {
    let shared = Shared::log();
    let tier = MemoryTier::default();
    tier.0.lock().unwrap().spoil = true;
    let policy = Retention {
        tier: Some("memory".into()),
        ..Retention::default()
    };
    let names = shared.list().unwrap();
    let error = run(&shared, Some(&tier), &policy, EVENTS).unwrap_err();
    assert!(
        error.to_string().contains("tier/0: read failed: "),
        "{error}"
    );
    assert_eq!(shared.list().unwrap(), names);
    // A bad copy that an earlier attempt left is not believed either.
    tier.0.lock().unwrap().spoil = false;
    let done = run(&shared, Some(&tier), &policy, EVENTS).unwrap();
    assert!(done.moved_segments > 3);
    assert_eq!(check(&View(&shared, Some(&tier))), 0);
}

#[test]
fn what_is_said_of_removed_segments_must_be_whole() {
    let shared = Shared::log();
    run(&shared, None, &at_most(0), EVENTS).unwrap();
    let word = Folder::read(&shared, "RETAINED").unwrap();
    assert_eq!(word.len(), 512, "a drive writes it whole or not at all");
    for at in 0..word.len() {
        let spoilt = shared.failing_at(0);
        spoilt
            .folder
            .borrow_mut()
            .flip("RETAINED", at, 1 << (at % 8));
        let error = LogReader::over(View(&spoilt, None)).map(drop).unwrap_err();
        let LogError::Corrupt(corruption) = &error else {
            panic!("byte {at}: {error}")
        };
        assert_eq!(corruption.damage, Damage::Beside, "byte {at}");
        assert!(error.to_string().contains("RETAINED: damaged"), "{error}");
    }
    let name = shared
        .list()
        .unwrap()
        .into_iter()
        .find(|name| name.starts_with("REFERENCE-"))
        .unwrap();
    for at in 0..Folder::read(&shared, &name).unwrap().len() {
        let spoilt = shared.failing_at(0);
        spoilt.folder.borrow_mut().flip(&name, at, 1 << (at % 8));
        assert!(reference_in(&View(&spoilt, None)).is_err(), "byte {at}");
        assert!(LogReader::over(View(&spoilt, None)).is_ok());
    }
    // Without the word, the first segment is missing.
    let mut without = shared.clone();
    without.remove("RETAINED").unwrap();
    let error = LogReader::over(View(&without, None)).map(drop).unwrap_err();
    let LogError::Corrupt(corruption) = &error else {
        panic!("{error}")
    };
    assert_eq!(
        (corruption.segment, corruption.damage),
        (0, Damage::Missing)
    );
}

fn temporary(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("tapeline-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    dir
}

fn real_log(name: &str) -> (LogConfig, PathBuf) {
    let root = temporary(name);
    let config = LogConfig {
        dir: root.join("log"),
        ..tiny()
    };
    let disk = config.open_disk(Backend::Plain).unwrap();
    fill(&mut Log::create(config.clone(), disk).unwrap());
    (config, root)
}

#[test]
fn a_log_is_read_and_gone_on_with_straight_through_its_tier() {
    for backend in [Backend::Plain, Backend::Best] {
        let (config, root) = real_log("tier");
        let dir = &config.dir;
        let tier = root.join("cold");
        let policy = Retention {
            tier: Some(tier.to_str().unwrap().to_owned()),
            ..Retention::default()
        };
        let done = retain(dir, &policy, 1200, SystemTime::now()).unwrap();
        assert!(
            done.moved_segments > 1 && done.removed_segments == 0,
            "{done:?}"
        );
        assert_eq!(check(&bus::disk::Directory::new(dir)), 0);
        let kept = done.kept_bytes;
        assert_eq!(
            retain(dir, &policy, 1200, SystemTime::now())
                .unwrap()
                .kept_bytes,
            kept
        );
        for cell in (0..EVENTS).step_by(61) {
            let mut reader = LogReader::open_from(dir, cell).unwrap();
            assert_eq!(
                reader.next().unwrap().unwrap().1,
                Record::Event(event_at(cell))
            );
        }
        // Anyone can read it: each file is the segment, in zstd.
        let cold = TierFolder::new(&tier.join(hex(&config.uuid)));
        assert_eq!(cold.list().unwrap().len() as u64, done.moved_segments);
        let packed = std::fs::read(Tier::path(&cold, 1)).unwrap();
        let plain = zstd::decode_all(&packed[..]).unwrap();
        assert_eq!(plain.len() as u64, config.segment_bytes);
        assert!(packed.len() * 3 < plain.len());

        // A writer goes on behind it.
        let (mut log, found) =
            Log::resume(config.clone(), config.open_disk(backend).unwrap()).unwrap();
        assert_eq!(found.cells, EVENTS);
        log.finish().unwrap();
        drop(log);
        assert_eq!(check(&bus::disk::Directory::new(dir)), 0);

        // Then the oldest go for good, from the tier too.
        let kept = retain(dir, &policy, 1200, SystemTime::now())
            .unwrap()
            .kept_bytes;
        let policy = Retention {
            bytes_max: Some(kept - 1),
            ..policy
        };
        let done = retain(dir, &policy, 1200, SystemTime::now()).unwrap();
        assert!(done.removed_segments > 0, "{done:?}");
        assert_eq!(check(&bus::disk::Directory::new(dir)), done.first_cell);
        assert_eq!(reference(dir).unwrap(), reference_below(done.first_cell));
        assert_eq!(cold.list().unwrap().first(), Some(&done.first_segment));
        let (log, found) = Log::resume(config.clone(), config.open_disk(backend).unwrap()).unwrap();
        assert_eq!((found.cells, log.next_cell()), (EVENTS, EVENTS));
        drop(log);
        std::fs::remove_dir_all(&root).unwrap();
    }
}

fn hex(uuid: &[u8]) -> String {
    uuid.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn age_is_counted_from_the_last_write() {
    let (config, root) = real_log("age");
    let policy = Retention {
        age_max: Some(Duration::from_secs(3600)),
        ..Retention::default()
    };
    let now = SystemTime::now();
    let later = now + Duration::from_secs(7200);
    let early = now - Duration::from_secs(7200);
    for (now, goes) in [(now, false), (early, false), (later, true)] {
        let done = retain(&config.dir, &policy, EVENTS, now).unwrap();
        assert_eq!(done.removed_segments > 0, goes);
    }
    check(&bus::disk::Directory::new(&config.dir));
    std::fs::remove_dir_all(&root).unwrap();
}

#[test]
fn a_tier_that_is_gone_or_spoilt_or_another_is_refused() {
    let (config, root) = real_log("no-tier");
    let dir = &config.dir;
    let tier = root.join("cold");
    let policy = Retention {
        tier: Some(tier.to_str().unwrap().to_owned()),
        ..Retention::default()
    };
    let done = retain(dir, &policy, 1200, SystemTime::now()).unwrap();
    let folder = tier.join(hex(&config.uuid));
    let file = folder.join("0000000001.seg.zst");
    let packed = std::fs::read(&file).unwrap();
    for at in (0..packed.len())
        .step_by(7)
        .chain(packed.len() - 40..packed.len())
    {
        let mut spoilt = packed.clone();
        spoilt[at] ^= 1 << (at % 8);
        std::fs::write(&file, &spoilt).unwrap();
        let verified = bus::log::verify(dir);
        // A bit that the decoder does not need may change nothing; nothing else may pass.
        match verified {
            Ok(found) => {
                assert_eq!(found.cells, EVENTS, "byte {at}");
                check(&bus::disk::Directory::new(dir));
            }
            Err(error) => assert!(error.is_damage(), "byte {at}: {error}"),
        }
    }
    for len in [0, 8, 9, 17, packed.len() - 1] {
        std::fs::write(&file, &packed[..len]).unwrap();
        let error = bus::log::verify(dir).unwrap_err();
        assert!(error.to_string().contains("0000000001.seg.zst"), "{error}");
    }
    std::fs::remove_file(&file).unwrap();
    let error = bus::log::verify(dir).unwrap_err().to_string();
    assert!(error.contains("the segment is missing"), "{error}");
    std::fs::rename(&folder, root.join("away")).unwrap();
    let error = bus::log::verify(dir).unwrap_err().to_string();
    assert!(
        error.contains("list failed") && error.contains("cold"),
        "{error}"
    );

    let other = Retention {
        tier: Some(root.join("other").to_str().unwrap().to_owned()),
        ..Retention::default()
    };
    std::fs::rename(root.join("away"), &folder).unwrap();
    std::fs::write(&file, &packed).unwrap();
    let error = retain(dir, &other, 1200, SystemTime::now()).unwrap_err();
    assert!(error.to_string().contains("another tier"), "{error}");
    assert!(done.moved_segments > 0);
    std::fs::write(dir.join("TIER"), b"tapeline tier 1\n").unwrap();
    let error = bus::log::verify(dir).unwrap_err().to_string();
    assert!(error.contains("TIER"), "{error}");
    let urls = Retention {
        tier: Some("s3://bucket/logs".to_owned()),
        ..Retention::default()
    };
    std::fs::remove_file(dir.join("TIER")).unwrap();
    let error = retain(dir, &urls, 1200, SystemTime::now()).unwrap_err();
    assert!(
        error.is_damage() || error.to_string().contains("missing"),
        "{error}"
    );
    std::fs::remove_dir_all(&root).unwrap();
}
