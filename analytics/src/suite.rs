//! Runs the analytics of all symbols of one shard.

use bus::mem::{on_huge_pages, prefetch, prefetch_line};
use bus::signal::Report;
use bus::state::{StateError, StateReader, StateWriter};
use bus::{Applied, Event, Kind, Outbox, Phase, Quote, Ts};

use crate::beside::Beside;
use crate::due::Due;
use crate::expr::Known;
use crate::features::FeatureConfig;
use crate::instruments::InstrumentConfig;
use crate::intent::{Intent, Intents};
use crate::joins::{JoinConfig, JoinCounts};
use crate::momentum::{self, Momentum, MomentumConfig};
use crate::monitors::MonitorConfig;
use crate::patterns::PatternConfig;
use crate::regime::{self, Regime, RegimeConfig};
use crate::regimes::ModelConfig;
use crate::rule::{self, RuleConfig, Rules};
use crate::scores::ScoreConfig;
use crate::spread::{Spread, SpreadConfig};
use crate::strategies::StrategyConfig;
use crate::view::View;
use crate::vwap::{self, Vwap, WindowConfig};
use crate::windows::DeclaredConfig;

/// The analytics, in the order in which they run. A later one may read what an earlier one
/// wrote into the [`View`].
pub type Suite = (Vwap, Spread, Regime, Momentum, Rules);

/// What the symbols of one shard share of each of them.
type Common = (
    <Vwap as Analytic>::Common,
    <Spread as Analytic>::Common,
    <Regime as Analytic>::Common,
    <Momentum as Analytic>::Common,
    <Rules as Analytic>::Common,
);

/// What one analytic knows of one symbol.
///
/// Time comes before what happened in it: `on_time` runs up to an event's time while the view
/// still holds what was before, then the view is brought up to date, then `on_event` runs.
pub trait Analytic {
    /// What the symbols of one shard share: the configuration, worked out, and memory.
    type Common;

    /// For a symbol of which nothing is known yet.
    fn new(common: &mut Self::Common) -> Self;

    /// The symbol's time has come to `now`, through an event of its own or a tick. Nothing of it
    /// has changed since its latest event.
    #[inline]
    fn on_time(&mut self, _: &mut Self::Common, _now: Ts, _: &mut View, _: &mut Outbox) {}

    /// Its quote changed, it traded, or its state changed.
    fn on_event(
        &mut self,
        common: &mut Self::Common,
        moment: &Moment,
        view: &mut View,
        out: &mut Outbox,
        intents: &mut Intents,
    );

    /// No event before `watermark` is expected any more. Runs after `on_time` to the same time.
    ///
    /// Neither of both can ask for an order: a tick's work on a symbol may be done when the book of
    /// that symbol has gone on.
    #[inline]
    fn on_watermark(&mut self, _: &mut Self::Common, _watermark: Ts, _: &mut View, _: &mut Outbox) {
    }

    /// The watermark at which it has something to do even if nothing happens; `MAX` for never.
    #[inline]
    fn due(&self) -> Ts {
        Ts::MAX
    }

