//! A run goes on from checkpoints and savepoints as if nothing had happened: with other numbers of
//! shards, in another directory, from an older layout, with damaged checkpoints, and whatever is to
//! be done with orders in doubt.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bus::oms::{Date, OrderId};
use bus::{Body, Signal};
use support::{Ended, Folder, Started, alone, digests, manifest, orders_in, program, tapeline};
use tapeline::tables::read_orders;

/// Small segments, many checkpoints, and a strategy that trades a lot.
const CONFIG: &str = r#"
[log]
segment = "1MiB"
frame = "32KiB"

[checkpoint]
every = "20ms"

[momentum]
lookback = "200ms"
threshold = "1bps"
sigmas = 0.2
imbalance = 0.1
cooldown = "50ms"

[rules.lean]
when = "imbalance > 0.6 and spread < 30bps for 15ms"
side = "buy"
cooldown = "200ms"

[rules.wide]
when = "not stale and spread > 25bps or regime == 'stressed'"

[groups.first]
symbols = ["ANL", "NSDL"]

[groups.second]
symbols = ["IIM", "BHSO"]

[strategies.pair]
kind = "pairs"
legs = ["IIM", "BHSO"]
period = "25ms"
half_life = "200ms"
enter = 1.0
leave = 0.2
samples_min = 5
fresh = "1s"
qty = [20, 30]
cooldown = "30ms"

[risk]
orders_per_second = 100

[limits]
symbols = 64
orders = 65536
levels = 65536
"#;

/// Tables that are the same byte by byte; that of orders also says when each left.
const TABLES: [&str; 6] = ["alerts", "books", "lates", "regimes", "signals", "windows"];

struct Session {
    folder: Folder,
    capture: PathBuf,
    config: PathBuf,
    twin: PathBuf,
}

impl Session {
    fn new(name: &str) -> Session {
        Session::with(name, CONFIG)
    }

    fn with(name: &str, config: &str) -> Session {
        let folder = Folder::quick(name);
        let capture = folder.join("session.pcap");
        let sample = "sample itch --symbols 16 --seconds 4 --rate 5000 --loss-a 0.05 --loss-b 0.05 \
 --duplicate 0.01 --reorder 8 -o";
        let args = sample.split(' ').map(std::ffi::OsString::from);
        tapeline(args.chain([capture.clone().into()])).expect(0);
        let config = folder.write("run.toml", config);
        // Runs have their name in their tables, so all of these have the same.
        let twin = folder.join("twin").join("run");
        let session = Session {
            folder,
            capture,
            config,
            twin,
        };
        session
            .start(&session.twin, 1, "max")
            .wait_for_end()
            .expect(0);
        assert!(
            session.orders(&session.twin).len() > 100,
            "too few orders to lose one of"
        );
        let orders = read_orders(&session.twin.join("tables/orders.parquet")).unwrap();
        let orders = orders
            .map(Result::unwrap)
            .filter(|order| order.name == "pair");
        let of: Vec<String> = orders.map(|order| order.symbol).collect();
        for symbol in ["IIM", "BHSO"] {
            let count = of.iter().filter(|of| *of == symbol).count();
            assert!(count > 5, "{count} orders of the pair in {symbol}");
        }
        session
    }

    fn run_dir(&self, name: &str) -> PathBuf {
        self.folder.join(name).join("run")
    }

    fn start(&self, run: &Path, shards: usize, speed: &str) -> Started {
        let mut command = program();
        command.arg("replay").arg(&self.capture).arg("-o").arg(run);
        command.arg("-c").arg(&self.config);
        command.args(["--shards", &shards.to_string(), "--speed", speed]);
        Started::new(&mut command)
    }

    /// Starts a run at a pace and stops it in order on its way.
    fn stopped(&self, run: &Path, shards: usize) {
        interrupt_when(self.start(run, shards, "4x"), || self.is_past(run, 0.1));
    }

    /// The same, once it has two generations of checkpoints.
    fn checkpointed(&self, run: &Path) {
        let mut life = self.start(run, 1, "2x");
        loop {
            let early = life.wait(Duration::from_millis(5));
            assert!(
                early.is_none(),
                "ended too early: {:?}",
                early.unwrap().stderr
            );
            if checkpoints(run).len() == 2 {
                return interrupt_when(life, || true);
            }
        }
    }

