//! What does one event cost the analytics, by what it does, and what does a tick cost?
//!
//! ```sh
//! cargo run --release -p analytics --example cost -- [KIND] [SYMBOLS] [EVENTS]
//! ```
//!
//! Some thousand events are prepared and played again and again, each time later, so that little
//! but the analytics themselves is measured; "nothing" is what the loop costs.
//! Prints the shortest of five rounds, with a checksum of all signals. Under callgrind, the
//! difference between two numbers of events gives instructions for one.

use std::env;
use std::hint::black_box;
use std::time::Instant;

use analytics::{Intents, SuiteConfig, Suites};
use bus::{Applied, Event, Fill, Kind, Outbox, Phase, Price, Qty, Quote, Side, Ts};

const KINDS: [&str; 5] = ["nothing", "trade", "quote", "mixed", "tick"];

/// How many events are prepared, and how far apart they are: 20,000 in a second.
const STEPS: usize = 8192;
const STEP_NS: i64 = 50_000;

#[derive(Clone)]
struct Step {
    event: Event,
    applied: Applied,
    quote: Quote,
}

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    let number = |index: usize, default: usize| {
        args.get(index)
            .map_or(default, |text| text.parse().expect("a number"))
    };
    let kinds: Vec<&str> = match args.first() {
        Some(kind) => KINDS.into_iter().filter(|known| known == kind).collect(),
        None => KINDS.to_vec(),
    };
    assert!(!kinds.is_empty(), "kinds: {KINDS:?}");
    let (symbols, count) = (number(1, 64), number(2, 2_000_000));
    let laps = (count / STEPS).max(1);
    for kind in kinds {
        let steps = steps(kind, symbols as u64);
        let rounds = (0..5).map(|_| round(kind, symbols, steps.clone(), laps));
        let (ns, checksum) = rounds.min_by(|a, b| a.0.total_cmp(&b.0)).expect("five");
        println!("{kind:8} {symbols} symbols: {ns:7.2} ns, checksum {checksum:016x}");
    }
}

/// A random walk around a narrow spread.
fn steps(kind: &str, symbols: u64) -> Vec<Step> {
    let mut word = 88_172_645_463_325_252u64;
    let mut mids = vec![50 * Price::SCALE; symbols as usize + 1];
    let cent = Price::SCALE / 100;
    let mut step = |index: usize| {
        // Xorshift (Marsaglia 2003).
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        let symbol = 1 + (word >> 33) % symbols;
        let mid = &mut mids[symbol as usize];
        if word & 0xf0 == 0 {
            *mid += if word & 0x100 == 0 { cent } else { -cent };
        }
        let quote = Quote {
            bid: Price(*mid - cent),
            ask: Price(*mid + cent),
            bid_qty: Qty((word >> 20) as i64 % 900 + 100),
            ask_qty: Qty((word >> 40) as i64 % 900 + 100),
        };
        let mut event = Event {
            ts_event: Ts(1_767_571_200_000_000_000 + index as i64 * STEP_NS),
            seq: index as u64 + 1,
            symbol: symbol as u32,
            ..Event::new(Kind::Add)
        };
        let mut applied = Applied::NOTHING;
        // In the mix, as in a sample session: 28 % change the quote, 6 % trade.
        let draw = (word >> 12) % 100;
        let (quotes, trades) = match kind {
            "trade" => (false, true),
            "quote" => (true, false),
            "mixed" => (draw < 28, draw < 6),
            _ => (false, false),
        };
        applied.quote_changed = quotes;
        if trades {
            event.kind = Kind::Execute;
            let (price, qty) = (quote.ask, quote.ask_qty);
            applied.fill = Fill {
                price,
                qty,
                aggressor: Side::Buy,
            };
        }
        Step {
            event,
            applied,
            quote,
        }
    };
    (0..STEPS).map(&mut step).collect()
}

/// Nanoseconds per step, or per tick.
fn round(kind: &str, symbols: usize, mut steps: Vec<Step>, laps: usize) -> (f64, u64) {
    let mut suites = Suites::new(SuiteConfig::standard(symbols));
    let (mut out, mut intents) = (Outbox::new(), Intents::new());
    let mut checksum = 0u64;
    let mut take = |out: &mut Outbox| {
        for signal in out.signals() {
            let bytes = signal.as_bytes().as_chunks::<8>().0;
            let words = bytes.iter().map(|bytes| u64::from_le_bytes(*bytes));
            checksum = words.fold(checksum, |sum, word| sum.rotate_left(5) ^ word);
        }
        out.clear();
    };
    let mut tick = 0;
    let lap_ns = STEPS as i64 * STEP_NS;
    let count = laps * STEPS;
    let began = Instant::now();
    for step in (0..laps).flat_map(|_| 0..STEPS) {
        let Step {
            event,
            applied,
            quote,
        } = &mut steps[step];
        event.ts_event = event.ts_event.plus_ns(lap_ns);
        let ts = event.ts_event;
        if kind == "tick" {
            // On which no symbol has anything to do.
            suites.on_watermark(black_box(ts), event.seq, &mut out, &mut take);
            continue;
        }
        if ts.0 >= tick {
            tick = ts.0 + 100_000_000;
            suites.on_watermark(ts, event.seq, &mut out, &mut take);
        }
        out.at(ts, event.seq, event.symbol);
        let phase = Phase::Trading;
        suites.on_event(event, applied, quote, phase, false, &mut out, &mut intents);
        if !(out.is_empty() && intents.is_empty()) {
            take(&mut out);
            intents.clear();
        }
    }
    let ns = began.elapsed().as_nanos() as f64 / count as f64;
    suites.finish(count as u64 + 1, &mut out, &mut take);
    (ns, checksum)
}