    /// Saves what it knows.
    fn save(&self, common: &Self::Common, out: &mut StateWriter<'_>);

    /// As it was when it was saved.
    fn load(common: &mut Self::Common, from: &mut StateReader<'_>) -> Result<Self, StateError>
    where
        Self: Sized;
}

/// What happened to one symbol. The view has the quote, the phase and the rest.
#[derive(Debug)]
pub struct Moment<'a> {
    /// The event.
    pub event: &'a Event,
    /// What it did to the book.
    pub applied: &'a Applied,
    /// Whether best prices, phase or staleness are other than at the event before: if not,
    /// nothing is new to who looks at prices only.
    pub moved: bool,
    /// The latest watermark: no earlier event was expected any more.
    pub watermark: Ts,
}

/// How to configure the analytics of one shard.
#[derive(Clone, Debug, PartialEq)]
pub struct SuiteConfig {
    /// The highest symbol number.
    pub symbols_max: usize,
    /// The windows; a window's place here is the `rule` of its signals.
    pub windows: Vec<WindowConfig>,
    /// Declared windows; the `rule` of the first is the number of those above.
    pub declared: Vec<DeclaredConfig>,
    /// Where declared windows begin, and days: at this time and whole lengths before and after it.
    pub origin: Ts,
    /// How far events may be ahead of the watermark: memory for windows that begin meanwhile.
    pub ahead_ns: i64,
    /// The spread monitor.
    pub spread: SpreadConfig,
    /// The regimes.
    pub regime: RegimeConfig,
    /// Monitors; a monitor's place here, behind all rules, plus one is the `rule` of its signals.
    pub monitors: Vec<MonitorConfig>,
    /// Patterns; a pattern's place here, behind all rules and monitors, plus one is the `rule` of its signals.
    pub patterns: Vec<PatternConfig>,
    /// Regimes by models; a model's place here plus one is the `rule` of its signals.
    pub regimes: Vec<ModelConfig>,
    /// Strategies beside momentum; a strategy's place here, behind all rules, plus one is the `rule` of its
    /// orders.
    pub strategies: Vec<StrategyConfig>,
    /// Joins; a join's place here is the `rule` of its rows.
    pub joins: Vec<JoinConfig>,
    /// Instruments of several symbols; an instrument's place here is the `rule` of its best prices. Its
    /// alerts are behind those of patterns, two for each.
    pub instruments: Vec<InstrumentConfig>,
    /// What is said of each decision, in this order.
    pub features: Vec<FeatureConfig>,
    /// Models, whose scores rules and strategies ask for by their place here.
    pub scores: Vec<ScoreConfig>,
    /// The momentum strategy.
    pub momentum: MomentumConfig,
    /// Rules; a rule's place here plus one is the `rule` of its signals and orders.
    pub rules: Vec<RuleConfig>,
}

impl SuiteConfig {
    /// What suits a liquid stock.
    pub fn standard(symbols_max: usize) -> SuiteConfig {
        SuiteConfig {
            symbols_max,
            windows: WindowConfig::standard(),
            declared: Vec::new(),
            origin: Ts(0),
            ahead_ns: Ts::SECOND_NS,
            spread: SpreadConfig::default(),
            regime: RegimeConfig::default(),
            regimes: Vec::new(),
            monitors: Vec::new(),
            patterns: Vec::new(),
            strategies: Vec::new(),
            joins: Vec::new(),
            instruments: Vec::new(),
            features: Vec::new(),
            scores: Vec::new(),
            momentum: MomentumConfig::default(),
            rules: Vec::new(),
        }
    }

    /// How many records may say one window of each name.
    pub fn signals_per_windows(&self) -> usize {
        let declared = self.declared.iter().map(DeclaredConfig::signals_per_window);
        self.windows.len() + declared.sum::<usize>()
    }

    /// How many records joins and instruments may say with one tick.
    pub fn signals_of_several(&self) -> usize {
        let pairs: usize = self.joins.iter().map(|join| join.symbols.len()).sum();
        pairs * JoinConfig::ROWS_AT_TICK_MAX
            + self.instruments.len() * InstrumentConfig::AT_TICK_MAX
    }