    /// Whether so large a part of all orders has left. What a run has done is known by that and not
    /// by the clock, since a busy machine takes its time.
    fn is_past(&self, run: &Path, part: f64) -> bool {
        let sent_bytes = |run: &Path| -> u64 {
            let files = support::files_under(&run.join("orders"), &[".fix"]);
            files
                .iter()
                .map(|file| fs::metadata(file).unwrap().len())
                .sum()
        };
        run.join("orders").is_dir()
            && sent_bytes(run) as f64 >= sent_bytes(&self.twin) as f64 * part
    }

    /// ClOrdID to how often it is in the run's files.
    fn orders(&self, run: &Path) -> BTreeMap<String, usize> {
        let mut orders = BTreeMap::new();
        for file in support::files_under(&run.join("orders"), &[".fix"]) {
            for (id, _) in orders_in(&fs::read(file).unwrap()) {
                *orders.entry(id).or_default() += 1;
            }
        }
        orders
    }

    /// The run is complete, and cannot be told from the twin's.
    fn check(&self, run: &Path) {
        assert_eq!(digests(run), digests(&self.twin), "{}", run.display());
        self.check_conclusions(run);
    }

    /// The run is complete, and concluded what the twin did.
    fn check_conclusions(&self, run: &Path) {
        assert_eq!(manifest(run)["state"], "complete");
        for table in TABLES {
            let name = format!("tables/{table}.parquet");
            let (want, got) = (fs::read(self.twin.join(&name)), fs::read(run.join(&name)));
            assert!(got.unwrap() == want.unwrap(), "{}: {table}", run.display());
        }
        assert_eq!(
            self.orders(run),
            self.orders(&self.twin),
            "{}",
            run.display()
        );
        for what in [
            "windows", "alerts", "regimes", "signals", "orders", "rejects", "sent",
        ] {
            let count = |run: &Path| manifest(run)["counts"][what].clone();
            assert_eq!(count(run), count(&self.twin), "{what}");
        }
        let anomalies = |run: &Path| manifest(run)["anomalies"].clone();
        assert_eq!(anomalies(run), anomalies(&self.twin));
    }
}

/// Waits until a run is so far; it must not have come to its end.
fn wait_until(run: &mut Started, mut is_far: impl FnMut() -> bool) {
    while !is_far() {
        let early = run.wait(Duration::from_millis(2));
        assert!(
            early.is_none(),
            "ended too early: {:?}",
            early.unwrap().stderr
        );
    }
}

/// Stops a run in order when it is so far.
fn interrupt_when(mut run: Started, is_far: impl FnMut() -> bool) {
    wait_until(&mut run, is_far);
    run.interrupt();
    run.wait_for_end().expect(130);
}

/// The checkpoints of a run's only shard, the oldest first.
fn checkpoints(run: &Path) -> Vec<PathBuf> {
    let folder = run.join("checkpoints/shard-0");
    match folder.is_dir() {
        true => support::files_under(&folder, &[".ckpt"]),
        false => Vec::new(),
    }
}

fn resume(run: &Path, args: &[&str]) -> Started {
    let mut command = program();
    command.args(["replay", "--resume"]).arg(run).args(args);
    Started::new(&mut command)
}

fn savepoint(args: &[&str], run: &Path, more: &[&str]) -> Ended {
    let mut command = program();
    command.arg("savepoint").args(args).arg(run).args(more);
    support::run(&mut command)
}

