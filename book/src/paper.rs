//! A simulated venue: our orders stand in the real books without being in them.
//!
//! ```text
//! decided ──latency──► arrives: what crosses is filled from what is shown, the rest waits its turn
//!                      behind all that is shown at its price
//! each event before its book takes it: executions ahead and cancels ahead move an order forward; what
//!                      is executed behind it, at a worse price, or comes across it, fills it
//! ```
//!
//! A real book never changes for it. What an order of ours took from a real one is remembered until that
//! one changes, so that nothing is taken twice. The model's assumptions, and which way each errs, are in
//! `bus/PAPER.md`.

use bus::signal::{Fate, Order, Report, Tif};
use bus::state::{StateError, StateReader, StateWriter};
use bus::{Body, Event, Flags, Kind, Phase, Price, Qty, Side, Signal, Ts};

use crate::books::Books;
use crate::far::price_of;

/// How the venue is simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaperConfig {
    /// Symbols are numbered below this.
    pub symbols_max: u32,
    /// Most orders of a symbol that are on their way or stand; 1 to [`PaperConfig::OPEN_END`].
    pub open_max: u32,
    /// How long an order is on its way, at least.
    pub latency_ns: i64,
    /// How long a report is on its way back, at least.
    pub report_latency_ns: i64,
    /// Half of the orders, and of the reports, take up to so much longer, half of the rest up to as much again, and so on.
    pub jitter_ns: i64,
    /// Which of them do is drawn from this.
    pub seed: u64,
    /// What the feed shows.
    pub shows: Shows,
}

impl PaperConfig {
    /// `open_max` is at most this.
    pub const OPEN_END: u32 = 64;

    /// What is wrong with it, if anything.
    pub fn problem(&self) -> Option<String> {
        let open = 1..=Self::OPEN_END;
        let delay = 0..=3_600_000_000_000;
        if !open.contains(&self.open_max) {
            let (found, end) = (self.open_max, Self::OPEN_END);
            return Some(format!("open_max is {found}, want 1 to {end}"));
        }
        let delays = [self.latency_ns, self.report_latency_ns, self.jitter_ns];
        let has_bounds = delays.iter().all(|ns| delay.contains(ns));
        (!has_bounds).then(|| "want latencies and a jitter of 0 to an hour".into())
    }
}

/// What a feed shows of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// Each order, and which one is executed: an order's place among them is exact. The books keep queues.
    Orders,
    /// What is at each price, and trades: what is cancelled is taken to be behind us as long as it can be.
    Levels,
}

/// Prices, or orders, that ours may have taken something of, for each symbol.
const TAKEN_MAX: usize = 64;
/// Reports that may be on their way back, for each order that may be open.
const BACK_PER_ORDER: usize = 4;
/// As many halvings as a latency is drawn from.
const HALVINGS_MAX: u32 = 20;

/// See the module.
#[derive(Debug)]
pub struct Paper {
    config: PaperConfig,
    /// By symbol: its place below plus one, 0 while it never had an order.
    places: Vec<u32>,
    desks: Vec<Desk>,
    /// For each place as many as may be, the first of which are there, in the order of their arrival.
    orders: Vec<Standing>,
    taken: Vec<Taken>,
    reports: Vec<Signal>,
    /// For each place as many as may be: reports that are on their way back, the first of which are
    /// there, in the order of their coming.
    back: Vec<Back>,
    /// Those that were too many.
    early: Vec<Signal>,
}

/// A report on its way back.
#[derive(Clone, Copy, Debug)]
struct Back {
    comes: Ts,
    report: Signal,
}

impl Back {
    /// In a place where there is none.
    fn none() -> Back {
        let nothing = Body::Report(report(&NOBODY, Fate::New));
        Back {
            comes: Ts::MIN,
            report: Signal::new(Ts::MIN, 0, 0, 0, 0, nothing),
        }
    }
}

/// What is known of one symbol beside its orders.
#[derive(Clone, Copy, Debug)]
struct Desk {
    orders: u32,
    taken: u32,
    /// No order overtakes an earlier one,
    arrives_last: Ts,
    /// and no report.
    comes_last: Ts,
    back: u32,
    /// The last event was one of several that are one change.
    is_changing: bool,
}

/// One of our orders.
#[derive(Clone, Copy, Debug)]
struct Standing {
    seq: u64,
    ordinal: u16,
    rule: u8,
    order: Order,
    filled: i64,
    arrives: Ts,
    has_arrived: bool,
    /// Shown before it at its price: how much, and in how many orders.
    ahead: i64,
    ahead_orders: u32,
}

const _: () = assert!(size_of::<Standing>() <= 96 && size_of::<Taken>() <= 24);