    /// What is wrong with it, in one line; `None` if nothing is.
    pub fn problem(&self) -> Option<String> {
        let windows = || vwap::Common::problem(&self.windows);
        let declared = || DeclaredConfig::problem(&self.declared, self.ahead_ns);
        let spread = || self.spread.problem();
        let regime = || self.regime.problem();
        let regimes = || ModelConfig::problem(&self.regimes);
        let monitors = || MonitorConfig::problem(&self.monitors);
        let patterns = || PatternConfig::problem(&self.patterns);
        let momentum = || self.momentum.problem();
        let rules = || RuleConfig::problem(&self.rules);
        let joins = || JoinConfig::problem(&self.joins);
        let instruments = || InstrumentConfig::problem(&self.instruments);
        let features = || FeatureConfig::problem(&self.features);
        let scores = || ScoreConfig::problem(&self.scores);
        let declared_ones = || StrategyConfig::problem(&self.strategies);
        let strategies = || {
            momentum()
                .or_else(rules)
                .or_else(declared_ones)
                .or_else(features)
                .or_else(scores)
        };
        windows()
            .or_else(declared)
            .or_else(spread)
            .or_else(regime)
            .or_else(regimes)
            .or_else(monitors)
            .or_else(patterns)
            .or_else(strategies)
            .or_else(joins)
            .or_else(instruments)
    }
}

/// The analytics of all symbols of one shard.
#[derive(Debug)]
pub struct Suites {
    common: Common,
    /// Symbols in the order in which they appeared, so that a shard's share of them lies close
    /// together. Reserved for all at start, taken as they appear.
    symbols: Vec<Symbol>,
    /// By symbol number: its place in `symbols` plus one, or 0 while it has not appeared.
    places: Vec<u32>,
    due: Due,
    /// What is declared beside, in the order of `symbols`; most runs have nothing.
    beside: Option<Box<Beside>>,
    watermark: Ts,
    tick: Tick,
    /// The first tick at or after the latest time at which regimes were sampled.
    sampled_at: Ts,
}

/// Whether the analytics have to see an event that did this to the book.
#[inline(always)]
pub fn matters(event: &Event, applied: &Applied) -> bool {
    match event.kind {
        Kind::Add
        | Kind::Execute
        | Kind::ExecuteAt
        | Kind::Cancel
        | Kind::Delete
        | Kind::Replace
        | Kind::Trade
        | Kind::Cross => {
            applied.quote_changed | (applied.fill.qty.0 > 0) | applied.anomaly.is_some()
        }
        Kind::Status | Kind::Break => true,
        Kind::Nothing
        | Kind::Imbalance
        | Kind::Symbol
        | Kind::System
        | Kind::Info
        | Kind::Gap
        | Kind::Tick
        | Kind::End => false,
    }
}

#[derive(Clone, Copy, Debug)]
struct Symbol {
    view: View,
    suite: Suite,
}

/// The latest tick, and how far its visits are.
#[derive(Clone, Copy, Debug)]
struct Tick {
    seq: u64,
    /// The first symbol that was not yet looked at.
    next: usize,
    is_done: bool,
}

/// How many cache lines of a symbol's state an event touches, more or less.
const STATE_LINES: usize = 6;

impl Suites {
    /// Memory for all symbols, reserved; wrong configurations are a bug of the caller, who has
    /// [`SuiteConfig::problem`].
    pub fn new(config: SuiteConfig) -> Suites {
        assert_eq!(config.problem(), None);
        let symbol_count = config.symbols_max + 1;
        let beside = Beside::new(&config, symbol_count);
        let momentum = momentum::Common::new(config.momentum);
        // A sample of the micro-price takes the volatility as it is then.
        let may_be_lazy = momentum.divides(config.regime.sample_ns);
        let regime = regime::Common::new(config.regime, may_be_lazy);
        let symbols = Vec::with_capacity(symbol_count);
        on_huge_pages(&symbols);
        Suites {
            common: (
                vwap::Common::new(&config.windows, symbol_count),
                config.spread,
                regime,
                momentum,
                rule::Common::new(config.rules, &config.scores, symbol_count),
            ),
            symbols,
            places: vec![0; symbol_count],
            due: Due::new(symbol_count),
            beside,
            watermark: Ts::MIN,
            tick: Tick {
                seq: 0,
                next: 0,
                is_done: true,
            },
            sampled_at: Ts::MIN,
        }
    }

    /// Asks the caches for where a symbol's state is found. Changes no result; worth it for some
    /// 16 to 64 events ahead, with [`Suites::prefetch_state`] for all of them after it.
    #[inline(always)]
    pub fn prefetch_place(&self, symbol: u32) {
        prefetch(&self.places, symbol as usize);
        self.due.prefetch(symbol as usize);
    }

    /// Asks the caches for what this event reads first of its symbol's state.
    #[inline(always)]
    pub fn prefetch_state(&self, event: &Event) {
        let place = self.places.get(event.symbol as usize).copied();
        let index = (place.unwrap_or(0) as usize).wrapping_sub(1);
        for line in 0..STATE_LINES {
            prefetch_line(&self.symbols, index, line);
        }
        if let Kind::Execute | Kind::ExecuteAt | Kind::Trade | Kind::Cross = event.kind {
            self.common.0.prefetch(index);
        }
    }

