//! Patterns of events: this, then that, so often, nothing of another kind between, within a time. A small
//! engine for complex events; `analytics/PATTERNS.md` has grammar, semantics and the built-in ones.
//!
//! ```text
//! event ─► orders ─► fact: kind, price, size, side, age      (what an event about an order leaves out)
//!            │
//!            ▼            first step                later steps
//!     each pattern:   starts (a ring) ──full──► runs (at most so many) ──► match: an alert
//!                        │ older than `within`     │ a guard, or older: dropped
//! ```
//!
//! A partial match takes the next event that fits and skips those between (*skip till next match*); after a
//! match all that began up to its end is dropped (*skip past last event*). So each partial match goes one
//! way only, and what has to be kept is bounded: those in their first step are a row of their first events,
//! of which `times` less one are enough, the others are counted when there are too many, and the oldest
//! goes.

mod known;
mod orders;
#[cfg(test)]
mod tests;

use bus::signal::{Body, Spread as Alert};
use bus::state::{StateError, StateReader, StateWriter};
use bus::{Applied, Event, Flags, Kind, Outbox, Price, Qty, Quote, Side, Ts};

use crate::expr::pattern::{Pattern, Test};
use crate::expr::{Asked, EventField, Of};
use crate::number::{double_mid, spread_bps};
use crate::view::View;

pub use known::Known;
use orders::{Fact, Orders};

/// What to look for.
#[derive(Clone, Debug, PartialEq)]
pub struct PatternConfig {
    /// For people.
    pub name: String,
    /// The events.
    pub pattern: Pattern,
    /// Whose events are looked at together.
    pub by: By,
    /// How many partial matches behind their first step are kept of a symbol.
    pub partial_max: usize,
    /// How many orders of a symbol are remembered: the most that any pattern says counts for all.
    pub orders: usize,
}

/// Whose events are looked at together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// All of a symbol.
    Symbol,
    /// Those of a symbol about orders of one participant; those of nobody known are one more.
    Participant,
}

impl PatternConfig {
    /// More are refused.
    pub const COUNT_MAX: usize = 16;
    /// Fewest and most partial matches.
    pub const PARTIAL: std::ops::RangeInclusive<usize> = 1..=256;
    /// Fewest and most orders; a power of two.
    pub const ORDERS: std::ops::RangeInclusive<usize> = 8..=65_536;

    /// What is wrong with these, if anything.
    pub(crate) fn problem(all: &[PatternConfig]) -> Option<String> {
        if all.len() > Self::COUNT_MAX {
            let (count, max) = (all.len(), Self::COUNT_MAX);
            return Some(format!("{count} patterns, want at most {max}"));
        }
        all.iter().find_map(|config| {
            let PatternConfig {
                name,
                partial_max,
                orders,
                ..
            } = config;
            if !Self::PARTIAL.contains(partial_max) {
                return Some(format!(
                    "patterns.{name}: {partial_max} partial matches, want {} to {}",
                    Self::PARTIAL.start(),
                    Self::PARTIAL.end()
                ));
            }
            (!(Self::ORDERS.contains(orders) && orders.is_power_of_two())).then(|| {
                format!(
                    "patterns.{name}: {orders} orders, want a power of two from {} to {}",
                    Self::ORDERS.start(),
                    Self::ORDERS.end()
                )
            })
        })
    }

    /// How many partial matches in their first step are kept of a symbol: without participants no more
    /// can be.
    fn starts_max(&self) -> usize {
        let times = usize::from(self.pattern.steps[0].times);
        match self.by {
            By::Symbol => times - 1,
            By::Participant => (times - 1) * 4,
        }
    }
}

/// What is kept of an event of a partial match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Matched {
    ts: Ts,
    price: Price,
    /// Twice the mid before it; 0 where there was none.
    mid: i64,
    qty: Qty,
    key: u32,
    side: u8,
}

const _: () = assert!(size_of::<Matched>() == 40);

