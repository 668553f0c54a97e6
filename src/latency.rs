//! How long each stage takes: recorded by a shard without allocating, as histograms that are
//! always on, and as a breakdown of single messages that adds up to the whole.
//!
//! ```text
//! due ──receive──► picked up ──decode──► pushed ──ring──► popped ──book, append, analytics, risk──► concluded
//!                                                    decided ──durable──► released ──encode, send──► sent
//! ```
//!
//! Waits of the reader's and the shard's turns, which every run measures, cost a few records for
//! each turn. The four pieces inside a batch need stamps for each event, so only each N-th batch
//! has them.

mod files;
mod histogram;

use crate::core::Lap;

pub use histogram::{Histogram, Interval, write_log};

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Stage {
    /// From when a packet was due until the reader began with it.
    Receive,
    /// One turn of the reader: some packets unframed, arbitrated, decoded and pushed.
    Decode,
    /// In the ring, from push to pop.
    Ring,
    /// In a batch: the books' part.
    Book,
    /// In a batch: records into the log's open frame.
    Append,
    /// In a batch: digests and analytics.
    Analytics,
    /// In a batch: the risk gate.
    Risk,
    /// From an order's decision until it was let go: in `durable` mode, until its cause was on the
    /// disk.
    Durable,
    /// An order as a FIX message.
    Encode,
    /// Handing it to the peer.
    Send,
    /// One batch of the shard: book, append, analytics and risk.
    Apply,
    /// Work without waits, decode and apply: all that a closed loop would see.
    Service,
    /// From when a packet was due (replay) or received (live) until all it says is concluded.
    Total,
    /// From an order's decision until it was handed to the peer's socket: durable, encode and send.
    Decision,
    /// From when an order's cause was due until the order was sent.
    Order,
    /// From when the packet of an order's cause was received until the order was given to the
    /// peer's socket: all of it our own doing.
    Reaction,
}

impl Stage {
    /// The ones that add up, in the order of a message's way.
    pub const PARTS: [Stage; 10] = [
        Stage::Receive,
        Stage::Decode,
        Stage::Ring,
        Stage::Book,
        Stage::Append,
        Stage::Analytics,
        Stage::Risk,
        Stage::Durable,
        Stage::Encode,
        Stage::Send,
    ];

    /// All, the sums last.
    pub const ALL: [Stage; 16] = [
        Stage::Receive,
        Stage::Decode,
        Stage::Ring,
        Stage::Book,
        Stage::Append,
        Stage::Analytics,
        Stage::Risk,
        Stage::Durable,
        Stage::Encode,
        Stage::Send,
        Stage::Apply,
        Stage::Service,
        Stage::Total,
        Stage::Decision,
        Stage::Order,
        Stage::Reaction,
    ];

    /// Its name in files and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Stage::Receive => "receive",
            Stage::Decode => "decode",
            Stage::Ring => "ring",
            Stage::Book => "book",
            Stage::Append => "append",
            Stage::Analytics => "analytics",
            Stage::Risk => "risk",
            Stage::Durable => "durable",
            Stage::Encode => "encode",
            Stage::Send => "send",
            Stage::Apply => "apply",
            Stage::Service => "service",
            Stage::Total => "total",
            Stage::Decision => "decision",
            Stage::Order => "order",
            Stage::Reaction => "reaction",
        }
    }

    /// What its time is, in a few words.
    pub const fn meaning(self) -> &'static str {
        match self {
            Stage::Receive => "due to picked up by the reader",
            Stage::Decode => "reader: one turn of some packets",
            Stage::Ring => "in the ring",
            Stage::Book => "in a batch: books",
            Stage::Append => "in a batch: into the log's open frame",
            Stage::Analytics => "in a batch: digests and analytics",
            Stage::Risk => "in a batch: the risk gate",
            Stage::Durable => "order decided to released",
            Stage::Encode => "order to FIX message",
            Stage::Send => "message to the peer",
            Stage::Apply => "shard: one batch of log, book, analytics, risk",
            Stage::Service => "work without waits: decode and apply",
            Stage::Total => "packet due to all concluded",
            Stage::Decision => "order decided to handed to the socket",
            Stage::Order => "cause due to order sent",
            Stage::Reaction => "cause received to order given to the socket: our own share",
        }
    }
}

