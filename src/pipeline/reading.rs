//! The reader's turns, and the thread that has nothing else.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use bus::Ts;
use bus::clock::Clock;
use bus::ring::Sender;
use feed::arbiter::RecoveryRule;
use feed::protocol::Protocol;
use feed::reader::{ReadError, Reader, ReaderConfig, TakenUp, Turned};
use feed::source::Pace;

use super::shards::Known;
use super::{Ended, Job, Run, Starts, Timed, Typed};
use crate::config::{Config, Join, Model};
use crate::rest::Rest;
use crate::shard::Stamp;

/// How long a live run that is stopped goes on taking what its feed brings.
const DRAIN_NS_MAX: u64 = 1_000_000_000;

/// A process that was stopped did nothing for at least so long; shorter times are as those of a core that
/// does something else.
const GAP_NS_MIN: u64 = 10_000_000;
/// So long after the process runs again its signal has been taken.
const KNOWN_NS_MAX: u64 = 100_000_000;
/// How far it is in its session is said so often.
const POSITION_NS: u64 = 100_000_000;

/// The reader, with what belongs to its turns.
pub(super) struct Reading<'a, S, P> {
    run: Run<'a>,
    pub(super) reader: Reader<S, P>,
    stamps: Vec<Sender<Stamp>>,
    /// By shard: the last event that was stamped, and messages whose stamps found no room.
    last_seq: Vec<u64>,
    unstamped: Vec<u32>,
    is_paced: bool,
    /// The last long time in which it did nothing: how long, and until when.
    gap_ns: (u64, u64),
    was_empty: bool,
    stopped_ns: Option<u64>,
    /// When to say next how far it is in its session, where that is kept.
    position_ns: u64,
    /// When its last turn began.
    pub(super) now_ns: u64,
}

