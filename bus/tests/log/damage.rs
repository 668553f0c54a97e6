//! A log whose bytes were changed after they were durable: every change is noticed, and only
//! what a crash could have left is taken for an end.

use bus::disk::sim::Random;
use bus::disk::{Fault, Faults, Files, SimDisk};
use bus::log::{
    Damage, End, FrameHeader, Log, LogConfig, LogError, LogReader, Page0, Recovered, SegmentHeader,
    verify_files,
};

use crate::check::{append, read_all, sim, small};

const PAGE: usize = 4096;
const SEGMENT: usize = 10 * PAGE;

pub(crate) fn tiny() -> LogConfig {
    LogConfig {
        segment_bytes: SEGMENT as u64,
        frame_bytes_max: 8192,
        frames_in_flight_max: 1,
        ..small()
    }
}

/// Three segments, the last one half full, all of it durable; two spares.
pub(crate) fn three_segments(finish: bool) -> SimDisk {
    let config = tiny();
    let mut disk = sim(&config, 3, Faults::default());
    let mut log = Log::create(config, &mut disk).unwrap();
    let mut now = 0;
    let mut rest = 3;
    // Frames of two pages and then of one, each durable before the next.
    while rest > 0 {
        for _ in 0..if log.stats().segments < 3 { 80 } else { 20 } {
            append(&mut log);
        }
        while log.durable_upto() < log.next_cell() || log.stats().spares < 2 {
            now += 1;
            log.turn(now, true).unwrap();
        }
        rest -= u64::from(log.stats().segments == 3);
    }
    if finish {
        log.finish().unwrap();
    }
    drop(log);
    let found = verify_files(&disk).unwrap();
    assert_eq!(
        (found.segments, found.end, found.finished),
        (3, End::Clean, finish)
    );
    disk
}

/// Where the frames of a segment are, with what each says was durable, and their end.
fn frames(disk: &mut SimDisk, segment: u64) -> (Vec<(usize, FrameHeader)>, usize) {
    let file = &disk.files_mut()[&segment];
    let mut frames = Vec::new();
    let mut at = PAGE;
    while let Some(head) = file
        .get(at..at + PAGE)
        .and_then(|page| FrameHeader::read(page, 8192))
    {
        frames.push((at, head));
        at += head.frame_bytes as usize;
    }
    (frames, at)
}

/// How a flipped byte must be classed.
#[derive(Debug, PartialEq)]
enum Class {
    Torn {
        segment: u64,
        offset: u64,
        cells: u64,
    },
    Corrupt {
        segment: u64,
    },
}

fn class(result: Result<Recovered, LogError>) -> Class {
    match result {
        Ok(Recovered {
            end: End::Torn {
                segment, offset, ..
            },
            cells,
            ..
        }) => Class::Torn {
            segment,
            offset,
            cells,
        },
        Ok(recovered) => panic!("not noticed: {recovered:?}"),
        Err(LogError::Corrupt(corruption)) => {
            assert!(
                corruption
                    .path
                    .ends_with(format!("{:010}.seg", corruption.segment))
            );
            Class::Corrupt {
                segment: corruption.segment,
            }
        }
        Err(error) => panic!("{error}"),
    }
}

