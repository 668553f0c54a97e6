//! Whether orders are meant for a counterparty: everything but the wire, a simulated venue, or live, and
//! then only where a person said whose session it is.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Row, RowAccessor};
use support::crash::{CONFIG, Peer, Session, is_begun};
use support::{Ended, Folder, Started, alone, digests, orders_of, program, tapeline};
use tapeline::tables::{OrderRow, read_orders};

fn replay(session: &Session, run: &Path, config: &Path, more: &[&str]) -> Ended {
    let mut command = program();
    command
        .arg("replay")
        .arg(&session.capture)
        .arg("-o")
        .arg(run);
    command.arg("-c").arg(config).args(more);
    support::run(&mut command)
}

fn config(session: &Session, orders: &str) -> PathBuf {
    let text = format!("{CONFIG}\n[orders]\nfile = false\n{orders}\n");
    session.folder.write("modes.toml", text)
}

#[test]
fn a_shadow_run_decides_the_same_orders_and_connects_to_nobody() {
    let _alone = alone();
    let session = Session::of(Folder::quick("shadow-mode"), 1, 1000);
    // Whoever connects is seen.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let said = format!("tcp = \"{address}\"\nin_doubt = \"query\"");
    let wire = config(&session, &said);
    let ids =
        |run: &Path| -> BTreeSet<String> { orders_of(run, 1).into_iter().flatten().collect() };
    let flag = session.folder.join("flag");
    replay(&session, &flag, &wire, &["--mode", "shadow"]).expect(0);
    assert_eq!(ids(&flag), session.orders);
    let setting = config(&session, &format!("{said}\nmode = \"shadow\""));
    let run = session.folder.join("setting");
    replay(&session, &run, &setting, &[]).expect(0);
    assert_eq!(ids(&run), session.orders);
    assert!(listener.accept().is_err(), "somebody connected");
    let live = ["--mode", "live", "--confirm", "X"];
    replay(&session, &session.folder.join("none"), &setting, &live)
        .expect(2)
        .says(&["orders.mode is `shadow`, and --mode live would send orders"]);
    let shadow = ["--mode", "shadow", "--confirm", "X"];
    replay(&session, &session.folder.join("none"), &wire, &shadow)
        .expect(2)
        .says(&["--confirm goes with"]);
    assert!(!session.folder.join("none").exists());
}

#[test]
fn a_live_run_sends_only_where_a_person_named_the_session() {
    let _alone = alone();
    let session = Session::of(Folder::quick("live-mode"), 1, 1000);
    let peer = Peer::new();
    let address = peer.address.to_string();
    let live = config(&session, &format!("tcp = \"{address}\"\nmode = \"live\""));
    let none = session.folder.join("none");
    let want = format!("want --confirm {address}");
    replay(&session, &none, &live, &[])
        .expect(2)
        .says(&["nothing is confirmed", &want]);
    for wrong in [
        &["--confirm", "127.0.0.1:1"][..],
        &["--confirm", &address, "--confirm", "B"],
    ] {
        replay(&session, &none, &live, wrong)
            .expect(2)
            .says(&["confirmed is", &want]);
    }
    let file = config(&session, "");
    replay(&session, &none, &file, &["--mode", "live"])
        .expect(2)
        .says(&["there is no orders.fix, orders.ouch or orders.tcp"]);
    let fix = "sender = \"S{shard}\"\ntarget = \"T\"\nmode = \"live\"\n[orders.fix]\nconnect = \"127.0.0.1:1\"";
    replay(&session, &none, &config(&session, fix), &["--shards", "2"])
        .expect(2)
        .says(&["want --confirm S0-T --confirm S1-T"]);
    assert!(!none.exists() && peer.drain().iter().all(Vec::is_empty));
    let live = config(&session, &format!("tcp = \"{address}\"\nmode = \"live\""));
    let run = session.folder.join("run");
    replay(&session, &run, &live, &["--confirm", &address]).expect(0);
    let came = peer.drain().into_iter().flatten();
    let came: BTreeSet<String> = came.map(|(id, _)| id).collect();
    assert_eq!(came, session.orders);
    // A restart is confirmed anew; a run that is complete needs nothing.
    tapeline(args!["replay", "--resume", run]).expect(0);
}

