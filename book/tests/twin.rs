//! Random and hostile streams: the books must equal their plain twin after every event.

use book::{Books, BooksConfig, Depth, Reference as Twin};
use bus::{Applied, Event, Flags, Kind, Level, Price, Qty, Side};

const ROOMY: BooksConfig = BooksConfig {
    orders_max: 50_000,
    levels_max: 50_000,
    symbols_max: 12,
    depth: Depth::L3,
};

/// A small generator of random numbers: xorshift64*.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 8
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize]
    }
}

/// How a stream is made.
#[derive(Clone, Copy)]
struct Stream {
    config: BooksConfig,
    events: usize,
    symbols: u64,
    /// How many prices are used.
    prices: u64,
    /// Their distance, and how many of these all of them are above 0.
    tick: i64,
    base: i64,
    /// How far their middle moves up and down in the course of the stream.
    wander: u64,
    /// One in so many adds where there is one delete: how deep books grow.
    deletes_in_ten: u64,
    /// One field in so many is senseless.
    hostile_in: u64,
    /// References are `base + small * stride`.
    reference_base: u64,
    reference_stride: u64,
    references: u64,
}

const CALM: Stream = Stream {
    config: ROOMY,
    events: 6_000,
    symbols: 5,
    prices: 30,
    tick: 1_000_000,
    base: 0,
    wander: 0,
    deletes_in_ten: 4,
    hostile_in: u64::MAX,
    reference_base: 1,
    reference_stride: 1,
    references: u64::MAX,
};

fn make(stream: Stream, seed: u64) -> Vec<Event> {
    let mut random = Random::new(seed);
    let mut twin = Twin::new(stream.config);
    let mut next_reference = 0;
    let mut events = Vec::new();
    for seq in 1..=stream.events as u64 {
        let mut fresh = |random: &mut Random| {
            next_reference += 1 + random.below(3);
            let small = if stream.references == u64::MAX {
                next_reference
            } else {
                random.below(stream.references)
            };
            stream
                .reference_base
                .wrapping_add(small.wrapping_mul(stream.reference_stride))
        };
        let roll = random.below(100);
        let deletes = stream.deletes_in_ten * 6;
        let kind = match roll {
            0..34 => Kind::Add,
            34..43 => Kind::Replace,
            43..50 => Kind::Execute,
            50..53 => Kind::ExecuteAt,
            53..57 => Kind::Cancel,
            57 => random.pick(&[Kind::Trade, Kind::Cross, Kind::Status, Kind::Break]),
            58 => random.pick(&[Kind::Imbalance, Kind::Symbol, Kind::Info, Kind::Tick]),
            59 => random.pick(&[Kind::System, Kind::Nothing, Kind::End, Kind::Status]),
            _ if (roll - 60) < deletes * 40 / 60 => Kind::Delete,
            _ => Kind::Add,
        };
        let mut event = Event {
            seq,
            ..Event::new(kind)
        };
        event.symbol = random.below(stream.symbols) as u32;
        event.side = random.pick(&[Side::Buy, Side::Sell]);
        // Up and down four times.
        let phase = seq * 8 * (stream.wander + 1) / stream.events as u64 % (2 * stream.wander + 2);
        let wave = phase.min(2 * stream.wander + 1 - phase);
        let middle = 1 + stream.prices / 2 + wave;
        // Mostly near the middle and on the right side of it, so that books cross now and then.
        let away = random
            .below(stream.prices / 2)
            .min(random.below(stream.prices / 2) + 3);
        let price = if (event.side == Side::Buy) != random.one_in(12) {
            middle - away.min(middle - 1)
        } else {
            middle + away
        };
        event.price = Price((stream.base + price as i64) * stream.tick);
        event.qty = Qty(1 + random.below(500) as i64);
        event.order = match kind {
            Kind::Add => fresh(&mut random),
            Kind::Status => u64::from(random.pick(b"TTTHPQ")),
            _ => {
                let pick = random.next();
                event.symbol = event.symbol.max(1) - 1;
                some_order(&twin, pick).unwrap_or(pick)
            }
        };
        if matches!(
            kind,
            Kind::Delete | Kind::Cancel | Kind::Execute | Kind::ExecuteAt
        ) {
            // Half of them hit whatever order came lately, on either side.
            if random.one_in(2) && !events.is_empty() {
                let back = random.below(events.len().min(300) as u64) as usize;
                let earlier: &Event = &events[events.len() - 1 - back];
                event.order = if earlier.order_b != 0 {
                    earlier.order_b
                } else {
                    earlier.order
                };
                event.symbol = earlier.symbol;
            }
            event.flags = random.pick(&[Flags(0), Flags::PRINTABLE]);
        }
        if kind == Kind::Replace {
            event.order_b = fresh(&mut random);
            if random.one_in(30) {
                event.order_b = event.order;
            }
        }
        if random.one_in(stream.hostile_in) {
            spoil(&mut event, &mut random, stream);
        }
        twin.apply(&event);
        events.push(event);
    }
    events
}

