//! What the configuration declares beside the plain suite: windows, regimes, monitors, patterns, strategies, joins, instruments and features. As a whole for a
//! shard, and not in each symbol's state, so that a run without any pays one branch.

use bus::signal::Report;
use bus::state::{StateError, StateReader, StateWriter};
use bus::{Applied, Event, Outbox, Ts};

use crate::expr::Known;
use crate::features::Features;
use crate::instruments::Instruments;
use crate::intent::{Intent, Intents};
use crate::joins::{JoinCounts, Joins};
use crate::monitors::Monitors;
use crate::patterns::Patterns;
use crate::regimes::Regimes;
use crate::strategies::Strategies;
use crate::suite::{Moment, SuiteConfig};
use crate::view::View;
use crate::windows::Windows;

/// See the module. Symbols have the places that the suite gives them.
#[derive(Debug)]
pub(crate) struct Beside {
    windows: Option<Windows>,
    regimes: Option<Regimes>,
    monitors: Option<Monitors>,
    patterns: Option<Patterns>,
    strategies: Option<Strategies>,
    joins: Option<Joins>,
    instruments: Option<Instruments>,
    /// Behind the others, to hear what they say.
    features: Option<Features>,
}

impl Beside {
    /// Memory for all symbols, reserved; `None` where nothing is declared.
    pub(crate) fn new(config: &SuiteConfig, symbol_count: usize) -> Option<Box<Beside>> {
        let windows = (!config.declared.is_empty()).then(|| {
            let (rule, ahead_ns) = (config.windows.len(), config.ahead_ns);
            let (declared, origin) = (&config.declared, config.origin);
            Windows::new(declared, rule, origin, ahead_ns, symbol_count)
        });
        let regimes =
            (!config.regimes.is_empty()).then(|| Regimes::new(&config.regimes, symbol_count));
        let monitors = (!config.monitors.is_empty()).then(|| {
            let rule = 1 + config.rules.len();
            Monitors::new(&config.monitors, rule, symbol_count)
        });
        let patterns = (!config.patterns.is_empty()).then(|| {
            let rule = 1 + config.rules.len() + config.monitors.len();
            Patterns::new(&config.patterns, rule, symbol_count)
        });
        let features =
            (!config.features.is_empty()).then(|| Features::new(&config.features, symbol_count));
        let strategies = (!config.strategies.is_empty()).then(|| {
            let rule = 1 + config.rules.len();
            Strategies::new(&config.strategies, rule, symbol_count)
        });
        let joins = (!config.joins.is_empty()).then(|| Joins::new(&config.joins, symbol_count));
        let says = windows.is_some() || regimes.is_some() || monitors.is_some();
        let is_any = says || patterns.is_some() || strategies.is_some() || features.is_some();
        let instruments = (!config.instruments.is_empty()).then(|| {
            let alert = 1 + config.rules.len() + config.monitors.len() + config.patterns.len();
            Instruments::new(&config.instruments, alert, symbol_count)
        });
        // Models are the rules' own, but what is said is heard of where there is anything beside.
        let is_any = is_any || joins.is_some() || instruments.is_some();
        let is_any = is_any || !config.scores.is_empty();
        is_any.then(|| {
            Box::new(Beside {
                windows,
                regimes,
                monitors,
                patterns,
                strategies,
                joins,
                instruments,
                features,
            })
        })
    }

    /// What a symbol takes once it has appeared.
    pub(crate) fn bytes_per_symbol(&self) -> usize {
        let (windows, regimes) = (self.windows.as_ref(), self.regimes.as_ref());
        windows.map_or(0, Windows::bytes_per_symbol)
            + regimes.map_or(0, Regimes::bytes_per_symbol)
            + (self.monitors.as_ref()).map_or(0, Monitors::bytes_per_symbol)
            + (self.patterns.as_ref()).map_or(0, Patterns::bytes_per_symbol)
            + (self.strategies.as_ref()).map_or(0, Strategies::bytes_per_symbol)
            + (self.joins.as_ref()).map_or(0, Joins::bytes_per_symbol)
            + (self.instruments.as_ref()).map_or(0, Instruments::bytes_per_symbol)
            + (self.features.as_ref()).map_or(0, Features::bytes_per_symbol)
    }

