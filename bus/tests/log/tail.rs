//! Following a log that is being written, and named readers with their positions.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use bus::disk::{Backend, Faults, RealDisk};
use bus::log::tail::{From, Until, cell_at, ends};
use bus::log::{
    Consumer, Log, LogConfig, LogError, LogReader, NoCell, Record, Retention, Tail, consumers,
    retain,
};
use bus::{Event, Kind, Ts};

use crate::check::{append, record_at, sim, small};
use crate::damage::tiny;

fn temporary(name: &str) -> LogConfig {
    let dir = std::env::temp_dir().join(format!("tapeline-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    LogConfig { dir, ..tiny() }
}

fn create(config: &LogConfig) -> Log<RealDisk> {
    let disk = config.open_disk(Backend::Plain).unwrap();
    Log::create(config.clone(), disk).unwrap()
}

fn resume(config: &LogConfig) -> Log<RealDisk> {
    let disk = config.open_disk(Backend::Plain).unwrap();
    Log::resume(config.clone(), disk).unwrap().0
}

/// All that a tail says now, each record checked.
fn drain(tail: &mut Tail) -> Result<u64, LogError> {
    let mut count = 0;
    loop {
        let next = tail.position();
        let Some((cell, record)) = tail.poll()? else {
            return Ok(count);
        };
        assert_eq!((cell, record), (next, record_at(cell)));
        count += 1;
    }
}

/// Turn by turn, over many segments, an ordered end, a crash and two more writers: a tail says
/// every record once, in order, and never one that the log does not yet prove durable.
#[test]
fn a_tail_says_every_record_once_and_only_what_is_durable() {
    let config = temporary("tail");
    let mut log = create(&config);
    let mut now = 0;
    let mut durable = Tail::open(&config.dir, From::Start, Until::Durable).unwrap();
    let mut written = Tail::open(&config.dir, From::Start, Until::Written).unwrap();
    for life in 0..3 {
        for round in 0..60 {
            for _ in 0..(7 * round + life) % 90 {
                if log.room_cells() >= 2 {
                    append(&mut log);
                }
            }
            now += 200_000_000;
            log.turn(now, true).unwrap();
            let upto = log.durable_upto();
            drain(&mut durable).unwrap();
            assert!(durable.position() <= log.durable_upto().max(upto));
            drain(&mut written).unwrap();
            assert!(written.position() >= durable.position());
            assert!(written.position() <= log.next_cell());
        }
        while log.durable_upto() < log.next_cell() {
            log.turn(now, true).unwrap();
        }
        if life == 1 {
            log.finish().unwrap();
            drain(&mut durable).unwrap();
            assert_eq!(durable.position(), log.durable_upto());
            assert!(durable.is_finished());
        }
        let end = log.next_cell();
        drop(log);
        drain(&mut written).unwrap();
        assert_eq!(written.position(), end, "life {life}");
        log = resume(&config);
        // The new writer's word is that all before it is durable.
        drain(&mut durable).unwrap();
        assert_eq!(durable.position(), end, "life {life}");
        assert!(!durable.is_finished());
    }
    let (end, upto) = ends(&config.dir).unwrap();
    assert_eq!((end, upto), (log.next_cell(), log.next_cell()));
    // From the middle and from the end it is the same log.
    let mut middle = Tail::open(&config.dir, From::Cell(700), Until::Durable).unwrap();
    assert!(drain(&mut middle).unwrap() > 0);
    let mut late = Tail::open(&config.dir, From::End, Until::Written).unwrap();
    assert_eq!((late.position(), drain(&mut late).unwrap()), (end, 0));
    append(&mut log);
    log.finish().unwrap();
    assert_eq!(drain(&mut late).unwrap(), 1);
    std::fs::remove_dir_all(&config.dir).unwrap();
}

/// A reader in another thread, with nothing but the files between them.
#[test]
fn a_tail_keeps_up_with_a_writer_in_another_thread() {
    let config = LogConfig {
        commit_age_ns: 1,
        ..temporary("tail-thread")
    };
    const CELLS: u64 = 30_000;
    let mut log = create(&config);
    let dir = config.dir.clone();
    let reader = std::thread::spawn(move || {
        let mut tail = Tail::open(&dir, From::Start, Until::Durable).unwrap();
        while !tail.is_finished() {
            if drain(&mut tail).unwrap() == 0 {
                std::thread::yield_now();
            }
        }
        tail.position()
    });
    let mut now = 0;
    while log.next_cell() < CELLS {
        while log.next_cell() < CELLS && log.room_cells() >= 2 {
            append(&mut log);
        }
        now += 1;
        log.turn(now, false).unwrap();
    }
    log.finish().unwrap();
    assert_eq!(reader.join().unwrap(), log.next_cell());
    drop(log);
    std::fs::remove_dir_all(&config.dir).unwrap();
}

#[test]
fn damage_behind_which_the_log_goes_on_is_no_pause() {
    let config = temporary("tail-damage");
    let mut log = create(&config);
    let mut now = 0;
    while log.stats().segments < 3 {
        if log.room_cells() >= 2 {
            append(&mut log);
        }
        now += 1;
        log.turn(now, true).unwrap();
    }
    log.finish().unwrap();
    drop(log);
    let path = config.dir.join("0000000000.seg");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4096 + 100] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    for until in [Until::Durable, Until::Written] {
        let error = Tail::open(&config.dir, From::Start, until).and_then(|mut t| drain(&mut t));
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("0000000000.seg: damaged at byte 4096"),
            "{error}"
        );
    }
    std::fs::remove_dir_all(&config.dir).unwrap();
}

