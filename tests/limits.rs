//! Limits of orders together: over two shards, over crashes and restarts, and changed by a person while
//! the run goes on.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use support::crash::{Mode, Peer, Session, is_begun, resume};
use support::{Ended, Folder, Random, alone, digests, manifest, program, tapeline};
use tapeline::tables::{self, Status};

const MODE: Mode = Mode {
    is_durable: true,
    is_tcp: true,
    is_plain: true,
    is_one_thread: false,
};

fn limits(run: &Path, args: &[&str]) -> Ended {
    let mut command = program();
    command.arg("limits").arg(run).args(args);
    support::run(&mut command)
}

/// What a run's page says.
fn shown(run: &Path) -> Value {
    let mut command = program();
    command.args(["--json", "limits"]).arg(run);
    support::run(&mut command).expect(0).json()["limits"].clone()
}

fn ids(came: Vec<Vec<(String, bool)>>) -> BTreeSet<String> {
    came.into_iter().flatten().map(|(id, _)| id).collect()
}

/// How many orders of a run's table were sent, and how many refused for this reason.
fn orders(run: &Path, reason: &str) -> (usize, usize) {
    let (mut sent, mut refused) = (0, 0);
    for row in tables::read_orders(&run.join("tables/orders.parquet")).unwrap() {
        let row = row.unwrap();
        match row.status {
            Status::Sent => sent += 1,
            Status::Rejected if row.reason.as_deref() == Some(reason) => {
                refused += 1;
            }
            _ => {}
        }
    }
    (sent, refused)
}

/// Killed again and again, on two shards: never more than the limit is out, and in the end all of it.
#[test]
fn a_limit_of_the_firm_holds_over_shards_crashes_and_restarts() {
    let _alone = alone();
    let session = Session::new(Folder::quick("firm"));
    let most = session.orders.len() / 3;
    let mut random = Random(17);
    let mut kills = 0;
    for round in 0..4 {
        let (peer, run) = (
            Peer::new(),
            session.folder.join(&format!("run-{round}/run")),
        );
        let config = format!(
            "{}[risk.firm]\nopen_orders_max = {most}\n",
            MODE.config(peer.address)
        );
        let config = session.folder.write("firm.toml", config);
        let shards = 1 + round % 2;
        let mut process = session.start(&run, &config, shards, "20x").go();
        let (mut came, mut lives) = (BTreeSet::new(), 0);
        loop {
            lives += 1;
            let life = match lives {
                ..8 => Duration::from_micros(random.within(2_000..150_000)),
                _ => Duration::from_secs(60),
            };
            if let Some(ended) = process.wait(life) {
                ended.expect(0);
                break;
            }
            process.kill();
            came.append(&mut ids(peer.drain()));
            assert!(came.len() <= most, "{} orders are out", came.len());
            if !is_begun(&run) {
                let _ = fs::remove_dir_all(&run);
                process = session.start(&run, &config, shards, "20x").go();
                continue;
            }
            kills += 1;
            process = resume(&run, "20x").go();
        }
        came.append(&mut ids(peer.drain()));
        let (sent, refused) = orders(&run, "firm_open_orders");
        assert_eq!(sent, most, "all of the limit is used");
        assert_eq!(came.len(), most, "what came is what the log says");
        assert_eq!(sent + refused, session.orders.len());
        // What is concluded does not depend on what left.
        assert_eq!(digests(&run), digests(&session.folder.join("twin/run")));
        assert_eq!(manifest(&run)["state"], "complete");
    }
    println!("{kills} kills, at most {most} orders out");
    assert!(kills > 0);
}

