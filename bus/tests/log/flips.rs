//! Every byte and every sector of a log of three segments and more, spoilt in turn: flipped,
//! zeroed, overwritten with garbage, swapped with every other sector. On a log at rest, on one
//! that was ended in order, and after crashes that left torn tails.
//!
//! What must come out is worked out here from the bytes alone, by the rules of `FORMAT.md`, and
//! not by the code under test:
//!
//! - The records that are read are always the first of those that were written, whatever happens.
//! - Anything spoilt in a segment that has a successor, in a header, in a prepared segment (but
//!   for the next one's first page, which could be a header under way) or in a log that was ended
//!   in order is damage, and refused.
//! - In the last segment, the log is cut where the spoilt frame began, as after a crash, if and
//!   only if nothing that is still whole says that this frame was durable, and nothing is left
//!   that could not have been under way together with it. Otherwise it is damage. This is what
//!   cannot be known: frames that were the last to be under way, with nothing written after they
//!   became durable, are not told from frames that a crash tore. So the log is never cut below
//!   what it still proves durable, and may be cut above that.
//!
//! As a matter of course each sector is swapped with one in four of the others, and of one crash
//! every byte is flipped where it matters which, else one in eight. For all of it (a minute):
//!
//! ```text
//! TAPELINE_FLIPS=all cargo test -p bus --test log flips -- --nocapture
//! ```

use std::ops::Range;

use bus::disk::sim::Random;
use bus::disk::{Faults, Files, SimDisk};
use bus::log::{
    End, FrameHeader, Log, LogConfig, LogError, LogReader, Page0, SegmentHeader, verify_files,
};

use crate::check::{append, record_at, sim, small};

const PAGE: usize = 4096;
const SECTOR: usize = 512;
const SEGMENT: usize = 8 * PAGE;

fn config(in_flight: usize) -> LogConfig {
    LogConfig {
        segment_bytes: SEGMENT as u64,
        frame_bytes_max: 2 * PAGE,
        frames_in_flight_max: in_flight,
        ..small()
    }
}

fn is_all() -> bool {
    std::env::var_os("TAPELINE_FLIPS").is_some_and(|value| value == "all")
}

/// At least three segments, and a crash with frames under way.
fn crashed(in_flight: usize, seed: u64) -> SimDisk {
    let config = config(in_flight);
    for attempt in 0.. {
        let faults = Faults {
            steps_max: 4,
            ..Faults::default()
        };
        let mut random = Random(seed + 1000 * attempt);
        let mut disk = sim(&config, random.next(), faults);
        let mut log = Log::create(config.clone(), &mut disk).unwrap();
        let mut now = 0;
        // From the third segment on, a crash at some turn.
        let mut turns = random.below(40);
        while turns > 0 {
            for _ in 0..random.below(90) {
                if log.room_cells() >= 2 {
                    append(&mut log);
                }
            }
            now += 1;
            log.turn(now, true).unwrap();
            turns -= u64::from(log.stats().segments == 3);
            if log.stats().segments > 3 {
                break;
            }
        }
        let segments = log.stats().segments;
        drop(log);
        let disk = disk.crash(random.next(), config.geometry(), Faults::default());
        let found = verify_files(&disk).unwrap();
        let is_torn = matches!(found.end, End::Torn { segment: 2, .. });
        if segments == 3 && found.segments == 3 && is_torn {
            return disk;
        }
    }
    unreachable!("some attempt leaves a torn tail")
}

fn at_rest(finish: bool) -> SimDisk {
    let config = config(1);
    let mut disk = sim(&config, 9, Faults::default());
    let mut log = Log::create(config, &mut disk).unwrap();
    let mut now = 0;
    let mut left = 3;
    while left > 0 {
        for _ in 0..if log.stats().segments < 3 { 80 } else { 20 } {
            append(&mut log);
        }
        while log.durable_upto() < log.next_cell() || log.stats().spares < 2 {
            now += 1;
            log.turn(now, true).unwrap();
        }
        left -= u64::from(log.stats().segments == 3);
    }
    if finish {
        log.finish().unwrap();
    }
    drop(log);
    disk
}

/// What is known of a log before it is spoilt, read from its bytes.
struct Truth {
    files: Vec<Vec<u8>>,
    /// How many segments are begun.
    begun: usize,
    /// The frames of the last one that follow each other, and any other whole frames behind.
    frames: Vec<(Range<usize>, FrameHeader)>,
    strays: Vec<(Range<usize>, FrameHeader)>,
    header: SegmentHeader,
    finished: bool,
}

/// What must come out.
#[derive(Debug, PartialEq)]
enum Want {
    Cells(u64),
    Damage,
}

