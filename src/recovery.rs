//! A shard's state, brought back: from a checkpoint or from nothing, and from what the log has
//! since.
//!
//! The same replay serves a restart, the making of a checkpoint beside a running shard, and the
//! move to another number of shards. It compares each logged signal with the one concluded, so
//! that a program or a configuration that concludes otherwise is found out before it acts.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use bus::log::{LogError, Record};
use bus::planted::{self, Bug};
use bus::signal::Sent;
use bus::state::{StateError, StateReader, StateWriter};
use bus::{Body, Event, Kind, Signal, SignalKind};
use feed::groups::Groups;

use crate::core::{Core, Sink};
use crate::shard::{ShardCounts, ShardError};

/// Events taken in at once: enough for the books to look ahead.
const BATCH_EVENTS_MAX: usize = 512;

/// Which share of the symbols a state is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Which shard.
    pub shard: u32,
    /// Of how many.
    pub shards: u32,
}

impl Share {
    /// All symbols on one shard.
    pub const ALL: Share = Share {
        shard: 0,
        shards: 1,
    };

    /// Whether a symbol belongs to it.
    pub fn has(&self, symbol: u32, groups: &Groups) -> bool {
        groups.shard_of(symbol, self.shards as usize) == self.shard as usize
    }
}

/// Orders, and what is known of what became of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    /// Logged without a word of what became of them.
    pub(crate) in_doubt: VecDeque<Signal>,
    /// Decided before, by events that will be taken in again.
    pub(crate) ahead: Vec<Ahead>,
    /// The last message number of each shard's FIX session.
    pub(crate) sessions: BTreeMap<u32, u64>,
}

/// An order that a run decided beyond the place where another takes over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ahead {
    pub(crate) order: Signal,
    /// What became of it; `None` if nobody knows.
    pub(crate) sent: Option<Sent>,
    /// It was decided again, and only the word of what became of it is missing in the log.
    pub(crate) is_met: bool,
}

/// What names an order among all signals.
pub(crate) fn key(order: &Signal) -> (u64, u32, u16) {
    (order.seq, order.symbol, order.ordinal)
}

impl Ledger {
    fn session_of(&self, shard: u32) -> u64 {
        self.sessions.get(&shard).copied().unwrap_or(0)
    }

    /// An order beyond the place where another part takes over. The part before may have known it
    /// as such already, from the one before that: it will be decided again once.
    fn decided_ahead(&mut self, order: Signal) {
        if !self
            .ahead
            .iter()
            .any(|ahead| key(&ahead.order) == key(&order))
        {
            self.ahead.push(Ahead {
                order,
                sent: None,
                is_met: false,
            });
        }
    }

    /// Whether it was an order in doubt.
    fn said(&mut self, signal: &Signal, sent: &Sent) -> bool {
        let of = (signal.seq, signal.symbol, sent.order_ordinal);
        if let Some(at) = self.in_doubt.iter().position(|order| key(order) == of) {
            self.in_doubt.remove(at);
            return true;
        }
        if let Some(at) = self.ahead.iter().position(|ahead| key(&ahead.order) == of) {
            if self.ahead[at].is_met {
                self.ahead.remove(at);
            } else {
                self.ahead[at].sent = Some(*sent);
            }
        }
        false
    }
}

/// See the module.
pub struct Recovery {
    share: Share,
    core: Core,
    ledger: Ledger,
    counts: ShardCounts,
    /// Concluded, and not yet met in the log.
    expected: VecDeque<Signal>,
    batch: Vec<Event>,
    /// The cell of the first event in `batch`.
    batch_cell: u64,
    /// Everything below this is in.
    cell: u64,
    /// No event beyond this is taken in.
    cut: u64,
    /// The cell of the first that was not.
    beyond: Option<u64>,
}

/// What a shard goes on from.
pub(crate) struct Recovered {
    pub(crate) core: Core,
    pub(crate) ledger: Ledger,
    pub(crate) counts: ShardCounts,
    pub(crate) expected: VecDeque<Signal>,
    pub(crate) msg_seq: u64,
}

impl Recovery {
    /// A shard of which nothing is known yet.
    pub fn new(core: Core, share: Share) -> Recovery {
        Recovery {
            share,
            core,
            ledger: Ledger::default(),
            counts: ShardCounts::default(),
            expected: VecDeque::new(),
            batch: Vec::with_capacity(BATCH_EVENTS_MAX),
            batch_cell: 0,
            cell: 0,
            cut: u64::MAX,
            beyond: None,
        }
    }

