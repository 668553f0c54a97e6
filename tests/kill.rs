//! The real program, sending orders to a peer that counts them, is killed at any moment, while it
//! sets up, runs, recovers or concludes: nothing is lost, nothing comes twice without saying so,
//! and the end is that of a run that nothing disturbed.
//!
//! `cargo test` kills 300 times. The long run is
//!
//! ```text
//! TAPELINE_KILLS=10000 cargo test --release --test kill -- --nocapture
//! ```
//!
//! half of them in memory and half on the disk that the project is built on. It prints a seed;
//! `TAPELINE_SEED` repeats its draws, though of course not what the machine made of them.

mod support;

use std::fs;
use std::time::{Duration, Instant, SystemTime};

use support::crash::{Ledger, Mode, Peer, Session, is_begun, resume};
use support::{Folder, Random, alone};

/// The shortest and the longest life of a process before it is killed, in microseconds.
const LIFE_US: (f64, f64) = (500.0, 500_000.0);

/// What a campaign saw.
#[derive(Clone, Copy, Debug, Default)]
struct Table {
    /// Kills of a run that had begun.
    kills: u64,
    /// Of these, kills of a process that went on with a run.
    kills_resumed: u64,
    /// Kills before there was a run to go on with.
    kills_early: u64,
    resumes: u64,
    complete: u64,
    recovered_cells: u64,
    orders: u64,
    flagged: u64,
    unflagged: u64,
    unlogged: u64,
}

fn seed() -> u64 {
    let from_env = std::env::var("TAPELINE_SEED").ok();
    let clock = || SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    from_env
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(clock)
}

/// A number of kills from the environment, shared out between the two folders.
fn kills_wanted() -> u64 {
    let from_env = std::env::var("TAPELINE_KILLS").ok();
    let kills = from_env.map_or(300, |kills| kills.parse().expect("a number of kills"));
    kills / 2
}

fn kill_often(place: &str, folder: Folder) {
    let _alone = alone();
    let wanted = kills_wanted();
    let session = Session::new(folder);
    let seed = seed();
    println!("{place}: TAPELINE_SEED={seed}");
    let mut random = Random(seed);
    let mut table = Table::default();
    let started = Instant::now();
    let peer = Peer::new();
    // Luck decides whether a run is killed that was killed before: some must, however long it
    // takes.
    while table.kills < wanted || table.kills_resumed == 0 {
        if let Err(what) = one_run(&session, &peer, &mut random, &mut table) {
            let run = session.folder.join("run/run").display().to_string();
            // It is evidence.
            std::mem::forget(session);
            panic!("{place}, TAPELINE_SEED={seed}: {what}; {run} is kept; {table:?}");
        }
    }
    let Table {
        kills,
        kills_resumed,
        kills_early,
        resumes,
        complete,
        recovered_cells,
        orders,
        flagged,
        unflagged,
        unlogged,
    } = table;
    let elapsed = started.elapsed();
    println!(
        "{place}: {kills} kills in {:.1} s ({:.0} ms each), {kills_resumed} of them of a run that \
         was resumed; {kills_early} more before there was a run",
        elapsed.as_secs_f64(),
        elapsed.as_secs_f64() * 1e3 / kills as f64,
    );
    println!(
        "{place}: {resumes} resumes recovered {recovered_cells} cells; {complete} runs complete, \
         each as its twin; {orders} orders, 0 lost, {flagged} flagged repeats, {unflagged} \
         unflagged, {unlogged} sent before they were durable"
    );
}

/// One run from its start to its end, over all its lives.
fn one_run(
    session: &Session,
    peer: &Peer,
    random: &mut Random,
    table: &mut Table,
) -> Result<(), String> {
    let run = session.folder.join("run/run");
    let _ = fs::remove_dir_all(&run);
    let mode = Mode {
        is_durable: true,
        is_tcp: true,
        is_plain: random.within(0..3) == 0,
        is_one_thread: random.within(0..2) == 0,
    };
    let shards = 1 + random.within(0..2) as usize;
    let config = session.folder.write("run.toml", mode.config(peer.address));
    // At its own pace in part, so that the moments between orders get their share too.
    let speed = |random: &mut Random| ["max", "max", "20x"][random.within(0..3) as usize];
    let mut process = session.start(&run, &config, shards, speed(random)).go();
    let mut ledger = Ledger::default();
    let mut is_resumed = false;
    loop {
        let (low, high) = (LIFE_US.0.ln(), LIFE_US.1.ln());
        let draw = random.within(0..1 << 20) as f64 / f64::from(1 << 20);
        let life = Duration::from_micros((low + draw * (high - low)).exp() as u64);
        if let Some(ended) = process.wait(life) {
            ended.expect(0);
            break;
        }
        // It may have come to its end just now.
        let is_over = process.kill().code.is_some();
        let came = peer.drain();
        if !is_begun(&run) {
            table.kills_early += 1;
            return if came.iter().all(Vec::is_empty) {
                Ok(())
            } else {
                Err("orders came of a run that had not begun".into())
            };
        }
        table.kills += u64::from(!is_over);
        table.kills_resumed += u64::from(is_resumed && !is_over);
        let logged = session.logged(&run, shards)?;
        table.recovered_cells += logged.cells;
        ledger.life(came, logged)?;
        table.resumes += 1;
        process = resume(&run, speed(random)).go();
        is_resumed = true;
    }
    let logged = session.logged(&run, shards)?;
    ledger.life(peer.drain(), logged)?;
    ledger.check(&session.orders)?;
    session.check_results(&run)?;
    table.complete += 1;
    table.orders += ledger.orders();
    table.flagged += ledger.flagged;
    table.unflagged += ledger.unflagged;
    table.unlogged += ledger.unlogged;
    match (ledger.unflagged, ledger.unlogged) {
        (0, 0) => Ok(()),
        (again, early) => Err(format!(
            "{again} orders came again without 97=Y, {early} came before the log had them"
        )),
    }
}

#[test]
fn nothing_is_lost_or_sent_twice_in_memory() {
    kill_often("memory", Folder::quick("kill"));
}

#[test]
fn nothing_is_lost_or_sent_twice_on_the_disk() {
    kill_often("disk", Folder::new("kill"));
}
