//! What stops orders: a latch turned by another process, which outlives every process.

mod support;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use bus::clock::MachineClock;
use bus::disk::sim::{Faults, SimDisk};
use bus::log::{Log, LogConfig};
use bus::oms::latch::{Latch, Scope};
use bus::oms::{Date, Encoder, FixConfig, Gateway, GatewayError, Message};
use bus::{SignalKind, Ts, ring};
use feed::reader::{Reader, ReaderConfig, Turned};
use feed::source::{SimSource, SimStep};
use tapeline::config::{Config, Span, Throttle, TooFast};
use tapeline::kill::Kill;
use tapeline::pipeline::core;
use tapeline::recovery::{Recovery, Share};
use tapeline::shard::{Finished, Parts, Shard, ShardConfig};

use support::crash::{Mode, Peer, Session, resume};
use support::{Ended, Folder, Random, Started, alone, manifest, program, signal, tapeline};

const MIDNIGHT: Ts = Ts(1_767_589_200_000_000_000);

/// The types (35) and the names (11) of the messages that came, in order.
#[derive(Clone, Default)]
struct Came(Rc<RefCell<Vec<(u8, String)>>>);

impl Came {
    fn count(&self, kind: u8) -> usize {
        let came = self.0.borrow();
        came.iter().filter(|(found, _)| *found == kind).count()
    }
}

impl Gateway for Came {
    fn has_room(&mut self, _: usize) -> bool {
        true
    }

    fn send(&mut self, message: &[u8]) -> Result<bool, GatewayError> {
        let message = Message::parse(message).expect("a message of ours");
        let name = message.field(11).expect("it has a name");
        let name = String::from_utf8(name.to_vec()).unwrap();
        self.0
            .borrow_mut()
            .push((message.field(35).unwrap()[0], name));
        Ok(true)
    }

    fn turn(&mut self) -> Result<usize, GatewayError> {
        Ok(0)
    }

    fn waiting(&self) -> usize {
        0
    }

    fn finish(&mut self) -> Result<(), GatewayError> {
        Ok(())
    }

    fn describe(&self) -> String {
        "a list".into()
    }
}

/// A strategy that wants an order nearly always.
fn eager() -> Config {
    let mut config = Config::default();
    config.momentum.sigmas = 0.0;
    config.momentum.cooldown = Span(1_000_000);
    config.risk.orders_per_second = 200;
    config
}

fn session() -> exchange::Session {
    exchange::Session {
        symbols: 8,
        seconds: 10,
        seed: 3,
        rate: 2_000,
        ..exchange::Session::default()
    }
}

/// Runs a session through a shard whose turns are called here. `between` is called behind each with
/// the number of events so far.
fn turn_by_turn(
    config: &Config,
    kill: &Kill,
    came: &Came,
    mut between: impl FnMut(u64),
) -> Finished {
    let (mut pieces, mut piece, mut count) = (Vec::new(), Vec::new(), 0);
    exchange::run(&session(), &mut |_, message| {
        piece.extend_from_slice(&(message.len() as u16).to_be_bytes());
        piece.extend_from_slice(message);
        count += 1;
        if count % 10 == 0 {
            pieces.push(SimStep::messages(&piece));
            piece.clear();
        }
        Ok(())
    })
    .unwrap();
    pieces.push(SimStep::messages(&piece));
    let log_config = LogConfig {
        dir: "simulated".into(),
        segment_bytes: 1 << 20,
        frame_bytes_max: 64 << 10,
        frames_in_flight_max: 3,
        frames_waiting_max: 3,
        spares: 2,
        commit_age_ns: 200_000,
        uuid: [1; 16],
        build_hash: 0,
        config_hash: 0,
    };
    let disk = SimDisk::new(log_config.geometry(), 1, Faults::default());
    let fix = FixConfig {
        sender: "A".into(),
        target: "B".into(),
        sender_sub: None,
        account: None,
    };
    let (event_tx, event_rx) = ring::ring(4096);
    let (_stamps, stamp_rx) = ring::ring(16);
    let parts = Parts {
        events: event_rx,
        stamps: stamp_rx,
        state: Recovery::new(core(config, MIDNIGHT, None).unwrap(), Share::ALL),
        log: Log::create(log_config, disk).unwrap(),
        encoder: Encoder::new(&fix).unwrap(),
        gateway: came.clone(),
        clock: MachineClock::new(),
        kill,
    };
    let shard_config = ShardConfig {
        date: Date {
            year: 2026,
            month: 1,
            day: 5,
        },
        is_durable: false,
        is_live: false,
        cancels_in_doubt: false,
        again_upto: 0,
        measure: Default::default(),
    };
    let mut shard = Shard::new(shard_config, parts, 1 << 16, 0, &|_| false).unwrap();
    let source = SimSource::new(&["A"], pieces);
    let mut reader = Reader::new(source, ReaderConfig::new(MIDNIGHT), vec![event_tx]);
    while reader.turn().unwrap() != Turned::Ended {
        shard.turn().unwrap();
        between(shard.events_taken());
    }
    drop(reader);
    while !shard.is_done() {
        shard.turn().unwrap();
    }
    shard.finish().unwrap()
}

