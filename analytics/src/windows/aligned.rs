//! Windows of fixed times: tumbling, sliding, cumulative.
//!
//! ```text
//! panes      │ 3 │ 4 │ 5 │ 6 │ 7 │ 8 │        one for each slide; a trade goes into one of them
//! windows    ├───────────┤   │   │            sliding over three: a window ends with each pane,
//!                ├───────────┤   │            and is called by its last one's number
//!                    ├───────────┤
//!                        ▲   ▲
//!                     next   lead             windows before `next` are final; those between were
//!                                             said and may be corrected (only if revised)
//! ```
//!
//! A sliding window is put together of two halves: what its panes up to a turning point are from each
//! of them on, made at once when the point is passed, and what came after it, one sum. So each pane
//! is added twice, however many windows it is in. A late trade into a pane that was added already makes
//! the halves anew.

use bus::Outbox;
use bus::signal::AdjustReason;
use bus::state::{StateError, StateReader, StateWriter};

use super::config::{Shape, Spec};
use super::kept::{self, Kept};
use super::pane::{Pane, Trade};
use super::policy::Counts;
use super::sizes::{self, BUCKETS};
use super::standing::{Standing, Sums};
use super::{Mark, Own};

/// A window of one symbol: where it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    /// The pane of the latest trade, and its place; empty at first.
    here: (i64, i64),
    slot: u32,
    /// Whether there are panes with something in them.
    is_active: bool,
    /// The first window that is not final, the first that was not said, the last pane in use.
    next: i64,
    lead: i64,
    last: i64,
    /// The first start of a pane that time has not passed.
    next_mark: i64,
    pub(super) due: i64,
    fin: Edge,
    led: Edge,
}

/// Windows put together, one after another.
#[derive(Clone, Copy, Debug)]
struct Edge {
    /// The window after the one that was put together last; `MIN` to begin anew.
    next: i64,
    /// How many panes of the first half are gone.
    gone: u32,
}

impl Edge {
    const NEW: Edge = Edge {
        next: i64::MIN,
        gone: 0,
    };

    fn save(&self, out: &mut StateWriter<'_>) {
        out.i64(self.next);
        out.u32(self.gone);
    }

    fn load(from: &mut StateReader<'_>) -> Result<Edge, StateError> {
        Ok(Edge {
            next: from.i64()?,
            gone: from.u32()?,
        })
    }
}

/// Which of the two edges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Final,
    Lead,
}

/// Stands for "before all panes", far enough from the end of numbers.
const LONG_AGO: i64 = i64::MIN / 4;

impl State {
    pub(super) const NEW: State = State {
        here: (i64::MAX, i64::MIN),
        slot: 0,
        is_active: false,
        next: LONG_AGO,
        lead: LONG_AGO,
        last: LONG_AGO,
        next_mark: LONG_AGO,
        due: i64::MAX,
        fin: Edge::NEW,
        led: Edge::NEW,
    };

    pub(super) fn save(&self, out: &mut StateWriter<'_>) {
        for word in [
            self.here.0,
            self.here.1,
            self.next,
            self.lead,
            self.last,
            self.next_mark,
            self.due,
        ] {
            out.i64(word);
        }
        out.u32(self.slot);
        out.bool(self.is_active);
        self.fin.save(out);
        self.led.save(out);
    }

    pub(super) fn load(from: &mut StateReader<'_>) -> Result<State, StateError> {
        Ok(State {
            here: (from.i64()?, from.i64()?),
            next: from.i64()?,
            lead: from.i64()?,
            last: from.i64()?,
            next_mark: from.i64()?,
            due: from.i64()?,
            slot: from.u32()?,
            is_active: from.bool()?,
            fin: Edge::load(from)?,
            led: Edge::load(from)?,
        })
    }
}

impl Spec {
    /// The pane of a time.
    fn index(&self, ts: i64) -> i64 {
        ts.saturating_sub(self.origin).div_euclid(self.step_ns)
    }

    fn start(&self, index: i64) -> i64 {
        let from_origin = index.saturating_mul(self.step_ns);
        self.origin.saturating_add(from_origin)
    }

    fn end(&self, index: i64) -> i64 {
        self.start(index.saturating_add(1))
    }

    fn slot(&self, index: i64) -> usize {
        index.rem_euclid(self.ring) as usize
    }

