//! A log read, and gone on with, from a cell in its middle.

use bus::disk::{Faults, Files};
use bus::log::{Damage, Log, LogError, LogReader, NoCell, Record};

use crate::check::{append, record_at, sim};
use crate::damage::{three_segments, tiny, whole_of};

const PAGE: usize = 4096;

fn no_cell<T>(result: Result<T, LogError>) -> NoCell {
    match result.map(|_| ()) {
        Err(LogError::NoCell { why, .. }) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn from_every_cell_come_the_records_that_follow_it() {
    let disk = three_segments(false);
    let all: Vec<(u64, Record)> = LogReader::over(&disk)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let end = bus::log::verify_files(&disk).unwrap().cells;
    for cell in 0..end {
        let Ok(index) = all.binary_search_by_key(&cell, |(at, _)| *at) else {
            let why = no_cell(LogReader::over_from(&disk, cell));
            assert_eq!(why, NoCell::Inside { next: cell + 1 }, "cell {cell}");
            continue;
        };
        let mut reader = LogReader::over_from(&disk, cell).unwrap();
        let rest: Vec<_> = reader.by_ref().map(Result::unwrap).collect();
        assert_eq!(rest, all[index..], "cell {cell}");
        assert_eq!(reader.recovered().cells, end);
        let mut reader = LogReader::over_from(&disk, cell).unwrap();
        let frame = reader.next_frame().unwrap().unwrap();
        assert_eq!(frame.first_cell, cell);
    }
    assert_eq!(LogReader::over_from(&disk, end).unwrap().count(), 0);
    for cell in [end + 1, end + 1000, u64::MAX] {
        let why = no_cell(LogReader::over_from(&disk, cell));
        assert_eq!(why, NoCell::Beyond { end }, "cell {cell}");
    }
}

#[test]
fn a_log_without_cells_has_its_beginning_only() {
    let config = tiny();
    let mut disk = sim(&config, 1, Faults::default());
    for is_begun in [false, true] {
        assert_eq!(LogReader::over_from(&disk, 0).unwrap().count(), 0);
        let why = no_cell(LogReader::over_from(&disk, 1));
        assert_eq!(why, NoCell::Beyond { end: 0 }, "begun: {is_begun}");
        if !is_begun {
            drop(Log::create(config.clone(), &mut disk).unwrap());
        }
    }
}

/// What lies before the segment that holds the cell is in the reader's checkpoint; all that
/// follows counts.
#[test]
fn damage_is_looked_for_from_the_segment_that_holds_the_cell() {
    let disk = three_segments(false);
    let firsts: Vec<u64> = (0..3).map(|segment| first_cell(&disk, segment)).collect();
    for spoilt in 0..3 {
        let mut disk = whole_of(&disk);
        disk.files_mut().get_mut(&spoilt).unwrap()[PAGE + 100] ^= 1;
        for (segment, &first) in firsts.iter().enumerate() {
            let read = LogReader::over_from(&disk, first)
                .and_then(|reader| reader.collect::<Result<Vec<_>, _>>());
            let resumed = Log::resume_from(tiny(), whole_of(&disk), first).map(|_| ());
            if spoilt < segment as u64 {
                assert!(read.is_ok() && resumed.is_ok(), "{spoilt} {segment}");
                continue;
            }
            for error in [read.unwrap_err(), resumed.unwrap_err()] {
                let LogError::Corrupt(corruption) = &error else {
                    panic!("{error}")
                };
                assert_eq!(
                    (corruption.segment, corruption.damage),
                    (spoilt, Damage::Frame)
                );
            }
        }
        // Every header counts, wherever one begins.
        disk.files_mut().get_mut(&spoilt).unwrap()[PAGE - 1] ^= 1;
        assert!(LogReader::over_from(&disk, firsts[2]).is_err());
    }
}

fn first_cell(disk: &impl Files, segment: u64) -> u64 {
    let mut page = vec![0; PAGE];
    disk.read(segment, 0, &mut page).unwrap();
    match bus::log::SegmentHeader::read(&page) {
        bus::log::Page0::Header(header, _) => header.first_cell,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_writer_that_goes_on_from_a_checkpoint_leaves_the_same_log() {
    let (whole, end) = {
        let disk = three_segments(false);
        let end = bus::log::verify_files(&disk).unwrap().cells;
        (disk, end)
    };
    for cell in [0, 2, end / 2 / 7 * 7, end] {
        let mut disk = whole_of(&whole);
        let (mut log, found) = Log::resume_from(tiny(), &mut disk, cell).unwrap();
        assert_eq!((found.cells, log.next_cell()), (end, end), "cell {cell}");
        append(&mut log);
        log.finish().unwrap();
        drop(log);
        assert!(crate::check::read_all(&disk).unwrap().cells > end);
        let (at, record) = LogReader::over_from(&disk, end)
            .unwrap()
            .next()
            .unwrap()
            .unwrap();
        assert_eq!((at, record), (end, record_at(end)));
    }
    let mut disk = whole_of(&whole);
    let before = disk.files_mut().clone();
    let why = no_cell(Log::resume_from(tiny(), &mut disk, end + 1));
    assert_eq!(why, NoCell::Beyond { end });
    assert_eq!(disk.files_mut(), &before, "a refused log is not touched");
}

/// A reader of a log that is being written: what the log itself says of what is durable grows,
/// never goes beyond what was read, and covers all once the log is ended.
#[test]
fn a_reader_knows_what_the_log_proves_durable() {
    for finish in [false, true] {
        let disk = three_segments(finish);
        let mut reader = LogReader::over(&disk).unwrap();
        let mut last = 0;
        while let Some(item) = reader.next() {
            let (cell, _) = item.unwrap();
            assert!(reader.durable_upto() >= last && reader.durable_upto() <= cell);
            last = reader.durable_upto();
        }
        let end = reader.recovered().cells;
        assert_eq!(reader.durable_upto() == end, finish, "{last} of {end}");
        assert!(last > 0);
    }
}
