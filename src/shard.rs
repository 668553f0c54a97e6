//! One core's loop: events from the ring into the log and the core, orders out once durable.
//!
//! A shard is a plain struct with [`Shard::turn`]: one bounded piece of work that never waits.
//! Threads exist only in `pipeline`; tests call the same `turn` in any order they like.

mod counts;
mod error;
mod exit;
mod orders;

use std::collections::VecDeque;

use bus::clock::Clock;
use bus::disk::Disk;
use bus::log::Log;
use bus::oms::{Date, Encoder, Gateway, OrderId};
use bus::planted::{self, Bug};
use bus::ring::Receiver;
use bus::signal::{Outcome, Sent};
use bus::{Event, Kind, Signal, Ts};
use feed::groups::Groups;
use feed::source::Pace;

pub use self::counts::ShardCounts;
pub use self::error::ShardError;
use self::exit::{Exit, How, Laps, stamped};
use self::orders::{body_of, owner};
use crate::core::{Core, Lap, Sink};
use crate::guard::Guard;
use crate::kill::Kill;
use crate::latency::{Latency, Measure, Way};
use crate::recovery::{Ahead, Ledger, Recovered, Recovery, sent_signal};
use crate::throttle::Bucket;

/// Events taken from the ring in one turn.
const BATCH_EVENTS_MAX: usize = 512;
/// Visits of a tick that a turn makes which finds few events, and how many are few: what is behind
/// is caught up with first.
const VISITS_AT_REST: usize = 32;
const EVENTS_AT_REST_MAX: usize = 32;
/// Orders that may wait for the log or the peer. When full, the shard takes no new events until
/// they leave, and the ring behind it fills.
const HELD_ORDERS_MAX: usize = 4096;
/// Orders that a stop with cancels reaches back to, and how many of them a turn looks at.
const OPEN_ORDERS_MAX: usize = 1 << 16;
const CANCELS_PER_TURN: usize = 64;
/// How often positions are valued by the live books, where orders are counted together.
const MARK_NS: u64 = 1_000_000;

/// When the reader handled the last event of one of its turns.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// The event.
    pub seq: u64,
    /// When the turn began.
    pub read_ns: u64,
    /// When the turn's events were in the rings.
    pub pushed_ns: u64,
    /// How many messages it had, with those of turns before whose stamps found no room.
    pub messages: u32,
}

/// What does not change while a shard runs.
#[derive(Clone, Copy, Debug)]
pub struct ShardConfig {
    /// The trading date, for order ids.
    pub date: Date,
    /// Whether orders wait until what caused them is on the disk.
    pub is_durable: bool,
    /// Whether FIX messages carry the machine's time (live) or the event's (replay).
    pub is_live: bool,
    /// Whether orders of which nobody knows whether they left are cancelled. Otherwise they are
    /// sent again, flagged as possible repeats.
    pub cancels_in_doubt: bool,
    /// Orders caused by events up to this `seq` may have left before, because the log was cut by
    /// hand: they go out flagged as possible repeats.
    pub again_upto: u64,
    /// What to measure.
    pub measure: Measure,
}

/// One core's share of the work.
pub struct Shard<'a, D: Disk, G, C> {
    config: ShardConfig,
    events: Receiver<Event>,
    stamps: Receiver<Stamp>,
    core: Core,
    exit: Exit<D>,
    encoder: Encoder,
    gateway: G,
    clock: C,
    kill: &'a Kill,
    /// What limits orders together, where anything does, and when positions are valued next.
    guard: Option<&'a Guard>,
    mark_at_ns: u64,
    /// How fast orders leave, where that is said.
    bucket: Option<Bucket>,
    /// The change of the latch whose cancels were made, and how many orders are still to be looked at
    /// for the one at hand.
    cancels_done: u64,
    cancels_left: Option<(u64, usize)>,
    /// Sent, and not known to be over: what a stop cancels. The oldest are forgotten.
    open: VecDeque<Signal>,
    latency: Latency,
    /// Up to this event, the reader's stamps were matched with batches.
    matched_seq: u64,
    /// What is to be counted of the batch at hand: when its packets were due, and the ways of the
    /// reader's turns that brought it. Histograms are many cache lines, and orders go first.
    dues: Vec<u64>,
    ways: Vec<Way>,
    msg_seq: u64,
    /// Orders that the gateway took and still has in its buffer: not yet said to be sent.
    leaving: VecDeque<(Signal, Outcome, u64)>,
    /// The log was told to write everything below this cell without delay.
    urged_upto: u64,
    is_input_over: bool,
}

