//! A disk that fails when told to (FUSE), and one whose sync fails for want of space.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::support::crash::{Mode, Peer, Session, is_begun};
use crate::support::{Folder, Random, alone, signal};
use crate::{HANG, Mount, Real, TO_PEER, Trial, check_line, system, wait_for_orders};

/// What the disk can do wrong with a write or a sync.
const FAULTS: [(&str, &str, &[&str]); 6] = [
    ("sync", "eio", &["Input/output error"]),
    ("write", "enospc", &["No space left on device"]),
    ("write", "eio", &["Input/output error"]),
    // Found out by its length; through the page cache, the kernel makes an error of it.
    ("write", "short", &["bytes of", "Input/output error"]),
    ("write", "torn", &["Input/output error", "bytes of"]),
    ("sync", "slow", &[]),
];

/// A program that goes on for longer after a fault has not stopped because of it.
const STOP_MAX: Duration = Duration::from_secs(1);

/// The mounted disk: faults are written to its control file.
struct FaultDisk {
    mount: Mount,
    _folder: PathBuf,
}

impl FaultDisk {
    fn new(real: &Real, session: &Session, test: &str) -> Option<FaultDisk> {
        let tool = real.tool("faultdisk", test)?;
        let (folder, at) = (session.folder.join("back"), session.folder.join("disk"));
        fs::create_dir_all(&folder).unwrap();
        fs::create_dir_all(&at).unwrap();
        // Nothing remembered of names: they go with the power.
        let forget = "-oentry_timeout=0,attr_timeout=0,negative_timeout=0";
        let args = [folder.to_str().unwrap(), at.to_str().unwrap(), "-s", forget];
        if let Err(what) = system(tool, &args) {
            println!("skipped: {test}: {what}");
            return None;
        }
        Some(FaultDisk {
            mount: Mount(at),
            _folder: folder,
        })
    }

    fn tell(&self, what: &str) {
        fs::write(self.mount.path().join(".fault"), what).unwrap();
    }

    /// The file that the fault came to, if it did.
    fn fired_on(&self) -> Option<String> {
        let said = fs::read_to_string(self.mount.path().join(".fault")).unwrap();
        let (_, fired) = said.split_once("fired ").expect("a count of faults");
        let (count, file) = fired
            .trim_end_matches('\n')
            .split_once(" on ")
            .expect("a file");
        (count != "0").then(|| file.to_string())
    }
}

#[test]
fn every_fault_of_a_disk_at_every_write_and_sync() {
    let test = "a failing disk";
    let Some(real) = Real::take(test) else {
        return;
    };
    let _alone = alone();
    // Few events, since each of their writes is to fail once in each way.
    let session = Session::of(Folder::quick("faultdisk"), 1, 300);
    let Some(disk) = FaultDisk::new(&real, &session, test) else {
        return;
    };
    let peer = Peer::new();
    for is_plain in [false, true] {
        let mode = Mode {
            is_plain,
            ..TO_PEER
        };
        for (what, how, reasons) in FAULTS {
            let (mut fired, mut stopped, mut slowest) = (0, 0, Duration::ZERO);
            let mut number = 1;
            loop {
                let mut trial = Trial::new(&session, &peer, mode, disk.mount.path());
                disk.tell(&format!("{what} {number} {how}"));
                let began = Instant::now();
                let ended = trial.begin("max").go().wait_for_end();
                let took = began.elapsed();
                let fired_on = disk.fired_on();
                let has_fired = fired_on.is_some();
                disk.tell("none");
                let result = trial.account().and_then(|()| {
                    if ended.code == Some(0) {
                        // Slowness stops nothing, nor does a short write that could go on, nor
                        // what fails for a segment in store that is not needed in the end.
                        let may_go_on = ["slow", "short"].contains(&how)
                            || fired_on.is_none_or(|file| file.ends_with(".tmp"));
                        return match may_go_on {
                            true => trial.check(),
                            false => Err("nobody noticed".into()),
                        };
                    }
                    stopped += 1;
                    slowest = slowest.max(took);
                    check_line(&ended, reasons)?;
                    // All of a run takes a tenth of this.
                    if took > STOP_MAX {
                        return Err(format!("took {took:?} to stop"));
                    }
                    trial.finish()
                });
                if let Err(error) = result {
                    panic!("{what} {number} {how}, {}: {error}", mode.name());
                }
                if !has_fired {
                    break;
                }
                fired += 1;
                number += real.pick(1 + number / 2, 1);
            }
            println!(
                "fault disk, {}: {what} {how}: {fired} faults, {stopped} stopped the run, all \
                 recovered as the twin; the slowest run took {} ms",
                mode.name(),
                slowest.as_millis()
            );
        }
    }
}