impl Matched {
    const NO_QTY: Qty = Qty(i64::MIN);
    const NO_SIDE: u8 = u8::MAX;
    const NONE: Matched = Matched {
        ts: Ts(0),
        price: Price::NONE,
        mid: 0,
        qty: Matched::NO_QTY,
        key: 0,
        side: Matched::NO_SIDE,
    };

    fn field(&self, field: EventField) -> f64 {
        match field {
            EventField::Price if self.price.is_some() => self.price.0 as f64,
            EventField::Qty if self.qty != Matched::NO_QTY => self.qty.0 as f64,
            EventField::Side if self.side != Matched::NO_SIDE => f64::from(self.side),
            EventField::Mid if self.mid != 0 => self.mid as f64 / 2.0,
            EventField::Price
            | EventField::Qty
            | EventField::Side
            | EventField::Mid
            | EventField::Away
            | EventField::Age
            | EventField::Moves
            | EventField::Elapsed
            | EventField::Gap => f64::NAN,
        }
    }

    fn save(&self, out: &mut StateWriter<'_>) {
        for word in [self.ts.0, self.price.0, self.mid, self.qty.0] {
            out.i64(word);
        }
        out.u32(self.key);
        out.u8(self.side);
    }

    fn load(from: &mut StateReader<'_>) -> Result<Matched, StateError> {
        Ok(Matched {
            ts: Ts(from.i64()?),
            price: Price(from.i64()?),
            mid: from.i64()?,
            qty: Qty(from.i64()?),
            key: from.u32()?,
            side: from.u8()?,
        })
    }
}

/// A partial match behind its first step.
#[derive(Clone, Copy, Debug)]
struct Run {
    first: Matched,
    prev: Matched,
    /// When the absence that it waits for has lasted; `MAX` while steps are missing.
    due: Ts,
    /// The step that is looked for, and how many events it has.
    step: u16,
    count: u16,
}

const _: () = assert!(size_of::<Run>() == 96);

const NO_RUN: Run = Run {
    first: Matched::NONE,
    prev: Matched::NONE,
    due: Ts::MAX,
    step: 0,
    count: 0,
};

/// What is kept of one pattern in one symbol, beside its rows.
#[derive(Clone, Copy, Debug)]
struct Head {
    /// The end of the first absence that is waited for.
    due: Ts,
    /// Partial matches that were one too many.
    dropped: u64,
    /// The ring of those in their first step.
    first: u32,
    starts: u32,
    runs: u32,
}

const NO_HEAD: Head = Head {
    due: Ts::MAX,
    dropped: 0,
    first: 0,
    starts: 0,
    runs: 0,
};

#[derive(Clone, Copy, Debug)]
struct Symbol {
    /// The time of the latest event.
    now: Ts,
    due: Ts,
    /// Its book is filled again behind a loss: what comes did not happen now.
    is_filling: bool,
}

/// Where a pattern's rows are among those of a symbol.
#[derive(Clone, Copy, Debug)]
struct Place {
    starts_at: usize,
    starts_max: usize,
    runs_at: usize,
    runs_max: usize,
}

/// The patterns in all symbols of one shard.
#[derive(Debug)]
pub(crate) struct Patterns {
    configs: Box<[PatternConfig]>,
    /// The `rule` of the first one.
    rule_first: u8,
    symbols: Vec<Symbol>,
    table: Table,
    orders: Orders,
}

/// The partial matches of all symbols, each with as many of each pattern.
#[derive(Debug)]
struct Table {
    places: Box<[Place]>,
    heads: Vec<Head>,
    starts: Vec<Matched>,
    runs: Vec<Run>,
    starts_per_symbol: usize,
    runs_per_symbol: usize,
}

impl Table {
    fn appear(&mut self, count: usize) {
        self.heads.resize(count * self.places.len(), NO_HEAD);
        self.starts
            .resize(count * self.starts_per_symbol, Matched::NONE);
        self.runs.resize(count * self.runs_per_symbol, NO_RUN);
    }

