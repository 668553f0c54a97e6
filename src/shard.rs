//! One core's loop: events from the ring into the log and the core, orders out once durable.
//!
//! A shard is a plain struct with [`Shard::turn`]: one bounded piece of work that never waits.
//! Threads exist only in `pipeline`; tests call the same `turn` in any order they like.

use std::collections::VecDeque;
use std::fmt;

use bus::clock::Clock;
use bus::disk::Disk;
use bus::log::{Log, LogError};
use bus::oms::{About, Date, Encoder, Gateway, GatewayError, NewOrder, OrderId};
use bus::planted::{self, Bug};
use bus::ring::Receiver;
use bus::signal::{Order, Outcome, Over, RejectCode, Sent, Whose};
use bus::state::{Part, StateError, StateReader, StateWriter};
use bus::{Body, Event, Kind, Signal, SignalKind, Ts};
use feed::groups::Groups;
use feed::source::Pace;

use crate::core::{Core, Lap, Sink};
use crate::guard::{Guard, Owner, Said, Stake};
use crate::kill::Kill;
use crate::latency::{Latency, Measure, OrderWay, Way};
use crate::recovery::{Ahead, Ledger, Recovered, Recovery, key, sent_signal};
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

/// A shard that cannot go on.
#[derive(Debug)]
pub enum ShardError {
    /// The log failed.
    Log(LogError),
    /// The peer failed.
    Gateway(GatewayError),
    /// The log holds other signals than this program concludes from its events.
    Diverged {
        /// In which cell.
        cell: u64,
        /// What the log holds, and what was concluded.
        what: String,
    },
    /// Nobody knows whether orders left, and the configuration says not to go on then.
    InDoubt {
        /// Their ClOrdIDs.
        ids: Vec<String>,
    },
    /// An order that was decided before is not decided again by the same events.
    Unsaid {
        /// The order.
        what: String,
    },
    /// Something that was needed before the first event is not to be had.
    Setup(String),
}

impl fmt::Display for ShardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ShardError::Log(error) => error.fmt(f),
            ShardError::Gateway(error) => error.fmt(f),
            ShardError::Diverged { cell, what } => write!(
                f,
                "the log does not fit this program or its configuration: cell {cell}: {what}"
            ),
            ShardError::InDoubt { ids } => write!(
                f,
                "{} orders may have left before the crash or not, and orders.in_doubt is `halt`: \
                 {}; ask the peer about them, and go on with --in-doubt possresend, query or cancel",
                ids.len(),
                ids.join(" ")
            ),
            ShardError::Unsaid { what } => write!(
                f,
                "an order that this run decided before is not decided again from the same events, \
                 so the program or its configuration has changed: {what}"
            ),
            ShardError::Setup(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for ShardError {}

impl ShardError {
    /// Whether a log is damaged or does not fit, so that trying again will not help.
    pub fn is_damage(&self) -> bool {
        match self {
            ShardError::Log(error) => error.is_damage(),
            ShardError::Diverged { .. } => true,
            ShardError::Gateway(_)
            | ShardError::InDoubt { .. }
            | ShardError::Unsaid { .. }
            | ShardError::Setup(_) => false,
        }
    }
}

impl From<LogError> for ShardError {
    fn from(error: LogError) -> ShardError {
        ShardError::Log(error)
    }
}

impl From<GatewayError> for ShardError {
    fn from(error: GatewayError) -> ShardError {
        ShardError::Gateway(error)
    }
}

/// What a shard counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardCounts {
    /// Events taken from the ring.
    pub events: u64,
    /// Signals of each kind, by `SignalKind as usize - 0x80`; those of rules, monitors and patterns apart.
    pub signals: [u64; ShardCounts::RULES + 1],
    /// Orders handed to the peer.
    pub sent: u64,
    /// Orders held back by the kill flag.
    pub killed: u64,
    /// Orders sent again after a crash, flagged as possible repeats.
    pub resent: u64,
    /// Turns in which the log had no room.
    pub log_full: u64,
}

impl ShardCounts {
    /// From here on, kinds that there were not at first.
    const LATER: usize = SignalKind::Join.index();
    /// Where alerts of rules, monitors and patterns are counted, which are of one kind with those of the spread monitor: behind
    /// all kinds.
    pub(crate) const RULES: usize = SignalKind::COUNT;

