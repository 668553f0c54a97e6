//! How soon a run stops when another process tells it to: which orders still leave, and for how long.
//!
//! `cargo test` stops some tens of times, and holds the count of orders only, since the time is that of
//! a busy machine. The measurement is
//!
//! ```text
//! TAPELINE_STOPS=1000 cargo test --release --test stopping -- --nocapture
//! ```
//!
//! with nothing beside it, and holds that 99 of 100 stops take effect in less than a millisecond. Time
//! counts until the counterparty has read the last order, which is later than when it left.

mod support;

use std::cell::Cell;
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use bus::oms::latch::{Gate, Latch, Scope};
use support::{Folder, Random, Started, alone, manifest, program, run, signal};

/// So long without an order is silence. At the pace below there are some in each millisecond.
const SILENCE: Duration = Duration::from_millis(25);
const HANG: Duration = Duration::from_secs(60);

/// What comes on one of a run's connections.
enum Came {
    /// An order, and when it was read.
    Order(Instant),
    /// The connection's end.
    End,
}

/// The other side of runs that follow one another.
struct Counterparty {
    address: SocketAddr,
    came: Receiver<Came>,
    /// Connections of the run at hand that are not at their end yet.
    open: Cell<usize>,
}

impl Counterparty {
    fn new() -> Counterparty {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, came) = mpsc::channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, sender) = (stream.unwrap(), sender.clone());
                thread::spawn(move || {
                    let (mut block, mut state) = ([0; 4096], 0);
                    while let Ok(count @ 1..) = stream.read(&mut block) {
                        let now = Instant::now();
                        for byte in &block[..count] {
                            state = following(state, *byte);
                            if state == ORDER.len() && sender.send(Came::Order(now)).is_err() {
                                return;
                            }
                        }
                    }
                    let _ = sender.send(Came::End);
                });
            }
        });
        Counterparty {
            address,
            came,
            open: Cell::new(0),
        }
    }

    /// A run with so many connections begins.
    fn expect(&self, connections: usize) {
        assert_eq!(self.open.replace(connections), 0);
    }

    /// The next order, if it comes in time and before the session's end.
    fn next(&self, at_most: Duration) -> Result<Instant, RecvTimeoutError> {
        while self.open.get() > 0 {
            match self.came.recv_timeout(at_most)? {
                Came::Order(at) => return Ok(at),
                Came::End => self.open.set(self.open.get() - 1),
            }
        }
        Err(RecvTimeoutError::Disconnected)
    }

    /// How many of so many orders came: fewer at the session's end only.
    fn wait_for(&self, count: u64) -> u64 {
        for came in 0..count {
            match self.next(HANG) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => return came,
                Err(RecvTimeoutError::Timeout) => panic!("no order in {HANG:?}"),
            }
        }
        count
    }

    /// Those that come until there is silence.
    fn until_silence(&self) -> Vec<Instant> {
        std::iter::from_fn(|| self.next(SILENCE).ok()).collect()
    }

    /// Those that come until the session's end.
    fn until_end(&self) -> u64 {
        self.wait_for(u64::MAX)
    }
}

const ORDER: &[u8] = b"\x0135=D\x01";

/// How much of [`ORDER`] the bytes so far end with.
fn following(state: usize, byte: u8) -> usize {
    match state {
        state if state < ORDER.len() && byte == ORDER[state] => state + 1,
        _ => usize::from(byte == ORDER[0]),
    }
}

/// A session of which a run makes some thousand orders in each second.
fn session(folder: &Folder) -> PathBuf {
    let path = folder.join("session.pcap");
    let mut command = program();
    command.args(["sample", "itch", "--symbols", "32", "--seconds", "10"]);
    command
        .args(["--rate", "6000", "--seed", "5", "-o"])
        .arg(&path);
    run(&mut command).expect(0);
    path
}

