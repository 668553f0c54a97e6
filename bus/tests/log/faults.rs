//! Every operation fails once: the log stops at it, says so, and recovers.
//!
//! The loop is SQLite's: the first operation fails, then the second, and so on, until a run ends
//! before its turn comes. `cargo test -p bus --test log faults -- --nocapture` says how many of
//! each kind failed.

use std::path::PathBuf;

use bus::disk::sim::Fired;
use bus::disk::{Cause, DiskError, Fault, Faults, Op};
use bus::log::{Log, LogConfig, LogError, verify_files};

use crate::check::{append, fill, read_all, sim, small};

const CELLS: u64 = 3000;

/// One writer's life from its start to its end; how far it knew to be durable when it stopped.
fn work(
    config: &LogConfig,
    disk: &mut bus::disk::SimDisk,
    resume: bool,
) -> (u64, Result<(), LogError>) {
    let opened = if resume {
        Log::resume(config.clone(), disk).map(|(log, _)| log)
    } else {
        Log::create(config.clone(), disk)
    };
    let mut log = match opened {
        Ok(log) => log,
        Err(error) => return (0, Err(error)),
    };
    let goal = log.next_cell() + CELLS;
    let result = fill(&mut log, goal).and_then(|()| log.finish());
    if let Err(error) = &result
        && !matches!(error, LogError::NoSpace(space) if space.op == Op::Prepare)
    {
        let durable = log.durable_upto();
        for now in 0..20 {
            assert_eq!(
                log.turn(1000 + now, true).as_ref(),
                Err(error),
                "an error is final"
            );
        }
        assert_eq!(log.finish().as_ref(), Err(error));
        assert_eq!(
            log.durable_upto(),
            durable,
            "nothing is durable after an error"
        );
        assert_eq!(log.room_cells(), 0, "nothing is taken after an error");
    }
    (log.durable_upto(), result)
}

pub(crate) fn every_operation_fails(fault: Fault, resume: bool) {
    let config = small();
    let mut fired = 0;
    let mut kinds = Fired::default();
    for nth in 1.. {
        let faults = Faults {
            steps_max: 3,
            ..Faults::default()
        };
        let mut disk = sim(&config, nth, faults);
        if resume {
            work(&config, &mut disk, false).1.unwrap();
        }
        let before = disk.op_count();
        let failing = Faults {
            fail: Some((nth, fault)),
            ..faults
        };
        let mut disk = disk.crash(nth, config.geometry(), failing);
        let (durable, result) = work(&config, &mut disk, resume);
        if !disk.fault_fired() {
            result.unwrap();
            println!("{fault:?}: {fired} operations failed, {before} before\n{kinds}");
            break;
        }
        fired += 1;
        // Only one failure can be lived with: a segment that is not needed to the end.
        if let Err(error) = &result {
            let text = error.to_string();
            assert!(
                text.contains("sim"),
                "operation {nth} names its file: {text}"
            );
        }
        let mut disk = disk.crash(!nth, config.geometry(), faults);
        kinds.add(&disk.fired());
        let found = read_all(&disk).unwrap();
        assert!(
            found.cells >= durable,
            "operation {nth}: {durable}, found {}",
            found.cells
        );
        let (mut log, _) = Log::resume(config.clone(), &mut disk).unwrap();
        append(&mut log);
        log.finish().unwrap();
        drop(log);
        assert!(read_all(&disk).unwrap().finished);
    }
    assert!(fired > 30, "{fired} operations failed");
}

#[test]
fn any_operation_of_a_new_log_may_fail() {
    for fault in [Fault::Io, Fault::NoSpace, Fault::Short] {
        every_operation_fails(fault, false);
    }
}

#[test]
fn any_operation_of_a_resumed_log_may_fail() {
    for fault in [Fault::Io, Fault::NoSpace, Fault::Short] {
        every_operation_fails(fault, true);
    }
}

#[test]
fn a_full_disk_loses_nothing_that_was_appended() {
    let config = small();
    for segments in 1..8 {
        let faults = Faults {
            capacity_bytes: Some(segments * config.segment_bytes),
            steps_max: 4,
            ..Faults::default()
        };
        let mut disk = sim(&config, segments, faults);
        let mut log = Log::create(config.clone(), &mut disk).unwrap();
        let error = fill(&mut log, u64::MAX).unwrap_err();
        assert!(matches!(error, LogError::NoSpace(_)), "{error}");
        assert!(log.stats().is_disk_full);
        // The error came early enough for what was still to be said.
        while log.room_cells() >= 2 {
            append(&mut log);
        }
        log.finish().unwrap();
        let cells = log.next_cell();
        assert_eq!(log.durable_upto(), cells);
        assert_eq!(log.stats().segments, segments);
        drop(log);
        let found = read_all(&disk).unwrap();
        assert_eq!((found.cells, found.finished), (cells, true));
        let mut disk = disk.crash(1, config.geometry(), Faults::default());
        let (mut log, _) = Log::resume(config.clone(), &mut disk).unwrap();
        fill(&mut log, cells + 100).unwrap();
    }
}