/// Some live order, picked by this number.
fn some_order(twin: &Twin, pick: u64) -> Option<u64> {
    let mut symbols = twin.symbols();
    symbols.retain(|symbol| twin.quote(*symbol).bid.is_some());
    let symbol = symbols.get(pick as usize % symbols.len().max(1))?;
    let bids = twin.side(*symbol, Side::Buy);
    let (_, queue) = &bids[pick as usize / 7 % bids.len()];
    Some(queue[pick as usize / 77 % queue.len()].0)
}

/// Lets every third order have more than 32 bits can say, now and then as much as an order may.
fn widen(events: &mut [Event]) {
    for event in events {
        let is_wide = |order: u64| order % 3 == 1;
        let (of_order, of_new) = (is_wide(event.order), is_wide(event.order_b));
        let (has_order, has_new) = (
            !event.kind.is_for_all() && event.kind != Kind::Status,
            event.kind == Kind::Replace,
        );
        if (has_order && of_order) || (has_new && of_new) {
            event.flags = event.flags.with(Flags::WIDE);
        }
        let has_qty = if has_new {
            of_new
        } else {
            has_order && of_order
        };
        if has_qty && (1..=500).contains(&event.qty.0) {
            event.qty.0 <<= [20, 24, 33, 51][event.seq as usize % 4];
        }
        // What no later event would say of the order.
        if !has_qty && event.qty.0 > u32::MAX.into() {
            event.qty = Qty(1);
        }
    }
}

/// Makes neighbours of one symbol changes that are one.
fn join(events: &mut [Event]) {
    let belongs = |event: &Event| !event.kind.is_for_all() && event.kind != Kind::Nothing;
    for group in events
        .chunk_by_mut(|a, b| a.symbol == b.symbol && belongs(a) && belongs(b))
        .filter(|group| group.len() > 1)
    {
        let last = group.len() - 1;
        for (index, event) in group.iter_mut().enumerate() {
            event.flags.0 |= if index < last {
                Flags::MORE.0
            } else {
                Flags::ENDS.0
            };
        }
    }
}

/// Makes one field senseless.
fn spoil(event: &mut Event, random: &mut Random, stream: Stream) {
    let far = [
        0,
        1,
        63,
        64,
        u64::MAX,
        1 << 32,
        (1 << 32) - 1,
        1 << 38,
        1 << 63,
    ];
    match random.below(9) {
        0 => event.order = random.pick(&far),
        1 => event.order_b = random.pick(&far),
        2 => event.price = Price(random.pick(&[0, -1, 1, i64::MIN, i64::MAX, i64::MAX - 1])),
        3 => event.qty = Qty(random.pick(&[0, -1, i64::MIN, i64::MAX, 1 << 32, (1 << 32) - 1])),
        4 => event.side = Side::None,
        5 => event.symbol = random.below(stream.symbols + 2) as u32,
        6 => event.symbol = random.pick(&[u32::MAX, 12, 11, 0]),
        7 => event.order = random.next() << random.below(40),
        _ => event.order = u64::from(random.pick(b"THPQx")),
    }
}

