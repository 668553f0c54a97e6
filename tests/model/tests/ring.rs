//! The ring from reader to shard, in every order that loom knows: three messages through two
//! slots, so that the ring runs full and its end wraps around; the reader leaving, and the shard
//! leaving. And each ordering that it rests on, taken away in turn: that must be found.

use std::panic::{AssertUnwindSafe, catch_unwind};

use model::ring::{Receiver, Sender, ring};
use model::with_mistake;

const MESSAGES: u64 = 3;
const CAPACITY: usize = 2;

/// Explores all interleavings; how many there were, or what was found.
fn explore(body: impl Fn() + Sync + Send + 'static) -> Result<usize, String> {
    let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = std::sync::Arc::clone(&count);
    let result = catch_unwind(AssertUnwindSafe(|| {
        loom::model(move || {
            counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            body();
        });
    }));
    match result {
        Ok(()) => Ok(count.load(std::sync::atomic::Ordering::Relaxed)),
        Err(panic) => Err(match panic.downcast::<String>() {
            Ok(text) => *text,
            Err(panic) => (*panic.downcast::<&str>().expect("a panic says something")).to_owned(),
        }),
    }
}

/// Pushes all messages as a reader does: as many as there is room for, then again.
fn push_all(tx: &mut Sender<u64>) {
    let messages: Vec<u64> = (0..MESSAGES).collect();
    let mut rest = &messages[..];
    while !rest.is_empty() {
        let count = tx.push(rest);
        rest = &rest[count..];
        if count == 0 {
            loom::thread::yield_now();
        }
    }
}

/// Takes one batch as a shard does; how many it held, which all must be the next ones.
fn take_batch(rx: &mut Receiver<u64>, next: u64) -> u64 {
    let Some(batch) = rx.batch(CAPACITY) else {
        loom::thread::yield_now();
        return 0;
    };
    let (front, back) = batch.slices();
    let found: Vec<u64> = front.iter().chain(back).copied().collect();
    let want: Vec<u64> = (next..next + found.len() as u64).collect();
    assert_eq!(found, want, "each message once, in order");
    batch.commit(found.len());
    found.len() as u64
}

/// All messages come once, in order, and then the end is seen.
fn pass_all() {
    let (mut tx, mut rx) = ring::<u64>(CAPACITY);
    let reader = loom::thread::spawn(move || push_all(&mut tx));
    let mut next = 0;
    while !rx.is_finished() {
        next += take_batch(&mut rx, next);
    }
    assert_eq!(next, MESSAGES, "nothing is lost at the end");
    reader.join().unwrap();
}

/// The shard leaves after the first batch; the reader sees that, sooner or later, and stops.
fn shard_leaves() {
    let (mut tx, mut rx) = ring::<u64>(CAPACITY);
    let shard = loom::thread::spawn(move || while take_batch(&mut rx, 0) == 0 {});
    let mut pushed = 0;
    while !tx.is_abandoned() {
        pushed += tx.push(&[pushed]) as u64;
        loom::thread::yield_now();
    }
    shard.join().unwrap();
    assert!((1..=MESSAGES + 1).contains(&pushed), "{pushed} found room");
    assert!(tx.waiting() <= CAPACITY);
}

/// Both ends are dropped with messages in the ring; the last one gives back its memory.
fn both_leave() {
    let (mut tx, rx) = ring::<u64>(CAPACITY);
    let reader = loom::thread::spawn(move || {
        tx.push(&[0, 1]);
    });
    drop(rx);
    reader.join().unwrap();
}

#[test]
fn each_message_once_and_in_order_through_a_ring_that_wraps() {
    let count = explore(pass_all).unwrap();
    println!("{count} interleavings");
    assert!(count > 100, "{count} interleavings are no exploration");
}

#[test]
fn a_reader_sees_that_its_shard_is_gone() {
    let count = explore(shard_leaves).unwrap();
    println!("{count} interleavings");
}

#[test]
fn the_last_one_out_gives_back_the_memory_and_nobody_uses_it_after() {
    let count = explore(both_leave).unwrap();
    println!("{count} interleavings");
}

/// Every place where the ring names an ordering, weakened.
#[test]
fn each_ordering_that_is_taken_away_is_missed() {
    let checks: [(&str, fn()); 6] = [
        ("tail store", pass_all),
        ("tail load", pass_all),
        ("head store", pass_all),
        ("head load", pass_all),
        ("flag store", both_leave),
        ("flag second load", both_leave),
    ];
    for (mistake, body) in checks {
        with_mistake(mistake, || {
            let found = explore(body).expect_err(mistake);
            println!("{mistake}: {}", found.lines().next().unwrap_or_default());
        });
    }
}

/// `is_finished` looks at the flag first and at the messages second, and relies on the flag's
/// acquire: without it the last messages could be missed.
#[test]
fn the_end_is_not_seen_before_the_last_message() {
    with_mistake("flag load", || {
        let found = explore(pass_all).expect_err("messages are lost at the end");
        assert!(found.contains("nothing is lost at the end"), "{found}");
    });
}