fn start(
    folder: &Folder,
    capture: &Path,
    to: SocketAddr,
    model: &str,
    round: usize,
) -> (Started, PathBuf) {
    let config = format!(
        "[log]\nsegment = \"1MiB\"\nframe = \"64KiB\"\ndurability = \"fast\"\n\
         [momentum]\nlookback = \"20ms\"\nthreshold = \"0.1bps\"\nsigmas = 0.0\nimbalance = 0.0\n\
         cooldown = \"1ms\"\n[risk]\norders_per_second = 200\n\
         [orders]\nfile = false\ntcp = \"{to}\"\n[run]\nmodel = \"{model}\"\n"
    );
    let config = folder.write("run.toml", config);
    let to = folder.join(&format!("run-{model}-{round}"));
    let mut command = program();
    command.arg("replay").arg(capture).arg("-o").arg(&to);
    command.args(["--speed", "1x", "-c"]).arg(config);
    if model == "pipeline" {
        command.args(["--shards", "2"]);
    }
    (Started::new(&mut command), to)
}

/// `tapeline kill --all`, and does not wait for it.
fn kill_all(run: &Path) -> Started {
    Started::new(program().args(["kill", "--all"]).arg(run))
}

fn let_go(latch: &Latch) {
    let seen = latch.standing().change;
    latch.let_go(&Scope::All, seen).unwrap();
}

/// How many stops are asked for, if any are.
fn stops_wanted() -> Option<usize> {
    let wanted = std::env::var("TAPELINE_STOPS").ok()?;
    Some(wanted.parse().expect("a number of stops"))
}

/// How many orders a run said that it sent and held back, at its end.
fn ended(mut process: Started, run: &Path) -> (u64, u64) {
    process.wait_for_end().expect(0);
    let counts = &manifest(run)["counts"];
    (
        counts["sent"].as_u64().unwrap(),
        counts["killed"].as_u64().unwrap(),
    )
}

/// All threads of a process stand still.
fn wait_until_frozen(process: u32) {
    let since = Instant::now();
    let is_frozen = |task: std::io::Result<std::fs::DirEntry>| {
        let stat = std::fs::read_to_string(task.unwrap().path().join("stat"));
        // The state stands behind the name, which stands in brackets.
        stat.is_ok_and(|stat| stat.rsplit(')').next().unwrap().starts_with(" T"))
    };
    let tasks = format!("/proc/{process}/task");
    while !std::fs::read_dir(&tasks).unwrap().all(is_frozen) {
        assert!(since.elapsed() < HANG, "process {process} does not stop");
        thread::yield_now();
    }
}

/// A run is frozen at any moment and stopped there. However slow the machine, what leaves when it goes
/// on is the message at most that each shard had in its hands behind the look.
#[test]
fn only_the_order_that_was_past_the_look_leaves_after_a_stop() {
    let _alone = alone();
    let folder = Folder::quick("stopping-count");
    let capture = session(&folder);
    let counterparty = Counterparty::new();
    let mut random = Random(11);
    for (model, shards) in [("pipeline", 2), ("run-to-completion", 1)] {
        counterparty.expect(shards);
        let (process, run) = start(&folder, &capture, counterparty.address, model, 0);
        let (mut came, mut late, mut stops) = (0, 0, 0);
        for trial in 0..12 {
            let before = 1 + random.within(0..40);
            let got = counterparty.wait_for(before);
            came += got;
            if got < before {
                break;
            }
            signal(process.id(), "STOP");
            wait_until_frozen(process.id());
            // What left is with us now, or on its way through the machine to our thread.
            came += counterparty.until_silence().len() as u64;
            let latch = Latch::open(&run.join("latch")).unwrap();
            match trial % 2 {
                0 => drop(latch.stop(&Scope::All, false).unwrap()),
                _ => drop(kill_all(&run).wait_for_end().expect(0)),
            }
            signal(process.id(), "CONT");
            let left = counterparty.until_silence().len();
            assert!(
                left <= shards,
                "{left} orders left {shards} shards after a stop"
            );
            late += left;
            stops += 1;
            let_go(&latch);
        }
        came += late as u64;
        let (sent, killed) = {
            let mut process = process;
            process.wait_for_end().expect(0);
            came += counterparty.until_silence().len() as u64;
            let counts = &manifest(&run)["counts"];
            (
                counts["sent"].as_u64().unwrap(),
                counts["killed"].as_u64().unwrap(),
            )
        };
        println!(
            "{model}: {stops} stops, {late} orders past the look; {sent} sent, {killed} held back"
        );
        assert!(stops >= 6, "only {stops} stops in the session");
        assert_eq!(came, sent, "what came is what the log says");
        assert!(
            killed >= stops,
            "{killed} orders held back in {stops} stops"
        );
    }
}

