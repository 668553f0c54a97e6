//! Strategies that the configuration declares: each is one file, and one line of [`StrategyKind`].
//!
//! ```text
//!           enter                    leave
//! resting ─────────► order, in ───────────────► resting
//!    ▲               at most once               (no order before `cooldown` is over)
//!    └──────────────────────────────────────────┘
//! ```
//!
//! A pair is of two symbols, and has its own state (`pairs`).
//!
//! Another strategy looks at the view of one symbol and says on which side it wants to be; what follows of
//! that is the same for all: one order each time it comes in, none while the symbol does not trade or has
//! no sound quote, none within `cooldown`. One that quotes both sides (`spread_capture`) hears what becomes of its
//! orders instead, and has no side to be on.

mod pairs;
mod queue_imbalance;
mod score;
mod spread_capture;
mod vwap_reversion;

use bus::signal::{Report, Tif};
use bus::state::{StateError, StateReader, StateWriter};
use bus::{Qty, Side, Ts};

use crate::expr::Known;
use crate::intent::{Intent, Intents};
use crate::rule::Touch;
use crate::view::View;

use pairs::Pair;

pub use pairs::Pairs;
pub use queue_imbalance::QueueImbalance;
pub use score::Score;
use spread_capture::Maker;
pub use spread_capture::SpreadCapture;
pub use vwap_reversion::VwapReversion;

/// What a strategy thinks of a symbol's view, which has a tradable quote.
pub trait Strategy {
    /// What it wants now.
    fn look(&self, view: &View) -> Look;

    /// What is wrong with its settings, if anything.
    fn problem(&self) -> Option<String>;
}

/// What a strategy wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// To be in on this side.
    Enter(Side),
    /// To be out.
    Leave,
    /// What it wanted before.
    Stay,
}

/// The strategies there are.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum StrategyKind {
    Pairs(Pairs),
    QueueImbalance(QueueImbalance),
    VwapReversion(VwapReversion),
    SpreadCapture(SpreadCapture),
    Score(Score),
}

impl StrategyKind {
    #[inline]
    fn look(&self, known: &Known<'_>) -> Look {
        let view = known.view;
        match self {
            // Looks at two.
            StrategyKind::Pairs(_) => Look::Stay,
            StrategyKind::QueueImbalance(strategy) => strategy.look(view),
            StrategyKind::VwapReversion(strategy) => strategy.look(view),
            StrategyKind::SpreadCapture(_) => Look::Stay,
            StrategyKind::Score(strategy) => strategy.look(known.scores),
        }
    }

    fn problem(&self) -> Option<String> {
        match self {
            StrategyKind::Pairs(pairs) => pairs.problem(),
            StrategyKind::QueueImbalance(strategy) => strategy.problem(),
            StrategyKind::VwapReversion(strategy) => strategy.problem(),
            StrategyKind::SpreadCapture(strategy) => strategy.problem(),
            StrategyKind::Score(strategy) => strategy.problem(),
        }
    }
}

/// A strategy, and the orders that it wants.
#[derive(Clone, Debug, PartialEq)]
pub struct StrategyConfig {
    /// For people.
    pub name: String,
    /// Which it is.
    pub kind: StrategyKind,
    /// Which price of the quote limits its orders.
    pub touch: Touch,
    /// Shares, or units.
    pub qty: Qty,
    /// No order in the symbol for so long after one.
    pub cooldown_ns: i64,
}

impl StrategyConfig {
    /// At most so many, because all may want an order at one event, beside rules and momentum.
    pub const COUNT_MAX: usize = 3;

    /// What is wrong with these strategies, if anything.
    pub(crate) fn problem(all: &[StrategyConfig]) -> Option<String> {
        if all.len() > Self::COUNT_MAX {
            let count = all.len();
            return Some(format!(
                "{count} strategies, want at most {}",
                Self::COUNT_MAX
            ));
        }
        all.iter().find_map(|strategy| {
            let what = match strategy.kind.problem() {
                None if strategy.qty.0 > 0 && strategy.cooldown_ns >= 0 => return None,
                None => "want a quantity above 0 and a cooldown not below".into(),
                Some(what) => what,
            };
            Some(format!("strategy {}: {what}", strategy.name))
        })
    }
}

