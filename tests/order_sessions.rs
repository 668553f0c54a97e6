//! The real program sends orders through FIX and OUCH sessions to `tapeline fix sim` and `ouch sim`, which rejects, fills in
//! parts, loses reports and cuts connections; and the program is killed at any moment in between. In
//! the end both sides have the same orders, fills and positions, and the same numbers.
//!
//! `cargo test` kills 200 times over FIX, and 100 times over OUCH. The long run is
//!
//! ```text
//! TAPELINE_KILLS=1000 cargo test --release --test order_sessions -- --nocapture
//! ```

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use bus::log::{LogReader, Record};
use bus::oms::Row;
use bus::oms::ring::{Next, Reader};
use bus::signal::{Body, Outcome, Over, RejectCode, Whose};
use bus::{Side, Ts};
use fix::journal::Entry;
use fix::{Blotter, FileStore, Journal, Safe, Store};
use support::crash::{Session, is_begun, resume};
use support::{Folder, Random, Started, alone, digests, manifest, program};
use tapeline::tables::{self, Status};

/// A counterparty on its own, with a session of each shard.
struct Sim {
    process: Option<Started>,
    address: String,
    rows: PathBuf,
    is_ouch: bool,
}

/// What a counterparty had in the end.
struct Theirs {
    /// Status, filled and average of each order, by its name.
    orders: BTreeMap<String, (String, i64, String)>,
    positions: BTreeMap<String, i64>,
    /// Of each session: the next number in and out.
    numbers: Vec<(u64, u64)>,
    said: String,
    is_ouch: bool,
}

impl Sim {
    /// A session of each shard over FIX of this version, or over `OUCH`.
    fn new(folder: &Folder, script: &str, version: &str, shards: usize) -> Sim {
        // A port that was free just now. Whoever takes it in between makes the program say so.
        let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = probe.local_addr().unwrap().to_string();
        drop(probe);
        let rows = folder.join("theirs.csv");
        let mut command = program();
        command.arg("--json");
        match version {
            "OUCH" => command.args(["ouch", "sim", "--password", "secret"]),
            _ => command.args(["fix", "sim", "--fix", version]),
        };
        command.args(["--listen", &address]);
        command.arg("--script").arg(folder.write("script", script));
        command.arg("--orders").arg(&rows);
        for shard in 0..shards {
            let name = if version == "OUCH" {
                "--user"
            } else {
                "--target"
            };
            command.args([name, &format!("T{shard}")]);
        }
        let mut process = Started::new(&mut command);
        process.wait_for_line("until SIGINT");
        Sim {
            process: Some(process),
            address,
            rows,
            is_ouch: version == "OUCH",
        }
    }

    fn end(&mut self) -> Theirs {
        let mut process = self.process.take().expect("it ends once");
        process.interrupt();
        let ended = process.wait_for_end().expect(0);
        let said = ended.json();
        let sessions = said["sessions"].as_array().unwrap();
        let mut positions = BTreeMap::new();
        for session in sessions {
            for (symbol, qty) in session["positions"].as_object().unwrap() {
                *positions.entry(symbol.clone()).or_insert(0) += qty.as_i64().unwrap();
            }
        }
        positions.retain(|_, qty| *qty != 0);
        let number = |session: &serde_json::Value, name| session[name].as_u64().unwrap();
        let rows = fs::read_to_string(&self.rows).unwrap();
        let mut orders = BTreeMap::new();
        for row in rows.lines().skip(1) {
            let cells: Vec<&str> = row.split(',').collect();
            let state = (
                cells[5].to_string(),
                cells[6].parse().unwrap(),
                cells[7].to_string(),
            );
            let name = match self.is_ouch {
                true => name_of(cells[1]),
                false => cells[1].to_string(),
            };
            let before = orders.insert(name, state);
            assert_eq!(before, None, "{} is there twice", cells[1]);
        }
        Theirs {
            orders,
            positions,
            numbers: sessions
                .iter()
                .map(|session| (number(session, "next_in"), number(session, "next_out")))
                .collect(),
            said: ended.stderr,
            is_ouch: self.is_ouch,
        }
    }
}

/// Our name of an order, by what it is called on the wire.
fn name_of(letters: &str) -> String {
    let token = bus::ouch::Token(letters.as_bytes().try_into().unwrap());
    let day = bus::oms::Date {
        year: 2026,
        month: 1,
        day: 5,
    };
    token.order(day).unwrap().to_string()
}

/// The same over OUCH.
fn ouch_config(folder: &Folder, address: &str, more: &str) -> PathBuf {
    let fix = config(folder, address, more, "60s");
    let text = fs::read_to_string(fix).unwrap();
    let text = text.replace("[orders.fix]\n", "[orders.ouch]\n");
    folder.write(
        "ouch.toml",
        format!("{text}user = \"T{{shard}}\"\npassword = \"secret\"\n"),
    )
}

/// `away_max` is a bound of what may hang, and nothing is measured by it.
fn config(folder: &Folder, address: &str, more: &str, away_max: &str) -> PathBuf {
    let text = format!(
        "{}\n[orders]\nfile = false\nsender = \"T{{shard}}\"\ntarget = \"SIM\"\n{more}\
         [orders.json]\nto = \"file\"\n[orders.ring]\nrecords = 8192\n",
        support::crash::CONFIG
    );
    let text = text
        + &format!(
            "[orders.fix]\nconnect = \"{address}\"\nretry = \"1ms\"\naway_max = \"{away_max}\"\n"
        );
    folder.write("fix.toml", text)
}

