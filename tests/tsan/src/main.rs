//! Pushes numbered events through the ring from one thread to another, and checks that each comes
//! once, in order: `tsan sound 100000000`, or with a mistake in it that the sanitizer must report,
//! `tsan relaxed 1000000`. How to build it: tests/sanitizers.sh.
//!
//! A program of its own, since the sanitizer does not see into the test harness.

extern crate alloc;

/// The ring with a release that is none: see build.rs.
#[allow(warnings)]
mod relaxed {
    pub(crate) mod rtrb {
        include!(concat!(env!("OUT_DIR"), "/rtrb.rs"));
    }
    pub(crate) mod ring {
        include!(concat!(env!("OUT_DIR"), "/ring.rs"));
    }
}

/// The same loop for both rings, whose types have nothing in common but their text.
macro_rules! pass {
    ($ring:path, $count:expr) => {{
        let (mut tx, mut rx) = $ring(1024);
        let count: u64 = $count;
        let shard = std::thread::spawn(move || {
            let (mut next, mut sum) = (0u64, 0u64);
            while !rx.is_finished() {
                let Some(batch) = rx.batch(256) else {
                    std::thread::yield_now();
                    continue;
                };
                let (front, back) = batch.slices();
                for event in front.iter().chain(back) {
                    assert_eq!(
                        (event.seq, event.order),
                        (next, !next),
                        "each once, in order"
                    );
                    sum = (sum ^ event.order).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                    next += 1;
                }
                let taken = front.len() + back.len();
                batch.commit(taken);
            }
            (next, sum)
        });
        let mut events = [bus::Event::new(bus::Kind::Add); 64];
        let mut seq = 0;
        while seq < count {
            let wanted = (count - seq).min(64) as usize;
            for (event, seq) in events.iter_mut().zip(seq..) {
                (event.seq, event.order) = (seq, !seq);
            }
            let pushed = tx.push(&events[..wanted]);
            seq += pushed as u64;
            if pushed == 0 {
                std::thread::yield_now();
            }
        }
        drop(tx);
        shard.join().expect("what comes is what was sent")
    }};
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [which, count] = &args[..] else {
        panic!("usage: tsan sound|relaxed COUNT");
    };
    let count: u64 = count.parse().expect("COUNT is a number");
    let (passed, sum) = match which.as_str() {
        "sound" => pass!(bus::ring::ring::<bus::Event>, count),
        "relaxed" => pass!(relaxed::ring::ring::<bus::Event>, count),
        other => panic!("{other:?} is neither sound nor relaxed"),
    };
    assert_eq!(passed, count);
    println!("{which}: {passed} events, each once, in order; checksum {sum:016x}");
}
