//! The whole core from one seed: two bad lines, a reader, shards, disks that tear writes and forget
//! what was not synced, slow peers, clocks that leap, and a process that dies between any two
//! turns, inside any write, and while it starts.
//!
//! The oracle is the same feed without a fault, on one shard: the same signals; every order at the
//! peer, a second time only flagged as a possible repeat; nothing acknowledged gone; no order
//! without its cause in the log.
//!
//! `TAPELINE_SEEDS=10000 TAPELINE_SEED=1 cargo test --release --test simulation seeds -- --nocapture`
//! is the long run. Without `TAPELINE_SEED`, some fixed seeds run and then some that the clock
//! chooses. A failure is shrunk to the least plan that still fails, which is printed;
//! `TAPELINE_PLAN='...' cargo test --test simulation plan -- --nocapture` runs it again.

mod network;
mod part;
mod peer;
mod plan;
mod world;

use std::time::{Instant, SystemTime};

use bus::disk::sim::Fired;
use plan::{Crash, How, Plan};
use world::{Left, check, compare, twin};

/// How many seeds are the same each time.
const FIXED: u64 = 60;
/// How many the clock chooses.
const FRESH: u64 = 12;
/// How many plans are tried to find a simpler one.
const TRIES_MAX: u32 = 500;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text}, want a number")),
    )
}

/// Fails with the least plan that does.
fn fail(plan: Plan, what: &str) -> ! {
    eprintln!("{plan}\n  fails: {what}\n  looking for a simpler one ...");
    let plan = plan.shrink(&|plan| check(plan).err(), TRIES_MAX);
    let what = check(&plan).expect_err("it failed before");
    panic!("{what}\nTAPELINE_PLAN='{plan}' cargo test --test simulation plan -- --nocapture");
}

