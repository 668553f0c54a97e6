//! What one core concludes from its symbols' events: books, analytics, risk, digests.
//!
//! Pure: the same events give the same signals. It does no I/O and reads no clock, so live,
//! replay, recovery and tests all call this one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;

use analytics::risk::{Risk, RiskConfig};
use analytics::strategies::StrategyConfig;
use analytics::{Intent, Intents, SuiteConfig, Suites};
use book::{Books, BooksConfig, Breach, Paper, PaperConfig};
use bus::market::Anomalies;
use bus::mem;
use bus::signal::{Order, Reject, RejectCode};
use bus::state::{Part, StateError, StateReader, StateWriter};
use bus::{Anomaly, Applied, Body, Event, Flags, Kind, Outbox, Signal, SignalKind, Ts};
use feed::groups::Groups;

use crate::config::Check;
use crate::digest::{Closed, SymbolDigest};

/// How many events ahead a symbol's place and digest are asked for, and then its state.
/// No quantity has more decimals than this.
const DECIMALS_MAX: u64 = 18;

const FAR_EVENTS: usize = 16;
const NEAR_EVENTS: usize = 8;
/// Events kept as examples of what was wrong.
const EXAMPLES_MAX: usize = 16;
/// Visits that a tick makes before it asks whether it may go on beside later events, and how many it
/// then makes beside each of them.
const VISITS_AT_TICK: usize = 64;
const VISITS_BESIDE_EVENT: usize = 1;
/// Symbols that may be visited before their turn, and what they may say together.
const EARLY_SYMBOLS_MAX: usize = 1024;
const EARLY_SIGNALS_MAX: usize = 4096 + Outbox::SIGNALS_MAX;

/// What a core is made of.
#[derive(Clone, Debug)]
pub struct CoreConfig {
    /// The trading day's first moment.
    pub midnight: Ts,
    /// Before this, events only build books.
    pub from: Ts,
    /// Bounds of the books.
    pub books: BooksConfig,
    /// The analytics.
    pub suite: SuiteConfig,
    /// The risk gate.
    pub risk: RiskConfig,
    /// Symbol numbers from 0.
    pub symbols_max: usize,
    /// Which symbols are together.
    pub groups: Groups,
    /// How much of a book is looked at after each event.
    pub check: Check,
    /// How a venue is simulated, where one is.
    pub paper: Option<PaperConfig>,
}

/// What takes in what a core is given and what it concludes, in order.
pub trait Sink {
    /// An event, before anything concluded from it.
    fn event(&mut self, event: &Event);
    /// A signal.
    fn signal(&mut self, signal: &Signal);
    /// A tick has more to say than a little. Who can keep apart what comes behind the tick from what
    /// the tick says, and answers that it does, is given later events at once, and in between what
    /// the tick says ([`Sink::owed`]), which belongs before them, up to [`Sink::let_go`].
    fn hold_back(&mut self) -> bool {
        false
    }
    /// A signal of the tick at which it began to hold, in order.
    fn owed(&mut self, signal: &Signal) {
        self.signal(signal);
    }
    /// The tick has said all.
    fn let_go(&mut self) {}
    /// A piece of the work on an event is done: for sinks that measure what each piece takes.
    #[inline(always)]
    fn lap(&mut self, _: Lap) {}
}

/// The pieces of a core's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Lap {
    /// The book took the event in.
    Book,
    /// Records went to the sink, for the log.
    Append,
    /// Digests and analytics.
    Analytics,
    /// The risk gate.
    Risk,
}

impl Lap {
    /// How many there are.
    pub const COUNT: usize = 4;
}

/// One core's share of the market.
pub struct Core {
    midnight: Ts,
    from: Ts,
    books: Books,
    suites: Suites,
    /// Whether the suites look at each event, whatever it did.
    watches: bool,
    risk: Risk,
    out: Outbox,
    intents: Intents,
    early: Early,
    visits_at_tick: usize,
    digests: Vec<SymbolDigest>,
    names: Vec<Named>,
    groups: Groups,
    last_seq: u64,
    watermark: Ts,
    anomalies: Anomalies,
    /// The first events that something was wrong with.
    examples: Vec<(Anomaly, Event)>,
    gap_messages: u64,
    /// Whether the exchange said that market hours are on, or nothing.
    is_open: bool,
    is_ended: bool,
    check: Check,
    breaches: Breaches,
    paper: Option<Box<Simulated>>,
}

/// A simulated venue, and the orders of the event at hand.
struct Simulated {
    paper: Paper,
    decided: Vec<Signal>,
}

