//! Rules that are text: say when a condition has held for a while, and want an order when it does.
//!
//! ```text
//! condition  ──┐     ┌───────────────────┐
//!              │     │← hold →           │
//!              └─────┘        raised     cleared
//!                             order      (rests for `cooldown` after an order)
//! ```
//!
//! Conditions are asked when something happens to a symbol, and once more when a hold time ends; the
//! alert is timed by that end. A tick cannot ask for an order, so the order of a rule with a hold time
//! is made at the symbol's next event, if the condition still holds. Nor is one made while the symbol
//! does not trade or has no quote: it waits for that, as long as the condition holds.

use bus::signal::{Body, Spread as Alert, Tif};
use bus::state::{StateError, StateReader, StateWriter};
use bus::{Outbox, Price, Qty, Quote, Side, Signal, Ts};

use crate::expr::{Condition, Known};
use crate::intent::{Intent, Intents};
use crate::number::spread_bps;
use crate::scores::{ScoreConfig, Scores};
use crate::strategies::StrategyConfig;
use crate::suite::{Analytic, Moment};
use crate::view::View;

/// A condition, and what follows of it.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleConfig {
    /// For people.
    pub name: String,
    /// What must hold, and for how long.
    pub when: Condition,
    /// The order, if one is wanted.
    pub order: Option<RuleOrder>,
}

/// The order that a rule wants when its condition holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleOrder {
    /// Buy or sell.
    pub side: Side,
    /// Which price of the quote limits it.
    pub touch: Touch,
    /// Shares, or units.
    pub qty: Qty,
    /// No order of the rule and the symbol for so long after one.
    pub cooldown_ns: i64,
}

/// A side of the quote, as seen by an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    /// The price of the order's own side, at which it waits: the bid of who buys.
    Near,
    /// The price of the other side, at which it trades: the ask of who buys.
    Far,
}

impl Touch {
    /// The limit of an order on this side.
    pub(crate) fn price(self, side: Side, quote: &Quote) -> Price {
        match (side, self) {
            (Side::Buy, Touch::Far) | (Side::Sell | Side::None, Touch::Near) => quote.ask,
            (Side::Buy, Touch::Near) | (Side::Sell | Side::None, Touch::Far) => quote.bid,
        }
    }
}

impl RuleConfig {
    /// What is wrong with these rules, if anything.
    pub(crate) fn problem(rules: &[RuleConfig]) -> Option<String> {
        if rules.len() > Common::RULES_MAX {
            return Some(format!(
                "{} rules, want at most {}",
                rules.len(),
                Common::RULES_MAX
            ));
        }
        let is_bad = |order: &RuleOrder| {
            order.qty.0 <= 0 || order.cooldown_ns < 0 || order.side == Side::None
        };
        let bad = rules
            .iter()
            .find(|rule| rule.order.as_ref().is_some_and(is_bad))?;
        Some(format!(
            "rule {}: want a side, a quantity above 0 and a cooldown not below",
            bad.name
        ))
    }
}

/// What the symbols of a shard share: the rules and the memory for their states.
#[derive(Debug)]
pub struct Common {
    rules: Box<[RuleConfig]>,
    /// For each symbol the state of each rule. Reserved for all symbols, filled as they appear.
    states: Vec<State>,
    /// How many symbols appeared.
    symbol_count: usize,
    /// Models, which run in front of the rules; most runs have none.
    scores: Option<Box<Scores>>,
    /// Whether there is any rule or model.
    is_any: bool,
}

impl Common {
    /// At most so many rules, because all may want an order at one event, beside momentum and the
    /// strategies, which may want one on each side.
    pub const RULES_MAX: usize = Intents::COUNT_MAX - 1 - 2 * StrategyConfig::COUNT_MAX;

