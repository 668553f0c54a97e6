//! Monitors of what the market costs and of books that cannot be traded on, as the configuration
//! declares them. `analytics/MONITORS.md` has formulas and parameters.
//!
//! ```text
//! condition ───┐            ┌───────┐        ┌──
//!              └────────────┘       └────────┘
//!                │← hold →│         │← rearm →│← hold →│
//!                       raised   cleared (after clear_hold)   raised
//! ```
//!
//! An alert is timed by event time: the moment at which its hold time ended. A condition that cannot be
//! judged (no measurable quote for a spread) drops a hold time that runs, and leaves an alert that stands.

use bus::signal::{Body, Spread as Alert};
use bus::state::{StateError, StateReader, StateWriter};
use bus::{Outbox, Phase, Price, Quote, Side, Ts};

use crate::number::{Bps, double_mid, double_spread, excess, spread_bps};
use crate::suite::Moment;
use crate::view::View;

/// What to look at, and when to say so.
#[derive(Clone, Debug, PartialEq)]
pub struct MonitorConfig {
    /// For people.
    pub name: String,
    /// What to look at.
    pub watch: Watch,
    /// Of spreads: raise when it is at least this ...
    pub threshold: Limit,
    /// ... or the condition holds, for this long.
    pub hold_ns: i64,
    /// Clear when the spread is at most this ...
    pub clear: Limit,
    /// ... or the condition does not hold, for this long.
    pub clear_hold_ns: i64,
    /// After an alert is cleared, no hold time begins for this long.
    pub rearm_ns: i64,
}

/// What can be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// Ask less bid.
    Quoted,
    /// Twice what the last trade paid beyond the mid that stood before its time.
    Effective,
    /// The same beyond the mid that stands so long after the trade.
    Realised {
        /// How long.
        horizon_ns: i64,
    },
    /// The bid is above the ask.
    Crossed,
    /// The bid is the ask.
    Locked,
    /// Only one side is there.
    OneSided,
    /// Messages were lost.
    Stale,
}

/// A limit of a spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Of the mid price.
    Share(Bps),
    /// A difference of prices.
    Price(Price),
}

impl Limit {
    /// How twice a spread compares to it, by twice the mid: negative, zero or positive.
    fn excess(self, double_spread: i64, double_mid: i64) -> i128 {
        match self {
            Limit::Share(bps) => excess(double_spread, double_mid, bps),
            Limit::Price(price) => i128::from(double_spread) - 2 * i128::from(price.0),
        }
    }

    fn is_above(self, other: Limit) -> bool {
        match (self, other) {
            (Limit::Share(a), Limit::Share(b)) => a > b,
            (Limit::Price(a), Limit::Price(b)) => a > b,
            _ => true,
        }
    }
}

impl MonitorConfig {
    /// What is wrong with these, if anything.
    pub(crate) fn problem(all: &[MonitorConfig]) -> Option<String> {
        if all.len() > Monitors::COUNT_MAX {
            let (count, max) = (all.len(), Monitors::COUNT_MAX);
            return Some(format!("{count} monitors, want at most {max}"));
        }
        all.iter().find_map(|config| {
            let what = config.wrong()?;
            Some(format!("monitors.{}: {what}", config.name))
        })
    }

    fn wrong(&self) -> Option<&'static str> {
        if self.hold_ns < 0 || self.clear_hold_ns < 0 || self.rearm_ns < 0 {
            return Some("hold, clear_hold and rearm must not be below 0");
        }
        if self.clear.is_above(self.threshold) {
            return Some("clear must not be above threshold, and of the same unit");
        }
        match self.watch {
            Watch::Realised { horizon_ns } if horizon_ns <= 0 => Some("horizon must be above 0"),
            _ => None,
        }
    }
}

/// What is known of a symbol, for all of its monitors.
#[derive(Clone, Copy, Debug)]
struct Symbol {
    quote: Quote,
    /// Whether it trades, as far as is known.
    is_on: bool,
    stale: bool,
    /// Twice the mid now, and before the time of the latest event; 0 where it cannot be measured.
    mid: i64,
    mid_before: i64,
    ts: Ts,
    due: Ts,
}