#[test]
fn not_one_order_leaves_in_the_turn_after_a_stop_and_all_that_left_is_cancelled() {
    let folder = Folder::quick("turns");
    let path = folder.write("latch", Latch::fresh());
    let config = eager();
    let (kill, said) = Kill::open(&path, &config);
    assert_eq!(said, None);
    let (came, undisturbed) = (Came::default(), Came::default());
    turn_by_turn(&config, &Kill::default(), &undisturbed, |_| {});
    let person = Latch::open(&path).unwrap();
    let mut before = None;
    let finished = turn_by_turn(&config, &kill, &came, |_| {
        let count = came.count(b'D');
        match before {
            None if count >= 20 => {
                person.stop(&Scope::All, true).unwrap();
                before = Some(count);
            }
            None => {}
            Some(before) => assert_eq!(count, before, "an order left after the stop"),
        }
    });
    let before = before.expect("there were enough orders");
    let all = undisturbed.count(b'D');
    assert!(
        all > before + 20,
        "{all} orders, {before} of them before the stop"
    );
    assert_eq!(finished.counts.sent as usize, before);
    assert_eq!(finished.counts.killed as usize, all - before);
    let came = came.0.borrow();
    let named = |kind: u8| {
        let of_kind = came.iter().filter(move |(found, _)| *found == kind);
        of_kind.map(|(_, name)| name.trim_end_matches("-C").to_string())
    };
    let (orders, cancels): (Vec<_>, Vec<_>) = (named(b'D').collect(), named(b'F').collect());
    assert_eq!(orders, cancels, "each once, in order");
}

#[test]
fn a_stopped_symbol_and_a_stopped_strategy_stop_no_other_and_one_may_be_let_go() {
    let folder = Folder::quick("scopes");
    let mut config = eager();
    let rule = "[rules.lean]\nwhen = \"spread >= 0bps\"\nside = \"buy\"\ncooldown = \"50ms\"\n";
    config.rules = Config::parse(rule, Path::new("t.toml")).unwrap().rules;
    let part = |scope: Option<Scope>, until: u64| {
        let path = folder.write("latch", Latch::fresh());
        let person = Latch::open(&path).unwrap();
        if let Some(scope) = &scope {
            person.stop(scope, false).unwrap();
        }
        let (kill, _) = Kill::open(&path, &config);
        let came = Came::default();
        let mut is_let_go = scope.is_none();
        turn_by_turn(&config, &kill, &came, |events| {
            if events > until && !is_let_go {
                person.let_go(scope.as_ref().unwrap(), 1).unwrap();
                is_let_go = true;
            }
        });
        let came = came.0.borrow();
        let names: BTreeSet<String> = came.iter().map(|(_, name)| name.clone()).collect();
        names
    };
    let all = part(None, u64::MAX);
    // A name is date, number, symbol, strategy and ordinal.
    let of = |field: usize, value: &str| {
        let names = all.iter();
        let has = |name: &&String| name.split('-').nth(field) != Some(value);
        names.filter(has).cloned().collect::<BTreeSet<String>>()
    };
    let without_rule = of(3, "01");
    assert!(!without_rule.is_empty() && without_rule.len() < all.len());
    let stopped = part(Some(Scope::Strategy("lean".into())), u64::MAX);
    assert_eq!(stopped, without_rule);
    let symbols: BTreeSet<&str> = all
        .iter()
        .filter_map(|name| name.split('-').nth(2))
        .collect();
    assert!(symbols.len() > 1);
    let symbol = symbols.first().unwrap();
    let stopped = part(Some(Scope::Symbol(name_of(symbol))), u64::MAX);
    assert_eq!(stopped, of(2, symbol));
    let late = part(Some(Scope::All), 10_000);
    assert!(!late.is_empty() && late.len() < all.len() && late.is_subset(&all));
}

