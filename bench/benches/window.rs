//! What do the analytics cost: a trade in three windows, and an event that is no trade?

use analytics::{Intents, SuiteConfig, Suites};
use bench::{MIDNIGHT, fold, group, is_measuring};
use bus::{Applied, Body, Event, Fill, Kind, Outbox, Phase, Price, Qty, Quote, Side, Ts};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const SYMBOLS: u32 = 1_000;

fn window(criterion: &mut Criterion) {
    let count: u64 = if is_measuring() { 4_000_000 } else { 10_000 };
    for (name, is_trade) in [("trades", true), ("quotes", false)] {
        let (windows, sum) = run(count, is_trade);
        println!("window: {count} {name}, {windows} windows, checksum {sum:016x}");
    }
    let mut group = group(criterion, "window");
    group.throughput(Throughput::Elements(count));
    group.bench_function("trade_in_3_windows", |bencher| {
        bencher.iter(|| run(count, true))
    });
    group.bench_function("quote_change", |bencher| bencher.iter(|| run(count, false)));
    group.finish();
}

/// Events 10 us apart, each on another symbol, with a tick each 100 ms.
fn run(count: u64, is_trade: bool) -> (u64, u64) {
    let mut suites = Suites::new(SuiteConfig::standard(SYMBOLS as usize));
    let (mut out, mut intents) = (Outbox::new(), Intents::new());
    let (mut windows, mut sum) = (0u64, 0u64);
    let mut say = |out: &mut Outbox| {
        for signal in out.signals() {
            if let Some(Body::Window(window)) = signal.body() {
                windows += 1;
                sum = fold(sum, window.notional.0 as u64 ^ window.volume.0 as u64);
            }
        }
        out.clear();
    };
    for index in 0..count {
        let ts_event = MIDNIGHT.plus_ns(34_200 * Ts::SECOND_NS + index as i64 * 10_000);
        let symbol = 1 + (index * 2_654_435_761 % u64::from(SYMBOLS)) as u32;
        let step = (index % 16) as i64;
        let price = Price::from_e4(1_000_000 + 100 * step as u32);
        let kind = if is_trade { Kind::Execute } else { Kind::Add };
        let event = Event {
            ts_event,
            seq: index,
            symbol,
            price,
            qty: Qty(100),
            ..Event::new(kind)
        };
        let fill = match is_trade {
            true => Fill {
                price,
                qty: Qty(100),
                aggressor: Side::Buy,
            },
            false => Fill::NONE,
        };
        let applied = Applied {
            fill,
            quote_changed: !is_trade,
            anomaly: None,
        };
        let quote = Quote {
            bid: price,
            ask: price + Price::from_e4(100),
            bid_qty: Qty(300 + step),
            ask_qty: Qty(400),
        };
        if index % 10_000 == 9_999 {
            suites.on_watermark(ts_event, index, &mut out, &mut say);
        }
        out.at(ts_event, index, symbol);
        let phase = Phase::Trading;
        suites.on_event(
            &event,
            &applied,
            &quote,
            phase,
            false,
            &mut out,
            &mut intents,
        );
        if !out.is_empty() {
            say(&mut out);
        }
        intents.clear();
    }
    suites.finish(count, &mut out, &mut say);
    (windows, sum)
}

criterion_group!(benches, window);
criterion_main!(benches);