    /// One more symbol, of this number, at the next place.
    pub(crate) fn appear(&mut self, number: u32) {
        if let Some(windows) = &mut self.windows {
            windows.appear();
        }
        if let Some(regimes) = &mut self.regimes {
            regimes.appear();
        }
        if let Some(monitors) = &mut self.monitors {
            monitors.appear();
        }
        if let Some(patterns) = &mut self.patterns {
            patterns.appear();
        }
        if let Some(strategies) = &mut self.strategies {
            strategies.appear();
        }
        if let Some(joins) = &mut self.joins {
            joins.appear(number);
        }
        if let Some(instruments) = &mut self.instruments {
            instruments.appear(number);
        }
        if let Some(features) = &mut self.features {
            features.appear();
        }
    }

    /// The feed says what a symbol is called, and its round lot.
    #[cold]
    pub(crate) fn on_symbol(&mut self, number: u32, letters: [u8; 8], lot: i64) {
        if let Some(windows) = &mut self.windows {
            windows.on_symbol(number, letters, lot);
        }
    }

    /// What a venue said of an order of the symbol at this place.
    #[cold]
    pub(crate) fn on_report(&mut self, place: usize, rule: u8, report: &Report) {
        if let Some(strategies) = &mut self.strategies {
            strategies.on_report(place, rule, report);
        }
    }

    /// When the symbol at this place has something to do.
    #[inline]
    pub(crate) fn due(&self, place: usize) -> Ts {
        let windows = self.windows.as_ref().map(|windows| windows.due(place));
        let regimes = self.regimes.as_ref().map(|regimes| regimes.due(place));
        let monitors = self.monitors.as_ref().map(|monitors| monitors.due(place));
        let patterns = self.patterns.as_ref().map(|patterns| patterns.due(place));
        let joins = self.joins.as_ref().map(|joins| joins.due(place));
        let instruments = (self.instruments.as_ref()).map(|instruments| instruments.due(place));
        let all = [windows, regimes, monitors, patterns, joins, instruments];
        all.into_iter().flatten().min().unwrap_or(Ts::MAX)
    }

    /// Whether events are to be looked at of which the rest concludes nothing.
    pub(crate) fn watches(&self) -> bool {
        self.patterns.is_some()
    }

    /// How many partial matches of patterns were one too many.
    pub(crate) fn dropped_matches(&self) -> u64 {
        self.patterns.as_ref().map_or(0, Patterns::dropped)
    }

    /// What joins counted.
    pub(crate) fn join_counts(&self) -> JoinCounts {
        self.joins
            .as_ref()
            .map_or_else(JoinCounts::default, Joins::counts)
    }

    /// An event of the symbol at this place, whatever it did, with the view before it.
    #[allow(clippy::too_many_arguments)] // The suite's call, in one place.
    pub(crate) fn watch(
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
        if let Some(patterns) = &mut self.patterns {
            patterns.on_event(
                place, event, applied, stale, is_judged, watermark, view, out,
            );
        }
    }

    /// What happened to the symbol at this place, after all else was concluded from it.
    #[inline]
    pub(crate) fn on_event(
        &mut self,
        place: usize,
        moment: &Moment<'_>,
        known: &Known<'_>,
        out: &mut Outbox,
        intents: &mut Intents,
    ) {
        let view = known.view;
        if let Some(windows) = &mut self.windows {
            windows.on_event(place, moment, view, out);
        }
        if let Some(regimes) = &mut self.regimes {
            regimes.on_event(place, moment.event.ts_event, view, out);
        }
        if let Some(monitors) = &mut self.monitors {
            monitors.on_event(place, moment, view, out);
        }
        if let Some(strategies) = &mut self.strategies {
            let (symbol, ts) = (moment.event.symbol, moment.event.ts_event);
            strategies.on_event(place, symbol, ts, known, intents);
        }
        if let Some(joins) = &mut self.joins {
            joins.on_event(moment, view, out);
        }
        if let Some(instruments) = &mut self.instruments {
            instruments.on_event(moment, view, out);
        }
        if let Some(features) = &mut self.features {
            features.hear(place, out.signals());
            features.say(place, known, out, intents);
        }
    }

