//! What the tests share: small logs of numbered records, and what must be in them.

use bus::disk::{Disk, Faults, Files, SimDisk};
use bus::log::{Log, LogConfig, LogError, LogReader, Record, Recovered};
use bus::{Body, Event, Kind, Signal, Ts};

/// A log small enough to be looked at byte by byte.
pub(crate) fn small() -> LogConfig {
    LogConfig {
        dir: "unused".into(),
        segment_bytes: 64 << 10,
        frame_bytes_max: 8 << 10,
        frames_in_flight_max: 3,
        frames_waiting_max: 2,
        spares: 2,
        commit_age_ns: 3,
        uuid: *b"a log of a test.",
        build_hash: 1,
        config_hash: 2,
    }
}

/// What stands at cell `cell`, where a record begins: every 7th is a signal, so that some would
/// go over a frame's end.
pub(crate) fn record_at(cell: u64) -> Record {
    if cell % 7 == 3 {
        let body = Body::Broken(bus::signal::Broken { match_number: cell });
        Record::Signal(Signal::new(Ts(cell as i64), cell, 5, 1, 2, body))
    } else {
        Record::Event(Event {
            seq: cell,
            order: !cell,
            ..Event::new(Kind::Add)
        })
    }
}

/// Appends the record that belongs at the next cell. There must be room for two cells.
pub(crate) fn append<D: Disk>(log: &mut Log<D>) {
    match record_at(log.next_cell()) {
        Record::Event(event) => log.append_event(&event),
        Record::Signal(signal) => log.append_signal(&signal),
    }
}

/// Reads everything, and checks that each record is the one that belongs at its cell, without
/// a hole.
pub(crate) fn read_all(files: impl Files) -> Result<Recovered, LogError> {
    let mut reader = LogReader::over(files)?;
    let mut next = 0;
    for item in &mut reader {
        let (cell, record) = item?;
        assert_eq!(cell, next, "cells follow each other");
        assert_eq!(
            record,
            record_at(cell),
            "cell {cell} holds what was put there"
        );
        next += match record {
            Record::Event(_) => 1,
            Record::Signal(_) => 2,
        };
    }
    let recovered = reader.recovered();
    assert_eq!(recovered.cells, next);
    Ok(recovered)
}

/// A simulated disk for `config`.
pub(crate) fn sim(config: &LogConfig, seed: u64, faults: Faults) -> SimDisk {
    SimDisk::new(config.geometry(), seed, faults)
}

/// Appends until `cells` are there, turning the log whenever it is out of room.
pub(crate) fn fill<D: Disk>(log: &mut Log<D>, cells: u64) -> Result<(), LogError> {
    let mut now = 0;
    while log.next_cell() < cells {
        while log.next_cell() < cells && log.room_cells() >= 2 {
            append(log);
        }
        now += 1;
        log.turn(now, false)?;
    }
    Ok(())
}