#[test]
fn what_was_not_synced_is_lost_with_the_power() {
    let test = "lost writes";
    let Some(real) = Real::take(test) else {
        return;
    };
    let _alone = alone();
    let session = Session::new(Folder::quick("lost"));
    let Some(disk) = FaultDisk::new(&real, &session, test) else {
        return;
    };
    let peer = Peer::new();
    let mut random = Random(7);
    let wanted = real.pick(20, 500);
    let (mut cuts, mut early, mut cells, mut orders) = (0, 0, 0, 0);
    while cuts < wanted {
        let mut trial = Trial::new(&session, &peer, TO_PEER, disk.mount.path());
        disk.tell("none");
        for lives in 1.. {
            // Each life leaves a segment to be read by the next: one of them must get through.
            let life = match lives {
                ..10 => Duration::from_millis(random.within(1..400)),
                _ => HANG,
            };
            let mut process = trial.begin("20x").go();
            let ended = process.wait(life);
            if ended.is_none() {
                process.kill();
            }
            disk.tell("crash");
            let was_begun = is_begun(&trial.run);
            if !was_begun {
                early += 1;
                let came: usize = peer.drain().iter().map(Vec::len).sum();
                assert_eq!(came, 0, "orders of a run that the disk does not have");
                if let Some(ended) = ended {
                    panic!("the run could not be begun: {}", ended.stderr);
                }
                break;
            }
            let accounted = trial.account();
            cells += session
                .logged(&trial.run, 1)
                .map_or(0, |logged| logged.cells);
            let result = match (&ended, accounted) {
                (Some(ended), Ok(())) if ended.code == Some(0) => {
                    orders += trial.ledger.orders();
                    trial.check()
                }
                (Some(ended), Ok(())) => Err(ended.stderr.clone()),
                (None, accounted) => accounted,
                (Some(_), Err(what)) => Err(what),
            };
            if let Err(what) = result {
                panic!("after {cuts} cuts, {}: {what}", trial.run.display());
            }
            if ended.is_some() {
                break;
            }
            cuts += 1;
        }
    }
    println!(
        "lost writes: {cuts} kills with all unsynced bytes and names dropped, {early} more before \
         there was a run; {cells} cells recovered, {orders} orders of complete runs, 0 lost, 0 \
         unflagged repeats"
    );
}

#[test]
fn after_a_sync_that_failed_no_order_leaves() {
    let test = "a failing sync";
    let Some(real) = Real::take(test) else {
        return;
    };
    let _alone = alone();
    let session = Session::new(Folder::quick("sync"));
    let peer = Peer::new();
    for round in 0..real.pick(2, 20) {
        match fail_one_sync(&session, &peer, round % 2 == 0) {
            Ok(Some(said)) => println!("failing sync: {said}"),
            Ok(None) => return,
            Err(what) => panic!("round {round}: {what}"),
        }
    }
}