/// The copies of what was said are row by row what the journal has.
fn check_copies(run: &Path, shard: usize) -> Result<(), String> {
    let mut want = Vec::new();
    let path = run.join(format!("orders/shard-{shard}.reports"));
    let each = |entry| {
        if let Entry::Sent(_, bytes) | Entry::Came(_, bytes) = entry
            && let Some(row) = Row::of(&bytes)
        {
            let id = String::from_utf8_lossy(row.id).into_owned();
            want.push((row.kind as u8, id, row.msg_seq));
        }
    };
    Journal::read(&path, each).map_err(|error| error.to_string())?;
    let text = fs::read_to_string(run.join(format!("orders/shard-{shard}.jsonl"))).unwrap();
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["row"], number + 1);
        let kinds = [("order", b'D'), ("cancel", b'F'), ("report", b'8')];
        let kind = kinds.iter().find(|(name, _)| line["kind"] == *name);
        let id = line["id"].as_str().unwrap().to_owned();
        lines.push((
            kind.map_or(b'9', |kind| kind.1),
            id,
            line["seq"].as_u64().unwrap(),
        ));
    }
    let mut reader = Reader::open(&run.join(format!("orders/shard-{shard}.ring"))).unwrap();
    let mut records = Vec::new();
    loop {
        match reader.next() {
            Next::Record(record) => {
                assert_eq!(record.seq(), records.len() as u64 + 1);
                let id = record
                    .order_id()
                    .map(|id| id.to_string())
                    .unwrap_or_default();
                records.push((record.kind(), id, record.words()[15]));
            }
            Next::Ended => break,
            other => return Err(format!("shard {shard}: {other:?} in the ring")),
        }
    }
    match (lines == want, records == want) {
        (true, true) => Ok(()),
        _ => Err(format!(
            "shard {shard}: {} rows in the journal, {} lines, {} records",
            want.len(),
            lines.len(),
            records.len()
        )),
    }
}

/// Both sides' orders, positions and numbers.
fn check_equal(run: &Path, shards: usize, theirs: &Theirs, orders: usize) -> Result<u64, String> {
    let mut positions = BTreeMap::new();
    let mut count = 0;
    let mut fills = 0;
    for shard in 0..shards {
        let blotter = Blotter::read(&run.join(format!("orders/shard-{shard}.reports")))
            .map_err(|error| error.to_string())?;
        for order in blotter.orders() {
            let id = String::from_utf8_lossy(&order.id).into_owned();
            let average = order
                .average()
                .map_or("0.00".into(), |price| price.to_string());
            let code = match order.standing.name() {
                "new" => "0",
                "partial" => "1",
                "filled" => "2",
                "cancelled" => "4",
                "rejected" => "8",
                other => return Err(format!("{id} stands as {other}")),
            };
            let ours = (code.to_string(), order.filled().0, average);
            if theirs.orders.get(&id) != Some(&ours) {
                let there = theirs.orders.get(&id);
                return Err(format!("{id}: {ours:?} here, {there:?} there"));
            }
            if order.odd > 0 || order.text.contains("was there before") {
                return Err(format!("{id}: {order:?}"));
            }
            count += 1;
        }
        for (symbol, position) in blotter.positions() {
            let symbol = String::from_utf8_lossy(&symbol).into_owned();
            *positions.entry(symbol).or_insert(0) += position.net() as i64;
        }
        fills += blotter.executions().len() as u64;
        check_copies(run, shard)?;
        let store = run.join(format!("orders/shard-{shard}.session"));
        let store = FileStore::open(&store, Safe::Process, Ts(0)).map_err(|e| e.to_string())?;
        // Over OUCH what comes is counted by the journal.
        let next_in = match theirs.is_ouch {
            true => theirs.numbers[shard].1,
            false => store.next_in(),
        };
        let ours = (store.next_out(), next_in);
        if ours != theirs.numbers[shard] {
            let there = theirs.numbers[shard];
            return Err(format!(
                "shard {shard}: next {ours:?} here, {there:?} there"
            ));
        }
    }
    positions.retain(|_, qty| *qty != 0);
    if count != orders || theirs.orders.len() != orders {
        let there = theirs.orders.len();
        return Err(format!("{count} orders here, {there} there, want {orders}"));
    }
    if positions != theirs.positions {
        return Err(format!("{positions:?} here, {:?} there", theirs.positions));
    }
    Ok(fills)
}

const SCRIPT: &str = "every 13: new, lose, partial 1, cut, fill
every 11: new, partial 2, partial 3, correct 9.5, bust, ask 2
every 7: new, lose, fill
every 5: reject
every 3: new, partial 1, cancel
any: new, fill";