    /// Counts a signal.
    #[inline]
    pub(crate) fn concluded(&mut self, signal: &Signal) {
        let index = match (signal.kind, signal.rule) {
            (SignalKind::Spread, 1..) => ShardCounts::RULES,
            (kind, _) => kind.index(),
        };
        self.signals[index] += 1;
    }

    pub(crate) fn said(&mut self, sent: &Sent) {
        match sent.outcome {
            Outcome::Sent => self.sent += 1,
            Outcome::Killed => self.killed += 1,
            Outcome::Failed | Outcome::Cancelled | Outcome::Refused => {}
        }
    }

    /// Saves what lasts beyond a restart.
    pub(crate) fn save(&self, out: &mut StateWriter<'_>) {
        out.u64(self.events);
        let (first, later) = self.signals.split_at(ShardCounts::LATER);
        first.iter().for_each(|count| out.u64(*count));
        out.u64(self.signals[ShardCounts::RULES]);
        if out.version(Part::Orders) >= 2 {
            let later = &later[..SignalKind::COUNT - ShardCounts::LATER];
            later.iter().for_each(|count| out.u64(*count));
        }
        out.u64(self.sent);
        out.u64(self.killed);
        out.u64(self.resent);
    }

    /// As it was when it was saved.
    pub(crate) fn load(from: &mut StateReader<'_>) -> Result<ShardCounts, StateError> {
        let mut counts = ShardCounts {
            events: from.u64()?,
            ..ShardCounts::default()
        };
        for count in &mut counts.signals[..ShardCounts::LATER] {
            *count = from.u64()?;
        }
        counts.signals[ShardCounts::RULES] = from.u64()?;
        if from.version(Part::Orders) >= 2 {
            for count in &mut counts.signals[ShardCounts::LATER..SignalKind::COUNT] {
                *count = from.u64()?;
            }
        }
        (counts.sent, counts.killed, counts.resent) = (from.u64()?, from.u64()?, from.u64()?);
        Ok(counts)
    }

    /// Adds the counts of `other`.
    pub(crate) fn merge(&mut self, other: &ShardCounts) {
        self.events += other.events;
        for (mine, theirs) in self.signals.iter_mut().zip(other.signals) {
            *mine += theirs;
        }
        self.sent += other.sent;
        self.killed += other.killed;
        self.resent += other.resent;
        self.log_full += other.log_full;
    }
}

/// An order on its way out.
#[derive(Clone, Copy, Debug)]
struct Held {
    order: Signal,
    /// The log's cell after the order: durable once the log is durable up to here.
    cell_end: u64,
    decided_ns: u64,
    due_ns: u64,
    how: How,
    /// It is counted together with others.
    is_counted: bool,
    /// Its way so far; that of the reader is not known before the end of the batch.
    way: Way,
    is_whole: bool,
}

/// As what an order goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// For the first time.
    New,
    /// Perhaps for the second time, and flagged so.
    Again,
    /// It may have left before: a cancel goes out for it.
    Cancel,
}

/// Whether an order's turn has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Free,
    Refused(Over),
    Waits,
}

/// Why an order is refused without which this one does not leave.
fn without(over: Over) -> Over {
    Over {
        code: RejectCode::OtherLeg,
        limit: 0,
        value: over.code as i64,
        ..over
    }
}

/// A record that waits for room in the log.
#[derive(Clone, Copy, Debug)]
enum Kept {
    Event(Event),
    Signal(Signal),
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

/// The log, and what waits before and behind it: where a core's conclusions go.
struct Exit<D: Disk> {
    log: Log<D>,
    /// A tick is under way: what comes behind it is kept until it has said all, so that the log has
    /// its order.
    is_holding: bool,
    /// What that tick said and found no room for.
    owed: VecDeque<Signal>,
    kept: VecDeque<Kept>,
    /// How many records may be kept before more events are taken.
    kept_max: usize,
    held: VecDeque<Held>,
    counts: ShardCounts,
    now_ns: u64,
    laps: Laps,
    /// Orders of the batch at hand, whose reader's turn is not known yet.
    unmatched: usize,
    /// When the packet of the event now taken in was captured or received.
    ts_recv: Ts,
    pace: Option<Pace>,
    /// Orders that were decided before, by events that come again.
    ahead: Vec<Ahead>,
    /// How one of them goes out of which nobody knows whether it left.
    in_doubt: How,
    /// Up to this `seq`, orders may have left without the log's knowing.
    again_upto: u64,
    /// One of them came out otherwise.
    unsaid: Option<String>,
    /// What a simulated venue said, where orders are counted together.
    reports: Option<VecDeque<Signal>>,
}

impl<D: Disk> Exit<D> {
    #[inline]
    fn has_room(&self, cells: usize) -> bool {
        !self.is_behind() && self.log.room_cells() >= cells
    }