/// What did not hold of books, where that is looked at. Not saved: of one process.
#[derive(Clone, Debug, Default)]
pub struct Breaches {
    /// By kind, as in [`Breach::ALL`].
    pub counts: [u64; Breach::ALL.len()],
    /// The first of them, and the events they were found after.
    pub examples: Vec<(Breach, Event)>,
}

/// What a symbol is called, and in what its quantities are.
#[derive(Clone, Copy, Debug)]
struct Named {
    letters: [u8; 8],
    decimals: u8,
}

impl Named {
    const NOT: Named = Named {
        letters: [b' '; 8],
        decimals: 0,
    };

    fn by(event: &Event) -> Named {
        Named {
            letters: event.order.to_be_bytes(),
            decimals: event.order_b.min(DECIMALS_MAX) as u8,
        }
    }
}

impl Core {
    /// Allocates all that the core will need.
    pub fn new(mut config: CoreConfig) -> io::Result<Core> {
        config.suite.origin = config.midnight;
        config.risk.midnight = config.midnight;
        let suites = Suites::new(config.suite);
        Ok(Core {
            midnight: config.midnight,
            from: config.from,
            books: Books::new(config.books)?,
            watches: suites.watches(),
            suites,
            risk: Risk::new(config.risk, config.symbols_max - 1),
            out: Outbox::new(),
            intents: Intents::new(),
            early: Early::new(),
            visits_at_tick: VISITS_AT_TICK,
            digests: vec![SymbolDigest::EMPTY; config.symbols_max],
            names: vec![Named::NOT; config.symbols_max],
            groups: config.groups,
            last_seq: 0,
            watermark: Ts::MIN,
            anomalies: Anomalies::default(),
            examples: Vec::with_capacity(EXAMPLES_MAX),
            gap_messages: 0,
            is_open: true,
            is_ended: false,
            check: config.check,
            breaches: Breaches::default(),
            paper: config.paper.map(|paper| {
                Box::new(Simulated {
                    paper: Paper::new(paper),
                    // Of the event's symbol, and of others that strategies of several look at.
                    decided: Vec::with_capacity(Intents::COUNT_MAX + StrategyConfig::COUNT_MAX),
                })
            }),
        })
    }

    /// Takes in some events, in order.
    #[inline]
    pub fn take(&mut self, events: &[Event], sink: &mut impl Sink) {
        if self.paper.is_some() {
            return self.take_simulated(events, sink);
        }
        self.take_real(events, sink);
    }

    #[inline(always)]
    fn take_real(&mut self, events: &[Event], sink: &mut impl Sink) {
        match self.check {
            Check::Off => self.take_all(events, sink),
            Check::Touched | Check::Full => self.take_checked(events, sink),
        }
    }

    /// The same, one by one: what each does to our orders at a simulated venue comes before what is
    /// concluded from it, and the orders that it causes are on their way behind it.
    #[cold]
    #[inline(never)]
    fn take_simulated(&mut self, events: &[Event], sink: &mut impl Sink) {
        let Some(mut simulated) = self.paper.take() else {
            return;
        };
        let Simulated { paper, decided } = &mut *simulated;
        for event in events {
            paper.before(&self.books, event);
            // What a tick owes to a symbol comes before anything else that is said of it.
            if !paper.reports().is_empty() {
                self.tick_on(usize::MAX, sink);
            }
            self.note(paper.reports());
            let noted = paper.reports().len();
            self.hear(paper, event);
            let mut deciding = Deciding { sink, decided };
            self.take_real(std::slice::from_ref(event), &mut deciding);
            paper.after(&self.books, event);
            for order in decided.drain(..) {
                paper.decide(&order);
            }
            self.note(&paper.reports()[noted..]);
            self.hear(paper, event);
            // Of an order in another symbol, which a strategy of several decided on with this event.
            for at in noted..paper.reports().len() {
                let symbol = paper.reports()[at].symbol;
                self.hear_of(paper, symbol, event.ts_event);
            }
            for report in paper.reports() {
                sink.signal(report);
            }
            paper.clear();
        }
        self.paper = Some(simulated);
    }

    /// What a simulated venue says is in the digests at once ...
    fn note(&mut self, reports: &[Signal]) {
        for signal in reports {
            if let Some(digest) = self.digests.get_mut(signal.symbol as usize) {
                digest.signal(signal, self.midnight);
            }
        }
    }

    /// ... and reaches the strategies when it has come back.
    fn hear(&mut self, paper: &mut Paper, event: &Event) {
        if !event.kind.is_for_all() {
            self.hear_of(paper, event.symbol, event.ts_event);
        }
    }