#[test]
fn both_sides_have_the_same_orders_after_cuts_and_lost_reports() {
    let _alone = alone();
    let session = Session::of(Folder::quick("order-sessions"), 1, 3000);
    let versions = [
        ("FIX.4.4", "FIX.4.4"),
        ("FIX.4.2", "FIX.4.2"),
        ("FIX.5.0SP2", "FIXT.1.1"),
    ];
    for (version, sims) in versions {
        let run_dir = session.folder.join("run/run");
        let _ = fs::remove_dir_all(&run_dir);
        let mut sim = Sim::new(&session.folder, SCRIPT, sims, 2);
        let more = if version == "FIX.4.4" {
            "next_expected = true\n"
        } else {
            ""
        };
        let config = config(&session.folder, &sim.address, "", "60s");
        let text = fs::read_to_string(&config).unwrap();
        fs::write(&config, format!("{text}version = \"{version}\"\n{more}")).unwrap();
        session
            .start(&run_dir, &config, 2, "max")
            .go()
            .wait_for_end()
            .expect(0);
        let theirs = sim.end();
        let fills = check_equal(&run_dir, 2, &theirs, session.orders.len());
        let fills = fills.unwrap_or_else(|what| panic!("{version}: {what}"));
        assert!(fills > 20, "{version}: {fills} fills");
        assert!(theirs.said.contains("cut by the script"), "{}", theirs.said);
        session.check_results(&run_dir).unwrap();
        for table in ["order_states", "executions", "positions"] {
            assert!(run_dir.join(format!("tables/{table}.parquet")).is_file());
        }
    }
}

const OUCH_SCRIPT: &str = "every 13: new, lose, partial 1, fill
every 11: new, partial 2, partial 3, bust, cut
every 7: new, partial 1, lose, fill
every 5: reject
every 3: new, partial 1, cancel
any: new, fill";

#[test]
fn over_ouch_both_sides_have_the_same_orders_after_lost_connections() {
    let _alone = alone();
    let session = Session::of(Folder::quick("ouch-sessions"), 1, 3000);
    for shards in [1, 2] {
        let run_dir = session.folder.join("run/run");
        let _ = fs::remove_dir_all(&run_dir);
        let mut sim = Sim::new(&session.folder, OUCH_SCRIPT, "OUCH", shards);
        let config = ouch_config(&session.folder, &sim.address, "");
        let mut process = session.start(&run_dir, &config, shards, "max").go();
        process.wait_for_end().expect(0);
        let theirs = sim.end();
        let fills = check_equal(&run_dir, shards, &theirs, session.orders.len());
        let fills = fills.unwrap_or_else(|what| panic!("{shards} shards: {what}"));
        assert!(fills > 20, "{fills} fills");
        assert!(theirs.said.contains("cut by the script"), "{}", theirs.said);
        session.check_results(&run_dir).unwrap();
        for table in ["order_states", "executions", "positions"] {
            assert!(run_dir.join(format!("tables/{table}.parquet")).is_file());
        }
        let mut recon = program();
        recon.args(["--json", "recon"]).arg(&run_dir);
        assert_eq!(support::run(&mut recon).expect(0).json()["equal"], true);
    }
}

/// Where a password stands makes no difference to what leaves; what others may read does not have it.
#[test]
fn a_password_is_taken_from_a_file_or_the_environment_and_shown_to_nobody() {
    const VARIABLE: &str = "TAPELINE_TEST_PASSWORD";
    let _alone = alone();
    let session = Session::of(Folder::quick("order-password"), 1, 1000);
    let with = |address: &str, line: &str| {
        let config = ouch_config(&session.folder, address, "");
        let text = fs::read_to_string(&config).unwrap();
        let text = text.replace("password = \"secret\"", line);
        fs::write(&config, text).unwrap();
        config
    };
    // A name without a folder stands beside the settings.
    session.folder.write("desk.password", "secret\n");
    session.folder.write("none.password", "\n");
    session.folder.write("long.password", "secret-secret\n");
    let here = "password = \"secret\"";
    let file = "password_file = \"desk.password\"";
    let env = format!("password_env = \"{VARIABLE}\"");
    let run_dir = session.folder.join("run/run");
    let begin = |config: &Path, speed: &str| {
        let mut command = program();
        command.arg("replay").arg(&session.capture);
        command.arg("-o").arg(&run_dir).arg("-c").arg(config);
        command.args(["--shards", "1", "--speed", speed]);
        command.env_remove(VARIABLE);
        command
    };
    let kept = || {
        let path = run_dir.join("config.toml");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        let text = fs::read_to_string(path).unwrap();
        (text.contains("secret"), mode & 0o777)
    };
    for line in [here, file, &env] {
        let _ = fs::remove_dir_all(&run_dir);
        let mut sim = Sim::new(&session.folder, "any: new, fill", "OUCH", 1);
        let config = with(&sim.address, line);
        let mut command = begin(&config, "1x");
        command.env(VARIABLE, "secret");
        let mut process = Started::new(&mut command);
        while !is_begun(&run_dir) {
            assert!(process.wait(Duration::from_millis(1)).is_none(), "{line}");
        }
        let (has_it, mode) = kept();
        assert_eq!(has_it, line == here, "{line}");
        assert_eq!(mode == 0o600, line == here, "{line}: {mode:o}");
        process.kill();
        let mut again = program();
        again.args(["replay", "--resume"]).arg(&run_dir);
        again.env_remove(VARIABLE);
        if line == env {
            support::run(&mut again).expect(2).says(&[
                "orders.ouch.password_env: the variable TAPELINE_TEST_PASSWORD is not set",
            ]);
        }
        support::run(again.env(VARIABLE, "secret")).expect(0);
        let theirs = sim.end();
        check_equal(&run_dir, 1, &theirs, session.orders.len()).unwrap();
        assert_eq!(kept(), (has_it, mode), "{line}");
    }
    // What is wrong is told before anything is there.
    for (line, want) in [
        (
            format!("{here}\n{file}"),
            "orders.ouch: want one of password, password_file and password_env",
        ),
        (
            "password_file = \"gone.password\"".into(),
            "gone.password: No such file or directory",
        ),
        (
            "password_file = \"none.password\"".into(),
            "none.password: no password in it",
        ),
        (
            "password_file = \"long.password\"".into(),
            "user `T0` and its password, want at most 6 and 10 printable letters",
        ),
        (
            env.clone(),
            "orders.ouch.password_env: the variable TAPELINE_TEST_PASSWORD is not set",
        ),
        (
            "password_path = \"p\"".into(),
            "unknown key `password_path`",
        ),
    ] {
        let _ = fs::remove_dir_all(&run_dir);
        let config = with("127.0.0.1:1", &line);
        let said = support::run(&mut begin(&config, "max"))
            .expect(2)
            .says(&[want]);
        assert!(!said.stderr.contains("secret"), "{}", said.stderr);
        assert!(!run_dir.exists(), "{line}");
        let mut check = program();
        check
            .args(["config", "check"])
            .arg(&config)
            .env_remove(VARIABLE);
        support::run(&mut check).expect(2).says(&[want]);
    }
    let config = with("127.0.0.1:1", here);
    for form in [&["config", "show"][..], &["--json", "config", "show"]] {
        let mut show = program();
        let shown = support::run(show.args(form).arg(&config)).expect(0).stdout;
        assert!(shown.contains("(not shown)") && !shown.contains("secret"));
        assert!(shown.contains("T{shard}"));
    }
}