    /// One event of one symbol, after the book took it; of those that do not [`matter`](matters),
    /// nothing is concluded. `quote`, `phase` and `stale` are as they are after it; the caller has put `out` at the event. What concerns all symbols is not for
    /// here: see [`Suites::on_gap`] and [`Suites::on_watermark`].
    #[inline]
    #[allow(clippy::too_many_arguments)] // The shard's call, in one place.
    pub fn on_event(
        &mut self,
        event: &Event,
        applied: &Applied,
        quote: &Quote,
        phase: Phase,
        stale: bool,
        out: &mut Outbox,
        intents: &mut Intents,
    ) {
        if !matters(event, applied) {
            return;
        }
        let Suites {
            common,
            symbols,
            places,
            due,
            beside,
            watermark,
            tick,
            sampled_at,
        } = self;
        debug_assert!(tick.is_done || due.of(event.symbol as usize) > *watermark);
        let symbol = match places[event.symbol as usize] {
            0 => appear(common, symbols, beside, places, event.symbol),
            place => &mut symbols[place as usize - 1],
        };
        symbol.keep_up(common, *watermark, *sampled_at);
        let Symbol { view, suite } = symbol;
        suite.on_time(common, event.ts_event, view, out);
        let moved = view.quote.bid != quote.bid
            || view.quote.ask != quote.ask
            || view.phase != phase
            || view.stale != stale;
        let moment = Moment {
            event,
            applied,
            moved,
            watermark: *watermark,
        };
        view.quote = *quote;
        view.phase = phase;
        view.stale = stale;
        suite.on_event(common, &moment, view, out, intents);
        // A late event woke it: no tick has passed over what is due since.
        if suite.2.sample_due() <= *watermark {
            suite.2.look_again();
        }
        let mut next = suite.due();
        if let Some(beside) = beside {
            let place = places[event.symbol as usize] as usize - 1;
            let scores = common.4.scores(place);
            let known = Known { view, scores };
            beside.on_event(place, &moment, &known, out, intents);
            common.4.hear(place, out.signals());
            next = next.min(beside.due(place));
            if let Some((seat, seat_due)) = beside.seat(event.symbol) {
                let seat_due = seat_due.max(watermark.plus_ns(1));
                due.set(seat as usize, seat_due.min(due.of(seat as usize)));
            }
        }
        // What a late event made due is for the next tick, whether or not this one is done.
        due.set(event.symbol as usize, next.max(watermark.plus_ns(1)));
    }

    /// Whether [`Suites::watch`] is to be called with each event.
    pub fn watches(&self) -> bool {
        self.beside.as_ref().is_some_and(|beside| beside.watches())
    }

    /// How many partial matches of patterns were one too many, so far.
    pub fn dropped_matches(&self) -> u64 {
        self.beside
            .as_ref()
            .map_or(0, |beside| beside.dropped_matches())
    }

    /// What joins counted so far.
    pub fn join_counts(&self) -> JoinCounts {
        let beside = self.beside.as_ref();
        beside.map_or_else(JoinCounts::default, |beside| beside.join_counts())
    }

    /// What each model did in this process, by its name.
    pub fn model_counts(&self) -> impl Iterator<Item = (&str, onnx_model::Counts)> {
        self.common.4.model_counts()
    }

    /// An event of one symbol, whether or not it [`matters`], before [`Suites::on_event`] of it; the
    /// caller has put `out` at the event. `stale` is whether the symbol's book lacks something after it;
    /// where `is_judged` is not, the event is remembered and nothing is concluded.
    pub fn watch(
        &mut self,
        event: &Event,
        applied: &Applied,
        stale: bool,
        is_judged: bool,
        out: &mut Outbox,
    ) {
        let Suites {
            common,
            symbols,
            places,
            due,
            beside,
            watermark,
            sampled_at,
            ..
        } = self;
        let number = event.symbol as usize;
        let symbol = match places[number] {
            0 => appear(common, symbols, beside, places, event.symbol),
            place => &mut symbols[place as usize - 1],
        };
        symbol.keep_up(common, *watermark, *sampled_at);
        let Some(beside) = beside else { return };
        let place = places[number] as usize - 1;
        let (watermark, view) = (*watermark, &symbol.view);
        beside.watch(
            place, event, applied, stale, is_judged, watermark, view, out,
        );
        let next = beside.due(place).max(watermark.plus_ns(1));
        due.set(number, next.min(due.of(number)));
    }

