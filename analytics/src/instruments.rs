//! One instrument that several symbols are, each at its own venue: their best bid and offer together.
//! `analytics/INSTRUMENTS.md` has formulas and parameters.
//!
//! ```text
//! BTCUSDT  100.1 x 2 | 100.3 x 1 ─┐   best bid 100.2 x 3, of BTCUSD
//! BTCUSD   100.2 x 3 | 100.4 x 5 ─┼─► best ask 100.3 x 1, of BTCUSDT
//! XBTUSD   stale: left out       ─┘
//! ```
//!
//! What follows of an event is said of the event's symbol, with it. What time does (a hold time ends, a
//! silent symbol is left out) is said of the instrument's seat, its first symbol that anything was concluded
//! of, with that symbol's visits. Since visits go on beside later events, an instrument is brought up to the
//! tick before any of its symbols changes it, and what it then says waits for the seat's visit.

use std::collections::VecDeque;

use bus::signal::{Best, Body, Spread as Alert};
use bus::state::{StateError, StateReader, StateWriter};
use bus::{Outbox, Phase, Price, Qty, Quote, Signal, Ts};

use crate::number::spread_bps;
use crate::suite::Moment;
use crate::view::View;

/// An instrument, and the symbols that are it.
#[derive(Clone, Debug, PartialEq)]
pub struct InstrumentConfig {
    /// For people.
    pub name: String,
    /// The symbols' names, with spaces behind, on one shard.
    pub members: Vec<[u8; 8]>,
    /// A symbol of which nothing was heard for longer is left out; 0 for however long.
    pub fresh_ns: i64,
    /// How long the best bid is the best ask, or is above it, before that is an alert.
    pub hold_ns: i64,
    /// Whether each change of the best prices is said.
    pub says: bool,
}

impl InstrumentConfig {
    /// At most so many symbols are one instrument.
    pub const MEMBERS_MAX: usize = 8;
    /// At most so much of an instrument is said with one tick.
    pub const AT_TICK_MAX: usize = 64;
    /// At most so many instruments: each has two numbers of alerts.
    pub const COUNT_MAX: usize = 64;

    /// What is wrong with these, if anything.
    pub fn problem(all: &[InstrumentConfig]) -> Option<String> {
        let (count, max) = (all.len(), Self::COUNT_MAX);
        if count > max {
            return Some(format!("{count} instruments, want at most {max}"));
        }
        let mut seen: Vec<[u8; 8]> = Vec::new();
        for config in all {
            let (name, count) = (&config.name, config.members.len());
            if !(2..=Self::MEMBERS_MAX).contains(&count) {
                let max = Self::MEMBERS_MAX;
                return Some(format!(
                    "instruments.{name}.members: {count} symbols, want 2 to {max}"
                ));
            }
            if config.fresh_ns < 0 || config.hold_ns < 0 {
                return Some(format!(
                    "instruments.{name}: fresh and hold must not be below zero"
                ));
            }
            for member in &config.members {
                if seen.contains(member) {
                    let member = String::from_utf8_lossy(member);
                    let member = member.trim_end();
                    return Some(format!(
                        "instruments.{name}.members: `{member}` is there twice, or in another \
                         instrument"
                    ));
                }
                seen.push(*member);
            }
        }
        None
    }
}

/// One of an instrument's symbols.
#[derive(Clone, Copy, Debug)]
struct Member {
    /// Its number; 0 while its name was not said.
    symbol: u32,
    /// Its quantities are in units of 10 to the power of minus this.
    decimals: u8,
    quote: Quote,
    ts: Ts,
    /// It trades, as far as is known, nothing of it is lost, and it is not crossed in itself.
    is_good: bool,
}

impl Member {
    const NEW: Member = Member {
        symbol: 0,
        decimals: 0,
        quote: Quote::EMPTY,
        ts: Ts::MIN,
        is_good: false,
    };

    /// When its silence is too long.
    fn silent_at(&self, fresh_ns: i64) -> Ts {
        match fresh_ns {
            0 => Ts::MAX,
            _ => Ts(self.ts.0.saturating_add(fresh_ns).saturating_add(1)),
        }
    }
}