const _: () = assert!(size_of::<Symbol>() == 72);

impl Symbol {
    const NEW: Symbol = Symbol {
        quote: Quote::EMPTY,
        is_on: true,
        stale: false,
        mid: 0,
        mid_before: 0,
        ts: Ts::MIN,
        due: Ts::MAX,
    };
}

/// What one monitor knows of one symbol.
#[derive(Clone, Copy, Debug)]
struct State {
    /// When the hold time that runs ends; `MAX` while none runs.
    due: Ts,
    /// Since when it runs; while it is raised and none runs, since when it is.
    since: Ts,
    raised_at: Ts,
    rest_until: Ts,
    raised: bool,
    /// Of trades: twice the latest one's spread, and twice the mid to measure it by; 0 for none.
    spread: i64,
    mid: i64,
    /// Trades whose horizon is still to come: a ring.
    first: u8,
    count: u8,
}

const _: () = assert!(size_of::<State>() == 56);

impl State {
    const NEW: State = State {
        due: Ts::MAX,
        since: Ts(0),
        raised_at: Ts(0),
        rest_until: Ts::MIN,
        raised: false,
        spread: 0,
        mid: 0,
        first: 0,
        count: 0,
    };
}

/// A trade whose horizon is still to come.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    due: Ts,
    /// Twice its price, negative for what a seller took.
    signed: i64,
    mid: i64,
}

const _: () = assert!(size_of::<Waiting>() * WAITING_MAX == 1_536);

/// So many trades of a symbol wait for one monitor; those beyond are not measured.
const WAITING_MAX: usize = 64;

/// The monitors of all symbols of one shard.
#[derive(Debug)]
pub(crate) struct Monitors {
    configs: Vec<MonitorConfig>,
    /// The `rule` of the first one.
    rule_first: u8,
    /// By the symbols' places.
    symbols: Vec<Symbol>,
    states: Vec<State>,
    /// Only for monitors with a horizon; each has the same room.
    waiting: Vec<Waiting>,
    waits: usize,
}

impl Monitors {
    /// At most so many.
    pub(crate) const COUNT_MAX: usize = 32;

    /// Memory for all symbols, reserved.
    pub(crate) fn new(
        configs: &[MonitorConfig],
        rule_first: usize,
        symbol_count: usize,
    ) -> Monitors {
        let has_horizon = |config: &&MonitorConfig| matches!(config.watch, Watch::Realised { .. });
        let waits = configs.iter().filter(has_horizon).count() * WAITING_MAX;
        Monitors {
            rule_first: rule_first as u8,
            symbols: Vec::with_capacity(symbol_count),
            states: Vec::with_capacity(symbol_count * configs.len()),
            waiting: Vec::with_capacity(symbol_count * waits),
            waits,
            configs: configs.to_vec(),
        }
    }

    /// What a symbol takes once it has appeared.
    pub(crate) fn bytes_per_symbol(&self) -> usize {
        size_of::<Symbol>()
            + self.configs.len() * size_of::<State>()
            + self.waits * size_of::<Waiting>()
    }

    /// One more symbol, at the next place.
    pub(crate) fn appear(&mut self) {
        self.symbols.push(Symbol::NEW);
        let count = self.symbols.len();
        self.states.resize(count * self.configs.len(), State::NEW);
        let none = Waiting {
            due: Ts::MAX,
            signed: 0,
            mid: 0,
        };
        self.waiting.resize(count * self.waits, none);
    }

    /// When the symbol at this place has something to do.
    #[inline]
    pub(crate) fn due(&self, place: usize) -> Ts {
        self.symbols[place].due
    }