    /// The feed said what a symbol is called, and its round lot.
    #[cold]
    pub fn on_symbol(&mut self, symbol: u32, letters: [u8; 8], lot: i64) {
        if let Some(beside) = &mut self.beside {
            beside.on_symbol(symbol, letters, lot);
        }
    }

    /// A venue said something of an order of this symbol and strategy. It comes before the event that
    /// brought it about.
    #[cold]
    pub fn on_report(&mut self, symbol: u32, rule: u8, report: &Report) {
        let place = self.places.get(symbol as usize).copied().unwrap_or(0);
        if let (Some(beside), 1..) = (&mut self.beside, place) {
            beside.on_report(place as usize - 1, rule, report);
        }
    }

    /// The name of a symbol that the settings have in a group is said, for the first time, and how many
    /// decimals its quantities have.
    #[cold]
    pub fn on_member(&mut self, symbol: u32, name: [u8; 8], decimals: u8) {
        if let Some(beside) = &mut self.beside {
            beside.on_member(symbol, name, decimals);
        }
    }

    /// Whether something is wanted at the event of a symbol that is not the event's. Nothing is where
    /// nothing is wanted of the event's.
    #[inline]
    pub fn is_away(&self) -> bool {
        (self.beside.as_ref()).is_some_and(|beside| beside.is_away())
    }

    /// Takes that out into `intents`, which are empty: all of one such symbol, whose number it returns.
    /// [`Suites::settle`] is to be called for it, and then [`Suites::say_away`].
    pub fn take_away(&mut self, intents: &mut Intents) -> Option<u32> {
        self.beside.as_mut()?.take_away(intents)
    }

    /// What a strategy wants of a symbol that is not the event's, beside an order in that one which
    /// [is a leg](crate::Intent::is_leg).
    pub fn away(&self, rule: u8) -> Option<(u32, Intent)> {
        self.beside.as_ref()?.away(rule)
    }

    /// Neither of the two leaves, since one was refused.
    pub fn on_refused(&mut self, rule: u8) {
        if let Some(beside) = &mut self.beside {
            beside.on_refused(rule);
        }
    }

    /// Says what the decision on a symbol saw that is not the event's; `out` is put at it.
    pub fn say_away(&mut self, symbol: u32, out: &mut Outbox, intents: &Intents) {
        let place = self.places[symbol as usize];
        if let Some(beside) = &self.beside
            && place != 0
        {
            let view = self.symbol_now(place).view;
            let place = place as usize - 1;
            let known = Known {
                view: &view,
                scores: self.common.4.scores(place),
            };
            beside.say_features(place, &known, out, intents);
        }
    }

    /// Saves what is of several symbols.
    pub fn save_joint(&self, out: &mut StateWriter<'_>) {
        if let Some(beside) = &self.beside {
            beside.save_joint(out);
        }
    }

    /// Loads that, as far as it is of a symbol to keep.
    pub fn load_joint(
        &mut self,
        from: &mut StateReader<'_>,
        keep: impl Fn(u32) -> bool,
    ) -> Result<(), StateError> {
        match &mut self.beside {
            Some(beside) => beside.load_joint(from, &keep),
            None => Ok(()),
        }
    }

    /// Messages are lost for good: every symbol is stale until an event of it says otherwise, so
    /// that no hold time ends in an alert on a quote that may be wrong.
    #[cold]
    pub fn on_gap(&mut self) {
        assert!(self.tick.is_done, "the tick before is done with");
        self.catch_up();
        for (number, place) in self.places.iter().enumerate() {
            let Some(symbol) = self.symbols.get_mut((*place as usize).wrapping_sub(1)) else {
                continue;
            };
            symbol.view.stale = true;
            symbol.suite.2.look_again();
            let mut due = symbol.suite.due().max(self.watermark.plus_ns(1));
            if let Some(beside) = &mut self.beside {
                beside.on_gap(*place as usize - 1, number as u32, self.watermark);
                let declared = beside.due(*place as usize - 1);
                due = due.min(declared.max(self.watermark.plus_ns(1)));
            }
            self.due.set(number, due);
        }
    }

    /// Takes the samples that ticks passed over.
    fn catch_up(&mut self) {
        for symbol in &mut self.symbols {
            symbol.keep_up(&self.common, self.watermark, self.sampled_at);
        }
    }