/// Since when the best bid is the best ask, or above it; behind the hold time, since when the alert stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hold {
    /// `MAX` while it is not.
    since: Ts,
    raised: bool,
}

impl Hold {
    const NONE: Hold = Hold {
        since: Ts::MAX,
        raised: false,
    };

    fn due(&self, hold_ns: i64) -> Ts {
        match self.raised || self.since == Ts::MAX {
            true => Ts::MAX,
            false => Ts(self.since.0.saturating_add(hold_ns)),
        }
    }
}

/// Said with the seat's next visit.
const WAITING_MAX: usize = InstrumentConfig::AT_TICK_MAX;
/// More than one moment says: the best prices, and two alerts.
const AT_ONCE: usize = 3;

#[derive(Debug)]
struct Instrument {
    names: Box<[[u8; 8]]>,
    fresh_ns: i64,
    hold_ns: i64,
    says: bool,
    /// Of what it says of prices, and of its first alert.
    rule: u8,
    rule_alert: u8,
    members: Box<[Member]>,
    /// Whose visits are its own; 0 before the first event.
    seat: u32,
    /// The latest time that it was looked at.
    now: Ts,
    /// The watermark that it was brought up to.
    advanced: Ts,
    best: Best,
    holds: [Hold; 2],
    waiting: VecDeque<(Ts, u8, Body)>,
}

impl Instrument {
    fn new(config: &InstrumentConfig, rule: usize, rule_alert: usize) -> Instrument {
        Instrument {
            names: config.members.clone().into(),
            fresh_ns: config.fresh_ns,
            hold_ns: config.hold_ns,
            says: config.says,
            rule: rule as u8,
            rule_alert: rule_alert as u8,
            members: vec![Member::NEW; config.members.len()].into(),
            seat: 0,
            now: Ts::MIN,
            advanced: Ts::MIN,
            best: Best::NONE,
            holds: [Hold::NONE; 2],
            waiting: VecDeque::with_capacity(WAITING_MAX),
        }
    }

    /// When time does something to it.
    fn next(&self) -> Ts {
        let counts = |member: &&Member| member.is_good;
        let members = self.members.iter().filter(counts);
        let silent = members.map(|member| member.silent_at(self.fresh_ns));
        let held = self.holds.iter().map(|hold| hold.due(self.hold_ns));
        silent.chain(held).min().unwrap_or(Ts::MAX)
    }

    /// When its seat is to be visited.
    fn due(&self) -> Ts {
        match self.waiting.is_empty() {
            true => self.next().max(self.advanced.plus_ns(1)),
            false => self.advanced.plus_ns(1),
        }
    }

    /// What time does until `until`, in the order of its times.
    fn pass(&mut self, until: Ts, say: &mut impl FnMut(Ts, u8, Body)) {
        loop {
            let at = self.next();
            if at > until || at == Ts::MAX {
                break;
            }
            // A hold time ends before a silence begins at the same time.
            for index in 0..self.holds.len() {
                if self.holds[index].due(self.hold_ns) <= at {
                    self.raise(index, at, say);
                }
            }
            let fresh_ns = self.fresh_ns;
            for member in &mut self.members {
                member.is_good &= member.silent_at(fresh_ns) > at;
            }
            self.work_out(at, say);
        }
        self.now = self.now.max(until);
    }

    fn raise(&mut self, index: usize, at: Ts, say: &mut impl FnMut(Ts, u8, Body)) {
        say(at, self.rule_alert + index as u8, self.alert(index, true));
        self.holds[index] = Hold {
            since: at,
            raised: true,
        };
    }

    fn alert(&self, index: usize, raised: bool) -> Body {
        let quote = Quote {
            bid: self.best.bid,
            ask: self.best.ask,
            bid_qty: Qty(0),
            ask_qty: Qty(0),
        };
        let is_whole = quote.bid.is_some() && quote.ask.is_some();
        Body::Spread(Alert {
            raised,
            bps: if is_whole { spread_bps(&quote) } else { 0.0 },
            bid: quote.bid,
            ask: quote.ask,
            since: self.holds[index].since,
        })
    }

