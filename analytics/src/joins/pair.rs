//! One pair of streams of a join.

use std::collections::VecDeque;

use bus::signal::{JoinValue, Met};
use bus::state::{StateError, StateReader, StateWriter};
use bus::{Body, Outbox, Quote, Ts};

use super::record::{Record, Stream};
use super::table::valid_at;
use super::{JoinConfig, JoinCounts, JoinKind, Right, row};

/// How many rows wait for a visit. Beyond that, left records wait.
const ROWS_MAX: usize = JoinConfig::ROWS_AT_TICK_MAX;

const _: () = assert!(*JoinConfig::ROWS.end() <= ROWS_MAX);
const _: () = assert!(JoinConfig::COUNT_MAX * ROWS_MAX <= Outbox::SIGNALS_MAX / 2);

/// What a left record meets, worked out.
#[derive(Debug)]
enum Meets {
    AsOf {
        tolerance_ns: i64,
    },
    Interval {
        before_ns: i64,
        after_ns: i64,
        rows_max: usize,
    },
    /// Rows that are valid from a time on; needs neither to wait nor to keep anything.
    Table(Box<[(Ts, u32)]>),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Pair {
    rule: u8,
    meets: Meets,
    unmatched: bool,
    keep: usize,
    pub left_name: [u8; 8],
    pub right_name: Option<[u8; 8]>,
    pub left_stream: Stream,
    pub right_stream: Stream,
    /// Their numbers; 0 while their names were not said.
    pub left_symbol: u32,
    pub right_symbol: u32,
    /// Their quotes at the latest event or gap; `None` where they were not known.
    pub left_quote: Option<Quote>,
    #[allow(missing_docs)]
    pub right_quote: Option<Quote>,
    /// By time, then by number. None is before the watermark that it met when it came.
    left: VecDeque<Record>,
    /// The same, of the latest before all that may still be asked for on.
    right: VecDeque<Record>,
    /// Said with the left symbol's next visit.
    rows: VecDeque<(Ts, Body)>,
    /// The watermark that it was brought up to.
    advanced: Ts,
    pub counts: JoinCounts,
}

impl Pair {
    /// The pair of the symbol at this place of a join's.
    pub(super) fn new(rule: u8, config: &JoinConfig, index: usize, name: [u8; 8]) -> Pair {
        let (meets, right) = match &config.kind {
            JoinKind::AsOf {
                right,
                tolerance_ns,
            } => {
                let tolerance_ns = *tolerance_ns;
                (Meets::AsOf { tolerance_ns }, Some(right))
            }
            JoinKind::Interval {
                right,
                before_ns,
                after_ns,
                rows_max,
            } => {
                let meets = Meets::Interval {
                    before_ns: *before_ns,
                    after_ns: *after_ns,
                    rows_max: *rows_max,
                };
                (meets, Some(right))
            }
            JoinKind::Temporal { table } => (Meets::Table(table.of(index)), None),
        };
        let keep = right.map_or(0, |right| right.keep);
        let rows = if keep > 0 { ROWS_MAX } else { 0 };
        Pair {
            rule,
            meets,
            unmatched: config.unmatched,
            keep,
            left_name: name,
            right_name: right.map(|right: &Right| right.symbol.unwrap_or(name)),
            left_stream: config.left,
            right_stream: right.map_or(Stream::Trades, |right| right.stream),
            left_symbol: 0,
            right_symbol: 0,
            left_quote: Some(Quote::EMPTY),
            right_quote: Some(Quote::EMPTY),
            left: VecDeque::with_capacity(keep),
            // One more than is kept, for the moment in which it is decided which one goes.
            right: VecDeque::with_capacity(if keep > 0 { keep + 1 } else { 0 }),
            rows: VecDeque::with_capacity(rows),
            advanced: Ts::MIN,
            counts: JoinCounts::default(),
        }
    }

    /// When it has something to say.
    pub(super) fn due(&self) -> Ts {
        let next = self.advanced.plus_ns(1);
        match self.left.front() {
            _ if !self.rows.is_empty() => next,
            None => Ts::MAX,
            Some(left) => self.complete_at(left).max(next),
        }
    }

    /// Whether nothing waits.
    pub(super) fn is_at_rest(&self) -> bool {
        self.left.is_empty() && self.rows.is_empty()
    }

    /// The first watermark at which all that a left record may meet has come.
    fn complete_at(&self, left: &Record) -> Ts {
        let after_ns = match self.meets {
            Meets::Interval { after_ns, .. } => after_ns,
            Meets::AsOf { .. } | Meets::Table(_) => 0,
        };
        Ts(left.ts.0.saturating_add(after_ns).saturating_add(1))
    }

    /// How far before a left record what it meets may be.
    fn reach_ns(&self) -> i64 {
        match self.meets {
            Meets::AsOf { tolerance_ns } => tolerance_ns,
            Meets::Interval { before_ns, .. } => before_ns,
            Meets::Table(_) => 0,
        }
    }