    /// Time has come to `watermark`, by the tick with this `seq`: closes windows, ends hold
    /// times, samples. Visits only symbols with something due, in the order of their numbers,
    /// and calls `say` after each that says something, which takes what `out` holds and clears it.
    pub fn on_watermark(
        &mut self,
        watermark: Ts,
        seq: u64,
        out: &mut Outbox,
        say: impl FnMut(&mut Outbox),
    ) {
        self.begin_tick(watermark, seq);
        self.go_on(usize::MAX, out, say);
    }

    /// As [`Suites::on_watermark`], with the visits left to [`Suites::go_on`]. Until it is done with
    /// them, [`Suites::settle`] must come before each event.
    pub fn begin_tick(&mut self, watermark: Ts, seq: u64) {
        assert!(self.tick.is_done, "the tick before is done with");
        let before = self.watermark;
        self.watermark = before.max(watermark);
        let sample_ns = self.common.2.sample_ns();
        if before == Ts::MIN || before < self.watermark.floor(sample_ns) {
            self.sampled_at = self.watermark;
        }
        self.tick = Tick {
            seq,
            next: 0,
            is_done: false,
        };
    }

    /// Makes at most so many of the tick's visits; says whether all are made.
    pub fn go_on(
        &mut self,
        visits_max: usize,
        out: &mut Outbox,
        mut say: impl FnMut(&mut Outbox),
    ) -> bool {
        let Suites {
            common,
            symbols,
            places,
            due,
            beside,
            watermark,
            tick,
            sampled_at,
        } = self;
        let (watermark, seq) = (*watermark, tick.seq);
        let ask = |(symbols, common): &(&mut Vec<Symbol>, &mut Common), number: usize| {
            let place = places[number] as usize - 1;
            for line in 0..STATE_LINES {
                prefetch_line(symbols, place, line);
            }
            common.0.prefetch(place);
        };
        let visit = |(symbols, common): &mut (&mut Vec<Symbol>, &mut Common), number: usize| {
            let place = places[number] as usize - 1;
            out.at(watermark, seq, number as u32);
            let mut due = symbols[place].visit(common, watermark, *sampled_at, out);
            if let Some(beside) = beside {
                let view = &symbols[place].view;
                beside.on_watermark(place, number as u32, watermark, watermark, view, out);
                common.4.hear(place, out.signals());
                due = due.min(beside.due(place));
            }
            if !out.is_empty() {
                say(out);
            }
            due
        };
        let mut state = (symbols, common);
        tick.is_done = due.visit(
            watermark,
            &mut tick.next,
            visits_max,
            &mut state,
            ask,
            visit,
        );
        tick.is_done
    }

    /// Whether visits of the latest tick are still to be made.
    #[inline]
    pub fn is_ticking(&self) -> bool {
        !self.tick.is_done
    }

    /// Makes the tick's visit to a symbol now, if it is still to be made, since something happens
    /// to it; says whether it was. What it says is then in `out`.
    pub fn settle(&mut self, symbol: u32, out: &mut Outbox) -> bool {
        let is_owed = !self.tick.is_done
            && (symbol as usize) < self.places.len()
            && self.due.of(symbol as usize) <= self.watermark;
        if is_owed {
            let place = self.places[symbol as usize] as usize - 1;
            out.at(self.watermark, self.tick.seq, symbol);
            let mut due =
                self.symbols[place].visit(&mut self.common, self.watermark, self.sampled_at, out);
            if let Some(beside) = &mut self.beside {
                let view = &self.symbols[place].view;
                beside.on_watermark(place, symbol, self.watermark, self.watermark, view, out);
                self.common.4.hear(place, out.signals());
                due = due.min(beside.due(place));
            }
            self.due.set(symbol as usize, due);
        }
        is_owed
    }

