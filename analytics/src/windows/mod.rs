//! Windows that the configuration declares: of many kinds, with aggregates chosen by name, for chosen
//! symbols, under a policy that says which trades count.
//!
//! Start with [`DeclaredConfig`], what can be declared; `aligned` has the windows of fixed times,
//! `bars` those that trades make; `pane` is what is summed, `standing` what is weighted with time,
//! `sizes` how large trades are, `policy` which trades count, `kept` the trades that may be broken.
//!
//! ```text
//! event ──► Trade ──► for each window of the symbol: the pane of its time          (per trade)
//!       └─► Standing, once for all windows of the symbol                           (per event)
//! tick  ──► panes put together, the window is said                                 (per window)
//! ```
//!
//! Memory is reserved for all symbols at start and taken as they appear; a symbol's share is
//! [`Windows::bytes_per_symbol`].

mod aligned;
mod bars;
mod config;
mod kept;
mod pane;
mod policy;
mod sizes;
mod standing;

use bus::signal::{Adjust, AdjustReason, Body};
use bus::state::{StateError, StateReader, StateWriter};
use bus::{Event, Kind, Outbox, Price, Qty, Ts};

use crate::suite::Moment;
use crate::view::View;

pub use config::{Aggregate, DeclaredConfig, Shape};
pub use policy::Policy;

use aligned::State;
use bars::Bar;
use config::Spec;
use kept::Kept;
use pane::{Pane, Trade};
use standing::{Standing, Sums};

/// The declared windows of all symbols of one shard.
#[derive(Debug)]
pub struct Windows {
    specs: Vec<Spec>,
    /// The `rule` of the first one.
    rule_first: usize,
    /// How much of each of the following a symbol has.
    share: Share,
    /// By the symbols' places.
    symbols: Vec<Symbol>,
    states: Vec<State>,
    panes: Vec<Pane>,
    sizes: Vec<u32>,
    marks: Vec<Mark>,
    bars: Vec<Bar>,
    kept: Vec<Kept>,
    /// By the symbols' numbers.
    named: Vec<Named>,
    unnamed: Named,
    /// Windows with time-weighted aggregates.
    timed: u128,
}

#[derive(Clone, Copy, Debug, Default)]
struct Share {
    panes: usize,
    sizes: usize,
    marks: usize,
    bars: usize,
    kept: usize,
}

/// What is known of one symbol.
#[derive(Clone, Copy, Debug)]
struct Symbol {
    standing: Standing,
    /// The first time at which something is to be put down of the sums over time.
    mark_due: i64,
    /// Until when changes of the quote belong to panes that are known to have some.
    touched_until: i64,
    due: i64,
    last_price: i64,
    /// The highest time of its trades.
    latest_ts: i64,
    /// How many trades there were.
    trade_count: u64,
}

/// The sums over time at the start of a pane.
#[derive(Clone, Copy, Debug)]
struct Mark {
    index: i64,
    sums: Sums,
}

/// What the feed said of a symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Named {
    /// Which windows it has.
    windows: u128,
    lot: u32,
}

const MARK_NONE: Mark = Mark {
    index: i64::MIN,
    sums: Standing::NOTHING.sums,
};

/// A window of one symbol, and all that it can reach.
struct Own<'a> {
    spec: &'a Spec,
    rule: u8,
    state: &'a mut State,
    panes: &'a mut [Pane],
    sizes: &'a mut [u32],
    marks: &'a mut [Mark],
    bars: &'a mut [Bar],
    standing: &'a Standing,
    /// How far time has come: what stands now has stood since the clock, up to here.
    until: i64,
}

impl Windows {
    /// At most so many, because a bit of each symbol tells each.
    pub const WINDOWS_MAX: usize = 100;