    /// Whether what comes now belongs behind something that is not in the log yet.
    #[inline]
    fn is_behind(&self) -> bool {
        self.is_holding || !self.kept.is_empty() || !self.owed.is_empty()
    }

    fn append_signal(&mut self, signal: &Signal) {
        self.log.append_signal(signal);
        if signal.kind == SignalKind::Order {
            if self.ahead.is_empty() && signal.seq > self.again_upto {
                self.hold(signal, How::New);
            } else {
                self.meet(signal);
            }
        } else if signal.kind == SignalKind::Report
            && let Some(reports) = &mut self.reports
        {
            reports.push_back(*signal);
        }
    }

    /// An order that was decided before does not leave again, unless nobody knows whether it left.
    #[cold]
    fn meet(&mut self, order: &Signal) {
        let found = self.ahead.iter().position(|a| key(&a.order) == key(order));
        let Some(ahead) = found.map(|at| self.ahead.remove(at)) else {
            let how = match order.seq > self.again_upto {
                true => How::New,
                false => How::Again,
            };
            return self.hold(order, how);
        };
        if ahead.order != *order {
            let (was, is) = (ahead.order.body(), order.body());
            self.unsaid = Some(format!("was {was:?}, is {is:?}"));
        }
        match ahead.sent {
            Some(sent) => {
                self.counts.said(&sent);
                self.signal(&sent_signal(order, &sent));
            }
            None => self.hold(order, self.in_doubt),
        }
    }

    fn hold(&mut self, order: &Signal, how: How) {
        let decided_ns = self.laps.last_ns.max(self.now_ns);
        let due_ns = self.pace.map(|pace| pace.due_ns(self.ts_recv));
        self.unmatched += 1;
        self.held.push_back(Held {
            order: *order,
            cell_end: self.log.next_cell(),
            decided_ns,
            due_ns: due_ns.unwrap_or(decided_ns),
            how,
            is_counted: false,
            way: Way {
                due_ns,
                read_ns: 0,
                pushed_ns: 0,
                popped_ns: self.laps.popped_ns,
                laps: self.laps.is_on.then_some(self.laps.ns),
                messages: 1,
            },
            is_whole: false,
        });
    }

    /// The orders that came from a turn of the reader learn when that was.
    fn match_orders(&mut self, after_seq: u64, stamp: &Stamp) {
        for held in self.held.iter_mut().rev().take(self.unmatched) {
            let seq = held.order.seq;
            if !held.is_whole && seq > after_seq && seq <= stamp.seq {
                held.way.read_ns = stamp.read_ns;
                held.way.pushed_ns = stamp.pushed_ns;
                held.is_whole = held.way.due_ns.is_some();
            }
        }
    }

    /// Moves what waits into the log as far as there is room.
    fn write_kept(&mut self) -> usize {
        let mut count = 0;
        while !self.owed.is_empty() && self.log.room_cells() >= 2 {
            let signal = self.owed.pop_front().expect("just seen");
            self.append_signal(&signal);
            count += 1;
        }
        if self.is_holding || !self.owed.is_empty() {
            return count;
        }
        while let Some(&kept) = self.kept.front() {
            match kept {
                Kept::Event(event) if self.log.room_cells() >= 1 => self.log.append_event(&event),
                Kept::Signal(signal) if self.log.room_cells() >= 2 => self.append_signal(&signal),
                Kept::Event(_) | Kept::Signal(_) => break,
            }
            self.kept.pop_front();
            count += 1;
        }
        count
    }