/// Nobody is away who comes back each time and says something, however long all of that lasts.
#[test]
fn a_counterparty_that_cuts_again_and_again_is_not_given_up() {
    let _alone = alone();
    let session = Session::of(Folder::quick("order-cuts"), 1, 3000);
    let orders = session.orders.len();
    let away_max = Duration::from_secs(2);
    // Each order ends its connection, and the pauses behind them take three times as long as that.
    let retry = 3 * away_max / orders as u32;
    for version in ["OUCH", "FIX.4.4"] {
        let run_dir = session.folder.join("run/run");
        let _ = fs::remove_dir_all(&run_dir);
        let script = "any: new, partial 1, cut, fill";
        let mut sim = Sim::new(&session.folder, script, version, 1);
        let config = match version {
            "OUCH" => ouch_config(&session.folder, &sim.address, ""),
            _ => config(&session.folder, &sim.address, "", "60s"),
        };
        let text = fs::read_to_string(&config).unwrap();
        let text = text.replace("\"60s\"", "\"2s\"");
        let text = text.replace("\"1ms\"", &format!("\"{}us\"", retry.as_micros()));
        fs::write(&config, text).unwrap();
        let started = Instant::now();
        let mut process = session.start(&run_dir, &config, 1, "max").go();
        process.wait_for_end().expect(0);
        assert!(started.elapsed() > 2 * away_max, "{version}");
        let theirs = sim.end();
        let fills = check_equal(&run_dir, 1, &theirs, orders);
        let fills = fills.unwrap_or_else(|what| panic!("{version}: {what}"));
        assert_eq!(fills, 2 * orders as u64, "{version}");
        let cuts = theirs.said.matches("cut by the script").count();
        assert_eq!(cuts, orders, "{version}");
    }
}

/// Orders of a million have no room in OUCH. They are refused one by one, the others leave, and of those that the
/// venue says nothing about it is said how many there are.
#[test]
fn over_ouch_what_has_no_room_is_refused_by_itself_and_silence_is_counted() {
    const SHARDS: usize = 2;
    let _alone = alone();
    let session = Session::of(Folder::quick("ouch-no-room"), 1, 3000);
    let mut sim = Sim::new(
        &session.folder,
        "nth 3: mute 1\nany: new, fill",
        "OUCH",
        SHARDS,
    );
    let config = ouch_config(&session.folder, &sim.address, "");
    let text = fs::read_to_string(&config).unwrap();
    let risk = "[risk]\nqty_max = 2000000\nnotional_max = 1000000000000\n";
    let rule = "[rules.big]\nwhen = \"spread >= 0bps\"\nside = \"buy\"\nqty = 1000000\n\
                cooldown = \"50ms\"\n";
    assert!(text.contains("[risk]\n"));
    fs::write(&config, rule.to_owned() + &text.replace("[risk]\n", risk)).unwrap();
    let run_dir = session.folder.join("run/run");
    let mut process = session.start(&run_dir, &config, SHARDS, "max").go();
    let ended = process.wait_for_end().expect(0);
    let theirs = sim.end();
    let (mut sent, mut refused) = (0, 0);
    for row in tables::read_orders(&run_dir.join("tables/orders.parquet")).unwrap() {
        let row = row.unwrap();
        match (&row.name[..], row.status, row.reason.as_deref()) {
            ("momentum", Status::Sent, None) => {
                assert!(theirs.orders.contains_key(row.id.as_str()), "{}", row.id);
                sent += 1;
            }
            ("big", Status::Rejected, Some("session_size")) => refused += 1,
            // The gate's own.
            (_, Status::Rejected, Some(why)) => assert!(!why.starts_with("session"), "{row:?}"),
            _ => panic!("{row:?}"),
        }
    }
    assert!(sent > 20 && refused > 5, "{sent} sent, {refused} refused");
    assert_eq!(theirs.orders.len(), sent);
    let want = Over {
        whose: Whose::Session,
        code: RejectCode::Size,
        limit: 999_999,
        value: 1_000_000,
    };
    let told = told(&run_dir, SHARDS).concat();
    let over: Vec<Over> = told.into_iter().filter_map(|(_, over)| over).collect();
    assert_eq!(over, vec![want; refused]);
    let counts = manifest(&run_dir)["counts"].clone();
    assert_eq!(counts["sent"], sent);
    assert_eq!(counts["refused"]["session_size"], refused);
    // The third of each session.
    assert_eq!(counts["unanswered"], SHARDS);
    for said in [
        format!("{refused} refused by session_size"),
        format!("{SHARDS} of them without an answer from the counterparty"),
    ] {
        assert!(ended.stdout.contains(&said), "{}", ended.stdout);
    }
}