    /// The last window that a pane is in.
    fn last_window(&self, pane: i64) -> i64 {
        match self.shape {
            Shape::Cumulative { .. } => self.period_start(pane) + self.period - 1,
            _ => pane + self.overlap - 1,
        }
    }

    /// The first pane of a pane's period.
    fn period_start(&self, pane: i64) -> i64 {
        pane - pane.rem_euclid(self.period)
    }

    /// The first pane of a window.
    fn first_pane(&self, window: i64) -> i64 {
        match self.shape {
            Shape::Cumulative { .. } => self.period_start(window),
            _ => window - self.overlap + 1,
        }
    }

    /// The first window that is still open at a watermark.
    fn first_open(&self, watermark: i64) -> i64 {
        self.index(watermark.saturating_sub(self.lateness_ns))
            .max(LONG_AGO)
    }
}

impl Own<'_> {
    /// Adds a trade to the pane of the trade before it, if it is of that one and in time.
    #[inline]
    pub(super) fn add_here(&mut self, trade: &Trade, counts: Counts) -> bool {
        let (start, end) = self.state.here;
        if trade.ts < start || trade.ts >= end || trade.watermark >= end {
            return false;
        }
        let slot = self.state.slot as usize;
        self.panes[slot].add(trade, counts);
        if self.spec.wants.sizes {
            self.sizes[slot * BUCKETS + sizes::bucket(trade.qty)] += 1;
        }
        true
    }

    /// Adds a trade to another pane, or says that it comes too late for all windows.
    #[cold]
    pub(super) fn add_elsewhere(&mut self, trade: &Trade, counts: Counts, out: &mut Outbox) {
        let spec = self.spec;
        let pane = spec.index(trade.ts);
        let (last, open) = (spec.last_window(pane), spec.first_open(trade.watermark));
        if last < open.max(self.state.next) {
            let late_ns = trade.watermark.saturating_sub(spec.end(last)).max(0);
            return self.say_late(trade, late_ns, out);
        }
        self.make_room(pane, trade.watermark, out);
        let slot = spec.slot(pane);
        let bucket = sizes::bucket(trade.qty);
        let is_cumulative = matches!(spec.shape, Shape::Cumulative { .. });
        if is_cumulative {
            if pane < self.state.next {
                if !self.is_grown_in(Which::Final, pane) {
                    // The period's first trade is one whose step is over.
                    self.begin_period();
                }
                // Between there was nothing.
                self.state.fin.next = self.state.next;
            }
            // What was put together has it from now on.
            for which in [Which::Final, Which::Lead] {
                if pane < self.edge(which).next && self.is_grown_in(which, pane) {
                    let place = self.half(which);
                    self.panes[place].add(trade, counts);
                    if spec.wants.sizes {
                        let region = self.running(which);
                        self.sizes[region * BUCKETS + bucket] += 1;
                    }
                }
            }
        } else {
            for which in [Which::Final, Which::Lead] {
                if pane < self.edge(which).next {
                    *self.edge_mut(which) = Edge::NEW;
                }
            }
        }
        if !is_cumulative || pane >= self.state.next {
            self.claim(pane);
            self.panes[slot].add(trade, counts);
            if spec.wants.sizes {
                self.sizes[slot * BUCKETS + bucket] += 1;
            }
            self.state.here = (spec.start(pane), spec.end(pane));
            self.state.slot = slot as u32;
        }
        // Of windows that have ended it is late.
        let ended = spec.index(trade.watermark).saturating_sub(1);
        for window in self.state.next.max(pane)..=last.min(ended) {
            self.claim(window);
            let slot = &mut self.panes[spec.slot(window)];
            slot.late_count += 1;
            slot.is_dirty |= window < self.state.lead;
        }
        self.find_due();
    }

    /// The quote changed at this time; returns until when that is known.
    pub(super) fn touch(&mut self, now: i64, watermark: i64, out: &mut Outbox) -> i64 {
        let pane = self.spec.index(now);
        if !self.state.is_active || self.state.last < pane {
            self.make_room(pane, watermark, out);
            self.find_due();
        }
        self.spec.end(pane)
    }

    /// Makes room for a pane. Trades normally run ahead of the watermark by less than there are panes
    /// for; where they do not, windows close before their time.
    fn make_room(&mut self, pane: i64, watermark: i64, out: &mut Outbox) {
        let spec = self.spec;
        // One more than windows need: what leaves one is still there to be taken away.
        let oldest = pane - spec.ring + spec.overlap + 1;
        if !self.state.is_active {
            let open = spec.first_open(watermark);
            self.state.next = self.state.next.max(open).max(oldest);
            self.state.lead = self.state.lead.max(self.state.next);
            self.state.is_active = true;
        }
        while self.state.next < oldest {
            self.state.here = (i64::MAX, i64::MIN);
            self.close_next(out);
            // Nothing is left; the rest has nothing in it.
            if !self.state.is_active {
                self.state.next = self.state.next.max(oldest);
                self.state.lead = self.state.lead.max(oldest);
                self.state.is_active = true;
            }
        }
        self.state.last = self.state.last.max(pane);
    }

    /// Makes a pane's place its own.
    fn claim(&mut self, pane: i64) {
        let slot = self.spec.slot(pane);
        if self.panes[slot].index != pane {
            self.panes[slot] = Pane::numbered(pane);
            if self.spec.wants.sizes {
                self.sizes[slot * BUCKETS..][..BUCKETS].fill(0);
            }
        }
    }

    fn pane(&self, index: i64) -> Pane {
        let pane = &self.panes[self.spec.slot(index)];
        match pane.index == index {
            true => *pane,
            false => Pane::numbered(index),
        }
    }

    fn edge(&self, which: Which) -> &Edge {
        match which {
            Which::Final => &self.state.fin,
            Which::Lead => &self.state.led,
        }
    }

    fn edge_mut(&mut self, which: Which) -> &mut Edge {
        match which {
            Which::Final => &mut self.state.fin,
            Which::Lead => &mut self.state.led,
        }
    }

    /// The place of what an edge has put together lately; the older half lies behind it.
    fn half(&self, which: Which) -> usize {
        let ring = self.spec.ring as usize;
        match (which, self.spec.shape) {
            (Which::Final, _) => ring,
            (Which::Lead, Shape::Sliding { .. }) => ring + 1 + self.spec.overlap as usize,
            // Where nothing is revised there is no such edge, and nobody gets here.
            (Which::Lead, _) => ring + 1,
        }
    }

    /// The place among sizes of what an edge has put together.
    fn running(&self, which: Which) -> usize {
        self.spec.ring as usize + which as usize
    }

    fn scratch(&self) -> usize {
        self.spec.ring as usize + 2
    }

    /// Whether what grows at an edge is of the period of this pane.
    fn is_grown_in(&self, which: Which, pane: i64) -> bool {
        let next = self.edge(which).next;
        next > LONG_AGO && self.spec.period_start(next - 1) == self.spec.period_start(pane)
    }

    /// Windows that are over at `watermark` are said.
    pub(super) fn close_aligned(&mut self, watermark: i64, out: &mut Outbox) {
        let spec = self.spec;
        while self.state.is_active
            && spec.end(self.state.next).saturating_add(spec.lateness_ns) <= watermark
        {
            self.close_next(out);
        }
        if self.state.is_active && spec.revise {
            for window in self.state.next..self.state.lead {
                self.correct(window, out);
            }
            while spec.end(self.state.lead) <= watermark {
                let window = self.state.lead;
                let (total, region) = self.put_together(window, Which::Lead);
                self.say(window, &total, region, false, out);
                self.state.lead += 1;
            }
        }
        self.find_due();
    }

    /// The next window is final.
    fn close_next(&mut self, out: &mut Outbox) {
        let window = self.state.next;
        let (total, region) = self.put_together(window, Which::Final);
        self.say(window, &total, region, true, out);
        self.state.next += 1;
        self.state.lead = self.state.lead.max(self.state.next);
        let last = match self.spec.shape {
            // What grows is said where something is new.
            Shape::Cumulative { .. } => self.state.last,
            _ => self.spec.last_window(self.state.last),
        };
        self.state.is_active = self.state.next <= last;
    }

    fn find_due(&mut self) {
        let (spec, state) = (self.spec, &self.state);
        let mut due = i64::MAX;
        if state.is_active {
            due = spec.end(state.next).saturating_add(spec.lateness_ns);
            if spec.revise {
                due = due.min(spec.end(state.lead));
                let mut between = state.next..state.lead;
                if between.any(|window| self.pane(window).is_dirty) {
                    due = i64::MIN;
                }
            }
        }
        self.state.due = due;
    }

    /// A window's trades, and where its sizes are.
    fn put_together(&mut self, window: i64, which: Which) -> (Pane, Option<usize>) {
        let spec = self.spec;
        match spec.shape {
            Shape::Sliding { .. } => self.slide(window, which),
            Shape::Cumulative { .. } => self.grow(window, which),
            _ => {
                let slot = spec.slot(window);
                let region = (self.panes[slot].index == window).then_some(slot);
                (self.pane(window), region)
            }
        }
    }

    fn slide(&mut self, window: i64, which: Which) -> (Pane, Option<usize>) {
        let (overlap, half) = (self.spec.overlap, self.half(which));
        let edge = *self.edge(which);
        let region = self.running(which);
        let is_next = edge.next == window;
        if self.spec.wants.sizes {
            if is_next {
                self.add_sizes(region, window);
                self.take_sizes(region, window - overlap);
            } else {
                self.sizes[region * BUCKETS..][..BUCKETS].fill(0);
                for pane in window - overlap + 1..=window {
                    self.add_sizes(region, pane);
                }
            }
        }
        let mut gone = i64::from(edge.gone) + 1;
        if is_next && gone < overlap {
            let pane = self.pane(window);
            self.panes[half].merge(&pane);
        } else {
            gone = 0;
            self.panes[half] = Pane::EMPTY;
            let mut from_here = Pane::EMPTY;
            for back in 0..overlap {
                from_here.merge(&self.pane(window - back));
                self.panes[half + (overlap - back) as usize] = from_here;
            }
        }
        *self.edge_mut(which) = Edge {
            next: window + 1,
            gone: gone as u32,
        };
        let mut total = self.panes[half + 1 + gone as usize];
        total.merge(&self.panes[half]);
        (total, Some(region))
    }

    fn grow(&mut self, window: i64, which: Which) -> (Pane, Option<usize>) {
        let (half, region) = (self.half(which), self.running(which));
        if which == Which::Lead && self.state.led.next != window {
            // It begins where the other edge is.
            let (fin, other) = (self.half(Which::Final), self.running(Which::Final));
            self.panes[half] = self.panes[fin];
            if self.spec.wants.sizes {
                let from = other * BUCKETS;
                self.sizes
                    .copy_within(from..from + BUCKETS, region * BUCKETS);
            }
            self.state.led.next = self.state.fin.next;
            for pane in self.state.next..window {
                self.grow_by(pane, Which::Lead);
            }
        }
        self.grow_by(window, which);
        (self.panes[half], Some(region))
    }

    fn grow_by(&mut self, pane: i64, which: Which) {
        let (half, region) = (self.half(which), self.running(which));
        if !self.is_grown_in(which, pane) {
            self.panes[half] = Pane::EMPTY;
            if self.spec.wants.sizes {
                self.sizes[region * BUCKETS..][..BUCKETS].fill(0);
            }
        }
        let one = self.pane(pane);
        self.panes[half].merge(&one);
        if self.spec.wants.sizes {
            self.add_sizes(region, pane);
        }
        self.edge_mut(which).next = pane + 1;
    }

    /// Nothing of the period of the window before the next was put together.
    fn begin_period(&mut self) {
        let (half, region) = (self.half(Which::Final), self.running(Which::Final));
        self.panes[half] = Pane::EMPTY;
        if self.spec.wants.sizes {
            self.sizes[region * BUCKETS..][..BUCKETS].fill(0);
        }
    }

    fn add_sizes(&mut self, region: usize, pane: i64) {
        let slot = self.spec.slot(pane);
        if self.panes[slot].index == pane {
            let (ring, edges) = self.sizes.split_at_mut(self.spec.ring as usize * BUCKETS);
            let all = &mut edges[(region - self.spec.ring as usize) * BUCKETS..][..BUCKETS];
            sizes::add(all, &ring[slot * BUCKETS..][..BUCKETS]);
        }
    }

    fn take_sizes(&mut self, region: usize, pane: i64) {
        let slot = self.spec.slot(pane);
        if self.panes[slot].index == pane {
            let (ring, edges) = self.sizes.split_at_mut(self.spec.ring as usize * BUCKETS);
            let all = &mut edges[(region - self.spec.ring as usize) * BUCKETS..][..BUCKETS];
            sizes::take_away(all, &ring[slot * BUCKETS..][..BUCKETS]);
        }
    }

    /// Says a window again that has changed since it was said.
    fn correct(&mut self, window: i64, out: &mut Outbox) {
        let spec = self.spec;
        let slot = spec.slot(window);
        if self.panes[slot].index != window || !self.panes[slot].is_dirty {
            return;
        }
        self.panes[slot].is_dirty = false;
        let first = match spec.shape {
            Shape::Cumulative { .. } => spec.period_start(window).max(self.state.next),
            _ => spec.first_pane(window),
        };
        let scratch = self.scratch();
        let mut total = Pane::EMPTY;
        let region = match spec.shape {
            Shape::Tumbling { .. } => slot,
            _ => scratch,
        };
        if spec.wants.sizes && region == scratch {
            self.sizes[scratch * BUCKETS..][..BUCKETS].fill(0);
        }
        let is_grown = matches!(spec.shape, Shape::Cumulative { .. })
            && self.is_grown_in(Which::Final, window);
        if is_grown {
            total.merge(&self.panes[self.half(Which::Final)].clone());
            if spec.wants.sizes {
                let from = self.running(Which::Final) * BUCKETS;
                self.sizes
                    .copy_within(from..from + BUCKETS, scratch * BUCKETS);
            }
        }
        for pane in first..=window {
            total.merge(&self.pane(pane));
            if spec.wants.sizes && region == scratch {
                self.add_sizes(scratch, pane);
            }
        }
        self.say(window, &total, Some(region), false, out);
    }

    /// Says a window, if there is something in it.
    fn say(
        &mut self,
        window: i64,
        total: &Pane,
        region: Option<usize>,
        is_final: bool,
        out: &mut Outbox,
    ) {
        let spec = self.spec;
        let own = self.pane(window);
        let first = spec.first_pane(window);
        let standing = spec.wants.standing.then(|| {
            let start = self.sums_at(first);
            self.sums_at(window + 1).since(&start)
        });
        let moves = |sums: Option<Sums>| sums.is_some_and(|sums| sums.moves > 0);
        let is_empty = match spec.shape {
            Shape::Cumulative { .. } if own.said_count == 0 => {
                let last = spec.wants.standing.then(|| {
                    let start = self.sums_at(window);
                    self.sums_at(window + 1).since(&start)
                });
                own.trade_count == 0 && !moves(last)
            }
            // What was said is said again, whatever became of it.
            _ => total.trade_count == 0 && !moves(standing) && own.said_count == 0,
        };
        if is_empty {
            return;
        }
        if !is_final {
            self.claim(window);
            self.panes[spec.slot(window)].said_count += 1;
        }
        let counts = region
            .filter(|_| spec.wants.sizes)
            .map(|region| &self.sizes[region * BUCKETS..][..BUCKETS]);
        super::bars::Said {
            spec,
            rule: self.rule,
            start: spec.start(first),
            end: spec.end(window),
            pane: total,
            late_count: own.late_count,
            revision: own.said_count.into(),
            is_final,
            sizes: counts,
            standing,
        }
        .say(out);
    }

    /// Puts down the sums over time at the starts of panes up to `now`; returns when the next one is.
    pub(super) fn mark(&mut self, now: i64) -> i64 {
        let spec = self.spec;
        let marks = spec.ring + 1;
        let last = spec.index(now);
        let first = self.state.next_mark.max(last - marks + 1);
        for index in first..=last {
            let sums = self.sums_then(index);
            self.marks[index.rem_euclid(marks) as usize] = Mark { index, sums };
        }
        if let Shape::Cumulative { .. } = spec.shape {
            let this = spec.period_start(last);
            for before in 0..self.marks.len() as i64 - marks {
                let index = this - before * spec.period;
                if index >= self.state.next_mark {
                    let sums = self.sums_then(index);
                    self.marks[self.period_place(index)] = Mark { index, sums };
                }
            }
        }
        self.state.next_mark = self.state.next_mark.max(last + 1);
        spec.start(self.state.next_mark)
    }

    /// The sums at the start of a pane that time has now passed.
    fn sums_then(&self, index: i64) -> Sums {
        let at = self.spec.start(index);
        match at > self.standing.clock {
            true => self.standing.at(at),
            false => self.standing.sums,
        }
    }

    /// Where the sums at the start of a period are.
    fn period_place(&self, index: i64) -> usize {
        let marks = self.spec.ring as usize + 1;
        let periods = (self.marks.len() - marks) as i64;
        marks + index.div_euclid(self.spec.period).rem_euclid(periods) as usize
    }

    /// The sums at the start of a pane; those of now where it has not begun.
    fn sums_at(&self, index: i64) -> Sums {
        let spec = self.spec;
        if index >= self.state.next_mark {
            let at = spec.start(index).min(self.until);
            return match at > self.standing.clock {
                true => self.standing.at(at),
                false => self.standing.sums,
            };
        }
        let marks = spec.ring + 1;
        let near = &self.marks[index.rem_euclid(marks) as usize];
        if near.index == index {
            return near.sums;
        }
        if matches!(spec.shape, Shape::Cumulative { .. }) {
            let far = &self.marks[self.period_place(index)];
            if far.index == index {
                return far.sums;
            }
        }
        // Before the symbol's first event.
        Standing::NOTHING.sums
    }

    /// Takes a broken trade out of what is open. Returns, for windows that had it and keep it, the end
    /// of the last of them, the start of the first, how many, and why.
    pub(super) fn break_aligned(
        &mut self,
        gone: &Kept,
        counts: Counts,
        all: &[Kept],
        now: i64,
    ) -> (i64, Option<(i64, u32, AdjustReason)>) {
        let spec = self.spec;
        let pane = spec.index(gone.ts);
        let (first, last) = (
            pane.max(spec.first_open(gone.watermark)),
            spec.last_window(pane),
        );
        if first > last {
            // It came too late for all windows.
            return (now, None);
        }
        // Windows up to here are final; without any that is open, all that the watermark passed.
        let next = self.state.next;
        let mut kept_by = None;
        if last >= next && !self.take_out(pane, gone, counts, all) {
            // Nothing could be changed, so that all windows keep it.
            kept_by = Some((last, AdjustReason::Beyond));
        } else if first < next {
            kept_by = Some((last.min(next - 1), AdjustReason::Closed));
        }
        let Some((last, reason)) = kept_by else {
            return (now, None);
        };
        let start = spec.start(spec.first_pane(first));
        let window_count = (last - first + 1) as u32;
        (spec.end(last), Some((start, window_count, reason)))
    }

    fn take_out(&mut self, pane: i64, gone: &Kept, counts: Counts, all: &[Kept]) -> bool {
        let spec = self.spec;
        let policy = spec.policy;
        let bucket = sizes::bucket(gone.qty);
        let is_cumulative = matches!(spec.shape, Shape::Cumulative { .. });
        let in_time = |kept: &Kept| spec.last_window(pane) >= spec.first_open(kept.watermark);
        let had = |kept: &Kept| spec.index(kept.ts) == pane && in_time(kept);
        let slot = spec.slot(pane);
        if !is_cumulative || pane >= self.state.next {
            if self.panes[slot].index != pane
                || !kept::remove(&mut self.panes[slot], gone, counts, all, policy, had)
            {
                return false;
            }
            if spec.wants.sizes {
                self.sizes[slot * BUCKETS + bucket] -= 1;
            }
        }
        for which in [Which::Final, Which::Lead] {
            let next = self.edge(which).next;
            if pane >= next || (which == Which::Lead && !spec.revise) {
                continue;
            }
            if !is_cumulative {
                *self.edge_mut(which) = Edge::NEW;
                continue;
            }
            if !self.is_grown_in(which, pane) {
                continue;
            }
            let (half, region) = (self.half(which), self.running(which));
            let start = spec.period_start(pane);
            let had = |kept: &Kept| {
                let index = spec.index(kept.ts);
                (start..next).contains(&index) && in_time(kept)
            };
            if !kept::remove(&mut self.panes[half], gone, counts, all, policy, had) {
                if which == Which::Final {
                    return false;
                }
                // Put together anew from the other edge.
                self.state.led = Edge::NEW;
                continue;
            }
            if spec.wants.sizes {
                self.sizes[region * BUCKETS + bucket] -= 1;
            }
        }
        for window in self.state.next.max(pane)..self.state.lead.min(spec.last_window(pane) + 1) {
            if self.pane(window).said_count > 0 {
                self.panes[spec.slot(window)].is_dirty = true;
            }
        }
        self.find_due();
        true
    }
}