/// What one strategy knows of one symbol.
#[derive(Clone, Copy, Debug)]
struct State {
    /// No order before this.
    rest_until: Ts,
    /// On which side it is in; none while it rests.
    side: Side,
}

impl State {
    const NEW: State = State {
        rest_until: Ts::MIN,
        side: Side::None,
    };
}

/// The strategies of all symbols, in the order in which these appeared.
#[derive(Debug)]
pub(crate) struct Strategies {
    configs: Box<[StrategyConfig]>,
    /// The number of the first in its orders.
    rule_first: u8,
    /// For each symbol one of each strategy.
    states: Vec<State>,
    /// The same, where any strategy quotes; else none.
    makers: Vec<Maker>,
    quotes: bool,
    /// Those of two symbols, and their places among the strategies.
    pairs: Vec<(usize, Pair)>,
    /// What they want of a symbol that is not the event's.
    away: Vec<(u32, Intent)>,
}

impl Strategies {
    /// Memory for all symbols, reserved. The first has the number `rule_first` in orders.
    pub(crate) fn new(
        configs: &[StrategyConfig],
        rule_first: usize,
        symbol_count: usize,
    ) -> Strategies {
        assert_eq!(StrategyConfig::problem(configs), None);
        let is_maker =
            |config: &StrategyConfig| matches!(config.kind, StrategyKind::SpreadCapture(_));
        let quotes = configs.iter().any(is_maker);
        Strategies {
            configs: configs.into(),
            rule_first: rule_first as u8,
            states: Vec::with_capacity(symbol_count * configs.len()),
            makers: Vec::with_capacity(if quotes {
                symbol_count * configs.len()
            } else {
                0
            }),
            quotes,
            pairs: (configs.iter().enumerate())
                .filter_map(|(index, config)| match config.kind {
                    StrategyKind::Pairs(settings) => Some((index, Pair::new(settings))),
                    StrategyKind::QueueImbalance(_)
                    | StrategyKind::VwapReversion(_)
                    | StrategyKind::SpreadCapture(_)
                    | StrategyKind::Score(_) => None,
                })
                .collect(),
            away: Vec::with_capacity(configs.len()),
        }
    }

    /// The name of a symbol of a group is said.
    #[cold]
    pub(crate) fn on_member(&mut self, symbol: u32, name: [u8; 8]) {
        for (_, pair) in &mut self.pairs {
            pair.on_member(symbol, name);
        }
    }

    /// Messages of all symbols are lost.
    #[cold]
    pub(crate) fn on_gap(&mut self) {
        for (_, pair) in &mut self.pairs {
            pair.on_gap();
        }
    }

    /// Takes out what is wanted of a symbol that is not the event's: all of one such symbol.
    #[cold]
    pub(crate) fn take_away(&mut self, intents: &mut Intents) -> Option<u32> {
        let (symbol, _) = *self.away.first()?;
        self.away.retain(|(other, intent)| {
            if *other == symbol {
                intents.push(*intent);
            }
            *other != symbol
        });
        Some(symbol)
    }

    /// What a strategy wants of a symbol that is not the event's, beside its order in that one.
    #[cold]
    pub(crate) fn away(&self, rule: u8) -> Option<(u32, Intent)> {
        self.away
            .iter()
            .find(|(_, intent)| intent.rule == rule)
            .copied()
    }

    /// Neither order of this strategy leaves.
    #[cold]
    pub(crate) fn on_refused(&mut self, rule: u8) {
        let index = usize::from(rule.wrapping_sub(self.rule_first));
        for (_, pair) in self.pairs.iter_mut().filter(|(own, _)| *own == index) {
            pair.on_refused();
        }
    }

    /// Whether anything of that is left.
    pub(crate) fn is_away(&self) -> bool {
        !self.away.is_empty()
    }

    /// Saves what is of two symbols.
    pub(crate) fn save_pairs(&self, out: &mut StateWriter<'_>) {
        for (_, pair) in &self.pairs {
            pair.save(out);
        }
    }

    /// Loads that, as far as it is of a symbol to keep.
    pub(crate) fn load_pairs(
        &mut self,
        from: &mut StateReader<'_>,
        keep: &impl Fn(u32) -> bool,
    ) -> Result<(), StateError> {
        let mut pairs = self.pairs.iter_mut();
        pairs.try_for_each(|(_, pair)| pair.load(from, keep))
    }