    /// Takes in events up to and with this `seq` only, and what became of the orders they caused.
    pub fn cut_at(&mut self, seq: u64) {
        self.cut = seq;
    }

    /// Everything in the log below this cell is in.
    pub fn cell(&self) -> u64 {
        self.beyond.unwrap_or(self.cell)
    }

    /// What is in is the beginning of a new log.
    pub fn begin_log(&mut self) {
        self.cell = 0;
    }

    /// The `seq` of the last event that is in.
    pub fn last_seq(&self) -> u64 {
        self.batch
            .last()
            .map_or(self.core.last_seq(), |event| event.seq)
    }

    /// How many events are in.
    pub fn events(&self) -> u64 {
        self.counts.events
    }

    /// What is concluded so far.
    pub fn core(&self) -> &Core {
        &self.core
    }

    /// Orders of which nobody knows whether they left.
    pub fn in_doubt(&self) -> impl Iterator<Item = &Signal> {
        let ahead = self.ledger.ahead.iter();
        let ahead = ahead.filter(|ahead| ahead.sent.is_none());
        let ahead = ahead.map(|ahead| &ahead.order);
        self.ledger.in_doubt.iter().chain(ahead)
    }

    /// The last message number of this shard's FIX session.
    pub fn msg_seq(&self) -> u64 {
        self.ledger.session_of(self.share.shard)
    }

    /// Loads what [`Recovery::save`] wrote for `of`, as far as it is of this share. Several states,
    /// of the same place of the input, may be loaded one after the other.
    pub fn load(
        &mut self,
        from: &mut StateReader<'_>,
        of: Share,
        cell: u64,
    ) -> Result<(), StateError> {
        let share = self.share;
        // What cannot be told apart by symbol stays with its shard, or is the first one's.
        let counts_are_ours = if of.shards == share.shards {
            of == share
        } else {
            share.shard == 0
        };
        self.core.load(
            from,
            |symbol, groups| share.has(symbol, groups),
            counts_are_ours,
        )?;
        let is_ours = |symbol, core: &Core| share.has(symbol, core.groups());
        for _ in 0..from.u32()? {
            let (session, msg_seq) = (from.u32()?, from.u64()?);
            self.number(session, msg_seq);
        }
        let counts = ShardCounts::load(from)?;
        if counts_are_ours {
            self.counts.merge(&counts);
        }
        for _ in 0..from.u32()? {
            let order = order(from)?;
            if is_ours(order.symbol, &self.core) {
                self.ledger.in_doubt.push_back(order);
            }
        }
        for _ in 0..from.u32()? {
            let order = order(from)?;
            let sent = match from.bool()? {
                true => match signal(from)?.body() {
                    Some(Body::Sent(sent)) => Some(sent),
                    _ => return Err(from.error("what became of an order")),
                },
                false => None,
            };
            let is_met = from.bool()?;
            if is_ours(order.symbol, &self.core) {
                self.ledger.ahead.push(Ahead {
                    order,
                    sent,
                    is_met,
                });
            }
        }
        for _ in 0..from.u32()? {
            let signal = signal(from)?;
            if is_ours(signal.symbol, &self.core) {
                self.expected.push_back(signal);
            }
        }
        from.end()?;
        self.cell = cell;
        Ok(())
    }

    /// Writes all that a shard needs to go on from here.
    pub fn save(&mut self, out: &mut StateWriter<'_>) -> Result<(), ShardError> {
        self.flush()?;
        self.core.save(out);
        let Ledger {
            in_doubt,
            ahead,
            sessions,
        } = &self.ledger;
        out.u32(sessions.len() as u32);
        for (session, msg_seq) in sessions {
            out.u32(*session);
            out.u64(*msg_seq);
        }
        self.counts.save(out);
        out.u32(in_doubt.len() as u32);
        for order in in_doubt {
            out.bytes(order.as_bytes());
        }
        out.u32(ahead.len() as u32);
        for Ahead {
            order,
            sent,
            is_met,
        } in ahead
        {
            out.bytes(order.as_bytes());
            out.bool(sent.is_some());
            if let Some(sent) = sent {
                out.bytes(sent_signal(order, sent).as_bytes());
            }
            out.bool(*is_met);
        }
        out.u32(self.expected.len() as u32);
        for signal in &self.expected {
            out.bytes(signal.as_bytes());
        }
        Ok(())
    }

