//! The power is cut: an image of the whole disk at one moment is mounted, and gone on from.
//!
//! The disk's file lies on XFS, which can copy it in one moment by sharing its blocks. What the
//! kernel had not yet given to the disk is not in the copy. What a drive would lose of what it
//! was given is not tried here.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::support::crash::{Ledger, Mode, Peer, Session, is_begun, resume};
use crate::support::{Folder, Random, alone};
use crate::{Mount, Real, TO_PEER, Trial, system};

const IMAGES_EACH: usize = 6;

#[test]
fn a_power_cut_on_ext4_loses_nothing_that_was_acknowledged() {
    cut_often("ext4", &["-q", "-F"], 128 << 20, "loop");
}

#[test]
fn a_power_cut_on_xfs_loses_nothing_that_was_acknowledged() {
    cut_often("xfs", &["-q"], 320 << 20, "loop,nouuid");
}

#[derive(Debug, Default)]
struct Seen {
    images: usize,
    /// The image had no run in it yet, and nothing had been acknowledged.
    early: usize,
    acknowledged: u64,
    recovered_orders: u64,
    recovered_cells: u64,
    flagged: u64,
}

fn sparse(path: &Path, bytes: u64) {
    let file = fs::File::create(path).unwrap();
    file.set_len(bytes).unwrap();
}

fn cut_often(kind: &str, options: &[&str], disk_bytes: u64, mount_options: &str) {
    let test = format!("power cuts on {kind}");
    let Some(real) = Real::take(&test) else {
        return;
    };
    let _alone = alone();
    let session = Session::new(Folder::quick("power"));
    let outer_image = session.folder.join("outer.img");
    sparse(&outer_image, 3 << 30);
    let outer_text = outer_image.to_str().unwrap();
    let outer = system("mkfs.xfs", &["-q", "-m", "reflink=1", outer_text])
        .and_then(|_| Mount::new(session.folder.join("outer"), &["-o", "loop", outer_text]));
    let outer = match outer {
        Ok(outer) => outer,
        Err(what) => return println!("skipped: {test}: {what}"),
    };
    let disk_image = outer.path().join("disk.img");
    sparse(&disk_image, disk_bytes);
    let disk_text = disk_image.to_str().unwrap();
    let made = system(format!("mkfs.{kind}"), &[options, &[disk_text]].concat()).and_then(|_| {
        Mount::new(
            session.folder.join("disk"),
            &["-o", mount_options, disk_text],
        )
    });
    let disk = match made {
        Ok(disk) => disk,
        Err(what) => return println!("skipped: {test}: {what}"),
    };
    let peer = Peer::new();
    let mut random = Random(11);
    let mut seen = Seen::default();
    let mut trials = 0;
    while seen.images < real.pick(12, 500) {
        let mode = Mode {
            is_plain: random.within(0..3) == 0,
            ..TO_PEER
        };
        // Of a name of its own: one that was removed can be back after a power cut.
        trials += 1;
        let name = format!("trial-{trials}");
        let trial = Trial::new(&session, &peer, mode, &disk.path().join(&name));
        let mut process = trial.begin("4x").go();
        let mut images = Vec::new();
        while images.len() < IMAGES_EACH {
            if process
                .wait(Duration::from_micros(random.within(500..150_000)))
                .is_some()
            {
                break;
            }
            // Acknowledged before the power goes: what comes while it goes may be either.
            let acknowledged = peer.so_far();
            let image = outer.path().join(format!("cut-{}.img", images.len()));
            let text = image.to_str().unwrap();
            system("cp", &["--reflink=always", disk_text, text]).unwrap();
            images.push((image, acknowledged));
        }
        process.kill();
        fs::remove_dir_all(disk.path().join(&name)).unwrap();
        let life = peer.drain();
        for (image, acknowledged) in images {
            let text = image.to_str().unwrap();
            let at = session.folder.join("after");
            let after = Mount::new(at, &["-o", mount_options, text]).unwrap();
            let run = after.path().join(&name).join("run");
            if let Err(what) = go_on(&session, &peer, &run, acknowledged, &life, &mut seen) {
                panic!("{kind}, image {}: {what}", seen.images);
            }
            seen.images += 1;
            drop(after);
            fs::remove_file(&image).unwrap();
        }
    }
    println!(
        "power cuts on {kind}: {} images, {} of them before there was a run; {} orders \
         acknowledged, all of them among {} recovered in {} cells; {} flagged repeats, 0 \
         unflagged; all went on to their twin's end",
        seen.images,
        seen.early,
        seen.acknowledged,
        seen.recovered_orders,
        seen.recovered_cells,
        seen.flagged
    );
}

/// What the image holds is gone on from; the peer has what it had when the power was cut.
fn go_on(
    session: &Session,
    peer: &Peer,
    run: &Path,
    acknowledged: Vec<(String, bool)>,
    life: &[Vec<(String, bool)>],
    seen: &mut Seen,
) -> Result<(), String> {
    if !is_begun(run) {
        seen.early += 1;
        return match acknowledged.len() {
            0 => Ok(()),
            count => Err(format!("{count} orders acknowledged, and no run")),
        };
    }
    let mut ledger = Ledger::default();
    let logged = session.logged(run, 1)?;
    seen.acknowledged += acknowledged.len() as u64;
    seen.recovered_orders += logged.orders.len() as u64;
    seen.recovered_cells += logged.cells;
    ledger.life(vec![acknowledged], logged)?;
    let ended = resume(run, "max").go().wait_for_end();
    ledger.life(peer.drain(), session.logged(run, 1)?)?;
    if ended.code != Some(0) {
        return Err(format!("resuming: {}", ended.stderr));
    }
    // What left between the look at the peer and the image need not come again.
    ledger.add(life);
    ledger.check(&session.orders)?;
    session.check_results(run)?;
    seen.flagged += ledger.flagged;
    match (ledger.unflagged, ledger.unlogged) {
        (0, 0) => Ok(()),
        (again, early) => Err(format!(
            "{again} came again without 97=Y, {early} were not in the image's log"
        )),
    }
}
