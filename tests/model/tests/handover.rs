//! The log's hand-over to its threads: the one that writes and syncs, and the one that makes
//! segments. The real writer, the real disk and the real reader run under shuttle, which chooses
//! at every channel operation and around every file operation who goes on; after every step, what
//! would be left if the power were cut must hold all that was said to be durable.
//!
//! Schedules are random (half of them with few, well-placed switches), from a fixed seed and a
//! fresh one, which is printed. `TAPELINE_MODEL_SCHEDULES` says how many of each, if not 150.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

use model::bus::disk::{Backend, Directory, Disk, Done, Files, Geometry, RealDisk};
use model::bus::log::{End, Log, LogConfig, LogError, LogReader, Record};
use model::bus::planted::{Bug, plant};
use model::bus::{Event, Kind};
use model::files::{self, AfterPowerCut};
use model::with_mistake;
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, FailurePersistence, Runner};

const SEED: u64 = 20_260_105;
const PAGE: usize = 4096;
/// A frame of one page holds 63 cells: a few frames, over three segments.
const CELLS: u64 = 400;

fn schedules() -> usize {
    std::env::var("TAPELINE_MODEL_SCHEDULES").map_or(150, |text| text.parse().expect("a number"))
}

/// A directory of one's own for each run, in memory where there is such a place: what a sync
/// means is modelled, so that none needs to be waited for.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Dir {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let shm = Path::new("/dev/shm");
        let parent = if shm.is_dir() {
            shm.to_owned()
        } else {
            std::env::temp_dir()
        };
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = parent.join(format!("tapeline-model-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        Dir(dir)
    }

    fn config(&self) -> LogConfig {
        LogConfig {
            dir: self.0.clone(),
            segment_bytes: 4 * PAGE as u64,
            frame_bytes_max: PAGE,
            frames_in_flight_max: 2,
            frames_waiting_max: 2,
            spares: 2,
            commit_age_ns: 3,
            uuid: *b"a log of a model",
            build_hash: 1,
            config_hash: 2,
        }
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What is wrong with the code that is explored.
#[derive(Clone, Copy, Debug)]
enum Wrong {
    Nothing,
    Mistake(&'static str),
    Planted(Bug),
}

/// Runs `body` on so many schedules of each kind, or until one fails; says how.
fn explore(
    schedules: usize,
    wrong: Wrong,
    body: impl Fn() + Send + Sync + Clone + 'static,
) -> Result<(), String> {
    let fresh = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970")
        .as_nanos() as u64;
    println!("{wrong:?}: seeds {SEED} and {fresh}, {schedules} schedules each way");
    keep_what_panics_say();
    // On a thread of its own: a schedule that fails leaves its tasks where they were.
    let explorer = std::thread::spawn(move || {
        let planted = match wrong {
            Wrong::Planted(bug) => Some(plant(bug)),
            Wrong::Nothing | Wrong::Mistake(_) => None,
        };
        let mistake = match wrong {
            Wrong::Mistake(mistake) => mistake,
            Wrong::Nothing | Wrong::Planted(_) => "",
        };
        let mut result = Ok(());
        with_mistake(mistake, || {
            for seed in [SEED, fresh] {
                result = result
                    .clone()
                    .and_then(|()| explore_from(seed, schedules, &body));
            }
        });
        drop(planted);
        result
    });
    explorer.join().expect("what panics is caught")
}

fn explore_from(
    seed: u64,
    schedules: usize,
    body: &(impl Fn() + Send + Sync + Clone + 'static),
) -> Result<(), String> {
    let config = || {
        let mut config = Config::new();
        config.stack_size = 1 << 20;
        config.failure_persistence = FailurePersistence::None;
        config
    };
    catch_unwind(AssertUnwindSafe(|| {
        let random = RandomScheduler::new_from_seed(seed, schedules.div_ceil(2));
        Runner::new(random, config()).run(body.clone());
        let few_switches = PctScheduler::new_from_seed(seed, 3, schedules.div_ceil(2));
        Runner::new(few_switches, config()).run(body.clone());
    }))
    .map_err(|_| format!("seed {seed}: {}", FIRST_PANIC.take()))
}

thread_local! {
    static FIRST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// The checker reports that a task panicked and not why, so what the first one said is kept. All
/// tasks of a model run on the thread of its test.
fn keep_what_panics_say() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            // The threads of tests have names, those of explorers do not.
            if std::thread::current().name().is_some() {
                return usual(info);
            }
            FIRST_PANIC.with_borrow_mut(|first| {
                if first.is_empty() {
                    *first = info.to_string();
                }
            });
        }));
    });
}

