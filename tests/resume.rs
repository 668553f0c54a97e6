//! A run that is killed at any moment goes on where it was, and ends as if it had not been.
//!
//! The real program is killed with SIGKILL, again and again, at moments drawn from a seed;
//! `TAPELINE_SEED` repeats the draws, though of course not what the machine made of them. Orders
//! go to files here, where each must come exactly once; `tests/kill.rs` sends them to a peer.

mod support;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use support::{
    Folder, Random, Started, alone, digests, files_under, manifest, orders_of, program, signal,
    tapeline,
};

/// At this pace the session takes about 300 ms.
const PACE: &str = "24x";
/// A killed process may have come this far, in milliseconds: past the end of most runs.
const LIFE_MS: u64 = 450;
/// So far it is still setting up, which is worth more kills than its share of the time.
const SETUP_MS: u64 = 40;

/// Small segments, so that a log has several, and a strategy that trades a lot.
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

[risk]
orders_per_second = 100
"#;

/// One thread for everything.
const ONE_THREAD: &str = "[run]\nmodel = \"run-to-completion\"\n";

/// A session, and the run of it that nothing disturbed.
struct Twin {
    folder: Folder,
    capture: PathBuf,
    config: PathBuf,
    shards: usize,
    digests: String,
    orders: Vec<Vec<String>>,
}

impl Twin {
    fn new(name: &str, shards: usize) -> Twin {
        let folder = Folder::new(name);
        let capture = folder.join("session.pcap");
        let sample = "sample itch --symbols 16 --seconds 4 --rate 5000 --loss-a 0.05 --loss-b 0.05 \
                      --duplicate 0.01 --reorder 8 -o";
        tapeline(
            sample
                .split(' ')
                .map(OsString::from)
                .chain([capture.clone().into()]),
        )
        .expect(0);
        let config = folder.write("run.toml", CONFIG);
        let mut twin = Twin {
            folder,
            capture,
            config,
            shards,
            digests: String::new(),
            orders: Vec::new(),
        };
        let run = twin.folder.join("twin");
        twin.start(&run, &twin.config, "max")
            .wait_for_end()
            .expect(0);
        twin.digests = digests(&run);
        twin.orders = orders_of(&run, shards);
        let count: usize = twin.orders.iter().map(Vec::len).sum();
        assert!(count > 100, "only {count} orders: too few to lose one of");
        assert!(
            twin.digests.lines().count() > 16,
            "too few digests: {}",
            twin.digests
        );
        assert_eq!(manifest(&run)["counts"]["lost_messages"], 0);
        twin
    }

    fn start(&self, run: &Path, config: &Path, speed: &str) -> Started {
        let mut command = program();
        command
            .arg("replay")
            .arg(&self.capture)
            .arg("-o")
            .arg(run)
            .arg("-c")
            .arg(config);
        Started::new(command.args(["--shards", &self.shards.to_string(), "--speed", speed]))
    }

    /// What has to be true of a run at its end, whatever happened to it before.
    fn check(&self, run: &Path) {
        assert!(
            digests(run) == self.digests,
            "other digests in {}",
            run.display()
        );
        let twin = self.folder.join("twin");
        tapeline(["diff".into(), OsString::from(run), twin.into()]).expect(0);
        let manifest = manifest(run);
        assert_eq!(manifest["state"], "complete");
        let count: usize = self.orders.iter().map(Vec::len).sum();
        assert_eq!(
            manifest["counts"]["sent"], count,
            "orders that the log knows to be sent"
        );
    }
}

fn resume(run: &Path, speed: &str) -> Started {
    let mut command = program();
    Started::new(
        command
            .arg("replay")
            .arg("--resume")
            .arg(run)
            .args(["--speed", speed]),
    )
}

fn seeded(shards: usize) -> Random {
    let from_env = std::env::var("TAPELINE_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let clock = || {
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_nanos()
    };
    let seed: u64 = from_env.unwrap_or_else(|| clock() as u64);
    println!("TAPELINE_SEED={seed}, {shards} shards");
    Random(seed)
}