/// What comes too fast waits up to a bound, or is refused; and what waits is stopped with the rest.
#[test]
fn orders_that_come_too_fast_wait_or_are_refused_and_a_stop_stops_those_that_wait() {
    let folder = Folder::quick("throttle");
    let throttled = |over: TooFast, stop_at: u64| {
        let mut config = eager();
        config.risk.throttle = Some(Throttle {
            orders_per_second: 1,
            burst: 5,
            over,
            queue_max: 10,
        });
        let path = folder.write("latch", Latch::fresh());
        let (kill, said) = Kill::open(&path, &config);
        assert_eq!(said, None);
        let (person, came) = (Latch::open(&path).unwrap(), Came::default());
        let finished = turn_by_turn(&config, &kill, &came, |events| {
            if events >= stop_at {
                person.stop(&Scope::All, false).unwrap();
            }
        });
        let counts = finished.counts;
        let all = counts.signals[SignalKind::Order.index()];
        assert_eq!(counts.sent as usize, came.count(b'D'));
        (
            counts.sent,
            counts.killed,
            all - counts.sent - counts.killed,
        )
    };
    // A slow machine may take seconds, each of which lets one more leave.
    let burst = 5..20;
    let (sent, killed, refused) = throttled(TooFast::Reject, u64::MAX);
    assert!(burst.contains(&sent), "{sent} left");
    assert!(
        killed == 0 && refused > 20,
        "{killed} stopped, {refused} refused"
    );
    let (sent, killed, refused) = throttled(TooFast::Queue, 12_000);
    assert!(burst.contains(&sent), "{sent} left");
    assert!(
        killed >= 10 && refused > 0,
        "{killed} stopped, {refused} refused"
    );
}

/// The letters of a symbol with this number, in hexadecimal, by the session's directory.
fn name_of(number: &str) -> String {
    let number = u16::from_str_radix(number, 16).unwrap().to_be_bytes();
    let mut name = None;
    exchange::run(&session(), &mut |_, message| {
        // ITCH 5.0, section 4.2.1: the stock stands behind eleven bytes.
        if message[0] == b'R' && message[1..3] == number {
            let letters = String::from_utf8(message[11..19].to_vec()).unwrap();
            name = Some(letters.trim_end().to_string());
        }
        Ok(())
    })
    .unwrap();
    name.expect("a session names its symbols")
}

fn kill(args: &[&str], run: &Path) -> Ended {
    let mut command = program();
    command.args(args).arg(run);
    support::run(&mut command)
}

/// `open`, `part` or `shut`.
fn state(run: &Path) -> String {
    let status = kill(&["--json", "kill", "--status"], run).expect(0);
    status.json()["state"].as_str().unwrap().to_string()
}

/// How many orders were sent, and how many held back.
fn counts(run: &Path) -> (u64, u64) {
    let counts = &manifest(run)["counts"];
    let count = |name: &str| counts[name].as_u64().unwrap();
    (count("sent"), count("killed"))
}

