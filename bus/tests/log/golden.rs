//! Logs made by earlier versions of the format are read by this one.

use std::path::{Path, PathBuf};

use bus::disk::{Backend, Faults, SimDisk};
use bus::log::{End, FORMAT_VERSION, FrameHeader, Log, LogConfig, LogReader, Record, SCHEMA};

use crate::check::{append, read_all, record_at, sim, small};

const PAGE: usize = 4096;

fn golden(version: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("tests/log/golden").join(version)
}

fn copy_of(from: &Path) -> PathBuf {
    let to = std::env::temp_dir().join(format!("tapeline-golden-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&to);
    std::fs::create_dir(&to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
    to
}

/// Four segments by two writers: the second was killed before the third segment was full, and
/// the fourth was ended in order.
#[test]
fn a_log_of_version_1_is_read_and_gone_on_with() {
    let dir = golden("v1");
    let found = read_all(bus::disk::Directory::new(&dir)).unwrap();
    assert_eq!((found.cells, found.segments), (320, 4));
    assert_eq!((found.end, found.finished), (End::Clean, true));
    assert_eq!(
        (found.epoch, found.build_hash, found.config_hash),
        (1, 1, 2)
    );
    assert_eq!(LogReader::open_from(&dir, 300).unwrap().count(), 20 - 3);

    let dir = copy_of(&dir);
    let config = LogConfig {
        dir: dir.clone(),
        segment_bytes: 64 << 10,
        ..small()
    };
    let disk = config.open_disk(Backend::Plain).unwrap();
    let (mut log, _) = Log::resume(config, disk).unwrap();
    append(&mut log);
    log.finish().unwrap();
    drop(log);
    let again = read_all(bus::disk::Directory::new(&dir)).unwrap();
    assert_eq!((again.cells, again.segments, again.epoch), (321, 5, 2));
    std::fs::remove_dir_all(&dir).unwrap();
}

/// One segment of a few records, whose header says `schema` of them, and with `spoil` done to
/// each record's bytes: as a program with other records would have written it.
fn log_of_another(schema: &str, version: u32, spoil: impl Fn(&mut [u8])) -> SimDisk {
    let config = LogConfig {
        segment_bytes: 256 << 10,
        ..small()
    };
    let mut disk = sim(&config, 5, Faults::default());
    let mut log = Log::create(config, &mut disk).unwrap();
    for now in 0..40 {
        append(&mut log);
        log.turn(now, true).unwrap();
    }
    log.finish().unwrap();
    drop(log);
    let file = disk.files_mut().get_mut(&0).unwrap();
    file[12..16].copy_from_slice(&version.to_le_bytes());
    file[112..PAGE].fill(0);
    file[112..116].copy_from_slice(&(schema.len() as u32).to_le_bytes());
    file[120..120 + schema.len()].copy_from_slice(schema.as_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&file[..8]), &file[12..PAGE]);
    file[8..12].copy_from_slice(&crc.to_le_bytes());
    let salt = u32::from_le_bytes(file[48..52].try_into().unwrap());
    let (mut at, mut before) = (PAGE, crc);
    while let Some(head) = file
        .get(at..)
        .and_then(|at| FrameHeader::read(at.get(..PAGE)?, 8192))
    {
        let frame = &mut file[at..at + head.frame_bytes as usize];
        let cells = 64 * (1 + head.cell_count as usize);
        spoil(&mut frame[64..cells]);
        frame[28..32].copy_from_slice(&before.to_le_bytes());
        before = crc32c::crc32c_append(salt, &frame[4..]);
        frame[..4].copy_from_slice(&before.to_le_bytes());
        at += head.frame_bytes as usize;
    }
    disk
}

#[test]
fn a_field_that_was_added_where_there_were_zeros_is_passed_over() {
    let grown = SCHEMA.replacen("broken 1 0x89", "broken 2 0x89 venue@120:u64", 1);
    let disk = log_of_another(&grown, FORMAT_VERSION, |cells| {
        for at in (0..cells.len()).step_by(64) {
            if cells[at + 60] == 0x89 {
                cells[at + 120..at + 128].fill(7);
            }
        }
    });
    let mut signals = 0;
    for item in LogReader::over(&disk).unwrap() {
        match item.unwrap() {
            (cell, Record::Signal(signal)) => {
                let Record::Signal(want) = record_at(cell) else {
                    panic!("cell {cell}")
                };
                assert_eq!(
                    signal.body(),
                    want.body(),
                    "what is known of it is as it was"
                );
                assert_ne!(signal, want, "and the rest is there, for whoever knows it");
                signals += 1;
            }
            (cell, record) => assert_eq!(record, record_at(cell)),
        }
    }
    assert!(signals > 3);
}

#[test]
fn records_that_would_be_misread_and_newer_formats_are_refused_by_name() {
    let same = log_of_another(SCHEMA, FORMAT_VERSION, |_| {});
    read_all(&same).unwrap();
    let moved = SCHEMA.replacen(
        "broken 1 0x89 match@16:u64",
        "broken 2 0x89 match@24:u64",
        1,
    );
    for (schema, version, want) in [
        (
            moved.as_str(),
            FORMAT_VERSION,
            "record `broken` version 2 has `match` at byte 24",
        ),
        (
            "what?",
            FORMAT_VERSION,
            "line 1 of the description of its records",
        ),
        (SCHEMA, 3, "log format version 3, this program reads 1 to 2"),
    ] {
        let mut disk = log_of_another(schema, version, |_| {});
        let before = disk.files_mut().clone();
        let error = LogReader::over(&disk).map(drop).unwrap_err().to_string();
        assert!(
            error.contains("0000000000.seg: ") && error.contains(want),
            "{error}"
        );
        assert!(Log::resume(small(), &mut disk).is_err());
        assert_eq!(
            disk.files_mut(),
            &before,
            "a log that is not understood is not touched"
        );
    }
}