/// What became of the kills.
#[derive(Debug, Default)]
struct Kills {
    /// There was a run to go on with.
    effective: usize,
    /// Before there was one: it had to be started anew.
    early: usize,
    /// Of the effective ones, those that hit a run that was going on already.
    again: usize,
    /// The run was over before its time to be killed.
    late: usize,
}

/// Starts, kills and resumes runs until so many kills have hit; `check` looks at each at its end.
fn kill_often(twin: &Twin, wanted: usize, check: impl Fn(&Path)) {
    let mut random = seeded(twin.shards);
    let mut kills = Kills::default();
    let run = twin.folder.join("run");
    // Luck decides which kills hit a run that goes on already: some must, however long it takes.
    while kills.effective < wanted || kills.again == 0 {
        assert!(
            kills.effective < 20 * wanted,
            "no run can be killed twice: {kills:?}"
        );
        let _ = fs::remove_dir_all(&run);
        let started = twin.start(&run, &twin.config, PACE);
        if kill_until_it_ends(started, &run, &mut random, &mut kills) {
            check(&run);
        }
    }
    println!("{kills:?}");
}

/// Kills a run and resumes it, until it is let alone and ends. Says whether there is one: not
/// where the first kill came before the manifest.
fn kill_until_it_ends(
    mut process: Started,
    run: &Path,
    random: &mut Random,
    kills: &mut Kills,
) -> bool {
    let mut is_resumed = false;
    // A run just begun is always to be killed, a resumed one in one case of three.
    while !is_resumed || random.within(0..3) == 0 {
        let is_early = random.within(0..4) == 0;
        let life_ms = random.within(0..if is_early { SETUP_MS } else { LIFE_MS });
        if let Some(ended) = process.wait(Duration::from_millis(life_ms)) {
            ended.expect(0);
            kills.late += 1;
            return true;
        }
        process.kill();
        if !run.join("manifest.json").exists() {
            kills.early += 1;
            return false;
        }
        kills.effective += 1;
        kills.again += usize::from(is_resumed);
        let speed = if random.within(0..3) == 0 {
            PACE
        } else {
            "max"
        };
        process = resume(run, speed);
        is_resumed = true;
    }
    process.wait_for_end().expect(0);
    true
}

/// To files, every order comes exactly once, in the twin's order. The twin has a thread for each
/// shard, whatever `settings` say for the others.
fn check_files(name: &str, shards: usize, kills: usize, settings: &str) {
    let _alone = alone();
    let mut twin = Twin::new(name, shards);
    twin.config = twin
        .folder
        .write("killed.toml", format!("{CONFIG}{settings}"));
    kill_often(&twin, kills, |run| {
        twin.check(run);
        let orders = orders_of(run, shards);
        assert!(
            orders == twin.orders,
            "{orders:?}, the twin sent {:?}",
            twin.orders
        );
    });
}

#[test]
fn a_run_of_one_shard_survives_kills() {
    check_files("resume-one", 1, 20, "");
}

#[test]
fn a_run_of_two_shards_on_one_thread_survives_kills() {
    check_files("resume-completion", 2, 20, ONE_THREAD);
}

#[test]
fn a_run_of_two_shards_survives_kills() {
    check_files("resume-two", 2, 20, "");
}

fn is_hangup_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    u64::from_str_radix(mask.unwrap().trim(), 16).unwrap() & 1 == 1
}

