//! No space: on a small disk, and under a limit for files.

use std::fs::{self, File};

use crate::support::crash::{Peer, Session};
use crate::support::{Folder, Random, alone};
use crate::{Mount, Real, TO_PEER, Trial, check_line, system};

const MIB: u64 = 1 << 20;

/// Free bytes of a file system.
fn free_bytes(path: &std::path::Path) -> u64 {
    let path = path.to_str().unwrap();
    let said = system("stat", &["-f", "-c", "%a %S", path]).unwrap();
    let (blocks, size) = said.split_once(' ').unwrap();
    blocks.parse::<u64>().unwrap() * size.parse::<u64>().unwrap()
}

#[test]
fn a_full_disk_stops_a_run_in_order() {
    let Some(real) = Real::take("a full disk") else {
        return;
    };
    let _alone = alone();
    let session = Session::new(Folder::quick("full"));
    let at = session.folder.join("small");
    let small = match Mount::new(at, &["-t", "tmpfs", "-o", "size=64m", "tmpfs"]) {
        Ok(small) => small,
        Err(what) => return println!("skipped: a full disk: {what}"),
    };
    let peer = Peer::new();
    let mut random = Random(1);
    let wanted = real.pick(8, 50);
    let (mut stopped, mut orders) = (0, 0);
    while stopped < wanted {
        let mut trial = Trial::new(&session, &peer, TO_PEER, small.path());
        let ballast = small.path().join("ballast");
        // From nothing at all to a little less than a run takes.
        let left = random.within(0..2 * MIB) / 4096 * 4096;
        let size = free_bytes(small.path()).saturating_sub(left);
        let file = File::create(&ballast).unwrap();
        let path = ballast.to_str().unwrap();
        system("fallocate", &["-l", &size.to_string(), path]).unwrap();
        drop(file);
        let ended = trial.begin("max").go().wait_for_end();
        let result = trial.account().and_then(|()| match ended.code {
            Some(0) => trial.check(),
            _ => {
                stopped += 1;
                orders += trial.ledger.orders();
                check_line(&ended, &["No space left on device"])?;
                fs::remove_file(&ballast).unwrap();
                trial.finish()
            }
        });
        if let Err(what) = result {
            panic!("{left} bytes left: {what}");
        }
        let _ = fs::remove_file(&ballast);
    }
    println!(
        "full disk: {stopped} runs stopped for want of space on 64 MiB of tmpfs, {orders} orders \
         had left by then; all went on to their twin's end"
    );
}

#[test]
fn a_limit_for_files_is_an_error_and_not_the_end_of_the_process() {
    let Some(_real) = Real::take("a limit for files") else {
        return;
    };
    let _alone = alone();
    if let Err(what) = system("prlimit", &["--version"]) {
        return println!("skipped: a limit for files: {what}");
    }
    let session = Session::new(Folder::quick("limit"));
    let peer = Peer::new();
    let mut stopped = 0;
    for limit in [100, 4096, 20_000, 65_535, 65_536, 70_000, 100_000] {
        let place = session.folder.join("place");
        let mut trial = Trial::new(&session, &peer, TO_PEER, &place);
        fs::create_dir_all(&place).unwrap();
        let wrapper = ["prlimit", &format!("--fsize={limit}")];
        let ended = trial.begin("max").under(&wrapper).go().wait_for_end();
        let result = trial.account().and_then(|()| match ended.code {
            Some(0) => trial.check(),
            _ => {
                stopped += 1;
                check_line(&ended, &["File too large"])?;
                trial.finish()
            }
        });
        if let Err(what) = result {
            panic!("a limit of {limit} bytes: {what}");
        }
    }
    assert!(stopped > 2, "only {stopped} limits stopped a run");
    println!("file size limit: {stopped} of 7 limits stopped a run, and all went on");
}