fn append(log: &mut Log<RealDisk>) {
    let event = Event {
        seq: log.next_cell(),
        order: !log.next_cell(),
        ..Event::new(Kind::Add)
    };
    log.append_event(&event);
}

/// What would be left if the power were cut now holds at least `cells` cells, each the right one.
fn check_left(dir: &Path, cells: u64) {
    let mut next = 0;
    let mut reader = LogReader::over(AfterPowerCut::of(dir)).expect("what is left can be read");
    for item in &mut reader {
        let (cell, record) = item.expect("what is left is whole");
        let Record::Event(event) = record else {
            panic!("only events were appended")
        };
        assert_eq!((cell, event.seq, event.order), (next, next, !next));
        next += 1;
    }
    assert!(
        next >= cells,
        "{next} cells are left of {cells} said to be durable"
    );
}

/// Appends until there are `cells`, or the log fails; after each turn what is durable is there.
fn fill(log: &mut Log<RealDisk>, dir: &Path, cells: u64) -> Result<(), LogError> {
    let (mut now, mut seen) = (0, log.durable_upto());
    while log.durable_upto() < cells {
        for _ in 0..7 {
            if log.next_cell() < cells && log.room_cells() > 0 {
                append(log);
            }
        }
        now += 1;
        let work = log.turn(now, log.next_cell() == cells)?;
        if log.durable_upto() > seen {
            seen = log.durable_upto();
            check_left(dir, seen);
        }
        if work == 0 {
            shuttle::thread::yield_now();
        }
    }
    Ok(())
}

/// A log from its first cell to its end in order; then once more, ended by a crash, and resumed.
fn whole_log() {
    let dir = Dir::new();
    files::begin(None);
    let config = dir.config();
    let disk = config.open_disk(Backend::Plain).unwrap();
    let mut log = Log::create(config.clone(), disk).unwrap();
    fill(&mut log, &dir.0, CELLS).unwrap();
    log.finish().unwrap();
    drop(log);

    let disk = config.open_disk(Backend::Plain).expect("the lock is free");
    let (mut log, found) = Log::resume(config.clone(), disk).unwrap();
    assert_eq!((found.cells, found.end), (CELLS, End::Clean));
    fill(&mut log, &dir.0, CELLS + 100).unwrap();
    // Some cells are under way and some only in memory when the writer goes.
    while log.next_cell() < CELLS + 180 && log.room_cells() > 0 {
        append(&mut log);
    }
    let _ = log.turn(1000, true).unwrap();
    let durable = log.durable_upto();
    drop(log);
    check_left(&dir.0, durable);
    let mut reader = LogReader::over(Directory::new(&dir.0)).unwrap();
    assert!(reader.by_ref().all(|record| record.is_ok()));
    assert!(reader.recovered().cells >= durable);
}

/// One sync fails, whichever: what was durable stays so, nothing more is said to be, and every
/// later turn says the same.
fn failing_sync(nth: u64) {
    let dir = Dir::new();
    files::begin(Some(nth));
    let config = dir.config();
    let disk = config.open_disk(Backend::Plain).unwrap();
    let mut log = match Log::create(config.clone(), disk) {
        Ok(log) => log,
        Err(_) => return assert!(files::has_failed()),
    };
    match fill(&mut log, &dir.0, CELLS) {
        // A segment that was not needed any more.
        Ok(()) => {}
        Err(error) => {
            assert!(files::has_failed());
            let durable = log.durable_upto();
            for turn in 1000..1010 {
                assert_eq!(log.turn(turn, true).unwrap_err(), error);
                assert_eq!(log.durable_upto(), durable, "durable stands still");
                shuttle::thread::yield_now();
            }
            assert_eq!(log.finish().unwrap_err(), error);
            drop(log);
            check_left(&dir.0, durable);
        }
    }
}

