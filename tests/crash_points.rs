//! The real program ends at every named place, the first, second and seventh time it comes by,
//! in every mode, is gone on with, and ends as if nothing had happened. And where the system can
//! refuse something, it refuses: the program stops in order, says one line, and can be gone on
//! with.
//!
//! ```text
//! cargo test --features failpoints --test crash_points -- --nocapture
//! ```
//!
//! A place that a process passes once is crashed at by several shards, or by one process after
//! the other, as often as asked.

mod support;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bus::failpoint::{FAULTS, NAMES};
use support::crash::{Ledger, Mode, Peer, Session, in_files, is_begun, resume};
use support::{Ended, Folder};

const MODES: [Mode; 6] = [
    mode(true, true, false),
    mode(true, true, true),
    mode(true, false, false),
    mode(true, false, true),
    mode(false, true, false),
    mode(false, false, false),
];

const fn mode(is_durable: bool, is_tcp: bool, is_plain: bool) -> Mode {
    Mode {
        is_durable,
        is_tcp,
        is_plain,
        is_one_thread: false,
    }
}

/// So many shards pass what one shard passes once or twice.
const MANY_SHARDS: usize = 8;

/// How a place is reached for the nth time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    /// By a run from its start.
    Start { shards: usize },
    /// By a run that is gone on with.
    Resume { shards: usize },
    /// Each time by another process that goes on with the same run.
    InARow,
}

const WAYS: [Way; 5] = [
    Way::Start { shards: 1 },
    Way::Resume { shards: 1 },
    Way::Start {
        shards: MANY_SHARDS,
    },
    Way::Resume {
        shards: MANY_SHARDS,
    },
    Way::InARow,
];

/// How often all of them are tried.
const ROUNDS: usize = 3;

/// Whether a mode comes by a place at all.
fn applies(name: &str, mode: Mode) -> bool {
    match name {
        // Only files are read again and cut; an address is not a file that can be full.
        "orders-cut" | "orders-resumed" | "orders-write-fails" => !mode.is_tcp,
        _ => true,
    }
}

/// Which times a place is crashed at.
fn passes(name: &str) -> &'static [usize] {
    match name {
        // Configuration, manifest, symbols, digests, manifest.
        _ if name.starts_with("file-") => &[1, 2, 3, 4, 5, 7],
        _ => &[1, 2, 7],
    }
}

/// Where a run has to have crashed for the next process to come by a place.
fn crash_before(name: &str) -> &'static str {
    match name {
        "half-made-removed" => "segment-half-zeroed:1",
        "orders-cut" => "orders-half-sent:1",
        "tables-removed" => "tables-made:1",
        // The place must be one that a run of few events passes on every shard.
        _ => "frame-durable:5",
    }
}

/// One run on its way through its crashes.
struct Trial<'a> {
    session: &'a Session,
    peer: &'a Peer,
    mode: Mode,
    run: PathBuf,
    config: PathBuf,
    shards: usize,
    ledger: Ledger,
    crashes: usize,
}

impl<'a> Trial<'a> {
    fn new(session: &'a Session, peer: &'a Peer, mode: Mode, place: &Path, shards: usize) -> Self {
        let run = place.join("run");
        let _ = fs::remove_dir_all(&run);
        fs::create_dir_all(place).unwrap();
        let config = place.join("run.toml");
        fs::write(&config, mode.config(peer.address)).unwrap();
        Trial {
            session,
            peer,
            mode,
            run,
            config,
            shards,
            ledger: Ledger::default(),
            crashes: 0,
        }
    }

    /// One life of the run; with a failpoint or without.
    fn live(&mut self, point: Option<&str>) -> Result<Ended, String> {
        // Many checkpoints take a while to be made.
        let speed = match point {
            Some(point) if point.starts_with("ckpt-") => "8x",
            _ => "max",
        };
        let begun = if is_begun(&self.run) {
            resume(&self.run, speed)
        } else {
            // A crash before the manifest leaves a folder that was not a run.
            let _ = fs::remove_dir_all(&self.run);
            self.session
                .start(&self.run, &self.config, self.shards, speed)
        };
        let begun = match point {
            Some(point) => begun.armed(point),
            None => begun,
        };
        let ended = begun.go().wait_for_end();
        self.crashes += usize::from(ended.code.is_none());
        if self.mode.is_tcp {
            let logged = self.session.logged(&self.run, self.shards)?;
            self.ledger.life(self.peer.drain(), logged)?;
        }
        Ok(ended)
    }