    /// The input ended: closes all open windows, in the order of the symbols' numbers. Hold
    /// times and samples that time did not come to stay undecided.
    pub fn finish(&mut self, seq: u64, out: &mut Outbox, mut say: impl FnMut(&mut Outbox)) {
        assert!(self.tick.is_done, "the tick before is done with");
        self.catch_up();
        let ended_at = self.watermark;
        self.watermark = Ts::MAX;
        let Suites {
            common,
            symbols,
            places,
            due,
            beside,
            ..
        } = self;
        for (number, place) in places.iter().enumerate().filter(|(_, place)| **place != 0) {
            let Symbol { view, suite } = &mut symbols[*place as usize - 1];
            out.at(ended_at, seq, number as u32);
            suite.on_watermark(common, Ts::MAX, view, out);
            if let Some(beside) = beside {
                let place = *place as usize - 1;
                beside.on_watermark(place, number as u32, Ts::MAX, ended_at, view, out);
                common.4.hear(place, out.signals());
                while beside.has_more(place) {
                    say(out);
                    beside.say_more(place, out);
                }
            }
            due.set(number, Ts::MAX);
            if !out.is_empty() {
                say(out);
            }
        }
    }

    /// Saves what is not of one symbol.
    pub fn save_shared(&self, out: &mut StateWriter<'_>) {
        out.i64(self.watermark.0);
    }

    /// Loads that; the same for all shards.
    pub fn load_shared(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        self.watermark = self.watermark.max(Ts(from.i64()?));
        self.sampled_at = self.watermark;
        Ok(())
    }

    /// Saves what is known of a symbol, if anything.
    pub fn save(&self, symbol: u32, out: &mut StateWriter<'_>) {
        assert!(self.tick.is_done, "the tick before is done with");
        let place = self.places[symbol as usize];
        out.bool(place != 0);
        // Written only where something is declared, which the settings of a state say.
        if let Some(beside) = &self.beside {
            beside.save_named(symbol, out);
        }
        if place != 0 {
            let Symbol { view, suite } = self.symbol_now(place);
            view.save(out);
            suite.save(&self.common, out);
            let soon = suite.0.due().min(suite.1.due()).min(suite.4.due());
            let mut due = soon.min(suite.2.sample_due());
            if let Some(beside) = &self.beside {
                beside.save(place as usize - 1, out);
                due = due.min(beside.due(place as usize - 1));
            }
            out.i64(due.0);
        }
    }

    /// A symbol with what ticks passed over.
    fn symbol_now(&self, place: u32) -> Symbol {
        let mut symbol = self.symbols[place as usize - 1];
        symbol.keep_up(&self.common, self.watermark, self.sampled_at);
        symbol
    }

    /// Loads what was known of a symbol that has not appeared here.
    pub fn load(&mut self, symbol: u32, from: &mut StateReader<'_>) -> Result<(), StateError> {
        let has_appeared = from.bool()?;
        if let Some(beside) = &mut self.beside {
            beside.load_named(symbol, from)?;
        }
        if !has_appeared {
            return Ok(());
        }
        match self.places.get_mut(symbol as usize) {
            Some(place @ 0) => {
                let view = View::load(from)?;
                let suite = Suite::load(&mut self.common, from)?;
                self.symbols.push(Symbol { view, suite });
                if let Some(beside) = &mut self.beside {
                    beside.load(symbol, from)?;
                }
                *place = self.symbols.len() as u32;
                let due = Ts(from.i64()?).max(self.watermark.plus_ns(1));
                self.due.set(symbol as usize, due);
                Ok(())
            }
            Some(_) => Err(from.error(format_args!("symbol {symbol} once only"))),
            None => {
                let end = self.places.len();
                Err(from.error(format_args!("a symbol below {end}, found {symbol}")))
            }
        }
    }

    /// What all of it takes of memory for each symbol, in bytes. Reserved at start for every number up to
    /// `symbols_max`, and used by those that appear.
    pub fn bytes_per_symbol(&self) -> usize {
        let beside = self.beside.as_ref();
        size_of::<Symbol>()
            + size_of::<u32>()
            + Due::BYTES_PER_SYMBOL
            + self.common.0.bytes_per_symbol()
            + self.common.4.bytes_per_symbol()
            + beside.map_or(0, |beside| beside.bytes_per_symbol())
    }

    /// What is known of a symbol, for reports.
    pub fn view(&self, symbol: u32) -> View {
        match self.places.get(symbol as usize) {
            None | Some(0) => View::EMPTY,
            Some(place) => self.symbol_now(*place).view,
        }
    }
}

impl Symbol {
    /// Time has come to `watermark`; returns when there is something to do again.
    #[inline]
    fn visit(
        &mut self,
        common: &mut Common,
        watermark: Ts,
        sampled_at: Ts,
        out: &mut Outbox,
    ) -> Ts {
        self.keep_up(common, watermark, sampled_at);
        self.suite.on_time(common, watermark, &mut self.view, out);
        self.suite
            .on_watermark(common, watermark, &mut self.view, out);
        self.suite.due()
    }