    fn hear_of(&mut self, paper: &mut Paper, symbol: u32, ts: Ts) {
        while let Some(signal) = paper.heard(symbol, ts) {
            if let Some(Body::Report(report)) = signal.body() {
                self.suites.on_report(signal.symbol, signal.rule, &report);
            }
        }
    }

    /// The same, one by one, with a look at what each changed.
    #[cold]
    #[inline(never)]
    fn take_checked(&mut self, events: &[Event], sink: &mut impl Sink) {
        let whole = self.check == Check::Full;
        for event in events {
            let look = self.books.look(event);
            self.take_all(std::slice::from_ref(event), sink);
            if event.kind.is_for_all() {
                continue;
            }
            // Between changes that are one, a book may be anything but wrong in its sums.
            let is_open =
                self.is_open && !event.flags.has(Flags::MORE) && !self.books.is_stale(look.symbol);
            if let Some(breach) = self.books.breach(&look, event, whole, is_open) {
                self.breaches.counts[breach as usize] += 1;
                if self.breaches.examples.len() < EXAMPLES_MAX {
                    self.breaches.examples.push((breach, *event));
                }
            }
        }
    }

    /// Not a part of its callers, so that there is one of it and what is rare costs the other nothing.
    #[inline(never)]
    fn take_all(&mut self, events: &[Event], sink: &mut impl Sink) {
        let Some(last) = events.last() else { return };
        self.last_seq = last.seq;
        self.is_ended |= last.kind == Kind::End;
        let (books, mut rest) = self.split();
        let mut ahead = 0;
        books.apply_block(events, |books, event, applied| {
            sink.lap(Lap::Book);
            rest.prefetch(events, ahead);
            ahead += 1;
            if rest.suites.is_ticking() {
                rest.tick_beside(event, sink);
            }
            sink.event(event);
            sink.lap(Lap::Append);
            rest.one(books, event, &applied, sink);
            sink.lap(Lap::Analytics);
        });
    }

    fn split(&mut self) -> (&mut Books, Rest<'_>) {
        let rest = Rest {
            midnight: self.midnight,
            from: self.from,
            suites: &mut self.suites,
            watches: self.watches,
            risk: &mut self.risk,
            out: &mut self.out,
            intents: &mut self.intents,
            early: &mut self.early,
            visits_at_tick: self.visits_at_tick,
            digests: &mut self.digests,
            names: &mut self.names,
            groups: &mut self.groups,
            watermark: &mut self.watermark,
            anomalies: &mut self.anomalies,
            examples: &mut self.examples,
            gap_messages: &mut self.gap_messages,
            is_open: &mut self.is_open,
        };
        (&mut self.books, rest)
    }

    /// How many visits a tick makes before it goes on beside later events, where the sink allows it.
    /// No result depends on it.
    pub fn set_visits_at_tick(&mut self, visits: usize) {
        self.visits_at_tick = visits;
    }

    /// Whether a tick goes on beside later events.
    #[inline]
    pub fn is_ticking(&self) -> bool {
        self.suites.is_ticking()
    }

    /// Goes on with such a tick, by so many visits: for who has nothing else to do.
    pub fn tick_on(&mut self, visits_max: usize, sink: &mut impl Sink) {
        if self.is_ticking() {
            self.split().1.tick_on(visits_max, sink);
        }
    }

    /// Saves all that it knows: what is of no symbol, then each symbol that an event named, then
    /// `NO_SYMBOL`.
    pub fn save(&self, out: &mut StateWriter<'_>) {
        out.u64(self.last_seq);
        out.i64(self.watermark.0);
        out.u64(self.gap_messages);
        out.bool(self.is_open);
        out.u16(self.anomalies.0.len() as u16);
        for count in self.anomalies.0 {
            out.u64(count);
        }
        if out.version(Part::Core) >= 2 {
            out.u16(self.examples.len() as u16);
            for (anomaly, event) in &self.examples {
                out.u8(*anomaly as u8);
                out.bytes(event.as_bytes());
            }
        }
        self.books.save_shared(out);
        self.suites.save_shared(out);
        // Written only where there are groups, which the settings of a state say.
        if !self.groups.is_none() {
            out.u32(self.groups.members().count() as u32);
            for (symbol, member) in self.groups.members() {
                out.u32(symbol);
                out.bytes(&member.name);
            }
            self.suites.save_joint(out);
        }
        // One symbol beside its book, collected first so that its length can stand before it.
        let mut apart = Vec::new();
        let books = self.books.saving();
        for symbol in self.books.symbols() {
            out.u32(symbol);
            books.save(symbol, out);
            apart.clear();
            let mut beside = StateWriter::new(&mut apart, out.versions());
            if symbol as usize >= self.digests.len() {
                beside.bool(false);
            } else {
                beside.bool(true);
                self.suites.save(symbol, &mut beside);
                self.risk.save(symbol, &mut beside);
                self.digests[symbol as usize].save(&mut beside);
                if let Some(simulated) = &self.paper {
                    simulated.paper.save(symbol, &mut beside);
                }
                let named = &self.names[symbol as usize];
                beside.bytes(&named.letters);
                // Written only where it says something: where it is absent, it is 0.
                if named.decimals > 0 {
                    beside.u8(named.decimals);
                }
            }
            beside.finish().expect("memory takes all");
            out.u32(apart.len() as u32);
            out.bytes(&apart);
        }
        out.u32(NO_SYMBOL);
    }