    /// Makes the next process come by a place that only some do. Says whether that is so.
    fn prepare(&mut self, name: &str) -> Result<bool, String> {
        while self.live(Some(crash_before(name)))?.code.is_none() {
            if name != "resume-removed" || tear_next_header(&self.run.join("log/shard-0")) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Crashes at the nth pass of a place, this way; says whether it came to that.
    fn crash(&mut self, name: &str, pass: usize, way: Way) -> Result<bool, String> {
        let point = format!("{name}:{pass}");
        match way {
            Way::Start { .. } => Ok(self.live(Some(&point))?.code.is_none()),
            Way::Resume { .. } => {
                Ok(self.prepare(name)? && self.live(Some(&point))?.code.is_none())
            }
            Way::InARow => {
                let point = format!("{name}:1");
                let needs_more = !matches!(crash_before(name), "frame-durable:5");
                for count in 0..pass {
                    if (count == 0 || needs_more || name == "resume-removed")
                        && !self.prepare(name)?
                    {
                        return Ok(false);
                    }
                    if self.live(Some(&point))?.code.is_some() {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
        }
    }

    /// Lets the run come to its end, and looks at all that it left.
    fn finish(&mut self) -> Result<(), String> {
        let ended = self.live(None)?;
        if ended.code != Some(0) {
            return Err(format!(
                "resuming ends with {:?}: {}",
                ended.code, ended.stderr
            ));
        }
        self.session.check_results(&self.run)?;
        let orders = &self.session.orders;
        if self.mode.is_tcp {
            self.ledger.check(orders)?;
            let Ledger {
                unflagged,
                unlogged,
                ..
            } = self.ledger;
            // `fast` says that an order may leave before its causes are on the disk; a crash may
            // then forget them, and the order comes again as if it were new, under the same id.
            if self.mode.is_durable && (unflagged > 0 || unlogged > 0) {
                return Err(format!(
                    "{unflagged} came again without 97=Y, {unlogged} came before the log had them"
                ));
            }
            return Ok(());
        }
        let mut files = Ledger::default();
        let came = in_files(&self.run, self.shards);
        let count: usize = came.iter().map(Vec::len).sum();
        files.life(came, support::crash::Logged::default())?;
        files.check(orders)?;
        if self.mode.is_durable && count != orders.len() {
            return Err(format!("{count} orders in the files of {}", orders.len()));
        }
        Ok(())
    }
}

/// Leaves what a torn write of the next segment's header would: nobody can make the kernel do it.
/// Says whether a segment was in store to be torn, as one mostly is.
fn tear_next_header(log: &Path) -> bool {
    let mut segments: Vec<PathBuf> = fs::read_dir(log)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "seg"))
        .collect();
    segments.sort();
    let begins_with_zeros = |path: &&PathBuf| fs::read(path).unwrap()[..8] == [0; 8];
    let Some(next) = segments.iter().find(begins_with_zeros) else {
        return false;
    };
    let file = OpenOptions::new().write(true).open(next).unwrap();
    file.write_all_at(b"TAPELOG\n torn here", 0).unwrap();
    true
}

/// What is to be done: which place, in which mode, at which pass.
type Case = (&'static str, Mode, usize);

/// Works through the cases on as many threads as there are cores; returns what failed, and how
/// often which way was taken.
fn work_through(
    cases: &[Case],
    name: &str,
    work: impl Fn(&Session, &Peer, &Path, Case) -> Result<String, String> + Sync,
) -> (Vec<String>, BTreeMap<String, usize>) {
    let session = Session::new(Folder::quick(name));
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    let how = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for worker in 0..2 {
            let (session, next, failed, how, work) = (&session, &next, &failed, &how, &work);
            scope.spawn(move || {
                let peer = Peer::new();
                let place = session.folder.join(&format!("worker-{worker}"));
                while let Some(&case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (name, mode, pass) = case;
                    match work(session, &peer, &place, case) {
                        Ok(said) => *how.lock().unwrap().entry(said).or_default() += 1,
                        Err(what) => failed
                            .lock()
                            .unwrap()
                            .push(format!("{name}, pass {pass}, {}: {what}", mode.name())),
                    }
                }
            });
        }
    });
    (failed.into_inner().unwrap(), how.into_inner().unwrap())
}

fn report(title: &str, started: Instant, cases: &[Case], how: &BTreeMap<String, usize>) {
    let mut text = format!(
        "{title}: {} cases in {:.0} s",
        cases.len(),
        started.elapsed().as_secs_f64()
    );
    for (way, count) in how {
        let _ = write!(text, "\n  {count:5} {way}");
    }
    println!("{text}");
}

#[test]
fn a_crash_at_any_place_leaves_a_run_that_goes_on() {
    let _alone = support::alone();
    let started = Instant::now();
    let mut cases = Vec::new();
    for mode in MODES {
        for name in NAMES.iter().filter(|name| applies(name, mode)) {
            cases.extend(passes(name).iter().map(|pass| (*name, mode, *pass)));
        }
    }
    let known: Mutex<BTreeMap<(&str, usize), Way>> = Mutex::new(BTreeMap::new());
    let crashes = AtomicUsize::new(0);
    let early = AtomicUsize::new(0);
    let (failed, how) = work_through(&cases, "points", |session, peer, place, case| {
        let (name, mode, pass) = case;
        let known_way = known.lock().unwrap().get(&(name, pass)).copied();
        // What is done by threads beside a shard is not always as far; then once more.
        let ways = std::iter::repeat_n(WAYS, ROUNDS).flatten();
        for way in known_way.into_iter().chain(ways) {
            let shards = match way {
                Way::Start { shards } | Way::Resume { shards } => shards,
                Way::InARow => 1,
            };
            let mut trial = Trial::new(session, peer, mode, place, shards);
            if !trial.crash(name, pass, way)? {
                continue;
            }
            trial.finish()?;
            known.lock().unwrap().insert((name, pass), way);
            crashes.fetch_add(trial.crashes, Ordering::Relaxed);
            early.fetch_add(trial.ledger.unlogged as usize, Ordering::Relaxed);
            return Ok(format!("{way:?}"));
        }
        Err("no run comes by so often".into())
    });
    report("crash points", started, &cases, &how);
    let early = early.into_inner();
    println!(
        "  {} crashes at {} places; in fast mode {early} orders left before the log had them",
        crashes.into_inner(),
        NAMES.len()
    );
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    // The same look that finds none in durable mode must find some where they are to be.
    assert!(
        early > 0,
        "an order that leaves too early would not be seen"
    );
}

/// The longest that a program may go on after something failed.
const STOP_MAX: Duration = Duration::from_secs(1);

#[test]
fn what_the_system_refuses_stops_the_run_in_order() {
    let _alone = support::alone();
    let started = Instant::now();
    let mut cases = Vec::new();
    for mode in MODES.into_iter().filter(|mode| mode.is_durable) {
        for name in FAULTS.iter().filter(|name| applies(name, mode)) {
            cases.extend([1, 2, 3, 5, 7, 20].map(|pass| (*name, mode, pass)));
        }
    }
    let fired = Mutex::new(BTreeMap::<&str, usize>::new());
    let (failed, how) = work_through(&cases, "faults", |session, peer, place, case| {
        let (name, mode, pass) = case;
        for errno in ["eio", "enospc"] {
            let mut trial = Trial::new(session, peer, mode, place, 1);
            let point = format!("{name}:{pass}:{errno}");
            let at = Instant::now();
            let ended = trial.live(Some(&point))?;
            if ended.code == Some(0) {
                // It came by less often. A full disk that has room for all of a run is no fault.
                trial.session.check_results(&trial.run)?;
                continue;
            }
            check_refusal(&ended, at.elapsed(), errno)?;
            *fired.lock().unwrap().entry(name).or_default() += 1;
            trial.finish()?;
        }
        Ok("done".into())
    });
    report("faults", started, &cases, &how);
    let fired = fired.into_inner().unwrap();
    println!("  {fired:?}");
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    for name in FAULTS {
        assert!(fired.contains_key(name), "{name} never stopped a run");
    }
}

/// One line that says what happened and what to do, and the exit code of the machine's failures.
fn check_refusal(ended: &Ended, took: Duration, errno: &str) -> Result<(), String> {
    let said = ended.stderr.trim_end();
    let reason = match errno {
        "eio" => "Input/output error",
        _ => "No space left on device",
    };
    let problem = if ended.code != Some(5) {
        "want exit code 5"
    } else if took > STOP_MAX + Duration::from_secs(1) {
        "took too long"
    } else if !said.contains(reason) {
        "does not say why"
    } else if said
        .lines()
        .filter(|line| line.starts_with("tapeline:"))
        .count()
        != 1
    {
        "want one line"
    } else {
        return Ok(());
    };
    Err(format!(
        "{problem}: {:?} after {took:?}: {said}",
        ended.code
    ))
}
