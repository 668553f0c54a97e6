//! Windows that trades make: sessions, which end when none follows for a while, and bars of so many
//! trades, or of so much volume.
//!
//! A session goes from its first trade to its last one, by their times, and the gap behind it; a trade
//! that is near two makes one of them. A trade is late when a session of it alone would be over. Bars take trades in the order of their arrival
//! and close with the trade that fills them, which counts whole; a new day begins a new bar.

use bus::signal::{AdjustReason, Body, Late, LateReason, Window, WindowFlow, WindowStanding};
use bus::state::{StateError, StateReader, StateWriter};
use bus::{Notional, Outbox, Price, Qty, Ts};

use super::Own;
use super::config::{Shape, Spec};
use super::kept::{self, Kept};
use super::pane::{Pane, Trade};
use super::policy::Counts;
use super::sizes::{self, BUCKETS};
use super::standing::Sums;

/// Sessions of one window and symbol that may be open at once; the earliest closes early where there
/// would be more.
pub(super) const SESSIONS_MAX: usize = 4;

const DAY_NS: i64 = 86_400 * Ts::SECOND_NS;

/// When a bar's first and last trades were.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bar {
    start: i64,
    last: i64,
    /// The first one's place among the symbol's trades; 0 while the bar is empty.
    first: u64,
    late_count: u32,
}

impl Bar {
    pub(super) const NONE: Bar = Bar {
        start: i64::MAX,
        last: i64::MIN,
        first: 0,
        late_count: 0,
    };

    fn is_used(&self) -> bool {
        self.first > 0
    }

    pub(super) fn save(&self, out: &mut StateWriter<'_>) {
        out.i64(self.start);
        out.i64(self.last);
        out.u64(self.first);
        out.u32(self.late_count);
    }

    pub(super) fn load(from: &mut StateReader<'_>) -> Result<Bar, StateError> {
        Ok(Bar {
            start: from.i64()?,
            last: from.i64()?,
            first: from.u64()?,
            late_count: from.u32()?,
        })
    }
}

