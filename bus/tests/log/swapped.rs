//! Whole frames, with good checksums, where they do not belong; and one wrong byte in each
//! sector of a log that was ended in order.

use bus::disk::{Faults, SimDisk};
use bus::log::{FrameHeader, Log, LogConfig, LogError, verify_files};
use bus::{Event, Kind};

use crate::check::{append, sim, small};

const PAGE: usize = 4096;

fn tiny() -> LogConfig {
    LogConfig {
        // One page stays empty after the seal.
        segment_bytes: 11 * PAGE as u64,
        frame_bytes_max: 2 * PAGE,
        frames_in_flight_max: 1,
        ..small()
    }
}

/// Three segments of frames, each durable before the next; `mark` is in every record.
fn finished(mark: Option<u64>) -> SimDisk {
    let mut disk = sim(&tiny(), 1, Faults::default());
    let mut log = Log::create(tiny(), &mut disk).unwrap();
    let mut now = 0;
    // Three frames in the last segment too.
    let mut left = 3;
    while left > 0 {
        // Two pages to a frame, so that a page is left after each seal; one page in the end, so
        // that a few frames are no longer than what may be under way.
        for _ in 0..if log.stats().segments < 3 { 70 } else { 50 } {
            match mark {
                None => append(&mut log),
                Some(order) => log.append_event(&Event {
                    order,
                    ..Event::new(Kind::Add)
                }),
            }
        }
        while log.durable_upto() < log.next_cell() || log.stats().spares < 2 {
            now += 1;
            log.turn(now, true).unwrap();
        }
        left -= u64::from(log.stats().segments == 3);
    }
    log.finish().unwrap();
    drop(log);
    disk
}

fn expect_refused(disk: &SimDisk, what: &str) -> Result<(), String> {
    match verify_files(disk) {
        Err(LogError::Corrupt(_) | LogError::Version { .. }) => Ok(()),
        Err(error) => Err(format!("{what}: {error}")),
        Ok(found) => Err(format!("{what}: not noticed: {found:?}")),
    }
}

/// One byte of one sector in so many is wrong, in a log that was ended or that just rests.
pub(crate) fn one_byte_wrong(seed: u64) -> Result<(), String> {
    one_byte_wrong_in(finished(None), seed, usize::MAX)?;
    let mut disk = finished(None);
    // Without its last page, the seal, the last segment is one that was never ended; and its last
    // frame is the one of which nothing says that it was durable.
    let file = disk.files_mut().get_mut(&2).unwrap();
    let seal = file.len() - PAGE;
    file[seal..].fill(0);
    file.resize(11 * PAGE, 0);
    one_byte_wrong_in(disk, seed, seal - PAGE)
}

/// Looks at the last segment only below `last_end`.
fn one_byte_wrong_in(mut disk: SimDisk, seed: u64, last_end: usize) -> Result<(), String> {
    let segments: Vec<u64> = disk.files_mut().keys().copied().collect();
    for segment in segments {
        let end = if segment == 2 { last_end } else { usize::MAX };
        let sectors = disk.files_mut()[&segment].len().min(end) / 512;
        for sector in (seed as usize % 4..sectors).step_by(4) {
            let at = sector * 512 + (seed as usize * 37 + sector) % 512;
            disk.files_mut().get_mut(&segment).unwrap()[at] ^= 0x10;
            expect_refused(&disk, &format!("segment {segment}, byte {at}"))?;
            disk.files_mut().get_mut(&segment).unwrap()[at] ^= 0x10;
        }
    }
    verify_files(&disk)
        .map(drop)
        .map_err(|error| error.to_string())
}

/// A frame of a log that is the same in all but what was logged: what a write leaves that went to
/// another disk, or an old copy of a page that comes back. All its own fields are right.
pub(crate) fn a_frame_of_a_twin() -> Result<(), String> {
    let (mut disk, mut twin) = (finished(Some(1)), finished(Some(2)));
    let mut at = PAGE;
    let mut swapped = 0;
    loop {
        let file = disk.files_mut().get_mut(&0).unwrap();
        let other = &twin.files_mut()[&0];
        let head = FrameHeader::read(&file[at..at + PAGE], 2 * PAGE);
        let Some(head) = head.filter(|head| head.cell_count > 0) else {
            break;
        };
        let range = at..at + head.frame_bytes as usize;
        let before = file[range.clone()].to_vec();
        // Only the first frame's chain fits in front too.
        file[range.clone()].copy_from_slice(&other[range.clone()]);
        expect_refused(&disk, &format!("a stranger at byte {at}"))?;
        disk.files_mut().get_mut(&0).unwrap()[range.clone()].copy_from_slice(&before);
        at = range.end;
        swapped += 1;
    }
    assert!(swapped > 2, "{swapped} frames were swapped");
    Ok(())
}

#[test]
fn a_wrong_byte_in_any_sector_of_a_finished_log_is_refused() {
    (0..4).for_each(|seed| one_byte_wrong(seed).unwrap());
}

#[test]
fn a_frame_of_a_log_that_differs_in_nothing_else_is_refused() {
    a_frame_of_a_twin().unwrap();
}