    /// Takes in records, in order, that follow on what is in.
    pub fn replay(
        &mut self,
        records: impl IntoIterator<Item = Result<(u64, Record), LogError>>,
    ) -> Result<(), ShardError> {
        if planted::is(Bug::CheckpointWithoutTail) && self.cell > 0 {
            return Ok(());
        }
        self.replay_below(u64::MAX, records)
    }

    /// Takes in records as long as there are cells below this one, at which a record begins.
    pub fn replay_below(
        &mut self,
        end: u64,
        records: impl IntoIterator<Item = Result<(u64, Record), LogError>>,
    ) -> Result<(), ShardError> {
        let mut records = records.into_iter();
        // What lies beyond may be under way to the disk, and is not even looked at.
        while self.cell < end {
            let Some(item) = records.next() else { break };
            bus::failpoint!("recover-record");
            let (cell, record) = item?;
            let after = cell + record_cells(&record);
            debug_assert_eq!(cell, self.cell, "records follow each other");
            match record {
                Record::Event(event) => self.event(cell, event)?,
                Record::Signal(signal) => self.signal(cell, signal)?,
            }
            self.cell = after;
        }
        self.flush()
    }

    /// Takes in what a log of the part before, in which another shard wrote of these symbols, has
    /// beyond the place where this part takes over: orders, and what became of them.
    pub fn replay_beyond(
        &mut self,
        shard: u32,
        cut: u64,
        records: impl IntoIterator<Item = Result<(u64, Record), LogError>>,
    ) -> Result<(), LogError> {
        if planted::is(Bug::AheadForgotten) {
            return Ok(());
        }
        let mut groups = self.core.groups().clone();
        for item in records {
            let signal = match item?.1 {
                Record::Signal(signal) => signal,
                Record::Event(event) if event.kind == Kind::Symbol => {
                    groups.bind(event.symbol, event.order.to_be_bytes());
                    continue;
                }
                Record::Event(_) => continue,
            };
            if let Some(Body::Sent(sent)) = signal.body() {
                self.number(shard, sent.msg_seq);
            }
            if !self.share.has(signal.symbol, &groups) {
                continue;
            }
            match signal.body() {
                Some(Body::Order(_)) if signal.seq > cut => self.ledger.decided_ahead(signal),
                // That of an order before the cut can stand beyond it.
                Some(Body::Sent(sent)) if self.ledger.said(&signal, &sent) => {
                    self.counts.said(&sent);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn event(&mut self, cell: u64, event: Event) -> Result<(), ShardError> {
        if event.seq > self.cut || self.beyond.is_some() {
            self.beyond.get_or_insert(cell);
            return self.flush();
        }
        if self.batch.is_empty() {
            self.batch_cell = cell;
        }
        self.batch.push(event);
        match self.batch.len() == BATCH_EVENTS_MAX {
            true => self.flush(),
            false => Ok(()),
        }
    }

    fn signal(&mut self, cell: u64, signal: Signal) -> Result<(), ShardError> {
        self.flush()?;
        if signal.kind == SignalKind::Sent {
            if let Some(Body::Sent(sent)) = signal.body() {
                self.sent(&signal, &sent);
            }
            return Ok(());
        }
        if self.beyond.is_some() {
            return Ok(());
        }
        self.counts.concluded(&signal);
        if self.expected.pop_front() != Some(signal) {
            let what = format!("holds {:?}, which was not concluded", signal.body());
            return Err(ShardError::Diverged { cell, what });
        }
        if signal.kind == SignalKind::Order {
            let ahead = &mut self.ledger.ahead;
            match ahead.iter_mut().find(|ahead| ahead.order == signal) {
                Some(ahead) => ahead.is_met = true,
                None => self.ledger.in_doubt.push_back(signal),
            }
        }
        Ok(())
    }

    /// A shard's FIX session came to this message number. Sessions that no shard has now are kept
    /// by the first.
    fn number(&mut self, session: u32, msg_seq: u64) {
        let Share { shard, shards } = self.share;
        if session == shard || (shard == 0 && session >= shards) {
            let last = self.ledger.sessions.entry(session).or_default();
            *last = msg_seq.max(*last);
        }
    }

    fn sent(&mut self, signal: &Signal, sent: &Sent) {
        self.number(self.share.shard, sent.msg_seq);
        self.ledger.said(signal, sent);
        if signal.seq <= self.cut {
            self.counts.concluded(signal);
            self.counts.said(sent);
        }
    }

    /// Lets the core conclude from the events at hand. What it says is in the log behind them.
    fn flush(&mut self) -> Result<(), ShardError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        if let Some(missing) = self.expected.front() {
            let what = format!("holds an event, want {:?}", missing.body());
            let cell = self.batch_cell;
            return Err(ShardError::Diverged { cell, what });
        }
        self.counts.events += self.batch.len() as u64;
        let mut concluded = Concluded(&mut self.expected);
        self.core.take(&self.batch, &mut concluded);
        self.batch.clear();
        Ok(())
    }

    /// What was concluded.
    pub fn into_core(self) -> Result<Core, ShardError> {
        Ok(self.end()?.core)
    }

    /// What a shard goes on from. What was concluded and is not in the log is what a crash kept
    /// from it: of the last event only, or the log is not what this program would have written.
    pub(crate) fn end(mut self) -> Result<Recovered, ShardError> {
        self.flush()?;
        let last_seq = self.core.last_seq();
        if let Some(early) = self.expected.iter().find(|signal| signal.seq != last_seq) {
            let what = format!("ends without {:?}", early.body());
            let cell = self.cell;
            return Err(ShardError::Diverged { cell, what });
        }
        let msg_seq = self.msg_seq();
        Ok(Recovered {
            core: self.core,
            ledger: self.ledger,
            counts: self.counts,
            expected: self.expected,
            msg_seq,
        })
    }
}

impl fmt::Debug for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recovery")
            .field("share", &self.share)
            .field("cell", &self.cell)
            .field("last_seq", &self.last_seq())
            .finish_non_exhaustive()
    }
}

struct Concluded<'a>(&'a mut VecDeque<Signal>);

