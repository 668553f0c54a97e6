//! Faults planted on purpose, one by one: each must be caught by the check that is there for it,
//! and without it the same seeds must pass.
//!
//! `cargo test --features planted --test planted -- --nocapture` prints what caught what.

// The files that are shared here have more in them than is used here.
#![allow(dead_code)]

#[path = "../bus/tests/log/check.rs"]
mod check;
#[path = "../bus/tests/log/faults.rs"]
mod faults;
#[path = "simulation/network.rs"]
mod network;
#[path = "simulation/part.rs"]
mod part;
#[path = "simulation/peer.rs"]
mod peer;
#[path = "simulation/plan.rs"]
mod plan;
#[path = "../bus/tests/log/states.rs"]
mod states;
#[path = "../bus/tests/log/swapped.rs"]
mod swapped;
#[path = "simulation/world.rs"]
mod world;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};

use bus::disk::Fault;
use bus::planted::{Bug, plant};
use bus::{Event, Kind, Price, Qty, Side, Signal, Ts};
use tapeline::config::{self, Config};
use tapeline::core::Sink;
use tapeline::pipeline::core;

/// One way of looking for faults; a seed says all of what it does.
struct Check {
    name: &'static str,
    seeds_max: u64,
    run: fn(u64) -> Result<(), String>,
}

const STATES: Check = Check {
    name: "crash states",
    seeds_max: 500,
    run: |seed| states::check(seed).map(drop),
};

const FAILING: Check = Check {
    name: "every operation fails once",
    seeds_max: 6,
    run: |seed| {
        let fault = [Fault::Io, Fault::Short, Fault::NoSpace][seed as usize / 2];
        faults::every_operation_fails(fault, seed % 2 == 1);
        Ok(())
    },
};

const DAMAGE: Check = Check {
    name: "one wrong byte",
    seeds_max: 4,
    run: swapped::one_byte_wrong,
};

const STRANGER: Check = Check {
    name: "a frame of a twin",
    seeds_max: 1,
    run: |_| swapped::a_frame_of_a_twin(),
};

const SIMULATION: Check = Check {
    name: "the whole core and its twin",
    seeds_max: 200,
    run: |seed| world::check(&plan::Plan::of(seed + 1)).map(drop),
};

const INVARIANTS: Check = Check {
    name: "what must hold of books",
    seeds_max: 1,
    run: |_| invariants(),
};

/// Orders that come, are reduced and go, at prices near and far, with a look at the whole book after
/// each event.
fn invariants() -> Result<(), String> {
    let mut config = Config::default();
    config.limits.symbols = 4;
    config.limits.orders = 1 << 10;
    config.limits.levels = 1 << 10;
    config.book.check = config::Check::Full;
    let mut core = core(&config, Ts(0), None)?;
    let event = |kind, order, side, cents: i64, qty| Event {
        order,
        side,
        price: Price(cents * 10_000_000),
        qty: Qty(qty),
        symbol: 1,
        ..Event::new(kind)
    };
    let events = [
        event(Kind::Status, u64::from(b'T'), Side::None, 0, 0),
        event(Kind::Add, 1, Side::Buy, 10_000, 100),
        event(Kind::Cancel, 1, Side::None, 0, 60),
        event(Kind::Add, 2, Side::Buy, 9_100, 100),
        event(Kind::Add, 3, Side::Buy, 9_000, 100),
        event(Kind::Delete, 1, Side::None, 0, 0),
        event(Kind::Add, 4, Side::Sell, 10_000, 100),
    ];
    for (seq, event) in (1..).zip(events) {
        core.take(&[Event { seq, ..event }], &mut Nobody);
        if let Some((breach, event)) = core.breaches().examples.first() {
            return Err(format!("{} after {:?}", breach.name(), event.kind));
        }
    }
    Ok(())
}