    /// A left record, at its event.
    pub(super) fn push_left(&mut self, record: Record, watermark: Ts, out: &mut Outbox) {
        if !record.is_known {
            return;
        }
        if let Meets::Table(rows) = &self.meets {
            let met = valid_at(rows, record.ts).map_or(Met::Nothing, Met::Row);
            self.counts.unmatched += u64::from(met == Met::Nothing);
            if met != Met::Nothing || self.unmatched {
                out.say_at(record.ts, self.rule, row(&record, met));
            }
        } else if record.ts < watermark {
            self.counts.late += 1;
        } else if self.left.len() == self.keep {
            self.counts.dropped += 1;
        } else {
            insert(&mut self.left, record);
        }
    }

    /// A right record.
    pub(super) fn push_right(&mut self, record: Record, watermark: Ts) {
        self.counts.late += u64::from(record.ts < watermark);
        // What is not known is never met; of quotes it ends what was.
        if !record.is_known && matches!(self.meets, Meets::Interval { .. }) {
            return;
        }
        insert(&mut self.right, record);
        if self.right.len() > self.keep {
            self.right.pop_front();
            self.counts.dropped += 1;
        }
    }

    /// From `watermark` on, or from the latest right record on if that is later, quotes are not known.
    pub(super) fn lose(&mut self, watermark: Ts) {
        self.right_quote = None;
        if self.right_stream == Stream::Quotes {
            let latest = self.right.back().map(Record::key);
            let later = latest.filter(|(ts, _)| *ts >= watermark);
            let (ts, seq) = later.unwrap_or((watermark, 0));
            self.push_right(Record::lost(ts, seq), watermark);
        }
    }

    /// Works out what left records meet that are complete at `watermark`, as far as there is room for their
    /// rows, and forgets what none may meet any more. A second time at the same watermark changes nothing,
    /// but at the end, which is `MAX`.
    #[inline]
    pub(super) fn advance(&mut self, watermark: Ts) {
        if watermark > self.advanced || watermark == Ts::MAX {
            self.work_out(watermark);
        }
    }

    fn work_out(&mut self, watermark: Ts) {
        self.advanced = watermark;
        while let Some(left) = self.left.front() {
            let is_complete = watermark == Ts::MAX || self.complete_at(left) <= watermark;
            if !is_complete || self.rows.len() + self.rows_of_one() > ROWS_MAX {
                break;
            }
            let left = *left;
            self.left.pop_front();
            self.meet(&left);
        }
        let earliest = self.left.front().map_or(watermark, |left| left.ts);
        self.forget_before(earliest.min(watermark));
    }

    /// The most that one left record says.
    fn rows_of_one(&self) -> usize {
        match self.meets {
            Meets::Interval { rows_max, .. } => rows_max,
            Meets::AsOf { .. } | Meets::Table(_) => 1,
        }
    }

    fn meet(&mut self, left: &Record) {
        let symbol = self.right_symbol;
        let met = |right: &Record| Met::Record {
            symbol,
            ts: right.ts,
            seq: right.seq,
            value: right.value,
        };
        let rows_before = self.rows.len();
        match self.meets {
            Meets::AsOf { tolerance_ns } => {
                let until = self.right.partition_point(|right| right.key() < left.key());
                let right = until.checked_sub(1).map(|at| self.right[at]);
                let near = |right: &Record| left.ts.0.saturating_sub(right.ts.0) <= tolerance_ns;
                if let Some(right) = right.filter(|right| right.is_known && near(right)) {
                    self.rows.push_back((left.ts, row(left, met(&right))));
                }
            }
            Meets::Interval {
                before_ns,
                after_ns,
                rows_max,
            } => {
                let from = Ts(left.ts.0.saturating_sub(before_ns));
                let to = Ts(left.ts.0.saturating_add(after_ns));
                let first = self.right.partition_point(|right| right.ts < from);
                let end = self.right.partition_point(|right| right.ts <= to);
                let is_itself =
                    |right: &Record| right.seq == left.seq && self.left_symbol == symbol;
                let others = || {
                    self.right
                        .range(first..end)
                        .filter(|right| !is_itself(right))
                };
                for right in others().take(rows_max) {
                    self.rows.push_back((left.ts, row(left, met(right))));
                }
                self.counts.beyond += others().count().saturating_sub(rows_max) as u64;
            }
            Meets::Table(_) => unreachable!("no left record of it waits"),
        }
        if self.rows.len() == rows_before {
            self.counts.unmatched += 1;
            if self.unmatched {
                self.rows.push_back((left.ts, row(left, Met::Nothing)));
            }
        }
    }