#[test]
fn a_tail_that_is_overtaken_is_told_where_the_log_begins_now() {
    let config = temporary("tail-retained");
    let mut log = create(&config);
    let mut now = 0;
    let mut slow = Tail::open(&config.dir, From::Start, Until::Written).unwrap();
    while log.stats().segments < 6 {
        if log.room_cells() >= 2 {
            append(&mut log);
        }
        now += 1;
        log.turn(now, true).unwrap();
    }
    log.finish().unwrap();
    let policy = Retention {
        bytes_max: Some(0),
        ..Retention::default()
    };
    let done = retain(&config.dir, &policy, u64::MAX, SystemTime::now()).unwrap();
    assert!(done.removed_segments >= 4);
    let Err(LogError::NoCell { why, .. }) = drain(&mut slow) else {
        panic!("what it was to read is gone")
    };
    let first = done.first_cell;
    assert_eq!(why, NoCell::Below { first });
    let again = Tail::open(&config.dir, From::Cell(0), Until::Durable).map(drop);
    assert!(
        again
            .unwrap_err()
            .to_string()
            .contains(&format!("the first that is kept is {first}"))
    );
    let mut tail = Tail::open(&config.dir, From::Start, Until::Durable).unwrap();
    assert_eq!(tail.position(), first);
    assert!(drain(&mut tail).unwrap() > 0);
    std::fs::remove_dir_all(&config.dir).unwrap();
}

#[test]
fn a_time_is_found_to_the_record() {
    let config = small();
    let mut disk = sim(&config, 2, Faults::default());
    let mut log = Log::create(config, &mut disk).unwrap();
    let mut now = 0;
    while log.next_cell() < 3000 {
        if log.room_cells() > 0 {
            let cell = log.next_cell();
            log.append_event(&Event {
                ts_event: Ts(1_000 + 10 * (cell / 3) as i64),
                seq: cell,
                ..Event::new(Kind::Add)
            });
        }
        now += 1;
        log.turn(now, false).unwrap();
    }
    log.finish().unwrap();
    drop(log);
    for (ts, cell) in [
        (0, 0),
        (1_000, 0),
        (1_001, 3),
        (5_000, 1200),
        (5_005, 1203),
        (99_999, 3000),
    ] {
        assert_eq!(cell_at(&disk, Ts(ts)).unwrap(), cell, "time {ts}");
    }
    let mut tail = Tail::over(|| &disk, From::Time(Ts(5_000)), Until::Durable).unwrap();
    let (cell, record) = tail.poll().unwrap().unwrap();
    assert_eq!(cell, 1200);
    assert!(matches!(record, Record::Event(event) if event.ts_event == Ts(5_000)));
}

#[test]
fn positions_are_kept_by_name_and_cannot_be_mistaken() {
    let config = temporary("consumers");
    let uuid = config.uuid;
    let mut log = create(&config);
    append(&mut log);
    log.finish().unwrap();
    let dir = &config.dir;
    assert_eq!(consumers(dir).unwrap(), []);
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let mut first = Consumer::open(dir, "risk-1", uuid).unwrap();
    assert_eq!(first.position(), None);
    first.store(17, now).unwrap();
    first.store(18, now).unwrap();
    let in_use = Consumer::open(dir, "risk-1", uuid).unwrap_err().to_string();
    assert!(
        in_use.contains("another process is this consumer"),
        "{in_use}"
    );
    Consumer::open(dir, "b", uuid)
        .unwrap()
        .store(5, now)
        .unwrap();
    let found = consumers(dir).unwrap();
    let seen: Vec<_> = found
        .iter()
        .map(|p| p.as_ref().unwrap())
        .map(|p| (p.name.as_str(), p.cell, p.stored, p.is_open))
        .collect();
    assert_eq!(seen, [("b", 5, now, false), ("risk-1", 18, now, true)]);
    drop(first);
    assert_eq!(
        Consumer::open(dir, "risk-1", uuid).unwrap().position(),
        Some(18)
    );
    for name in [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "a\0",
        ".hidden",
        "x.lock",
        "x.tmp",
        &"x".repeat(33),
    ] {
        assert!(Consumer::open(dir, name, uuid).is_err(), "{name:?}");
    }
    let other = Consumer::open(dir, "b", *b"another log.....").unwrap_err();
    assert!(
        other.to_string().contains("a position in another log"),
        "{other}"
    );
    let path: PathBuf = dir.join("consumers/b");
    let whole = std::fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut spoilt = whole.clone();
        spoilt[at] ^= 1 << (at % 8);
        std::fs::write(&path, &spoilt).unwrap();
        assert!(Consumer::open(dir, "b", uuid).is_err(), "byte {at}");
    }
    // The log does not care.
    assert_eq!(LogReader::open(dir).unwrap().count(), 1);
    drop(log);
    let mut log = resume(&config);
    log.finish().unwrap();
    std::fs::remove_dir_all(dir).unwrap();
}