#[test]
fn a_disk_too_full_to_begin_says_so() {
    let config = small();
    let faults = Faults {
        capacity_bytes: Some(1000),
        ..Faults::default()
    };
    let error = Log::create(config.clone(), sim(&config, 1, faults)).unwrap_err();
    let text = error.to_string();
    let want = "no space for the log: sim/0000000000.seg: prepare failed: No space left on device";
    assert!(text.starts_with(want), "{text}");
}

#[test]
fn a_slow_disk_makes_the_caller_wait_and_loses_nothing() {
    let config = small();
    let mut disk = sim(
        &config,
        7,
        Faults {
            steps_max: 500,
            ..Faults::default()
        },
    );
    let mut log = Log::create(config.clone(), &mut disk).unwrap();
    let mut waits = 0;
    for now in 0..20_000 {
        waits += u64::from(log.room_cells() < 2);
        while log.room_cells() >= 2 {
            append(&mut log);
        }
        log.turn(now, false).unwrap();
    }
    assert!(waits > 1000, "the disk was slow: {waits} waits");
    log.finish().unwrap();
    let cells = log.next_cell();
    drop(log);
    assert_eq!(read_all(&disk).unwrap().cells, cells);
}

#[test]
fn an_error_says_file_operation_and_cause() {
    let path = PathBuf::from("log/0000000003.seg");
    let short = DiskError {
        op: Op::Write,
        path: path.clone(),
        cause: Cause::Short {
            got: 512,
            want: 8192,
        },
    };
    let text = LogError::from(short).to_string();
    assert_eq!(
        text,
        "the log failed: log/0000000003.seg: write failed: 512 bytes of 8192"
    );
    let sync = DiskError {
        op: Op::Sync,
        path,
        cause: Cause::Errno(5),
    };
    let text = LogError::from(sync).to_string();
    assert!(
        text.contains("0000000003.seg: sync failed: Input/output error"),
        "{text}"
    );
}

#[test]
fn an_idle_turn_writes_what_there_is_and_an_old_frame_does_not_wait() {
    let config = LogConfig {
        commit_age_ns: 10,
        ..small()
    };
    let mut disk = sim(&config, 1, Faults::default());
    let mut log = Log::create(config.clone(), &mut disk).unwrap();
    append(&mut log);
    log.turn(0, false).unwrap();
    assert_eq!(log.stats().in_flight, 0, "young, and more may come");
    log.turn(10, false).unwrap();
    assert_eq!(log.stats().in_flight, 1, "old enough");
    append(&mut log);
    log.turn(11, true).unwrap();
    log.turn(12, true).unwrap();
    assert_eq!(log.durable_upto(), 1);
    log.turn(13, true).unwrap();
    log.turn(14, true).unwrap();
    assert_eq!(log.durable_upto(), 2, "idle");
    let commits: Vec<_> = log.commits().collect();
    assert_eq!(
        commits
            .iter()
            .map(|commit| commit.end_cell)
            .collect::<Vec<_>>(),
        [1, 2]
    );
    assert_eq!((commits[0].opened_ns, commits[0].submitted_ns), (0, 10));
    drop(log);
    verify_files(&disk).unwrap();
}

#[test]
fn a_configuration_that_makes_no_sense_is_refused() {
    let odd = LogConfig {
        segment_bytes: 70_000,
        ..small()
    };
    let error = odd.open_disk(bus::disk::Backend::Plain).unwrap_err();
    let want = "log configuration: segment_bytes is not whole pages of 4096";
    assert_eq!(error.to_string(), want);
    for bad in [
        LogConfig {
            frame_bytes_max: 0,
            ..small()
        },
        LogConfig {
            segment_bytes: 8192,
            ..small()
        },
        LogConfig {
            frames_in_flight_max: 0,
            ..small()
        },
        LogConfig {
            spares: 1,
            ..small()
        },
    ] {
        let disk = sim(&small(), 0, Faults::default());
        assert!(matches!(
            Log::create(bad, disk).unwrap_err(),
            LogError::Config(_)
        ));
    }
}