    fn is_empty(&self) -> bool {
        !self.is_holding
            && self.owed.is_empty()
            && self.kept.is_empty()
            && self.held.is_empty()
            && self.log.durable_upto() == self.log.next_cell()
    }
}

impl<D: Disk> Sink for Exit<D> {
    #[inline]
    fn event(&mut self, event: &Event) {
        self.ts_recv = event.ts_recv;
        if self.has_room(1) {
            self.log.append_event(event);
        } else {
            self.kept.push_back(Kept::Event(*event));
        }
    }

    fn signal(&mut self, signal: &Signal) {
        self.counts.concluded(signal);
        if self.has_room(2) {
            self.append_signal(signal);
        } else {
            self.kept.push_back(Kept::Signal(*signal));
        }
    }

    /// Not while the tick itself waits for room.
    fn hold_back(&mut self) -> bool {
        self.is_holding = !self.is_behind();
        self.is_holding
    }

    fn owed(&mut self, signal: &Signal) {
        self.counts.concluded(signal);
        if self.owed.is_empty() && self.log.room_cells() >= 2 {
            self.append_signal(signal);
        } else {
            self.owed.push_back(*signal);
        }
    }

    fn let_go(&mut self) {
        self.is_holding = false;
    }
}

/// The moments of the batch at hand.
#[derive(Clone, Copy, Debug, Default)]
struct Laps {
    /// Whether each event is stamped.
    is_on: bool,
    popped_ns: u64,
    last_ns: u64,
    ns: [u64; Lap::COUNT],
}

/// An exit that stamps each piece of the work on each event.
struct Stamping<'e, D: Disk, C> {
    exit: &'e mut Exit<D>,
    clock: &'e C,
}

