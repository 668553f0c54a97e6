//! Other clocks: what is concluded does not depend on any.

use crate::support::crash::{Peer, Session};
use crate::support::{Folder, alone};
use crate::{Real, TO_PEER, Trial, system};

#[test]
fn another_clock_changes_nothing() {
    let Some(_real) = Real::take("other clocks") else {
        return;
    };
    let _alone = alone();
    let session = Session::new(Folder::quick("clock"));
    let peer = Peer::new();
    // The standard library waits by the kernel's monotonic clock, past the library that fakes it,
    // so only the time of day is faked; the name space below moves the other one.
    let fake = |time| vec!["env", "DONT_FAKE_MONOTONIC=1", "faketime", "-f", time];
    let later = vec![
        "unshare",
        "-T",
        "--monotonic",
        "86400",
        "--boottime",
        "86400",
    ];
    // Each pair: the clock of the first life, and that of the one that goes on with it.
    let clocks = [
        (fake("-1h"), fake("+1h")),
        (fake("@2038-01-19 03:14:00"), fake("@1999-12-31 23:59:58")),
        (fake("@2016-12-31 23:59:59"), vec!["env"]),
        (later.clone(), vec!["env"]),
        (vec!["env"], later),
    ];
    let mut tried = 0;
    for (first, second) in &clocks {
        let is_there = |wrapper: &[&str]| system(wrapper[0], &[&wrapper[1..], &["true"]].concat());
        if let Err(what) = is_there(first).and_then(|_| is_there(second)) {
            println!("skipped: the clock {first:?}: {what}");
            continue;
        }
        let place = session.folder.join("place");
        let mut trial = Trial::new(&session, &peer, TO_PEER, &place);
        let mut process = trial.begin("8x").under(first).go();
        crate::wait_for_orders(&mut process, &peer, 50).unwrap();
        // The wrapper has become the program, so it is the program that is killed.
        process.kill();
        trial.account().unwrap();
        let ended = trial.begin("max").under(second).go().wait_for_end();
        ended.expect(0);
        let result = trial.account().and_then(|()| trial.check());
        result.unwrap_or_else(|what| panic!("{first:?}, then {second:?}: {what}"));
        tried += 1;
    }
    println!("clocks: {tried} runs killed under one clock and gone on with under another");
}