/// What a shard is put together from.
pub struct Parts<'a, D: Disk, G, C> {
    /// From the reader.
    pub events: Receiver<Event>,
    /// From the reader, for latency.
    pub stamps: Receiver<Stamp>,
    /// What concludes, as far as it came before.
    pub state: Recovery,
    /// What remembers.
    pub log: Log<D>,
    /// Writes orders as messages.
    pub encoder: Encoder,
    /// Takes the messages.
    pub gateway: G,
    /// For latency, and to know how old a record is.
    pub clock: C,
    /// What stops orders.
    pub kill: &'a Kill,
}

impl<'a, D: Disk, G: Gateway, C: Clock> Shard<'a, D, G, C> {
    /// A shard that goes on from `parts.state`. `kept_max` is how many records one event can
    /// cause at most: a tick closes windows of every symbol. `msg_seq_last` is the last message
    /// number that the peer is known to have seen.
    ///
    /// What a crash kept from leaving is queued: orders that are in the log without a word of what
    /// became of them go out flagged as possible repeats, or are cancelled, unless the peer is
    /// known to have them (`delivered`).
    pub fn new(
        config: ShardConfig,
        parts: Parts<'a, D, G, C>,
        kept_max: usize,
        msg_seq_last: u64,
        delivered: &dyn Fn(&OrderId) -> bool,
    ) -> Result<Self, ShardError> {
        let Recovered {
            core,
            ledger,
            counts,
            expected,
            msg_seq,
        } = parts.state.end()?;
        bus::failpoint!("recover-read");
        let in_doubt = match config.cancels_in_doubt {
            true => How::Cancel,
            false => How::Again,
        };
        let mut shard = Shard {
            config,
            events: parts.events,
            stamps: parts.stamps,
            core,
            exit: Exit {
                ahead: Vec::new(),
                in_doubt,
                again_upto: config.again_upto,
                unsaid: None,
                reports: parts
                    .kill
                    .guard()
                    .map(|_| VecDeque::with_capacity(HELD_ORDERS_MAX)),
                log: parts.log,
                is_holding: false,
                owed: VecDeque::with_capacity(kept_max),
                kept: VecDeque::with_capacity(kept_max + 2 * BATCH_EVENTS_MAX),
                kept_max,
                held: VecDeque::with_capacity(HELD_ORDERS_MAX + kept_max),
                counts,
                now_ns: 0,
                laps: Laps::default(),
                unmatched: 0,
                ts_recv: Ts::MIN,
                pace: None,
            },
            encoder: parts.encoder,
            gateway: parts.gateway,
            clock: parts.clock,
            kill: parts.kill,
            guard: parts.kill.guard(),
            mark_at_ns: 0,
            bucket: parts.kill.throttle().map(Bucket::new),
            cancels_done: 0,
            cancels_left: None,
            open: VecDeque::with_capacity(OPEN_ORDERS_MAX),
            latency: Latency::measuring(config.measure),
            matched_seq: 0,
            dues: Vec::with_capacity(BATCH_EVENTS_MAX),
            ways: Vec::with_capacity(BATCH_EVENTS_MAX),
            msg_seq: msg_seq.max(msg_seq_last),
            leaving: VecDeque::with_capacity(HELD_ORDERS_MAX),
            urged_upto: 0,
            is_input_over: false,
        };
        shard.settle(ledger, expected, delivered);
        Ok(shard)
    }

