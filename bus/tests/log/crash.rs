//! Crashes at any moment, from a seed: what was acknowledged is there afterwards, nothing else
//! is, and the log goes on, however often it happens.

use bus::disk::sim::Random;
use bus::disk::{Disk, Fault, Faults, SimDisk};
use bus::log::{End, Log, LogConfig};

use crate::check::{append, read_all, sim, small};

/// A layout and timing of its own for each seed.
fn shape(random: &mut Random) -> (LogConfig, u64) {
    let pages = 1 + random.below(4);
    let config = LogConfig {
        frame_bytes_max: pages as usize * 4096,
        segment_bytes: (pages + 2 + random.below(12)) * 4096,
        frames_in_flight_max: 1 + random.below(4) as usize,
        frames_waiting_max: 1 + random.below(3) as usize,
        commit_age_ns: random.below(6),
        ..small()
    };
    (config, 1 + random.below(8))
}

/// What became of one writer: how far it got, and how far it knew to be durable.
struct Life {
    next: u64,
    durable: u64,
}

/// Appends and turns at random for `steps`.
fn live<D: Disk>(log: &mut Log<D>, random: &mut Random, steps: u64) -> Life {
    let mut durable = log.durable_upto();
    let busy = 1 + random.below(200);
    // Some live through long rests.
    let step_ns = [1, 60_000_000][random.below(2) as usize];
    for now in (0..steps).map(|step| step * step_ns) {
        for _ in 0..random.below(busy) {
            if log.room_cells() < 2 {
                break;
            }
            append(log);
        }
        log.turn(now, random.below(3) == 0).unwrap();
        assert!(log.durable_upto() >= durable && log.durable_upto() <= log.next_cell());
        durable = log.durable_upto();
        assert!(log.commits().all(|commit| commit.end_cell <= durable));
    }
    Life {
        next: log.next_cell(),
        durable,
    }
}

/// Several writers after each other, each ended by a crash, some of them while they start.
/// Returns how many ends were torn, or what was lost.
fn lives(seed: u64, sync_lies: bool) -> Result<u64, String> {
    let mut random = Random(seed);
    let (config, steps_max) = shape(&mut random);
    let faults = Faults {
        steps_max,
        sync_lies,
        ..Faults::default()
    };
    let mut disk = sim(&config, random.next(), faults);
    let mut torn = 0;
    let mut durable = 0;
    for life in 0..1 + random.below(4) {
        let mut log = if life == 0 {
            Log::create(config.clone(), &mut disk).unwrap()
        } else {
            let resumed = Log::resume(config.clone(), &mut disk);
            let (log, found) = resumed.map_err(|error| error.to_string())?;
            assert_eq!(found.cells, durable);
            assert_eq!((log.next_cell(), log.durable_upto()), (durable, durable));
            log
        };
        let steps = random.below(60);
        let lived = live(&mut log, &mut random, steps);
        drop(log);
        durable = lived.durable;
        let is_power_cut = random.below(3) > 0;
        disk = if is_power_cut {
            disk.crash(random.next(), config.geometry(), faults)
        } else {
            disk.kill(random.next(), config.geometry(), faults)
        };
        let mut found = read_all(&disk).map_err(|error| error.to_string())?;
        assert!(
            found.cells <= lived.next,
            "nothing is there that was not put in"
        );
        torn += u64::from(found.end != End::Clean);
        if random.below(2) == 0 {
            let before = found.cells;
            disk = crash_while_resuming(disk, &config, &mut random, faults);
            found = read_all(&disk).map_err(|error| error.to_string())?;
            // Where the power failed once, there is nothing left to lose.
            if is_power_cut && found.cells != before {
                return Err(format!("{before} cells were found, then {}", found.cells));
            }
        }
        if found.cells < durable {
            return Err(format!(
                "{durable} cells were durable, {} are there",
                found.cells
            ));
        }
        // What a new writer starts from is durable from here on; it checks that itself.
        durable = found.cells;
    }
    let (mut log, found) = Log::resume(config, &mut disk).map_err(|error| error.to_string())?;
    assert_eq!(found.cells, durable);
    append(&mut log);
    log.finish().unwrap();
    let cells = log.next_cell();
    drop(log);
    let last = read_all(&disk).map_err(|error| error.to_string())?;
    assert_eq!(
        (last.cells, last.finished, last.end),
        (cells, true, End::Clean)
    );
    Ok(torn)
}

/// A new writer starts, and at some operation of its start the power fails again.
fn crash_while_resuming(
    disk: SimDisk,
    config: &LogConfig,
    random: &mut Random,
    faults: Faults,
) -> SimDisk {
    let fail = Some((1 + random.below(30), Fault::Io));
    let mut disk = disk.with_faults(Faults { fail, ..faults });
    let _ = Log::resume(config.clone(), &mut disk);
    disk.crash(random.next(), config.geometry(), faults)
}

#[test]
fn what_was_acknowledged_is_there_after_any_crash() {
    // `LOG_SEEDS=1000000 cargo test --release -p bus --test log crash` for a long run.
    let seeds = std::env::var("LOG_SEEDS").map_or(3000, |text| text.parse().unwrap());
    let mut torn = 0;
    for seed in 0..seeds {
        torn += lives(seed, false).unwrap_or_else(|lost| panic!("seed {seed}: {lost}"));
    }
    println!("{seeds} seeds, {torn} torn ends");
    assert!(torn > seeds / 4, "the simulation tears: {torn} torn ends");
}

/// The test above must be able to fail.
#[test]
fn a_disk_that_lies_about_syncs_is_noticed() {
    let caught = (0..100).filter(|&seed| lives(seed, true).is_err()).count();
    assert!(caught > 50, "{caught} of 100 lying disks were noticed");
}
