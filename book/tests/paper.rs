//! Orders of ours in books that do not know of them: by hand, against explicit queues, and against an
//! exchange that really has them.

use std::collections::BTreeMap;

use book::{Books, BooksConfig, Depth, Paper, PaperConfig, Shows};
use bus::signal::{Fate, Order, RejectCode, Report, Tif};
use bus::state::{StateReader, StateWriter, Versions};
use bus::{Body, Event, Flags, Kind, Price, Qty, Side, Signal, Ts};

const SYMBOL: u32 = 3;

fn config(shows: Shows) -> PaperConfig {
    PaperConfig {
        symbols_max: 8,
        open_max: 16,
        latency_ns: 10,
        report_latency_ns: 0,
        jitter_ns: 0,
        seed: 1,
        shows,
    }
}

struct Venue {
    books: Books,
    paper: Paper,
    seq: u64,
    /// All reports, with the number of the event that caused them.
    said: Vec<(Signal, Report)>,
    /// Those that came back, with the time of the event that they came before.
    heard: Vec<(i64, Signal)>,
}

impl Venue {
    fn new(config: PaperConfig, depth: Depth) -> Venue {
        let books = Books::new(BooksConfig {
            orders_max: 10_000,
            levels_max: 10_000,
            symbols_max: config.symbols_max,
            depth,
        });
        let mut venue = Venue {
            books: books.unwrap(),
            paper: Paper::new(config),
            seq: 0,
            said: Vec::new(),
            heard: Vec::new(),
        };
        venue.status(0, b'T');
        venue
    }

    fn event(&mut self, ts: i64, event: Event) {
        self.seq += 1;
        let event = Event {
            ts_event: Ts(ts),
            seq: self.seq,
            symbol: SYMBOL,
            ..event
        };
        self.paper.before(&self.books, &event);
        self.books.apply(&event);
        self.paper.after(&self.books, &event);
        self.note();
        while let Some(signal) = self.paper.heard(SYMBOL, Ts(ts)) {
            self.heard.push((ts, signal));
        }
    }

    fn note(&mut self) {
        for signal in self.paper.reports() {
            let Some(Body::Report(report)) = signal.body() else {
                panic!("only reports are said: {signal:?}");
            };
            self.said.push((*signal, report));
        }
        self.paper.clear();
    }

    /// What is known of orders, saved and loaded.
    fn reload(&mut self, config: PaperConfig) {
        let mut bytes = Vec::new();
        let mut out = StateWriter::new(&mut bytes, Versions::NEWEST);
        self.paper.save(SYMBOL, &mut out);
        out.finish().unwrap();
        let mut paper = Paper::new(config);
        let mut from = StateReader::new(&bytes, Versions::NEWEST);
        paper.load(SYMBOL, &mut from).unwrap();
        from.end().unwrap();
        self.paper = paper;
    }

    fn status(&mut self, ts: i64, letter: u8) {
        let mut event = Event::new(Kind::Status);
        event.order = letter.into();
        self.event(ts, event);
    }

    fn add(&mut self, ts: i64, id: u64, side: Side, price: i64, qty: i64) {
        self.event(ts, add(id, side, price, qty));
    }

    fn take(&mut self, ts: i64, kind: Kind, id: u64, qty: i64) {
        self.event(ts, take(kind, id, qty));
    }

    /// Our order, decided at `ts`; its number is its ordinal.
    fn order(&mut self, ts: i64, number: u16, side: Side, price: i64, qty: i64, tif: Tif) {
        let order = Order {
            side,
            price: Price(price),
            qty: Qty(qty),
            bid: Price::NONE,
            ask: Price::NONE,
            tif,
        };
        let body = Body::Order(order);
        let signal = Signal::new(Ts(ts), self.seq, SYMBOL, 2, number, body);
        self.paper.decide(&signal);
        self.note();
    }