    fn settle(
        &mut self,
        ledger: Ledger,
        expected: VecDeque<Signal>,
        delivered: &dyn Fn(&OrderId) -> bool,
    ) {
        let in_doubt = ledger.in_doubt.into_iter().map(|order| (order, None));
        let (met, mut ahead): (Vec<Ahead>, Vec<Ahead>) =
            ledger.ahead.into_iter().partition(|ahead| ahead.is_met);
        let met = met.into_iter().map(|ahead| (ahead.order, ahead.sent));
        for (order, sent) in in_doubt.chain(met) {
            if planted::is(Bug::DoubtForgotten) {
                continue;
            }
            let was_said = sent.is_some();
            let sent = sent.or_else(|| self.peer_has(&order, delivered));
            match sent {
                Some(sent) => {
                    self.exit.counts.said(&sent);
                    self.exit.signal(&sent_signal(&order, &sent));
                    if !was_said {
                        self.is_out(&order);
                    }
                }
                None => {
                    let how = match planted::is(Bug::DoubtUnflagged) {
                        true => How::New,
                        false => self.exit.in_doubt,
                    };
                    self.exit.hold(&order, how);
                }
            }
        }
        for ahead in &mut ahead {
            if ahead.sent.is_none() {
                ahead.sent = self.peer_has(&ahead.order, delivered);
                if ahead.sent.is_some() {
                    self.is_out(&ahead.order);
                }
            }
        }
        self.exit.ahead = ahead;
        // What the crash kept from the log follows now, and is sent as if nothing had happened.
        for signal in expected {
            self.exit.signal(&signal);
        }
        bus::failpoint!("recover-queued");
    }

    /// An order was not known to be out, and is. Where reports come they have said so.
    fn is_out(&self, order: &Signal) {
        if let Some(guard) = self.guard.filter(|guard| !guard.is_told()) {
            guard.is_out(owner(order), &body_of(order));
        }
    }

    fn peer_has(&self, order: &Signal, delivered: &dyn Fn(&OrderId) -> bool) -> Option<Sent> {
        delivered(&self.order_id(order)).then(|| Sent {
            order_ordinal: order.ordinal,
            outcome: Outcome::Sent,
            msg_seq: self.msg_seq,
            ts_sent: self.clock.wall(),
            over: None,
        })
    }

    /// From now on, latencies count from when packets were due by `pace`.
    pub fn set_pace(&mut self, pace: Pace) {
        self.exit.pace = Some(pace);
        self.latency.begin(pace.start_ns);
    }

    /// The process did not run for so long, until `resumed_ns`: what follows is due that much later, and
    /// no latency is of what was due before.
    pub fn paused(&mut self, clock_ns: u64, resumed_ns: u64) {
        if let Some(pace) = &mut self.exit.pace {
            pace.start_ns = pace.start_ns.saturating_add(clock_ns);
        }
        self.latency.resume(resumed_ns);
    }

    /// One bounded piece of work; how much it did. Never waits.
    #[inline]
    pub fn turn(&mut self) -> Result<usize, ShardError> {
        let now_ns = self.clock.now_ns();
        self.exit.now_ns = now_ns;
        // The gateway goes first: an order may be said to be sent only once it is out of this
        // process, or a crash between the two would lose it.
        let mut work = self.gateway.turn()?;
        let is_gone = self.gateway.waiting() == 0;
        if !self.leaving.is_empty() && (is_gone || planted::is(Bug::SentBeforeItLeft)) {
            bus::failpoint!("orders-left");
            work += self.say_left();
            bus::failpoint!("orders-said");
        }
        let cancels = self.kill.cancels();
        if cancels != self.cancels_done {
            work += self.cancel_open(cancels)?;
        }
        if let Some(guard) = self.guard
            && now_ns >= self.mark_at_ns
        {
            let books = self.core.books();
            guard.mark(|symbol| books.quote(symbol));
            self.mark_at_ns = now_ns + MARK_NS;
        }
        work += self.exit.write_kept();
        // A frame goes early only for an order in it, once: not for what comes while it is under
        // way, or a burst would fill the disk with half-empty frames.
        let is_urgent = self
            .exit
            .held
            .back()
            .is_some_and(|held| self.config.is_durable && held.cell_end > self.urged_upto);
        if is_urgent {
            self.urged_upto = self.exit.log.next_cell();
        }
        work += self
            .exit
            .log
            .turn(now_ns, is_urgent || self.is_input_over)?;
        if !self.exit.held.is_empty() {
            work += self.release()?;
        }
        if self.guard.is_some() {
            self.count_reports();
        }
        let taken = self.take()?;
        let is_at_rest = taken <= EVENTS_AT_REST_MAX && self.exit.owed.is_empty();
        if is_at_rest && self.core.is_ticking() {
            self.core.tick_on(VISITS_AT_REST, &mut self.exit);
            work += 1;
        }
        work += taken;
        match self.exit.unsaid.take() {
            None => Ok(work),
            Some(what) => Err(ShardError::Unsaid { what }),
        }
    }