    /// Loads what one core saved, as far as it concerns the symbols to `keep`, which is also told of
    /// the groups' symbols. Several may be
    /// loaded one after the other, if they were saved at the same place of the input; the
    /// counts that they have of what was wrong go to one core only (`counts`).
    pub fn load(
        &mut self,
        from: &mut StateReader<'_>,
        keep: impl Fn(u32, &Groups) -> bool,
        counts: bool,
    ) -> Result<(), StateError> {
        self.last_seq = self.last_seq.max(from.u64()?);
        self.watermark = self.watermark.max(Ts(from.i64()?));
        self.gap_messages = self.gap_messages.max(from.u64()?);
        self.is_open = from.bool()?;
        let mut anomalies = Anomalies::default();
        if usize::from(from.u16()?) != anomalies.0.len() {
            return Err(from.error(format_args!("{} kinds of anomalies", anomalies.0.len())));
        }
        for count in &mut anomalies.0 {
            *count = from.u64()?;
        }
        if counts {
            self.anomalies.merge(&anomalies);
        }
        if from.version(Part::Core) >= 2 {
            for _ in 0..from.u16()? {
                let number = from.u8()?;
                let anomaly = Anomaly::ALL.get(usize::from(number)).copied();
                let event = from.bytes(64)?.first_chunk().and_then(Event::from_bytes);
                let (Some(anomaly), Some(event)) = (anomaly, event) else {
                    return Err(from.error("an anomaly and its event"));
                };
                if counts && self.examples.len() < EXAMPLES_MAX {
                    self.examples.push((anomaly, event));
                }
            }
        }
        self.books.load_shared(from, counts)?;
        self.suites.load_shared(from)?;
        if !self.groups.is_none() {
            for _ in 0..from.u32()? {
                let symbol = from.u32()?;
                let mut name = [b' '; 8];
                name.copy_from_slice(from.bytes(8)?);
                if self.groups.bind(symbol, name).is_some() && keep(symbol, &self.groups) {
                    // Of who needs its decimals, they are in what follows.
                    self.suites.on_member(symbol, name, 0);
                }
            }
            let groups = &self.groups;
            self.suites
                .load_joint(from, |symbol| keep(symbol, groups))?;
        }
        loop {
            let symbol = from.u32()?;
            if symbol == NO_SYMBOL {
                return Ok(());
            }
            let keep = keep(symbol, &self.groups);
            self.books.load(symbol, keep, from)?;
            let apart_bytes = from.u32()? as usize;
            let mut beside = from.split(apart_bytes)?;
            if keep && beside.bool()? {
                self.suites.load(symbol, &mut beside)?;
                self.risk.load(symbol, &mut beside)?;
                let (index, symbols) = (symbol as usize, self.digests.len());
                if index >= symbols {
                    let want = format_args!("a symbol below {symbols}, found {symbol}");
                    return Err(beside.error(want));
                }
                self.digests[index] = SymbolDigest::load(&mut beside)?;
                if let Some(simulated) = &mut self.paper {
                    simulated.paper.load(symbol, &mut beside)?;
                }
                let mut named = Named::NOT;
                named.letters.copy_from_slice(beside.bytes(8)?);
                if !beside.is_at_end() {
                    named.decimals = beside.u8()?;
                }
                self.names[index] = named;
                if named.letters != Named::NOT.letters {
                    self.groups.is_apart(symbol);
                }
                self.risk.on_symbol(symbol, &named.letters);
                beside.end()?;
            }
        }
    }

    /// The books.
    pub fn books(&self) -> &Books {
        &self.books
    }

