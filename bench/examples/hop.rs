//! What does the hop from the reader to a shard take, beside the bare ring on the same two cores?
//!
//! ```text
//! hop [ROUNDS] [SECONDS]      rounds in turns: there and back, each rate for so many seconds
//! ```
//!
//! The bare ring is `rtrb` with an event of 64 bytes: one thread pushes it when it is due, one
//! pops, and both do nothing else. Stamps are taken before the push and after the pop. The product
//! is the whole pipeline with its log, offered the same rate, and the same two stamps (stage
//! `ring`). A round trip of a bare word between the cores says how far apart they are meanwhile.
//!
//! Prints the table of `bench/RESULTS.md`.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use bench::MIDNIGHT;
use bus::clock::{Clock, MachineClock};
use bus::{Event, Kind, Ts};
use tapeline::config::Config;
use tapeline::lab::tape::{Pacing, Sample, Tape};
use tapeline::lab::trial::{self, Plan, Trial};
use tapeline::lab::units::Rate;
use tapeline::latency::{Histogram, Stage};
use tapeline::pipeline::Stop;
use tapeline::session::TradingDay;
use tapeline::term::nanos;

const RATES: [u32; 3] = [20_000, 100_000, 1_000_000];
const WARMUP: Duration = Duration::from_millis(300);
/// Offered to see how much is taken.
const MORE_THAN_ANY: f64 = 50e6;

fn main() {
    let mut args = std::env::args().skip(1);
    let mut number = |usual: u64| {
        args.next()
            .map_or(usual, |text| text.parse().expect("a number"))
    };
    let (rounds, seconds) = (number(3), number(2));
    let cpus = tuning::pin::allowed_cpus();
    let [.., first, last] = cpus[..] else {
        println!("skipped: one core, and a hop needs two");
        return;
    };
    let tapes: Vec<Tape> = RATES.iter().map(|&rate| tape(rate, seconds)).collect();
    let mut full = tape(RATES[2], seconds);
    full.schedule(Pacing::Rate(Rate(MORE_THAN_ANY)));

    let mut rows: Vec<Row> = RATES.iter().map(|_| Row::default()).collect();
    let mut trips = Histogram::new();
    let mut taken = Vec::new();
    for round in 0..rounds {
        let there = 0..RATES.len();
        let order: Vec<usize> = match round % 2 {
            0 => there.collect(),
            _ => there.rev().collect(),
        };
        for index in order {
            let (row, rate) = (&mut rows[index], RATES[index]);
            round_trips(first, last, &mut trips);
            let bare = bare(first, last, rate, seconds);
            let trial = product(&tapes[index], [first, last], Some(seconds));
            row.ratios
                .push(p50(trial.latency.stage(Stage::Ring)) / p50(&bare));
            row.bare.add(&bare);
            row.hop.add(trial.latency.stage(Stage::Ring));
            row.total.add(trial.latency.stage(Stage::Total));
            row.unmatched += trial.latency.unmatched;
        }
        taken.push(product(&full, [first, last], None).achieved());
    }
    taken.sort_by(f64::total_cmp);

    println!(
        "Cores {first} and {last}, a round trip of a word between them p50 {}.",
        said(&trips, 0.5)
    );
    println!();
    println!(
        "| offered | bare ring p50, p99 | hop p50, p99 | p50 to the bare ring's (by round) | due to concluded p50, p99 |"
    );
    println!("| --- | --- | --- | --- | --- |");
    for (rate, row) in RATES.iter().zip(&mut rows) {
        row.ratios.sort_by(f64::total_cmp);
        println!(
            "| {} | {}, {} | {}, {} | **{:.2}** ({:.2} to {:.2}) | {}, {} |",
            Rate(f64::from(*rate)),
            said(&row.bare, 0.5),
            said(&row.bare, 0.99),
            said(&row.hop, 0.5),
            said(&row.hop, 0.99),
            p50(&row.hop) / p50(&row.bare),
            row.ratios[0],
            row.ratios[row.ratios.len() - 1],
            said(&row.total, 0.5),
            said(&row.total, 0.99),
        );
    }
    println!();
    let unmatched: u64 = rows.iter().map(|row| row.unmatched).sum();
    let matched: u64 = rows.iter().map(|row| row.hop.count()).sum();
    println!(
        "Offered more than it takes: {:.2} M messages a second (median of {rounds}). Stamps that came \
         too late for their batch, and are not in the hop's figures: {:.3} %.",
        taken[taken.len() / 2] / 1e6,
        unmatched as f64 * 100.0 / (unmatched + matched).max(1) as f64
    );
}

#[derive(Default)]
struct Row {
    bare: Histogram,
    hop: Histogram,
    total: Histogram,
    ratios: Vec<f64>,
    unmatched: u64,
}