    /// When the last turn began.
    pub fn now_ns(&self) -> u64 {
        self.exit.now_ns
    }

    /// Whether events wait for a turn.
    #[inline]
    pub fn has_input(&self) -> bool {
        self.events.has_some()
    }

    /// Whether the input ended and everything that came is done with.
    pub fn is_done(&self) -> bool {
        self.is_input_over
            && self.leaving.is_empty()
            && self.exit.is_empty()
            && self.kill.cancels() == self.cancels_done
    }

    fn take(&mut self) -> Result<usize, ShardError> {
        let has_room = match self.exit.is_holding {
            true => self.exit.kept.len() < self.exit.kept_max,
            false => self.exit.has_room(BATCH_EVENTS_MAX),
        };
        if self.exit.held.len() >= HELD_ORDERS_MAX || !has_room {
            self.exit.counts.log_full += 1;
            return Ok(0);
        }
        let Some(batch) = self.events.batch(BATCH_EVENTS_MAX) else {
            self.is_input_over = self.events.is_finished();
            return Ok(0);
        };
        let (front, back) = batch.slices();
        bus::failpoint!("events-taken");
        let popped_ns = self.clock.now_ns();
        self.exit.laps = Laps {
            is_on: self.latency.is_stamped(),
            popped_ns,
            last_ns: popped_ns,
            ns: [0; Lap::COUNT],
        };
        self.exit.unmatched = 0;
        if self.exit.laps.is_on {
            stamped(&mut self.core, [front, back], &mut self.exit, &self.clock);
        } else {
            self.core.take(front, &mut self.exit);
            self.core.take(back, &mut self.exit);
        }
        bus::failpoint!("events-appended");
        let done_ns = match self.exit.laps.is_on {
            true => self.exit.laps.last_ns,
            false => self.clock.now_ns(),
        };
        let count = front.len() + back.len();
        self.dues.clear();
        if let Some(pace) = self.exit.pace {
            for events in [front, back] {
                note_packets(&mut self.dues, events, &pace);
            }
        }
        self.exit.counts.events += count as u64;
        self.ways.clear();
        while let Some(batch) = self.stamps.batch(1) {
            let last_seq = self.core.last_seq();
            let Some(&stamp) = batch.slices().0.first().filter(|s| s.seq <= last_seq) else {
                break;
            };
            batch.commit(1);
            let Some(event) = find(front, back, stamp.seq) else {
                // Its batch was done with before the reader came to stamp it.
                self.latency.unmatched += 1;
                self.matched_seq = stamp.seq;
                continue;
            };
            // The end of the input and a gap come in no packet that was due.
            let is_of_packet = !matches!(event.kind, Kind::End | Kind::Gap);
            let pace = self.exit.pace.filter(|_| is_of_packet);
            let way = Way {
                due_ns: pace.map(|pace| pace.due_ns(event.ts_recv)),
                read_ns: stamp.read_ns,
                pushed_ns: stamp.pushed_ns,
                popped_ns,
                laps: self.exit.laps.is_on.then_some(self.exit.laps.ns),
                messages: stamp.messages,
            };
            self.ways.push(way);
            if self.exit.unmatched > 0 {
                self.exit.match_orders(self.matched_seq, &stamp);
            }
            self.matched_seq = stamp.seq;
        }
        batch.commit(count);
        // Nothing keeps these from leaving, so they do not wait for another turn.
        let is_free = !self.config.is_durable && self.exit.unsaid.is_none();
        if is_free && !self.exit.held.is_empty() {
            self.release()?;
        }
        for due_ns in &self.dues {
            self.latency.packet(*due_ns, done_ns);
        }
        for way in &self.ways {
            self.latency.turn(way, done_ns);
        }
        Ok(count)
    }