    /// Memory for all symbols, reserved. Windows begin at `origin` and at whole multiples of their
    /// lengths before and after it.
    pub(crate) fn new(
        declared: &[DeclaredConfig],
        rule_first: usize,
        origin: Ts,
        ahead_ns: i64,
        symbol_count: usize,
    ) -> Windows {
        let mut share = Share::default();
        let specs: Vec<Spec> = declared
            .iter()
            .map(|config| Spec::new(config, origin, ahead_ns, &mut share))
            .collect();
        if specs.iter().any(|spec| spec.policy.corrects()) {
            share.kept = kept::TRADES_KEPT;
        }
        let every = |is: &dyn Fn(&Spec) -> bool| {
            let bits = specs.iter().enumerate().filter(|(_, spec)| is(spec));
            bits.fold(0u128, |bits, (index, _)| bits | 1 << index)
        };
        let unnamed = Named {
            windows: every(&|spec| spec.symbols.is_empty()),
            lot: ROUND_LOT,
        };
        let timed = every(&|spec| spec.wants.standing);
        Windows {
            rule_first,
            share,
            symbols: Vec::with_capacity(symbol_count),
            states: Vec::with_capacity(symbol_count * specs.len()),
            panes: Vec::with_capacity(symbol_count * share.panes),
            sizes: Vec::with_capacity(symbol_count * share.sizes),
            marks: Vec::with_capacity(symbol_count * share.marks),
            bars: Vec::with_capacity(symbol_count * share.bars),
            kept: Vec::with_capacity(symbol_count * share.kept),
            named: vec![unnamed; symbol_count],
            unnamed,
            timed,
            specs,
        }
    }

    /// What a symbol takes once it has appeared.
    pub fn bytes_per_symbol(&self) -> usize {
        let Share {
            panes,
            sizes,
            marks,
            bars,
            kept,
        } = self.share;
        size_of::<Symbol>()
            + size_of::<Named>()
            + self.specs.len() * size_of::<State>()
            + panes * size_of::<Pane>()
            + sizes * size_of::<u32>()
            + marks * size_of::<Mark>()
            + bars * size_of::<Bar>()
            + kept * size_of::<Kept>()
    }

    /// One more symbol, at the next place.
    pub(crate) fn appear(&mut self) {
        self.symbols.push(Symbol {
            standing: Standing::NOTHING,
            mark_due: i64::MAX,
            touched_until: i64::MIN,
            due: i64::MAX,
            last_price: 0,
            latest_ts: i64::MIN,
            trade_count: 0,
        });
        let count = self.symbols.len();
        let share = &self.share;
        self.states.resize(count * self.specs.len(), State::NEW);
        self.panes.resize(count * share.panes, Pane::EMPTY);
        self.sizes.resize(count * share.sizes, 0);
        self.marks.resize(count * share.marks, MARK_NONE);
        self.bars.resize(count * share.bars, Bar::NONE);
        self.kept.resize(count * share.kept, Kept::NONE);
    }

    /// The feed says what a symbol is called, and its round lot.
    #[cold]
    pub(crate) fn on_symbol(&mut self, number: u32, letters: [u8; 8], lot: i64) {
        let Some(named) = self.named.get_mut(number as usize) else {
            return;
        };
        let mut windows = self.unnamed.windows;
        for (index, spec) in self.specs.iter().enumerate() {
            if spec.symbols.binary_search(&letters).is_ok() {
                windows |= 1 << index;
            }
        }
        named.windows = windows;
        if let Ok(lot @ 1..) = u32::try_from(lot) {
            named.lot = lot;
        }
    }

    /// When a symbol has something to do.
    #[inline]
    pub(crate) fn due(&self, place: usize) -> Ts {
        Ts(self.symbols[place].due)
    }

    /// What happened to the symbol at this place, after all else was concluded from it.
    pub(crate) fn on_event(
        &mut self,
        place: usize,
        moment: &Moment<'_>,
        view: &View,
        out: &mut Outbox,
    ) {
        let (event, watermark) = (moment.event, moment.watermark.0);
        let named = self.named[event.symbol as usize];
        if named.windows & self.timed != 0 {
            self.stand(place, named, moment, view, out);
        }
        if moment.applied.fill.qty.0 > 0 {
            let symbol = &mut self.symbols[place];
            let before = symbol.last_price;
            if let Some(trade) = Trade::of(event, moment.applied, before, watermark) {
                symbol.last_price = trade.price;
                self.trade(place, named, event, &trade, out);
            }
        }
        if event.kind == Kind::Break {
            self.broken(place, named, event, out);
        }
        if self.symbols[place].due == DUE_STALE {
            self.find_due(place);
        }
    }