    fn text(&self) -> String {
        let lines = self.said.iter().map(|(signal, report)| {
            let (what, ts) = (report.fate.name(), signal.ts_event.0);
            let mut line = format!("{ts} #{} {what}", report.order_ordinal);
            match report.fate {
                Fate::New => line += &format!(" behind {}", report.ahead.0),
                Fate::Fill => {
                    line += &format!(
                        " {}@{} left {}",
                        report.qty.0, report.price.0, report.left.0
                    );
                }
                Fate::Cancelled | Fate::Expired | Fate::Rejected => {}
            }
            match report.reason {
                Some(reason) => line + " " + reason.name(),
                None => line,
            }
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    #[track_caller]
    fn check(&self, want: &str) {
        let want: Vec<&str> = want.lines().map(str::trim).collect();
        assert_eq!(self.text(), want.join("\n"));
    }
}

fn add(id: u64, side: Side, price: i64, qty: i64) -> Event {
    Event {
        order: id,
        side,
        price: Price(price),
        qty: Qty(qty),
        ..Event::new(Kind::Add)
    }
}

fn take(kind: Kind, id: u64, qty: i64) -> Event {
    Event {
        order: id,
        qty: Qty(qty),
        ..Event::new(kind)
    }
}

fn trade(side: Side, price: i64, qty: i64) -> Event {
    Event {
        side,
        price: Price(price),
        qty: Qty(qty),
        flags: Flags::PRINTABLE,
        ..Event::new(Kind::Trade)
    }
}

use Side::{Buy, Sell};

#[test]
fn an_order_waits_behind_all_that_was_shown_when_it_came() {
    let mut venue = Venue::new(config(Shows::Orders), Depth::L3);
    venue.add(1, 1, Buy, 100, 50);
    venue.add(2, 2, Buy, 100, 30);
    venue.order(2, 1, Buy, 100, 40, Tif::Day);
    // Within the latency: it comes before the order of ours does, and so before it.
    venue.add(12, 3, Buy, 100, 20);
    venue.add(13, 4, Buy, 100, 10);
    venue.take(14, Kind::Execute, 1, 50);
    venue.take(15, Kind::Cancel, 2, 10);
    venue.take(16, Kind::Delete, 4, 0);
    venue.take(17, Kind::Execute, 2, 20);
    venue.add(18, 5, Buy, 100, 15);
    venue.take(19, Kind::Execute, 3, 20);
    venue.take(20, Kind::Execute, 5, 15);
    venue.add(21, 6, Buy, 99, 100);
    venue.take(22, Kind::Execute, 6, 60);
    venue.check(
        "12 #1 new behind 100
         20 #1 fill 15@100 left 25
         22 #1 fill 25@100 left 0",
    );
}

#[test]
fn what_crosses_is_filled_once_and_not_twice() {
    let mut venue = Venue::new(config(Shows::Orders), Depth::L3);
    venue.add(1, 1, Sell, 101, 30);
    venue.add(1, 2, Sell, 101, 30);
    venue.add(1, 3, Sell, 102, 50);
    venue.order(1, 1, Buy, 102, 70, Tif::Ioc);
    venue.order(2, 2, Buy, 102, 70, Tif::Ioc);
    venue.add(20, 4, Buy, 90, 1);
    // What is left of it is less than was shown; ours had ten of it.
    venue.take(21, Kind::Cancel, 3, 45);
    venue.order(21, 3, Buy, 102, 70, Tif::Day);
    venue.add(40, 5, Buy, 90, 1);
    venue.add(41, 6, Sell, 101, 7);
    venue.order(41, 4, Buy, 101, 5, Tif::Ioc);
    venue.add(60, 7, Buy, 90, 1);
    venue.check(
        "11 #1 new behind 0
         11 #1 fill 60@101 left 10
         11 #1 fill 10@102 left 0
         12 #2 new behind 0
         12 #2 fill 40@102 left 30
         12 #2 cancelled
         31 #3 new behind 0
         41 #3 fill 7@102 left 63
         51 #4 new behind 0
         51 #4 cancelled",
    );
}

#[test]
fn orders_end_with_their_time_with_the_input_and_with_lost_messages() {
    let mut venue = Venue::new(config(Shows::Orders), Depth::L3);
    venue.add(1, 1, Buy, 100, 10);
    venue.order(1, 1, Buy, 100, 5, Tif::Till(Ts(30)));
    venue.order(1, 2, Buy, 99, 5, Tif::Day);
    venue.order(1, 3, Buy, 98, 5, Tif::Till(Ts(11)));
    venue.take(30, Kind::Execute, 1, 10);
    venue.status(31, b'H');
    venue.order(31, 4, Buy, 99, 5, Tif::Day);
    venue.add(50, 2, Sell, 99, 10);
    venue.status(51, b'T');
    venue.order(51, 5, Buy, 98, 5, Tif::Day);
    let mut gap = Event::new(Kind::Gap);
    gap.qty = Qty(1);
    venue.event(52, gap);
    venue.add(70, 3, Sell, 99, 10);
    gap.flags = Flags::WHOLE;
    venue.event(71, gap);
    venue.order(71, 6, Buy, 98, 5, Tif::Day);
    venue.add(90, 4, Sell, 99, 10);
    venue.event(91, Event::new(Kind::End));
    venue.check(
        "11 #1 new behind 10
         11 #2 new behind 0
         11 #3 expired
         30 #1 expired
         41 #4 rejected halted
         70 #2 cancelled book
         61 #5 rejected book
         81 #6 new behind 0
         91 #6 expired",
    );
    assert_eq!(venue.paper.open_orders(SYMBOL), 0);
}

/// Numbers of reports once went on from symbol to symbol, so that they depended on the shards.
#[test]
fn reports_of_one_symbol_are_numbered_alike_whatever_others_say() {
    let ordinals = |symbols: &[u32]| -> Vec<u16> {
        let mut venue = Venue::new(config(Shows::Orders), Depth::L3);
        for symbol in symbols {
            let order = Order {
                side: Buy,
                price: Price(100),
                qty: Qty(1),
                bid: Price::NONE,
                ask: Price::NONE,
                tif: Tif::Day,
            };
            let signal = Signal::new(Ts(1), 1, *symbol, 2, 0, Body::Order(order));
            venue.paper.decide(&signal);
        }
        venue.event(9, Event::new(Kind::End));
        let of_symbol = venue.said.iter().filter(|said| said.0.symbol == SYMBOL);
        of_symbol.map(|said| said.0.ordinal).collect()
    };
    assert_eq!(ordinals(&[SYMBOL]), [Paper::ORDINAL_FIRST]);
    assert_eq!(ordinals(&[1, 2, SYMBOL]), [Paper::ORDINAL_FIRST]);
}

#[test]
fn more_orders_than_may_stand_are_refused() {
    let mut venue = Venue::new(config(Shows::Orders), Depth::L3);
    for number in 0..17 {
        venue.order(1, number, Buy, 100, 5, Tif::Day);
    }
    venue.check("1 #16 rejected open_orders");
    let last = &venue.said[0].1;
    assert_eq!(last.reason, Some(RejectCode::OpenOrders));
}

#[test]
fn where_levels_are_shown_cancels_are_behind_us_as_long_as_they_can_be() {
    let mut venue = Venue::new(config(Shows::Levels), Depth::L3);
    let level = |qty| Event {
        order: 1,
        order_b: 1,
        price: Price(100),
        qty: Qty(qty),
        ..Event::new(Kind::Replace)
    };
    venue.add(1, 1, Buy, 100, 100);
    venue.order(1, 1, Buy, 100, 20, Tif::Day);
    venue.event(20, level(150));
    venue.event(21, level(110));
    // Trades, and then the level that they left.
    venue.event(22, trade(Buy, 100, 60));
    venue.event(23, level(50));
    venue.event(24, trade(Sell, 100, 500));
    venue.event(25, level(30));
    venue.event(26, trade(Buy, 100, 35));
    venue.event(27, trade(Buy, 99, 8));
    venue.event(28, trade(Buy, 99, 8));
    venue.check(
        "11 #1 new behind 100
         26 #1 fill 5@100 left 15
         27 #1 fill 8@100 left 7
         28 #1 fill 7@100 left 0",
    );
    // What is taken of a level stays taken until less is shown than that.
    venue.add(30, 2, Sell, 105, 40);
    venue.order(30, 2, Buy, 105, 30, Tif::Ioc);
    venue.order(31, 3, Buy, 105, 30, Tif::Ioc);
    venue.add(50, 3, Buy, 90, 1);
    venue.check(
        "11 #1 new behind 100
         26 #1 fill 5@100 left 15
         27 #1 fill 8@100 left 7
         28 #1 fill 7@100 left 0
         40 #2 new behind 0
         40 #2 fill 30@105 left 0
         41 #3 new behind 0
         41 #3 fill 10@105 left 20
         41 #3 cancelled",
    );
}

#[test]
fn reports_come_back_in_their_order_and_not_before_their_time() {
    let config = PaperConfig {
        report_latency_ns: 100,
        jitter_ns: 40,
        ..config(Shows::Orders)
    };
    let mut venue = Venue::new(config, Depth::L3);
    for ts in 0..2_000 {
        if ts % 20 == 0 {
            venue.order(ts, 7, Buy, 100, 1, Tif::Ioc);
        }
        venue.add(ts, 10 + ts as u64, Side::Sell, 200, 1);
        // Saved and loaded in between.
        if ts % 50 == 0 {
            venue.reload(config);
        }
    }
    assert!(venue.said.len() > 2 * 85, "each was new, and cancelled");
    let heard: Vec<Signal> = venue.heard.iter().map(|(_, signal)| *signal).collect();
    let said: Vec<Signal> = venue.said.iter().map(|(signal, _)| *signal).collect();
    assert!(heard.len() > 2 * 75);
    assert_eq!(heard, said[..heard.len()], "in their order, each once");
    let ways = venue
        .heard
        .iter()
        .map(|(ts, signal)| ts - signal.ts_event.0);
    let (least, most) = ways.fold((i64::MAX, 0), |(a, b), way| (a.min(way), b.max(way)));
    assert!(least >= 100 && most > 140, "from {least} to {most}");
    // Of more than may be on their way, the oldest comes at once.
    let config = PaperConfig {
        report_latency_ns: 1_000_000,
        jitter_ns: 0,
        open_max: 1,
        ..config
    };
    let mut venue = Venue::new(config, Depth::L3);
    for ts in 0..400 {
        if ts % 100 == 0 {
            venue.order(ts, 7, Buy, 100, 1, Tif::Ioc);
        }
        venue.add(ts, 10 + ts as u64, Side::Sell, 200, 1);
    }
    assert_eq!((venue.said.len(), venue.heard.len()), (8, 4));
}

#[test]
fn latencies_are_drawn_by_the_order_and_halve() {
    let delays = |seed: u64| -> Vec<i64> {
        let config = PaperConfig {
            jitter_ns: 1_000,
            latency_ns: 5_000,
            seed,
            open_max: 1,
            ..config(Shows::Orders)
        };
        let one = |seq: u64| {
            let mut venue = Venue::new(config, Depth::L3);
            venue.seq = seq;
            venue.order(0, 0, Buy, 100, 1, Tif::Day);
            venue.add(1 << 40, 1, Buy, 90, 1);
            venue.said[0].0.ts_event.0
        };
        (0..400).map(one).collect()
    };
    let (one, again, other) = (delays(1), delays(1), delays(2));
    assert_eq!(one, again);
    assert_ne!(one, other);
    assert!(one.iter().all(|delay| *delay >= 5_000));
    let slower = |than: i64| one.iter().filter(|delay| **delay >= 5_000 + than).count();
    for (than, want) in [(1_000, 200), (2_000, 100), (3_000, 50)] {
        let found = slower(than);
        assert!(found.abs_diff(want) < 45, "{found} slower than {than}");
    }
}

/// A small generator of random numbers: xorshift64*.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 8) % bound
    }

    fn side(&mut self) -> Side {
        [Buy, Sell][self.below(2) as usize]
    }
}

fn is_better(side: Side, a: i64, b: i64) -> bool {
    if side == Buy { a > b } else { a < b }
}

/// One of a side's orders, real or ours, in the one queue that both stand in.
#[derive(Clone, Copy, Debug)]
struct Queued {
    side: Side,
    price: i64,
    /// Real orders by their reference, ours by their number.
    id: Result<u64, u16>,
    qty: i64,
    /// Of a real one: what ours have of it.
    taken: i64,
}

/// What an event filled of an order at a price, all together.
type Fills = BTreeMap<(u64, u16, i64), i64>;

/// Every order in explicit queues; who comes first is found by looking at all.
#[derive(Default)]
struct Queues {
    /// In the order in which they came.
    all: Vec<Queued>,
    fills: Fills,
}

impl Queues {
    /// Ours of one side, the best first.
    fn ours(&self, side: Side, may: impl Fn(usize, &Queued) -> bool) -> Vec<usize> {
        let all = self.all.iter().enumerate();
        let found = all
            .filter(|(at, queued)| queued.side == side && queued.id.is_err() && may(*at, queued));
        let mut found: Vec<usize> = found.map(|(at, _)| at).collect();
        let sign = if side == Buy { -1 } else { 1 };
        found.sort_by_key(|at| (sign * self.all[*at].price, *at));
        found
    }