#[test]
fn a_run_that_changes_its_shards_on_the_way_ends_as_one_that_does_not() {
    let _alone = alone();
    let session = Session::new("rescale");
    let run = session.run_dir("rescaled");
    session.stopped(&run, 1);
    // A run that goes on at a pace begins again at the input's start.
    interrupt_when(resume(&run, &["--shards", "2", "--speed", "4x"]), || {
        session.is_past(&run, 0.3)
    });
    interrupt_when(resume(&run, &["--shards", "4", "--speed", "4x"]), || {
        session.is_past(&run, 0.5)
    });
    resume(&run, &["--shards", "1", "--speed", "max"])
        .wait_for_end()
        .expect(0);
    let parts = manifest(&run)["parts"].clone();
    let shards: Vec<u64> = parts
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["shards"].as_u64().unwrap())
        .collect();
    assert_eq!(shards, [1, 2, 4, 1]);
    session.check(&run);
    // What a run is made of can be looked at as before.
    let diff = crate::args!["diff", run, session.twin];
    tapeline(diff).expect(0);
    let symbol = support::json(&run.join("symbols.json"))[0]["symbol"]
        .as_str()
        .unwrap()
        .to_string();
    for at in [None, Some("09:30:02")] {
        let book = |run: &Path| {
            let mut command = program();
            command
                .args(["book", &symbol, "--run"])
                .arg(run)
                .arg("--json");
            command.args(at.map(|at| format!("--at={at}")));
            support::run(&mut command).expect(0).stdout
        };
        assert_eq!(book(&run), book(&session.twin));
    }
}

#[test]
fn a_killed_run_changes_its_shards_and_sends_nothing_twice() {
    let _alone = alone();
    let session = Session::new("killed-rescale");
    let run = session.run_dir("killed");
    let mut shards = [2usize, 1, 4, 3, 1, 2].into_iter();
    let mut life = session.start(&run, shards.next().unwrap(), "4x");
    wait_until(&mut life, || session.is_past(&run, 0.1));
    life.kill();
    for (number, shards) in (1..).zip(shards) {
        let mut life = resume(&run, &["--shards", &shards.to_string(), "--speed", "8x"]);
        if life
            .wait(Duration::from_millis(150 + 60 * number))
            .is_some()
        {
            break;
        }
        life.kill();
    }
    resume(&run, &["--shards", "2", "--speed", "max"])
        .wait_for_end()
        .expect(0);
    assert!(manifest(&run)["parts"].as_array().unwrap().len() > 3);
    session.check(&run);
}

#[test]
fn checkpoints_are_used_and_damaged_ones_are_told_and_not() {
    let _alone = alone();
    let session = Session::new("checkpoints");
    let damage = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x40;
        fs::write(path, bytes).unwrap();
    };
    for damaged in 0..=2 {
        let run = session.run_dir(&format!("damaged-{damaged}"));
        session.checkpointed(&run);
        let found = checkpoints(&run);
        assert_eq!(found.len(), 2, "two generations: {found:?}");
        found
            .iter()
            .rev()
            .take(damaged)
            .for_each(|path| damage(path));
        let ended = resume(&run, &["--speed", "max"]).wait_for_end().expect(0);
        // The first of them is so small that its middle may lie in its head.
        let told = ended.stderr.matches(".ckpt: damaged: want ").count();
        assert_eq!(told, damaged, "{}", ended.stderr);
        session.check(&run);
    }
    // That they are used: one of another run is refused, and not passed over.
    let (one, other) = (session.run_dir("one"), session.run_dir("other"));
    session.checkpointed(&one);
    session.checkpointed(&other);
    fs::copy(
        checkpoints(&one).pop().unwrap(),
        checkpoints(&other).pop().unwrap(),
    )
    .unwrap();
    resume(&other, &[])
        .wait_for_end()
        .expect(5)
        .says(&["checkpoints of another log"]);
}