    /// Memory for up to `symbols_max` symbols; allocates once.
    pub fn new(rules: Vec<RuleConfig>, models: &[ScoreConfig], symbols_max: usize) -> Common {
        assert_eq!(RuleConfig::problem(&rules), None);
        let is_scored = !models.is_empty();
        Common {
            states: Vec::with_capacity(symbols_max * rules.len()),
            symbol_count: 0,
            scores: is_scored.then(|| Box::new(Scores::new(models, symbols_max))),
            is_any: is_scored || !rules.is_empty(),
            rules: rules.into(),
        }
    }

    /// What the states of a symbol take, in bytes.
    pub fn bytes_per_symbol(&self) -> usize {
        let scores = self.scores.as_ref();
        self.rules.len() * size_of::<State>() + scores.map_or(0, |scores| scores.bytes_per_symbol())
    }

    /// What models say of the symbol at this place, in their order.
    #[inline]
    pub(crate) fn scores(&self, place: usize) -> &[f64] {
        self.scores.as_ref().map_or(&[], |scores| scores.of(place))
    }

    /// What was said of the symbol at this place, which models may be asked about later.
    #[inline]
    pub(crate) fn hear(&mut self, place: usize, signals: &[Signal]) {
        if let Some(scores) = &mut self.scores {
            scores.hear(place, signals);
        }
    }

    /// What each model did.
    pub(crate) fn model_counts(&self) -> impl Iterator<Item = (&str, onnx_model::Counts)> {
        self.scores.iter().flat_map(|scores| scores.counts())
    }
}

/// What one rule knows of one symbol.
#[derive(Clone, Copy, Debug)]
struct State {
    /// When the hold time that runs ends; `MAX` while none runs.
    due: Ts,
    /// Since when the condition holds; while it is raised, since when it is.
    since: Ts,
    /// No order before this.
    rest_until: Ts,
    raised: bool,
    /// Raised, and what follows was not yet decided, or waits for a market.
    is_new: bool,
}

const _: () = assert!(size_of::<State>() == 32);

impl State {
    const NEW: State = State {
        due: Ts::MAX,
        since: Ts(0),
        rest_until: Ts::MIN,
        raised: false,
        is_new: false,
    };

    fn raise(&mut self, rule: u8, view: &View, out: &mut Outbox) {
        say(true, self.due, rule, self.since, view, out);
        *self = State {
            since: self.due,
            due: Ts::MAX,
            raised: true,
            is_new: true,
            ..*self
        };
    }
}

/// All rules in one symbol.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The end of the first hold time that runs.
    due: Ts,
    /// This symbol's place among those that appeared.
    place: usize,
}

/// The number of a rule in its signals and orders, by its place. The spread monitor and the momentum
/// strategy are number 0.
fn number(place: usize) -> u8 {
    place as u8 + 1
}

fn say(raised: bool, at: Ts, rule: u8, since: Ts, view: &View, out: &mut Outbox) {
    let Quote { bid, ask, .. } = view.quote;
    let bps = spread_bps(&view.quote);
    let alert = Alert {
        raised,
        bps,
        bid,
        ask,
        since,
    };
    out.say_at(at, rule, Body::Spread(alert));
}

impl Analytic for Rules {
    type Common = Common;

    fn new(common: &mut Common) -> Rules {
        let place = common.symbol_count;
        common.symbol_count += 1;
        let end = common.symbol_count * common.rules.len();
        debug_assert!(
            end <= common.states.capacity(),
            "states of all symbols are reserved"
        );
        common.states.resize(end, State::NEW);
        if let Some(scores) = &mut common.scores {
            scores.appear();
        }
        Rules {
            due: Ts::MAX,
            place,
        }
    }

    #[inline]
    fn on_time(&mut self, common: &mut Common, now: Ts, view: &mut View, out: &mut Outbox) {
        if self.due <= now {
            self.on_hold_end(common, now, view, out);
        }
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
        if common.is_any {
            self.ask(common, moment.event.ts_event, view, out, intents);
        }
    }