/// What is to be measured of a run. The default is what every run does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measure {
    /// Each so many batches one is stamped event by event.
    pub stamp_every: u32,
    /// What was due in so many nanoseconds from the pace's start is not counted.
    pub warmup_ns: u64,
    /// What was due so many nanoseconds after the warm-up, or later, is not counted.
    pub span_ns: u64,
    /// How long a slot is, of those that total latencies are kept by.
    pub slot_ns: u64,
    /// How many slots; none outside of the lab.
    pub slots: usize,
    /// How many single messages are kept with their parts; none outside of the lab.
    pub traces_max: usize,
    /// Each so many stamped turns of the reader one is kept.
    pub trace_every: u32,
}

impl Default for Measure {
    fn default() -> Measure {
        Measure {
            stamp_every: 128,
            warmup_ns: 0,
            span_ns: u64::MAX,
            slot_ns: u64::MAX,
            slots: 0,
            traces_max: 0,
            trace_every: 1,
        }
    }
}

/// One message's way: the last one of a turn of the reader, standing for all of that turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// When it was due.
    pub due_ns: u64,
    /// When it was concluded, or its order sent.
    pub done_ns: u64,
    /// How many messages the turn had; 1 for an order.
    pub messages: u32,
    /// Whether it is an order's way, to the peer.
    pub is_order: bool,
    /// Nanoseconds in each of [`Stage::PARTS`].
    pub parts: [u64; Stage::PARTS.len()],
}

impl Trace {
    /// From due to done.
    pub fn total_ns(&self) -> u64 {
        self.done_ns.saturating_sub(self.due_ns)
    }
}

/// The moments of a reader's turn and of the batch that took its last message in. Each is taken
/// as no earlier than the one before, so that what lies between them adds up.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// When the last message was due; `None` where nothing is.
    pub due_ns: Option<u64>,
    /// When the reader's turn began.
    pub read_ns: u64,
    /// When the turn's events were in the rings.
    pub pushed_ns: u64,
    /// When the shard took the batch.
    pub popped_ns: u64,
    /// What the pieces of the batch took, if it was stamped.
    pub laps: Option<[u64; Lap::COUNT]>,
    /// How many messages the turn had.
    pub messages: u32,
}

/// The front of an order's way, and what became of it.
#[derive(Clone, Copy, Debug)]
pub struct OrderWay {
    /// Up to the decision; `laps` are those until then.
    pub way: Way,
    /// When it was decided.
    pub decided_ns: u64,
    /// When it was let go.
    pub released_ns: u64,
    /// When it was a message.
    pub encoded_ns: u64,
    /// When the peer had it.
    pub sent_ns: u64,
}

/// One histogram for each stage, and the breakdowns.
#[derive(Clone, Debug)]
pub struct Latency {
    stages: Vec<Histogram>,
    measure: Measure,
    /// When the measured span began.
    start_ns: u64,
    /// What was due before is not counted: the process was stopped until then.
    resumed_ns: u64,
    slots: Vec<Histogram>,
    traces: Vec<Trace>,
    traced: u32,
    batches: u32,
    /// Turns of the reader whose stamps came too late to be matched with their batch.
    pub unmatched: u64,
}

impl Latency {
    /// What every run has.
    pub fn new() -> Latency {
        Latency::measuring(Measure::default())
    }