#[test]
fn books_without_queues_conclude_the_same_and_go_on_from_their_states() {
    let _alone = alone();
    let full = Session::new("queues");
    let session = Session::with("no-queues", &format!("{CONFIG}\n[book]\ndepth = \"l2\"\n"));
    full.check_conclusions(&session.twin);
    let symbol = support::json(&full.twin.join("symbols.json"))[0]["symbol"].clone();
    let book = |run: &Path| {
        let mut command = program();
        command
            .arg("book")
            .arg(symbol.as_str().unwrap())
            .arg("--run");
        command.arg(run).arg("--at=09:30:02");
        support::run(&mut command).expect(0).stdout
    };
    let shown = book(&session.twin);
    assert_eq!(shown, book(&full.twin));
    assert!(shown.lines().count() > 10, "{shown}");

    // Checkpoints are used, savepoints made for other numbers of shards.
    let run = session.run_dir("stopped");
    session.checkpointed(&run);
    resume(&run, &["--speed", "max"]).wait_for_end().expect(0);
    session.check(&run);
    let run = session.run_dir("rescaled");
    session.stopped(&run, 1);
    interrupt_when(resume(&run, &["--shards", "2", "--speed", "4x"]), || {
        session.is_past(&run, 0.3)
    });
    resume(&run, &["--shards", "1", "--speed", "max"])
        .wait_for_end()
        .expect(0);
    session.check(&run);

    // A state with queues is none of books without, and the other way round.
    let (one, other) = (full.run_dir("with"), session.run_dir("without"));
    full.checkpointed(&one);
    session.checkpointed(&other);
    let (with, without) = (checkpoints(&one).pop(), checkpoints(&other).pop());
    let (with, without) = (with.unwrap(), without.unwrap());
    let kept = fs::read(&without).unwrap();
    fs::copy(&with, &without).unwrap();
    fs::write(&with, kept).unwrap();
    for run in [one, other] {
        resume(&run, &[])
            .wait_for_end()
            .expect(5)
            .says(&["made with other settings of books, windows"]);
    }
}

#[test]
fn a_savepoint_goes_on_elsewhere_with_any_shards_and_in_the_oldest_layout() {
    let _alone = alone();
    let session = Session::new("savepoint");
    let run = session.run_dir("origin");
    session.stopped(&run, 2);
    savepoint(&["create", "--name", "new"], &run, &[]).expect(0);
    savepoint(&["create", "--name", "old", "--oldest"], &run, &[]).expect(0);
    savepoint(&["create", "--name", "old"], &run, &[])
        .expect(5)
        .says(&["there already is one"]);
    savepoint(&["create", "--name", "../old"], &run, &[])
        .expect(2)
        .says(&["savepoint `../old`: want"]);
    let listed = savepoint(&["list", "--json"], &run, &[]).expect(0).json();
    let names: Vec<&str> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["new", "old"]);
    // The run itself goes on meanwhile, so that the others begin with orders that have left.
    interrupt_when(resume(&run, &["--speed", "4x"]), || {
        session.is_past(&run, 0.4)
    });
    for (name, shards) in [("new", "1"), ("old", "4"), ("new", "2")] {
        let other = session.run_dir(&format!("{name}-{shards}"));
        let to = other.to_str().unwrap();
        savepoint(&["restore"], &run, &[name, "-o", to, "--shards", shards]).expect(0);
        resume(&other, &["--speed", "max"]).wait_for_end().expect(0);
        session.check(&other);
    }
    savepoint(&["restore"], &run, &["none", "-o", "x"])
        .expect(2)
        .says(&["no such savepoint"]);
    // What is damaged is refused with its place.
    let state = run.join("savepoints/new/shard-0.state");
    let mut bytes = fs::read(&state).unwrap();
    bytes[5000] ^= 1;
    fs::write(&state, bytes).unwrap();
    let other = session.run_dir("bad");
    let place = "shard-0.state: damaged: want a block with its checksum at byte 4096";
    savepoint(&["restore"], &run, &["new", "-o", other.to_str().unwrap()])
        .expect(6)
        .says(&[place]);
    assert!(!other.exists(), "nothing is made of it");
    savepoint(&["list"], &run, &[]).expect(6).says(&[place]);
    resume(&run, &["--speed", "max"]).wait_for_end().expect(0);
    session.check(&run);
}