    #[inline]
    fn trade(
        &mut self,
        place: usize,
        named: Named,
        event: &Event,
        trade: &Trade,
        out: &mut Outbox,
    ) {
        let symbol = &mut self.symbols[place];
        let (latest_ts, lot) = (symbol.latest_ts, i64::from(named.lot));
        symbol.latest_ts = latest_ts.max(trade.ts);
        symbol.trade_count += 1;
        let ordinal = symbol.trade_count;
        if self.share.kept > 0 {
            let slot = (ordinal % kept::TRADES_KEPT as u64) as usize;
            let all = |policy: Policy| policy.counts(event, trade.qty, latest_ts, lot);
            self.kept[place * self.share.kept + slot] =
                Kept::new(trade, event.order_b, ordinal, all);
        }
        let mut left = named.windows;
        while left != 0 {
            let index = left.trailing_zeros() as usize;
            left &= left - 1;
            let policy = self.specs[index].policy;
            let Some(counts) = policy.counts(event, trade.qty, latest_ts, lot) else {
                continue;
            };
            let (mut own, due) = self.own(place, index);
            if own.spec.shape.is_aligned() {
                if own.add_here(trade, counts) {
                    continue;
                }
                own.add_elsewhere(trade, counts, out);
            } else {
                own.add_to_bar(trade, counts, ordinal, out);
            }
            *due = DUE_STALE;
        }
    }

    /// Messages are lost: what the quote of the symbol at this place is, is not known.
    #[cold]
    pub(crate) fn on_gap(&mut self, place: usize, number: u32, watermark: Ts) {
        let named = self.named[number as usize];
        let clock = self.symbols[place].standing.clock;
        if named.windows & self.timed == 0 || clock == i64::MIN {
            return;
        }
        if watermark.0 > clock {
            self.mark(place, named, watermark.0);
            self.symbols[place].standing.advance(watermark.0);
        }
        self.symbols[place].standing.lose();
    }

    /// Moves what stands on to the event, then changes it.
    #[inline]
    fn stand(
        &mut self,
        place: usize,
        named: Named,
        moment: &Moment<'_>,
        view: &View,
        out: &mut Outbox,
    ) {
        let event = moment.event;
        let symbol = &mut self.symbols[place];
        let clock = symbol.standing.clock;
        let now = event.ts_event.0.max(clock).max(moment.watermark.0);
        if now >= symbol.mark_due || clock == i64::MIN {
            self.mark(place, named, now);
        }
        let symbol = &mut self.symbols[place];
        symbol.standing.advance(now);
        let moves = symbol.standing.sums.moves;
        symbol.standing.change(&view.quote, view.is_measurable());
        if moment.applied.fill.qty.0 > 0 {
            symbol.standing.trade(moment.applied.fill.price.0);
        }
        if symbol.standing.sums.moves > moves && now >= symbol.touched_until {
            self.touch(place, named, now, moment.watermark.0, out);
        }
    }

    /// Puts down the sums over time at the starts of panes up to `now`.
    #[cold]
    fn mark(&mut self, place: usize, named: Named, now: i64) {
        let mut mark_due = i64::MAX;
        let mut left = named.windows & self.timed;
        while left != 0 {
            let index = left.trailing_zeros() as usize;
            left &= left - 1;
            mark_due = mark_due.min(self.own(place, index).0.mark(now));
        }
        self.symbols[place].mark_due = mark_due;
    }

    /// The quote changed: windows that want to know of it are not empty.
    #[cold]
    fn touch(&mut self, place: usize, named: Named, now: i64, watermark: i64, out: &mut Outbox) {
        let mut until = i64::MAX;
        let mut left = named.windows & self.timed;
        while left != 0 {
            let index = left.trailing_zeros() as usize;
            left &= left - 1;
            until = until.min(self.own(place, index).0.touch(now, watermark, out));
        }
        let symbol = &mut self.symbols[place];
        symbol.touched_until = until;
        symbol.due = DUE_STALE;
    }

    /// Time has come to `watermark`. At the end of the input that is `MAX`, so that what is open closes,
    /// and `until` is how far time came; else both are the same.
    pub(crate) fn on_watermark(
        &mut self,
        place: usize,
        number: u32,
        watermark: Ts,
        until: Ts,
        out: &mut Outbox,
    ) {
        if self.symbols[place].due > watermark.0 {
            return;
        }
        let clock = self.symbols[place].standing.clock;
        for index in 0..self.specs.len() {
            let (mut own, _) = self.own(place, index);
            own.until = clock.max(until.0);
            match own.spec.shape.is_aligned() {
                true => own.close_aligned(watermark.0, out),
                false => own.close_bars(watermark.0, out),
            }
        }
        // After what was closed, which may go back farther than is put down behind a long rest.
        let named = self.named[number as usize];
        if named.windows & self.timed != 0 && until.0 > clock && clock != i64::MIN {
            self.mark(place, named, until.0);
            self.symbols[place].standing.advance(until.0);
        }
        self.find_due(place);
    }