impl Truth {
    fn of(disk: &SimDisk) -> Truth {
        let found = verify_files(disk).unwrap();
        let files: Vec<Vec<u8>> = disk
            .list()
            .unwrap()
            .iter()
            .map(|&s| whole(disk, s))
            .collect();
        let begun = found.segments as usize;
        let last = &files[begun - 1];
        let Page0::Header(header, _) = SegmentHeader::read(&last[..PAGE]) else {
            panic!("begun")
        };
        let (mut frames, mut strays) = (Vec::new(), Vec::new());
        let mut next = header.first_cell;
        let mut at = PAGE;
        while at < last.len() {
            match frame_at(last, at, header.salt) {
                Some(head) => {
                    let range = at..at + head.frame_bytes as usize;
                    at = range.end;
                    let follows = strays.is_empty() && head.first_cell == next;
                    let end = frames
                        .last()
                        .map_or(PAGE, |(r, _): &(Range<usize>, _)| r.end);
                    match follows && range.start == end {
                        true => {
                            next = head.end_cell();
                            frames.push((range, head));
                        }
                        false => strays.push((range, head)),
                    }
                }
                None => at += PAGE,
            }
        }
        assert_eq!(next, found.cells, "the plain reading of it is the same");
        Truth {
            files,
            begun,
            frames,
            strays,
            header,
            finished: found.finished,
        }
    }

    /// What spoilt bytes, given by file and range, must come to; `last` is what the last segment
    /// holds now.
    fn want(&self, spoilt: &[(usize, Range<usize>)], last: &[u8]) -> Want {
        let last_index = self.begun - 1;
        for (file, range) in spoilt {
            let is_last = *file == last_index && range.start >= PAGE;
            let is_next_header = *file == self.begun && range.end <= PAGE;
            if self.finished || !(is_last || is_next_header) {
                return Want::Damage;
            }
        }
        let is_hit = |frame: &Range<usize>| {
            let hits = |(file, range): &(usize, Range<usize>)| {
                *file == last_index && range.start < frame.end && frame.start < range.end
            };
            spoilt.iter().any(hits)
        };
        let good = self.frames.iter().position(|(range, _)| is_hit(range));
        let good = good.unwrap_or(self.frames.len());
        let (offset, cell) = match good.checked_sub(1).map(|index| &self.frames[index]) {
            Some((range, head)) => (range.end, head.end_cell()),
            None => (PAGE, self.header.first_cell),
        };
        let behind = self.frames[good..].iter().chain(&self.strays);
        let proven = behind
            .filter(|(range, _)| !is_hit(range))
            .map(|(_, head)| head.durable_upto);
        let reach = (self.header.reach(offset as u64) as usize).min(last.len());
        let is_beyond = last[reach..].iter().any(|&byte| byte != 0);
        match proven.max().is_some_and(|proven| proven > cell) || is_beyond {
            true => Want::Damage,
            false => Want::Cells(cell),
        }
    }
}

fn whole(disk: &SimDisk, segment: u64) -> Vec<u8> {
    let mut bytes = vec![0; disk.len(segment).unwrap() as usize];
    disk.read(segment, 0, &mut bytes).unwrap();
    bytes
}

fn frame_at(file: &[u8], at: usize, salt: u32) -> Option<FrameHeader> {
    let head = FrameHeader::read(file.get(at..at + PAGE)?, 2 * PAGE)?;
    let frame = file.get(at..at + head.frame_bytes as usize)?;
    let stored = u32::from_le_bytes(frame[..4].try_into().unwrap());
    (crc32c::crc32c_append(salt, &frame[4..]) == stored && head.salt == salt).then_some(head)
}

/// How many changes there were, and what became of them.
#[derive(Debug, Default)]
struct Counts {
    changes: u64,
    damage: u64,
    cut: u64,
    untouched: u64,
}

/// Spoils `ranges` of files with `bytes`, reads, compares with what must come out, and mends.
fn spoil(disk: &mut SimDisk, truth: &Truth, pieces: &[(usize, usize, &[u8])], counts: &mut Counts) {
    let mut spoilt = Vec::new();
    for &(file, at, bytes) in pieces {
        let now = &mut disk.files_mut().get_mut(&(file as u64)).unwrap()[at..at + bytes.len()];
        if now != bytes {
            now.copy_from_slice(bytes);
            spoilt.push((file, at..at + bytes.len()));
        }
    }
    let last = disk.files_mut()[&(truth.begun as u64 - 1)].clone();
    let want = truth.want(&spoilt, &last);
    let found = read(disk);
    let said = || format!("{spoilt:?}: {found:?}");
    counts.changes += 1;
    match (&want, &found) {
        (Want::Cells(cells), Ok((read, _))) => {
            assert_eq!(cells, read, "{}", said());
            match spoilt.is_empty() {
                true => counts.untouched += 1,
                false => counts.cut += 1,
            }
        }
        (Want::Damage, Err(error)) => {
            assert!(error.is_damage(), "{}", said());
            counts.damage += 1;
        }
        _ => panic!("want {want:?}, {}", said()),
    }
    for &(file, at, bytes) in pieces {
        let good = &truth.files[file][at..at + bytes.len()];
        let now = &mut disk.files_mut().get_mut(&(file as u64)).unwrap()[at..at + bytes.len()];
        now.copy_from_slice(good);
    }
}