impl Own<'_> {
    pub(super) fn add_to_bar(
        &mut self,
        trade: &Trade,
        counts: Counts,
        ordinal: u64,
        out: &mut Outbox,
    ) {
        match self.spec.shape {
            Shape::Session { gap_ns } => self.add_to_session(trade, counts, ordinal, gap_ns, out),
            Shape::Count { trades } => {
                self.begin_day(trade.ts, out);
                self.put(0, trade, counts, ordinal);
                if self.panes[0].trade_count >= trades {
                    self.close_bar(0, out);
                }
            }
            Shape::Volume { qty } => {
                self.begin_day(trade.ts, out);
                self.put(0, trade, counts, ordinal);
                if self.panes[0].volume >= qty {
                    self.close_bar(0, out);
                }
            }
            Shape::Tumbling { .. } | Shape::Sliding { .. } | Shape::Cumulative { .. } => {
                unreachable!("it has fixed times")
            }
        }
    }

    /// A bar of the day before closes as it is.
    fn begin_day(&mut self, ts: i64, out: &mut Outbox) {
        let day = |ts: i64| ts.saturating_sub(self.spec.origin).div_euclid(DAY_NS);
        if self.bars[0].is_used() && day(ts) > day(self.bars[0].last) {
            self.close_bar(0, out);
        }
    }

    fn put(&mut self, place: usize, trade: &Trade, counts: Counts, ordinal: u64) {
        let bar = &mut self.bars[place];
        if !bar.is_used() {
            bar.first = ordinal;
        }
        bar.start = bar.start.min(trade.ts);
        bar.last = bar.last.max(trade.ts);
        self.panes[place].add(trade, counts);
        if self.spec.wants.sizes {
            self.sizes[place * BUCKETS + sizes::bucket(trade.qty)] += 1;
        }
    }

    fn add_to_session(
        &mut self,
        trade: &Trade,
        counts: Counts,
        ordinal: u64,
        gap_ns: i64,
        out: &mut Outbox,
    ) {
        let spec = self.spec;
        // Late is what would be over if it were alone.
        let end = trade.ts.saturating_add(gap_ns);
        if end.saturating_add(spec.lateness_ns) <= trade.watermark {
            let late_ns = trade.watermark.saturating_sub(end);
            return self.say_late(trade, late_ns, out);
        }
        // The sessions that it is within the gap of become one.
        let mut into: Option<usize> = None;
        for place in 0..SESSIONS_MAX {
            let bar = self.bars[place];
            let is_near = bar.is_used()
                && trade.ts < bar.last.saturating_add(gap_ns)
                && trade.ts > bar.start.saturating_sub(gap_ns);
            if !is_near {
                continue;
            }
            match into {
                None => into = Some(place),
                Some(first) => self.join(first, place),
            }
        }
        let place = into.unwrap_or_else(|| {
            let free = self.bars.iter().position(|bar| !bar.is_used());
            free.unwrap_or_else(|| {
                let starts = self.bars.iter().enumerate();
                let (earliest, _) = starts.min_by_key(|(_, bar)| bar.start).expect("sessions");
                self.close_bar(earliest, out);
                earliest
            })
        });
        let bar = &mut self.bars[place];
        let end = bar.last.max(trade.ts).saturating_add(gap_ns);
        bar.late_count += u32::from(trade.watermark >= end);
        self.put(place, trade, counts, ordinal);
        self.find_session_due(gap_ns);
    }

    fn join(&mut self, into: usize, other: usize) {
        let gone = std::mem::replace(&mut self.bars[other], Bar::NONE);
        let pane = std::mem::replace(&mut self.panes[other], Pane::EMPTY);
        self.panes[into].merge(&pane);
        let bar = &mut self.bars[into];
        bar.start = bar.start.min(gone.start);
        bar.last = bar.last.max(gone.last);
        bar.first = bar.first.min(gone.first);
        bar.late_count += gone.late_count;
        if self.spec.wants.sizes {
            for bucket in 0..BUCKETS {
                let count = std::mem::take(&mut self.sizes[other * BUCKETS + bucket]);
                self.sizes[into * BUCKETS + bucket] += count;
            }
        }
    }

    fn find_session_due(&mut self, gap_ns: i64) {
        let used = self.bars.iter().filter(|bar| bar.is_used());
        let ends = used.map(|bar| bar.last.saturating_add(gap_ns));
        let end = ends.min().unwrap_or(i64::MAX);
        self.state.due = end.saturating_add(self.spec.lateness_ns);
    }

    /// Sessions that are over at `watermark` are said; at the end of the input all bars are.
    pub(super) fn close_bars(&mut self, watermark: i64, out: &mut Outbox) {
        let Shape::Session { gap_ns } = self.spec.shape else {
            if watermark == i64::MAX && self.bars[0].is_used() {
                self.close_bar(0, out);
            }
            self.find_bar_due();
            return;
        };
        loop {
            let used = self.bars.iter().enumerate().filter(|(_, bar)| {
                let end = bar.last.saturating_add(gap_ns);
                bar.is_used() && end.saturating_add(self.spec.lateness_ns) <= watermark
            });
            let Some((place, _)) = used.min_by_key(|(_, bar)| bar.start) else {
                break;
            };
            self.close_bar(place, out);
        }
        self.find_session_due(gap_ns);
    }

    /// A bar that is open waits for the end of the input.
    fn find_bar_due(&mut self) {
        self.state.due = i64::MAX;
    }

    fn close_bar(&mut self, place: usize, out: &mut Outbox) {
        let spec = self.spec;
        let bar = std::mem::replace(&mut self.bars[place], Bar::NONE);
        let pane = std::mem::replace(&mut self.panes[place], Pane::EMPTY);
        let end = match spec.shape {
            Shape::Session { gap_ns } => bar.last.saturating_add(gap_ns),
            _ => bar.last,
        };
        let counts = spec
            .wants
            .sizes
            .then(|| &self.sizes[place * BUCKETS..][..BUCKETS]);
        if pane.trade_count > 0 {
            Said {
                spec,
                rule: self.rule,
                start: bar.start,
                end,
                pane: &pane,
                late_count: bar.late_count,
                revision: 0,
                is_final: true,
                sizes: counts,
                standing: None,
            }
            .say(out);
        }
        if spec.wants.sizes {
            self.sizes[place * BUCKETS..][..BUCKETS].fill(0);
        }
    }

    /// Takes a broken trade out of the bar that it is in; one that has closed keeps it.
    pub(super) fn break_bar(
        &mut self,
        gone: &Kept,
        counts: Counts,
        all: &[Kept],
    ) -> (i64, Option<(i64, u32, AdjustReason)>) {
        let spec = self.spec;
        let in_time = |kept: &Kept, gap_ns: i64| {
            let end = kept.ts.saturating_add(gap_ns);
            end.saturating_add(spec.lateness_ns) > kept.watermark
        };
        let has = |bar: &Bar, kept: &Kept| {
            bar.is_used()
                && match spec.shape {
                    Shape::Session { gap_ns } => {
                        (bar.start..=bar.last).contains(&kept.ts) && in_time(kept, gap_ns)
                    }
                    _ => kept.ordinal >= bar.first,
                }
        };
        let kept_by = |reason| (gone.ts, Some((gone.ts, 1, reason)));
        let Some(place) = self.bars.iter().position(|bar| has(bar, gone)) else {
            return match spec.shape {
                // A trade that came too late was in none.
                Shape::Session { gap_ns } if !in_time(gone, gap_ns) => (gone.ts, None),
                _ => kept_by(AdjustReason::Closed),
            };
        };
        let bar = self.bars[place];
        let had = |kept: &Kept| has(&bar, kept);
        let pane = &mut self.panes[place];
        if !kept::remove(pane, gone, counts, all, spec.policy, had) {
            return kept_by(AdjustReason::Beyond);
        }
        if spec.wants.sizes {
            self.sizes[place * BUCKETS + sizes::bucket(gone.qty)] -= 1;
        }
        (gone.ts, None)
    }

    pub(super) fn say_late(&self, trade: &Trade, late_ns: i64, out: &mut Outbox) {
        let body = Body::Late(Late {
            price: Price(trade.price),
            qty: Qty(trade.qty),
            late_ns,
            reason: LateReason::Closed,
        });
        out.say(self.rule, body);
    }
}