    #[inline]
    fn due(&self) -> Ts {
        self.due
    }

    fn save(&self, common: &Common, out: &mut StateWriter<'_>) {
        // Nothing where there are none, as it was before there could be any.
        let count = common.rules.len();
        for state in &common.states[self.place * count..][..count] {
            out.i64(state.due.0);
            out.i64(state.since.0);
            out.i64(state.rest_until.0);
            out.bool(state.raised);
            out.bool(state.is_new);
        }
        if let Some(scores) = &common.scores {
            scores.save(self.place, out);
        }
    }

    fn load(common: &mut Common, from: &mut StateReader<'_>) -> Result<Rules, StateError> {
        let mut rules = Rules::new(common);
        for state in &mut common.states[rules.place * common.rules.len()..] {
            *state = State {
                due: Ts(from.i64()?),
                since: Ts(from.i64()?),
                rest_until: Ts(from.i64()?),
                raised: from.bool()?,
                is_new: from.bool()?,
            };
            rules.due = rules.due.min(state.due);
        }
        if let Some(scores) = &mut common.scores {
            scores.load(rules.place, from)?;
        }
        Ok(rules)
    }
}

impl Rules {
    fn ask(
        &mut self,
        common: &mut Common,
        ts: Ts,
        view: &View,
        out: &mut Outbox,
        intents: &mut Intents,
    ) {
        if let Some(scores) = &mut common.scores {
            scores.on_event(self.place, ts, view);
        }
        let scores = match &common.scores {
            Some(scores) => scores.of(self.place),
            None => &[],
        };
        let known = Known { view, scores };
        let count = common.rules.len();
        let states = &mut common.states[self.place * count..][..count];
        self.due = Ts::MAX;
        for (place, (rule, state)) in common.rules.iter().zip(states).enumerate() {
            let number = number(place);
            match (rule.when.holds_of(&known), state.raised) {
                (true, false) if state.due == Ts::MAX => {
                    state.since = ts;
                    state.due = ts.plus_ns(rule.when.hold_ns());
                    if state.due == ts {
                        state.raise(number, view, out);
                    }
                }
                (false, true) => {
                    say(false, ts, number, state.since, view, out);
                    (state.raised, state.is_new) = (false, false);
                }
                (false, false) => state.due = Ts::MAX,
                (true, _) => {}
            }
            self.due = self.due.min(state.due);
            // Before the symbol trades and has a quote there is nothing to order at: it waits.
            if !(state.is_new && view.is_tradable()) {
                continue;
            }
            state.is_new = false;
            if let Some(order) = &rule.order
                && ts >= state.rest_until
            {
                state.rest_until = ts.plus_ns(order.cooldown_ns);
                intents.push(order.intent(number, view));
            }
        }
    }

    #[cold]
    fn on_hold_end(&mut self, common: &mut Common, now: Ts, view: &View, out: &mut Outbox) {
        let scores = match &common.scores {
            Some(scores) => scores.of(self.place),
            None => &[],
        };
        let known = Known { view, scores };
        let count = common.rules.len();
        let states = &mut common.states[self.place * count..][..count];
        self.due = Ts::MAX;
        for (place, (rule, state)) in common.rules.iter().zip(states).enumerate() {
            if state.due <= now {
                // Messages may have been lost, or the regime changed, without an event of its own.
                match rule.when.holds_of(&known) {
                    true => state.raise(number(place), view, out),
                    false => state.due = Ts::MAX,
                }
            }
            self.due = self.due.min(state.due);
        }
    }
}

impl RuleOrder {
    fn intent(&self, rule: u8, view: &View) -> Intent {
        let quote = &view.quote;
        Intent {
            rule,
            side: self.side,
            price: self.touch.price(self.side, quote),
            qty: self.qty,
            quote: *quote,
            last: view.last_price,
            tif: Tif::Day,
            is_leg: false,
        }
    }
}