    /// The books, without the rest.
    pub fn into_books(self) -> Books {
        self.books
    }

    /// The analytics.
    pub fn suites(&self) -> &Suites {
        &self.suites
    }

    /// The numbers of the symbols met, ascending.
    pub fn symbols(&self) -> impl Iterator<Item = u32> + '_ {
        self.books.symbols().filter(|symbol| *symbol != 0)
    }

    /// A symbol's name, padded with spaces; all spaces when the feed did not say it.
    pub fn name(&self, symbol: u32) -> &[u8; 8] {
        self.names
            .get(symbol as usize)
            .map_or(&Named::NOT.letters, |named| &named.letters)
    }

    /// Its quantities are in units of 10 to the power of minus this; see [`Kind::Symbol`].
    pub fn decimals(&self, symbol: u32) -> u8 {
        self.names
            .get(symbol as usize)
            .map_or(0, |named| named.decimals)
    }

    /// What symbols are called, in eight letters, where the feed said it.
    pub fn names(&self) -> impl Iterator<Item = (u32, u64)> {
        let named = self.names.iter().zip(0..);
        let named = named.filter(|(named, _)| named.letters != Named::NOT.letters);
        named.map(|(named, symbol)| (symbol, u64::from_be_bytes(named.letters)))
    }

    /// Which symbols are together, by the names that were said.
    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    /// The `seq` of the last event taken in.
    pub fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// How many messages no line brought, by the gaps this core was told of.
    pub fn gap_messages(&self) -> u64 {
        self.gap_messages
    }

    /// No event before this is expected any more.
    pub fn watermark(&self) -> Ts {
        self.watermark
    }

    /// Whether the input came to its end.
    pub fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// The first events that something was wrong with, and what.
    pub fn examples(&self) -> &[(Anomaly, Event)] {
        &self.examples
    }

    /// What did not hold of the books.
    pub fn breaches(&self) -> &Breaches {
        &self.breaches
    }

    /// What was wrong with the events.
    pub fn anomalies(&self) -> Anomalies {
        self.anomalies
    }
}

/// Keeps the orders that are decided, for a simulated venue.
struct Deciding<'a, S> {
    sink: &'a mut S,
    decided: &'a mut Vec<Signal>,
}

impl<S: Sink> Sink for Deciding<'_, S> {
    fn event(&mut self, event: &Event) {
        self.sink.event(event);
    }

    fn signal(&mut self, signal: &Signal) {
        if signal.kind == SignalKind::Order {
            self.decided.push(*signal);
        }
        self.sink.signal(signal);
    }

    fn hold_back(&mut self) -> bool {
        self.sink.hold_back()
    }

    fn owed(&mut self, signal: &Signal) {
        self.sink.owed(signal);
    }

    fn let_go(&mut self) {
        self.sink.let_go();
    }

    fn lap(&mut self, lap: Lap) {
        self.sink.lap(lap);
    }
}

/// Everything of a core but its books, which are borrowed while they take in a block.
struct Rest<'a> {
    midnight: Ts,
    from: Ts,
    suites: &'a mut Suites,
    watches: bool,
    risk: &'a mut Risk,
    out: &'a mut Outbox,
    intents: &'a mut Intents,
    early: &'a mut Early,
    visits_at_tick: usize,
    digests: &'a mut [SymbolDigest],
    names: &'a mut [Named],
    groups: &'a mut Groups,
    watermark: &'a mut Ts,
    anomalies: &'a mut Anomalies,
    examples: &'a mut Vec<(Anomaly, Event)>,
    gap_messages: &'a mut u64,
    is_open: &'a mut bool,
}