    fn heads(&mut self, place: usize) -> &mut [Head] {
        &mut self.heads[place * self.places.len()..][..self.places.len()]
    }

    #[inline]
    fn rows(&mut self, place: usize, index: usize) -> Rows<'_> {
        let Place {
            starts_at,
            starts_max,
            runs_at,
            runs_max,
        } = self.places[index];
        let starts_at = place * self.starts_per_symbol + starts_at;
        let runs_at = place * self.runs_per_symbol + runs_at;
        Rows {
            head: &mut self.heads[place * self.places.len() + index],
            starts: &mut self.starts[starts_at..][..starts_max],
            runs: &mut self.runs[runs_at..][..runs_max],
        }
    }
}

/// An event with what stands around it, for conditions.
struct Now<'a> {
    view: &'a View,
    fact: &'a Fact,
    match_so_far: Option<(&'a Matched, &'a Matched)>,
}

impl Asked for Now<'_> {
    fn view(&self) -> &View {
        self.view
    }

    fn event(&self, of: Of, field: EventField) -> f64 {
        let Now {
            view,
            fact,
            match_so_far,
        } = self;
        let before = |pick: fn((&Matched, &Matched)) -> Matched| match_so_far.map(pick);
        let first = || before(|(first, _)| *first);
        let prev = || before(|(_, prev)| *prev);
        let since = |then: Option<Matched>| {
            then.map_or(f64::NAN, |then| fact.seen.ts.since(then.ts) as f64)
        };
        match (of, field) {
            (Of::First, EventField::Elapsed) => since(first()),
            (Of::Previous, EventField::Gap) => since(prev()),
            (Of::First, field) => first().map_or(f64::NAN, |event| event.field(field)),
            (Of::Previous, field) => prev().map_or(f64::NAN, |event| event.field(field)),
            (Of::This, EventField::Age) => fact.age_ns.map_or(f64::NAN, |ns| ns as f64),
            (Of::This, EventField::Moves) => f64::from(u8::from(fact.moves)),
            (Of::This, EventField::Away) => {
                let Quote { bid, ask, .. } = view.quote;
                let price = fact.seen.price;
                let (from, to) = match fact.seen.side {
                    side if side == Side::Buy as u8 => (price, bid),
                    side if side == Side::Sell as u8 => (ask, price),
                    _ => return f64::NAN,
                };
                match from.is_some() && to.is_some() {
                    true => to.0 as f64 - from.0 as f64,
                    false => f64::NAN,
                }
            }
            (Of::This, field) => fact.seen.field(field),
        }
    }
}

/// The first of a run of rows, and how many.
struct Rows<'a> {
    head: &'a mut Head,
    starts: &'a mut [Matched],
    runs: &'a mut [Run],
}

impl Patterns {
    /// Memory for all symbols, reserved.
    pub(crate) fn new(
        configs: &[PatternConfig],
        rule_first: usize,
        symbol_count: usize,
    ) -> Patterns {
        assert_eq!(PatternConfig::problem(configs), None);
        let (mut starts_at, mut runs_at) = (0, 0);
        let mut places = Vec::with_capacity(configs.len());
        for config in configs {
            let starts_max = config.starts_max();
            places.push(Place {
                starts_at,
                starts_max,
                runs_at,
                runs_max: config.partial_max,
            });
            starts_at += starts_max;
            runs_at += config.partial_max;
        }
        let orders = configs.iter().map(|config| config.orders).max();
        Patterns {
            rule_first: rule_first as u8,
            symbols: Vec::with_capacity(symbol_count),
            table: Table {
                heads: Vec::with_capacity(symbol_count * configs.len()),
                starts: Vec::with_capacity(symbol_count * starts_at),
                runs: Vec::with_capacity(symbol_count * runs_at),
                starts_per_symbol: starts_at,
                runs_per_symbol: runs_at,
                places: places.into(),
            },
            orders: Orders::new(orders.expect("some patterns"), symbol_count),
            configs: configs.into(),
        }
    }