    /// What happened to the symbol at this place.
    pub(crate) fn on_event(
        &mut self,
        place: usize,
        moment: &Moment<'_>,
        view: &View,
        out: &mut Outbox,
    ) {
        let ts = moment.event.ts_event;
        if self.symbols[place].due <= ts {
            self.on_time(place, ts, out);
        }
        let symbol = &mut self.symbols[place];
        if ts > symbol.ts {
            (symbol.mid_before, symbol.ts) = (symbol.mid, ts);
        }
        symbol.quote = view.quote;
        symbol.is_on = matches!(view.phase, Phase::Trading | Phase::Unknown);
        symbol.stale = view.stale;
        symbol.mid = match view.is_measurable() {
            true => double_mid(&view.quote),
            false => 0,
        };
        let fill = &moment.applied.fill;
        let sign = match fill.aggressor {
            Side::Buy => 1,
            Side::Sell => -1,
            Side::None => 0,
        };
        // Of who took, and by a mid that is known; with a time that can be believed.
        let is_trade = fill.qty.0 > 0
            && sign != 0
            && symbol.mid_before != 0
            && !moment.event.flags.has(bus::Flags::BAD_TS);
        let trade = is_trade.then(|| (2i64.saturating_mul(fill.price.0) * sign, symbol.mid_before));
        self.look(place, ts, trade, out);
    }

    /// Looks at each monitor after an event.
    fn look(&mut self, place: usize, ts: Ts, trade: Option<(i64, i64)>, out: &mut Outbox) {
        let count = self.configs.len();
        let symbol = &mut self.symbols[place];
        let states = &mut self.states[place * count..][..count];
        let mut waiting = &mut self.waiting[place * self.waits..][..self.waits];
        symbol.due = Ts::MAX;
        for (index, (config, state)) in self.configs.iter().zip(states).enumerate() {
            let mut own: &mut [Waiting] = &mut [];
            if let Watch::Realised { horizon_ns } = config.watch {
                (own, waiting) = waiting.split_at_mut(WAITING_MAX);
                if let Some((signed, mid)) = trade
                    && usize::from(state.count) < WAITING_MAX
                {
                    let slot = usize::from(state.first) + usize::from(state.count);
                    // Of late trades the horizon is not before that of those before them.
                    let last = (slot + WAITING_MAX - 1) % WAITING_MAX;
                    let mut due = ts.plus_ns(horizon_ns);
                    if state.count > 0 {
                        due = due.max(own[last].due);
                    }
                    own[slot % WAITING_MAX] = Waiting { due, signed, mid };
                    state.count += 1;
                }
            }
            if let (Watch::Effective, Some((signed, mid))) = (config.watch, trade) {
                (state.spread, state.mid) = (cost(signed, mid), mid);
            }
            let rule = self.rule_first + index as u8;
            judge(config, state, symbol, ts, rule, out);
            symbol.due = symbol.due.min(next_due(state, own));
        }
    }

    /// Time has come to `now`: ends hold times and horizons, in the order of their times.
    pub(crate) fn on_time(&mut self, place: usize, now: Ts, out: &mut Outbox) {
        let count = self.configs.len();
        let symbol = &mut self.symbols[place];
        if symbol.due > now {
            return;
        }
        let states = &mut self.states[place * count..][..count];
        let mut waiting = &mut self.waiting[place * self.waits..][..self.waits];
        symbol.due = Ts::MAX;
        for (index, (config, state)) in self.configs.iter().zip(states).enumerate() {
            let mut own: &mut [Waiting] = &mut [];
            if let Watch::Realised { .. } = config.watch {
                (own, waiting) = waiting.split_at_mut(WAITING_MAX);
            }
            let rule = self.rule_first + index as u8;
            while next_due(state, own) <= now {
                if state.due <= first_waiting(state, own) {
                    end_hold(config, state, symbol, rule, out);
                    continue;
                }
                let one = own[usize::from(state.first)];
                state.first = (state.first + 1) % WAITING_MAX as u8;
                state.count -= 1;
                if symbol.mid != 0 {
                    // Beyond the mid that stands now, as a share of the one that stood then.
                    (state.spread, state.mid) = (cost(one.signed, symbol.mid), one.mid);
                    judge(config, state, symbol, one.due, rule, out);
                }
            }
            symbol.due = symbol.due.min(next_due(state, own));
        }
    }