fn flip_every_byte(finish: bool) {
    let mut disk = three_segments(finish);
    let (last_frames, end) = frames(&mut disk, 2);
    let cells = verify_files(&disk).unwrap().cells;
    assert!(last_frames.len() >= 3);
    let reach = end + 8192 + PAGE;
    assert!(reach < SEGMENT);
    for segment in disk.list().unwrap() {
        for at in 0..disk.files_mut()[&segment].len() {
            let corrupt = Class::Corrupt { segment };
            let want = match segment {
                0 | 1 => corrupt,
                // A log is made shorter only when its last seal is durable.
                2 if at < PAGE || finish => corrupt,
                2 => match last_frames.iter().rposition(|(start, _)| *start <= at) {
                    Some(index) if at < end => {
                        let (start, head) = last_frames[index];
                        let later = &last_frames[index + 1..];
                        if later
                            .iter()
                            .any(|(_, later)| later.durable_upto > head.first_cell)
                        {
                            corrupt
                        } else {
                            let (offset, cells) = (start as u64, head.first_cell);
                            Class::Torn {
                                segment,
                                offset,
                                cells,
                            }
                        }
                    }
                    _ if at < reach => Class::Torn {
                        segment,
                        offset: end as u64,
                        cells,
                    },
                    _ => corrupt,
                },
                3 if at < PAGE => Class::Torn {
                    segment,
                    offset: 0,
                    cells,
                },
                _ => corrupt,
            };
            let bit = 1 << (at % 8);
            disk.files_mut().get_mut(&segment).unwrap()[at] ^= bit;
            let found = class(verify_files(&disk));
            assert_eq!(found, want, "segment {segment}, byte {at}");
            if finish && segment == 2 && (PAGE..end).contains(&at) {
                // The file is as long as it should be: what is wrong is the frame that holds the byte.
                let index = last_frames.iter().rposition(|(start, _)| *start <= at);
                let start = last_frames[index.expect("a frame begins before it")].0 as u64;
                match verify_files(&disk) {
                    Err(LogError::Corrupt(found)) => {
                        assert!(
                            found.offset == start && !matches!(found.damage, Damage::Length { .. }),
                            "byte {at}: {found}"
                        );
                    }
                    other => panic!("{other:?}"),
                }
            }
            disk.files_mut().get_mut(&segment).unwrap()[at] ^= bit;
        }
    }
    verify_files(&disk).unwrap();
}

#[test]
fn every_flipped_byte_is_noticed_and_classed() {
    flip_every_byte(false);
}

#[test]
fn every_flipped_byte_of_a_finished_log_is_noticed_and_classed() {
    flip_every_byte(true);
}

/// Where the feed rests, the last frames too are known to have been durable.
#[test]
fn after_a_rest_damage_to_the_last_frame_is_no_torn_end() {
    let config = tiny();
    for rests in [false, true] {
        let mut disk = sim(&config, 3, Faults::default());
        let mut log = Log::create(config.clone(), &mut disk).unwrap();
        append(&mut log);
        for now in (0..10).map(|turn| turn * if rests { 100_000_000 } else { 1 }) {
            log.turn(now, true).unwrap();
        }
        assert_eq!(log.durable_upto(), 1);
        drop(log);
        assert_eq!(read_all(&disk).unwrap().cells, 1);
        disk.files_mut().get_mut(&0).unwrap()[PAGE + 70] ^= 1;
        match class(verify_files(&disk)) {
            Class::Corrupt { segment: 0 } => assert!(rests),
            Class::Torn { cells: 0, .. } => assert!(!rests),
            other => panic!("{other:?}"),
        }
    }
}

/// Zeros from some sector to the end of the log, as if nothing after it had been written.
#[test]
fn a_log_that_stops_at_any_sector_keeps_what_was_before() {
    let whole = three_segments(false);
    for cut in (0..3 * SEGMENT).step_by(512) {
        let mut disk = three_segments(false);
        let (segment, at) = ((cut / SEGMENT) as u64, cut % SEGMENT);
        for (&number, file) in disk.files_mut() {
            if number >= segment {
                let from = if number == segment { at } else { 0 };
                file[from..].fill(0);
            }
        }
        let found = read_all(&disk).unwrap();
        let (frames, end) = frames(&mut whole_of(&whole), segment);
        // What is zeros anyway is not missed.
        let whole_file = &whole_of(&whole).files_mut()[&segment].clone();
        let is_kept = |start: usize, head: &FrameHeader| {
            let frame_end = start + head.frame_bytes as usize;
            frame_end <= at || (start < at && whole_file[at..frame_end].iter().all(|&b| b == 0))
        };
        let kept = frames.iter().filter(|(start, head)| is_kept(*start, head));
        let last = kept.clone().next_back();
        let before = first_cell(&whole, segment);
        assert_eq!(
            found.cells,
            last.map_or(before, |(_, head)| head.end_cell()),
            "cut at {cut}"
        );
        let start = last.map_or(PAGE, |(start, head)| start + head.frame_bytes as usize);
        if at >= PAGE && at < end && at > start {
            // The frame that was cut shows, unless it was cut before anything but zeros.
            let (segment, offset) = (segment, start as u64);
            assert!(
                matches!(found.end, End::Torn { segment: s, offset: o, .. }
                    if (s, o) == (segment, offset)),
                "cut at {cut}: {:?}",
                found.end
            );
        }
    }
}

