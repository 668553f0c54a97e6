//! A replay as its users steer it: days and rounds in one run, and books at any time of it.

mod support;

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use book::Books;
use bus::log::{LogReader, Record};
use bus::{Event, Level, Side, Ts};
use serde_json::Value;
use support::{
    Ended, Folder, Started, alone, json, manifest, orders_of, program, shared_data, tapeline,
};
use tapeline::run_dir::RunDir;
use tapeline::savepoint::Origin;
use tapeline::seek::Index;

/// A strategy that trades a lot, and little on the disk.
const CONFIG: &str = r#"
[log]
segment = "1MiB"
frame = "32KiB"

[momentum]
lookback = "200ms"
threshold = "1bps"
sigmas = 0.2
imbalance = 0.1
cooldown = "50ms"
"#;

/// Makes a session of four seconds, of which at 24 times the pace a sixth of a second is left.
fn session(folder: &Folder, name: &str, seed: u32, more: &[&str]) -> PathBuf {
    let path = folder.join(name);
    let mut command = program();
    command.args(["sample", "itch", "--symbols", "8", "--seconds", "4"]);
    command.args(["--rate", "3000", "--seed", &seed.to_string()]);
    command.args(more).arg("-o").arg(&path);
    support::run(&mut command).expect(0);
    path
}

fn replay(folder: &Folder, files: &[&Path], run: &Path, more: &[&str]) -> Started {
    let config = folder.write("run.toml", CONFIG);
    let mut command = program();
    command.arg("replay").args(files).arg("-o").arg(run);
    command.arg("-c").arg(config).args(more);
    Started::new(&mut command)
}

/// What the description of several runs says of each.
fn runs_of(series: &Value) -> Vec<Value> {
    series["runs"].as_array().unwrap().clone()
}

/// Rounds are days that follow one another: nothing is missing between them, what they conclude is
/// the same, and no order of one has the number of another's.
#[test]
fn each_round_of_a_loop_is_the_session_as_of_the_next_day() {
    let _alone = alone();
    let folder = Folder::quick("loop");
    let impaired = ["--loss-a", "0.02", "--loss-b", "0.02", "--drop-both", "3"];
    for (name, more) in [("session.pcap", &impaired[..]), ("20260105.itch", &[])] {
        let capture = session(&folder, name, 7, more);
        let once = folder.join(&format!("{name}-once"));
        replay(&folder, &[&capture], &once, &["--shards", "2"])
            .wait_for_end()
            .expect(0);
        let looped = folder.join(&format!("{name}-loop"));
        let more = ["--loop", "3", "--shards", "2", "--json"];
        let said = replay(&folder, &[&capture], &looped, &more)
            .wait_for_end()
            .expect(0)
            .says(&["round 3 of 3"]);
        let series = said.json();
        assert_eq!(series, json(&looped.join("series.json")));
        assert_eq!(series["state"], "complete");
        let (once, runs) = (manifest(&once), runs_of(&series));
        let orders = orders_of(&folder.join(&format!("{name}-once")), 2);
        assert!(
            orders.iter().map(Vec::len).sum::<usize>() > 10,
            "{orders:?}"
        );
        for (index, leg) in runs.iter().enumerate() {
            let path = looped.join(leg["name"].as_str().unwrap());
            let round = manifest(&path);
            assert_eq!(round["digest"], once["digest"], "{name} {index}");
            for same in ["counts", "gaps", "anomalies", "anomaly_examples"] {
                assert_eq!(round[same], once[same], "{name} {index}: {same}");
            }
            let day_ns = 86_400_000_000_000;
            let midnight_ns = once["midnight_ns"].as_i64().unwrap() + day_ns * index as i64;
            assert_eq!(round["midnight_ns"], midnight_ns);
            // The date stands in front of an order's number.
            let date = round["date"].as_str().unwrap().replace('-', "");
            let of_round = orders_of(&path, 2);
            let counts = [&of_round, &orders].map(|all| all.iter().map(Vec::len).sum::<usize>());
            assert_eq!(counts[0], counts[1]);
            for (got, want) in of_round.iter().flatten().zip(orders.iter().flatten()) {
                assert!(got.starts_with(&date[2..]), "{got} is of {date}");
                assert_eq!(got[6..], want[6..]);
            }
            // Its times are those of that day, in the log as well.
            let mut command = program();
            command.args(["log", "cat", "--json", "--shard", "0", "--to-cell", "1"]);
            command.arg(&path);
            let first = support::run(&mut command).expect(0).stdout;
            let first: Value = serde_json::from_str(first.lines().next().unwrap()).unwrap();
            let ts = first["ts_event"].as_i64().unwrap();
            assert!((midnight_ns..midnight_ns + day_ns).contains(&ts), "{first}");
        }
    }
}