/// What a limit of the firm let through and what not, of each shard in the order of its log: an order's
/// event, and what it was refused for.
fn told(run: &Path, shards: usize) -> Vec<Vec<(u64, Option<Over>)>> {
    let one = |shard| {
        let mut told = Vec::new();
        let log = run.join(format!("log/shard-{shard}"));
        // It may be in the making.
        let Ok(records) = LogReader::open(&log) else {
            return told;
        };
        for item in records {
            if let (_, Record::Signal(signal)) = item.unwrap()
                && let Some(Body::Sent(sent)) = signal.body()
            {
                assert_eq!(sent.over.is_some(), sent.outcome == Outcome::Refused);
                told.push((signal.seq, sent.over));
            }
        }
        told
    };
    (0..shards).map(one).collect()
}

/// The counterparty corrects one fill of a purchase to a price at which a fortune is lost. No shard's order
/// leaves behind that, nor after a crash, when only the journal of one of them knows of it.
#[test]
fn a_loss_stops_the_orders_of_all_shards_and_a_restart_lets_none_leave() {
    const SHARDS: usize = 2;
    const LOSS_MAX: i64 = 1_000_000;
    let _alone = alone();
    let session = Session::new(Folder::quick("order-loss"));
    // The first place from the sixth on where each session has a purchase: the script knows no sides.
    let mut sides = [const { Vec::new() }; SHARDS];
    for row in tables::read_orders(&session.folder.join("twin/run/tables/orders.parquet")).unwrap()
    {
        let row = row.unwrap();
        if row.status == Status::Sent {
            let shard = feed::reader::shard_of(row.id.key().symbol, SHARDS);
            sides[shard].push((row.seq, row.side == Side::Buy, row.qty.0));
        }
    }
    for shard in &mut sides {
        shard.sort_unstable();
    }
    let is_purchase = |nth: usize| sides.iter().all(|shard| shard[nth - 1].1);
    let nth = (6..30).find(|&nth| is_purchase(nth)).unwrap();
    let script = format!("nth {nth}: new, fill, correct 1000000\nany: new, fill");
    let mut sim = Sim::new(&session.folder, &script, "FIX.4.4", SHARDS);
    let config = config(&session.folder, &sim.address, "", "60s");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(
        &config,
        format!("{text}[risk.firm]\nloss_max = {LOSS_MAX}\n"),
    )
    .unwrap();
    let run_dir = session.folder.join("run/run");
    let mut process = session.start(&run_dir, &config, SHARDS, "1x").go();
    let is_refused = |shard: &Vec<(u64, Option<Over>)>| shard.iter().any(|told| told.1.is_some());
    while !(is_begun(&run_dir) && told(&run_dir, SHARDS).iter().all(is_refused)) {
        let ended = process.wait(Duration::from_millis(1));
        assert!(
            ended.is_none(),
            "it ended before each shard refused an order"
        );
    }
    process.kill();
    resume(&run_dir, "max").go().wait_for_end().expect(0);
    let theirs = sim.end();
    let (mut sent, mut refused, mut corrected) = (0, 0, 0);
    for (shard, told) in told(&run_dir, SHARDS).into_iter().enumerate() {
        // None leaves behind the first that was refused, before the crash or after it.
        let left = told.iter().take_while(|(_, over)| over.is_none()).count();
        for (seq, over) in &told[left..] {
            let over = over.unwrap_or_else(|| panic!("shard {shard}: the order of {seq} left"));
            let is_loss = (over.whose, over.code) == (Whose::Firm, RejectCode::Loss);
            assert!(is_loss && over.limit == LOSS_MAX, "{over:?}");
            // By one correction or by both, and what is won or lost besides is next to nothing.
            let one = sides[shard][nth - 1].2 * 1_000_000;
            let is_one = |count: i64| (over.value - count * one).abs() < one / 100;
            assert!(is_one(1) || is_one(2), "{over:?}");
        }
        (sent, refused) = (sent + left, refused + told.len() - left);
        // Where it came it stops the next order, whatever was decided before.
        let (mut is_known, path) = (false, format!("orders/shard-{shard}.reports"));
        let each = |entry| match entry {
            Entry::Came(_, bytes) if bytes.windows(7).any(|field| field == b"\x01150=G\x01") => {
                is_known = true;
                corrected += 1;
            }
            Entry::Sent(seq, _) => {
                assert!(!is_known, "shard {shard}: message {seq} left behind it")
            }
            _ => {}
        };
        Journal::read(&run_dir.join(path), each).unwrap();
    }
    assert!((1..=2).contains(&corrected), "{corrected}");
    assert_eq!(sent, theirs.orders.len());
    assert_eq!(sent + refused, session.orders.len());
    let counts = manifest(&run_dir)["counts"].clone();
    assert_eq!(counts["refused"]["firm_loss"], refused);
    let rows = tables::read_orders(&run_dir.join("tables/orders.parquet")).unwrap();
    let reasons = rows.filter_map(|row| row.unwrap().reason);
    assert_eq!(reasons.filter(|why| why == "firm_loss").count(), refused);
    // What is concluded does not depend on what left.
    assert_eq!(digests(&run_dir), digests(&session.folder.join("twin/run")));
}