impl Standing {
    fn left(&self) -> i64 {
        self.order.qty.0 - self.filled
    }

    /// Whether it may be filled at this time.
    fn stands(&self, ts: Ts) -> bool {
        self.has_arrived
            && self.left() > 0
            && !matches!(self.order.tif, Tif::Till(end) if end <= ts)
    }

    fn side(&self) -> usize {
        usize::from(self.order.side == Side::Sell)
    }
}

const NOBODY: Standing = Standing {
    seq: 0,
    ordinal: 0,
    rule: 0,
    order: Order {
        side: Side::None,
        price: Price(0),
        qty: Qty(0),
        bid: Price::NONE,
        ask: Price::NONE,
        tif: Tif::Day,
    },
    filled: 0,
    arrives: Ts::MIN,
    has_arrived: false,
    ahead: 0,
    ahead_orders: 0,
};

/// What ours took from a real order, or, where the feed shows prices only, from what is at one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Taken {
    side: u8,
    key: u64,
    qty: i64,
}

/// A real order as it is before an event.
#[derive(Clone, Copy, Debug)]
struct Named {
    reference: u64,
    level: u32,
    side: usize,
    price: i64,
    qty: i64,
}

/// `a` is a better price than `b` for an order of this side.
fn is_better(side: usize, a: i64, b: i64) -> bool {
    if side == 0 { a > b } else { a < b }
}