    /// What a symbol takes once it has appeared.
    pub(crate) fn bytes_per_symbol(&self) -> usize {
        size_of::<Symbol>()
            + self.configs.len() * size_of::<Head>()
            + self.table.starts_per_symbol * size_of::<Matched>()
            + self.table.runs_per_symbol * size_of::<Run>()
            + self.orders.bytes_per_symbol()
    }

    /// One more symbol, at the next place.
    pub(crate) fn appear(&mut self) {
        self.symbols.push(Symbol {
            now: Ts::MIN,
            due: Ts::MAX,
            is_filling: false,
        });
        self.table.appear(self.symbols.len());
        self.orders.appear();
    }

    /// When the symbol at this place has something to do.
    #[inline]
    pub(crate) fn due(&self, place: usize) -> Ts {
        self.symbols[place].due
    }

    /// How many partial matches were one too many, in all symbols.
    pub(crate) fn dropped(&self) -> u64 {
        self.table.heads.iter().map(|head| head.dropped).sum()
    }

    /// An event of the symbol at this place, with the view before it. `stale` is whether its book lacks
    /// something; what happens then is remembered, and no pattern sees it, nor where `is_judged` is not.
    #[allow(clippy::too_many_arguments)] // The suite's call, in one place.
    pub(crate) fn on_event(
        &mut self,
        place: usize,
        event: &Event,
        applied: &Applied,
        stale: bool,
        is_judged: bool,
        watermark: Ts,
        view: &View,
        out: &mut Outbox,
    ) {
        // Time does not go back: a late event counts as one of now.
        let symbol = &mut self.symbols[place];
        let now = event.ts_event.max(watermark).max(symbol.now);
        symbol.now = now;
        let was_filling = symbol.is_filling;
        match event.kind {
            Kind::Info => symbol.is_filling |= event.flags.has(Flags::WHOLE),
            Kind::Add
            | Kind::Execute
            | Kind::ExecuteAt
            | Kind::Cancel
            | Kind::Delete
            | Kind::Replace => symbol.is_filling &= event.flags.has(Flags::MORE),
            Kind::Nothing
            | Kind::Trade
            | Kind::Cross
            | Kind::Break
            | Kind::Imbalance
            | Kind::Symbol
            | Kind::Status
            | Kind::System
            | Kind::Gap
            | Kind::Tick
            | Kind::End => {}
        }
        self.on_time(place, now, view, out);
        let mid = match view.quote.is_open() {
            true => double_mid(&view.quote),
            false => 0,
        };
        let fact = self.orders.take(place, event, applied, now, mid);
        if stale {
            return self.forget(place);
        }
        let Some(fact) = fact else { return };
        if was_filling || !is_judged {
            return;
        }
        let mut due = Ts::MAX;
        for (index, config) in self.configs.iter().enumerate() {
            let mut rows = self.table.rows(place, index);
            if config.pattern.kinds & fact.kind != 0
                && let Some(since) = rows.judge(config, &fact, view)
            {
                say(self.rule_first + index as u8, now, since, view, out);
            }
            due = due.min(rows.head.due);
        }
        self.symbols[place].due = due;
    }

    /// Time has come to `now`: ends absences, in the order of their ends.
    pub(crate) fn on_time(&mut self, place: usize, now: Ts, view: &View, out: &mut Outbox) {
        if self.symbols[place].due <= now {
            self.end_absences(place, now, view, out);
        }
    }

    #[cold]
    fn end_absences(&mut self, place: usize, now: Ts, view: &View, out: &mut Outbox) {
        let mut due = Ts::MAX;
        for (index, config) in self.configs.iter().enumerate() {
            let rule = self.rule_first + index as u8;
            let mut rows = self.table.rows(place, index);
            while rows.head.due <= now {
                let runs = &rows.runs[..rows.head.runs as usize];
                let ended = runs.iter().min_by_key(|run| run.due).expect("one is due");
                let (at, first) = (ended.due, ended.first);
                rows.drop_all(config.by, first.key);
                say(rule, at, first.ts, view, out);
            }
            due = due.min(rows.head.due);
        }
        self.symbols[place].due = due;
    }