fn p50(histogram: &Histogram) -> f64 {
    histogram.quantile_ns(0.5).unwrap_or(0) as f64
}

fn said(histogram: &Histogram, quantile: f64) -> String {
    histogram.quantile_ns(quantile).map_or("n/a".into(), nanos)
}

fn tape(rate: u32, seconds: u64) -> Tape {
    let sample = Sample {
        symbols: 1_000,
        seed: 7,
        seconds: seconds as u32 + 1,
        rate,
    };
    let mut tape = Tape::make(&sample, MIDNIGHT).expect("a session");
    tape.schedule(Pacing::Rate(Rate(f64::from(rate))));
    tape
}

/// The whole pipeline; without a length the tape is played once.
fn product(tape: &Tape, cpus: [usize; 2], seconds: Option<u64>) -> Trial {
    let mut config = Config::default();
    config.run.cpus = cpus.to_vec();
    // Arrivals at another pace do not confirm event times.
    config.time.max_future = tapeline::config::Span(86_400_000_000_000);
    let day = TradingDay::new("2026-01-05", &config.source.timezone).expect("a day");
    let folder = std::env::temp_dir().join(format!("tapeline-hop-{}", std::process::id()));
    let whole = Duration::from_nanos(tape.length_ns + 1);
    let (warmup, duration) = match seconds {
        Some(seconds) => (WARMUP, Duration::from_secs(seconds)),
        None => (whole / 10, whole - whole / 10),
    };
    let plan = Plan {
        tape,
        config: &config,
        day: &day,
        folder: Path::new(&folder),
        warmup,
        duration,
        stall: None,
        stamp_every: 128,
    };
    std::fs::create_dir_all(&folder).expect("a folder for the log");
    let trial = trial::run(&plan, &Stop::default(), |_, _| {}).expect("a trial");
    let _ = std::fs::remove_dir_all(&folder);
    trial
}

/// `rtrb` and nothing else.
fn bare(producer: usize, consumer: usize, rate: u32, seconds: u64) -> Histogram {
    let (mut tx, mut rx) = rtrb::RingBuffer::<Event>::new(Config::default().run.ring_events);
    let clock = MachineClock::new();
    let warmup = (u64::from(rate) * WARMUP.as_millis() as u64) / 1_000;
    let count = warmup + u64::from(rate) * seconds;
    let each_ns = 1e9 / f64::from(rate);
    thread::scope(|scope| {
        let popped = scope.spawn({
            let clock = clock.clone();
            move || {
                tuning::pin::pin_to(consumer).expect("a core");
                let mut histogram = Histogram::new();
                for number in 0..count {
                    let event = loop {
                        if let Ok(event) = rx.pop() {
                            break event;
                        }
                    };
                    let now_ns = clock.now_ns();
                    assert_eq!(event.seq, number, "each comes once, in order");
                    if number >= warmup {
                        histogram.record(now_ns.saturating_sub(event.ts_recv.0 as u64));
                    }
                }
                histogram
            }
        });
        scope.spawn(move || {
            tuning::pin::pin_to(producer).expect("a core");
            let start_ns = clock.now_ns() + 1_000_000;
            for seq in 0..count {
                let due_ns = start_ns + (seq as f64 * each_ns) as u64;
                let mut event = Event {
                    seq,
                    ..Event::new(Kind::Add)
                };
                loop {
                    let now_ns = clock.now_ns();
                    if now_ns >= due_ns {
                        event.ts_recv = Ts(now_ns as i64);
                        break;
                    }
                }
                while tx.push(event).is_err() {}
            }
        });
        popped.join().expect("it counts")
    })
}

/// A word to the other core and back.
fn round_trips(here: usize, there: usize, into: &mut Histogram) {
    const TRIPS: u64 = 100_000;
    // Lines of their own.
    let words: Vec<AtomicU64> = (0..64).map(|_| AtomicU64::new(0)).collect();
    let (ping, pong) = (&words[16], &words[48]);
    let clock = MachineClock::new();
    thread::scope(|scope| {
        scope.spawn(move || {
            tuning::pin::pin_to(there).expect("a core");
            for trip in 1..=TRIPS {
                while ping.load(Ordering::Acquire) != trip {}
                pong.store(trip, Ordering::Release);
            }
        });
        scope.spawn(move || {
            tuning::pin::pin_to(here).expect("a core");
            for trip in 1..=TRIPS {
                let before_ns = clock.now_ns();
                ping.store(trip, Ordering::Release);
                while pong.load(Ordering::Acquire) != trip {}
                into.record(clock.now_ns() - before_ns);
            }
        });
    });
}