    /// Left records from `earliest` on may come; what none of them may meet goes.
    fn forget_before(&mut self, earliest: Ts) {
        let from = Ts(earliest.0.saturating_sub(self.reach_ns()));
        let is_as_of = matches!(self.meets, Meets::AsOf { .. });
        while let Some(first) = self.right.front() {
            // As of a time, the latest before it may be met, and those before that one never.
            let is_hidden = is_as_of && self.right.get(1).is_some_and(|next| next.ts < earliest);
            if first.ts >= from && !is_hidden {
                break;
            }
            self.right.pop_front();
        }
    }

    /// Says what waits, as far as it fits; `out` is at the left symbol.
    pub(super) fn say(&mut self, out: &mut Outbox) {
        let room = Outbox::SIGNALS_MAX - out.signals().len();
        for (ts, body) in self.rows.drain(..room.min(self.rows.len())) {
            out.say_at(ts, self.rule, body);
        }
    }

    /// Saves it; one of which no symbol's name was said is saved as nothing.
    pub(super) fn save(&self, out: &mut StateWriter<'_>) {
        out.u32(self.left_symbol);
        out.u32(self.right_symbol);
        if self.is_unknown() {
            return;
        }
        for records in [&self.left, &self.right] {
            out.u32(records.len() as u32);
            records.iter().for_each(|record| record.save(out));
        }
        out.u32(self.rows.len() as u32);
        for (ts, body) in &self.rows {
            // As a signal, whose bytes have a layout already.
            let signal = bus::Signal::new(*ts, 0, 0, self.rule, 0, *body);
            out.bytes(signal.as_bytes());
        }
        out.i64(self.advanced.0);
        for quote in [self.left_quote, self.right_quote] {
            out.bool(quote.is_some());
            let quote = JoinValue::Quote(quote.unwrap_or(Quote::EMPTY));
            quote.to_words().iter().for_each(|word| out.i64(*word));
        }
        self.counts.save(out);
    }

    fn is_unknown(&self) -> bool {
        self.left_symbol == 0 && self.right_symbol == 0
    }

    /// What [`Pair::save`] wrote, taken over if a symbol of it is to be kept.
    pub(super) fn load(
        &mut self,
        from: &mut StateReader<'_>,
        keep: &impl Fn(u32) -> bool,
    ) -> Result<(), StateError> {
        let (left_symbol, right_symbol) = (from.u32()?, from.u32()?);
        if left_symbol == 0 && right_symbol == 0 {
            return Ok(());
        }
        let is_kept = [left_symbol, right_symbol]
            .iter()
            .any(|symbol| *symbol != 0 && keep(*symbol));
        if is_kept && (left_symbol, right_symbol) != (self.left_symbol, self.right_symbol) {
            return Err(from.error(format_args!(
                "a join's symbols {} and {}, found {left_symbol} and {right_symbol}",
                self.left_symbol, self.right_symbol
            )));
        }
        for records in [&mut self.left, &mut self.right] {
            let count = from.u32()? as usize;
            if count > self.keep {
                let most = self.keep;
                return Err(from.error(format_args!("at most {most} records, found {count}")));
            }
            for _ in 0..count {
                let record = Record::load(from)?;
                if is_kept {
                    if records.back().is_some_and(|last| last.key() > record.key()) {
                        return Err(from.error("records in the order of their times"));
                    }
                    records.push_back(record);
                }
            }
        }
        let count = from.u32()? as usize;
        if count > ROWS_MAX {
            return Err(from.error(format_args!("at most {ROWS_MAX} rows, found {count}")));
        }
        for _ in 0..count {
            let signal = (from.bytes(128)?.first_chunk()).and_then(bus::Signal::from_bytes);
            let signal = signal.and_then(|signal| Some((signal.ts_event, signal.body()?)));
            let Some((ts, body @ Body::Join(_))) = signal else {
                return Err(from.error("a row of a join"));
            };
            if is_kept {
                self.rows.push_back((ts, body));
            }
        }
        let advanced = Ts(from.i64()?);
        let mut quotes = [None; 2];
        for quote in &mut quotes {
            let is_known = from.bool()?;
            let words = [from.i64()?, from.i64()?, from.i64()?, from.i64()?];
            if let Some(JoinValue::Quote(known)) = JoinValue::from_words(false, words) {
                *quote = is_known.then_some(known);
            }
        }
        let counts = JoinCounts::load(from)?;
        if is_kept {
            (self.advanced, self.counts) = (advanced, counts);
            [self.left_quote, self.right_quote] = quotes;
        }
        Ok(())
    }
}

/// Puts a record in its place; most belong at the end.
fn insert(records: &mut VecDeque<Record>, record: Record) {
    match records.back() {
        Some(last) if last.key() > record.key() => {
            let at = records.partition_point(|other| other.key() <= record.key());
            records.insert(at, record);
        }
        Some(_) | None => records.push_back(record),
    }
}