/// A shuffled word: the finalizer of splitmix64 (Steele, Lea and Flood, 2014).
fn shuffled(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

impl Paper {
    /// Ordinals of reports begin here, clear of all that analytics say at the same event.
    pub const ORDINAL_FIRST: u16 = 0x8000;

    /// Memory for all symbols, reserved; a wrong configuration is a bug of the caller, who has
    /// [`PaperConfig::problem`].
    pub fn new(config: PaperConfig) -> Paper {
        assert_eq!(config.problem(), None);
        let symbols = config.symbols_max as usize;
        let open = config.open_max as usize;
        Paper {
            config,
            places: vec![0; symbols],
            desks: Vec::with_capacity(symbols),
            orders: Vec::with_capacity(symbols * open),
            taken: Vec::with_capacity(symbols * TAKEN_MAX),
            reports: Vec::with_capacity(open * (TAKEN_MAX + 4)),
            back: Vec::with_capacity(symbols * open * BACK_PER_ORDER),
            early: Vec::with_capacity(open * (TAKEN_MAX + 4)),
        }
    }

    fn back_max(&self) -> usize {
        self.config.open_max as usize * BACK_PER_ORDER
    }

    /// The reports that have come back to a symbol's strategies by an event at `ts`, one after another.
    /// Each comes once.
    pub fn heard(&mut self, symbol: u32, ts: Ts) -> Option<Signal> {
        let place = self.place(symbol)?;
        let first = place * self.back_max();
        let count = self.desks[place].back as usize;
        if let Some(at) = self.early.iter().position(|report| report.symbol == symbol) {
            return Some(self.early.remove(at));
        }
        let on_way = &mut self.back[first..][..count];
        let next = on_way.first().filter(|back| back.comes <= ts)?.report;
        on_way.copy_within(1.., 0);
        self.desks[place].back -= 1;
        Some(next)
    }

    fn come_back(&mut self, place: usize, report: Signal) {
        let least_ns = self.config.report_latency_ns;
        let delay_ns = self.delay_ns(least_ns, report.seq, report.symbol, report.ordinal);
        let (first, most) = (place * self.back_max(), self.back_max());
        let desk = &mut self.desks[place];
        desk.comes_last = report.ts_event.plus_ns(delay_ns).max(desk.comes_last);
        let comes = desk.comes_last;
        if desk.back as usize == most {
            // Of too many the oldest comes at once.
            self.early.push(self.back[first].report);
            self.back[first..][..most].copy_within(1.., 0);
            desk.back -= 1;
        }
        self.back[first + desk.back as usize] = Back { comes, report };
        desk.back += 1;
    }

    /// What the latest event brought about, in order, until the next [`Paper::before`].
    pub fn reports(&self) -> &[Signal] {
        &self.reports
    }

    /// Forgets that.
    pub fn clear(&mut self) {
        self.reports.clear();
    }

    /// How many orders of a symbol are on their way or stand.
    pub fn open_orders(&self, symbol: u32) -> usize {
        self.place(symbol)
            .map_or(0, |place| self.desks[place].orders as usize)
    }

    fn place(&self, symbol: u32) -> Option<usize> {
        let place = *self.places.get(symbol as usize)? as usize;
        place.checked_sub(1)
    }

    fn standing(&self, place: usize) -> &[Standing] {
        let first = place * self.config.open_max as usize;
        &self.orders[first..][..self.desks[place].orders as usize]
    }

    fn standing_mut(&mut self, place: usize) -> &mut [Standing] {
        let first = place * self.config.open_max as usize;
        &mut self.orders[first..][..self.desks[place].orders as usize]
    }

    /// How long an order, or a report, is on its way: the same for the same one, whenever it is asked for.
    fn delay_ns(&self, least_ns: i64, seq: u64, symbol: u32, ordinal: u16) -> i64 {
        if self.config.jitter_ns == 0 {
            return least_ns;
        }
        let cause = seq ^ u64::from(symbol) << 40 ^ u64::from(ordinal) << 24;
        let word = shuffled(shuffled(self.config.seed) ^ cause);
        let halvings = ((word >> 32) as u32).leading_zeros().min(HALVINGS_MAX);
        let part = u128::from(halvings) << 32 | u128::from(word as u32);
        let more = (part * self.config.jitter_ns as u128) >> 32;
        least_ns.saturating_add(more as i64)
    }

    /// An order leaves for the venue, at its own `ts_event`.
    ///
    /// # Panics
    /// If the signal is no order.
    pub fn decide(&mut self, signal: &Signal) {
        let Some(Body::Order(order)) = signal.body() else {
            panic!("only orders are decided: {signal:?}");
        };
        let Some(place) = self.places.get_mut(signal.symbol as usize) else {
            return;
        };
        if *place == 0 {
            self.desks.push(Desk {
                orders: 0,
                taken: 0,
                arrives_last: Ts::MIN,
                comes_last: Ts::MIN,
                back: 0,
                is_changing: false,
            });
            *place = self.desks.len() as u32;
            let count = self.desks.len();
            let none = Taken {
                side: 0,
                key: 0,
                qty: 0,
            };
            self.orders
                .resize(count * self.config.open_max as usize, NOBODY);
            self.taken.resize(count * TAKEN_MAX, none);
            self.back.resize(
                count * self.config.open_max as usize * BACK_PER_ORDER,
                Back::none(),
            );
        }
        let place = *place as usize - 1;
        let delay_ns = self.delay_ns(
            self.config.latency_ns,
            signal.seq,
            signal.symbol,
            signal.ordinal,
        );
        let desk = &mut self.desks[place];
        let arrives = signal.ts_event.plus_ns(delay_ns).max(desk.arrives_last);
        let standing = Standing {
            seq: signal.seq,
            ordinal: signal.ordinal,
            rule: signal.rule,
            order,
            arrives,
            ..NOBODY
        };
        if desk.orders == self.config.open_max {
            let reason = Some(bus::signal::RejectCode::OpenOrders);
            let cause = (signal.seq, signal.symbol);
            return self.say(cause, signal.ts_event, &standing, Fate::Rejected, reason);
        }
        desk.arrives_last = arrives;
        let at = place * self.config.open_max as usize + desk.orders as usize;
        desk.orders += 1;
        self.orders[at] = standing;
    }

    /// The next event, which its book has not taken yet: what is due before it, and what it does to
    /// our orders. Reports of the event before are gone.
    #[inline]
    pub fn before(&mut self, books: &Books, event: &Event) {
        self.reports.clear();
        if event.kind == Kind::End {
            return self.end(event);
        }
        if event.kind.is_for_all() {
            return;
        }
        if let Some(place) = self.place(event.symbol) {
            self.look(books, place, event);
        }
    }

    /// The same event, which its book has taken.
    #[inline]
    pub fn after(&mut self, books: &Books, event: &Event) {
        if event.kind.is_for_all() {
            return;
        }
        if let Some(place) = self.place(event.symbol) {
            self.clip(books, place, event.symbol);
        }
    }

    /// The input ended: what stands is over.
    #[cold]
    fn end(&mut self, event: &Event) {
        for symbol in 0..self.places.len() as u32 {
            let Some(place) = self.place(symbol) else {
                continue;
            };
            for at in 0..self.desks[place].orders as usize {
                let standing = self.standing(place)[at];
                let cause = (event.seq, symbol);
                self.say(cause, event.ts_event, &standing, Fate::Expired, None);
            }
            self.desks[place].orders = 0;
        }
        // Nobody hears it any more.
        self.early.clear();
    }

    fn look(&mut self, books: &Books, place: usize, event: &Event) {
        let desk = &mut self.desks[place];
        let was_changing = std::mem::replace(&mut desk.is_changing, event.flags.has(Flags::MORE));
        if desk.orders == 0 && desk.taken == 0 {
            return;
        }
        let cause = (event.seq, event.symbol);
        if books.is_stale(event.symbol) {
            self.lose(place, cause, event.ts_event);
        }
        if !was_changing {
            self.pass_time(books, place, cause, event.ts_event);
        }
        if books.phase(event.symbol) == Phase::Trading && !books.is_stale(event.symbol) {
            self.meet(books, place, event);
        }
        self.sweep(place);
    }

    /// Messages are lost, so nobody knows where our orders stand: they are cancelled.
    #[cold]
    fn lose(&mut self, place: usize, cause: (u64, u32), ts: Ts) {
        self.desks[place].taken = 0;
        for at in 0..self.desks[place].orders as usize {
            let standing = self.standing(place)[at];
            if standing.has_arrived {
                self.over(place, at, cause, ts, Fate::Cancelled, Some(BOOK));
            }
        }
        self.sweep(place);
    }

    /// Everything that is due before an event at `ts`, in its order: an order arrives before what is
    /// later than it, and is over before what comes when its time is.
    fn pass_time(&mut self, books: &Books, place: usize, cause: (u64, u32), ts: Ts) {
        loop {
            let due = |(at, standing): (usize, &Standing)| {
                let due = match (standing.has_arrived, standing.order.tif) {
                    (false, _) if standing.arrives < ts => standing.arrives,
                    (true, Tif::Till(end)) if end <= ts && standing.left() > 0 => end,
                    (false | true, _) => return None,
                };
                // At the same time, those that end go first.
                Some((due, !standing.has_arrived, at))
            };
            let all = self.standing(place).iter().enumerate();
            let Some((due, is_arrival, at)) = all.filter_map(due).min() else {
                return;
            };
            match is_arrival {
                true => self.arrive(books, place, at, cause),
                false => self.over(place, at, cause, due, Fate::Expired, None),
            }
        }
    }

    fn arrive(&mut self, books: &Books, place: usize, at: usize, cause: (u64, u32)) {
        let symbol = cause.1;
        let standing = &mut self.standing_mut(place)[at];
        standing.has_arrived = true;
        let Standing { order, arrives, .. } = *standing;
        let refusal = match books.phase(symbol) {
            _ if books.is_stale(symbol) => Some(BOOK),
            Phase::Trading => None,
            Phase::Unknown | Phase::Halted | Phase::QuoteOnly => Some(HALTED),
        };
        if refusal.is_some() {
            return self.over(place, at, cause, arrives, Fate::Rejected, refusal);
        }
        if matches!(order.tif, Tif::Till(end) if end <= arrives) {
            return self.over(place, at, cause, arrives, Fate::Expired, None);
        }
        let shown = books.level(symbol, order.side, order.price);
        let standing = &mut self.standing_mut(place)[at];
        standing.ahead = shown.map_or(0, |level| level.qty.0);
        standing.ahead_orders = shown.map_or(0, |level| level.orders);
        let standing = *standing;
        self.say(cause, arrives, &standing, Fate::New, None);
        self.cross(books, place, at, cause);
        let is_left = self.standing(place)[at].left() > 0;
        if order.tif == Tif::Ioc && is_left {
            self.over(place, at, cause, arrives, Fate::Cancelled, None);
        }
    }

    /// Fills an order that has just come with what is shown across it, as far as ours have not taken it.
    fn cross(&mut self, books: &Books, place: usize, at: usize, cause: (u64, u32)) {
        let standing = self.standing(place)[at];
        let other = 1 - standing.side();
        let limit = standing.order.price.0;
        for id in books.levels_of(cause.1, other) {
            let level = books.levels.get(id);
            let price = price_of(level.key, other).0;
            if is_better(other, limit, price) || self.standing(place)[at].left() == 0 {
                return;
            }
            let left = self.standing(place)[at].left();
            let (mut got, mut has_room) = (0, true);
            match self.config.shows {
                Shows::Orders => {
                    for (reference, qty) in books.queue_of(id) {
                        let asked = (left - got).min(qty.0 - self.taken(place, other, reference));
                        if asked > 0 {
                            has_room = self.take(place, other, reference, asked);
                            got += if has_room { asked } else { 0 };
                        }
                        if got == left || !has_room {
                            break;
                        }
                    }
                }
                Shows::Levels => {
                    let asked = left.min(level.qty - self.taken(place, other, price as u64));
                    if asked > 0 {
                        has_room = self.take(place, other, price as u64, asked);
                        got = if has_room { asked } else { 0 };
                    }
                }
            }
            if got > 0 {
                let ts = standing.arrives;
                self.fill(place, at, cause, ts, price, got);
            }
            if !has_room {
                return;
            }
        }
    }

    /// What an event does to orders that stand.
    fn meet(&mut self, books: &Books, place: usize, event: &Event) {
        match event.kind {
            Kind::Execute | Kind::ExecuteAt => {
                if let Some(named) = named(books, event) {
                    let qty = event.qty.0.min(named.qty);
                    self.executed(books, place, event, &named, qty);
                    self.changed(place, &named, named.qty - qty);
                }
            }
            Kind::Cancel => {
                if let Some(named) = named(books, event) {
                    let qty = event.qty.0.min(named.qty);
                    self.cancelled(books, place, &named, qty);
                    self.changed(place, &named, named.qty - qty);
                }
            }
            Kind::Delete => {
                if let Some(named) = named(books, event) {
                    self.cancelled(books, place, &named, named.qty);
                    self.changed(place, &named, 0);
                }
            }
            Kind::Replace => {
                if let Some(named) = named(books, event) {
                    self.cancelled(books, place, &named, named.qty);
                    self.changed(place, &named, 0);
                    // A price of which more is shown than before, where the feed shows no orders.
                    let is_level = self.config.shows == Shows::Levels;
                    let before = match is_level && event.price.0 == named.price {
                        true => named.qty,
                        false => 0,
                    };
                    let more = event.qty.0 - before;
                    self.added(place, event, named.side, event.order_b, more);
                }
            }
            Kind::Add => {
                let side = match event.side {
                    Side::Buy => 0,
                    Side::Sell => 1,
                    Side::None => return,
                };
                let slot = books.orders.find(event.order);
                if books.orders.get(slot).qty == 0 {
                    self.added(place, event, side, event.order, event.qty.0);
                }
            }
            Kind::Trade => self.printed(place, event),
            Kind::Nothing
            | Kind::Cross
            | Kind::Break
            | Kind::Imbalance
            | Kind::Symbol
            | Kind::Status
            | Kind::System
            | Kind::Info
            | Kind::Tick
            | Kind::Gap
            | Kind::End => {}
        }
    }

    /// The best of our orders that stand on this side and were not looked at yet: by price, then by
    /// arrival.
    fn next_of(&self, place: usize, side: usize, ts: Ts, done: u64) -> Option<usize> {
        let mut best: Option<(usize, i64)> = None;
        for (at, standing) in self.standing(place).iter().enumerate() {
            let is_open = standing.side() == side && standing.stands(ts) && done & (1 << at) == 0;
            let price = standing.order.price.0;
            if is_open && best.is_none_or(|(_, before)| is_better(side, price, before)) {
                best = Some((at, price));
            }
        }
        best.map(|(at, _)| at)
    }

    /// So much of a real order is executed. Somebody would have met ours first, where they are better.
    fn executed(&mut self, books: &Books, place: usize, event: &Event, named: &Named, qty: i64) {
        let (mut rest, mut done) = (qty, 0u64);
        let cause = (event.seq, event.symbol);
        while let Some(at) = self.next_of(place, named.side, event.ts_event, done) {
            done |= 1 << at;
            let standing = self.standing(place)[at];
            let price = standing.order.price.0;
            if is_better(named.side, named.price, price) {
                return;
            }
            let mut mine = standing.left();
            if price == named.price {
                mine = mine.min(qty - self.forward(books, place, at, named, qty, true));
            }
            let got = mine.min(rest);
            if got > 0 {
                self.fill(place, at, cause, event.ts_event, price, got);
                rest -= got;
            }
        }
    }

    /// So much of a real order is not there any more.
    fn cancelled(&mut self, books: &Books, place: usize, named: &Named, qty: i64) {
        if self.config.shows == Shows::Levels {
            return;
        }
        for at in 0..self.desks[place].orders as usize {
            let standing = &self.standing(place)[at];
            let is_there = standing.has_arrived && standing.side() == named.side;
            if is_there && standing.order.price.0 == named.price {
                self.forward(books, place, at, named, qty, false);
            }
        }
    }

    /// Moves an order of ours forward by what leaves the queue before it at its price; how much that is.
    fn forward(
        &mut self,
        books: &Books,
        place: usize,
        at: usize,
        named: &Named,
        qty: i64,
        is_execution: bool,
    ) -> i64 {
        let shows = self.config.shows;
        let standing = &mut self.standing_mut(place)[at];
        match shows {
            Shows::Levels if !is_execution => 0,
            Shows::Levels => {
                let moved = standing.ahead.min(qty);
                standing.ahead -= moved;
                moved
            }
            Shows::Orders => {
                let queue = books.queue_of(named.level);
                let mut ahead = queue.take(standing.ahead_orders as usize);
                if !ahead.any(|(reference, _)| reference == named.reference) {
                    return 0;
                }
                standing.ahead -= qty;
                standing.ahead_orders -= u32::from(qty == named.qty);
                // All of it went to those before us.
                qty
            }
        }
    }

    /// So much more is shown on a side: ours across it would have met it first.
    fn added(&mut self, place: usize, event: &Event, side: usize, reference: u64, qty: i64) {
        let price = event.price.0;
        if price <= 0 || !event.price.is_some() || qty <= 0 {
            return;
        }
        let other = 1 - side;
        let key = match self.config.shows {
            Shows::Orders => reference,
            Shows::Levels => price as u64,
        };
        let (mut rest, mut done) = (qty, 0u64);
        while let Some(at) = self.next_of(place, other, event.ts_event, done) {
            done |= 1 << at;
            let standing = self.standing(place)[at];
            let own = standing.order.price.0;
            let got = standing.left().min(rest);
            // One that does not cross is as good as all behind it.
            if is_better(other, price, own) || got == 0 || !self.take(place, side, key, got) {
                return;
            }
            let cause = (event.seq, event.symbol);
            self.fill(place, at, cause, event.ts_event, own, got);
            rest -= got;
        }
    }

    /// A trade that names no order. Its side is that of who was there before it; where the feed shows
    /// orders it was with one that is not shown, and that side is not told.
    fn printed(&mut self, place: usize, event: &Event) {
        let is_told = self.config.shows == Shows::Levels;
        for side in 0..2 {
            let stood = [Side::Buy, Side::Sell][side];
            let is_named = is_told && event.side == stood;
            if is_told && event.side == stood.other() {
                continue;
            }
            let (mut rest, mut done) = (event.qty.0, 0u64);
            while let Some(at) = self.next_of(place, side, event.ts_event, done) {
                done |= 1 << at;
                let standing = &mut self.standing_mut(place)[at];
                let price = standing.order.price.0;
                let mut mine = standing.left();
                if price == event.price.0 && is_named {
                    let moved = standing.ahead.min(event.qty.0);
                    standing.ahead -= moved;
                    mine = mine.min(event.qty.0 - moved);
                } else if !is_better(side, price, event.price.0) {
                    break;
                }
                let got = mine.min(rest);
                if got > 0 {
                    let cause = (event.seq, event.symbol);
                    self.fill(place, at, cause, event.ts_event, price, got);
                    rest -= got;
                }
            }
        }
    }

    /// A real order has so much left: of less than ours took, ours have taken all.
    fn changed(&mut self, place: usize, named: &Named, left: i64) {
        if self.config.shows == Shows::Orders {
            self.cut(place, named.side, named.reference, left);
        }
    }

    fn cut(&mut self, place: usize, side: usize, key: u64, left: i64) {
        let count = self.desks[place].taken as usize;
        let taken = &mut self.taken[place * TAKEN_MAX..][..count];
        let found = |taken: &Taken| (usize::from(taken.side), taken.key) == (side, key);
        if let Some(at) = taken.iter().position(found) {
            taken[at].qty = taken[at].qty.min(left);
            if left <= 0 {
                taken.swap(at, count - 1);
                self.desks[place].taken -= 1;
            }
        }
    }

    fn taken(&self, place: usize, side: usize, key: u64) -> i64 {
        let taken = &self.taken[place * TAKEN_MAX..][..self.desks[place].taken as usize];
        let mut found = taken.iter();
        found
            .find(|taken| (usize::from(taken.side), taken.key) == (side, key))
            .map_or(0, |taken| taken.qty)
    }

    /// Remembers that ours took so much; not, where there is no room to remember it.
    fn take(&mut self, place: usize, side: usize, key: u64, qty: i64) -> bool {
        let count = self.desks[place].taken as usize;
        let all = &mut self.taken[place * TAKEN_MAX..][..TAKEN_MAX];
        let found = |taken: &Taken| (usize::from(taken.side), taken.key) == (side, key);
        if let Some(at) = all[..count].iter().position(found) {
            all[at].qty += qty;
            return true;
        }
        let Some(free) = all.get_mut(count) else {
            return false;
        };
        *free = Taken {
            side: side as u8,
            key,
            qty,
        };
        self.desks[place].taken += 1;
        true
    }

    /// No more can be before an order than is shown at its price, and no more can be taken there.
    fn clip(&mut self, books: &Books, place: usize, symbol: u32) {
        for standing in self.standing_mut(place) {
            if standing.has_arrived && standing.ahead > 0 {
                let level = books.level(symbol, standing.order.side, standing.order.price);
                let (qty, orders) = level.map_or((0, 0), |level| (level.qty.0, level.orders));
                standing.ahead = standing.ahead.min(qty);
                standing.ahead_orders = standing.ahead_orders.min(orders);
            }
        }
        if self.config.shows == Shows::Levels {
            let mut at = 0;
            while at < self.desks[place].taken as usize {
                let Taken { side, key, .. } = self.taken[place * TAKEN_MAX + at];
                let named = [Side::Buy, Side::Sell][usize::from(side)];
                let level = books.level(symbol, named, Price(key as i64));
                let left = level.map_or(0, |level| level.qty.0);
                self.cut(place, side.into(), key, left);
                at += usize::from(left > 0);
            }
        }
    }

    fn fill(&mut self, place: usize, at: usize, cause: (u64, u32), ts: Ts, price: i64, qty: i64) {
        let standing = &mut self.standing_mut(place)[at];
        standing.filled += qty;
        debug_assert!(standing.filled <= standing.order.qty.0);
        debug_assert!(
            !is_better(standing.side(), price, standing.order.price.0) || {
                // Better than the limit is what an order finds when it comes.
                ts == standing.arrives
            }
        );
        let standing = *standing;
        let report = Report {
            price: Price(price),
            qty: Qty(qty),
            ..report(&standing, Fate::Fill)
        };
        self.push(cause, ts, standing.rule, report);
    }

    /// An order ends here.
    fn over(
        &mut self,
        place: usize,
        at: usize,
        cause: (u64, u32),
        ts: Ts,
        fate: Fate,
        reason: Option<bus::signal::RejectCode>,
    ) {
        let standing = &mut self.standing_mut(place)[at];
        let said = *standing;
        // What is filled is all that it ever wanted now: it goes with the next sweep.
        standing.order.qty = Qty(standing.filled);
        self.say(cause, ts, &said, fate, reason);
    }

    fn say(
        &mut self,
        cause: (u64, u32),
        ts: Ts,
        standing: &Standing,
        fate: Fate,
        reason: Option<bus::signal::RejectCode>,
    ) {
        let is_open = fate == Fate::New;
        let report = Report {
            reason,
            qty: Qty(if is_open { 0 } else { standing.left() }),
            left: Qty(if is_open { standing.left() } else { 0 }),
            ..report(standing, fate)
        };
        self.push(cause, ts, standing.rule, report);
    }

    fn push(&mut self, (seq, symbol): (u64, u32), ts: Ts, rule: u8, report: Report) {
        // Of its symbol: what others of the same shard say does not show.
        let before = self.reports.iter().rev();
        let before = before.take_while(|report| report.symbol == symbol).count();
        let ordinal = Paper::ORDINAL_FIRST + before as u16;
        let report = Signal::new(ts, seq, symbol, rule, ordinal, Body::Report(report));
        self.reports.push(report);
        if let Some(place) = self.place(symbol) {
            self.come_back(place, report);
        }
    }

    /// Takes orders out that are done.
    fn sweep(&mut self, place: usize) {
        let first = place * self.config.open_max as usize;
        let count = self.desks[place].orders as usize;
        let orders = &mut self.orders[first..][..count];
        let mut kept = 0;
        for at in 0..count {
            if orders[at].left() > 0 {
                orders[kept] = orders[at];
                kept += 1;
            }
        }
        self.desks[place].orders = kept as u32;
    }

    /// Saves what is known of a symbol.
    pub fn save(&self, symbol: u32, out: &mut StateWriter<'_>) {
        let place = self.place(symbol);
        out.bool(place.is_some());
        let Some(place) = place else { return };
        let desk = &self.desks[place];
        out.i64(desk.arrives_last.0);
        out.bool(desk.is_changing);
        out.u32(desk.orders);
        for standing in self.standing(place) {
            let signal = Signal::new(
                standing.arrives,
                standing.seq,
                symbol,
                standing.rule,
                standing.ordinal,
                Body::Order(standing.order),
            );
            out.bytes(signal.as_bytes());
            out.i64(standing.filled);
            out.bool(standing.has_arrived);
            out.i64(standing.ahead);
            out.u32(standing.ahead_orders);
        }
        out.u32(desk.taken);
        for taken in &self.taken[place * TAKEN_MAX..][..desk.taken as usize] {
            out.u8(taken.side);
            out.u64(taken.key);
            out.i64(taken.qty);
        }
        debug_assert!(self.early.is_empty(), "all are heard with their event");
        out.i64(desk.comes_last.0);
        out.u32(desk.back);
        for back in &self.back[place * self.back_max()..][..desk.back as usize] {
            out.i64(back.comes.0);
            out.bytes(back.report.as_bytes());
        }
    }

    /// Loads what was known of a symbol that has not had an order here.
    pub fn load(&mut self, symbol: u32, from: &mut StateReader<'_>) -> Result<(), StateError> {
        if !from.bool()? {
            return Ok(());
        }
        let symbols = self.places.len();
        match self.places.get_mut(symbol as usize) {
            Some(place @ 0) => *place = self.desks.len() as u32 + 1,
            Some(_) => return Err(from.error(format_args!("symbol {symbol} once only"))),
            None => {
                return Err(from.error(format_args!("a symbol below {symbols}, found {symbol}")));
            }
        }
        let (arrives_last, is_changing) = (Ts(from.i64()?), from.bool()?);
        let (orders, open_max) = (from.u32()?, self.config.open_max);
        if orders > open_max {
            return Err(from.error(format_args!("at most {open_max} orders, found {orders}")));
        }
        for _ in 0..orders {
            let bytes = from.bytes(128)?.first_chunk();
            let signal = bytes.and_then(Signal::from_bytes);
            let order = signal.and_then(|signal| match signal.body() {
                Some(Body::Order(order)) => Some((signal, order)),
                _ => None,
            });
            let Some((signal, order)) = order else {
                return Err(from.error("an order"));
            };
            let standing = Standing {
                seq: signal.seq,
                ordinal: signal.ordinal,
                rule: signal.rule,
                order,
                filled: from.i64()?,
                arrives: signal.ts_event,
                has_arrived: from.bool()?,
                ahead: from.i64()?,
                ahead_orders: from.u32()?,
            };
            let is_sound = order.side != Side::None && standing.ahead >= 0;
            if !is_sound || !(0..order.qty.0).contains(&standing.filled) {
                return Err(from.error("an order that stands"));
            }
            self.orders.push(standing);
        }
        let count = self.desks.len() + 1;
        self.orders.resize(count * open_max as usize, NOBODY);
        let taken = from.u32()?;
        if taken as usize > TAKEN_MAX {
            return Err(from.error(format_args!("at most {TAKEN_MAX}, found {taken}")));
        }
        for _ in 0..taken {
            let (side, key, qty) = (from.u8()?, from.u64()?, from.i64()?);
            if side > 1 || qty <= 0 {
                return Err(from.error("what was taken of a side"));
            }
            self.taken.push(Taken { side, key, qty });
        }
        let none = Taken {
            side: 0,
            key: 0,
            qty: 0,
        };
        self.taken.resize(count * TAKEN_MAX, none);
        let (comes_last, back) = (Ts(from.i64()?), from.u32()?);
        let most = self.back_max();
        if back as usize > most {
            return Err(from.error(format_args!("at most {most} reports, found {back}")));
        }
        for _ in 0..back {
            let comes = Ts(from.i64()?);
            let bytes = from.bytes(128)?.first_chunk();
            let report = bytes.and_then(Signal::from_bytes);
            let is_report = |signal: &Signal| matches!(signal.body(), Some(Body::Report(_)));
            let Some(report) = report.filter(is_report) else {
                return Err(from.error("a report on its way"));
            };
            self.back.push(Back { comes, report });
        }
        self.back.resize(count * most, Back::none());
        self.desks.push(Desk {
            orders,
            taken,
            arrives_last,
            comes_last,
            back,
            is_changing,
        });
        Ok(())
    }
}

const BOOK: bus::signal::RejectCode = bus::signal::RejectCode::Book;
const HALTED: bus::signal::RejectCode = bus::signal::RejectCode::Halted;

fn report(standing: &Standing, fate: Fate) -> Report {
    Report {
        order_seq: standing.seq,
        order_ordinal: standing.ordinal,
        fate,
        side: standing.order.side,
        reason: None,
        price: Price(0),
        qty: Qty(0),
        filled: Qty(standing.filled),
        left: Qty(standing.left()),
        ahead: Qty(standing.ahead),
        limit: standing.order.price,
    }
}

/// The order that an event takes from, as it is before, if it is in the event's book.
fn named(books: &Books, event: &Event) -> Option<Named> {
    let slot = books.orders.find(event.order);
    let order = books.orders.get(slot);
    if order.qty == 0 {
        return None;
    }
    let takes_all = matches!(event.kind, Kind::Delete | Kind::Replace);
    if !takes_all && event.qty.0 <= 0 {
        return None;
    }
    let level = books.levels.get(order.level());
    let (symbol, side) = (level.side >> 1, level.side as usize & 1);
    (symbol == event.symbol).then(|| Named {
        reference: event.order,
        level: order.level(),
        side,
        price: price_of(level.key, side).0,
        qty: books.orders.qty::<true>(slot, order),
    })
}