/// What came, as a drop copy has it, line by line.
fn copy_of(run: &Path, shards: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for shard in 0..shards {
        let path = run.join(format!("orders/shard-{shard}.reports"));
        let each = |entry| {
            if let Entry::Came(_, bytes) = entry {
                lines.push(String::from_utf8(bytes).unwrap());
            }
        };
        Journal::read(&path, each).unwrap();
    }
    lines
}

/// With another value of this field, and the sum that belongs to it. Lengths stay as they are.
fn with(line: &str, from: &str, to: &str) -> String {
    assert!(
        line.contains(from) && from.len() == to.len(),
        "{from} in {line}"
    );
    let changed = line.replace(from, to);
    let body = &changed[..changed.len() - 7];
    let sum = fix::frame::checksum(body.as_bytes());
    format!("{body}10={sum:03}\x01")
}

/// What a counterparty lost and nobody repeats is told, by the run and against its log.
#[test]
fn orders_that_are_withheld_are_no_success() {
    let _alone = alone();
    let session = Session::of(Folder::quick("order-withheld"), 1, 3000);
    let run_dir = session.folder.join("run/run");
    let script = "every 20: new, cut, fill\nany: new, fill";
    let mut sim = Sim::new(&session.folder, script, "FIX.4.4", 1);
    let more = "in_doubt = \"cancel\"\n";
    let settings = config(&session.folder, &sim.address, more, "60s");
    let mut process = session.start(&run_dir, &settings, 1, "max").go();
    let ended = process.wait_for_end().expect(0);
    let theirs = sim.end();
    let counts = manifest(&run_dir)["counts"].clone();
    let count = |name: &str| counts[name].as_u64().unwrap() as usize;
    let withheld = count("withheld");
    assert!(withheld > 0, "the script cuts between orders");
    assert_eq!(count("sent"), theirs.orders.len() + withheld);
    let said = format!("{withheld} of them withheld");
    assert!(ended.stdout.contains(&said), "{}", ended.stdout);
    let mut recon = program();
    recon.args(["--json", "recon"]).arg(&run_dir);
    let said = support::run(&mut recon).expect(4).json();
    assert_eq!(said["reports"]["orders"], theirs.orders.len());
    assert_eq!(said["reports"]["withheld"], withheld);
    let breaks = said["breaks"].as_array().unwrap();
    assert_eq!(breaks.len(), withheld);
    for found in breaks {
        assert_eq!(
            (found["log"].as_str(), found["reports"].as_str()),
            (Some("sent"), Some("withheld"))
        );
        assert!(!theirs.orders.contains_key(found["order"].as_str().unwrap()));
    }
}

#[test]
fn planted_breaks_between_log_reports_and_drop_copy_are_found() {
    let session = Session::of(Folder::quick("order-recon"), 1, 3000);
    let run_dir = session.folder.join("run/run");
    let script = "every 5: reject\nevery 3: new, partial 1, cancel\nany: new, fill";
    let mut sim = Sim::new(&session.folder, script, "FIX.4.4", 2);
    let config = config(&session.folder, &sim.address, "", "60s");
    let mut process = session.start(&run_dir, &config, 2, "max").go();
    process.wait_for_end().expect(0);
    sim.end();
    let place = session.folder.join("copy.fix");
    let recon = |lines: Option<&[String]>, code: i32| {
        let mut command = program();
        command.args(["--json", "recon"]).arg(&run_dir);
        if let Some(lines) = lines {
            fs::write(&place, lines.join("\n")).unwrap();
            command.arg("--drop-copy").arg(&place);
        }
        let said = support::run(&mut command).expect(code).json();
        let breaks = said["breaks"].as_array().unwrap().clone();
        assert_eq!(said["equal"], breaks.is_empty());
        breaks
    };
    let kinds = |breaks: &[serde_json::Value]| {
        let mut kinds: Vec<String> = breaks
            .iter()
            .map(|found| found["break"].as_str().unwrap().to_owned())
            .collect();
        kinds.dedup();
        kinds.join(" ")
    };
    recon(None, 0);
    let lines = copy_of(&run_dir, 2);
    recon(Some(&lines), 0);
    let shown: Vec<String> = lines.iter().map(|line| line.replace('\x01', "|")).collect();
    recon(Some(&shown), 0);
    // One fill less, one twice, one of another price, and an order that is not ours.
    let is_fill = |line: &&String| line.contains("\x01150=F\x01") && line.contains("\x0139=2\x01");
    let fill = lines.iter().find(is_fill).unwrap();
    let rest: Vec<String> = lines.iter().filter(|line| *line != fill).cloned().collect();
    assert_eq!(kinds(&recon(Some(&rest), 4)), "standing fill position");
    let mut doubled = lines.clone();
    doubled.push(fill.clone());
    assert_eq!(kinds(&recon(Some(&doubled), 4)), "fill_doubled");
    let price = fill
        .split('\x01')
        .find(|field| field.starts_with("31="))
        .unwrap();
    let last = price.chars().last().unwrap();
    let digit = if last == '1' { '2' } else { '1' };
    let other = format!("\x01{}{digit}\x01", &price[..price.len() - 1]);
    let mut dearer = rest.clone();
    dearer.push(with(fill, &format!("\x01{price}\x01"), &other));
    assert_eq!(kinds(&recon(Some(&dearer), 4)), "fill_terms position");
    let id = fill
        .split('\x01')
        .find(|field| field.starts_with("11="))
        .unwrap();
    let foreign = format!("{}X", &id[..id.len() - 1]);
    let mut more = lines.clone();
    more.push(with(fill, id, &foreign));
    let breaks = recon(Some(&more), 4);
    assert_eq!(kinds(&breaks), "order fill position");
    assert_eq!(breaks[0]["order"], foreign[3..]);
    assert_eq!(breaks[0]["log"], "unknown");
    // What is damaged is told with its byte; what has no sessions, too.
    let damaged = lines
        .join("\n")
        .replacen("\x01150=F\x01", "\x01150=G\x01", 1);
    fs::write(&place, damaged).unwrap();
    let said = support::tapeline([
        "recon".as_ref(),
        run_dir.as_os_str(),
        "--drop-copy".as_ref(),
        place.as_os_str(),
    ]);
    said.expect(3).says(&["copy.fix, byte ", ": CheckSum is "]);
    // A file of something else is no copy that lacks everything, and neither is one of nothing.
    for (text, want) in [
        ("session,cl_ord_id\n", "no FIX message in it"),
        ("", "empty, want the messages of a drop copy"),
    ] {
        fs::write(&place, text).unwrap();
        let said = support::tapeline([
            "recon".as_ref(),
            run_dir.as_os_str(),
            "--drop-copy".as_ref(),
            place.as_os_str(),
        ]);
        said.expect(3).says(&["copy.fix: ", want]);
    }
    // The journal, too, is held against the log: without it nothing was said of any order.
    fs::remove_file(run_dir.join("orders/shard-0.reports")).unwrap();
    let breaks = recon(None, 4);
    assert_eq!(kinds(&breaks), "order");
    assert!(breaks.iter().all(|found| found["reports"] == "unknown"));
}