    /// Seals the log once all is done; what the shard ends with.
    pub fn finish(mut self) -> Result<Finished, ShardError> {
        if let Some(ahead) = self.exit.ahead.first()
            && self.core.is_ended()
        {
            let what = format!("{}, {:?}", self.order_id(&ahead.order), ahead.order.body());
            return Err(ShardError::Unsaid { what });
        }
        self.gateway.finish()?;
        bus::failpoint!("orders-finished");
        self.exit.log.finish()?;
        Ok(Finished {
            core: self.core,
            counts: self.exit.counts,
            latency: self.latency,
            log: self.exit.log.stats(),
        })
    }

    /// The log, and what stands behind the shard, as a crash now would leave them.
    pub fn crash(self) -> (D, G) {
        (self.exit.log.into_disk(), self.gateway)
    }

    /// Its log, to be watched.
    pub fn log(&self) -> &Log<D> {
        &self.exit.log
    }

    /// What it counted so far.
    pub fn counts(&self) -> ShardCounts {
        self.exit.counts
    }

    /// How many events were taken in so far, from the ring or from the log of an earlier run.
    pub fn events_taken(&self) -> u64 {
        self.exit.counts.events
    }

    /// The time that event time has come to.
    pub fn last_ts(&self) -> Ts {
        self.core.watermark()
    }

    /// What its symbols are called, in eight letters.
    pub fn names(&self) -> impl Iterator<Item = (u32, u64)> {
        self.core.names()
    }

    /// What it knows of the groups' symbols.
    pub fn groups(&self) -> &Groups {
        self.core.groups()
    }

    /// The log's own name.
    pub fn log_uuid(&self) -> [u8; 16] {
        self.exit.log.uuid()
    }

    /// Cells of the log below this are durable.
    pub fn durable_upto(&self) -> u64 {
        self.exit.log.durable_upto()
    }

    /// The `seq` of the last event taken in.
    pub fn last_seq(&self) -> u64 {
        let last = self.core.last_seq();
        if last == 0 {
            return 0;
        }
        last + u64::from(planted::is(Bug::ResumeSkipsOne))
            - u64::from(planted::is(Bug::ResumeRepeatsOne))
    }
}

/// What a shard ends with.
pub struct Finished {
    /// Books and analytics as they are at the end.
    pub core: Core,
    /// What it counted.
    pub counts: ShardCounts,
    /// How long things took.
    pub latency: Latency,
    /// What its log did.
    pub log: bus::log::LogStats,
}

/// The event with this number, in two slices whose numbers rise.
fn find<'e>(front: &'e [Event], back: &'e [Event], seq: u64) -> Option<&'e Event> {
    [front, back].into_iter().find_map(|events| {
        let at = events.binary_search_by_key(&seq, |event| event.seq).ok()?;
        Some(&events[at])
    })
}

/// Notes when each packet was due, by its last event. Every packet counts, however many came at
/// once, so that a stall shows in all that it delayed.
fn note_packets(dues: &mut Vec<u64>, events: &[Event], pace: &Pace) {
    for (index, event) in events.iter().enumerate() {
        let is_last = events
            .get(index + 1)
            .is_none_or(|next| next.ts_recv != event.ts_recv || next.kind == Kind::End);
        // The end of the input and a gap come in no packet, and have the time of the last event.
        if is_last && !matches!(event.kind, Kind::End | Kind::Gap) {
            dues.push(pace.due_ns(event.ts_recv));
        }
    }
}