/// What was measured of one kind of stop.
#[derive(Default)]
struct Times {
    /// From the call, or from the moment at which the command had written its word.
    from_word_us: Vec<f64>,
    /// From when the command was started.
    from_start_us: Vec<f64>,
    orders: usize,
}

fn tell(name: &str, times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
    let over = times.iter().filter(|time| **time >= 1e3).count();
    println!(
        "{name}: {} stops, last order after p50 {:.0} us, p99 {:.0} us, max {:.0} us; {over} of 1 ms or more",
        times.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
    at(0.99)
}

/// From a stop to the last order, by the library and by the command, while orders flow.
#[test]
fn a_stop_takes_effect_within_a_turn() {
    let _alone = alone();
    let folder = Folder::quick("stopping-time");
    let capture = session(&folder);
    let counterparty = Counterparty::new();
    let wanted = stops_wanted();
    let mut random = Random(13);
    for model in ["run-to-completion", "pipeline"] {
        let mut kinds = [Times::default(), Times::default()];
        let (mut stops, mut round) = (0, 0);
        while stops < wanted.unwrap_or(10) {
            counterparty.expect(if model == "pipeline" { 2 } else { 1 });
            let (process, run) = start(&folder, &capture, counterparty.address, model, round);
            round += 1;
            let (mut came, mut stops_here) = (0, 0);
            while stops < wanted.unwrap_or(10) {
                let before = 1 + random.within(0..20);
                let got = counterparty.wait_for(before);
                came += got;
                if got < before {
                    break;
                }
                let latch = Latch::open(&run.join("latch")).unwrap();
                let times = &mut kinds[stops % 2];
                let started = Instant::now();
                let (mut word, mut killer) = (started, None);
                if stops % 2 == 0 {
                    latch.stop(&Scope::All, false).unwrap();
                } else {
                    killer = Some(kill_all(&run));
                    while latch.gate() == Gate::Open {
                        assert!(started.elapsed() < HANG, "the command does not stop");
                        std::hint::spin_loop();
                    }
                    word = Instant::now();
                }
                let orders = counterparty.until_silence();
                came += orders.len() as u64;
                let last = orders.last().copied().unwrap_or(started);
                let us = |since: Instant| last.saturating_duration_since(since).as_secs_f64() * 1e6;
                times.from_word_us.push(us(word));
                times.from_start_us.push(us(started));
                times.orders += orders.iter().filter(|order| **order > word).count();
                if let Some(mut killer) = killer {
                    killer.wait_for_end().expect(0);
                }
                let_go(&latch);
                (stops, stops_here) = (stops + 1, stops_here + 1);
            }
            came += counterparty.until_end();
            let (sent, killed) = ended(process, &run);
            assert_eq!(came, sent, "what came is what the log says");
            assert!(
                killed > stops_here,
                "{killed} held back in {stops_here} stops"
            );
            std::fs::remove_dir_all(&run).unwrap();
        }
        for (name, times) in ["the library's call", "tapeline kill"]
            .iter()
            .zip(&mut kinds)
        {
            let p99_us = tell(
                &format!("{model}, {name}, from its word"),
                &mut times.from_word_us,
            );
            println!(
                "{model}, {name}: {} orders were read after the word",
                times.orders
            );
            if wanted.is_some() {
                assert!(
                    p99_us < 1e3,
                    "99 of 100 stops take {p99_us:.0} us, want below 1 ms"
                );
            }
        }
        tell(
            &format!("{model}, tapeline kill, from its start"),
            &mut kinds[1].from_start_us,
        );
    }
}