/// Blocks of two segments at once, which the log never does: each is durable when it is said so.
fn two_segments() {
    let dir = Dir::new();
    files::begin(None);
    let geometry = Geometry {
        segment_bytes: 4 * PAGE as u64,
        slot_bytes: PAGE,
        slot_count: 4,
    };
    let mut disk = RealDisk::open(&dir.0, geometry, Backend::Plain).unwrap();
    for segment in 0..2 {
        disk.prepare(segment);
        let Some(Done::Prepared { result: Ok(()), .. }) = disk.wait() else {
            panic!("a segment was asked for")
        };
    }
    let mut slots = disk.take_slots();
    slots.pop();
    for (index, mut slot) in slots.into_iter().enumerate() {
        slot.bytes_mut().fill(index as u8 + 1);
        let (segment, offset) = (index as u64 % 2, (index / 2 * PAGE) as u64);
        disk.write(segment, offset, slot, PAGE, index as u64);
    }
    let mut said = 0;
    while let Some(done) = disk.wait() {
        let Done::Written {
            token,
            slot,
            result,
        } = done
        else {
            panic!("only writes are under way")
        };
        result.unwrap();
        let (segment, offset) = (token % 2, token / 2 * PAGE as u64);
        let mut left = vec![0; PAGE];
        AfterPowerCut::of(&dir.0)
            .read(segment, offset, &mut left)
            .unwrap();
        assert!(left == slot.bytes(), "block {token} is said to be durable");
        said += 1;
    }
    assert_eq!(said, 4);
}

/// The writer goes while its threads work: when it is gone, so are they, and nobody writes.
fn left_in_a_hurry() {
    let dir = Dir::new();
    files::begin(None);
    let config = dir.config();
    let disk = config.open_disk(Backend::Plain).unwrap();
    let mut log = Log::create(config.clone(), disk).unwrap();
    while log.next_cell() < 130 && log.room_cells() > 0 {
        append(&mut log);
    }
    log.turn(1000, true).unwrap();
    drop(log);
    let writes = files::writes();
    for _ in 0..20 {
        shuttle::thread::yield_now();
    }
    assert_eq!(
        files::writes(),
        writes,
        "nothing is written after the lock is free"
    );
}

#[test]
fn what_is_said_to_be_durable_survives_a_power_cut_at_any_step() {
    explore(schedules(), Wrong::Nothing, whole_log).unwrap();
}

#[test]
fn a_sync_that_fails_is_final_whichever_it_is() {
    for nth in 0..12 {
        explore(schedules().div_ceil(10), Wrong::Nothing, move || {
            failing_sync(nth)
        })
        .unwrap();
    }
}

#[test]
fn blocks_of_two_segments_in_one_batch_are_both_synced() {
    explore(schedules(), Wrong::Nothing, two_segments).unwrap();
}

#[test]
fn a_writer_that_goes_leaves_no_thread_behind() {
    explore(schedules(), Wrong::Nothing, left_in_a_hurry).unwrap();
}

/// Mistakes in the hand-over itself, each of which must be found.
#[test]
fn mistakes_in_the_hand_over_are_found() {
    let checks: [(&str, fn(), &str); 4] = [
        ("answer before the write", whole_log, "said to be durable"),
        (
            "answer before the write",
            two_segments,
            "said to be durable",
        ),
        ("one sync for two files", two_segments, "said to be durable"),
        (
            "lock before the last write",
            left_in_a_hurry,
            "after the lock is free",
        ),
    ];
    for (mistake, body, want) in checks {
        let found = explore(schedules(), Wrong::Mistake(mistake), body).expect_err(mistake);
        println!("{found}");
        assert!(found.contains(want), "{mistake}: {found}");
    }
}

/// Bugs that other tests plant too, where they concern the hand-over.
#[test]
fn planted_bugs_are_found() {
    let checks: [(Bug, fn(), &str); 3] = [
        (Bug::SyncSkipped, whole_log, "said to be durable"),
        (
            Bug::SyncRetried,
            || failing_sync(5),
            "what is left is whole",
        ),
        (Bug::ErrorForgotten, || failing_sync(5), "unwrap_err"),
    ];
    for (bug, body, want) in checks {
        let found = explore(schedules(), Wrong::Planted(bug), body);
        let found = found.expect_err("a planted bug is found");
        println!("{found}");
        assert!(found.contains(want), "{bug:?}: {found}");
    }
}