#[test]
fn every_planted_bug_of_books_breaks_what_it_must() {
    for (bug, said) in [
        (Bug::LevelQtyOff, "level_quantity after Cancel"),
        (Bug::LevelTakenTwice, "empty_quantity after Cancel"),
        (Bug::LevelCountOff, "order_count after Add"),
        (Bug::FarPriceMisplaced, "price_order after Add"),
        (Bug::BestKept, "quote after Delete"),
        (Bug::DeleteForgotten, "crossed_trading after Add"),
    ] {
        let planted = plant(bug);
        assert_eq!(invariants(), Err(said.to_string()), "{bug:?}");
        drop(planted);
        assert_eq!(invariants(), Ok(()));
    }
}

struct Nobody;

impl Sink for Nobody {
    fn event(&mut self, _: &Event) {}
    fn signal(&mut self, _: &Signal) {}
}

/// Which check is there for it.
fn check_for(bug: Bug) -> &'static Check {
    match bug {
        Bug::SyncSkipped
        | Bug::ChecksumSkipped
        | Bug::DirectorySyncSkipped
        | Bug::AdoptedOnTrust
        | Bug::DurableOutOfOrder
        | Bug::ClaimsTooMuch
        | Bug::HeaderBeforeDurable
        | Bug::CellOffByOne
        | Bug::SettleSkipped => &STATES,
        Bug::SyncRetried | Bug::ShortWriteAccepted | Bug::ErrorForgotten | Bug::ReadErrorIsEnd => {
            &FAILING
        }
        Bug::SealUnchecked | Bug::DamageTakenForTorn => &DAMAGE,
        Bug::ChainUnchecked => &STRANGER,
        Bug::IdsFromClock
        | Bug::SendBeforeDurable
        | Bug::SentBeforeItLeft
        | Bug::DoubtForgotten
        | Bug::DoubtUnflagged
        | Bug::ResumeSkipsOne
        | Bug::ResumeRepeatsOne
        | Bug::CheckpointRenamedBeforeSync
        | Bug::CheckpointWithoutTail
        | Bug::WindowNotRestored
        | Bug::RiskNotRestored
        | Bug::AheadForgotten => &SIMULATION,
        Bug::LevelQtyOff
        | Bug::LevelTakenTwice
        | Bug::LevelCountOff
        | Bug::FarPriceMisplaced
        | Bug::BestKept
        | Bug::DeleteForgotten => &INVARIANTS,
    }
}

thread_local! {
    /// Whether this thread runs a check, whose panics are words.
    static IS_CHECKING: Cell<bool> = const { Cell::new(false) };
}

/// What a check says of a seed; a panic is a word too.
fn say(check: &Check, seed: u64) -> Result<(), String> {
    IS_CHECKING.set(true);
    let result = catch_unwind(AssertUnwindSafe(|| (check.run)(seed)));
    IS_CHECKING.set(false);
    result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or(panic.downcast_ref::<&str>().copied());
        Err(text.unwrap_or("a panic").to_owned())
    })
}

#[test]
fn every_planted_bug_is_caught() {
    // A check that panics has done its work, which nobody should take for a failure.
    let usual = take_hook();
    set_hook(Box::new(move |panic| {
        if !IS_CHECKING.get() {
            usual(panic);
        }
    }));
    let mut missed = Vec::new();
    println!("{:<28} {:<28} seeds  by", "bug", "caught by");
    for bug in Bug::ALL {
        let check = check_for(bug);
        let planted = plant(bug);
        let caught = (0..check.seeds_max).find_map(|seed| Some((seed, say(check, seed).err()?)));
        drop(planted);
        match caught {
            Some((seed, what)) => {
                let line = what.lines().next().unwrap_or_default();
                println!(
                    "{:<28} {:<28} {:>5}  {line}",
                    format!("{bug:?}"),
                    check.name,
                    seed + 1
                );
                if let Err(what) = say(check, seed) {
                    panic!(
                        "{}, seed {seed}, fails without {bug:?} too: {what}",
                        check.name
                    );
                }
            }
            None => missed.push(bug),
        }
    }
    assert!(missed.is_empty(), "not caught: {missed:?}");
}