    /// Messages are lost.
    #[cold]
    pub(crate) fn on_gap(&mut self, place: usize, watermark: Ts) {
        let count = self.configs.len();
        let symbol = &mut self.symbols[place];
        (symbol.stale, symbol.mid, symbol.mid_before) = (true, 0, 0);
        let states = &mut self.states[place * count..][..count];
        for (config, state) in self.configs.iter().zip(states) {
            if config.watch == Watch::Stale && !state.raised && state.due == Ts::MAX {
                state.since = watermark.max(state.rest_until);
                state.due = state.since.plus_ns(config.hold_ns);
                symbol.due = symbol.due.min(state.due);
            }
        }
    }

    /// Saves what is known of the symbol at this place.
    pub(crate) fn save(&self, place: usize, out: &mut StateWriter<'_>) {
        let symbol = &self.symbols[place];
        let Quote {
            bid,
            ask,
            bid_qty,
            ask_qty,
        } = symbol.quote;
        for word in [bid.0, ask.0, bid_qty.0, ask_qty.0] {
            out.i64(word);
        }
        out.bool(symbol.is_on);
        out.bool(symbol.stale);
        for word in [symbol.mid, symbol.mid_before, symbol.ts.0, symbol.due.0] {
            out.i64(word);
        }
        let count = self.configs.len();
        let mut waiting = &self.waiting[place * self.waits..][..self.waits];
        let states = &self.states[place * count..][..count];
        for (config, state) in self.configs.iter().zip(states) {
            for ts in [state.due, state.since, state.raised_at, state.rest_until] {
                out.i64(ts.0);
            }
            out.bool(state.raised);
            out.i64(state.spread);
            out.i64(state.mid);
            if let Watch::Realised { .. } = config.watch {
                let own;
                (own, waiting) = waiting.split_at(WAITING_MAX);
                out.u8(state.count);
                for index in 0..usize::from(state.count) {
                    let one = own[(usize::from(state.first) + index) % WAITING_MAX];
                    for word in [one.due.0, one.signed, one.mid] {
                        out.i64(word);
                    }
                }
            }
        }
    }

    /// Loads what was known of a symbol, at the next place.
    pub(crate) fn load(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        self.appear();
        let place = self.symbols.len() - 1;
        self.symbols[place] = Symbol {
            quote: Quote {
                bid: Price(from.i64()?),
                ask: Price(from.i64()?),
                bid_qty: bus::Qty(from.i64()?),
                ask_qty: bus::Qty(from.i64()?),
            },
            is_on: from.bool()?,
            stale: from.bool()?,
            mid: from.i64()?,
            mid_before: from.i64()?,
            ts: Ts(from.i64()?),
            due: Ts(from.i64()?),
        };
        let count = self.configs.len();
        let mut waiting = &mut self.waiting[place * self.waits..][..self.waits];
        let states = &mut self.states[place * count..][..count];
        for (config, state) in self.configs.iter().zip(states) {
            *state = State {
                due: Ts(from.i64()?),
                since: Ts(from.i64()?),
                raised_at: Ts(from.i64()?),
                rest_until: Ts(from.i64()?),
                raised: from.bool()?,
                spread: from.i64()?,
                mid: from.i64()?,
                first: 0,
                count: 0,
            };
            if let Watch::Realised { .. } = config.watch {
                let own;
                (own, waiting) = waiting.split_at_mut(WAITING_MAX);
                state.count = from.u8()?;
                if usize::from(state.count) > WAITING_MAX {
                    return Err(from.error(format_args!("at most {WAITING_MAX} trades that wait")));
                }
                for one in &mut own[..usize::from(state.count)] {
                    *one = Waiting {
                        due: Ts(from.i64()?),
                        signed: from.i64()?,
                        mid: from.i64()?,
                    };
                }
            }
        }
        Ok(())
    }
}