impl<'a, S: Timed, P: Protocol> Reading<'a, S, P> {
    pub(super) fn new(
        run: &Run<'a>,
        protocol: P,
        source: S,
        starts: Vec<Starts>,
        known: Known,
    ) -> Reading<'a, S, P> {
        let (senders, stamps): (Vec<Sender>, Vec<Sender<Stamp>>) = starts.into_iter().unzip();
        let quarantine = run.shared.quarantine.lock();
        let quarantine = quarantine.unwrap_or_else(PoisonError::into_inner).take();
        let snapshots = run.shared.snapshots.lock();
        let snapshots = snapshots.unwrap_or_else(PoisonError::into_inner).take();
        // What came before a run goes on is lost, and how much that is nobody knows, unless its server does.
        let is_whole = run.job.goes_on.as_ref().is_some_and(|on| !on.is_stale);
        let is_stale = run.job.is_live && run.job.resume && !is_whole;
        let config = reader_config(run.job, known);
        Reading {
            run: *run,
            last_seq: vec![0; stamps.len()],
            unstamped: vec![0; stamps.len()],
            reader: Reader::with_protocol(source, protocol, config, senders)
                .with_quarantine(quarantine)
                .with_snapshots(snapshots, is_stale),
            stamps,
            is_paced: false,
            gap_ns: (0, 0),
            was_empty: false,
            stopped_ns: None,
            position_ns: match run.job.is_positioned() {
                true => 0,
                false => u64::MAX,
            },
            now_ns: 0,
        }
    }

    /// One turn of the reader, and its stamps.
    #[inline]
    pub(super) fn turn(&mut self) -> Result<Turned, ReadError> {
        let before_ns = self.now_ns;
        self.now_ns = self.run.clock.now_ns();
        if self.is_paced {
            self.notice(before_ns, self.now_ns);
        }
        if self.run.stop.is_set() {
            self.end();
        }
        let turned = self.reader.take()?;
        self.was_empty = turned == Turned::Empty;
        if let Turned::Worked { messages } = turned {
            if !self.is_paced
                && let Some(pace) = self.reader.source().pace()
            {
                let first_ts = pace.first_ts.plus_ns(self.run.job.moved_ns);
                let _ = self.run.shared.pace.set(Pace { first_ts, ..pace });
                self.is_paced = true;
            }
            let received_ns = self.reader.source_mut().received_ns();
            // Where books are told after a loss, no packet was read.
            let received_ns = received_ns.filter(|_| messages > 0);
            let read_ns = received_ns.unwrap_or(self.now_ns);
            // From here on they are on their way to the shards.
            let pushed_ns = self.run.clock.now_ns();
            if self.is_paced {
                self.notice(self.now_ns, pushed_ns);
            }
            self.reader.push();
            self.stamp(read_ns, pushed_ns, messages as u32);
        }
        if self.now_ns >= self.position_ns || turned == Turned::Ended {
            self.position();
        }
        Ok(turned)
    }

    /// Says how far it is in its session, for whoever writes that down.
    #[cold]
    fn position(&mut self) {
        if !self.run.job.is_positioned() {
            return;
        }
        self.position_ns = self.now_ns + POSITION_NS;
        if let Some(at) = self.reader.position() {
            let position = self.run.shared.position.lock();
            *position.unwrap_or_else(PoisonError::into_inner) = Some(at);
        }
    }

    /// Looks whether the process was stopped between these two moments, as by Ctrl-Z. All threads run
    /// again at once, and any of them may be the one that takes the signal, so that is known a little
    /// later than the gap.
    #[inline]
    fn notice(&mut self, from_ns: u64, to_ns: u64) {
        let ns = to_ns.saturating_sub(from_ns);
        if ns >= GAP_NS_MIN {
            self.gap_ns = (ns, to_ns);
        }
        if self.run.stop.was_continued() {
            self.resume(to_ns);
        }
    }

    #[cold]
    fn resume(&mut self, now_ns: u64) {
        let (gap_ns, until_ns) = std::mem::take(&mut self.gap_ns);
        let is_new = gap_ns > 0 && now_ns.saturating_sub(until_ns) < KNOWN_NS_MAX;
        if is_new && self.reader.source_mut().paused(gap_ns) {
            let shared = self.run.shared;
            shared.resumed_ns.store(until_ns, Ordering::Relaxed);
            shared.paused_ns.fetch_add(gap_ns, Ordering::Release);
        }
    }

    #[inline]
    fn stamp(&mut self, read_ns: u64, pushed_ns: u64, messages: u32) {
        for (shard, stamps) in self.stamps.iter_mut().enumerate() {
            let seq = self.reader.last_pushed(shard).unwrap_or(0);
            if seq > self.last_seq[shard] {
                self.last_seq[shard] = seq;
                let stamp = Stamp {
                    seq,
                    read_ns,
                    pushed_ns,
                    messages: self.unstamped[shard].saturating_add(messages).max(1),
                };
                self.unstamped[shard] = match stamps.push(&[stamp]) {
                    0 => stamp.messages,
                    _ => 0,
                };
            }
        }
    }

    /// Somebody asked for the end.
    #[cold]
    fn end(&mut self) {
        let since_ns = self.now_ns - *self.stopped_ns.get_or_insert(self.now_ns);
        if !self.run.job.is_live || self.reader.is_again() {
            // It can go on later, so it must not conclude as if this were the end.
            self.reader.halt();
        } else if (self.was_empty && !self.reader.is_recovering()) || since_ns > DRAIN_NS_MAX {
            // What the kernel had received by then is taken first, and what was asked for.
            self.reader.finish();
        }
    }
}

/// The reader, and nothing else on its thread.
pub(super) struct ReaderThread<'a, S> {
    pub(super) run: Run<'a>,
    pub(super) source: S,
    pub(super) starts: Vec<Starts>,
    pub(super) known: Known,
}