/// A run at the pace of its session, on two shards, that has sent some orders.
fn under_way(session: &Session, peer: &Peer, run: &Path) -> Started {
    let mode = Mode {
        is_durable: true,
        is_tcp: true,
        is_plain: true,
        is_one_thread: false,
    };
    let config = session.folder.write("run.toml", mode.config(peer.address));
    let mut process = session.start(run, &config, 2, "1x").go();
    while peer.so_far().len() < 4 {
        assert!(
            process.wait(Duration::from_millis(1)).is_none(),
            "too short"
        );
    }
    process
}

#[test]
fn a_hanging_run_is_stopped_from_another_process_and_cancels_when_it_goes_on() {
    let _alone = alone();
    let session = Session::new(Folder::quick("hang"));
    let (peer, run) = (Peer::new(), session.folder.join("run/run"));
    let mut process = under_way(&session, &peer, &run);
    // It cannot answer; whoever stops it only writes to memory.
    signal(process.id(), "STOP");
    let said = kill(&["kill", "--all", "--cancel", "--reason", "a drill"], &run).expect(0);
    assert!(said.stdout.contains("kill all by "), "{}", said.stdout);
    assert_eq!(state(&run), "shut");
    signal(process.id(), "CONT");
    process.wait_for_end().expect(0);
    let (sent, killed) = counts(&run);
    assert_eq!((sent + killed) as usize, session.orders.len());
    assert!(sent >= 4 && killed > 0, "{sent} sent, {killed} held back");
    let came: Vec<String> = peer
        .drain()
        .into_iter()
        .flatten()
        .map(|(id, _)| id)
        .collect();
    let (cancels, orders): (BTreeSet<_>, BTreeSet<_>) = came
        .iter()
        .map(String::as_str)
        .partition(|id| id.ends_with("-C"));
    let cancelled: BTreeSet<&str> = cancels.iter().map(|id| &id[..id.len() - 2]).collect();
    assert_eq!(orders, cancelled);
    assert_eq!(orders.len() as u64, sent, "what came is what the log says");
    let record = fs::read_to_string(run.join("latch.audit")).unwrap();
    assert!(record.contains("\"reason\":\"a drill\""), "{record}");
}

#[test]
fn a_stop_outlives_the_run_and_only_a_person_lets_go() {
    let _alone = alone();
    let session = Session::new(Folder::quick("outlives"));
    let (peer, run) = (Peer::new(), session.folder.join("run/run"));
    let process = under_way(&session, &peer, &run);
    signal(process.id(), "STOP");
    kill(&["kill", "--all"], &run).expect(0);
    process.kill();
    let before: BTreeSet<String> = ids(peer.drain());
    // A restart of any kind lets nothing go.
    let mut again = resume(&run, "1x").go();
    again.wait_for_line("all orders are stopped, until `tapeline unkill`");
    while state_of_events(&run) == 0 {
        assert!(again.wait(Duration::from_millis(1)).is_none());
    }
    again.kill();
    assert!(ids(peer.drain()).is_empty(), "an order left behind a latch");
    kill(&["unkill"], &run).expect(2);
    kill(&["unkill", "--reason", " "], &run).expect(2);
    assert_eq!(state(&run), "shut");
    kill(&["unkill", "--reason", "looked at it"], &run).expect(0);
    assert_eq!(state(&run), "open");
    let mut last = resume(&run, "max").go();
    last.wait_for_end().expect(0);
    let after = ids(peer.drain());
    let (sent, killed) = counts(&run);
    assert_eq!((sent + killed) as usize, session.orders.len());
    assert!(killed > 0, "what was held back stays so");
    let came: BTreeSet<_> = before.union(&after).cloned().collect();
    assert!(came.is_subset(&session.orders));
    assert!(
        came.len() as u64 + killed >= session.orders.len() as u64,
        "none was lost"
    );
}