    /// Works out the best prices at a time, and says what is other than before.
    fn work_out(&mut self, at: Ts, say: &mut impl FnMut(Ts, u8, Body)) {
        let best = best_of(&self.members);
        if best == self.best {
            return;
        }
        self.best = best;
        if self.says {
            say(at, self.rule, Body::Best(best));
        }
        let is_both = best.bid.is_some() && best.ask.is_some();
        let holds = [
            is_both && best.bid == best.ask,
            is_both && best.bid > best.ask,
        ];
        for (index, holds) in holds.into_iter().enumerate() {
            let hold = self.holds[index];
            if holds && hold.since == Ts::MAX {
                self.holds[index].since = at;
                if self.hold_ns == 0 {
                    self.raise(index, at, say);
                }
            } else if !holds && hold.since != Ts::MAX {
                if hold.raised {
                    say(at, self.rule_alert + index as u8, self.alert(index, false));
                }
                self.holds[index] = Hold::NONE;
            }
        }
    }

    /// Brings it up to a watermark; what follows waits for the seat's visit.
    fn advance(&mut self, watermark: Ts) {
        if watermark <= self.advanced {
            return;
        }
        self.advanced = watermark;
        let mut waiting = std::mem::take(&mut self.waiting);
        self.pass(watermark, &mut |at, rule, body| {
            waiting.push_back((at, rule, body));
        });
        self.waiting = waiting;
    }
}

impl Instrument {
    /// What follows of a loss. With a loss after each of thousands of events between two ticks, the first
    /// things said of it are dropped.
    fn lose(&mut self) {
        let mut waiting = std::mem::take(&mut self.waiting);
        self.work_out(self.now, &mut |at, rule, body| {
            waiting.push_back((at, rule, body));
        });
        let beyond = waiting.len().saturating_sub(WAITING_MAX);
        waiting.drain(..beyond);
        self.waiting = waiting;
    }
}

/// The best prices of the members that count.
fn best_of(members: &[Member]) -> Best {
    let mut best = Best::NONE;
    let most = members.iter().map(|member| member.decimals).max();
    best.decimals = most.unwrap_or(0);
    for (index, member) in members
        .iter()
        .enumerate()
        .filter(|(_, member)| member.is_good)
    {
        let unit = 10i128.pow(u32::from(best.decimals - member.decimals));
        let (bit, quote) = (1 << index, &member.quote);
        best.counts |= bit;
        if quote.bid.is_some() {
            if best.bid_on == 0 || quote.bid > best.bid {
                (best.bid, best.bid_qty, best.bid_on) = (quote.bid, 0, 0);
            }
            if quote.bid == best.bid {
                best.bid_qty += i128::from(quote.bid_qty.0) * unit;
                best.bid_on |= bit;
            }
        }
        if quote.ask.is_some() {
            if best.ask_on == 0 || quote.ask < best.ask {
                (best.ask, best.ask_qty, best.ask_on) = (quote.ask, 0, 0);
            }
            if quote.ask == best.ask {
                best.ask_qty += i128::from(quote.ask_qty.0) * unit;
                best.ask_on |= bit;
            }
        }
    }
    best
}

/// The instruments of one shard.
#[derive(Debug)]
pub(crate) struct Instruments {
    all: Vec<Instrument>,
    /// By symbol number: an instrument plus one, and which of its members; 0 for none.
    of: Vec<(u8, u8)>,
    /// The numbers of the symbols, by their places in the suite.
    numbers: Vec<u32>,
}

const _: () = assert!(InstrumentConfig::COUNT_MAX < u8::MAX as usize);
const _: () = assert!(InstrumentConfig::MEMBERS_MAX <= u8::BITS as usize);

impl Instruments {
    /// Memory for all of it, reserved; `rule_alert` is the number of the first alert.
    pub(crate) fn new(
        configs: &[InstrumentConfig],
        rule_alert: usize,
        symbol_count: usize,
    ) -> Instruments {
        assert_eq!(InstrumentConfig::problem(configs), None);
        let all = configs.iter().enumerate();
        Instruments {
            all: all
                .map(|(index, config)| Instrument::new(config, index, rule_alert + 2 * index))
                .collect(),
            of: vec![(0, 0); symbol_count],
            numbers: Vec::with_capacity(symbol_count),
        }
    }