    /// Nothing that began is to be finished: what came between is not known.
    fn forget(&mut self, place: usize) {
        for head in self.table.heads(place) {
            (head.starts, head.runs, head.due) = (0, 0, Ts::MAX);
        }
        self.symbols[place].due = Ts::MAX;
    }

    /// Messages are lost.
    #[cold]
    pub(crate) fn on_gap(&mut self, place: usize) {
        self.forget(place);
        self.orders.clear(place);
    }

    /// Saves what is known of the symbol at this place.
    pub(crate) fn save(&self, place: usize, out: &mut StateWriter<'_>) {
        let symbol = &self.symbols[place];
        out.i64(symbol.now.0);
        out.bool(symbol.is_filling);
        let table = &self.table;
        for (index, at) in table.places.iter().enumerate() {
            let head = &table.heads[place * table.places.len() + index];
            out.u64(head.dropped);
            out.u32(head.starts);
            let starts = &table.starts[place * table.starts_per_symbol + at.starts_at..];
            for n in 0..head.starts as usize {
                starts[(head.first as usize + n) % at.starts_max].save(out);
            }
            out.u32(head.runs);
            let runs = &table.runs[place * table.runs_per_symbol + at.runs_at..];
            for run in &runs[..head.runs as usize] {
                run.first.save(out);
                run.prev.save(out);
                out.i64(run.due.0);
                out.u16(run.step);
                out.u16(run.count);
            }
        }
        self.orders.save(place, out);
    }

    /// Loads what was known of a symbol, at the next place.
    pub(crate) fn load(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        self.appear();
        let place = self.symbols.len() - 1;
        let now = Ts(from.i64()?);
        let is_filling = from.bool()?;
        let mut due = Ts::MAX;
        for (index, config) in self.configs.iter().enumerate() {
            let steps = config.pattern.steps.len();
            let rows = self.table.rows(place, index);
            rows.head.dropped = from.u64()?;
            rows.head.starts = from.u32()?;
            let (starts, most) = (rows.head.starts as usize, rows.starts.len());
            if starts > most {
                return Err(
                    from.error(format_args!("at most {most} matches begun, found {starts}"))
                );
            }
            for start in &mut rows.starts[..starts] {
                *start = Matched::load(from)?;
            }
            rows.head.runs = from.u32()?;
            let (runs, most) = (rows.head.runs as usize, rows.runs.len());
            if runs > most {
                return Err(
                    from.error(format_args!("at most {most} partial matches, found {runs}"))
                );
            }
            for run in &mut rows.runs[..runs] {
                *run = Run {
                    first: Matched::load(from)?,
                    prev: Matched::load(from)?,
                    due: Ts(from.i64()?),
                    step: from.u16()?,
                    count: from.u16()?,
                };
                let is_waiting = run.due != Ts::MAX;
                if usize::from(run.step) + usize::from(!is_waiting) > steps || run.step == 0 {
                    let step = run.step;
                    return Err(from.error(format_args!("a step up to {steps}, found {step}")));
                }
                rows.head.due = rows.head.due.min(run.due);
            }
            due = due.min(rows.head.due);
        }
        self.symbols[place] = Symbol {
            now,
            due,
            is_filling,
        };
        self.orders.load(place, from)
    }
}

fn say(rule: u8, at: Ts, since: Ts, view: &View, out: &mut Outbox) {
    let Quote { bid, ask, .. } = view.quote;
    let alert = Alert {
        raised: true,
        bps: spread_bps(&view.quote),
        bid,
        ask,
        since,
    };
    out.say_at(at, rule, Body::Spread(alert));
}

/// What an event does to a partial match.
enum Fate {
    Stays,
    Ends,
    Matches,
}

