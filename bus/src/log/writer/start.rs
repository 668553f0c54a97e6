//! How a writer comes to its first segment: a new one, or one after whatever was left.

use std::collections::VecDeque;

use super::{COMMITS_KEPT, Log, LogStats, Phase};
use crate::disk::{Disk, Slot};
use crate::log::reader::LogReader;
use crate::log::recover::{Recovered, Survey};
use crate::log::segment::{Before, BeforeEnd};
use crate::log::{LogConfig, LogError};
use crate::planted::{self, Bug};

impl<D: Disk> Log<D> {
    /// Begins a new log. Blocks until its first segment is there and begun.
    pub fn create(config: LogConfig, disk: D) -> Result<Log<D>, LogError> {
        config.check()?;
        if let Some(&first) = disk.list()?.first() {
            return Err(LogError::Exists {
                path: disk.path(first),
            });
        }
        let before = Before {
            how: BeforeEnd::None,
            end_bytes: 0,
            crc: 0,
        };
        Log::begin(config, disk, before, 0, 0, 0, VecDeque::new())
    }

    /// Takes over a log after whatever happened to its last writer, and goes on in a new segment.
    ///
    /// What was found durable stays as it is: no byte of an earlier segment is written. A log
    /// whose creation was cut off is begun anew. Blocks.
    pub fn resume(config: LogConfig, disk: D) -> Result<(Log<D>, Recovered), LogError> {
        Log::take_over(config, disk, None)
    }

    /// As [`Log::resume`], for who has all before `cell` in a checkpoint: frames are read only
    /// from the segment that holds `cell`, so that it takes as long as what came since. See
    /// [`LogReader::over_from`].
    pub fn resume_from(
        config: LogConfig,
        disk: D,
        cell: u64,
    ) -> Result<(Log<D>, Recovered), LogError> {
        Log::take_over(config, disk, Some(cell))
    }

    fn take_over(
        config: LogConfig,
        mut disk: D,
        from: Option<u64>,
    ) -> Result<(Log<D>, Recovered), LogError> {
        config.check()?;
        // What the page cache shows of the last segment may never have reached the disk. Once
        // the new segment says that it counts, it must.
        if let Some(last) = Survey::read(&disk)?.begun.last()
            && !planted::is(Bug::SettleSkipped)
        {
            disk.settle(last.header.segment)?;
        }
        crate::failpoint!("resume-settled");
        let reader = match from {
            None => LogReader::over(&disk)?,
            Some(cell) => LogReader::over_from(&disk, cell)?,
        };
        let (recovered, go_on) = reader.finish()?;
        crate::failpoint!("resume-read");
        let mut spares = VecDeque::from(go_on.unused);
        let mut keep = go_on.torn_header.is_none();
        for &spare in &spares {
            keep &= disk.len(spare)? == config.segment_bytes;
        }
        if !keep {
            // From the last to the first, so that a crash leaves no hole in the numbers.
            for &spare in spares.iter().rev().chain(&go_on.torn_header) {
                disk.remove(spare)?;
                crate::failpoint!("resume-removed");
            }
            spares.clear();
        }
        for &spare in &spares {
            disk.adopt(spare)?;
        }
        let uuid = if go_on.last_segment.is_some() {
            recovered.uuid
        } else {
            config.uuid
        };
        let epoch = if go_on.last_segment.is_some() {
            recovered.epoch + 1
        } else {
            0
        };
        let config = LogConfig { uuid, ..config };
        let next = go_on.next_segment;
        let log = Log::begin(
            config,
            disk,
            go_on.before,
            next,
            recovered.cells - u64::from(planted::is(Bug::CellOffByOne) && recovered.cells > 0),
            epoch,
            spares,
        )?;
        Ok((log, recovered))
    }

    pub(super) fn begin(
        config: LogConfig,
        mut disk: D,
        before: Before,
        segment: u64,
        first_cell: u64,
        epoch: u32,
        spares: VecDeque<u64>,
    ) -> Result<Log<D>, LogError> {
        let mut free = disk.take_slots();
        let page_slot = free.pop();
        let frames_max = free.len() + 1;
        let mut log = Log {
            open: Slot::none(),
            open_next: 1,
            open_end: 0,
            open_first: first_cell,
            free,
            waiting: VecDeque::with_capacity(frames_max),
            in_flight: VecDeque::with_capacity(frames_max + 1),
            token_first: 0,
            page_slot,
            opened_ns: None,
            now_ns: 0,
            phase: Phase::Taking,
            segment,
            offset: 0,
            prev_crc: 0,
            salt: 0,
            durable_upto: first_cell,
            proven_upto: first_cell,
            committed_ns: 0,
            prepare_next: spares.back().map_or(segment, |last| last + 1),
            spares,
            preparing: 0,
            full: None,
            out_of_space: None,
            failed: None,
            commits: VecDeque::with_capacity(COMMITS_KEPT),
            stats: LogStats::default(),
            epoch,
            config,
            disk,
        };
        if log.spares.is_empty() {
            log.prepare_one();
            while log.spares.is_empty() {
                let done = log.disk.wait().expect("a segment is being prepared");
                log.take(done)?;
                if let Some(error) = log.full.take() {
                    return Err(LogError::NoSpace(error));
                }
            }
        }
        let first = log.spares.pop_front();
        assert_eq!(first, Some(segment), "segments are prepared in order");
        let mut slot = log.page_slot.take().expect("a slot for pages");
        log.fill_header(&mut slot, segment, before);
        crate::failpoint!("log-unbegun");
        log.disk.write_now(segment, 0, &slot)?;
        crate::failpoint!("log-begun");
        log.page_slot = Some(slot);
        log.stats.segments += 1;
        log.prepare_more();
        log.open_frame();
        Ok(log)
    }
}