#[test]
fn a_running_run_can_be_shadowed_and_ended_for_a_savepoint() {
    let _alone = alone();
    let session = Session::new("shadow");
    let run = session.run_dir("shadowed");
    let mut life = session.start(&run, 1, "4x");
    wait_until(&mut life, || session.is_past(&run, 0.6));
    let other = session.folder.join("elsewhere");
    let mut follow = program();
    follow.args(["shadow", "--follow", "--json"]).arg(&run);
    let mut follow = Started::new(&mut follow);
    let ended = savepoint(&["create", "--stop", "--name", "upgrade"], &run, &[]).expect(0);
    assert!(ended.stderr.contains("asking process"), "{}", ended.stderr);
    life.wait_for_end().expect(130);
    let said = follow.wait_for_end().expect(0).json();
    assert!(
        said["signals"]["window"]["equal"].as_u64().unwrap() > 10,
        "{said}"
    );
    // Other settings conclude otherwise, and it shows.
    let eager = CONFIG.replace("cooldown = \"50ms\"", "cooldown = \"20ms\"");
    let eager = session.folder.write("eager.toml", eager);
    let mut tried = program();
    tried.args(["shadow", "--json", "-c"]).arg(eager).arg(&run);
    let said = support::run(&mut tried).expect(4).json();
    assert!(
        said["signals"]["order"]["only_shadow"].as_u64().unwrap() > 0,
        "{said}"
    );
    assert_eq!(said["signals"]["window"]["only_run"], 0);
    let to = other.to_str().unwrap();
    savepoint(&["restore"], &run, &["upgrade", "-o", to]).expect(0);
    resume(&run, &["--speed", "max"]).wait_for_end().expect(0);
    session.check(&run);
}

#[test]
fn a_run_whose_log_is_moved_and_removed_goes_on_and_shows_its_books() {
    let _alone = alone();
    let session = Session::new("retention");
    let small = CONFIG.replace("1MiB", "128KiB");
    let tier = session.folder.join("tier");
    let sized = |more: &str| small.replace("frame =", &format!("{more}\nframe ="));
    for (name, config, is_whole) in [
        ("tier", sized(&format!("tier = {tier:?}")), true),
        ("keep", sized("keep = \"512KiB\""), false),
    ] {
        let run = session.run_dir(name);
        let config = session.folder.write(&format!("{name}.toml"), config);
        let mut command = program();
        command
            .arg("replay")
            .arg(&session.capture)
            .arg("-o")
            .arg(&run);
        command.arg("-c").arg(config).args(["--speed", "4x"]);
        let mut life = Started::new(&mut command);
        wait_until(&mut life, || session.is_past(&run, 0.5));
        life.kill();
        resume(&run, &["--speed", "4x"]).wait_for_end().expect(0);
        assert_eq!(manifest(&run)["state"], "complete");
        let segments = support::files_under(&run.join("log/shard-0"), &[".seg"]);
        assert!(
            !segments[0].ends_with("0000000000.seg"),
            "{name}: {segments:?}"
        );
        assert_eq!(
            session.orders(&run),
            session.orders(&session.twin),
            "{name}"
        );
        if is_whole {
            session.check(&run);
        }
        let symbols = support::json(&run.join("symbols.json"));
        let symbol = symbols[0]["symbol"].as_str().unwrap();
        let levels = |run: &Path| {
            let mut command = program();
            command.args(["book", symbol, "--json", "--run"]).arg(run);
            let said = support::run(&mut command).expect(0).json();
            (said["bids"].clone(), said["asks"].clone())
        };
        assert_eq!(levels(&run), levels(&session.twin), "{name}");
        if !is_whole {
            let mut command = program();
            command
                .args(["book", symbol, "--at", "09:30:02", "--run"])
                .arg(&run);
            support::run(&mut command)
                .expect(2)
                .says(&["first segments were removed"]);
        }
    }
}

/// A peer for one connection that answers questions about orders: it has them or not.
struct Peer {
    address: SocketAddr,
    /// How many messages came.
    count: Arc<AtomicUsize>,
    thread: JoinHandle<Vec<u8>>,
}

impl Peer {
    fn new(has: bool) -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut received, mut at) = (Vec::new(), 0);
            let mut block = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut block) {
                received.extend_from_slice(&block[..count]);
                while let Some(end) = message_end(&received[at..]) {
                    let message = String::from_utf8(received[at..at + end].to_vec()).unwrap();
                    at += end;
                    counted.fetch_add(1, Ordering::Release);
                    if message.contains("\x0135=H\x01") {
                        stream
                            .write_all(&report(field(&message, "11="), has))
                            .unwrap();
                    }
                }
            }
            received
        });
        Peer {
            address,
            count,
            thread,
        }
    }

    /// Message type, the order's ClOrdID, and PossResend of all it got.
    fn messages(self) -> Vec<(String, String, bool)> {
        let received = String::from_utf8(self.thread.join().unwrap()).unwrap();
        let messages = received.split("8=FIX.4.4\x01").skip(1);
        let parse = |message: &str| {
            let kind = field(message, "35=").to_string();
            // A cancel has an id of its own.
            let id = if kind == "F" { "41=" } else { "11=" };
            (
                kind,
                field(message, id).to_string(),
                message.contains("\x0197=Y\x01"),
            )
        };
        messages.map(parse).collect()
    }
}