    /// What a symbol takes.
    pub(crate) fn bytes_per_symbol(&self) -> usize {
        size_of::<(u8, u8)>() + size_of::<u32>()
    }

    /// One more symbol, at the next place.
    pub(crate) fn appear(&mut self, number: u32) {
        self.numbers.push(number);
    }

    /// The name of a symbol is said, and the decimals of its quantities. The first number with a name
    /// has it.
    #[cold]
    pub(crate) fn on_member(&mut self, symbol: u32, name: [u8; 8], decimals: u8) {
        for (index, instrument) in self.all.iter_mut().enumerate() {
            let Some(at) = instrument.names.iter().position(|own| *own == name) else {
                continue;
            };
            let member = &mut instrument.members[at];
            if member.symbol == 0 {
                (member.symbol, member.decimals) = (symbol, decimals);
                // The prices are as they were; what quantities are in may be finer now.
                instrument.best = best_of(&instrument.members);
                self.of[symbol as usize] = (index as u8 + 1, at as u8);
            }
        }
    }

    fn index_of(&self, symbol: u32) -> Option<(usize, usize)> {
        let (instrument, at) = self.of[symbol as usize];
        Some((usize::from(instrument).checked_sub(1)?, usize::from(at)))
    }

    /// When the symbol at this place has something to do.
    #[inline]
    pub(crate) fn due(&self, place: usize) -> Ts {
        let number = self.numbers[place];
        match self.index_of(number) {
            Some((index, _)) if self.all[index].seat == number => self.all[index].due(),
            Some(_) | None => Ts::MAX,
        }
    }

    /// Whose visits are those of a symbol's instrument, and when the next one is, where that is
    /// another symbol.
    #[inline]
    pub(crate) fn seat(&self, symbol: u32) -> Option<(u32, Ts)> {
        let instrument = &self.all[self.index_of(symbol)?.0];
        let is_other = instrument.seat != symbol && instrument.seat != 0;
        is_other.then(|| (instrument.seat, instrument.due()))
    }

    /// What happened to a symbol.
    #[inline]
    pub(crate) fn on_event(&mut self, moment: &Moment<'_>, view: &View, out: &mut Outbox) {
        if let Some((index, at)) = self.index_of(moment.event.symbol) {
            let instrument = &mut self.all[index];
            take(instrument, at, moment, view, out);
        }
    }

    /// Messages of all symbols are lost: none counts until an event of it says otherwise.
    #[cold]
    pub(crate) fn on_gap(&mut self, symbol: u32, watermark: Ts) {
        let Some((index, _)) = self.index_of(symbol) else {
            return;
        };
        let instrument = &mut self.all[index];
        instrument.advance(watermark);
        if instrument.members.iter().any(|member| member.is_good) {
            for member in &mut instrument.members {
                member.is_good = false;
            }
            instrument.lose();
        }
    }

    /// Time has come to `watermark`, or at the end of the input to `until`: says what the symbol at this
    /// place has to say.
    pub(crate) fn on_watermark(&mut self, place: usize, until: Ts, out: &mut Outbox) {
        let number = self.numbers[place];
        let Some((index, _)) = self.index_of(number) else {
            return;
        };
        let instrument = &mut self.all[index];
        if instrument.seat == number {
            instrument.advance(until);
            for (at, rule, body) in instrument.waiting.drain(..) {
                out.say_at(at, rule, body);
            }
        }
    }

    /// Saves all instruments of which a symbol is known.
    pub(crate) fn save(&self, out: &mut StateWriter<'_>) {
        self.all.iter().for_each(|instrument| instrument.save(out));
    }

    /// Loads what is of symbols to keep. The names of these were said before.
    pub(crate) fn load(
        &mut self,
        from: &mut StateReader<'_>,
        keep: &impl Fn(u32) -> bool,
    ) -> Result<(), StateError> {
        let mut all = self.all.iter_mut();
        all.try_for_each(|instrument| instrument.load(from, keep))
    }
}