impl Rows<'_> {
    /// Takes in an event; since when, if it completes a match.
    fn judge(&mut self, config: &PatternConfig, fact: &Fact, view: &View) -> Option<Ts> {
        let PatternConfig { pattern, by, .. } = config;
        let key = match by {
            By::Symbol => 0,
            By::Participant => fact.seen.key,
        };
        let fact = &Fact {
            seen: Matched { key, ..fact.seen },
            ..*fact
        };
        self.expire(pattern, fact.seen.ts);
        let since = self
            .go_on(pattern, fact, view)
            .or_else(|| self.begin(config, fact, view));
        if since.is_some() {
            self.drop_all(*by, key);
        }
        since
    }

    /// Drops what is too old. Those that wait for an absence have their own end.
    fn expire(&mut self, pattern: &Pattern, now: Ts) {
        let is_over = |first: &Matched| now.since(first.ts) >= pattern.within_ns;
        while self.head.starts > 0 && is_over(&self.starts[self.head.first as usize]) {
            self.pop_start();
        }
        let count = self.head.runs as usize;
        // The usual case, without a look at each: they are in the order of their completion, and the
        // first of one that is behind may be before.
        let mut kept = 0;
        for index in 0..count {
            let run = self.runs[index];
            if run.due != Ts::MAX || !is_over(&run.first) {
                self.runs[kept] = run;
                kept += 1;
            }
        }
        self.head.runs = kept as u32;
    }

    fn pop_start(&mut self) -> Matched {
        let start = self.starts[self.head.first as usize];
        self.head.first = (self.head.first + 1) % self.starts.len() as u32;
        self.head.starts -= 1;
        start
    }

    /// Those behind their first step. The one that began first completes a match.
    fn go_on(&mut self, pattern: &Pattern, fact: &Fact, view: &View) -> Option<Ts> {
        let count = self.head.runs as usize;
        let mut kept = 0;
        let mut since = None;
        self.head.due = Ts::MAX;
        for index in 0..count {
            let mut run = self.runs[index];
            let fate = match run.first.key == fact.seen.key {
                true => run.see(pattern, fact, view),
                false => Fate::Stays,
            };
            match fate {
                Fate::Ends => continue,
                Fate::Matches => since = since.or(Some(run.first.ts)),
                Fate::Stays => {}
            }
            self.head.due = self.head.due.min(run.due);
            self.runs[kept] = run;
            kept += 1;
        }
        self.head.runs = kept as u32;
        since
    }

    /// The first step: one more begins, and one that has all of it goes on.
    fn begin(&mut self, config: &PatternConfig, fact: &Fact, view: &View) -> Option<Ts> {
        let pattern = &config.pattern;
        let step = &pattern.steps[0];
        let now = Now {
            view,
            fact,
            match_so_far: None,
        };
        if let Some(guard) = &step.without
            && guard.holds(fact.kind, &now)
        {
            self.drop_starts(config.by, fact.seen.key);
        }
        if !step.test.holds(fact.kind, &now) {
            return None;
        }
        let first = match usize::from(step.times) - 1 {
            0 => fact.seen,
            others => {
                let key = fact.seen.key;
                let begun = match config.by {
                    By::Symbol => self.head.starts as usize,
                    By::Participant => self.count_starts(key),
                };
                let first = (begun == others).then(|| self.take_start(config.by, key));
                if self.head.starts as usize == self.starts.len() {
                    self.pop_start();
                    self.head.dropped += 1;
                }
                let at = (self.head.first + self.head.starts) as usize % self.starts.len();
                self.starts[at] = fact.seen;
                self.head.starts += 1;
                first?
            }
        };
        let mut run = Run {
            first,
            prev: fact.seen,
            due: Ts::MAX,
            step: 0,
            count: step.times,
        };
        if let Fate::Matches = run.complete(pattern, fact.seen.ts) {
            return Some(first.ts);
        }
        if self.head.runs as usize == self.runs.len() {
            self.runs.copy_within(1.., 0);
            self.head.runs -= 1;
            self.head.dropped += 1;
            let kept = &self.runs[..self.head.runs as usize];
            self.head.due = kept.iter().map(|run| run.due).min().unwrap_or(Ts::MAX);
        }
        self.runs[self.head.runs as usize] = run;
        self.head.runs += 1;
        self.head.due = self.head.due.min(run.due);
        None
    }

    fn start(&self, n: usize) -> usize {
        (self.head.first as usize + n) % self.starts.len()
    }

    fn count_starts(&self, key: u32) -> usize {
        let all = 0..self.head.starts as usize;
        all.filter(|n| self.starts[self.start(*n)].key == key)
            .count()
    }

    /// The oldest one of a key, which is there.
    fn take_start(&mut self, by: By, key: u32) -> Matched {
        if by == By::Symbol {
            return self.pop_start();
        }
        let count = self.head.starts as usize;
        let found = (0..count).find(|n| self.starts[self.start(*n)].key == key);
        let found = found.expect("it was counted");
        let start = self.starts[self.start(found)];
        for n in found + 1..count {
            self.starts[self.start(n - 1)] = self.starts[self.start(n)];
        }
        self.head.starts -= 1;
        start
    }

    fn drop_starts(&mut self, by: By, key: u32) {
        if by == By::Symbol {
            self.head.starts = 0;
            return;
        }
        let mut kept = 0;
        for n in 0..self.head.starts as usize {
            let start = self.starts[self.start(n)];
            if start.key != key {
                let to = self.start(kept);
                self.starts[to] = start;
                kept += 1;
            }
        }
        self.head.starts = kept as u32;
    }

    /// After a match: all of its key that began up to its end.
    fn drop_all(&mut self, by: By, key: u32) {
        self.drop_starts(by, key);
        let mut kept = 0;
        self.head.due = Ts::MAX;
        for index in 0..self.head.runs as usize {
            let run = self.runs[index];
            if run.first.key != key {
                self.head.due = self.head.due.min(run.due);
                self.runs[kept] = run;
                kept += 1;
            }
        }
        self.head.runs = kept as u32;
    }
}