impl<S: Timed> Typed for ReaderThread<'_, S> {
    fn run<P: Protocol>(self, protocol: P) -> Ended {
        let ReaderThread {
            run,
            source,
            starts,
            known,
        } = self;
        let mut reading = Reading::new(&run, protocol, source, starts, known);
        let shared = reading.run.shared;
        let cpu = shared.cpus[0];
        let remark = cpu.and_then(|cpu| tuning::pin::pin_to(cpu).err());
        let refused = shared.fifo.and_then(|p| tuning::realtime::fifo(p).err());
        let mut rest = Rest::new(&shared.cpus, cpu);
        let mut body = || {
            loop {
                match reading.turn()? {
                    Turned::Worked { .. } => rest.over(),
                    Turned::Empty => rest.rest(reading.now_ns, || true),
                    Turned::Full => rest.rest_long(reading.now_ns),
                    Turned::Ended => break,
                }
                if shared.failed.load(Ordering::Relaxed) {
                    break;
                }
            }
            Ok(reading.reader.stats())
        };
        Ended {
            read: Some(body()),
            remarks: remark
                .map(|e| e.to_string())
                .or(refused)
                .into_iter()
                .collect(),
            ..Ended::default()
        }
    }
}

/// What a reader is told of a day's input by the settings, whoever takes its events.
pub fn reader_of(
    config: &Config,
    midnight: Ts,
    symbols: &[String],
    until: Option<Ts>,
    is_live: bool,
) -> ReaderConfig {
    let gaps = &config.source.gaps;
    let mut reader = ReaderConfig::new(midnight);
    reader.tick_ns = config.time.tick.0;
    reader.out_of_order_ns = config.time.out_of_order.0;
    reader.max_future_ns = config.time.max_future.0;
    reader.idle_after_ns = config.time.idle_after.0;
    reader.symbols = (!symbols.is_empty()).then(|| symbols.iter().cloned().collect());
    reader.until = until;
    reader.groups = config.symbol_groups();
    reader.gaps.wait_ns = gaps.wait.0;
    reader.gaps.reorder_max = gaps.reorder_packets;
    reader.gaps.hold_packets = gaps.hold_packets as usize;
    let join = config.source.join;
    reader.gaps.is_join_loss = join.map_or(is_live, |join| join == Join::Loss);
    reader
}

fn reader_config(job: &Job<'_>, known: Known) -> ReaderConfig {
    let config = job.config;
    let midnight = job.day.midnight;
    let mut reader = reader_of(config, midnight, job.symbols, job.until, job.is_live);
    reader.moved_ns = job.moved_ns;
    if let Some(on) = &job.goes_on {
        let mut names = known.names;
        names.retain(|symbol, _| !on.named_later.contains(symbol));
        names.extend(&on.names);
        reader.gaps.goes_on = Some((on.at.session, on.at.next));
        reader.taken_up = Some(TakenUp {
            at: on.at,
            names,
            known: on.known.clone(),
        });
        reader.resume_after = known.resume_after;
    } else if job.is_live && job.resume {
        let last_seq = known.resume_after.iter().copied().max().unwrap_or(0);
        reader.after_stop = Some((last_seq, known.last_ts.max(job.day.midnight)));
        // The input does not say again what it called them.
        reader.groups = known.groups;
    } else {
        reader.resume_after = known.resume_after;
    }
    let retransmit = &config.source.retransmit;
    if job.is_live && retransmit.server.is_some() {
        reader.gaps.recovery = Some(RecoveryRule {
            // Its answers come as the line behind the others.
            line: config.source.lines.len() as u8,
            messages_max: retransmit.messages_max,
            // Where a run goes on, its own beginning is not to come again.
            is_from_first: retransmit.from_first && !job.resume,
        });
    }
    // A live run that goes on says so with a gap of its own, unless it is known where it was.
    reader.gaps.is_join_loss &= !(job.is_live && job.resume);
    reader.end_at_session_end = job.is_live && config.source.end_at_session_end;
    if job.is_live && config.run.model == Model::RunToCompletion {
        // To completion, before the next is asked for.
        reader.turn_packets_max = 1;
    }
    reader
}