    fn fill(&mut self, seq: u64, at: usize, price: i64, qty: i64) {
        let queued = &mut self.all[at];
        let number = queued.id.unwrap_err();
        queued.qty -= qty;
        *self.fills.entry((seq, number, price)).or_default() += qty;
    }

    fn at(&self, id: u64) -> Option<usize> {
        self.all.iter().position(|queued| queued.id == Ok(id))
    }

    fn apply(&mut self, event: &Event) {
        match event.kind {
            Kind::Add => self.add(event, event.order, event.side),
            Kind::Execute => {
                let Some(real) = self.at(event.order) else {
                    return;
                };
                let Queued {
                    side, price, qty, ..
                } = self.all[real];
                let mut rest = event.qty.0.min(qty);
                let first = |at: usize, ours: &Queued| {
                    is_better(side, ours.price, price) || ours.price == price && at < real
                };
                for at in self.ours(side, first) {
                    let got = rest.min(self.all[at].qty);
                    if got > 0 {
                        self.fill(event.seq, at, self.all[at].price, got);
                        rest -= got;
                    }
                }
                self.reduce(real, event.qty.0);
            }
            Kind::Cancel => {
                if let Some(real) = self.at(event.order) {
                    self.reduce(real, event.qty.0);
                }
            }
            Kind::Delete => {
                if let Some(real) = self.at(event.order) {
                    self.reduce(real, i64::MAX);
                }
            }
            Kind::Replace => {
                if let Some(real) = self.at(event.order) {
                    let side = self.all[real].side;
                    self.reduce(real, i64::MAX);
                    self.add(event, event.order_b, side);
                }
            }
            _ => panic!("no such event is made: {event:?}"),
        }
        self.all.retain(|queued| queued.qty > 0);
    }