/// A person's change holds from the next order on, and over a restart; who, what and why are recorded.
#[test]
fn a_limit_is_changed_while_the_run_goes_on_and_stays_so() {
    let _alone = alone();
    let session = Session::new(Folder::quick("change"));
    let (peer, run) = (Peer::new(), session.folder.join("run/run"));
    let config = format!(
        "{}[risk.firm]\nopen_orders_max = 100000\n[risk.strategy.momentum]\nqty_max = 9000\n",
        MODE.config(peer.address)
    );
    let config = session.folder.write("run.toml", config);
    let mut process = session.start(&run, &config, 2, "1x").go();
    while peer.so_far().len() < 4 {
        let ended = process.wait(Duration::from_millis(1));
        assert!(ended.is_none(), "too short");
    }
    let set = |text: &str| limits(&run, &["--set", text, "--reason", "a drill"]);
    let said = set("firm.open_orders_max=0").expect(0);
    assert_eq!(said.stdout, "firm.open_orders_max: 100000 to 0\n");
    process.kill();
    let out = ids(peer.drain());
    // The settings would let them leave.
    let mut again = resume(&run, "max").go();
    again.wait_for_end().expect(0);
    let came = ids(peer.drain());
    assert!(came.is_subset(&out), "an order left over a limit of 0");
    assert_eq!(shown(&run)["firm.open_orders_max"], 0);
    let (sent, refused) = orders(&run, "firm_open_orders");
    assert!(sent <= out.len() && refused > 0);
    assert_eq!(sent + refused, session.orders.len());
    set("symbol.AAPL.position_max=7").expect(0);
    set("strategy.momentum.qty_max=none").expect(0);
    let page = shown(&run);
    assert_eq!(page["symbol.AAPL.position_max"], 7);
    assert_eq!(page["strategy.momentum.qty_max"], Value::Null);
    let record = fs::read_to_string(run.join("limits.audit")).unwrap();
    let lines: Vec<Value> = record
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0]["key"], "firm.open_orders_max");
    assert_eq!(
        (&lines[0]["old"], &lines[0]["new"]),
        (&100_000.into(), &0.into())
    );
    for line in &lines {
        assert_eq!(line["reason"], "a drill");
        assert!(line["pid"].is_u64() && line["uid"].is_u64() && line["at"].is_string());
    }
    let say = |text: &str, code: i32, want: &str| {
        set(text).expect(code).says(&[want]);
    };
    say("firm.gross_max", 2, "want KEY=NUMBER or KEY=none");
    say("firm.grossmax=1", 2, "is no limit: want firm.LIMIT");
    say(
        "firm.position_max=1",
        2,
        "there is no position_max of a firm",
    );
    say("firm.orders_per_second=10001", 2, "want at most 10000");
    limits(&run, &["--set", "firm.gross_max=1"]).expect(2);
    limits(&run, &["--set", "firm.gross_max=1", "--reason", " "])
        .expect(2)
        .says(&["--reason is missing"]);
    assert_eq!(shown(&run)["firm.gross_max"], Value::Null);
}

#[test]
fn limits_that_are_gone_or_damaged_let_nothing_leave() {
    let _alone = alone();
    let session = Session::of(Folder::quick("gone"), 1, 1000);
    let replay = |name: &str| {
        let config = format!("{}[risk.session]\n", support::crash::CONFIG);
        let config = session.folder.write("gone.toml", config);
        let run = session.folder.join(name);
        let mut command = program();
        command
            .arg("replay")
            .arg(&session.capture)
            .arg("-o")
            .arg(&run);
        command.arg("-c").arg(config).args(["--speed", "1x"]);
        (support::Started::new(&mut command), run)
    };
    let (mut process, run) = replay("whole");
    process.wait_for_end().expect(0);
    assert_eq!(manifest(&run)["counts"]["sent"], session.orders.len());
    let said = limits(&run, &[]).expect(0).stdout;
    assert!(said.contains("there are no limits"), "{said}");
    let again = |name: &str, change: &dyn Fn(&Path), want: &str| {
        let (mut process, run) = replay(name);
        while !is_begun(&run) {
            let ended = process.wait(Duration::from_millis(1));
            assert!(ended.is_none(), "too short");
        }
        process.kill();
        change(&run.join("limits"));
        tapeline(args!["replay", "--resume", run])
            .expect(0)
            .says(&[want, "no order leaves"]);
        assert!(manifest(&run)["counts"]["killed"].as_u64() > Some(0));
    };
    again(
        "gone",
        &|path| fs::remove_file(path).unwrap(),
        "there are no such limits",
    );
    let flip = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        bytes[8 * 17] ^= 1;
        fs::write(path, bytes).unwrap();
    };
    again("flipped", &flip, "which is never written");
    // A person puts them together again: the settings, and what was changed since.
    let (mut process, run) = replay("remade");
    while !is_begun(&run) {
        let ended = process.wait(Duration::from_millis(1));
        assert!(ended.is_none(), "too short");
    }
    process.kill();
    let set = |text: &str| limits(&run, &["--set", text, "--reason", "a drill"]);
    set("session.nothing_max=7").expect(2);
    set("session.open_orders_max=3").expect(0);
    set("strategy.momentun.gross_max=1")
        .expect(2)
        .says(&["no such strategy; there are momentum"]);
    fs::remove_file(run.join("limits")).unwrap();
    limits(&run, &[]).expect(5).says(&["are gone", "--remake"]);
    limits(&run, &["--remake", "--reason", "taken away"]).expect(0);
    assert_eq!(shown(&run)["session.open_orders_max"], 3);
    tapeline(args!["replay", "--resume", run]).expect(0);
    assert_eq!(orders(&run, "session_open_orders").0, 3);
    let counts = manifest(&run)["counts"].clone();
    assert_eq!(
        counts["refused"]["session_open_orders"],
        session.orders.len() - 3
    );
    let none = session.folder.join("twin/run");
    limits(&none, &[])
        .expect(2)
        .says(&["counts no orders together"]);
}

