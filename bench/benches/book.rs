//! How long does an event take in full-depth books of 8,000 symbols, alone and with its decoding?

use bench::{MIDNIGHT, Stream, decode_one, fold, group};
use book::{Books, BooksConfig, Depth};
use bus::{Event, Kind};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use feed::protocol::Itch;

const CONFIG: BooksConfig = BooksConfig {
    orders_max: 4 << 20,
    levels_max: 4 << 20,
    symbols_max: 1 << 16,
    depth: Depth::L3,
};

/// Events decoded before the books take them.
const BLOCK_EVENTS: usize = 512;

fn book(criterion: &mut Criterion) {
    let stream = Stream::sized();
    let events = stream.events();
    let mut books = new_books();
    apply(&mut books, &events);
    println!(
        "book: {} events, {} live orders, {} levels, checksum {:016x}",
        events.len(),
        books.stats().orders,
        books.stats().levels,
        checksum(&books)
    );
    let mut decoded = new_books();
    decode_and_apply(&mut decoded, &stream);
    assert_eq!(
        checksum(&books),
        checksum(&decoded),
        "both ways lead to the same books"
    );
    let mut group = group(criterion, "book");
    group.throughput(Throughput::Elements(stream.messages));
    group.bench_function("l3_8000_symbols", |bencher| {
        bencher.iter_batched_ref(
            new_books,
            |books| apply(books, &events),
            BatchSize::PerIteration,
        );
    });
    drop(events);
    group.bench_function("decode_and_l3_8000_symbols", |bencher| {
        bencher.iter_batched_ref(
            new_books,
            |books| decode_and_apply(books, &stream),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn new_books() -> Books {
    Books::new(CONFIG).expect("memory for the books")
}

fn apply(books: &mut Books, events: &[Event]) -> u64 {
    let mut filled = 0u64;
    books.apply_block(events, |_, _, applied| filled += applied.fill.qty.0 as u64);
    filled
}

fn decode_and_apply(books: &mut Books, stream: &Stream) -> u64 {
    let itch = Itch::new(MIDNIGHT);
    let mut block = [Event::new(Kind::Nothing); BLOCK_EVENTS];
    let (mut count, mut filled) = (0, 0);
    let mut walk = stream.walk();
    while let Some((message, ahead)) = walk.next_ahead() {
        if decode_one(&itch, message, ahead, &mut block[count]) {
            count += 1;
            if count == BLOCK_EVENTS {
                filled += apply(books, &block);
                count = 0;
            }
        }
    }
    filled + apply(books, &block[..count])
}

fn checksum(books: &Books) -> u64 {
    books
        .symbols()
        .fold(0, |sum, symbol| fold(sum, books.digest(symbol)))
}

criterion_group!(benches, book);
criterion_main!(benches);