    fn reduce(&mut self, at: usize, qty: i64) {
        let real = &mut self.all[at];
        real.qty = (real.qty - qty).max(0);
        real.taken = real.taken.min(real.qty);
    }

    fn add(&mut self, event: &Event, id: u64, side: Side) {
        let (price, qty) = (event.price.0, event.qty.0);
        let mut rest = qty;
        let crosses = |_: usize, ours: &Queued| !is_better(side.other(), price, ours.price);
        for at in self.ours(side.other(), crosses) {
            let got = rest.min(self.all[at].qty);
            if got > 0 {
                self.fill(event.seq, at, self.all[at].price, got);
                rest -= got;
            }
        }
        self.all.push(Queued {
            side,
            price,
            id: Ok(id),
            qty,
            taken: qty - rest,
        });
    }

    fn arrive(&mut self, seq: u64, number: u16, side: Side, price: i64, qty: i64, tif: Tif) {
        self.all.push(Queued {
            side,
            price,
            id: Err(number),
            qty,
            taken: 0,
        });
        let mine = self.all.len() - 1;
        loop {
            let open = self.all.iter().enumerate().filter(|(_, real)| {
                let is_there = real.side == side.other() && real.id.is_ok();
                is_there && real.qty > real.taken && !is_better(side.other(), price, real.price)
            });
            let sign = if side == Buy { 1 } else { -1 };
            let best = open.min_by_key(|(at, real)| (sign * real.price, *at));
            let Some((at, real)) = best.filter(|_| self.all[mine].qty > 0) else {
                break;
            };
            let (got, at_price) = ((real.qty - real.taken).min(self.all[mine].qty), real.price);
            self.all[at].taken += got;
            self.fill(seq, mine, at_price, got);
        }
        if tif == Tif::Ioc || self.all[mine].qty == 0 {
            self.all.pop();
        }
    }
}

/// A stream like an exchange's: executions take from the best order of a side, and what comes does not
/// cross what is there, mostly.
fn stream(random: &mut Random, events: usize) -> Vec<Event> {
    let mut live: Vec<(u64, Side, i64, i64)> = Vec::new();
    let mut next = 1;
    let mut out = Vec::new();
    for _ in 0..events {
        let price = |random: &mut Random, side: Side| {
            let away = random.below(6) as i64 - i64::from(random.below(8) == 0) * 4;
            1_000 + random.below(3) as i64 + if side == Buy { -away - 1 } else { away + 1 }
        };
        let dice = random.below(10);
        if live.len() < 4 || (dice < 4 && live.len() < 30) {
            let side = random.side();
            let (price, qty) = (price(random, side), 1 + random.below(60) as i64);
            live.push((next, side, price, qty));
            out.push(add(next, side, price, qty));
            next += 1;
            continue;
        }
        let at = match dice {
            // The best of a side, the first of its price.
            0..7 => {
                let side = random.side();
                let sign = if side == Buy { -1 } else { 1 };
                let mine = live.iter().enumerate().filter(|(_, one)| one.1 == side);
                let best = mine.min_by_key(|(at, one)| (sign * one.2, *at));
                best.map_or(0, |(at, _)| at)
            }
            _ => random.below(live.len() as u64) as usize,
        };
        let (id, side, own, qty) = live[at];
        let part = 1 + random.below(qty as u64 + 4) as i64;
        match (dice, random.below(3)) {
            (0..7, _) | (_, 0) => {
                let kind = if dice < 7 {
                    Kind::Execute
                } else {
                    Kind::Cancel
                };
                out.push(take(kind, id, part));
                live[at].3 -= part;
            }
            (_, 1) => {
                out.push(take(Kind::Delete, id, 0));
                live[at].3 = 0;
            }
            _ => {
                let price = if random.below(2) == 0 {
                    own
                } else {
                    price(random, side)
                };
                out.push(Event {
                    order_b: next,
                    price: Price(price),
                    ..take(Kind::Replace, id, part)
                });
                live.push((next, side, price, part));
                live[at].3 = 0;
                next += 1;
            }
        }
        live.retain(|one| one.3 > 0);
    }
    out
}

/// Streams with many orders of ours on both sides, at once and behind each other.
#[test]
fn fills_are_those_of_explicit_queues_and_a_state_goes_on_where_it_was() {
    let (mut fills, mut ahead_of_us) = (0, 0);
    for seed in 1..=400 {
        let mut random = Random::new(seed);
        let events = stream(&mut random, 300);
        let config = PaperConfig {
            latency_ns: 0,
            ..config(Shows::Orders)
        };
        let mut venue = Venue::new(config, Depth::L3);
        let mut queues = Queues::default();
        let mut asked: BTreeMap<u16, Order> = BTreeMap::new();
        for (event, ts) in events.into_iter().zip(1..) {
            let mut event = event;
            event.seq = venue.seq + 1;
            let wants = (random.below(6) == 0 && venue.paper.open_orders(SYMBOL) < 12).then(|| {
                let (side, number) = (random.side(), asked.len() as u16);
                let away = random.below(7) as i64 - 2;
                let price = 1_001 + if side == Buy { -away } else { away };
                let tif = [Tif::Day, Tif::Day, Tif::Ioc][random.below(3) as usize];
                (number, side, price, 1 + random.below(80) as i64, tif)
            });
            // Decided after the event before and there at once: before this event, with its number.
            if let Some((number, side, price, qty, tif)) = wants {
                venue.order(ts - 1, number, side, price, qty, tif);
                queues.arrive(event.seq, number, side, price, qty, tif);
                let order = Order {
                    side,
                    price: Price(price),
                    qty: Qty(qty),
                    bid: Price::NONE,
                    ask: Price::NONE,
                    tif,
                };
                asked.insert(number, order);
            }
            queues.apply(&event);
            venue.event(ts, event);
            if seed % 4 == 0 {
                let mut bytes = Vec::new();
                let mut out = StateWriter::new(&mut bytes, Versions::NEWEST);
                venue.paper.save(SYMBOL, &mut out);
                out.finish().unwrap();
                let mut from = StateReader::new(&bytes, Versions::NEWEST);
                venue.paper = Paper::new(config);
                venue.paper.load(SYMBOL, &mut from).unwrap();
                from.end().unwrap();
            }
        }
        let mut found = Fills::new();
        let mut filled: BTreeMap<u16, i64> = BTreeMap::new();
        for (signal, report) in &venue.said {
            let order = asked[&report.order_ordinal];
            match report.fate {
                Fate::New => ahead_of_us += u32::from(report.ahead.0 > 0),
                Fate::Fill => {
                    let sum = filled.entry(report.order_ordinal).or_default();
                    *sum += report.qty.0;
                    assert_eq!(report.filled.0, *sum);
                    assert_eq!(report.left.0, order.qty.0 - *sum, "seed {seed}");
                    assert!(*sum <= order.qty.0 && report.qty.0 > 0, "seed {seed}");
                    let is_worse = is_better(order.side, report.price.0, order.price.0);
                    assert!(!is_worse, "seed {seed}: {report:?}, {order:?}");
                    let key = (signal.seq, report.order_ordinal, report.price.0);
                    *found.entry(key).or_default() += report.qty.0;
                }
                Fate::Cancelled => assert_eq!(order.tif, Tif::Ioc),
                Fate::Expired | Fate::Rejected => panic!("seed {seed}: {report:?}"),
            }
        }
        assert_eq!(found, queues.fills, "seed {seed}");
        fills += found.len();
    }
    assert!(fills > 4_000, "only {fills} fills");
    assert!(ahead_of_us > 1_000, "only {ahead_of_us} waited");
}

/// An exchange that matches what comes with what is there, by price and then by time.
#[derive(Default)]
struct Exchange {
    /// Reference, side, price, quantity; as they came.
    orders: Vec<(u64, Side, i64, i64)>,
    said: Vec<Event>,
}

const OURS: u64 = u64::MAX;

impl Exchange {
    /// Returns the price at which ours was met, if it was.
    fn submit(&mut self, id: u64, side: Side, price: i64, qty: i64) -> Option<i64> {
        let (mut rest, mut ours_at) = (qty, None);
        while rest > 0 {
            let sign = if side == Buy { 1 } else { -1 };
            let open = self.orders.iter().enumerate();
            let open =
                open.filter(|(_, one)| one.1 == side.other() && !is_better(one.1, price, one.2));
            let Some((at, best)) = open.min_by_key(|(at, one)| (sign * one.2, *at)) else {
                break;
            };
            let (reference, at_price, got) = (best.0, best.2, best.3.min(rest));
            if reference == OURS || id == OURS {
                ours_at = Some(at_price);
            }
            self.said.push(take(Kind::Execute, reference, got));
            rest -= got;
            self.orders[at].3 -= got;
            self.orders.retain(|one| one.3 > 0);
        }
        if rest > 0 {
            self.orders.push((id, side, price, rest));
            self.said.push(add(id, side, price, rest));
        }
        ours_at
    }

