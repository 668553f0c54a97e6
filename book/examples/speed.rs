//! How long the books take for one event, on a stream like a whole market's day?
//!
//! `cargo run --release -p book --example speed -- [events] [rounds]`; pin it to one core. The
//! stream is made first: 8,000 symbols of unequal activity, prices near the touch, references
//! rising with gaps; per hundred events 45 adds, 39 deletes, 6 replaces, 4 executions, 2.5
//! cancels. Prints nanoseconds per event for each round and a checksum of all books.

use std::time::Instant;

use book::{Books, BooksConfig, Depth};
use bus::{Event, Kind, Price, Qty, Side};

const SYMBOLS: u32 = 8_000;
const TICK: i64 = 10_000_000;

fn config() -> BooksConfig {
    BooksConfig {
        orders_max: 4_000_000,
        levels_max: 2_000_000,
        symbols_max: SYMBOLS,
        depth: Depth::L3,
    }
}

/// xorshift64*
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 8
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// A symbol as the generator sees it.
struct Symbol {
    middle: i64,
    live: Vec<u64>,
}

/// A market's stream. The books under test tell where the touch is and who is first in line.
fn market(count: usize) -> Vec<Event> {
    let mut random = Random(0x5eed);
    let mut books = Books::new(config()).unwrap();
    let mut symbols: Vec<Symbol> = (0..SYMBOLS)
        .map(|_| Symbol {
            middle: 500 + random.below(20_000) as i64,
            live: Vec::new(),
        })
        .collect();
    // Activity falls with the rank as 1 / (rank + 20).
    let mut ranks = Vec::with_capacity(1 << 16);
    let total: f64 = (0..SYMBOLS).map(|rank| 1.0 / f64::from(rank + 20)).sum();
    for rank in 0..SYMBOLS {
        let share = (1.0 / f64::from(rank + 20) / total * 65536.0).ceil() as usize;
        ranks.extend(std::iter::repeat_n(rank * 4_001 % SYMBOLS, share));
    }
    let mut reference = 0;
    let mut events = Vec::with_capacity(count);
    while events.len() < count {
        let number = ranks[random.below(ranks.len() as u64) as usize];
        let symbol = &mut symbols[number as usize];
        let live = symbol.live.len() as u64;
        let mut roll = random.below(1000);
        // Books hover around 45 orders.
        if roll < 890 && live > 45 + random.below(60) {
            roll = 447;
        } else if roll >= 447 && live < random.below(45) {
            roll = 0;
        }
        let kind = match roll {
            0..447 => Kind::Add,
            447..837 => Kind::Delete,
            837..897 => Kind::Replace,
            897..937 => Kind::Execute,
            937..962 => Kind::Cancel,
            962..977 => Kind::Trade,
            977..987 => Kind::Cross,
            987..995 => Kind::Imbalance,
            _ => Kind::Info,
        };
        let seq = events.len() as u64 + 1;
        let mut event = Event {
            seq,
            symbol: number,
            ..Event::new(kind)
        };
        if random.below(200) == 0 {
            symbol.middle += [-1, 1][random.below(2) as usize];
            symbol.middle = symbol.middle.max(100);
        }
        let quote = books.quote(number);
        let side = [Side::Buy, Side::Sell][random.below(2) as usize];
        // Ticks away from the touch: small steps are the likeliest.
        let away = random.below(9).min(random.below(9)) as i64;
        let near = |side, middle: i64| {
            let price = if side == Side::Buy {
                let top = if quote.ask.is_some() {
                    quote.ask.0 / TICK - 1
                } else {
                    middle
                };
                top.min(middle) - away
            } else {
                let top = if quote.bid.is_some() {
                    quote.bid.0 / TICK + 1
                } else {
                    middle + 1
                };
                top.max(middle + 1) + away
            };
            Price(price.max(1) * TICK)
        };
        let qty = Qty(100 * (1 + random.below(5) as i64));
        match kind {
            Kind::Add => {
                reference += 1 + random.below(3);
                event.order = reference;
                event.side = side;
                event.price = near(side, symbol.middle);
                event.qty = qty;
                symbol.live.push(reference);
            }
            Kind::Delete | Kind::Cancel | Kind::Replace => {
                if live == 0 {
                    continue;
                }
                let pick = random.below(live) as usize;
                event.order = symbol.live[pick];
                if kind == Kind::Delete {
                    symbol.live.swap_remove(pick);
                }
                event.qty = Qty(50);
                if kind == Kind::Replace {
                    reference += 1 + random.below(3);
                    event.order_b = reference;
                    symbol.live[pick] = reference;
                    event.qty = qty;
                    // Its side is not told; a price in the middle of the book fits both.
                    let side = if event.order.is_multiple_of(2) {
                        Side::Buy
                    } else {
                        Side::Sell
                    };
                    event.price = near(side, symbol.middle);
                }
            }
            Kind::Execute => {
                let price = if side == Side::Buy {
                    quote.bid
                } else {
                    quote.ask
                };
                let Some((first, has)) = books.queue(number, side, price).next() else {
                    continue;
                };
                event.order = first;
                event.qty = has.min(qty);
                if event.qty == has {
                    symbol.live.retain(|&order| order != first);
                }
            }
            _ => {
                event.price = near(side, symbol.middle);
                event.qty = qty;
            }
        }
        let applied = books.apply(&event);
        if kind == Kind::Cancel && applied.anomaly.is_none() {
            let gone = books.apply(&Event {
                order: event.order,
                ..Event::new(Kind::Execute)
            });
            if gone.anomaly == Some(bus::Anomaly::UnknownOrder) {
                symbol.live.retain(|&order| order != event.order);
            }
        }
        if applied.anomaly == Some(bus::Anomaly::Overfill) {
            symbol.live.retain(|&order| order != event.order);
        }
        events.push(event);
    }
    events
}

fn main() {
    let mut arguments = std::env::args()
        .skip(1)
        .filter_map(|text| text.parse::<usize>().ok());
    let count = arguments.next().unwrap_or(200_000);
    let rounds = arguments.next().unwrap_or(1);
    let events = market(count);
    let mut times: Vec<f64> = Vec::new();
    for _ in 0..rounds {
        let mut books = Books::new(config()).unwrap();
        let mut changes = 0u64;
        let start = Instant::now();
        books.apply_block(&events, |_, _, applied| {
            changes += u64::from(applied.quote_changed)
        });
        let ns = start.elapsed().as_nanos() as f64 / count as f64;
        times.push(ns);
        let digest = books
            .symbols()
            .fold(0, |sum: u64, s| sum.rotate_left(1) ^ books.digest(s));
        println!("{ns:.2} ns/event, quote changes {changes}, checksum {digest:016x}");
        if times.len() == rounds {
            println!("{:?}", books.stats());
        }
    }
    times.sort_by(f64::total_cmp);
    println!(
        "min {:.2} median {:.2} ns/event",
        times[0],
        times[rounds / 2]
    );
}