    /// Allocates all that is needed.
    pub fn measuring(measure: Measure) -> Latency {
        assert!(measure.stamp_every > 0 && measure.trace_every > 0 && measure.slot_ns > 0);
        Latency {
            stages: vec![Histogram::new(); Stage::ALL.len()],
            measure,
            start_ns: 0,
            resumed_ns: 0,
            slots: vec![Histogram::new(); measure.slots],
            traces: Vec::with_capacity(measure.traces_max),
            traced: 0,
            batches: 0,
            unmatched: 0,
        }
    }

    /// The pace began at this moment.
    pub fn begin(&mut self, start_ns: u64) {
        self.start_ns = start_ns.saturating_add(self.measure.warmup_ns);
    }

    /// Nothing was done until this moment, on purpose: what was due before is not counted.
    pub fn resume(&mut self, resumed_ns: u64) {
        self.resumed_ns = resumed_ns;
    }

    /// Whether the batch to come is to be stamped.
    #[inline]
    pub fn is_stamped(&mut self) -> bool {
        self.batches += 1;
        let is_stamped = self.batches >= self.measure.stamp_every;
        if is_stamped {
            self.batches = 0;
        }
        is_stamped
    }

    /// How far into the measured span something was due, if it was.
    #[inline]
    fn offset(&self, due_ns: u64) -> Option<u64> {
        if due_ns < self.resumed_ns {
            return None;
        }
        let Some(offset_ns) = due_ns.checked_sub(self.start_ns) else {
            // What was recorded before the first packet counts where everything does.
            let is_all = self.measure.warmup_ns == 0 && self.measure.span_ns == u64::MAX;
            return is_all.then_some(0);
        };
        (offset_ns < self.measure.span_ns).then_some(offset_ns)
    }

    /// Counts one.
    #[inline]
    pub fn record(&mut self, stage: Stage, ns: u64) {
        self.stages[stage as usize].record(ns);
    }

    /// A packet that was due is concluded.
    #[inline]
    pub fn packet(&mut self, due_ns: u64, done_ns: u64) {
        let Some(offset_ns) = self.offset(due_ns) else {
            return;
        };
        // The end of an input carries the time of its last event, which no packet is due at.
        if done_ns < due_ns && !self.slots.is_empty() {
            return;
        }
        let ns = done_ns.saturating_sub(due_ns);
        self.record(Stage::Total, ns);
        if let Some(slot) = self
            .slots
            .get_mut((offset_ns / self.measure.slot_ns) as usize)
        {
            slot.record(ns);
        }
    }

    /// The last message of a turn of the reader is concluded.
    pub fn turn(&mut self, way: &Way, done_ns: u64) {
        let is_counted = match way.due_ns {
            Some(due_ns) => self.offset(due_ns).is_some(),
            // Where only a span counts, what has no time is before it.
            None => self.measure.span_ns == u64::MAX,
        };
        if !is_counted {
            return;
        }
        let mut parts = [0; Stage::PARTS.len()];
        let popped_ns = front(way, &mut parts);
        let count = u64::from(way.messages);
        let apply_ns = done_ns.saturating_sub(popped_ns);
        let decode_ns = parts[Stage::Decode as usize];
        let mut record = |stage: Stage, ns| self.stages[stage as usize].record_n(ns, count);
        record(Stage::Decode, decode_ns);
        record(Stage::Ring, parts[Stage::Ring as usize]);
        record(Stage::Apply, apply_ns);
        record(Stage::Service, decode_ns + apply_ns);
        if way.due_ns.is_some() {
            record(Stage::Receive, parts[Stage::Receive as usize]);
        }
        let Some(laps) = way.laps else { return };
        for (stage, ns) in LAPS.into_iter().zip(laps) {
            record(stage, ns);
            parts[stage as usize] = ns;
        }
        if let Some(due_ns) = way.due_ns.filter(|due_ns| *due_ns <= done_ns) {
            self.trace(Trace {
                due_ns,
                done_ns,
                messages: way.messages,
                is_order: false,
                parts,
            });
        }
    }