    /// What a symbol takes once it has appeared, in bytes.
    pub(crate) fn bytes_per_symbol(&self) -> usize {
        let maker_bytes = if self.quotes { size_of::<Maker>() } else { 0 };
        self.configs.len() * (size_of::<State>() + maker_bytes)
    }

    /// One more symbol, at the next place.
    pub(crate) fn appear(&mut self) {
        let count = self.states.len() + self.configs.len();
        debug_assert!(count <= self.states.capacity(), "reserved for all symbols");
        self.states.resize(count, State::NEW);
        if self.quotes {
            self.makers.resize(count, Maker::NEW);
        }
    }

    /// Something happened to the symbol at this place.
    #[inline]
    pub(crate) fn on_event(
        &mut self,
        place: usize,
        symbol: u32,
        ts: Ts,
        known: &Known<'_>,
        intents: &mut Intents,
    ) {
        let view = known.view;
        for (index, pair) in &mut self.pairs {
            let rule = self.rule_first + *index as u8;
            let wants = pair.on_event(&self.configs[*index], rule, symbol, ts, view);
            if let Some((own, away)) = wants {
                intents.push(own);
                self.away.push(away);
            }
        }
        if !view.is_tradable() {
            return;
        }
        let count = self.configs.len();
        let states = &mut self.states[place * count..][..count];
        for ((config, state), rule) in self.configs.iter().zip(states).zip(self.rule_first..) {
            match config.kind.look(known) {
                Look::Leave => state.side = Side::None,
                Look::Enter(side) if side != state.side && ts >= state.rest_until => {
                    state.side = side;
                    state.rest_until = ts.plus_ns(config.cooldown_ns);
                    intents.push(config.intent(rule, side, view));
                }
                Look::Enter(_) | Look::Stay => {}
            }
        }
        if self.quotes {
            self.quote(place, ts, view, intents);
        }
    }

    /// Lets those quote that do.
    #[inline(never)]
    fn quote(&mut self, place: usize, ts: Ts, view: &View, intents: &mut Intents) {
        let count = self.configs.len();
        let makers = &mut self.makers[place * count..][..count];
        for ((config, maker), rule) in self.configs.iter().zip(makers).zip(self.rule_first..) {
            if let StrategyKind::SpreadCapture(kind) = &config.kind {
                let template = config.intent(rule, Side::None, view);
                maker.on_event(kind, config.cooldown_ns, ts, view, template, intents);
            }
        }
    }

    /// A venue said something of an order of one of them.
    #[cold]
    pub(crate) fn on_report(&mut self, place: usize, rule: u8, report: &Report) {
        let count = self.configs.len();
        let index = usize::from(rule).wrapping_sub(self.rule_first.into());
        if self.quotes && index < count {
            self.makers[place * count + index].on_report(report);
        }
    }

    /// Saves what is known of the symbol at this place.
    pub(crate) fn save(&self, place: usize, out: &mut StateWriter<'_>) {
        for state in &self.states[place * self.configs.len()..][..self.configs.len()] {
            out.i64(state.rest_until.0);
            out.u8(state.side as u8);
        }
        if self.quotes {
            for maker in &self.makers[place * self.configs.len()..][..self.configs.len()] {
                maker.save(out);
            }
        }
    }

    /// Loads what was known of a symbol, at the next place.
    pub(crate) fn load(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        for _ in 0..self.configs.len() {
            let rest_until = Ts(from.i64()?);
            let side = side(from)?;
            self.states.push(State { rest_until, side });
        }
        if self.quotes {
            for _ in 0..self.configs.len() {
                self.makers.push(Maker::load(from)?);
            }
        }
        Ok(())
    }
}

fn side(from: &mut StateReader<'_>) -> Result<Side, StateError> {
    match from.u8()? {
        0 => Ok(Side::None),
        1 => Ok(Side::Buy),
        2 => Ok(Side::Sell),
        other => Err(from.error(format_args!("a side, found {other}"))),
    }
}

impl StrategyConfig {
    fn intent(&self, rule: u8, side: Side, view: &View) -> Intent {
        let quote = &view.quote;
        Intent {
            rule,
            side,
            price: self.touch.price(side, quote),
            qty: self.qty,
            quote: *quote,
            last: view.last_price,
            tif: Tif::Day,
            is_leg: false,
        }
    }
}