/// Copies messages to whoever takes them.
struct Copier;

impl fix::Application for Copier {
    fn on_message(&mut self, _: &fix::Received<'_>, _: &mut fix::Outbox) -> fix::Verdict {
        fix::Verdict::UnsupportedType
    }
}

/// A report as a copy of it is sent, without what belongs to the session that it came through.
fn copied(line: &str) -> fix::Draft {
    let mut fields = fix::Fields::default();
    let message = fix::parse(line.as_bytes(), &mut fields, &fix::DataTags::default()).unwrap();
    let mut draft = fix::Draft::new(message.msg_type());
    for field in line.split_terminator('\x01') {
        let (tag, value) = field.split_once('=').unwrap();
        let tag: i32 = tag.parse().unwrap();
        if !fix::tags::is_header(tag) && !fix::tags::is_trailer(tag) {
            draft.body().bytes(tag, value.as_bytes());
        }
    }
    draft
}

/// The taker is killed in the midst of it, and goes on: the one who copies repeats what it misses.
#[test]
fn a_live_drop_copy_is_taken_whole_over_a_kill_and_agrees() {
    let session = Session::of(Folder::quick("order-copy"), 1, 3000);
    let run_dir = session.folder.join("run/run");
    let mut sim = Sim::new(
        &session.folder,
        "every 5: reject\nany: new, fill",
        "FIX.4.4",
        2,
    );
    let config = config(&session.folder, &sim.address, "", "60s");
    let mut process = session.start(&run_dir, &config, 2, "max").go();
    process.wait_for_end().expect(0);
    sim.end();
    let lines = copy_of(&run_dir, 2);
    let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = probe.local_addr().unwrap();
    drop(probe);
    let place = session.folder.join("copy.fix");
    let take = || {
        let mut command = program();
        command.args([
            "--json", "fix", "copy", "--sender", "BACK", "--target", "VENUE",
        ]);
        command
            .args(["--listen", &address.to_string(), "-o"])
            .arg(&place);
        let mut taker = Started::new(&mut command);
        taker.wait_for_line("until SIGINT");
        taker
    };
    let clock = bus::clock::MachineClock::new();
    let now = || bus::clock::Clock::wall(&clock);
    let about = fix::SessionConfig::new(fix::Version::Fix44, fix::Role::Initiator, "VENUE", "BACK");
    let store = fix::Memory::new(now());
    let venue = fix::Session::new(about, store, None, fix::DataTags::default());
    let mut venue = fix::Initiator::new(address, 1_000_000, venue, Copier);
    let deadline = Instant::now() + Duration::from_secs(60);
    let until = |venue: &mut fix::Initiator<_, _>, is_so: &dyn Fn(&fix::Session<_>) -> bool| {
        while !is_so(venue.session().0) {
            assert!(Instant::now() < deadline, "it comes to an end");
            venue.turn(now());
        }
    };
    let mut taker = take();
    for (number, line) in lines.iter().enumerate() {
        until(&mut venue, &fix::Session::is_logged_on);
        let (session, app) = venue.session();
        session.send(&copied(line), now(), app).unwrap();
        venue.turn(now());
        if number == lines.len() / 2 {
            taker.kill();
            // What it had begun to write is cut off, and comes again.
            let mut bytes = fs::read(&place).unwrap_or_default();
            bytes.extend_from_slice(b"8=FIX.4.4\x019=200\x0135=8\x01");
            fs::write(&place, bytes).unwrap();
            taker = take();
        }
    }
    until(&mut venue, &fix::Session::is_logged_on);
    let (session_, app) = venue.session();
    let asked = session_.probe(now(), app);
    until(&mut venue, &|session| session.probes_answered() >= asked);
    taker.interrupt();
    let said = taker.wait_for_end().expect(0).json();
    // One may be in the file and its number not: it is there again, and says so (PossDupFlag).
    let messages = said["messages"].as_u64().unwrap();
    assert!((lines.len() as u64..=lines.len() as u64 + 1).contains(&messages));
    assert_eq!(said["orders"], session.orders.len());
    let mut recon = program();
    recon
        .args(["--json", "recon"])
        .arg(&run_dir)
        .arg("--drop-copy")
        .arg(&place);
    assert_eq!(support::run(&mut recon).expect(0).json()["equal"], true);
}