fn take(
    instrument: &mut Instrument,
    at: usize,
    moment: &Moment<'_>,
    view: &View,
    out: &mut Outbox,
) {
    instrument.advance(moment.watermark);
    if instrument.seat == 0 {
        instrument.seat = moment.event.symbol;
    }
    // An event that comes late counts from now on: what was said stands.
    let now = instrument.now.max(moment.event.ts_event);
    let mut say = |at: Ts, rule: u8, body: Body| out.say_at(at, rule, body);
    instrument.pass(now, &mut say);
    let member = &mut instrument.members[at];
    member.ts = now;
    member.quote = view.quote;
    let is_on = matches!(view.phase, Phase::Trading | Phase::Unknown) && !view.stale;
    member.is_good = is_on && !view.quote.is_crossed();
    instrument.work_out(now, &mut say);
}

impl Instrument {
    fn is_unknown(&self) -> bool {
        self.members.iter().all(|member| member.symbol == 0)
    }

    fn save(&self, out: &mut StateWriter<'_>) {
        out.bool(!self.is_unknown());
        if self.is_unknown() {
            return;
        }
        for member in &self.members {
            out.u32(member.symbol);
            out.u8(member.decimals);
            let Quote {
                bid,
                ask,
                bid_qty,
                ask_qty,
            } = member.quote;
            for word in [bid.0, ask.0, bid_qty.0, ask_qty.0, member.ts.0] {
                out.i64(word);
            }
            out.bool(member.is_good);
        }
        out.u32(self.seat);
        out.i64(self.now.0);
        out.i64(self.advanced.0);
        for hold in &self.holds {
            out.i64(hold.since.0);
            out.bool(hold.raised);
        }
        out.u32(self.waiting.len() as u32);
        for (at, rule, body) in &self.waiting {
            // As a signal, whose bytes have a layout already.
            out.bytes(Signal::new(*at, 0, 0, *rule, 0, *body).as_bytes());
        }
    }

    fn load(
        &mut self,
        from: &mut StateReader<'_>,
        keep: &impl Fn(u32) -> bool,
    ) -> Result<(), StateError> {
        if !from.bool()? {
            return Ok(());
        }
        let mut members = self.members.clone();
        for member in &mut members {
            let (symbol, decimals) = (from.u32()?, from.u8()?);
            if decimals > 18 {
                return Err(from.error(format_args!("at most 18 decimals, found {decimals}")));
            }
            *member = Member {
                symbol,
                decimals,
                quote: Quote {
                    bid: Price(from.i64()?),
                    ask: Price(from.i64()?),
                    bid_qty: Qty(from.i64()?),
                    ask_qty: Qty(from.i64()?),
                },
                ts: Ts(from.i64()?),
                is_good: from.bool()?,
            };
        }
        let (seat, now, advanced) = (from.u32()?, Ts(from.i64()?), Ts(from.i64()?));
        let mut holds = [Hold::NONE; 2];
        for hold in &mut holds {
            *hold = Hold {
                since: Ts(from.i64()?),
                raised: from.bool()?,
            };
        }
        let mut waiting = Vec::new();
        for _ in 0..from.u32()? {
            let signal = (from.bytes(128)?.first_chunk()).and_then(Signal::from_bytes);
            let said =
                signal.and_then(|signal| Some((signal.ts_event, signal.rule, signal.body()?)));
            let Some(said @ (_, _, Body::Best(_) | Body::Spread(_))) = said else {
                return Err(from.error("what an instrument said"));
            };
            waiting.push(said);
        }
        let is_kept = |member: &Member| member.symbol != 0 && keep(member.symbol);
        if members.iter().any(is_kept) {
            self.members = members;
            (self.seat, self.now, self.advanced) = (seat, now, advanced);
            (self.best, self.holds) = (best_of(&self.members), holds);
            self.waiting.extend(waiting);
        }
        Ok(())
    }
}

const _: () = assert!(InstrumentConfig::MEMBERS_MAX * AT_ONCE + AT_ONCE <= WAITING_MAX);