/// A window that is said.
pub(super) struct Said<'a> {
    pub(super) spec: &'a Spec,
    pub(super) rule: u8,
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) pane: &'a Pane,
    pub(super) late_count: u32,
    pub(super) revision: u32,
    pub(super) is_final: bool,
    pub(super) sizes: Option<&'a [u32]>,
    pub(super) standing: Option<Sums>,
}

impl Said<'_> {
    pub(super) fn say(&self, out: &mut Outbox) {
        let (pane, wants) = (self.pane, &self.spec.wants);
        let price = |is_some: bool, price: i64| if is_some { Price(price) } else { Price::NONE };
        let (start, end) = (Ts(self.start), Ts(self.end));
        let is_timed = pane.close_ts > i64::MIN;
        let body = Body::Window(Window {
            start,
            open: price(is_timed, pane.open),
            high: price(pane.high > i64::MIN, pane.high),
            low: Price(pane.low),
            close: price(is_timed, pane.close),
            volume: Qty(pane.volume),
            notional: Notional(pane.notional),
            trade_count: pane.trade_count,
            late_count: self.late_count,
            revision: self.revision,
            is_final: self.is_final,
        });
        out.say_at(end, self.rule, body);
        if wants.sides || wants.returns || wants.sizes {
            let body = Body::WindowFlow(WindowFlow {
                start,
                bought: wants.sides.then_some(Qty(pane.bought)),
                sold: Qty(pane.sold),
                squares: wants.returns.then_some(pane.squares),
                return_count: pane.return_count,
                sizes: self
                    .sizes
                    .filter(|_| pane.trade_count > 0)
                    .map(|counts| sizes::quantiles(counts, [50, 95, 99]).map(Qty)),
            });
            out.say_at(end, self.rule, body);
        }
        if let Some(sums) = &self.standing {
            let body = Body::WindowStanding(WindowStanding {
                start,
                price_ns: sums.price,
                priced_ns: sums.priced_ns,
                spread_ns: sums.spread,
                bid_qty_ns: sums.bid_qty,
                ask_qty_ns: sums.ask_qty,
                quoted_ns: sums.quoted_ns,
                ofi: Qty(sums.ofi),
                moves: sums.moves as u32,
            });
            out.say_at(end, self.rule, body);
        }
    }
}
