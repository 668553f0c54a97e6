//! How many nanoseconds does a message take from its bytes to an `Event`?

use bench::{MIDNIGHT, Stream, decode_all, group};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use feed::protocol::Itch;

fn decode(criterion: &mut Criterion) {
    let stream = Stream::sized();
    let itch = Itch::new(MIDNIGHT);
    let checksum: u64 = decode_all(&itch, &stream);
    println!(
        "decode: {} messages, checksum {checksum:016x}",
        stream.messages
    );
    let mut group = group(criterion, "decode");
    group.throughput(Throughput::Elements(stream.messages));
    group.bench_function("itch50", |bencher| {
        bencher.iter(|| decode_all(&itch, &stream))
    });
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