    /// Messages are lost: what the quote of the symbol at this place is, is not known.
    #[cold]
    pub(crate) fn on_gap(&mut self, place: usize, number: u32, watermark: Ts) {
        if let Some(windows) = &mut self.windows {
            windows.on_gap(place, number, watermark);
        }
        if let Some(regimes) = &mut self.regimes {
            regimes.on_gap(place);
        }
        if let Some(monitors) = &mut self.monitors {
            monitors.on_gap(place, watermark);
        }
        if let Some(patterns) = &mut self.patterns {
            patterns.on_gap(place);
        }
        if let Some(strategies) = &mut self.strategies {
            strategies.on_gap();
        }
        if let Some(joins) = &mut self.joins {
            joins.on_gap(number, watermark);
        }
        if let Some(instruments) = &mut self.instruments {
            instruments.on_gap(number, watermark);
        }
    }

    /// The name of a symbol of a group is said.
    #[cold]
    pub(crate) fn on_member(&mut self, symbol: u32, name: [u8; 8], decimals: u8) {
        if let Some(strategies) = &mut self.strategies {
            strategies.on_member(symbol, name);
        }
        if let Some(joins) = &mut self.joins {
            joins.on_member(symbol, name);
        }
        if let Some(instruments) = &mut self.instruments {
            instruments.on_member(symbol, name, decimals);
        }
    }

    /// Whether something is wanted of a symbol that is not the event's.
    pub(crate) fn is_away(&self) -> bool {
        (self.strategies.as_ref()).is_some_and(Strategies::is_away)
    }

    /// Takes that out, all of one such symbol.
    pub(crate) fn take_away(&mut self, intents: &mut Intents) -> Option<u32> {
        self.strategies.as_mut()?.take_away(intents)
    }

    /// What a strategy wants of another symbol, beside its order in the event's.
    pub(crate) fn away(&self, rule: u8) -> Option<(u32, Intent)> {
        self.strategies.as_ref()?.away(rule)
    }

    /// Neither of both orders leaves.
    pub(crate) fn on_refused(&mut self, rule: u8) {
        if let Some(strategies) = &mut self.strategies {
            strategies.on_refused(rule);
        }
    }

    /// Says what the decisions on the symbol at this place saw.
    pub(crate) fn say_features(
        &self,
        place: usize,
        known: &Known<'_>,
        out: &mut Outbox,
        intents: &Intents,
    ) {
        if let Some(features) = &self.features {
            features.say(place, known, out, intents);
        }
    }

    /// Saves what is of several symbols.
    pub(crate) fn save_joint(&self, out: &mut StateWriter<'_>) {
        if let Some(strategies) = &self.strategies {
            strategies.save_pairs(out);
        }
        if let Some(joins) = &self.joins {
            joins.save(out);
        }
        if let Some(instruments) = &self.instruments {
            instruments.save(out);
        }
    }

    /// Loads that, as far as it is of a symbol to keep.
    pub(crate) fn load_joint(
        &mut self,
        from: &mut StateReader<'_>,
        keep: &impl Fn(u32) -> bool,
    ) -> Result<(), StateError> {
        if let Some(strategies) = &mut self.strategies {
            strategies.load_pairs(from, keep)?;
        }
        if let Some(joins) = &mut self.joins {
            joins.load(from, keep)?;
        }
        match &mut self.instruments {
            Some(instruments) => instruments.load(from, keep),
            None => Ok(()),
        }
    }