impl Rest<'_> {
    /// Asks the caches for what later events will touch: as far ahead as memory is away, and not
    /// farther, since what is asked for too early is gone again when it is needed.
    #[inline(always)]
    fn prefetch(&self, events: &[Event], index: usize) {
        if let Some(event) = events.get(index + FAR_EVENTS) {
            mem::prefetch(self.digests, event.symbol as usize);
            self.suites.prefetch_place(event.symbol);
        }
        if let Some(event) = events.get(index + NEAR_EVENTS) {
            self.suites.prefetch_state(event);
        }
    }

    #[inline]
    fn one(&mut self, books: &Books, event: &Event, applied: &Applied, sink: &mut impl Sink) {
        if let Some(anomaly) = applied.anomaly {
            self.anomaly(anomaly, event);
        }
        if event.kind.is_for_all() {
            return self.for_all(books, event, sink);
        }
        let symbol = event.symbol;
        // Number 0 is no symbol: some of what a feed says of the market as a whole has it.
        if symbol == 0 {
            return;
        }
        let Some(digest) = self.digests.get_mut(symbol as usize) else {
            return;
        };
        if let Some(closed) = digest.enter(event.ts_event, self.midnight) {
            say_digest(closed, symbol, event, sink);
        }
        digest.event(event, self.midnight);
        if self.watches {
            return self.watch(books, event, applied, sink);
        }
        self.conclude::<false>(books, event, applied, sink);
    }

    /// The same, with a look at each event: apart, so that the usual way stays as it is.
    #[cold]
    #[inline(never)]
    fn watch(&mut self, books: &Books, event: &Event, applied: &Applied, sink: &mut impl Sink) {
        self.out.at(event.ts_event, event.seq, event.symbol);
        let is_judged = event.ts_event >= self.from;
        let stale = books.is_stale(event.symbol);
        self.suites
            .watch(event, applied, stale, is_judged, self.out);
        self.conclude::<true>(books, event, applied, sink);
        if !self.out.is_empty() {
            self.settle(books, sink);
        }
    }

    /// What the analytics conclude of an event; with `WATCHED`, behind what was said of it already.
    #[inline(always)]
    fn conclude<const WATCHED: bool>(
        &mut self,
        books: &Books,
        event: &Event,
        applied: &Applied,
        sink: &mut impl Sink,
    ) {
        let symbol = event.symbol;
        let digest = &mut self.digests[symbol as usize];
        // One look at what is hard to foretell; most events end here.
        if !analytics::matters(event, applied) {
            if applied.quote_changed {
                digest.quote(&books.quote(symbol));
            }
            if event.kind == Kind::Symbol {
                let named = Named::by(event);
                self.names[symbol as usize] = named;
                let letters = named.letters;
                if self.groups.bind(symbol, letters).is_some() {
                    self.suites.on_member(symbol, letters, named.decimals);
                }
                self.suites.on_symbol(symbol, letters, event.qty.0);
                self.risk.on_symbol(symbol, &letters);
            }
            return;
        }
        let quote = books.quote(symbol);
        if applied.quote_changed {
            digest.quote(&quote);
        }
        // In the middle of several changes that are one, a book says nothing.
        if event.ts_event < self.from || event.flags.has(Flags::MORE) {
            return;
        }
        let (phase, stale) = (books.phase(symbol), books.is_stale(symbol));
        if !WATCHED {
            self.out.at(event.ts_event, event.seq, symbol);
        }
        self.suites
            .on_event(event, applied, &quote, phase, stale, self.out, self.intents);
        if !(self.out.is_empty() && self.intents.is_empty()) {
            if self.suites.is_away() {
                return self.both(books, event, sink);
            }
            self.settle(books, sink);
        }
    }

    /// What strategies of several symbols want of others than the event's, at this event: their orders
    /// leave together, or none does.
    #[cold]
    fn both(&mut self, books: &Books, event: &Event, sink: &mut impl Sink) {
        if self.early.is_full() {
            self.tick_on(usize::MAX, sink);
        }
        let mut legs = [None; StrategyConfig::COUNT_MAX];
        let mut count = 0;
        let gate = &mut Gate {
            books,
            risk: self.risk,
            digests: self.digests,
            midnight: self.midnight,
        };
        for intent in self.intents.as_slice() {
            let own = gate.verdict(event.symbol, event.ts_event, intent);
            let (rule, symbol) = (intent.rule, event.symbol);
            if !intent.is_leg {
                self.out.say(rule, gate.passed(symbol, event.ts_event, own));
                continue;
            }
            let (away, other) = self.suites.away(rule).expect("a leg has another");
            let other = gate.verdict(away, event.ts_event, &other);
            let (own, other) = together(own, other);
            if own.is_err() {
                self.suites.on_refused(rule);
            }
            self.out.say(rule, gate.passed(symbol, event.ts_event, own));
            legs[count] = Some((rule, gate.passed(away, event.ts_event, other)));
            count += 1;
        }
        self.intents.clear();
        sink.lap(Lap::Risk);
        self.settle(books, sink);
        while let Some(symbol) = self.suites.take_away(self.intents) {
            self.settle_tick(symbol);
            self.out.at(event.ts_event, event.seq, symbol);
            self.suites.say_away(symbol, self.out, self.intents);
            for intent in self.intents.as_slice() {
                let found = legs.iter().flatten().find(|(rule, _)| *rule == intent.rule);
                let (rule, body) = found.expect("it was looked at with its other leg");
                self.out.say(*rule, *body);
            }
            self.intents.clear();
            self.settle(books, sink);
        }
    }

    /// What a tick under way owes to a symbol is done, and kept until its turn.
    fn settle_tick(&mut self, symbol: u32) {
        if self.suites.settle(symbol, self.out) {
            let digest = &mut self.digests[symbol as usize];
            for signal in self.out.signals() {
                digest.signal(signal, self.midnight);
            }
            self.early.keep(symbol, self.out.signals());
            self.out.clear();
        }
    }

    #[inline(always)]
    fn settle(&mut self, books: &Books, sink: &mut impl Sink) {
        let mut gate = Gate {
            books,
            risk: self.risk,
            digests: self.digests,
            midnight: self.midnight,
        };
        gate.settle(self.out, self.intents, sink);
    }

    /// While a tick is under way: what it owes to the event's symbol is done first, and some more of
    /// it. What is for all symbols comes after all of it.
    #[cold]
    fn tick_beside(&mut self, event: &Event, sink: &mut impl Sink) {
        if matches!(event.kind, Kind::Tick | Kind::Gap | Kind::End) || self.early.is_full() {
            return self.tick_on(usize::MAX, sink);
        }
        if !event.kind.is_for_all() {
            self.settle_tick(event.symbol);
        }
        self.tick_on(VISITS_BESIDE_EVENT, sink);
    }

    fn tick_on(&mut self, visits_max: usize, sink: &mut impl Sink) {
        let Rest {
            suites,
            out,
            early,
            digests,
            midnight,
            ..
        } = self;
        let is_done = suites.go_on(visits_max, out, |out| {
            early.say_below(out.symbol(), sink);
            let digest = &mut digests[out.symbol() as usize];
            for signal in out.signals() {
                digest.signal(signal, *midnight);
                sink.owed(signal);
            }
            out.clear();
        });
        if is_done {
            early.say_below(u32::MAX, sink);
            early.signals.clear();
            sink.let_go();
        }
    }

    /// Before the opening cross and after the close, orders rest across each other by right.
    #[cold]
    fn anomaly(&mut self, anomaly: Anomaly, event: &Event) {
        if anomaly != Anomaly::Crossed || *self.is_open {
            self.anomalies.count(anomaly);
            if self.examples.len() < EXAMPLES_MAX {
                self.examples.push((anomaly, *event));
            }
        }
    }

    #[cold]
    fn for_all(&mut self, books: &Books, event: &Event, sink: &mut impl Sink) {
        let midnight = self.midnight;
        let mut gate = Gate {
            books,
            risk: self.risk,
            digests: self.digests,
            midnight,
        };
        match event.kind {
            Kind::Tick => {
                *self.watermark = event.ts_event;
                self.suites.begin_tick(event.ts_event, event.seq);
                let intents = &mut *self.intents;
                let mut say = |out: &mut Outbox| gate.settle(out, intents, sink);
                let is_done = self.suites.go_on(self.visits_at_tick, self.out, &mut say);
                if !is_done && !sink.hold_back() {
                    let mut say = |out: &mut Outbox| gate.settle(out, self.intents, sink);
                    self.suites.go_on(usize::MAX, self.out, &mut say);
                }
            }
            Kind::End => {
                let intents = &mut *self.intents;
                let say = |out: &mut Outbox| gate.settle(out, intents, sink);
                self.suites.finish(event.seq, self.out, say);
                for symbol in books.symbols().filter(|symbol| *symbol != 0) {
                    let Some(digest) = self.digests.get_mut(symbol as usize) else {
                        continue;
                    };
                    digest.mix(books.digest(symbol));
                    say_digest(digest.finish(), symbol, event, sink);
                }
            }
            // Who was lost is known again: the symbols' own events say so to the analytics.
            Kind::Gap if event.flags.has(Flags::WHOLE) => {}
            Kind::Gap => {
                *self.gap_messages += event.qty.0 as u64;
                self.suites.on_gap();
            }
            // ITCH 5.0, section 4.1: `Q` starts market hours, `M` ends them; `O` and `S` come before
            // and `E` and `C` after.
            Kind::System => *self.is_open = event.order == u64::from(b'Q'),
            _ => {}
        }
    }
}

