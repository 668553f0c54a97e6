//! A whole log, changed by the fuzzer, and what must hold whatever was changed.
//!
//! The input is a list of changes to three segments and their spares: bytes, pages, lengths and
//! whole files; and headers with other fields and *good* checksums, so that the fuzzer gets past
//! them. What it cannot do is put the cells of a record under a checksum made for them: a log is
//! not signed, and whoever does that writes records.
//!
//! Then: nothing panics; every record that is read is the one that was written there, in frames of
//! which each names the one before it; verifying, reading and resuming agree; a log that is refused
//! is left as it is; and a log that is resumed goes on after the last record that was read.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bus::disk::{Faults, SimDisk};
use bus::log::{
    FrameHeader, Log, LogConfig, LogReader, Page0, Record, SegmentHeader, verify_files,
};
use bus::{Body, Event, Kind, Signal, Ts};

use crate::input::Input;

const PAGE: usize = 4096;
const CHANGES_MAX: usize = 16;

fn config() -> LogConfig {
    LogConfig {
        dir: "unused".into(),
        segment_bytes: 8 * PAGE as u64,
        frame_bytes_max: 2 * PAGE,
        frames_in_flight_max: 2,
        frames_waiting_max: 2,
        spares: 2,
        commit_age_ns: 3,
        uuid: *b"a log of a fuzz.",
        build_hash: 1,
        config_hash: 2,
    }
}