    fn find_due(&mut self, place: usize) {
        let states = &self.states[place * self.specs.len()..][..self.specs.len()];
        let due = states.iter().map(|state| state.due).min();
        self.symbols[place].due = due.unwrap_or(i64::MAX);
    }

    /// A print was broken: windows that are open lose it, of closed ones it is said that they had it.
    #[cold]
    fn broken(&mut self, place: usize, named: Named, event: &Event, out: &mut Outbox) {
        if self.share.kept == 0 {
            return;
        }
        let adjust = Adjust {
            start: event.ts_event,
            match_number: event.order_b,
            price: Price::NONE,
            qty: Qty(0),
            reason: AdjustReason::Unknown,
            window_count: 0,
        };
        let kept = place * self.share.kept;
        let all = &mut self.kept[kept..kept + self.share.kept];
        let Some(found) = all.iter().position(|kept| kept.is(event.order_b)) else {
            if let Some(first) = self.specs.iter().position(|spec| spec.policy.corrects()) {
                out.say((self.rule_first + first) as u8, Body::Adjust(adjust));
            }
            return;
        };
        all[found].is_broken = true;
        let gone = all[found];
        let adjust = Adjust {
            price: Price(gone.price),
            qty: Qty(gone.qty),
            ..adjust
        };
        let kept: [Kept; kept::TRADES_KEPT] = std::array::from_fn(|slot| all[slot]);
        for index in 0..self.specs.len() {
            let policy = self.specs[index].policy;
            let Some(counts) = gone.counts(policy).filter(|_| policy.corrects()) else {
                continue;
            };
            if named.windows >> index & 1 == 0 {
                continue;
            }
            let (mut own, _) = self.own(place, index);
            let is_aligned = own.spec.shape.is_aligned();
            let (end, adjusted) = match is_aligned {
                true => own.break_aligned(&gone, counts, &kept, event.ts_event.0),
                false => own.break_bar(&gone, counts, &kept),
            };
            if let Some((start, window_count, reason)) = adjusted {
                let adjust = Adjust {
                    start: Ts(start),
                    window_count,
                    reason,
                    ..adjust
                };
                let rule = own.rule;
                out.say_at(Ts(end), rule, Body::Adjust(adjust));
            }
        }
        self.symbols[place].due = DUE_STALE;
    }

    /// A window of a symbol, and the symbol's due.
    #[inline]
    fn own(&mut self, place: usize, index: usize) -> (Own<'_>, &mut i64) {
        let spec = &self.specs[index];
        let share = &self.share;
        let (panes, sizes) = (place * share.panes, place * share.sizes);
        let (marks, bars) = (place * share.marks, place * share.bars);
        let symbol = &mut self.symbols[place];
        let own = Own {
            rule: (self.rule_first + index) as u8,
            state: &mut self.states[place * self.specs.len() + index],
            panes: &mut self.panes[panes + spec.panes.start..panes + spec.panes.end],
            sizes: &mut self.sizes[sizes + spec.sizes.start..sizes + spec.sizes.end],
            marks: &mut self.marks[marks + spec.marks.start..marks + spec.marks.end],
            bars: &mut self.bars[bars + spec.bars.start..bars + spec.bars.end],
            standing: &symbol.standing,
            until: symbol.standing.clock,
            spec,
        };
        (own, &mut symbol.due)
    }

    /// Saves what the feed said of a symbol, whether or not it has appeared.
    pub(crate) fn save_named(&self, number: u32, out: &mut StateWriter<'_>) {
        let named = self.named.get(number as usize).unwrap_or(&self.unnamed);
        out.i128(named.windows as i128);
        out.u32(named.lot);
    }

    /// Loads that.
    pub(crate) fn load_named(
        &mut self,
        number: u32,
        from: &mut StateReader<'_>,
    ) -> Result<(), StateError> {
        let named = Named {
            windows: from.i128()? as u128,
            lot: from.u32()?,
        };
        if named.windows >> self.specs.len() != 0 {
            return Err(from.error(format_args!("at most {} windows", self.specs.len())));
        }
        match self.named.get_mut(number as usize) {
            Some(slot) => *slot = named,
            None => return Err(from.error(format_args!("a symbol's number, found {number}"))),
        }
        Ok(())
    }