/// Groups move symbols to other sessions than their numbers say, so a session's sums would be wrong.
#[test]
fn sessions_have_no_limits_where_groups_share_out_symbols_over_shards() {
    let _alone = alone();
    let folder = Folder::new("grouped");
    let capture = folder.join("session.pcap");
    let sample = "sample itch --symbols 6 --seconds 1 --rate 200 --seed 8 -o";
    let args = sample.split(' ').map(std::ffi::OsString::from);
    tapeline(args.chain([capture.clone().into()])).expect(0);
    let config = "[groups.g]\nsymbols = [\"AAPL\", \"MSFT\"]\n[risk.firm]\nopen_orders_max = 9\n";
    let config = folder.write("run.toml", config);
    let set = ["--set", "session.open_orders_max=3", "--reason", "less"];
    for shards in ["1", "2"] {
        let run = folder.join(shards);
        let mut command = program();
        command.arg("replay").arg(&capture).arg("-o").arg(&run);
        command.arg("-c").arg(&config).args(["--shards", shards]);
        support::run(&mut command).expect(0);
        if shards == "1" {
            limits(&run, &set).expect(0);
            assert_eq!(shown(&run)["session.open_orders_max"], 3);
            continue;
        }
        let said = limits(&run, &set).expect(2);
        let want =
            "--set session.open_orders_max: a session's limits count symbols by their numbers";
        assert!(said.stderr.contains(want), "{}", said.stderr);
        assert_eq!(shown(&run)["session.open_orders_max"], Value::Null);
        // What there is can be taken away, and others set.
        limits(
            &run,
            &["--set", "session.open_orders_max=none", "--reason", "none"],
        )
        .expect(0);
        limits(
            &run,
            &["--set", "firm.open_orders_max=3", "--reason", "less"],
        )
        .expect(0);
    }
}

/// Whatever refuses one order of a pair, the other does not leave without it.
#[test]
fn both_orders_of_a_pair_leave_or_neither_does() {
    let _alone = alone();
    let folder = Folder::new("legs");
    let capture = folder.join("session.pcap");
    let sample = "sample itch --symbols 12 --seconds 4 --rate 4000 --seed 8 -o";
    let args = sample.split(' ').map(std::ffi::OsString::from);
    tapeline(args.chain([capture.clone().into()])).expect(0);
    let pair = "[momentum]\nenabled = false\n[groups.b]\nsymbols = [\"EEWN\", \"MYPH\"]\n[strategies.pair]\n\
                kind = \"pairs\"\nlegs = [\"EEWN\", \"MYPH\"]\nperiod = \"20ms\"\nhalf_life = \"200ms\"\n\
                enter = 1.0\nsamples_min = 5\ncooldown = \"1ms\"\n[risk]\norders_per_second = 200\n";
    let run = |name: &str, rest: &str| {
        let config = folder.write(&format!("{name}.toml"), format!("{pair}{rest}"));
        let run = folder.join(name);
        let mut command = program();
        command.arg("replay").arg(&capture).arg("-o").arg(&run);
        support::run(command.arg("-c").arg(&config)).expect(0);
        let mut legs: BTreeMap<u64, Vec<(String, bool, String)>> = BTreeMap::new();
        for row in tables::read_orders(&run.join("tables/orders.parquet")).unwrap() {
            let row = row.unwrap();
            let (is_sent, why) = (row.status == Status::Sent, row.reason.unwrap_or_default());
            legs.entry(row.seq)
                .or_default()
                .push((row.symbol, is_sent, why));
        }
        let (mut sent, mut reasons) = (0, BTreeSet::new());
        for (seq, both) in legs {
            let [one, other] = &both[..] else {
                panic!("{name}, event {seq}: {both:?}")
            };
            assert!(
                one.0 != other.0 && one.1 == other.1,
                "{name}, event {seq}: {both:?}"
            );
            sent += usize::from(one.1);
            reasons.extend(
                both.into_iter()
                    .map(|leg| leg.2)
                    .filter(|why| !why.is_empty()),
            );
        }
        (sent, reasons)
    };
    let all = run("all", "");
    assert!(all.0 > 5 && all.1.is_empty(), "{all:?}");
    let said = |reasons: &[&str]| {
        reasons
            .iter()
            .map(ToString::to_string)
            .collect::<BTreeSet<_>>()
    };
    let restricted = run("restricted", "restricted = [\"MYPH\"]\n");
    assert_eq!(restricted, (0, said(&["other_leg", "restricted"])));
    let throttle = "[risk.throttle]\norders_per_second = 2\nburst = 1\nover = \"reject\"\n";
    let (sent, reasons) = run("throttled", throttle);
    assert!((1..all.0).contains(&sent), "{sent}");
    assert_eq!(reasons, said(&["session_other_leg", "session_throttle"]));
    // An odd number: of the last pair one would have been within it.
    let (sent, reasons) = run("limited", "[risk.firm]\nopen_orders_max = 7\n");
    assert_eq!(sent, 3);
    assert_eq!(reasons, said(&["firm_open_orders", "firm_other_leg"]));
}