fn ids(came: Vec<Vec<(String, bool)>>) -> BTreeSet<String> {
    came.into_iter().flatten().map(|(id, _)| id).collect()
}

/// Whether a resumed run came to say that it held something back: its log has more than before.
fn state_of_events(run: &Path) -> usize {
    use bus::log::{LogReader, Record};
    use bus::signal::{Body, Outcome};
    let mut killed = 0;
    for shard in 0..2 {
        let Ok(log) = LogReader::open(&run.join(format!("log/shard-{shard}"))) else {
            continue;
        };
        for (_, record) in log.map_while(Result::ok) {
            let Record::Signal(signal) = record else {
                continue;
            };
            let is_killed =
                matches!(signal.body(), Some(Body::Sent(sent)) if sent.outcome == Outcome::Killed);
            killed += usize::from(is_killed);
        }
    }
    killed
}

/// A replay of a few seconds, with this more in its settings.
fn replay(folder: &Folder, capture: &Path, name: &str, settings: &str) -> Ended {
    let config = folder.write(
        &format!("{name}.toml"),
        format!("{}\n{settings}", support::crash::CONFIG),
    );
    let args: [OsString; 6] = [
        "replay".into(),
        capture.into(),
        "-o".into(),
        folder.join(name).into(),
        "-c".into(),
        config.into(),
    ];
    tapeline(args).expect(0)
}

#[test]
fn a_latch_that_is_missing_damaged_or_replaced_stops_everything_with_one_line() {
    let _alone = alone();
    let session = Session::new(Folder::quick("missing"));
    let latch = session.folder.join("desk.latch");
    // Settings that name a latch that nobody made yet.
    let with_latch = "[orders]\nfile = true\n";
    let text = format!(
        "{}latch = \"desk.latch\"\n",
        "[risk]\norders_per_second = 200\n"
    );
    let base = support::crash::CONFIG.replace("[risk]\norders_per_second = 200\n", &text);
    let config = session
        .folder
        .write("desk.toml", format!("{base}\n{with_latch}"));
    let replay = |name: &str| {
        let run = session.folder.join(name);
        let mut command = program();
        command
            .arg("replay")
            .arg(&session.capture)
            .arg("-o")
            .arg(&run);
        (support::run(command.arg("-c").arg(&config)).expect(0), run)
    };
    let (ended, run) = replay("one");
    ended.says(&["desk.latch: there is no such latch: no order leaves"]);
    assert_eq!(counts(&run), (0, session.orders.len() as u64));
    let desk = |args: &[&str]| {
        let mut command = program();
        support::run(command.args(args).arg("-c").arg(&config))
    };
    desk(&["unkill", "--reason", "first day"]).expect(0);
    assert_eq!(counts(&replay("two").1), (session.orders.len() as u64, 0));
    // Of a run with these settings, the same latch is meant.
    kill(&["kill", "--all"], &run).expect(0);
    assert_eq!(counts(&replay("three").1).0, 0);
    let mut bytes = fs::read(&latch).unwrap();
    desk(&["unkill", "--reason", "next"]).expect(0);
    bytes[700] ^= 1;
    fs::write(&latch, &bytes).unwrap();
    let (ended, run) = replay("four");
    ended.says(&[
        "desk.latch: damaged or half changed: checksum",
        "no order leaves",
    ]);
    assert_eq!(counts(&run).0, 0);
    desk(&["kill", "--status"]).expect(0);
    desk(&["unkill", "--symbol", "A", "--reason", "x"])
        .expect(5)
        .says(&["only all of it can be let go"]);
    desk(&["unkill", "--reason", "mended"])
        .expect(0)
        .says(&["stay stopped until they are gone on with (--resume)"]);
    assert_eq!(counts(&replay("five").1).1, 0);
}