fn message_end(bytes: &[u8]) -> Option<usize> {
    let at = bytes.windows(4).position(|four| four == b"\x0110=")?;
    (bytes.len() >= at + 8).then_some(at + 8)
}

fn field<'a>(message: &'a str, tag: &str) -> &'a str {
    let mut fields = message.split('\x01');
    fields.find_map(|field| field.strip_prefix(tag)).unwrap()
}

fn report(id: &str, is_known: bool) -> Vec<u8> {
    let state = if is_known { "39=0" } else { "39=8\x01103=5" };
    let body = format!("35=8\x0134=1\x0149=OMS\x0156=TAPELINE\x0111={id}\x01{state}\x01");
    let head = format!("8=FIX.4.4\x019={}\x01{body}", body.len());
    let sum: u32 = head.bytes().map(u32::from).sum();
    format!("{head}10={:03}\x01", sum % 256).into_bytes()
}

/// Leaves a run's log as a crash would have that came right before the word that its last order
/// was sent: everything from the frame on that holds it was never written. The orders then in
/// doubt.
fn forget_that_the_last_was_sent(run: &Path, date: Date) -> BTreeSet<String> {
    let path = run.join("log/shard-0/0000000000.seg");
    let mut bytes = fs::read(&path).unwrap();
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    // Offset of the frame, and what it says of orders: their key, and whether it is that they
    // were sent.
    let mut said: Vec<(usize, (u64, u32, u16), bool)> = Vec::new();
    let mut ids = BTreeMap::new();
    let mut at = 4096;
    while at < bytes.len() && number(at + 4) > 0 {
        let mut cell = at + 64;
        let end = cell + 64 * number(at + 24);
        while cell < end {
            let is_signal = bytes[cell + 60] >= 0x80;
            if is_signal {
                let signal = bytes[cell..cell + 128].first_chunk().unwrap();
                let signal = Signal::from_bytes(signal).unwrap();
                let key = |ordinal| (signal.seq, signal.symbol, ordinal);
                match signal.body() {
                    Some(Body::Order(_)) => {
                        ids.insert(key(signal.ordinal), OrderId::of(date, &signal).to_string());
                        said.push((at, key(signal.ordinal), false));
                    }
                    Some(Body::Sent(sent)) => said.push((at, key(sent.order_ordinal), true)),
                    _ => {}
                }
            }
            cell += if is_signal { 128 } else { 64 };
        }
        at += number(at + 4);
    }
    let (frame, last, _) = *said.iter().rev().find(|(_, _, is_sent)| !is_sent).unwrap();
    let (cut, ..) = *said
        .iter()
        .find(|(_, key, is_sent)| *is_sent && *key == last)
        .unwrap();
    assert!(
        cut > frame,
        "an order is durable before it is said to be sent"
    );
    let segment_bytes = u64::from_le_bytes(bytes[72..80].try_into().unwrap());
    bytes.truncate(cut);
    fs::write(&path, &bytes).unwrap();
    fs::File::options()
        .append(true)
        .open(&path)
        .unwrap()
        .set_len(segment_bytes)
        .unwrap();
    let before = |is_sent: bool| {
        let said = said
            .iter()
            .filter(move |(at, _, sent)| *at < cut && *sent == is_sent);
        said.map(|(_, key, _)| ids[key].clone())
            .collect::<BTreeSet<_>>()
    };
    &before(false) - &before(true)
}