/// What a tick says of symbols that it visited before their turn, because something happened to
/// them while it was under way.
struct Early {
    signals: Vec<Signal>,
    /// Symbol, its first signal and how many; the lowest symbol on top.
    symbols: BinaryHeap<Reverse<(u32, u32, u32)>>,
}

impl Early {
    fn new() -> Early {
        Early {
            signals: Vec::with_capacity(EARLY_SIGNALS_MAX),
            symbols: BinaryHeap::with_capacity(EARLY_SYMBOLS_MAX),
        }
    }

    /// Whether there may be no room for what one more symbol says.
    fn is_full(&self) -> bool {
        self.symbols.len() == EARLY_SYMBOLS_MAX
            || self.signals.len() + Outbox::SIGNALS_MAX > EARLY_SIGNALS_MAX
    }

    fn keep(&mut self, symbol: u32, signals: &[Signal]) {
        if !signals.is_empty() {
            let first = self.signals.len() as u32;
            self.signals.extend_from_slice(signals);
            self.symbols
                .push(Reverse((symbol, first, signals.len() as u32)));
        }
    }

    /// Says what is of symbols below this one.
    fn say_below(&mut self, symbol: u32, sink: &mut impl Sink) {
        while let Some(&Reverse((early, first, count))) = self.symbols.peek() {
            if early >= symbol {
                return;
            }
            self.symbols.pop();
            for signal in &self.signals[first as usize..][..count as usize] {
                sink.owed(signal);
            }
        }
    }
}