    /// Saves what is known of the symbol at this place.
    pub(crate) fn save(&self, place: usize, out: &mut StateWriter<'_>) {
        let symbol = &self.symbols[place];
        symbol.standing.save(out);
        for word in [
            symbol.mark_due,
            symbol.touched_until,
            symbol.last_price,
            symbol.latest_ts,
        ] {
            out.i64(word);
        }
        out.u64(symbol.trade_count);
        let share = &self.share;
        let kept = &self.kept[place * share.kept..][..share.kept];
        out.u32(kept.iter().filter(|kept| kept.is_some()).count() as u32);
        for kept in kept.iter().filter(|kept| kept.is_some()) {
            kept.save(out);
        }
        for (index, spec) in self.specs.iter().enumerate() {
            self.states[place * self.specs.len() + index].save(out);
            let panes = place * share.panes + spec.panes.start;
            let sizes = place * share.sizes + spec.sizes.start;
            spec.save(
                &self.panes[panes..][..spec.panes.len()],
                &self.sizes[sizes..][..spec.sizes.len()],
                out,
            );
            let marks = place * share.marks + spec.marks.start;
            save_some(
                &self.marks[marks..][..spec.marks.len()],
                |mark| mark.index != i64::MIN,
                |mark, out| {
                    out.i64(mark.index);
                    mark.sums.save(out);
                },
                out,
            );
            let bars = place * share.bars + spec.bars.start;
            for bar in &self.bars[bars..][..spec.bars.len()] {
                bar.save(out);
            }
        }
    }

    /// Loads the symbol at the next place.
    pub(crate) fn load(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        self.appear();
        let place = self.symbols.len() - 1;
        self.symbols[place] = Symbol {
            standing: Standing::load(from)?,
            mark_due: from.i64()?,
            touched_until: from.i64()?,
            due: i64::MAX,
            last_price: from.i64()?,
            latest_ts: from.i64()?,
            trade_count: from.u64()?,
        };
        let share = self.share;
        let kept = &mut self.kept[place * share.kept..][..share.kept];
        for _ in 0..from.u32()? {
            let one = Kept::load(from)?;
            match kept.get_mut((one.ordinal % kept::TRADES_KEPT as u64) as usize) {
                Some(slot) => *slot = one,
                None => return Err(from.error("no trades that may be broken")),
            }
        }
        for index in 0..self.specs.len() {
            let spec = &self.specs[index];
            self.states[place * self.specs.len() + index] = State::load(from)?;
            let panes = place * share.panes + spec.panes.start;
            let sizes = place * share.sizes + spec.sizes.start;
            spec.load(
                &mut self.panes[panes..][..spec.panes.len()],
                &mut self.sizes[sizes..][..spec.sizes.len()],
                from,
            )?;
            let marks = place * share.marks + spec.marks.start;
            load_some(
                &mut self.marks[marks..][..spec.marks.len()],
                |from| {
                    Ok(Mark {
                        index: from.i64()?,
                        sums: Sums::load(from)?,
                    })
                },
                from,
            )?;
            let bars = place * share.bars + spec.bars.start;
            for bar in &mut self.bars[bars..][..spec.bars.len()] {
                *bar = Bar::load(from)?;
            }
        }
        self.find_due(place);
        Ok(())
    }
}

/// A round lot where the feed says nothing.
const ROUND_LOT: u32 = 100;
/// The symbol's due is to be found anew; before all times, so that a tick looks.
const DUE_STALE: i64 = i64::MIN;

/// Saves those of some slots that are in use, with their places.
fn save_some<T>(
    slots: &[T],
    is_used: impl Fn(&T) -> bool,
    save: impl Fn(&T, &mut StateWriter<'_>),
    out: &mut StateWriter<'_>,
) {
    out.u32(slots.iter().filter(|slot| is_used(slot)).count() as u32);
    for (place, slot) in slots.iter().enumerate().filter(|(_, slot)| is_used(slot)) {
        out.u32(place as u32);
        save(slot, out);
    }
}

fn load_some<'a, T>(
    slots: &mut [T],
    load: impl Fn(&mut StateReader<'a>) -> Result<T, StateError>,
    from: &mut StateReader<'a>,
) -> Result<(), StateError> {
    for _ in 0..from.u32()? {
        let place = from.u32()?;
        let one = load(from)?;
        match slots.get_mut(place as usize) {
            Some(slot) => *slot = one,
            None => {
                let end = slots.len();
                return Err(from.error(format_args!("a place below {end}, found {place}")));
            }
        }
    }
    Ok(())
}
