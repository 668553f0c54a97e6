//! How many nanoseconds does a message take from its bytes to an `Event`?

use bench::{MIDNIGHT, Stream, fold, group};
use bus::{Event, Kind};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use feed::protocol::{Itch, Protocol};

fn decode(criterion: &mut Criterion) {
    let stream = Stream::sized();
    let itch = Itch::new(MIDNIGHT);
    let checksum: u64 = run(&itch, &stream);
    println!(
        "decode: {} messages, checksum {checksum:016x}",
        stream.messages
    );
    let mut group = group(criterion, "decode");
    group.throughput(Throughput::Elements(stream.messages));
    group.bench_function("itch50", |bencher| bencher.iter(|| run(&itch, &stream)));
    group.finish();
}

/// Every field that a message fills goes into the sum.
fn run(itch: &Itch, stream: &Stream) -> u64 {
    let mut sum = 0u64;
    let mut event = Event::new(Kind::Nothing);
    for message in stream.iter() {
        if itch.decode(message, &mut event).is_ok() {
            sum = sum
                .wrapping_add(event.ts_event.0 as u64)
                .wrapping_add(event.order ^ event.order_b)
                .wrapping_add(event.price.0 as u64 ^ event.qty.0 as u64)
                .wrapping_add(u64::from(event.symbol) << 8 | event.kind as u64);
        }
    }
    fold(sum, stream.messages)
}

criterion_group!(benches, decode);
criterion_main!(benches);