/// How many cells there are, each with what was put there, and how they end.
fn read(disk: &SimDisk) -> Result<(u64, End), LogError> {
    let found = verify_files(disk);
    // Also where the log is refused, what comes before is the truth.
    if let Ok(reader) = LogReader::over(disk) {
        let mut next = 0;
        for item in reader {
            let Ok((cell, record)) = item else { break };
            assert_eq!((cell, record), (next, record_at(next)), "a wrong record");
            next = match record {
                bus::log::Record::Event(_) => cell + 1,
                bus::log::Record::Signal(_) => cell + 2,
            };
        }
    }
    found.map(|found| (found.cells, found.end))
}

fn every_sector(mut disk: SimDisk) -> Counts {
    let truth = Truth::of(&disk);
    let mut counts = Counts::default();
    let sectors: Vec<(usize, usize)> = (0..truth.files.len())
        .flat_map(|file| {
            (0..truth.files[file].len())
                .step_by(SECTOR)
                .map(move |at| (file, at))
        })
        .collect();
    let mut random = Random(11);
    let get = |&(file, at): &(usize, usize)| &truth.files[file][at..at + SECTOR];
    for (index, one) in sectors.iter().enumerate() {
        let (file, at) = *one;
        spoil(&mut disk, &truth, &[(file, at, &[0; SECTOR])], &mut counts);
        let mut garbage = [0; SECTOR];
        garbage.fill_with(|| random.next() as u8);
        spoil(&mut disk, &truth, &[(file, at, &garbage)], &mut counts);
        let step = if is_all() { 1 } else { 4 };
        for other in sectors[index + 1..].iter().step_by(step) {
            // Two sectors of zeros are not worth swapping.
            if get(one) != get(other) {
                let pieces = [(file, at, get(other)), (other.0, other.1, get(one))];
                spoil(&mut disk, &truth, &pieces, &mut counts);
            }
        }
    }
    counts
}

fn every_byte(mut disk: SimDisk) -> Counts {
    let truth = Truth::of(&disk);
    let mut counts = Counts::default();
    for file in 0..truth.files.len() {
        // Of a segment full of zeros, one byte is like the other; of one that has a successor,
        // any byte is damage.
        let step = match file {
            file if file > truth.begun => 97,
            file if file + 1 < truth.begun && !is_all() => 8,
            _ => 1,
        };
        for at in (0..truth.files[file].len()).step_by(step) {
            let byte = truth.files[file][at] ^ 1 << (at % 8);
            spoil(&mut disk, &truth, &[(file, at, &[byte])], &mut counts);
        }
    }
    counts
}

fn check(name: &str, counts: Counts) {
    println!("{name}: {counts:?}");
    assert_eq!(
        counts.changes,
        counts.damage + counts.cut + counts.untouched
    );
    assert!(counts.damage > 1000, "{name}: {counts:?}");
}

#[test]
fn every_sector_of_a_log_at_rest() {
    let counts = every_sector(at_rest(false));
    assert!(counts.cut > 50, "{counts:?}");
    check("at rest, sectors", counts);
}

#[test]
fn every_sector_of_a_log_that_was_ended() {
    let counts = every_sector(at_rest(true));
    assert_eq!(counts.cut, 0, "nothing of it can be a crash's work");
    check("ended, sectors", counts);
}

#[test]
fn every_sector_after_a_crash_that_left_a_torn_tail() {
    for (in_flight, seed) in [(1, 1), (3, 2), (3, 3)] {
        let counts = every_sector(crashed(in_flight, seed));
        assert!(counts.cut > 100, "{counts:?}");
        check("crashed, sectors", counts);
    }
}

#[test]
fn every_byte_after_a_crash_that_left_a_torn_tail() {
    let crashes = [(3, 5), (1, 4)];
    for &(in_flight, seed) in &crashes[..if is_all() { 2 } else { 1 }] {
        let counts = every_byte(crashed(in_flight, seed));
        assert!(counts.cut > 1000, "{counts:?}");
        check("crashed, bytes", counts);
    }
}