    /// Takes the samples that ticks up to `watermark` passed over, the latest of them at `sampled_at`.
    #[inline(always)]
    fn keep_up(&mut self, common: &Common, watermark: Ts, sampled_at: Ts) {
        if self.suite.2.lags(watermark) {
            self.catch_up(common, sampled_at);
        }
    }

    /// Does what visits to regimes would have done up to the tick `to`, which say nothing.
    #[cold]
    fn catch_up(&mut self, common: &Common, to: Ts) {
        self.suite.2.catch_up(&common.2, to, &mut self.view);
        self.suite.3.catch_up(&common.3, to, &self.view);
    }
}

#[cold]
fn appear<'a>(
    common: &mut Common,
    symbols: &'a mut Vec<Symbol>,
    beside: &mut Option<Box<Beside>>,
    places: &mut [u32],
    number: u32,
) -> &'a mut Symbol {
    assert!(
        symbols.len() < symbols.capacity(),
        "symbols for all numbers are reserved"
    );
    symbols.push(Symbol {
        view: View::EMPTY,
        suite: Suite::new(common),
    });
    if let Some(beside) = beside {
        beside.appear(number);
    }
    places[number as usize] = symbols.len() as u32;
    symbols.last_mut().expect("just pushed")
}

impl Analytic for Suite {
    type Common = Common;

    fn new(common: &mut Common) -> Suite {
        (
            Vwap::new(&mut common.0),
            Spread::new(&mut common.1),
            Regime::new(&mut common.2),
            Momentum::new(&mut common.3),
            Rules::new(&mut common.4),
        )
    }

    #[inline]
    fn on_time(&mut self, common: &mut Common, now: Ts, view: &mut View, out: &mut Outbox) {
        self.0.on_time(&mut common.0, now, view, out);
        self.1.on_time(&mut common.1, now, view, out);
        self.2.on_time(&mut common.2, now, view, out);
        self.3.on_time(&mut common.3, now, view, out);
        self.4.on_time(&mut common.4, now, view, out);
    }

    #[inline]
    fn on_event(
        &mut self,
        common: &mut Common,
        moment: &Moment,
        view: &mut View,
        out: &mut Outbox,
        intents: &mut Intents,
    ) {
        self.0.on_event(&mut common.0, moment, view, out, intents);
        self.1.on_event(&mut common.1, moment, view, out, intents);
        self.2.on_event(&mut common.2, moment, view, out, intents);
        self.3.on_event(&mut common.3, moment, view, out, intents);
        self.4.on_event(&mut common.4, moment, view, out, intents);
    }

    #[inline]
    fn on_watermark(
        &mut self,
        common: &mut Common,
        watermark: Ts,
        view: &mut View,
        out: &mut Outbox,
    ) {
        self.0.on_watermark(&mut common.0, watermark, view, out);
        self.1.on_watermark(&mut common.1, watermark, view, out);
        self.2.on_watermark(&mut common.2, watermark, view, out);
        self.3.on_watermark(&mut common.3, watermark, view, out);
        self.4.on_watermark(&mut common.4, watermark, view, out);
    }

    #[inline]
    fn due(&self) -> Ts {
        self.0
            .due()
            .min(self.1.due())
            .min(self.2.due())
            .min(self.3.due())
            .min(self.4.due())
    }

    fn save(&self, common: &Common, out: &mut StateWriter<'_>) {
        self.0.save(&common.0, out);
        self.1.save(&common.1, out);
        self.2.save(&common.2, out);
        self.3.save(&common.3, out);
        self.4.save(&common.4, out);
    }

    fn load(common: &mut Common, from: &mut StateReader<'_>) -> Result<Suite, StateError> {
        Ok((
            Vwap::load(&mut common.0, from)?,
            Spread::load(&mut common.1, from)?,
            Regime::load(&mut common.2, from)?,
            Momentum::load(&mut common.3, from)?,
            Rules::load(&mut common.4, from)?,
        ))
    }
}
