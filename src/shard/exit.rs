//! Where a core's conclusions go: into the log, in order, and orders among them to where they wait for it.

use std::collections::VecDeque;

use bus::clock::Clock;
use bus::disk::Disk;
use bus::log::Log;
use bus::{Event, Signal, SignalKind, Ts};
use feed::source::Pace;

use super::{ShardCounts, Stamp};
use crate::core::{Core, Lap, Sink};
use crate::latency::Way;
use crate::recovery::{Ahead, key, sent_signal};

/// The log, and what waits before and behind it: where a core's conclusions go.
pub(super) struct Exit<D: Disk> {
    pub(super) log: Log<D>,
    /// A tick is under way: what comes behind it is kept until it has said all, so that the log has
    /// its order.
    pub(super) is_holding: bool,
    /// What that tick said and found no room for.
    pub(super) owed: VecDeque<Signal>,
    pub(super) kept: VecDeque<Kept>,
    /// How many records may be kept before more events are taken.
    pub(super) kept_max: usize,
    pub(super) held: VecDeque<Held>,
    pub(super) counts: ShardCounts,
    pub(super) now_ns: u64,
    pub(super) laps: Laps,
    /// Orders of the batch at hand, whose reader's turn is not known yet.
    pub(super) unmatched: usize,
    /// When the packet of the event now taken in was captured or received.
    pub(super) ts_recv: Ts,
    pub(super) pace: Option<Pace>,
    /// Orders that were decided before, by events that come again.
    pub(super) ahead: Vec<Ahead>,
    /// How one of them goes out of which nobody knows whether it left.
    pub(super) in_doubt: How,
    /// Up to this `seq`, orders may have left without the log's knowing.
    pub(super) again_upto: u64,
    /// One of them came out otherwise.
    pub(super) unsaid: Option<String>,
    /// What a simulated venue said, where orders are counted together.
    pub(super) reports: Option<VecDeque<Signal>>,
}

impl<D: Disk> Exit<D> {
    #[inline]
    pub(super) fn has_room(&self, cells: usize) -> bool {
        !self.is_behind() && self.log.room_cells() >= cells
    }

    /// Whether what comes now belongs behind something that is not in the log yet.
    #[inline]
    pub(super) fn is_behind(&self) -> bool {
        self.is_holding || !self.kept.is_empty() || !self.owed.is_empty()
    }

    pub(super) fn append_signal(&mut self, signal: &Signal) {
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
    pub(super) fn meet(&mut self, order: &Signal) {
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

    pub(super) fn hold(&mut self, order: &Signal, how: How) {
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
    pub(super) fn match_orders(&mut self, after_seq: u64, stamp: &Stamp) {
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
    pub(super) fn write_kept(&mut self) -> usize {
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

    pub(super) fn is_empty(&self) -> bool {
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

/// An order on its way out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) order: Signal,
    /// The log's cell after the order: durable once the log is durable up to here.
    pub(super) cell_end: u64,
    pub(super) decided_ns: u64,
    pub(super) due_ns: u64,
    pub(super) how: How,
    /// It is counted together with others.
    pub(super) is_counted: bool,
    /// Its way so far; that of the reader is not known before the end of the batch.
    pub(super) way: Way,
    pub(super) is_whole: bool,
}

/// As what an order goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// For the first time.
    New,
    /// Perhaps for the second time, and flagged so.
    Again,
    /// It may have left before: a cancel goes out for it.
    Cancel,
}

/// A record that waits for room in the log.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kept {
    Event(Event),
    Signal(Signal),
}

/// The moments of the batch at hand.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Laps {
    /// Whether each event is stamped.
    pub(super) is_on: bool,
    pub(super) popped_ns: u64,
    pub(super) last_ns: u64,
    pub(super) ns: [u64; Lap::COUNT],
}

/// An exit that stamps each piece of the work on each event.
pub(super) struct Stamping<'e, D: Disk, C> {
    pub(super) exit: &'e mut Exit<D>,
    pub(super) clock: &'e C,
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

/// Takes in a batch event by event with the clock in hand. Apart, so that the usual way stays
/// as it is.
#[cold]
#[inline(never)]
pub(super) fn stamped<D: Disk>(
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