fn same_side(books: &Books, twin: &Twin, symbol: u32, side: Side, place: &str) {
    let expected = twin.side(symbol, side);
    let mut depth = vec![Level {
        price: Price(7),
        qty: Qty(7),
        orders: 7,
    }];
    books.depth(symbol, side, usize::MAX, &mut depth);
    let levels: Vec<Level> = expected.iter().map(|(level, _)| *level).collect();
    assert_eq!(depth, levels, "{place}: depth of {symbol} {side:?}");
    for (level, queue) in expected {
        let got: Vec<_> = books.queue(symbol, side, level.price).collect();
        assert_eq!(
            got, queue,
            "{place}: queue of {symbol} {side:?} at {}",
            level.price
        );
    }
}

fn same_book(books: &Books, twin: &Twin, symbol: u32, place: &str) {
    assert_eq!(
        books.quote(symbol),
        twin.quote(symbol),
        "{place}: quote of {symbol}"
    );
    assert_eq!(
        books.phase(symbol),
        twin.phase(symbol),
        "{place}: phase of {symbol}"
    );
    assert_eq!(
        books.evidence(symbol),
        twin.evidence(symbol),
        "{place}: evidence of {symbol}"
    );
    assert_eq!(
        books.is_stale(symbol),
        twin.is_stale(symbol),
        "{place}: stale {symbol}"
    );
    for side in [Side::None, Side::Buy, Side::Sell] {
        same_side(books, twin, symbol, side, place);
    }
}

fn without_queues(config: BooksConfig) -> BooksConfig {
    BooksConfig {
        depth: Depth::L2,
        ..config
    }
}

/// Books without queues must be those with queues in all but these.
fn same_without_queues(plain: &Books, books: &Books, symbol: u32, place: &str) {
    assert_eq!(plain.quote(symbol), books.quote(symbol), "{place}");
    assert_eq!(plain.phase(symbol), books.phase(symbol), "{place}");
    assert_eq!(plain.evidence(symbol), books.evidence(symbol), "{place}");
    assert_eq!(plain.is_stale(symbol), books.is_stale(symbol), "{place}");
    let (mut levels, mut expected) = (Vec::new(), Vec::new());
    for side in [Side::Buy, Side::Sell] {
        plain.depth(symbol, side, usize::MAX, &mut levels);
        books.depth(symbol, side, usize::MAX, &mut expected);
        assert_eq!(levels, expected, "{place}: depth of {symbol} {side:?}");
        for level in &levels {
            assert_eq!(plain.queue(symbol, side, level.price).count(), 0);
        }
    }
}

/// Applies the stream to the books, those without queues and their twin in step, then once more in
/// blocks.
fn check(stream: Stream, seed: u64) {
    check_events(stream, seed, &make(stream, seed));
}

fn check_events(stream: Stream, seed: u64, events: &[Event]) {
    let mut books = Books::new(stream.config).unwrap();
    let mut plain = Books::new(without_queues(stream.config)).unwrap();
    let mut twin = Twin::new(stream.config);
    let mut applied: Vec<Applied> = Vec::new();
    for event in events {
        let place = format!("seed {seed}, {event:?}");
        let (got, expected) = (books.apply(event), twin.apply(event));
        assert_eq!(got, expected, "{place}");
        assert_eq!(plain.apply(event), expected, "without queues: {place}");
        applied.push(got);
        assert_eq!(plain.stats(), books.stats(), "without queues: {place}");
        let stats = books.stats();
        assert_eq!(
            (stats.orders, stats.levels),
            (twin.orders(), twin.levels()),
            "{place}"
        );
        same_book(&books, &twin, event.symbol, &place);
        let other = event.seq as u32 % (stream.symbols as u32 + 2);
        same_book(&books, &twin, other, &place);
        for symbol in [event.symbol, other] {
            same_without_queues(&plain, &books, symbol, &place);
        }
    }
    assert_eq!(books.stats().anomalies, twin.anomalies(), "seed {seed}");
    assert_eq!(
        books.symbols().collect::<Vec<_>>(),
        twin.symbols(),
        "seed {seed}"
    );

    for (config, books) in [
        (stream.config, &books),
        (without_queues(stream.config), &plain),
    ] {
        let mut again = Books::new(config).unwrap();
        let mut index = 0;
        for piece in events.chunks(events.len() / 3 + 5) {
            again.apply_block(piece, |_, event, got| {
                assert_eq!(
                    (event, got),
                    (&events[index], applied[index]),
                    "seed {seed}"
                );
                index += 1;
            });
        }
        assert_eq!(index, events.len());
        for symbol in 0..stream.config.symbols_max {
            assert_eq!(
                again.digest(symbol),
                books.digest(symbol),
                "seed {seed}: digest of {symbol}"
            );
        }
        assert_eq!(again.stats(), books.stats(), "seed {seed}");
    }
}