#[test]
fn a_runs_own_latch_that_is_taken_away_stops_it() {
    let _alone = alone();
    let session = Session::new(Folder::quick("taken"));
    let (peer, run) = (Peer::new(), session.folder.join("run/run"));
    let mut process = under_way(&session, &peer, &run);
    fs::remove_file(run.join("latch")).unwrap();
    process.wait_for_line("the latch was taken away or replaced: no order leaves");
    process.kill();
    peer.drain();
    let mut again = resume(&run, "max").go();
    again
        .wait_for_end()
        .expect(0)
        .says(&["latch: there is no such latch: no order leaves"]);
    assert!(ids(peer.drain()).is_empty());
    assert!(counts(&run).1 > 0);
}

#[test]
fn who_stops_may_be_killed_at_any_moment() {
    let _alone = alone();
    let session = Session::of(Folder::quick("killer"), 1, 1000);
    let run = session.folder.join("run");
    replay(&session.folder, &session.capture, "run", "");
    let mut random = Random(7);
    let (mut whole, mut cut) = (0, 0);
    for round in 0..30 {
        let scope: &[&str] = match round % 2 {
            0 => &["kill", "--all", "--cancel"],
            _ => &["kill", "--symbol", "AAPL"],
        };
        let mut killer = Started::new(program().args(scope).arg(&run));
        let life = Duration::from_micros(random.within(0..8_000));
        match killer.wait(life) {
            Some(ended) => {
                ended.expect(0);
                whole += 1;
            }
            None => {
                let is_over = killer.kill().code == Some(0);
                whole += usize::from(is_over);
                cut += usize::from(!is_over);
                if !is_over {
                    // As it was before, or stopped, and never beyond mending.
                    kill(&["unkill", "--reason", "drill"], &run).expect(0);
                    assert_eq!(state(&run), "open");
                    continue;
                }
            }
        }
        assert_ne!(state(&run), "open", "it said that it stopped");
        kill(&["unkill", "--reason", "drill"], &run).expect(0);
        assert_eq!(state(&run), "open");
    }
    println!("{whole} stops came to their end, {cut} were cut off");
}

#[test]
fn what_cannot_be_stopped_is_said() {
    let _alone = alone();
    let session = Session::of(Folder::quick("said"), 1, 1000);
    let run = session.folder.join("run");
    replay(&session.folder, &session.capture, "run", "");
    kill(&["kill"], &run).expect(2);
    kill(&["kill", "--all", "--symbol", "A"], &run).expect(2);
    kill(&["kill", "--strategy", "momentun"], &run)
        .expect(2)
        .says(&["momentun: no such strategy; there are momentum"]);
    kill(&["kill", "--symbol", "NINELONGS"], &run)
        .expect(2)
        .says(&["--symbol NINELONGS: 9 letters, want 1 to 8"]);
    assert_eq!(state(&run), "open");
    // A name of nothing is told, and let go only by itself.
    kill(&["kill", "--symbol", "NOSUCH"], &run)
        .expect(0)
        .says(&["NOSUCH: no such symbol in the run so far"]);
    kill(&["unkill", "--symbol", "NOSUC", "--reason", "x"], &run)
        .expect(2)
        .says(&["symbol NOSUC is not stopped by itself; what is: NOSUCH"]);
    kill(&["unkill", "--symbol", "NOSUCH", "--reason", "x"], &run).expect(0);
    kill(&["unkill", "--reason", "x"], &run)
        .expect(0)
        .says(&["nothing is stopped"]);
    kill(&["kill", "--all"], &session.folder.join("no")).expect(2);
    kill(&["kill", "--all", "-c"], &session.folder.join("run.toml"))
        .expect(2)
        .says(&["no risk.latch"]);
    let kept = kill(&["kill", "--strategy", "momentum", "--reason", "odd"], &run).expect(0);
    assert!(kept.stdout.contains("kill strategy momentum by"));
    let status = kill(&["kill", "--status"], &run).expect(0).stdout;
    assert!(
        status.contains("orders of momentum are stopped"),
        "{status}"
    );
    assert!(status.contains(": odd"), "{status}");
}