#[test]
fn nobody_there_and_contradictions_are_told_at_once() {
    let session = Session::of(Folder::quick("order-nobody"), 1, 3000);
    let run_dir = session.folder.join("run/run");
    let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = probe.local_addr().unwrap().to_string();
    drop(probe);
    let config = config(&session.folder, &address, "", "20ms");
    let mut process = session.start(&run_dir, &config, 1, "max").go();
    let said = process.wait_for_end();
    assert_ne!(said.code, Some(0));
    said.says(&[
        "T0 at SIM, ",
        "waited 20ms for a logon; last: closing: ",
        "refused",
    ]);
}

/// The shortest and the longest life of a process before it is killed, in microseconds, and how many
/// a run has before it is left alone.
const LIFE_US: (f64, f64) = (3_000.0, 400_000.0);
const LIVES_MAX: u64 = 20;

fn kills_wanted() -> u64 {
    let from_env = std::env::var("TAPELINE_KILLS").ok();
    from_env.map_or(200, |kills| kills.parse().expect("a number of kills"))
}

#[test]
fn nothing_is_lost_or_sent_twice_through_a_session() {
    kill_and_go_on("FIX.4.4", kills_wanted());
}

#[test]
fn nothing_is_lost_or_sent_twice_over_ouch() {
    kill_and_go_on("OUCH", kills_wanted().div_ceil(2));
}

/// After every kill the run goes on with the same counterparty, which has all that it had.
fn kill_and_go_on(version: &str, kills_wanted: u64) {
    let _alone = alone();
    let session = Session::of(Folder::quick(&format!("order-kills-{version}")), 1, 6000);
    let from_env = std::env::var("TAPELINE_SEED").ok();
    let clock = || SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    let seed = from_env
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(clock);
    println!("TAPELINE_SEED={seed}");
    let mut random = Random(seed);
    let started = Instant::now();
    let (mut kills, mut runs, mut fills, mut resent) = (0, 0, 0, 0);
    while kills < kills_wanted {
        let run_dir = session.folder.join("run/run");
        let _ = fs::remove_dir_all(&run_dir);
        let shards = 1 + random.within(0..2) as usize;
        let policy = ["possresend", "query"][random.within(0..2) as usize];
        let script = "every 29: new, lose, partial 1, cut, fill\nevery 5: reject\nany: new, fill";
        let mut sim = Sim::new(&session.folder, script, version, shards);
        let more = format!("in_doubt = \"{policy}\"\n");
        let config = match version {
            "OUCH" => ouch_config(&session.folder, &sim.address, &more),
            _ => config(&session.folder, &sim.address, &more, "60s"),
        };
        let mut process = session.start(&run_dir, &config, shards, "20x").go();
        for life in 0.. {
            let draw = random.within(0..1 << 20) as f64 / f64::from(1 << 20);
            let (low, high) = (LIFE_US.0.ln(), LIFE_US.1.ln());
            let us = (low + draw * (high - low)).exp() as u64;
            // A machine that does other things must come to an end, too.
            let at_most = match life < LIVES_MAX {
                true => Duration::from_micros(us),
                false => Duration::from_secs(120),
            };
            if let Some(ended) = process.wait(at_most) {
                ended.expect(0);
                break;
            }
            assert!(life < LIVES_MAX, "it hangs");
            process.kill();
            kills += 1;
            process = match is_begun(&run_dir) {
                true => resume(&run_dir, "20x").go(),
                false => {
                    let _ = fs::remove_dir_all(&run_dir);
                    session.start(&run_dir, &config, shards, "20x").go()
                }
            };
        }
        let theirs = sim.end();
        let checked = check_equal(&run_dir, shards, &theirs, session.orders.len())
            .and_then(|fills| session.check_results(&run_dir).map(|()| fills));
        match checked {
            Ok(count) => fills += count,
            Err(what) => {
                // It is evidence.
                std::mem::forget(session);
                let run_dir = run_dir.display();
                panic!(
                    "TAPELINE_SEED={seed}, {policy}: {what}; {run_dir} is kept; {}",
                    theirs.said
                );
            }
        }
        runs += 1;
        resent += manifest(&run_dir)["counts"]["resent"].as_u64().unwrap();
    }
    println!(
        "{version}: {kills} kills in {:.1} s, {runs} runs of {} orders each, {fills} fills, {resent} orders \
         of which the session knew that they had not left: 0 lost, 0 twice, and both sides' numbers agree",
        started.elapsed().as_secs_f64(),
        session.orders.len()
    );
}