    fn cancel(&mut self, id: u64, qty: i64) {
        let Some(one) = self.orders.iter_mut().find(|one| one.0 == id) else {
            return;
        };
        match one.3 <= qty {
            true => self.said.push(take(Kind::Delete, id, 0)),
            false => self.said.push(take(Kind::Cancel, id, qty)),
        }
        one.3 -= qty;
        self.orders.retain(|one| one.3 > 0);
    }
}

/// The same messages reach two exchanges, one of which has an order of ours, of one share, so that nobody
/// is kept from anything before it is filled. The simulation sees what the other one says.
#[test]
fn an_order_is_filled_when_and_where_a_real_exchange_fills_it() {
    let (mut passive, mut at_once, mut never) = (0, 0, 0);
    for seed in 1..=3_000 {
        let mut random = Random::new(seed);
        let (mut without, mut with) = (Exchange::default(), Exchange::default());
        let config = PaperConfig {
            latency_ns: 0,
            ..config(Shows::Orders)
        };
        let mut venue = Venue::new(config, Depth::L3);
        let comes_at = 30 + random.below(60) as i64;
        let side = random.side();
        let price = 1_000 + random.below(9) as i64 - 4;
        let mut filled: Option<(i64, i64)> = None;
        for ts in 1..=200 {
            if ts == comes_at {
                venue.order(ts - 1, 7, side, price, 1, Tif::Day);
                let met = with.submit(OURS, side, price, 1);
                filled = met.map(|price| (ts - 1, price));
            }
            let (id, of) = (ts as u64, random.side());
            if random.below(3) > 0 {
                let away = random.below(7) as i64 - 2;
                let price = 1_000 + if of == Buy { -away } else { away };
                let qty = 1 + random.below(20) as i64;
                without.submit(id, of, price, qty);
                let met = with.submit(id, of, price, qty);
                filled = filled.or(met.map(|price| (ts, price)));
            } else {
                let (id, qty) = (1 + random.below(id), 1 + random.below(25) as i64);
                without.cancel(id, qty);
                // Its name is nobody's real order.
                with.cancel(id, qty);
            }
            for event in std::mem::take(&mut without.said) {
                venue.event(ts, event);
            }
            if filled.is_some() {
                break;
            }
        }
        // Something that comes later, for what came at last.
        venue.add(1_000, 5_000, Buy, 1, 1);
        let is_fill = |said: &&(Signal, Report)| said.1.fate == Fate::Fill;
        let found = venue.said.iter().find(is_fill);
        let found = found.map(|(signal, report)| (signal.ts_event.0, report.price.0));
        assert_eq!(
            found,
            filled,
            "seed {seed}: {side:?} at {price}\n{}",
            venue.text()
        );
        match filled {
            Some((ts, _)) if ts < comes_at => at_once += 1,
            Some(_) => passive += 1,
            None => never += 1,
        }
    }
    let counts = [passive, at_once, never];
    assert!(counts.iter().all(|count| *count > 200), "{counts:?}");
}

#[test]
fn a_state_that_could_not_be_saved_is_refused() {
    let mut venue = Venue::new(config(Shows::Orders), Depth::L3);
    venue.add(1, 1, Sell, 101, 30);
    venue.order(1, 1, Buy, 101, 40, Tif::Day);
    venue.add(20, 2, Buy, 90, 1);
    let mut bytes = Vec::new();
    let mut out = StateWriter::new(&mut bytes, Versions::NEWEST);
    venue.paper.save(SYMBOL, &mut out);
    out.finish().unwrap();
    let load = |bytes: &[u8]| {
        let mut paper = Paper::new(config(Shows::Orders));
        let mut from = StateReader::new(bytes, Versions::NEWEST);
        paper.load(SYMBOL, &mut from).and_then(|()| from.end())
    };
    load(&bytes).unwrap();
    for len in 0..bytes.len() {
        assert!(load(&bytes[..len]).is_err(), "{len} bytes");
    }
    let mut refused = 0;
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x80;
        // Never a panic; what is plainly no state is an error.
        refused += usize::from(load(&damaged).is_err());
    }
    assert!(refused > 10, "only {refused}");
}