impl<D: Disk, C: Clock> Sink for Stamping<'_, D, C> {
    fn event(&mut self, event: &Event) {
        self.exit.event(event);
    }

    fn signal(&mut self, signal: &Signal) {
        self.exit.signal(signal);
    }

    fn hold_back(&mut self) -> bool {
        self.exit.hold_back()
    }

    fn owed(&mut self, signal: &Signal) {
        self.exit.owed(signal);
    }

    fn let_go(&mut self) {
        self.exit.let_go();
    }

    fn lap(&mut self, lap: Lap) {
        let now_ns = self.clock.now_ns();
        let laps = &mut self.exit.laps;
        laps.ns[lap as usize] += now_ns.saturating_sub(laps.last_ns);
        laps.last_ns = now_ns;
    }
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

    /// Hands orders to the peer: durable ones, in order, until it takes no more.
    #[cold]
    fn release(&mut self) -> Result<usize, ShardError> {
        let mut count = 0;
        while let Some(&held) = self.exit.held.front() {
            let is_durable = held.cell_end <= self.exit.log.durable_upto();
            if self.config.is_durable && !is_durable && !planted::is(Bug::SendBeforeDurable) {
                break;
            }
            // What an earlier send left in this process would leave after a stop. So there is never more
            // than the rest of one message.
            if self.gateway.waiting() > 0 {
                break;
            }
            // Of two that leave together, the second is behind the first; alone, the first has left.
            let is_leg = held.how == How::New && self.is_leg(&held.order);
            let other = if is_leg {
                self.other_leg(&held.order)
            } else {
                None
            };
            if let Some(other) = &other
                && self.config.is_durable
                && other.cell_end > self.exit.log.durable_upto()
            {
                break;
            }
            let both = || std::iter::once(&held).chain(&other);
            if !self.kill.is_open() && both().any(|held| self.is_stopped(held)) {
                for held in both() {
                    self.stop(held);
                }
                count += 1;
                continue;
            }
            if self.encoder.is_bounded()
                && held.how != How::Cancel
                && let Some((at, over)) = self.unfit(&held, other.as_ref())
            {
                // It never left and is not counted yet, nor is the one that would have left with it.
                for (place, held) in both().enumerate() {
                    self.take_out(&held.order);
                    let over = if place == at { over } else { without(over) };
                    self.say_refused(&held.order, over);
                }
                count += 1;
                continue;
            }
            if self.bucket.is_some() && held.how != How::Cancel {
                match self.throttled(&held, is_leg && other.is_none()) {
                    Turn::Free => {}
                    Turn::Refused(over) => {
                        if let Some(held) = &other {
                            self.refuse(held, without(over));
                        }
                        count += 1;
                        continue;
                    }
                    Turn::Waits => break,
                }
            }
            if let Some(guard) = self.guard
                && !held.is_counted
                && held.how != How::Cancel
            {
                let said = self.ask(guard, &held);
                let said_of_other = match &other {
                    Some(other) if said == Said::Go => self.ask(guard, other),
                    Some(_) | None => said,
                };
                if said_of_other != said {
                    let stake = Stake::of(&body_of(&held.order));
                    guard.changed(owner(&held.order), &stake, &Stake::default());
                }
                match said_of_other {
                    Said::Go => {
                        for held in both() {
                            self.held_as(&held.order).is_counted = true;
                        }
                    }
                    Said::Over(over) => {
                        // Each with what it was refused for.
                        let is_own = said_of_other == said;
                        self.refuse(&held, if is_own { over } else { without(over) });
                        if let Some(held) = &other {
                            self.refuse(held, if is_own { without(over) } else { over });
                        }
                        count += 1;
                        continue;
                    }
                    // Another shard is being answered; the next turn asks again.
                    Said::Busy => {
                        count += 1;
                        break;
                    }
                }
            }
            bus::failpoint!("order-released");
            let released_ns = self.clock.now_ns();
            let Some(encoded_ns) = self.send(&held.order, held.how)? else {
                break;
            };
            let way = OrderWay {
                way: held.way,
                decided_ns: held.decided_ns,
                released_ns,
                encoded_ns,
                sent_ns: self.clock.now_ns(),
            };
            self.latency.order(held.due_ns, &way, held.is_whole);
            if let Some(bucket) = self.bucket.as_mut().filter(|_| held.how != How::Cancel) {
                bucket.take();
            }
            let outcome = match held.how {
                How::New | How::Again => {
                    self.exit.counts.sent += 1;
                    self.exit.counts.resent += u64::from(held.how == How::Again);
                    if self.open.len() == OPEN_ORDERS_MAX {
                        self.open.pop_front();
                    }
                    self.open.push_back(held.order);
                    Outcome::Sent
                }
                How::Cancel => Outcome::Cancelled,
            };
            self.exit.held.pop_front();
            self.leaving.push_back((held.order, outcome, self.msg_seq));
            count += 1;
        }
        Ok(count)
    }

    /// What a simulated venue said of orders that left, or were held back, gives back what was counted.
    #[cold]
    fn count_reports(&mut self) {
        let Exit { reports, held, .. } = &mut self.exit;
        let (Some(guard), Some(reports)) = (self.guard, reports) else {
            return;
        };
        while let Some(signal) = reports.front() {
            let Some(Body::Report(report)) = signal.body() else {
                unreachable!("only reports are kept");
            };
            let of = (report.order_seq, signal.symbol, report.order_ordinal);
            let mut earlier = held.iter().take_while(|held| held.order.seq <= of.0);
            // It comes before its order is counted, where the order still waits to leave.
            if earlier.any(|held| key(&held.order) == of) {
                return;
            }
            guard.reported(owner(signal), &report);
            reports.pop_front();
        }
    }

    /// Whether an order leaves with another one, or not at all.
    #[inline]
    fn is_leg(&self, order: &Signal) -> bool {
        self.kill.paired() >> order.rule & 1 != 0
    }

    /// The other order of its strategy at its event, if it has not left.
    #[cold]
    fn other_leg(&self, order: &Signal) -> Option<Held> {
        let is_other = |held: &&Held| {
            let other = &held.order;
            held.how == How::New
                && (other.seq, other.rule) == (order.seq, order.rule)
                && other.symbol != order.symbol
        };
        self.exit.held.iter().find(is_other).copied()
    }

    /// An order in the queue.
    fn held_as(&mut self, order: &Signal) -> &mut Held {
        let mut held = self.exit.held.iter_mut();
        held.find(|held| held.order == *order).expect("it is held")
    }

    /// Takes an order out of the queue; nearly always the first.
    fn take_out(&mut self, order: &Signal) {
        let place = self.exit.held.iter().position(|held| held.order == *order);
        self.exit.held.remove(place.expect("it is held"));
    }

    /// Somebody stopped an order that is held.
    #[cold]
    fn stop(&mut self, held: &Held) {
        if let Some(guard) = self.guard {
            guard.never_left(key(&held.order));
        }
        if let Some(guard) = self.guard.filter(|_| held.is_counted) {
            let stake = Stake::of(&body_of(&held.order));
            guard.changed(owner(&held.order), &stake, &Stake::default());
        }
        self.take_out(&held.order);
        self.exit.counts.killed += 1;
        self.say_sent(&held.order, Outcome::Killed, 0);
    }

    /// Whether an order that is first in the queue is too fast. One whose other leg has left waits, and
    /// is never refused.
    #[cold]
    fn throttled(&mut self, held: &Held, is_owed: bool) -> Turn {
        let now_ns = self.clock.now_ns();
        let bucket = self.bucket.as_mut().expect("just seen");
        let wait_ns = bucket.wait_ns(now_ns);
        let queue_max = bucket.setting().queue_max;
        let over = |code, limit, value| Over {
            whose: Whose::Session,
            code,
            limit,
            value,
        };
        match queue_max {
            _ if wait_ns == 0 => Turn::Free,
            None if is_owed => Turn::Waits,
            None => {
                let over = over(RejectCode::Throttle, 0, wait_ns as i64);
                self.refuse(held, over);
                Turn::Refused(over)
            }
            Some(most) => {
                // Those that came last find no room; what may be out already is not among them.
                while self.exit.held.len() > most
                    && let Some(&last) = self.exit.held.back()
                    && last.how == How::New
                {
                    let other = match self.is_leg(&last.order) {
                        true => self.other_leg(&last.order),
                        false => None,
                    };
                    if self.is_leg(&last.order) && other.is_none() {
                        break;
                    }
                    let over = over(RejectCode::Queue, most as i64, self.exit.held.len() as i64);
                    self.take_out(&last.order);
                    self.say_refused(&last.order, over);
                    if let Some(held) = &other {
                        self.refuse(held, without(over));
                    }
                }
                Turn::Waits
            }
        }
    }

    #[cold]
    fn ask(&self, guard: &Guard, held: &Held) -> Said {
        let order = &held.order;
        let name = self.core.name(order.symbol);
        guard.ask(owner(order), name, &body_of(order), self.clock.now_ns())
    }

    /// Which of the orders that leave together the messages have no room for, if any, and why.
    #[cold]
    fn unfit(&self, held: &Held, other: Option<&Held>) -> Option<(usize, Over)> {
        let mut both = std::iter::once(held).chain(other).enumerate();
        both.find_map(|(place, held)| {
            let over = self.encoder.unfit(&body_of(&held.order))?;
            Some((place, over))
        })
    }

    #[cold]
    fn refuse(&mut self, held: &Held, over: Over) {
        if let Some(guard) = self.guard {
            let (owner, order) = (owner(&held.order), body_of(&held.order));
            match (held.how, held.is_counted) {
                // It may have left before, and then it is out.
                (How::Again, false) => guard.is_out(owner, &order),
                (How::New, true) => guard.changed(owner, &Stake::of(&order), &Stake::default()),
                _ => {}
            }
        }
        self.take_out(&held.order);
        self.say_refused(&held.order, over);
    }

    fn say_refused(&mut self, order: &Signal, over: Over) {
        if let Some(guard) = self.guard {
            guard.never_left(key(order));
        }
        let sent = Sent {
            order_ordinal: order.ordinal,
            outcome: Outcome::Refused,
            msg_seq: 0,
            ts_sent: self.clock.wall(),
            over: Some(over),
        };
        self.exit.signal(&sent_signal(order, &sent));
    }

    #[cold]
    fn is_stopped(&self, held: &Held) -> bool {
        // What a person stopped may still be cancelled; what this process does not trust may not.
        let is_harmless = held.how == How::Cancel && !self.kill.is_shut_here();
        let order = &held.order;
        !is_harmless && self.kill.stops(self.core.name(order.symbol), order.rule)
    }

    /// Cancels some of the orders that were sent and are stopped now.
    #[cold]
    fn cancel_open(&mut self, asked: u64) -> Result<usize, ShardError> {
        let left = match self.cancels_left {
            Some((of, left)) if of == asked => left,
            _ => self.open.len(),
        };
        let mut looked_at = 0;
        while looked_at < left.min(CANCELS_PER_TURN) && self.gateway.waiting() == 0 {
            let Some(order) = self.open.pop_front() else {
                break;
            };
            looked_at += 1;
            if asked == 0 || !self.kill.stops(self.core.name(order.symbol), order.rule) {
                self.open.push_back(order);
                continue;
            }
            if self.send(&order, How::Cancel)?.is_none() {
                self.open.push_front(order);
                looked_at -= 1;
                break;
            }
            let leaving = (order, Outcome::Cancelled, self.msg_seq);
            self.leaving.push_back(leaving);
        }
        match left - looked_at {
            0 => self.cancels_done = asked,
            left => self.cancels_left = Some((asked, left)),
        }
        Ok(looked_at)
    }

    /// When it was a message that the peer then took; `None` if the peer takes nothing now.
    fn send(&mut self, order: &Signal, how: How) -> Result<Option<u64>, ShardError> {
        let Some(Body::Order(body)) = order.body() else {
            unreachable!("only orders are held");
        };
        let Some(msg_seq) = self.gateway.next_msg_seq(self.msg_seq + 1) else {
            return Ok(None);
        };
        let id = self.order_id(order);
        let new = NewOrder {
            msg_seq,
            sending_time: if self.config.is_live {
                self.clock.wall()
            } else {
                order.ts_event
            },
            id: &id,
            symbol: self.core.name(order.symbol),
            order: &body,
            transact_time: order.ts_event,
            poss_resend: how == How::Again,
        };
        let message = match how {
            How::New | How::Again => self.encoder.encode(&new),
            How::Cancel => self.encoder.encode_about(About::Cancel, &new),
        };
        let encoded_ns = self.clock.now_ns();
        bus::failpoint!("order-encoded");
        if !self.gateway.send(message)? {
            return Ok(None);
        }
        bus::failpoint!("order-buffered");
        if let Some(guard) = self.guard.filter(|_| how == How::Cancel) {
            guard.cancel_leaves(owner(order), encoded_ns);
        }
        self.gateway.turn()?;
        bus::failpoint!("order-out");
        self.msg_seq = msg_seq;
        Ok(Some(encoded_ns))
    }

    /// Says of the orders that have left the process that they have.
    fn say_left(&mut self) -> usize {
        let count = self.leaving.len();
        while let Some((order, outcome, msg_seq)) = self.leaving.pop_front() {
            self.say_sent(&order, outcome, msg_seq);
        }
        count
    }

    fn order_id(&self, order: &Signal) -> OrderId {
        if planted::is(Bug::IdsFromClock) {
            let seq = self.clock.wall().0 as u64 % OrderId::SEQ_END;
            return OrderId::new(
                self.config.date,
                order.rule,
                seq,
                order.symbol,
                order.ordinal,
            );
        }
        OrderId::of(self.config.date, order)
    }

    fn say_sent(&mut self, order: &Signal, outcome: Outcome, msg_seq: u64) {
        let ts_sent = self.clock.wall();
        let sent = Sent {
            order_ordinal: order.ordinal,
            outcome,
            msg_seq,
            ts_sent,
            over: None,
        };
        self.exit.signal(&sent_signal(order, &sent));
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

fn owner(order: &Signal) -> Owner {
    Owner {
        symbol: order.symbol,
        rule: order.rule,
    }
}

fn body_of(order: &Signal) -> Order {
    match order.body() {
        Some(Body::Order(order)) => order,
        _ => unreachable!("only orders are held"),
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

/// Takes in a batch event by event with the clock in hand. Apart, so that the usual way stays
/// as it is.
#[cold]
#[inline(never)]
fn stamped<D: Disk>(
    core: &mut Core,
    slices: [&[Event]; 2],
    exit: &mut Exit<D>,
    clock: &impl Clock,
) {
    let mut stamping = Stamping { exit, clock };
    for events in slices {
        core.take(events, &mut stamping);
    }
    // What comes after the last event's last piece belongs to it.
    stamping.lap(Lap::Analytics);
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