#[test]
fn orders_in_doubt_are_settled_as_the_configuration_says() {
    let _alone = alone();
    let session = Session::new("doubt");
    let peer = Peer::new(true);
    let run = session.run_dir("first");
    let config = CONFIG.replace("1MiB", "16MiB").replace("20ms", "0s")
        + &format!("[orders]\nfile = false\ntcp = \"{}\"\n", peer.address);
    let config = session.folder.write("peer.toml", config);
    let mut command = program();
    command
        .arg("replay")
        .arg(&session.capture)
        .arg("-o")
        .arg(&run);
    command.arg("-c").arg(config).args(["--speed", "4x"]);
    interrupt_when(Started::new(&mut command), || {
        peer.count.load(Ordering::Acquire) >= 20
    });
    let first = peer.messages();
    let doubtful = forget_that_the_last_was_sent(
        &run,
        Date {
            year: 2026,
            month: 1,
            day: 5,
        },
    );
    assert!(!doubtful.is_empty());
    let all: BTreeSet<String> = session.orders(&session.twin).into_keys().collect();
    for (policy, has) in [
        ("halt", true),
        ("possresend", true),
        ("cancel", true),
        ("query", true),
        ("query", false),
    ] {
        let peer = Peer::new(has);
        let other = session.run_dir(&format!("{policy}-{has}"));
        copy_all(&run, &other);
        let text = fs::read_to_string(other.join("config.toml")).unwrap();
        let old = text
            .lines()
            .find(|line| line.starts_with("tcp = "))
            .unwrap();
        let new = format!("tcp = \"{}\"", peer.address);
        fs::write(other.join("config.toml"), text.replace(old, &new)).unwrap();
        let ended = resume(&other, &["--in-doubt", policy, "--speed", "max"]).wait_for_end();
        if policy == "halt" {
            let said = ended.expect(5);
            for id in &doubtful {
                assert!(said.stderr.contains(id.as_str()), "{}", said.stderr);
            }
            assert!(peer.messages().is_empty());
            continue;
        }
        ended.expect(0);
        assert_eq!(digests(&other), digests(&session.twin));
        let got = peer.messages();
        let ids = |kind: &str, flagged: bool| -> BTreeSet<String> {
            let of_kind = got.iter().filter(|(k, _, f)| k == kind && *f == flagged);
            of_kind.map(|(_, id, _)| id.clone()).collect()
        };
        let is_again = policy == "possresend" || !has;
        let none = BTreeSet::new();
        assert_eq!(
            ids("D", true),
            if is_again {
                doubtful.clone()
            } else {
                none.clone()
            },
            "{policy}"
        );
        assert_eq!(
            ids("F", false),
            if policy == "cancel" {
                doubtful.clone()
            } else {
                none.clone()
            }
        );
        assert_eq!(
            ids("H", false),
            if policy == "query" {
                doubtful.clone()
            } else {
                none
            }
        );
        // Every order reached one peer or the other, and what is not flagged only one of them.
        let before: BTreeSet<String> = first.iter().map(|(_, id, _)| id.clone()).collect();
        let fresh = ids("D", false);
        assert_eq!(&before | &fresh, all);
        assert!(
            (&before & &fresh).is_subset(&lost_after(&first, &doubtful)),
            "{policy}"
        );
    }
}

#[test]
fn a_damaged_log_is_refused_with_its_place_and_an_exit_code_of_its_own() {
    let _alone = alone();
    let session = Session::new("damage");
    let run = session.run_dir("damaged");
    let config = CONFIG.replace("20ms", "0s");
    let config = session.folder.write("plain.toml", config);
    let mut command = program();
    command
        .arg("replay")
        .arg(&session.capture)
        .arg("-o")
        .arg(&run);
    command.arg("-c").arg(config).args(["--speed", "4x"]);
    interrupt_when(Started::new(&mut command), || session.is_past(&run, 0.4));
    let segment = run.join("log/shard-0/0000000000.seg");
    let mut bytes = fs::read(&segment).unwrap();
    bytes[8200] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let said = resume(&run, &[]).wait_for_end().expect(6);
    said.says(&["damaged at byte 8192", "tapeline log repair"]);
    let made = savepoint(&["create", "--name", "x"], &run, &[]);
    made.expect(6).says(&["damaged at byte 8192"]);
    // Cut there, the run goes on, and repeats with a flag what it can no longer know of.
    let before: BTreeSet<String> = session.orders(&run).into_keys().collect();
    let repair = |more: &[&str]| {
        let mut command = program();
        command
            .args(["log", "repair"])
            .arg(&run)
            .args(["--shard", "0"]);
        support::run(command.args(["--truncate-at", "1000000"]).args(more))
    };
    let said = repair(&[]);
    assert_ne!(said.code, Some(0), "a cell beyond the log: {}", said.stdout);
    let mut command = program();
    command
        .args(["log", "repair"])
        .arg(&run)
        .args(["--shard", "0", "--truncate-at", "0", "--yes"]);
    support::run(&mut command).expect(0);
    resume(&run, &["--speed", "max"]).wait_for_end().expect(0);
    assert_eq!(digests(&run), digests(&session.twin));
    let sent = orders_in(&fs::read(run.join("orders/shard-0.fix")).unwrap());
    let ids = |flagged: bool| -> BTreeSet<String> {
        let these = sent.iter().filter(move |(_, is)| *is == flagged);
        these.map(|(id, _)| id.clone()).collect()
    };
    assert_eq!(
        ids(true),
        before,
        "all that had left, and nothing else, is flagged"
    );
    assert_eq!(
        ids(false),
        session.orders(&session.twin).into_keys().collect()
    );
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, target) = {
            let entry = entry.unwrap();
            (entry.path(), to.join(entry.file_name()))
        };
        match path.is_dir() {
            true => copy_all(&path, &target),
            false => drop(fs::copy(&path, &target).unwrap()),
        }
    }
}