pub(crate) fn whole_of(disk: &SimDisk) -> SimDisk {
    let config = tiny();
    let mut copy = sim(&config, 0, Faults::default());
    for segment in disk.list().unwrap() {
        let mut bytes = vec![0; disk.len(segment).unwrap() as usize];
        disk.read(segment, 0, &mut bytes).unwrap();
        copy.files_mut().insert(segment, bytes);
    }
    copy
}

fn first_cell(disk: &SimDisk, segment: u64) -> u64 {
    let mut page = vec![0; PAGE];
    disk.read(segment, 0, &mut page).unwrap();
    match SegmentHeader::read(&page) {
        bus::log::Page0::Header(header, _) => header.first_cell,
        other => panic!("{other:?}"),
    }
}

/// A file is made whole before it is used: a short one is no crash's work.
#[test]
fn a_file_that_was_made_shorter_is_refused() {
    let mut disk = three_segments(true);
    for segment in 0..3 {
        let whole = disk.files_mut()[&segment].clone();
        for len in (0..whole.len()).step_by(512) {
            disk.files_mut().get_mut(&segment).unwrap().truncate(len);
            assert_eq!(
                class(verify_files(&disk)),
                Class::Corrupt { segment },
                "{len} bytes"
            );
            disk.files_mut().insert(segment, whole.clone());
        }
        let mut longer = whole.clone();
        longer.resize(SEGMENT + PAGE, 0);
        disk.files_mut().insert(segment, longer);
        assert_eq!(class(verify_files(&disk)), Class::Corrupt { segment });
        disk.files_mut().insert(segment, whole);
    }
}

#[test]
fn a_missing_segment_is_named() {
    for missing in 0..2 {
        let mut disk = three_segments(false);
        disk.files_mut().remove(&missing);
        let error = verify_files(&disk).unwrap_err();
        let LogError::Corrupt(corruption) = &error else {
            panic!("{error}")
        };
        // The segment after it says so first, or the hole in the numbers.
        assert!(
            corruption.segment == missing || corruption.segment == missing + 1,
            "{error}"
        );
        assert!(Log::resume(tiny(), &mut disk).is_err());
    }
    // The last one's spares still stand after the hole.
    let mut disk = three_segments(false);
    disk.files_mut().remove(&2);
    let error = verify_files(&disk).unwrap_err();
    let LogError::Corrupt(corruption) = &error else {
        panic!("{error}")
    };
    assert_eq!(
        (corruption.segment, corruption.damage),
        (2, Damage::Missing)
    );
    assert!(
        error
            .to_string()
            .contains("0000000002.seg: damaged at byte 0"),
        "{error}"
    );
}

#[test]
fn a_segment_of_another_log_is_refused() {
    let mut disk = three_segments(false);
    let config = LogConfig {
        uuid: *b"an other log....",
        ..tiny()
    };
    let mut other = sim(&config, 1, Faults::default());
    drop(Log::create(config, &mut other).unwrap());
    let stranger = other.files_mut()[&0].clone();
    disk.files_mut().insert(0, stranger);
    let error = verify_files(&disk).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("uuid does not follow from the segment before"),
        "{error}"
    );
}

#[test]
fn damage_is_refused_by_the_writer_too_and_nothing_is_touched() {
    let mut disk = three_segments(false);
    disk.files_mut().get_mut(&1).unwrap()[PAGE + 100] ^= 1;
    let before = disk.files_mut().clone();
    let error = Log::resume(tiny(), &mut disk).unwrap_err();
    let LogError::Corrupt(corruption) = &error else {
        panic!("{error}")
    };
    assert_eq!((corruption.segment, corruption.offset), (1, PAGE as u64));
    assert_eq!(corruption.cell, first_cell(&disk, 1));
    assert_eq!(disk.files_mut(), &before);
    // The reader gives all that comes before.
    let mut reader = LogReader::over(&disk).unwrap();
    let good = reader.by_ref().take_while(Result::is_ok).count();
    assert!(good > 10);
    assert!(reader.next().is_none(), "an error is the last item");
}