impl Run {
    /// An event of the same key.
    fn see(&mut self, pattern: &Pattern, fact: &Fact, view: &View) -> Fate {
        let now = Now {
            view,
            fact,
            match_so_far: Some((&self.first, &self.prev)),
        };
        let is_one = |test: &Test| test.holds(fact.kind, &now);
        if let Some((absence, _)) = &pattern.absence
            && self.due != Ts::MAX
        {
            return match is_one(absence) {
                true => Fate::Ends,
                false => Fate::Stays,
            };
        }
        let step = &pattern.steps[usize::from(self.step)];
        let guard = match self.count {
            0 => &step.not_before,
            _ => &step.without,
        };
        if guard.as_ref().is_some_and(is_one) {
            return Fate::Ends;
        }
        if is_one(&step.test) {
            self.count += 1;
            self.prev = fact.seen;
            return match self.count == step.times {
                true => self.complete(pattern, fact.seen.ts),
                false => Fate::Stays,
            };
        }
        if !(step.is_next && self.count == 0) {
            return Fate::Stays;
        }
        // So often or more: one more of the step before is still of it.
        let before = &pattern.steps[usize::from(self.step) - 1];
        match before.times > 1 && is_one(&before.test) {
            true => {
                self.prev = fact.seen;
                Fate::Stays
            }
            false => Fate::Ends,
        }
    }

    /// The step is done: on to the next one.
    fn complete(&mut self, pattern: &Pattern, now: Ts) -> Fate {
        (self.step, self.count) = (self.step + 1, 0);
        if usize::from(self.step) < pattern.steps.len() {
            return Fate::Stays;
        }
        match &pattern.absence {
            None => Fate::Matches,
            Some((_, ns)) => {
                self.due = now.plus_ns(*ns);
                Fate::Stays
            }
        }
    }
}