/// What the first peer got behind the first order in doubt: the log that was cut does not know.
fn lost_after(first: &[(String, String, bool)], doubtful: &BTreeSet<String>) -> BTreeSet<String> {
    let from = first
        .iter()
        .position(|(_, id, _)| doubtful.contains(id))
        .unwrap();
    first[from..].iter().map(|(_, id, _)| id.clone()).collect()
}

#[test]
fn what_a_run_needs_does_not_go_missing_unnoticed() {
    let _alone = alone();
    let session = Session::new("missing");
    let run = session.run_dir("stopped");
    session.stopped(&run, 1);

    // Names that the program gives are not a person's.
    savepoint(&["create"], &run, &["--name", "part-1"])
        .expect(2)
        .says(&["those of the program"]);

    // A log that is gone is damage, and not a run that did nothing yet.
    for what in ["segments", "folder"] {
        let lost = session.run_dir(what);
        copy_all(&run, &lost);
        let log = lost.join("log/shard-0");
        match what {
            "folder" => fs::remove_dir_all(&log).unwrap(),
            _ => {
                let segments = support::files_under(&log, &[".seg"]);
                segments
                    .iter()
                    .for_each(|file| fs::remove_file(file).unwrap());
            }
        }
        let before = session.orders(&lost);
        resume(&lost, &[])
            .wait_for_end()
            .expect(6)
            .says(&["no segment is there"]);
        resume(&lost, &["--shards", "2"]).wait_for_end().expect(6);
        tapeline(["log", "verify", lost.to_str().unwrap()]).expect(6);
        assert_eq!(session.orders(&lost), before, "nothing is sent");
    }

    // A named reader gets what it had not read before the number of shards changed.
    let run_name = run.to_str().unwrap();
    resume(&run, &["--shards", "2", "--speed", "max"])
        .wait_for_end()
        .expect(0);
    let lines = |args: &[&str]| {
        tapeline(["log"].iter().chain(args))
            .expect(0)
            .stdout
            .lines()
            .count()
    };
    let all = lines(&["cat", run_name, "--part", "0"])
        + lines(&["cat", run_name, "--part", "1", "--shard", "0"]);
    let read = ["tail", run_name, "--consumer", "risk", "--no-follow"];
    assert_eq!(lines(&read), all);
    assert_eq!(lines(&read), 0);
    let consumers = tapeline(["log", "consumers", run_name, "--json"])
        .expect(0)
        .stdout;
    assert_eq!(
        consumers.matches("\"lag_cells\":0").count(),
        2,
        "{consumers}"
    );

    // Damage of an earlier part is damage of the run.
    let segment = run.join("log/shard-0/0000000000.seg");
    let mut bytes = fs::read(&segment).unwrap();
    bytes[8200] ^= 1;
    fs::write(&segment, bytes).unwrap();
    tapeline(["log", "verify", run_name])
        .expect(4)
        .says(&["damaged at byte 8192"]);
}