/// A drive that does not write the sectors of a page in order can leave half a header, and the
/// new writer can die at any operation while it clears that away.
#[test]
fn a_header_that_was_under_way_is_no_damage() {
    let cells = verify_files(three_segments(false)).unwrap().cells;
    for nth in 1.. {
        let mut disk = three_segments(false);
        disk.files_mut().get_mut(&3).unwrap()[700] = 1;
        let torn = End::Torn {
            segment: 3,
            offset: 0,
            dropped_bytes: PAGE as u64,
        };
        assert_eq!(verify_files(&disk).unwrap().end, torn);
        let fail = Some((nth, Fault::Io));
        let mut disk = disk.with_faults(Faults {
            fail,
            ..Faults::default()
        });
        let _ = Log::resume(tiny(), &mut disk);
        let is_last = !disk.fault_fired();
        let mut disk = disk.crash(nth, tiny().geometry(), Faults::default());
        assert_eq!(verify_files(&disk).unwrap().cells, cells, "operation {nth}");
        let (mut log, _) = Log::resume(tiny(), &mut disk).unwrap();
        append(&mut log);
        log.finish().unwrap();
        drop(log);
        assert!(read_all(&disk).unwrap().cells > cells);
        if is_last {
            assert!(nth > 10);
            break;
        }
    }
}

/// Checksums keep out accidents, not people: whatever a header says, reading it is safe.
#[test]
fn headers_with_made_up_fields_and_good_checksums_are_safe_to_read() {
    let mut random = Random(5);
    let whole = three_segments(false);
    let mut refused = 0;
    for _ in 0..20_000 {
        let mut disk = whole_of(&whole);
        let segment = random.below(3);
        let file = disk.files_mut().get_mut(&segment).unwrap();
        if random.below(3) == 0 {
            let field = 12 + random.below(100) as usize;
            file[field..field + 4].copy_from_slice(&(random.next() as u32).to_le_bytes());
            let crc = crc32c::crc32c_append(crc32c::crc32c(&file[..8]), &file[12..PAGE]);
            file[8..12].copy_from_slice(&crc.to_le_bytes());
        } else {
            let field = PAGE + 8 + random.below(48) as usize;
            let value = if random.below(2) == 0 {
                random.next()
            } else {
                random.below(200)
            };
            file[field..field + 4].copy_from_slice(&(value as u32).to_le_bytes());
            let salt = u32::from_le_bytes(file[48..52].try_into().unwrap());
            let bytes = u32::from_le_bytes(file[PAGE + 4..PAGE + 8].try_into().unwrap()) as usize;
            let crc = crc32c::crc32c_append(salt, &file[PAGE + 4..PAGE + bytes]);
            file[PAGE..PAGE + 4].copy_from_slice(&crc.to_le_bytes());
        }
        // Whether it passes is not the question: a header may say what harms nobody.
        refused += u64::from(verify_files(&disk).is_err());
    }
    assert!(refused > 10_000, "{refused} were refused");
}

/// A header may say that it is the last writer that there can be: nobody could go on after it.
#[test]
fn an_epoch_after_which_there_is_none_is_refused() {
    let mut disk = three_segments(false);
    let page = &mut disk.files_mut().get_mut(&2).unwrap()[..PAGE];
    let Page0::Header(mut header, _) = SegmentHeader::read(page) else {
        panic!("a header")
    };
    header.epoch = u32::MAX;
    header.salt = SegmentHeader::salt(&header.uuid, header.segment, header.epoch);
    header.write(page);
    let error = verify_files(&disk).unwrap_err();
    assert!(error.to_string().contains("the segment's epoch"), "{error}");
    assert!(Log::resume(tiny(), &mut disk).is_err());
}