/// Twice the spread that a trade paid: twice the difference of price and mid, to the taker's loss.
/// `signed` is twice the price, and `mid` twice the mid.
fn cost(signed: i64, mid: i64) -> i64 {
    let off = match signed >= 0 {
        true => signed.saturating_sub(mid),
        false => signed.saturating_add(mid),
    };
    off.saturating_mul(2)
}

fn first_waiting(state: &State, own: &[Waiting]) -> Ts {
    match state.count {
        0 => Ts::MAX,
        _ => own[usize::from(state.first)].due,
    }
}

fn next_due(state: &State, own: &[Waiting]) -> Ts {
    state.due.min(first_waiting(state, own))
}

/// Twice the spread, and twice the mid to measure it by, of a monitor of spreads; `None` where nothing can
/// be said of it.
fn spread(config: &MonitorConfig, state: &State, symbol: &Symbol) -> Option<(i64, i64)> {
    match config.watch {
        Watch::Quoted => (symbol.mid != 0).then(|| (double_spread(&symbol.quote), symbol.mid)),
        Watch::Effective | Watch::Realised { .. } => {
            (state.mid != 0).then_some((state.spread, state.mid))
        }
        Watch::Crossed | Watch::Locked | Watch::OneSided | Watch::Stale => None,
    }
}

/// Whether what is looked at speaks for the other state than the one we are in; `None` where nothing can be
/// said.
fn is_past(config: &MonitorConfig, state: &State, symbol: &Symbol) -> Option<bool> {
    let Quote { bid, ask, .. } = symbol.quote;
    let (has_bid, has_ask) = (bid.is_some(), ask.is_some());
    let is_book = symbol.is_on && !symbol.stale;
    let holds = match config.watch {
        Watch::Quoted | Watch::Effective | Watch::Realised { .. } => {
            let (spread, mid) = spread(config, state, symbol)?;
            return Some(match state.raised {
                true => config.clear.excess(spread, mid) <= 0,
                false => config.threshold.excess(spread, mid) >= 0,
            });
        }
        Watch::Stale => symbol.stale,
        _ if !is_book => return None,
        Watch::Crossed => has_bid && has_ask && bid > ask,
        Watch::Locked => has_bid && has_ask && bid == ask,
        Watch::OneSided => has_bid != has_ask,
    };
    Some(holds != state.raised)
}

/// Begins or drops a hold time.
fn judge(
    config: &MonitorConfig,
    state: &mut State,
    symbol: &Symbol,
    ts: Ts,
    rule: u8,
    out: &mut Outbox,
) {
    if is_past(config, state, symbol) != Some(true) {
        state.due = Ts::MAX;
    } else if state.due == Ts::MAX {
        let hold_ns = match state.raised {
            true => config.clear_hold_ns,
            false => config.hold_ns,
        };
        state.since = ts.max(state.rest_until);
        state.due = state.since.plus_ns(hold_ns);
        if state.due <= ts {
            end_hold(config, state, symbol, rule, out);
        }
    }
}

#[cold]
fn end_hold(
    config: &MonitorConfig,
    state: &mut State,
    symbol: &Symbol,
    rule: u8,
    out: &mut Outbox,
) {
    let at = std::mem::replace(&mut state.due, Ts::MAX);
    if is_past(config, state, symbol) != Some(true) {
        return;
    }
    let since = match state.raised {
        true => state.raised_at,
        false => state.since,
    };
    state.raised = !state.raised;
    match state.raised {
        true => state.raised_at = at,
        false => state.rest_until = at.plus_ns(config.rearm_ns),
    }
    let bps = match spread(config, state, symbol) {
        Some((spread, mid)) => spread as f64 * 10_000.0 / mid as f64,
        None => spread_bps(&symbol.quote),
    };
    let Quote { bid, ask, .. } = symbol.quote;
    let alert = Alert {
        raised: state.raised,
        bps,
        bid,
        ask,
        since,
    };
    out.say_at(at, rule, Body::Spread(alert));
}