#[test]
fn an_orderly_market() {
    for seed in 0..6 {
        check(CALM, seed);
    }
}

#[test]
fn changes_that_are_one() {
    for seed in 0..6 {
        let stream = Stream {
            symbols: 2,
            hostile_in: 20,
            ..CALM
        };
        let mut events = make(stream, seed);
        join(&mut events);
        check_events(stream, seed, &events);
    }
}

#[test]
fn orders_beyond_32_bits() {
    for seed in 0..6 {
        let stream = Stream {
            hostile_in: 20,
            ..CALM
        };
        let mut events = make(stream, seed);
        widen(&mut events);
        if seed % 2 == 1 {
            join(&mut events);
        }
        let wide = events.iter().filter(|event| event.qty.0 > 1 << 32);
        assert!(wide.count() > 1_000);
        check_events(stream, seed, &events);
    }
}

#[test]
fn senseless_fields() {
    for seed in 0..6 {
        check(
            Stream {
                hostile_in: 4,
                ..CALM
            },
            seed,
        );
    }
}

#[test]
fn references_that_repeat() {
    for seed in 0..4 {
        check(
            Stream {
                references: 300,
                hostile_in: 20,
                ..CALM
            },
            seed,
        );
    }
}

#[test]
fn references_from_all_64_bits() {
    for seed in 0..4 {
        let stride = 0x0123_4567_89ab_cdef;
        check(
            Stream {
                reference_stride: stride,
                hostile_in: 30,
                ..CALM
            },
            seed,
        );
    }
    let edge = (1 << 32) - 3_000;
    check(
        Stream {
            reference_base: edge,
            ..CALM
        },
        9,
    );
    check(
        Stream {
            reference_base: u64::MAX - 5_000,
            reference_stride: 1 << 20,
            ..CALM
        },
        10,
    );
}

#[test]
fn deep_books_of_many_prices() {
    for seed in 0..2 {
        let wide = Stream {
            prices: 3_000,
            deletes_in_ten: 2,
            symbols: 2,
            events: 6_000,
            ..CALM
        };
        check(wide, seed);
    }
}

/// One cent.
const CENT: i64 = 10_000_000;

#[test]
fn prices_that_wander_over_ladders() {
    for seed in 0..2 {
        for (tick, prices, wander) in [
            (CENT, 30, 0),
            (CENT, 30, 300),
            (CENT, 60, 30),
            (CENT, 300, 100),
            (CENT / 2, 60, 200),
            (CENT * 5, 40, 20),
        ] {
            let base = if wander == 100 { 0 } else { 5_000 };
            let stream = Stream {
                tick,
                prices,
                wander,
                base,
                symbols: 2,
                deletes_in_ten: 4 + seed * 2,
                ..CALM
            };
            check(stream, seed);
        }
    }
}

#[test]
fn prices_at_the_end_of_all_ladders() {
    for seed in 0..2 {
        for base in [(1 << 32) - 100, (1 << 32) - 1_000] {
            let stream = Stream {
                tick: CENT,
                prices: 200,
                wander: 40,
                base,
                symbols: 2,
                ..CALM
            };
            check(stream, seed);
        }
    }
}

#[test]
fn queues_that_grow_long_and_short_again() {
    for seed in 0..4 {
        let narrow = Stream {
            prices: 6,
            symbols: 2,
            events: 3_000,
            ..CALM
        };
        check(
            Stream {
                deletes_in_ten: 3,
                ..narrow
            },
            seed,
        );
        check(
            Stream {
                deletes_in_ten: 7,
                ..narrow
            },
            seed,
        );
    }
}