/// What was killed in a round goes on in that round, and ends as if nothing had been.
#[test]
fn a_loop_that_was_killed_goes_on_in_its_round() {
    let _alone = alone();
    let folder = Folder::quick("loop-kill");
    let capture = session(&folder, "session.pcap", 3, &[]);
    let whole = folder.join("whole");
    replay(&folder, &[&capture], &whole, &["--loop", "3"])
        .wait_for_end()
        .expect(0);
    let killed = folder.join("killed");
    let more = ["--loop", "3", "--speed", "12x"];
    let mut started = replay(&folder, &[&capture], &killed, &more);
    started.wait_for_line("round 1 of 3");
    started.kill();
    let left = json(&killed.join("series.json"));
    assert_eq!(left["state"], "running");
    assert_ne!(left["runs"][0]["done"], Value::Null);
    tapeline(args![
        "replay", "--resume", killed, "--speed", "max", "--shards", "2"
    ])
    .expect(0);
    let (whole, resumed) = (
        json(&whole.join("series.json")),
        json(&killed.join("series.json")),
    );
    assert_eq!(resumed["digest"], whole["digest"]);
    assert_eq!(resumed["state"], "complete");
    tapeline(args!["replay", "--resume", killed])
        .expect(0)
        .says(&["all rounds are complete"]);
}