impl Sink for Concluded<'_> {
    fn event(&mut self, _: &Event) {}

    fn signal(&mut self, signal: &Signal) {
        self.0.push_back(*signal);
    }
}

fn record_cells(record: &Record) -> u64 {
    match record {
        Record::Event(_) => 1,
        Record::Signal(_) => 2,
    }
}

/// The word of what became of an order, as the log has it.
pub(crate) fn sent_signal(order: &Signal, sent: &Sent) -> Signal {
    let (ts, seq, symbol) = (order.ts_event, order.seq, order.symbol);
    let body = Body::Sent(*sent);
    Signal::new(ts, seq, symbol, order.rule, order.ordinal, body)
}

fn signal(from: &mut StateReader<'_>) -> Result<Signal, StateError> {
    let bytes = from.bytes(128)?.first_chunk();
    bytes
        .and_then(Signal::from_bytes)
        .ok_or_else(|| from.error("a signal"))
}

fn order(from: &mut StateReader<'_>) -> Result<Signal, StateError> {
    let order = signal(from)?;
    match order.kind == SignalKind::Order && matches!(order.body(), Some(Body::Order(_))) {
        true => Ok(order),
        false => Err(from.error("an order")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::pipeline;
    use bus::signal::{Order, Outcome};
    use bus::{Price, Qty, Side, Ts};

    #[test]
    fn an_order_that_two_parts_decided_ahead_is_awaited_once() {
        let body = Body::Order(Order {
            price: Price::from_e4(1_000_000),
            qty: Qty(100),
            side: Side::Buy,
            bid: Price::from_e4(1_000_000),
            ask: Price::from_e4(1_000_100),
            tif: Default::default(),
        });
        let order = Signal::new(Ts(5), 20, 3, 0, 1, body);
        let sent = Sent {
            order_ordinal: 1,
            outcome: Outcome::Sent,
            msg_seq: 7,
            ts_sent: Ts(6),
            over: None,
        };
        let core = pipeline::core(&Config::default(), Ts(0), None).unwrap();
        let mut recovery = Recovery::new(core, Share::ALL);
        let signals = [order, sent_signal(&order, &sent)];
        let log = |count: usize| {
            let cells = signals.iter().take(count).zip((0..).step_by(2));
            cells.map(|(signal, cell)| Ok((cell, Record::Signal(*signal))))
        };
        recovery.replay_beyond(0, 10, log(1)).unwrap();
        assert_eq!(recovery.in_doubt().count(), 1);
        recovery.replay_beyond(0, 10, log(2)).unwrap();
        assert_eq!(
            recovery.in_doubt().count(),
            0,
            "the later log says that it left"
        );
        let want = Ahead {
            order,
            sent: Some(sent),
            is_met: false,
        };
        assert_eq!(recovery.ledger.ahead, [want]);
    }
}