/// What stands at a cell where a record begins.
fn record_at(cell: u64) -> Record {
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

fn append(log: &mut Log<&mut SimDisk>) {
    match record_at(log.next_cell()) {
        Record::Event(event) => log.append_event(&event),
        Record::Signal(signal) => log.append_signal(&signal),
    }
}

type Segments = BTreeMap<u64, Vec<u8>>;

/// The header of the frame at `at`, if its checksum is that of its bytes.
fn whole_frame(file: &[u8], at: usize) -> Option<FrameHeader> {
    let header = FrameHeader::read(file.get(at..at + PAGE)?, 2 * PAGE)?;
    let frame = file.get(at..at + header.frame_bytes as usize)?;
    (header.close(&mut frame.to_vec()).to_le_bytes() == frame[..4]).then_some(header)
}

/// Where a frame of cells below `end` stands that does not name the frame before it.
fn unchained(files: &Segments, end: u64) -> Option<(u64, usize)> {
    files.iter().find_map(|(&segment, file)| {
        let (mut at, mut before) = (PAGE, None);
        // A whole frame of another segment ends this one, as zeros do.
        while let Some(frame) = whole_frame(file, at).filter(|frame| frame.segment == segment) {
            let cells = u64::from(frame.cell_count);
            let is_read = cells > 0 && frame.first_cell.saturating_add(cells) <= end;
            if is_read && before.is_some_and(|before| before != frame.prev_crc) {
                return Some((segment, at));
            }
            before = file[at..at + 4].try_into().map(u32::from_le_bytes).ok();
            at += frame.frame_bytes as usize;
        }
        None
    })
}

/// What was written, before anything is changed.
struct Whole {
    files: Segments,
    cells: u64,
    /// Segment, place and header of each frame.
    frames: Vec<(u64, usize, FrameHeader)>,
}

impl Whole {
    /// What a log that is read up to `end` must not leave behind: in the last segment that was
    /// begun, a frame as it was written which says that more than that was durable.
    fn proof_of_more(&self, files: &Segments, end: u64) -> Option<&FrameHeader> {
        let begun = |bytes: &Vec<u8>| bytes.get(..PAGE).is_some_and(|page| page != [0; PAGE]);
        let (last, bytes) = files.iter().rfind(|(_, bytes)| begun(bytes))?;
        let whole = self.files.get(last)?;
        let is_same =
            |from: usize, len: usize| bytes.get(from..from + len) == whole.get(from..from + len);
        let proof = self.frames.iter().find(|(segment, at, frame)| {
            segment == last && frame.durable_upto > end && is_same(*at, frame.frame_bytes as usize)
        });
        proof
            .filter(|_| is_same(0, PAGE))
            .map(|(_, _, frame)| frame)
    }
}

/// Three segments of frames of one and two pages, two spares after them; and how many cells.
static WHOLE: LazyLock<Whole> = LazyLock::new(|| {
    let mut disk = SimDisk::new(config().geometry(), 3, Faults::default());
    let mut log = Log::create(config(), &mut disk).expect("a simulated disk takes a log");
    let mut now = 0;
    let mut frames = 0;
    while log.stats().segments < 3 || frames < 2 {
        for _ in 0..[20, 80, 45][frames % 3] {
            if log.room_cells() >= 2 {
                append(&mut log);
            }
        }
        while log.durable_upto() < log.next_cell() || log.stats().spares < 2 {
            now += 1;
            log.turn(now, true).expect("no faults were asked for");
        }
        frames = if log.stats().segments < 3 {
            0
        } else {
            frames + 1
        };
    }
    let cells = log.next_cell();
    drop(log);
    let files = disk.files_mut().clone();
    let mut frames = Vec::new();
    for (&segment, bytes) in &files {
        let mut at = PAGE;
        while let Some(frame) = bytes
            .get(at..at + PAGE)
            .and_then(|page| FrameHeader::read(page, 2 * PAGE))
        {
            frames.push((segment, at, frame));
            at += frame.frame_bytes as usize;
        }
    }
    assert!(frames.len() > 10);
    Whole {
        files,
        cells,
        frames,
    }
});

/// Does with the log what `bytes` say, and checks what must hold.
pub fn check(bytes: &[u8]) {
    let whole = &*WHOLE;
    let _planted = crate::planted();
    let mut files = whole.files.clone();
    let mut input = Input::new(bytes);
    for _ in 0..CHANGES_MAX {
        let Some(what) = input.byte() else { break };
        change(&mut files, what, &mut input);
    }
    let is_same = files == whole.files;
    let mut disk = SimDisk::new(config().geometry(), 1, Faults::default());
    *disk.files_mut() = files;

    let verified = verify_files(&disk);
    assert!(
        !is_same || verified.is_ok(),
        "what was not changed is whole: {verified:?}"
    );
    match (&verified, read(&disk, whole.cells)) {
        (Ok(found), Ok(end)) => {
            assert_eq!(found.cells, end, "both find the same end");
            let loose = unchained(disk.files_mut(), end);
            assert!(loose.is_none(), "no link to the frame before: {loose:?}");
            let proof = whole.proof_of_more(disk.files_mut(), end);
            assert!(
                proof.is_none(),
                "ends at cell {end}, with {proof:?} behind it"
            );
        }
        // Verifying looks at the spares too.
        (Err(_), _) => {}
        (Ok(found), Err(error)) => panic!("verified {found:?}, but: {error}"),
    }
    let before = disk.files_mut().clone();
    match Log::resume(config(), &mut disk) {
        Err(error) => {
            assert!(verified.is_err(), "verified, but not resumed: {error}");
            assert!(
                *disk.files_mut() == before,
                "a refused log is left as it is"
            );
        }
        Ok((mut log, found)) => {
            let verified = verified.expect("what is refused is not resumed");
            assert_eq!(found, verified);
            assert_eq!(log.next_cell(), found.cells);
            for _ in 0..3 {
                append(&mut log);
            }
            log.finish().expect("no faults were asked for");
            let end = log.next_cell();
            drop(log);
            let again = read(&disk, end).expect("a resumed log is whole");
            assert_eq!(again, end, "what was appended is there");
        }
    }
}

/// Reads it all: each record is the one that was written there. The number of the cell after the
/// last, or why it was refused.
fn read(disk: &SimDisk, cells: u64) -> Result<u64, String> {
    let mut reader = LogReader::over(disk).map_err(|error| error.to_string())?;
    let mut next = None;
    for item in &mut reader {
        let (cell, record) = item.map_err(|error| error.to_string())?;
        assert!(next.is_none_or(|next| next == cell), "no cell is left out");
        assert!(cell < cells, "cell {cell} was never written");
        assert_eq!(
            record,
            record_at(cell),
            "cell {cell} holds what was put there"
        );
        next = Some(
            cell + if matches!(record, Record::Event(_)) {
                1
            } else {
                2
            },
        );
    }
    let end = reader.recovered().cells;
    assert!(next.is_none_or(|next| next == end));
    Ok(end)
}

/// One change. Places are taken modulo what there is, so that each input means something.
fn change(files: &mut Segments, what: u8, input: &mut Input<'_>) {
    let numbers: Vec<u64> = files.keys().copied().collect();
    let Some(&number) = numbers.get(usize::from(input.byte().unwrap_or(0)) % numbers.len().max(1))
    else {
        return;
    };
    let file = files.get_mut(&number).expect("just listed");
    let pages = (file.len() / PAGE).max(1);
    match what % 14 {
        0 | 1 => {
            let (page, at) = (
                usize::from(input.byte().unwrap_or(0)) % pages,
                input.short(),
            );
            let mask = input.byte().unwrap_or(0).max(1);
            if let Some(byte) = file.get_mut(page * PAGE + usize::from(at) % PAGE) {
                *byte ^= mask;
            }
        }
        2 => {
            let (page, value) = (
                usize::from(input.byte().unwrap_or(0)) % pages,
                input.number(),
            );
            let at = page * PAGE + usize::from(input.short()) % (PAGE / 8) * 8;
            if let Some(place) = file.get_mut(at..at + 8) {
                place.copy_from_slice(&value.to_le_bytes());
            }
        }
        3 => {
            // Zeros from here on, for some pages.
            let from = usize::from(input.byte().unwrap_or(0)) % pages;
            let count = usize::from(input.byte().unwrap_or(0)) % pages + 1;
            let end = ((from + count) * PAGE).min(file.len());
            if let Some(place) = file.get_mut(from * PAGE..end) {
                place.fill(0);
            }
        }
        4 => {
            // A page to another place, in whatever file.
            let from = usize::from(input.byte().unwrap_or(0)) % pages * PAGE;
            let Some(page) = file.get(from..from + PAGE).map(<[u8]>::to_vec) else {
                return;
            };
            let to = numbers[usize::from(input.byte().unwrap_or(0)) % numbers.len()];
            let file = files.get_mut(&to).expect("just listed");
            let pages = (file.len() / PAGE).max(1);
            let at = usize::from(input.byte().unwrap_or(0)) % pages * PAGE;
            if let Some(place) = file.get_mut(at..at + PAGE) {
                place.copy_from_slice(&page);
            }
        }
        5 => file.truncate(
            file.len()
                .saturating_sub(input.number() as usize % (9 * PAGE)),
        ),
        6 => {
            let more = input.number() as usize % (3 * PAGE);
            file.resize(file.len() + more, input.byte().unwrap_or(0));
        }
        7 => {
            files.remove(&number);
        }
        8 => {
            let other = numbers[usize::from(input.byte().unwrap_or(0)) % numbers.len()];
            let (one, two) = (files[&number].clone(), files[&other].clone());
            files.insert(number, two);
            files.insert(other, one);
        }
        9 => {
            let copy = file.clone();
            files.insert(number.wrapping_add(input.number() % 8), copy);
        }
        10 | 11 => forge_header(file, input),
        _ => forge_frame(file, input),
    }
}

/// A segment's header with another field, and the checksum that belongs to it.
fn forge_header(file: &mut [u8], input: &mut Input<'_>) {
    let Some(page) = file.get_mut(..PAGE) else {
        return;
    };
    let Page0::Header(mut header, _) = SegmentHeader::read(page) else {
        return;
    };
    let (field, value) = (input.byte().unwrap_or(0), input.number());
    match field % 12 {
        0 => header.uuid[0] ^= value as u8 | 1,
        1 => header.segment = value,
        2 => header.first_cell = value,
        3 => header.salt = value as u32,
        4 => header.epoch = value as u32,
        5 => header.before.crc = value as u32,
        6 => header.before.end_bytes = value,
        7 => {
            use bus::log::BeforeEnd;
            let kinds = [BeforeEnd::None, BeforeEnd::Sealed, BeforeEnd::Cut];
            header.before.how = kinds[value as usize % 3];
        }
        8 => header.segment_bytes = value,
        9 => header.frame_bytes_max = value as u32,
        10 => header.frames_in_flight_max = value as u32,
        _ => header.retained_from = value,
    }
    if field & 0x80 != 0 {
        // With the salt that belongs to the other fields.
        header.salt = SegmentHeader::salt(&header.uuid, header.segment, header.epoch);
    }
    header.write(page);
}

/// A frame's header with another field, and the checksum that belongs to it. Its cells stay, and
/// are never more than they were.
fn forge_frame(file: &mut [u8], input: &mut Input<'_>) {
    let pages = (file.len() / PAGE).max(1);
    let at = usize::from(input.byte().unwrap_or(0)) % pages * PAGE;
    // Only a whole one: bytes that were changed get no good checksum.
    let Some(mut header) = whole_frame(file, at) else {
        return;
    };
    let frame = &mut file[at..at + header.frame_bytes as usize];
    let (field, value) = (input.byte().unwrap_or(0), input.number());
    match field % 11 {
        0 => header.first_cell = value,
        1 => header.durable_upto = value,
        2 => header.cell_count = header.cell_count.min(value as u32),
        3 => header.prev_crc = value as u32,
        4 => header.salt = value as u32,
        5 => header.epoch = value as u32,
        6 => header.segment = value,
        7 => header.page = value as u32,
        8 => header.kind = value as u8,
        9 => header.flags = value as u8,
        _ => header.schema = value as u16,
    }
    header.close(frame);
}
