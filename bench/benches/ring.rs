//! What does the hop from reader to shard cost: events per second in batches, and one event's way
//! there and back?

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bench::{group, is_measuring};
use bus::ring::{Receiver, Sender, ring};
use bus::{Event, Kind};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const BATCH_EVENTS: usize = 64;

fn ring_bench(criterion: &mut Criterion) {
    let count: u64 = if is_measuring() { 1 << 22 } else { 1 << 12 };
    let mut group = group(criterion, "ring");
    group.throughput(Throughput::Elements(count));
    group.bench_function("batches_of_64", |bencher| {
        bencher.iter_custom(|iterations| (0..iterations).map(|_| batches(count)).sum());
    });
    let trips = count / 64;
    group.throughput(Throughput::Elements(trips));
    group.bench_function("round_trip", |bencher| {
        bencher.iter_custom(|iterations| (0..iterations).map(|_| round_trips(trips)).sum());
    });
    group.finish();
}

/// Pushes numbered events through a ring; the other thread checks that each comes once, in order.
fn batches(count: u64) -> Duration {
    let (mut tx, mut rx) = ring::<Event>(4096);
    let started = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            started.store(true, Ordering::Release);
            let mut next = 0;
            while next < count {
                let Some(batch) = rx.batch(BATCH_EVENTS) else {
                    continue;
                };
                let (front, back) = batch.slices();
                for event in front.iter().chain(back) {
                    assert_eq!(event.seq, next);
                    next += 1;
                }
                let taken = front.len() + back.len();
                batch.commit(taken);
            }
            next
        });
        let mut events = [Event::new(Kind::Add); BATCH_EVENTS];
        while !started.load(Ordering::Acquire) {
            std::hint::spin_loop();
        }
        let start = Instant::now();
        let mut seq = 0;
        while seq < count {
            for (offset, event) in events.iter_mut().enumerate() {
                event.seq = seq + offset as u64;
            }
            seq += BATCH_EVENTS as u64;
            push_all(&mut tx, &events);
        }
        assert_eq!(reader.join().expect("the reader counts"), count);
        start.elapsed()
    })
}

/// One event to the other thread and back, again and again.
fn round_trips(count: u64) -> Duration {
    let (mut there_tx, mut there_rx) = ring::<Event>(64);
    let (mut back_tx, mut back_rx) = ring::<Event>(64);
    thread::scope(|scope| {
        scope.spawn(move || {
            for _ in 0..count {
                let event = take(&mut there_rx);
                push_all(&mut back_tx, &[event]);
            }
        });
        let start = Instant::now();
        for seq in 0..count {
            push_all(
                &mut there_tx,
                &[Event {
                    seq,
                    ..Event::new(Kind::Add)
                }],
            );
            assert_eq!(take(&mut back_rx).seq, seq);
        }
        start.elapsed()
    })
}

fn push_all(tx: &mut Sender, mut events: &[Event]) {
    while !events.is_empty() {
        let count = tx.push(events);
        events = &events[count..];
        if count == 0 {
            std::hint::spin_loop();
        }
    }
}

fn take(rx: &mut Receiver) -> Event {
    loop {
        if let Some(batch) = rx.batch(1) {
            let event = batch.slices().0[0];
            batch.commit(1);
            return event;
        }
        std::hint::spin_loop();
    }
}

criterion_group!(benches, ring_bench);
criterion_main!(benches);