/// Days come in the order of their dates, whatever the order of the files, each as it is alone.
#[test]
fn days_follow_one_another_with_books_of_their_own() {
    let _alone = alone();
    let folder = Folder::quick("days");
    let captures = Folder::quick("captures");
    let dates = ["2026-01-05", "2026-01-06", "2026-01-07"];
    let mut alone_digests = Vec::new();
    for (seed, date) in (11..).zip(dates) {
        // The truth that lies beside each is no capture.
        let name = format!("{}.itch", date.replace('-', ""));
        let file = session(&captures, &name, seed, &[]);
        // Taken once, though it lies there in both ways.
        let packed = zstd::encode_all(&*fs::read(&file).unwrap(), 1).unwrap();
        captures.write(&format!("{name}.zst"), packed);
        let run = folder.join(date);
        replay(&folder, &[&file], &run, &[])
            .wait_for_end()
            .expect(0);
        alone_digests.push(manifest(&run)["digest"].clone());
    }
    let week = folder.join("week");
    let ended = replay(&folder, &[captures.path()], &week, &["--days"])
        .wait_for_end()
        .expect(0)
        .says(&[
            "truth.json",
            "left out: ",
            "20260105.itch.zst: the same content as ",
        ]);
    assert!(ended.stdout.contains("2026-01-06"), "{}", ended.stdout);
    let other = fs::read(captures.join("20260107.itch")).unwrap();
    captures.write("20260106.itch.zst", zstd::encode_all(&*other, 1).unwrap());
    let mixed = folder.join("mixed");
    replay(&folder, &[captures.path()], &mixed, &["--days"])
        .wait_for_end()
        .expect(2)
        .says(&["20260106.itch.zst: another content than ", "name the files"]);
    assert!(!mixed.exists(), "days of two contents");
    let files = [2, 0, 1]
        .map(|index: usize| captures.join(&format!("{}.itch", dates[index].replace('-', ""))));
    let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    let named = folder.join("named");
    replay(&folder, &files, &named, &["--days", "--shards", "2"])
        .wait_for_end()
        .expect(0);
    for run in [&week, &named] {
        let runs = runs_of(&json(&run.join("series.json")));
        let names: Vec<&str> = runs
            .iter()
            .map(|leg| leg["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, dates);
        for (leg, want) in runs.iter().zip(&alone_digests) {
            assert_eq!(leg["done"]["digest"], *want);
        }
    }
    let one_of_them = |ended: Ended| ended.expect(2).says(&["holds several runs"]);
    one_of_them(tapeline(args!["book", "A", "--run", week]));
    // Day by day, or a run with a run.
    let same = tapeline(args!["diff", week, named]).expect(0).stdout;
    let lines: Vec<&str> = same.lines().collect();
    assert_eq!(lines.len(), dates.len(), "{same}");
    for (line, date) in lines.iter().zip(dates) {
        assert!(line.starts_with(&format!("{date} equal: ")), "{line}");
    }
    tapeline(args!["diff", week, named.join("2026-01-06")])
        .expect(2)
        .says(&["holds several runs", "name one run"]);
    let checked = tapeline(args!["verify", week, "--against", "reference"])
        .expect(0)
        .stdout;
    for (line, date) in checked.lines().zip(dates) {
        assert!(
            line.starts_with(&format!("{date} reference equal: ")),
            "{line}"
        );
    }
    assert_eq!(checked.lines().count(), dates.len(), "{checked}");
    let truth = captures.join("20260105.truth.json");
    let ended = tapeline(args!["verify", week, "--against", truth]);
    ended
        .expect(2)
        .says(&["holds several runs", "--against reference"]);
    // The first of these files is the last day; of it, less was taken, and the others are not there.
    let other = folder.join("other");
    replay(
        &folder,
        &files[..1],
        &other,
        &["--days", "--to", "09:30:02"],
    )
    .wait_for_end()
    .expect(0);
    let lacking = tapeline(args!["diff", other, week]).expect(4);
    assert!(
        lacking.stdout.contains("first divergence: "),
        "{}",
        lacking.stdout
    );
    lacking.says(&["has 2026-01-05", "has not"]);
    // A file that does not say its day is not guessed at.
    let undated = folder.join("undated.itch");
    fs::copy(files[0], &undated).unwrap();
    replay(
        &folder,
        &[files[1], &undated],
        &folder.join("none"),
        &["--days"],
    )
    .wait_for_end()
    .expect(2)
    .says(&["undated.itch", "trading date"]);
    assert!(!folder.join("none").exists());
}

/// A folder that Databento fills has the same trades in several schemas: they count once.
#[test]
fn a_folder_of_several_schemas_tells_its_trades_once() {
    let Some(data) = shared_data("several schemas") else {
        return;
    };
    let _alone = alone();
    let folder = Folder::quick("schemas");
    let catalog = data.join("databento-dbn/nautilus/historical_bars_catalog");
    let quotes = catalog.join("futures_mbp-1_2024-07-01T23-58_2024-07-02T00-02.dbn.zst");
    let trades = catalog.join("futures_trades_2024-07-01T23-58_2024-07-02T00-02.dbn.zst");
    let (all, alone) = (folder.join("all"), folder.join("alone"));
    replay(&folder, &[&catalog], &all, &["--days"])
        .wait_for_end()
        .expect(0)
        .says(&[
            "left out: ",
            "futures_trades_2024",
            "schema trades tells the trades that mbp-1 tells; the other is ",
        ]);
    replay(&folder, &[&quotes], &alone, &["--days"])
        .wait_for_end()
        .expect(0);
    let traded = |run: &Path| {
        let symbols = json(&run.join("2024-07-01/symbols.json"));
        let counts = symbols.as_array().unwrap().iter();
        counts
            .map(|symbol| symbol["trades"].as_u64().unwrap())
            .sum::<u64>()
    };
    assert!(traded(&alone) > 0);
    assert_eq!(traded(&all), traded(&alone));
    // Who names both is told which they are.
    let both = folder.join("both");
    replay(&folder, &[&quotes, &trades], &both, &["--days"])
        .wait_for_end()
        .expect(2)
        .says(&[
            "futures_trades_2024",
            "that mbp-1 tells",
            "futures_mbp-1_2024",
        ]);
}

/// Both sides of a book, and what is said of it.
fn shown(books: &Books, symbol: u32) -> (Vec<Level>, Vec<Level>, bool) {
    let (mut bids, mut asks) = (Vec::new(), Vec::new());
    books.depth(symbol, Side::Buy, usize::MAX, &mut bids);
    books.depth(symbol, Side::Sell, usize::MAX, &mut asks);
    (bids, asks, books.is_stale(symbol))
}

/// At any time, the books by the index are those of a walk from the log's first event.
#[test]
fn books_that_are_looked_up_are_those_of_the_whole_log() {
    let _alone = alone();
    let folder = Folder::quick("seek");
    let capture = session(&folder, "session.pcap", 5, &["--drop-both", "2"]);
    let run = folder.join("run");
    replay(&folder, &[&capture], &run, &["--shards", "2"])
        .wait_for_end()
        .expect(0);
    let (dir, manifest) = RunDir::open(&run).unwrap();
    let config = dir.read_config().unwrap();
    let origin = Origin {
        dir: &dir,
        parts: &manifest.parts,
        config: &config,
        midnight: Ts(manifest.midnight_ns),
        from: None,
    };
    assert!(Index::open(&origin).is_none());
    let index = Index::make(&origin, 200).unwrap();
    assert!(index.place_count() > 8, "{}", index.place_count());
    let mut compared = 0;
    for shard in 0..2 {
        let log = LogReader::open(&dir.log_dir(0, shard)).unwrap();
        let events: Vec<Event> = log
            .filter_map(|item| match item.unwrap() {
                (_, Record::Event(event)) => Some(event),
                (_, Record::Signal(_)) => None,
            })
            .collect();
        let mut plain = Books::new(config.books()).unwrap();
        let mut taken = 0;
        // Right before an event, at it, and beyond both ends.
        let times = events.iter().step_by(97).flat_map(|event| {
            let ts = event.ts_event;
            [ts.plus_ns(-1), ts]
        });
        for at in [Ts(0)].into_iter().chain(times).chain([Ts::MAX]) {
            while let Some(event) = events.get(taken).filter(|event| event.ts_event <= at) {
                plain.apply(event);
                taken += 1;
            }
            let all = index.books(&origin, shard, None, at).unwrap();
            for (_, named) in index.symbols().filter(|(of, _)| *of == shard) {
                let number = named.number;
                let want = shown(&plain, number);
                assert_eq!(
                    shown(&all.books, number),
                    want,
                    "{} at {}",
                    named.name,
                    at.0
                );
                let one = index.books(&origin, shard, Some(number), at).unwrap();
                assert_eq!(
                    shown(&one.books, number),
                    want,
                    "{} at {}",
                    named.name,
                    at.0
                );
                assert_eq!(one.last.get(&number), all.last.get(&number));
                compared += want.0.len() + want.1.len();
            }
        }
        assert_eq!(taken, events.len());
    }
    assert!(compared > 10_000, "{compared}");
    // An index of other settings, or of another log, is none.
    let mut other = config.clone();
    other.time.tick.0 += 1;
    let other = Origin {
        config: &other,
        ..origin
    };
    assert!(Index::open(&other).is_none());
    assert!(Index::open(&origin).is_some());
}

/// A complete run is asked by its index, and answers as before when that is damaged.
#[test]
fn a_book_at_a_time_is_the_same_with_the_index_and_without() {
    let _alone = alone();
    let folder = Folder::quick("book-at");
    let capture = session(&folder, "session.pcap", 5, &[]);
    let run = folder.join("run");
    replay(&folder, &[&capture], &run, &[])
        .wait_for_end()
        .expect(0);
    let symbols = json(&run.join("symbols.json"));
    let name = symbols[0]["symbol"].as_str().unwrap();
    let ask = |more: &[&str]| {
        let mut command = program();
        command
            .args(["book", "--json", "--run"])
            .arg(&run)
            .args(more);
        support::run(&mut command).expect(0)
    };
    let at = ["--at", "09:30:02.5"];
    let first = ask(&[&[name], &at[..]].concat());
    assert!(run.join("index/index.json").exists());
    let again = ask(&[&[name], &at[..]].concat());
    // A run this small is indexed without a word.
    assert_eq!((first.stderr.as_str(), again.stderr.as_str()), ("", ""));
    assert_eq!(first.stdout, again.stdout);
    assert!(!first.json()["bids"].as_array().unwrap().is_empty());
    let all = ask(&at).json();
    let row = all["symbols"].as_array().unwrap().iter();
    let row = row.clone().find(|row| row["symbol"] == name).unwrap();
    assert_eq!(row["bid"][0], first.json()["bids"][0][0]);
    assert_eq!(row["ask"][1], first.json()["asks"][0][1]);
    // Its last moment is the book that the run ended with.
    let end = ask(&["--at", "23:00"]).json();
    let rows = end["symbols"].as_array().unwrap();
    for symbol in symbols.as_array().unwrap() {
        let row = rows.iter().find(|row| row["symbol"] == symbol["symbol"]);
        assert_eq!(row.unwrap()["bid"], symbol["bid"]);
    }
    let state = run.join("index/0-0.books");
    let mut bytes = fs::read(&state).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&state, bytes).unwrap();
    let without = ask(&[&[name], &at[..]].concat());
    assert!(
        without.stderr.contains("the index cannot be used"),
        "{}",
        without.stderr
    );
    assert_eq!(without.stdout, first.stdout);
}

/// Replays to where a condition holds, with lines on stdin or none.
fn break_at(capture: &Path, condition: &str, more: &[&str], lines: Option<&str>) -> Ended {
    let mut command = program();
    command
        .arg("replay")
        .arg(capture)
        .args(["--break", condition])
        .args(more);
    if let Some(lines) = lines {
        let typed = capture.with_extension("commands");
        fs::write(&typed, lines).unwrap();
        command
            .arg("--break-commands")
            .stdin(fs::File::open(&typed).unwrap());
    }
    support::run(&mut command)
}

/// The first stop is where the log of a whole run has the condition hold first, and stands still
/// there.
#[test]
fn a_break_stops_at_the_first_event_at_which_its_condition_holds() {
    let _alone = alone();
    let folder = Folder::quick("break");
    let capture = session(&folder, "20260105.itch", 9, &[]);
    let run = folder.join("run");
    replay(&folder, &[&capture], &run, &[])
        .wait_for_end()
        .expect(0);
    let symbols = json(&run.join("symbols.json"));
    let name = symbols[0]["symbol"].as_str().unwrap();
    let number = symbols[0]["number"].as_u64().unwrap() as u32;
    let condition = format!("{name}.bid_qty >= 300 and {name}.ask_qty >= 300");
    let stopped = break_at(&capture, &condition, &["--json"], None)
        .expect(0)
        .json();
    assert_eq!(stopped["symbol"], name);
    // The same by a plain walk through the log.
    let (dir, manifest) = RunDir::open(&run).unwrap();
    let config = dir.read_config().unwrap();
    let mut books = Books::new(config.books()).unwrap();
    let mut found = None;
    for item in LogReader::open(&dir.log_dir(0, 0)).unwrap() {
        let (_, Record::Event(event)) = item.unwrap() else {
            continue;
        };
        books.apply(&event);
        let quote = books.quote(number);
        if event.symbol == number && quote.bid_qty.0 >= 300 && quote.ask_qty.0 >= 300 {
            found = Some(event);
            break;
        }
    }
    let found = found.expect("the condition holds somewhere");
    assert!(found.seq > 100 && manifest.counts.events > found.seq);
    assert_eq!(stopped["seq"], found.seq);
    assert_eq!(stopped["ts_event"], found.ts_event.0);
    let (bids, asks, _) = shown(&books, number);
    for (side, levels) in [("bids", &bids), ("asks", &asks)] {
        let got = stopped["book"][side].as_array().unwrap();
        assert!(!got.is_empty());
        for (got, want) in got.iter().zip(levels) {
            assert_eq!(got[0], want.price.to_string());
            assert_eq!(got[1], want.qty.0);
        }
    }
    assert_eq!(stopped["last_events"].as_array().unwrap().len(), 8);
    // At a pace, and with a number of shards that cannot be, it is the same place.
    let again = ["--json", "--speed", "1000x", "--shards", "3"];
    let again = break_at(&capture, &condition, &again, None)
        .expect(0)
        .says(&["one thread takes all symbols"]);
    assert_eq!(again.json(), stopped);
}

/// Lines on stdin go on from a stop, in steps of the symbol's own events.
#[test]
fn a_break_is_gone_on_from_by_lines() {
    let _alone = alone();
    let folder = Folder::quick("break-lines");
    let capture = session(&folder, "20260105.itch", 9, &[]);
    let condition = "trades > 20 and spread > 1bps for 10ms";
    let lines = "help\nbook 2\nevents\nnonsense\nstep\nstep 3\n\ncontinue\nq\n";
    let ended = break_at(&capture, condition, &["--json"], Some(lines))
        .expect(0)
        .says(&["`nonsense` is no command"]);
    let said: Vec<Value> = ended
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let stops: Vec<&Value> = said.iter().filter(|said| said["seq"].is_u64()).collect();
    // The first, after one event, after three, after three again, and where it holds anew.
    assert_eq!(stops.len(), 5, "{}", ended.stdout);
    assert!(said[1]["help"].as_str().unwrap().contains("continue"));
    assert_eq!(said[2]["bids"].as_array().unwrap().len(), 2);
    assert_eq!(said[3], stops[0]["last_events"]);
    for pair in stops.windows(2) {
        assert!(pair[0]["seq"].as_u64() < pair[1]["seq"].as_u64());
    }
    for stop in &stops[..4] {
        assert_eq!(stop["symbol"], stops[0]["symbol"]);
    }
    // Three events on, the last of then is the fourth from the end.
    let events = |stop: &Value| stop["last_events"].as_array().unwrap().clone();
    let (before, after) = (events(stops[1]), events(stops[2]));
    assert_eq!(after[after.len() - 4], before[before.len() - 1]);
    let text = break_at(&capture, condition, &[], Some("quit\n"))
        .expect(0)
        .stdout;
    assert!(
        text.contains(", event ") && text.contains("trading"),
        "{text}"
    );
}

#[test]
fn a_break_that_cannot_be_is_said_to_be_so() {
    let _alone = alone();
    let folder = Folder::quick("break-bad");
    let capture = session(&folder, "20260105.itch", 9, &[]);
    let check = |condition: &str, code: i32, text: &str| {
        break_at(&capture, condition, &[], None)
            .expect(code)
            .says(&[text]);
    };
    check("A.spread > ", 2, "column 12");
    check("A.spred > 5bps", 2, "column 1: ");
    check("A.bid > B.bid", 2, "one");
    check("NOSUCH.bid > 0.01", 3, "NOSUCH: no such symbol");
    check("spread > 9000bps", 3, "came to hold at none of");
    let both = ["--output", "run"];
    break_at(&capture, "bid > 1", &both, None)
        .expect(2)
        .says(&["cannot be used with"]);
}

/// The letter of a process's state: `T` is stopped.
fn state_of(process: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Waits until this holds; it must before long.
#[track_caller]
fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "waited for: {what}"
        );
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// Ctrl-Z, and `fg` a while later.
#[test]
fn a_paced_replay_that_is_stopped_goes_on_where_it_was() {
    let _alone = alone();
    let folder = Folder::quick("pause");
    let capture = session(&folder, "20260105.itch", 21, &[]);
    let whole = folder.join("whole");
    replay(&folder, &[&capture], &whole, &[])
        .wait_for_end()
        .expect(0);
    for model in ["pipeline", "run-to-completion"] {
        let run = folder.join(model);
        let config = folder.write(
            "model.toml",
            format!("{CONFIG}\n[run]\nmodel = \"{model}\"\n"),
        );
        let mut command = program();
        command
            .arg("replay")
            .arg(&capture)
            .arg("-o")
            .arg(&run)
            .arg("-c")
            .arg(config);
        command.args(["--speed", "1x", "--json"]);
        // With its parent in another group of the same session it is nobody's orphan, whom the kernel
        // would not stop.
        command.process_group(0);
        let began = Instant::now();
        let mut started = Started::new(&mut command);
        let process = started.id();
        // At its pace it takes seconds from the first record on.
        until("the run", || run.join("manifest.json").exists());
        until("some of the session", || {
            began.elapsed() > Duration::from_millis(1_500)
        });
        support::signal(process, "TSTP");
        until("the stop", || state_of(process) == Some('T'));
        let stopped = Instant::now();
        let away = Duration::from_millis(2_500);
        until("the pause", || stopped.elapsed() >= away);
        support::signal(process, "CONT");
        let said = started.wait_for_end().expect(0).json();
        let took = Duration::from_secs_f64(said["elapsed_s"].as_f64().unwrap());
        // Four seconds of trading, and the pause: nothing came sooner because of it.
        assert!(
            took > Duration::from_secs(4) + away - Duration::from_millis(100),
            "{model}: {took:?}"
        );
        assert_eq!(said["digest"], manifest(&whole)["digest"], "{model}");
        let text = fs::read_to_string(run.join("latency").join("total.hgrm")).unwrap();
        let max = text.split_once("Max").expect("the longest").1;
        let max = max
            .trim_start_matches([' ', '='])
            .split(',')
            .next()
            .unwrap();
        let max = Duration::from_secs_f64(max.trim().parse::<f64>().unwrap() / 1e6);
        assert!(max < away / 2, "{model}: {max:?} at most");
    }
}