#[test]
fn a_run_of_many_lives_says_and_sends_what_a_single_one_does_for_many_seeds() {
    let started = Instant::now();
    let (from, count) = (number("TAPELINE_SEED"), number("TAPELINE_SEEDS"));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.expect("after 1970").as_nanos() as u64 % 1_000_000_000_000;
    let seeds: Vec<u64> = match from {
        Some(from) => (from..from + count.unwrap_or(1)).collect(),
        None => {
            println!("fresh seeds from {now}");
            (1..=count.unwrap_or(FIXED))
                .chain(now..now + FRESH)
                .collect()
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let run = |index: usize| {
        let mut all = Left::default();
        for &seed in seeds.iter().skip(index).step_by(threads) {
            let plan = Plan::of(seed);
            match check(&plan) {
                Ok(left) => add(&mut all, &left),
                Err(what) => fail(plan, &what),
            }
        }
        all
    };
    let mut all = Left::default();
    std::thread::scope(|scope| {
        let run = &run;
        let parts = (0..threads).map(|index| scope.spawn(move || run(index)));
        for part in parts.collect::<Vec<_>>() {
            match part.join() {
                Ok(part) => add(&mut all, &part),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    let sent: u64 = all
        .orders
        .values()
        .map(|[plain, _]| u64::from(*plain))
        .sum();
    let flagged: u64 = all
        .orders
        .values()
        .map(|[_, flagged]| u64::from(*flagged))
        .sum();
    println!(
        "{} seeds in {:.1} s: {} lives, {} checkpoints, {} times other shards, {sent} orders and \
         {flagged} flagged repeats",
        seeds.len(),
        started.elapsed().as_secs_f64(),
        all.lives,
        all.checkpoints,
        all.rescaled,
    );
    println!(
        "digest {:016x}; died {:?}; elsewhere {:?}; on the disks:\n{}",
        all.digest, all.deaths, all.elsewhere, all.fired
    );
    let is_usual = count.unwrap_or(FIXED) >= FIXED;
    assert!(!is_usual || (all.lives > 100 && sent > 0 && flagged > 0 && all.deaths.len() == 8));
}

fn add(all: &mut Left, one: &Left) {
    all.lives += one.lives;
    all.checkpoints += one.checkpoints;
    all.rescaled += one.rescaled;
    all.digest ^= one.digest;
    all.fired.add(&one.fired);
    for (how, count) in &one.deaths {
        *all.deaths.entry(how).or_default() += count;
    }
    for (what, count) in &one.elsewhere {
        *all.elsewhere.entry(what).or_default() += count;
    }
    let total = all.orders.entry(String::new()).or_default();
    for [plain, flagged] in one.orders.values() {
        total[0] += plain;
        total[1] += flagged;
    }
}

/// A shard that a full disk stopped says so at each later turn, though a segment that was being
/// made when the disk was full is finished afterwards.
#[test]
fn a_full_disk_stays_said() {
    let plan: Plan = "seed=7589565704 packets=496 shards=1 durable=0 loss=0 doubled=0 swapped=0 \
                      silent=0 silent_from=0 silent_packets=0 refusals=2 slow=10 ring=5 steps=3 \
                      stalls=0 leaps=0 checkpoints=100 crashes=full:0:0:40"
        .parse()
        .expect("a plan");
    if let Err(what) = check(&plan) {
        panic!("{what}");
    }
}

#[test]
fn a_plan_says_everything() {
    for seed in 1..=5 {
        let plan = Plan::of(seed);
        assert_eq!(plan.to_string().parse(), Ok(plan.clone()));
        assert_eq!(check(&plan), check(&plan), "{plan}");
    }
    assert!("seed=1 crashes=power:1:0".parse::<Plan>().is_err());
    // The one from a failure, if there is one.
    if let Ok(text) = std::env::var("TAPELINE_PLAN") {
        let plan: Plan = text
            .parse()
            .unwrap_or_else(|what| panic!("TAPELINE_PLAN: {what}"));
        match check(&plan) {
            Ok(left) => println!("{plan}\n  passes: {} lives", left.lives),
            Err(what) => panic!("{plan}\n  fails: {what}"),
        }
    }
}

/// The loop that SQLite is tested with: the first operation fails, then the second, until a run
/// ends before its turn comes.
fn every_operation_fails(how: How, durable: u64) -> u64 {
    let base = Plan {
        packets: 400,
        durable,
        slow: 2,
        steps: 3,
        ring: 5,
        ..Plan::of(3).twin()
    };
    let twin = twin(&base).unwrap();
    assert!(!twin.orders.is_empty(), "there is something to lose");
    let mut fired = Fired::default();
    for nth in 1.. {
        // While it starts: once on an empty disk, and once on what a first life left.
        for lives_before in [0, 1] {
            let kill = Crash {
                how: How::Kill,
                turns: 60,
                shard: 0,
                nth: 1,
            };
            let crash = Crash {
                how,
                turns: 0,
                shard: 0,
                nth,
            };
            let crashes = [kill, crash][1 - lives_before..].to_vec();
            let plan = Plan {
                seed: base.seed,
                crashes,
                ..base.clone()
            };
            match compare(&plan, &twin) {
                Err(what) => panic!("operation {nth}: {what}\nTAPELINE_PLAN='{plan}'"),
                Ok(left) if !left.is_fault_fired && lives_before == 1 => {
                    println!(
                        "{how:?}, durable {durable}: {} operations failed\n{fired}",
                        nth - 1
                    );
                    return nth - 1;
                }
                Ok(left) => fired.add(&left.fired),
            }
        }
    }
    unreachable!("a run has an end")
}

#[test]
fn any_operation_of_a_shard_may_fail() {
    for how in [How::Start, How::Write, How::Full] {
        for durable in [1, 0] {
            let failed = every_operation_fails(how, durable);
            assert!(failed > 20, "{failed} operations failed");
        }
    }
}

/// A disk that says it synced and did not must be caught: a test that cannot fail proves nothing.
#[test]
fn a_lying_disk_is_noticed() {
    let power = Crash {
        how: How::Power,
        turns: 1500,
        shard: 0,
        nth: 1,
    };
    let lies = |seed: &u64| {
        let plan = Plan {
            crashes: vec![power],
            durable: 1,
            ..Plan::of(*seed)
        };
        world::run_lying(&plan).is_err()
    };
    let noticed = (1..=20).filter(lies).count();
    assert!(noticed > 5, "{noticed} of 20 lying disks were noticed");
}