/// SIGINT, SIGTERM and SIGHUP end a replay in order, and leave it where it can go on as after a kill.
#[test]
fn a_replay_that_was_stopped_goes_on_too() {
    let _alone = alone();
    let shards = 2;
    let twin = Twin::new("resume-stop", shards);
    let run = twin.folder.join("run");
    let mut random = seeded(shards);
    // Whoever runs the tests may have it ignored, and what they start inherits that.
    let hangup = if is_hangup_ignored() { "INT" } else { "HUP" };
    let mut stops = 0;
    while stops < 6 {
        let _ = fs::remove_dir_all(&run);
        let mut process = twin.start(&run, &twin.config, PACE);
        let ended = loop {
            // Before there is a manifest, the signal ends the program, but no run.
            let life_ms = random.within(SETUP_MS..LIFE_MS);
            if let Some(ended) = process.wait(Duration::from_millis(life_ms)) {
                break ended;
            }
            if run.join("log").exists() {
                signal(process.id(), ["INT", "TERM", hangup][stops % 3]);
                break process.wait_for_end();
            }
        };
        if ended.code == Some(0) {
            continue;
        }
        ended.expect(130).says(&["stopped by a signal"]);
        stops += 1;
        let stopped = manifest(&run);
        assert_eq!(stopped["state"], "stopped");
        let most = manifest(&twin.folder.join("twin"))["counts"]["events"]
            .as_u64()
            .unwrap();
        assert!(stopped["counts"]["events"].as_u64().unwrap() <= most);
        resume(&run, "max").wait_for_end().expect(0);
        twin.check(&run);
        assert!(orders_of(&run, shards) == twin.orders);
    }
    // A run that is complete stays as it is.
    let before = fs::read(run.join("orders/shard-0.fix")).unwrap();
    resume(&run, "max").wait_for_end().expect(0);
    twin.check(&run);
    assert!(fs::read(run.join("orders/shard-0.fix")).unwrap() == before);
}

/// One shard's log is damaged: the run does not go on, and the other shard does not hold it up.
#[test]
fn a_shard_that_cannot_go_on_ends_the_run() {
    let _alone = alone();
    let mut twin = Twin::new("resume-damaged", 2);
    for (name, settings) in [("threads", ""), ("one-thread", ONE_THREAD)] {
        twin.config = twin.folder.write("run.toml", format!("{CONFIG}{settings}"));
        let run = twin.folder.join(name);
        let mut process = twin.start(&run, &twin.config, "1x");
        let log = run.join("log/shard-1");
        while process.wait(Duration::from_millis(10)).is_none() {
            if log.exists()
                && files_under(&log, &[".seg"])
                    .iter()
                    .any(|file| holds_events(file))
            {
                process.interrupt();
                process.wait_for_end().expect(130);
                break;
            }
        }
        let first = files_under(&log, &[".seg"]).remove(0);
        let mut bytes = fs::read(&first).unwrap();
        bytes[..4096].fill(0xaa);
        fs::write(&first, bytes).unwrap();
        let ended = resume(&run, "max").wait_for_end();
        assert!(ended.code.is_some_and(|code| code != 0), "{ended:?}");
        ended.says(&["shard 1"]);
    }
}

/// Whether a segment has frames behind its header.
fn holds_events(segment: &Path) -> bool {
    fs::read(segment).is_ok_and(|bytes| bytes[4096..].iter().any(|byte| *byte != 0))
}

/// Whoever wants a run to outlive its terminal says so with `nohup`.
#[test]
fn a_hangup_that_is_ignored_stays_ignored() {
    let _alone = alone();
    let twin = Twin::new("resume-nohup", 1);
    let run = twin.folder.join("run");
    let mut command = Command::new("nohup");
    command.arg(program().get_program()).arg("replay");
    command.arg(&twin.capture).arg("-o").arg(&run);
    command.arg("-c").arg(&twin.config);
    let mut process = Started::new(command.args(["--shards", "1", "--speed", PACE]));
    while !run.join("log").exists() {
        if let Some(ended) = process.wait(Duration::from_millis(5)) {
            ended.expect(0);
            panic!("ended before its log was there");
        }
    }
    signal(process.id(), "HUP");
    process.wait_for_end().expect(0);
    twin.check(&run);
}