    /// Time has come to `watermark`. At the end of the input that is `MAX`, so that what is open closes,
    /// and `until` is how far time came; else both are the same.
    pub(crate) fn on_watermark(
        &mut self,
        place: usize,
        number: u32,
        watermark: Ts,
        until: Ts,
        view: &View,
        out: &mut Outbox,
    ) {
        if let Some(windows) = &mut self.windows {
            windows.on_watermark(place, number, watermark, until, out);
        }
        if let Some(regimes) = &mut self.regimes {
            regimes.on_time(place, until, out);
        }
        if let Some(monitors) = &mut self.monitors {
            monitors.on_time(place, until, out);
        }
        if let Some(patterns) = &mut self.patterns {
            patterns.on_time(place, until, view, out);
        }
        if let Some(features) = &mut self.features {
            features.hear(place, out.signals());
        }
        if let Some(joins) = &mut self.joins {
            joins.on_watermark(place, watermark, out);
        }
        if let Some(instruments) = &mut self.instruments {
            instruments.on_watermark(place, until, out);
        }
    }

    /// Another symbol whose visits are due by what happened to this one, and when.
    #[inline]
    pub(crate) fn seat(&self, symbol: u32) -> Option<(u32, Ts)> {
        self.instruments.as_ref()?.seat(symbol)
    }

    /// Whether the symbol at this place has more to say at the end of the input than what it said.
    pub(crate) fn has_more(&self, place: usize) -> bool {
        (self.joins.as_ref()).is_some_and(|joins| joins.has_more(place))
    }

    /// Says more of that.
    pub(crate) fn say_more(&mut self, place: usize, out: &mut Outbox) {
        if let Some(joins) = &mut self.joins {
            joins.on_watermark(place, Ts::MAX, out);
        }
    }

    /// Saves what the feed said of a symbol.
    pub(crate) fn save_named(&self, number: u32, out: &mut StateWriter<'_>) {
        if let Some(windows) = &self.windows {
            windows.save_named(number, out);
        }
    }

    /// Loads that.
    pub(crate) fn load_named(
        &mut self,
        number: u32,
        from: &mut StateReader<'_>,
    ) -> Result<(), StateError> {
        match &mut self.windows {
            Some(windows) => windows.load_named(number, from),
            None => Ok(()),
        }
    }

    /// Saves what is known of the symbol at this place.
    pub(crate) fn save(&self, place: usize, out: &mut StateWriter<'_>) {
        if let Some(windows) = &self.windows {
            windows.save(place, out);
        }
        if let Some(regimes) = &self.regimes {
            regimes.save(place, out);
        }
        if let Some(monitors) = &self.monitors {
            monitors.save(place, out);
        }
        if let Some(patterns) = &self.patterns {
            patterns.save(place, out);
        }
        if let Some(strategies) = &self.strategies {
            strategies.save(place, out);
        }
        if let Some(features) = &self.features {
            features.save(place, out);
        }
    }

    /// Loads what was known of a symbol of this number, at the next place.
    pub(crate) fn load(
        &mut self,
        number: u32,
        from: &mut StateReader<'_>,
    ) -> Result<(), StateError> {
        if let Some(windows) = &mut self.windows {
            windows.load(from)?;
        }
        if let Some(regimes) = &mut self.regimes {
            regimes.load(from)?;
        }
        if let Some(monitors) = &mut self.monitors {
            monitors.load(from)?;
        }
        if let Some(patterns) = &mut self.patterns {
            patterns.load(from)?;
        }
        if let Some(strategies) = &mut self.strategies {
            strategies.load(from)?;
        }
        if let Some(joins) = &mut self.joins {
            joins.appear(number);
        }
        if let Some(instruments) = &mut self.instruments {
            instruments.appear(number);
        }
        if let Some(features) = &mut self.features {
            features.load(from)?;
        }
        Ok(())
    }
}
