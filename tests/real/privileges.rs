//! Without privileges, and where the kernel refuses `io_uring`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::crash::{Peer, Session};
use crate::support::{Folder, alone, manifest};
use crate::{Real, TO_PEER, Trial, system, wait_for_orders};

/// The same results, killed once; returns how records reached the disk.
fn run_under(session: &Session, wrapper: &[&str]) -> String {
    let peer = Peer::new();
    let place = session.folder.join("place");
    let mut trial = Trial::new(session, &peer, TO_PEER, &place);
    let mut process = trial.begin("8x").under(wrapper).go();
    wait_for_orders(&mut process, &peer, 50).unwrap();
    process.kill();
    trial.account().unwrap();
    trial
        .begin("max")
        .under(wrapper)
        .go()
        .wait_for_end()
        .expect(0);
    trial.account().and_then(|()| trial.check()).unwrap();
    let said = manifest(&trial.run)["log_backend"].clone();
    said.as_str().unwrap().to_string()
}

#[test]
fn without_io_uring_everything_is_the_same() {
    let test = "no io_uring";
    let Some(real) = Real::take(test) else {
        return;
    };
    let _alone = alone();
    let Some(tool) = real.tool("no_uring", test) else {
        return;
    };
    let session = Session::new(Folder::quick("plain"));
    let backend = run_under(&session, &[tool.to_str().unwrap()]);
    assert!(backend.contains("io_uring is refused"), "{backend}");
    println!("no io_uring: {backend}");
}

#[test]
fn a_user_without_any_privilege_gets_the_same() {
    let test = "no privileges";
    let Some(_real) = Real::take(test) else {
        return;
    };
    let _alone = alone();
    let nobody = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--inh-caps=-all",
        "--bounding-set=-all",
        "--no-new-privs",
    ];
    if let Err(what) = system(nobody[0], &[&nobody[1..], &["true"]].concat()) {
        return println!("skipped: {test}: {what}");
    }
    let session = Session::new(Folder::quick("nobody"));
    let place = session.folder.join("place");
    fs::create_dir_all(&place).unwrap();
    fs::set_permissions(&place, fs::Permissions::from_mode(0o777)).unwrap();
    let backend = run_under(&session, &nobody);
    println!("no privileges: {backend}");
}