#[test]
fn no_room() {
    for seed in 0..3 {
        let config = BooksConfig {
            orders_max: 40,
            levels_max: 1_000,
            symbols_max: 4,
            depth: Depth::L3,
        };
        check(
            Stream {
                config,
                hostile_in: 50,
                ..CALM
            },
            seed,
        );
        let config = BooksConfig {
            orders_max: 1_000,
            levels_max: 20,
            symbols_max: 6,
            depth: Depth::L3,
        };
        check(
            Stream {
                config,
                prices: 200,
                ..CALM
            },
            seed,
        );
    }
}

#[test]
fn a_gap_makes_all_symbols_suspect() {
    for seed in 0..3 {
        let mut books = Books::new(ROOMY).unwrap();
        let mut twin = Twin::new(ROOMY);
        for mut event in make(CALM, seed) {
            if event.seq % 2_000 == 0 {
                event = Event {
                    seq: event.seq,
                    ..Event::new(Kind::Gap)
                };
            }
            // Some are lost.
            if event.seq % 50 == 3 {
                continue;
            }
            assert_eq!(books.apply(&event), twin.apply(&event));
            same_book(&books, &twin, event.symbol, "after a gap");
        }
        assert!((0..ROOMY.symbols_max).all(|symbol| books.is_stale(symbol)));
        assert!(books.evidence(0) > 0);
    }
}

/// Emptied in between, told anew, and whole again.
#[test]
fn books_begin_anew_after_a_loss() {
    for seed in 0..4 {
        let mut events = make(CALM, seed);
        if seed % 2 == 1 {
            join(&mut events);
        }
        let mut stale = false;
        for event in &mut events {
            let flags = match event.seq % 1_500 {
                0 => Flags(0),
                // Whom this one concerns is said by events of their own.
                300 => Flags::STALE,
                700 => Flags::WHOLE.with(Flags::STALE),
                800 => Flags::WHOLE,
                _ => continue,
            };
            stale = match flags {
                Flags::STALE => stale,
                flags => flags != Flags::WHOLE,
            };
            let seq = event.seq;
            *event = Event {
                seq,
                flags,
                ..Event::new(Kind::Gap)
            };
        }
        check_events(CALM, seed, &events);
        let mut books = Books::new(ROOMY).unwrap();
        for event in &events {
            books.apply(event);
            if event.kind == Kind::Gap && event.flags.has(Flags::WHOLE) {
                let is_emptied = event.flags.has(Flags::STALE);
                assert_eq!(books.is_stale(1), is_emptied, "seed {seed}");
                assert_eq!(books.stats().orders == 0, is_emptied, "seed {seed}");
            }
        }
        assert_eq!(books.is_stale(1), stale);
    }
}

#[test]
fn equal_books_of_different_histories_have_equal_digests() {
    let add = |order, price, qty| Event {
        order,
        side: Side::Buy,
        price: Price(price),
        qty: Qty(qty),
        symbol: 3,
        ..Event::new(Kind::Add)
    };
    let with_order = |kind, order, qty| Event {
        order,
        qty: Qty(qty),
        symbol: 3,
        ..Event::new(kind)
    };
    let digest = |events: &[Event]| {
        let mut books = Books::new(ROOMY).unwrap();
        events
            .iter()
            .for_each(|event| assert_eq!(books.apply(event).anomaly, None));
        books.digest(3)
    };
    let straight = digest(&[add(1, 100, 50), add(2, 100, 10), add(3, 90, 5)]);
    let detour = digest(&[
        add(9, 110, 1),
        add(3, 90, 25),
        add(8, 95, 1),
        add(1, 100, 50),
        with_order(Kind::Delete, 9, 0),
        add(2, 100, 30),
        with_order(Kind::Cancel, 3, 20),
        with_order(Kind::Execute, 2, 20),
        with_order(Kind::Delete, 8, 0),
    ]);
    assert_eq!(straight, detour);
    let other_queue = digest(&[add(2, 100, 10), add(1, 100, 50), add(3, 90, 5)]);
    let other_qty = digest(&[add(1, 100, 50), add(2, 100, 11), add(3, 90, 5)]);
    assert!(straight != other_queue && straight != other_qty && other_queue != other_qty);
}