/// Waits until no thread of a process runs, and until nothing is under way to its disk: holes dug
/// under a write on its way would lose what the disk says it has.
fn wait_for_stillness(process: u32, disk: &Mount) -> Result<(), String> {
    let device = system(
        "findmnt",
        &["-n", "-o", "SOURCE", disk.path().to_str().unwrap()],
    )?;
    let inflight = format!("/sys/block/{}/inflight", device.trim_start_matches("/dev/"));
    let began = Instant::now();
    loop {
        let is_stopped = |task: fs::DirEntry| {
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            // Behind the name, which may hold anything.
            stat.rsplit_once(") ")
                .is_none_or(|(_, rest)| rest.starts_with('T'))
        };
        let tasks = fs::read_dir(format!("/proc/{process}/task")).map_err(|e| e.to_string())?;
        let all_stopped = tasks.flatten().all(is_stopped);
        let under_way = fs::read_to_string(&inflight).map_err(|e| format!("{inflight}: {e}"))?;
        if all_stopped && under_way.split_whitespace().all(|count| count == "0") {
            return Ok(());
        }
        if began.elapsed() > HANG {
            return Err(format!("{inflight}: still {under_way}"));
        }
        std::thread::yield_now();
    }
}

/// A loop device whose file lies in a full tmpfs takes writes, and fails to sync them: the
/// kernel's own error, on a whole file system. Its blocks are the pages of the tmpfs: the loop
/// driver (Linux 6.18) calls a write good of which a part found a page, and the rest no space.
fn fail_one_sync(session: &Session, peer: &Peer, is_plain: bool) -> Result<Option<String>, String> {
    let at = session.folder.join("memory");
    let memory = match Mount::new(at, &["-t", "tmpfs", "-o", "size=48m", "tmpfs"]) {
        Ok(memory) => memory,
        Err(what) => {
            println!("skipped: a failing sync: {what}");
            return Ok(None);
        }
    };
    let image = memory.path().join("disk.img");
    let (image_text, fill) = (image.to_str().unwrap(), memory.path().join("fill"));
    let truncated = fs::File::create(&image).and_then(|file| file.set_len(200 << 20));
    truncated.map_err(|e| e.to_string())?;
    let make = [
        "-q",
        "-F",
        "-O",
        "^has_journal",
        "-b",
        "4096",
        "-E",
        "nodiscard",
        image_text,
    ];
    if let Err(what) = system("mkfs.ext4", &make) {
        println!("skipped: a failing sync: {what}");
        return Ok(None);
    }
    let options = ["-o", "loop", image_text];
    let disk = match Mount::new(session.folder.join("disk"), &options) {
        Ok(disk) => disk,
        Err(what) => {
            println!("skipped: a failing sync: {what}");
            return Ok(None);
        }
    };
    let mode = Mode {
        is_plain,
        ..TO_PEER
    };
    let mut trial = Trial::new(session, peer, mode, disk.path());
    let mut process = trial.begin("2x").go();
    wait_for_orders(&mut process, peer, 20)?;
    // The zeros of prepared segments have their place already. It is taken from them while the
    // program stands still, and then there is no space to give it back.
    signal(process.id(), "STOP");
    wait_for_stillness(process.id(), &disk)?;
    system("sync", &["-f", disk.path().to_str().unwrap()])?;
    system("fallocate", &["--dig-holes", image_text])?;
    // Until the last byte: `dd` fails for want of space, which is what it is for.
    let _ = system(
        "dd",
        &["if=/dev/zero", &format!("of={}", fill.display()), "bs=4k"],
    );
    let before = peer.so_far().len();
    signal(process.id(), "CONT");
    let began = Instant::now();
    let ended = process.wait_for_end();
    let took = began.elapsed();
    let reasons = ["No space left on device", "Input/output error"];
    check_line(&ended, &reasons)?;
    let said = ended.stderr.trim_end().to_string();
    // What lies in the page cache is not what the disk has.
    fs::remove_file(&fill).map_err(|e| e.to_string())?;
    drop(disk);
    let disk = Mount::new(session.folder.join("disk"), &options)?;
    trial.account()?;
    let after = trial.ledger.orders();
    trial.finish()?;
    drop(disk);
    let first = said.lines().find(|line| line.starts_with("tapeline:"));
    Ok(Some(format!(
        "{}: {before} orders before the disk was full, {after} when the program had stopped, {} \
         ms later, all of them in the log; {}",
        mode.name(),
        took.as_millis(),
        first.unwrap_or_default()
    )))
}