    /// An order was sent. `due_ns` is when its cause was due or, where nothing is, when it was
    /// decided; `order` is all of its way, where that is known.
    pub fn order(&mut self, due_ns: u64, order: &OrderWay, is_whole: bool) {
        if self.offset(due_ns).is_none() {
            return;
        }
        let after = |ns: u64, before: u64| ns.saturating_sub(before);
        let durable_ns = after(order.released_ns, order.decided_ns);
        let encode_ns = after(order.encoded_ns, order.released_ns);
        let send_ns = after(order.sent_ns, order.encoded_ns);
        self.record(Stage::Durable, durable_ns);
        self.record(Stage::Encode, encode_ns);
        self.record(Stage::Send, send_ns);
        self.record(Stage::Decision, after(order.sent_ns, order.decided_ns));
        self.record(Stage::Order, after(order.sent_ns, due_ns));
        if is_whole {
            let reaction_ns = after(order.encoded_ns, order.way.read_ns);
            self.record(Stage::Reaction, reaction_ns);
        }
        let Some(laps) = order.way.laps.filter(|_| is_whole) else {
            return;
        };
        let mut parts = [0; Stage::PARTS.len()];
        front(&order.way, &mut parts);
        for (stage, ns) in LAPS.into_iter().zip(laps) {
            parts[stage as usize] = ns;
        }
        parts[Stage::Durable as usize] = durable_ns;
        parts[Stage::Encode as usize] = encode_ns;
        parts[Stage::Send as usize] = send_ns;
        if self.traces.len() < self.measure.traces_max {
            self.traces.push(Trace {
                due_ns,
                done_ns: order.sent_ns,
                messages: 1,
                is_order: true,
                parts,
            });
        }
    }

    #[inline]
    fn trace(&mut self, trace: Trace) {
        self.traced += 1;
        if self.traced >= self.measure.trace_every && self.traces.len() < self.measure.traces_max {
            self.traced = 0;
            self.traces.push(trace);
        }
    }

    /// Adds what `other` counted in the same span.
    pub fn merge(&mut self, other: &Latency) {
        for (mine, theirs) in self.stages.iter_mut().zip(&other.stages) {
            mine.add(theirs);
        }
        for (mine, theirs) in self.slots.iter_mut().zip(&other.slots) {
            mine.add(theirs);
        }
        self.traces.extend_from_slice(&other.traces);
        self.unmatched += other.unmatched;
    }

    /// A stage's histogram.
    pub fn stage(&self, stage: Stage) -> &Histogram {
        &self.stages[stage as usize]
    }

    /// Total latencies by when they were due: a histogram for each slot.
    pub fn slots(&self) -> &[Histogram] {
        &self.slots
    }

    /// Single messages with their parts.
    pub fn traces(&self) -> &[Trace] {
        &self.traces
    }
}

impl Default for Latency {
    fn default() -> Latency {
        Latency::new()
    }
}

/// The stages of a core's laps, in the laps' order.
const LAPS: [Stage; Lap::COUNT] = [Stage::Book, Stage::Append, Stage::Analytics, Stage::Risk];

/// The parts up to the batch; when that began.
#[inline]
fn front(way: &Way, parts: &mut [u64; Stage::PARTS.len()]) -> u64 {
    // What a turn found while it was running was due after the turn began, and a shard can take
    // what was pushed before the reader has looked at the clock again.
    let due_ns = way.due_ns.unwrap_or(way.read_ns);
    let popped_ns = way.popped_ns.max(due_ns);
    let read_ns = way.read_ns.clamp(due_ns, popped_ns);
    let pushed_ns = way.pushed_ns.clamp(read_ns, popped_ns);
    parts[Stage::Receive as usize] = read_ns - due_ns;
    parts[Stage::Decode as usize] = pushed_ns - read_ns;
    parts[Stage::Ring as usize] = popped_ns - pushed_ns;
    popped_ns
}

#[cfg(test)]
mod tests;