/// The tables that what a venue says is made of, with that of the orders themselves apart, since it has
/// when they left.
const SAID: [&str; 3] = ["order_states", "executions", "positions"];

#[track_caller]
fn table(run: &Path, name: &str) -> Vec<u8> {
    let path = run.join(format!("tables/{name}.parquet"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn row_count(run: &Path, name: &str) -> i64 {
    let file = std::fs::File::open(run.join(format!("tables/{name}.parquet"))).unwrap();
    let reader = SerializedFileReader::new(file).unwrap();
    reader.metadata().file_metadata().num_rows()
}

/// A simulated venue said the same in both runs, and all else that was concluded is the same.
#[track_caller]
fn same(run: &Path, twin: &Path) {
    assert_eq!(digests(run), digests(twin), "{}", run.display());
    for name in SAID {
        let is_same = table(run, name) == table(twin, name);
        assert!(is_same, "{name} of {}", run.display());
    }
}

/// A run that is killed on its way, unless it is faster, and gone on with, maybe by other shards.
fn kill_and_go_on(
    session: &Session,
    run: &Path,
    config: &Path,
    life_ms: u64,
    [shards, later]: [usize; 2],
) {
    std::fs::create_dir_all(run.parent().unwrap()).unwrap();
    let mut process = session.start(run, config, shards, "1x").go();
    while !is_begun(run) {
        let ended = process.wait(Duration::from_millis(5));
        assert!(ended.is_none(), "it ended before it began");
    }
    if process.wait(Duration::from_millis(life_ms)).is_none() {
        process.kill();
        let later = later.to_string();
        tapeline(args!["replay", "--resume", run, "--shards", later]).expect(0);
    }
}

/// The log and what its simulated venue said are of the same orders.
fn agrees(run: &Path, orders: usize, fills: i64) {
    let mut recon = program();
    recon.args(["--json", "recon"]).arg(run);
    let said = support::run(&mut recon).expect(0).json();
    assert_eq!(said["equal"], true);
    assert_eq!(said["log"]["sent"], orders);
    assert_eq!(said["reports"]["orders"], orders);
    assert_eq!(said["reports"]["fills"], fills);
}

/// Orders of the same names as in the other modes are filled by a simulated venue, in the same way at
/// any number of shards, after crashes, and when another number of shards goes on.
#[test]
fn a_paper_run_fills_the_same_orders_in_the_same_way_whatever_happens_to_it() {
    let _alone = alone();
    let session = Session::of(Folder::quick("paper-mode"), 1, 1000);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let orders = format!(
        "tcp = \"{}\"\nmode = \"paper\"\n[orders.paper]\nlatency = \"300us\"\njitter = \"200us\"",
        listener.local_addr().unwrap()
    );
    let paper = config(&session, &orders);
    // Tables hold the name of their run.
    let place = |name: &str| session.folder.join(name).join("run");
    let twin = place("one");
    replay(&session, &twin, &paper, &["--shards", "1"]).expect(0);
    let ids = |run: &Path, shards: usize| -> BTreeSet<String> {
        orders_of(run, shards).into_iter().flatten().collect()
    };
    assert_eq!(ids(&twin, 1), session.orders);
    assert_eq!(
        row_count(&twin, "order_states"),
        session.orders.len() as i64
    );
    let fills = row_count(&twin, "executions");
    assert!(fills > 20, "only {fills} fills");
    let check = |run: &Path, shards: usize| {
        same(run, &twin);
        agrees(run, session.orders.len(), fills);
        assert_eq!(ids(run, shards), session.orders);
    };
    for shards in [2, 4] {
        let run = place(&format!("shards-{shards}"));
        replay(&session, &run, &paper, &["--shards", &shards.to_string()]).expect(0);
        check(&run, shards);
    }
    // Another seed is another venue.
    let other = config(&session, &format!("{orders}\nseed = 2"));
    let run = place("other");
    replay(&session, &run, &other, &[]).expect(0);
    assert_eq!(ids(&run, 1), session.orders);
    assert_ne!(table(&run, "executions"), table(&twin, "executions"));
    let paper = config(&session, &orders);
    for (life_ms, shards, later) in [(200, 1, 1), (400, 2, 2), (300, 1, 2)] {
        let run = place(&format!("killed-{life_ms}"));
        kill_and_go_on(&session, &run, &paper, life_ms, [shards, later]);
        same(&run, &twin);
        agrees(&run, session.orders.len(), fills);
    }
    let copy = session.folder.join("copy.fix");
    let mut recon = program();
    recon.arg("recon").arg(&twin).arg("--drop-copy").arg(&copy);
    let said = support::run(&mut recon);
    said.expect(2).says(&["its venue is simulated"]);
    assert!(listener.accept().is_err(), "somebody connected");
    let live = ["--mode", "live", "--confirm", "X"];
    replay(&session, &session.folder.join("none"), &paper, &live)
        .expect(2)
        .says(&["orders.mode is `paper`, and --mode live would send orders"]);
    let deep = config(
        &session,
        "mode = \"paper\"\n[orders.paper]\nqueue = \"orders\"\n[book]\ndepth = \"l2\"",
    );
    replay(&session, &session.folder.join("none"), &deep, &[])
        .expect(2)
        .says(&["orders.paper.queue is `orders`", "want `levels`"]);
}

/// Two symbols of one group, and a strategy that trades their ratio a lot.
const PAIR: &str = r#"
[groups.two]
symbols = ["ONE", "OTHER"]

[strategies.pair]
kind = "pairs"
legs = ["ONE", "OTHER"]
period = "10ms"
half_life = "100ms"
enter = 0.8
leave = 0.4
samples_min = 5
fresh = "1s"
cooldown = "5ms"
"#;

/// Of each fill: its order's name and its symbol.
fn fills(run: &Path) -> Vec<(String, String)> {
    let file = std::fs::File::open(run.join("tables/executions.parquet")).unwrap();
    let reader = SerializedFileReader::new(file).unwrap();
    let rows = reader.get_row_iter(None).unwrap().map(Result::unwrap);
    let text = |row: &Row, column| row.get_string(column).unwrap().clone();
    rows.map(|row| (text(&row, 1), text(&row, 3))).collect()
}

/// One of a pair's two orders is of a symbol that the event is not of: it arrives in that symbol's own book.
#[test]
fn a_pair_is_filled_in_both_its_symbols_at_any_number_of_shards_and_after_a_crash() {
    let _alone = alone();
    let session = Session::of(Folder::quick("paper-pair"), 1, 2000);
    let place = |name: &str| session.folder.join(name).join("run");
    let rows = |run: &Path, strategy: &str| -> Vec<OrderRow> {
        let rows = read_orders(&run.join("tables/orders.parquet")).unwrap();
        let rows = rows.map(Result::unwrap);
        rows.filter(|row| row.name == strategy).collect()
    };
    // The two of which most happens.
    let plain = place("plain");
    replay(
        &session,
        &plain,
        &config(&session, "mode = \"shadow\""),
        &[],
    )
    .expect(0);
    let mut counts = BTreeMap::new();
    for row in rows(&plain, "momentum") {
        *counts.entry(row.symbol).or_insert(0) += 1;
    }
    let mut names: Vec<(i32, String)> = counts.into_iter().map(|(name, n)| (n, name)).collect();
    names.sort();
    let legs = [0, 1].map(|_| names.pop().unwrap().1);
    let pair = PAIR.replace("OTHER", &legs[1]).replace("ONE", &legs[0]);
    let orders = "mode = \"paper\"\n[orders.paper]\nlatency = \"300us\"\njitter = \"200us\"\n";
    let paper = config(&session, &format!("{orders}{pair}"));
    let twin = place("one");
    replay(&session, &twin, &paper, &["--shards", "1"]).expect(0);
    let pairs = rows(&twin, "pair");
    let filled = fills(&twin);
    for leg in &legs {
        let sent = pairs.iter().filter(|row| row.symbol == *leg);
        let ids: BTreeSet<String> = sent.map(|row| row.id.to_string()).collect();
        let own = filled.iter().filter(|(id, _)| ids.contains(id));
        let count = own.inspect(|(_, symbol)| assert_eq!(symbol, leg)).count();
        assert!(count > 5, "{count} fills of {} orders in {leg}", ids.len());
    }
    for shards in [2, 4] {
        let run = place(&format!("shards-{shards}"));
        replay(&session, &run, &paper, &["--shards", &shards.to_string()]).expect(0);
        same(&run, &twin);
    }
    for (life_ms, shards) in [(300, [1, 1]), (400, [2, 1]), (500, [1, 2])] {
        let run = place(&format!("killed-{life_ms}"));
        kill_and_go_on(&session, &run, &paper, life_ms, shards);
        same(&run, &twin);
    }
}

/// What fills give back is free for later orders: with room for eight open orders, more than eight leave.
#[test]
fn limits_of_orders_together_hear_the_simulated_venue() {
    let _alone = alone();
    let session = Session::of(Folder::quick("paper-limits"), 1, 1000);
    let run = |name: &str, mode: &str| {
        let limits = "[risk.firm]\nopen_orders_max = 8\n";
        let path = config(
            &session,
            &format!("mode = \"{mode}\"\nfile = true\n{limits}"),
        );
        let text = std::fs::read_to_string(&path)
            .unwrap()
            .replacen("file = false\n", "", 1);
        let path = session.folder.write("limits.toml", text);
        let run = session.folder.join(name);
        replay(&session, &run, &path, &["--speed", "1x"]).expect(0);
        orders_of(&run, 1)[0].len()
    };
    // Nothing ever comes back in a shadow run.
    assert_eq!(run("shadow", "shadow"), 8);
    let sent = run("paper", "paper");
    assert!(sent > 12, "only {sent} orders left");
}

/// What a run's orders are for is not another session's because a file of its folder was changed.
#[test]
fn a_run_goes_on_only_with_the_orders_of_whom_it_began_with() {
    let _alone = alone();
    let session = Session::of(Folder::quick("addressee"), 1, 1000);
    let peer = Peer::new();
    let address = peer.address.to_string();
    let live = config(&session, &format!("tcp = \"{address}\"\nmode = \"live\""));
    let run = session.folder.join("run/run");
    let mut command = program();
    command
        .arg("replay")
        .arg(&session.capture)
        .arg("-o")
        .arg(&run);
    command
        .arg("-c")
        .arg(&live)
        .args(["--confirm", &address, "--speed", "1x"]);
    let mut process = Started::new(&mut command);
    while peer.so_far().is_empty() {
        let ended = process.wait(Duration::from_millis(1));
        assert!(ended.is_none(), "too short");
    }
    process.kill();
    let settings = run.join("config.toml");
    let text = fs::read_to_string(&settings).unwrap();
    for (from, to) in [
        ("mode = \"live\"\n", ""),
        ("sender = \"TAPELINE\"", "sender = \"OTHER\""),
        ("target = \"", "target = \"NOT"),
    ] {
        assert_eq!(text.matches(from).count(), 1, "{from}");
        fs::write(&settings, text.replacen(from, to, 1)).unwrap();
        let confirm = ["--confirm", &address];
        let confirm = if from.starts_with("mode") {
            &confirm[..0]
        } else {
            &confirm[..]
        };
        let mut command = program();
        command.args(["replay", "--resume"]).arg(&run).args(confirm);
        support::run(&mut command)
            .expect(2)
            .says(&["config.toml: orders are from", "put mode, sender"]);
    }
    fs::write(&settings, text).unwrap();
    tapeline(args!["replay", "--resume", run, "--confirm", address]).expect(0);
}