/// Where intents become orders or rejects, and every signal enters its symbol's digest.
struct Gate<'a> {
    books: &'a Books,
    risk: &'a mut Risk,
    digests: &'a mut [SymbolDigest],
    midnight: Ts,
}

/// Of two orders that leave together, or not at all.
fn together(
    own: Result<Order, Reject>,
    other: Result<Order, Reject>,
) -> (Result<Order, Reject>, Result<Order, Reject>) {
    let without = |order: Order, why: Reject| Reject {
        order,
        code: RejectCode::OtherLeg,
        limit: 0,
        value: why.code as i64,
    };
    match (own, other) {
        (Ok(own), Err(why)) => (Err(without(own, why)), Err(why)),
        (Err(why), Ok(other)) => (Err(why), Err(without(other, why))),
        (own, other) => (own, other),
    }
}

impl Gate<'_> {
    /// What the risk gate says of what is wanted, with nothing counted.
    fn verdict(&self, symbol: u32, ts_event: Ts, intent: &Intent) -> Result<Order, Reject> {
        let quote = self.books.quote(symbol);
        let (phase, stale) = (self.books.phase(symbol), self.books.is_stale(symbol));
        self.risk
            .verdict(symbol, ts_event, intent, &quote, phase, stale)
    }

    /// The same as a signal; an order is counted.
    fn passed(&mut self, symbol: u32, ts_event: Ts, verdict: Result<Order, Reject>) -> Body {
        match verdict {
            Ok(order) => {
                self.risk.pass(symbol, ts_event, &order);
                Body::Order(order)
            }
            Err(reject) => Body::Reject(reject),
        }
    }

    fn settle(&mut self, out: &mut Outbox, intents: &mut Intents, sink: &mut impl Sink) {
        let (symbol, ts_event) = (out.symbol(), out.ts_event());
        sink.lap(Lap::Analytics);
        if !intents.is_empty() {
            let quote = self.books.quote(symbol);
            let (phase, stale) = (self.books.phase(symbol), self.books.is_stale(symbol));
            for intent in intents.as_slice() {
                match self
                    .risk
                    .check(symbol, ts_event, intent, &quote, phase, stale)
                {
                    Ok(order) => out.say(intent.rule, Body::Order(order)),
                    Err(reject) => out.say(intent.rule, Body::Reject(reject)),
                }
            }
            intents.clear();
            sink.lap(Lap::Risk);
        }
        let digest = &mut self.digests[symbol as usize];
        for signal in out.signals() {
            digest.signal(signal, self.midnight);
            sink.signal(signal);
        }
        sink.lap(Lap::Append);
        out.clear();
    }
}

/// Digests are numbered from the top, clear of what analytics say at the same event.
fn say_digest(closed: Closed, symbol: u32, event: &Event, sink: &mut impl Sink) {
    let body = Body::Digest(bus::signal::Digest {
        value: closed.value,
        events: closed.events,
        minute: closed.minute,
    });
    sink.signal(&Signal::new(
        closed.end,
        event.seq,
        symbol,
        0,
        DIGEST_ORDINAL,
        body,
    ));
}

/// Stands in a saved core behind its last symbol.
const NO_SYMBOL: u32 = u32::MAX;

/// The ordinal of a digest among the signals of its event.
pub const DIGEST_ORDINAL: u16 = u16::MAX;
